import base64
import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from covid_core.dataset import image_cache
from covid_core.dataset.filters import with_choices
from covid_core.dataset.metadata import read_metadata
from covid_core.figures.theme import CLASS_COLOURS
from covid_core.ui.dataset_table import MOST_ROWS, ORDERS, csv_of_rows, in_order, table_of
from tests.app.conftest import OpenPage, image_png, png, texts

HEADER = "patientid,offset,age,finding,view,modality,date,filename,url,clinical_notes\n"
FOUR = f"""\
{HEADER}10,3,60,Pneumonia/Viral/COVID-19,PA,X-ray,"March 5, 2020",b.png,https://two.example/1,=1+1
9,,,Pneumonia/Viral/SARS,AP,X-ray,2019,A.png,https://one.example/1,
9,5,30,No Finding,PA,X-ray,,c10.png,javascript:alert(1),second
9,1,30,todo,,X-ray,"January 22, 2020",c9.png,https://one.example/2,
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset of the four rows; b.png is an image, A.png is none, the others have no file."""
    folder = tmp_path / "dataset"
    (folder / "images").mkdir(parents=True)
    (folder / "metadata.csv").write_text(FOUR, encoding="utf-8")
    (folder / "images" / "b.png").write_bytes(image_png())
    (folder / "images" / "A.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def many(folder: Path) -> Path:
    """130 rows, every second one seen from the front; the files of the first 70 are there."""
    rows = [
        f"{n},,{90 - n % 60},No Finding,{'PA' if n % 2 else 'L'},X-ray,,{n}.png,https://one.example/{n},"
        for n in range(130)
    ]
    (folder / "metadata.csv").write_text(HEADER + "\n".join(rows), encoding="utf-8")
    for n in range(70):
        file = folder / "images" / f"{n}.png"
        file.write_bytes(png(np.roll(np.tile(np.arange(96, dtype=np.uint8), (96, 1)), n)))
        os.utime(file, (1, 1))  # the store relies on a time of change that is not quite new only
    return folder


@pytest.fixture
def open_section(open_dataset: OpenPage, folder: Path, no_models: None) -> OpenPage:  # noqa: ARG001
    return lambda section="Images", **query: open_dataset(folder, section=section, **query)


def tiles(app: AppTest) -> list[dict[str, Any]]:
    assert not app.exception
    shown: list[dict[str, Any]] = json.loads(app.get("bidi_component")[0].proto.json)["tiles"]
    return shown


def files(app: AppTest) -> list[str]:
    return [tile["file"] for tile in tiles(app)]


def picture(address: str) -> Image.Image:
    kind, content = address.split(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


IN_ORDER = {
    "As in the table": ["b.png", "A.png", "c10.png", "c9.png"],
    "Patient and day": ["c9.png", "c10.png", "A.png", "b.png"],
    "Most recent": ["b.png", "c9.png", "A.png", "c10.png"],
    "Age": ["c10.png", "c9.png", "b.png", "A.png"],
    "Finding": ["c10.png", "b.png", "A.png", "c9.png"],
    "View": ["A.png", "b.png", "c10.png", "c9.png"],
    "Source": ["A.png", "c9.png", "b.png", "c10.png"],
    "File name": ["A.png", "b.png", "c9.png", "c10.png"],
}
"""The four rows, put in order by hand."""


def test_the_order_in_the_address_is_that_of_the_gallery_and_the_table(open_section: OpenPage) -> None:
    assert set(IN_ORDER) == set(ORDERS)
    gallery, table = open_section(sort="Age"), open_section(sort="Age", section="Table")
    for order, expected in IN_ORDER.items():
        gallery.selectbox(key="sort").set_value(order).run()
        table.selectbox(key="sort").set_value(order).run()
        assert files(gallery) == list(table.dataframe[0].value["filename"]) == expected


def test_rows_that_are_alike_stay_as_they_were() -> None:
    table = pd.DataFrame({"age": [7.0, np.nan] * 500, "place": range(1000)})
    assert list(in_order(table, "Age")["place"]) == [*range(0, 1000, 2), *range(1, 1000, 2)]


def test_a_tile_has_a_thumbnail_or_a_reason_its_class_its_view_and_its_day(open_section: OpenPage) -> None:
    shown = {tile["file"]: tile for tile in tiles(open_section())}
    with Image.open(io.BytesIO(image_png())) as image:
        small = image.convert("L").resize((256, 256), Image.Resampling.BOX)
    sent = picture(shown["b.png"]["picture"])
    assert (sent.size, sent.mode) == ((256, 256), "L")
    assert np.abs(np.asarray(sent, float) - np.asarray(small, float)).mean() < 3
    facts = {name: tuple(tile[key] for key in ("label", "colour", "facts", "blank")) for name, tile in shown.items()}
    assert facts["b.png"] == ("COVID-19", CLASS_COLOURS["covid"], "PA, day 3", None)
    assert facts["A.png"] == ("Not COVID-19", CLASS_COLOURS["non_covid"], "AP", "Cannot be read")
    assert facts["c9.png"] == ("No class", None, "day 1", "No file")
    assert shown["A.png"]["picture"] is shown["c9.png"]["picture"] is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *(
            (name, "File name not allowed")
            for name in ("../secret.png", "/etc/passwd", "..\\secret.png", "sub/a.png", "..")
        ),
        ("", "No file named"),
    ],
)
def test_a_name_that_leaves_the_folder_or_is_blank_is_a_tile_without_a_picture(
    folder: Path, open_section: OpenPage, name: str, reason: str
) -> None:
    (folder / "secret.png").write_bytes(image_png())
    (folder / "metadata.csv").write_text(
        f"{HEADER}1,,,No Finding,PA,X-ray,,{name},,\n2,,,todo,,,,b.png,,\n", encoding="utf-8"
    )
    assert [(tile["picture"] is None, tile["blank"]) for tile in tiles(open_section())] == [
        (True, reason),
        (False, None),
    ]


