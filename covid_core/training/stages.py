"""The two stages: initial training over a frozen lower backbone, then fine-tuning of all layers.

python -m covid_core train --dataset dataset --weights imagenet --out runs/mobilenetv2
python -m covid_core finetune --run runs/mobilenetv2
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from covid_core.dataset.prepare import read_split, split_image_path
from covid_core.dataset.split import count_parts
from covid_core.errors import TrainingError
from covid_core.files import sha256_of_file
from covid_core.images.preprocess import Preparation, prepare_files
from covid_core.labels import CLASS_INDICES
from covid_core.training import backbones, pipeline, runtime
from covid_core.training.callbacks import MONITOR, stage_callbacks
from covid_core.training.export import load_trained
from covid_core.training.recipe import Recipe, Stage
from covid_core.training.run import Run, discard, new_run, open_run, read_history, record_finished, resumable

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PartImages:
    """Prepared images of one part: the rows of `split.csv`, uint8 (n, size, size), and int64 (n,), 1 for covid."""

    table: pd.DataFrame
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


def load_images(
    dataset: Path, parts: tuple[str, ...], preparation: Preparation, progress: Progress | None = None
) -> dict[str, PartImages]:
    """Decode and prepare the images of some parts (`train`, `val`, `test`) of a prepared dataset.

    Args:
        dataset: a folder written by `prepare`.
        parts: which.
        preparation: how a picture becomes a model's input.
        progress: called with (done, total), over all parts.

    Raises:
        DatasetError: the folder is not a prepared dataset.
        ImageRefusedError: an image cannot be decoded any more.
    """
    table = read_split(dataset)
    table = table[table["part"].isin(parts)].reset_index(drop=True)
    paths = [split_image_path(dataset, row) for _, row in table.iterrows()]
    pixels = prepare_files(paths, preparation, progress)
    labels = np.array(table["label"].map(CLASS_INDICES), np.int64)
    images = {}
    for part in parts:
        rows = (table["part"] == part).to_numpy()
        images[part] = PartImages(table[rows].reset_index(drop=True), pixels[rows], labels[rows])
    return images


def train(
    dataset: Path,
    out: Path,
    recipe: Recipe,
    *,
    weights_file: Path | None = None,
    restart: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Run the initial training, or go on with it where it was interrupted.

    Args:
        dataset: a folder written by `prepare`.
        out: the run's folder.
        recipe: every choice.
        weights_file: the backbone's weights when `recipe.weights` names a file.
        restart: throw away what `out` holds, once everything else is found in order.
        progress: called with (done, total) while images are decoded.

    Returns:
        The run, with stage `initial` finished.

    Raises:
        TrainingError: the run is finished already, was started differently, or its weights cannot be had.
        DatasetError: the dataset is not prepared.
    """
    dataset_record = _dataset_record(dataset)
    existing = None if restart else resumable(out, recipe, dataset_record)
    current = runtime.configure(recipe.seed, recipe.threads)
    if existing is not None:
        _check_runtime(existing, current)
    images = load_images(dataset, ("train", "val"), recipe.preparation, progress)
    model = backbones.build_classifier(recipe, weights_file)
    backbones.freeze_lower(model, recipe.frozen_share)
    if restart:  # not before everything that can fail has not
        discard(out)
    if existing is None:
        origin = {"versions": runtime.package_versions(), "commit": runtime.source_commit()}
        existing = new_run(out, recipe, dataset_record, {"runtime": asdict(current), **origin})
    return _fit(existing, "initial", model, images)


def finetune(folder: Path, progress: Progress | None = None) -> Run:
    """Fine-tune all layers of a trained run at a low learning rate, or go on where that was interrupted.

    Args:
        folder: a run whose initial training is finished.
        progress: called with (done, total) while images are decoded.

    Raises:
        TrainingError: the initial training is not finished, fine-tuning is, or the dataset has changed since.
    """
    run = open_run(folder)
    run.require("initial")
    if run.is_finished("finetune"):
        raise TrainingError(f"{folder} is fine-tuned already. Train another run to try again.")
    check_dataset(run)
    _check_runtime(run, runtime.configure(run.recipe.seed, run.recipe.threads))
    images = load_images(run.dataset, ("train", "val"), run.recipe.preparation, progress)
    model = load_trained(run.best_model("initial"))
    backbones.freeze_lower(model, 0.0)
    return _fit(run, "finetune", model, images)


def check_dataset(run: Run) -> None:
    """Check that the dataset is still the one the run learned from.

    Raises:
        TrainingError: `split.csv` has changed.
    """
    if _dataset_record(run.dataset)["split_sha256"] != run.record["dataset"]["split_sha256"]:
        raise TrainingError(
            f"{run.dataset / 'split.csv'} has changed since {run.folder} was trained: images of its training part could "
            "stand in the test part now. Prepare the dataset again with the former settings, or train a new run."
        )


def _check_runtime(run: Run, current: runtime.Runtime) -> None:
    """Refuse to go on under settings that give other sums than those the run has recorded."""
    if run.record.get("runtime", asdict(current)) != asdict(current):
        raise TrainingError(
            f"{run.folder} was started with {run.record['runtime']}, now it is {asdict(current)}. Set TF_ENABLE_ONEDNN_OPTS "
            "as it was to go on, or train a new run."
        )


def _fit(run: Run, stage: Stage, model: keras.Model, images: dict[str, PartImages]) -> Run:
    recipe, settings, folder = run.recipe, run.recipe.stage(stage), run.stage_folder(stage)
    folder.mkdir(parents=True, exist_ok=True)
    train_part, val_part = images["train"], images["val"]
    model.compile(
        optimizer=keras.optimizers.Adam(settings.learning_rate),
        loss=keras.losses.BinaryCrossentropy(),
        metrics=[keras.metrics.AUC(name="auc")],
    )
    model.fit(
        pipeline.training_batches(
            train_part.pixels, train_part.labels, recipe.batch_size, augmentation=recipe.augmentation, seed=recipe.seed
        ),
        validation_data=pipeline.fixed_batches(val_part.pixels, val_part.labels, recipe.batch_size),
        epochs=settings.max_epochs,
        class_weight=pipeline.balanced_class_weights(train_part.labels),
        callbacks=stage_callbacks(folder, settings, title=stage),
        verbose=0,
        shuffle=False,  # the dataset shuffles itself
    )
    history = read_history(folder / "history.csv")
    best = history.iloc[int(history[MONITOR].argmin())]
    entry = {
        "epochs": len(history),
        "best_epoch": int(best["epoch"]),
        "val_loss": float(best["val_loss"]),
        "val_auc": float(best["val_auc"]),
        "seconds": round(float(history["seconds"].sum()), 1),
    }
    return record_finished(run, stage, entry)


def _dataset_record(dataset: Path) -> dict[str, Any]:
    counts = count_parts(read_split(dataset)).to_dict("records")
    return {
        "folder": str(dataset.resolve()),
        "split_sha256": sha256_of_file(dataset / "split.csv"),
        "counts": counts,
    }
