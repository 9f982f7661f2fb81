"""A cross-validation on a synthetic dataset, through the command line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from covid_core.data.folds import make_folds, write_folds
from covid_core.data.prepare import prepare_dataset, read_split
from covid_core.errors import EvaluationError
from covid_core.storage import read_json
from tests.conftest import PROJECT_DIR

pytest.importorskip("tensorflow", reason="training needs requirements-train.txt")


@pytest.mark.slow
def test_every_film_gets_one_prediction_by_a_model_that_never_saw_its_patient(
    phantom_dataset: Path, tmp_path: Path
) -> None:
    prepare_dataset(phantom_dataset, tmp_path / "dataset")
    folds = make_folds(tmp_path / "dataset", 2)
    write_folds(folds, tmp_path / "folds.csv")
    command = [sys.executable, "-m", "covid_core", "crossval", "--dataset", tmp_path / "dataset"]
    options = ["--folds", tmp_path / "folds.csv", "--out", tmp_path / "cv", "--weights", "none", "--stage", "initial"]
    size = ["--size", "32", "--epochs", "1", "--batch-size", "16"]
    done = subprocess.run(
        [*map(str, [*command, *options]), *size], cwd=PROJECT_DIR, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

    predictions = pd.read_csv(tmp_path / "cv" / "predictions.csv", dtype={"group": "str"})
    assert sorted(predictions["filename"]) == sorted(folds["filename"])
    for fold in (0, 1):
        split = read_split(tmp_path / "cv" / f"fold-{fold}" / "dataset")
        held_out = set(predictions.loc[predictions["fold"] == fold, "group"])
        assert not held_out & set(split.loc[split["part"] != "test", "group"])
    evaluation = read_json(tmp_path / "cv" / "evaluation.json", EvaluationError)
    predictions["truth"] = predictions["label"] == "covid"
    pooled = roc_auc_score(predictions["truth"], predictions["probability_covid"])
    assert evaluation["metrics"]["pooled_auc"]["value"] == pytest.approx(pooled, abs=1e-6)
    parts = [part for _, part in predictions.groupby("fold")]
    areas = [roc_auc_score(part["truth"], part["probability_covid"]) for part in parts]
    pairs = [part["truth"].sum() * (~part["truth"]).sum() for part in parts]
    assert evaluation["metrics"]["roc_auc"]["value"] == pytest.approx(np.average(areas, weights=pairs), abs=1e-6)
    assert evaluation["counts"]["images"] == len(folds)
