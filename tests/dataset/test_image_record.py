import csv
from pathlib import Path

import pytest

from covid_core.dataset.image_record import CT, OTHER, X_RAY, Field, ImageRecord, record_of_image
from covid_core.dataset.metadata import COLUMNS, read_metadata

HEADER = "patientid,offset,finding,view,modality,filename"


def table_of(*rows: str, header: str = HEADER):
    return read_metadata("\n".join([header, *rows]).encode())


def record_of(*rows: str, header: str = HEADER, filename: str = "a.png") -> ImageRecord:
    record = record_of_image(table_of(*rows, header=header), filename)
    assert record is not None
    return record


def test_what_is_given_stands_in_words_with_its_unit_and_in_the_order_of_the_table() -> None:
    header = (
        "patientid,offset,sex,age,finding,RT_PCR_positive,survival,temperature,pO2_saturation,leukocyte_count,view,modality,"
        "filename"
    )
    record = record_of("7,3,F,65,Pneumonia/Viral/COVID-19,Unclear,N,38.6,92,7.4,AP Supine,X-ray,a.png", header=header)
    assert [(field.title, field.text) for field in record.fields] == [
        *(("Patient", "7"), ("Day", "3 days since onset or admission"), ("Sex", "female"), ("Age", "65 years")),
        *(("Finding", "Pneumonia/Viral/COVID-19"), ("RT-PCR positive", "Unclear"), ("Survived", "no")),
        *(("Temperature", "38.6 °C"), ("Oxygen saturation", "92 %"), ("Leukocytes", "7.4 thousand/µL")),
        *(("View", "from the front, lying (AP Supine)"), ("Modality", "X-ray"), ("File", "a.png")),
    ]
    assert record.summary == "Pneumonia/Viral/COVID-19, AP Supine, F, 65 years"
    assert (record.label, record.finding, record.patientid) == ("covid", "Pneumonia/Viral/COVID-19", "7")


@pytest.mark.parametrize(("offset", "words"), [("1", "1 day"), ("0", "0 days"), ("-2", "-2 days"), ("2.5", "2.5 days")])
def test_a_day_stands_as_it_stands(offset: str, words: str) -> None:
    record = record_of(f"7,{offset},todo,PA,X-ray,a.png")
    assert Field("Day", f"{words} since onset or admission") in record.fields


def test_what_is_blank_is_named_once_and_nothing_is_lost() -> None:
    record = record_of("7,,todo,,X-ray,a.png")
    assert {"Day", "View", "Age", "Clinical notes", "Licence", "DOI"} <= set(record.not_given)
    assert len(record.fields) + len(record.not_given) + len(record.notes) == len(COLUMNS)
    assert record.label is None


def test_columns_that_nobody_knows_are_shown_too_and_long_ones_like_notes() -> None:
    header = f"{HEADER},ward_number,clinical_notes,radiology report,other_notes,blank one"
    long = "y" * 201
    record = record_of(f"7,,todo,PA,X-ray,a.png,12 b,# not *Markdown*,{long},{'z' * 10**5},", header=header)
    assert Field("ward number", "12 b") in record.fields
    assert record.notes == (
        Field("Clinical notes", "# not *Markdown*"),
        Field("Other notes", "z" * 10**5),
        Field("radiology report", long),
    )
    assert "blank one" in record.not_given


def test_the_patient_s_images_stand_by_day_and_those_without_one_last() -> None:
    rows = (
        "7,5,todo,PA,X-ray,five.png",
        "7,,todo,L,X-ray,undated.png",
        "8,1,todo,PA,X-ray,of another.png",
        "7,-1,todo,Axial,CT,before.nii.gz",
        "7,5,todo,,ultrasound,five again.png",
        "7,,todo,,,no day either.png",
        "7,2,todo,PA,X-ray,",
    )
    record = record_of(*rows, filename="five.png")
    assert [(image.filename, image.day, image.kind, image.sentence) for image in record.images] == [
        ("before.nii.gz", -1, CT, "CT, Axial, day -1"),
        ("five.png", 5, X_RAY, "X-ray, PA, day 5"),
        ("five again.png", 5, OTHER, "Image, day 5"),
        ("undated.png", None, X_RAY, "X-ray, L, day not given"),
        ("no day either.png", None, OTHER, "Image, day not given"),
    ]
    assert (record.position, record.unnamed) == (1, 1)


def test_a_file_in_several_rows_is_that_of_the_first_and_stands_once_among_the_patient_s() -> None:
    record = record_of("7,1,todo,PA,X-ray,a.png", "7,9,todo,L,X-ray,a.png", "8,9,todo,L,X-ray,a.png")
    assert record.rows == 3
    assert [(image.filename, image.day) for image in record.images] == [("a.png", 1)]


@pytest.mark.parametrize(
    ("filename", "folder", "is_volume", "in_images"),
    [("a.nii", "volumes", True, False), ("a.NII.GZ", "", True, True), ("a.nii.png", "images", False, True)],
)
def test_a_volume_is_known_by_its_name_and_the_public_file_by_its_folder(
    filename: str, folder: str, is_volume: bool, in_images: bool
) -> None:
    row = f"7,,todo,Axial,CT,{filename},{folder}"
    record = record_of(row, header=f"{HEADER},folder", filename=filename)
    assert (record.is_volume, record.in_images) == (is_volume, in_images)
    for name in ("b.png", "", "A.PNG", f"{filename} "):
        assert record_of_image(table_of(row, "7,,todo,PA,X-ray,,", header=f"{HEADER},folder"), name) is None


@pytest.mark.parametrize(
    ("doi", "url", "doi_url", "is_link"),
    [
        (
            *("10.1016/S0140-6736(20)30211-7", "https://a.example/x"),
            *("https://doi.org/10.1016/S0140-6736%2820%2930211-7", True),
        ),
        ("https://doi.org/10.1/x", "HTTP://a.example/", "https://doi.org/10.1/x", True),
        ("javascript:alert(1)", "javascript:alert(1)", None, False),
        ("doi: 10.1056/x", "data:text/html,x", None, False),
        ("10.1056/x y", "//a.example/x", None, False),
        ("", "file:///etc/passwd", None, False),
    ],
)
def test_only_web_addresses_become_links(doi: str, url: str, doi_url: str | None, is_link: bool) -> None:
    record = record_of(f'7,,todo,PA,X-ray,a.png,{doi},"{url}"', header=f"{HEADER},doi,url")
    assert (record.doi_url, record.source_url) == (doi_url, url if is_link else None)


def test_the_real_table_loses_nothing_and_every_patient_s_images_are_complete(real_dataset: Path) -> None:
    table = read_metadata(real_dataset / "metadata.csv")
    with (real_dataset / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 950
    for row in rows[::19]:
        record = record_of_image(table, row["filename"].strip())
        assert record is not None
        assert {image.filename for image in record.images} == {
            other["filename"].strip() for other in rows if other["patientid"].strip() == row["patientid"].strip()
        }
        given = [cell for name, cell in row.items() if name and cell.strip()]
        assert len(record.fields) + len(record.notes) == len(given)
        shown = [field.text for field in (*record.fields, *record.notes)]
        assert row["clinical_notes"].strip() in [*shown, ""]
        assert row["finding"].strip() in shown
