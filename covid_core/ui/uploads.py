"""Uploaded images on a page: what was given, their results as they come, and which one is shown."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.typing import UploadedFile

from covid_core.images.orientation import Repair
from covid_core.inference.batch import Given, given_content, read_all
from covid_core.inference.prediction import Reading
from covid_core.inference.predictor import Predictor
from covid_core.text import counted
from covid_core.ui.page import table_height
from covid_core.ui.privacy import ASKED, CHOSEN, RESULTS, TABLE, forget_all_but

MAX_IMAGES = 500
"""Read for a session, as many as an archive may hold."""
MAX_KEPT_BYTES = 256 * 2**20
"""Of the pictures and model inputs that a session keeps: 250 of the largest, which have about 1 MiB each."""

_RESULT_ROWS = "result_rows"
_SECONDS_BETWEEN_TABLES = 0.5  # a table of many images, sent again for each, would keep the browser busy
_RESULT_TABLE: dict[str, Any] = {
    "hide_index": True,
    "placeholder": "",
    "column_config": {
        "Number": st.column_config.NumberColumn("#", width=40),
        "Radiograph": st.column_config.ImageColumn(width=56),
        "File": st.column_config.TextColumn(width="medium"),
        "Class": st.column_config.TextColumn(width=112),
        "P(COVID-19)": st.column_config.ProgressColumn(format="%.3f", min_value=0, max_value=1, width=130),
        "Status": st.column_config.TextColumn(width=120),
        "Reason": st.column_config.TextColumn(width="large"),
    },
    "alt": "The result of each image",
}


@dataclass(frozen=True)
class UploadedImage:
    """An image among the uploads; `id` is random, stays as long as the upload, and says nothing of the image."""

    id: str
    given: Given


def uploaded_images(uploads: Sequence[UploadedFile]) -> list[UploadedImage]:
    """The images among the uploads, those in ZIP files too; what the session keeps of others is dropped."""
    images = [
        UploadedImage(f"{upload.file_id}/{position}", given)
        for upload in uploads
        for position, given in enumerate(given_content(upload.name, upload.getvalue()))
    ]
    if len(images) > MAX_IMAGES:
        st.warning(
            f"Only the first {MAX_IMAGES} of {len(images)} images are read. Remove some, then upload the others.",
            icon=":material/warning:",
        )
        del images[MAX_IMAGES:]
    forget_all_but({image.id for image in images})
    asked: dict[str, dict[str, Any]] = st.session_state[ASKED]
    return [replace(image, given=replace(image.given, **asked.get(image.id, {}))) for image in images]


def ask_for(image_id: str, repairs: tuple[Repair, ...], anyway: bool) -> None:
    """Have an image read otherwise from the next run on; for a button's `on_click`.

    Takes the image's id and not the image: Streamlit keeps the arguments of a button longer than the upload may stay.
    """
    st.session_state.setdefault(ASKED, {})[image_id] = {"repairs": repairs, "anyway": anyway}


def results_of(images: Sequence[UploadedImage], predictor: Predictor) -> Iterator[list[Reading]]:
    """Read what is not read yet, image by image; yield the results so far before each, and all of them at the end."""
    version, known = predictor.bundle.version, st.session_state[RESULTS]
    keys = [(image.id, version, image.given.repairs, image.given.anyway) for image in images]
    results = {key: known[key] for key in keys if key in known}
    st.session_state[RESULTS] = results
    kept = sum(result.kept_bytes for result in results.values())
    waiting = {key: image for key, image in zip(keys, images, strict=True) if key not in results}
    # Read but refused, or predicted anyway: the other of the two needs no decoding.
    given = [replace(image.given, earlier=known.get((*key[:-1], not key[-1]))) for key, image in waiting.items()]
    read = read_all(predictor, given)
    for key in waiting:
        yield [results[key] for key in keys if key in results]
        result = next(read)
        fits = kept + result.kept_bytes <= MAX_KEPT_BYTES
        results[key] = result if fits else result.without_pixels()
        kept += results[key].kept_bytes
    yield [results[key] for key in keys]


class GrowingTable:
    """How far the reading of many images has come, and a table of their results that is sent to the browser now and then."""

    def __init__(self, place: DeltaGenerator, total: int) -> None:
        self._total, self._sent = total, 0.0
        self._status = place.status(f"Reading {counted(total, 'image')}", expanded=True)
        self._bar, self._table = self._status.empty(), self._status.empty()

    def show(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Show the rows so far, unless some were shown just now."""
        if rows and time.monotonic() - self._sent >= _SECONDS_BETWEEN_TABLES:
            self._status.update(label=f"Reading image {len(rows) + 1} of {self._total}")
            self._bar.progress(len(rows) / self._total)
            _show_table(self._table, rows)
            self._sent = time.monotonic()


def choose_image(place: DeltaGenerator, rows: Sequence[Mapping[str, object]], images: Sequence[UploadedImage]) -> int:
    """Show the results of many images, and let the user choose one: in the table, by name, or with the keys N and P.

    Args:
        place: of the table.
        rows: of the images, as `table_rows` lays them out.
        images: at least one.

    Returns:
        The position of the chosen one in `images`.
    """
    # Streamlit keeps what is given to a widget longer than the uploads may stay: ids and names, not the images.
    ids, names = [image.id for image in images], [image.given.name for image in images]
    positions = {image_id: position for position, image_id in enumerate(ids)}
    if st.session_state.get(CHOSEN) not in positions:
        st.session_state[CHOSEN] = ids[0]

    def show(position: int) -> None:
        st.session_state[CHOSEN] = ids[position % len(ids)]
        unmark()

    def unmark() -> None:
        """Give the table a new key: a row that stays marked while another image is shown would mislead."""
        st.session_state[TABLE] = st.session_state.get(TABLE, 0) + 1

    def choose_row() -> None:
        selected = st.session_state[rows_key]["selection"]["rows"]
        if selected:
            st.session_state[CHOSEN] = ids[selected[0]]

    rows_key, shown = f"{_RESULT_ROWS} {st.session_state.get(TABLE, 0)}", positions[st.session_state[CHOSEN]]
    _show_table(place, rows, key=rows_key, on_select=choose_row, selection_mode="single-row")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Show image",
            list(positions),
            format_func=lambda image_id: f"{positions[image_id] + 1}: {names[positions[image_id]]}",
            key=CHOSEN,
            on_change=unmark,
        )
        st.button("Previous", icon=":material/chevron_left:", shortcut="P", on_click=show, args=(shown - 1,))
        st.button("Next", icon=":material/chevron_right:", shortcut="N", on_click=show, args=(shown + 1,))
    return positions[st.session_state[CHOSEN]]


def _show_table(place: DeltaGenerator, rows: Sequence[Mapping[str, object]], **selection: Any) -> None:
    place.container(key="results" if selection else None).dataframe(
        pd.DataFrame(rows), height=table_height(len(rows), 5), **_RESULT_TABLE, **selection
    )
