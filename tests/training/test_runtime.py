import subprocess
import sys

import keras
import numpy as np
import pytest

from covid_core.errors import TrainingError
from covid_core.training.runtime import Runtime, configure, package_versions, source_commit
from tests.conftest import PROJECT_DIR
from tests.fake_bundle import THREADS


def test_the_seed_decides_what_is_drawn():
    draws = []
    for seed in (4, 4, 5):
        configure(seed, THREADS)
        draws.append(np.concatenate([np.asarray(keras.random.normal((3,))), np.random.random(3)]))  # noqa: NPY002
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_what_decides_the_result_is_told():
    assert configure(7, THREADS) == Runtime(seed=7, threads=THREADS, onednn=True)


def test_another_number_of_threads_in_a_running_process_is_refused():
    np.asarray(keras.ops.ones(1))  # TensorFlow runs
    with pytest.raises(TrainingError, match="Start the command again"):
        configure(0, THREADS + 1)


def test_versions_and_commit_are_those_of_this_environment():
    versions = package_versions()
    assert versions["keras"] == keras.__version__
    assert versions["numpy"] == np.__version__
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=PROJECT_DIR, capture_output=True, text=True, check=False
    ).stdout.strip()
    assert (source_commit() or "").removesuffix("+changes") == commit
