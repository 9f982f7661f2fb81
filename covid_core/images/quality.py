"""What speaks against relying on an image's picture: too few pixels, an empty border, greys that are lost, blur, compression.

A warning never stops an image.

The limits lie where few images of the cohort do, and those were looked at. Measured with `measure` on the 672 images of the
prepared dataset, most of which its distributor had reduced to at most 1024 pixels a side:

                 0.5%      1%      2%     50%     98%     99%   99.5%   limit  images beyond
    shorter_side  203     227     272     800    1072    1330    1498     224             7
    border          0       0       0       0   0.105   0.227   0.317    0.20            10
    contrast    0.229   0.246   0.257   0.616   0.912   0.954   0.996    0.25             9
    black           0       0       0       0   0.013   0.020   0.024    0.05             2
    white           0       0       0       0   0.049   0.088   0.106    0.05            13
    shades      0.128   0.858   0.939       1       1       1       1     0.5             5
    smoothness    2.7     4.1     4.7    12.3    23.3    27.1    29.3      25             8
    blockiness   1.01    1.01    1.01    1.30    2.12    2.37    2.77     2.5             7

58 of the images have at least one warning. Every fifth image, spoilt on purpose: a Gaussian blur with a standard deviation of
1.5/448 of the shorter side (0.75 pixels of a model's input) is found in 98%, one of 1/448 in 72%, of 0.5/448 in 2%; JPEG
quality 10 in 99%, 20 in 83%, 30 in 47%; 16 shades in all. Blocks are not found in a picture that was resized after it was
compressed, nor blur under noise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from covid_core.images.types import GreyImage

SMALLEST_SIDE = 224
"""Pixels: the side of a model's input. From a smaller image the resizing invents pixels, as it can find no detail in it."""
LARGEST_BORDER = 0.20
LEAST_CONTRAST = 0.25
LARGEST_CLIPPED = 0.05
"""The share of the middle of the image that is black, or white."""
FEWEST_SHADES = 0.5
GREATEST_SMOOTHNESS = 25.0
GREATEST_BLOCKINESS = 2.5

_SAMPLED_SIDE = 256  # greys are counted on every k-th pixel: at least this many a side, 1 ms whatever the image's size
_CONSTANT = 0.03  # a line whose middle 90% of pixels differ by less is border; text on it is fewer pixels than that
_MIDDLE, _HEART = 0.15, 0.25  # cut off at each side of the image, so that corners and letters do not count
_BLUR_SIDE = 2 * SMALLEST_SIDE  # twice what a model reads: what is lost here begins to be lost for it
_COARSE = 8  # pixels at that size
_BLOCK = 8  # side of a JPEG block, pixels (ITU-T T.81)
_BLOCK_WINDOW = 768
_CLIPPED = 2.5 / 255  # black and white in a JPEG wander by 1 or 2 greys
_FLAT = 1e-10  # mean square of a step: below a hundredth of an 8-bit grey


@dataclass(frozen=True)
class Quality:
    """What was measured of a picture. The greys are those of the middle of the image, without its border."""

    shorter_side: int  # of the whole picture, pixels
    border: float  # the share of the picture that is empty margin, in [0, 1]
    contrast: float  # the 99th less the 1st percentile of the greys, in [0, 1]
    black: float
    white: float  # the shares of the pixels that are black and white, in [0, 1]
    shades: float  # of the 8-bit greys between those two percentiles the share that occurs, in [0, 1]
    smoothness: float
    """How much more the greys differ over 8 pixels than over 1, mean squares, of a picture whose shorter side was brought to
    448 pixels; at most 64, 0 where nothing differs."""
    blockiness: float
    """How much more neighbours differ across the edges of 8 x 8 blocks than within; 1 where there are none."""


