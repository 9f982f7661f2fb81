"""The reader that looks at the lungs: frozen middle layers, a lung map, lung-weighted pooling and a kernel machine.

    grey (size, size, 1) -> frozen backbone, on the film and its mirror image -> `cells`: three middle layers, the mirrored ones
    turned back, averaged -> lung map -> the cells weighted by it, beside themselves -> GlobalAveragePooling -> KernelMachine:
    P(covid)

Measured on the committed folds, frozen middle layers of MobileNetV2 tell more than its last one, and pooling over the lungs tells
more than pooling over the film (docs/EXPERIMENTS.md). Nothing is trained by gradient but the lung map, which never sees a label;
so the trunk runs once for each film, and what stands behind it is fitted in seconds.

This module builds and fits the parts; it knows nothing of folds or evaluation.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from covid_core.errors import TrainingError
from covid_core.images.preparation import Preparation
from covid_core.kernel import EnsembleArrays, KernelArrays
from covid_core.training.backbones import BACKBONES, OUTPUT_LAYER, POOLING_LAYER, build_backbone
from covid_core.training.layers import Coordinates, KernelMachine, LungWeighting
from covid_core.training.recipe import Recipe

CELL_SIDE = 16
"""Pixels of the film that a cell stands for, each way."""
BATCH_SIZE = 32

Cells = NDArray[np.float16]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LungRecipe:
    """Everything that is chosen before training.

    Attributes:
        weights, weights_sha256: of the backbone, as in `Recipe`.
        seed, threads: see `covid_core.training.runtime.Runtime`.
        preparation: how a picture becomes the input. No border is cut off: the lung map leaves out what is no lung.
        taps: layers of MobileNetV2 whose maps have a `CELL_SIDE`-th of the film's side.
        lung_epochs, lung_learning_rate: training of the lung map.
        cost: C of the support vector machine.
        auxiliary_weight: what a film of the auxiliary collection counts, a film of the dataset being 1.
        ensemble_members: machines fitted on other draws of the patients, for the spread of a prediction.
    """

    weights: str = "imagenet"
    weights_sha256: str | None = None
    seed: int = 0
    threads: int = 2
    preparation: Preparation = field(default_factory=lambda: Preparation(border_crop=0.0))
    taps: tuple[str, ...] = ("block_9_add", "block_12_add", "block_13_expand_relu")
    lung_epochs: int = 12
    lung_learning_rate: float = 1e-3
    cost: float = 3.0
    auxiliary_weight: float = 0.03
    ensemble_members: int = 50

    def backbone(self) -> Recipe:
        """What the backbone is built from."""
        return Recipe(weights=self.weights, weights_sha256=self.weights_sha256, preparation=self.preparation)

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain values."""
        return {"backbone": self.backbone().backbone, **asdict(self)}


class Kernel(KernelArrays):
    """A fitted support vector machine that can be a layer of a Keras model."""

    def layer(self) -> KernelMachine:
        """The machine as a Keras layer."""
        layer = KernelMachine(*self.support_vectors.shape, name=OUTPUT_LAYER)
        for name, values in vars(self).items():
            getattr(layer, name).assign(values)
        return layer

    def predict(self, pooled: NDArray[np.float32]) -> NDArray[np.float64]:
        """P(covid) of pooled films (n, c), not calibrated: float64 (n,) in [0, 1]."""
        return np.asarray(self.layer()(pooled), np.float64)[:, 0]


def build_trunk(recipe: LungRecipe, weights_file: Path | None = None) -> keras.Model:
    """The frozen part: float32 (n, size, size, 1) in [0, 255] to cells float32 (n, h, w, c).

    Raises:
        TrainingError: the weights cannot be had, or the size is no multiple of `CELL_SIDE`.
    """
    size = recipe.preparation.size
    if size % CELL_SIDE:
        raise TrainingError(f"The input's side must be a multiple of {CELL_SIDE} pixels. Received: {size}")
    whole = build_backbone(recipe.backbone(), weights_file)
    lower = keras.Model(whole.input, [whole.get_layer(name).output for name in recipe.taps], name="backbone")
    lower.trainable = False
    scaling = BACKBONES[recipe.backbone().backbone].scaling()

    def taps(film: Any) -> Any:
        return ops.concatenate(lower(scaling(ops.concatenate([film, film, film], axis=-1))), axis=-1)

    grey = keras.Input((size, size, 1), name="grey")
    mirrored_back = ops.flip(taps(ops.flip(grey, axis=2)), axis=2)
    return keras.Model(grey, (taps(grey) + mirrored_back) / 2, name="trunk")


