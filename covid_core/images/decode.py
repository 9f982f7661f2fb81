"""Bytes of a file to a radiograph, by its content and never by its name; anything else is refused with a reason.

A new kind of file is one more entry of `READERS`.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from covid_core.errors import ImageRefusedError
from covid_core.images import raster
from covid_core.images.archive import is_archive
from covid_core.images.limits import check_bytes
from covid_core.images.types import FileKind, GreyImage, Radiograph

_UNSUPPORTED_SIGNATURES = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"RIFF": "WebP",
    b"%PDF": "PDF",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\x1f\x8b": "GZIP",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!\x1a\x07": "RAR",
}
_DICOM_PREAMBLE = 128
# File meta or identifying elements, in either byte order.
_DICOM_FIRST_GROUPS = {b"\x02\0", b"\x08\0", b"\0\x02", b"\0\x08"}
_MAX_FIRST_LENGTH = 256


def read_limited(path: Path) -> bytes:
    """Read a file's content, unless it is too large.

    Raises:
        ImageRefusedError: `missing_file` where there is no such file or it cannot be read, or `too_large`.
    """
    try:
        check_bytes(path.stat().st_size)
        return path.read_bytes()
    except OSError as cause:
        raise ImageRefusedError("missing_file", f"The file cannot be read: {cause.strerror or cause}.") from cause


def read_image_file(path: Path) -> Radiograph:
    """Read a file as a radiograph; raises as `read_limited` and `read_image`."""
    return read_image(read_limited(path))


def decode_file(path: Path) -> GreyImage:
    """Read a file as a picture; see `read_image_file`."""
    return read_image_file(path).image


def read_image(data: bytes) -> Radiograph:
    """Decode the content of a PNG, JPEG or DICOM file.

    Raises:
        ImageRefusedError: `empty_file`, `too_large`, `not_an_image`, `unsupported_format`, or as the reader of its kind.
    """
    if not data:
        raise ImageRefusedError("empty_file", "The file is empty.")
    check_bytes(len(data))
    for reader in READERS:
        if reader.recognises(data):
            return reader.read(data)
    raise _unreadable(data)


def kind_of(head: bytes) -> FileKind | None:
    """The kind of a file by its content, or by its first 256 bytes; None for one that is not read."""
    return next((reader.kind for reader in READERS if reader.recognises(head)), None)


def decode(data: bytes) -> GreyImage:
    """Decode the content of a file as a picture; see `read_image`."""
    return read_image(data).image


def probe(path: Path) -> tuple[int, int, FileKind]:
    """Width and height in stored pixels, and the kind of a file, from its header.

    Raises:
        ImageRefusedError: `missing_file`, `too_large`, or `not_an_image` where the header names no size.
    """
    data = read_limited(path)
    kind = kind_of(data)
    try:
        if kind == "DICOM":
            from pydicom import dcmread  # noqa: PLC0415  takes 0.1 s, which no other file should wait for

            elements = dcmread(io.BytesIO(data), force=True, stop_before_pixels=True)
            return int(elements.Columns), int(elements.Rows), kind
        if kind is not None:
            with Image.open(io.BytesIO(data), formats=[kind]) as image:
                return *image.size, kind
    except (OSError, AttributeError, TypeError, ValueError) as cause:
        raise ImageRefusedError("not_an_image", f"{path.name} has a damaged header.") from cause
    refusal = _unreadable(data).refusal
    raise ImageRefusedError(refusal.reason, f"{path.name}: {refusal.message}")


def is_dicom(data: bytes) -> bool:
    """Tell DICOM by its preamble, or by a first element as DICOM without a preamble begins with (DICOM PS3.10 section 7.1)."""
    if data[_DICOM_PREAMBLE : _DICOM_PREAMBLE + 4] == b"DICM":
        return True
    if data[:2] not in _DICOM_FIRST_GROUPS:
        return False
    explicit = data[4:6].isalpha() and data[4:6].isupper()
    return explicit or 0 < int.from_bytes(data[4:8], "little") <= _MAX_FIRST_LENGTH


def _read_dicom(data: bytes) -> Radiograph:
    from covid_core.images import dicom  # noqa: PLC0415  pydicom takes 0.1 s, which no other file should wait for

    return dicom.read(data)


class Reader(NamedTuple):
    """A kind of file: how its content is recognised, and what decodes it or raises `ImageRefusedError`."""

    kind: FileKind
    recognises: Callable[[bytes], bool]
    read: Callable[[bytes], Radiograph]


READERS = (
    Reader("PNG", raster.is_png, raster.read_png),
    Reader("JPEG", raster.is_jpeg, raster.read_jpeg),
    Reader("DICOM", is_dicom, _read_dicom),
)
"""The kinds of files that are read; the first that recognises a content reads it."""


def _unreadable(data: bytes) -> ImageRefusedError:
    if is_archive(data):
        return ImageRefusedError(
            "unsupported_format",
            "This is a ZIP archive, not an image.",
            "Give it to the app or to `predict` as it is: both open archives.",
        )
    if data[4:12] in {b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif"}:
        return _unsupported("HEIC and AVIF")
    for signature, name in _UNSUPPORTED_SIGNATURES.items():
        if data.startswith(signature):
            return _unsupported(name)
    return ImageRefusedError("not_an_image", "This is not a PNG, JPEG or DICOM image, whatever its name says.")


def _unsupported(name: str) -> ImageRefusedError:
    return ImageRefusedError("unsupported_format", f"{name} files are not supported.")
