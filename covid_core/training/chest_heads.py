"""From the trained network to the answer: a lung map, pooling over the lungs and over the image, and two linear questions.

    cells of the image and of its mirror image, turned back, averaged -> lung map -> mean over the lungs, mean over the image
    P(COVID-19) = P(pattern of pneumonia) * P(COVID-19 | pattern)

Both questions are logistic regressions, so they are one dense layer of the network that is served, their ensemble is a wider one,
and the contribution of each cell to an answer is exact.
"""

from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from covid_core.errors import TrainingError
from covid_core.training.backbones import POOLING_LAYER
from covid_core.training.chest_network import BATCH_SIZE, Cells, ChestNetwork, shares_of
from covid_core.training.chest_recipe import COHORT, ChestRecipe
from covid_core.training.layers import Coordinates, LungWeighting

QUESTIONS_LAYER = "questions"

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Seen:
    """What a network makes of n images.

    Attributes:
        pooled: mean over the lungs, then over the image, float32 (n, 2c).
        opacities: the opacity map, float32 (n, h, w) in [0, 1].
        lungs: the lung map, float32 (n, h, w) in [0, 1].
    """

    pooled: NDArray[np.float32]
    opacities: NDArray[np.float32]
    lungs: NDArray[np.float32]

    def at(self, rows: NDArray[np.generic]) -> "Seen":
        """Some of the images."""
        return Seen(self.pooled[rows], self.opacities[rows], self.lungs[rows])


@dataclass(frozen=True)
class Heads:
    """The two questions, each a linear function of the pooled features: index 0 is the pattern, 1 COVID-19 given a pattern.

    Attributes:
        kernel: float32 (2c, 2).
        bias: float32 (2,), with the prior of the first question worked in.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]

    def questions(self, pooled: NDArray[np.float32]) -> Floats:
        """The two probabilities of pooled images (n, 2c): float64 (n, 2) in [0, 1]."""
        logits = pooled.astype(np.float64) @ self.kernel + self.bias
        return np.asarray(1 / (1 + np.exp(-logits)))

    def answer(self, pooled: NDArray[np.float32]) -> Floats:
        """P(COVID-19) before calibration: float64 (n,) in [0, 1]."""
        return np.asarray(self.questions(pooled).prod(axis=1))


def averaged_cells(
    network: ChestNetwork, plain: NDArray[np.float16], mirrored: NDArray[np.float16]
) -> tuple[Cells, Cells]:
    """Cells and opacity map of images, averaged with those of their mirror images.

    Args:
        network: a trained one.
        plain: what its frozen blocks make of the images, float16 (n, 2h, 2w, 32).
        mirrored: the same of their mirror images.

    Returns:
        Cells float16 (n, h, w, c) and opacity maps float16 (n, h, w, 1) in [0, 1].
    """

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def both(one: tf.Tensor, other: tf.Tensor) -> list[tf.Tensor]:
        as_is = network.taps(tf.cast(one, tf.float32), training=False)
        turned = network.taps(tf.cast(other, tf.float32), training=False)
        return [tf.cast((a + tf.reverse(b, [2])) / 2, tf.float16) for a, b in zip(as_is, turned, strict=True)]

    found = [
        [part.numpy() for part in both(plain[i : i + BATCH_SIZE], mirrored[i : i + BATCH_SIZE])]
        for i in range(0, len(plain), BATCH_SIZE)
    ]
    cells, opacities = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return cells, opacities


def fit_lungs(cells: Cells, inside: Bools, recipe: ChestRecipe) -> tuple[keras.Model, list[float]]:
    """Train the lung map on images that have a mask.

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


def see(cells: Cells, opacities: Cells, lungs: keras.Model) -> Seen:
    """Pool images over their lungs and as a whole, by the layers that serve."""
    weigh = LungWeighting()
    pooled, maps = [], []
    for start in range(0, len(cells), BATCH_SIZE):
        batch = cells[start : start + BATCH_SIZE].astype(np.float32)
        maps.append(np.asarray(lungs(batch, training=False)))
        pooled.append(np.asarray(ops.mean(weigh([batch, maps[-1]]), axis=(1, 2))))
    return Seen(np.concatenate(pooled), opacities[..., 0].astype(np.float32), np.concatenate(maps)[..., 0])


def pattern_labels(images: pd.DataFrame) -> NDArray[np.float64]:
    """The answer to the first question, float (n,), NaN where unknown; images of the dataset have a pattern unless normal."""
    cohort = (images["source"] == COHORT).to_numpy()
    return np.where(cohort, (images["finding"] != "No Finding").to_numpy(float), images["pattern"].to_numpy(float))


def covid_labels(images: pd.DataFrame) -> NDArray[np.float64]:
    """The answer that the second head learns, float (n,), NaN where unknown.

    Besides other pneumonias it learns radiographs without a pattern of the same hospitals as no COVID-19, unless the patient is
    known to have it: what the first question lets through in doubt.
    """
    clear = (images["source"] == "siim") & (images["appearance"] == "negative") & ~images["known_positive"].astype(bool)
    return np.where(clear, 0.0, images["covid"].to_numpy(float))


