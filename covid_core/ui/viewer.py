"""The film viewer: a film, the model's heat over it, and the controls a reader knows from a workstation.

Knows how a film and its heat become two small pictures and a component in the browser, not whose film it is or what the model
says of it. All that is set is set in the browser: no control asks for a rerun, and nothing comes back from it.

Where the pictures are: as data in the one message that shows the component, which the server drops once it is sent, and in
the memory of the visitor's page. They get no address of their own, unlike those of `st.image`, so nobody else can ask for
them, and they are neither cached nor written.
"""

import base64
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from covid_core.images.display import fitted
from covid_core.images.film import GreyImage
from covid_core.inference.explanation import heat_layer

JPEG_QUALITY = 90
"""Measured on 5 films at 1024 pixels: half a grey level of 255 off on average, 1.5 in the worst hundredth of the pixels, so that
even the steepest window, four times as steep, shows no blocks; quality 95 takes half as many bytes again."""

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
) -> None:
    """Show a film with zoom, window, level, inversion and, where there is one, the model's heat over it.

    The settings stay, by `key`, over reruns and from film to film while the visitor's page is open; another film is first
    seen whole.

    Args:
        image: float32 (height, width) in [0, 1].
        heat: float32 (h, w) in [0, 1], see `covid_core.inference.explanation.grad_cam`; None shows the film alone.
        box: the part of the film that the model saw: left, top, right, bottom, pixels of `image`; needed with `heat`.
        key: of the component, and of its settings.
        alt: what the picture shows, in plain words, for those who cannot see it.
        clearance: pixels of the window's height that the film leaves to the rest of the page, its own controls included.

    Raises:
        ValueError: there is heat without a box.
    """
    _component(key=key, data=viewer_data(image, heat, box) | {"key": key, "alt": alt, "clearance": clearance})


def viewer_data(
    image: GreyImage, heat: NDArray[np.float32] | None, box: tuple[int, int, int, int] | None
) -> dict[str, Any]:
    """The pictures as the component takes them; the arguments are those of `film_viewer`.

    Returns:
        film, heat: addresses that hold a JPEG of at most 1024 pixels a side and a PNG; heat is None where there is none.
        film_id: tells a film from the next one shown, and says nothing else.
        size: width and height of the JPEG, pixels.
        box: left, top, width and height of the heat, shares of the film.
    """
    shown = fitted(image)
    jpeg = _encoded(np.rint(shown * 255).astype(np.uint8), "JPEG", quality=JPEG_QUALITY)
    height, width = shown.shape
    data: dict[str, Any] = {
        "film": _address("image/jpeg", jpeg),
        "film_id": zlib.crc32(jpeg),
        "size": [width, height],
        "heat": None,
        "box": None,
    }
    if heat is None:
        return data
    if box is None:
        raise ValueError("`box` must say where the heat lies. Received: None")
    (left, top, right, bottom), (height, width) = box, image.shape
    return data | {
        "heat": _address("image/png", _encoded(heat_layer(heat), "PNG")),
        "box": [left / width, top / height, (right - left) / width, (bottom - top) / height],
    }


def _encoded(picture: NDArray[np.uint8], kind: str, **settings: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **settings)
    return buffer.getvalue()


def _address(mime: str, content: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"
