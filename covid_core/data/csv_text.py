"""The text of a table, whatever a spreadsheet made of it, to its header and blocks of rows.

Knows encodings, delimiters, quotes and how such files are damaged. What the columns mean is the part of
`covid_core.data.metadata`. A text is decoded as it is read: whole, one of 50 MB would take up to 200 MB, and its rows as lists
as much again.
"""

import bisect
import codecs
import csv
import io
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from covid_core.errors import DatasetError

LONGEST_CELL = csv.field_size_limit()
"""Characters of a cell: 131,072, the reader's own limit.

A longer cell is refused, not cut. The longest note of the collection has 5,465 characters; one beyond the limit is nearly
always a double quote that is not closed and swallows the rows below it, and nobody could read it in a table.
"""
BLOCK_ROWS = 1024

_LONGEST_LINE = 4_000_000  # characters; what has no line ends is not held whole
_DELIMITERS = (",", ";", "\t", "|")
_DECODED_AT_ONCE = 1 << 20  # bytes
_END = "\0"  # no text holds it: `_lines` refuses it
_AGAIN = "Save the table as CSV (UTF-8) again."
_BINARY_KINDS = {
    b"PK\x03\x04": "an Excel workbook or a ZIP archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x1f\x8b": "a compressed file",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"%PDF": "a PDF",
}
# ASCII, which is quickly passed over; another character as UTF-8 writes it (RFC 3629, section 4); a byte that belongs to none.
_UTF8 = re.compile(
    rb"[\x00-\x7f]+"
    rb"|(?P<character>[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|[\xe1-\xec\xee\xef][\x80-\xbf]{2}"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|\xf4[\x80-\x8f][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3})"
    rb"|(?P<stray>[\x80-\xff])"
)
_TEXT_KINDS = {b"<": "a web page", b"{": "JSON", b"[": "JSON"}


@dataclass(frozen=True)
class Sheet:
    """A text whose header is found.

    Attributes:
        data: its bytes.
        encoding: a codec's name.
        delimiter: what stands between the fields.
        header: the cells of the first row that is not blank.
    """

    data: bytes = field(repr=False)
    encoding: str
    delimiter: str
    header: list[str]


def open_sheet(data: bytes, is_header: Callable[[list[str]], bool], wanted: str) -> Sheet:
    """Find the encoding, the delimiter and the header of a text.

    Encodings: UTF-16 by its mark, or by every other byte of its beginning; else UTF-8; else Windows-1252, which holds
    Latin-1's letters and what Windows writes for quotation marks and dashes; else Latin-1. What is UTF-8 but for a few bytes is
    refused: read as Windows-1252, every letter with an accent would become two others, and nobody would be told.

    Args:
        data: the content of a file.
        is_header: whether a row is the header; the first delimiter that yields one is taken.
        wanted: the columns, as a reader is told of them.

    Raises:
        DatasetError: this is no such text; the sentence says what it seems to be and what to do.
    """
    if not data or data.isspace():
        raise DatasetError("The table is empty. Choose the metadata.csv of the dataset.")
    for signature, kind in _BINARY_KINDS.items():
        if data.startswith(signature):
            raise DatasetError(
                f"This is {kind}, a binary file, and not a CSV text file. Save the table as CSV (UTF-8)."
            )
    encoding = _encoding(data)
    for delimiter in _DELIMITERS:
        header = _header(data, encoding, delimiter)
        if is_header(header):
            return Sheet(data, encoding, delimiter, header)
    begins = next((line.strip() for line in _lines(data, encoding, []) if line.strip()), _END)
    if begins == _END:
        raise DatasetError("The table is empty. Choose the metadata.csv of the dataset.")
    kind = next((f" but {kind}" for sign, kind in _TEXT_KINDS.items() if begins.encode().startswith(sign)), "")
    raise DatasetError(
        f"The table is not a CSV{kind}: it must have the columns {wanted} in its first line, separated by commas. "
        f"Received: {begins[:60]!r}"
    )


def row_blocks(
    sheet: Sheet, names: list[str], least: int, is_row: Callable[[list[str]], bool]
) -> Iterator[list[list[str]]]:
    """Read the rows below the header that are not blank.

    Args:
        sheet: of `open_sheet`.
        names: of its columns, for the sentences; '' for one without a name.
        least: fields that a row needs; of rows that are shorter than the header the others are blank.
        is_row: whether the cells of a line look like a row of the table, to see where a quote has swallowed one.

    Yields:
        At most `BLOCK_ROWS` rows, each a list of as many cells as the header has.

    Raises:
        DatasetError: a row cannot be read; the sentence says which, counted from 1 below the header, and its line in the file.
    """
    rows = _rows(sheet, names, least, is_row)
    while block := list(itertools.islice(rows, BLOCK_ROWS)):
        yield block


@dataclass(frozen=True)
class _Place:
    """A row of the table, counted from 1, the line of the file where it begins, and the names of the columns."""

    row: int
    line: int
    names: list[str]

    def column(self, position: int) -> str:
        name = self.names[position] if position < len(self.names) else ""
        return f"column {name}" if name else f"column {position + 1}"

    def refusal(self, what: str) -> DatasetError:
        return DatasetError(f"Row {self.row} of the table {what} The row begins in line {self.line} of the file.")


