"""The collection that a page shows, the thumbnails of its images, and which of them is opened.

The opened image is kept in the session, and in the address as `?film=`.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from covid_core.dataset import cohort
from covid_core.dataset.duplicates import Progress
from covid_core.dataset.image_cache import CACHE_NAME, ImageCache
from covid_core.dataset.metadata import safe_image_path
from covid_core.errors import DatasetError
from covid_core.paths import IMAGES_NAME, cache_dir
from covid_core.ui.page import static_table

EXPLORED = "explored_collection"
"""Where the session keeps the table that is looked at, prepared for its filters."""
_IMAGE, _IN_ADDRESS = "film_of_collection", "film"


@dataclass(frozen=True)
class OpenCollection:
    """The collection that is looked at.

    Attributes:
        table: as `read_metadata` gives it.
        content: SHA-256 of `metadata.csv`.
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


def store_of(opened: OpenCollection) -> dict[str, Any]:
    """What was worked out of a collection, as long as its table stays and no file comes or goes.

    That of an installed one is shared by all visitors, that of a visitor's own is kept for this session only.
    """
    changed_ns = 0 if opened.images is None else opened.images.stat().st_mtime_ns
    return (_own_store if opened.own else _shared_store)(opened.content, str(opened.folder or ""), changed_ns)


@st.cache_resource(max_entries=4, show_spinner=False)
def _shared_store(content: str, folder: str, changed_ns: int) -> dict[str, Any]:  # noqa: ARG001  (the key)
    return {}


@st.cache_resource(max_entries=2, show_spinner=False, scope="session")
def _own_store(content: str, folder: str, changed_ns: int) -> dict[str, Any]:  # noqa: ARG001  (the key)
    return {}


def small_pictures(
    images: Path, filenames: Sequence[str], cache: ImageCache, progress: Progress | None = None
) -> list[bytes | None]:
    """Thumbnails of images in a folder, by values of the column `filename`.

    Returns:
        For each name a JPEG, or None where its file is missing or cannot be read, or its name leaves the folder.
    """
    paths: dict[int, Path] = {}
    for number, name in enumerate(filenames):
        with suppress(DatasetError):
            paths[number] = safe_image_path(images, name)
    made = dict(zip(paths, cache.thumbnails(list(paths.values()), progress), strict=True))
    return [made.get(number) for number in range(len(filenames))]


def open_image(filename: str | None = None) -> None:
    """Open an image on the next run, and name it in the address; None closes it. For callbacks."""
    st.session_state[_IMAGE] = filename
    _write_address()


def open_ticked(key: str, filenames: Sequence[object]) -> None:
    """Open the image of the row that was ticked in the table with this key, and clear the tick; for callbacks."""
    rows = st.session_state[key]["selection"]["rows"]
    st.session_state[key] = {"selection": {"rows": []}}
    if rows and 0 <= rows[0] < len(filenames):
        open_named(filenames[rows[0]])


def open_named(filename: object) -> None:
    """Open an image, or report that there is none where no file is named; for callbacks."""
    if isinstance(filename, str) and filename:
        open_image(filename)
    else:
        st.toast("This row names no file, so there is no image to open.")


def opened_image() -> str | None:
    """The file name of the opened image, None if none is."""
    image = st.session_state.get(_IMAGE)
    return image if isinstance(image, str) and image else None


def follow_address() -> None:
    """Open the image that a link names, and follow the browser's Back and Forward.

    In any other run the session counts: a browser may still send the address from before the image was opened or closed.
    """
    context = get_script_run_ctx()
    if _IMAGE not in st.session_state or (context is not None and context.is_history_navigation):
        st.session_state[_IMAGE] = st.query_params.get(_IN_ADDRESS)
    _write_address()


def _write_address() -> None:
    image = opened_image()
    if image is None:
        st.query_params.pop(_IN_ADDRESS, None)
    elif st.query_params.get(_IN_ADDRESS) != image:
        st.query_params[_IN_ADDRESS] = image
