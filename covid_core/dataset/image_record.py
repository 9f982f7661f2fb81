"""What the table says of one image, in words, and the other images of its patient in their order.

Units are those of the collection's own description of its columns
(https://github.com/ieee8023/covid-chestxray-dataset/blob/master/SCHEMA.md); nothing is converted or put right: a temperature of
95 is shown as it stands.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pandas as pd

from covid_core.dataset.descriptions import is_web_address
from covid_core.dataset.metadata import COLUMNS, DERIVED_COLUMNS
from covid_core.dataset.summaries import OUTCOMES
from covid_core.labels import Label
from covid_core.paths import IMAGES_NAME

X_RAY, CT, OTHER = "X-ray", "CT", "other"

_TITLES = {
    "patientid": "Patient",
    "offset": "Day",
    "RT_PCR_positive": "RT-PCR positive",
    **OUTCOMES,
    "pO2_saturation": "Oxygen saturation",
    "leukocyte_count": "Leukocytes",
    "neutrophil_count": "Neutrophils",
    "lymphocyte_count": "Lymphocytes",
    "location": "Place",
    "filename": "File",
    "doi": "DOI",
    "url": "Source",
    "license": "Licence",
}
"""Names of `COLUMNS` that are not the column's own word."""
_UNITS = {
    "age": " years",
    "temperature": " °C",
    "pO2_saturation": " %",
    "leukocyte_count": " thousand/µL",
    "neutrophil_count": " thousand/µL",
    "lymphocyte_count": " thousand/µL",
}
_YES_NO = {"y": "yes", "n": "no"}
_WORDS: dict[str, dict[str, str]] = {
    **dict.fromkeys(("RT_PCR_positive", *OUTCOMES), _YES_NO),
    "sex": {"f": "female", "m": "male"},
    "view": {
        "pa": "from behind (PA)",
        "ap": "from the front (AP)",
        "ap supine": "from the front, lying (AP Supine)",
        "ap erect": "from the front, upright (AP Erect)",
        "l": "from the side (L)",
    },
}
"""Column -> value in lower case -> what it means; any other value stays as it is."""
_NOTES = ("clinical_notes", "other_notes")
_LONG_TEXT = 200  # characters; a longer value is read like a note, not in a line beside its name
_VOLUME = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_DOI = re.compile(r"10\.\d{4,9}/\S+")


@dataclass(frozen=True)
class Field:
    """A column that is given for an image: its name and its value, both as people read them."""

    title: str
    text: str


@dataclass(frozen=True)
class PatientImage:
    """One of a patient's images.

    `day` counts from when the symptoms began or the patient came to hospital; `kind` is `X_RAY`, `CT` or `OTHER` (also where the
    table does not say).
    """

    filename: str
    day: float | None
    kind: str
    view: str | None

    @property
    def when(self) -> str:
        """The day in words."""
        return "day not given" if self.day is None else f"day {self.day:g}"

    @property
    def sentence(self) -> str:
        """Kind, view and day, for those who see it in small or not at all."""
        kind = self.kind if self.kind != OTHER else "Image"
        return ", ".join(word for word in (kind, self.view, self.when) if word is not None)


@dataclass(frozen=True)
class ImageRecord:
    """One image, as the table has it.

    Attributes:
        rows: how many rows of the table name this file; the first one is shown.
        label, finding, licence: None where they are missing.
        summary: finding, view, sex and age in a line.
        fields: what is given, in the order of the table's columns, without the notes.
        not_given: the titles of the columns that are blank.
        notes: long texts, whole.
        images: all images of the patient that have a file name, this one among them: by day, those without one last, then in
            the order of the table.
        unnamed: rows of the patient without a file name, which cannot be opened.
        kind: as of `PatientImage`.
        is_volume: whether the name is that of a NIfTI volume.
        source_url, doi_url: http or https addresses; None where there are none.
        in_images: whether the collection keeps the file in its folder `images`, as far as the table says.
    """

    filename: str
    rows: int
    patientid: str
    label: Label | None
    finding: str | None
    summary: str
    fields: tuple[Field, ...]
    not_given: tuple[str, ...]
    notes: tuple[Field, ...]
    images: tuple[PatientImage, ...]
    unnamed: int
    kind: str
    is_volume: bool
    licence: str | None
    source_url: str | None
    doi_url: str | None
    in_images: bool

    @property
    def position(self) -> int:
        """Where this image stands among the patient's, from 0."""
        return next(number for number, image in enumerate(self.images) if image.filename == self.filename)


