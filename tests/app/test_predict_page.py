import base64
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from covid_core.evaluation.conformal import ThreeWay
from covid_core.images.decode import decode, read_image
from covid_core.inference import batch
from covid_core.inference.bundle import load_bundle
from covid_core.inference.explanation import heat_layer
from covid_core.inference.prediction import Prediction
from covid_core.inference.predictor import Predictor
from covid_core.inference.wording import CHILD, opacities_sentence, pattern_sentence
from covid_core.labels import CLASS_TITLES
from covid_core.paths import models_dir
from covid_core.ui import result_downloads, uploads
from tests.app.conftest import OpenPage, image_png, png, texts
from tests.fake_bundle import add_fake_gate, change_manifest
from tests.real_images import chest_image, leg_image, sample

PAGE = "pages/1_Predict.py"
TITLES = {**CLASS_TITLES, "indeterminate": "Indeterminate"}


@pytest.fixture
def page(models: list[str], open_page: OpenPage) -> AppTest:
    return open_page(PAGE, model=models[0])


@pytest.fixture
def gated_page(models: list[str], page: AppTest) -> AppTest:
    if load_bundle(models_dir() / models[0]).optional_file("gate.npz") is None:
        pytest.skip("the default bundle has no gate")
    return page


def upload(app: AppTest, **contents: bytes) -> AppTest:
    """Upload files in place of all others; the name of each without its `.png`."""
    app.file_uploader[0].set_value([(f"{name}.png", content, "image/png") for name, content in contents.items()]).run()
    assert not app.exception
    return app


def predicted(bundle: Path) -> Prediction:
    """What the model says of the first image."""
    return Predictor(load_bundle(bundle)).predict(decode(image_png(1)))


def viewer(app: AppTest) -> dict[str, Any]:
    """What the viewer is given."""
    shown: dict[str, Any] = json.loads(app.get("bidi_component")[0].proto.json)
    return shown


def shows(app: AppTest, cells: Any) -> bool:
    """Whether the map lies over the image."""
    address = viewer(app)["layer"]["picture"]
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))
    return bool(np.array_equal(drawn, heat_layer(cells)))


def press(app: AppTest, label: str) -> AppTest:
    return next(one for one in app.button if one.label == label).click().run()


def alt_text(app: AppTest) -> str:
    return str(app.get("plotly_chart")[0].proto.alt)


def test_an_image_gets_the_result_that_the_model_gives_it(page: AppTest, models: list[str]) -> None:
    expected = predicted(models_dir() / models[0])
    upload(page, a=image_png(1))
    assert page.subheader[0].value == TITLES[expected.decision or expected.label]
    said = texts(page)
    assert f"{expected.probability_covid:.3f}" in said
    assert f"Model {models[0]}, version {load_bundle(models_dir() / models[0]).version}" in said
    assert "assumes that 50%" in said
    shown = viewer(page)
    assert shown["size"] == [512, 512]
    assert shown["layer"]["picture"].startswith("data:image/png")
    assert shown["alt"] == f"The image, with the model's {shown['layer']['name'].lower()} over it"


def test_many_images_are_told_apart_and_each_can_be_shown(page: AppTest) -> None:
    files = [("a.png", image_png(1)), ("b.png", image_png(2)[:4000]), ("a.png", image_png(3))]
    page.file_uploader[0].set_value([(name, content, "image/png") for name, content in files]).run()
    assert not page.exception
    table = page.dataframe[0].value
    assert (list(table["File"]), list(table["Status"])) == (["a.png", "b.png", "a.png"], ["ok", "refused", "ok"])
    assert "1 refused" in texts(page)
    assert page.selectbox(key="chosen_film").options == ["1: a.png", "2: b.png", "3: a.png"]
    page.selectbox(key="chosen_film").select_index(1).run()
    assert "damaged or cut short" in page.error[0].value
    for label, shown in (("Next", "a.png"), ("Next", "a.png"), ("Previous", "a.png"), ("Previous", "b.png")):
        assert press(page, label).text[0].value == shown


def test_the_content_decides_what_a_file_is(page: AppTest) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("one.png", image_png(1))
        packed.writestr("two.png", image_png(2))
    assert list(upload(page, packed=archive.getvalue()).dataframe[0].value["File"]) == [
        "packed.png/one.png",
        "packed.png/two.png",
    ]
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    for content, sentence in (
        (b"%PDF-1.7 and so on", "PDF files are not supported"),
        (empty.getvalue(), "holds no files"),
    ):
        assert sentence in upload(page, file=content).error[0].value


def test_the_name_of_a_file_is_never_read_as_markdown(page: AppTest) -> None:
    upload(page, **{"**bold** ![x](http://example.org/x.png)": image_png(1)})
    assert page.text[0].value == "**bold** ![x](http://example.org/x.png).png"
    spoken = [one.value for kind in ("markdown", "caption", "subheader", "error") for one in page.get(kind)]
    assert not any("bold" in text for text in spoken)


