"""Which collection a page shows: the installed one, an uploaded table, or a named folder.

Naming a folder and downloading all images are for the owner of the machine (`COVID_OWN_COMPUTER`): on a server a visitor could
otherwise look into its folders. What a visitor uploads or names is kept in the session alone.

A press of any button ends the running script at its next call of Streamlit. A download makes one every quarter of a second, so
it stops then too. Complete files stay.
"""

import math
import time
from pathlib import Path

import pandas as pd
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from covid_core.dataset.download import DATASET_BYTES, fetch_dataset
from covid_core.dataset.duplicates import Progress
from covid_core.dataset.metadata import read_metadata
from covid_core.errors import CovidCoreError, DatasetError
from covid_core.files import sha256_of_bytes
from covid_core.paths import (
    IMAGES_NAME,
    METADATA_NAME,
    dataset_dir,
    dataset_listing,
    dataset_url,
    fetched_dir,
    own_computer,
)
from covid_core.ui.dataset import EXPLORED, OpenCollection
from covid_core.ui.page import plain, problem, set_state

_FOLDER, _UPLOADS, _OWN_TABLE = "folder_of_collection", "uploads_taken_away", "table_of_visitor"
_RESULT, _STOPPED = "download_result", "download_stopped"
_SECONDS_BEFORE_ESTIMATE = 2.0
_MOST_TABLE_BYTES = 2**29

_Opened = tuple[pd.DataFrame, str]
"""A table, and the SHA-256 of the bytes that it was read from."""
_Stamp = tuple[str, int, int, int]
"""Path, size, time of change and inode of a file: what changes when the file is changed or replaced."""


def choose_collection() -> OpenCollection | None:
    """Let the visitor choose where the data come from, and open them.

    An upload goes before a named folder, and that before the installed dataset. The choice stays while other pages are open.

    Returns:
        The collection; None, with the reason shown, where there is none or it cannot be read.
    """
    installed = dataset_dir()
    _say_how_the_download_ended()
    with st.expander("Data source", expanded=installed is None, icon=":material/database:"):
        upload, folder = _ways(installed)
    try:
        own = _own_table(upload)
        if own is not None:
            chosen = OpenCollection(*own, None, own=True)
            in_use = "the table you uploaded, without its images"
        elif folder:
            named = _named_folder(folder)
            chosen = OpenCollection(*_opened_by_visitor(_stamp(named)), named, own=True)
            in_use = f"the folder {named}"
        elif installed is not None:
            chosen = OpenCollection(*_opened_for_all(_stamp(installed)), installed, own=False)
            in_use = "the installed dataset"
        else:
            return None
    except CovidCoreError as error:
        problem(error)
        if upload is not None or folder:
            _way_back(installed)
        return None
    st.caption(f"In use: {plain(in_use)}.")
    if chosen.own:
        _way_back(installed)
    return chosen


def installed_collection() -> OpenCollection | None:
    """The installed dataset; None where there is none, or it cannot be read."""
    folder = dataset_dir()
    if folder is None:
        return None
    try:
        return OpenCollection(*_opened_for_all(_stamp(folder)), folder, own=False)
    except CovidCoreError:
        return None


def _ways(installed: Path | None) -> tuple[UploadedFile | None, str]:
    """Show the ways to data, and run a download where one is requested.

    Returns:
        The upload, and the named folder, `""` for none.
    """
    own = own_computer()
    if installed is None:
        st.markdown("No dataset is installed. Download the public one, or open a table of your own.")
    get, give = st.columns(2, gap="large") if own or installed is None else (None, st.container())
    metadata_only = None
    if get is not None:
        with get:
            metadata_only = _fetch_buttons(table=installed is None, archive=own)
    folder: str | None = None
    with give:
        key = f"table_{st.session_state.get(_UPLOADS, 0)}"
        upload = st.file_uploader(
            "metadata.csv of any version; it stays in this session",
            type=["csv", "tsv", "txt"],
            key=key,
            on_change=_taken_out,
            args=(key,),
        )
        if own:
            folder = st.text_input(
                "Or a folder of this computer that holds metadata.csv and images/",
                key=_FOLDER,
                max_chars=4096,
                persist_state="session",
            )
    if not own:
        st.caption(
            "For all images, the person who runs this app uses `python -m covid_core fetch`, or sets `COVID_DATASET_DIR` to "
            "their folder."
        )
    if metadata_only is not None:
        _run_fetch(metadata_only=metadata_only)
    return upload, (folder or "").strip()


def _own_table(upload: UploadedFile | None) -> _Opened | None:
    """The table of the visitor: the one that was uploaded last, until it is removed.

    The uploader forgets its file when another page is opened, so the table is kept beside it.
    """
    kept: tuple[str, _Opened] | None = st.session_state.get(_OWN_TABLE)
    if upload is not None and (kept is None or kept[0] != upload.file_id):
        _remove_table()  # one that cannot be read leaves none behind
        with st.spinner("Reading the table"):
            data = upload.getvalue()
            kept = st.session_state[_OWN_TABLE] = (upload.file_id, (read_metadata(data), sha256_of_bytes(data)))
    return None if kept is None else kept[1]


def _remove_table() -> None:
    """Drop the visitor's table, and what was made of it for the page."""
    st.session_state[_OWN_TABLE] = None
    st.session_state.pop(EXPLORED, None)


def _way_back(installed: Path | None) -> None:
    words = "Remove this table" if installed is None else "Back to the installed dataset"
    st.button(words, key="back_to_installed", icon=":material/undo:", on_click=_go_back)


