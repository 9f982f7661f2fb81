"""A folder of labelled films from elsewhere: `labels.csv` beside `images/`, as the auxiliary and external collections come.

Columns of `labels.csv`: `filename`; `finding`, free text; `label`, a class name or blank where the source gives none; and, if the
films come from several collections, `source`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class LabelledFolder:
    """Films with their labels, row by row.

    Attributes:
        name: the folder's.
        table: `COLUMNS`, text, empty where the source says nothing.
        paths: the image files.
        sources: the collections that the films come from, where the table names them.
        copies: how many films were left out since they are (almost) the same picture as a film elsewhere.
    """

    name: str
    table: pd.DataFrame
    paths: tuple[Path, ...]
    sources: tuple[str, ...]
    copies: int = 0

    def __repr__(self) -> str:
        return f"LabelledFolder({self.name!r}, {len(self.paths)} films)"


def read_labelled_folder(folder: Path) -> LabelledFolder:
    """Read such a folder.

    Raises:
        DatasetError: the table is missing, empty or lacks a column, a label is no class, a name leaves the folder, or a file is
            missing.
    """
    path = folder / LABELS_NAME
    try:
        whole = pd.read_csv(path, dtype="str", keep_default_na=False)
        table = whole[list(COLUMNS)]
    except (OSError, ValueError, KeyError) as cause:
        raise DatasetError(f"{path} is not a table with the columns {', '.join(COLUMNS)}: {cause}.") from cause
    if table.empty:
        raise DatasetError(f"{path} has no films.")
    unknown = sorted(set(table["label"]) - {*CLASSES, ""})
    if unknown:
        raise DatasetError(f"{path}: labels must be {', '.join(CLASSES)} or blank. Received: {', '.join(unknown)}")
    paths = tuple(safe_image_path(folder / IMAGES_NAME, name) for name in table["filename"])
    missing = [one.name for one in paths if not one.is_file()]
    if missing:
        raise DatasetError(f"{folder} lacks {len(missing)} of its images, the first is {missing[0]}.")
    sources = sorted(set(whole["source"]) - {""}) if "source" in whole.columns else []
    return LabelledFolder(folder.resolve().name, table, paths, tuple(sources))


def select(folder: LabelledFolder, rows: ArrayLike) -> LabelledFolder:
    """Some films of a folder, by a bool for each."""
    chosen = np.asarray(rows, np.bool_)
    paths = tuple(path for path, kept in zip(folder.paths, chosen, strict=True) if kept)
    return replace(folder, table=folder.table[chosen].reset_index(drop=True), paths=paths)


def without_copies(folder: LabelledFolder, others: Sequence[Fingerprint]) -> LabelledFolder:
    """Leave out the films that are (almost) the same picture as one of some others; collections copy from each other.

    Args:
        folder: the films.
        others: of the films that must not be among them (`covid_core.dataset.duplicates.fingerprint_files`).
    """
    count = len(folder.paths)
    pairs = duplicate_pairs([*fingerprint_files(folder.paths), *others])
    copied = np.zeros(count, np.bool_)
    for first, second in pairs:
        if first < count <= second:
            copied[first] = True
    return replace(select(folder, ~copied), copies=folder.copies + int(copied.sum()))
