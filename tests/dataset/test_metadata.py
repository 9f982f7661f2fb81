"""The table of the collection, in every version and in every wrapping that spreadsheets give it."""

from pathlib import Path

import pandas as pd
import pytest

from covid_core.dataset import metadata
from covid_core.dataset.metadata import COLUMNS, UnreadableCell, read_metadata, safe_image_path, unreadable_numbers
from covid_core.errors import DatasetError

MINIMAL = "patientid,finding,view,modality,filename\n1,COVID-19,PA,X-ray,a.png\n007,todo,AP,X-ray,b.png\n"


def test_the_real_table_has_the_published_counts_in_the_order_of_the_file(real_dataset: Path) -> None:
    table = read_metadata(real_dataset / "metadata.csv")
    raw = pd.read_csv(real_dataset / "metadata.csv", dtype=str)
    assert table["filename"].tolist() == raw["filename"].str.strip().tolist()
    assert len(table) == 950
    assert table["modality"].value_counts().to_dict() == {"X-ray": 866, "CT": 84}
    assert (table["finding"] == "Pneumonia/Viral/COVID-19").sum() == (table["label"] == "covid").sum() == 584
    assert table["label"].isna().sum() == 84  # 83 todo, 1 Unknown
    assert list(table.columns) == [*COLUMNS, "label", "source"]
    assert unreadable_numbers(table).total == 0
    assert table.attrs == {}


def test_a_minimal_table_gets_the_other_columns_as_missing() -> None:
    table = read_metadata(
        b"patientid,finding,view,modality,filename,sex\n 1 ,COVID-19,PA,X-ray, a.png,  \n007,todo,,,b,F\n"
    )
    assert table["patientid"].tolist() == ["1", "007"]
    assert table["filename"].tolist() == ["a.png", "b"]
    assert table["label"].tolist()[0] == "covid"
    assert table[["label", "sex"]].isna().to_numpy().tolist() == [[False, True], [True, False]]
    assert table[["url", "source", "age"]].isna().to_numpy().all()
    assert table["age"].dtype == "float64"


def test_the_first_version_of_the_table_is_read() -> None:
    # Header and row as published in February 2020, with the column `modality` that came a little later.
    first = (
        "Patientid,offset,sex,age,finding,survival,view,modality,date,location,filename,doi, url,license,clinical notes,\n"
        '13,4,M,35,"COVID-19, ARDS",Y,PA,X-ray,"January 19, 2020","Snohomish County, Washington, USA",f1.jpeg,,'
        "https://www.nejm.org/doi/full/10.1056/NEJMoa2001191,,No thoracic abnormalities were noted.,\n"
    )
    row = read_metadata(first.encode()).iloc[0]
    assert (row["patientid"], row["label"], row["source"]) == ("13", "covid", "www.nejm.org")
    assert (row["age"], row["offset"]) == (35.0, 4.0)
    assert row["clinical_notes"] == "No thoracic abnormalities were noted."


NUMBERS = """\
patientid,finding,view,modality,filename,age,offset,temperature,sex
1,SARS,PA,X-ray,a.png,56 years,3,NA,M
2,SARS,PA,X-ray,b.png,,inf,"38,5",045Y
3,SARS,PA,X-ray,c.png, 045Y ,"1,234",,F
4,SARS,PA,X-ray,d.png,45,4,37.5 °C,F
"""
"""Five cells of three columns that are neither blank nor a finite number."""


def test_what_stood_where_a_number_was_to_be_is_kept_and_follows_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    table = read_metadata(NUMBERS.encode())
    found = unreadable_numbers(table)
    assert found.total == 5
    assert found.cells == (
        UnreadableCell(0, "age", "56 years"),
        UnreadableCell(1, "offset", "inf"),
        UnreadableCell(2, "age", "045Y"),
        UnreadableCell(2, "offset", "1,234"),
        UnreadableCell(3, "temperature", "37.5 °C"),
    )
    table = table.assign(modality="CT").drop(columns=["sex"])
    chosen = unreadable_numbers(table[table["filename"] > "b.png"].copy())
    assert chosen.total == 3
    assert [(cell.row, cell.text) for cell in chosen.cells] == [(0, "045Y"), (0, "1,234"), (1, "37.5 °C")]
    assert unreadable_numbers(table.iloc[:0]).total == 0
    monkeypatch.setattr(metadata, "MOST_UNREADABLE", 2)
    found = unreadable_numbers(read_metadata(NUMBERS.replace("56 years", "old " * 10_000).encode()))
    assert (found.total, [cell.row for cell in found.cells]) == (5, [0, 1])
    assert found.cells[0].text == ("old " * 10_000)[:60]


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("https://WWW.Eurorad.org/case/1", "www.eurorad.org"),
        ("http://host.example:8080/x", "host.example"),
        ("no address", None),
        ("http://[broken", None),
    ],
)
def test_the_source_is_the_domain_of_the_address(url: str, source: str | None) -> None:
    content = MINIMAL.replace("filename\n", "filename,url\n").replace("a.png", f"a.png,{url}")
    found = read_metadata(content.encode())["source"][0]
    assert found == source if source else pd.isna(found)


def test_a_missing_table_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"metadata\.csv is missing"):
        read_metadata(tmp_path / "metadata.csv")


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../a.png", "/etc/passwd", "a/b.png", "..\\a.png"),
        *("C:\\a.png", "C:a.png", "a\0.png", "a\n.png", "é" * 128),
    ],
)
def test_a_file_name_that_may_leave_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="plain name"):
        safe_image_path(tmp_path, name)


@pytest.mark.parametrize(
    "name", ["a.png", "1-s2.0-S0929664620300449-gr2_lrg-a.jpg", "a b (1).PNG", "..a.png", "röntgen.jpg"]
)
def test_a_plain_file_name_is_joined(name: str, tmp_path: Path) -> None:
    assert safe_image_path(tmp_path, name) == tmp_path / name
