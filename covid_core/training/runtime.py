"""TensorFlow made repeatable: seeds, deterministic kernels, thread count; and what a run must record of all that."""

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import keras
import tensorflow as tf

from covid_core.errors import TrainingError
from covid_core.paths import CLONE

RECORDED_PACKAGES = (
    *("tensorflow-cpu", "tensorflow", "keras", "ai-edge-litert"),
    *("numpy", "pillow", "pandas", "scikit-learn"),
)


@dataclass(frozen=True)
class Runtime:
    """What besides the recipe decides a run's floating-point result.

    Sums are split over the threads within an operation; `onednn` says whether oneDNN kernels are on (environment variable
    TF_ENABLE_ONEDNN_OPTS).
    """

    seed: int
    threads: int
    onednn: bool


def configure(seed: int, threads: int, *, deterministic: bool = True) -> Runtime:
    """Seed everything and ask for deterministic kernels.

    Args:
        seed: any integer from 0 to 2**32 - 1.
        threads: threads within one operation, at least 1; where it must be deterministic, operations follow each other.
        deterministic: whether the same seed gives the same weights bit for bit. It doubles the time of an epoch of the chest
            networks on two cores (measured: 150 s and 75 s), so those do without.

    Raises:
        TrainingError: TensorFlow runs in this process already with another number of threads.
    """
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1 if deterministic else threads)
        except RuntimeError:
            raise TrainingError(
                f"TensorFlow is already running in this process with another number of threads than {threads}. "
                "Start the command again."
            ) from None
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    return Runtime(seed=seed, threads=threads, onednn=os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0")


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on; those not installed are left out."""
    versions = {"python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def source_commit() -> str | None:
    """The commit of this source tree, with `+changes` if the tree differs from it; None outside a git checkout."""
    if CLONE is None:  # installed, perhaps into a folder of another project's checkout
        return None
    try:
        commit = _git(CLONE, "rev-parse", "HEAD")
        changes = _git(CLONE, "status", "--porcelain", "--", "covid_core")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}+changes" if changes else commit


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)  # noqa: S603, S607
    return done.stdout.strip()
