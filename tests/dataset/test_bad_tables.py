"""What is no table of the collection, or a damaged one: read rightly, or refused with a sentence that says what to do."""

import io
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from covid_core.dataset.metadata import COLUMNS, DERIVED_COLUMNS, read_metadata, safe_image_path
from covid_core.errors import DatasetError

HEADER = "patientid,finding,view,modality,filename,age,offset,clinical_notes\n"
ROW = "1,SARS,PA,X-ray,a.png,40,2,Málaga “cough”\n"
NEXT = "2,COVID-19,AP,X-ray,b.png,50,3,fever\n"
TABLE = HEADER + ROW + NEXT


def zipped() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", TABLE)
    return target.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", ["binary", "Save the table as CSV"]),
        (zipped(), ["binary"]),
        (TABLE.encode() + b"\0" * 100, ["binary"]),
        (b"<!DOCTYPE html>\n<html><body>Not found</body></html>", ["<!DOCTYPE html>", "patientid"]),
        (b'{"patientid": 1, "filename": "a.png"}', ["patientid, finding"]),
        (b"x" * 1_000_000, ["columns patientid"]),
        *((content, ["empty"]) for content in (b"", b" \n\t\n ", b"\xff\xfe")),
        (HEADER.encode(), ["a header but no rows"]),
        ((HEADER + ",,,,,,,\n" * 3).encode(), ["a header but no rows"]),
        (b"patientid,filename\n1,a.png\n", ["lacks the columns finding, view, modality"]),
        (HEADER.replace("age", "View").encode() + ROW.encode(), ["view more than once"]),
        (HEADER.encode() + b",SARS,PA,X-ray,a.png,,,\n", ["no patientid", "row 1"]),
        ((HEADER.strip() + ",c" * 100_000 + "\n" + ROW).encode(), ["100,008 columns"]),
        ((HEADER + "\n" * 1_000_000).encode(), ["too large"]),
        (TABLE.encode("utf-16")[:-1], ["UTF-16", "damaged"]),
        (TABLE.encode() + "3,SARS,PA,X-ray,c.png,,,“é”".encode()[:-1], ["Line 4", "UTF-8"]),
        (b"\xef\xbb\xbf" + TABLE.encode("cp1252"), ["Line 2", "UTF-8"]),
        ((HEADER + NEXT + NEXT.strip() + ",more\n").encode(), ["line 3", "9", "double quotes"]),
        ((HEADER + NEXT + '3,SARS,PA,X-ray,c.png,,,"never\n' + NEXT * 5).encode(), ["row 2", "quotes"]),
        ((HEADER + '1,SARS,PA,X-ray,a.png,40,3,"fever\n').encode(), ["row 1", "quotes"]),
        (
            (HEADER + NEXT + '3,SARS,PA,X-ray,c.png,,,"not closed\n' + NEXT * 3 + 'oops"\n' + NEXT).encode(),
            ["Row 2", "other rows in column clinical_notes", "double quote"],
        ),
    ],
)
def test_what_is_no_table_is_refused_with_what_is_wrong(content: bytes, words: list[str]) -> None:
    with pytest.raises(DatasetError) as refused:
        read_metadata(content)
    assert [word for word in words if word not in str(refused.value)] == []


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_every_usual_form_of_a_table_is_read(delimiter: str, ends: str, encoding: str) -> None:
    text = "\n" + TABLE + "\n,,,,,,,\n"
    table = read_metadata(text.replace(",", delimiter).replace("\n", ends).encode(encoding))
    assert table[["patientid", "view", "filename", "clinical_notes"]].to_numpy().tolist() == [
        ["1", "PA", "a.png", "Málaga “cough”"],
        ["2", "AP", "b.png", "fever"],
    ]


@pytest.mark.parametrize(
    ("note", "encoding"),
    [
        ("Ä; Ö; Ü — “très” 38;5 °C", "cp1252"),
        ("Ã©; Ã¨: née; à; ê", "cp1252"),  # two pairs that are characters of UTF-8, and more letters that are none
        ("één naïef garçon", "latin-1"),
        ("\x81é", "latin-1"),  # Windows-1252 does not have the first
    ],
)
def test_letters_of_other_encodings_are_read_as_they_are(note: str, encoding: str) -> None:
    table = read_metadata((HEADER + f"1,SARS,PA,X-ray,a.png,40,2,{note}\n").encode(encoding))
    assert table["clinical_notes"][0] == note


