"""The README's figures are those of the files they are made from, and its commands exist."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import readme
from covid_core.cli import _parser
from tests.conftest import PROJECT_DIR


def test_the_generated_figures_are_up_to_date() -> None:
    command = [sys.executable, "benchmarks/readme.py", "--check"]
    done = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_of_the_readme_can_be_parsed() -> None:
    text = (PROJECT_DIR / "README.md").read_text(encoding="utf-8")
    verbs = "fetch|prepare|audit|build|train|finetune|export|predict|report"
    commands = re.findall(rf"python -m covid_core ((?:{verbs}) [^\n`|#]+)", text)
    assert len(commands) >= 6
    for command in commands:
        _parser().parse_args(command.split())


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
        "frozen_trunk": {
            "trunk_seconds": 10.0,
            "fit_seconds": 0.25,
            "fits": 10,
            "computed_trunk_each_seconds": 102.5,
            "computed_trunk_once_seconds": 12.5,
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
        "| frozen trunk and 10 fits of the head (computed) | 102.50 s | 12.50 s | 8.2 |",
    ]


def test_the_computed_times_of_training_follow_from_the_two_measured_ones() -> None:
    trunk = json.loads((PROJECT_DIR / "benchmarks" / "training.json").read_text())["frozen_trunk"]
    one_run, one_fit, fits = trunk["trunk_seconds"], trunk["fit_seconds"], trunk["fits"]
    assert trunk["computed_trunk_once_seconds"] == pytest.approx(one_run + fits * one_fit, rel=2e-3)
    assert trunk["computed_trunk_each_seconds"] == pytest.approx(fits * one_run + fits * one_fit, rel=2e-3)


def _measured_trial(**fields: object) -> dict[str, object]:
    """A trial whose mean over the seeds differs from the first seed's figure, as it is in trials.json."""
    return {
        "group": "head",
        "name": "first",
        "what": "as is",
        "kept": False,
        "roc_auc": {"value": 0.5, "lower": 0.811, "upper": 0.899},
        "within_source_auc": {"value": 0.5, "lower": 0.702, "upper": 0.798},
        "seed_means": {"roc_auc": {"mean": 0.8604}, "within_source_auc": {"mean": 0.7507}},
        **fields,
    }


def _write_trials(folder: Path, rows: list[dict[str, object]]) -> None:
    (folder / "docs" / "experiments").mkdir(parents=True)
    common = {"images": 10, "patients": 7, "folds": 5, "auxiliary_images": 4, "seconds": 130, "machine": "2 cores"}
    (folder / "docs" / "experiments" / "trials.json").write_text(
        json.dumps({**common, "weights": "w.h5", "trials": rows})
    )


def test_trials_are_listed_by_group_with_the_mean_of_the_seeds_and_the_interval_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsure = {"value": 0.5, "lower": None, "upper": None}
    _write_trials(
        tmp_path,
        [
            _measured_trial(),
            _measured_trial(name="second", kept=True, within_source_auc=unsure),
            _measured_trial(
                group="more films",
                left_out_sources={"a.org": {"value": 0.714, "lower": 0.6, "upper": 0.8}},
                auxiliary_specificity={"value": 0.9, "lower": 0.85, "upper": 0.95},
            ),
        ],
    )
    monkeypatch.setattr(readme, "PROJECT", tmp_path)
    two_columns = (
        "| trial | ROC AUC, mean of 3 (95% CI, first seed) | within a source, mean of 3 (95% CI, first seed) |"
    )
    assert readme.trials().splitlines() == [
        "10 films of 7 patients, 5 folds, 4 auxiliary films. Measured in 2 minutes on 2 cores, weights `w.h5`.",
        "",
        "### Head",
        "",
        f"{two_columns} kept |",
        "|---|---|---|---|",
        "| first: as is | 0.860 (0.81 to 0.90) | 0.751 (0.70 to 0.80) | no |",
        "| second: as is | 0.860 (0.81 to 0.90) | 0.751 | **yes** |",
        "",
        "### More films",
        "",
        f"{two_columns} AUC within a.org, left out (95% CI) | specificity on auxiliary normal films (95% CI) | kept |",
        "|---|---|---|---|---|---|",
        "| first: as is | 0.860 (0.81 to 0.90) | 0.751 (0.70 to 0.80) | 0.71 (0.60 to 0.80) | 0.90 (0.85 to 0.95) | no |",
    ]


def test_the_file_of_trials_is_no_cross_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write_trials(tmp_path, [_measured_trial()])
    area = {"value": 0.8, "lower": 0.7, "upper": 0.9, "n": 10}
    default = {"counts": {"images": 10, "patients": 7}, "metrics": {"roc_auc": area}, "baselines": {}}
    monkeypatch.setattr(readme, "PROJECT", tmp_path)
    monkeypatch.setattr(readme, "_evaluation_of", lambda _: default)
    assert readme.experiments().splitlines() == [
        "| recipe or baseline | films (patients) | ROC AUC | within a source |",
        "|---|---|---|---|",
        f"| **{readme.DEFAULT}** | 10 (7) | 0.80 (95% CI 0.70 to 0.90, n = 10) | - |",
    ]
