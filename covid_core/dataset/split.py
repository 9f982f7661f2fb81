"""Images to parts (train, val, test) or folds, so that no patient and no duplicate stands on two sides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from covid_core.dataset.duplicates import components
from covid_core.errors import DatasetError
from covid_core.labels import CLASSES

PARTS = ("train", "val", "test")
FRACTIONS = (0.70, 0.15, 0.15)
"""Shares of train, val and test."""


@dataclass(frozen=True)
class Overlap:
    """Patients and duplicates (groups of almost the same image) in more than one part; both are 0 in a sound split."""

    patients: int
    duplicates: int


def group_ids(patients: Sequence[str], pairs: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """Join images of one patient, and images that are duplicates (pairs of positions), to groups that must not be divided.

    Returns:
        int64 (n,): group of each image, numbered from 0 in the order of their first image.
    """
    first: dict[str, int] = {}
    same_patient = [(first.setdefault(patient, number), number) for number, patient in enumerate(patients)]
    return components(len(patients), [*same_patient, *pairs])


def split_parts(table: pd.DataFrame, fractions: Sequence[float] = FRACTIONS, seed: int = 0) -> "pd.Series[str]":
    """Assign each row to `train`, `val` or `test`, stratified by `label` and grouped by `group`; the seed decides.

    Raises:
        DatasetError: the shares are not three numbers above 0 that sum to 1, or a part would lack a class.
    """
    if len(fractions) != len(PARTS) or min(fractions) <= 0 or not np.isclose(sum(fractions), 1):
        raise DatasetError(
            "The shares of train, val and test must be three numbers above 0 that sum to 1. "
            f"Received: {', '.join(f'{share:g}' for share in fractions)}"
        )
    numbers = _allocate(table, np.asarray(fractions, float), seed)
    parts = pd.Series([PARTS[number] for number in numbers], index=table.index, dtype="str")
    _check_classes(table, parts, PARTS)
    return parts


def assign_folds(table: pd.DataFrame, n_folds: int = 5, seed: int = 0) -> "pd.Series[int]":
    """Assign each row to a fold, 0 to `n_folds` - 1, stratified by `label` and grouped by `group`; the seed decides.

    Raises:
        DatasetError: there are fewer than two folds, or a fold would lack a class.
    """
    if n_folds < 2:  # noqa: PLR2004
        raise DatasetError(f"Cross-validation needs at least 2 folds. Received: {n_folds}")
    folds = pd.Series(_allocate(table, np.full(n_folds, 1 / n_folds), seed), index=table.index)
    _check_classes(table, folds, range(n_folds))
    return folds


def hold_out(table: pd.DataFrame, share: float, seed: int = 0) -> "pd.Series[bool]":
    """Choose rows, a share of them in (0, 1), stratified by `label` and grouped by `group`; the seed decides.

    Raises:
        DatasetError: the chosen rows or the others would lack a class.
    """
    chosen = pd.Series(_allocate(table, np.array([1 - share, share]), seed), index=table.index)
    _check_classes(table, chosen, range(2))
    return chosen == 1


def overlap(table: pd.DataFrame, part: "pd.Series[str]") -> Overlap:
    """Count patients and duplicates in more than one part; the column `duplicate` numbers their group, NA for none."""

    def divided(key: "pd.Series[Any]") -> int:
        pairs = pd.DataFrame({"key": key, "part": part}).dropna().drop_duplicates()
        return int((pairs["key"].value_counts() > 1).sum())

    return Overlap(divided(table["patientid"]), divided(table["duplicate"]))


def count_parts(table: pd.DataFrame) -> pd.DataFrame:
    """Count images and patients of each part and class; a patient with images of both classes counts in both.

    Returns:
        Columns `part`, `label`, `images`, `patients`; one row per part and class, in the order of `PARTS` and `CLASSES`.
    """
    rows = []
    for part in PARTS:
        for label in CLASSES:
            chosen = table[(table["part"] == part) & (table["label"] == label)]
            rows.append((part, label, len(chosen), chosen["patientid"].nunique()))
    return pd.DataFrame(rows, columns=["part", "label", "images", "patients"])


def _allocate(table: pd.DataFrame, shares: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Give whole groups, the largest first, each to the part that it brings closest to its share.

    What is balanced are the images and the groups of each class; the distance from the shares is Pearson's chi-square,
    summed over these. Groups of one size come in random order. On this dataset the images of every part and class come
    within one of their shares, as with 20 folds of scikit-learn's StratifiedGroupKFold joined 14/3/3 (3 seeds each); but
    this needs no 20 images of a class.
    """
    codes, groups = pd.factorize(table["group"])
    counts = np.zeros((len(groups), 2 * len(CLASSES)))
    for column, label in enumerate(CLASSES):
        np.add.at(counts[:, column], codes[(table["label"] == label).to_numpy()], 1)
    counts[:, len(CLASSES) :] = counts[:, : len(CLASSES)] > 0
    order = np.random.default_rng(seed).permutation(len(groups))
    order = order[np.argsort(-counts[order, : len(CLASSES)].sum(axis=1), kind="stable")]
    wanted = np.maximum(shares[:, None] * counts.sum(axis=0), np.finfo(float).tiny)
    given = np.zeros_like(wanted)
    part_of_group = np.zeros(len(groups), np.int64)
    for group in order:
        growth = counts[group] * (counts[group] + 2 * (given - wanted)) / wanted
        chosen = int(growth.sum(axis=1).argmin())
        given[chosen] += counts[group]
        part_of_group[group] = chosen
    return part_of_group[codes]


def _check_classes(table: pd.DataFrame, parts: "pd.Series[str] | pd.Series[int]", names: Sequence[object]) -> None:
    for name in names:
        for label in CLASSES:
            if not ((parts == name) & (table["label"] == label)).any():
                groups = table.loc[table["label"] == label, "group"].nunique()
                raise DatasetError(
                    f"Part {name} would have no image of class {label}: there are {groups} independent groups of patients "
                    "with it. Add patients of this class, or ask for fewer or larger parts."
                )
