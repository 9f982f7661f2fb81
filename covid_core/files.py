"""Files written aside and then put in place, so that a killed process never leaves a half-written one; and their hashes."""

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def read_npz(path: Path, axes: Sequence[Mapping[str, str]], error: type[CovidCoreError]) -> dict[str, NDArray[Any]]:
    """Read the arrays of an `.npz` file, numbers as float32.

    Args:
        path: the file.
        axes: which arrays are wanted; where there are several sets, one of them. Name -> NumPy's letter of the kind of values
            (`f` finite numbers, `U` text, `b` truth values) and a sign for each axis: the same letter is the same length, a
            digit that length.
        error: what to raise, with a sentence, where the file cannot be read or does not hold these arrays.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as cause:
        raise error(f"{path} cannot be read as arrays: {cause}.") from cause
    wanted = next((one for one in axes if set(one) == set(arrays)), None)
    if wanted is None:
        raise error(f"{path} must hold {' or '.join(', '.join(one) for one in axes)}. Received: {', '.join(arrays)}")
    lengths = {str(digit): digit for digit in range(10)}
    for name, letters in wanted.items():
        array, kind, signs = arrays[name], letters[0], letters[1:]
        if array.dtype.kind != kind or (kind == "f" and not np.isfinite(array).all()):
            raise error(
                f"{path}: `{name}` must be finite numbers, text or truth values (`{kind}`). Received: {array.dtype}"
            )
        fits = array.ndim == len(signs) and array.size > 0
        if not fits or any(lengths.setdefault(*axis) != axis[1] for axis in zip(signs, array.shape, strict=True)):
            shape = ", ".join(str(lengths.get(sign, sign)) for sign in signs)
            raise error(f"{path}: `{name}` must be of the shape ({shape}). Received: {array.shape}")
    return {name: array.astype(np.float32) if array.dtype.kind == "f" else array for name, array in arrays.items()}


def sha256_of_bytes(data: bytes) -> str:
    """The SHA-256 of `data`, in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file's content, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
