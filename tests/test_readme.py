"""The README's figures are those of the files they are made from, and its commands exist."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import readme
from covid_core.cli.main import build_parser
from tests.conftest import PROJECT_DIR


def test_the_generated_figures_are_up_to_date() -> None:
    command = [sys.executable, "benchmarks/readme.py", "--check"]
    done = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_of_the_readme_can_be_parsed() -> None:
    text = (PROJECT_DIR / "README.md").read_text(encoding="utf-8")
    verbs = "fetch|prepare|audit|pretrain|build|gate|train|finetune|export|predict|report"
    commands = re.findall(rf"python -m covid_core ((?:{verbs}) [^\n`|#]+)", text)
    assert len(commands) >= 6
    for command in commands:
        build_parser().parse_args(command.split())


def test_the_table_of_training_speed_sets_the_plain_way_beside_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = {
        "machine": "4 cores",
        "tensorflow": "2.0",
        "films": 100,
        "files_mib": 12.4,
        "median_megapixels": 0.805,
        "input_side": 224,
        "batch_size": 32,
        "runs": 3,
        "epoch_input": {
            "plain_first_seconds": 9.0,
            "plain_further_seconds": 8.0,
            "kept_first_seconds": 6.0,
            "kept_further_seconds": 0.5,
        },
    }
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "training.json").write_text(json.dumps(measured))
    monkeypatch.setattr(readme, "PROJECT", tmp_path)
    assert [line for line in readme.training().splitlines() if line.startswith("|")] == [
        "| | anew each time | once | ratio |",
        "|---|---:|---:|---:|",
        "| input of the first epoch | 9.00 s | 6.00 s | 1.5 |",
        "| input of every further epoch | 8.00 s | 0.50 s | 16.0 |",
    ]


def test_the_search_for_the_heads_is_a_table_with_a_row_for_each_trial_and_is_no_cross_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = {"within_fold": 0.8111, "within_source": 0.7778, "hospital_left_out": 0.9, "worst_hospital": 0.78}
    (tmp_path / "docs" / "experiments").mkdir(parents=True)
    (tmp_path / "docs" / "experiments" / "heads.json").write_text(json.dumps({"trials": [{"name": "kept", **trial}]}))
    area = {"value": 0.8, "lower": 0.7, "upper": 0.9, "n": 10}
    default = {"counts": {"images": 10, "patients": 7}, "metrics": {"roc_auc": area}, "baselines": {}}
    monkeypatch.setattr(readme, "PROJECT", tmp_path)
    monkeypatch.setattr(readme, "_evaluation_of", lambda _: default)
    assert readme.heads().splitlines()[-1] == "| kept | 0.811 | 0.778 | 0.900 | 0.780 |"
    rows = [line for line in readme.experiments().splitlines() if line.startswith("| **")]
    assert rows == [f"| **{readme.DEFAULT}** | 10 (7) | 0.80 (95% CI 0.70 to 0.90, n = 10) | - |"]
