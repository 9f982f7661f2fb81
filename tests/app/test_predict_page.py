import base64
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from streamlit.testing.v1 import AppTest

from covid_core.evaluation.conformal import ThreeWay
from covid_core.images.decode import decode, read_film
from covid_core.inference import batch
from covid_core.inference.bundle import load_bundle
from covid_core.inference.explanation import heat_layer
from covid_core.inference.predictor import Predictor
from covid_core.inference.wording import CHILD, opacities_sentence, pattern_sentence
from covid_core.labels import CLASS_TITLES
from covid_core.paths import models_dir
from covid_core.ui import result_downloads, uploads
from tests.app.conftest import OpenPage, film_png, png, texts
from tests.fake_bundle import add_fake_gate, change_manifest
from tests.real_films import chest_film, leg_film, sample

PAGE = "pages/1_Predict.py"
IMAGE = "image/png"


@pytest.fixture
def page(models: list[str], open_page: OpenPage) -> AppTest:
    return open_page(PAGE, model=models[0])


def test_a_film_gets_the_result_that_the_model_gives_it(page: AppTest, models: list[str]) -> None:
    expected = Predictor(load_bundle(models_dir() / models[0])).predict(decode(film_png(1)))
    page.file_uploader[0].upload("film.png", film_png(1), IMAGE).run()
    assert not page.exception
    titles = {**CLASS_TITLES, "indeterminate": "Indeterminate"}
    assert page.subheader[0].value == titles[expected.decision or expected.label]
    assert f"{expected.probability_covid:.3f}" in texts(page)
    if expected.opacities is not None:
        assert "where radiologists would mark an opacity" in texts(page)
        page.segmented_control(key="overlay").set_value("Heat map").run()
    assert "not where disease is" in texts(page)
    assert "assumes that 50%" in texts(page)


def test_the_model_and_its_version_stand_beside_the_result(page: AppTest, models: list[str]) -> None:
    page.file_uploader[0].upload("film.png", film_png(1), IMAGE).run()
    assert f"Model {models[0]}, version {load_bundle(models_dir() / models[0]).version}" in texts(page)


def test_a_broken_file_among_good_ones_is_refused_alone(page: AppTest) -> None:
    files = [("a.png", film_png(1), IMAGE), ("b.png", film_png(2)[:4000], IMAGE), ("c.png", film_png(3), IMAGE)]
    page.file_uploader[0].set_value(files).run()
    assert not page.exception
    assert list(page.dataframe[0].value["Status"]) == ["ok", "refused", "ok"]
    assert "1 refused" in texts(page)
    page.selectbox(key="chosen_film").select_index(1).run()
    assert "damaged or cut short" in page.error[0].value
    assert page.text[0].value == "b.png"


def test_the_content_decides_what_a_file_is(page: AppTest) -> None:
    page.file_uploader[0].upload("film.png", b"%PDF-1.7 and so on", IMAGE).run()
    assert "PDF files are not supported" in page.error[0].value


def test_a_chosen_film_is_shown(page: AppTest) -> None:
    page.file_uploader[0].set_value([("a.png", film_png(1), IMAGE), ("b.png", film_png(2), IMAGE)]).run()
    assert page.text[0].value == "a.png"
    page.selectbox(key="chosen_film").select_index(1).run()
    assert page.text[0].value == "b.png"


def test_films_of_the_same_name_are_kept_apart(page: AppTest) -> None:
    page.file_uploader[0].set_value([("a.png", film_png(1), IMAGE), ("a.png", film_png(2), IMAGE)]).run()
    assert list(page.dataframe[0].value["File"]) == ["a.png", "a.png"]
    assert page.selectbox(key="chosen_film").options == ["1: a.png", "2: a.png"]


