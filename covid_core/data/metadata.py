"""`metadata.csv` of the COVID-19 Image Data Collection, in any of its versions, to one typed table.

This module reads the table and knows its columns. It does not look at images and leaves no row out: that is the part of
`covid_core.data.cohort`.
"""

import json
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]  # of Streamlit's requirements; pandas keeps texts with it
from numpy.typing import NDArray

from covid_core.data.csv_text import Sheet, open_sheet, row_blocks
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
MOST_UNREADABLE = 1000
"""Cells without a number that are kept: of a table that writes `56 years` throughout, the first tell enough."""

# Arrow's own memory pool keeps much of what is freed: with the system's, a process that filters a large table again and again
# stays smaller, at the same speed (benchmarks/dataset.py). It holds for the whole process.
pa.set_memory_pool(pa.system_memory_pool())

_MISSING = frozenset({"", "na", "n/a", "nan", "null"})
_LONGEST_MISSING = max(map(len, _MISSING))
_MOST_COLUMNS = 1000
_MODALITIES = frozenset({"x-ray", "ct"})
_DECIMAL_COMMA = re.compile(r"^([+-]?\d+),(\d{1,2})$")
_MAX_FILENAME_BYTES = 255  # the limit of every common file system
_LAST_CONTROL_CHARACTER = 31
_UNREADABLE = "unreadable_numbers"
_LONGEST_UNREADABLE = 60  # characters of such a cell that are kept


class UnreadableCell(NamedTuple):
    """A cell of `NUMERIC_COLUMNS` that is not blank and holds no finite number.

    Attributes:
        row: counted from 0.
        column: its name.
        text: what stands there, or how it begins.
    """

    row: int
    column: str
    text: str


@dataclass(frozen=True)
class UnreadableNumbers:
    """The cells that give a number which cannot be read.

    Attributes:
        count: how many there are.
        cells: the first `MOST_UNREADABLE` of them, row by row.
    """

    count: int = 0
    cells: tuple[UnreadableCell, ...] = ()


def read_metadata(source: Path | bytes) -> pd.DataFrame:
    """Read a table of the collection.

    The versions differ: the first ones wrote `Patientid` and `clinical notes`, had fewer columns and a flat vocabulary
    of findings. Column names are matched in any case and with blanks for underscores; those without a name are dropped.
    Semicolons, tabs and bars between the fields are read as well as commas (spreadsheets write them), and so are the usual
    encodings (see `covid_core.data.csv_text`).

    Args:
        source: the file, or its content.

    Returns:
        One row per row of the file, in its order, numbered from 0: every one of `COLUMNS` (missing ones all NA), any
        further named column of the file, and the derived `label` (`covid`, `non_covid`, NA where the finding is
        missing) and `source` (the domain of `url` in lower case, NA if none). Text is stripped and blanks are NA;
        `NUMERIC_COLUMNS` are float64 and finite (age in years, offset in days since onset or admission). A comma before one
        or two last digits is a decimal one; before three it may part thousands, and the cell is NA as any that is no number;
        `unreadable_numbers` tells of these.

    Raises:
        DatasetError: the content is no such table; the sentence says why.
    """
    sheet = open_sheet(_content(source), lambda cells: "filename" in _column_names(cells), ", ".join(REQUIRED_COLUMNS))
    names = _column_names(sheet.header)
    _check_names(names)
    columns, unreadable, rows = _columns(sheet, names)
    for name in (*COLUMNS, *DERIVED_COLUMNS):
        columns.setdefault(name, _nothing(name, rows))
    table = pd.DataFrame(columns)
    _check_patients(table)
    further = [name for name in columns if name not in {*COLUMNS, *DERIVED_COLUMNS}]
    table = table[[*COLUMNS, *further, *DERIVED_COLUMNS]]
    if unreadable.count:
        # As one text: pandas copies it deeply with each table made of this one, and Arrow writes it beside each that is shown.
        table.attrs[_UNREADABLE] = json.dumps([unreadable.count, unreadable.cells])
    return table


def unreadable_numbers(table: pd.DataFrame) -> UnreadableNumbers:
    """What stood where a number was to be and is now NA.

    Args:
        table: as `read_metadata` gives it, or some of its rows, on its index.

    Returns:
        Those of the rows of this table, as they are counted in it. Of cells beyond the first `MOST_UNREADABLE` of the file only
        the number is known; they are counted wherever their rows are.
    """
    count, kept = json.loads(table.attrs.get(_UNREADABLE, "[0, []]"))
    places = {row: place for place, row in enumerate(table.index.tolist())} if kept else {}
    cells = tuple(UnreadableCell(places[row], column, text) for row, column, text in kept if row in places)
    return UnreadableNumbers(count - len(kept) + len(cells), cells)


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


def _column_names(header: list[str]) -> list[str]:
    """Bring the names of a header to those of `COLUMNS`; a column without a name (or pandas' word for one) is ''."""
    known = {name.lower(): name for name in COLUMNS}
    names = ["_".join(cell.split()) for cell in header]
    names = ["" if name.lower().startswith("unnamed:") else known.get(name.lower(), name) for name in names]
    return ["" if name in DERIVED_COLUMNS else name for name in names]


