"""Keras layers of the reader that looks at the lungs: where a cell lies, and pooling weighted by a lung map.

Both are registered, so that `model.keras` can be loaded wherever this module is imported.
"""

from typing import Any

import keras
from keras import ops

_PACKAGE = "covid_core"
_FLOOR = 1e-3  # an image without any lung is pooled evenly instead of dividing by nothing


@keras.saving.register_keras_serializable(_PACKAGE)
class LungWeighting(keras.layers.Layer):  # type: ignore[misc]
    """A feature map beside itself, weighted by where the lungs are.

    Global average pooling of the result is the mean over the lungs, then the mean over the image.

    Inputs: features float32 (n, h, w, c), and lungs float32 (n, h, w, 1) in [0, 1]. Output: float32 (n, h, w, 2c).
    """

    def call(self, inputs: list[Any]) -> Any:
        """Weigh; see the class."""
        features, lungs = inputs
        weights = lungs + _FLOOR
        return ops.concatenate(
            [features * (weights / ops.mean(weights, axis=(1, 2), keepdims=True)), features], axis=-1
        )


@keras.saving.register_keras_serializable(_PACKAGE)
class Coordinates(keras.layers.Layer):  # type: ignore[misc]
    """Adds each cell's place as channels: row and column in [-1, 1], and their squares.

    Lungs are found by where they are as much as by how they look (CoordConv, Liu et al. 2018,
    https://arxiv.org/abs/1807.03247).
    """

    def call(self, inputs: Any) -> Any:
        """float32 (n, h, w, c) to (n, h, w, c + 4)."""
        height, width = inputs.shape[1:3]
        rows = ops.broadcast_to(ops.linspace(-1.0, 1.0, height)[:, None, None], (height, width, 1))
        columns = ops.broadcast_to(ops.linspace(-1.0, 1.0, width)[None, :, None], (height, width, 1))
        place = ops.concatenate([rows, columns, rows * rows, columns * columns], axis=-1)
        alike = ops.zeros_like(inputs[..., :1])
        return ops.concatenate([inputs, alike + place[None]], axis=-1)