def test_the_name_of_a_file_is_never_read_as_markdown(page: AppTest) -> None:
    name = "**bold** ![x](http://example.org/x.png).png"
    page.file_uploader[0].upload(name, film_png(1), IMAGE).run()
    assert page.text[0].value == name
    spoken = [one.value for kind in ("markdown", "caption", "subheader", "error") for one in page.get(kind)]
    assert not any("bold" in text for text in spoken)


def viewer(app: AppTest) -> dict[str, Any]:
    """What the viewer is given."""
    shown: dict[str, Any] = json.loads(app.get("bidi_component")[0].proto.json)
    return shown


def test_what_the_model_saw_lies_over_the_radiograph(page: AppTest) -> None:
    page.file_uploader[0].upload("film.png", film_png(1), IMAGE).run()
    shown = viewer(page)
    assert shown["size"] == [512, 512]
    assert shown["layer"]["picture"].startswith("data:image/png")
    assert shown["alt"] == f"The film, with the model's {shown['layer']['name'].lower()} over it"


def layer_of(cells: NDArray[np.float32]) -> bytes:
    """The pixels of the picture that shows cells over a radiograph."""
    return heat_layer(cells).tobytes()


def picture_over(app: AppTest) -> bytes:
    address = viewer(app)["layer"]["picture"]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))).tobytes()


def test_a_chest_reader_shows_the_opacities_first_and_the_heat_map_on_request(
    chest_bundle: Path, open_page: OpenPage
) -> None:
    expected = Predictor(load_bundle(chest_bundle)).predict(decode(film_png(1)))
    assert expected.opacities is not None
    app = open_page(PAGE)
    app.file_uploader[0].upload("film.png", film_png(1), IMAGE).run()
    assert not app.exception
    overlay = app.segmented_control(key="overlay")
    assert (overlay.options, overlay.value) == (["Opacities", "Heat map"], "Opacities")
    assert viewer(app)["layer"]["name"] == "Opacities"
    assert picture_over(app) == layer_of(expected.opacities)
    app.segmented_control(key="overlay").set_value("Heat map").run()
    assert viewer(app)["layer"]["name"] == "Heat map"
    assert "heat map" in viewer(app)["alt"]
    assert picture_over(app) == layer_of(expected.heat)
    assert layer_of(expected.heat) != layer_of(expected.opacities)


def test_a_chest_reader_says_what_the_radiograph_leans_to_and_how_much_of_the_lungs_is_affected(
    chest_bundle: Path, open_page: OpenPage
) -> None:
    bundle = load_bundle(chest_bundle)
    expected = Predictor(bundle).predict(decode(film_png(1)))
    app = open_page(PAGE)
    app.file_uploader[0].upload("film.png", film_png(1), IMAGE).run()
    said = [one.value.replace("\\", "") for one in app.markdown]
    assert pattern_sentence(expected) in said
    assert opacities_sentence(expected, bundle) in said
    assert "of the heat lies in the lungs" not in texts(app)
    app.segmented_control(key="overlay").set_value("Heat map").run()
    assert "of the heat lies in the lungs" in texts(app)
    assert "child" not in texts(app)


def test_a_classifier_without_maps_shows_its_heat_and_says_nothing_of_opacities_or_patterns(
    classifier_bundle: Path, open_page: OpenPage
) -> None:
    expected = Predictor(load_bundle(classifier_bundle)).predict(decode(film_png(1)))
    app = open_page(PAGE)
    app.file_uploader[0].upload("film.png", film_png(1), IMAGE).run()
    assert not app.exception
    assert not app.segmented_control
    assert viewer(app)["layer"]["name"] == "Heat map"
    assert picture_over(app) == layer_of(expected.heat)
    for words in ("Leans to", "pacit", "of the heat lies in the lungs"):
        assert words not in texts(app)