def _rows(sheet: Sheet, names: list[str], least: int, is_row: Callable[[list[str]], bool]) -> Iterator[list[str]]:
    current: list[str] = []
    reader = csv.reader(_lines(sheet.data, sheet.encoding, current), delimiter=sheet.delimiter)
    number = 0  # of the header, then of the rows below it
    width = len(sheet.header)
    while True:
        line = reader.line_num + 1
        current.clear()
        try:
            cells = next(reader)
        except csv.Error as cause:
            place = _Place(number, line, names)
            raise _too_long(place, "".join(current), sheet.delimiter) from cause
        if cells == [_END]:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if number and (len(cells) != width or len(current) > 1 or _END in cells[-1]):
            cells = _whole(cells, _Place(number, line, names), least)
            _check_nothing_swallowed(cells, _Place(number, line, names), sheet.delimiter, is_row)
        if number:
            yield cells
        number += 1


def _encoding(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        candidates: tuple[str, ...] = ("utf-16",)
    elif len(data) > 1 and (data[0] == 0) != (data[1] == 0):
        candidates = ("utf-16-be",) if data[0] == 0 else ("utf-16-le",)
    else:
        candidates = ("utf-8-sig", "cp1252", "latin-1")
    for encoding in candidates:
        if _decodes(data, encoding):
            return encoding
        if encoding == "utf-8-sig":
            _check_no_damaged_utf8(data)
    raise DatasetError(f"The table begins as UTF-16 but is damaged. {_AGAIN}")


def _decodes(data: bytes, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for start in range(0, len(data), _DECODED_AT_ONCE):
            decoder.decode(data[start : start + _DECODED_AT_ONCE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _check_no_damaged_utf8(data: bytes) -> None:
    """Refuse what is not UTF-8 but begins with its mark, or has more of its characters than bytes that belong to none.

    One such byte takes two characters: a single one may be chance, in a text of another encoding.
    """
    characters, strays, first = 0, 0, len(data)
    for found in _UTF8.finditer(data):
        if found.lastgroup == "character":
            characters += 1
        elif found.lastgroup == "stray":
            strays += 1
            first = min(first, found.start())
    if data.startswith(codecs.BOM_UTF8) or characters > strays:
        ends = data.count(b"\n", 0, first) + data.count(b"\r", 0, first) - data.count(b"\r\n", 0, first)
        raise DatasetError(
            f"Line {ends + 1} holds a byte that is no UTF-8, in a table that is written in it: a character there is damaged, or "
            f"comes from another encoding. Correct it. {_AGAIN}"
        )


def _lines(data: bytes, encoding: str, current: list[str]) -> Iterator[str]:
    """The lines of a text with their ends, then `_END`; each is added to `current`, which the caller clears row by row."""
    stream = io.TextIOWrapper(io.BytesIO(data), encoding=encoding, newline="")
    number = 0
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        if _END in line:
            raise DatasetError(f"Line {number} holds a NUL character: the file is binary, or a damaged text. {_AGAIN}")
        if len(line) == _LONGEST_LINE:
            raise DatasetError(f"Line {number} is longer than {_LONGEST_LINE:,} characters: this is no table. {_AGAIN}")
        current.append(line)
        yield line
    yield _END


def _header(data: bytes, encoding: str, delimiter: str) -> list[str]:
    """The first row that is not blank; no cells where that cannot be read."""
    try:
        for cells in csv.reader(_lines(data, encoding, []), delimiter=delimiter):
            if any(cell.strip() for cell in cells):
                return [] if _END in cells[-1] else cells
    except csv.Error:
        pass
    return []


def _too_long(place: _Place, row: str, delimiter: str) -> DatasetError:
    """Refuse a row with a cell that is too long; which one it is tells the longest beginning of the row that can be read."""

    def unreadable(end: int) -> bool:
        try:
            next(csv.reader([row[:end]], delimiter=delimiter), None)
        except csv.Error:
            return True
        return False

    end = bisect.bisect_left(range(len(row)), True, key=unreadable) - 1
    position = len(next(csv.reader([row[:end]], delimiter=delimiter))) - 1
    return place.refusal(
        f"has more than {LONGEST_CELL:,} characters in {place.column(position)}. Perhaps a double quote is not closed "
        "there: close it, or shorten the text."
    )


def _whole(cells: list[str], place: _Place, least: int) -> list[str]:
    """Bring a row to the width of the header, if nothing is lost by it."""
    width = len(place.names)
    if _END in cells[-1]:
        raise place.refusal(
            f"has a double quote in {place.column(len(cells) - 1)} that is never closed: all lines after it were read as "
            "one text. Close it, or remove it."
        )
    if any(cell.strip() for cell in cells[width:]):
        raise place.refusal(
            f"has {len(cells)} fields where the header has {width}. Put fields that hold a delimiter in double quotes, and "
            "see that each of these is closed."
        )
    if len(cells) < least:
        raise place.refusal(
            f"has {len(cells)} fields where the header has {width}, and ends before {place.column(len(cells))}. Perhaps "
            "the file was cut off: get it again, or complete the row."
        )
    return cells[:width] + [""] * (width - len(cells))


def _check_nothing_swallowed(
    cells: list[str], place: _Place, delimiter: str, is_row: Callable[[list[str]], bool]
) -> None:
    """See that no cell holds a whole row, as happens after a double quote that another one closes some rows later."""
    for position, cell in enumerate(cells):
        for line in cell.splitlines()[1:]:
            inner = next(csv.reader([line], delimiter=delimiter), [])
            if len(inner) == len(cells) and is_row(inner):
                raise place.refusal(
                    f"holds other rows in {place.column(position)}: a double quote is not closed there. Close it, or "
                    "remove it."
                )
