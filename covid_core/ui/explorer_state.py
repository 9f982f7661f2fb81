"""Which image of the collection is opened: kept in the session, and in the address as `?film=`."""

from collections.abc import Sequence

import streamlit as st

from covid_core.ui.address import asks_anew, write

_FILM = "film_of_collection"
_IN_ADDRESS = "film"


def ask_for_film(filename: str) -> None:
    """Open an image on the next run, and name it in the address; for callbacks."""
    st.session_state[_FILM] = filename
    _write_address(filename)


def open_ticked(key: str, filenames: Sequence[object]) -> None:
    """Open the image of the row that was ticked in a table, and take the tick away; for callbacks.

    They are called when the selection changes and at no other time, so that a closed image stays closed; and as no tick stays,
    the same row can be opened again.

    Args:
        key: of the table.
        filenames: of its rows.
    """
    rows = st.session_state[key]["selection"]["rows"]
    st.session_state[key] = {"selection": {"rows": []}}
    if rows and 0 <= rows[0] < len(filenames):
        open_named(filenames[rows[0]])


def open_named(filename: object) -> None:
    """Open an image, or say that there is none where no file is named; for callbacks."""
    if isinstance(filename, str) and filename:
        ask_for_film(filename)
    else:
        st.toast("This row names no file, so there is no image to open.")


def asked_film() -> str | None:
    """The file name of the image that is opened, None if none is."""
    film = st.session_state.get(_FILM)
    return film if isinstance(film, str) and film else None


def close_film() -> None:
    """Close the opened image; for callbacks."""
    st.session_state[_FILM] = None
    _write_address(None)


def follow_address() -> None:
    """Open the image that a link names, and close it where the reader goes back to an address that names none."""
    film = st.query_params.get(_IN_ADDRESS) or None
    if asks_anew(_FILM, film):
        st.session_state[_FILM] = film
    _write_address(asked_film())


def _write_address(film: str | None) -> None:
    write(_FILM, film, {} if film is None else {_IN_ADDRESS: [film]}, (_IN_ADDRESS,))
