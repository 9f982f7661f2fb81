"""The README's figures are those of the files they are made from, and its commands exist."""

import re
import subprocess
import sys

from covid_core.cli import _parser
from tests.conftest import PROJECT_DIR


def test_the_generated_figures_are_up_to_date() -> None:
    command = [sys.executable, "benchmarks/readme.py", "--check"]
    done = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_of_the_readme_can_be_parsed() -> None:
    text = (PROJECT_DIR / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"python -m covid_core ((?:prepare|train|finetune|export|predict) [^\n`|]+)", text)
    assert len(commands) >= 5
    for command in commands:
        _parser().parse_args(command.split())