def fit_heads(
    pooled: NDArray[np.float32],
    images: pd.DataFrame,
    rows: Bools,
    recipe: ChestRecipe,
    draw: NDArray[np.float64] | None = None,
) -> Heads:
    """Fit both questions.

    Args:
        pooled: of all images, (n, 2c).
        images: their table, n rows.
        rows: bool (n,), which to learn from.
        recipe: costs, and what an image of each source counts.
        draw: another weight of each image, (n,), for a member of an ensemble.

    Raises:
        TrainingError: a question has images of one answer only.
    """
    pattern = _logistic(
        pooled, pattern_labels(images), _counts(images, recipe.pattern_weight, rows, draw), recipe.pattern_cost
    )
    covid = _logistic(pooled, covid_labels(images), _counts(images, recipe.covid_weight, rows, draw), recipe.covid_cost)
    bias = np.array([pattern[1] + recipe.prior_logit, covid[1]])
    return Heads(np.stack([pattern[0], covid[0]], axis=1).astype(np.float32), bias.astype(np.float32))


def fit_ensemble(pooled: NDArray[np.float32], images: pd.DataFrame, rows: Bools, recipe: ChestRecipe) -> list[Heads]:
    """Fit the heads again on other draws of the patients, to see how far the answer depends on who was in it.

    A draw gives each patient a weight from the exponential distribution (Bayesian bootstrap, Rubin 1981,
    https://doi.org/10.1214/aos/1176345338): unlike drawing with replacement it leaves nobody out.
    """
    _, patient = np.unique(images["group"].to_numpy(np.str_), return_inverse=True)
    rng = np.random.default_rng(recipe.seed)
    draws = [rng.exponential(size=patient.max() + 1)[patient] for _ in range(recipe.members)]
    return [fit_heads(pooled, images, rows, recipe, draw) for draw in draws]


def _counts(images: pd.DataFrame, weights: dict[str, float], rows: Bools, draw: Floats | None) -> Floats:
    counts = images["source"].map(weights).fillna(0.0).to_numpy(np.float64) * rows
    return np.asarray(counts if draw is None else counts * draw, np.float64)


def _logistic(pooled: NDArray[np.float32], labels: Floats, counts: Floats, cost: float) -> tuple[Floats, float]:
    """A logistic regression on standardised features, with the standardisation worked into kernel (2c,) and bias.

    Both answers weigh the same in all.
    """
    used = (counts > 0) & ~np.isnan(labels)
    truth, weights = labels[used].astype(bool), counts[used]
    if truth.all() or not truth.any():
        raise TrainingError(
            f"Images with both answers are needed. Received: {truth.size}, {int(truth.sum())} of them yes"
        )
    for answer in (truth, ~truth):
        weights = np.where(answer, weights * (truth.size / 2 / weights[answer].sum()), weights)
    scaler = StandardScaler().fit(pooled[used])
    scale = np.maximum(scaler.scale_, 1e-6)
    model = LogisticRegression(C=cost, max_iter=3000).fit(
        (pooled[used] - scaler.mean_) / scale, truth, sample_weight=weights
    )
    kernel = model.coef_[0] / scale
    return kernel, float(model.intercept_[0] - kernel @ scaler.mean_)


def build_reader(network: ChestNetwork, lungs: keras.Model, heads: Heads, ensemble: list[Heads]) -> keras.Model:
    """Put the parts together, as they are served.

    Returns:
        A model from float32 (n, size, size, 1) in [0, 255] to three outputs: `answers` float32 (n, 3 + m), P(COVID-19) before
        calibration, its two questions and P of each member; `features` (n, h, w, 2c), whose mean the heads take; and `maps`
        (n, h, w, 2) in [0, 1], lungs and opacities.
    """
    grey = keras.Input(network.lower.input.shape[1:], name="grey")
    cells, opacities = network.taps(network.lower(grey))
    mirrored, mirrored_opacities = network.taps(network.lower(ops.flip(grey, axis=2)))
    cells = (cells + ops.flip(mirrored, axis=2)) / 2
    opacities = (opacities + ops.flip(mirrored_opacities, axis=2)) / 2
    inside = lungs(cells)
    features = LungWeighting(name="feature_map")([cells, inside])
    pooled = keras.layers.GlobalAveragePooling2D(name=POOLING_LAYER)(features)
    every = [heads, *ensemble]
    dense = keras.layers.Dense(2 * len(every), activation="sigmoid", name=QUESTIONS_LAYER)
    questions = dense(pooled)
    dense.set_weights(
        [np.concatenate([one.kernel for one in every], axis=1), np.concatenate([one.bias for one in every])]
    )
    products = questions[:, 0::2] * questions[:, 1::2]
    answers = ops.concatenate([products[:, :1], questions[:, :2], products[:, 1:]], axis=1)
    maps = ops.concatenate([inside, opacities], axis=-1)
    return keras.Model(grey, [answers, features, maps], name="covid_chest_reader")
