"""The image viewer: an image, a layer over it such as the model's heat, and the controls a reader knows from a workstation.

All that is set is set in the browser: no control asks for a rerun, and nothing comes back from it.

The pictures are data in the one message that shows the component, which the server drops once it is sent, and in the memory of
the visitor's page. They have no address of their own, unlike those of `st.image`, so nobody else can ask for them, and they are
neither cached nor written.
"""

import io
import zlib
from dataclasses import dataclass
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
"""Measured on 5 images at 1024 pixels: half a grey level of 255 off on average, 1.5 in the worst hundredth of the pixels, so that
even the steepest window, four times as steep, shows no blocks; quality 95 takes half as many bytes again."""

_LUNG_COLOUR = (86, 180, 233)
"""Sky blue of Okabe and Ito (2008): no grey of an image, and no colour of the heat."""
_LUNG_FILL = 0.3  # of the outline's opacity: the image is to be read through it
_OUTLINES = 250  # lines of this width would fill the longer side
_HALF = 127  # of the greys, where a mask that is stretched is cut

_ASSETS = Path(__file__).with_name("viewer_assets")


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


_component = st.components.v2.component(
    "film_viewer", html=_asset("viewer.html"), css=_asset("viewer.css"), js=_asset("viewer.js")
)


@dataclass(frozen=True)
class Layer:
    """What lies over an image.

    Attributes:
        picture: uint8 (h, w, 4): red, green, blue and how opaque it is, not multiplied by each other; stretched over `box`.
        name: of the switch that hides it.
        opacity: label of the slider.
        box: the part of the image that it covers: left, top, right, bottom, pixels; None for the whole image.
    """

    picture: NDArray[np.uint8]
    name: str
    opacity: str
    box: tuple[int, int, int, int] | None = None


def model_layer(cells: NDArray[np.float32], box: tuple[int, int, int, int], name: str = HEAT_MAP) -> Layer:
    """A map of the model, float32 (h, w) in [0, 1], over the part of the image that the model saw, in pixels."""
    return Layer(heat_layer(cells), name, "Heat opacity" if name == HEAT_MAP else "Overlay opacity", box)


def lung_layer(inside: NDArray[np.bool_], shape: tuple[int, int]) -> Layer:
    """The lungs as an outline with a light fill.

    Args:
        inside: bool (h, w), true in a lung.
        shape: height and width of the image as it is shown, pixels.
    """
    height, width = shape
    resized = Image.fromarray(inside.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BILINEAR)
    lung = np.asarray(resized) > _HALF
    line = max(round(max(shape) / _OUTLINES), 1)
    inner = np.pad(lung, line)
    for axis in (0, 1):
        inner = np.logical_and.reduce([np.roll(inner, step, axis) for step in range(-line, line + 1)])
    inner = inner[line:-line, line:-line]
    picture = np.zeros((*shape, 4), np.uint8)
    picture[..., :3] = _LUNG_COLOUR
    picture[..., 3] = np.where(inner, round(255 * _LUNG_FILL), 255) * lung
    return Layer(picture, "Lungs", "Lung opacity")


def radiograph_viewer(
    image: GreyImage, layer: Layer | None = None, *, key: str, alt: str, clearance: int = 320, seek: bool = False
) -> None:
    """Show an image with zoom, window, level, inversion and, where there is one, a layer over it.

    The settings stay, by `key`, over reruns and from image to image while the visitor's page is open; another image is first
    seen whole.

    Args:
        image: float32 (height, width) in [0, 1].
        layer: what lies over it.
        key: of the component, and of its settings.
        alt: the text alternative of the picture.
        clearance: pixels of the window's height that the image leaves to the rest of the page, its own controls included.
        seek: whether the page scrolls to the image when another one is shown, for pages that open it from further down.
    """
    _component(key=key, data=viewer_data(image, layer) | {"key": key, "alt": alt, "clearance": clearance, "seek": seek})


def viewer_data(image: GreyImage, layer: Layer | None = None) -> dict[str, Any]:
    """The pictures as the component takes them.

    Returns:
        film: address that holds a JPEG of at most 1024 pixels a side.
        film_id: tells an image from the next one shown, and says nothing else.
        size: width and height of the JPEG, pixels.
        layer: None, or: `picture`, an address that holds a PNG; `box`, its left, top, width and height as shares of the image;
            `name` and `opacity`.
    """
    shown = fitted(image)
    jpeg = _encoded(np.rint(shown * 255).astype(np.uint8), "JPEG", quality=JPEG_QUALITY)
    lying = None
    if layer is not None:
        height, width = image.shape
        left, top, right, bottom = layer.box or (0, 0, width, height)
        lying = {
            "picture": data_address(_encoded(layer.picture, "PNG"), "image/png"),
            "box": [left / width, top / height, (right - left) / width, (bottom - top) / height],
            "name": layer.name,
            "opacity": layer.opacity,
        }
    return {"film": data_address(jpeg), "film_id": zlib.crc32(jpeg), "size": list(shown.shape[::-1]), "layer": lying}


def _encoded(picture: NDArray[np.uint8], kind: str, **settings: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **settings)
    return buffer.getvalue()
