"""One image of the collection, opened over a page; as a visitor reads it, without a browser."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from covid_core.dataset.lung_masks import DRAWN_NAME
from covid_core.paths import models_dir
from tests.app.conftest import OpenPage, image_png, texts

HEADER = "patientid,offset,sex,age,finding,view,modality,folder,filename,doi,url,license,clinical_notes,ward"
ROWS = """\
1,0,M,60,Pneumonia/Viral/COVID-19,PA,X-ray,images,a.png,10.1000/x,https://one.example/1,CC BY,first *image* <b>x</b>,north
1,4,M,60,Pneumonia/Viral/COVID-19,AP,X-ray,images,b.png,,javascript:alert(1),,,
1,,M,60,Pneumonia/Viral/COVID-19,Axial,CT,images,slice.png,,,,,
1,9,M,60,Pneumonia/Viral/COVID-19,Axial,CT,volumes,scan.nii.gz,,,,,
2,,F,,todo,PA,X-ray,images,missing.png,,,,,
3,,F,,todo,PA,X-ray,images,broken.png,,,,,
4,,F,,todo,PA,X-ray,images,../outside.png,,,,,
5,,F,,No Finding,PA,X-ray,images,twice.png,,,,,
6,,F,,No Finding,L,X-ray,images,twice.png,,,,,
"""
SCORES = "## Severity\nfilename,geographic_mean\na.png,2.7\n"


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """A folder with the table, five files, a lung mask of a.png and its severity."""
    folder = tmp_path / "collection"
    images, annotations = folder / "images", folder / "annotations"
    images.mkdir(parents=True)
    annotations.mkdir()
    (folder / "metadata.csv").write_text(f"{HEADER}\n{ROWS}", encoding="utf-8")
    for seed, name in enumerate(("a.png", "b.png", "slice.png", "twice.png")):
        (images / name).write_bytes(image_png(seed, 256))
    (folder / "outside.png").write_bytes(image_png(9, 256))
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more of it")
    mask = io.BytesIO()
    Image.fromarray(np.pad(np.full((64, 64), 255, np.uint8), 32)).save(mask, "PNG")
    with zipfile.ZipFile(annotations / DRAWN_NAME, "w") as archive:
        archive.writestr("masks/a.png", mask.getvalue())
    (annotations / "covid-severity-scores.csv").write_text(SCORES, encoding="utf-8")
    return folder


@pytest.fixture
def opened(open_dataset: OpenPage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> OpenPage:
    """Opens an image over the table of the page, with no model unless its folder is given."""

    def open_it(
        folder: Path, image: str, model: Path | None = None, *, way: str = "installed", **query: str
    ) -> AppTest:
        monkeypatch.setenv("COVID_MODELS_DIR", str(tmp_path / "no models" if model is None else model.parent))
        chosen = {} if model is None else {"model": model.name}
        app = open_dataset(folder, way, section="Table", film=image, **chosen, **query)
        assert not app.exception
        return app

    return open_it


def viewer(app: AppTest) -> dict[str, Any] | None:
    """What the viewer was given; None where there is none."""
    shown = [json.loads(one.proto.json) for one in app.get("bidi_component")]
    return shown[0] if shown else None


def small_pictures(app: AppTest) -> int:
    """How many thumbnails there are; each is sent as data and has no address of its own."""
    addresses = [str(one.proto) for one in app.get("image")]
    assert all("data:image/jpeg" in address for address in addresses)
    return len(addresses)


def press(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click().run()
    assert not app.exception
    return app


def has_overlays(app: AppTest) -> bool:
    return "image detail over" in {one.key for one in app.segmented_control}


def links(app: AppTest) -> dict[str, str]:
    return {one.proto.label: one.proto.url for one in app.get("link_button")}


def table_of(app: AppTest) -> dict[str, str]:
    (table,) = app.table
    return {str(name): str(value).replace("\\", "") for name, value in table.value.iloc[:, 0].items()}


def test_an_image_is_shown_with_all_that_its_row_says(opened: OpenPage, collection: Path) -> None:
    app = opened(collection, "a.png")
    shown = viewer(app)
    assert shown is not None
    assert shown["layer"] is None
    said = texts(app)
    for words in (
        "Image 1 of 4 of patient **1**",
        "**Class**: COVID-19",
        "X-ray, PA, day 0",
        "**Cohort**: used",
        "**Severity**: 2.7 of 8",
        "mean of three readers",
        "lung mask was drawn by hand",
        "**Licence**: CC BY",
        "No model is installed",
        "first *image* <b>x</b>",
    ):
        assert words in said
    fields = table_of(app)
    assert (fields["Age"], fields["Sex"], fields["ward"]) == ("60 years", "male", "north")
    assert "Temperature" in next(one.value for one in app.caption if one.value.startswith("Not given"))
    assert links(app) == {
        "Source": "https://one.example/1",
        "Article": "https://doi.org/10.1000/x",
        "In the public collection": "https://github.com/ieee8023/covid-chestxray-dataset/blob/master/images/a.png",
    }
    note = next(one for one in app.text if "first" in one.value)
    assert note.value == "first *image* <b>x</b>"


def test_the_lungs_are_laid_over_the_image_on_request_and_off_again(opened: OpenPage, collection: Path) -> None:
    app = opened(collection, "a.png")
    for over, layer in (("Lungs", "Lungs"), ("Nothing", None)):
        app.segmented_control(key="image detail over").set_value(over).run()
        shown = viewer(app)
        assert shown is not None
        assert (shown["layer"] or {}).get("name") == layer
    without_mask_and_model = opened(collection, "b.png")
    assert viewer(without_mask_and_model) is not None
    assert not has_overlays(without_mask_and_model)


def test_next_and_previous_go_through_the_selection_and_earlier_and_later_through_the_patient_s_images(
    opened: OpenPage,
    collection: Path,
) -> None:
    chosen = {"finding": "COVID-19", "view": ["AP", "Axial"], "sort": "File name"}  # b.png, scan.nii.gz and slice.png
    app = opened(collection, "b.png", **chosen)
    assert app.button(key="image Previous").disabled
    for key, place in (("image Next", 2), ("image Next", 3), ("image Previous", 2)):
        assert f"Image {place} of 3 that meet the filters" in texts(press(app, key))
    app = opened(collection, "a.png", **chosen)
    assert "that meet the filters" not in texts(app)
    assert app.button(key="image Earlier").disabled
    for name in ("b.png", "scan.nii.gz", "slice.png"):
        press(app, "image Later")
        assert table_of(app)["File"] == name
    assert app.button(key="image Later").disabled
    assert "Image 3 of 4" in texts(press(app, "image Earlier"))


def test_a_thumbnail_opens_its_image_in_place(opened: OpenPage, collection: Path) -> None:
    app = opened(collection, "a.png")
    assert (app.button(key="of patient a.png").label, app.button(key="of patient b.png").label) == ("Shown", "Open")
    first = viewer(app)
    press(app, "of patient b.png")
    second = viewer(app)
    assert first is not None
    assert second is not None
    assert second["film_id"] != first["film_id"]
    assert app.session_state["film_of_collection"] == "b.png"
    assert "1 of 4 without a day" in texts(app)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ("missing.png", "The file of this image is not available."),
        ("broken.png", "The file of this image cannot be shown."),
        ("../outside.png", "is not a plain name inside the folder of images"),
        ("scan.nii.gz", "This is a volume of CT slices (NIfTI)"),
    ],
)
def test_a_picture_that_cannot_be_shown_says_why_and_all_else_is_there(
    opened: OpenPage, collection: Path, image: str, sentence: str
) -> None:
    app = opened(collection, image)
    assert viewer(app) is None
    assert sentence in texts(app)
    assert table_of(app)["File"] == image
    assert "Class" in texts(app)


def test_only_addresses_of_the_web_and_plain_names_become_links(opened: OpenPage, collection: Path) -> None:
    assert set(links(opened(collection, "b.png"))) == {"In the public collection"}
    for image in ("scan.nii.gz", "../outside.png"):
        assert "In the public collection" not in links(opened(collection, image))


def test_a_slice_of_a_ct_is_shown_but_not_read_by_the_model(
    opened: OpenPage, collection: Path, models: list[str]
) -> None:
    app = opened(collection, "slice.png", models_dir() / models[0])
    assert viewer(app) is not None
    assert not has_overlays(app)
    said = texts(app)
    assert "A slice of a CT" in said
    assert "The model reads frontal chest X-rays only." in said
    assert "Similar images are found for chest X-rays" in said


def test_a_name_that_no_row_has_is_shown_as_text_and_one_in_several_rows_is_warned_of(
    opened: OpenPage, collection: Path
) -> None:
    app = opened(collection, "**gone**<script>.png")
    assert "No row of this table names this file" in app.warning[0].value
    assert app.text[0].value == "**gone**<script>.png"
    assert viewer(app) is None
    app = opened(collection, "twice.png")
    assert app.warning[0].value.startswith("2 rows of the table name this file")
    assert "The only image of patient **5**" in texts(app)


def test_of_a_table_without_a_folder_no_picture_is_shown(opened: OpenPage, collection: Path) -> None:
    app = opened(collection, "a.png", way="uploaded")
    assert viewer(app) is None
    assert small_pictures(app) == 0
    assert "Only the table was given, without its images" in texts(app)
    assert "In the public collection" not in links(app)
    assert table_of(app)["File"] == "a.png"


def test_of_a_visitor_s_own_folder_nothing_is_written(opened: OpenPage, collection: Path, tmp_path: Path) -> None:
    app = opened(collection, "a.png", way="named")
    assert viewer(app) is not None
    assert small_pictures(app) == 3
    assert not (tmp_path / "cache").exists()


def test_heat_map_and_similar_images_are_those_of_the_served_model(
    opened: OpenPage, collection: Path, models: list[str]
) -> None:
    app = opened(collection, "a.png", models_dir() / models[0])
    assert "not among those that the model was fitted or tested on" in texts(app)
    app.segmented_control(key="image detail over").set_value("Heat map").run()
    assert not app.exception
    shown = viewer(app)
    assert shown is not None
    if shown["layer"] is None:
        assert "the gate of the model refuses this image" in texts(app)
    else:
        assert shown["layer"]["name"] == "Heat map"
        assert "Where the model looked, not where disease is." in texts(app)
    next(button for button in app.button if button.label == "Look for similar images").click().run()
    assert not app.exception
    assert "distance" in texts(app) or "nothing to compare" in texts(app)


def test_a_real_image_shows_its_own_held_out_prediction_and_similar_images_without_itself(
    opened: OpenPage, real_dataset: Path, models: list[str]
) -> None:
    model = models_dir() / models[0]
    row = pd.read_csv(model / "predictions.csv").iloc[0]
    app = opened(real_dataset, str(row["filename"]), model)
    said = texts(app)
    assert f"P(COVID-19) {row['probability_covid']:.2f}" in said
    assert f"fold {row['fold']}" in said
    assert "which was fitted on this image as well" in said
    similar = [str(button.key) for button in app.button if str(button.key).startswith("similar ")]
    assert len(similar) == 5
    assert f"similar {row['filename']}" not in similar
    press(app, similar[0])
    assert app.session_state["film_of_collection"] == similar[0].removeprefix("similar ")


def test_an_image_of_another_patient_with_the_same_name_is_not_given_its_prediction(
    opened: OpenPage, collection: Path, models: list[str]
) -> None:
    model = models_dir() / models[0]
    known = pd.read_csv(model / "predictions.csv", dtype={"patientid": "str"}).iloc[0]
    row = f"another,,F,,No Finding,PA,X-ray,images,{known['filename']},,,,,"
    (collection / "metadata.csv").write_text(f"{HEADER}\n{row}\n", encoding="utf-8")
    app = opened(collection, str(known["filename"]), model, way="uploaded")
    assert "no prediction of this image" in texts(app)
    assert not [button for button in app.button if str(button.key).startswith("similar ")]


def test_a_model_that_was_fitted_on_an_image_has_no_prediction_of_it_to_show(
    opened: OpenPage, real_dataset: Path
) -> None:
    model = models_dir() / "mobilenetv2"
    if not model.is_dir():
        pytest.skip("there is no model that was fitted on a part of the images")
    gate = np.load(model / "gate.npz")
    image = str(gate["filenames"][gate["fitted"]][0])
    said = texts(opened(real_dataset, image, model))
    assert "**Model**: no prediction of this image" in said
    assert "The model was fitted on this image" in said
