"""A grey picture to a model's input. The settings are saved with each model; training and serving both call `prepare`."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from covid_core.errors import ImageRefusedError
from covid_core.images.decode import decode_file
from covid_core.images.types import GreyImage

ModelInput = NDArray[np.uint8]
"""What a model takes of one picture: uint8 (size, size); the model itself scales it to its backbone's range."""


@dataclass(frozen=True)
class Preparation:
    """How a picture is brought to a model's input.

    The defaults are the best single preparation of a pilot on this dataset (linear probe on frozen MobileNetV2 features,
    patients apart, mean of 3 seeds): borders cropped and contrast stretched, within-source AUC 0.76 to 0.81. Borders
    hold side markers and burned-in text, which tell the publisher; the stretch evens out exposure.

    Attributes:
        size: side of the square input, pixels, in [32, 1024].
        border_crop: share of the width (height) cut off at each side, in [0, 0.4].
        low_percentile, high_percentile: of the greys, which become black and white.
    """

    size: int = 224
    border_crop: float = 0.06
    low_percentile: float = 1.0
    high_percentile: float = 99.0

    def __post_init__(self) -> None:
        if not 32 <= self.size <= 1024:  # noqa: PLR2004
            raise ValueError(f"`size` must be in [32, 1024]. Received: {self.size}")
        if not 0 <= self.border_crop <= 0.4:  # noqa: PLR2004
            raise ValueError(f"`border_crop` must be in [0, 0.4]. Received: {self.border_crop}")
        if not 0 <= self.low_percentile < 50 < self.high_percentile <= 100:  # noqa: PLR2004
            raise ValueError(
                "`low_percentile` must be in [0, 50) and `high_percentile` in (50, 100]. "
                f"Received: {self.low_percentile}, {self.high_percentile}"
            )

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self)

    def crop_box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The part of a `width` x `height` picture that the model sees: left, top, right, bottom, pixels."""
        left, top = round(width * self.border_crop), round(height * self.border_crop)
        return left, top, width - left, height - top


def prepare(image: GreyImage, settings: Preparation) -> ModelInput:
    """Crop, resize (antialiased, aspect not kept) and stretch a picture, float32 (height, width) in [0, 1].

    Returns:
        uint8 (size, size); all zero for a constant picture.
    """
    height, width = image.shape
    left, top, right, bottom = settings.crop_box(width, height)
    cropped = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
    resized = np.asarray(cropped.resize((settings.size, settings.size), Image.Resampling.BILINEAR))
    return stretch(resized, settings.low_percentile, settings.high_percentile)


def stretch(image: NDArray[Any], low_percentile: float, high_percentile: float) -> ModelInput:
    """Stretch the greys so that one percentile becomes black and another white: uint8, all zero for a constant picture."""
    low, high = np.percentile(image, [low_percentile, high_percentile])
    if high <= low:
        return np.zeros_like(image, np.uint8)
    stretched: ModelInput = np.rint(np.clip((image - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    return stretched


def prepare_files(
    paths: Sequence[Path], settings: Preparation, progress: Callable[[int, int], None] | None = None
) -> NDArray[np.uint8]:
    """Decode and prepare many files, in threads (Pillow lets go of the interpreter lock).

    Args:
        paths: n image files.
        settings: what the model was, or will be, trained with.
        progress: called with (done, total) after each image.

    Returns:
        uint8 (n, size, size), in the order of `paths`.

    Raises:
        ImageRefusedError: the first file that cannot be decoded, with its name in the sentence.
    """
    images = np.empty((len(paths), settings.size, settings.size), np.uint8)

    def one(path: Path) -> ModelInput:
        try:
            return prepare(decode_file(path), settings)
        except ImageRefusedError as error:
            refusal = error.refusal
            raise ImageRefusedError(refusal.reason, f"{path}: {refusal.message}", refusal.next_step) from error

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for index, image in enumerate(pool.map(one, paths)):
            images[index] = image
            if progress:
                progress(index + 1, len(paths))
    return images
