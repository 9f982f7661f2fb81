"""Lung masks of the dataset's annotations, as arrays beside the images they were drawn on.

Two sets are read, as upstream keeps them: `semantic_masks_v7labs_lungs.zip` (drawn, one mask an image, named as the image) and
`lungVAE-masks/STEM_mask.png` (Selvan et al. 2020, https://arxiv.org/abs/2005.10052) for images that the first lacks. Most of
the images they cover show COVID-19, so *having* a mask gives the label away: only what a model predicts for every image alike
may be used to tell the classes apart.
"""

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from covid_core.errors import DatasetError

DRAWN_NAME = "semantic_masks_v7labs_lungs.zip"
ESTIMATED_NAME = "lungVAE-masks"
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(OSError, NotImplementedError, EOFError, RuntimeError),
)
"""What `zipfile` raises for archives that are damaged, or packed in a way it does not know."""
_INSIDE = 127  # 255 is lung; what the files' compression blurred is cut in the middle


@dataclass(frozen=True)
class LungMasks:
    """Masks of n images: bool (n, size, size), true in a lung, all false where there is none, and which have one, bool (n,)."""

    inside: NDArray[np.bool_] = field(repr=False)
    covered: NDArray[np.bool_] = field(repr=False)


@dataclass(frozen=True)
class LungMask:
    """Where the lungs of one image are, bool (h, w), and whether that was drawn by hand; otherwise a network estimated it.

    The mask is of another size than the image as a rule, but of the same part of it.
    """

    inside: NDArray[np.bool_]
    drawn: bool


def read_lung_masks(annotations: Path, filenames: Sequence[str], size: int) -> LungMasks:
    """Read the masks of images by their names, from the dataset's folder `annotations`.

    The masks are brought to a square of `size` pixels a side, as the images are.

    Raises:
        DatasetError: there are no masks in the folder, or one cannot be read.
    """
    drawn = _drawn(annotations / DRAWN_NAME)
    estimated = _estimated(annotations)
    if not drawn and not estimated:
        raise DatasetError(
            f"{annotations} has no lung masks: neither {DRAWN_NAME} nor {ESTIMATED_NAME}/. Name the folder `annotations` of the "
            "COVID-19 Image Data Collection."
        )
    inside = np.zeros((len(filenames), size, size), np.bool_)
    covered = np.zeros(len(filenames), np.bool_)
    for index, name in enumerate(filenames):
        stem = Path(name).stem
        if stem in drawn or stem in estimated:
            inside[index] = _mask(drawn[stem] if stem in drawn else estimated[stem], size, name)
            covered[index] = True
    return LungMasks(inside, covered)


def read_lung_mask(annotations: Path, filename: str) -> LungMask | None:
    """Read the mask of one image, the drawn one if it has both; None where it has none, or the folder is not there.

    `filename` may be any text.

    Raises:
        DatasetError: the mask, or the file that may hold it, cannot be read.
    """
    stem = Path(filename).stem
    data = _drawn(annotations / DRAWN_NAME, stem).get(stem)
    if data is not None:
        return LungMask(_mask(data, None, filename), drawn=True)
    # Compared by name, never joined to a path: the name of an image may be any text of a table.
    estimated = _estimated(annotations).get(stem)
    return None if estimated is None else LungMask(_mask(estimated, None, filename), drawn=False)


def _estimated(annotations: Path) -> dict[str, Path]:
    """Stem of the image -> file of its mask."""
    return {path.stem.removesuffix("_mask"): path for path in (annotations / ESTIMATED_NAME).glob("*.png")}


def _drawn(path: Path, only: str | None = None) -> dict[str, bytes]:
    """Stem of the image -> content of its mask; of one image or of all."""
    if not path.is_file():
        return {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {Path(entry.filename).stem: entry for entry in archive.infolist() if not entry.is_dir()}
            return {stem: archive.read(entry) for stem, entry in members.items() if only is None or stem == only}
    except _DAMAGE as cause:
        raise DatasetError(f"{path} cannot be read: {cause}.") from cause


def _mask(source: bytes | Path, size: int | None, name: str) -> NDArray[np.bool_]:
    """Where a mask is lung, bool (size, size); for None as large as it is kept."""
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
        with Image.open(io.BytesIO(data), formats=["PNG", "JPEG"]) as picture:
            grey = picture.convert("L")
            if size is not None:
                grey = grey.resize((size, size), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as cause:
        raise DatasetError(f"The lung mask of {name} cannot be read: {cause}.") from cause
    return np.asarray(grey) > _INSIDE
