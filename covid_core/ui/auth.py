"""Sign-in: where `[auth]` stands in Streamlit's secrets, no page shows anything before the visitor has signed in.

Streamlit checks the settings and talks to the OpenID Connect provider. This module fails closed: secrets that cannot be read,
or a cookie secret that can be guessed, show a sentence and no page.
"""

from collections.abc import Mapping
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAPIException, StreamlitSecretNotFoundError

from covid_core.text import RESEARCH_ONLY

# Whoever guesses `cookie_secret` can sign in as anyone, and Streamlit accepts even an empty one.
LEAST_SECRET = 32  # characters
# The claims of an ID token that name a person, best first; see OpenID Connect Core 1.0, section 5.1.
_NAMES = ("name", "email", "preferred_username")


def require_sign_in() -> None:
    """End the run with a request to sign in, unless the app is open or the visitor has signed in.

    Called at the start of every page, before anything is shown or read from the address.
    """
    try:
        auth: Any = st.secrets.get("auth")
    except (StreamlitSecretNotFoundError, OSError, ValueError) as error:
        # Streamlit raises the same for secrets that are missing and for those that it cannot read.
        if isinstance(error, StreamlitSecretNotFoundError) and error.error_id == "no-secrets-found":
            return
        _refuse("The secrets of this app cannot be read, so nobody can sign in.")
    if auth is None:
        return
    secret = auth.get("cookie_secret") if isinstance(auth, Mapping) else None
    if not isinstance(secret, str) or len(secret) < LEAST_SECRET:
        _refuse(f"The sign-in is not set up: `cookie_secret` needs {LEAST_SECRET} random characters or more.")
    if st.user.get("is_logged_in") is not True:
        _offer_sign_in(auth)
        st.stop()
    claims = [st.user.get(claim) for claim in _NAMES]
    with st.sidebar, st.container(gap="xxsmall"):
        st.caption("Signed in as")
        st.text(
            next((claim for claim in claims if isinstance(claim, str) and claim.strip()), "an account without a name")
        )
        st.button("Sign out", on_click=st.logout, icon=":material/logout:", type="tertiary")
        st.space("small")


def _refuse(sentence: str) -> None:
    _title()
    st.error(sentence, icon=":material/error:")
    st.stop()


def _title() -> None:
    st.title("Sign in", anchor=False)
    st.caption(f":material/science: **{RESEARCH_ONLY}**")


def _offer_sign_in(auth: Mapping[str, Any]) -> None:
    """A button for each provider: the one in `[auth]` itself, and those in sections `[auth.name]`."""
    _title()
    st.markdown("This app is open to people who have signed in.")
    named = [name for name, section in auth.items() if isinstance(section, Mapping) and name != "client_kwargs"]
    for name in [*([None] if "client_id" in auth or not named else []), *named]:
        label = "Sign in" if name is None else f"Sign in with {name[:1].upper()}{name[1:]}"
        if st.button(label, key=f"sign in {name}", type="primary", icon=":material/login:"):
            try:
                st.login(name)
            except StreamlitAPIException:
                st.error("The sign-in is not set up. Ask the person who runs this app.", icon=":material/error:")
    st.caption("If you come back here after signing in, it failed: try again, or ask the person who runs this app.")
