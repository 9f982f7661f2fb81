"""What becomes of an upload: where it is while it is used, who sees it, and what is left of it afterwards."""

import re
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.app_server import PROJECT, running_app
from tests.browser.conftest import NewPage
from tests.browser.evidence import (
    copies_in_memory,
    encodings,
    files_since,
    image_dicom,
    image_png,
    no_file_may_grow,
    open_files,
    process_at,
)
from tests.browser.pages import wait_until, wait_until_idle

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into the memory and the open files of a process"),
]
DEPLOYMENT = PROJECT / "docs" / "DEPLOYMENT.md"


def open_predict(page: Page, address: str) -> Page:
    page.goto(f"{address}/Predict")
    expect(page.locator("input[type=file]")).to_be_attached()
    wait_until_idle(page)
    return page


def upload(page: Page, name: str, content: bytes) -> None:
    """Upload one image, and wait until the page is done with it."""
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "image/png", "buffer": content})
    # The page sets the name beside the answer.
    expect(page.get_by_test_id("stText").filter(has_text=re.compile(f"^{re.escape(name)}$"))).to_be_visible()
    wait_until_idle(page)


def new_mark(kind: str) -> str:
    return kind + secrets.token_hex(12)


def test_an_upload_of_ten_megabytes_is_read_by_an_app_that_can_write_no_file(address: str, page: Page) -> None:
    content = image_png(colour=True, compressed=False)
    assert len(content) > 10_000_000
    open_predict(page, address)
    with no_file_may_grow(process_at(address)):
        upload(page, "large.png", content)
        expect(page.get_by_test_id("stFileUploader").get_by_text("large.png")).to_be_visible()


def test_nothing_of_an_upload_is_written_or_logged_even_for_debugging(new_page: NewPage, tmp_path: Path) -> None:
    home, temporary, log = tmp_path / "home", tmp_path / "tmp", tmp_path / "app.log"
    home.mkdir()
    temporary.mkdir()
    marks = {place: new_mark(place) for place in ("NAME", "TEXT", "PIXELS", "PATIENT", "TYPED")}
    needles = tuple(needle for mark in marks.values() for needle in encodings(mark))
    images = {
        f"{marks['NAME']}.png": image_png(marks["TEXT"], marks["PIXELS"], compressed=False),
        f"{marks['NAME']}.dcm": image_dicom(marks["PATIENT"], marks["PIXELS"]),
        f"{marks['NAME']} broken.png": image_png(marks["TEXT"], marks["PIXELS"], compressed=False)[:2_000_000],
    }
    start = time.time()
    with running_app(log, HOME=str(home), TMPDIR=str(temporary), STREAMLIT_LOGGER_LEVEL="debug") as address:
        process = process_at(address)
        downloads = 0
        for name, content in images.items():
            page = open_predict(new_page(), address)
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
        for field in page.get_by_role("textbox", name="Patient").all():
            if field.is_visible():
                field.fill(patient)
                field.press("Enter")
                expect(page.get_by_text(f"The PDF names: {patient}")).to_be_visible()
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


def test_an_image_leaves_the_memory_with_its_tab_and_with_its_page(address: str, new_page: NewPage) -> None:
    process = process_at(address)
    waiting = new_page()
    for leave in (Page.close, open_another_page, replace_image):
        pixels = new_mark("PIXELS")
        content = image_png(pixels=pixels, compressed=False)
        # The first bytes of a file may stay a while in a buffer of the network, so those in the middle are looked for.
        traces = (content[1_500_000:1_500_064], pixels.encode())
        page = open_predict(new_page(), address)
        upload(page, "film.png", content)
        assert copies_in_memory(process, *traces), "the image was not found where it must be"
        leave(page)
        wait_until(waiting, lambda traces=traces: not copies_in_memory(process, *traces))
        page.close()


def open_another_page(page: Page) -> None:
    page.get_by_role("link", name="Model report").first.click()
    expect(page.get_by_role("heading", name="Model report")).to_be_visible()
    wait_until_idle(page)


