"""The table of the collection as a reader explores it: what it holds, narrowed by what he chooses."""

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from covid_core.dataset.countries import COUNTRIES
from covid_core.dataset.filters import NOT_GIVEN, NOTES, choices, finding_paths
from covid_core.dataset.metadata import COLUMNS
from covid_core.labels import CLASS_TITLES, CLASSES, Label

_LONGEST_NOTE = 200
_OLDEST_BAND = 90  # years; the last band of ages is open
_AGE_BAND = 10
_MOST_IMAGES = 10  # of a patient; those with more are counted together
_ONSET_EDGES = (0, 3, 7, 14, 21, 28)
OUTCOMES = {
    "survival": "Survived",
    "went_icu": "Went to the ICU",
    "in_icu": "In the ICU at the image",
    "intubated": "Intubated at any time",
    "intubation_present": "Intubated at the image",
    "extubated": "Extubated later",
    "needed_supplemental_O2": "Needed oxygen",
}
"""The columns that say how a patient fared, and what they say."""
_ANSWERS = {"y": "yes", "yes": "yes", "n": "no", "no": "no"}


@dataclass(frozen=True)
class Counts:
    """How much a table holds: rows, patients, web sites, images of each class and without one, and countries that are known."""

    images: int
    patients: int
    sources: int
    by_label: dict[Label, int]
    unlabelled: int
    countries: int


@dataclass(frozen=True)
class Missingness:
    """How much is not given, column by column.

    Attributes:
        blanks: rows without a value; the index holds the columns of the table, the columns are `all`, the classes and
            `NOT_GIVEN` (images without a class).
        images: how many there are of each, on the columns of `blanks`.
    """

    blanks: pd.DataFrame
    images: "pd.Series[int]"


def counts(table: pd.DataFrame) -> Counts:
    """Count a table that `with_choices` has prepared."""
    by_label = table["label"].value_counts()
    return Counts(
        images=len(table),
        patients=int(table["patientid"].nunique()),
        sources=int(table["source"].nunique()),
        by_label={name: int(by_label.get(name, 0)) for name in CLASSES},
        unlabelled=int(by_label.get(NOT_GIVEN, 0)),
        countries=int(table["country"].nunique()),
    )


def view_by_label(table: pd.DataFrame, most: int = 10) -> pd.DataFrame:
    """Images by view and class; views beyond `most` rows, the rarest, are added up in one, `N others`.

    The index holds the views, the most common first; the columns are the class order, then `NOT_GIVEN`.
    """
    return _by_label(table, "view", most)


def source_by_label(table: pd.DataFrame, most: int = 10) -> pd.DataFrame:
    """Images by web site and class; see `view_by_label`."""
    return _by_label(table, "source", most)


def _by_label(table: pd.DataFrame, column: str, most: int) -> pd.DataFrame:
    crossed = pd.crosstab(table[column].fillna(NOT_GIVEN), table["label"])
    crossed = crossed.reindex(columns=[*CLASSES, NOT_GIVEN], fill_value=0).loc[choices(table, column)]
    if len(crossed) <= most:
        return crossed
    head, tail = crossed.iloc[: most - 1], crossed.iloc[most - 1 :]
    return pd.concat([head, tail.sum().to_frame(f"{len(tail)} others").T])


def finding_hierarchy(table: pd.DataFrame, most: int = 300) -> pd.DataFrame:
    """The findings as a tree, as a sunburst or a treemap takes it; beyond `most` those with most images and all above them.

    One row per finding at any level, the general before the particular: `id` (its path, `Pneumonia/Viral`), `parent` (the path
    above it, `` for none), `name` (`Viral`) and `images` (with those of the findings below it).
    """
    images: dict[str, int] = {}
    for path, count in finding_paths(table).items():
        parts = str(path).split("/")
        for depth in range(1, len(parts) + 1):
            node = "/".join(parts[:depth])
            images[node] = images.get(node, 0) + int(count)
    common = images
    if len(images) > most:  # what is above a finding has as many images at least, and fewer parts
        common = dict(sorted(images.items(), key=lambda item: (-item[1], item[0].count("/")))[:most])
    rows = [(node, node.rpartition("/")[0], node.rpartition("/")[2], images[node]) for node in images if node in common]
    return pd.DataFrame(rows, columns=["id", "parent", "name", "images"])


def age_sex_pyramid(table: pd.DataFrame) -> pd.DataFrame:
    """Patients by age and sex; each counts once, with the first age and the first sex given.

    The index holds ten years each, the youngest first, the last one open, then `NOT_GIVEN` (also for an age below 0);
    the columns are `F`, `M` and `NOT_GIVEN` (also for any other text).
    """
    people = table[["patientid", "age"]].assign(sex=table["sex"].where(table["sex"].isin(["F", "M"])))
    people = people.groupby("patientid", sort=False)[["age", "sex"]].first()
    edges = [*range(0, _OLDEST_BAND + 1, _AGE_BAND), np.inf]
    names = [*(f"{low}-{low + _AGE_BAND - 1}" for low in edges[:-2]), f"{_OLDEST_BAND}+"]
    bands = _banded(people["age"], edges, names)
    crossed = pd.crosstab(bands, people["sex"].fillna(NOT_GIVEN))
    return crossed.reindex(index=[*names, NOT_GIVEN], columns=["F", "M", NOT_GIVEN], fill_value=0)