def cells_of(trunk: keras.Model, films: NDArray[np.uint8], progress: Progress | None = None) -> Cells:
    """Run the trunk over films.

    Args:
        trunk: of `build_trunk`.
        films: uint8 (n, size, size).
        progress: called with (done, n).

    Returns:
        float16 (n, h, w, c), 290 kB a film of 224 pixels; in half precision, as the whole cohort is kept in memory.
    """
    cells = np.empty((len(films), *trunk.output.shape[1:]), np.float16)
    run = tf.function(lambda batch: trunk(batch, training=False), reduce_retracing=True)
    for start in range(0, len(films), BATCH_SIZE):
        batch = films[start : start + BATCH_SIZE, ..., None].astype(np.float32)
        cells[start : start + BATCH_SIZE] = run(tf.constant(batch)).numpy()
        if progress:
            progress(start + len(batch), len(films))
    return cells


def fit_lungs(cells: Cells, inside: NDArray[np.bool_], recipe: LungRecipe) -> tuple[keras.Model, list[float]]:
    """Train the lung map on films that have a mask.

    Args:
        cells: (n, h, w, c).
        inside: bool (n, h * CELL_SIDE, w * CELL_SIDE), true in a lung.
        recipe: epochs, learning rate and seed.

    Returns:
        A model from cells to float32 (n, h, w, 1) in [0, 1], the share of each cell that is lung; and its loss after each epoch.
    """
    keras.utils.set_random_seed(recipe.seed)
    values = cells.astype(np.float32)
    normalise = keras.layers.Normalization(axis=-1)
    normalise.adapt(values)
    lungs = keras.Sequential(
        [
            keras.Input(values.shape[1:]),
            normalise,
            Coordinates(),
            keras.layers.Dropout(0.3, seed=recipe.seed),
            keras.layers.Conv2D(32, 1, activation="relu"),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(1, 1, activation="sigmoid"),
        ],
        name="lungs",
    )
    lungs.compile(keras.optimizers.AdamW(recipe.lung_learning_rate, weight_decay=1e-3), "binary_crossentropy")
    history = lungs.fit(values, shares_of(inside), batch_size=16, epochs=recipe.lung_epochs, verbose=0)
    return lungs, history.history["loss"]


