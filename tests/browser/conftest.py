"""The app, the browser and the page that these tests share; a test that needs an app of its own has a fixture of that name."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from covid_core.inference.bundle import load_bundle
from covid_core.paths import default_model, models_dir
from covid_core.report.build import asked_by_default, whole_report
from covid_core.report.document import Report
from covid_core.report.record import read_record
from tests.browser.app_server import CHROMIUM, running_app, running_browser

PATIENCE_MS = 60_000
DESKTOP = {"width": 1280, "height": 800}
NewPage = Callable[..., Page]


@pytest.fixture(scope="session")
def address(phantom_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the app as it is shipped, with a synthetic dataset."""
    folder = tmp_path_factory.mktemp("app")
    settings = {
        "COVID_DATASET_DIR": str(phantom_dataset),
        "COVID_CACHE_DIR": str(folder / "cache"),
        # The session of a closed tab ends soon, so that a test can see what is left of it.
        "STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL": "3",
        # The C library gives freed buffers of images back at once: what is found in memory is in use.
        "MALLOC_MMAP_THRESHOLD_": "65536",
    }
    with running_app(folder / "app.log", **settings) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    expect.set_options(timeout=PATIENCE_MS)
    with running_browser() as browser:
        yield browser


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Give an empty page of a new visitor; the settings are those of `Browser.new_context`. All are closed after the test."""
    with ExitStack() as visitors:

        def opened(**settings: Any) -> Page:
            visitor = visitors.enter_context(browser.new_context(**{"viewport": DESKTOP, **settings}))
            visitor.set_default_timeout(PATIENCE_MS)
            return visitor.new_page()

        yield opened


@pytest.fixture
def page(new_page: NewPage) -> Page:
    return new_page()


@pytest.fixture(scope="session")
def report() -> Report:
    """The report of the model that is shown when none is chosen."""
    return whole_report(asked_by_default(read_record(load_bundle(models_dir() / default_model()))))
