"""What becomes of real odd files, none of them written here. Needs the test environment (pydicom-data, scikit-image).

    python benchmarks/intake.py --pillow-tests pillow-13.0.0/Tests/images [FOLDER ...]

Every file below each folder is read as the app would read it, archives by their members. Collections: Pillow's own test images
(in its source distribution: `pip download pillow==13.0.0 --no-binary :all: --no-deps`), the files in pydicom's wheel and in the
package pydicom-data, scikit-image's pictures, and any other folder that is named. Nothing is downloaded.

Each collection is read in a process of its own, so that its peak memory is its own. A file that ends the process or keeps it
for a minute counts as a crash, as does any exception that is no refusal; the next file is then read in a new process.

Prints a table in Markdown and writes benchmarks/intake.json. Ends with 1 if there was a crash.
"""

import argparse
import faulthandler
import json
import resource
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

RESULT = PROJECT / "benchmarks" / "intake.json"
ACCEPTED, CRASHED = "accepted", "crashed"
HANG_SECONDS = 60
_READER = "--read"


def examiner() -> Callable[[bytes], object]:
    """Give what is done with the content of each image: it may raise `ImageRefusedError` or return a `Refusal`.

    The one place to change where more than reading is to be measured. Called once in each process.
    """
    from covid_core.images.decode import read_film  # noqa: PLC0415  the parent process stays light
    from covid_core.inference.bundle import load_bundle  # noqa: PLC0415
    from covid_core.inference.predictor import Predictor  # noqa: PLC0415
    from covid_core.paths import default_model, models_dir  # noqa: PLC0415

    predictor = Predictor(load_bundle(models_dir() / default_model()))
    return lambda data: predictor.predict(read_film(data).image)


def films_of(path: Path) -> Iterator[Callable[[], bytes]]:
    """The films in a file: itself, or the members of an archive; each call gives a content or raises `ImageRefusedError`."""
    from covid_core.images.archive import is_archive, members  # noqa: PLC0415
    from covid_core.images.decode import read_limited  # noqa: PLC0415

    data = read_limited(path)
    if is_archive(data):
        yield from (member.read for member in members(data))
    else:
        yield lambda: data


def outcomes(path: Path, examine: Callable[[bytes], object]) -> Iterator[str]:
    """Say of each film in a file whether it is accepted, why it is refused, or that it crashed."""
    from covid_core.errors import ImageRefusedError, Refusal  # noqa: PLC0415

    try:
        for content in films_of(path):
            try:
                found = examine(content())
                yield found.reason if isinstance(found, Refusal) else ACCEPTED
            except ImageRefusedError as refusal:
                yield refusal.reason
    except ImageRefusedError as refusal:
        yield refusal.reason
    except Exception:
        traceback.print_exc()
        yield CRASHED


def peak_mib() -> float:
    """Of this process alone: on Linux `ru_maxrss` begins at that of the parent, `VmHWM` does not."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def read_here(paths: list[Path]) -> None:
    """Read files and print a line of JSON for each."""
    examine = examiner()
    for path in paths:
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        begin = time.perf_counter()
        found = list(outcomes(path, examine))
        seconds = time.perf_counter() - begin
        faulthandler.cancel_dump_traceback_later()
        line = {"file": path.name, "outcomes": found, "seconds": seconds, "peak_mib": peak_mib()}
        print(json.dumps(line), flush=True)


def read_apart(paths: list[Path]) -> Iterator[dict[str, object]]:
    """Read files in a process of their own, and in another where one of them ended it."""
    while paths:
        command = [sys.executable, __file__, _READER]
        given = "\n".join(map(str, paths))
        done = subprocess.run(command, input=given, stdout=subprocess.PIPE, text=True, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        yield from lines
        if len(lines) < len(paths):
            yield {"file": paths[len(lines)].name, "outcomes": [CRASHED], "seconds": HANG_SECONDS, "peak_mib": 0}
        paths = paths[len(lines) + 1 :]


def measure(folders: list[Path]) -> dict[str, object]:
    """Read every file below some folders, and sum up."""
    paths = [
        path
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
    lines = list(read_apart([path for path in paths if not path.suffix.startswith(".py")]))
    slowest = max(lines, key=lambda line: line["seconds"])
    return {
        "files": len(lines),
        "outcomes": dict(Counter(outcome for line in lines for outcome in line["outcomes"]).most_common()),
        "crashed": [line["file"] for line in lines if CRASHED in line["outcomes"]],
        "slowest_seconds": round(slowest["seconds"], 2),
        "slowest_file": slowest["file"],
        "peak_mib": round(max(line["peak_mib"] for line in lines)),
    }


def package_folder(name: str, below: str) -> Path:
    """A folder inside an installed package, without importing it."""
    package = find_spec(name)
    if package is None or not package.submodule_search_locations:
        raise SystemExit(f"{name} is not installed (requirements-dev.txt)")
    return Path(package.submodule_search_locations[0]) / below


def table(results: dict[str, dict[str, object]]) -> str:
    """Lay the results out in Markdown, one row an outcome and one column a collection."""
    names = list(results)
    totals: Counter[str] = sum((Counter(result["outcomes"]) for result in results.values()), Counter())
    reasons = sorted(
        (reason for reason in totals if reason not in {ACCEPTED, CRASHED}), key=lambda reason: -totals[reason]
    )
    rows = [["", *names], ["---", *["---:"] * len(names)], ["files", *(result["files"] for result in results.values())]]
    for outcome in (ACCEPTED, *reasons, CRASHED):
        title = f"refused: `{outcome}`" if outcome in reasons else outcome
        rows.append([title, *(result["outcomes"].get(outcome, 0) for result in results.values())])
    rows.append(["slowest file, s", *(f"{result['slowest_seconds']:.2f}" for result in results.values())])
    rows.append(["peak memory, MiB", *(result["peak_mib"] for result in results.values())])
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def main() -> None:
    """Measure, write and print the result."""
    if sys.argv[1:] == [_READER]:
        read_here([Path(line) for line in sys.stdin.read().splitlines()])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="further folders of files")
    parser.add_argument("--pillow-tests", type=Path, help="Tests/images of Pillow's source distribution")
    options = parser.parse_args()
    collections = {
        "pydicom": [package_folder("pydicom", "data")],
        "pydicom-data": [package_folder("data_store", "data")],
        "scikit-image": [package_folder("skimage", "data")],
    }
    if options.pillow_tests:
        collections = {"Pillow's tests": [options.pillow_tests], **collections}
    collections |= {folder.name: [folder] for folder in options.folders}
    results = {name: measure(folders) for name, folders in collections.items()}
    RESULT.write_text(json.dumps(results, indent=2) + "\n")
    print(table(results))
    sys.exit(any(result["crashed"] for result in results.values()))


if __name__ == "__main__":
    main()
