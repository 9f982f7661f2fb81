"""A cross-validation on a synthetic dataset, through the command line."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from covid_core.cli import main
from covid_core.data.folds import make_folds, write_folds
from covid_core.data.prepare import prepare_dataset, read_split
from covid_core.errors import EvaluationError
from covid_core.storage import read_json
from tests.fake_bundle import THREADS, start_tensorflow
from tests.training.tiny import tiny_backbone


# Keras 3.15 reads its variables by a way that NumPy 2 deprecates.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_every_image_gets_one_prediction_by_a_model_that_never_saw_its_patient(
    phantom_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_tensorflow()
    from covid_core.training.backbones import BACKBONES  # noqa: PLC0415

    monkeypatch.setitem(BACKBONES, "mobilenetv2", tiny_backbone())
    prepare_dataset(phantom_dataset, tmp_path / "dataset")
    folds = make_folds(tmp_path / "dataset", 2)
    write_folds(folds, tmp_path / "folds.csv")
    options = ["--dataset", tmp_path / "dataset", "--folds", tmp_path / "folds.csv", "--out", tmp_path / "cv"]
    options += ["--weights", "none", "--stage", "initial", "--size", 32, "--epochs", 1, "--batch-size", 16]
    assert main(["crossval", *map(str, options), "--threads", str(THREADS)]) == 0

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
