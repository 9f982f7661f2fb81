"""One fetch of a folder at a time, over all tabs and terminals of a machine.

The system holds the lock and lets go of it with the process, however that ends: a killed fetch locks nothing.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from covid_core.errors import DownloadError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCK_NAME = ".fetch.lock"


@contextmanager
def only_fetch_into(folder: Path) -> Iterator[None]:
    """Hold the folder for one fetch.

    Args:
        folder: must exist.

    Raises:
        DownloadError: another fetch holds it.
        OSError: the folder cannot be written.
    """
    path = folder / LOCK_NAME
    descriptor = _locked(path)
    while descriptor is not None and not _stands_at(path, descriptor):  # whoever held it took the file away meanwhile
        os.close(descriptor)
        descriptor = _locked(path)
    if descriptor is None:
        raise DownloadError(
            f"Another download into {folder} is under way, in another tab or terminal. Wait until it is done, or stop it."
        )
    try:
        yield
    finally:
        # Taken away while it is held, where the system allows that: nobody can then hold a file that is about to go.
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)
        if sys.platform == "win32":
            with suppress(OSError):
                path.unlink()


def _locked(path: Path) -> int | None:
    """A descriptor of the file that holds its lock; None if somebody else does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the second is what Windows says
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _stands_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
