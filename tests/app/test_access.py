"""Who may see a page. Streamlit's own sign-in needs a browser: `tests/browser/test_sign_in.py` goes through it."""

import pytest
from streamlit.testing.v1 import AppTest

from covid_core.locations import PROJECT
from covid_core.ui.access import AccessError, Provider, providers_of
from tests.app.conftest import texts

PAGES = ("streamlit_app.py", "pages/1_Predict.py", "pages/2_Dataset.py", "pages/3_Model_report.py")
AUTH = {
    "redirect_uri": "https://reader.example/oauth2callback",
    "cookie_secret": "x" * 40,
    "client_id": "reader",
    "client_secret": "a secret of the provider",
    "server_metadata_url": "https://sign-in.example/.well-known/openid-configuration",
}


def page_with(path: str, auth: object) -> AppTest:
    app = AppTest.from_file(str(PROJECT / path), default_timeout=60)
    app.secrets["auth"] = auth
    return app.run()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_for_a_sign_in_before_anything_else(path: str) -> None:
    app = page_with(path, AUTH)
    assert not app.exception
    assert [one.value for one in app.title] == ["Sign in"]
    assert [one.label for one in app.button] == ["Sign in"]
    assert not app.file_uploader
    assert not app.selectbox
    assert not app.metric
    assert "a secret of the provider" not in texts(app)


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("missing", [*AUTH, "everything"])
def test_a_sign_in_that_is_set_up_by_half_shows_no_page(path: str, missing: str) -> None:
    auth = {} if missing == "everything" else {name: value for name, value in AUTH.items() if name != missing}
    app = page_with(path, auth)
    assert not app.exception
    assert "The sign-in is not set up" in app.error[0].value
    assert not app.button
    assert not app.file_uploader
    assert not app.metric


def test_without_a_section_for_it_the_app_is_open() -> None:
    app = AppTest.from_file(str(PROJECT / "streamlit_app.py"), default_timeout=60).run()
    assert app.title[0].value != "Sign in"


def test_each_of_several_providers_has_a_button() -> None:
    shared = {name: AUTH[name] for name in ("redirect_uri", "cookie_secret")}
    own = {name: AUTH[name] for name in ("client_id", "client_secret", "server_metadata_url")}
    assert providers_of({**shared, "clinic": own, "google": own}) == (Provider("clinic"), Provider("google"))
    assert Provider("clinic").label == "Sign in with Clinic"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"redirect_uri": "https://reader.example/"}, "must end with"),
        ({"cookie_secret": "short"}, "random characters"),
        ({"client_id": ""}, "`client_id` is missing"),
        ({"client_id": 7}, "`client_id` is missing"),
        ({"my_clinic": {"client_id": "x"}}, "letters, digits"),
    ],
)
def test_what_cannot_work_is_named_without_its_value(change: dict[str, object], said: str) -> None:
    with pytest.raises(AccessError, match=said) as caught:
        providers_of({**AUTH, **change})
    assert AUTH["client_secret"] not in str(caught.value)


def test_a_section_that_is_none_is_refused() -> None:
    with pytest.raises(AccessError):
        providers_of("yes")
