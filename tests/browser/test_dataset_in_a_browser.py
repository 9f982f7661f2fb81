"""A reader's way through the Dataset page, in Chromium: filters, an image and their addresses, a cohort and its split."""

import csv
import re
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page, expect

from covid_core.dataset.prepare import prepare_dataset
from tests.browser.conftest import NewPage
from tests.browser.pages import location, tick, wait_until, wait_until_idle

pytestmark = pytest.mark.browser
COUNTS = re.compile(r"\d+ (of \d+ )?images?, \d+ patient")


@pytest.fixture(scope="module")
def rows(phantom_dataset: Path) -> list[dict[str, str]]:
    """The rows of the table, as the csv module reads them."""
    with (phantom_dataset / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def counted(page: Page) -> str:
    """The line that says how much is left, once the page rests."""
    page.get_by_text(COUNTS).first.wait_for()
    wait_until_idle(page)
    return page.get_by_text(COUNTS).first.inner_text()


def choose(page: Page, label: str, option: str) -> None:
    """Choose an option of one of the lists of filters, which close when the page around them moves."""
    filters = page.get_by_role("combobox", name=label).first
    wanted = page.get_by_role("option", name=option, exact=True)

    def is_chosen() -> bool:
        if not wanted.is_visible():
            filters.click()
        try:
            wanted.click(timeout=2_000)
        except Error:  # the list closed under the pointer
            return False
        return True

    wait_until(page, is_chosen)
    page.keyboard.press("Escape")


@pytest.mark.smoke
def test_a_filter_is_in_the_address_and_a_fresh_visitor_finds_it_set(
    page: Page, new_page: NewPage, address: str, rows: list[dict[str, str]]
) -> None:
    page.goto(f"{address}/Dataset")
    assert counted(page).startswith(f"{len(rows)} images")
    choose(page, "View", "PA")
    frontal = [row for row in rows if row["view"] == "PA"]
    expect(page.get_by_text(COUNTS).first).to_contain_text(f"{len(frontal)} of {len(rows)} images")
    assert counted(page).startswith(
        f"{len(frontal)} of {len(rows)} images, {len({row['patientid'] for row in frontal})} patients"
    )
    page.wait_for_function("() => location.search.includes('view=PA')")
    page.get_by_role("radio", name="Table").click()
    page.wait_for_function("() => location.search.includes('section=Table')")
    visitor = new_page(viewport={"width": 400, "height": 800})
    visitor.goto(location(page))
    assert counted(visitor) == counted(page)
    expect(visitor.get_by_role("radio", name="Table")).to_be_checked()
    visitor.get_by_role("button", name="Clear all filters").click()
    expect(visitor.get_by_text(COUNTS).first).to_contain_text(f"{len(rows)} images")
    assert counted(page).startswith(f"{len(frontal)} of")  # the other tab keeps its own


def test_the_back_button_closes_an_image_and_an_unknown_one_is_said_to_be_so(page: Page, address: str) -> None:
    page.goto(f"{address}/Dataset?section=Images")
    counted(page)
    page.locator(".gallery button").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.wait_for_function("() => location.search.includes('film=')")
    page.go_back()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.goto(f"{address}/Dataset?film=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E.png")
    expect(page.get_by_role("dialog").get_by_text("No row of this table names this file")).to_be_visible()


def test_no_table_gives_a_file_with_formulas_away(page: Page, address: str) -> None:
    page.goto(f"{address}/Dataset?section=Table")
    counted(page)
    page.get_by_test_id("stDataFrame").hover()
    expect(page.get_by_role("button", name=re.compile("^Search")).first).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^Download as CSV"))).to_have_count(0)


def test_a_name_that_streamlit_would_make_a_picture_of_stays_a_name(page: Page, address: str, tmp_path: Path) -> None:
    odd = ":material/delete: -> :smile: :red[x] **y** <- $z$"
    table = tmp_path / "metadata.csv"
    table.write_text(f"patientid,finding,view,modality,filename\n{odd},SARS,PA,X-ray,a.png\n", encoding="utf-8")
    page.goto(f"{address}/Dataset")
    counted(page)
    page.get_by_text("Data source").click()
    page.locator("input[type=file]").set_input_files(table)
    expect(page.get_by_text(COUNTS).first).to_contain_text("1 image, 1 patient")
    page.get_by_role("radio", name="Table").click()
    page.get_by_role("button", name="All 1 rows as CSV").wait_for()
    tick(page, 0)
    heading = page.get_by_role("dialog").get_by_text("The only image of patient")
    assert heading.inner_text().replace("\u2060", "") == f"The only image of patient {odd}."


@pytest.mark.smoke
def test_an_image_opens_from_the_gallery_has_an_address_and_is_closed(
    page: Page, new_page: NewPage, address: str
) -> None:
    page.goto(f"{address}/Dataset?section=Images&view=PA")
    counted(page)
    page.locator(".gallery button").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_alt_text(re.compile("^Chest X-ray")).first).to_be_visible()
    page.wait_for_function("() => location.search.includes('film=')")
    visitor = new_page()
    visitor.goto(location(page))
    expect(visitor.get_by_role("dialog").get_by_text("All fields and notes")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.wait_for_function("() => !location.search.includes('film=')")
    assert "view=PA" in location(page)
    page.get_by_role("radio", name="Overview").click()
    counted(page)
    expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.smoke
def test_a_cohort_is_split_and_its_record_is_the_one_that_prepare_writes(
    page: Page, address: str, phantom_dataset: Path, tmp_path: Path
) -> None:
    page.goto(f"{address}/Dataset?section=Cohort")
    counted(page)
    page.get_by_role("button", name=re.compile(r"Read the \d+ images")).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="split.csv").click()
    prepare_dataset(phantom_dataset, tmp_path / "prepared")
    assert Path(download.value.path()).read_bytes() == (tmp_path / "prepared" / "split.csv").read_bytes()