def test_a_chest_reader_shows_the_opacities_first_and_the_heat_map_on_request(
    chest_bundle: Path, open_page: OpenPage
) -> None:
    expected = predicted(chest_bundle)
    assert expected.opacities is not None
    app = upload(open_page(PAGE), a=image_png(1))
    overlay = app.segmented_control(key="overlay")
    assert (overlay.options, overlay.value) == (["Opacities", "Heat map"], "Opacities")
    assert viewer(app)["layer"]["name"] == "Opacities"
    assert shows(app, expected.opacities)
    assert not shows(app, expected.heat)
    said = [one.value.replace("\\", "") for one in app.markdown]
    assert {pattern_sentence(expected), opacities_sentence(expected, load_bundle(chest_bundle))} <= set(said)
    assert "where radiologists would mark an opacity" in texts(app)
    assert "child" not in texts(app)
    app.segmented_control(key="overlay").set_value("Heat map").run()
    assert viewer(app)["layer"]["name"] == "Heat map"
    assert shows(app, expected.heat)
    assert "of the heat lies in the lungs" in texts(app)


def test_a_classifier_without_maps_shows_its_heat_and_says_nothing_of_opacities_or_patterns(
    classifier_bundle: Path, open_page: OpenPage
) -> None:
    app = upload(open_page(PAGE), a=image_png(1))
    assert not app.segmented_control
    assert viewer(app)["layer"]["name"] == "Heat map"
    assert shows(app, predicted(classifier_bundle).heat)
    assert "not where disease is" in texts(app)
    for words in ("Leans to", "pacit", "of the heat lies in the lungs"):
        assert words not in texts(app)


def test_a_childs_radiograph_is_warned_of_above_the_result(chest_bundle: Path, open_page: OpenPage) -> None:
    add_fake_gate(chest_bundle, child_limit=0.5)  # every radiograph is a child's with a probability of 0.5
    app = upload(open_page(PAGE), a=image_png(1), b=image_png(2))
    assert app.warning[0].value.replace("\\", "") == CHILD
    assert list(app.dataframe[0].value["Status"]) == ["doubtful", "doubtful"]
    assert list(app.dataframe[0].value["Reason"]) == [CHILD, CHILD]


def test_what_is_no_chest_image_is_refused_and_can_be_predicted_anyway(gated_page: AppTest) -> None:
    page = upload(gated_page, leg=png(leg_image()))
    assert "is unlike the frontal chest" in page.error[0].value
    assert "What to do" in texts(page)
    assert not page.subheader
    assert viewer(page)["layer"] is None
    press(page, "Predict anyway")
    assert not page.error
    assert page.subheader[0].value in TITLES.values()
    assert "Predicted anyway" in page.warning[0].value
    press(page, "As uploaded")
    assert "is unlike the frontal chest" in page.error[0].value


@pytest.mark.parametrize(
    ("spoil", "reason", "offered"),
    [
        (np.rot90, "lies on its side", "Turn right"),
        (lambda image: np.rot90(image, -1), "lies on its side", "Turn left"),
        (lambda image: np.rot90(image, 2), "stands upside down", "Turn around"),
        (lambda image: 255 - image, "is a negative", "Invert"),
    ],
)
def test_an_image_that_lies_wrong_is_put_right_with_one_click(
    gated_page: AppTest, spoil: Callable[[Any], Any], reason: str, offered: str
) -> None:
    upright = upload(gated_page, upright=image_png(1)).subheader[0].value
    assert texts(gated_page).count("distance ") >= 5, "similar images are named"
    page = upload(gated_page, spoilt=png(np.ascontiguousarray(spoil(chest_image(1)))))
    assert reason in page.error[0].value
    press(page, offered)
    assert not page.error
    assert page.subheader[0].value == upright
    assert "Before it was read, the image was" in texts(page)


