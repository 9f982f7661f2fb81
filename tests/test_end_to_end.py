"""The commands of the README on a synthetic dataset: prepare, train, finetune, evaluate, export, predict."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from covid_core.cli.main import main
from tests.conftest import PROJECT_DIR
from tests.fake_bundle import THREADS, start_tensorflow
from tests.phantom import write_phantom_dataset
from tests.training.tiny import tiny_backbone

# Keras 3.15 reads its variables by a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def run_here(*arguments: str | Path) -> str:
    """Run a command in this process and give back what it printed."""
    with redirect_stdout(io.StringIO()) as printed:
        assert main([str(one) for one in arguments]) == 0
    return printed.getvalue()


def run_in_a_process(*arguments: str | Path) -> str:
    """Run a command in a process of its own and give back what it printed."""
    command = [sys.executable, "-m", "covid_core", *map(str, arguments)]
    done = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments[0]} failed:\n{done.stderr}"
    return done.stdout


@pytest.fixture(
    scope="module",
    params=[
        "tiny",
        pytest.param("mobilenetv2", marks=pytest.mark.slow),
        pytest.param("resnet50", marks=pytest.mark.slow),
    ],
)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a bundle was made from images alone."""
    folder, run, backbone = tmp_path_factory.mktemp(request.param), run_in_a_process, request.param
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "tiny":
            start_tensorflow()
            from covid_core.training.backbones import BACKBONES  # noqa: PLC0415

            patch.setitem(BACKBONES, "mobilenetv2", tiny_backbone())
            run, backbone = run_here, "mobilenetv2"
        write_phantom_dataset(folder / "raw", n_patients=40)
        run("prepare", "--dataset", folder / "raw", "--out", folder / "dataset")
        run(
            *("train", "--dataset", folder / "dataset", "--out", folder / "run", "--backbone", backbone),
            *("--weights", "none", "--size", "64", "--epochs", "2", "--finetune-epochs", "1", "--batch-size", "16"),
            *("--threads", str(THREADS)),
        )
        run("finetune", "--run", folder / "run")
        assert "sensitivity" in run("evaluate", "--run", folder / "run").lower()
        run("export", "--run", folder / "run", "--out", folder / "bundle")
        yield folder


def test_every_image_is_in_one_folder_of_its_part_and_class(made: Path) -> None:
    split = pd.read_csv(made / "dataset" / "split.csv")
    laid_out = {path.relative_to(made / "dataset" / "split") for path in made.glob("dataset/split/*/*/*")}
    assert laid_out == {Path(row.part) / row.label / row.filename for row in split.itertuples()}
    assert {path.parts[:2] for path in laid_out} == {
        (part, label) for part in ("train", "val", "test") for label in ("covid", "non_covid")
    }


def test_the_bundle_reports_what_scikit_learn_finds_in_its_predictions(made: Path) -> None:
    evaluation = json.loads((made / "bundle" / "evaluation.json").read_text())
    predictions = pd.read_csv(made / "bundle" / "predictions.csv")
    test = predictions[predictions["part"] == "test"]
    is_covid = test["label"] == "covid"
    called = test["probability_covid"] >= evaluation["threshold"]
    assert evaluation["confusion_matrix"] == confusion_matrix(is_covid, called).tolist()
    area = roc_auc_score(is_covid, test["probability_covid"])
    assert evaluation["metrics"]["roc_auc"]["value"] == pytest.approx(area, abs=1e-6)


def test_the_served_model_gives_the_probabilities_of_the_report(made: Path) -> None:
    predictions = pd.read_csv(made / "bundle" / "predictions.csv")
    row = predictions[predictions["part"] == "test"].iloc[0]
    image = made / "dataset" / "split" / "test" / row.label / row.filename
    answer = json.loads(run_in_a_process("predict", "--json", "--model", made / "bundle", image))
    assert answer["status"] == "ok"
    assert answer["probability_covid"] == pytest.approx(row.probability_covid, abs=1e-4)
    assert answer["label"] == ("covid" if row.probability_covid >= answer["threshold"] else "non_covid")


def test_a_bundle_holds_the_classes_in_their_order_and_how_it_was_made(made: Path) -> None:
    assert json.loads((made / "bundle" / "class_indices.json").read_text()) == {"non_covid": 0, "covid": 1}
    manifest = json.loads((made / "bundle" / "bundle.json").read_text())
    assert manifest["parity"]["max_abs_difference"] <= 1e-4
    assert set(manifest["training"]["stages"]) == {"initial", "finetune"}
    history = pd.read_csv(made / "bundle" / "history.csv")
    assert history["stage"].tolist() == ["initial", "initial", "finetune"]