def replace_image(page: Page) -> None:
    """Remove the image and upload another one; Streamlit itself holds what was removed until the next run."""
    page.get_by_test_id("stFileUploader").get_by_role("button", name=re.compile("^Remove")).first.click()
    expect(page.get_by_test_id("stText")).to_have_count(0)
    wait_until_idle(page)
    upload(page, "another.png", image_png())


@pytest.mark.parametrize("who", ["two tabs of one visitor", pytest.param("two visitors", marks=pytest.mark.smoke)])
def test_what_one_uploads_never_shows_elsewhere(address: str, new_page: NewPage, who: str) -> None:
    name, image = f"{new_mark('same')}.png", image_png()
    mine = open_predict(new_page(), address)
    other = open_predict(mine.context.new_page() if who.startswith("two tabs") else new_page(), address)
    upload(mine, name, image)
    wait_until_idle(other)
    assert name not in other.content()
    upload(other, name, image[:20_000])
    damaged = re.compile("damaged|cut short", re.IGNORECASE)
    expect(other.get_by_text(damaged).first).to_be_visible()
    # A new run of the first tab.
    open_predict(mine, address)
    upload(mine, name, image)
    expect(mine.get_by_text(damaged)).to_have_count(0)
    expect(other.get_by_text(damaged).first).to_be_visible()


@pytest.mark.parametrize(
    "name",
    [
        "**bold**<img src=x onerror=alert(1)>[a](javascript:alert(1)).png",
        "$x$ :red[hi] `code` :material/home: <svg onload=alert(2)> &amp; ~~gone~~.png",
    ],
)
def test_the_name_of_a_file_shows_as_it_is_and_does_nothing(address: str, page: Page, name: str) -> None:
    open_predict(page, address)
    alerts: list[str] = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    image = image_png()
    upload(page, name, image[:20_000])
    assert_nothing_is_rendered_of_names(page)
    page.reload()
    wait_until_idle(page)
    files = [{"name": name, "mimeType": "image/png", "buffer": content} for content in (image, image[:20_000])]
    page.locator("input[type=file]").set_input_files(files)
    expect(page.get_by_text(re.compile("1 refused")).first).to_be_visible()
    wait_until_idle(page)
    assert_nothing_is_rendered_of_names(page)
    assert not alerts


def assert_nothing_is_rendered_of_names(page: Page) -> None:
    main = page.get_by_test_id("stMain")
    for selector in ("img[src='x']", "a[href^=javascript]", ".katex", "svg[onload]", "del"):
        expect(main.locator(selector)).to_have_count(0)
    for selector, text in (("strong", "bold"), ("span", re.compile("^hi$")), ("code", re.compile("^code$"))):
        expect(main.locator(selector).filter(has_text=text)).to_have_count(0)


@pytest.mark.smoke
def test_every_page_works_under_the_recommended_headers(address: str, new_page: NewPage) -> None:
    headers = dict(re.findall(r'add_header (\S+) "([^"]+)" always;', DEPLOYMENT.read_text(encoding="utf-8")))
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    # Chromium takes an answer that the test hands on as one from elsewhere, and would not let it call the app here.
    page = new_page(permissions=["local-network-access"])
    broken: list[str] = []
    page.on("console", lambda message: broken.append(message.text) if "Security Policy" in message.text else None)
    page.on("pageerror", lambda error: broken.append(str(error)))
    with answers_changed(page, headers):
        for path in ("", "Dataset", "Model_report", "Predict"):
            page.goto(f"{address}/{path}")
            expect(page.get_by_text("Not a medical device").first).to_be_visible()
            wait_until_idle(page)
            expect(page.get_by_test_id("stException")).to_have_count(0)
        upload(page, "film.png", image_png())
        use_the_page(page, "Ada")
    assert broken == []


@contextmanager
def answers_changed(page: Page, headers: dict[str, str]) -> Iterator[None]:
    """Let every answer that the page gets have these headers as well."""

    def with_headers(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, headers={**answer.headers, **headers})

    page.route("**/*", with_headers)
    try:
        yield
    finally:
        # A request may still be under way when the page closes; its handler would fail and, with it, whatever runs next.
        page.unroute_all(behavior="ignoreErrors")