def test_a_dicom_image_is_decoded_once_and_offered_as_dicom_without_the_name_of_the_patient(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []

    def counting(data: bytes) -> Any:
        decoded.append(len(data))
        return read_image(data)

    def drawn(*_arguments: Any) -> Any:
        raise AssertionError("an overlay was drawn before its download")

    monkeypatch.setattr(batch, "read_image", counting)
    monkeypatch.setattr(result_downloads, "overlay", drawn)
    page.file_uploader[0].upload("rg1.dcm", sample("RG1_J2KI").read_bytes(), "application/dicom").run()
    usual = ["Report as PDF", "Result as CSV", "Result as JSON"]
    offered = [one.proto.label for one in page.get("download_button")]
    assert offered == [*usual, "Overlay as DICOM", "Reading as DICOM report"]
    assert "CompressedSamples" not in texts(page)  # the patient's name
    page.select_slider(key="prevalence").set_value(0.01).run()
    assert not page.exception
    assert viewer(page)["size"] == [964, 1024]
    assert len(decoded) == 1
    upload(page, a=image_png(1))
    assert [one.proto.label for one in page.get("download_button")] == usual


def test_the_prevalence_changes_what_the_answer_means(page: AppTest) -> None:
    before = upload(page, a=image_png(1)).metric[0].value
    page.select_slider(key="prevalence").set_value(0.01).run()
    assert page.metric[0].value != before
    assert "Of 1000 people like this, 10 have COVID-19." in texts(page)


def test_results_are_dropped_with_the_file_and_on_another_page(models: list[str], open_page: OpenPage) -> None:
    page = upload(open_page(PAGE, front_door=True, model=models[0]), a=image_png(1))
    assert len(page.session_state["results"]) == 1
    upload(page, b=image_png(2), c=image_png(3))
    assert sorted(result.file for result in page.session_state["results"].values()) == ["b.png", "c.png"]
    upload(page)
    assert "results" not in page.session_state
    upload(page, a=image_png(1)).switch_page("pages/3_Model_report.py").run()
    assert "results" not in page.session_state


def test_a_session_reads_so_many_images_and_keeps_so_many_pictures(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_IMAGES", 2)
    monkeypatch.setattr(uploads, "MAX_KEPT_BYTES", 2 * 512 * 512)  # the second picture and its model input are beyond
    upload(page, a=image_png(1), b=image_png(2), c=image_png(3))
    assert list(page.dataframe[0].value["File"]) == ["a.png", "b.png"]
    assert list(page.dataframe[0].value["Status"]) == ["ok", "ok"]
    assert "first 2 of 3 images" in texts(page)
    assert "1 of the images have a result and no picture" in texts(page)
    assert page.get("bidi_component")
    page.selectbox(key="chosen_film").select_index(1).run()
    assert not page.exception
    assert not page.get("bidi_component")
    assert page.subheader[0].value


def test_another_model_predicts_the_image_again(models: list[str], page: AppTest) -> None:
    if len(models) == 1:
        pytest.skip("there is one model bundle only")
    upload(page, a=image_png(1)).selectbox(key="model").select(models[1]).run()
    assert f"{predicted(models_dir() / models[1]).probability_covid:.3f}" in texts(page)


def test_a_changed_bundle_is_loaded_again_and_an_altered_one_is_refused(own_bundle: Path, open_page: OpenPage) -> None:
    app = open_page(PAGE)
    change_manifest(own_bundle, lambda manifest: manifest.update(version="new"))
    assert "Version new" in texts(app.run())
    (own_bundle / "model.tflite").write_bytes(b"altered")
    change_manifest(own_bundle, lambda manifest: manifest.update(version="newer"))
    app = open_page(PAGE)
    assert not app.exception
    assert "was altered after the export" in app.error[0].value.replace("\\", "")
    assert not app.file_uploader


def with_three_way(bundle: Path, lower: float, upper: float) -> None:
    three_way = ThreeWay(lower, upper, coverage=0.9, n_covid=20, n_non_covid=20, fitted_on="by hand")
    change_manifest(bundle, lambda manifest: manifest.update(three_way=three_way.to_json()))


def test_indeterminate_images_are_called_so_with_what_that_means(own_bundle: Path, open_page: OpenPage) -> None:
    with_three_way(own_bundle, 0.004, 0.996)
    app = upload(open_page(PAGE), a=image_png(1), b=image_png(2))
    assert list(app.dataframe[0].value["Class"]) == ["Indeterminate", "Indeterminate"]
    said = texts(app)
    assert "2 images: 0 called COVID-19, 0 called not COVID-19, 2 indeterminate, 0 refused." in said
    assert app.subheader[0].value == "Indeterminate"
    assert "can rule out neither class: between 0.00 and 1.00 both classes are kept, at 90% coverage." in said
    above = predicted(own_bundle).probability_covid >= load_bundle(own_bundle).threshold
    assert f"leans {'to' if above else 'away from'} COVID-19." in said
    assert "Confidence" not in said
    assert alt_text(app).endswith("indeterminate from 0.00 to 1.00")


@pytest.mark.parametrize("answers", [2, 3])
def test_a_decided_image_is_called_with_confidence(own_bundle: Path, open_page: OpenPage, answers: int) -> None:
    if answers == 3:
        threshold = load_bundle(own_bundle).threshold
        with_three_way(own_bundle, threshold, threshold)
    else:
        change_manifest(own_bundle, lambda manifest: manifest.pop("three_way", None))
    expected = predicted(own_bundle)
    app = upload(open_page(PAGE), a=image_png(1))
    assert app.subheader[0].value == CLASS_TITLES[expected.label]
    assert f"Confidence **{expected.confidence:.0%}**" in texts(app)
    assert "rule out" not in texts(app)
    if answers == 2:
        assert "ndeterminate" not in texts(app) + alt_text(app)
