"""The app and `predict` run where TensorFlow is not installed: in a virtual environment with only requirements.txt."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PROJECT_DIR


@pytest.mark.slow
def test_every_page_and_predict_run_with_only_what_a_host_installs(tmp_path: Path) -> None:
    python = os.environ.get("COVID_SERVING_PYTHON")
    if not python:
        pytest.skip("COVID_SERVING_PYTHON names no environment with only requirements.txt; `make test` makes one")
    done = subprocess.run(
        [python, "tests/serving_smoke.py", str(tmp_path)], cwd=PROJECT_DIR, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" runs\n") == 4
