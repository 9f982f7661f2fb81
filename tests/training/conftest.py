from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import covid_core.training  # noqa: F401  sets TensorFlow's environment before anything imports it
from tests.fake_bundle import start_tensorflow
from tests.training.tiny import write_tiny_dataset

# Without requirements-train.txt there is nothing to test here.
collect_ignore_glob = [] if find_spec("tensorflow") else ["test_*.py"]


@pytest.fixture(scope="session", autouse=True)
def _tensorflow_runs_with_the_threads_of_the_tests() -> None:
    start_tensorflow()


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared dataset of 48 images. Tests share it and must not change it."""
    return write_tiny_dataset(tmp_path_factory.mktemp("prepared") / "dataset")


@dataclass(frozen=True)
class MadeRun:
    """A finished run of `pretrain`, what it was made from, and the lines it printed."""

    run: Any
    inputs: dict[str, Any]
    lines: list[str]


@pytest.fixture(scope="session")
def chest_inputs(phantom_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Dataset, collections, masks and external folders. Tests share them and must not change them."""
    from tests.training.chest import write_inputs  # noqa: PLC0415

    return write_inputs(tmp_path_factory.mktemp("chest"), phantom_dataset)


@pytest.fixture(scope="session")
def chest_run(chest_inputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> MadeRun:
    """A run of two tiny networks. Tests share it and must not change it."""
    from covid_core.training.pretraining import pretrain  # noqa: PLC0415
    from tests.training.chest import RECIPE, tiny_networks  # noqa: PLC0415

    lines: list[str] = []
    out = tmp_path_factory.mktemp("runs") / "chest"
    given = chest_inputs
    with tiny_networks():
        run = pretrain(
            given["collections"], given["dataset"], out, RECIPE, external=given["external"], say=lines.append
        )
    return MadeRun(run, given, lines)
