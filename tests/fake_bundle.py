"""Complete model bundles around tiny networks, so that tests of serving need no trained model.

There are two kinds, as there are in `models/`: a classifier with the layers of `covid_core.training.backbones` under their names,
but a backbone of two convolutions; and a chest reader, put together by `covid_core.training.chest_heads` of parts as small, with
two questions, maps of lungs and opacities, and members of an ensemble. Making them needs TensorFlow (LiteRT files are converted
by it); where that is not installed the tests that ask for a bundle are skipped.
"""
# ruff: noqa: PLC0415  TensorFlow is imported only where it is needed

import hashlib
import json
import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from covid_core.dataset.prepare import read_split
from covid_core.evaluation.calibration import Calibration
from covid_core.evaluation.conformal import ThreeWay
from covid_core.evaluation.evaluate import evaluate
from covid_core.evaluation.summary import OUT_OF_FOLD
from covid_core.files import sha256_of_file, write_json, write_text
from covid_core.images.preprocess import Preparation
from covid_core.inference.bundle import CHEST_STAGE, write_manifest
from covid_core.inference.gate import GRID, Gate, save_gate
from covid_core.labels import CLASS_INDICES
from covid_core.report.model_card import model_card

SIZE = 64
THREADS = 2
OUTPUT_BIAS = -1.1
"""Brings the images of `write_image` to both sides of 0.5."""
MEMBERS = 5
"""Of the ensemble of a chest bundle."""
PATTERN_THRESHOLD, OPACITY_THRESHOLD, OPACITY_ERROR = 0.4, 0.5, 0.11
CELLS = (SIZE // 8, SIZE // 8)
"""Of the feature map of both networks, and of the maps of the chest reader."""
CHANNELS = 8
"""Of the feature map of both networks."""
PREPARATION = Preparation(size=SIZE)
CALIBRATION = Calibration("platt", slope=1.4, intercept=-0.2, prevalence=0.5, fitted_on="validation part", n=40)


def start_tensorflow() -> None:
    """Start TensorFlow as training does, so that both can happen in one test process; skip where it is not installed."""
    if find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed here (requirements-train.txt)")
    from covid_core.training.runtime import configure

    configure(seed=0, threads=THREADS)


def tiny_classifier() -> Any:
    """A Keras classifier with fixed weights, whose P(covid) differs from image to image."""
    start_tensorflow()
    import keras

    from covid_core.training.backbones import HIDDEN_LAYER, OUTPUT_LAYER, POOLING_LAYER

    colours = keras.Input((SIZE, SIZE, 3))
    edges = keras.layers.Conv2D(6, 5, strides=4, padding="same", activation="relu", name="edges")(colours)
    shapes = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="shapes")(edges)
    backbone = keras.Model(colours, shapes, name="backbone")

    grey = keras.Input((SIZE, SIZE, 1), name="grey")
    channels = keras.layers.Concatenate(name="channels")([grey, grey, grey])
    scaled = keras.layers.Rescaling(scale=1 / 127.5, offset=-1.0, name="scaling")(channels)
    pooled = keras.layers.GlobalAveragePooling2D(name=POOLING_LAYER)(backbone(scaled))
    hidden = keras.layers.Dense(5, activation="relu", name=HIDDEN_LAYER)(pooled)
    dropped = keras.layers.Dropout(0.3, name="dropout")(hidden)
    output = keras.layers.Dense(1, activation="sigmoid", name=OUTPUT_LAYER)(dropped)
    model = keras.Model(grey, output, name="covid_tiny")
    weights = _random_weights([weight.shape for weight in model.weights], seed=21)
    weights[-1] += np.float32(OUTPUT_BIAS)
    model.set_weights(weights)
    return model