def shares_of(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The share of each cell that is lung: masks bool (n, h * CELL_SIDE, w * CELL_SIDE) to float32 (n, h, w, 1)."""
    n, height, width = inside.shape
    blocks = inside.reshape(n, height // CELL_SIDE, CELL_SIDE, width // CELL_SIDE, CELL_SIDE)
    shares: NDArray[np.float32] = blocks.mean(axis=(2, 4), dtype=np.float32)[..., None]
    return shares


def lung_map(lungs: keras.Model, cells: Cells) -> NDArray[np.float32]:
    """The lung map of films: float32 (n, h, w, 1) in [0, 1]."""
    batches = [
        np.asarray(lungs(cells[start : start + BATCH_SIZE].astype(np.float32), training=False))
        for start in range(0, len(cells), BATCH_SIZE)
    ]
    return np.concatenate(batches)


def pool(cells: Cells, lung_maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pool films over their lungs and as a whole, by the layers that serve: float32 (n, 2c)."""
    weigh = LungWeighting()
    batches = [
        np.asarray(
            ops.mean(weigh([cells[i : i + BATCH_SIZE].astype(np.float32), lung_maps[i : i + BATCH_SIZE]]), axis=(1, 2))
        )
        for i in range(0, len(cells), BATCH_SIZE)
    ]
    return np.concatenate(batches)


def fit_kernel(
    pooled: NDArray[np.float32], labels: ArrayLike, recipe: LungRecipe, *, auxiliary: ArrayLike | None = None
) -> Kernel:
    """Fit the kernel machine; both classes weigh the same in all.

    Args:
        pooled: (n, c).
        labels: bool or 0/1 (n,), true for covid; both classes must occur.
        recipe: the cost and the weight of auxiliary films.
        auxiliary: bool (n,), which films are auxiliary; these do not enter the standardisation.

    Raises:
        TrainingError: a class has no film.
    """
    scaler, machine = _fit(pooled, *_films(labels, auxiliary), recipe)
    return Kernel(
        support_vectors=np.asarray(machine.support_vectors_, np.float32),
        coefficients=np.asarray(machine.dual_coef_[0], np.float32),
        intercept=np.asarray(machine.intercept_, np.float32),
        gamma=np.array([machine.gamma], np.float32),
        mean=np.asarray(scaler.mean_, np.float32),
        scale=np.asarray(scaler.scale_, np.float32),
    )


def fit_ensemble(
    pooled: NDArray[np.float32],
    labels: ArrayLike,
    groups: ArrayLike,
    recipe: LungRecipe,
    *,
    auxiliary: ArrayLike | None = None,
) -> EnsembleArrays:
    """Fit the kernel machine again on other draws of the patients, to see how far its answers depend on who was in it.

    A draw gives each patient a weight from the exponential distribution (Bayesian bootstrap, Rubin 1981,
    https://doi.org/10.1214/aos/1176345338): unlike drawing with replacement it leaves nobody out, so a small class keeps its
    films in every draw. The members share the kernel of `fit_kernel` on the same films: standardisation and gamma stay.

    Args:
        pooled: (n, c).
        labels: bool or 0/1 (n,), true for covid; both classes must occur.
        groups: (n,), the films of one patient have one group.
        recipe: as for `fit_kernel`, with the number of members and the seed of the draws.
        auxiliary: as for `fit_kernel`.

    Raises:
        TrainingError: a class has no film.
    """
    truth, further = _films(labels, auxiliary)
    scaler, machine = _fit(pooled, truth, further, recipe)
    standard = scaler.transform(pooled)
    nearness = rbf_kernel(standard, gamma=machine.gamma)
    _, patient = np.unique(np.asarray(groups), return_inverse=True)
    rng = np.random.default_rng(recipe.seed)
    coefficients = np.zeros((recipe.ensemble_members, len(truth)), np.float32)
    intercepts = np.empty(recipe.ensemble_members, np.float32)
    for member in range(recipe.ensemble_members):
        draw = rng.exponential(size=patient.max() + 1)[patient]
        one = SVC(C=recipe.cost, kernel="precomputed")
        one.fit(nearness, truth, sample_weight=_weights(truth, further, recipe, draw))
        coefficients[member, one.support_] = one.dual_coef_[0]
        intercepts[member] = one.intercept_[0]
    used = np.asarray(coefficients.any(axis=0))
    used[machine.support_] = False  # the head has these
    order = np.concatenate([machine.support_, np.flatnonzero(used)])
    return EnsembleArrays(np.asarray(standard[used], np.float32), coefficients[:, order], intercepts)


def _films(labels: ArrayLike, auxiliary: ArrayLike | None) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    truth = np.asarray(labels).astype(np.bool_)
    if truth.all() or not truth.any():
        raise TrainingError(f"Films of both classes are needed. Received: {truth.size} films, {int(truth.sum())} covid")
    return truth, np.zeros(len(truth), np.bool_) if auxiliary is None else np.asarray(auxiliary).astype(np.bool_)


def _fit(
    pooled: NDArray[np.float32], truth: NDArray[np.bool_], further: NDArray[np.bool_], recipe: LungRecipe
) -> tuple[StandardScaler, SVC]:
    scaler = StandardScaler().fit(pooled[~further])
    machine = SVC(C=recipe.cost, gamma=1 / pooled.shape[1])
    machine.fit(scaler.transform(pooled), truth, sample_weight=_weights(truth, further, recipe))
    return scaler, machine


def _weights(
    truth: NDArray[np.bool_], further: NDArray[np.bool_], recipe: LungRecipe, draw: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """What each film counts: both classes the same, in all what the films count before the draw."""
    usual = np.where(further, recipe.auxiliary_weight, 1.0)
    weights = usual if draw is None else usual * draw
    for label in (truth, ~truth):
        weights = np.where(label, weights * (usual.sum() / 2 / weights[label].sum()), weights)
    return weights


def build_reader(trunk: keras.Model, lungs: keras.Model, kernel: Kernel) -> keras.Model:
    """Put the parts together: float32 (n, size, size, 1) in [0, 255] to float32 (n, 1), P(covid) before calibration."""
    grey = keras.Input(trunk.input.shape[1:], name="grey")
    cells = trunk(grey)
    features = LungWeighting(name="feature_map")([cells, lungs(cells)])
    pooled = keras.layers.GlobalAveragePooling2D(name=POOLING_LAYER)(features)
    return keras.Model(grey, kernel.layer()(pooled), name="covid_lung_reader")
