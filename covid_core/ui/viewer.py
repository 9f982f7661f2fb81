"""The film viewer: a film, the model's heat or the lungs over it, and the controls a reader knows from a workstation.

Knows how a film and what lies over it become two small pictures and a component in the browser, not whose film it is or what
the model says of it. All that is set is set in the browser: no control asks for a rerun, and nothing comes back from it.

Where the pictures are: as data in the one message that shows the component, which the server drops once it is sent, and in
the memory of the visitor's page. They get no address of their own, unlike those of `st.image`, so nobody else can ask for
them, and they are neither cached nor written.
"""

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from covid_core.images.display import fitted
from covid_core.images.types import GreyImage
from covid_core.inference.explanation import heat_layer
from covid_core.ui.page import data_address

HEAT_MAP = "Heat map"
JPEG_QUALITY = 90
"""Measured on 5 films at 1024 pixels: half a grey level of 255 off on average, 1.5 in the worst hundredth of the pixels, so that
even the steepest window, four times as steep, shows no blocks; quality 95 takes half as many bytes again."""

_LUNG_COLOUR = (86, 180, 233)
"""Sky blue of Okabe and Ito (2008): no grey of a film, and no colour of the heat."""
_LUNG_FILL = 0.3  # of the outline's opacity: the film is to be read through it
_OUTLINES = 250  # lines of this width would fill the longer side
_HALF = 127  # of the greys, where a mask that is stretched is cut

_ASSETS = Path(__file__).with_name("viewer_assets")


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


_component = st.components.v2.component(
    "film_viewer", html=_asset("viewer.html"), css=_asset("viewer.css"), js=_asset("viewer.js")
)


def film_viewer(
    image: GreyImage,
    heat: NDArray[np.float32] | None,
    box: tuple[int, int, int, int] | None,
    *,
    key: str,
    alt: str,
    clearance: int = 320,
    lungs: NDArray[np.bool_] | None = None,
    seek: bool = False,
    layer: str = HEAT_MAP,
) -> None:
    """Show a film with zoom, window, level, inversion and, where there is one, a layer over it: the model's heat, or the lungs.

    The settings stay, by `key`, over reruns and from film to film while the visitor's page is open; another film is first
    seen whole.

    Args:
        image: float32 (height, width) in [0, 1].
        heat: float32 (h, w) in [0, 1], see `covid_core.inference.explanation.grad_cam`; None shows the film alone.
        box: the part of the film that the model saw: left, top, right, bottom, pixels of `image`; needed with `heat`.
        key: of the component, and of its settings.
        alt: what the picture shows, in plain words, for those who cannot see it.
        clearance: pixels of the window's height that the film leaves to the rest of the page, its own controls included.
        lungs: bool (h, w), where the lungs are, of any size: the mask is stretched over the film.
        layer: what `heat` shows, as its switch is labelled.
        seek: whether the page scrolls to the film when another one is shown, for pages that open it from further down.

    Raises:
        ValueError: there is heat without a box, or heat and lungs.
    """
    data = viewer_data(image, heat, box, lungs, layer)
    _component(key=key, data=data | {"key": key, "alt": alt, "clearance": clearance, "seek": seek})


def viewer_data(
    image: GreyImage,
    heat: NDArray[np.float32] | None,
    box: tuple[int, int, int, int] | None,
    lungs: NDArray[np.bool_] | None = None,
    layer: str = HEAT_MAP,
) -> dict[str, Any]:
    """The pictures as the component takes them; the arguments are those of `film_viewer`.

    Returns:
        film: address that holds a JPEG of at most 1024 pixels a side.
        film_id: tells a film from the next one shown, and says nothing else.
        size: width and height of the JPEG, pixels.
        layer: what lies over the film; None where nothing does. `picture` is an address that holds a PNG, `box` its left, top,
            width and height, shares of the film; `name` and `opacity` are what its controls are called.
    """
    shown = fitted(image)
    jpeg = _encoded(np.rint(shown * 255).astype(np.uint8), "JPEG", quality=JPEG_QUALITY)
    height, width = shown.shape
    return {
        "film": data_address(jpeg),
        "film_id": zlib.crc32(jpeg),
        "size": [width, height],
        "layer": _layer(image, heat, box, lungs, layer),
    }


def lung_layer(inside: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The lungs as a picture to be laid over the film: an outline with a light fill.

    Args:
        inside: bool (h, w), true in a lung.
        size: width and height of the picture, pixels.

    Returns:
        uint8 (height, width, 4): red, green, blue and how opaque it is, not multiplied by each other.
    """
    resized = Image.fromarray(inside.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
    lung = np.asarray(resized) > _HALF
    width = max(round(max(size) / _OUTLINES), 1)
    inner = np.pad(lung, width)
    for axis in (0, 1):
        inner = np.logical_and.reduce([np.roll(inner, step, axis) for step in range(-width, width + 1)])
    inner = inner[width:-width, width:-width]
    layer = np.zeros((*lung.shape, 4), np.uint8)
    layer[..., :3] = _LUNG_COLOUR
    layer[..., 3] = np.where(inner, round(255 * _LUNG_FILL), 255) * lung
    return layer


def _layer(
    image: GreyImage,
    heat: NDArray[np.float32] | None,
    box: tuple[int, int, int, int] | None,
    lungs: NDArray[np.bool_] | None,
    name: str,
) -> dict[str, Any] | None:
    height, width = image.shape
    if heat is not None and lungs is not None:
        raise ValueError("`heat` and `lungs` cannot both lie over the film. Received: both")
    if lungs is not None:
        height, width = fitted(image).shape
        picture = data_address(_encoded(lung_layer(lungs, (width, height)), "PNG"), "image/png")
        return {"picture": picture, "box": [0, 0, 1, 1], "name": "Lungs", "opacity": "Lung opacity"}
    if heat is None:
        return None
    if box is None:
        raise ValueError("`box` must say where the heat lies. Received: None")
    left, top, right, bottom = box
    return {
        "picture": data_address(_encoded(heat_layer(heat), "PNG"), "image/png"),
        "box": [left / width, top / height, (right - left) / width, (bottom - top) / height],
        "name": name,
        "opacity": "Heat opacity" if name == HEAT_MAP else "Overlay opacity",
    }


def _encoded(picture: NDArray[np.uint8], kind: str, **settings: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **settings)
    return buffer.getvalue()
