"""A page with nothing but one image of a collection, for its tests; what is opened stands in the session's state."""

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from covid_core.dataset.metadata import read_metadata
from covid_core.ui.dataset import OpenCollection, open_image, opened_image
from covid_core.ui.image_detail import image_detail
from covid_core.ui.models import open_bundle


@dataclass(frozen=True)
class Opening:
    """What the page opens; the attributes are what `image_detail` and `OpenCollection` take."""

    folder: Path
    image: str
    model: Path | None = None
    own: bool = False
    with_folder: bool = True
    selection: tuple[str, ...] = ()


def page(opening: Opening) -> None:
    """What the page of the collection does with an image that is asked for."""
    table = read_metadata(opening.folder / "metadata.csv")
    folder = opening.folder if opening.with_folder else None
    collection = OpenCollection(table, str(opening.folder), folder, opening.own)
    if "begun" not in st.session_state:
        st.session_state["begun"] = True
        open_image(opening.image)
    asked = opened_image()
    if asked is not None:
        bundle = None if opening.model is None else open_bundle(opening.model)
        image_detail(collection, asked, bundle, lambda name: f"fate of {name}", opening.selection)


if __name__ == "__main__":
    page(st.session_state["opening"])
