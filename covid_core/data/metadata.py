"""`metadata.csv` of the COVID-19 Image Data Collection, in any of its versions, to one typed table.

This module reads the table and knows its columns. It does not look at images and leaves no row out: that is the part of
`covid_core.data.cohort`.
"""

import csv
import io
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import urlsplit

import pandas as pd

from covid_core.errors import DatasetError
from covid_core.labels import label_of_finding

REQUIRED_COLUMNS = ("patientid", "finding", "view", "modality", "filename")
NUMERIC_COLUMNS = (
    "offset",
    "age",
    "temperature",
    "pO2_saturation",
    "leukocyte_count",
    "neutrophil_count",
    "lymphocyte_count",
)
COLUMNS = (
    *("patientid", "offset", "sex", "age", "finding", "RT_PCR_positive", "survival", "intubated"),
    *("intubation_present", "went_icu", "in_icu", "needed_supplemental_O2", "extubated", "temperature"),
    *("pO2_saturation", "leukocyte_count", "neutrophil_count", "lymphocyte_count", "view", "modality", "date"),
    *("location", "folder", "filename", "doi", "url", "license", "clinical_notes", "other_notes"),
)
"""The named columns of the version with 950 rows."""
DERIVED_COLUMNS = ("label", "source")

_MISSING = frozenset({"", "na", "n/a", "nan", "null"})
_DELIMITERS = (",", ";", "\t", "|")
_MAX_FILENAME_BYTES = 255  # the limit of every common file system
_LAST_CONTROL_CHARACTER = 31


def read_metadata(source: Path | bytes) -> pd.DataFrame:
    """Read a table of the collection.

    The versions differ: the first ones wrote `Patientid` and `clinical notes`, had fewer columns and a flat vocabulary
    of findings. Column names are matched in any case and with blanks for underscores; those without a name are dropped.
    Semicolons, tabs and bars between the fields are read as well as commas (spreadsheets write them).

    Args:
        source: the file, or its content.

    Returns:
        One row per row of the file, in its order, numbered from 0: every one of `COLUMNS` (missing ones all NA), any
        further named column of the file, and the derived `label` (`covid`, `non_covid`, NA where the finding is
        missing) and `source` (the domain of `url` in lower case, NA if none). Text is stripped and blanks are NA;
        `NUMERIC_COLUMNS` are float64 (age in years, offset in days since onset or admission).

    Raises:
        DatasetError: the content is no such table; the sentence says why.
    """
    header, rows = _parse(_decoded(_content(source)))
    names = _column_names(header)
    _check_rows(header, rows)
    columns: dict[str, pd.Series[str]] = {}
    for position, name in enumerate(names):
        if name:
            columns[name] = pd.Series([_clean(row, position) for row in rows], dtype="str")
    for name in COLUMNS:
        columns.setdefault(name, pd.Series([None] * len(rows), dtype="str"))
    table = pd.DataFrame(columns)
    _check_patients(table)
    for name in NUMERIC_COLUMNS:
        table[name] = pd.to_numeric(table[name], errors="coerce").astype("float64")
    table["label"] = table["finding"].map(_label).astype("str")
    table["source"] = table["url"].map(_domain).astype("str")
    further = [name for name in columns if name not in COLUMNS]
    return table[[*COLUMNS, *further, *DERIVED_COLUMNS]]


def safe_image_path(images_dir: Path, filename: str) -> Path:
    """Join a file name from a table to the folder of images, and refuse whatever is not a plain file name.

    The rule looks at the name alone, as POSIX and as Windows would read it. A link inside the folder is its owner's
    business (large collections are often kept as links).

    Args:
        images_dir: the folder.
        filename: a value of column `filename`.

    Raises:
        DatasetError: the name is empty, absolute, has a folder or `..` in it, or characters no file name has.
    """
    plain = PurePosixPath(filename).name == filename and PureWindowsPath(filename).name == filename
    if (
        not plain
        or filename in {"", ".", ".."}
        or any(ord(character) <= _LAST_CONTROL_CHARACTER for character in filename)
        or len(filename.encode("utf-8", "surrogatepass")) > _MAX_FILENAME_BYTES
    ):
        raise DatasetError(
            "A file name in the table must be a plain name inside the folder of images, without folders. "
            f"Received: {filename[:_MAX_FILENAME_BYTES]!r}"
        )
    return images_dir / filename


