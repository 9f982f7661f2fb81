"""What a session wrote into its address, told from what a reader asks for by a link or the Back button.

A browser sends its address with each run of a page. Asked twice in quick succession, it sends the second time an address that
the first has not changed yet: such a one is passed over for a moment. Knows no filter, rule or image.
"""

import math
import time
from itertools import pairwise

import streamlit as st

STALE_SECONDS = 1.5
"""For so long after a change a browser may still send the address of before it."""

_SHOWN, _ENTERED = "page_shown", "page_entered"
_REMEMBERED = 20
_NEVER = object()


def note_page(title: str) -> None:
    """Remember which page is shown, so that coming from another one is told from a further run of the same."""
    st.session_state[_ENTERED] = st.session_state.get(_SHOWN, title) != title
    st.session_state[_SHOWN] = title


def asks_anew(name: str, asked: object, silent: object = _NEVER) -> bool:
    """Whether the address asks for something that this session did not write into it last; told once.

    Args:
        name: of what is kept there, such as `filters`.
        asked: what the address says of it now.
        silent: what an address that says nothing of it asks for, where that shall count for nothing if the reader comes from
            another page.
    """
    written: list[tuple[object, float]] = st.session_state.get(_key(name), [])
    if written and (asked == written[-1][0] or (asked == silent and st.session_state.get(_ENTERED, False))):
        return False
    now = time.monotonic()
    if any(asked == value and now - replaced < STALE_SECONDS for (value, _), (_, replaced) in pairwise(written)):
        return False
    # Stands there already: no browser still sends what was there before.
    st.session_state[_key(name)] = [*written[-_REMEMBERED:], (asked, -math.inf)]
    return True


def note_written(name: str, value: object) -> None:
    """Remember what the address says from now on."""
    written: list[tuple[object, float]] = st.session_state.get(_key(name), [])
    if not written or written[-1][0] != value:
        st.session_state[_key(name)] = [*written[-_REMEMBERED:], (value, time.monotonic())]


def write_all(query: dict[str, list[str]], keys: tuple[str, ...]) -> None:
    """Write some keys of the address, and take away those that have no values; one step of the browser's history.

    Args:
        query: the values of each key.
        keys: all that may stand in the address.
    """
    changed = {key: query.get(key, []) for key in keys if st.query_params.get_all(key) != query.get(key, [])}
    if changed:
        st.query_params.update(changed)


def _key(name: str) -> str:
    return f"address of {name}"
