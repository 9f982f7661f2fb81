"""Filters of the collection's table, and the rows that meet them.

Findings and countries are worked out once, in `with_choices`. The notes, by far the most of a table, are searched as they are: a
copy in lower case would need as much memory again, and searching it is slower than letting Arrow pass over the case (35 against
13 ms for a word in 100,000 notes). For the same reason the rows that meet the filters come without them.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from covid_core.dataset.countries import country_of
from covid_core.errors import DatasetError
from covid_core.labels import MISSING_FINDINGS, finding_components

NOT_GIVEN = "not given"
"""Stands for a blank value, and for the findings `todo` and `Unknown`."""
IN_COHORT = "in_cohort"
"""In the column `cohort`: the row is used. Otherwise the name of the step that left it out."""
NO_PART = "no_part"
"""In the column `part`: the row does not stand in the split."""
NOTES = ("clinical_notes", "other_notes")
"""The columns that hold what was written of an image, as long as anyone liked."""
SEARCHED = (*NOTES, "filename", "patientid", "location")
"""The columns that words are looked for in."""

_LONGEST_TEXT = 200
_DEEPEST, _LONGEST_COMPONENT = 12, 100
"""Components of a finding, and characters of one, that are looked at; the collection has at most four."""
COLUMNS = {
    "views": "view",
    "sexes": "sex",
    "modalities": "modality",
    "labels": "label",
    "sources": "source",
    "countries": "country",
    "rt_pcr": "RT_PCR_positive",
    "licences": "license",
    "cohort": "cohort",
    "parts": "part",
}
"""Fields of `Filters` that are choices of values, and the column of each; findings have a rule of their own."""
_DERIVED = ("diagnosis", "finding_path", "country", "has_file", "cohort", "reason", "part")


@dataclass(frozen=True)
class Filters:
    """What to keep; an empty choice keeps everything, and several narrow each other.

    Attributes:
        findings: components of findings, at any level: `Viral` keeps `Pneumonia/Viral/COVID-19` and `Pneumonia/Viral/SARS`;
            or the beginning of a path: `Pneumonia/Viral`.
        countries: codes, keys of `covid_core.dataset.countries.COUNTRIES`.
        cohort: `IN_COHORT`, or names of the steps that left the image out.
        parts: parts of the split, or `NO_PART`.
        age_from, age_to: in years, both included. With a bound, rows without an age are left out.
        has_file: whether the image's file is available; None for both.
        text: words that are all in the columns `SEARCHED`, in any order and case; at most 200 characters count.
    """

    findings: Sequence[str] = ()
    views: Sequence[str] = ()
    sexes: Sequence[str] = ()
    modalities: Sequence[str] = ()
    labels: Sequence[str] = ()
    sources: Sequence[str] = ()
    countries: Sequence[str] = ()
    rt_pcr: Sequence[str] = ()
    licences: Sequence[str] = ()
    cohort: Sequence[str] = ()
    parts: Sequence[str] = ()
    age_from: float | None = None
    age_to: float | None = None
    has_file: bool | None = None
    text: str = ""


def with_choices(
    table: pd.DataFrame,
    *,
    files: Collection[str] | None = None,
    exclusions: pd.DataFrame | None = None,
    split: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Prepare a table of `read_metadata` for `filtered`: once for a table, not for each choice.

    Args:
        table: as `read_metadata` gives it.
        files: names of the files that are there.
        exclusions: of `select_cohort` over the same table, on its index.
        split: the rows of `split.csv`. Of several rows that name one file of one patient the one in the cohort stands in the
            part, the first one where there is no cohort.

    Returns:
        The table with `view`, `sex`, `modality` and `label` filled with `NOT_GIVEN`, and the columns `diagnosis` (last
        component of the finding), `finding_path` (categorical: its components with `/` between), `country` (code, or NA); and,
        as far as it is given: `has_file`, `cohort`, `reason` (why it was left out, NA for a row that is used) and `part`.

    Raises:
        DatasetError: the split has no columns `filename`, `patientid` and `part`.
    """
    filled = {name: table[name].fillna(NOT_GIVEN) for name in ("view", "sex", "modality", "label")}
    prepared = table.drop(columns=list(_DERIVED), errors="ignore").assign(
        **filled,
        diagnosis=_by_value(table["finding"], lambda finding: _components(finding)[-1]),
        finding_path=_paths(table["finding"]),
        country=_by_value(table["location"], lambda place: country_of(place) if isinstance(place, str) else None),
    )
    if files is not None:
        prepared["has_file"] = table["filename"].isin(list(files))
    if exclusions is not None:
        prepared["cohort"] = exclusions["step"].reindex(table.index, fill_value=IN_COHORT)
        prepared["reason"] = exclusions["reason"].reindex(table.index)
    if split is not None:
        prepared["part"] = _parts(prepared, split)
    return prepared


