import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from covid_core.images.types import GreyImage
from covid_core.inference.explanation import heat_layer, overlay
from covid_core.paths import PROJECT
from covid_core.ui.viewer import lung_layer, viewer_data
from tests.phantom import phantom_film

ASSETS = PROJECT / "covid_core" / "ui" / "viewer_assets"
BOX = (12, 15, 180, 225)


@pytest.fixture
def film() -> GreyImage:
    """Float32 (240, 200) in [0, 1]."""
    return phantom_film(np.random.default_rng(1), "covid", 240)[:, 20:220].astype(np.float32) / 255


@pytest.fixture
def heat() -> np.ndarray[Any, np.dtype[np.float32]]:
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


def test_the_film_is_sent_as_a_grey_jpeg_that_looks_as_it_did(film: GreyImage) -> None:
    sent = picture(viewer_data(film, None, None)["film"], "image/jpeg")
    assert (sent.format, sent.mode, sent.size) == ("JPEG", "L", (200, 240))
    assert np.abs(np.asarray(sent, float) - film * 255).mean() < 2


def test_a_large_film_is_sent_no_larger_than_a_screen_shows_it() -> None:
    sent = viewer_data(np.tile(np.linspace(0, 1, 3000, dtype=np.float32), (2400, 1)), None, None)
    assert sent["size"] == [1024, 819]
    assert picture(sent["film"], "image/jpeg").size == (1024, 819)


def test_the_heat_lies_where_the_model_saw_the_film(film: GreyImage, heat: Any) -> None:
    sent = viewer_data(film, heat, BOX)
    assert sent["layer"]["box"] == pytest.approx([12 / 200, 15 / 240, 168 / 200, 210 / 240])
    layer = picture(sent["layer"]["picture"], "image/png")
    assert (layer.format, layer.mode) == ("PNG", "RGBA")


def test_what_lies_over_the_radiograph_and_its_controls_have_the_name_that_the_page_gives(
    film: GreyImage, heat: Any
) -> None:
    usual, named = viewer_data(film, heat, BOX), viewer_data(film, heat, BOX, layer="Opacities")
    assert (usual["layer"]["name"], usual["layer"]["opacity"]) == ("Heat map", "Heat opacity")
    assert (named["layer"]["name"], named["layer"]["opacity"]) == ("Opacities", "Overlay opacity")
    assert named["layer"]["picture"] == usual["layer"]["picture"]


@pytest.mark.parametrize("opacity", [0.1, 0.45, 0.9])
def test_the_layer_over_the_film_gives_the_overlay_of_the_reports(film: GreyImage, heat: Any, opacity: float) -> None:
    left, top, right, bottom = BOX
    layer = heat_layer(heat).astype(np.float32) / 255
    opaque = layer[..., 3:]
    stretched = [
        Image.fromarray(band).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
        for band in np.moveaxis(np.concatenate([layer[..., :3] * opaque, opaque], -1), -1, 0)
    ]
    over = np.zeros((*film.shape, 4), np.float32)
    over[top:bottom, left:right] = np.stack([np.asarray(band) for band in stretched], -1)
    blended = film[..., None] * (1 - opacity * over[..., 3:]) + opacity * over[..., :3]
    difference = np.abs(blended * 255 - overlay(film, heat, BOX, opacity))
    assert difference.mean() < 1
    assert np.percentile(difference, 99.5) < 8


def test_where_there_is_no_heat_the_layer_lets_the_film_through() -> None:
    assert not heat_layer(np.zeros((7, 7), np.float32))[..., 3].any()


def test_the_hottest_place_is_opaque_and_of_the_map_s_last_colour() -> None:
    assert heat_layer(np.ones((2, 2), np.float32), finer=1).tolist() == [[[252, 255, 164, 255]] * 2] * 2


def test_a_film_without_heat_is_sent_alone(film: GreyImage) -> None:
    sent = viewer_data(film, None, BOX)
    assert sent["layer"] is None