def _go_back() -> None:
    # An uploader cannot be emptied; one with another key is empty.
    st.session_state[_UPLOADS] = st.session_state.get(_UPLOADS, 0) + 1
    st.session_state[_FOLDER] = ""
    _remove_table()


def _taken_out(key: str) -> None:
    """Remove the table where the visitor removed it from the uploader."""
    if st.session_state[key] is None:
        _remove_table()


def _named_folder(text: str) -> Path:
    """The folder that a visitor named, who may have pasted it in quotes, or have named the table in it.

    Raises:
        DatasetError: there is none, or no table in it.
    """
    try:
        folder = Path(text.strip("\"'")).expanduser()
        if folder.name == METADATA_NAME and folder.is_file():
            folder = folder.parent
        if not folder.is_absolute():
            raise DatasetError(f"Give the whole path of the folder, from the root. Received: {text}")
        if not folder.is_dir():
            raise DatasetError(f"There is no folder {folder} on this computer. Check its name.")
        if not (folder / METADATA_NAME).is_file():
            raise DatasetError(f"There is no {METADATA_NAME} in {folder}. Name the folder that holds it and images/.")
    except (OSError, RuntimeError, ValueError) as cause:  # no permission, no such home, a name no system knows
        raise DatasetError(f"The folder {text} cannot be opened. Check its name and that you may read it.") from cause
    return folder


def _stamp(folder: Path) -> _Stamp:
    path = folder / METADATA_NAME
    try:
        found = path.stat()
    except OSError as cause:
        raise DatasetError(f"{METADATA_NAME} cannot be read. Check that it is still there, then reload.") from cause
    return str(path), found.st_size, found.st_mtime_ns, found.st_ino


def _read(stamp: _Stamp) -> _Opened:
    path, size, *_ = stamp
    if size > _MOST_TABLE_BYTES:
        most = _MOST_TABLE_BYTES / 2**20
        raise DatasetError(f"{METADATA_NAME} has {size / 2**20:.0f} MB. Give a table of {most:.0f} at most.")
    try:
        data = Path(path).read_bytes()
    except OSError as cause:
        raise DatasetError(f"{METADATA_NAME} cannot be read: {cause.strerror or cause}.") from cause
    return read_metadata(data), sha256_of_bytes(data)


# Resources: shared as they are, never copied, never changed.
@st.cache_resource(max_entries=2, show_spinner="Reading the table")
def _opened_for_all(stamp: _Stamp) -> _Opened:
    return _read(stamp)


@st.cache_resource(max_entries=1, show_spinner="Reading the table", scope="session")
def _opened_by_visitor(stamp: _Stamp) -> _Opened:
    return _read(stamp)


def _fetch_buttons(*, table: bool, archive: bool) -> bool | None:
    """Show the buttons that start a download, of the table alone and of all images.

    Returns:
        None until one is pressed; then whether it was the one of the table alone.
    """
    pressed = None
    if table and st.button("Get the table (under 1 MB)", key="fetch_table", icon=":material/table_chart:"):
        pressed = True
    if archive:
        begun = any((fetched_dir() / IMAGES_NAME).glob("*"))
        label = "Resume the images" if begun else f"Get table and images ({DATASET_BYTES / 2**20:.0f} MB at most)"
        if st.button(label, key="fetch_archive", icon=":material/photo_library:"):
            pressed = False
        if begun:
            st.caption("Files that are here already are not downloaded again.")
    return pressed


def _run_fetch(*, metadata_only: bool) -> None:
    """Download all images or the table alone, showing the progress; then run the page again with the data."""
    url = dataset_url()
    place = st.empty()
    with place.container():
        progress = _progress()
        st.button(
            "Stop the download",
            key="stop_fetch",
            icon=":material/stop_circle:",
            on_click=set_state,
            args=(_STOPPED, True),
        )
        st.caption("Any other click on this page stops it too. Complete files stay.")
    try:
        report = fetch_dataset(
            fetched_dir(),
            base_url=url,
            listing_url=dataset_listing(url),
            metadata_only=metadata_only,
            progress=progress,
        )
    except CovidCoreError as error:
        place.empty()
        problem(error)
    else:
        st.session_state[_RESULT] = " ".join(report.sentences())
        st.rerun()


def _say_how_the_download_ended() -> None:
    """Say, once, how the download before this run ended."""
    if result := st.session_state.pop(_RESULT, ""):
        st.success(plain(result), icon=":material/download_done:")
    if st.session_state.pop(_STOPPED, False):
        st.info("Stopped. Complete files stay; the same button resumes the download.", icon=":material/stop_circle:")


def time_left(seconds: float) -> str:
    """A rough time in words: minutes, or hours from 90 minutes on."""
    minutes = math.ceil(seconds / 60)
    if minutes <= 1:
        return "less than a minute left"
    return f"about {minutes} minutes left" if minutes <= 90 else f"about {round(minutes / 60)} hours left"  # noqa: PLR2004


def _progress() -> Progress:
    """A bar with the time left. It is drawn at every call: a press of the button to stop takes effect there."""
    bar = st.progress(0.0, text="Waiting for the server")
    first: tuple[float, int] | None = None

    def show(done: int, total: int) -> None:
        nonlocal first
        now = time.monotonic()
        if total == 0:
            bar.progress(0.0, text="Waiting for the server")
            return
        began, had = first = first or (now, done)
        text = f"{done} of {total} files"
        if had < done < total and now - began >= _SECONDS_BEFORE_ESTIMATE:
            text += f", {time_left((total - done) * (now - began) / (done - had))}"
        bar.progress(done / total, text=text)

    return show
