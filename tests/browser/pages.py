"""What the browser tests do on every page. Each wait ends with a condition; none lasts for a fixed time."""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Page, expect

PATIENCE_SECONDS = 60


def wait_until(page: Page, holds: Callable[[], bool]) -> None:
    """Ask again and again until a condition holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "the condition did not come to hold"
        page.wait_for_timeout(50)  # handles what the browser reports


def wait_until_idle(page: Page) -> None:
    """Wait until the script of the page has come to its end."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")


@contextmanager
def a_run(page: Page) -> Iterator[None]:
    """On a page that shows how often it ran: wait for the end of the run that is begun within."""
    runs = page.get_by_text("Runs:")
    before = runs.inner_text()
    yield
    expect(runs).not_to_have_text(before)
    wait_until_idle(page)


def run_again(page: Page) -> None:
    """Press "Run again" on a page that shows how often it ran, and wait for the end of that run."""
    with a_run(page):
        page.get_by_role("button", name="Run again").click()


def tick(page: Page, row: int) -> None:
    """Tick the box before a row of the table, the first being 0; the header and each row are 35 pixels high.

    The table is drawn on a canvas; its rows stand beside it for those who cannot see it.
    """
    table = page.get_by_test_id("stDataFrame")
    table.locator("[role=row]").nth(row + 1).wait_for(state="attached")
    wait_until_idle(page)
    table.locator(".dvn-scroller").click(position={"x": 18, "y": 35 * (row + 1) + 17})


def location(page: Page) -> str:
    """The address as the page knows it; Playwright's own lags behind changes that scripts make."""
    return str(page.evaluate("location.href"))


def download(page: Page, label: str) -> bytes:
    """The content of the file that a button gives."""
    with page.expect_download() as started:
        page.get_by_role("button", name=label, exact=True).first.click()
    return Path(started.value.path()).read_bytes()


@contextmanager
def without_complaints(page: Page, *origins: str, kinds: Collection[str] = ("error",)) -> Iterator[None]:
    """Let nothing on the page leave a message of these kinds in the console, or ask for what begins with none of `origins`."""
    complaints: list[str] = []
    requests: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in kinds:
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    yield
    assert complaints == []
    assert [url for url in requests if not url.startswith(("data:", "blob:", *origins))] == []
