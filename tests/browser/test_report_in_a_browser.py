"""A reviewer's way through the Model report, in Chromium: chapters, settings, a case, and what is taken away."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="browser tests need requirements-dev.txt")

from playwright.sync_api import Browser, Page, expect

from covid_core.locations import default_model, models_dir
from covid_core.model_report.whole import CHAPTERS
from tests.browser.app_server import CHROMIUM

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]
PATIENCE_MS = 30_000


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page.set_default_timeout(PATIENCE_MS)
    yield page
    page.close()


def taken(page: Page, label: str) -> bytes:
    """The content of what a download button gives."""
    with page.expect_download() as download:
        page.get_by_role("button", name=label).first.click()
    return Path(download.value.path()).read_bytes()


def href(page: Page) -> str:
    """The address as the page knows it; Playwright's own lags behind changes that scripts make."""
    return str(page.evaluate("location.href"))


def test_a_reviewer_walks_through_the_chapters_and_every_chart_is_drawn(page: Page, address: str) -> None:
    page.goto(f"{address}/Model_report")
    for title in CHAPTERS.values():
        page.get_by_role("radio", name=title).click()
        expect(page.get_by_role("radio", name=title)).to_be_checked()
        page.get_by_role("button", name="Take away").or_(page.get_by_text("Take away")).first.wait_for()
        page.wait_for_load_state("networkidle")
        expect(page.locator("[data-testid=stException]")).to_have_count(0)
        expect(page.locator("[data-testid=stStatusWidget]")).to_have_count(0)
        page.wait_for_function(
            "() => [...document.querySelectorAll('[data-testid=stPlotlyChart]')].every(one => one.querySelector('.main-svg'))"
        )
    assert "chapter=" in href(page)


def test_the_threshold_is_set_with_the_keys_and_kept_in_the_address(page: Page, address: str) -> None:
    page.goto(f"{address}/Model_report")
    page.get_by_role("heading", name="Confusion matrix").wait_for()
    page.get_by_role("slider").first.focus()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    page.get_by_text("The model itself calls from").wait_for()
    page.wait_for_function("location.search.includes('threshold=')")
    kept = href(page)
    page.get_by_text("Take away").click()
    archive = zipfile.ZipFile(io.BytesIO(taken(page, "All tables as CSV")))
    row = archive.read("figures-at-threshold.csv").decode().splitlines()[1]
    cells = page.locator("[data-testid=stTable]").filter(has_text="Sensitivity").first.locator("td").all_inner_texts()
    assert row.split(",")[1] == cells[0], "what is taken away is what the page shows"
    said = page.get_by_text("At a threshold of").inner_text()
    page.goto("about:blank")
    page.goto(kept)
    expect(page.get_by_text("At a threshold of")).to_have_text(said)


def test_the_report_is_downloaded_as_html_and_tables(page: Page, address: str) -> None:
    page.goto(f"{address}/Model_report")
    page.get_by_text("Take away").click()
    html = taken(page, "Report as HTML").decode()
    assert html.lower().startswith("<!doctype html")
    for title in CHAPTERS.values():
        assert title.replace("?", "") in html
    assert default_model() in html
    archive = zipfile.ZipFile(io.BytesIO(taken(page, "All tables as CSV")))
    assert "figures-at-threshold.csv" in archive.namelist()
    evaluation = json.loads((models_dir() / default_model() / "evaluation.json").read_text(encoding="utf-8"))
    sensitivity = evaluation["metrics"]["sensitivity"]["value"]
    assert f"Sensitivity,{sensitivity:.2f}," in archive.read("figures-at-threshold.csv").decode()


def test_a_chart_is_saved_as_a_picture(page: Page, address: str) -> None:
    page.goto(f"{address}/Model_report?chapter=Calibration")
    chart = page.locator("[data-testid=stPlotlyChart]").first
    chart.locator(".main-svg").first.wait_for()
    chart.hover()
    with page.expect_download() as download:
        chart.locator(".modebar-btn").first.click()
    assert download.value.suggested_filename == "reliability.png"
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


def test_on_a_phone_nothing_runs_over_the_edge(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 400, "height": 800})
    page.set_default_timeout(PATIENCE_MS)
    for title in ("Operating point", "How it was trained", "For whom?"):
        page.goto(f"{address}/Model_report")
        page.get_by_role("radio", name=title).click()
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(1500)
        room = page.evaluate(
            "() => { const main = document.querySelector('[data-testid=stMain]'); return main.scrollWidth - main.clientWidth; }"
        )
        assert room <= 0
    page.close()
