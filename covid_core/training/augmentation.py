"""Random changes of a training radiograph and of the opacities marked on it: how it was made must not matter."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from covid_core.images import changes
from covid_core.images.preprocess import stretch


@dataclass(frozen=True)
class Strength:
    """The largest change to either side, and how often the occasional ones happen.

    Attributes:
        degrees: of rotation.
        shift: share of the side.
        zoom_in, zoom_out: share of the side; zooming out leaves a border of one grey.
        aspect: relative change of the ratio of the sides.
        log_gamma: natural logarithm of gamma.
        occasional: probability of each of blur, compression and loss of resolution, in [0, 1].
        marks: probability of each of arrows, letters and electrodes, in [0, 1].
    """

    degrees: float = 12.0
    shift: float = 0.07
    zoom_in: float = 0.22
    zoom_out: float = 0.12
    aspect: float = 0.12
    log_gamma: float = 0.45
    occasional: float = 0.25
    marks: float = 0.2


def augment(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], rng: np.random.Generator, strength: Strength | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Change a prepared radiograph and its mask.

    Args:
        image: uint8 (size, size), as `prepare` gives it.
        mask: uint8 (size, size); moved as the image is, and otherwise left as it is.
        rng: source of all random numbers.
        strength: how much; the defaults for None.

    Returns:
        Image and mask of the same shapes; the image is stretched to the full range of greys again.
    """
    by = strength or Strength()
    size = image.shape[0]
    matrix = _affine(size, rng, by)
    fill = int(rng.integers(256)) if rng.random() < 0.2 else 0  # noqa: PLR2004  most borders are black
    moved = np.asarray(
        Image.fromarray(image).transform(
            (size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=fill
        )
    )
    kept = np.asarray(
        Image.fromarray(mask).transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    )
    moved = changes.adjust_gamma(moved, float(np.exp(rng.uniform(-by.log_gamma, by.log_gamma))))
    if rng.random() < by.occasional:
        shrunk = changes.shrink(moved, int(rng.integers(size // 3, size)))
        moved = np.asarray(Image.fromarray(shrunk).resize((size, size), Image.Resampling.BILINEAR))
    if rng.random() < by.marks:
        moved = changes.draw_electrodes(moved, rng, int(rng.integers(1, 5)))
    if rng.random() < by.marks:
        moved = changes.draw_letters(moved, rng, int(rng.integers(1, 4)))
    if rng.random() < by.marks:
        moved = changes.draw_arrows(moved, rng, int(rng.integers(1, 4)))
    if rng.random() < by.occasional:
        moved = changes.blur(moved, float(rng.uniform(1, 6)))
    if rng.random() < by.occasional:
        moved = changes.compress(moved, int(rng.integers(25, 90)))
    return stretch(moved, float(rng.uniform(0, 2)), float(100 - rng.uniform(0, 2))), kept


def _affine(size: int, rng: np.random.Generator, by: Strength) -> tuple[float, ...]:
    """Six numbers that take a pixel of the result to one of the source, about the centre; mirrored half of the time."""
    angle = np.deg2rad(rng.uniform(-by.degrees, by.degrees))
    scale = 1 - rng.uniform(-by.zoom_out, by.zoom_in)
    aspect = np.exp(rng.uniform(-by.aspect, by.aspect) / 2)
    across = scale * aspect * (-1 if rng.random() < 0.5 else 1)  # noqa: PLR2004
    down = scale / aspect
    turn = np.array([[np.cos(angle) * across, -np.sin(angle) * down], [np.sin(angle) * across, np.cos(angle) * down]])
    centre = size / 2
    moved = centre - turn @ [centre, centre] + rng.uniform(-by.shift, by.shift, 2) * size
    return (*turn[0], moved[0], *turn[1], moved[1])
