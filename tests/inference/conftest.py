from pathlib import Path

import pytest

from tests.fake_bundle import write_fake_bundle


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that tests share and must not change; `write_fake_bundle` makes one to change."""
    return write_fake_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
