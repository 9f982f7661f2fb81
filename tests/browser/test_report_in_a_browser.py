"""A reviewer's way through the Model report, in Chromium: chapters, settings, a case, and what is taken away."""

import io
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from covid_core.paths import default_model
from covid_core.report.build import CHAPTERS
from covid_core.report.document import Chapter, Report
from tests.browser.conftest import NewPage
from tests.browser.pages import download, location, wait_until, wait_until_idle

pytestmark = pytest.mark.browser
DRAWN = (
    "() => [...document.querySelectorAll('[data-testid=stPlotlyChart]')].every(one => one.querySelector('.main-svg'))"
)
TOO_WIDE = "main => main.scrollWidth - main.clientWidth"


def open_chapter(page: Page, chapter: Chapter) -> None:
    """Choose a chapter, and wait until its charts are drawn."""
    choice = page.get_by_role("radio", name=chapter.title)
    choice.click()
    expect(choice).to_be_checked()
    for chart in chapter.charts():
        expect(page.get_by_role("heading", name=chart.title, exact=True)).to_be_visible()
    wait_until_idle(page)
    page.wait_for_function(DRAWN)


@pytest.mark.smoke
def test_a_reviewer_walks_through_the_chapters_and_every_chart_is_drawn(
    page: Page, address: str, report: Report
) -> None:
    page.goto(f"{address}/Model_report")
    for chapter in report.chapters:
        open_chapter(page, chapter)
        expect(page.get_by_test_id("stException")).to_have_count(0)
    assert "chapter=" in location(page)


def test_the_threshold_is_set_with_the_keys_and_kept_in_the_address(page: Page, address: str) -> None:
    page.goto(f"{address}/Model_report")
    page.get_by_role("heading", name="Confusion matrix").wait_for()
    page.get_by_role("slider").first.focus()
    page.keyboard.press("ArrowLeft")
    page.get_by_text("The model itself calls from").wait_for()
    page.wait_for_function("location.search.includes('threshold=')")
    wait_until_idle(page)
    kept = location(page)
    page.get_by_text("Download", exact=True).click()
    archive = zipfile.ZipFile(io.BytesIO(download(page, "All tables as CSV")))
    row = archive.read("figures-at-threshold.csv").decode().splitlines()[1]
    cells = page.locator("[data-testid=stTable]").filter(has_text="Sensitivity").first.locator("td").all_inner_texts()
    assert row.split(",")[1] == cells[0], "what is taken away is what the page shows"
    said = page.get_by_text("At a threshold of").inner_text()
    page.goto("about:blank")
    page.goto(kept)
    expect(page.get_by_text("At a threshold of")).to_have_text(said)


def test_the_report_is_downloaded_as_html_and_a_chart_as_a_picture(page: Page, address: str) -> None:
    page.goto(f"{address}/Model_report")
    page.get_by_text("Download", exact=True).click()
    html = download(page, "Report as HTML").decode()
    assert html.lower().startswith("<!doctype html")
    for title in CHAPTERS.values():
        assert title.replace("?", "") in html
    assert default_model() in html
    page.goto(f"{address}/Model_report?chapter=Calibration")
    chart = page.locator("[data-testid=stPlotlyChart]").first
    chart.locator(".main-svg").first.wait_for()
    chart.hover()
    with page.expect_download() as saved:
        chart.locator(".modebar-btn").first.click()
    assert saved.value.suggested_filename == "reliability.png"
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")


def test_on_a_phone_nothing_runs_over_the_edge(new_page: NewPage, address: str, report: Report) -> None:
    page = new_page(viewport={"width": 400, "height": 800})
    page.goto(f"{address}/Model_report")
    for chapter in report.chapters:
        open_chapter(page, chapter)
        wait_until(page, lambda: page.get_by_test_id("stMain").evaluate(TOO_WIDE) <= 0)
