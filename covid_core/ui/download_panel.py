"""The download of the public dataset on a page: buttons to start it, its progress, and a button to stop it.

A press of any button ends the running script at its next call of Streamlit. The download makes one every quarter of a second,
so it stops then too. Complete files stay.
"""

import math
import time

import streamlit as st

from covid_core.dataset.download import DATASET_BYTES, fetch_dataset
from covid_core.dataset.duplicates import Progress
from covid_core.errors import CovidCoreError
from covid_core.paths import IMAGES_NAME, dataset_listing, dataset_url, fetched_dir
from covid_core.ui.page import plain, problem, set_state

_RESULT, _STOPPED = "download_result", "download_stopped"
_SECONDS_BEFORE_ESTIMATE = 2.0


def fetch_buttons(*, table: bool, archive: bool) -> bool | None:
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


def run_fetch(*, metadata_only: bool) -> None:
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


def say_how_it_ended() -> None:
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
