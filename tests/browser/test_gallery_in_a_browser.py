"""The gallery and the table in Chromium: what opens an image, and that names stay names."""

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.app_server import running_app
from tests.browser.pages import a_run, run_again, tick, wait_until_idle, without_complaints
from tests.phantom import phantom_image

pytestmark = pytest.mark.browser
HOSTILE = ["<img src=x onerror=document.title='caught'>.png", "**bold** _and_ `code`.png", "\"quoted\" & 'more'.png"]
MISSING = "missing.png"
LEAVING = "../secret.png"
NAMES = [*HOSTILE, MISSING, LEAVING, *(f"image {number}.png" for number in range(175))]
"""180 rows, three pages."""
PAINTED = """() => {
    const root = document.querySelector('[data-testid=stBidiComponentIsolated]')?.shadowRoot
    const tiles = [...(root?.querySelectorAll('.tile') ?? [])]
    return tiles.length > 0 && [...root.querySelectorAll('img')].every((image) => image.complete && image.naturalWidth > 0)
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 180 rows, 178 of them with a file."""
    folder = tmp_path_factory.mktemp("gallery") / "dataset"
    (folder / "images").mkdir(parents=True)
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["patientid", "offset", "finding", "view", "modality", "filename"])
    image = phantom_image(np.random.default_rng(1), "covid", 512)
    for number, name in enumerate(NAMES):
        finding = "Pneumonia/Viral/COVID-19" if number % 2 == 0 else "No Finding"
        writer.writerow([number, number % 9, finding, "PA" if number % 3 == 0 else "AP", "X-ray", name])
        if name not in {MISSING, LEAVING}:
            file = folder / "images" / name
            Image.fromarray(np.roll(image, 2 * number, axis=1)).save(file, "PNG")
            os.utime(file, (1, 1))  # the store relies on a time of change that is not quite new only
    (folder / "metadata.csv").write_text(table.getvalue(), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def address(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log, cache = folder.parent / "app.log", str(tmp_path_factory.mktemp("cache"))
    page = "tests/browser/gallery_page.py"
    with running_app(log, page, COVID_DATASET_DIR=str(folder), COVID_CACHE_DIR=cache) as address:
        yield address


@pytest.fixture
def page(page: Page, address: str) -> Iterator[Page]:
    with without_complaints(page, address):
        yield page


def show_gallery(page: Page, address: str) -> None:
    page.goto(f"{address}/?section=Images")
    page.wait_for_function(PAINTED)
    wait_until_idle(page)


def show_table(page: Page, address: str) -> None:
    page.goto(f"{address}/?section=Table")
    page.get_by_role("button", name="All 180 rows as CSV").wait_for()
    wait_until_idle(page)


def tiles(page: Page) -> Locator:
    return page.locator(".tile")


def focused(page: Page) -> str:
    return str(page.evaluate("() => document.activeElement.shadowRoot?.activeElement?.dataset.file"))


def columns(page: Page) -> int:
    return int(
        tiles(page).first.evaluate(
            "(tile) => getComputedStyle(tile.parentElement).gridTemplateColumns.split(' ').length"
        )
    )


def opened(page: Page, name: str | None) -> None:
    expect(page.get_by_text(f"Opened: {name}", exact=True)).to_be_visible()


def close(page: Page) -> None:
    page.get_by_role("button", name="Close").click()
    opened(page, None)
    wait_until_idle(page)


def test_a_click_opens_the_image_again_and_again_and_nothing_else_does(page: Page, address: str) -> None:
    show_gallery(page, address)
    expect(tiles(page)).to_have_count(60)
    for _ in range(2):
        tiles(page).nth(6).click()
        opened(page, NAMES[6])
        close(page)
        run_again(page)
        opened(page, None)


def test_tab_enters_the_grid_once_arrows_move_in_it_and_enter_opens(page: Page, address: str) -> None:
    show_gallery(page, address)
    page.get_by_role("button", name="Run again").focus()
    for _ in range(8):
        page.keyboard.press("Tab")
        if focused(page) == NAMES[0]:
            break
    assert focused(page) == NAMES[0]
    across = columns(page)
    for key, expected in (
        ("ArrowUp", 0),
        ("ArrowLeft", 0),
        ("ArrowRight", 1),
        ("ArrowDown", 1 + across),
        ("ArrowLeft", across),
        ("End", 59),
        ("ArrowRight", 59),
        ("ArrowUp", 59 - across),
        ("Home", 0),
        ("ArrowDown", across),
    ):
        page.keyboard.press(key)
        assert focused(page) == NAMES[expected], key
    page.keyboard.press("Tab")
    assert focused(page) not in NAMES
    page.keyboard.press("Shift+Tab")
    assert focused(page) == NAMES[across]
    page.keyboard.press("Enter")
    opened(page, NAMES[across])
    wait_until_idle(page)
    assert focused(page) == NAMES[across]


def test_a_tile_says_what_it_is_and_what_it_does(page: Page, address: str) -> None:
    show_gallery(page, address)
    tile = page.get_by_role("button", name="COVID-19, PA, day 6: open", exact=True).first
    expect(tile).to_have_attribute("title", NAMES[6])
    expect(page.get_by_role("group", name="60 images.")).to_be_visible()
    expect(page.get_by_role("button", name="Not COVID-19, PA, day 3, No file: open")).to_be_visible()
    expect(tiles(page).nth(NAMES.index(LEAVING))).to_contain_text("File name not allowed")
    tiles(page).nth(NAMES.index(MISSING)).click()
    opened(page, MISSING)


def test_hostile_file_names_stay_names(page: Page, address: str) -> None:
    show_gallery(page, address)
    title = page.title()
    for number, name in enumerate(HOSTILE):
        tile = tiles(page).nth(number)
        expect(tile).to_have_attribute("title", name)
        tile.click()
        opened(page, name)
    assert page.title() == title
    assert page.locator("img[src=x]").count() == 0


def test_the_next_page_begins_at_its_top(page: Page, address: str) -> None:
    show_gallery(page, address)
    number = page.get_by_test_id("stPagination").get_by_role("button", name="Page 2", exact=True)
    number.scroll_into_view_if_needed()
    number.click()
    expect(tiles(page).first).to_have_attribute("title", NAMES[60])
    expect(tiles(page).first).to_be_in_viewport()
    assert "page=2" in page.url


@pytest.mark.parametrize(("width", "fewest", "most"), [(400, 3, 3), (1280, 8, 10), (1920, 8, 10)])
def test_the_grid_fits_the_width(page: Page, address: str, width: int, fewest: int, most: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    show_gallery(page, address)
    assert fewest <= columns(page) <= most
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    cut = "(tiles) => tiles.filter((one) => one.scrollWidth > one.clientWidth).length"
    assert page.locator(".class").evaluate_all(cut) == 0


def test_ticking_a_row_opens_it_again_and_again_whatever_the_order(page: Page, address: str) -> None:
    show_table(page, address)
    tick(page, 5)
    opened(page, NAMES[5])
    close(page)
    run_again(page)
    opened(page, None)
    tick(page, 5)
    opened(page, NAMES[5])
    close(page)
    page.get_by_role("combobox", name="Sort by").click()
    with a_run(page):
        page.get_by_role("option", name="File name").click()
    tick(page, 4)
    # By hand: a quote, an asterisk, `<`, then image 0, image 1, …; the name with `..` begins with a dot, after the asterisk.
    opened(page, "image 0.png")