def test_sixty_images_are_on_a_page_and_a_filter_or_an_order_begins_at_the_first(
    many: Path, open_section: OpenPage
) -> None:
    assert many.is_dir()
    app = open_section(page="2")
    assert files(app) == [f"{n}.png" for n in range(60, 120)]
    app.pagination(key="page").set_value(3).run()
    assert files(app) == [f"{n}.png" for n in range(120, 130)]
    assert "Images 121 to 130 of 130" in texts(app)
    app.selectbox(key="sort").set_value("Age").run()
    assert "Images 1 to 60 of 130" in texts(app)
    assert files(app)[:2] == ["59.png", "119.png"]  # both 31 years, the youngest
    app.pagination(key="page").set_value(3).run()
    app.multiselect(key="view").select("PA").run()
    assert len(tiles(app)) == 60
    assert "Images 1 to 60 of 65" in texts(app)


def test_all_thumbnails_are_made_at_once_and_none_is_made_again(
    many: Path, open_section: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert many.is_dir()
    app = open_section()
    make = next(button for button in app.button if button.label.startswith("Make all thumbnails"))
    assert make.label == "Make all thumbnails now (70 images)"
    make.click().run()
    assert not app.exception
    assert "The thumbnails of all these images are made." in texts(app)

    def refuse(_data: bytes) -> None:
        raise AssertionError("an image was decoded again")

    monkeypatch.setattr(image_cache, "decode", refuse)
    app.pagination(key="page").set_value(2).run()
    assert [tile["picture"] is not None for tile in tiles(app)] == [True] * 10 + [False] * 50
    assert "The thumbnails of all these images are made." in texts(app)


@pytest.mark.parametrize("emptied", [False, True])
def test_without_any_images_there_is_the_table_instead(folder: Path, open_section: OpenPage, *, emptied: bool) -> None:
    for file in (folder / "images").iterdir():
        file.unlink()
    if not emptied:
        (folder / "images").rmdir()
    app = open_section()
    assert "The images are not installed" in texts(app)
    assert len(app.dataframe[0].value) == 4
    assert not app.get("bidi_component")


def test_more_columns_are_shown_and_of_a_large_table_the_first_rows(folder: Path, open_section: OpenPage) -> None:
    app = open_section(section="Table")
    assert "date" in app.dataframe[0].value
    assert "survival" not in app.dataframe[0].value
    app.multiselect(key="columns").select("survival").select("source").run()
    assert list(app.dataframe[0].value["source"].fillna("")) == ["two.example", "one.example", "", "one.example"]
    assert "survival" in app.dataframe[0].value
    rows = [f"{n},,,No Finding,PA,X-ray,,{n}.png,," for n in reversed(range(MOST_ROWS + 7))]
    (folder / "metadata.csv").write_text(HEADER + "\n".join(rows), encoding="utf-8")
    app = open_section(section="Table", sort="File name")
    assert list(app.dataframe[0].value["filename"]) == [f"{n}.png" for n in range(MOST_ROWS)]
    assert f"The first {MOST_ROWS:,} of {MOST_ROWS + 7:,} rows are shown" in texts(app)


def test_long_texts_are_cut_and_only_addresses_of_the_web_are_links(folder: Path) -> None:
    (folder / "metadata.csv").write_text(FOUR.replace("second", "x" * 10_000).replace("SARS", "y" * 10_000), "utf-8")
    shown = table_of(with_choices(read_metadata(folder / "metadata.csv")), ["clinical_notes"])
    assert shown["clinical_notes"].str.len().max() == 200
    assert shown["finding"].str.len().max() == 200
    addresses = ["https://two.example/1", "https://one.example/1", "", "https://one.example/2"]
    assert list(shown["url"].fillna("")) == addresses


def test_the_downloaded_table_runs_no_formula_and_says_what_the_file_said(folder: Path) -> None:
    table = read_metadata(folder / "metadata.csv")
    rows = in_order(with_choices(table, files={"b.png"}), "Age").head(3)
    given = list(csv.DictReader(io.StringIO(csv_of_rows(table, rows).decode("utf-8-sig"))))
    assert [row["filename"] for row in given] == ["c10.png", "c9.png", "b.png"]
    assert [row["age"] for row in given] == ["30", "30", "60"]
    assert [row["view"] for row in given] == ["PA", "", "PA"]
    assert [row["clinical_notes"] for row in given] == ["second", "", "'=1+1"]
    assert [row["has_file"] for row in given] == ["False", "False", "True"]
    assert set(given[0]) == {*table.columns, "country", "has_file"}
