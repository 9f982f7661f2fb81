"""How fast and how light serving is. Needs the training environment, as it compares with Keras.

    make benchmark        or        python benchmarks/serving.py

1. One image, whole process: `predict` against the plain Keras way, in turn, median of 5 pairs: wall time and peak memory.
2. 200 images (10 different ones) in one process: images a second, and the share of the time that is the network itself.

Writes benchmarks/serving.json, from which docs/RESULTS.md gets a table. The images are RG1 of the package pydicom-data with other
margins, 1024 pixels a side, so that anyone measures the same work.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from covid_core.files import write_json  # noqa: E402
from covid_core.inference.batch import given_path, read_all  # noqa: E402
from covid_core.inference.bundle import load_bundle  # noqa: E402
from covid_core.inference.network import NetworkOutput  # noqa: E402
from covid_core.inference.predictor import Predictor  # noqa: E402
from covid_core.paths import default_model, models_dir  # noqa: E402
from tests.real_images import chest_image  # noqa: E402

RESULT = PROJECT / "benchmarks" / "serving.json"
IMAGE_SIZE = 1024
DRAWN = 10


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    seconds: float
    peak_mib: float


# Starts a command, waits for it and prints what it took. It imports next to nothing, because on Linux the peak memory
# of a process begins at that of its parent, and ours holds NumPy and images.
LAUNCHER = """
import os, sys, time
start = time.perf_counter()
output = os.open(os.devnull, os.O_WRONLY)
actions = [(os.POSIX_SPAWN_DUP2, output, 1)]
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=actions)
_, status, usage = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), time.perf_counter() - start, usage.ru_maxrss / 1024)
"""


def measure(command: list[str]) -> Cost:
    """Run a command to its end and read its peak memory from the kernel's account of it."""
    launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, *command]
    done = subprocess.run(launcher, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
    code, seconds, peak_mib = done.stdout.split()
    if code != "0":
        raise SystemExit(f"{' '.join(command)} ended with {code}")
    return Cost(float(seconds), float(peak_mib))


def one_image_of(image: Path, bundle: Path, runs: int) -> dict[str, float]:
    """Median cost of one prediction, LiteRT against Keras, after one warm-up of each."""
    served = [sys.executable, "-m", "covid_core", "predict", "--model", str(bundle), str(image)]
    plain = [sys.executable, "benchmarks/keras_predict.py", str(bundle), str(image)]
    pairs = [(measure(served), measure(plain)) for _ in range(runs + 1)][1:]
    return {
        "runs": runs,
        "predict_seconds": statistics.median(ours.seconds for ours, _ in pairs),
        "predict_peak_mib": statistics.median(ours.peak_mib for ours, _ in pairs),
        "keras_seconds": statistics.median(keras.seconds for _, keras in pairs),
        "keras_peak_mib": statistics.median(keras.peak_mib for _, keras in pairs),
        "times_faster": statistics.median(keras.seconds / ours.seconds for ours, keras in pairs),
        "times_less_memory": statistics.median(keras.peak_mib / ours.peak_mib for ours, keras in pairs),
    }


def many_images(images: list[Path], bundle: Path) -> dict[str, float]:
    """Throughput of `read_all`, and how much of it is the network's."""
    predictor = Predictor(load_bundle(bundle))
    invoke = predictor.network.invoke
    inside = 0.0

    def timed(image: np.ndarray) -> NetworkOutput:
        nonlocal inside
        start = time.perf_counter()
        result = invoke(image)
        inside += time.perf_counter() - start
        return result

    predictor.network.invoke = timed
    start = time.perf_counter()
    count = sum(1 for _ in read_all(predictor, (one for image in images for one in given_path(image))))
    seconds = time.perf_counter() - start
    return {"films": count, "films_per_second": count / seconds, "network_share": inside / seconds}


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=models_dir() / default_model(), help="bundle")
    parser.add_argument("--runs", type=int, default=5, help="pairs of processes")
    parser.add_argument("--films", type=int, default=200, help="images of the throughput measurement")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        drawn = []
        for index in range(DRAWN):  # making an image takes longer than reading it
            path = Path(folder) / f"film{index}.png"
            Image.fromarray(chest_image(index, IMAGE_SIZE)).save(path)
            drawn.append(path)
        images = [drawn[index % DRAWN] for index in range(options.images)]
        result = {
            "model": options.model.name,
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
            "film": f"PNG of {IMAGE_SIZE} x {IMAGE_SIZE} pixels",
            "one_film": one_image_of(images[0], options.model, options.runs),
            "many_films": many_images(images, options.model),
        }
    write_json(RESULT, json.loads(json.dumps(result), parse_float=lambda text: float(f"{float(text):.4g}")))
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
