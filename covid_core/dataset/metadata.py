"""`metadata.csv` of the COVID-19 Image Data Collection, in any of its versions, as one typed table; no row is left out here."""

import codecs
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from covid_core.errors import DatasetError
from covid_core.labels import label_of_finding

REQUIRED_COLUMNS = ("patientid", "finding", "view", "modality", "filename")
NUMERIC_COLUMNS = (
    *("offset", "age", "temperature", "pO2_saturation"),
    *("leukocyte_count", "neutrophil_count", "lymphocyte_count"),
)
COLUMNS = (
    *("patientid", "offset", "sex", "age", "finding", "RT_PCR_positive", "survival", "intubated"),
    *("intubation_present", "went_icu", "in_icu", "needed_supplemental_O2", "extubated", "temperature"),
    *("pO2_saturation", "leukocyte_count", "neutrophil_count", "lymphocyte_count", "view", "modality", "date"),
    *("location", "folder", "filename", "doi", "url", "license", "clinical_notes", "other_notes"),
)
"""The named columns of the version with 950 rows."""
DERIVED_COLUMNS = ("label", "source")
MOST_UNREADABLE = 1000
"""Cells without a number that are kept: of a table that writes `56 years` throughout, the first show enough."""

_MISSING = ("", "na", "n/a", "nan", "null")
_DELIMITERS = (",", ";", "\t", "|")
_MOST_COLUMNS, _MOST_FIELDS = 1000, 2**14  # of a line; spreadsheets fill lines up to the second
_MOST_CELLS = 4_000_000  # 130,000 rows of the collection's columns
_MODALITIES = ("x-ray", "ct")
_DECIMAL_COMMA = r"^([+-]?\d+),(\d{1,2})$"
_MAX_FILENAME_BYTES = 255  # the limit of every common file system
_LAST_CONTROL_CHARACTER = 31
_UNREADABLE = "unreadable_numbers"
_LONGEST_UNREADABLE = 60  # characters of such a cell that are kept
_AGAIN = "Save the table as CSV (UTF-8) again."


class UnreadableCell(NamedTuple):
    """A cell of `NUMERIC_COLUMNS` that is not blank and holds no finite number: its row from 0, column and first characters."""

    row: int
    column: str
    text: str


class UnreadableNumbers(NamedTuple):
    """How many cells hold a number that cannot be read, and the first `MOST_UNREADABLE` of them, row by row."""

    total: int
    cells: tuple[UnreadableCell, ...]


