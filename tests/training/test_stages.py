import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from covid_core.errors import TrainingError
from covid_core.files import sha256_of_file
from covid_core.images import preprocess
from covid_core.images.decode import decode_file
from covid_core.images.preprocess import Preparation, prepare
from covid_core.training import stages
from covid_core.training.backbones import BACKBONES, backbone_of
from covid_core.training.callbacks import PutInPlace, stage_callbacks
from covid_core.training.export import load_trained, predict_images
from covid_core.training.recipe import StageSettings
from covid_core.training.run import new_run, open_run, read_history, record_finished
from tests.conftest import PROJECT_DIR
from tests.training.tiny import IMAGES, SIZE, tiny_backbone, tiny_recipe, write_tiny_dataset

# Keras 3.15 reads its variables by a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from covid_core.training import callbacks, stages
from covid_core.training.backbones import BACKBONES
from tests.training.tiny import tiny_backbone, tiny_recipe
from covid_core.training.recipe import StageSettings

def killed(self, epoch, logs=None, ended=callbacks.ProgressBar.on_epoch_end):
    ended(self, epoch, logs)
    if epoch == 1:  # logged, but not backed up: the backup is the last of the callbacks
        os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[3] == "kill":
    callbacks.ProgressBar.on_epoch_end = killed
BACKBONES["tiny"] = tiny_backbone()
recipe = tiny_recipe(initial=StageSettings(max_epochs=5, learning_rate=1e-2, stop_patience=9))
stages.train(Path(sys.argv[1]), Path(sys.argv[2]), recipe)
"""


def validation_loss(model_path, dataset):
    """Binary cross-entropy on the validation part, from the probabilities that the saved model gives."""
    val = stages.load_images(dataset, ("val",), Preparation(size=SIZE))["val"]
    probability = np.clip(predict_images(load_trained(model_path), val.pixels), 1e-7, 1 - 1e-7)
    return -np.mean(np.where(val.labels == 1, np.log(probability), np.log(1 - probability)))


@pytest.fixture(scope="module")
def trained(tiny_dataset, tmp_path_factory):
    """A run that is trained, then fine-tuned, and how often an image was decoded for the first stage."""
    decoded = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "tiny", tiny_backbone())
        patch.setattr(preprocess, "decode_file", lambda path: decoded.append(path) or decode_file(path))
        folder = tmp_path_factory.mktemp("runs") / "tiny"
        stages.train(tiny_dataset, folder, tiny_recipe())
        n_decoded = len(decoded)
        run = stages.finetune(folder)
    return run, n_decoded


def test_images_come_with_their_labels_and_exactly_as_serving_prepares_them(tiny_dataset):
    images = stages.load_images(tiny_dataset, ("train", "test"), Preparation(size=SIZE))
    assert list(images) == ["train", "test"]
    for part, held in images.items():
        assert held.pixels.shape == (2 * IMAGES[part], SIZE, SIZE)
        for (_, row), pixels, label in zip(held.table.iterrows(), held.pixels, held.labels, strict=True):
            assert (row["part"], row["label"]) == (part, ("non_covid", "covid")[label])
            path = tiny_dataset / "split" / part / row["label"] / row["filename"]
            np.testing.assert_array_equal(pixels, prepare(decode_file(path), Preparation(size=SIZE)))


def test_an_image_is_decoded_once_and_the_record_says_what_the_run_learned_from(trained):
    run, n_decoded = trained
    assert n_decoded == 2 * (IMAGES["train"] + IMAGES["val"])
    counts = {(row["part"], row["label"]): (row["images"], row["patients"]) for row in run.record["dataset"]["counts"]}
    # two images a patient, see write_tiny_dataset
    assert counts == {
        (part, label): (count, count // 2) for part, count in IMAGES.items() for label in ("covid", "non_covid")
    }
    assert run.record["versions"]["keras"] == keras.__version__
    assert run.record["runtime"]["threads"] == run.recipe.threads


def test_both_stages_leave_their_best_model_and_their_log(trained, tiny_dataset):
    run, _ = trained
    assert open_run(run.folder).record["stages"].keys() == {"initial", "finetune"}
    history = run.history("finetune")
    assert history["stage"].tolist() == ["initial"] * 3 + ["finetune"] * 2
    assert history["epoch"].tolist() == [1, 2, 3, 1, 2]
    assert {"loss", "auc", "val_loss", "val_auc", "learning_rate", "seconds"} <= set(history.columns)
    for stage in ("initial", "finetune"):
        lowest = history.loc[history["stage"] == stage, "val_loss"].min()
        assert validation_loss(run.best_model(stage), tiny_dataset) == pytest.approx(lowest, rel=1e-4)
        assert run.record["stages"][stage]["val_loss"] == pytest.approx(lowest)
        assert not (run.stage_folder(stage) / "backup").exists()


def test_fine_tuning_starts_from_the_best_model_and_frees_the_lower_layers(trained):
    run, _ = trained
    initial, finetuned = (backbone_of(load_trained(run.best_model(stage))) for stage in ("initial", "finetune"))
    lowest = "convolution_0"  # among the lower two thirds, which the first stage left as they were built
    assert not initial.get_layer(lowest).trainable
    assert finetuned.get_layer(lowest).trainable
    difference = np.abs(np.asarray(initial.get_layer(lowest).kernel) - np.asarray(finetuned.get_layer(lowest).kernel))
    assert 0 < difference.max() < 0.1
    for backbone in (initial, finetuned):
        normalisation = backbone.get_layer("normalisation_2")
        np.testing.assert_array_equal(np.asarray(normalisation.moving_mean), 0)
        np.testing.assert_array_equal(np.asarray(normalisation.moving_variance), 1)


def test_a_finished_stage_is_not_trained_again(trained, tiny_dataset):
    run, _ = trained
    before = run.best_model("finetune").read_bytes()
    with pytest.raises(TrainingError, match="is finished"):
        stages.train(tiny_dataset, run.folder, tiny_recipe())
    with pytest.raises(TrainingError, match="fine-tuned already"):
        stages.finetune(run.folder)
    assert run.best_model("finetune").read_bytes() == before


def test_fine_tuning_waits_for_the_initial_training_and_refuses_a_damaged_model_or_another_split(tmp_path):
    dataset = write_tiny_dataset(tmp_path / "dataset")
    record = {"folder": str(dataset), "split_sha256": sha256_of_file(dataset / "split.csv"), "counts": []}
    run = new_run(tmp_path / "run", tiny_recipe(), record, {})
    with pytest.raises(TrainingError, match="Run `train` first"):
        stages.finetune(run.folder)
    run.stage_folder("initial").mkdir()
    record_finished(run, "initial", {"epochs": 1})
    run.best_model("initial").write_bytes(b"half a model")
    with pytest.raises(TrainingError, match=r"best\.keras cannot be loaded"):
        stages.finetune(run.folder)
    table = pd.read_csv(dataset / "split.csv")
    table.iloc[::-1].to_csv(dataset / "split.csv", index=False)
    with pytest.raises(TrainingError, match="has changed since"):
        stages.finetune(run.folder)


def test_the_backup_is_the_last_that_happens_in_an_epoch(tmp_path):
    kinds = [type(callback).__name__ for callback in stage_callbacks(tmp_path, StageSettings(3, 1e-4), title="initial")]
    assert kinds.index("EpochClock") < kinds.index("CSVLogger")
    assert kinds.index("ReduceLROnPlateau") < kinds.index("CSVLogger")
    assert kinds.index("ModelCheckpoint") < kinds.index("BackupAndRestore")
    assert kinds[-1] == "BackupAndRestore"
    stopping = stage_callbacks(tmp_path, StageSettings(3, 1e-4), title="initial")[kinds.index("EarlyStopping")]
    assert stopping.monitor == "val_loss"
    assert stopping.restore_best_weights


def process(*arguments):
    """A Python process in the project's folder, as a fresh command would be."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_DIR)}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=PROJECT_DIR,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was_and_keeps_the_best_of_all_epochs(tiny_dataset, tmp_path):
    folder = tmp_path / "run"
    first = process("-c", INTERRUPTED, tiny_dataset, folder, "kill")
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    logged = pd.read_csv(folder / "initial" / "history.csv")
    assert logged["epoch"].tolist() == [0, 1]
    assert any((folder / "initial" / "backup").iterdir())
    assert not open_run(folder).is_finished("initial")

    second = process("-c", INTERRUPTED, tiny_dataset, folder, "go on")
    out, err = second.communicate()
    assert second.returncode == 0, err
    epochs = [line.split("/")[0].split()[-1] for line in out.splitlines() if line.startswith("initial epoch")]
    assert epochs == ["2", "3", "4", "5"]  # not from 1: the first epoch was backed up, the second was not
    assert read_history(folder / "initial" / "history.csv")["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert open_run(folder).record["stages"]["initial"]["epochs"] == 5
    rows = pd.read_csv(folder / "initial" / "history.csv")  # with both of the second epoch
    assert len(rows) == 6
    best = folder / "initial" / "best.keras"
    assert validation_loss(best, tiny_dataset) == pytest.approx(rows["val_loss"].min(), rel=1e-4)


def test_a_worse_epoch_after_the_resumption_does_not_replace_the_best_model(tmp_path):
    (tmp_path / "history.csv").write_text("epoch,val_loss\n0,0.5\n1,0.4\n2,0.6\n")
    keepers = [
        callback
        for callback in stage_callbacks(tmp_path, StageSettings(9, 1e-4), title="initial")
        if isinstance(callback, keras.callbacks.ModelCheckpoint | PutInPlace)
    ]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    for keeper in keepers:
        keeper.set_model(model)
        keeper.on_epoch_end(3, {"val_loss": 0.45})
    assert not (tmp_path / "best.keras").exists()
    for keeper in keepers:
        keeper.on_epoch_end(4, {"val_loss": 0.35})
    assert (tmp_path / "best.keras").exists()


def test_a_checkpoint_that_was_cut_short_by_a_kill_is_not_put_in_place(tmp_path):
    (tmp_path / "best.keras").write_bytes(b"whole")
    (tmp_path / "best.partial.keras").write_bytes(b"hal")
    keeper = PutInPlace(tmp_path / "best.partial.keras", tmp_path / "best.keras")
    keeper.on_train_begin()
    keeper.on_epoch_end(0)
    assert (tmp_path / "best.keras").read_bytes() == b"whole"


def weights_in(path):
    """The content of the weights file inside a saved model."""
    with zipfile.ZipFile(path) as archive:
        return archive.read("model.weights.h5")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_in_two_fresh_processes(tiny_dataset, tmp_path):
    folders = {name: tmp_path / name for name in ("one", "two")}
    settings = ("--weights", "none", "--size", SIZE, "--epochs", 2, "--batch-size", 12, "--threads", 1, "--seed", 11)
    started = [
        process("-m", "covid_core", "train", "--dataset", tiny_dataset, "--out", folder, *settings)
        for folder in folders.values()
    ]
    for each in started:
        _, err = each.communicate()
        assert each.returncode == 0, err
    one, two = (read_history(folder / "initial" / "history.csv").drop(columns="seconds") for folder in folders.values())
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    first, second = (load_trained(folder / "initial" / "best.keras").get_weights() for folder in folders.values())
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert Path(folders["one"] / "run.json").is_file()
