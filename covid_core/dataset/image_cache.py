"""Cached thumbnails and fingerprints of image files.

A cache folder holds `<sha256[:2]>/<sha256>.jpg` (thumbnail) and `.npy` (fingerprint) of each content, and `index.json`, which
gives the content of each file as long as its size and modification time stay the same. A copied or moved file is therefore
hashed but not decoded again. A file replaced by another of the same size and modification time goes unnoticed.

Only for files in folders on disk, never for uploads: the cache may be a folder that other sessions use.
"""

import io
import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from covid_core.dataset.duplicates import THUMBNAIL_SIZE, Fingerprint, Progress, fingerprint_file, map_files, thumbnail
from covid_core.errors import ImageRefusedError
from covid_core.files import sha256_of_bytes, written_aside
from covid_core.images.decode import decode, read_limited
from covid_core.images.display import fitted

CACHE_NAME = "images-1"
"""Folder of the cache. Raise the number when decoding, thumbnails or fingerprints change."""
THUMBNAIL_SIDE = 256
"""Longest side of a thumbnail, pixels."""
MAX_BYTES = 2**30
"""Of a cache on disk; it is emptied when it would grow beyond."""
MAX_BYTES_IN_MEMORY = 2**28

_INDEX_NAME = "index.json"
_CONTENTS = f"[0-9a-f][0-9a-f]/{'[0-9a-f]' * 64}.*"
_SETTLED_NS = 2 * 10**9  # a younger file may change again within one tick of its clock (FAT: 2 s)
_LOCK = threading.Lock()  # of everything that is written

_Entry = tuple[int, int, str, str]  # size, modification time in ns, SHA-256, why it cannot be decoded
T = TypeVar("T")


