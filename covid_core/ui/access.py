"""Who may see the pages: everyone, or, where `[auth]` stands in Streamlit's secrets, whoever has signed in.

The sign-in itself is Streamlit's: `st.login` sends the visitor to an OpenID Connect provider, `st.user` says who came back. This
module decides that nothing is shown before, and fails closed: secrets that cannot be read, or that configure a sign-in by half,
show a sentence and no page. It knows nothing of what the pages hold.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

import streamlit as st
from streamlit.errors import StreamlitAPIException, StreamlitSecretNotFoundError

from covid_core.card_text import RESEARCH_ONLY
from covid_core.errors import CovidCoreError

SHARED_KEYS = ("redirect_uri", "cookie_secret")
"""What `[auth]` must hold, whatever the providers."""

PROVIDER_KEYS = ("client_id", "client_secret", "server_metadata_url")
"""What each provider must have: in `[auth]` itself, or in a section `[auth.name]` of its own."""

CALLBACK = "/oauth2callback"
"""Where Streamlit waits for the visitor to come back; `redirect_uri` ends with it."""

LEAST_SECRET = 32
"""Characters of `cookie_secret`. Who guesses it can sign in as anyone; Streamlit takes even an empty one."""

# The claims of an ID token that name a person, best first; see OpenID Connect Core 1.0, section 5.1.
_NAMES = ("name", "email", "preferred_username")
# Streamlit parts its keys at underscores, so that a name may have none.
_PROVIDER_NAME = re.compile(r"[A-Za-z0-9-]+")


class AccessError(CovidCoreError):
    """A sign-in is asked for and cannot be had as things are set up."""


@dataclass(frozen=True)
class Provider:
    """Somewhere to sign in.

    Attributes:
        name: of its section `[auth.name]`; None for the one that stands in `[auth]` itself.
    """

    name: str | None

    @property
    def label(self) -> str:
        """What its button says."""
        return "Sign in" if self.name is None else f"Sign in with {self.name[:1].upper()}{self.name[1:]}"


def require_sign_in() -> None:
    """Let the page go on if it is open or the visitor has signed in; otherwise ask for that, and end the run here.

    Called at the start of every page, before anything is shown or read from the address. In the sidebar of who has signed in
    it leaves the name and a button to sign out.
    """
    try:
        providers = _configured_providers()
    except AccessError as error:
        _closed()
        st.error(str(error), icon=":material/error:")
        st.stop()
    if not providers:
        return
    # Nothing but the flag that Streamlit's own sign-in sets will do.
    if st.user.get("is_logged_in") is not True:
        _ask(providers)
        st.stop()
    _name_visitor()


def providers_of(auth: object) -> tuple[Provider, ...]:
    """The providers that the section `[auth]` of the secrets configures, the unnamed one first.

    Args:
        auth: the section, as read from TOML.

    Raises:
        AccessError: something is missing or cannot work; the sentence names the key, never its value.
    """
    if not isinstance(auth, Mapping):
        raise AccessError("The sign-in is not set up: `auth` in the secrets must be a section.")
    _demand(auth, SHARED_KEYS, "auth")
    if not auth["redirect_uri"].endswith(CALLBACK):
        raise AccessError(f"The sign-in is not set up: `redirect_uri` must end with `{CALLBACK}`.")
    if len(auth["cookie_secret"]) < LEAST_SECRET:
        raise AccessError(f"The sign-in is not set up: `cookie_secret` needs {LEAST_SECRET} random characters or more.")
    # `client_kwargs` is no provider but a table of settings.
    named = {
        name: section for name, section in auth.items() if isinstance(section, Mapping) and name != "client_kwargs"
    }
    for name, section in named.items():
        if not _PROVIDER_NAME.fullmatch(name):
            raise AccessError(
                "The sign-in is not set up: the name of a provider may have letters, digits and `-` only."
            )
        _demand(section, PROVIDER_KEYS, f"auth.{name}")
    if named and not any(key in auth for key in PROVIDER_KEYS):
        return tuple(Provider(name) for name in named)
    _demand(auth, PROVIDER_KEYS, "auth")
    return (Provider(None), *(Provider(name) for name in named))


def _configured_providers() -> tuple[Provider, ...]:
    try:
        auth = st.secrets.get("auth")
    except StreamlitSecretNotFoundError as error:
        # Streamlit raises the same for secrets that are not there and for those that it cannot read.
        if error.error_id == "no-secrets-found":
            return ()
        raise AccessError("The secrets of this app cannot be read, so that nobody can sign in.") from error
    except (OSError, ValueError) as error:
        raise AccessError("The secrets of this app cannot be read, so that nobody can sign in.") from error
    if auth is None:
        return ()
    providers = providers_of(auth)
    # Authlib in turn needs one of the two HTTP clients, and says so only when somebody signs in.
    if not find_spec("authlib") or not (find_spec("httpx2") or find_spec("httpx")):
        raise AccessError("The sign-in needs the Python packages `Authlib` and `httpx2`; they are not installed.")
    return providers


def _demand(section: Mapping[str, object], keys: tuple[str, ...], name: str) -> None:
    for key in keys:
        value = section.get(key)
        if not isinstance(value, str) or not value.strip():
            raise AccessError(
                f"The sign-in is not set up: `{key}` is missing in the section `[{name}]` of the secrets."
            )


def _closed() -> None:
    st.title("Sign in", anchor=False)
    st.caption(f":material/science: **{RESEARCH_ONLY}**")


def _ask(providers: tuple[Provider, ...]) -> None:
    _closed()
    st.markdown("This app is open to people who have signed in.")
    for provider in providers:
        if st.button(provider.label, key=f"sign in {provider.name}", type="primary", icon=":material/login:"):
            try:
                st.login(provider.name)
            except StreamlitAPIException:
                st.error("The sign-in cannot be started. Tell whoever runs this app.", icon=":material/error:")
    st.caption("Back here without being let in? The sign-in did not succeed: try again, or ask whoever runs this app.")


def _name_visitor() -> None:
    claims = [st.user.get(claim) for claim in _NAMES]
    name = next((claim for claim in claims if isinstance(claim, str) and claim.strip()), "an account without a name")
    with st.sidebar, st.container(gap="xxsmall"):
        st.caption("Signed in as")
        st.text(name)
        st.button("Sign out", on_click=st.logout, icon=":material/logout:", type="tertiary")
        st.space("small")
