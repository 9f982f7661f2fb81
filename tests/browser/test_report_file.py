"""The HTML report in Chromium, opened from a disk: it draws its charts, asks nobody, and gives its tables and pictures.

Nothing of names that anyone may have written is run, and it reads on every screen.
"""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from unicodedata import normalize
from xml.etree import ElementTree

import pandas as pd
import pypdf
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from covid_core.figures.evaluation import confusion
from covid_core.figures.groups import distributions
from covid_core.figures.prediction import probability_scale
from covid_core.report.document import Chapter, Chart, Report, Table, Words
from covid_core.report.html import report_html
from tests.browser.conftest import NewPage
from tests.browser.pages import without_complaints

pytestmark = pytest.mark.browser
WHITE = (255, 255, 255)
ALL_KINDS = ("error", "warning", "info", "log", "debug")
HOSTILE = "</script><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
WIDE = pd.DataFrame({f"Column {number}": ["-0.25", "=1+1"] for number in range(14)})
FOLDED = pd.DataFrame({"Name": ["within the folded table", HOSTILE], "Value": ["1", "2"]})
SOURCES = pd.DataFrame({HOSTILE: [3, 4], "other": [5, 6]}, index=[HOSTILE, "Hannover"])
CHARTS = {
    "matrix": confusion([[17, 2], [17, 18]]),
    "sources": distributions(SOURCES, HOSTILE, "images"),
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


def taken(page: Page, kind: str, name: str) -> tuple[str, bytes]:
    """The name and content of the file that a button gives."""
    with page.expect_download() as download:
        page.locator(f'button[data-kind="{kind}"][data-name="{name}"]').click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


@pytest.mark.parametrize(("width", "scheme"), [pytest.param(1280, "light", marks=pytest.mark.smoke), (400, "dark")])
def test_the_report_opens_offline_and_gives_its_tables_and_pictures(
    new_page: NewPage, report: Report, tmp_path: Path, width: int, scheme: str
) -> None:
    page, file = (
        new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True),
        tmp_path / "a.html",
    )
    file.write_bytes(report_html(report).encode())
    with without_complaints(page, "file:", kinds=ALL_KINDS):
        page.goto(file.as_uri())
        charts = [chart.name for chapter in report.chapters for chart in chapter.charts()]
        for name in charts:
            page.locator(f"#chart-{name} .main-svg").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == width

        table = next(table for chapter in report.chapters for table in chapter.tables() if not table.folded)
        saved, content = taken(page, "csv", table.name)
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
        assert saved == f"{table.name}.csv"
        assert rows == [list(table.table.columns), *table.table.to_numpy().tolist()]

        saved, content = taken(page, "png", charts[0])
        picture = Image.open(io.BytesIO(content))
        assert (saved, picture.format, picture.width) == (f"{charts[0]}.png", "PNG", 2 * 760)
        assert picture.convert("RGB").getpixel((0, 0)) == WHITE

        saved, content = taken(page, "svg", charts[0])
        assert saved == f"{charts[0]}.svg"
        assert ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
        assert re.search(rb"rgb\(255, 255, 255\)", content)


@pytest.fixture
def page(new_page: NewPage, tmp_path: Path) -> Iterator[Page]:
    """The report with names that anyone may have written, opened without a network."""
    page, file = new_page(offline=True), tmp_path / "report.html"
    file.write_text(report_html(REPORT), encoding="utf-8")
    with without_complaints(page, file.as_uri(), kinds=("error", "warning")):
        page.goto(file.as_uri())
        expect(page.locator(".chart .main-svg").first).to_be_visible()
        yield page


def test_every_chart_is_drawn_and_no_text_of_the_data_is_run(page: Page) -> None:
    for name in CHARTS:
        assert page.locator(f"#chart-{name} .main-svg").count() > 0
    matrix = page.locator("#chart-matrix")
    expect(matrix).to_have_attribute("aria-label", "Alt of matrix.")
    assert "Called (images)" in matrix.inner_text()
    assert page.locator("#chart-sources .bars .point").count() == SOURCES.size
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
    assert "Called(images)" in text
    width, height = (float(side) for side in printed.pages[0].mediabox[2:])
    assert (round(width), round(height)) == (595, 842)
    expect(page.locator("details")).not_to_have_attribute("open", "")
