from importlib.util import find_spec
from pathlib import Path

import pytest

import covid_core.training  # noqa: F401  sets TensorFlow's environment before anything imports it
from tests.fake_bundle import start_tensorflow
from tests.training.tiny import write_tiny_dataset


@pytest.fixture(scope="session", autouse=True)
def _tensorflow_runs_with_the_threads_of_the_tests() -> None:
    if find_spec("tensorflow") is not None:
        start_tensorflow()


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared dataset of 48 films. Tests share it and must not change it."""
    return write_tiny_dataset(tmp_path_factory.mktemp("prepared") / "dataset")
