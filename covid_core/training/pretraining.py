"""Trains the chest networks: one that sees every collection, and one for each thing that is left out to be judged on.

    runs/chest/images.csv        what is trained on and what is judged, row by row
               inputs.npy        prepared radiographs, uint8 (n, size, size)
               lower-K.npy       what the frozen blocks make of augmented copy K; `lower-plain` and `lower-mirrored` of the image
               opacities-K.npy   the share of each cell that lies in a radiologist's box
               NAME/             a network: weights, figures of each epoch, and a backup to go on from

Every file is written once; a run that was stopped goes on where it was. The dataset's own images (source `cohort`) are in the
table, so that each network's view of them is at hand, and are never trained on.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from covid_core.dataset.collections import APPEARANCES, TABLE_COLUMNS, group_copies, read_collections
from covid_core.dataset.prepare import read_split, split_image_paths
from covid_core.errors import TrainingError
from covid_core.files import read_json, write_json, written_aside
from covid_core.images.preprocess import prepare_files
from covid_core.training import runtime
from covid_core.training.augmentation import augment
from covid_core.training.chest_network import (
    BATCH_SIZE,
    CELL_SIDE,
    Batches,
    ChestNetwork,
    build_network,
    compile_upper,
    shares_of,
)
from covid_core.training.chest_recipe import COHORT, NETWORKS, ChestRecipe, LeftOut

IMAGES_NAME = "images.csv"
WEIGHTS_NAME = "network.weights.h5"

Say = Callable[[str], None]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class ChestRun:
    """A folder of `pretrain`.

    Attributes:
        folder: where it is.
        images: one row an image, `TABLE_COLUMNS`; those of the dataset first, with source `cohort`.
        recipe: every choice made before training.
    """

    folder: Path
    images: pd.DataFrame
    recipe: ChestRecipe

    def array(self, name: str) -> NDArray[Any]:
        """One of the arrays, read as it is needed."""
        array: NDArray[Any] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return array

    def seen_by(self, network: LeftOut) -> Bools:
        """Which images a network is trained on, bool (n,)."""
        source, group = self.images["source"], self.images["group"]
        held = self.images["site"].isin(network.sites) | (source == network.source)
        return (~group.isin(group[held]) & (source != COHORT)).to_numpy(np.bool_)


def pretrain(
    collections: Path,
    dataset: Path,
    out: Path,
    recipe: ChestRecipe,
    *,
    weights_file: Path | None = None,
    external: tuple[Path, ...] = (),
    say: Say,
) -> ChestRun:
    """Train every network of `NETWORKS`; what is there already is not done again.

    Args:
        collections: as `covid_core.dataset.collections.read_collections` takes it.
        dataset: the prepared dataset that the reader is judged on; images that are copies of its images are left out.
        out: the run's folder.
        recipe: every choice; it must be that of a run that is gone on with.
        weights_file: of the backbone, where the recipe names a file.
        external: folders of images that nothing may be trained on.
        say: called with a line for each step.

    Raises:
        DatasetError: a collection or the dataset cannot be read.
        TrainingError: `out` holds a run of another recipe, or weights cannot be had.
        ImageRefusedError: an image cannot be decoded.
    """
    runtime.configure(recipe.seed, recipe.threads, deterministic=False)
    run = _open(collections, dataset, out, recipe, external=external, say=say)
    network = build_network(recipe, weights_file)
    _prepare_arrays(run, network, say)
    for left_out in NETWORKS:
        _train(run, left_out, weights_file, say)
    return run


def load_network(run: ChestRun, left_out: LeftOut, weights_file: Path | None = None) -> ChestNetwork:
    """A trained network of a run.

    Raises:
        TrainingError: it is not trained yet.
    """
    path = run.folder / left_out.name / WEIGHTS_NAME
    if not path.is_file():
        raise TrainingError(f"{path} is missing: run `pretrain` first, or again to go on.")
    network = build_network(run.recipe, weights_file)
    network.upper.load_weights(path)
    return network


def open_run(folder: Path) -> ChestRun:
    """Open a finished run.

    Raises:
        TrainingError: there is none, or it is of another version.
    """
    recipe = read_json(folder / "recipe.json", TrainingError)
    try:
        return ChestRun(folder, _read_images(folder / IMAGES_NAME), ChestRecipe.from_json(recipe))
    except (KeyError, TypeError, ValueError) as cause:
        raise TrainingError(f"{folder} is a run of another version: {cause}. Run `pretrain` again.") from cause


def _open(
    collections: Path, dataset: Path, out: Path, recipe: ChestRecipe, *, external: tuple[Path, ...], say: Say
) -> ChestRun:
    settings = json.loads(json.dumps(recipe.to_json()))
    if (out / "recipe.json").exists():
        if read_json(out / "recipe.json", TrainingError) != settings:
            raise TrainingError(f"{out} is a run of another recipe. Choose another --out.")
        return ChestRun(out, _read_images(out / IMAGES_NAME), recipe)
    say("comparing every image with every other, to find copies")
    cohort_paths = split_image_paths(dataset)
    strangers = [path for folder in external for path in sorted((folder / "images").iterdir())]
    images, left_out = group_copies(read_collections(collections), [*cohort_paths, *strangers])
    say(f"{len(images)} images; {left_out} left out as copies of images that are judged")
    split = read_split(dataset)
    cohort = pd.DataFrame(
        {
            **dict.fromkeys(TABLE_COLUMNS, ""),
            "path": [str(path) for path in cohort_paths],
            "source": COHORT,
            "group": "cohort " + split["group"].astype(str),
            "finding": split["finding"],
            "known_positive": False,
            "child": False,
            "covid": (split["label"] == "covid").astype(float),
        }
    )
    sizes = ["pattern", "width", "height", "original_width", "original_height"]
    cohort[sizes] = np.nan
    table = pd.concat([cohort, images], ignore_index=True)
    with written_aside(out / IMAGES_NAME) as aside:
        table.to_csv(aside, index=False, lineterminator="\n")
    write_json(out / "recipe.json", settings)
    return ChestRun(out, _read_images(out / IMAGES_NAME), recipe)


def _read_images(path: Path) -> pd.DataFrame:
    texts = ("path", "source", "group", "site", "finding", "appearance", "opacities")
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(texts, "str"))
    except (OSError, ValueError) as cause:
        raise TrainingError(f"{path} cannot be read: {cause}. Run `pretrain` again.") from cause
    table[list(texts)] = table[list(texts)].fillna("")
    return table


def _prepare_arrays(run: ChestRun, network: ChestNetwork, say: Say) -> None:
    size, count = run.recipe.preparation.size, len(run.images)
    if not (run.folder / "inputs.npy").exists():
        say(f"decoding {count} images")
        _save(
            run.folder / "inputs.npy",
            prepare_files([Path(path) for path in run.images["path"]], run.recipe.preparation),
        )
    inputs = run.array("inputs")
    boxes = [_box_mask(row, size) for row in run.images[["opacities", "width", "height"]].itertuples(index=False)]
    forward = tf.function(lambda batch: network.lower(batch, training=False), reduce_retracing=True)

    def lower(made: Callable[[int], tuple[NDArray[np.uint8], NDArray[np.uint8]]], name: str) -> None:
        if (run.folder / f"lower-{name}.npy").exists():
            return
        say(f"frozen blocks over {count} images, {name}")
        shape = network.lower.output.shape[1:]
        with written_aside(run.folder / f"lower-{name}.npy") as aside:
            found = np.lib.format.open_memmap(aside, "w+", np.float16, (count, *shape))
            shares = np.empty((count, size // CELL_SIDE, size // CELL_SIDE), np.float16)
            for start, batch in _in_batches(made, count):
                end = start + len(batch)
                found[start:end] = forward(
                    tf.constant(np.stack([one for one, _ in batch])[..., None].astype(np.float32))
                )
                shares[start:end] = shares_of(np.stack([mask for _, mask in batch]))[..., 0] / 255
            found.flush()
            _save(run.folder / f"opacities-{name}.npy", shares)

    def copy(number: int) -> Callable[[int], tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        seed = run.recipe.seed
        return lambda index: augment(inputs[index], boxes[index], np.random.default_rng([seed, number, index]))

    lower(lambda index: (inputs[index], boxes[index]), "plain")
    lower(lambda index: (inputs[index][:, ::-1], boxes[index][:, ::-1]), "mirrored")
    for number in range(run.recipe.copies):
        lower(copy(number), str(number))


def _in_batches(
    made: Callable[[int], tuple[NDArray[np.uint8], NDArray[np.uint8]]], count: int
) -> Iterator[tuple[int, list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]]]:
    """Batches of images and masks, made by threads."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, count, BATCH_SIZE):
            yield start, list(pool.map(made, range(start, min(start + BATCH_SIZE, count))))