def finding_counts(table: pd.DataFrame) -> dict[str, int]:
    """Every component of a finding in the table and its images, the most common first."""
    images: dict[str, int] = {}
    for path, count in finding_paths(table).items():
        for part in dict.fromkeys(str(path).split("/")):
            images[part] = images.get(part, 0) + int(count)
    return dict(sorted(images.items(), key=lambda item: -item[1]))


def finding_paths(table: pd.DataFrame) -> "pd.Series[int]":
    """Images of each whole finding, in alphabetical order."""
    paths = table["finding_path"] if "finding_path" in table else pd.Series(_paths(table["finding"]))
    counted = np.bincount(paths.cat.codes, minlength=len(paths.cat.categories))
    return pd.Series(counted, index=paths.cat.categories.astype("str"))[counted > 0]


def choices(table: pd.DataFrame, column: str) -> list[str]:
    """The values of a column, the most common first; `NOT_GIVEN` for blanks."""
    return [NOT_GIVEN if pd.isna(value) else str(value) for value in table[column].value_counts(dropna=False).index]


def filtered(table: pd.DataFrame, filters: Filters) -> pd.DataFrame:
    """The rows of a table of `with_choices` that meet every filter, on its index; a choice of a column it lacks keeps everything.

    They come without the columns `NOTES`: of 100,000 rows these are half the memory, and only a few are ever shown at a time
    (see `with_notes`).
    """
    keep = np.ones(len(table), bool)
    for name, column in COLUMNS.items():
        values = getattr(filters, name)
        if values and column in table:
            keep &= table[column].fillna(NOT_GIVEN).isin(list(values)).to_numpy(bool)
    if filters.findings:
        paths = table["finding_path"].cat
        # One more for rows without a path (code -1), which `_paths` never makes.
        meets = np.array([*(_meets(str(path), filters.findings) for path in paths.categories), False])
        keep &= meets[paths.codes]
    if filters.age_from is not None:
        keep &= (table["age"] >= filters.age_from).to_numpy(bool)
    if filters.age_to is not None:
        keep &= (table["age"] <= filters.age_to).to_numpy(bool)
    if filters.has_file is not None and "has_file" in table:
        keep &= table["has_file"].to_numpy(bool) == filters.has_file
    if filters.text:
        keep &= _noted(table, filters.text)
    light = table.drop(columns=list(NOTES), errors="ignore")
    return light if keep.all() else light[keep]


def with_notes(rows: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Give rows of `filtered` their notes from the whole table."""
    return rows.join(table[list(NOTES)])


def _meets(path: str, wanted: Sequence[str]) -> bool:
    """Whether a finding has one of the components, or begins with one of the paths."""
    parts = path.split("/")
    return any(f"{path}/".startswith(f"{one}/") if "/" in one else one in parts for one in wanted)


def _components(finding: object) -> tuple[str, ...]:
    """The first components of a finding that is given, else `NOT_GIVEN` alone."""
    parts = finding_components(finding if isinstance(finding, str) else None)[:_DEEPEST]
    given = tuple(part[:_LONGEST_COMPONENT] for part in parts if part.lower() not in MISSING_FINDINGS)
    return given or (NOT_GIVEN,)


def _by_value(column: "pd.Series[Any]", function: Callable[[object], str | None]) -> "pd.Series[str]":
    """Work something out of each value once, however many rows have it."""
    codes, values = pd.factorize(column, use_na_sentinel=False)
    return pd.Series([function(value) for value in values], dtype="str").take(codes).set_axis(column.index)


def _paths(findings: "pd.Series[str]") -> "pd.Series[Any]":
    return _by_value(findings, lambda finding: "/".join(_components(finding))).astype("category")


def _noted(table: pd.DataFrame, text: str) -> NDArray[np.bool_]:
    """The rows with every word in one of the columns that are searched; a word within another is not looked for again."""
    words = set(text[:_LONGEST_TEXT].lower().split())
    found = np.ones(len(table), bool)
    for word in words:
        if not any(word in other for other in words - {word}):
            found &= np.logical_or.reduce(
                [table[name].str.contains(word, case=False, regex=False, na=False).to_numpy(bool) for name in SEARCHED]
            )
    return found


def _parts(prepared: pd.DataFrame, split: pd.DataFrame) -> "pd.Series[str]":
    key = ["filename", "patientid"]
    try:
        of_split = split.drop_duplicates(key)[[*key, "part"]]
    except KeyError:
        raise DatasetError(
            "The split has no columns filename, patientid and part. Choose the split.csv that `prepare` wrote."
        ) from None
    used = prepared["cohort"] == IN_COHORT if "cohort" in prepared else ~prepared.duplicated(key)
    parts = prepared[key].merge(of_split, how="left", on=key)["part"]
    return parts.astype("str").set_axis(prepared.index).where(used).fillna(NO_PART)
