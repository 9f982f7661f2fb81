"""Which image of the collection is opened: kept in the session, and in the address as `?film=`."""

from collections.abc import Sequence

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

_FILM = "film_of_collection"
_IN_ADDRESS = "film"


def open_image(filename: str | None) -> None:
    """Open an image on the next run, and name it in the address; for callbacks."""
    st.session_state[_FILM] = filename
    _write_address()


def open_ticked(key: str, filenames: Sequence[object]) -> None:
    """Open the image of the row that was ticked in a table, and clear the tick for the next time; for callbacks.

    Args:
        key: of the table.
        filenames: of its rows.
    """
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
    film = st.session_state.get(_FILM)
    return film if isinstance(film, str) and film else None


def close_image() -> None:
    """Close the opened image; for callbacks."""
    open_image(None)


def follow_address() -> None:
    """Open the image that a link names, and follow the browser's Back and Forward.

    In any other run the session counts: a browser may still send the address from before the image was opened or closed.
    """
    context = get_script_run_ctx()
    if _FILM not in st.session_state or (context is not None and context.is_history_navigation):
        st.session_state[_FILM] = st.query_params.get(_IN_ADDRESS)
    _write_address()


def _write_address() -> None:
    film = opened_image()
    if film is None:
        st.query_params.pop(_IN_ADDRESS, None)
    elif st.query_params.get(_IN_ADDRESS) != film:
        st.query_params[_IN_ADDRESS] = film
