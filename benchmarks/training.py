"""What training saves by decoding each film once. Needs the training environment.

python -m covid_core prepare --dataset data/covid-chestxray-dataset --out dataset
python benchmarks/training.py --dataset dataset

The input of one epoch, augmented, with no training step behind it: every file decoded and prepared anew in each epoch, against
films decoded once and kept in memory. In turn, median of 3 pairs: the first epoch, in which both decode, and the second.

Writes benchmarks/training.json, from which docs/EXPERIMENTS.md gets its table. Both pipelines have the threads, batch size,
augmentation and deterministic kernels of a training run. Every file is read once beforehand, so that no disk is measured. This
module does not know how well anything learns.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from covid_core.training import runtime  # noqa: E402  (its room sets what TensorFlow reads from the environment: first)

# isort: split
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import tensorflow as tf  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from PIL import Image  # noqa: E402

from covid_core.dataset.prepare import read_split, split_image_path  # noqa: E402
from covid_core.files import write_json  # noqa: E402
from covid_core.images.decode import decode_file  # noqa: E402
from covid_core.images.preprocess import prepare, prepare_files  # noqa: E402
from covid_core.labels import CLASS_INDICES  # noqa: E402
from covid_core.training.pipeline import augmentation_layers, training_batches  # noqa: E402
from covid_core.training.recipe import Recipe  # noqa: E402

RESULT = PROJECT / "benchmarks" / "training.json"
FEWEST_FILMS = 64


def plain_batches(paths: list[Path], labels: NDArray[np.int64], recipe: Recipe) -> tf.data.Dataset:
    """What `training_batches` gives, from files that are decoded and prepared anew in each epoch."""
    size = recipe.preparation.size
    layers = augmentation_layers(recipe.augmentation, recipe.seed)

    def decode(path: bytes) -> NDArray[np.uint8]:
        return prepare(decode_file(Path(path.decode())), recipe.preparation)

    def read(path: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Declared free of state, as it is: deterministic TensorFlow would run it in one thread otherwise.
        film = tf.ensure_shape(tf.numpy_function(decode, [path], tf.uint8, stateful=False), (size, size))
        return tf.cast(film, tf.float32)[..., None], tf.cast(label, tf.float32)[None]

    def augment(batch: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        for layer in layers:
            batch = layer(batch, training=True)
        return tf.clip_by_value(batch, 0.0, 255.0), targets

    names = tf.data.Dataset.from_tensor_slices(([str(path) for path in paths], labels))
    shuffled = names.shuffle(len(paths), seed=recipe.seed, reshuffle_each_iteration=True)
    return shuffled.map(read, num_parallel_calls=os.cpu_count()).batch(recipe.batch_size).map(augment).prefetch(2)


def kept_batches(paths: list[Path], labels: NDArray[np.int64], recipe: Recipe) -> tf.data.Dataset:
    """The films decoded once, as `train` does it."""
    films = prepare_files(paths, recipe.preparation)
    return training_batches(
        films, labels, batch_size=recipe.batch_size, augmentation=recipe.augmentation, seed=recipe.seed
    )


def two_epochs(batches: Callable[[], tf.data.Dataset]) -> tuple[float, float]:
    """Seconds until the first epoch is through, with all that comes before its first batch; and those of the second."""
    start = time.perf_counter()
    dataset = batches()
    exhaust(dataset)
    middle = time.perf_counter()
    exhaust(dataset)
    return middle - start, time.perf_counter() - middle


def exhaust(dataset: tf.data.Dataset) -> None:
    """Take every batch of a dataset."""
    for _ in dataset:
        pass


def epoch_input(paths: list[Path], labels: NDArray[np.int64], recipe: Recipe, runs: int) -> dict[str, float]:
    """Median seconds of the first and of a further epoch, the plain way and ours."""
    pairs = [
        (
            *two_epochs(lambda: plain_batches(paths, labels, recipe)),
            *two_epochs(lambda: kept_batches(paths, labels, recipe)),
        )
        for _ in range(runs)
    ]
    names = ("plain_first_seconds", "plain_further_seconds", "kept_first_seconds", "kept_further_seconds")
    return {
        name: rounded(statistics.median(times)) for name, times in zip(names, zip(*pairs, strict=True), strict=True)
    }


def sizes(paths: list[Path]) -> dict[str, float]:
    """How large the files are. Each is read whole, so that it stands in the memory of the operating system afterwards."""
    read = sum(len(path.read_bytes()) for path in paths)
    pixels = []
    for path in paths:
        with Image.open(path) as image:
            pixels.append(image.width * image.height)
    return {"files_mib": rounded(read / 2**20), "median_megapixels": rounded(statistics.median(pixels) / 1e6)}


def rounded(value: float) -> float:
    """Four significant digits; no clock here is better."""
    return float(f"{value:.4g}")


def drawn(dataset: Path, films: int) -> pd.DataFrame:
    """Films of the training part, drawn at random from a fixed seed: rows of `split.csv`."""
    table = read_split(dataset)
    table = table[table["part"] == "train"]
    if not FEWEST_FILMS <= films <= len(table):
        raise SystemExit(f"--films must be from {FEWEST_FILMS} to {len(table)}, the training part. Received: {films}")
    return table.sample(n=films, random_state=0)


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=PROJECT / "dataset", help="a folder written by `prepare`")
    parser.add_argument("--films", type=int, default=300, help="films of the training part")
    parser.add_argument("--runs", type=int, default=3, help="how often each is measured")
    options = parser.parse_args()
    recipe = Recipe()
    table = drawn(options.dataset, options.films)
    runtime.configure(recipe.seed, recipe.threads)
    paths = [split_image_path(options.dataset, row) for _, row in table.iterrows()]
    labels = np.array([CLASS_INDICES[label] for label in table["label"]], np.int64)
    result = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "tensorflow": tf.__version__,
        "films": len(paths),
        **sizes(paths),
        "input_side": recipe.preparation.size,
        "batch_size": recipe.batch_size,
        "runs": options.runs,
        "epoch_input": epoch_input(paths, labels, recipe, options.runs),
    }
    write_json(RESULT, result)
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
