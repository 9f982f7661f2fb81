"""A block of code in which Python's warnings are off, in many threads at once.

Decoders warn of what they met in a file, and may quote from it; what matters is whether the pixels load.
"""

import threading
import warnings


class _Unwarned:
    """Python's warnings are off while any thread is inside.

    `warnings.catch_warnings` alone is not safe there: it sets the filters of the whole process, and whoever leaves
    first puts them back under the others (2 of 2000 decodings in 8 threads raised, and the filters stayed changed).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)


unwarned = _Unwarned()
"""`with unwarned:` switches warnings off; blocks may overlap."""