def test_heat_without_its_place_is_an_error(film: GreyImage, heat: Any) -> None:
    with pytest.raises(ValueError, match="box"):
        viewer_data(film, heat, None)


def test_the_lungs_lie_over_the_whole_film_with_controls_of_their_own(film: GreyImage) -> None:
    inside = np.zeros((60, 50), np.bool_)
    inside[15:45, 5:20] = True
    layer = viewer_data(film, None, None, inside)["layer"]
    assert (layer["box"], layer["name"], layer["opacity"]) == ([0, 0, 1, 1], "Lungs", "Lung opacity")
    drawn = picture(layer["picture"], "image/png")
    assert (drawn.mode, drawn.size) == ("RGBA", (200, 240))
    opaque = np.asarray(drawn)[..., 3]
    assert opaque[120, 48] > 0  # the middle of the lung
    assert not opaque[:, 100:].any()


def test_the_outline_of_the_lungs_is_opaque_and_their_inside_lets_the_film_through() -> None:
    inside = np.zeros((1000, 800), np.bool_)
    inside[200:600, 100:300] = True
    opaque = lung_layer(inside, (800, 1000))[..., 3]
    assert (opaque > 0).sum() == 400 * 200
    assert (opaque[200:600, 100:300] == 255).sum() == 400 * 200 - 392 * 192  # a line of 4 pixels all round
    assert opaque[400, 200] == round(255 * 0.3)


def test_a_lung_at_the_edge_of_the_film_is_outlined_there_as_well() -> None:
    opaque = lung_layer(np.ones((250, 250), np.bool_), (250, 250))[..., 3]
    assert (opaque[0], opaque[-1]) == (pytest.approx(255), pytest.approx(255))
    assert (opaque[1:-1, 1:-1] < 255).all()


def test_the_colour_of_the_lungs_is_none_of_the_heat(heat: Any) -> None:
    lungs = lung_layer(np.ones((4, 4), np.bool_), (4, 4))[0, 0, :3].astype(int)
    warm = heat_layer(heat)
    warm = warm[warm[..., 3] > 25][:, :3].astype(int)
    assert np.abs(warm - lungs).max(axis=1).min() > 60


def test_heat_and_lungs_at_once_are_an_error(film: GreyImage, heat: Any) -> None:
    with pytest.raises(ValueError, match="both"):
        viewer_data(film, heat, BOX, np.ones((4, 4), np.bool_))


def test_the_same_film_is_known_again_and_another_is_not(film: GreyImage, heat: Any) -> None:
    known = viewer_data(film, heat, BOX)["film_id"]
    assert viewer_data(film.copy(), None, None)["film_id"] == known
    assert viewer_data(film[::-1], heat, BOX)["film_id"] != known


def test_a_page_with_the_viewer_runs_and_its_text_for_the_blind_is_there() -> None:
    app = AppTest.from_file(str(PROJECT / "tests" / "browser" / "viewer_page.py"), default_timeout=60).run()
    assert not app.exception
    assert shown(app)["alt"] == "Film one"
    app.number_input(key="number").set_value(2).run()
    assert shown(app)["alt"] == 'Film <b id="injected">two</b> "quoted"'
    assert shown(app)["layer"]["name"] == "Heat map"
    app.toggle[0].set_value(False).run()
    assert shown(app)["layer"] is None


def test_the_session_keeps_nothing_of_the_film() -> None:
    app = AppTest.from_file(str(PROJECT / "tests" / "browser" / "viewer_page.py"), default_timeout=60).run()
    assert app.session_state["viewer"] == {}


@pytest.mark.parametrize("asset", sorted(ASSETS.iterdir()), ids=lambda path: path.name)
def test_the_component_fetches_nothing_keeps_nothing_and_writes_no_markup(asset: Path) -> None:
    text = asset.read_text(encoding="utf-8")
    for word in (
        "http",
        "@import",
        "fetch",
        "innerHTML",
        "insertAdjacentHTML",
        "Storage",
        "indexedDB",
        "cookie",
        "eval",
    ):
        assert word not in text
