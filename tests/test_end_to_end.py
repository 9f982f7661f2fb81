"""The whole corridor on a synthetic dataset, through the command line: prepare, train, finetune, evaluate, export, predict."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from tests.conftest import PROJECT_DIR
from tests.phantom import write_phantom_dataset

pytest.importorskip("tensorflow", reason="training needs requirements-train.txt")


def run_verb(*arguments: str | Path) -> str:
    """Run `python -m covid_core` in a process of its own and give back what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "covid_core", *map(str, arguments)],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments[0]} failed:\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module", params=["mobilenetv2", "resnet50"])
def corridor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a bundle was made from images alone, by the commands of the README."""
    folder = tmp_path_factory.mktemp(request.param)
    write_phantom_dataset(folder / "raw", n_patients=40)
    run_verb("prepare", "--dataset", folder / "raw", "--out", folder / "dataset")
    run_verb(
        *("train", "--dataset", folder / "dataset", "--backbone", request.param, "--weights", "none"),
        *("--out", folder / "run", "--size", "64", "--epochs", "2", "--finetune-epochs", "1", "--batch-size", "16"),
    )
    run_verb("finetune", "--run", folder / "run")
    report = run_verb("evaluate", "--run", folder / "run")
    assert "sensitivity" in report.lower()
    run_verb("export", "--run", folder / "run", "--out", folder / "bundle")
    return folder


@pytest.mark.slow
def test_every_film_stands_in_one_folder_of_its_part_and_class(corridor: Path) -> None:
    split = pd.read_csv(corridor / "dataset" / "split.csv")
    laid_out = {path.relative_to(corridor / "dataset" / "split") for path in corridor.glob("dataset/split/*/*/*")}
    assert laid_out == {Path(row.part) / row.label / row.filename for row in split.itertuples()}
    assert {path.parts[:2] for path in laid_out} == {
        (part, label) for part in ("train", "val", "test") for label in ("covid", "non_covid")
    }


@pytest.mark.slow
def test_the_bundle_reports_what_scikit_learn_finds_in_its_predictions(corridor: Path) -> None:
    evaluation = json.loads((corridor / "bundle" / "evaluation.json").read_text())
    predictions = pd.read_csv(corridor / "bundle" / "predictions.csv")
    test = predictions[predictions["part"] == "test"]
    is_covid = test["label"] == "covid"
    called = test["probability_covid"] >= evaluation["threshold"]
    assert evaluation["confusion_matrix"] == confusion_matrix(is_covid, called).tolist()
    assert evaluation["metrics"]["roc_auc"]["value"] == pytest.approx(
        roc_auc_score(is_covid, test["probability_covid"]), abs=1e-6
    )


@pytest.mark.slow
def test_the_served_model_gives_the_probabilities_of_the_report(corridor: Path) -> None:
    predictions = pd.read_csv(corridor / "bundle" / "predictions.csv")
    row = predictions[predictions["part"] == "test"].iloc[0]
    film = corridor / "dataset" / "split" / "test" / row.label / row.filename
    answer = json.loads(run_verb("predict", "--json", "--model", corridor / "bundle", film))
    assert answer["status"] == "ok"
    assert answer["probability_covid"] == pytest.approx(row.probability_covid, abs=1e-4)
    assert answer["label"] == ("covid" if row.probability_covid >= answer["threshold"] else "non_covid")


@pytest.mark.slow
def test_a_bundle_holds_the_classes_in_their_order_and_how_it_was_made(corridor: Path) -> None:
    assert json.loads((corridor / "bundle" / "class_indices.json").read_text()) == {"non_covid": 0, "covid": 1}
    manifest = json.loads((corridor / "bundle" / "bundle.json").read_text())
    assert manifest["parity"]["max_abs_difference"] <= 1e-4
    assert set(manifest["training"]["stages"]) == {"initial", "finetune"}
    history = pd.read_csv(corridor / "bundle" / "history.csv")
    assert history["stage"].tolist() == ["initial", "initial", "finetune"]
