"""The HTML report in Chromium with names that anyone may have written: nothing of them is run, and it reads on every screen."""

import io
from collections.abc import Iterator
from pathlib import Path
from unicodedata import normalize

import pandas as pd
import pypdf
import pytest
from playwright.sync_api import Page, expect

from covid_core.figures.evaluation import confusion
from covid_core.figures.groups import distributions
from covid_core.figures.prediction import probability_scale
from covid_core.report.document import Chapter, Chart, Report, Table, Words
from covid_core.report.html import report_html
from tests.browser.conftest import NewPage
from tests.browser.pages import without_complaints

pytestmark = pytest.mark.browser
HOSTILE = "</script><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
WIDE = pd.DataFrame({f"Column {number}": ["-0.25", "=1+1"] for number in range(14)})
FOLDED = pd.DataFrame({"Name": ["within the folded table", HOSTILE], "Value": ["1", "2"]})
SOURCES = pd.DataFrame({HOSTILE: [3, 4], "other": [5, 6]}, index=[HOSTILE, "Hannover"])
CHARTS = {
    "matrix": confusion([[17, 2], [17, 18]]),
    "sources": distributions(SOURCES, HOSTILE, "films"),
    "scale": probability_scale(0.8, 0.5, (0.4, 0.6), (0.7, 0.9)),
}
REPORT = Report(
    title=f"Model report: {HOSTILE}",
    subtitle="Version 7.",
    headline="It finds 18 of 35.",
    figures=(("Sensitivity", "0.51", "95% CI 0.34 to 0.69"),) * 4,
    chapters=(
        Chapter("charts", "Charts", tuple(Chart(name, name, one, f"Alt of {name}.") for name, one in CHARTS.items())),
        Chapter("tables", "Tables", (Table("wide", "Wide", WIDE), Table("folded", "Folded", FOLDED, folded=True))),
        Chapter("words", "Words", (Words(HOSTILE, "caution"),)),
    ),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report_html(REPORT), encoding="utf-8")
    return path


@pytest.fixture
def page(new_page: NewPage, file: Path) -> Iterator[Page]:
    """The file opened without a network."""
    page = new_page(offline=True)
    with without_complaints(page, file.as_uri(), kinds=("error", "warning")):
        page.goto(file.as_uri())
        expect(page.locator(".chart .main-svg").first).to_be_visible()
        yield page


def test_every_chart_is_drawn(page: Page) -> None:
    for name in CHARTS:
        assert page.locator(f"#chart-{name} .main-svg").count() > 0
    matrix = page.locator("#chart-matrix")
    expect(matrix).to_have_attribute("aria-label", "Alt of matrix.")
    assert "Called (images)" in matrix.inner_text()
    assert page.locator("#chart-sources .bars .point").count() == SOURCES.size


def test_no_text_of_the_data_is_run(page: Page) -> None:
    assert page.title().startswith("Model report: </script>")
    assert page.locator("img[src='x']").count() == 0


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_what_is_written_on_a_chart_is_in_the_colour_of_the_page(page: Page, scheme: str, dark: bool) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert (sum(int(part) for part in ink.removeprefix("rgb(").removesuffix(")").split(",")) > 384) == dark
    fills = "all => [...new Set(all.map(one => getComputedStyle(one).fill))]"
    assert page.locator(".chart .main-svg .xtick text, .chart .main-svg .annotation text").evaluate_all(fills) == [ink]


def test_on_a_telephone_only_tables_scroll_sideways(page: Page) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    page.wait_for_function("() => document.querySelector('#chart-matrix .main-svg').clientWidth < 400")
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    table = page.get_by_role("group", name="Wide")
    assert table.evaluate("one => one.scrollWidth > one.clientWidth && getComputedStyle(one).overflowX == 'auto'")


def test_on_paper_folded_tables_are_open_and_charts_have_room(page: Page) -> None:
    printed = pypdf.PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True)))
    # Blanks are where letters are set apart, not where a text has them, and `fi` may be one letter.
    text = "".join(normalize("NFKC", "".join(sheet.extract_text() for sheet in printed.pages)).split())
    assert "withinthefoldedtable" in text
    assert "Called(films)" in text
    width, height = (float(side) for side in printed.pages[0].mediabox[2:])
    assert (round(width), round(height)) == (595, 842)
    expect(page.locator("details")).not_to_have_attribute("open", "")


def test_the_keyboard_leads_past_the_contents_and_along_the_buttons(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the report")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="PNG: matrix")).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
