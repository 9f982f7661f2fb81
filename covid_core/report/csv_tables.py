"""The tables of a report as CSV files, one by one or all in a ZIP archive. A spreadsheet runs no cell of them as a formula."""

import csv
import io
import re
import zipfile

import pandas as pd

from covid_core.report.document import Report, Table
from covid_core.text import safe_cell

CSV_ENCODING = "utf-8-sig"
"""With the mark that spreadsheets recognise UTF-8 by, as the results of the images have it."""
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NUMBER = r"[+-]?\d+(\.\d+)?%?"
_RANGE = rf"{_NUMBER} to {_NUMBER}"
# A sign of a number is no formula: digits, `to` and `95% CI` alone are left as they are.
_FIGURE = re.compile(rf"({_RANGE}|{_NUMBER})( \((\d+% CI )?{_RANGE}\))?", re.ASCII)


def csv_of(table: pd.DataFrame) -> str:
    """Lay a table out as CSV (RFC 4180), its columns first, without the index.

    A cell that begins like a formula gets an apostrophe before it; numbers with a sign and intervals of them, such as
    `-0.02` or `+0.06 (95% CI -0.05 to +0.19)`, stay as they are.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([_cell(name) for name in table.columns])
    writer.writerows([_cell(value) for value in row] for row in table.itertuples(index=False, name=None))
    return text.getvalue()


def tables_zip(report: Report) -> bytes:
    """Every table of a report as `<name>.csv` in a ZIP archive, in the order they are read; ValueError as of `check_names`."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for table in named_tables(report):
            file.writestr(f"{table.name}.csv", csv_of(table.table).encode(CSV_ENCODING, errors="backslashreplace"))
    return archive.getvalue()


def named_tables(report: Report) -> list[Table]:
    """The tables of a report, their names checked by `check_names`."""
    tables = [table for chapter in report.chapters for table in chapter.tables()]
    check_names([table.name for table in tables])
    return tables


def check_names(names: list[str]) -> None:
    """Make sure that names keep to the contract of `Table.name`, else raise ValueError."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"A name is lower case letters, digits and hyphens. Received: {name!r}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"A name stands once in a report. Received more than once: {', '.join(twice)}")


def _cell(value: object) -> str:
    text = str(value)
    return text if _FIGURE.fullmatch(text) else safe_cell(text)