def _check_names(names: list[str]) -> None:
    counted = Counter(name for name in names if name)
    missing = [name for name in REQUIRED_COLUMNS if name not in counted]
    if missing:
        raise DatasetError(
            f"The table lacks the columns {', '.join(missing)}. Choose the metadata.csv of the COVID-19 Image Data "
            "Collection, or name the columns as it does."
        )
    repeated = sorted(name for name, count in counted.items() if count > 1)
    if repeated:
        raise DatasetError(f"The table has the columns {_first_of(repeated)} more than once. Keep one of each.")
    if len(counted) > _MOST_COLUMNS:
        raise DatasetError(
            f"The table has {len(counted):,} columns; at most {_MOST_COLUMNS:,} are read. Keep those of the collection "
            f"({len(COLUMNS)}) and those that you need."
        )


def _first_of(names: list[str], most: int = 5) -> str:
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"


def _columns(sheet: Sheet, names: list[str]) -> tuple[dict[str, "pd.Series[Any]"], UnreadableNumbers, int]:
    """The named columns with those derived of them, the numbers that cannot be read, and how many rows there are.

    No more than a block of rows is held as lists.
    """
    least = 1 + max(names.index(name) for name in REQUIRED_COLUMNS)
    modality = names.index("modality")
    grown = {name: _growing(name) for name in names if name}
    grown |= {derived: _Texts() for source, (derived, _) in _DERIVED.items() if source in grown}
    rows = 0
    for block in row_blocks(sheet, names, least, lambda cells: cells[modality].strip().lower() in _MODALITIES):
        rows += len(block)
        for name, cells in zip(names, zip(*block, strict=True), strict=True):
            if name:
                cleaned = list(map(_clean, cells))
                grown[name].extend(cleaned)
                if name in _DERIVED:
                    derived, function = _DERIVED[name]
                    grown[derived].extend([function(cell) for cell in cleaned])
    if not rows:
        raise DatasetError("The table has a header but no rows. Choose the metadata.csv of the dataset.")
    unreadable = _unreadable((name, column) for name, column in grown.items() if isinstance(column, _Numbers))
    return {name: grown.pop(name).column() for name in list(grown)}, unreadable, rows


class _Texts:
    """A column as it grows, in the very memory that Arrow reads it from.

    Joined of pieces it would be held twice, and each choice of rows from a column in pieces would join them anew.
    """

    def __init__(self) -> None:
        self._text = bytearray()
        self._lengths = array("q")

    def extend(self, texts: Sequence[str]) -> None:
        """Add rows; an empty text stands for NA."""
        encoded = [text.encode() for text in texts]
        self._text += b"".join(encoded)
        self._lengths.extend(map(len, encoded))

    def column(self) -> "pd.Series[str]":
        """All rows, which share the memory of this object: nothing may be added any more."""
        lengths = np.frombuffer(self._lengths, np.int64)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        given = np.packbits(lengths > 0, bitorder="little")
        buffers = [pa.py_buffer(part) for part in (ends, self._text, given)]
        return pd.Series(pd.array(pa.LargeStringArray.from_buffers(len(lengths), *buffers), dtype="str"))


def _check_patients(table: pd.DataFrame) -> None:
    nameless = table.index[table["patientid"].isna()]
    if len(nameless):
        raise DatasetError(
            f"{len(nameless)} rows of the table have no patientid (the first is row {nameless[0] + 1}). Images are "
            "kept apart by patient, so fill it in or remove these rows."
        )


class _Numbers:
    """A column of numbers as it grows.

    Attributes:
        unreadable: rows that are not blank and hold no finite number.
        first_unreadable: the first `MOST_UNREADABLE` of them, and what stands there.
    """

    def __init__(self) -> None:
        self.unreadable = 0
        self.first_unreadable: list[tuple[int, str]] = []
        self._pieces: list[NDArray[np.float64]] = []
        self._rows = 0

    def extend(self, texts: Sequence[str]) -> None:
        """Add rows; what is no finite number stands for NA."""
        points = np.array([_DECIMAL_COMMA.sub(r"\1.\2", text) for text in texts], object)
        numbers = np.asarray(pd.to_numeric(points, errors="coerce"), np.float64)
        finite = np.isfinite(numbers)
        self._pieces.append(np.where(finite, numbers, np.nan))
        odd = len(texts) - texts.count("") - int(finite.sum())
        if odd:
            places = [place for place, fine in enumerate(finite.tolist()) if texts[place] and not fine]
            kept = places[: MOST_UNREADABLE - len(self.first_unreadable)]
            self.first_unreadable += [(self._rows + place, texts[place][:_LONGEST_UNREADABLE]) for place in kept]
        self.unreadable += odd
        self._rows += len(texts)

    def column(self) -> "pd.Series[float]":
        """All rows."""
        return pd.Series(np.concatenate(self._pieces))


def _unreadable(columns: Iterable[tuple[str, _Numbers]]) -> UnreadableNumbers:
    count, cells = 0, []
    for name, numbers in columns:
        count += numbers.unreadable
        cells += [UnreadableCell(row, name, text) for row, text in numbers.first_unreadable]
    return UnreadableNumbers(count, tuple(sorted(cells)[:MOST_UNREADABLE]))


def _growing(name: str) -> _Texts | _Numbers:
    return _Numbers() if name in NUMERIC_COLUMNS else _Texts()


def _nothing(name: str, rows: int) -> "pd.Series[Any]":
    """A column that the table does not have."""
    blank = _growing(name)
    blank.extend([""] * rows)
    return blank.column()


def _clean(cell: str) -> str:
    cell = cell.strip()
    return "" if len(cell) <= _LONGEST_MISSING and cell.lower() in _MISSING else cell


def _label(finding: str) -> str:
    return label_of_finding(finding) or ""


def _domain(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # such as an unbalanced bracket
        return ""


_DERIVED = {"finding": ("label", _label), "url": ("source", _domain)}
"""What is worked out of a column, and its name."""
