"""Take the pictures of the documentation anew: the app in Chromium, with a synthetic film.

python docs/screenshots.py            docs/predict.png
python docs/screenshots.py --all DIR  every page, wide and narrow, light and dark, into DIR, to be looked at
"""

import argparse
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from playwright.sync_api import Browser, Page  # noqa: E402

from tests.browser.app_server import running_app, running_browser  # noqa: E402
from tests.phantom import phantom_film  # noqa: E402

PAGES = {"front": "", "predict": "Predict", "dataset": "Dataset", "report": "Model_report"}
SIZES = {"wide": (1280, 800), "narrow": (400, 800)}
SETTLE_MS = 4000


def open_page(browser: Browser, address: str, size: tuple[int, int], scheme: str, films: list[Path]) -> Page:
    """Open a page in a fresh session, upload the films if it is the Predict page, and wait until it rests."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page.goto(address)
    page.get_by_text("Not a medical device").first.wait_for(timeout=60_000)
    if films:
        page.locator("input[type=file]").set_input_files(films)
    page.wait_for_timeout(SETTLE_MS)
    return page


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", type=Path, metavar="DIR", help="every page in every form")
    parser.add_argument("--film", type=Path, nargs="*", default=[], help="films to upload; default: a synthetic one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        synthetic = Path(folder) / "synthetic film.png"
        Image.fromarray(phantom_film(np.random.default_rng(7), "covid", 1024)).save(synthetic)
        films = options.film or [synthetic]
        with running_app(Path(folder) / "app.log") as address, running_browser() as browser:
            if not options.all:
                page = open_page(browser, f"{address}/Predict", SIZES["wide"], "light", films)
                page.screenshot(path=PROJECT / "docs" / "predict.png")
                return
            options.all.mkdir(parents=True, exist_ok=True)
            for name, path in PAGES.items():
                for form, size in SIZES.items():
                    for scheme in ("light", "dark"):
                        page = open_page(browser, f"{address}/{path}", size, scheme, films if name == "predict" else [])
                        height = page.evaluate(
                            "document.querySelector('[data-testid=stMain]').scrollHeight"
                        )  # the page scrolls inside a frame, which full_page does not see
                        page.set_viewport_size({"width": size[0], "height": max(size[1], int(height))})
                        page.wait_for_timeout(SETTLE_MS // 2)
                        page.screenshot(path=options.all / f"{name}-{form}-{scheme}.png")
                        page.close()


if __name__ == "__main__":
    main()
