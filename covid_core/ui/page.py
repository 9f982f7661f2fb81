"""What every page has: configuration, links to the others, and how texts and charts are shown."""

import base64
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.errors import StreamlitPageNotFoundError

from covid_core.errors import CovidCoreError
from covid_core.paths import PROJECT
from covid_core.report.csv_tables import CSV_ENCODING, csv_of
from covid_core.text import RESEARCH_ONLY
from covid_core.ui.auth import require_sign_in
from covid_core.ui.privacy import forget_uploads, limit_retention

PAGES = (
    ("streamlit_app.py", "Overview", ":material/home:", "What this is and how to read a result."),
    ("pages/1_Predict.py", "Predict", ":material/radiology:", "Upload X-rays and see the result of each."),
    ("pages/2_Dataset.py", "Dataset", ":material/table_chart:", "See the images the model was trained on."),
    ("pages/3_Model_report.py", "Model report", ":material/analytics:", "See how often the model is right and wrong."),
)
"""File, title, icon and purpose of each page."""
PAIRED_FROM = 380
"""Pixels: two charts stand side by side where each has as many."""

_ICON = PROJECT / "docs" / "icon.png"
_SIDEBAR_WIDTH = 280
_SECONDS_BETWEEN_STEPS = 0.1
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|$~:&])")
_REPLACED = re.compile(r"(?<=:)(?=material/|[\w+-]+:)|(?<=(?<!\S)[-<>~])(?=(?:->|[->=])(?!\S))")
# Streamlit writes on charts in a grey too weak for a light page.
_STYLE = """<style>
[data-testid="stPlotlyChart"] .main-svg text:not(.hoverlayer text) { fill: currentColor !important; }
/* Its file could hold names that a spreadsheet runs as formulas; each page has a safe download of its own. */
[data-testid="stElementToolbarButton"]:has([aria-label^="Download as CSV"]) { display: none; }
/* A column gets its width by what stands in it, the longest text the most; Streamlit would stop each at 400 pixels. */
[data-testid="stTable"] :is(td, th) > * { max-width: none !important; }
/* On a narrow screen a table scrolls sideways, rather than squeezing its texts to a letter a line. */
@media (max-width: 640px) {
  [data-testid="stTable"] { overflow-x: auto; }
  [data-testid="stTable"] table { width: max-content; }
  [data-testid="stTable"] :is(td, th) > * { width: max-content; max-width: 15rem !important; }
}
</style>"""


def page(title: str, purpose: str = "", *, keeps_uploads: bool = False) -> None:
    """Begin a page: its configuration, links to the others, its title, and the research notice.

    Args:
        title: of the page.
        purpose: what it is for, Markdown.
        keeps_uploads: whether the images uploaded before are still needed; any other page drops what is kept of them.
    """
    if not keeps_uploads:
        forget_uploads()
    st.set_page_config(
        page_title=f"{title} · COVID-19 X-ray reader",
        page_icon=str(_ICON),
        layout="wide",
        initial_sidebar_state=_SIDEBAR_WIDTH,
    )
    require_sign_in()
    limit_retention(title)
    st.html(_STYLE)
    with st.sidebar:
        for path, label, icon, _ in PAGES:
            link(path, label, icon)
        st.space("small")
    with st.bottom:
        st.caption(f":material/science: **{RESEARCH_ONLY}**")
    st.title(title, anchor=False)
    if purpose:
        st.markdown(purpose)


def link(path: str, label: str, icon: str) -> None:
    """Link to another page."""
    # A page that is run by itself, as in a test, has no others beside it.
    with suppress(StreamlitPageNotFoundError):
        st.page_link(path, label=label, icon=icon, width="stretch")


def plain(text: str) -> str:
    """Escape a text so that Markdown shows it as it is.

    What Streamlit replaces after Markdown (`:material/home:`, `->`) is parted by a character that takes no room.
    """
    return _MARKDOWN.sub(r"\\\1", _REPLACED.sub("\u2060", " ".join(text.split())))


def data_address(content: bytes, mime: str = "image/jpeg") -> str:
    """An address that holds a picture itself: one with an address on the server could be asked for by others."""
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"


def problem(error: CovidCoreError) -> None:
    """Show in place what is wrong and what to do about it."""
    st.error(plain(str(error)), icon=":material/error:")


def chart(figure: go.Figure, alt: str, save_as: tuple[str, str] | None = None) -> None:
    """Show a figure that scrolls with the page instead of being dragged, and that says in `alt` what it is.

    Args:
        figure: as of `covid_core.figures`.
        alt: its text alternative.
        save_as: name and format (`png` or `svg`) of the picture that a button over the chart saves; None for no button.
    """
    figure.update_layout(dragmode=False)
    config: dict[str, Any] = {"displayModeBar": False}
    if save_as is not None:
        name, kind = save_as
        config = {
            "modeBarButtons": [["toImage"]],
            "displaylogo": False,
            "toImageButtonOptions": {"filename": name, "format": kind, "scale": 2 if kind == "png" else 1},
        }
    st.plotly_chart(figure, config=config, alt=alt)


def offer(
    label: str,
    make: Callable[[], bytes] | bytes,
    file_name: str,
    mime: str | None = None,
    *,
    help: str | None = None,  # noqa: A002  (as Streamlit calls it)
    quiet: bool = False,
) -> None:
    """Offer a file in a button that does not run the page again.

    Args:
        label: of the button; its key as well, together with the file name.
        make: the bytes of the file; or what makes them when the button is pressed, on a thread that has no session: it may
            call nothing of Streamlit.
        file_name: that the file is saved as.
        mime: its media type.
        help: shown at the button, Markdown.
        quiet: whether the button stands without a frame, as below a table.
    """
    st.download_button(
        label,
        make,
        file_name=file_name,
        mime=mime,
        key=f"{label} {file_name}",
        help=help,
        icon=":material/download:",
        type="tertiary" if quiet else "secondary",
        on_click="ignore",
    )


def csv_bytes(table: pd.DataFrame) -> bytes:
    """A table as the content of a CSV file of which no spreadsheet runs a cell."""
    return csv_of(table).encode(CSV_ENCODING, errors="backslashreplace")


def static_table(table: pd.DataFrame) -> None:
    """Show a small table of texts whole, its first column naming the rows; the cells are shown as they are, not as Markdown."""
    st.table(table.map(plain).set_index(table.columns[0]))


def set_state(key: str, value: object) -> None:
    """Keep a value in the session; for callbacks."""
    st.session_state[key] = value


def table_height(rows: int, most: int) -> int:
    """Pixels for a header and the rows, of which `most` are seen at once and a bit of the next."""
    return 38 + 35 * rows if rows <= most else 41 + 35 * most


def progress_bar(place: DeltaGenerator, title: str, patience: float = 0.0) -> Callable[[int, int], None]:
    """A bar that is called with (done, total) and drawn ten times a second at most, at first after `patience` seconds.

    Where it is drawn, the run ends if the visitor has clicked something.
    """
    drawn_at = time.monotonic() + patience - _SECONDS_BETWEEN_STEPS

    def show(done: int, total: int) -> None:
        nonlocal drawn_at
        now = time.monotonic()
        if now - drawn_at >= _SECONDS_BETWEEN_STEPS:
            drawn_at = now
            place.progress(min(done / max(total, 1), 1.0), f"{title}: {done:,} of {total:,}")

    return show