def _content(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return source.read_bytes()
    except FileNotFoundError:
        raise DatasetError(f"{source} is missing. Give the folder that holds metadata.csv, or run `fetch`.") from None
    except OSError as cause:
        raise DatasetError(f"{source} cannot be read: {cause.strerror or cause}.") from cause


def _decoded(data: bytes) -> str:
    if not data.strip():
        raise DatasetError("The table is empty. Choose the metadata.csv of the dataset.")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError:
            raise DatasetError("The table begins as UTF-16 but is damaged. Save it as CSV (UTF-8) again.") from None
    if b"\0" in data:
        raise DatasetError("This is not a CSV text file but a binary one. Save the table as CSV (UTF-8) and retry.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _parse(text: str) -> tuple[list[str], list[list[str]]]:
    """Split a text into its header and its rows, with the first delimiter that makes sense of the header."""
    for delimiter in _DELIMITERS:
        try:
            rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
            header = next((row for row in rows if any(cell.strip() for cell in row)), [])
            if "filename" in _column_names(header):
                return header, [row for row in rows if any(cell.strip() for cell in row)]
        except csv.Error as cause:
            raise DatasetError(f"The table is not a readable CSV: {cause}. Save it as CSV (UTF-8) again.") from cause
    missing = ", ".join(REQUIRED_COLUMNS)
    begins = text.strip().splitlines()[0][:60] if text.strip() else ""
    raise DatasetError(
        f"The table is not a CSV with the columns {missing} in its first line, separated by commas. "
        f"Received: {begins!r}"
    )


def _column_names(header: list[str]) -> list[str]:
    """Bring the names of a header to those of `COLUMNS`; a column without a name (or pandas' word for one) is ''."""
    known = {name.lower(): name for name in COLUMNS}
    names = ["_".join(cell.split()) for cell in header]
    names = ["" if name.lower().startswith("unnamed:") else known.get(name.lower(), name) for name in names]
    return ["" if name in DERIVED_COLUMNS else name for name in names]


def _check_rows(header: list[str], rows: list[list[str]]) -> None:
    names = [name for name in _column_names(header) if name]
    missing = [name for name in REQUIRED_COLUMNS if name not in names]
    if missing:
        raise DatasetError(
            f"The table lacks the columns {', '.join(missing)}. Choose the metadata.csv of the COVID-19 Image Data "
            "Collection, or name the columns as it does."
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DatasetError(f"The table has the columns {', '.join(repeated)} more than once. Keep one of each.")
    if not rows:
        raise DatasetError("The table has a header but no rows. Choose the metadata.csv of the dataset.")
    for number, row in enumerate(rows, start=1):
        if any(cell.strip() for cell in row[len(header) :]):
            raise DatasetError(
                f"Row {number} of the table has {len(row)} fields where the header has {len(header)}. Put fields that "
                "hold a delimiter in double quotes."
            )


def _check_patients(table: pd.DataFrame) -> None:
    nameless = table.index[table["patientid"].isna()]
    if len(nameless):
        raise DatasetError(
            f"{len(nameless)} rows of the table have no patientid (the first is row {nameless[0] + 1}). Images are "
            "kept apart by patient, so fill it in or remove these rows."
        )


def _clean(row: list[str], position: int) -> str | None:
    cell = row[position].strip() if position < len(row) else ""
    return None if cell.lower() in _MISSING else cell


def _label(finding: object) -> str | None:
    return label_of_finding(finding if isinstance(finding, str) else None)


def _domain(url: object) -> str | None:
    if not isinstance(url, str):
        return None
    try:
        return urlsplit(url).hostname
    except ValueError:  # such as an unbalanced bracket
        return None
