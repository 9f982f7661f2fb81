"""The image files of a collection as an audit reads them: present, readable, of which type, and which show the same image."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from covid_core.dataset.duplicates import Fingerprint, FingerprintFiles, Progress, duplicate_pairs, fingerprint_files
from covid_core.dataset.metadata import safe_image_path
from covid_core.errors import DatasetError
from covid_core.images.decode import kind_of

MAX_COMPARED = 5000
"""Images; comparing this many takes 5 minutes, and the time grows with the square (see `duplicate_pairs`)."""
_HEAD_BYTES = 256
_OTHER_SIGNATURES = {b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"\x1f\x8b": "GZIP"}


class FilePair(NamedTuple):
    """Two rows of the table, first < second, with (almost) the same image; `same_content` if byte for byte."""

    first: int
    second: int
    same_content: bool


@dataclass(frozen=True)
class FilesRead:
    """What reading the files gave: fingerprints and types (see `content_type`) by row of the table, and pairs alike.

    `not_compared` says why images were compared by content alone; it is empty if they were compared.
    """

    fingerprints: Mapping[int, Fingerprint]
    types: Mapping[int, str | None]
    pairs: tuple[FilePair, ...]
    not_compared: str


def file_paths(table: pd.DataFrame, images_dir: Path) -> dict[int, Path | None]:
    """Row -> its file, None for a name that leaves the folder; without rows that have no name or a repeated one."""
    names = table["filename"].dropna().drop_duplicates()
    return {int(row): _safe_path(images_dir, name) for row, name in names.items()}  # type: ignore[call-overload]


def read_files(
    table: pd.DataFrame,
    present: Mapping[int, Path],
    progress: Progress | None = None,
    comparing: Progress | None = None,
    fingerprints: FingerprintFiles = fingerprint_files,
) -> FilesRead:
    """Read each file that is present, by its row, and compare X-rays by appearance and all others by content.

    The limits of `duplicate_pairs` were measured on frontal X-rays, so CT slices are compared by content alone.
    """
    found = dict(zip(present, fingerprints(list(present.values()), progress), strict=True))
    x_ray = (table["modality"].str.lower() == "x-ray").fillna(False)
    by_content = [Fingerprint(one.sha256, None) for one in found.values()]
    by_image = [one if x_ray[row] else bare for (row, one), bare in zip(found.items(), by_content, strict=True)]
    too_many = sum(one.thumbnail is not None for one in by_image) > MAX_COMPARED
    rows = list(found)
    pairs = [
        FilePair(rows[a], rows[b], found[rows[a]].sha256 == found[rows[b]].sha256)
        for a, b in duplicate_pairs(by_content if too_many else by_image, progress=comparing)
    ]
    why = f"more than {MAX_COMPARED} images are too many to compare with each other." if too_many else ""
    return FilesRead(found, {row: content_type(_head(path)) for row, path in present.items()}, tuple(pairs), why)


def content_type(head: bytes) -> str | None:
    """The type of a file by its first 256 bytes: PNG, JPEG, DICOM, GIF, BMP, TIFF, GZIP; None for any other."""
    other = next((name for signature, name in _OTHER_SIGNATURES.items() if head.startswith(signature)), None)
    return kind_of(head) or other


def _safe_path(images_dir: Path, name: str) -> Path | None:
    try:
        return safe_image_path(images_dir, name)
    except DatasetError:
        return None


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:  # reported as unreadable
        return b""