def _box_mask(row: Any, size: int) -> NDArray[np.uint8]:
    """Radiologists' boxes as 255 on 0, uint8 (size, size), squashed as the image is."""
    mask = Image.new("L", (size, size))
    draw = ImageDraw.Draw(mask)
    for box in row.opacities.split(";") if row.opacities else ():
        left, top, width, height = (float(value) for value in box.split(","))
        across, down = size / row.width, size / row.height
        draw.rectangle((left * across, top * down, (left + width) * across, (top + height) * down), fill=255)
    return np.asarray(mask)


def training_weights(run: ChestRun, rows: Bools) -> dict[str, NDArray[np.float32]]:
    """What each label counts: 0 where it is unknown; the two answers to the second question weigh the same in all."""
    images = run.images
    usual = images["source"].map(run.recipe.source_weight).fillna(0.0).to_numpy(np.float32) * rows
    appearance = usual * (images["appearance"] != "").to_numpy()
    clear = (images["source"] == "siim") | (images["pattern"] == 0)  # no boxes where nobody looked for opacities
    covid = usual * images["covid"].notna().to_numpy()
    total = covid.sum()
    for answer in (0.0, 1.0):
        chosen = (images["covid"] == answer).to_numpy()
        covid[chosen] *= total / 2 / max(covid[chosen].sum(), 1e-6)
    return {
        "opacity": usual * clear.to_numpy(),
        "appearance": appearance,
        "pattern": usual * images["pattern"].notna().to_numpy(),
        "covid": covid,
    }


