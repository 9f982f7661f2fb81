"""Which image of the collection is opened: kept in the session, and in the address as `?film=`."""

import streamlit as st

_FILM = "film_of_collection"
_IN_ADDRESS = "film"
_WRITTEN = "films_in_addresses"


def ask_for_film(filename: str) -> None:
    """Open an image on the next run, and name it in the address; for callbacks."""
    st.session_state[_FILM] = filename
    st.session_state.setdefault(_WRITTEN, set()).add(filename)
    st.query_params[_IN_ADDRESS] = filename


def asked_film() -> str | None:
    """The file name of the image that is opened, None if none is."""
    film = st.session_state.get(_FILM)
    return film if isinstance(film, str) and film else None


def close_film() -> None:
    """Close the opened image; for callbacks."""
    st.session_state[_FILM] = None
    st.query_params.pop(_IN_ADDRESS, None)


def follow_address() -> None:
    """Open the image that the address names, where it was not this session that wrote it.

    One that it wrote is passed over: a browser that is quickly asked twice sends the second time an address that the first
    has not changed yet, and a closed image would open again.
    """
    film = st.query_params.get(_IN_ADDRESS)
    if film and film not in st.session_state.get(_WRITTEN, ()):
        ask_for_film(film)
