"""What a file becomes once it is read: a grey picture, and the little of the rest that is kept.

A DICOM file holds a patient's name, numbers and dates. None of that is in a `Film`: only the pixels, and the tags that
`FilmTags` names.
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
"""Longer side over shorter side; a film of a chest has at most about 1.5, one with a wide border about 2."""
MAX_BYTES = 50 * 2**20
"""The same limit as the app's upload."""


@dataclass(frozen=True)
class FilmTags:
    """What a file says of its film; None where it says nothing.

    Attributes:
        view: view position as in the file, such as `PA` or `AP` (DICOM 0018,5101).
        sex: `F`, `M` or `O` (0010,0040).
        age_band: ten years that hold the patient's age, such as `60-69`, or `90+` (from 0010,1010).
        modality: `CR`, `DX` or another (0008,0060).
        manufacturer: of the device (0008,0070).
    """

    view: str | None = None
    sex: str | None = None
    age_band: str | None = None
    modality: str | None = None
    manufacturer: str | None = None


@dataclass(frozen=True)
class Film:
    """A film as it was read.

    Attributes:
        image: float32 (height, width) in [0, 1], upright, black is 0.
        kind: of the file, told from its content.
        tags: what the file says of the film.
        warnings: sentences on what the file itself says against relying on it, such as burned-in annotations.
    """

    image: GreyImage
    kind: FileKind
    tags: FilmTags = field(default_factory=FilmTags)
    warnings: tuple[str, ...] = ()
