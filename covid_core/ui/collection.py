"""The collection that a page looks at, its films in small, and how its tables are shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import streamlit as st

from covid_core.data import cohort
from covid_core.data.duplicates import Progress
from covid_core.data.metadata import safe_image_path
from covid_core.data.pictures import STORE_NAME, PictureStore
from covid_core.errors import DatasetError
from covid_core.locations import IMAGES_NAME, cache_dir
from covid_core.ui.frame import static_table

EXPLORED = "explored_collection"
"""Where the session keeps the table that is looked at, prepared for its filters."""


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
        images = None if self.folder is None else self.folder / IMAGES_NAME
        return images if images is not None and images.is_dir() else None


def flow_table(steps: Sequence[Mapping[str, object]]) -> None:
    """Show the cohort's flow in images and patients, as `cohort.flow_to_json` gives it."""
    static_table(cohort.flow_table(steps))
    st.caption("A patient counts as left out with the last of his or her images.")


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


def small_pictures(
    images: Path, filenames: Sequence[str], store: PictureStore, progress: Progress | None = None
) -> list[bytes | None]:
    """Films of a folder in small.

    Args:
        images: the folder.
        filenames: values of the column `filename`.
        store: where they are kept, see `pictures_of`.
        progress: called with (done, total) as they are made.

    Returns:
        For each name a JPEG, or None where its file is missing or cannot be read, or its name leaves the folder.
    """
    paths = {number: path for number, name in enumerate(filenames) if (path := _path(images, name)) is not None}
    made = dict(zip(paths, store.thumbnails(list(paths.values()), progress), strict=True))
    return [made.get(number) for number in range(len(filenames))]


def _path(images: Path, filename: str) -> Path | None:
    try:
        return safe_image_path(images, filename)
    except DatasetError:
        return None
