"""The package works where it is installed from a wheel, in a folder that is no clone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT_DIR


@pytest.mark.slow
def test_the_installed_command_has_its_files_and_its_model(tmp_path: Path) -> None:
    wheels, site, elsewhere = (tmp_path / name for name in ("wheels", "site", "elsewhere"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(PROJECT_DIR)], tmp_path)
    _run([*pip, "install", "--no-deps", "--target", str(site), *map(str, wheels.iterdir())], tmp_path)

    package = PROJECT_DIR / "covid_core"
    files = [path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert [path for path in files if not (site / path.relative_to(PROJECT_DIR)).is_file()] == []

    elsewhere.mkdir()
    shutil.copy(PROJECT_DIR / "docs" / "predict.png", elsewhere / "picture.png")
    command = str(site / ("Scripts" if sys.platform == "win32" else "bin") / "covid-core")
    assert "Class" in _run([command, "predict", "--anyway", "picture.png"], elsewhere, PYTHONPATH=str(site))
    _run([command, "report", "--out", "report.html"], elsewhere, PYTHONPATH=str(site))
    assert sorted(path.name for path in elsewhere.iterdir()) == ["picture.png", "report.html"]


def _run(command: list[str], folder: Path, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVID_")}
    done = subprocess.run(
        command, cwd=folder, env={**inherited, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
