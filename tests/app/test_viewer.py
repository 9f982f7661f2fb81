"""What the viewer is given; `tests/browser/test_viewer_in_a_browser.py` shows what it does with it."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from streamlit.testing.v1 import AppTest

from covid_core.images.types import GreyImage
from covid_core.inference.explanation import heat_layer, overlay
from covid_core.paths import PROJECT
from covid_core.ui.viewer import lung_layer, model_layer, viewer_data
from tests.phantom import phantom_image

ASSETS = PROJECT / "covid_core" / "ui"
BOX = (12, 15, 180, 225)


@pytest.fixture
def image() -> GreyImage:
    """Float32 (240, 200) in [0, 1]."""
    return phantom_image(np.random.default_rng(1), "covid", 240)[:, 20:220].astype(np.float32) / 255


@pytest.fixture
def heat() -> NDArray[np.float32]:
    """One hot cell among 14 x 14 and a warm one beside it."""
    cells = np.zeros((14, 14), np.float32)
    cells[4, 9], cells[5, 9] = 1, 0.4
    return cells


def picture(address: str, mime: str) -> Image.Image:
    kind, content = address.split(",")
    assert kind == f"data:{mime};base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def shown(app: AppTest) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(app.get("bidi_component")[0].proto.json)
    return data


def test_the_image_is_sent_as_a_grey_jpeg_no_larger_than_a_screen_shows_it(image: GreyImage) -> None:
    data = viewer_data(image)
    sent = picture(data["film"], "image/jpeg")
    assert (sent.format, sent.mode, sent.size, data["layer"]) == ("JPEG", "L", (200, 240), None)
    assert np.abs(np.asarray(sent, float) - image * 255).mean() < 2
    large = viewer_data(np.tile(np.linspace(0, 1, 3000, dtype=np.float32), (2400, 1)))
    assert large["size"] == [1024, 819]
    assert picture(large["film"], "image/jpeg").size == (1024, 819)


def test_a_map_lies_where_the_model_saw_the_image_under_the_name_that_the_page_gives(
    image: GreyImage, heat: NDArray[np.float32]
) -> None:
    usual, named = (
        viewer_data(image, one)["layer"] for one in (model_layer(heat, BOX), model_layer(heat, BOX, "Opacities"))
    )
    assert usual["box"] == pytest.approx([12 / 200, 15 / 240, 168 / 200, 210 / 240])
    assert (usual["name"], usual["opacity"]) == ("Heat map", "Heat opacity")
    assert (named["name"], named["opacity"]) == ("Opacities", "Overlay opacity")
    assert picture(usual["picture"], "image/png").mode == "RGBA"
    assert named["picture"] == usual["picture"]


@pytest.mark.parametrize("opacity", [0.1, 0.45, 0.9])
def test_the_layer_over_the_image_gives_the_overlay_of_the_reports(
    image: GreyImage, heat: NDArray[np.float32], opacity: float
) -> None:
    left, top, right, bottom = BOX
    layer = heat_layer(heat).astype(np.float32) / 255
    opaque = layer[..., 3:]
    stretched = [
        Image.fromarray(band).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
        for band in np.moveaxis(np.concatenate([layer[..., :3] * opaque, opaque], -1), -1, 0)
    ]
    over = np.zeros((*image.shape, 4), np.float32)
    over[top:bottom, left:right] = np.stack([np.asarray(band) for band in stretched], -1)
    blended = image[..., None] * (1 - opacity * over[..., 3:]) + opacity * over[..., :3]
    difference = np.abs(blended * 255 - overlay(image, heat, BOX, opacity))
    assert difference.mean() < 1
    assert np.percentile(difference, 99.5) < 8


def test_heat_goes_from_transparent_to_opaque_and_of_the_map_s_last_colour() -> None:
    assert not heat_layer(np.zeros((7, 7), np.float32))[..., 3].any()
    assert heat_layer(np.ones((2, 2), np.float32), finer=1).tolist() == [[[252, 255, 164, 255]] * 2] * 2


def test_the_lungs_lie_over_the_whole_image_with_an_opaque_outline_and_a_light_fill(heat: NDArray[np.float32]) -> None:
    inside = np.zeros((1000, 800), np.bool_)
    inside[200:600, 100:300] = True
    layer = lung_layer(inside, (1000, 800))
    opaque = layer.picture[..., 3]
    assert (opaque > 0).sum() == 400 * 200
    assert (opaque[200:600, 100:300] == 255).sum() == 400 * 200 - 392 * 192  # a line of 4 pixels all round
    assert opaque[400, 200] == round(255 * 0.3)
    at_the_edge = lung_layer(np.ones((60, 50), np.bool_), (250, 250))
    assert (at_the_edge.picture[[0, -1], :, 3] == 255).all()
    assert (at_the_edge.picture[1:-1, 1:-1, 3] < 255).all()
    sent = viewer_data(np.zeros((250, 250), np.float32), at_the_edge)["layer"]
    assert (sent["box"], sent["name"], sent["opacity"]) == ([0, 0, 1, 1], "Lungs", "Lung opacity")
    warm = heat_layer(heat)
    warm = warm[warm[..., 3] > 25][:, :3].astype(int)
    assert np.abs(warm - layer.picture[0, 0, :3].astype(int)).max(axis=1).min() > 60, "their colour is none of the heat"


def test_the_same_image_is_known_again_and_another_is_not(image: GreyImage, heat: NDArray[np.float32]) -> None:
    known = viewer_data(image, model_layer(heat, BOX))["film_id"]
    assert viewer_data(image.copy())["film_id"] == known
    assert viewer_data(image[::-1])["film_id"] != known


def test_a_page_shows_the_viewer_with_its_text_alternative_and_keeps_nothing_of_the_image() -> None:
    app = AppTest.from_file(str(PROJECT / "tests" / "browser" / "viewer_page.py"), default_timeout=60).run()
    assert not app.exception
    assert shown(app)["alt"] == "Image one"
    app.number_input(key="number").set_value(2).run()
    assert shown(app)["alt"] == 'Image <b id="injected">two</b> "quoted"'
    assert shown(app)["layer"]["name"] == "Heat map"
    app.toggle[0].set_value(False).run()
    assert shown(app)["layer"] is None
    assert app.session_state["viewer"] == {}


@pytest.mark.parametrize("asset", sorted(ASSETS.glob("*_assets/*")), ids=lambda path: path.name)
def test_no_component_fetches_or_keeps_anything_or_writes_markup(asset: Any) -> None:
    text = asset.read_text(encoding="utf-8")
    forbidden = "http @import fetch innerHTML insertAdjacentHTML Storage indexedDB cookie eval"
    assert [word for word in forbidden.split() if word in text] == []
