"""What the session keeps of uploaded films, by key, and how it is dropped."""

import streamlit as st

RESULTS, ON_SHOW = "results", "film_on_show"


def forget_uploads() -> None:
    """Drop what the session keeps of films that are no longer uploaded."""
    for key in (RESULTS, ON_SHOW):
        st.session_state.pop(key, None)
