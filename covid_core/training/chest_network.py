"""MobileNetV2 trained on chest radiographs: frozen lower blocks, trained upper blocks, a dense map of opacities.

    grey (size, size, 1) -> blocks 0 to 5, frozen -> `lower` (size / 8, size / 8, 32)
    lower -> blocks 6 to 16, trained -> opacity map (size / 16), appearance (4), pattern (1), COVID-19 (1)

The upper network is trained on what the lower one makes of augmented copies, which is computed once for all networks. Of the
trained network three middle layers are used (`TAPS`): on the committed folds they tell more than its last one, and each of their
cells stands for 16 x 16 pixels, so a map of the lungs can weigh them.
"""

from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from covid_core.dataset.collections import APPEARANCES
from covid_core.errors import TrainingError
from covid_core.training.backbones import BACKBONES, build_backbone
from covid_core.training.chest_recipe import ChestRecipe

CELL_SIDE = 16
"""Pixels of the input that a cell stands for, each way."""
LAST_FROZEN = "block_5_add"
TAPS = ("block_9_add", "block_12_add", "block_13_expand_relu")
BATCH_SIZE = 64

Cells = NDArray[np.float16]


class ChestNetwork(NamedTuple):
    """The parts of a network; they share their layers.

    Attributes:
        lower: float32 (n, size, size, 1) in [0, 255] to float32 (n, size / 8, size / 8, 32).
        upper: from there to the opacity map (n, h, w, 1), the appearance (n, 4), pattern (n, 1) and COVID-19 (n, 1), all logits;
            this is what is trained.
        taps: from there to the cells (n, h, w, c) and the opacity map (n, h, w, 1) in [0, 1]; this is what is used.
    """

    lower: keras.Model
    upper: keras.Model
    taps: keras.Model


def build_network(recipe: ChestRecipe, weights_file: Path | None = None) -> ChestNetwork:
    """Build a network, untrained but for its backbone's starting weights.

    Raises:
        TrainingError: the weights cannot be had, or the size is no multiple of 32.
    """
    size = recipe.preparation.size
    if size % (2 * CELL_SIDE):
        raise TrainingError(f"The input's side must be a multiple of {2 * CELL_SIDE} pixels. Received: {size}")
    # The frozen blocks are not saved: those of a recipe without weights must come out the same each time.
    keras.utils.set_random_seed(recipe.seed)
    whole = build_backbone(recipe.backbone(), weights_file)
    for layer in whole.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = recipe.momentum
    frozen = keras.Model(whole.input, whole.get_layer(LAST_FROZEN).output, name="frozen_blocks")
    grey = keras.Input((size, size, 1), name="grey")
    scaling = BACKBONES[recipe.backbone().backbone].scaling()
    lower = keras.Model(grey, frozen(scaling(layers.Concatenate()([grey, grey, grey])), training=False), name="lower")

    start = whole.get_layer(LAST_FROZEN).output
    taps = [whole.get_layer(name).output for name in TAPS]
    last = whole.output
    context = layers.UpSampling2D(2, interpolation="bilinear")(layers.Conv2D(64, 1, activation="relu")(last))
    opacity = layers.Concatenate()([layers.Conv2D(64, 1, activation="relu")(taps[-1]), context])
    opacity = layers.Conv2D(64, 3, padding="same", activation="relu")(opacity)
    opacity = layers.Conv2D(1, 1, name="opacity")(opacity)
    pooled = layers.Dropout(recipe.dropout, seed=recipe.seed)(layers.GlobalAveragePooling2D()(last))
    heads = [
        layers.Dense(units, name=name)(pooled)
        for name, units in (("appearance", len(APPEARANCES)), ("pattern", 1), ("covid", 1))
    ]
    return ChestNetwork(
        lower,
        keras.Model(start, [opacity, *heads], name="upper"),
        keras.Model(start, [layers.Concatenate()(taps), ops.sigmoid(opacity)], name="taps"),
    )


def compile_upper(upper: keras.Model, recipe: ChestRecipe, steps: int) -> None:
    """Set losses and optimizer for a training of so many steps; unknown labels weigh nothing (`Batches`)."""
    schedule = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 20,
        max(steps - recipe.warmup_steps, 1),
        alpha=0.01,
        warmup_target=recipe.learning_rate,
        warmup_steps=recipe.warmup_steps,
    )
    binary = keras.losses.BinaryCrossentropy(from_logits=True)
    upper.compile(
        keras.optimizers.AdamW(
            schedule, weight_decay=recipe.weight_decay, clipnorm=1.0, use_ema=True, ema_momentum=recipe.average
        ),
        loss=[binary, keras.losses.SparseCategoricalCrossentropy(from_logits=True), binary, binary],
        loss_weights=[2.0, 1.0, 1.0, 0.5],
    )


def shares_of(masks: NDArray[Any]) -> NDArray[np.float32]:
    """The mean of each cell: masks (n, h * CELL_SIDE, w * CELL_SIDE) to float32 (n, h, w, 1)."""
    n, height, width = masks.shape
    blocks = masks.reshape(n, height // CELL_SIDE, CELL_SIDE, width // CELL_SIDE, CELL_SIDE)
    shares: NDArray[np.float32] = blocks.mean(axis=(2, 4), dtype=np.float32)[..., None]
    return shares


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Shuffled batches of one augmented copy of each image, another copy each epoch.

    Args:
        lowers: one array float16 (n, h, w, 32) for each copy, read as it is needed.
        opacities: one array float16 (n, h / 2, w / 2) in [0, 1] for each copy.
        targets: `appearance` int (n,), `pattern` and `covid` float (n,), all with any value where unknown.
        weights: `opacity` and the three names of the targets -> float (n,), 0 where the label is unknown.
        rows: int (m,), the images to train on.
        recipe: batch size and seed.
        first_epoch: where to go on.
    """

    def __init__(
        self,
        lowers: list[Any],
        opacities: list[Any],
        targets: dict[str, NDArray[Any]],
        weights: dict[str, NDArray[np.float32]],
        *,
        rows: NDArray[np.int64],
        recipe: ChestRecipe,
        first_epoch: int = 0,
    ) -> None:
        super().__init__()
        self._lowers, self._opacities = lowers, opacities
        self._targets, self._weights, self._rows, self._recipe = targets, weights, rows, recipe
        self._epoch = first_epoch
        self._shuffle()

    def __len__(self) -> int:
        return len(self._rows) // self._recipe.batch_size

    def __getitem__(self, step: int) -> tuple[Any, ...]:
        size = self._recipe.batch_size
        rows = np.sort(self._order[step * size : (step + 1) * size])
        copy = self._epoch % len(self._lowers)
        names = ("appearance", "pattern", "covid")
        return (
            self._lowers[copy][rows].astype(np.float32),
            (
                self._opacities[copy][rows, ..., None].astype(np.float32),
                *(self._targets[name][rows, None] for name in names),
            ),
            (
                np.broadcast_to(
                    self._weights["opacity"][rows, None, None], (len(rows), *self._opacities[copy].shape[1:])
                ),
                *(self._weights[name][rows] for name in names),
            ),
        )

    def on_epoch_end(self) -> None:
        """Move on to the next copy, in a new order."""
        self._epoch += 1
        self._shuffle()

    def _shuffle(self) -> None:
        self._order = np.random.default_rng([self._recipe.seed, self._epoch]).permutation(self._rows)
