"""Take the pictures of the documentation again: the app in Chromium, with NEMA's sample images of the package pydicom-data.

python docs/screenshots.py            docs/predict.png; each state of Predict, section of Dataset and chapter of the report in
                                      docs/screenshots/
    --only NAME                       those of them whose names begin so
python docs/screenshots.py --all DIR  every page, wide and narrow, light and dark, into DIR, to be looked at

The first shows no image of an installed dataset: they carry their own licences and do not belong into the repository. What counts
and draws the dataset is shown over the installed one, its images are drawn ones (tests/phantom.py).
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_plus

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from playwright.sync_api import Browser, Page  # noqa: E402

from covid_core.dataset.metadata import read_metadata  # noqa: E402
from covid_core.paths import METADATA_NAME, dataset_dir  # noqa: E402
from covid_core.report.build import CHAPTERS  # noqa: E402
from tests.browser.app_server import running_app, running_browser  # noqa: E402
from tests.phantom import write_phantom_dataset  # noqa: E402
from tests.real_images import chest_image, leg_image, sample  # noqa: E402

CHAPTER_PAGES = {f"report-{name}": f"Model_report?chapter={quote_plus(title)}" for name, title in CHAPTERS.items()}
COUNTING_PAGES = {f"dataset-{name.lower()}": f"Dataset?section={name}" for name in ("Overview", "Cohort", "Audit")}
IMAGE_PAGES = {
    "dataset-images": "Dataset?section=Images",
    "dataset-table": "Dataset?section=Table",
    "dataset-film": "Dataset?section=Images&film=",
}
PAGES = {"front": "", "predict": "Predict", **COUNTING_PAGES, **IMAGE_PAGES, **CHAPTER_PAGES}
WIDE, NARROW = (1280, 800), (400, 800)
SETTLE_MS, MINUTES_MS = 4000, 300_000
STATES = PROJECT / "docs" / "screenshots"


@dataclass(frozen=True)
class State:
    """A state of the Predict page.

    Attributes:
        images: what is uploaded.
        size: of the window, pixels.
        scheme: `light` or `dark`.
        whole: whether the picture shows what is below the fold as well.
        act: what is done once the images are read.
    """

    images: list[Path]
    size: tuple[int, int] = WIDE
    scheme: str = "light"
    whole: bool = False
    act: Callable[[Page], object] = lambda _page: None


def states(folder: Path) -> Iterator[tuple[str, State]]:
    """The states, each with the name of its picture; images that must be made are put into a folder."""
    chest = [sample("RG1_J2KI")]
    leg, turned, broken = folder / "leg.png", folder / "turned.png", folder / "cut short.png"
    Image.fromarray(leg_image(1024)).save(leg)
    Image.fromarray(np.rot90(chest_image(1, 1024)).copy()).save(turned)
    broken.write_bytes(leg.read_bytes()[:20_000])
    series = [folder / f"image {number}.png" for number in range(1, 5)]
    for number, path in enumerate(series, start=1):
        Image.fromarray(chest_image(number, 1024)).save(path)

    def press(name: str) -> Callable[[Page], object]:
        return lambda page: page.get_by_role("button", name=name).first.click()

    def tab(name: str) -> Callable[[Page], object]:
        return lambda page: page.get_by_role("tab", name=name).click()

    yield "nothing-uploaded", State([])
    yield "one-film", State(chest)
    yield "one-film-whole", State(chest, whole=True)
    yield "one-film-heat-map", State(chest, act=lambda page: page.get_by_role("radio", name="Heat map").click())
    yield "one-film-dark", State(chest, scheme="dark")
    yield "one-film-narrow", State(chest, size=NARROW, whole=True)
    yield "similar-films", State(chest, whole=True, act=tab("Similar images"))
    yield "downloads", State(chest, whole=True, act=tab("Report and downloads"))
    yield "many-films", State([*series, broken, leg], whole=True)
    yield "refused", State([leg])
    yield "predicted-anyway", State([leg], act=press("Predict anyway"))
    yield "lies-on-its-side", State([turned])
    yield "turned", State([turned], act=press("Turn right"))
    yield "damaged", State([broken])


def open_page(browser: Browser, address: str, size: tuple[int, int], scheme: str, images: list[Path]) -> Page:
    """Open a page in a fresh session, upload the images if there are any, and wait until it rests."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page.goto(address)
    page.get_by_text("Not a medical device").first.wait_for(timeout=60_000)
    if images:
        page.locator("input[type=file]").set_input_files(images)
    page.wait_for_timeout(SETTLE_MS)
    return page


