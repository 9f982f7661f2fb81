"""How long an upload stays on the server: in memory only, until its page is left or its tab is closed.

An uploaded image and what is derived from it (results with their small pictures) are in the state of its session alone, under
the random id of the upload, and are dropped with it: never cached across sessions, logged or written.

Streamlit (1.67) writes an upload above 1 MB to a temporary file while it arrives, keeps it when another page is opened, and ends
the session of a closed tab only when the next tab is closed.
"""

import asyncio
import gc
from collections.abc import Collection

import streamlit as st
from starlette.formparsers import MultiPartParser
from streamlit import runtime
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.scriptrunner import get_script_run_ctx

RESULTS, ASKED, CHOSEN, TABLE = "results", "asked_for", "chosen_film", "results_table"
"""The result of each image; the repairs chosen for it; which image is shown; a count that renews the key of the table."""
PATIENT = "patient "
"""Begins the key of a patient's name that was typed in for an image; the image's id follows."""
_PAGE = "page_of_uploads"


def forget_uploads() -> None:
    """Drop everything that the session keeps of uploaded images."""
    for key in (RESULTS, ASKED, CHOSEN, TABLE):
        st.session_state.pop(key, None)
    _forget_names(())


def forget_all_but(images: Collection[str]) -> None:
    """Drop what the session keeps of images that are no longer uploaded; `images` are the ids of those that are."""
    results, asked = st.session_state.get(RESULTS, {}), st.session_state.get(ASKED, {})
    st.session_state[RESULTS] = {key: result for key, result in results.items() if key[0] in images}
    st.session_state[ASKED] = {image_id: wish for image_id, wish in asked.items() if image_id in images}
    _forget_names(images)


def _forget_names(but_of: Collection[str]) -> None:
    for key in [key for key in st.session_state if str(key).startswith(PATIENT)]:
        if str(key).removeprefix(PATIENT) not in but_of:
            del st.session_state[key]


def limit_retention(page: str) -> None:
    """Keep the uploads of this session in memory, drop those of another page, and end the session once its tab is closed."""
    # Above the largest upload, so that the parser never starts a temporary file.
    MultiPartParser.spool_max_size = (int(st.get_option("server.maxUploadSize")) + 1) * 2**20
    context = get_script_run_ctx()
    if context is None:
        return
    _session_of_tab(context.session_id)
    if st.session_state.get(_PAGE, page) != page:
        context.uploaded_file_mgr.remove_session_files(context.session_id)
    st.session_state[_PAGE] = page


def _end_later(session: AppSession | None) -> None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # the caches were cleared by hand; a closed tab is noticed on the server's event loop
        return
    if session is not None:
        # A second before Streamlit forgets the session without shutting it down.
        wait = max(int(st.get_option("server.disconnectedSessionTTL")) - 1, 0)
        loop.call_later(wait, _end_unless_back, session)


def _end_unless_back(session: AppSession) -> None:
    server = runtime.get_instance()
    if server.is_active_session(session.id):
        _end_later(session)  # the tab is back; it may be closed again before the page runs
        return
    server.close_session(session.id)
    server.media_file_mgr.remove_orphaned_files()  # closing the session only marks its downloads
    # The server's event loop holds on to the last session that it served.
    session.session_state.clear()
    gc.collect()  # Streamlit does so after each run, but no run may follow


# Streamlit releases what is cached for a session as soon as its tab is closed.
@st.cache_resource(scope="session", show_spinner=False, on_release=_end_later)
def _session_of_tab(session_id: str) -> AppSession | None:
    return runtime.get_instance().get_app_session(session_id)