def measure(image: GreyImage) -> Quality:
    """Measure a picture, float32 (height, width) in [0, 1]."""
    step = max(min(image.shape) // _SAMPLED_SIDE, 1)
    sample = np.ascontiguousarray(image[::step, ::step])
    rows, columns = _inside_border(sample)
    greys = _inner(sample[rows, columns], _MIDDLE)
    # The last sampled line stands for the lines up to the next one.
    inside = image[rows.start * step : rows.stop * step, columns.start * step : columns.stop * step]
    low, high = (float(value) for value in np.percentile(greys, [1, 99]))
    return Quality(
        shorter_side=min(image.shape),
        border=1 - (rows.stop - rows.start) * (columns.stop - columns.start) / sample.size,
        contrast=high - low,
        black=float((greys <= _CLIPPED).mean()),
        white=float((greys >= 1 - _CLIPPED).mean()),
        shades=_shades(greys, low, high),
        smoothness=_smoothness(_inner(inside, _HEART), min(inside.shape)),
        blockiness=_blockiness(inside),
    )


def quality_warnings(image: GreyImage) -> tuple[str, ...]:
    """Say what speaks against relying on a picture, float32 (height, width) in [0, 1], and what to do about it.

    Returns:
        A sentence or two for each fault that is found, the gravest first; none for most images.
    """
    found = measure(image)
    faults = (
        (
            found.shorter_side < SMALLEST_SIDE,
            f"The image is only {found.shorter_side} pixels on its shorter side and the model reads {SMALLEST_SIDE}, so "
            "detail is missing. Export it in its full size.",
        ),
        (
            found.smoothness > GREATEST_SMOOTHNESS,
            "The image is blurred: the finest detail that the model reads is missing. Export the original, or check whether the "
            "patient moved.",
        ),
        (
            found.contrast < LEAST_CONTRAST,
            f"The image is flat: it uses only {found.contrast:.0%} of the range from black to white. Export it with a narrower "
            "window.",
        ),
        (
            found.white > LARGEST_CLIPPED,
            f"{found.white:.0%} of the middle of the image is plain white, and what lies there cannot be seen. Export it with a "
            "wider window, or check the exposure.",
        ),
        (
            found.black > LARGEST_CLIPPED,
            f"{found.black:.0%} of the middle of the image is plain black, and what lies there cannot be seen. Export it with a "
            "wider window, or check the exposure.",
        ),
        (
            found.shades < FEWEST_SHADES,
            f"{1 - found.shades:.0%} of the shades of grey are missing: the image was saved with too few of them. Export it as a "
            "greyscale picture with 8 bits or more.",
        ),
        (
            found.blockiness > GREATEST_BLOCKINESS,
            "The image is strongly compressed, and the squares left by that may hide or imitate fine patterns. Export it with "
            "less compression.",
        ),
        (
            found.border > LARGEST_BORDER,
            f"{found.border:.0%} of the picture is empty border, so that the model sees the chest smaller than on other images. "
            "Crop the picture to the radiograph.",
        ),
    )
    return tuple(sentence for is_found, sentence in faults if is_found)


def _inside_border(sample: GreyImage) -> tuple[slice, slice]:
    """Rows and columns that hold the image; everything where nothing stands out."""
    found = []
    for axis in (1, 0):
        low, high = np.percentile(sample, [5, 95], axis=axis)
        lines = np.flatnonzero(high - low > _CONSTANT)
        found.append(slice(int(lines[0]), int(lines[-1]) + 1) if lines.size else slice(0, sample.shape[1 - axis]))
    return found[0], found[1]


def _inner(image: GreyImage, cut: float) -> GreyImage:
    height, width = image.shape
    top, left = int(height * cut), int(width * cut)
    return image[top : height - top, left : width - left]


def _shades(greys: GreyImage, low: float, high: float) -> float:
    first, last = round(low * 255), round(high * 255)
    present = np.bincount(np.rint(greys * 255).astype(np.intp).ravel(), minlength=256)[first : last + 1] > 0
    return float(present.mean())


def _smoothness(part: GreyImage, image_side: int) -> float:
    if image_side > _BLUR_SIDE:
        height, width = (max(round(side * _BLUR_SIDE / image_side), 1) for side in part.shape)
        part = np.asarray(Image.fromarray(np.ascontiguousarray(part)).resize((width, height), Image.Resampling.BOX))
    fine, coarse = _mean_square_step(part, 1), _mean_square_step(part, _COARSE)
    return coarse / fine if fine > _FLAT else 0.0


def _mean_square_step(part: GreyImage, pixels: int) -> float:
    if min(part.shape) <= pixels:
        return 0.0
    across, down = part[:, pixels:] - part[:, :-pixels], part[pixels:] - part[:-pixels]
    return float(np.mean(across**2) + np.mean(down**2)) / 2


def _blockiness(inside: GreyImage) -> float:
    """The lesser of the two directions: blocks have edges in both, a grid of lines or a table's slats in one."""
    top, left = (max((side - _BLOCK_WINDOW) // 2, 0) for side in inside.shape)
    window = inside[top : top + _BLOCK_WINDOW, left : left + _BLOCK_WINDOW]
    if min(window.shape) < 2 * _BLOCK:
        return 1.0
    return min(_edge_ratio(np.abs(np.diff(window, axis=axis)).mean(axis=1 - axis)) for axis in (0, 1))


def _edge_ratio(steps: NDArray[np.float32]) -> float:
    """The largest of the 8 mean steps, by position modulo 8, over the mean of the others: where the grid begins is unknown."""
    whole = steps[: steps.size // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    by_position = whole.mean(axis=0)
    edge = int(by_position.argmax())
    within = float(np.delete(by_position, edge).mean())
    return float(by_position[edge]) / within if within**2 > _FLAT else 1.0
