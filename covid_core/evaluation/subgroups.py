"""A model's figures by sex, age, view, source, PCR and severity, and what makes these groups.

The definitions (`GROUPINGS`, `names_of`, `in_group`) also serve the cohort's distributions and the list of mistakes.

A blank value is a group of its own, never left out. A grouping is missing where its column is, or where the column is blank
for every image it is about: it then tells no images apart. Groups overlap between groupings, and within `RT-PCR`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from covid_core.dataset.filters import NOT_GIVEN
from covid_core.evaluation import estimates, intervals, metrics
from covid_core.evaluation.predictions import PAIRED_COLUMNS, Predictions, checked_table, predictions_of
from covid_core.labels import CLASS_TITLES, COVID, NON_COVID

SUBGROUP_METRICS = ("sensitivity", "specificity", "balanced_accuracy", "roc_auc")
FEW_IMAGES = 20
"""Below this many images of a class, a row is flagged; a source with fewer images has no row of its own."""

AGE_BANDS = ((0, "under 40"), (40, "40 to 59"), (60, "60 to 79"), (80, "80 and over"))
"""Lowest age in years, inclusive, and name; a band ends where the next begins."""
SEVERITY_BANDS = ((0, "extent under 3"), (3, "extent 3 to under 6"), (6, "extent 6 to 8"))
"""Lowest geographic extent, inclusive, of 8 at most, and name."""
OTHER_SOURCES = "other sources"
NOT_SCORED = "not scored"
PCR_CONFIRMED = "COVID-19 confirmed by PCR"
PCR_NEGATIVE = "COVID-19 despite a negative PCR"
PCR_UNKNOWN = "COVID-19 without a recorded PCR"

_HIGHEST_AGE = 120.0
_HIGHEST_SEVERITY = 8.0
_LAST = (OTHER_SOURCES, NOT_SCORED, NOT_GIVEN)
_SEXES = {"f": "female", "female": "female", "m": "male", "male": "male"}

Names = Callable[[pd.DataFrame], "pd.Series[Any]"]


@dataclass(frozen=True)
class Grouping:
    """One way to tell images apart by a column, its names in their order (empty for the largest group first).

    `names` maps a table to the name of the group of each image, NA for none; it must see all images of a part, as a small source
    is known only among the others. Images without COVID-19 are `named` as the others, `shared` by all groups (what is asked is
    how these images differ from each kind of COVID-19 image), or in `none`.
    """

    column: str
    names: Names
    order: tuple[str, ...] = ()
    non_covid: Literal["named", "shared", "none"] = "named"


def subgroup_block(
    predictions: pd.DataFrame,
    *,
    part: str,
    threshold: float,
    prevalence: float | None,
    n_resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """The block `subgroups` of `evaluation.json`: rows by grouping and within it as `ordered_names`.

    The predictions have `PAIRED_COLUMNS`, `part`, and whichever of `sex`, `age` (years), `view`, `source`, `rt_pcr` (`Y`, `N`)
    and `severity` (0 to 8) are known. A row has `group` (a key of `GROUPINGS`), `name`, `films`, `patients`, `covid`, `non_covid`
    (images), `few` and the metrics of `SUBGROUP_METRICS` as `Estimate.to_json()`. `few` says that a figure rests on fewer than
    `FEW_IMAGES` images of a class; a class without any image does not count, its figures are undefined.
    """
    table = checked_table(predictions, (*PAIRED_COLUMNS, "part"), part=part)
    rows = []
    for group, grouping in GROUPINGS.items():
        if not is_told(table, group):
            continue
        names = names_of(table, group)
        for name in ordered_names(names, group):
            here = table[in_group(names, table["label"], group, name)]
            images = predictions_of(here, threshold=threshold, prevalence=prevalence)
            figures = _figures(images, grouping, n_resamples=n_resamples, seed=seed)
            rows.append({"group": group, "name": name, **_counts(images), **figures})
    return rows


def worst_first(block: Sequence[Mapping[str, Any]], metric: str = "balanced_accuracy") -> list[dict[str, Any]]:
    """Sort rows of the block for a forest plot: the lowest value first, of equal ones that with more images, undefined ones last.

    Rows with `few` keep their place: hiding them would hide where nothing is known.
    """

    def rank(row: Mapping[str, Any]) -> tuple[bool, float, int]:
        value = row[metric]["value"]
        return value is None, 0.0 if value is None else value, -row["films"]

    return [dict(row) for row in sorted(block, key=rank)]


def is_told(table: pd.DataFrame, group: str) -> bool:
    """Tell whether the table has the column of a grouping, and a value for some image that the grouping is about."""
    grouping = GROUPINGS[group]
    if grouping.column not in table.columns:
        return False
    about = table if grouping.non_covid == "named" else table[table["label"] == COVID]
    return bool(_texts(about[grouping.column]).notna().any())


def names_of(table: pd.DataFrame, group: str) -> "pd.Series[Any]":
    """The name of the group that each image of a part belongs to, NA for none, on the table's index."""
    grouping = GROUPINGS[group]
    names = grouping.names(table)
    return names if grouping.non_covid == "named" else names.where(table["label"] == COVID)


