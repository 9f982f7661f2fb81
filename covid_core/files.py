"""Files written aside and then put in place, so that a killed process never leaves a half-written one; and their hashes."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from covid_core.errors import CovidCoreError


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a path to write to; it replaces `path` when the block ends well, and is removed when it does not.

    It is beside `path`, whose folder is made, and has the same extension (some writers choose their format by it).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with plain newlines, aside and then in place."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON in its own key order. NaN and infinity are refused: they are not JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, error: type[CovidCoreError]) -> Any:
    """Read a JSON file; `error` is what to raise, with a sentence, where it is missing or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path} is missing.") from None
    except (OSError, ValueError) as cause:
        raise error(f"{path} cannot be read as JSON: {cause}.") from cause


def sha256_of_bytes(data: bytes) -> str:
    """The SHA-256 of `data`, in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file's content, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
