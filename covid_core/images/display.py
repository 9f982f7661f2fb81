"""A grey picture as it is shown on a screen: no larger than needed. Nothing that a model sees passes through here."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from covid_core.images.types import GreyImage

LONGEST_SIDE = 1024
"""Of a picture that is shown, pixels: as large as a screen has room for, and quick to send."""
THUMBNAIL_SIDE = 96
"""Longest side of a picture in a table, pixels."""


def fitted(image: GreyImage, longest_side: int = LONGEST_SIDE) -> GreyImage:
    """Reduce a picture that is too large to be shown; a smaller one is left as it is.

    Args:
        image: float32 (height, width) in [0, 1].
        longest_side: of the result at most, pixels; the aspect is kept.
    """
    height, width = image.shape
    scale = longest_side / max(height, width)
    if scale >= 1:
        return image
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    reduced = Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.BILINEAR)
    shown: GreyImage = np.clip(np.asarray(reduced), 0, 1)
    return shown


def thumbnail(image: GreyImage) -> NDArray[np.uint8]:
    """A picture in small, its greys stretched for contrast: uint8 (h, w), at most `THUMBNAIL_SIDE` a side."""
    step = max(min(image.shape) // (4 * THUMBNAIL_SIDE), 1)  # reducing a whole detector's picture would take long
    small = fitted(image[::step, ::step], THUMBNAIL_SIDE)
    low, high = np.percentile(small, [1, 99])
    stretched: NDArray[np.uint8] = np.rint(np.clip((small - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    return stretched