def _train(run: ChestRun, left_out: LeftOut, weights_file: Path | None, say: Say) -> None:
    folder, recipe = run.folder / left_out.name, run.recipe
    if (folder / WEIGHTS_NAME).is_file():
        return
    folder.mkdir(exist_ok=True)
    rows = run.seen_by(left_out)
    say(f"network {left_out.name}: {int(rows.sum())} images, {recipe.epochs} epochs")
    keras.utils.set_random_seed(recipe.seed)
    upper = build_network(recipe, weights_file).upper
    history, backup = folder / "history.csv", folder / "backup"
    done = _epochs_done(backup)
    if not done:
        history.unlink(missing_ok=True)
    copies = range(recipe.copies)
    batches = Batches(
        [run.array(f"lower-{copy}") for copy in copies],
        [run.array(f"opacities-{copy}") for copy in copies],
        {
            "appearance": run.images["appearance"]
            .map({name: at for at, name in enumerate(APPEARANCES)})
            .fillna(0)
            .to_numpy(np.int64),
            "pattern": run.images["pattern"].fillna(0.0).to_numpy(np.float32),
            "covid": run.images["covid"].fillna(0.0).to_numpy(np.float32),
        },
        training_weights(run, rows),
        rows=np.flatnonzero(rows),
        recipe=recipe,
        first_epoch=done,
    )
    compile_upper(upper, recipe, recipe.epochs * len(batches))
    upper.fit(
        batches,
        epochs=recipe.epochs,
        shuffle=False,
        verbose=0,
        callbacks=[
            keras.callbacks.BackupAndRestore(str(backup), double_checkpoint=True, delete_checkpoint=False),
            keras.callbacks.CSVLogger(str(history), append=True),
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: say(f"  epoch {epoch + 1}: loss {(logs or {})['loss']:.4f}")
            ),
        ],
    )
    partial = folder / "partial.weights.h5"
    upper.save_weights(partial)
    partial.replace(folder / WEIGHTS_NAME)
    shutil.rmtree(backup, ignore_errors=True)  # not before: a run that was stopped goes on from it


def _epochs_done(backup: Path) -> int:
    """How many epochs a backup of Keras holds."""
    metadata = backup / "training_metadata.json"
    return int(read_json(metadata, TrainingError)["epoch"]) if metadata.exists() else 0


def _save(path: Path, array: NDArray[Any]) -> None:
    with written_aside(path) as aside:
        np.save(aside, array)
