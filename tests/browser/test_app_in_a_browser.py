"""A clinician's way through the app, in Chromium: a film is uploaded and its result read."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright", reason="browser tests need requirements-dev.txt")

from playwright.sync_api import Browser, Page, expect

from covid_core.images.decode import decode_file
from covid_core.inference.bundle import load_bundle
from covid_core.inference.predictor import Predictor
from covid_core.inference.results import headline
from covid_core.locations import default_model, models_dir
from tests.browser.app_server import CHROMIUM, running_app, running_browser
from tests.phantom import phantom_film

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]
PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_app(tmp_path_factory.mktemp("app") / "app.log") as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(PATIENCE_MS)
    yield page
    page.close()


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.png"
    Image.fromarray(phantom_film(np.random.default_rng(3), "covid", 512)).save(path)
    return path


def test_an_uploaded_film_is_answered_with_what_the_model_says_of_it(address: str, page: Page, film: Path) -> None:
    prediction = Predictor(load_bundle(models_dir() / default_model())).predict(decode_file(film))
    page.goto(f"{address}/Predict")
    page.locator("input[type=file]").set_input_files(film)
    expect(page.get_by_role("heading", name=headline(prediction), exact=True)).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text(f"{prediction.probability_covid:.3f}").first).to_be_visible()
    expect(page.get_by_alt_text(re.compile("heat map"))).to_be_visible(timeout=PATIENCE_MS)


def test_a_broken_film_is_refused_in_place_and_the_others_are_read(
    address: str, page: Page, film: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(film.read_bytes()[:2000])
    page.goto(f"{address}/Predict")
    page.locator("input[type=file]").set_input_files([broken, film])
    expect(page.get_by_text("damaged or cut short").first).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text(re.compile("1 refused")).first).to_be_visible()
    expect(page.get_by_text(re.compile("1 (called COVID-19|called not COVID-19|indeterminate)")).first).to_be_visible()


@pytest.mark.parametrize("path", ["", "Predict", "Dataset", "Model_report"])
def test_every_page_opens_by_its_own_address_and_says_that_it_is_for_research_only(
    address: str, page: Page, path: str
) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{address}/{path}")
    expect(page.get_by_text("Not a medical device").first).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    assert not problems
