"""A cross-validation of a synthetic dataset with one DICOM among its files."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from covid_core.cli.main import main
from covid_core.dataset.folds import make_folds, write_folds
from covid_core.dataset.prepare import prepare_dataset, read_split
from covid_core.errors import EvaluationError
from covid_core.files import read_json
from covid_core.training import crossval
from covid_core.training.backbones import BACKBONES
from covid_core.training.recipe import Recipe
from tests.fake_bundle import THREADS, start_tensorflow
from tests.images.samples import dicom
from tests.training.tiny import tiny_backbone


@pytest.fixture
def with_dicom(phantom_dataset: Path, tmp_path: Path) -> Path:
    """The prepared dataset; one of its images is a DICOM."""
    prepare_dataset(phantom_dataset, tmp_path / "png")
    name = read_split(tmp_path / "png")["filename"].iloc[0]
    collection = shutil.copytree(phantom_dataset, tmp_path / "collection")
    pixels = np.asarray(Image.open(collection / "images" / name).convert("L"))
    (collection / "images" / name).unlink()
    (collection / "images" / name).write_bytes(dicom(pixels))
    prepare_dataset(collection, tmp_path / "dataset")
    return tmp_path / "dataset"


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folds are neither trained nor predicted; every image gets a probability of its own."""

    def evaluated(run: Path, _stage: str) -> SimpleNamespace:
        table = read_split(run.parent / "dataset")
        table["probability_raw"] = table["probability_covid"] = np.linspace(0.1, 0.9, len(table))
        return SimpleNamespace(predictions=table)

    monkeypatch.setattr(crossval.stages, "train", lambda *_args, **_options: None)
    monkeypatch.setattr(crossval, "evaluate_run", evaluated)


@pytest.mark.usefixtures("untrained")
def test_a_collection_with_a_dicom_is_cross_validated_to_the_end(with_dicom: Path, tmp_path: Path) -> None:
    crossval.cross_validate(
        with_dicom, tmp_path / "cv", Recipe(), folds_file=tmp_path / "folds.csv", last_stage="initial"
    )
    evaluation = read_json(tmp_path / "cv" / "evaluation.json", EvaluationError)
    assert evaluation["baselines"]["image size and file type"]["roc_auc"]["n"] == evaluation["counts"]["images"]


@pytest.mark.usefixtures("untrained")
def test_predictions_are_on_disk_before_the_baselines_are_computed(
    with_dicom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(crossval, "pixel_free_baselines", failing)
    with pytest.raises(MemoryError):
        crossval.cross_validate(
            with_dicom, tmp_path / "cv", Recipe(), folds_file=tmp_path / "folds.csv", last_stage="initial"
        )
    assert len(pd.read_csv(tmp_path / "cv" / "predictions.csv")) == len(read_split(with_dicom))


# Keras 3.15 reads its variables by a way that NumPy 2 deprecates.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_every_image_gets_one_prediction_by_a_model_that_never_saw_its_patient(
    phantom_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_tensorflow()
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
