"""Which image of the collection is opened: kept in the session, and in the address as `?film=`."""

import streamlit as st

_FILM = "film_of_collection"


def ask_for_film(filename: str) -> None:
    """Open an image on the next run; for callbacks."""
    st.session_state[_FILM] = filename


def asked_film() -> str | None:
    """The file name of the image that is opened, None if none is."""
    film = st.session_state.get(_FILM)
    return film if isinstance(film, str) and film else None


def close_film() -> None:
    """Close the opened image; for callbacks."""
    st.session_state[_FILM] = None