class ImageCache:
    """Thumbnails and fingerprints of image files, kept in a folder or in memory.

    Any thread may use it, and any process the same folder. A missing, damaged or unwritable folder changes nothing but the time:
    what is damaged is made again, and what cannot be written is kept in memory.
    """

    def __init__(self, folder: Path | None, max_bytes: int = MAX_BYTES) -> None:
        """Open a cache in a folder, made when first needed, or for None in memory, where `MAX_BYTES_IN_MEMORY` holds too."""
        self._folder, self._max_bytes = folder, max_bytes
        self._bytes: int | None = None  # on disk; None before they are counted
        self._memory: dict[str, bytes] = {}
        self._index = _read_index(folder)
        self._changed = False

    def thumbnails(self, paths: Sequence[Path], progress: Progress | None = None) -> list[bytes | None]:
        """For each path a grey JPEG of at most `THUMBNAIL_SIDE` pixels a side; None where the file cannot be decoded.

        `progress` is called with (done, total) after each file. If it raises, what was made until then is kept.
        """
        return self._map(lambda path: self._look_up(path)[1], paths, progress)

    def fingerprints(self, paths: Sequence[Path], progress: Progress | None = None) -> list[Fingerprint]:
        """Make or look up fingerprints, equal to those of `covid_core.dataset.duplicates.fingerprint_files`."""
        return self._map(lambda path: self._look_up(path)[0], paths, progress)

    def _map(self, function: Callable[[Path], T], paths: Sequence[Path], progress: Progress | None) -> list[T]:
        try:
            return map_files(function, [path.absolute() for path in paths], progress)
        finally:
            self._write_index()

    def _look_up(self, path: Path) -> tuple[Fingerprint, bytes | None]:
        stamp, entry = _stamp(path), self._index.get(str(path))
        if stamp is not None and entry is not None and entry[:2] == stamp:
            _, _, sha256, problem = entry
            found = (Fingerprint(sha256, None, problem), None) if problem else self._load(sha256)
            if found is not None:
                return found
        fingerprint, jpeg, lasting = self._read(path)
        if stamp is not None and lasting:
            self._index[str(path)] = (*stamp, fingerprint.sha256, fingerprint.problem)
            self._changed = True
        return fingerprint, jpeg

    def _read(self, path: Path) -> tuple[Fingerprint, bytes | None, bool]:
        """Read a file, and decode it unless its content is known; False where another try might end otherwise."""
        try:
            data = read_limited(path)
        except ImageRefusedError:  # missing or too large
            fingerprint = fingerprint_file(path)
            return fingerprint, None, bool(fingerprint.sha256 and fingerprint.problem)
        sha256 = sha256_of_bytes(data)
        found = self._load(sha256)
        if found is not None:
            return *found, True
        try:
            image = decode(data)
        except ImageRefusedError as refusal:
            return Fingerprint(sha256, None, str(refusal)), None, not isinstance(refusal.__cause__, MemoryError)
        small = Image.fromarray(np.rint(fitted(image, THUMBNAIL_SIDE) * 255).astype(np.uint8))
        jpeg, array, grey = io.BytesIO(), io.BytesIO(), thumbnail(image)
        small.save(jpeg, "JPEG", quality=80, optimize=True)
        np.save(array, grey)
        self._save({f"{sha256}.npy": array.getvalue(), f"{sha256}.jpg": jpeg.getvalue()})
        return Fingerprint(sha256, grey), jpeg.getvalue(), True

    def _load(self, sha256: str) -> tuple[Fingerprint, bytes] | None:
        """What is kept of a content; None where it is missing or damaged."""
        try:
            jpeg, array = self._content(f"{sha256}.jpg"), self._content(f"{sha256}.npy")
            grey = np.load(io.BytesIO(array))
        except (OSError, ValueError, EOFError):
            return None
        whole = grey.dtype == np.float32 and grey.shape == (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
        whole = whole and jpeg.startswith(b"\xff\xd8") and jpeg.endswith(b"\xff\xd9")
        return (Fingerprint(sha256, grey), jpeg) if whole else None

    def _content(self, name: str) -> bytes:
        if self._folder is None or name in self._memory:
            return self._memory.get(name, b"")
        return (self._folder / name[:2] / name).read_bytes()

    def _save(self, contents: dict[str, bytes]) -> None:
        with _LOCK:
            if self._folder is not None:
                with suppress(OSError):
                    self._write(self._folder, contents)
                    return
            self._memory |= contents
            if sum(map(len, self._memory.values())) > min(self._max_bytes, MAX_BYTES_IN_MEMORY):
                self._memory.clear()

    def _write(self, folder: Path, contents: dict[str, bytes]) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._bytes is None:
            self._bytes = sum(path.stat().st_size for path in folder.glob(_CONTENTS))
        added = sum(map(len, contents.values()))
        if self._bytes + added > self._max_bytes:
            for path in (folder / _INDEX_NAME, *folder.glob(_CONTENTS)):
                path.unlink(missing_ok=True)
            self._index.clear()
            self._bytes = 0
        self._bytes += added
        for name, data in contents.items():
            with written_aside(folder / name[:2] / name) as aside:
                aside.write_bytes(data)

    def _write_index(self) -> None:
        """Write the index if it has changed, with what other processes added to it; a lost one costs only time."""
        if self._folder is None or not self._changed or not self._folder.is_dir():
            return
        with _LOCK, suppress(OSError):
            index = _read_index(self._folder) | self._index.copy()
            self._changed = False
            with written_aside(self._folder / _INDEX_NAME) as aside:
                aside.write_text(json.dumps(index), encoding="ascii")


def _read_index(folder: Path | None) -> dict[str, _Entry]:
    """Path -> entry; empty where there is no index or it is damaged."""
    try:
        index = json.loads((folder / _INDEX_NAME).read_bytes()) if folder else {}
        return {path: (int(one[0]), int(one[1]), str(one[2]), str(one[3])) for path, one in index.items()}
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        return {}


def _stamp(path: Path) -> tuple[int, int] | None:
    """Size in bytes and modification time in ns; None where there is no file, or it was changed just now."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if time.time_ns() - status.st_mtime_ns > _SETTLED_NS else None
