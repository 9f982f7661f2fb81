"""The download of the public dataset on a page: buttons to begin it, how far it is, and a button to stop it.

A press of any button ends the running script at its next call of Streamlit; the download calls it every quarter of a second, so
that it ends then, too. What was fetched stays. Knows nothing of what is done with the data.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from covid_core.data.fetch import DATASET_BYTES, fetch_dataset, is_begun
from covid_core.data.fetch_report import FetchReport
from covid_core.errors import CovidCoreError
from covid_core.locations import dataset_listing, dataset_url, fetched_dir
from covid_core.ui.frame import plain, problem

_SAID = "said_of_fetch"
_MB = 1e6
_SECONDS_BEFORE_A_GUESS = 2.0


def fetch_buttons(*, table: bool, archive: bool) -> bool | None:
    """Show the buttons that begin a download.

    Args:
        table: offer the table alone.
        archive: offer the table with all images.

    Returns:
        None until one is pressed; then whether it was the one of the table alone.
    """
    asked = None
    out_dir = fetched_dir()
    if table:
        begun = is_begun(out_dir, metadata_only=True)
        label = "Go on with the table" if begun else "Get the table (under 1 MB)"
        if st.button(label, key="fetch_table", icon=":material/table_chart:"):
            asked = True
    if archive:
        begun = is_begun(out_dir)
        label = "Go on with the images" if begun else f"Get table and images ({DATASET_BYTES / 2**20:.0f} MB at most)"
        if st.button(label, key="fetch_archive", icon=":material/photo_library:"):
            asked = False
        if begun:
            st.caption("Files that are here already are not fetched again.")
    return asked


def run_fetch(*, metadata_only: bool) -> None:
    """Fetch, showing how far it is; when done, run the page again with the data.

    Args:
        metadata_only: the table alone.
    """
    url = dataset_url()
    try:
        with _shown_progress() as progress:
            report = fetch_dataset(
                fetched_dir(),
                base_url=url,
                listing_url=dataset_listing(url),
                metadata_only=metadata_only,
                progress=progress,
                in_bytes=progress.in_bytes,
            )
    except CovidCoreError as error:
        problem(error)
        return
    st.session_state[_SAID] = ("done", _in_words(report))
    st.rerun()


def say_how_it_ended() -> None:
    """Say, once, how the download before this run ended."""
    kind, words = st.session_state.pop(_SAID, ("", ""))
    if kind == "done":
        st.success(plain(words), icon=":material/download_done:")
    elif kind == "stopped":
        st.info(words, icon=":material/stop_circle:")


def time_left(seconds: float) -> str:
    """A rough time in words: a number of minutes, or of hours from 90 minutes on."""
    minutes = math.ceil(seconds / 60)
    if minutes <= 1:
        return "less than a minute left"
    return f"about {minutes} minutes left" if minutes <= 90 else f"about {round(minutes / 60)} hours left"  # noqa: PLR2004


class _Progress:
    """Moves a bar of the page, called with (done, total)."""

    def __init__(self) -> None:
        self._bar = st.progress(0.0, text="Asking the server")
        self._bytes = False
        self._began: tuple[float, int] | None = None

    def in_bytes(self) -> None:
        """Count in MB from here on."""
        self._bytes = True

    def __call__(self, done: int, total: int) -> None:
        # The bar is called in any case: that is where a press of the button that stops comes in.
        if total == 0:
            self._bar.progress(0.0, text="Asking the server")
            return
        if self._began is None:
            self._began = (time.monotonic(), done)
        self._bar.progress(min(done / total, 1.0), text=self._words(done, total))

    def _words(self, done: int, total: int) -> str:
        how_far = f"{done / _MB:.1f} of {total / _MB:.1f} MB" if self._bytes else f"{done} of {total} files"
        began, had = self._began or (time.monotonic(), done)
        seconds = time.monotonic() - began
        if done == total or done <= had or seconds < _SECONDS_BEFORE_A_GUESS:
            return how_far
        return f"{how_far}, {time_left((total - done) * seconds / (done - had))}"


@contextmanager
def _shown_progress() -> Iterator[_Progress]:
    """A bar and a button to stop, which go when the work ends."""
    place = st.empty()
    with place.container():
        progress = _Progress()
        st.button("Stop the download", key="stop_fetch", icon=":material/stop_circle:", on_click=_stopped)
        st.caption("Any other click on this page stops it as well. What is fetched stays.")
    try:
        yield progress
    except CovidCoreError:
        place.empty()
        raise
    place.empty()


def _stopped() -> None:
    st.session_state[_SAID] = (
        "stopped",
        "Stopped. What was fetched stays; under Where the data come from it goes on from there.",
    )


def _in_words(report: FetchReport) -> str:
    sentences = [f"{report.downloaded} files fetched, {report.skipped} were here already.", report.comparison]
    if report.not_found:
        sentences.append(f"The server does not have {len(report.not_found)} of the files.")
    sentences.append(report.left_out)
    return " ".join(filter(None, sentences))