def test_an_unknown_column_is_kept_and_those_without_a_name_are_not() -> None:
    header = "hospital,patientid,finding,view,modality,filename" + "," * 10_000
    table = read_metadata(f"\ufeff{header}\nX,1,SARS,PA,X-ray,a.png,y\n2,2\n".encode("utf-16-be"))
    assert [*table.columns] == [*COLUMNS, "hospital", *DERIVED_COLUMNS]
    assert table[["hospital", "patientid"]].to_numpy().tolist() == [["X", "1"], ["2", "2"]]
    assert table["view"].isna().tolist() == [False, True]


def test_line_breaks_and_commas_in_a_quoted_note_are_no_fault() -> None:
    note = "first, second\r\nthird, fourth, fifth, sixth, seventh, eighth, ninth, tenth\n" + "long " * 50_000
    table = read_metadata((HEADER + f'1,SARS,PA,X-ray,a.png,,,"{note}"\n').encode())
    assert table["clinical_notes"][0].split() == note.split()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        *(("45,5", 45.5), ("-3,25", -3.25), ("4e1", 40.0), ("1,234", None), ("1,2,3", None)),
        *(("inf", None), ("1e999", None), ("nan", None), ("1_0", None), ("elderly", None)),
    ],
)
def test_decimal_commas_are_read_and_what_is_no_finite_number_is_missing(written: str, read: float | None) -> None:
    row = read_metadata(f'{HEADER}1,SARS,PA,X-ray,a.png,"{written}","{written}",\n'.encode()).iloc[0]
    for name in ("age", "offset"):
        assert row[name] == read if read is not None else pd.isna(row[name])


def test_formulas_and_file_names_that_leave_the_folder_stay_text_and_are_never_followed(tmp_path: Path) -> None:
    table = read_metadata((HEADER + "=cmd(),SARS,PA,X-ray,../../etc/passwd,,,=1+1\n").encode())
    assert table.loc[0, ["patientid", "filename", "clinical_notes"]].tolist() == ["=cmd()", "../../etc/passwd", "=1+1"]
    with pytest.raises(DatasetError, match="plain name"):
        safe_image_path(tmp_path, table["filename"][0])


FRAGMENTS = st.sampled_from(
    [
        *'",;\t|\n\r\0 =é\ufeff',
        *("\r\n", "\ud800", "nan", "1,5", "X-ray", '""', HEADER.strip(), "filename", "1", ROW, NEXT),
    ]
)
PIECES = st.lists(FRAGMENTS | st.text(max_size=5), max_size=30).map("".join)


def check_contract(content: bytes) -> None:
    """Either the columns of the contract, with text, finite numbers and a label, or a refusal; never anything else."""
    try:
        table = read_metadata(content)
    except DatasetError as refused:
        assert len(str(refused)) > 20
        return
    assert len(table) > 0
    assert [*table.columns[: len(COLUMNS)]] == [*COLUMNS]
    assert [*table.columns[-2:]] == [*DERIVED_COLUMNS]
    assert table["patientid"].notna().all()
    assert set(table["label"].dropna()) <= {"covid", "non_covid"}
    assert (table["age"].dropna().abs() < float("inf")).all()


@given(st.binary(max_size=300))
@example(b"\xff\xfe\0\0")
@example(b"\0a\0b")
@example(b"p\0")
def test_any_bytes_are_a_table_or_a_refusal(content: bytes) -> None:
    check_contract(content)


@given(text=PIECES, encoding=st.sampled_from(["utf-8", "utf-16", "utf-16-be", "cp1252"]))
def test_any_rows_below_a_header_are_a_table_or_a_refusal(text: str, encoding: str) -> None:
    check_contract((HEADER + text).encode(encoding, "ignore"))


@given(position=st.integers(0, len(TABLE) - 1), byte=st.integers(0, 255))
def test_a_table_with_one_wrong_byte_is_a_table_or_a_refusal(position: int, byte: int) -> None:
    content = bytearray(TABLE.encode())
    content[position] = byte
    check_contract(bytes(content))
