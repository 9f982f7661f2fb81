"""A page with nothing but the gallery or the table of the dataset in COVID_DATASET_DIR, for their tests.

It says which image was asked for, and can close it, as the page of the dataset does.
"""

import hashlib

import streamlit as st

from covid_core.dataset.filters import Filters, filtered, with_choices
from covid_core.dataset.metadata import read_metadata
from covid_core.paths import dataset_dir
from covid_core.ui.dataset import OpenCollection, open_image, opened_image
from covid_core.ui.dataset_table import table_section
from covid_core.ui.gallery import gallery_section

SECTIONS = {"Images": gallery_section, "Table": table_section}


def page() -> None:
    """A filter, the section that is chosen, and the image that was asked for."""
    st.set_page_config(layout="wide")
    folder = dataset_dir()
    assert folder is not None
    data = (folder / "metadata.csv").read_bytes()
    collection = OpenCollection(read_metadata(data), hashlib.sha256(data).hexdigest(), folder, own=False)
    views = st.multiselect("View", ["PA", "AP", "L"], key="view", bind="query-params")
    section = st.segmented_control("Section", list(SECTIONS), default="Images", key="section", bind="query-params")
    st.text(f"Opened: {opened_image()}")
    st.button("Close", on_click=open_image)
    st.button("Run again")
    SECTIONS[section or "Images"](collection, filtered(with_choices(collection.table), Filters(views=views)))
    st.session_state["runs"] = st.session_state.get("runs", 0) + 1
    st.text(f"Runs: {st.session_state['runs']}")


if __name__ == "__main__":
    page()