def record_of_image(table: pd.DataFrame, filename: str) -> ImageRecord | None:
    """Gather what a table of `read_metadata` says of an image; None where no row names the file."""
    rows = table[table["filename"] == filename]
    if rows.empty:
        return None
    row: dict[str, Any] = {str(name): None if pd.isna(value) else value for name, value in rows.iloc[0].items()}
    further = [str(name) for name in table.columns if name not in (*COLUMNS, *DERIVED_COLUMNS)]
    notes = [*_NOTES, *(name for name in further if isinstance(row[name], str) and len(row[name]) > _LONG_TEXT)]
    fields = [name for name in (*COLUMNS, *further) if name not in notes]
    of_patient = table[table["patientid"] == row["patientid"]]
    return ImageRecord(
        filename=filename,
        rows=len(rows),
        patientid=str(row["patientid"]),
        label=row["label"],
        finding=row["finding"],
        summary=describe(row, ("finding", "view", "sex", "age")),
        fields=tuple(Field(title_of(name), _in_words(name, row[name])) for name in fields if row[name] is not None),
        not_given=tuple(title_of(name) for name in (*fields, *notes) if row[name] is None),
        notes=tuple(Field(title_of(name), str(row[name])) for name in notes if row[name] is not None),
        images=_images_of(of_patient),
        unnamed=int(of_patient["filename"].isna().sum()),
        kind=_kind(row["modality"]),
        is_volume=_VOLUME.search(filename) is not None,
        licence=row["license"],
        source_url=row["url"] if is_web_address(row["url"]) else None,
        doi_url=_doi_url(row["doi"]),
        in_images=row["folder"] in {None, IMAGES_NAME},
    )


def describe(row: Mapping[Any, Any], columns: Sequence[str] = ("finding", "view", "sex", "age", "source")) -> str:
    """An image in a line: the values of some columns, as far as they are given; units as in the table of its fields."""
    given = {name: row[name] for name in columns if name in row and not pd.isna(row[name])}
    return ", ".join(_with_unit(name, value) for name, value in given.items())


def title_of(column: str) -> str:
    """The name of a column as people read it; one that the collection does not have stays as it is."""
    words = " ".join(column.split("_")).strip() or column
    return _TITLES.get(column) or (words.capitalize() if column in COLUMNS else words)


def _in_words(column: str, value: object) -> str:
    if column == "offset":
        return f"{value:g} days since onset or admission" if value != 1 else "1 day since onset or admission"
    return _WORDS.get(column, {}).get(str(value).lower()) or _with_unit(column, value)


def _with_unit(column: str, value: object) -> str:
    return (f"{value:g}" if isinstance(value, float) else str(value)) + _UNITS.get(column, "")


def _images_of(patient: pd.DataFrame) -> tuple[PatientImage, ...]:
    named = patient[patient["filename"].notna()].drop_duplicates("filename").sort_values("offset", kind="stable")
    return tuple(
        PatientImage(
            str(name), None if pd.isna(day) else float(day), _kind(modality), None if pd.isna(view) else str(view)
        )
        for name, day, modality, view in named[["filename", "offset", "modality", "view"]].itertuples(index=False)
    )


def _kind(modality: object) -> str:
    return {"x-ray": X_RAY, "ct": CT}.get(str(modality).lower(), OTHER)


def _doi_url(doi: object) -> str | None:
    """The address of a DOI (https://www.doi.org/doi-handbook/), or the address that stands in its place."""
    if is_web_address(doi):
        return str(doi)
    if not isinstance(doi, str) or not _DOI.fullmatch(doi):
        return None
    return f"https://doi.org/{quote(doi)}"
