"""The collection that a page shows, the thumbnails of its images, and how its tables are shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import streamlit as st

from covid_core.dataset import cohort
from covid_core.dataset.duplicates import Progress
from covid_core.dataset.image_cache import CACHE_NAME, ImageCache
from covid_core.dataset.metadata import safe_image_path
from covid_core.errors import DatasetError
from covid_core.paths import IMAGES_NAME, cache_dir
from covid_core.ui.page import static_table

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
def picture_store() -> ImageCache:
    """The image cache of installed collections, for all sessions; see `pictures_of`."""
    return ImageCache(cache_dir() / CACHE_NAME)


def pictures_of(opened: OpenCollection) -> ImageCache:
    """The image cache of a collection. That of a visitor's own is in memory, for this session only."""
    return _own_pictures() if opened.own else picture_store()


@st.cache_resource(show_spinner=False, scope="session")
def _own_pictures() -> ImageCache:
    return ImageCache(None)


def small_pictures(
    images: Path, filenames: Sequence[str], cache: ImageCache, progress: Progress | None = None
) -> list[bytes | None]:
    """Thumbnails of images in a folder.

    Args:
        images: the folder.
        filenames: values of the column `filename`.
        cache: of the collection, see `pictures_of`.
        progress: called with (done, total) as they are made.

    Returns:
        For each name a JPEG, or None where its file is missing or cannot be read, or its name leaves the folder.
    """
    paths = {number: path for number, name in enumerate(filenames) if (path := _path(images, name)) is not None}
    made = dict(zip(paths, cache.thumbnails(list(paths.values()), progress), strict=True))
    return [made.get(number) for number in range(len(filenames))]


def _path(images: Path, filename: str) -> Path | None:
    try:
        return safe_image_path(images, filename)
    except DatasetError:
        return None