def test_a_childs_radiograph_is_warned_of_above_the_result(chest_bundle: Path, open_page: OpenPage) -> None:
    add_fake_gate(chest_bundle, child_limit=0.5)  # every radiograph is a child's with a probability of 0.5
    app = open_page(PAGE)
    app.file_uploader[0].set_value([("a.png", film_png(1), IMAGE), ("b.png", film_png(2), IMAGE)]).run()
    assert not app.exception
    assert app.warning[0].value.replace("\\", "") == CHILD
    assert list(app.dataframe[0].value["Status"]) == ["doubtful", "doubtful"]
    assert list(app.dataframe[0].value["Reason"]) == [CHILD, CHILD]


def gated(models: list[str]) -> None:
    if load_bundle(models_dir() / models[0]).optional_file("gate.npz") is None:
        pytest.skip("the default bundle has no gate")


def test_what_is_no_chest_film_is_refused_and_can_be_predicted_anyway(page: AppTest, models: list[str]) -> None:
    gated(models)
    page.file_uploader[0].upload("leg.png", png(leg_film()), IMAGE).run()
    assert "is unlike the frontal chest" in page.error[0].value
    assert "What to do" in texts(page)
    assert not page.subheader
    assert viewer(page)["layer"] is None
    button(page, "Predict anyway").click().run()
    assert not page.error
    assert page.subheader[0].value in {*CLASS_TITLES.values(), "Indeterminate"}
    assert "Predicted anyway" in page.warning[0].value
    button(page, "As uploaded").click().run()
    assert "is unlike the frontal chest" in page.error[0].value


@pytest.mark.parametrize(
    ("spoil", "said", "offered"),
    [
        (np.rot90, "lies on its side", "Turn right"),
        (lambda film: np.rot90(film, -1), "lies on its side", "Turn left"),
        (lambda film: np.rot90(film, 2), "stands upside down", "Turn around"),
        (lambda film: 255 - film, "is a negative", "Invert"),
    ],
)
def test_a_film_that_lies_wrong_is_put_right_with_one_click(
    page: AppTest, models: list[str], spoil: Callable[[Any], Any], said: str, offered: str
) -> None:
    gated(models)
    page.file_uploader[0].upload("upright.png", film_png(1), IMAGE).run()
    upright = page.subheader[0].value
    page.file_uploader[0].set_value([("film.png", png(np.ascontiguousarray(spoil(chest_film(1)))), IMAGE)]).run()
    assert said in page.error[0].value
    button(page, offered).click().run()
    assert not page.error
    assert page.subheader[0].value == upright
    assert "Before it was read, the film was" in texts(page)


def button(app: AppTest, label: str) -> Any:
    return next(one for one in app.button if one.label == label)


def test_the_films_of_a_zip_file_are_read_like_others(page: AppTest) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one.png", film_png(1))
        archive.writestr("two.png", film_png(2))
    page.file_uploader[0].upload("films.zip", packed.getvalue(), "application/zip").run()
    assert list(page.dataframe[0].value["File"]) == ["films.zip/one.png", "films.zip/two.png"]
    assert list(page.dataframe[0].value["Status"]) == ["ok", "ok"]


def test_an_archive_without_films_says_so(page: AppTest) -> None:
    packed = io.BytesIO()
    zipfile.ZipFile(packed, "w").close()
    page.file_uploader[0].upload("empty.zip", packed.getvalue(), "application/zip").run()
    assert not page.exception
    assert "holds no files" in page.error[0].value


def test_a_dicom_film_can_be_taken_away_as_dicom_and_another_cannot(page: AppTest) -> None:
    page.file_uploader[0].upload("rg1.dcm", sample("RG1_J2KI").read_bytes(), "application/dicom").run()
    offered = [one.proto.label for one in page.get("download_button")]
    usual = ["Report as PDF", "Result as CSV", "Result as JSON"]
    assert offered == [*usual, "Overlay as DICOM", "Reading as DICOM report"]
    assert "CompressedSamples" not in texts(page)  # the patient's name
    page.file_uploader[0].set_value([("film.png", film_png(1), IMAGE)]).run()
    assert [one.proto.label for one in page.get("download_button")] == usual


