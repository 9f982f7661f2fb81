from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from covid_core.images.decode import decode
from covid_core.inference.bundle import load_bundle
from covid_core.inference.predictor import Predictor
from covid_core.labels import CLASS_TITLES
from covid_core.locations import models_dir
from tests.app.conftest import OpenPage, film_png, texts

PAGE = "pages/1_Predict.py"
IMAGE = "image/png"


@pytest.fixture
def page(models: list[str], open_page: OpenPage) -> AppTest:
    return open_page(PAGE, model=models[0])


def test_a_film_gets_the_result_that_the_model_gives_it(page: AppTest, models: list[str]) -> None:
    expected = Predictor(load_bundle(models_dir() / models[0])).predict(decode(film_png(1)))
    page.file_uploader[0].upload("film.png", film_png(1), IMAGE).run()
    assert not page.exception
    assert page.subheader[0].value == CLASS_TITLES[expected.label]
    assert f"{expected.probability_covid:.3f}" in texts(page)
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


def test_the_heat_map_can_be_turned_off(page: AppTest) -> None:
    page.file_uploader[0].upload("film.png", film_png(1), IMAGE).run()
    with_heat = len(page.get("image"))
    page.toggle(key="heat").set_value(False).run()
    assert len(page.get("image")) == with_heat - 1
    assert "not where disease is" not in texts(page)


def test_results_are_dropped_with_the_file(page: AppTest) -> None:
    page.file_uploader[0].upload("film.png", film_png(1), IMAGE).run()
    assert len(page.session_state["results"]) == 1
    page.file_uploader[0].set_value([("other.png", film_png(2), IMAGE), ("third.png", film_png(3), IMAGE)]).run()
    assert sorted(result.file for result in page.session_state["results"].values()) == ["other.png", "third.png"]
    page.file_uploader[0].set_value(None).run()
    assert "results" not in page.session_state
    assert "film_on_show" not in page.session_state


def test_results_are_dropped_on_another_page(page: AppTest) -> None:
    page.file_uploader[0].upload("film.png", film_png(1), IMAGE).run()
    page.switch_page("pages/3_Model_report.py").run()
    assert "results" not in page.session_state
    assert "film_on_show" not in page.session_state


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
