"""Prepared images in memory to batches for Keras: decoded once, augmented again in each epoch.

An image takes 50 kB once prepared, so the whole cohort fits in memory many times over; decoding it again in each epoch
would only cost time.
"""

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from covid_core.training.recipe import Augmentation


def training_batches(
    images: NDArray[np.uint8], labels: NDArray[np.int64], batch_size: int, *, augmentation: Augmentation, seed: int
) -> tf.data.Dataset:
    """Batches in a new order each epoch, each image changed at random.

    Args:
        images: uint8 (n, size, size).
        labels: int (n,), 1 for covid.
        batch_size: images a batch; the last one may be smaller.
        augmentation: how far an image may be changed.
        seed: of the order and of the changes.

    Returns:
        A dataset of (float32 (b, size, size, 1) in [0, 255], float32 (b, 1)).
    """
    layers = augmentation_layers(augmentation, seed)

    def augment(batch: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        for layer in layers:
            batch = layer(batch, training=True)
        return tf.clip_by_value(batch, 0.0, 255.0), targets

    shuffled = _dataset(images, labels).shuffle(len(images), seed=seed, reshuffle_each_iteration=True)
    # The layers draw from a state that each call moves on: mapped one after the other, the draws are repeatable.
    return shuffled.batch(batch_size).map(_to_float).map(augment).prefetch(2)


def fixed_batches(images: NDArray[np.uint8], labels: NDArray[np.int64], batch_size: int) -> tf.data.Dataset:
    """Batches in the given order, unchanged; arguments and result as `training_batches`."""
    return _dataset(images, labels).batch(batch_size).map(_to_float).prefetch(2)


def augmentation_layers(augmentation: Augmentation, seed: int) -> list[keras.layers.Layer]:
    """The Keras layers that change a batch of float32 (n, size, size, 1) in [0, 255]; what is moved in is black."""
    fill = {"fill_mode": "constant", "fill_value": 0.0}
    layers: list[keras.layers.Layer] = [
        keras.layers.RandomRotation(augmentation.rotation, seed=seed + 1, **fill),
        keras.layers.RandomTranslation(augmentation.shift, augmentation.shift, seed=seed + 2, **fill),
        keras.layers.RandomZoom(augmentation.zoom, seed=seed + 3, **fill),
        keras.layers.RandomBrightness(augmentation.brightness, value_range=(0, 255), seed=seed + 4),
    ]
    if augmentation.flip:
        layers.append(keras.layers.RandomFlip("horizontal", seed=seed + 5))
    return layers


def balanced_class_weights(labels: NDArray[np.int64]) -> dict[int, float]:
    """Weights that let both classes, which must occur, count the same: n / (2 n_class), as scikit-learn's `balanced`."""
    counts = np.bincount(labels, minlength=2)
    return {index: len(labels) / (2 * int(count)) for index, count in enumerate(counts)}


def _dataset(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((images[..., None], labels[:, None]))


def _to_float(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.cast(images, tf.float32), tf.cast(labels, tf.float32)
