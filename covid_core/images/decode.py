"""Bytes of a PNG or JPEG to a grey picture; anything else is refused with a reason.

The kind of a file is told from its content, never from its name. This module knows nothing of models: what a model wants
of the picture is in `covid_core.images.preparation`.
"""

import io
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageChops, UnidentifiedImageError

from covid_core.errors import ImageRefusedError
from covid_core.images.film import MAX_BYTES, MAX_PIXELS, MIN_SIDE, GreyImage

FORMATS = ("PNG", "JPEG")

_MAX_16_BIT = 65535
_UNSUPPORTED_SIGNATURES = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"RIFF": "WebP",
    b"%PDF": "PDF",
    b"PK\x03\x04": "ZIP",
}
# Every exception that Pillow's PNG and JPEG readers were seen to raise on damaged input.
_DECODER_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    NotImplementedError,
    RecursionError,
    IndexError,
    KeyError,
    struct.error,
    zlib.error,
)
# What makes a picture upright, by its EXIF orientation; 1 is upright. Source: EXIF 2.32, tag 0x0112.
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class _Unwarned:
    """A block in which Python's warnings are off; many threads may be in it at once.

    `warnings.catch_warnings` alone is not safe there: it sets the filters of the whole process, and whoever leaves
    first puts them back under the others (2 of 2000 decodings in 8 threads raised, and the filters stayed changed).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)


_unwarned = _Unwarned()


def decode_file(path: Path) -> GreyImage:
    """Read an image file; see `decode`.

    Raises:
        ImageRefusedError: as `decode`, and `missing_file` where there is no such file or it cannot be read.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ImageRefusedError("too_large", _too_many_bytes(path.stat().st_size))
        data = path.read_bytes()
    except OSError as cause:
        raise ImageRefusedError("missing_file", f"The file cannot be read: {cause.strerror or cause}.") from cause
    return decode(data)


def decode(data: bytes) -> GreyImage:
    """Decode a PNG or JPEG to a grey picture.

    Transparency is composited on black, the EXIF orientation is applied, colours become luma (ITU-R BT.601), and 16-bit
    greys are scaled by the range of their type (Pillow's own `convert("L")` would clip them at 255).

    Args:
        data: the content of the file.

    Returns:
        float32 (height, width) in [0, 1].

    Raises:
        ImageRefusedError: `empty_file`, `not_an_image`, `unsupported_format`, `damaged`, `too_large` or `too_small`.
    """
    if not data:
        raise ImageRefusedError("empty_file", "The file is empty.")
    if len(data) > MAX_BYTES:
        raise ImageRefusedError("too_large", _too_many_bytes(len(data)))
    image = _open(data)
    try:
        with _unwarned:  # a picture may be readable with broken metadata; what matters is whether its pixels load
            image.load()
            return _to_grey(_upright(image))
    except (*_DECODER_ERRORS, Image.DecompressionBombError) as cause:
        raise ImageRefusedError(
            "damaged", "The image is damaged or cut short: it begins well but cannot be read to its end."
        ) from cause


def _open(data: bytes) -> Image.Image:
    try:
        with _unwarned:  # the size is checked below, by our own limit
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise _unidentified(data) from None
    except Image.DecompressionBombError:
        raise ImageRefusedError("too_large", _too_many_pixels()) from None
    except _DECODER_ERRORS as cause:
        raise ImageRefusedError("damaged", "The image is damaged: its header cannot be read.") from cause
    if image.format not in FORMATS:  # a multi-picture MPO opens through the JPEG reader
        raise ImageRefusedError(
            "unsupported_format", f"{image.format} files are not supported.", "Save the film as PNG or JPEG."
        )
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageRefusedError("too_large", _too_many_pixels(width, height))
    if min(width, height) < MIN_SIDE:
        raise ImageRefusedError(
            "too_small",
            f"The image is {width} x {height} pixels; at least {MIN_SIDE} a side are needed to see a chest.",
        )
    return image


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except _DECODER_ERRORS:  # the EXIF block is broken, the pixels are not
        return image
    method = _TO_UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _to_grey(image: Image.Image) -> GreyImage:
    if image.mode in {"P", "PA"}:
        image = image.convert("RGBA")
    if image.mode == "F":
        return _stretched(np.asarray(image, np.float32))
    if image.mode == "I":  # 32-bit integers; Pillow also reads some 16-bit greys into them
        values = np.asarray(image)
        fits_16_bit = values.min() >= 0 and values.max() <= _MAX_16_BIT
        return _scaled(values, _MAX_16_BIT) if fits_16_bit else _stretched(values)
    if image.mode.startswith("I;16"):
        values = np.asarray(image)
        transparent = image.info.get("transparency")  # one grey that stands for "nothing here"
        return _scaled(values if transparent is None else np.where(values == transparent, 0, values), _MAX_16_BIT)
    if "transparency" in image.info:
        image = image.convert("RGBA")
    if "A" not in image.getbands():
        return _scaled(np.asarray(image.convert("L")), 255)
    # Luma is linear: multiplied by alpha it is the luma of the picture on black, at a quarter of the memory.
    return _scaled(np.asarray(ImageChops.multiply(image.convert("L"), image.getchannel("A"))), 255)


def _scaled(values: NDArray[np.generic], maximum: int) -> GreyImage:
    scaled: GreyImage = values.astype(np.float32)
    scaled /= maximum
    return scaled


def _stretched(values: NDArray[np.generic]) -> GreyImage:
    """Scale numbers of no known range by their own minimum and maximum."""
    if not np.isfinite(values).all():
        raise ImageRefusedError("damaged", "The image holds values that are not numbers.")
    numbers = values.astype(np.float64)
    low, high = float(numbers.min()), float(numbers.max())
    stretched: GreyImage = ((numbers - low) / max(high - low, np.finfo(np.float64).tiny)).astype(np.float32)
    return stretched


def _unidentified(data: bytes) -> ImageRefusedError:
    if data[128:132] == b"DICM":
        return ImageRefusedError(
            "unsupported_format", "DICOM files are not supported yet.", "Export the film as PNG or JPEG."
        )
    for signature, name in _UNSUPPORTED_SIGNATURES.items():
        if data.startswith(signature):
            return ImageRefusedError(
                "unsupported_format", f"{name} files are not supported.", "Save the film as PNG or JPEG."
            )
    return ImageRefusedError("not_an_image", "This is not a PNG or JPEG image, whatever its name says.")


def _too_many_pixels(width: int | None = None, height: int | None = None) -> str:
    size = f" of {width} x {height} pixels" if width and height else ""
    return f"The image{size} is too large: at most {MAX_PIXELS // 10**6} million pixels are read."


def _too_many_bytes(size: int) -> str:
    return f"The file has {size / 2**20:.0f} MiB; at most {MAX_BYTES // 2**20} are read."
