from pathlib import Path

import pytest

from covid_core.inference.bundle import load_bundle
from covid_core.inference.predictor import Predictor
from tests.fake_bundle import write_fake_bundle, write_fake_chest_bundle, write_image


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that tests share and must not change; `write_fake_bundle` makes one to change."""
    return write_fake_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def predictor(bundle_folder: Path) -> Predictor:
    """Serves the shared bundle."""
    return Predictor(load_bundle(bundle_folder))


@pytest.fixture(scope="session")
def chest_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a chest reader that tests share and must not change."""
    return write_fake_chest_bundle(tmp_path_factory.mktemp("bundles") / "chest")


@pytest.fixture(scope="session")
def chest_predictor(chest_folder: Path) -> Predictor:
    """Serves the shared chest reader."""
    return Predictor(load_bundle(chest_folder))


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve images, each with another answer."""
    folder = tmp_path_factory.mktemp("films")
    return [write_image(folder / f"{seed}.png", seed, height=120 + seed) for seed in range(12)]
