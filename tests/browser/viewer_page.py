"""A page with nothing but the image viewer, for its tests: images to step through, with heat, with lungs and without."""

from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from covid_core.images.types import GreyImage
from covid_core.ui.viewer import lung_layer, model_layer, radiograph_viewer
from tests.phantom import phantom_image

BOX = (40, 50, 360, 450)
FIRST_ALT = "Image one"
OTHER_ALT = 'Image <b id="injected">two</b> "quoted"'


def image(number: int) -> GreyImage:
    """A phantom image that is higher than wide, float32 (500, 400) in [0, 1]."""
    square = phantom_image(np.random.default_rng(number), "covid", 500)
    return square[:, 50:450].astype(np.float32) / 255


def heat(number: int) -> NDArray[np.float32]:
    """A hot cell and a warm one, float32 (7, 7) in [0, 1]."""
    cells: NDArray[Any] = np.zeros((7, 7), np.float32)
    cells[2 + number % 3, 4:6] = 1, 0.5
    return cells


def lungs() -> NDArray[np.bool_]:
    """A rectangle in each half of the image, bool (100, 80)."""
    inside = np.zeros((100, 80), np.bool_)
    inside[20:70, 10:35] = inside[20:70, 45:70] = True
    return inside


def page() -> None:
    """The viewer beside a few widgets."""
    st.set_page_config(layout="wide")
    st.session_state["runs"] = st.session_state.get("runs", 0) + 1
    left, right = st.columns(2)
    with right:
        number = st.number_input("Image number", 1, 9, key="number")
        with_heat = st.toggle("With heat", value=True, key="with_heat")
        with_lungs = st.toggle("Lungs instead", key="with_lungs")
        shown = st.toggle("Show image", value=True, key="shown")
        st.button("Run again")
        st.container(height=1500, border=False)
        st.button("Next image", on_click=_next)
    if not shown:
        st.stop()
    with left:
        alt = FIRST_ALT if number == 1 else OTHER_ALT
        layer = lung_layer(lungs(), (500, 400)) if with_lungs else model_layer(heat(number), BOX) if with_heat else None
        radiograph_viewer(image(number), layer, key="viewer", alt=alt, seek=True)
    with right:
        st.text(f"Runs: {st.session_state['runs']}")


def _next() -> None:
    st.session_state["number"] += 1


if __name__ == "__main__":
    page()
