"""What was made of the films of a folder, each once: their thumbnails and fingerprints.

What came of a film is kept by its content (SHA-256), so that a copy or a moved folder is hashed but not decoded again; and the
hash is kept by path, size and time of change, so that an unchanged file is not even read. A file that was replaced by another
of the same size and the same time of change is therefore not noticed.

Only for films that lie in a folder on disk. An upload never comes here: the store may be a file, and others use it too.
This module knows nothing of patients, labels or pages; how things are kept is in `covid_core.data.picture_shelf`.
"""

import hashlib
import io
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from covid_core import images
from covid_core.data import duplicates
from covid_core.data.duplicates import MAX_WORKERS, Fingerprint, Progress, fingerprint_file
from covid_core.data.picture_shelf import Kept, Picture, Shelf, Stamp
from covid_core.errors import ImageRefusedError
from covid_core.images.decode import decode, read_limited
from covid_core.images.display import fitted
from covid_core.images.film import GreyImage
from covid_core.storage import sha256_of_bytes

THUMBNAIL_SIDE = 256
"""Longest side of a thumbnail, pixels."""
JPEG_QUALITY = 80
STORE_NAME = "pictures.sqlite"

_BATCH = 64  # files between two commits: what a killed process loses at most
_SETTLED_NS = 2 * 10**9  # a younger file may change again within one tick of its clock (FAT: 2 s)
_DECODERS = ("pillow", "numpy", "pydicom", "pyjpegls")

T = TypeVar("T")


@dataclass(frozen=True)
class _Seen:
    """What was found in a file, and whether it would be found again."""

    kept: Kept
    lasting: bool