def tiny_reader() -> Any:
    """A Keras chest reader with fixed weights, whose answers and maps differ from radiograph to radiograph."""
    start_tensorflow()
    import keras

    from covid_core.training.chest_heads import Heads, build_reader
    from covid_core.training.chest_network import ChestNetwork

    grey = keras.Input((SIZE, SIZE, 1), name="grey")
    scaled = keras.layers.Rescaling(scale=1 / 127.5, offset=-1.0)(grey)
    edges = keras.layers.Conv2D(6, 5, strides=4, padding="same", activation="relu")(scaled)
    lower = keras.Model(grey, edges, name="lower")
    start = keras.Input(edges.shape[1:])
    cells = keras.layers.Conv2D(CHANNELS // 2, 3, strides=2, padding="same", activation="relu")(start)
    opacities = keras.layers.Conv2D(1, 1, activation="sigmoid")(cells)
    taps = keras.Model(start, [cells, opacities], name="taps")
    seen = keras.Input(cells.shape[1:])
    lungs = keras.Model(seen, keras.layers.Conv2D(1, 1, activation="sigmoid")(seen), name="lungs")
    for number, part in enumerate((lower, taps, lungs)):
        part.set_weights(_random_weights([weight.shape for weight in part.weights], seed=number))
    rng = np.random.default_rng(22)
    # About the mean and the spread of the pooled features of `write_image`: what it writes comes to both sides of each threshold.
    mean = np.array([0.14, 0.22, 0.63, 0.07, 0.22, 0.42, 1.65, 0.72])
    kernel = rng.normal(0, 1, (CHANNELS, 2)) / np.array([0.05, 0.05, 0.13, 0.02, 0.04, 0.09, 0.45, 0.18])[:, None]
    bias = 0.8 - mean @ kernel
    heads = [
        Heads((kernel + drawn).astype(np.float32), bias.astype(np.float32))
        for drawn in (0.0, *rng.normal(0, 0.5, (MEMBERS, CHANNELS, 2)))
    ]
    return build_reader(ChestNetwork(lower, taps, taps), lungs, heads[0], heads[1:])


def write_fake_bundle(
    folder: Path,
    *,
    threshold: float = 0.5,
    calibration: Calibration = CALIBRATION,
    three_way: ThreeWay | None = None,
) -> Path:
    """Write the bundle of a classifier, every file of which is well formed; its figures are invented.

    Args:
        folder: is made; its name becomes the model's name.
        threshold: P(covid) from which an image is called covid.
        calibration: from the network's output to P(covid).
        three_way: its three-way decision; a bundle without one has no such key.

    Returns:
        `folder`.
    """
    manifest = _manifest(folder.name, threshold, calibration, three_way)
    return _write(folder, _model_files(tiny_classifier), _predictions(calibration), _history(), manifest)


def write_fake_chest_bundle(
    folder: Path, *, threshold: float = 0.5, calibration: Calibration = CALIBRATION, three_way: ThreeWay | None = None
) -> Path:
    """Write the bundle of a chest reader, judged on five folds; all else as of `write_fake_bundle`."""
    predictions = _predictions(calibration)
    predictions = predictions.assign(part=OUT_OF_FOLD, fold=predictions["group"] % 5)
    manifest = _manifest(folder.name, threshold, calibration, three_way) | {
        "stage": CHEST_STAGE,
        "pattern_threshold": PATTERN_THRESHOLD,
        "opacity_threshold": OPACITY_THRESHOLD,
        "opacity_error": OPACITY_ERROR,
    }
    manifest["training"]["stages"] = {CHEST_STAGE: {"seconds": 7.5}}
    losses = pd.DataFrame({"stage": ["pretraining", "lungs"], "epoch": [1, 1], "loss": [0.7, 0.3]})
    return _write(folder, _model_files(tiny_reader), predictions, losses, manifest)


def _write(
    folder: Path,
    files: dict[str, bytes],
    predictions: pd.DataFrame,
    history: pd.DataFrame,
    manifest: dict[str, Any],
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    write_json(folder / "class_indices.json", CLASS_INDICES)
    threshold, part = manifest["threshold"]["value"], predictions["part"].iloc[-1]
    evaluation = evaluate(predictions, model=folder.name, threshold=threshold, part=part, n_resamples=50)
    write_json(folder / "evaluation.json", evaluation)
    predictions.to_csv(folder / "predictions.csv", index=False, lineterminator="\n")
    history.to_csv(folder / "history.csv", index=False, lineterminator="\n")
    write_text(folder / "MODEL_CARD.md", model_card(manifest, evaluation))
    write_manifest(folder, manifest)
    return folder


def fake_gate(*, limit: float = 2.0, child_limit: float = 2.0, channels: int = CHANNELS) -> Gate:
    """A gate that holds everything to be upright, and a child's with a probability of 0.5; no distance is above 2."""
    number = np.arange(7)
    references = np.abs(np.random.default_rng(9).normal(size=(7, channels))).astype(np.float32)
    return Gate(
        references=references / np.linalg.norm(references, axis=1, keepdims=True),
        filenames=np.array([f"film{one}.png" for one in number]),
        patientids=np.array([f"patient{one}" for one in number]),
        labels=np.where(number % 2 == 0, "covid", "non_covid"),
        sources=np.full(7, "www.eurorad.org"),
        fitted=number < 6,
        limit=np.array([limit], np.float32),
        pose_kernel=np.zeros((GRID**2 * channels, 2), np.float32),
        pose_bias=np.array([9, 0], np.float32),
        poses=np.array(["upright", "upside_down"]),
        upright_limit=np.array([0.5], np.float32),
        lateral_limit=np.zeros(1, np.float32),
        child_kernel=np.zeros(GRID**2 * channels, np.float32),
        child_bias=np.zeros(1, np.float32),
        child_limit=np.array([child_limit], np.float32),
    )


def add_fake_gate(folder: Path, **settings: Any) -> Path:
    """Give a bundle a gate, as of `fake_gate`."""
    save_gate(folder / "gate.npz", fake_gate(**settings))
    replace_file(folder, "gate.npz", (folder / "gate.npz").read_bytes())
    return folder


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Apply `change` to the content of `bundle.json` and write it back, NaN allowed; the hashes in it stay as they are."""
    manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    change(manifest)
    (folder / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """Replace a file of a bundle and its hash, as an export with other content would."""
    (folder / name).write_bytes(content)
    change_manifest(folder, lambda manifest: manifest["files"].update({name: hashlib.sha256(content).hexdigest()}))


def trained_on(folder: Path, dataset: Path, part: str | None = "out_of_fold") -> Path:
    """Make a bundle one that was trained on a dataset: all of it, judged out of fold, or its train part."""
    split = read_split(dataset)
    kept = ["filename", "patientid", "label", "part", "group", "source"]
    table = split[kept].assign(probability_raw=0.4, probability_covid=0.4)
    table = table.assign(part=part) if part else table[table["part"] != "train"]
    table.to_csv(folder / "predictions.csv", index=False)
    split_sha256 = sha256_of_file(dataset / "split.csv")
    change_manifest(folder, lambda manifest: manifest["training"]["dataset"].update(split_sha256=split_sha256))
    replace_file(folder, "predictions.csv", (folder / "predictions.csv").read_bytes())
    return folder


def write_image(path: Path, seed: int, height: int = 150, width: int = 130) -> Path:
    """Write a smooth grey picture, 8 bit, in the format that the name says."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 5), dtype=np.uint8)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


def _random_weights(shapes: list[tuple[int, ...]], seed: int) -> list[np.ndarray]:
    """Weights from NumPy, which are the same whatever Keras' initialisers do; large enough that images differ."""
    rng = np.random.default_rng(seed)
    fan_in = [np.prod(shape[:-1]) if len(shape) > 1 else 100 for shape in shapes]
    weights = [rng.normal(0, np.sqrt(8 / fan), shape) for shape, fan in zip(shapes, fan_in, strict=True)]
    return [weight.astype(np.float32) for weight in weights]


@cache
def _model_files(make: Callable[[], Any]) -> dict[str, bytes]:
    """Content of the files that TensorFlow makes of a model; made once in a test process."""
    from covid_core.training.export import head_weights, write_litert

    with TemporaryDirectory() as scratch, warnings.catch_warnings():
        # Keras 3.15 reads its variables by a way that NumPy 2 deprecates.
        warnings.filterwarnings("ignore", message="__array__ implementation", category=DeprecationWarning)
        folder, model = Path(scratch), make()
        model.save(folder / "model.keras")
        write_litert(model, folder / "model.tflite")
        np.savez(folder / "head.npz", **head_weights(model))  # type: ignore[arg-type]
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def _predictions(calibration: Calibration) -> pd.DataFrame:
    """Invented predictions of 40 images each of the validation and test parts, two images a patient."""
    rng = np.random.default_rng(5)
    number = np.arange(80)
    covid = number % 4 < 2
    raw = 1 / (1 + np.exp(-rng.normal(np.where(covid, 1.0, -1.0), 1.2)))
    return pd.DataFrame(
        {
            "filename": [f"film{index:02d}.png" for index in number],
            "patientid": [f"patient{index // 2:02d}" for index in number],
            "label": np.where(covid, "covid", "non_covid"),
            "part": np.where(number < 40, "val", "test"),
            "sha256": [hashlib.sha256(bytes([index])).hexdigest() for index in number],
            "group": number // 2,
            "source": np.where(number % 3 == 0, "radiopaedia.org", "www.eurorad.org"),
            "view": np.where(number % 5 == 0, "AP", "PA"),
            "sex": np.where(number % 4 == 0, "F", "M"),
            "age": 40.0 + number % 30,
            "finding": np.where(covid, "Pneumonia/Viral/COVID-19", "Pneumonia"),
            "probability_raw": raw,
            "probability_covid": calibration.apply(raw),
        }
    )


def _history() -> pd.DataFrame:
    epoch = np.array([1, 2, 3, 1, 2])
    stage = ["initial"] * 3 + ["finetune"] * 2
    loss = np.array([0.70, 0.62, 0.58, 0.55, 0.53])
    return pd.DataFrame(
        {
            "stage": stage,
            "architecture": "global average pooling, Dense 4, Dropout 0.3, one sigmoid",
            "epoch": epoch,
            "auc": 1 - loss / 2,
            "learning_rate": np.where(np.array(stage) == "initial", 1e-4, 1e-5),
            "loss": loss,
            "seconds": 2.5,
            "val_auc": 0.9 - loss / 2,
            "val_loss": loss + 0.05,
        }
    )


def _manifest(name: str, threshold: float, calibration: Calibration, three_way: ThreeWay | None) -> dict[str, Any]:
    stage = {"epochs": 3, "best_epoch": 3, "val_loss": 0.63, "val_auc": 0.61, "seconds": 7.5}
    counts = [
        {"part": part, "label": label, "images": 20, "patients": 10}
        for part in ("train", "val", "test")
        for label in ("covid", "non_covid")
    ]
    return {
        "name": name,
        "version": "2000-01-01-00000000",
        "created": "2000-01-01T00:00:00+00:00",
        "backbone": "tiny",
        "stage": "finetune",
        "architecture": "global average pooling, Dense 4, Dropout 0.3, one sigmoid",
        "preparation": PREPARATION.to_json(),
        "threshold": {"value": threshold, "method": "chosen for a test"},
        "calibration": calibration.to_json(),
        "parity": {"films": 40, "max_abs_difference": 1e-6, "limit": 1e-4},
        "starting_weights": {"name": "none", "sha256": None, "origin": "none: fixed numbers"},
        "training": {
            "recipe": {"backbone": "tiny", "hidden_units": 5, "dropout": 0.3, "frozen_share": 2 / 3},
            "dataset": {"split_sha256": "0" * 64, "counts": counts},
            "runtime": {"seed": 0, "threads": THREADS, "onednn": True},
            "versions": {"python": "3.11"},
            "commit": None,
            "stages": {"initial": stage, "finetune": {**stage, "epochs": 2, "best_epoch": 2}},
        },
        "licences": {"model": "none: made for tests"},
        **({"three_way": three_way.to_json()} if three_way is not None else {}),
    }
