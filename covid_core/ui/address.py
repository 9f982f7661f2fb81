"""What a session wrote into its address, told from what a reader asks for by a link or the Back button.

A browser sends its address with each run of a page. Asked twice in quick succession, it sends the second time an address that
the first has not changed yet: such a one is passed over for a moment. Knows no filter, rule or image.
"""

import math
import time
from itertools import pairwise

import streamlit as st

STALE_SECONDS = 0.7
"""For so long after a change a browser may still send the address of before it."""

_SHOWN, _SINCE = "page_shown", "addresses_written_since_entry"
_REMEMBERED = 20
_NEVER = object()


def note_page(title: str) -> None:
    """Remember which page is shown, so that coming from another one is told from a further run of the same."""
    if st.session_state.get(_SHOWN, title) != title:
        st.session_state[_SINCE] = set()
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
    just_entered = name not in st.session_state.get(_SINCE, {name})
    if written and (asked == written[-1][0] or (asked == silent and just_entered)):
        return False
    now = time.monotonic()
    if any(asked == value and now - replaced < STALE_SECONDS for (value, _), (_, replaced) in pairwise(written)):
        return False
    # Stands there already: no browser still sends what was there before.
    st.session_state[_key(name)] = [*written[-_REMEMBERED:], (asked, -math.inf)]
    return True


def write(name: str, value: object, query: dict[str, list[str]], keys: tuple[str, ...]) -> None:
    """Write what is kept under a name into the address; one step of the browser's history.

    Args:
        name: as of `asks_anew`.
        value: what the address says of it from now on.
        query: the same by the keys of the address; those without values are taken away.
        keys: all that may stand there for this name.
    """
    written: list[tuple[object, float]] = st.session_state.get(_key(name), [])
    now = time.monotonic()
    changed = not written or written[-1][0] != value
    # Just after a change the browser may have another address than the one it sent, so that equality tells nothing.
    unsure = changed and bool(written) and now - written[-1][1] < STALE_SECONDS
    if unsure or any(st.query_params.get_all(key) != query.get(key, []) for key in keys):
        st.query_params.update({key: query.get(key, []) for key in keys})
    if changed:
        st.session_state[_key(name)] = [*written[-_REMEMBERED:], (value, now)]
    if _SINCE in st.session_state:
        st.session_state[_SINCE].add(name)


def _key(name: str) -> str:
    return f"address of {name}"
