"""Stored values of a radiograph to greys: modality LUT, VOI LUT or window, and polarity (DICOM PS3.4 N.2), computed on tables.

A pixel of 8 or 16 bits has at most 65,536 patterns. Each step is computed once, on a table with one number for each pattern, and
the pixels are looked up at the end: exact, and at the memory of the result.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_windowing

from covid_core.images.types import GreyImage

Table = NDArray[np.float64]
"""One number for each bit pattern of a pixel: float64 (256,) or (65536,)."""
Pixels = NDArray[np.unsignedinteger]
"""Bit patterns: unsigned (height, width)."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Of red, green and blue, ITU-R BT.601: the same as for PNG and JPEG."""
_STRIP_PIXELS = 2**20
_SIGN_BIT = 2**15


@dataclass(frozen=True)
class LookUpTable:
    """A look-up table of a file (PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5).

    Values up to `first` (as unsigned 16 bits) are mapped to the first entry, those beyond the last entry to the last.
    pydicom 3.0's `apply_modality_lut` fails on entries of 9 to 15 bits, and its `apply_voi` wraps values above 65,535.
    """

    first: int
    entries: NDArray[np.float64]
    bits: int

    def apply(self, values: Table) -> Table:
        """Map values to entries; `first` is signed where values are negative."""
        first = self.first - 2**16 if self.first >= _SIGN_BIT and values.min() < 0 else self.first
        mapped: Table = self.entries[np.clip(np.rint(values) - first, 0, len(self.entries) - 1).astype(np.intp)]
        return mapped

    def apply_relative(self, values: Table) -> Table:
        """Map values to entries as shares of the largest that the bits allow, in [0, 1]."""
        shares: Table = np.clip(self.apply(values) / (2**self.bits - 1), 0, 1)
        return shares


@dataclass(frozen=True)
class Display:
    """How a file says that its values are shown; None where it does not say."""

    modality: LookUpTable | None = None
    slope: float | None = None
    intercept: float | None = None
    voi: LookUpTable | None = None
    window: tuple[float, float] | None = None  # centre and width
    function: str = "LINEAR"  # of the window: `LINEAR`, `LINEAR_EXACT` or `SIGMOID`
    inverted: bool = False


def stored_values(bits_allocated: int, bits_stored: int, *, signed: bool) -> Table:
    """Give the value of each bit pattern; bits above the stored ones do not count (PS3.5 8.1.1)."""
    values: Table = (np.arange(2**bits_allocated) & (2**bits_stored - 1)).astype(np.float64)
    if signed:
        values[values >= 2 ** (bits_stored - 1)] -= 2**bits_stored
    return values


def patterns_used(pixels: Pixels) -> NDArray[np.bool_]:
    """Mark each bit pattern that any pixel has: bool (256,) or (65536,)."""
    used = np.zeros(2 ** (8 * pixels.itemsize), np.bool_)
    for rows in _strips(*pixels.shape):
        used[pixels[rows]] = True
    return used


def apply_display(values: Table, display: Display, used: NDArray[np.bool_]) -> Table:
    """Show values as the file says: greys in [0, 1] of each pattern, of which `used` marks those of the radiograph.

    A window or VOI LUT that the standard forbids, or that leaves one grey of the radiograph, is left out.
    """
    values = _apply_modality(values, display)
    greys = _apply_voi(values, display)
    if greys is None or np.ptp(greys[used]) == 0:
        greys = _stretch(values, used)
    return 1 - greys if display.inverted else greys


def apply_greys(pixels: Pixels, greys: Table) -> GreyImage:
    """Look up the grey of each pixel, in [0, 1]: float32 (height, width)."""
    table, image = greys.astype(np.float32), np.empty(pixels.shape, np.float32)
    for rows in _strips(*pixels.shape):
        image[rows] = table[pixels[rows]]
    return image


def luma(colours: NDArray[np.unsignedinteger], white: int) -> GreyImage:
    """Reduce red, green and blue, (height, width, 3) in [0, white], to luma: float32 (height, width) in [0, 1]."""
    height, width, _ = colours.shape
    image = np.empty((height, width), np.float32)
    for rows in _strips(height, width):
        image[rows] = (colours[rows] & white) @ LUMA
    image /= white
    return np.clip(image, 0, 1, out=image)


def _apply_modality(values: Table, display: Display) -> Table:
    """Apply the modality LUT, or the rescale (PS3.3 C.11.1) unless it makes everything one grey or no number."""
    if display.modality is not None:
        return display.modality.apply(values)
    if not display.slope or not np.isfinite(display.slope):
        return values
    rescaled: Table = values * display.slope + (display.intercept or 0.0)
    return rescaled if np.isfinite(rescaled).all() else values


def _apply_voi(values: Table, display: Display) -> Table | None:
    """Apply the VOI LUT or the window; None where there is none that the standard allows (PS3.3 C.11.2.1)."""
    if display.voi is not None:
        return display.voi.apply_relative(values)
    if display.window is None or not np.isfinite(display.window).all():
        return None
    settings = Dataset()
    settings.WindowCenter, settings.WindowWidth = display.window
    settings.VOILUTFunction, settings.PhotometricInterpretation = display.function, "MONOCHROME2"
    settings.BitsStored, settings.PixelRepresentation = 1, 0  # greys from 0 to 1
    try:
        with np.errstate(over="ignore"):
            greys: Table = apply_windowing(values, settings)
    except ValueError:
        return None
    return greys


def _stretch(values: Table, used: NDArray[np.bool_]) -> Table:
    """Spread the values of the radiograph from black to white; all black where there is only one."""
    low, high = values[used].min(), values[used].max()
    greys: Table = np.clip((values - low) / (high - low), 0, 1) if low < high else np.zeros_like(values)
    return greys


def _strips(height: int, width: int) -> Iterator[slice]:
    """Rows of about a million pixels: what is looked up at a time takes eight bytes a pixel more."""
    rows = max(_STRIP_PIXELS // width, 1)
    return (slice(top, top + rows) for top in range(0, height, rows))
