"""What is read back comes from the standard library's CSV and ZIP readers."""

import csv
import io
import zipfile

import pandas as pd
import pytest

from covid_core.report.csv_tables import csv_of, tables_zip
from covid_core.report.document import Chapter, Report, Table


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def report_of(*names: str) -> Report:
    tables = [Table(name, "Images", pd.DataFrame({"Class": [f"of {name}"], "Images": ["3"]})) for name in names]
    chapters = tuple(Chapter(f"chapter-{place}", "Part", (table,)) for place, table in enumerate(tables))
    return Report("Report", "", "", (), chapters)


def test_columns_come_first_and_the_index_stays_away() -> None:
    table = pd.DataFrame({"Class": ["COVID-19", 'a "b", c\nd'], "Images": ["471", ""]}, index=[7, 8])
    assert read(csv_of(table)) == [["Class", "Images"], ["COVID-19", "471"], ['a "b", c\nd', ""]]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_what_begins_like_a_formula_is_text(start: str) -> None:
    hostile = f"{start}cmd|'/C calc'!A0"
    assert read(csv_of(pd.DataFrame({hostile: [hostile]}))) == [[f"'{hostile}"], [f"'{hostile}"]]


@pytest.mark.parametrize("formula", ["-1+1", "+1 to A1", "-2 (see =A1)", "-1%-cmd", "+0.1 to +0.2;=A1"])
def test_a_formula_that_begins_with_a_number_is_text(formula: str) -> None:
    assert read(csv_of(pd.DataFrame({"Value": [formula]}))) == [["Value"], [f"'{formula}"]]


@pytest.mark.parametrize(
    "figure", ["-0.02", "+0.10", "-3", "+5%", "-0.19 to 0.15", "-0.19 to -0.05", "+0.06 (95% CI -0.05 to +0.19)"]
)
def test_numbers_with_a_sign_stay_as_they_are(figure: str) -> None:
    assert read(csv_of(pd.DataFrame({"Value": [figure]}))) == [["Value"], [figure]]


def test_the_archive_has_every_table_under_its_name() -> None:
    with zipfile.ZipFile(io.BytesIO(tables_zip(report_of("areas", "roc-2")))) as archive:
        assert archive.namelist() == ["areas.csv", "roc-2.csv"]
        text = archive.read("roc-2.csv").decode("utf-8-sig")
    assert read(text) == [["Class", "Images"], ["of roc-2", "3"]]


def test_two_tables_of_one_name_are_an_error() -> None:
    with pytest.raises(ValueError, match="more than once: areas"):
        tables_zip(report_of("areas", "bins", "areas"))


@pytest.mark.parametrize("name", ["../areas", "a/b", "Areas", "", "a b", "areas\n"])
def test_a_name_that_is_none_of_a_file_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="lower case letters"):
        tables_zip(report_of(name))
