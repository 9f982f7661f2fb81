"""What the session keeps of uploaded images, by key, and how it is dropped.

An image that is uploaded lives in its session alone. What is derived from it (results with their small pictures) is in the
session's state under the upload's random id and is dropped with the upload: never cached across sessions, logged or written.
"""

from collections.abc import Collection
from typing import Any

import streamlit as st

RESULTS, ASKED, CHOSEN, TABLE = "results", "asked_for", "chosen_film", "results_table"
"""The result of each image; the repairs chosen for it; which image is shown; a count that renews the key of the table."""
PATIENT = "patient "
"""Begins the key of a patient's name that was typed in for an image; the image's id follows."""


def forget_uploads() -> None:
    """Drop everything that the session keeps of uploaded images."""
    for key in (RESULTS, ASKED, CHOSEN, TABLE):
        st.session_state.pop(key, None)
    _forget_names(())


def forget_all_but(images: Collection[str]) -> None:
    """Drop what the session keeps of images that are no longer uploaded.

    Args:
        images: the ids of those that are.
    """
    for key in (RESULTS, ASKED):
        kept: dict[Any, Any] = st.session_state.get(key, {})
        st.session_state[key] = {name: value for name, value in kept.items() if _film(name) in images}
    _forget_names(images)


def _film(name: Any) -> str:
    """The id of an image within a key: the key itself, or its first part."""
    return str(name[0]) if isinstance(name, tuple) else str(name)


def _forget_names(but_of: Collection[str]) -> None:
    for key in [key for key in st.session_state if str(key).startswith(PATIENT)]:
        if str(key).removeprefix(PATIENT) not in but_of:
            del st.session_state[key]
