"""Bytes of a PNG or JPEG to a grey picture; anything that is not one whole picture is refused with a reason.

Only Pillow's PNG and JPEG readers are let at a file. Pillow itself warns of pictures above 89 million pixels; ours are refused
above 50 million already, from the header alone, so that its warning need not be heard.
"""

import io
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageChops

from covid_core.errors import ImageRefusedError
from covid_core.images.codestream import Layout, jpeg_layout, png_layout
from covid_core.images.limits import check_contents, check_size, too_little_memory
from covid_core.images.quiet import quiet
from covid_core.images.types import MAX_PIXELS, FileKind, GreyImage, Radiograph

MAX_PROGRESSIVE_PIXELS = 25_000_000
"""Of a progressive JPEG: its decoder keeps 2 more bytes a sample (500 MiB in all at 49 million pixels in colour)."""

_MULTI_PICTURE = "MPO"  # what Pillow calls a JPEG of several pictures
_MAX_16_BIT = 65535
_STRIP_PIXELS = 2**20  # converted at a time
# Every exception that Pillow's PNG and JPEG readers were seen to raise on damaged input.
_DECODER_ERRORS = (
    *(OSError, ValueError, SyntaxError, EOFError, NotImplementedError, RecursionError, IndexError, KeyError),
    *(OverflowError, struct.error, zlib.error, Image.DecompressionBombError),
)
# What makes an array of pixels upright, by its EXIF orientation; 1 is upright. Source: EXIF 2.32, tag 0x0112.
_TO_UPRIGHT: dict[int, Callable[[NDArray[np.generic]], NDArray[np.generic]]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.T,
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].T,
    8: np.rot90,
}


class _Greys(NamedTuple):
    """Grey values, (height, width), and the value that is white."""

    values: NDArray[np.generic]
    white: int


def is_png(data: bytes) -> bool:
    """Whether a file begins as a PNG."""
    return data.startswith(b"\x89PNG\r\n\x1a\n")


def is_jpeg(data: bytes) -> bool:
    """Whether a file begins as a JPEG."""
    return data.startswith(b"\xff\xd8\xff")


def read_png(data: bytes) -> Radiograph:
    """Decode a PNG.

    Transparency is composited on black, the EXIF orientation is applied, colours become luma (ITU-R BT.601), and 16-bit
    greys are scaled by the range of their type (Pillow's own `convert("L")` would clip them at 255).

    Raises:
        ImageRefusedError: `damaged`, `too_large`, `too_small`, `bad_shape`, `multi_frame` or `constant`.
    """
    return _read(data, "PNG", png_layout(data))


def read_jpeg(data: bytes) -> Radiograph:
    """Decode a JPEG; see `read_png`."""
    return _read(data, "JPEG", jpeg_layout(data))


def _read(data: bytes, kind: FileKind, layout: Layout | None) -> Radiograph:
    if layout is not None:
        check_size(layout.width, layout.height, MAX_PROGRESSIVE_PIXELS if layout.progressive else MAX_PIXELS)
    try:
        with quiet:  # a picture may be readable with broken metadata; what matters is whether its pixels load
            image = to_grey(_opened(data, kind))
    except MemoryError as cause:
        raise too_little_memory() from cause
    except _DECODER_ERRORS as cause:
        raise ImageRefusedError(
            "damaged", "The image is damaged or cut short: it cannot be read from its beginning to its end."
        ) from cause
    check_contents(image)
    return Radiograph(image, kind)


def _opened(data: bytes, kind: FileKind) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=[kind])
    if image.format == _MULTI_PICTURE or getattr(image, "n_frames", 1) > 1:
        raise ImageRefusedError(
            "multi_frame", "The file holds several pictures, and it is unclear which is the radiograph."
        )
    check_size(*image.size)  # again: the reader may have taken another header than we did
    image.load()  # a file that is cut short shows it only here
    return image


def to_grey(image: Image.Image) -> GreyImage:
    """A loaded image to greys in [0, 1], upright. Callers keep no reference: of a large one each copy is 200 MB."""
    to_upright = _TO_UPRIGHT.get(_orientation(image))
    greys = _greys(image)
    del image
    values = greys.values if to_upright is None else to_upright(greys.values)
    scaled: GreyImage = np.ascontiguousarray(values, np.float32)
    scaled /= greys.white
    return scaled


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # the EXIF block is broken, whatever way; the pixels are not
        return 1
    return orientation if isinstance(orientation, int) else 1


def _greys(image: Image.Image) -> _Greys:
    if image.mode == "F":
        return _stretched(np.asarray(image))
    if image.mode == "I":  # 32-bit integers; Pillow also reads some 16-bit greys into them
        values = np.asarray(image)
        fits_16_bit = values.min() >= 0 and values.max() <= _MAX_16_BIT
        return _Greys(values, _MAX_16_BIT) if fits_16_bit else _stretched(values)
    if image.mode.startswith("I;16"):
        values = np.asarray(image)
        transparent = image.info.get("transparency")  # one grey that stands for "nothing here"
        return _Greys(values if transparent is None else np.where(values == transparent, 0, values), _MAX_16_BIT)
    if image.mode == "L" and "transparency" not in image.info:
        return _Greys(np.asarray(image), 255)
    width, height = image.size
    luma = np.empty((height, width), np.uint8)
    rows = max(_STRIP_PIXELS // width, 1)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        luma[top : top + rows] = np.asarray(_luma(strip))
    return _Greys(luma, 255)


def _luma(image: Image.Image) -> Image.Image:
    if image.mode in {"P", "PA"} or "transparency" in image.info:
        image = image.convert("RGBA")
    if "A" not in image.getbands():
        return image.convert("L")
    # Luma is linear: multiplied by alpha it is the luma of the picture on black, at a quarter of the memory.
    return ImageChops.multiply(image.convert("L"), image.getchannel("A"))


def _stretched(values: NDArray[np.generic]) -> _Greys:
    """Scale numbers of no known range by their own minimum and maximum."""
    if not np.isfinite(values).all():
        raise ImageRefusedError("damaged", "The image holds values that are not numbers.")
    numbers = values.astype(np.float64)
    low, high = float(numbers.min()), float(numbers.max())
    return _Greys((numbers - low) / max(high - low, np.finfo(np.float64).tiny), 1)
