"""The table of the collection on a page: which one is looked at, and how it is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from covid_core.data import cohort
from covid_core.data.metadata import read_metadata, safe_image_path
from covid_core.data.pictures import STORE_NAME, PictureStore
from covid_core.errors import CovidCoreError, DatasetError, ImageRefusedError
from covid_core.images.decode import decode_file
from covid_core.images.display import fitted
from covid_core.locations import cache_dir, dataset_dir
from covid_core.ui.frame import problem, static_table, table_height

_SIDE = 320  # pixels of a film in small


@dataclass(frozen=True)
class OpenCollection:
    """The collection that is looked at.

    Attributes:
        table: as `read_metadata` gives it.
        content: SHA-256 of the bytes of `metadata.csv`; tells one table from another.
        folder: holds `metadata.csv`, and maybe `images/` and `annotations/`; None for an uploaded table.
        own: whether this visitor uploaded or named it, so that nothing of it may be seen by others.
    """

    table: pd.DataFrame = field(repr=False)
    content: str
    folder: Path | None
    own: bool

    @property
    def images(self) -> Path | None:
        """The folder of its images; None where it is not there."""
        images = None if self.folder is None else self.folder / "images"
        return images if images is not None and images.is_dir() else None


def images_table(table: pd.DataFrame) -> None:
    """Show the rows of the collection, as `overview.shown_table` lays them out."""
    column = st.column_config
    narrow = {
        "patientid": "Patient",
        "view": "View",
        "modality": "Modality",
        "sex": "Sex",
        "date": "Date",
        "license": "Licence",
    }
    wider = {"filename": "File", "finding": "Finding", "location": "Place"}
    st.dataframe(
        table,
        hide_index=True,
        height=table_height(len(table), 8),
        placeholder="",
        column_config={
            **{name: column.TextColumn(title, width="small") for name, title in narrow.items()},
            **{name: column.TextColumn(title, width="medium") for name, title in wider.items()},
            "label": column.TextColumn("Class", width=110),
            "age": column.NumberColumn("Age", format="%d", width="small"),
            "offset": column.NumberColumn("Day", format="%d", width="small", help="Days since onset or admission"),
            "url": column.LinkColumn("Source", width="medium"),
            "notes": column.TextColumn("Notes", width="large"),
        },
        alt="The images that meet the filters",
    )


def flow_table(steps: Sequence[Mapping[str, object]]) -> None:
    """Show the cohort's flow in images and patients, as `cohort.flow_to_json` gives it."""
    static_table(cohort.flow_table(steps))
    st.caption("A patient counts as left out with the last of his or her images.")


def installed_table() -> tuple[Path | None, pd.DataFrame | None]:
    """The folder of the installed dataset's images and its table; None for what is not there or cannot be read."""
    folder = dataset_dir()
    if folder is None:
        return None, None
    try:
        table = _installed_table((folder / "metadata.csv").read_bytes())
    except (CovidCoreError, OSError):
        return None, None
    images = folder / "images"
    return images if images.is_dir() else None, table


def choose_table() -> tuple[pd.DataFrame, Path | None] | None:
    """Take the installed dataset's table, or the one the user uploads in its place.

    Returns:
        The table, as `read_metadata` gives it, and the folder of its images if they are installed; None, with the reason
        shown in place, where there is no table or it cannot be read.
    """
    installed = dataset_dir()
    if installed is None:
        st.info(
            "No dataset is installed. Upload its `metadata.csv` to look at it, or install it: `python -m covid_core fetch`.",
            icon=":material/info:",
        )
    with st.expander("Look at another metadata.csv", expanded=installed is None, icon=":material/upload_file:"):
        upload = st.file_uploader("metadata.csv, of any version", type=["csv", "tsv", "txt"], key="table")
    try:
        if upload is not None:
            return _uploaded_table(upload.getvalue()), None
        if installed is not None:
            return _installed_table((installed / "metadata.csv").read_bytes()), installed / "images"
    except CovidCoreError as error:
        problem(error)
    except OSError as error:
        problem(DatasetError(f"The table of the installed dataset cannot be read: {error.strerror}."))
    return None


@st.cache_data(max_entries=200, show_spinner=False)
def picture_in_dataset(images: Path, filename: str) -> NDArray[np.uint8] | None:
    """A film of the installed dataset in small, uint8 (h, w) of at most 320 pixels a side.

    None where its file is missing or cannot be read, or its name leaves the folder.
    """
    try:
        film = decode_file(safe_image_path(images, filename))
    except (ImageRefusedError, DatasetError):
        return None
    return np.rint(fitted(film, _SIDE) * 255).astype(np.uint8)


@st.cache_resource(show_spinner=False)
def picture_store() -> PictureStore:
    """The thumbnails and fingerprints of the films of installed collections, for all sessions; see `pictures_of`."""
    return PictureStore(cache_dir() / STORE_NAME)


def pictures_of(opened: OpenCollection) -> PictureStore:
    """Where the pictures of a collection are kept: of what a visitor named himself only in memory, for his session."""
    return _own_pictures() if opened.own else picture_store()


@st.cache_resource(show_spinner=False, scope="session", on_release=PictureStore.close)
def _own_pictures() -> PictureStore:
    return PictureStore(None)


# Keyed by the bytes themselves, which Streamlit hashes whole; of a large table it would hash a sample only.
@st.cache_data(max_entries=2, show_spinner="Reading the table")
def _installed_table(data: bytes) -> pd.DataFrame:
    return read_metadata(data)


@st.cache_data(max_entries=2, show_spinner="Reading the table", scope="session")
def _uploaded_table(data: bytes) -> pd.DataFrame:
    return read_metadata(data)
