"""A folder of labelled images from elsewhere: `labels.csv` beside `images/`, as the auxiliary and external collections come.

Columns of `labels.csv`: `filename`; `finding`, free text; `label`, a class name or blank where the source gives none; and, if the
images come from several collections, `source`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from covid_core.dataset.duplicates import Fingerprint, duplicate_pairs, fingerprint_files
from covid_core.dataset.metadata import safe_image_path
from covid_core.errors import DatasetError
from covid_core.labels import CLASSES
from covid_core.paths import IMAGES_NAME

LABELS_NAME = "labels.csv"
COLUMNS = ("filename", "finding", "label")


def read_labels(folder: Path, columns: Collection[str]) -> tuple[pd.DataFrame, list[Path]]:
    """Read the table of such a folder, text in every cell, and find the image of each row.

    Raises:
        DatasetError: the table is missing or lacks a column, a name leaves the folder, or a file is missing.
    """
    path = folder / LABELS_NAME
    try:
        table = pd.read_csv(path, dtype="str", keep_default_na=False)
    except (OSError, ValueError) as cause:
        raise DatasetError(f"{path} cannot be read as a table: {cause}.") from cause
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DatasetError(f"{path} lacks the column {', '.join(missing)}.")
    paths = [safe_image_path(folder / IMAGES_NAME, name) for name in table["filename"]]
    absent = [one.name for one in paths if not one.is_file()]
    if absent:
        raise DatasetError(f"{folder} lacks {len(absent)} of its images, the first is {absent[0]}.")
    return table, paths


@dataclass(frozen=True)
class LabelledFolder:
    """Images with their labels, row by row: `COLUMNS`, text, empty where the source says nothing.

    Attributes:
        sources: the collections that the images come from, where the table names them.
        copies: how many images were left out since they are (almost) the same picture as an image elsewhere.
    """

    name: str
    table: pd.DataFrame = field(repr=False)
    paths: tuple[Path, ...] = field(repr=False)
    sources: tuple[str, ...]
    copies: int = 0


def read_labelled_folder(folder: Path) -> LabelledFolder:
    """Read such a folder.

    Raises:
        DatasetError: as `read_labels`; or the table is empty, or a label is no class.
    """
    whole, paths = read_labels(folder, COLUMNS)
    table = whole[list(COLUMNS)]
    if table.empty:
        raise DatasetError(f"{folder / LABELS_NAME} has no images.")
    unknown = sorted(set(table["label"]) - {*CLASSES, ""})
    if unknown:
        raise DatasetError(
            f"{folder / LABELS_NAME}: labels must be {', '.join(CLASSES)} or blank. Received: {', '.join(unknown)}"
        )
    sources = sorted(set(whole["source"]) - {""}) if "source" in whole.columns else []
    return LabelledFolder(folder.resolve().name, table, tuple(paths), tuple(sources))


def select(folder: LabelledFolder, rows: ArrayLike) -> LabelledFolder:
    """Some images of a folder, by a bool for each."""
    chosen = np.asarray(rows, np.bool_)
    paths = tuple(path for path, kept in zip(folder.paths, chosen, strict=True) if kept)
    return replace(folder, table=folder.table[chosen].reset_index(drop=True), paths=paths)


def without_copies(folder: LabelledFolder, others: Sequence[Fingerprint]) -> LabelledFolder:
    """Leave out the images that are (almost) the same picture as one of some others; collections copy from each other."""
    count = len(folder.paths)
    pairs = duplicate_pairs([*fingerprint_files(folder.paths), *others])
    copied = np.zeros(count, np.bool_)
    copied[[first for first, second in pairs if first < count <= second]] = True
    return replace(select(folder, ~copied), copies=folder.copies + int(copied.sum()))
