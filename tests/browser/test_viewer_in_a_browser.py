"""The image viewer in Chromium: what each control does, what stays, and what never happens."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from covid_core.inference.explanation import overlay
from tests.browser.app_server import running_app
from tests.browser.pages import run_again, wait_until, without_complaints
from tests.browser.viewer_page import BOX, FIRST_ALT, OTHER_ALT, heat, image

pytestmark = pytest.mark.browser
Grey = NDArray[np.float64]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_app(tmp_path_factory.mktemp("viewer") / "app.log", "tests/browser/viewer_page.py") as address:
        yield address


@pytest.fixture
def page(page: Page, address: str) -> Iterator[Page]:
    """The page with its first image on show."""
    with without_complaints(page, address):
        page.goto(address)
        loaded(page, FIRST_ALT)
        yield page


def loaded(page: Page, alt: str) -> None:
    expect(page.get_by_role("img", name=alt, exact=True)).to_be_visible()
    page.wait_for_function(
        "() => document.querySelector('[data-testid=stBidiComponentIsolated]')"
        ".shadowRoot.querySelector('.image').naturalWidth > 0"
    )


def frame(page: Page) -> Locator:
    return page.get_by_role("group", name="Image. Plus")


def heat_layer(page: Page) -> Locator:
    return page.locator("img.layer")


def seen(page: Page) -> Grey:
    """What stands in the frame, (h, w, 3) in [0, 255]."""
    page.mouse.move(1200, 700)
    return np.asarray(Image.open(io.BytesIO(frame(page).screenshot())).convert("RGB"), float)


def seen_image(page: Page) -> Grey:
    """The image as it is seen whole, without the black beside it."""
    box = image_box(page)
    outer = frame(page).bounding_box()
    assert outer is not None
    left, top = round(box["x"] - outer["x"]), round(box["y"] - outer["y"])
    return seen(page)[top : top + round(box["height"]), left : left + round(box["width"])]


def image_box(page: Page) -> dict[str, float]:
    box = page.locator("img.image").bounding_box()
    assert box is not None
    return dict(box)


def factor(page: Page) -> str:
    return page.locator(".factor").inner_text()


def set_slider(page: Page, name: str, value: float) -> None:
    page.get_by_role("slider", name=name).fill(str(value))


def centre(page: Page) -> tuple[float, float]:
    box = frame(page).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def next_image(page: Page) -> None:
    page.get_by_test_id("stNumberInputStepUp").click()
    loaded(page, OTHER_ALT)


def scrolled(page: Page) -> float:
    """How far the page is scrolled down, pixels."""
    return float(page.get_by_test_id("stMain").evaluate("main => main.scrollTop"))


def test_the_image_is_seen_whole_above_the_fold_with_the_heat_of_the_reports(page: Page) -> None:
    """Against `overlay`, resized by Pillow to the size on the screen."""
    box, reset = image_box(page), page.get_by_role("button", name="Reset").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(400 / 500, abs=0.01)
    assert reset is not None
    assert reset["y"] + reset["height"] < 800
    picture = seen_image(page)
    drawn = Image.fromarray(overlay(image(1), heat(1), BOX, 0.45))
    expected = np.asarray(drawn.resize((picture.shape[1], picture.shape[0]), Image.Resampling.BICUBIC), float)
    assert np.abs(picture - expected).mean() < 3
    hot = picture[..., 0] - picture[..., 2]
    assert np.corrcoef(hot.ravel(), (expected[..., 0] - expected[..., 2]).ravel())[0, 1] > 0.98


def test_the_heat_is_turned_off_and_its_opacity_goes_from_a_tenth_to_nine_tenths(page: Page) -> None:
    page.get_by_role("checkbox", name="Heat map").uncheck()
    expect(heat_layer(page)).to_be_hidden()
    expect(page.get_by_role("slider", name="Heat opacity")).to_be_disabled()
    picture = seen_image(page)
    assert np.ptp(picture, axis=2).max() == 0  # grey in every pixel
    frame(page).focus()
    page.keyboard.press("h")
    expect(heat_layer(page)).to_be_visible()
    expect(page.get_by_role("checkbox", name="Heat map")).to_be_checked()
    slider = page.get_by_role("slider", name="Heat opacity")
    expect(slider).to_have_value("0.45")
    slider.focus()
    page.keyboard.press("Home")
    expect(heat_layer(page)).to_have_css("opacity", "0.1")
    page.keyboard.press("End")
    expect(heat_layer(page)).to_have_css("opacity", "0.9")
    expect(slider).to_have_attribute("aria-valuetext", "90%")


def test_window_and_level_are_linear_between_black_and_white(page: Page) -> None:
    """DICOM PS3.3 C.11.2.1.2: (grey - (level - width / 2)) / width, cut off at 0 and 1."""
    page.get_by_role("checkbox", name="Heat map").uncheck()
    before = seen_image(page)
    settings = [(0, 0), (1, 0), (2, 0.3), (1, -0.5), (-1, 0), (-0.5, 0.6), (0, 0.8)]
    for contrast, brightness in settings:
        set_slider(page, "Contrast", contrast)
        set_slider(page, "Brightness", brightness)
        width, level = 255 / 2**contrast, 127.5 * (1 - brightness)
        expected = np.clip((before - (level - width / 2)) / width, 0, 1) * 255
        said = page.get_by_role("slider", name="Contrast").get_attribute("aria-valuetext")
        assert said == f"Window {round(width)} of 255 greys"
        for invert in (False, True):
            page.get_by_role("checkbox", name="Invert").set_checked(invert)
            # The browser windows the image and then reduces it to the screen: where it cuts off, edges differ a little.
            difference = np.abs(seen_image(page) - (255 - expected if invert else expected))
            assert difference.mean() < 2.5, (contrast, brightness, invert)


def test_buttons_and_keys_zoom_and_the_image_stays_in_the_frame(page: Page) -> None:
    whole = image_box(page)
    page.get_by_role("button", name="Zoom in").click()
    assert image_box(page)["height"] == pytest.approx(1.4 * whole["height"], rel=0.01)
    frame(page).focus()
    page.keyboard.press("+")
    assert factor(page) == "196%"
    page.keyboard.press("-")
    page.get_by_role("button", name="Zoom out").click()
    assert image_box(page) == pytest.approx(whole)
    page.get_by_role("button", name="Zoom out").click()
    assert factor(page) == "100%"
    for _ in range(9):
        page.keyboard.press("+")
        frame(page).focus()
        page.keyboard.press("+")
    assert factor(page) == "600%"
    page.keyboard.press("0")
    assert image_box(page) == pytest.approx(whole)


def test_a_zoomed_image_goes_with_the_pointer_and_the_arrows_but_not_out_of_the_frame(page: Page) -> None:
    frame(page).focus()
    for _ in range(4):
        page.keyboard.press("+")
    before, (x, y) = image_box(page), centre(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y - 30, steps=4)
    page.mouse.up()
    moved = image_box(page)
    assert (moved["x"] - before["x"], moved["y"] - before["y"]) == pytest.approx((40, -30), abs=1)
    page.keyboard.press("ArrowUp")
    outer = frame(page).bounding_box()
    assert outer is not None
    assert image_box(page)["y"] - moved["y"] == pytest.approx(outer["height"] / 10, abs=1)
    for _ in range(40):
        page.keyboard.press("ArrowUp")
    assert image_box(page)["y"] == pytest.approx(outer["y"], abs=1)


def test_a_double_click_zooms_to_its_place_and_back(page: Page) -> None:
    whole, (x, y) = image_box(page), centre(page)
    x, y = x - 60, y + 50
    page.mouse.dblclick(x, y)
    box = image_box(page)
    assert factor(page) == "250%"
    for place, start, length in ((x, "x", "width"), (y, "y", "height")):
        share = (place - whole[start]) / whole[length]
        assert (place - box[start]) / box[length] == pytest.approx(share, abs=0.01)
    page.mouse.dblclick(x, y)
    assert image_box(page) == pytest.approx(whole)


def test_the_wheel_scrolls_the_page_until_the_image_is_clicked(page: Page) -> None:
    x, y = centre(page)
    page.mouse.move(x, y)
    for turn, is_there in ((200, lambda: scrolled(page) == 200), (-200, lambda: scrolled(page) == 0)):
        page.mouse.wheel(0, turn)
        wait_until(page, is_there)
        assert factor(page) == "100%"
    page.mouse.click(x, y)
    page.mouse.wheel(0, -300)
    expect(page.locator(".factor")).to_have_text("182%")  # e ** 0.6
    page.mouse.wheel(0, 900)
    expect(page.locator(".factor")).to_have_text("100%")
    page.mouse.wheel(0, 100)
    wait_until(page, lambda: scrolled(page) > 0)


def test_two_fingers_zoom(page: Page) -> None:
    x, y = centre(page)
    touch = page.context.new_cdp_session(page)

    def fingers(kind: str, *apart: float) -> None:
        points = [{"x": x + sign * way, "y": y, "id": index} for way in apart for index, sign in enumerate((-1, 1))]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", 40)
    for apart in range(45, 105, 5):
        fingers("touchMove", apart)
    fingers("touchEnd")
    expect(page.locator(".factor")).to_have_text("250%")
    assert image_box(page)["x"] + image_box(page)["width"] / 2 == pytest.approx(x, abs=8)


def test_all_that_is_set_stays_over_a_rerun_until_it_is_reset(page: Page) -> None:
    before = seen(page)
    page.get_by_role("button", name="Zoom in").click()
    set_slider(page, "Contrast", 1)
    set_slider(page, "Brightness", 0.5)
    set_slider(page, "Heat opacity", 0.9)
    page.get_by_role("checkbox", name="Invert").check()
    page.get_by_role("checkbox", name="Heat map").uncheck()
    changed = seen(page)
    assert np.abs(changed - before).mean() > 20
    run_again(page)
    assert np.abs(seen(page) - changed).max() == 0
    reset = page.get_by_role("button", name="Reset")
    expect(reset).to_have_class("changed")
    reset.click()
    expect(reset).not_to_have_class("changed")
    assert np.abs(seen(page) - before).max() == 0


def test_another_image_is_shown_with_the_same_settings_but_whole(page: Page) -> None:
    whole = image_box(page)
    page.get_by_role("checkbox", name="Heat map").uncheck()
    page.get_by_role("checkbox", name="Invert").check()
    set_slider(page, "Brightness", 0.2)
    page.get_by_role("button", name="Zoom in").click()
    first = page.locator("img.image").get_attribute("src")
    next_image(page)
    expect(page.locator("img.image")).to_have_attribute("alt", OTHER_ALT)
    expect(page.locator("#injected")).to_have_count(0)
    assert page.locator("img.image").get_attribute("src") != first
    expect(heat_layer(page)).to_be_hidden()
    expect(page.get_by_role("checkbox", name="Invert")).to_be_checked()
    expect(page.get_by_role("slider", name="Brightness")).to_have_value("0.2")
    expect(page.locator("img.image")).to_have_css("filter", "contrast(0.833333) brightness(1.2) invert(1)")
    assert image_box(page) == pytest.approx(whole)


def test_settings_are_kept_while_no_image_is_shown_and_without_heat_it_has_no_controls(page: Page) -> None:
    set_slider(page, "Contrast", 0.5)
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_text("Show image").click()
    expect(frame(page)).to_have_count(0)
    page.get_by_text("Show image").click()
    loaded(page, FIRST_ALT)
    expect(page.get_by_role("slider", name="Contrast")).to_have_value("0.5")
    expect(page.locator(".factor")).to_have_text("140%")
    page.get_by_text("With heat").click()
    expect(page.get_by_role("checkbox", name="Heat map")).to_have_count(0)
    expect(page.get_by_role("slider")).to_have_count(2)
    expect(heat_layer(page)).to_be_hidden()


def test_settings_are_kept_neither_in_the_address_nor_in_the_browser(page: Page) -> None:
    page.get_by_role("checkbox", name="Invert").check()
    stored = page.evaluate(
        "() => JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie, location.href])"
    )
    assert "invert" not in stored
    assert "data:" not in stored
    page.reload()
    loaded(page, FIRST_ALT)
    expect(page.get_by_role("checkbox", name="Invert")).not_to_be_checked()


def test_the_lungs_lie_over_the_image_in_blue_with_controls_of_their_own(page: Page) -> None:
    page.get_by_role("checkbox", name="Heat map").uncheck()
    page.get_by_text("Lungs instead").click()
    expect(page.get_by_role("checkbox", name="Lungs", exact=True)).to_be_checked()  # who asks for a layer sees it
    expect(page.get_by_role("checkbox", name="Heat map")).to_have_count(0)
    page.get_by_role("slider", name="Lung opacity").fill("0.9")
    picture = seen_image(page)
    blue = picture[..., 2] - picture[..., 0]
    height, width = blue.shape
    rows, columns = np.nonzero(blue > 25)  # outline and fill: their colour is 147 bluer than red
    assert rows.min() / height == pytest.approx(0.2, abs=0.02)
    assert (rows.max() + 1) / height == pytest.approx(0.7, abs=0.02)
    assert columns.min() / width == pytest.approx(10 / 80, abs=0.02)
    assert (columns.max() + 1) / width == pytest.approx(70 / 80, abs=0.02)
    assert blue[round(0.45 * height), round(0.5 * width)] == 0  # between the lungs
    frame(page).focus()
    page.keyboard.press("h")
    expect(heat_layer(page)).to_be_hidden()
    assert np.ptp(seen_image(page), axis=2).max() == 0


def test_the_page_scrolls_to_the_image_when_another_one_is_opened_from_further_down(page: Page) -> None:
    button = page.get_by_role("button", name="Next image")
    button.scroll_into_view_if_needed()
    assert image_box(page)["y"] < 0
    button.click()
    loaded(page, OTHER_ALT)
    wait_until(page, lambda: image_box(page)["y"] >= 0)


def test_tab_goes_from_the_image_through_every_control(page: Page) -> None:
    frame(page).focus()
    order = []
    for _ in range(9):
        order.append(page.evaluate("() => document.activeElement.shadowRoot?.activeElement.id"))
        outline = page.evaluate("() => getComputedStyle(document.activeElement.shadowRoot.activeElement).outlineStyle")
        assert outline == "solid"
        page.keyboard.press("Tab")
    assert order == ["", "opacity", "contrast", "brightness", "layer", "invert", "out", "in", "reset"]


def test_on_a_phone_everything_fits_the_width(page: Page) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    for control in (frame(page), page.get_by_role("slider", name="Brightness")):
        wait_until(page, lambda control=control: (box := control.bounding_box())["x"] + box["width"] <= 400)
