"""A block of code in which Python's warnings and pydicom's log are off, in many threads at once.

Decoders warn of what they met in a file, and may quote from it; what matters is whether the pixels load.
"""

import logging
import threading
import warnings

_LOGGERS = ("pydicom", "jpeg_ls")


class _Quiet:
    """Warnings and logs are off while any thread is inside.

    `warnings.catch_warnings` alone is not safe there: it sets the filters of the whole process, and whoever leaves
    first puts them back under the others (2 of 2000 decodings in 8 threads raised, and the filters stayed changed).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()
        self._levels: dict[str, int] = {}

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
                for name in _LOGGERS:
                    self._levels[name] = logging.getLogger(name).level
                    logging.getLogger(name).setLevel(logging.CRITICAL + 1)
            self._inside += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)
                for name, level in self._levels.items():
                    logging.getLogger(name).setLevel(level)


quiet = _Quiet()
"""`with quiet:` switches warnings and logs off; blocks may overlap."""
