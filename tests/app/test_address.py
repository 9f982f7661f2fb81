"""What a session wrote into its address is told from what a reader asks for; the browser is a dictionary here."""

from types import SimpleNamespace

import pytest

from covid_core.ui import address

KEYS = ("view", "sex")


class Browser:
    """Its address, what was sent to it, and the clock."""

    def __init__(self) -> None:
        self.query: dict[str, list[str]] = {}
        self.sent: list[dict[str, list[str]]] = []
        self.now = 0.0
        self.session_state: dict[str, object] = {}

    def get_all(self, key: str) -> list[str]:
        return self.query.get(key, [])

    def update(self, query: dict[str, list[str]]) -> None:
        self.sent.append(query)

    def asks(self, value: str, silent: object = "") -> bool:
        return address.asks_anew("filters", value, silent)

    def write(self, value: str) -> None:
        address.write("filters", value, {"view": [value]} if value else {}, KEYS)


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Browser:
    browser = Browser()
    monkeypatch.setattr(address, "st", SimpleNamespace(session_state=browser.session_state, query_params=browser))
    monkeypatch.setattr(address, "time", SimpleNamespace(monotonic=lambda: browser.now))
    return browser


def test_the_first_address_is_asked_for_once(browser: Browser) -> None:
    assert browser.asks("PA")
    assert not browser.asks("PA")


def test_what_was_written_is_not_asked_for_and_what_it_replaced_only_after_a_moment(browser: Browser) -> None:
    browser.asks("")
    browser.now = 10
    browser.write("PA")
    browser.now = 10.1
    assert not browser.asks("PA")
    assert not browser.asks("")  # sent before the browser heard of the change
    assert browser.asks("L")
    browser.now = 12
    browser.write("PA")
    browser.now = 20
    assert browser.asks("L")  # Back


def test_forward_just_after_back_is_followed(browser: Browser) -> None:
    browser.asks("")
    browser.now = 10
    browser.write("PA")
    browser.now = 20
    assert browser.asks("")
    browser.now = 20.1
    assert browser.asks("PA")


def test_an_address_is_sent_once_in_one_step_and_without_what_is_no_longer_asked_for(browser: Browser) -> None:
    browser.query = {"sex": ["M"], "section": ["Table"]}
    browser.asks("sex")
    browser.now = 10
    browser.write("PA")
    assert browser.sent == [{"view": ["PA"], "sex": []}]
    browser.query = {"view": ["PA"]}
    browser.write("PA")
    assert len(browser.sent) == 1


def test_a_choice_that_is_taken_back_at_once_is_sent_though_the_browser_seems_to_have_it(browser: Browser) -> None:
    browser.asks("")
    browser.now = 10
    browser.write("PA")
    browser.now = 10.2  # what the browser sends still is the address of before
    browser.write("")
    assert browser.sent == [{"view": ["PA"], "sex": []}, {"view": [], "sex": []}]
    browser.now = 30
    browser.write("")
    assert len(browser.sent) == 2


def test_an_address_that_says_nothing_asks_for_nothing_after_another_page(browser: Browser) -> None:
    address.note_page("Dataset")
    browser.asks("")
    browser.write("PA")
    browser.now = 20
    address.note_page("Predict")
    address.note_page("Dataset")
    assert not browser.asks("")
    assert not browser.asks("")  # also where the first run was cut short
    browser.write("PA")
    browser.now = 30
    assert browser.asks("")  # Back, on the page
