"""The list of a repository's files with their sizes and checksums, as GitHub's REST API gives a git tree.

The list is input from outside like any other: it may be too long, of other types or cut short, and is then not used at all. Knows
nothing of transfers.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LISTING_BYTES = 2**24
"""The longest list that is read; that of the public repository has well under a tenth of it."""

_MOST_FILE_BYTES = 2**40
_SHA1 = re.compile(r"[0-9a-f]{40}")
_CHUNK_BYTES = 2**20


class ListingError(Exception):
    """There is no list to compare with; `str(error)` says why, as the end of a sentence."""


@dataclass(frozen=True)
class Blob:
    """What a file shall be.

    Attributes:
        size: in bytes.
        sha: SHA-1 in lower-case hexadecimal as git takes it of a file: of `blob SIZE`, a zero byte and the content (Pro Git,
            chapter 10.2).
    """

    size: int
    sha: str

    def matches(self, path: Path) -> bool:
        """Whether the file at `path` is this one, to the byte."""
        if path.stat().st_size != self.size:
            return False
        digest = hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest() == self.sha


Listing = Mapping[str, Blob]
"""Path within the repository, with slashes -> what the file there shall be."""


def parse_listing(data: bytes) -> Listing:
    """Read what `GET /repos/OWNER/REPO/git/trees/REF?recursive=1` answers.

    Args:
        data: the answer, JSON.

    Returns:
        Every file of the list.

    Raises:
        ListingError: it is no such list, or GitHub cut it short.
    """
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        raise ListingError("the list of checksums is not readable") from None
    if not isinstance(answer, dict) or not isinstance(answer.get("tree"), list):
        raise ListingError("the list of checksums is not one of GitHub's")
    if answer.get("truncated") is not False:
        raise ListingError("the list of checksums is cut short")
    return dict(
        _file(entry) for entry in answer["tree"] if not (isinstance(entry, dict) and entry.get("type") != "blob")
    )


def _file(entry: object) -> tuple[str, Blob]:
    if isinstance(entry, dict):
        path, size, sha = entry.get("path"), entry.get("size"), entry.get("sha")
        named = isinstance(path, str) and isinstance(sha, str) and _SHA1.fullmatch(sha)
        if named and isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= _MOST_FILE_BYTES:
            return str(path), Blob(size, str(sha))
    raise ListingError("the list of checksums is not one of GitHub's")
