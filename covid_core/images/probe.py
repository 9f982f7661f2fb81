"""Size and kind of an image file from its header, by content and not by name."""

import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from covid_core.errors import ImageRefusedError
from covid_core.images.decode import kind_of, read_limited
from covid_core.images.types import FileKind


class Probe(NamedTuple):
    """Width and height in stored pixels, and the kind of the file."""

    width: int
    height: int
    kind: FileKind


def probe(path: Path) -> Probe:
    """Read the header of a PNG, JPEG or DICOM file.

    Raises:
        ImageRefusedError: `missing_file`, `too_large`, or `not_an_image` where the header names no size.
    """
    data = read_limited(path)
    kind = kind_of(data)
    try:
        if kind == "DICOM":
            from pydicom import dcmread  # noqa: PLC0415  takes 0.1 s, which no other file should wait for

            elements = dcmread(io.BytesIO(data), force=True, stop_before_pixels=True)
            return Probe(int(elements.Columns), int(elements.Rows), kind)
        if kind is not None:
            with Image.open(io.BytesIO(data), formats=[kind]) as image:
                return Probe(*image.size, kind)
    except (OSError, AttributeError, TypeError, ValueError) as cause:
        raise ImageRefusedError("not_an_image", f"{path.name} has a damaged header.") from cause
    raise ImageRefusedError("not_an_image", f"{path.name} is not a PNG, JPEG or DICOM image.")
