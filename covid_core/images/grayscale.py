"""A radiograph's stored values to greys: the chain of look-ups that DICOM describes, computed on tables.

A pixel of 8 or 16 bits has at most 65,536 patterns. Each step is therefore computed once, on a table with one number for each
pattern, and the film is looked up at the end: exact, and at the memory of the result. The order of the steps is that of
PS3.4 N.2: modality look-up or rescale, then VOI look-up or window, then polarity. Knows arrays, not files.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from covid_core.images.film import GreyImage

Table = NDArray[np.float64]
"""One number for each bit pattern of a pixel: float64 (256,) or (65536,)."""
Pixels = NDArray[np.unsignedinteger]
"""Bit patterns: unsigned (height, width)."""
WindowFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Of red, green and blue, ITU-R BT.601: the same as for PNG and JPEG."""
_STRIP_PIXELS = 2**20


@dataclass(frozen=True)
class LookUp:
    """A look-up table of a file (PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5).

    Attributes:
        first: the value that is mapped to the first entry; lesser ones are too.
        entries: float64 (n,); values beyond the last entry are mapped to the last.
        white: the largest entry that its bits allow.
    """

    first: int
    entries: NDArray[np.float64]
    white: int

    def apply(self, values: Table) -> Table:
        """Map values to entries."""
        places = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1).astype(np.intp)
        mapped: Table = self.entries[places]
        return mapped


@dataclass(frozen=True)
class Window:
    """The range of values that is spread from black to white (PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Attributes:
        centre: of the range.
        width: of the range; at least 1 for `LINEAR`, above 0 for the others.
        function: how greys run across it.
    """

    centre: float
    width: float
    function: WindowFunction = "LINEAR"

    @property
    def valid(self) -> bool:
        """Whether the standard allows it."""
        finite = np.isfinite([self.centre, self.width]).all()
        return bool(finite and (self.width >= 1 if self.function == "LINEAR" else self.width > 0))

    def apply(self, values: Table) -> Table:
        """Map values to greys in [0, 1]."""
        if self.function == "SIGMOID":
            return 1 / (1 + np.exp(np.clip(-4 * (values - self.centre) / self.width, -700, 700)))
        shift = 0.5 if self.function == "LINEAR" else 0.0
        centre, width = self.centre - shift, self.width - 2 * shift
        if width == 0:
            return (values > centre).astype(np.float64)
        greys: Table = np.clip((values - centre) / width + 0.5, 0, 1)
        return greys


def stored_values(bits_allocated: int, bits_stored: int, *, signed: bool) -> Table:
    """Give the value of each bit pattern; bits above the stored ones do not count (PS3.5 8.1.1).

    Args:
        bits_allocated: of a pixel, 8 or 16.
        bits_stored: of those the lower ones that hold the value.
        signed: whether the value is a two's complement.
    """
    values: Table = (np.arange(2**bits_allocated) & (2**bits_stored - 1)).astype(np.float64)
    if signed:
        values[values >= 2 ** (bits_stored - 1)] -= 2**bits_stored
    return values


def patterns_used(pixels: Pixels) -> NDArray[np.bool_]:
    """Tell for each bit pattern whether any pixel has it.

    Returns:
        bool (256,) or (65536,).
    """
    used = np.zeros(2 ** (8 * pixels.itemsize), np.bool_)
    for rows in _strips(*pixels.shape):
        used[pixels[rows]] = True
    return used


def rescaled(values: Table, slope: float, intercept: float) -> Table:
    """Apply the linear rescale of PS3.3 C.11.1.

    A slope of 0 would make every film one grey, and numbers that are not finite none at all: nobody can have meant them, so such
    a rescale is left out.
    """
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        return values
    result: Table = values * slope + intercept
    return result if np.isfinite(result).all() else values


def stretched(values: Table, of_film: NDArray[np.bool_]) -> Table:
    """Spread the values of a film from black to white, as viewers do for a film without a window.

    Args:
        values: of each pattern.
        of_film: bool, the patterns that the film has; the others are clipped.

    Returns:
        In [0, 1]; all 0 where the film has one value.
    """
    low, high = values[of_film].min(), values[of_film].max()
    if low == high:
        return np.zeros_like(values)
    greys: Table = np.clip((values - low) / (high - low), 0, 1)
    return greys


def shown(values: Table, of_film: NDArray[np.bool_], window: Window | LookUp | None) -> Table:
    """Apply the window or VOI look-up of a film; one that is not valid, or shows nothing of the film, is left out.

    Args:
        values: of each pattern, after modality look-up or rescale.
        of_film: bool, the patterns that the film has.
        window: as the file gives it.

    Returns:
        Greys in [0, 1].
    """
    if isinstance(window, LookUp):
        greys = np.clip(window.apply(values) / window.white, 0, 1)
    elif window is not None and window.valid:
        greys = window.apply(values)
    else:
        return stretched(values, of_film)
    return greys if np.ptp(greys[of_film]) > 0 else stretched(values, of_film)


def greys_at(pixels: Pixels, greys: Table) -> GreyImage:
    """Look each pixel up.

    Args:
        pixels: (height, width).
        greys: in [0, 1], for each pattern.

    Returns:
        float32 (height, width) in [0, 1].
    """
    table, film = greys.astype(np.float32), np.empty(pixels.shape, np.float32)
    for rows in _strips(*pixels.shape):
        film[rows] = table[pixels[rows]]
    return film


def luma(colours: NDArray[np.unsignedinteger], white: int) -> GreyImage:
    """Reduce red, green and blue to luma.

    Args:
        colours: (height, width, 3), in [0, white].
        white: the largest value.

    Returns:
        float32 (height, width) in [0, 1].
    """
    height, width, _ = colours.shape
    film = np.empty((height, width), np.float32)
    for rows in _strips(height, width):
        film[rows] = (colours[rows] & white) @ LUMA
    film /= white
    return np.clip(film, 0, 1, out=film)


def _strips(height: int, width: int) -> Iterator[slice]:
    """Rows of about a million pixels: what is looked up at a time takes eight bytes a pixel more."""
    rows = max(_STRIP_PIXELS // width, 1)
    return (slice(top, top + rows) for top in range(0, height, rows))