def read_metadata(source: Path | bytes) -> pd.DataFrame:
    """Read a table of the collection: a file, or its content.

    The versions differ: the first ones wrote `Patientid` and `clinical notes`, had fewer columns and a flat vocabulary
    of findings. Column names are matched in any case and with blanks for underscores; those without a name are dropped.
    Fields may be separated by commas, semicolons, tabs or bars. The text is UTF-8, UTF-16, else Windows-1252 or Latin-1.

    Returns:
        One row per row of the file that is not blank, in its order, numbered from 0: every one of `COLUMNS` (missing ones all
        NA), any other named column of the file, and the derived `label` (`covid`, `non_covid`, NA where the finding is
        missing) and `source` (the domain of `url` in lower case, NA if none). Text is stripped and blanks are NA;
        `NUMERIC_COLUMNS` are float64 and finite (age in years, offset in days since onset or admission). A comma before one
        or two last digits is a decimal one; before three it may part thousands, and the cell is NA as any that is no number;
        see `unreadable_numbers`.

    Raises:
        DatasetError: the content is no such table; the sentence says why and what to do.
    """
    text = _decoded(_content(source)).lstrip(" \r\n")
    if not text or text.isspace():
        raise DatasetError("The table is empty. Choose the metadata.csv of the dataset.")
    if "\0" in text:
        raise DatasetError("This is a binary file, such as an image or a workbook, or a damaged text. " + _AGAIN)
    header = re.split(r"[\r\n]", text, maxsplit=1)[0]
    delimiter = _checked_delimiter(header)
    if max(text.count("\n"), text.count("\r")) * max(len(COLUMNS), len(header.split(delimiter))) > _MOST_CELLS:
        raise DatasetError(
            f"The table is too large: at most {_MOST_CELLS:,} cells are read. Leave rows or columns out."
        )
    try:
        cells = pd.read_csv(io.StringIO(text), sep=delimiter, header=None, dtype=str, na_filter=False)
    except ValueError as cause:  # such as pandas' ParserError
        reason = str(cause).rpartition("C error: ")[2].strip()
        raise DatasetError(
            f"The table cannot be read: {reason}. Put text that holds a delimiter in double quotes, and see that each of these "
            "is closed."
        ) from cause
    names = _column_names(cells.iloc[0].tolist())
    _check_names(names)
    named = [position for position, name in enumerate(names) if name]
    cells = cells.iloc[1:, named].set_axis([names[position] for position in named], axis="columns")
    cells = cells.apply(_cleaned).dropna(how="all").reset_index(drop=True)
    if cells.empty:
        raise DatasetError("The table has a header but no rows. Choose the metadata.csv of the dataset.")
    _check_no_row_in_a_cell(cells, delimiter, len(names), names.index("modality"))
    nameless = cells.index[cells["patientid"].isna()]
    if len(nameless):
        raise DatasetError(
            f"{len(nameless)} rows of the table have no patientid (the first is row {nameless[0] + 1}). Images are "
            "kept apart by patient, so fill it in or remove these rows."
        )
    other = [name for name in cells.columns if name not in COLUMNS]
    table = cells.reindex(columns=[*COLUMNS, *other]).astype("str")
    unreadable = _make_numeric(table)
    table["label"] = _derived(table["finding"], label_of_finding)
    table["source"] = _derived(table["url"], _domain)
    if unreadable:
        # As one text: pandas copies it deeply with each table made of this one, and Arrow writes it beside each that is shown.
        table.attrs[_UNREADABLE] = json.dumps([len(unreadable), sorted(unreadable)[:MOST_UNREADABLE]])
    return table


def unreadable_numbers(table: pd.DataFrame) -> UnreadableNumbers:
    """What stood where a number was to be and is now NA, in a table of `read_metadata` or some of its rows, on its index.

    The cells are those of the rows of this table, as they are counted in it. Of cells beyond the first `MOST_UNREADABLE` of the
    file only the number is known; they are counted wherever their rows are.
    """
    count, kept = json.loads(table.attrs.get(_UNREADABLE, "[0, []]"))
    places = {row: place for place, row in enumerate(table.index.tolist())} if kept else {}
    cells = tuple(UnreadableCell(places[row], column, text) for row, column, text in kept if row in places)
    return UnreadableNumbers(count - len(kept) + len(cells), cells)


