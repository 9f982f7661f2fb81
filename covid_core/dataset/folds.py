"""Folds for cross-validation: fixed once, kept in a file, and each laid out as a prepared dataset of its own.

The test part of fold k holds the images of fold k; the others are divided into train and val, grouped and stratified as
everywhere. So training and evaluation need not know that they run inside a cross-validation.
"""

from pathlib import Path

import pandas as pd

from covid_core.dataset.prepare import read_split, split_image_path, write_split
from covid_core.dataset.split import assign_folds, hold_out
from covid_core.errors import DatasetError
from covid_core.files import written_aside

VAL_SHARE = 0.15
"""Of the images outside the held-out fold, for early stopping and calibration."""


def make_folds(dataset: Path, n_folds: int = 5, seed: int = 0) -> pd.DataFrame:
    """Assign every image of a prepared dataset to a fold; its patient and its duplicates come along.

    Returns:
        Columns `filename` and `fold` (0 to `n_folds` - 1), in the order of `split.csv`.
    """
    table = read_split(dataset)
    return pd.DataFrame({"filename": table["filename"], "fold": assign_folds(table, n_folds, seed)})


def write_folds(folds: pd.DataFrame, path: Path) -> None:
    """Keep folds in a file."""
    with written_aside(path) as aside:
        folds.to_csv(aside, index=False, lineterminator="\n")


def read_folds(path: Path, dataset: Path) -> pd.DataFrame:
    """Read folds and check that they fit a dataset.

    Raises:
        DatasetError: the file cannot be read, does not name each image of the dataset once, or divides a patient or duplicates.
    """
    try:
        folds = pd.read_csv(path, dtype={"filename": "str", "fold": "int64"})[["filename", "fold"]]
    except (OSError, ValueError, KeyError) as cause:
        raise DatasetError(f"{path} does not hold folds (columns filename, fold): {cause}.") from cause
    table = read_split(dataset).merge(folds, on="filename", how="left", validate="one_to_one")
    if table["fold"].isna().any() or len(table) != len(folds):
        raise DatasetError(
            f"{path} does not name the images of {dataset}. Prepare the dataset as it was, or name another --folds file "
            "to make new ones."
        )
    if len(table[["group", "fold"]].drop_duplicates()) > table["group"].nunique():
        raise DatasetError(f"{path} divides images of one patient, or duplicates, between folds.")
    return folds


def lay_out_fold(dataset: Path, folds: pd.DataFrame, fold: int, out: Path, seed: int = 0) -> None:
    """Write the prepared dataset whose test part is one fold; the others are divided into train and val."""
    table = read_split(dataset)
    sources = [split_image_path(dataset, row) for _, row in table.iterrows()]
    held_out = table["filename"].isin(folds.loc[folds["fold"] == fold, "filename"])
    val = hold_out(table[~held_out], VAL_SHARE, seed)
    parts = pd.Series("train", index=table.index).mask(held_out, "test")
    parts = parts.mask(val.reindex(table.index, fill_value=False), "val")
    write_split(out, table.assign(part=parts), sources)
