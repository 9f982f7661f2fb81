"""What is there of a file that is not whole yet, and which file of the server it is of.

A server's file may change while a part of the former one lies here. What the server named the file by is therefore kept beside
the part, for the request that goes on with it (RFC 9110, sections 8.8 and 13.1.5). Knows files and headers, nothing of
connections.
"""

import io
import re
from dataclasses import dataclass
from datetime import timedelta
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path

from covid_core.storage import sha256_of_bytes, write_text

_LONGEST_NAME_BYTES = 200
"""What is kept beside a file has a longer name than the file, and few file systems take names of more than 255 bytes."""
_STRONG_TAG = r'"[!#-~]*"'
_DATE = r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT"
_ORIGIN = re.compile(rf"({_STRONG_TAG}|{_DATE})\n(\d{{1,15}})?\n", re.ASCII)
_DATES_DIFFER_BY = timedelta(seconds=1)


@dataclass(frozen=True)
class Origin:
    """Which file a part is of.

    Attributes:
        validator: what the server named it by: a strong entity tag, or a date.
        total: its size in bytes as the server announced it; None if it did not.
    """

    validator: str
    total: int | None

    def may_be(self, headers: Message, total: int) -> bool:
        """Whether an answer that goes on with a file of `total` bytes is about this one, as far as it tells."""
        return self.total in {None, total} and _validator(headers) in {None, self.validator}


def origin_of(headers: Message, total: int | None) -> Origin | None:
    """Which file an answer begins, None if the server does not name it to the byte.

    Args:
        headers: of the answer.
        total: the size of the whole file in bytes, None if the server does not tell.
    """
    validator = _validator(headers)
    return None if validator is None else Origin(validator, total)


@dataclass(frozen=True)
class Part:
    """What is there of a file that is not whole yet.

    Attributes:
        path: where its bytes are.
    """

    path: Path

    @classmethod
    def of(cls, file: Path) -> "Part":
        """The part of the file that shall stand at `file`."""
        encoded = file.name.encode("utf-8", "surrogatepass")
        name = file.name if len(encoded) <= _LONGEST_NAME_BYTES else sha256_of_bytes(encoded)
        return cls(file.with_name(f".{name}.part"))

    @property
    def size(self) -> int:
        """The bytes that are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def origin(self) -> Origin | None:
        """Which file it is of, None if that is not known."""
        try:
            match = _ORIGIN.fullmatch(self._origin_path.read_text(encoding="utf-8"))
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        return None if match is None else Origin(match[1], int(match[2]) if match[2] else None)

    def begin(self, origin: Origin | None) -> io.FileIO:
        """Throw away what is there, and open it to be written from the start, unbuffered."""
        self.remove()
        if origin is not None:
            total = "" if origin.total is None else origin.total
            write_text(self._origin_path, f"{origin.validator}\n{total}\n")
        return self.path.open("wb", buffering=0)

    def go_on(self) -> io.FileIO:
        """Open it to be written on, unbuffered."""
        return self.path.open("ab", buffering=0)

    def become(self, file: Path) -> None:
        """Put it in the place of `file`: it is whole."""
        self._origin_path.unlink(missing_ok=True)
        self.path.replace(file)

    def remove(self) -> None:
        """Throw it away."""
        # In this order, here and above: a process that is killed in between leaves bytes that are not known to be of a file,
        # never those of one file under the name of another.
        self._origin_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    @property
    def _origin_path(self) -> Path:
        return self.path.with_suffix(".origin")


def _validator(headers: Message) -> str | None:
    """The entity tag, if it is a strong one, or, of an answer without any tag, the time of the last change.

    Times count whole seconds: the answer must be a second younger, or the file may have changed once more within that second.
    """
    tag = headers.get("ETag")
    if tag is not None:
        return tag if re.fullmatch(_STRONG_TAG, tag) else None
    changed, answered = headers.get("Last-Modified", ""), headers.get("Date", "")
    if not (re.fullmatch(_DATE, changed, re.ASCII) and re.fullmatch(_DATE, answered, re.ASCII)):
        return None
    try:
        age = parsedate_to_datetime(answered) - parsedate_to_datetime(changed)
    except ValueError:  # such as a 32nd day
        return None
    return changed if age >= _DATES_DIFFER_BY else None