class _Count:
    """Counts what is done, and tells it."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def add(self, number: int) -> None:
        self._done += number
        if number and self._progress is not None:
            self._progress(self._done, self._total)


class PictureStore:
    """Thumbnails and fingerprints of films in folders on disk, each made once.

    Not for uploads. May be used by many threads at a time. Whatever happens to its file, the results are the same: a file that
    is damaged is put aside and begun anew, and where none can be written the store is in memory.
    """

    def __init__(self, path: Path | None, most_bytes: int | None = None) -> None:
        """Open a store, or begin one.

        Args:
            path: of the SQLite file; None for one in memory.
            most_bytes: what the store may take, bytes; None for the defaults of `covid_core.data.picture_shelf`.
        """
        self._shelf = Shelf(path, _recipe(), most_bytes)
        self._making: dict[str, Future[tuple[Picture, bool]]] = {}
        self._making_lock = threading.Lock()

    def thumbnails(self, paths: Sequence[Path], progress: Progress | None = None) -> list[bytes | None]:
        """The films in small.

        Args:
            paths: of the files; one that is named twice is read once.
            progress: called with (done, different files) from the calling thread. If it raises, the work ends within a few films,
                and what was made is kept.

        Returns:
            For each path a grey JPEG of at most `THUMBNAIL_SIDE` pixels a side; None where it is missing or cannot be read.
        """
        return self._collected(paths, lambda picture: picture.jpeg, progress)

    def fingerprints(self, paths: Sequence[Path], progress: Progress | None = None) -> list[Fingerprint]:
        """What tells that two files hold the same picture; see `thumbnails` for the arguments.

        Returns:
            For each path what `covid_core.data.duplicates.fingerprint_file` gives.
        """
        return self._collected(paths, lambda picture: picture.fingerprint, progress)

    def close(self) -> None:
        """Let go of the file. The store must not be used afterwards."""
        self._shelf.close()

    def _collected(self, paths: Sequence[Path], part: Callable[[Picture], T], progress: Progress | None) -> list[T]:
        absolute = [path.absolute() for path in paths]
        different = list(dict.fromkeys(absolute))
        count = _Count(len(different), progress)
        parts: dict[Path, T] = {}
        # Decoders let go of Python's lock. No thread is begun where every file is known.
        executor = ThreadPoolExecutor(min(MAX_WORKERS, os.cpu_count() or 1))
        try:
            for start in range(0, len(different), _BATCH):
                found = self._batch(different[start : start + _BATCH], executor, count)
                parts |= {path: part(picture) for path, picture in found.items()}
        finally:
            executor.shutdown(cancel_futures=True)
        return [parts[path] for path in absolute]

    def _batch(self, paths: list[Path], executor: ThreadPoolExecutor, count: "_Count") -> dict[Path, Picture]:
        """The pictures of some files. What is new is kept, also where the work ends before its time."""
        stamps = {path: _stamp(path) for path in paths}
        found = self._shelf.unchanged(stamps)
        futures: dict[Path, Future[_Seen]] = {}
        try:
            count.add(len(found))
            futures = {path: executor.submit(self._look, path, stamps[path]) for path in paths if path not in found}
            for path, future in futures.items():
                found[path] = future.result().kept.picture
                count.add(1)
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
        finally:
            self._keep({path: future.result() for path, future in futures.items() if _finished(future)})
        return found

    def _keep(self, seen: dict[Path, _Seen]) -> None:
        self._shelf.keep({path: one.kept for path, one in seen.items() if one.lasting})
        with self._making_lock:
            for one in seen.values():
                self._making.pop(one.kept.picture.fingerprint.sha256, None)

    def _look(self, path: Path, stamp: Stamp | None) -> _Seen:
        """Read a file, and decode it if its content is new."""
        try:
            data = read_limited(path)
        except ImageRefusedError:  # missing, or too large: both are told without decoding
            picture = Picture(fingerprint_file(path), None)
            # One that could be read after all, at the second try, will have its small picture the next time.
            lasting = bool(picture.fingerprint.sha256) and picture.fingerprint.thumbnail is None
            return _Seen(Kept(picture, stamp), lasting)
        picture, lasting = self._of_content(sha256_of_bytes(data), data)
        return _Seen(Kept(picture, stamp), lasting)

    def _of_content(self, digest: str, data: bytes) -> tuple[Picture, bool]:
        """The picture of a content, and whether it will always be so; made by one thread if several ask for it at once."""
        known = self._shelf.of_content(digest)
        if known is not None:
            return known, True
        with self._making_lock:
            others = self._making.get(digest)
            mine = self._making.setdefault(digest, Future())
        if others is not None:
            return others.result()
        try:
            made = _made(digest, data)
        except BaseException as error:
            with self._making_lock:
                self._making.pop(digest, None)
            mine.set_exception(error)
            raise
        mine.set_result(made)
        return made


def _made(sha256: str, data: bytes) -> tuple[Picture, bool]:
    """Decode a content to its picture; and whether it would always become the same."""
    try:
        film = decode(data)
    except ImageRefusedError as refusal:
        picture = Picture(Fingerprint(sha256, None, str(refusal)), None)
        return picture, not isinstance(refusal.__cause__, MemoryError)
    return Picture(Fingerprint(sha256, duplicates.thumbnail(film)), jpeg_of(film)), True


def jpeg_of(film: GreyImage) -> bytes:
    """A film in small, as a grey JPEG of at most `THUMBNAIL_SIDE` pixels a side.

    Args:
        film: float32 (height, width) in [0, 1].
    """
    small = Image.fromarray(np.rint(fitted(film, THUMBNAIL_SIDE) * 255).astype(np.uint8))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return buffer.getvalue()


@cache
def _recipe() -> int:
    """Stands for what a picture depends on besides its file: the code that reads it, and the versions of the decoders."""
    sources = [*sorted(Path(images.__file__).parent.glob("*.py")), Path(duplicates.__file__), Path(__file__)]
    digest = hashlib.sha256(" ".join(map(_version, _DECODERS)).encode())
    for source in sources:
        digest.update(source.read_bytes())
    return int.from_bytes(digest.digest()[:7])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _stamp(path: Path) -> Stamp | None:
    """None where there is no such file, or it was changed just now: it could change again and keep its time."""
    try:
        status = path.stat()
    except OSError:
        return None
    settled = time.time_ns() - status.st_mtime_ns > _SETTLED_NS
    return Stamp(status.st_size, status.st_mtime_ns) if settled else None


def _finished(future: "Future[_Seen]") -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