def test_an_upload_is_decoded_once_and_nothing_is_drawn_that_is_not_asked_for(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []

    def counted(data: bytes) -> Any:
        decoded.append(len(data))
        return read_film(data)

    def drawn(*_arguments: Any) -> Any:
        raise AssertionError("an overlay was drawn")

    monkeypatch.setattr(batch, "read_film", counted)
    monkeypatch.setattr(result_downloads, "overlay", drawn)
    page.file_uploader[0].upload("rg1.dcm", sample("RG1_J2KI").read_bytes(), "application/dicom").run()
    page.select_slider(key="prevalence").set_value(0.01).run()
    assert not page.exception
    assert viewer(page)["size"] == [964, 1024]
    assert len(decoded) == 1


def test_the_prevalence_changes_what_the_answer_means(page: AppTest) -> None:
    page.file_uploader[0].upload("film.png", film_png(1), IMAGE).run()
    before = page.metric[0].value
    page.select_slider(key="prevalence").set_value(0.01).run()
    assert page.metric[0].value != before
    assert "Of 1000 people like this, 10 have COVID-19." in texts(page)


def test_the_next_and_the_former_film_are_one_key_away(page: AppTest) -> None:
    page.file_uploader[0].set_value([("a.png", film_png(1), IMAGE), ("b.png", film_png(2), IMAGE)]).run()
    button(page, "Next").click().run()
    assert page.text[0].value == "b.png"
    button(page, "Next").click().run()
    assert page.text[0].value == "a.png"
    button(page, "Previous").click().run()
    assert page.text[0].value == "b.png"


def test_similar_films_are_named_with_what_the_installed_table_says(page: AppTest, models: list[str]) -> None:
    gated(models)
    page.file_uploader[0].upload("film.png", film_png(1), IMAGE).run()
    assert texts(page).count("distance ") >= 5


def test_results_are_dropped_with_the_file(page: AppTest) -> None:
    page.file_uploader[0].upload("film.png", film_png(1), IMAGE).run()
    assert len(page.session_state["results"]) == 1
    page.file_uploader[0].set_value([("other.png", film_png(2), IMAGE), ("third.png", film_png(3), IMAGE)]).run()
    assert sorted(result.file for result in page.session_state["results"].values()) == ["other.png", "third.png"]
    page.file_uploader[0].set_value(None).run()
    assert "results" not in page.session_state


def test_a_session_reads_so_many_images_and_says_how_many(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_IMAGES", 2)
    page.file_uploader[0].set_value([(f"{seed}.png", film_png(seed), IMAGE) for seed in (1, 2, 3)]).run()
    assert not page.exception
    assert list(page.dataframe[0].value["File"]) == ["1.png", "2.png"]
    assert "first 2 of 3 images" in texts(page)


def test_a_session_keeps_so_many_pictures_and_all_results(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_KEPT_BYTES", 2 * 512 * 512)  # the second picture and its model input are beyond
    page.file_uploader[0].set_value([("a.png", film_png(1), IMAGE), ("b.png", film_png(2), IMAGE)]).run()
    assert list(page.dataframe[0].value["Status"]) == ["ok", "ok"]
    assert "1 of the images have a result and no picture" in texts(page)
    assert page.get("bidi_component")
    page.selectbox(key="chosen_film").select_index(1).run()
    assert not page.exception
    assert not page.get("bidi_component")
    assert page.subheader[0].value


def test_results_are_dropped_on_another_page(models: list[str], open_page: OpenPage) -> None:
    page = open_page(PAGE, front_door=True, model=models[0])
    page.file_uploader[0].upload("film.png", film_png(1), IMAGE).run()
    page.switch_page("pages/3_Model_report.py").run()
    assert "results" not in page.session_state


def test_a_film_is_predicted_anew_by_another_model(models: list[str], page: AppTest) -> None:
    if len(models) == 1:
        pytest.skip("there is one model bundle only")
    page.file_uploader[0].upload("film.png", film_png(1), IMAGE).run()
    page.selectbox(key="model").select(models[1]).run()
    expected = Predictor(load_bundle(models_dir() / models[1])).predict(decode(film_png(1)))
    assert f"{expected.probability_covid:.3f}" in texts(page)


def test_an_altered_bundle_is_refused_in_a_sentence(own_bundle: Path, open_page: OpenPage) -> None:
    (own_bundle / "model.tflite").write_bytes(b"altered")
    app = open_page(PAGE)
    assert not app.exception
    assert "was altered after the export" in app.error[0].value.replace("\\", "")
    assert not app.file_uploader


def test_a_changed_bundle_is_loaded_anew(own_bundle: Path, open_page: OpenPage) -> None:
    app = open_page(PAGE)
    manifest = own_bundle / "bundle.json"
    manifest.write_text(
        manifest.read_text(encoding="utf-8").replace('"version": "', '"version": "new-'), encoding="utf-8"
    )
    assert "Version new-" in texts(app.run())


def with_three_way(bundle: Path, lower: float, upper: float) -> None:
    three_way = ThreeWay(lower, upper, coverage=0.9, n_covid=20, n_non_covid=20, fitted_on="by hand")
    change_manifest(bundle, lambda manifest: manifest.update(three_way=three_way.to_json()))


def alt_text(app: AppTest) -> str:
    return app.get("plotly_chart")[0].proto.alt


def test_an_indeterminate_film_is_called_so_with_what_that_means(own_bundle: Path, open_page: OpenPage) -> None:
    with_three_way(own_bundle, 0.004, 0.996)
    app = open_page(PAGE)
    app.file_uploader[0].upload("film.png", film_png(1), IMAGE).run()
    assert not app.exception
    assert app.subheader[0].value == "Indeterminate"
    assert "can rule out neither class: between 0.00 and 1.00 both classes are kept, at 90% coverage." in texts(app)
    probability = Predictor(load_bundle(own_bundle)).predict(decode(film_png(1))).probability_covid
    leaning = "to" if probability >= load_bundle(own_bundle).threshold else "away from"
    assert f"leans {leaning} COVID-19." in texts(app)
    assert "Confidence" not in texts(app)
    assert alt_text(app).endswith("indeterminate from 0.00 to 1.00")


def test_a_decided_film_of_a_model_with_three_answers_reads_as_before(own_bundle: Path, open_page: OpenPage) -> None:
    threshold = load_bundle(own_bundle).threshold
    with_three_way(own_bundle, threshold, threshold)
    expected = Predictor(load_bundle(own_bundle)).predict(decode(film_png(1)))
    app = open_page(PAGE)
    app.file_uploader[0].upload("film.png", film_png(1), IMAGE).run()
    assert app.subheader[0].value == CLASS_TITLES[expected.label]
    assert f"Confidence **{expected.confidence:.0%}**" in texts(app)
    assert "rule out" not in texts(app)


def test_indeterminate_films_are_counted_by_themselves(own_bundle: Path, open_page: OpenPage) -> None:
    with_three_way(own_bundle, 0.0, 1.0)
    app = open_page(PAGE)
    app.file_uploader[0].set_value([("a.png", film_png(1), IMAGE), ("b.png", film_png(2), IMAGE)]).run()
    assert list(app.dataframe[0].value["Class"]) == ["Indeterminate", "Indeterminate"]
    assert "2 films: 0 called COVID-19, 0 called not COVID-19, 2 indeterminate, 0 refused." in texts(app)


def test_a_model_with_two_answers_shows_nothing_of_a_third(own_bundle: Path, open_page: OpenPage) -> None:
    change_manifest(own_bundle, lambda manifest: manifest.pop("three_way", None))
    app = open_page(PAGE)
    app.file_uploader[0].upload("film.png", film_png(1), IMAGE).run()
    assert "ndeterminate" not in texts(app) + alt_text(app)
