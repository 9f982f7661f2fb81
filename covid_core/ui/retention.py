"""How long an upload stays on the server, and where.

Streamlit (1.67) writes an upload above 1 MB to a temporary file while it arrives, keeps it when another page is opened, and lets
go of a closed tab's session only when the next tab is closed. Here uploads stay in memory, go with the page that asked for
them, and end with their tab. Knows sessions and pages, nothing of films or results.
"""

import asyncio
import ctypes
import sys

import streamlit as st
from starlette.formparsers import MultiPartParser
from streamlit import runtime
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.scriptrunner import get_script_run_ctx

_PAGE = "page_of_uploads"
_MB = 1024 * 1024
# Session id -> the next look at whether its tab is back; touched on the server's event loop alone.
_looks: dict[str, asyncio.TimerHandle] = {}


def limit_retention(page: str) -> None:
    """Keep what this session uploads in memory, drop what another page asked for, and end the session once its tab is gone.

    Args:
        page: the title of the page that begins.
    """
    # The parser starts a temporary file beyond this size. Above the largest upload it never does; Streamlit reads the whole
    # upload into memory in any case.
    MultiPartParser.spool_max_size = (int(st.get_option("server.maxUploadSize")) + 1) * _MB
    context = get_script_run_ctx()
    if context is None:
        return
    _tab(context.session_id)
    if st.session_state.get(_PAGE, page) != page:
        context.uploaded_file_mgr.remove_session_files(context.session_id)
    st.session_state[_PAGE] = page
    _return_freed_memory()


def _tab_gone(session: AppSession | None) -> None:
    # Also comes when all caches are cleared by hand: the first look then finds the tab still there.
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # Not on the server's event loop, which is where a tab is lost.
        return
    if session is not None:
        _look_later(session, gone=True)


def _look_later(session: AppSession, *, gone: bool) -> None:
    former = _looks.pop(session.id, None)
    if former is not None:
        former.cancel()
    wait = int(st.get_option("server.disconnectedSessionTTL"))
    _looks[session.id] = asyncio.get_running_loop().call_later(wait, _end_unless_back, session, gone)


def _end_unless_back(session: AppSession, gone: bool) -> None:
    """End a session whose tab was gone and still is; a tab that came back without a new run is looked after again."""
    server = runtime.get_instance()
    active = server.is_active_session(session.id)
    if active or not gone:
        _look_later(session, gone=not active)
        return
    del _looks[session.id]
    # The second does what the first leaves undone where Streamlit itself finds the session's time to be over.
    server.close_session(session.id)
    session.shutdown()
    # The server's loop holds on to the session it served last until another one comes.
    session.session_state.clear()
    _return_freed_memory()


def _return_freed_memory() -> None:
    """Give freed memory back to the system, which empties it; it would hold the films until used anew. Takes milliseconds."""
    if sys.platform == "linux":
        # A Linux with another C library than glibc has no such function.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


# Streamlit drops what is cached for a session as soon as its tab is gone, and says so here.
@st.cache_resource(scope="session", show_spinner=False, on_release=_tab_gone)
def _tab(session_id: str) -> AppSession | None:
    return runtime.get_instance().get_app_session(session_id)
