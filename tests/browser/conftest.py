"""The app and the browser that these tests share; a test that needs an app of its own has a fixture of the same name.

Playwright is imported where it is used: without it the modules here skip themselves.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the app as it is shipped."""
    from tests.browser.app_server import running_app  # noqa: PLC0415

    with running_app(tmp_path_factory.mktemp("app") / "app.log") as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from tests.browser.app_server import running_browser  # noqa: PLC0415

    with running_browser() as browser:
        yield browser
