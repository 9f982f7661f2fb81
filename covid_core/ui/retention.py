"""How long an upload stays on the server, and where.

Streamlit (1.67) writes an upload above 1 MB to a temporary file while it arrives, keeps it when another page is opened, and lets
go of a closed tab's session only when the next tab is closed. Here uploads stay in memory, go with the page that asked for
them, and end with their tab. Knows sessions and pages, nothing of films or results.
"""

import asyncio
import ctypes
import gc
import sys
from functools import cache

import streamlit as st
from starlette.formparsers import MultiPartParser
from streamlit import runtime
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.scriptrunner import get_script_run_ctx

_PAGE = "page_of_uploads"
_MB = 1024 * 1024
# See mallopt(3): allocations from this size on get pages of their own; set by hand, the size no longer grows by itself.
_M_MMAP_THRESHOLD, _LEAST_OWN_BUFFER = -3, 128 * 1024
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
    _return_memory_when_freed()
    # The pieces of 64 kB in which uploads arrive are smaller than that.
    _in_glibc("malloc_trim", 0)
    _tab(context.session_id)
    if st.session_state.get(_PAGE, page) != page:
        context.uploaded_file_mgr.remove_session_files(context.session_id)
    st.session_state[_PAGE] = page


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
    # What was downloaded is only marked by the first call, which the session has made, and deleted by the second.
    server.media_file_mgr.remove_orphaned_files()
    # The server's loop holds on to the session it served last until another one comes.
    session.session_state.clear()
    # Streamlit collects garbage after each run, but no run may follow.
    gc.collect()
    _in_glibc("malloc_trim", 0)


@cache
def _return_memory_when_freed() -> None:
    """Have every buffer of a film's size given back to the system, and so emptied, as soon as it is freed.

    By itself the C library soon keeps such buffers for the next ones, with the film in them. Costs about 35 ms a film.
    """
    _in_glibc("mallopt", _M_MMAP_THRESHOLD, _LEAST_OWN_BUFFER)


def _in_glibc(function: str, *arguments: int) -> None:
    """Call a function of the GNU C library; nothing where there is another one."""
    if sys.platform == "linux":
        found = getattr(ctypes.CDLL(None), function, None)
        if found is not None:
            found(*arguments)


# Streamlit drops what is cached for a session as soon as its tab is gone, and says so here.
@st.cache_resource(scope="session", show_spinner=False, on_release=_tab_gone)
def _tab(session_id: str) -> AppSession | None:
    return runtime.get_instance().get_app_session(session_id)