def safe_image_path(images_dir: Path, filename: str) -> Path:
    """Join a file name from a table to the folder of images, and refuse whatever is not a plain file name.

    The rule looks at the name alone, as POSIX and as Windows would read it. A link inside the folder is its owner's
    business (large collections are often kept as links).

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
    """The text of a table.

    What is UTF-8 but for a few bytes is refused: read as Windows-1252, each letter with an accent would become two others.
    """
    encodings: tuple[str, ...] = ("utf-8-sig", "cp1252", "latin-1")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ("utf-16",)
    elif b"\0" in data[:2]:
        encodings = ("utf-16-be",) if data[0] == 0 else ("utf-16-le",)
    for encoding in encodings:
        try:
            return data.decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError:
            if encoding == "utf-8-sig":
                _check_no_damaged_utf8(data)
    raise DatasetError(f"The table begins as UTF-16 but is damaged. {_AGAIN}")


def _check_no_damaged_utf8(data: bytes) -> None:
    """Refuse what begins with the mark of UTF-8, or has more of its multi-byte characters than bytes that belong to none."""
    text = data.decode("utf-8", "replace")
    strays = text.count("\ufffd")
    if data.startswith(codecs.BOM_UTF8) or len(re.findall(r"[^\x00-\x7f]", text)) > 2 * strays:
        line = len(text[: text.index("\ufffd") + 1].splitlines())
        raise DatasetError(
            f"Line {line} holds a character that is damaged or of another encoding than the rest, UTF-8. Correct it. {_AGAIN}"
        )


def _checked_delimiter(header: str) -> str:
    for mark in _DELIMITERS:
        fields = header.split(mark)
        names = _column_names([field.strip().strip('"') for field in fields])
        if "filename" in names:
            named = len(list(filter(None, names)))
            if named > _MOST_COLUMNS or len(fields) > _MOST_FIELDS:
                raise DatasetError(
                    f"The table has {named:,} columns; at most {_MOST_COLUMNS:,} are read. Keep those of the collection "
                    f"({len(COLUMNS)}) and those that you need."
                )
            return mark
    raise DatasetError(
        f"This is not the table of the collection: its first line must name the columns {', '.join(REQUIRED_COLUMNS)}, "
        f"separated by commas. Received: {header[:60]!r}"
    )


def _cleaned(column: "pd.Series[str]") -> "pd.Series[str]":
    """Stripped texts; NA where nothing is given."""
    column = column.str.strip()
    return column.mask(column.str.lower().isin(_MISSING))


def _column_names(header: list[str]) -> list[str]:
    """Bring the names of a header to those of `COLUMNS`; a column without a name (or pandas' word for one) is ''."""
    known = {name.lower(): name for name in COLUMNS}
    names = ["_".join(cell.split()) for cell in header]
    names = ["" if name.lower().startswith("unnamed:") else known.get(name.lower(), name) for name in names]
    return ["" if name in DERIVED_COLUMNS else name for name in names]


def _check_names(names: list[str]) -> None:
    counts = Counter(filter(None, names))
    missing = [name for name in REQUIRED_COLUMNS if name not in counts]
    if missing:
        raise DatasetError(
            f"The table lacks the columns {', '.join(missing)}. Choose the metadata.csv of the COVID-19 Image Data "
            "Collection, or name the columns as it does."
        )
    repeated = sorted(name for name, count in counts.items() if count > 1)
    if repeated:
        raise DatasetError(f"The table has the columns {', '.join(repeated[:5])} more than once. Keep one of each.")


def _check_no_row_in_a_cell(cells: pd.DataFrame, delimiter: str, width: int, modality: int) -> None:
    """Refuse a cell that holds a row of the table, as happens where a double quote is closed some rows later."""
    for name in cells.columns:
        for row, cell in cells.loc[cells[name].str.contains(r"[\r\n]", na=False), name].items():
            for line in cell.splitlines()[1:]:
                fields = next(csv.reader([line[: csv.field_size_limit()]], delimiter=delimiter), [])
                if len(fields) == width and fields[modality].strip().lower() in _MODALITIES:
                    raise DatasetError(
                        f"Row {int(str(row)) + 1} of the table holds other rows in column {name}: a double quote is not closed "
                        "there. Close it, or remove it."
                    )


def _make_numeric(table: pd.DataFrame) -> list[UnreadableCell]:
    """Turn `NUMERIC_COLUMNS` into float64 in place, and return the cells that are not blank and hold no finite number."""
    unreadable = []
    for name in NUMERIC_COLUMNS:
        numbers = pd.to_numeric(table[name].str.replace(_DECIMAL_COMMA, r"\1.\2", regex=True), errors="coerce")
        numbers = numbers.astype("float64").replace([np.inf, -np.inf], np.nan)
        odd = table.loc[numbers.isna() & table[name].notna(), name]
        unreadable += [UnreadableCell(int(str(row)), name, text[:_LONGEST_UNREADABLE]) for row, text in odd.items()]
        table[name] = numbers
    return unreadable


def _derived(column: "pd.Series[str]", function: Callable[[str], str | None]) -> "pd.Series[str]":
    return column.map({value: function(value) for value in column.dropna().unique()}).astype("str")


def _domain(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:  # such as an unbalanced bracket
        return None
