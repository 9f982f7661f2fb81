"""A complete model bundle around a tiny network, so that tests of serving need no trained model.

The network has the layers of `covid_core.training.backbones` under their names, but a backbone of two convolutions.
Making it needs TensorFlow (LiteRT files are converted by it); where that is not installed the tests that ask for a bundle
are skipped.
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

from covid_core.evaluation.calibration import Calibration
from covid_core.evaluation.conformal import ThreeWay
from covid_core.evaluation.report import evaluate
from covid_core.images.preparation import Preparation
from covid_core.inference.bundle import write_manifest
from covid_core.labels import CLASS_INDICES
from covid_core.model_card import model_card
from covid_core.storage import write_json, write_text

SIZE = 64
THREADS = 2
OUTPUT_BIAS = -1.1
"""Brings the films of `write_film` to both sides of 0.5."""
PREPARATION = Preparation(size=SIZE)
CALIBRATION = Calibration("platt", slope=1.4, intercept=-0.2, prevalence=0.5, fitted_on="validation part", n=40)


def start_tensorflow() -> None:
    """Start TensorFlow as training does, so that both can happen in one test process; skip where it is not installed."""
    if find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed here (requirements-train.txt)")
    from covid_core.training.runtime import configure

    configure(seed=0, threads=THREADS)


def tiny_classifier() -> Any:
    """A Keras classifier with fixed weights, whose P(covid) differs from film to film."""
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
    model.set_weights(_fixed_weights([weight.shape for weight in model.weights]))
    return model


def write_fake_bundle(
    folder: Path,
    *,
    threshold: float = 0.5,
    calibration: Calibration = CALIBRATION,
    three_way: ThreeWay | None = None,
) -> Path:
    """Write a bundle whose every file is well formed; its figures are invented.

    Args:
        folder: is made; its name becomes the model's name.
        threshold: P(covid) from which a film is called covid.
        calibration: from the network's output to P(covid).
        three_way: its three-way decision; a bundle without one has no such key.

    Returns:
        `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in _model_files().items():
        (folder / name).write_bytes(content)
    write_json(folder / "class_indices.json", CLASS_INDICES)
    predictions = _predictions(calibration)
    evaluation = evaluate(predictions, model=folder.name, threshold=threshold, part="test", n_resamples=50)
    write_json(folder / "evaluation.json", evaluation)
    predictions.to_csv(folder / "predictions.csv", index=False, lineterminator="\n")
    _history().to_csv(folder / "history.csv", index=False, lineterminator="\n")
    manifest = _manifest(folder.name, threshold, calibration)
    if three_way is not None:
        manifest["three_way"] = three_way.to_json()
    write_text(folder / "MODEL_CARD.md", model_card(manifest, evaluation))
    write_manifest(folder, manifest)
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


def write_film(path: Path, seed: int, height: int = 150, width: int = 130) -> Path:
    """Write a smooth grey picture, 8 bit, in the format that the name says."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 5), dtype=np.uint8)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


def _fixed_weights(shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Weights from NumPy, which are the same whatever Keras' initialisers do; large enough that films differ."""
    rng = np.random.default_rng(21)
    fan_in = [np.prod(shape[:-1]) if len(shape) > 1 else 100 for shape in shapes]
    weights = [rng.normal(0, np.sqrt(8 / fan), shape) for shape, fan in zip(shapes, fan_in, strict=True)]
    weights[-1] += OUTPUT_BIAS
    return [weight.astype(np.float32) for weight in weights]


@cache
def _model_files() -> dict[str, bytes]:
    """Content of the files that TensorFlow makes; made once in a test process."""
    start_tensorflow()
    from covid_core.training.export import head_weights, write_litert

    model = tiny_classifier()
    with TemporaryDirectory() as scratch, warnings.catch_warnings():
        # Keras 3.15 reads its variables by a way that NumPy 2 deprecates.
        warnings.filterwarnings("ignore", message="__array__ implementation", category=DeprecationWarning)
        folder = Path(scratch)
        model.save(folder / "model.keras")
        write_litert(model, folder / "model.tflite")
        np.savez(folder / "head.npz", **head_weights(model))  # type: ignore[arg-type]
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def _predictions(calibration: Calibration) -> pd.DataFrame:
    """Invented predictions of 40 films each of the validation and test parts, two films a patient."""
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


def _manifest(name: str, threshold: float, calibration: Calibration) -> dict[str, Any]:
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
    }
