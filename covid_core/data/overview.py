"""The table of the collection as a reader explores it: what it holds, narrowed by what he chooses.

Knows the columns of `covid_core.data.metadata`. Which images a model learns from is the part of `covid_core.data.cohort`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from covid_core.labels import CLASS_TITLES, CLASSES, MISSING_FINDINGS, Label, finding_components

NOT_GIVEN = "not given"
"""Stands for a blank value, and for the findings `todo` and `Unknown`."""
_LONGEST_NOTE = 200


@dataclass(frozen=True)
class Filters:
    """What to keep; an empty choice keeps everything.

    Attributes:
        findings: components of findings: `Viral` keeps `Pneumonia/Viral/COVID-19` and `Pneumonia/Viral/SARS`.
        views, sexes, modalities: values of the columns `view`, `sex`, `modality`.
        labels: values of the column `label`.
    """

    findings: Sequence[str] = ()
    views: Sequence[str] = ()
    sexes: Sequence[str] = ()
    modalities: Sequence[str] = ()
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Counts:
    """How much a table holds.

    Attributes:
        images, patients: rows and patients.
        sources: web sites the images come from.
        by_label: images of each class, in the class order.
        unlabelled: images whose finding is missing.
    """

    images: int
    patients: int
    sources: int
    by_label: dict[Label, int]
    unlabelled: int


@dataclass(frozen=True)
class FilmFacts:
    """What the table says of one film, for those who see it beside another.

    Attributes:
        sentence: finding, view, age and sex in words, as far as they are given.
        url: address of the page it comes from, http or https; None without one.
    """

    sentence: str
    url: str | None


def film_facts(table: pd.DataFrame, filename: str) -> FilmFacts | None:
    """What the table says of the film of a file; None where it does not name the file.

    Args:
        table: as `read_metadata` gives it.
        filename: value of the column `filename`.
    """
    rows = table[table["filename"] == filename]
    if rows.empty:
        return None
    row = rows.iloc[0]
    age = None if pd.isna(row["age"]) else f"{row['age']:.0f} years"
    given = (row["finding"], row["view"], age, row["sex"])
    words = ", ".join(str(value) for value in given if not pd.isna(value))
    url = row["url"] if isinstance(row["url"], str) and row["url"].startswith(("http://", "https://")) else None
    return FilmFacts(f"{words}." if words else "", url)


def with_choices(table: pd.DataFrame) -> pd.DataFrame:
    """Prepare a table for `filtered`: `NOT_GIVEN` for blanks in what can be chosen from, and the particular finding.

    Args:
        table: as `read_metadata` gives it.

    Returns:
        The table with `view`, `sex`, `modality` and `label` filled, and a column `diagnosis`: the last component of the
        finding.
    """
    filled = {name: table[name].fillna(NOT_GIVEN) for name in ("view", "sex", "modality", "label")}
    return table.assign(**filled, diagnosis=[_components(value)[-1] for value in table["finding"]])


def finding_choices(table: pd.DataFrame) -> list[str]:
    """Every component of a finding in the table, the most common first."""
    return list(
        pd.Series([part for value in table["finding"] for part in set(_components(value))]).value_counts().index
    )


def choices(table: pd.DataFrame, column: str) -> list[str]:
    """The values of a column, the most common first."""
    return list(table[column].value_counts().index)


def filtered(table: pd.DataFrame, filters: Filters) -> pd.DataFrame:
    """The rows that meet every filter.

    Args:
        table: as `with_choices` gives it.
        filters: what to keep.
    """
    keep = pd.Series(True, index=table.index)
    chosen = {"view": filters.views, "sex": filters.sexes, "modality": filters.modalities, "label": filters.labels}
    for column, values in chosen.items():
        if values:
            keep &= table[column].isin(list(values))
    if filters.findings:
        wanted = set(filters.findings)
        keep &= pd.Series([not wanted.isdisjoint(_components(value)) for value in table["finding"]], index=table.index)
    return table[keep]


def counts(table: pd.DataFrame) -> Counts:
    """Count a table that `with_choices` has prepared."""
    by_label = table["label"].value_counts()
    return Counts(
        images=len(table),
        patients=int(table["patientid"].nunique()),
        sources=int(table["source"].nunique()),
        by_label={name: int(by_label.get(name, 0)) for name in CLASSES},
        unlabelled=int(by_label.get(NOT_GIVEN, 0)),
    )


def top_counts(table: pd.DataFrame, column: str, most: int = 12) -> "pd.Series[int]":
    """Images by the values of a column, the most common first; what is beyond `most` is added up in one `others`."""
    values = table[column].value_counts()
    if len(values) <= most:
        return values
    head, tail = values.iloc[: most - 1], values.iloc[most - 1 :]
    return pd.concat([head, pd.Series({f"{len(tail)} others": int(tail.sum())})])


def view_by_label(table: pd.DataFrame) -> pd.DataFrame:
    """Images by view (rows, the most common first) and class (columns: the class order, then `NOT_GIVEN`)."""
    crossed = pd.crosstab(table["view"], table["label"]).reindex(columns=[*CLASSES, NOT_GIVEN], fill_value=0)
    return crossed.loc[choices(table, "view")]


def cohort_sentence(cohort: pd.DataFrame) -> str:
    """Count a cohort: its images and patients by class; a patient with films of both classes counts in both."""
    parts = []
    for name in CLASSES:
        rows = cohort[cohort["label"] == name]
        parts.append(f"{CLASS_TITLES[name]}: {len(rows)} images of {rows['patientid'].nunique()} patients")
    return f"The cohort. {'. '.join(parts)}."


def shown_table(table: pd.DataFrame) -> pd.DataFrame:
    """The columns worth reading, in that order; long notes are cut."""
    names = (
        "filename",
        "patientid",
        "finding",
        "label",
        "view",
        "modality",
        "sex",
        "age",
        "offset",
        "location",
        "date",
    )
    shown = table[[*names, "url", "license"]].reset_index(drop=True)
    return shown.assign(label=shown["label"].replace(CLASS_TITLES), notes=table["clinical_notes"].map(_cut).to_numpy())


def _components(finding: object) -> tuple[str, ...]:
    """The components of a finding that is given, else `NOT_GIVEN` alone."""
    parts = finding_components(finding if isinstance(finding, str) else None)
    given = tuple(part for part in parts if part.lower() not in MISSING_FINDINGS)
    return given or (NOT_GIVEN,)


def _cut(note: object) -> str | None:
    if not isinstance(note, str):
        return None
    return note if len(note) <= _LONGEST_NOTE else note[: _LONGEST_NOTE - 1].rstrip() + "…"
