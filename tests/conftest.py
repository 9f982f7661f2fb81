"""What several tests share: a synthetic dataset, and the real one where it stands."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from covid_core.dataset.prepare import PreparedDataset, prepare_dataset
from tests.phantom import write_phantom_dataset

PROJECT_DIR = Path(__file__).resolve().parent.parent

settings.register_profile("few", max_examples=20, deadline=None, derandomize=True, database=None)
settings.register_profile("thorough", max_examples=300, deadline=None)
settings.load_profile("few")


@pytest.fixture(scope="session", autouse=True)
def no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests make of pictures stays out of the user's own cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVID_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def phantom_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic dataset folder. Tests share it and must not change it."""
    return write_phantom_dataset(tmp_path_factory.mktemp("phantom") / "dataset")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder that holds `data/`: `COVID_SHARED_DIR`, or `../shared` beside the project."""
    folder = Path(os.environ.get("COVID_SHARED_DIR", PROJECT_DIR.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"there is no shared data at {folder}; set COVID_SHARED_DIR")
    return folder


@pytest.fixture(scope="session")
def real_dataset(shared_dir: Path) -> Path:
    """The dataset folder with `metadata.csv` and `images/`."""
    folder = shared_dir / "data" / "covid-chestxray-dataset"
    if not (folder / "metadata.csv").is_file():
        pytest.skip(f"the dataset is not at {folder}")
    return folder


@pytest.fixture(scope="session")
def real_prepared(real_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """The real dataset, divided by the rules that stand by default. Tests share it and must not change it."""
    return prepare_dataset(real_dataset, tmp_path_factory.mktemp("real"))
