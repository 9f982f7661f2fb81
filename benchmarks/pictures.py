"""How fast thumbnails and fingerprints of 10,000 films are made, and how fast they are there again.

    python benchmarks/pictures.py [--films 10000] [--folder FOLDER]

Draws films (`tests/phantom.py`) of varied sizes into a temporary folder, half PNG and half JPEG, and reads them with an empty
store, again with nothing changed, and again with some changed and some new. Each run is a process of its own, so that its time
holds the opening of the store, and its peak memory is its own. With `--folder` the same of a folder's own files, which are
neither changed nor written. Prints the result; the one of drawn films is written to benchmarks/pictures.json.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.intake import peak_mib  # noqa: E402
from covid_core.dataset.image_cache import ImageCache  # noqa: E402
from covid_core.files import write_json  # noqa: E402
from tests.phantom import phantom_film  # noqa: E402

CHANGED, ADDED, PAGE, PAGES = 100, 100, 60, 9
SIDES = (400, 512, 640, 800, 1024)
_TEMPLATES = 40
_READ, _PAGE = "--read", "--page"


def main() -> None:
    """Measure, print and write."""
    if sys.argv[1:2] in ([_READ], [_PAGE]):
        print(json.dumps((_read if sys.argv[1] == _READ else _pages)(Path(sys.argv[2]), Path(sys.argv[3]))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=10_000, help="to draw")
    parser.add_argument("--folder", type=Path, help="of other films, to be read instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch) / "cache"
        if options.folder:
            print(json.dumps(_measured(options.folder, store), indent=2))
            return
        films = Path(scratch) / "films"
        films.mkdir()
        drawn = _drawn_films()
        for number in range(options.films):
            (films / f"film-{number:05}").write_bytes(next(drawn))
        result = _measured(films, store)
        names = sorted(films.iterdir())
        for name in names[:: max(len(names) // CHANGED, 1)][:CHANGED]:
            name.write_bytes(next(drawn))
        for number in range(ADDED):
            (films / f"new-{number:05}").write_bytes(next(drawn))
        time.sleep(3)  # a file that was changed just now is not yet taken for unchanged
        result |= {"changed": CHANGED, "added": ADDED, "changed_seconds": _run(_READ, films, store)["seconds"]}
    write_json(Path(__file__).with_suffix(".json"), result)
    print(json.dumps(result, indent=2))


def _measured(films: Path, store: Path) -> dict[str, float | None]:
    sizes = [path.stat().st_size for path in films.iterdir()]
    time.sleep(3)
    first, second = _run(_READ, films, store), _run(_READ, films, store)
    pages = _run(_PAGE, films, store)
    return {
        "cores": os.cpu_count(),
        "films": len(sizes),
        "films_megabytes": round(sum(sizes) / 1e6),
        "film_median_kilobytes": round(statistics.median(sizes) / 1e3),
        "first_seconds": first["seconds"],
        "first_films_a_second": round(len(sizes) / first["seconds"]),
        "first_peak_mib": first["peak_mib"],
        "second_seconds": second["seconds"],
        "second_peak_mib": second["peak_mib"],
        "page": PAGE,
        "page_milliseconds": pages["median"],
        "page_slowest_milliseconds": pages["slowest"],
        "store_megabytes": round(sum(path.stat().st_size for path in store.glob("**/*.*")) / 1e6),
    }


def _run(what: str, films: Path, store: Path) -> dict[str, float]:
    command = [sys.executable, __file__, what, str(films), str(store)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _read(films: Path, store: Path) -> dict[str, float]:
    """Thumbnails and fingerprints of a folder, as the gallery and the audit ask for them; one decoding makes both."""
    paths = sorted(films.iterdir())
    begin = time.perf_counter()
    pictures = ImageCache(store)
    fingerprints = pictures.fingerprints(paths)
    seconds = time.perf_counter() - begin
    unreadable = [one.problem for one in fingerprints if one.problem]
    if unreadable:
        print(f"{len(unreadable)} cannot be read, such as: {unreadable[0]}", file=sys.stderr)
    return {"seconds": round(seconds, 2), "peak_mib": round(peak_mib())}


def _pages(films: Path, store: Path) -> dict[str, float]:
    """Milliseconds for the thumbnails of a page, each page another part of the folder, the store open already."""
    paths = sorted(films.iterdir())
    pictures = ImageCache(store)
    spent = []
    for number in range(PAGES):
        start = number * (len(paths) - PAGE) // (PAGES - 1)
        begin = time.perf_counter()
        thumbnails = pictures.thumbnails(paths[start : start + PAGE])
        spent.append(1000 * (time.perf_counter() - begin))
        if thumbnails.count(None):
            print(f"{thumbnails.count(None)} thumbnails are missing", file=sys.stderr)
    return {"median": round(statistics.median(spent), 1), "slowest": round(max(spent), 1)}


def _drawn_films() -> Iterator[bytes]:
    """The contents of ever new films: drawn chests, each in another cut, size and grain."""
    rng = np.random.default_rng(0)
    templates = [phantom_film(rng, ("covid", "non_covid")[number % 2], 640) for number in range(_TEMPLATES)]
    with ThreadPoolExecutor() as executor:
        for start in count(0, 256):
            yield from executor.map(
                lambda number: _film(templates[number % _TEMPLATES], number), range(start, start + 256)
            )


def _film(template: NDArray[np.uint8], number: int) -> bytes:
    rng = np.random.default_rng(number)
    left, top, right, bottom = rng.integers(0, 60, 4)
    side = SIDES[number % len(SIDES)]
    film = Image.fromarray(template[top : 640 - bottom, left : 640 - right])
    grain = rng.integers(-2, 3, (side, side), np.int16)
    pixels = np.clip(np.asarray(film.resize((side, side))) + grain, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    if number % 2:
        Image.fromarray(pixels).save(buffer, "JPEG", quality=92)
    else:
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
