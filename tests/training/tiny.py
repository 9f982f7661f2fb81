"""A prepared dataset and a backbone that are small enough to train on within seconds."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from covid_core.images.preprocess import Preparation
from covid_core.training.recipe import Recipe, StageSettings
from tests.fake_bundle import THREADS

SIZE = 32
IMAGES = {"train": 12, "val": 6, "test": 6}
"""Images of each class and part."""


def write_tiny_dataset(folder: Path) -> Path:
    """Write what `prepare` leaves: `split.csv` and `split/<part>/<label>/`; covid images are brighter above than below."""
    rng = np.random.default_rng(3)
    rows = []
    for part, count in IMAGES.items():
        for label in ("covid", "non_covid"):
            (folder / "split" / part / label).mkdir(parents=True)
            for number in range(count):
                name = f"{part}_{label}_{number}.png"
                path = folder / "split" / part / label / name
                Image.fromarray(_image(rng, label)).save(path)
                patient = f"{part}-{label}-{number // 2}"
                rows.append((name, patient, label, part, sha256(path.read_bytes()).hexdigest(), patient))
    table = pd.DataFrame(rows, columns=["filename", "patientid", "label", "part", "sha256", "group"])
    table.to_csv(folder / "split.csv", index=False)
    return folder


def tiny_recipe(**settings: Any) -> Recipe:
    """A recipe for a few quick epochs of the tiny backbone."""
    usual: Mapping[str, Any] = {
        "backbone": "tiny",
        "weights": "none",
        "threads": THREADS,
        "batch_size": 8,
        "hidden_units": 8,
        "preparation": Preparation(size=SIZE),
        "initial": StageSettings(max_epochs=3, learning_rate=1e-2),
        "finetune": StageSettings(max_epochs=2, learning_rate=1e-3),
    }
    return Recipe(**{**usual, **settings})


def tiny_backbone() -> Any:
    """Three convolutions with batch normalisation, as an entry of `BACKBONES`."""
    import keras  # noqa: PLC0415

    from covid_core.training.backbones import Backbone  # noqa: PLC0415

    def build(*, include_top: bool, weights: str | None, input_shape: tuple[int, int, int]) -> keras.Model:
        assert not include_top
        assert weights is None
        colours = values = keras.Input(input_shape)
        for number, filters in enumerate((4, 6, 8)):
            values = keras.layers.Conv2D(filters, 3, strides=2, padding="same", name=f"convolution_{number}")(values)
            values = keras.layers.BatchNormalization(name=f"normalisation_{number}")(values)
            values = keras.layers.ReLU(name=f"relu_{number}")(values)
        return keras.Model(colours, values, name="tiny")

    return Backbone(build, lambda: keras.layers.Rescaling(scale=1 / 127.5, offset=-1.0, name="scaling"))


def tiny_chest_backbone() -> Any:
    """A few convolutions instead of MobileNetV2, with the layers that `chest_network` looks for, at their scales."""
    import keras  # noqa: PLC0415

    from covid_core.training.backbones import BACKBONES, Backbone  # noqa: PLC0415

    def build(*, include_top: bool, weights: str | None, input_shape: tuple[int, int, int]) -> keras.Model:
        assert not include_top
        assert weights is None
        settings = {"padding": "same", "activation": "relu", "kernel_initializer": "he_normal"}
        colours = values = keras.Input(input_shape)
        for filters in (6, 8):
            values = keras.layers.Conv2D(filters, 3, strides=2, **settings)(values)
        values = keras.layers.Conv2D(32, 3, strides=2, name="block_5_add", **settings)(values)
        values = keras.layers.Conv2D(8, 3, strides=2, name="block_9_add", **settings)(values)
        values = keras.layers.BatchNormalization()(values)
        values = keras.layers.Conv2D(8, 3, name="block_12_add", **settings)(values)
        values = keras.layers.Conv2D(12, 1, name="block_13_expand_relu", **settings)(values)
        values = keras.layers.Conv2D(16, 3, strides=2, **settings)(values)
        return keras.Model(colours, values, name="tiny")

    return Backbone(build, BACKBONES["mobilenetv2"].scaling)


def _image(rng: np.random.Generator, label: str) -> np.ndarray:
    ramp = np.linspace(1, 0, 80)[:, None] if label == "covid" else np.linspace(0, 1, 80)[:, None]
    noise = np.kron(rng.random((10, 12)), np.ones((8, 8)))
    return (255 * (0.5 * ramp + 0.5 * noise)).astype(np.uint8)