def ordered_names(names: "pd.Series[Any]", group: str) -> list[str]:
    """The groups that have images: in the grouping's own order, or the largest first; what is not known comes last."""
    present, order = names.dropna().value_counts(), GROUPINGS[group].order
    return sorted(present.index, key=lambda name: _place(name, order, int(present[name])))


def in_group(names: "pd.Series[Any]", labels: "pd.Series[Any]", group: str, name: str) -> NDArray[np.bool_]:
    """Tell which images make up one group, with those without COVID-19 where the grouping shares them: bool (n,)."""
    belongs = (names == name).fillna(False).to_numpy(np.bool_)
    if GROUPINGS[group].non_covid == "shared":
        belongs = belongs | (labels == NON_COVID).to_numpy(np.bool_)
    return belongs


def _place(name: str, order: tuple[str, ...], images: int) -> tuple[int, int, int, str]:
    last = _LAST.index(name) + 1 if name in _LAST else 0
    known = order.index(name) if name in order else len(order)
    return last, known, -images, name


def _counts(images: Predictions) -> dict[str, Any]:
    covid = int(images.truth.sum())
    by_class = {"covid": covid, "non_covid": images.truth.size - covid}
    return {
        "films": int(images.truth.size),
        "patients": int(np.unique(images.patients).size),
        **by_class,
        "few": any(0 < count < FEW_IMAGES for count in by_class.values()),
    }


def _figures(images: Predictions, grouping: Grouping, *, n_resamples: int, seed: int) -> dict[str, Any]:
    found = intervals.cluster_bootstrap(
        lambda weights: _weighted(images, weights), images.groups, n_resamples=n_resamples, seed=seed
    )
    figures = {}
    for name in SUBGROUP_METRICS:
        estimate = estimates.honest(name, found[name], images)
        if estimate.value is None and grouping.non_covid == "none":
            note = f"Not defined: only images with {CLASS_TITLES[COVID]} are in this grouping."
            estimate = replace(estimate, note=note)
        figures[name] = estimate.to_json()
    return figures


def _weighted(images: Predictions, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """`SUBGROUP_METRICS` for weights (b, n): name -> (b,), NaN where undefined."""
    values = metrics.rates(metrics.weighted_confusion(images.truth, images.called, weights))
    values["roc_auc"] = estimates.weighted_areas(images, weights)["roc_auc"]
    return {name: values[name] for name in SUBGROUP_METRICS}


def _texts(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Values as stripped text, NA where blank; a column without any value is often one of floats."""
    texts = column.astype("str").str.strip()
    return texts.where(column.notna() & (texts != ""))


def _sex(table: pd.DataFrame) -> "pd.Series[Any]":
    texts = _texts(table["sex"])
    return texts.str.lower().map(_SEXES).fillna("other").where(texts.notna(), NOT_GIVEN)


def _source(table: pd.DataFrame) -> "pd.Series[Any]":
    texts = _texts(table["source"])
    images = texts.map(texts.value_counts())
    return texts.where(texts.isna() | (images >= FEW_IMAGES), OTHER_SOURCES).fillna(NOT_GIVEN)


def _pcr(table: pd.DataFrame) -> "pd.Series[Any]":
    answers = _texts(table["rt_pcr"]).str.upper()
    return answers.map({"Y": PCR_CONFIRMED, "N": PCR_NEGATIVE}).fillna(PCR_UNKNOWN)


def _banded(
    column: "pd.Series[Any]", bands: Sequence[tuple[float, str]], highest: float, unknown: str
) -> "pd.Series[Any]":
    """Name the band of each number; what is no number from 0 to `highest` is `unknown`."""
    values = pd.to_numeric(column, errors="coerce").astype("float64")
    names = pd.Series(unknown, index=column.index, dtype="str")
    for lowest, name in bands:
        names = names.mask((values >= lowest) & (values <= highest), name)
    return names


GROUPINGS: Mapping[str, Grouping] = {
    "Sex": Grouping("sex", _sex, ("female", "male", "other")),
    "Age": Grouping(
        "age",
        lambda table: _banded(table["age"], AGE_BANDS, _HIGHEST_AGE, NOT_GIVEN),
        tuple(name for _, name in AGE_BANDS),
    ),
    "View": Grouping("view", lambda table: _texts(table["view"]).fillna(NOT_GIVEN)),
    "Source": Grouping("source", _source),
    "RT-PCR": Grouping("rt_pcr", _pcr, (PCR_CONFIRMED, PCR_NEGATIVE, PCR_UNKNOWN), "shared"),
    "Severity": Grouping(
        "severity",
        lambda table: _banded(table["severity"], SEVERITY_BANDS, _HIGHEST_SEVERITY, NOT_SCORED),
        tuple(name for _, name in SEVERITY_BANDS),
        "none",
    ),
}
"""Title of a grouping -> what it is, in the order they are shown."""
