"""The HTML report in Chromium, opened from a disk: it draws its charts, asks nobody, and gives its tables and pictures."""

import csv
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from playwright.sync_api import Page

from covid_core.report.document import Report
from covid_core.report.html import report_html
from tests.browser.conftest import NewPage
from tests.browser.pages import without_complaints

pytestmark = pytest.mark.browser
WHITE = (255, 255, 255)
ALL_KINDS = ("error", "warning", "info", "log", "debug")


@pytest.fixture(scope="module")
def file(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_bytes(report_html(report).encode())
    return path


def taken(page: Page, kind: str, name: str) -> tuple[str, bytes]:
    """The name and content of the file that a button gives."""
    with page.expect_download() as download:
        page.locator(f'button[data-kind="{kind}"][data-name="{name}"]').click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


@pytest.mark.parametrize(("width", "scheme"), [pytest.param(1280, "light", marks=pytest.mark.smoke), (400, "dark")])
def test_the_report_opens_offline_and_gives_its_tables_and_pictures(
    new_page: NewPage, report: Report, file: Path, width: int, scheme: str
) -> None:
    page = new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
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


def test_on_paper_folded_tables_are_open(new_page: NewPage, file: Path) -> None:
    page = new_page(viewport={"width": 400, "height": 900})
    page.goto(file.as_uri())
    folded = page.locator("details:not([open])")
    before = folded.count()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert (before > 0, folded.count()) == (True, 0)
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert folded.count() == before
