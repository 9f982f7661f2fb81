"""What becomes of an upload: where it is while it is used, who sees it, and what is left of it afterwards."""

import re
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="browser tests need requirements-dev.txt")

from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

from tests.browser.app_server import CHROMIUM, PROJECT, running_app
from tests.browser.evidence import (
    copies_in_memory,
    encodings,
    files_since,
    film_dicom,
    film_png,
    no_file_may_grow,
    open_files,
    process_at,
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into the memory and the open files of a process"),
]
PATIENCE_MS = 60_000
SECONDS_AFTER_TAB = 3
DEPLOYMENT = PROJECT / "docs" / "DEPLOYMENT.md"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("app") / "app.log"
    # The C library gives every freed buffer of an image back at once, so that copies in memory are objects that still live.
    environment = {
        "STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL": str(SECONDS_AFTER_TAB),
        "MALLOC_MMAP_THRESHOLD_": "65536",
    }
    with running_app(log, **environment) as address:
        yield address


@pytest.fixture
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.set_default_timeout(PATIENCE_MS)
        yield context


def predict_page(visitor: BrowserContext, address: str) -> Page:
    page = visitor.new_page()
    page.goto(f"{address}/Predict")
    expect(page.locator("input[type=file]")).to_be_attached(timeout=PATIENCE_MS)
    return page


def upload(page: Page, name: str, content: bytes) -> None:
    """Upload one film, and wait until the page is done with it."""
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "image/png", "buffer": content})
    expect(answered(page, name)).to_be_visible(timeout=PATIENCE_MS)
    wait_until_idle(page)


def answered(page: Page, name: str) -> Locator:
    """The name of a film that was read or refused, as the page sets it beside the answer."""
    return page.get_by_test_id("stText").filter(has_text=re.compile(f"^{re.escape(name)}$"))


def wait_until_idle(page: Page) -> None:
    """Wait until no run of the page goes on; one that was just asked for may not have begun."""
    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=PATIENCE_MS)


def new_mark(kind: str) -> str:
    return kind + secrets.token_hex(12)


def test_an_upload_of_ten_megabytes_is_read_by_an_app_that_can_write_no_file(
    address: str, visitor: BrowserContext
) -> None:
    content = film_png(colour=True, compressed=False)
    assert len(content) > 10_000_000
    page = predict_page(visitor, address)
    wait_until_idle(page)
    with no_file_may_grow(process_at(address)):
        upload(page, "large.png", content)
        expect(page.get_by_test_id("stFileUploader").get_by_text("large.png")).to_be_visible()


def test_nothing_of_an_upload_is_written_or_logged_even_for_debugging(browser: Browser, tmp_path: Path) -> None:
    home, temporary, log = tmp_path / "home", tmp_path / "tmp", tmp_path / "app.log"
    home.mkdir()
    temporary.mkdir()
    marks = {place: new_mark(place) for place in ("NAME", "TEXT", "PIXELS", "PATIENT", "TYPED")}
    needles = tuple(needle for mark in marks.values() for needle in encodings(mark))
    films = {
        f"{marks['NAME']}.png": film_png(marks["TEXT"], marks["PIXELS"], compressed=False),
        f"{marks['NAME']}.dcm": film_dicom(marks["PATIENT"], marks["PIXELS"]),
        f"{marks['NAME']} broken.png": film_png(marks["TEXT"], marks["PIXELS"], compressed=False)[:2_000_000],
    }
    start = time.time()
    with (
        running_app(log, HOME=str(home), TMPDIR=str(temporary), STREAMLIT_LOGGER_LEVEL="debug") as address,
        browser.new_context(accept_downloads=True) as visitor,
    ):
        visitor.set_default_timeout(PATIENCE_MS)
        process = process_at(address)
        downloads = 0
        for name, content in films.items():
            page = predict_page(visitor, address)
            upload(page, name, content)
            downloads += use_the_page(page, marks["TYPED"])
            assert not [content for content in open_files(process) if any(needle in content for needle in needles)]
            page.close()
        assert downloads, "no download was tried"
        assert copies_in_memory(process, encodings(marks["NAME"])[0]), "the marks did not reach the app"
    written = [log, *files_since([home, temporary], start)]
    written += files_since([PROJECT], start, (".venv", ".git", ".mypy_cache", ".ruff_cache"))
    # The browser keeps downloads and its own profile there, and pytest what tests write.
    written += files_since([Path(tempfile.gettempdir())], start, ("playwright", "pytest", ".org.chromium"))
    assert not [path for path in written if holds(path, needles)]
    assert "AppSession initialized" in log.read_text(), "the log is not the one for debugging"


def use_the_page(page: Page, patient: str) -> int:
    """Open every tab, name the patient where one may, and take every download; the number of downloads."""
    taken = 0
    tabs = page.get_by_role("tab").all()
    for tab in tabs or [None]:
        if tab is not None:
            tab.click()
        for field in page.get_by_role("textbox").all():
            if field.is_visible() and field.is_editable():
                field.fill(patient)
                field.press("Enter")
                page.wait_for_timeout(500)
                wait_until_idle(page)
        for button in page.get_by_test_id("stDownloadButton").get_by_role("button").all():
            if button.is_visible():
                with page.expect_download() as download:
                    button.click()
                download.value.path()
                taken += 1
    return taken


def holds(path: Path, needles: Sequence[bytes]) -> bool:
    try:
        content = path.read_bytes()
    except OSError:  # It is gone again, or somebody else's.
        return False
    return any(needle in content for needle in needles)


