"""The images in a ZIP archive, one at a time and in memory only: nothing is ever unpacked to a disk.

An archive that is too large as a whole is refused as a whole; what is wrong with one member is said when that member is read. The
sizes that an archive states are checked first, and counted again while it is unpacked, so that members that share their bytes
(the bombs of D. Fifield, USENIX WOOT 2019) unpack to no more than any other archive of that size.
"""

import io
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from covid_core.errors import ImageRefusedError
from covid_core.images.limits import check_bytes
from covid_core.images.types import MAX_BYTES

MAX_MEMBERS = 500
"""Of an archive, folders included: far more images than are read at a sitting."""
MAX_TOTAL_BYTES = 2**30
"""Of all members, unpacked."""
MAX_RATIO = 100
"""Unpacked size over packed size, of a member and of the archive: uncompressed images reach about 10, and all-zero bytes 1000."""
RATIO_FREE_BYTES = 2**20
"""Below this unpacked size the ratio does not matter."""

_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_OTHER_ARCHIVES = (b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"BZh", b"\xfd7zXZ\0")
_LISTED = b"PK\x01\x02"
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # a password, strong encryption, a masked directory
_UNIX = 3
_CHUNK = 2**20
_NOT_IMAGES = {".DS_Store", "Thumbs.db", "desktop.ini"}
_MAX_NAME = 120
# What `zipfile` and `zlib` raise on damaged archives.
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, struct.error),
    *(OSError, EOFError, ValueError, RuntimeError, OverflowError, IndexError),
)


@dataclass(frozen=True)
class Member:
    """A file in an archive: its last path parts, to show, and what gives its content or raises `ImageRefusedError`."""

    name: str
    read: Callable[[], bytes]


def is_archive(data: bytes) -> bool:
    """Tell a ZIP archive by its first four bytes."""
    return data.startswith(_SIGNATURES)


def members(data: bytes) -> list[Member]:
    """List the files in an archive, in its order; folders and what desktops leave behind are passed over.

    Their content is unpacked when it is read, and not kept.

    Raises:
        ImageRefusedError: `bad_archive`, `archive_too_large`.
    """
    if data.count(_LISTED) > MAX_MEMBERS:  # before they are listed: a million take gigabytes
        raise ImageRefusedError(
            "archive_too_large", f"The archive holds too many files; at most {MAX_MEMBERS} are read."
        )
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = archive.infolist()
    except _ZIP_ERRORS as cause:
        raise ImageRefusedError("bad_archive", "The archive is damaged: its list of files cannot be read.") from cause
    total = sum(entry.file_size for entry in entries)
    if total > MAX_TOTAL_BYTES:
        size = f"{total / 2**20:.0f} MiB; at most {MAX_TOTAL_BYTES // 2**20} are read."
        raise ImageRefusedError("archive_too_large", f"The archive unpacks to {size}")
    if _is_bomb(total, len(data)):
        raise _bomb()
    found = [Member(_shown_name(entry), _reader(archive, entry)) for entry in entries if not _is_passed_over(entry)]
    if not found:
        raise ImageRefusedError("bad_archive", "The archive holds no files.", "Put the images into it.")
    return found


def _reader(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        _check_member(entry)
        try:
            content = _unpacked(archive, entry)
        except _ZIP_ERRORS as cause:
            raise ImageRefusedError("damaged", "The file is damaged inside the archive.") from cause
        if is_archive(content) or content.startswith(_OTHER_ARCHIVES):
            raise ImageRefusedError("nested_archive", "This is an archive inside the archive.")
        return content

    return read


def _check_member(entry: zipfile.ZipInfo) -> None:
    if _leaves_archive(entry.orig_filename):
        raise ImageRefusedError("bad_archive", "The file's name points to a place outside the archive.")
    mode = entry.external_attr >> 16 if entry.create_system == _UNIX else 0
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
        raise ImageRefusedError("bad_archive", "This is a link or a device, not a file.")
    if entry.flag_bits & _ENCRYPTED:
        raise ImageRefusedError("bad_archive", "The file is locked with a password.", "Pack it without a password.")
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ImageRefusedError("bad_archive", "The file is packed by a method that is not supported.")
    check_bytes(entry.file_size)
    if _is_bomb(entry.file_size, entry.compress_size):
        raise _bomb()


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    content = bytearray()
    with archive.open(entry) as file:
        while chunk := file.read(_CHUNK):
            content += chunk
            if len(content) > MAX_BYTES or _is_bomb(len(content), entry.compress_size):
                raise _bomb()
    return bytes(content)


def _is_bomb(unpacked: int, packed: int) -> bool:
    return unpacked > RATIO_FREE_BYTES and unpacked > MAX_RATIO * packed


def _leaves_archive(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\\" in name or name[1:2] == ":" or "\0" in name


def _is_passed_over(entry: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(entry.filename).parts
    if entry.filename.endswith("/") or not parts:  # `is_dir` fails on a file without a name
        return True
    return "__MACOSX" in parts or parts[-1] in _NOT_IMAGES or parts[-1].startswith("._")


def _shown_name(entry: zipfile.ZipInfo) -> str:
    """The last two parts of a path, without characters that control how text is shown (Unicode categories C)."""
    parts = PurePosixPath(entry.filename.replace("\\", "/")).parts[-2:]
    name = "/".join(part for part in parts if part not in {"/", ".."})
    shown = "".join(character for character in name if not unicodedata.category(character).startswith("C"))
    return shown[-_MAX_NAME:] or "unnamed"


def _bomb() -> ImageRefusedError:
    return ImageRefusedError("archive_too_large", f"The archive unpacks to more than {MAX_RATIO} times its size.")
