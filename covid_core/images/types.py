"""What a file becomes once it is read: a grey picture, and the little of the rest that is kept.

A DICOM file holds a patient's name, numbers and dates. None of that is in a `Radiograph`: only the pixels, and the tags that
`Tags` names.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

GreyImage = NDArray[np.float32]
"""A grey picture: float32 (height, width) in [0, 1], 0 black and 1 white, upright."""

FileKind = Literal["PNG", "JPEG", "DICOM"]

MAX_PIXELS = 50_000_000
"""Larger than any digital radiograph: a 43 cm detector at 100 um has 18 Mpx."""
MIN_SIDE = 64
"""A side shorter than this holds no readable chest."""
MAX_ASPECT = 3.0
"""Longer side over shorter side; an image of a chest has at most about 1.5, one with a wide border about 2."""
MAX_BYTES = 50 * 2**20
"""The same limit as the app's upload."""


@dataclass(frozen=True)
class Tags:
    """What a file says of its image; None where it says nothing."""

    view: str | None = None  # view position as in the file, such as `PA` or `AP` (DICOM 0018,5101)
    sex: str | None = None  # `F`, `M` or `O` (0010,0040)
    age_band: str | None = None  # ten years that hold the patient's age, such as `60-69`, or `90+` (from 0010,1010)
    modality: str | None = None
    manufacturer: str | None = None


@dataclass(frozen=True)
class Radiograph:
    """An image as it was read: its greys, the kind of file by its content, and what the file says."""

    image: GreyImage
    kind: FileKind
    tags: Tags = field(default_factory=Tags)
    warnings: tuple[str, ...] = ()  # what the file itself says against relying on it, such as burned-in annotations