def test_a_film_leaves_the_memory_with_its_tab_and_with_its_page(address: str, visitor: BrowserContext) -> None:
    process = process_at(address)
    for leave in (close_tab, open_another_page, replace_film):
        pixels = new_mark("PIXELS")
        content = film_png(pixels=pixels, compressed=False)
        # The first bytes of a file may stay a while in a buffer of the network, so those in the middle are looked for.
        traces = (content[1_500_000:1_500_064], pixels.encode())
        page = predict_page(visitor, address)
        upload(page, "film.png", content)
        assert copies_in_memory(process, *traces), "the film was not found where it must be"
        leave(page)
        deadline = time.monotonic() + SECONDS_AFTER_TAB + 30
        while copies_in_memory(process, *traces):
            assert time.monotonic() < deadline, f"{leave.__name__}: the film is still in memory"
            time.sleep(0.5)
        if not page.is_closed():
            page.close()


def close_tab(page: Page) -> None:
    page.close()


def open_another_page(page: Page) -> None:
    page.get_by_role("link", name="Model report").first.click()
    expect(page.get_by_role("heading", name="Model report")).to_be_visible(timeout=PATIENCE_MS)
    wait_until_idle(page)


def replace_film(page: Page) -> None:
    """Remove the film and upload another one; Streamlit itself holds what was removed until the next run."""
    page.get_by_test_id("stFileUploader").get_by_role("button", name=re.compile("^Remove")).first.click()
    expect(page.get_by_test_id("stText")).to_have_count(0, timeout=PATIENCE_MS)
    wait_until_idle(page)
    upload(page, "another.png", film_png())


@pytest.mark.parametrize("who", ["two tabs of one visitor", "two visitors"])
def test_what_one_uploads_never_shows_elsewhere(address: str, browser: Browser, who: str) -> None:
    name, film = f"{new_mark('same')}.png", film_png()
    with browser.new_context() as first_visitor, browser.new_context() as second_visitor:
        mine = predict_page(first_visitor, address)
        other = predict_page(first_visitor if who.startswith("two tabs") else second_visitor, address)
        upload(mine, name, film)
        wait_until_idle(other)
        assert name not in other.content()
        upload(other, name, film[:20_000])
        damaged = re.compile("damaged|cut short", re.IGNORECASE)
        expect(other.get_by_text(damaged).first).to_be_visible(timeout=PATIENCE_MS)
        # A new run of the first tab.
        mine.reload()
        wait_until_idle(mine)
        upload(mine, name, film)
        expect(mine.get_by_text(damaged)).to_have_count(0)
        expect(other.get_by_text(damaged).first).to_be_visible()


@pytest.mark.parametrize(
    "name",
    [
        "**bold**<img src=x onerror=alert(1)>[a](javascript:alert(1)).png",
        "$x$ :red[hi] `code` :material/home: <svg onload=alert(2)> &amp; ~~gone~~.png",
    ],
)
def test_the_name_of_a_file_shows_as_it_is_and_does_nothing(address: str, visitor: BrowserContext, name: str) -> None:
    page = predict_page(visitor, address)
    alerts: list[str] = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    film = film_png()
    upload(page, name, film[:20_000])
    assert_nothing_is_rendered_of_names(page)
    page.reload()
    wait_until_idle(page)
    files = [{"name": name, "mimeType": "image/png", "buffer": content} for content in (film, film[:20_000])]
    page.locator("input[type=file]").set_input_files(files)
    expect(page.get_by_text(re.compile("1 refused")).first).to_be_visible(timeout=PATIENCE_MS)
    wait_until_idle(page)
    assert_nothing_is_rendered_of_names(page)
    assert not alerts


def assert_nothing_is_rendered_of_names(page: Page) -> None:
    main = page.get_by_test_id("stMain")
    for selector in ("img[src='x']", "a[href^=javascript]", ".katex", "svg[onload]", "del"):
        expect(main.locator(selector)).to_have_count(0)
    for selector, text in (("strong", "bold"), ("span", re.compile("^hi$")), ("code", re.compile("^code$"))):
        expect(main.locator(selector).filter(has_text=text)).to_have_count(0)


def recommended_headers() -> dict[str, str]:
    """The headers that the hosting notes set."""
    lines = re.findall(r'add_header (\S+) "([^"]+)" always;', DEPLOYMENT.read_text(encoding="utf-8"))
    return dict(lines)


def test_every_page_works_under_the_recommended_headers(address: str, browser: Browser) -> None:
    headers = recommended_headers()
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    # Chromium takes an answer that the test hands on as one from elsewhere, and would not let it call the app here.
    with browser.new_context(permissions=["local-network-access"]) as visitor:
        page = visitor.new_page()
        page.set_default_timeout(PATIENCE_MS)
        broken: list[str] = []
        page.on("console", lambda message: broken.append(message.text) if "Security Policy" in message.text else None)
        page.on("pageerror", lambda error: broken.append(str(error)))

        def with_headers(route: Route) -> None:
            answer = route.fetch()
            route.fulfill(response=answer, headers={**answer.headers, **headers})

        page.route("**/*", with_headers)
        for path in ("", "Dataset", "Model_report", "Predict"):
            page.goto(f"{address}/{path}")
            expect(page.get_by_text("Not a medical device").first).to_be_visible(timeout=PATIENCE_MS)
            wait_until_idle(page)
            expect(page.get_by_test_id("stException")).to_have_count(0)
        upload(page, "film.png", film_png())
        use_the_page(page, "")
        # A request may still be under way; its handler would fail when the page closes.
        page.unroute_all(behavior="ignoreErrors")
        assert broken == []