def show_all(page: Page) -> None:
    """Make the window as high as the page, which scrolls inside a frame that `full_page` does not see."""
    size = page.viewport_size
    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": max(size["height"], int(height))})
    page.wait_for_timeout(SETTLE_MS // 2)


def prepared(page: Page) -> Page:
    """Do what a section of the Dataset page offers first, which takes a while: read the images and split them, or audit them."""
    offered = page.get_by_role("button", name=re.compile(r"^(Read the \d+ images|Audit this collection)"))
    if offered.count():
        offered.click()
        offered.wait_for(state="detached", timeout=MINUTES_MS)
        page.get_by_role("button", name=re.compile(r"^(Split|All rows as CSV)")).wait_for(timeout=MINUTES_MS)
        page.wait_for_timeout(SETTLE_MS)
    return page


def first_image(folder: Path) -> str:
    """The name of the first image of a dataset."""
    return str(read_metadata(folder / METADATA_NAME)["filename"].iloc[0])


def beginning_so(pages: dict[str, str], only: str) -> Iterator[tuple[str, str]]:
    """The pages whose names begin with a text."""
    return ((name, path) for name, path in pages.items() if name.startswith(only))


def take_sections(browser: Browser, address: str, pages: dict[str, str], only: str) -> None:
    """Take the pictures of sections of the Dataset page."""
    for name, path in beginning_so(pages, only):
        page = prepared(open_page(browser, f"{address}/{path}", WIDE, "light", []))
        if name != "dataset-film":
            show_all(page)
        page.screenshot(path=STATES / f"{name}.png")
        page.close()


def take_states(browser: Browser, address: str, folder: Path, only: str) -> None:
    """Take the pictures of the Predict page and of the report."""
    for name, state in states(folder):
        if not name.startswith(only):
            continue
        page = open_page(browser, f"{address}/Predict", state.size, state.scheme, state.images)
        state.act(page)
        page.wait_for_timeout(SETTLE_MS // 2)
        if state.whole:
            show_all(page)
        page.screenshot(path=STATES / f"{name}.png")
        page.close()
    for name, path in beginning_so(CHAPTER_PAGES, only):
        page = open_page(browser, f"{address}/{path}", WIDE, "light", [])
        show_all(page)
        page.screenshot(path=STATES / f"{name}.png")
        page.close()
    (PROJECT / "docs" / "predict.png").write_bytes((STATES / "one-film.png").read_bytes())


def take_pages(browser: Browser, address: str, folder: Path, images: list[Path]) -> None:
    """Take a picture of every page in every form; the Dataset page over the installed dataset, if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    dataset = dataset_dir()
    for name, page_path in PAGES.items():
        path = page_path + quote_plus(first_image(dataset)) if name == "dataset-film" and dataset else page_path
        for form, size in (("wide", WIDE), ("narrow", NARROW)):
            for scheme in ("light", "dark"):
                page = prepared(
                    open_page(browser, f"{address}/{path}", size, scheme, images if name == "predict" else [])
                )
                if name != "dataset-film":
                    show_all(page)
                page.screenshot(path=folder / f"{name}-{form}-{scheme}.png")
                page.close()


def main() -> None:
    """Parse and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", type=Path, metavar="DIR", help="every page in every form")
    parser.add_argument("--film", type=Path, nargs="*", default=[], help="images to upload; default: a sample image")
    parser.add_argument("--only", default="", metavar="NAME", help="pictures whose names begin so; default: all")
    options = parser.parse_args()
    STATES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        log, kept = folder / "app.log", {"COVID_CACHE_DIR": str(folder / "cache")}
        with running_browser() as browser:
            if options.all:
                with running_app(log, **kept) as address:
                    take_pages(browser, address, options.all, options.image or [sample("RG1_J2KI")])
                return
            drawn = write_phantom_dataset(folder / "drawn", n_patients=60, size=512)
            with running_app(log, COVID_DATASET_DIR=str(folder / "none"), **kept) as address:
                take_states(browser, address, folder, options.only)
            with running_app(log, COVID_DATASET_DIR=str(drawn), **kept) as address:
                pages = {**IMAGE_PAGES, "dataset-film": IMAGE_PAGES["dataset-film"] + quote_plus(first_image(drawn))}
                take_sections(browser, address, pages, options.only)
            with running_app(log, **kept) as address:
                take_sections(browser, address, COUNTING_PAGES if dataset_dir() else {}, options.only)


if __name__ == "__main__":
    main()
