"""Who may see a page. Streamlit's own sign-in needs a browser: `tests/browser/test_sign_in.py` goes through it."""

import pytest
from streamlit.testing.v1 import AppTest

from covid_core.paths import PROJECT
from tests.app.conftest import PAGES, texts

PROVIDER = {
    "client_id": "reader",
    "client_secret": "a secret of the provider",
    "server_metadata_url": "https://sign-in.example/.well-known/openid-configuration",
}
AUTH = {"redirect_uri": "https://reader.example/oauth2callback", "cookie_secret": "x" * 40, **PROVIDER}
SIGNED_IN = {"is_logged_in": True, "name": " ", "email": "ada@example.org"}


def page_with(path: str, auth: object, **user: object) -> AppTest:
    app = AppTest.from_file(str(PROJECT / path), default_timeout=60)
    app.secrets["auth"] = auth
    app.user = user
    return app.run()


def assert_closed(app: AppTest) -> None:
    assert not app.exception
    assert [one.value for one in app.title] == ["Sign in"]
    assert not [*app.file_uploader, *app.selectbox, *app.metric, *app.multiselect]
    assert PROVIDER["client_secret"] not in texts(app)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_shows_nothing_before_the_sign_in(path: str) -> None:
    app = page_with(path, AUTH)
    assert_closed(app)
    assert [one.label for one in app.button] == ["Sign in"]


@pytest.mark.parametrize(
    "auth",
    [{}, "yes", *({name: value for name, value in AUTH.items() if name != missing} for missing in AUTH)],
    ids=["empty", "no section", *(f"no {missing}" for missing in AUTH)],
)
def test_an_incomplete_sign_in_shows_no_page(auth: object) -> None:
    app = page_with("pages/1_Predict.py", auth)
    assert_closed(app)
    if app.button:
        app.button[0].click().run()
        assert_closed(app)
        assert "not set up" in app.error[0].value


@pytest.mark.parametrize("secret", ["", "short", 7])
def test_a_cookie_secret_that_can_be_guessed_lets_nobody_in(secret: object) -> None:
    assert_closed(page_with("pages/1_Predict.py", {**AUTH, "cookie_secret": secret}, **SIGNED_IN))


@pytest.mark.parametrize("flag", [False, None, "yes", 1])
def test_only_the_flag_of_a_sign_in_opens_a_page(flag: object) -> None:
    assert_closed(page_with("streamlit_app.py", AUTH, is_logged_in=flag))


def test_a_page_is_open_after_the_sign_in_and_names_the_visitor() -> None:
    app = page_with("streamlit_app.py", AUTH, **SIGNED_IN)
    assert app.title[0].value != "Sign in"
    assert "ada@example.org" in [one.value for one in app.sidebar.text]


def test_each_of_several_providers_has_a_button() -> None:
    shared = {name: AUTH[name] for name in ("redirect_uri", "cookie_secret")}
    several = {**shared, "client_kwargs": {"scope": "openid"}, "clinic": PROVIDER, "google": PROVIDER}
    app = page_with("streamlit_app.py", several)
    assert [one.label for one in app.button] == ["Sign in with Clinic", "Sign in with Google"]