def images_per_patient(table: pd.DataFrame) -> "pd.Series[int]":
    """Patients by how many images they have: `1`, `2` and so on without a gap, then all with more than ten."""
    sizes = table["patientid"].value_counts()
    most = min(int(sizes.max()), _MOST_IMAGES) if len(sizes) else 0
    patients = {str(number): int((sizes == number).sum()) for number in range(1, most + 1)}
    if (beyond := int((sizes > _MOST_IMAGES).sum())) > 0:
        patients[f"{_MOST_IMAGES + 1}+"] = beyond
    return pd.Series(patients, dtype="int64")


def days_since_onset(table: pd.DataFrame) -> pd.DataFrame:
    """Images by the days since the symptoms began or the patient came to hospital (the column `offset` says no more).

    The index holds runs of days, the earliest first, then `NOT_GIVEN`; the columns are the class order, then `NOT_GIVEN`.
    """
    edges = [-np.inf, *_ONSET_EDGES, np.inf]
    runs = [f"{low}-{high - 1}" for low, high in itertools.pairwise(_ONSET_EDGES)]
    names = [f"before {_ONSET_EDGES[0]}", *runs, f"{_ONSET_EDGES[-1]}+"]
    crossed = pd.crosstab(_banded(table["offset"], edges, names), table["label"])
    return crossed.reindex(index=[*names, NOT_GIVEN], columns=[*CLASSES, NOT_GIVEN], fill_value=0)


def outcomes(table: pd.DataFrame) -> pd.DataFrame:
    """Images by what the table says of how the patient fared.

    The index holds the titles of `OUTCOMES`; the columns are `yes`, `no`, `unclear` (any other text) and `NOT_GIVEN`.
    """
    rows = {}
    for column, title in OUTCOMES.items():
        texts = table[column].str.lower()
        answers = texts.map(_ANSWERS).fillna("unclear").where(texts.notna(), NOT_GIVEN)
        rows[title] = answers.value_counts().reindex(["yes", "no", "unclear", NOT_GIVEN], fill_value=0)
    return pd.DataFrame(rows).T


def missingness(rows: pd.DataFrame, table: pd.DataFrame) -> Missingness:
    """Count what is not given in each named column of the collection, in rows of `filtered`, which lack the notes of `table`.

    The findings `todo` and `Unknown` count as not given, as everywhere here.
    """
    blank = pd.DataFrame({name: rows[name].isna() | rows[name].eq(NOT_GIVEN) for name in COLUMNS if name not in NOTES})
    for name in NOTES:
        blank[name] = table[name].isna().loc[rows.index]
    blank["finding"] = (rows["finding_path"] == NOT_GIVEN).to_numpy(bool)
    groups = [*CLASSES, NOT_GIVEN]
    by_class = blank.groupby(rows["label"]).sum().reindex(groups, fill_value=0).T
    by_class.insert(0, "all", blank.sum())
    images = rows["label"].value_counts().reindex(groups, fill_value=0)
    return Missingness(by_class.astype("int64"), pd.concat([pd.Series({"all": len(rows)}), images]))


def images_by_country(table: pd.DataFrame) -> pd.DataFrame:
    """Images and patients by country, the most images first.

    Columns `code`, `name`, `latitude`, `longitude` (degrees), `images`, `patients`. Images whose country is not known stand last,
    as `NOT_GIVEN` without a place; they are left out where there are none.
    """
    grouped = table.groupby(table["country"].fillna(NOT_GIVEN))["patientid"].agg(["size", "nunique"])
    grouped = grouped.sort_values("size", ascending=False, kind="stable")
    order = [*grouped.index.drop(NOT_GIVEN, errors="ignore"), *grouped.index.intersection([NOT_GIVEN])]
    rows = []
    for code, images, patients in grouped.loc[order].itertuples():
        country = COUNTRIES.get(code)
        place = (country.name, country.latitude, country.longitude) if country else (NOT_GIVEN, np.nan, np.nan)
        rows.append((code, *place, images, patients))
    return pd.DataFrame(rows, columns=["code", "name", "latitude", "longitude", "images", "patients"])


def cohort_sentence(cohort: pd.DataFrame) -> str:
    """Count a cohort: its images and patients by class; a patient with images of both classes counts in both."""
    parts = []
    for name in CLASSES:
        rows = cohort[cohort["label"] == name]
        parts.append(f"{CLASS_TITLES[name]}: {len(rows)} images of {rows['patientid'].nunique()} patients")
    return f"The cohort. {'. '.join(parts)}."


def shown_table(table: pd.DataFrame) -> pd.DataFrame:
    """The columns worth reading, in that order; long notes are cut."""
    names = (
        *("filename", "patientid", "finding", "label", "view", "modality"),
        *("sex", "age", "offset", "location", "date", "url", "license"),
    )
    shown = table[[*names]].reset_index(drop=True)
    notes = table["clinical_notes"]
    cut = notes.str.slice(0, _LONGEST_NOTE - 1).str.rstrip() + "…"
    notes = cut.where(notes.str.len() > _LONGEST_NOTE, notes)
    return shown.assign(label=shown["label"].replace(CLASS_TITLES), notes=notes.array)


def _banded(values: "pd.Series[float]", edges: list[float], names: list[str]) -> "pd.Series[str]":
    """The name of the band of each value, its lower edge included; `NOT_GIVEN` outside of all."""
    return pd.cut(values, edges, labels=names, right=False).astype("str").fillna(NOT_GIVEN)
