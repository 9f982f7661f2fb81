"""Uploaded films on a page: what was given, their results as they come, and which one is shown."""

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
from covid_core.inference.prediction import FilmResult
from covid_core.inference.predictor import Predictor
from covid_core.ui.page import table_height
from covid_core.ui.session import ASKED, CHOSEN, RESULTS, TABLE, forget_all_but

MAX_IMAGES = 500
"""Read for a session, as many as an archive may hold."""
MAX_KEPT_BYTES = 256 * 2**20
"""Of the pictures and model inputs that a session keeps: 250 of the largest, which have about 1 MiB each."""

_RESULT_ROWS = "result_rows"
_SECONDS_BETWEEN_TABLES = 0.5  # a table of many films, sent anew for each, would keep the browser busy
_RESULT_TABLE: dict[str, Any] = {
    "hide_index": True,
    "placeholder": "",
    "column_config": {
        "Number": st.column_config.NumberColumn("#", width=40),
        "Film": st.column_config.ImageColumn(width=56),
        "File": st.column_config.TextColumn(width="medium"),
        "Class": st.column_config.TextColumn(width=112),
        "P(COVID-19)": st.column_config.ProgressColumn(format="%.3f", min_value=0, max_value=1, width=130),
        "Status": st.column_config.TextColumn(width=120),
        "Reason": st.column_config.TextColumn(width="large"),
    },
    "alt": "The result of each film",
}


@dataclass(frozen=True)
class UploadedFilm:
    """A film among the uploads.

    Attributes:
        id: random, the same as long as the upload stays; nothing of the film is in it.
        given: its name and content, and what was asked for it.
    """

    id: str
    given: Given


def uploaded_films(uploads: Sequence[UploadedFile]) -> list[UploadedFilm]:
    """The films among the uploads, those in ZIP files too; what the session keeps of others is dropped."""
    films = [
        UploadedFilm(f"{upload.file_id}/{position}", given)
        for upload in uploads
        for position, given in enumerate(given_content(upload.name, upload.getvalue()))
    ]
    if len(films) > MAX_IMAGES:
        st.warning(
            f"Only the first {MAX_IMAGES} of {len(films)} images are read. Remove some, then upload the others.",
            icon=":material/warning:",
        )
        del films[MAX_IMAGES:]
    forget_all_but({film.id for film in films})
    asked: dict[str, dict[str, Any]] = st.session_state[ASKED]
    return [replace(film, given=replace(film.given, **asked.get(film.id, {}))) for film in films]


def ask_for(film_id: str, repairs: tuple[Repair, ...], anyway: bool) -> None:
    """Have a film read otherwise from the next run on; for a button's `on_click`.

    Takes the film's id and not the film: Streamlit keeps the arguments of a button longer than the upload may stay.

    Args:
        film_id: which.
        repairs: what to do to it first.
        anyway: whether to predict it even if the gate refuses it.
    """
    st.session_state.setdefault(ASKED, {})[film_id] = {"repairs": repairs, "anyway": anyway}


def not_read_yet(films: Sequence[UploadedFilm], predictor: Predictor) -> bool:
    """Whether a film has no result yet, as it was asked for, from the model in use."""
    return any(_key(film, predictor) not in st.session_state[RESULTS] for film in films)


def results_of(films: Sequence[UploadedFilm], predictor: Predictor) -> Iterator[list[FilmResult]]:
    """Read what is not read yet, film by film.

    Args:
        films: all that were given.
        predictor: of the model in use.

    Yields:
        After each new film the results so far, in the order of `films`; at the end all of them.
    """
    keys, known = [_key(film, predictor) for film in films], st.session_state[RESULTS]
    wanted = set(keys)
    results = {key: result for key, result in known.items() if key in wanted}
    st.session_state[RESULTS] = results
    kept = sum(result.kept_bytes for result in results.values())
    waiting = {key: film for key, film in zip(keys, films, strict=True) if key not in results}
    # Read but refused, or predicted anyway: the other of the two needs no decoding.
    given = [replace(film.given, earlier=known.get((*key[:-1], not key[-1]))) for key, film in waiting.items()]
    for key, result in zip(waiting, read_all(predictor, given), strict=True):
        kept += result.kept_bytes
        if kept > MAX_KEPT_BYTES:
            kept -= result.kept_bytes
            result = result.without_pixels()  # noqa: PLW2901
        results[key] = result
        yield [results[key] for key in keys if key in results]
    yield [results[key] for key in keys]


def _key(film: UploadedFilm, predictor: Predictor) -> tuple[Any, ...]:
    return film.id, predictor.bundle.version, film.given.repairs, film.given.anyway


class GrowingTable:
    """How far the reading of many films has come, and a table of their results that is sent to the browser now and then.

    Args:
        place: where it is shown.
        films: how many there are.
    """

    def __init__(self, place: DeltaGenerator, films: int) -> None:
        self._films, self._sent = films, 0.0
        self._status = place.status(f"Reading {films} films", expanded=True)
        self._bar, self._table = self._status.empty(), self._status.empty()

    def show(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Show the rows so far, unless some were shown just now."""
        if time.monotonic() - self._sent >= _SECONDS_BETWEEN_TABLES:
            self._status.update(label=f"Reading film {len(rows) + 1} of {self._films}")
            self._bar.progress(len(rows) / self._films)
            _show_table(self._table, rows)
            self._sent = time.monotonic()


def choose_film(place: DeltaGenerator, rows: Sequence[Mapping[str, object]], films: Sequence[UploadedFilm]) -> int:
    """Show the results of many films, and let the user choose one: in the table, by name, or with the keys N and P.

    Args:
        place: of the table.
        rows: as `table_rows` lays them out.
        films: what they came from.

    Returns:
        The position of the chosen one in `films`.
    """
    # Streamlit keeps what is given to a widget longer than the uploads may stay: ids and names, not the films.
    ids, names = [film.id for film in films], [film.given.name for film in films]
    positions = {film_id: position for position, film_id in enumerate(ids)}
    if st.session_state.get(CHOSEN) not in positions:
        st.session_state[CHOSEN] = ids[0]

    def unmark() -> None:
        """Give the table a new key: a row that stays marked while another film is shown would mislead."""
        st.session_state[TABLE] = st.session_state.get(TABLE, 0) + 1

    rows_key = f"{_RESULT_ROWS} {st.session_state.get(TABLE, 0)}"

    def choose_row() -> None:
        selected = st.session_state[rows_key]["selection"]["rows"]
        if selected:
            st.session_state[CHOSEN] = ids[selected[0]]

    def step(by: int) -> None:
        unmark()
        st.session_state[CHOSEN] = ids[(positions[st.session_state[CHOSEN]] + by) % len(ids)]

    _show_table(place, rows, key=rows_key, on_select=choose_row, selection_mode="single-row")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Show film",
            list(positions),
            format_func=lambda film_id: f"{positions[film_id] + 1}: {names[positions[film_id]]}",
            key=CHOSEN,
            on_change=unmark,
        )
        st.button("Previous", icon=":material/chevron_left:", shortcut="P", on_click=step, args=(-1,))
        st.button("Next", icon=":material/chevron_right:", shortcut="N", on_click=step, args=(1,))
    return positions[st.session_state[CHOSEN]]


def _show_table(place: DeltaGenerator, rows: Sequence[Mapping[str, object]], **selection: Any) -> None:
    place.container(key="results" if selection else None).dataframe(
        pd.DataFrame(rows), height=table_height(len(rows), 5), **_RESULT_TABLE, **selection
    )
