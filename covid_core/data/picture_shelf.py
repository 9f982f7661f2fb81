"""The tables in which `covid_core.data.pictures` keeps what was made of films: one SQLite file, or memory.

It has a rollback journal, not a write-ahead log: that would not work on a network drive, where home folders often lie
(https://sqlite.org/wal.html). Several processes may use the file. What was committed stays if one of them is killed.

Nothing here fails for what happens to the file. One that is damaged is put aside and begun anew; where none can be written, or
the file is another program's, the tables are in memory. This module knows nothing of how pictures are made.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from covid_core.data.duplicates import THUMBNAIL_SIZE, Fingerprint

MOST_BYTES = 2**30
"""Of a file, unless another limit is given."""
MOST_BYTES_IN_MEMORY = 2**28

_BUSY_SECONDS = 10.0  # to wait for another process that writes
_APPLICATION = 0x43585231  # "CXR1" in the header of the file
_SCHEMA = 1
_TABLES = (
    """CREATE TABLE IF NOT EXISTS picture (
        sha256 TEXT NOT NULL, recipe INTEGER NOT NULL, used INTEGER NOT NULL, problem TEXT NOT NULL, jpeg BLOB, grey BLOB,
        UNIQUE (sha256, recipe))""",
    "CREATE INDEX IF NOT EXISTS picture_used ON picture (used)",
    """CREATE TABLE IF NOT EXISTS file (
        path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL) WITHOUT ROWID""",
)
_WHOLE = f"(grey IS NULL OR typeof(grey) = 'blob' AND length(grey) = {4 * THUMBNAIL_SIZE**2})"
_OF_FILE = f"""SELECT picture.sha256, used, problem, jpeg, grey FROM file JOIN picture USING (sha256)
    WHERE path = ? AND size = ? AND mtime_ns = ? AND recipe = ? AND {_WHOLE}"""  # noqa: S608  no value of a user
_OF_CONTENT = f"SELECT sha256, used, problem, jpeg, grey FROM picture WHERE sha256 = ? AND recipe = ? AND {_WHOLE}"  # noqa: S608
_REMOVE_OLDEST = """DELETE FROM picture WHERE rowid IN (SELECT rowid FROM picture ORDER BY used, rowid LIMIT ?)"""
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

_Row = tuple[object, ...]


@dataclass(frozen=True)
class Picture:
    """What is kept of a content.

    Attributes:
        fingerprint: as `covid_core.data.duplicates.fingerprint_file` gives it.
        jpeg: the film in small; None where it cannot be read.
    """

    fingerprint: Fingerprint
    jpeg: bytes | None


@dataclass(frozen=True)
class Stamp:
    """By what a file is taken for unchanged.

    Attributes:
        size: bytes.
        mtime_ns: when it was changed, nanoseconds.
    """

    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Kept:
    """What was found in a file.

    Attributes:
        picture: what its content became.
        stamp: of the file before it was read; None where it may have changed since without a sign.
    """

    picture: Picture
    stamp: Stamp | None


class _ForeignError(Exception):
    """The file belongs to another program."""


class Shelf:
    """Pictures by content, and contents by file. Each method may be called from any thread, and none fails."""

    def __init__(self, path: Path | None, recipe: int, most_bytes: int | None = None) -> None:
        """Open the tables, or make them.

        Args:
            path: of the file; None for memory.
            recipe: stands for the way pictures are made; those made another way are not found.
            most_bytes: to take at most; None for `MOST_BYTES`, or `MOST_BYTES_IN_MEMORY`. Those used longest ago go first.
        """
        self._path, self._recipe = path, recipe
        self._most_bytes = most_bytes or (MOST_BYTES_IN_MEMORY if path is None else MOST_BYTES)
        self._lock = threading.RLock()
        self._connection = _opened(path)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def unchanged(self, stamps: Mapping[Path, Stamp | None]) -> dict[Path, Picture]:
        """The pictures of the files that are as they were."""
        rows = {}
        for path, stamp in stamps.items():
            if stamp is not None:
                row = self._row(_OF_FILE, (os.fsencode(path), stamp.size, stamp.mtime_ns, self._recipe))
                if row is not None:
                    rows[path] = row
        self._mark_used(rows.values())
        return {path: _picture(row) for path, row in rows.items()}

    def of_content(self, sha256: str) -> Picture | None:
        """The picture of a content; None where there is none yet."""
        row = self._row(_OF_CONTENT, (sha256, self._recipe))
        if row is None:
            return None
        self._mark_used([row])
        return _picture(row)

    def keep(self, found: Mapping[Path, Kept]) -> None:
        """Keep what was found in some files: all of it, or nothing."""
        pictures = {one.picture.fingerprint.sha256: one.picture for one in found.values()}
        rows = [(sha256, self._recipe, _today(), *_columns(picture)) for sha256, picture in pictures.items()]
        files = [
            (os.fsencode(path), one.stamp.size, one.stamp.mtime_ns, one.picture.fingerprint.sha256)
            for path, one in found.items()
            if one.stamp is not None
        ]
        if rows:
            self._change(lambda connection: _add(connection, rows, files, self._most_bytes))

    def _mark_used(self, rows: Iterable[_Row]) -> None:
        """Note the day at the first use of each; `rows` begin with content and day."""
        today = _today()
        if old := [(today, row[0], self._recipe) for row in rows if row[1] != today]:
            update = "UPDATE picture SET used = ? WHERE sha256 = ? AND recipe = ?"
            self._change(lambda connection: connection.executemany(update, old))

    def _row(self, query: str, values: _Row) -> Any:
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchone()
            except sqlite3.Error as error:
                self._recover(error)
                return None

    def _change(self, change: Callable[[sqlite3.Connection], object]) -> None:
        with self._lock:
            try:
                _transact(self._connection, change)
            except sqlite3.Error as error:
                self._recover(error)

    def _recover(self, error: sqlite3.Error) -> None:
        """Go on with another store; with the same where it was only in use for long."""
        if _code(error) in _BUSY:
            return
        self._connection.close()
        self._connection = _opened(self._path if _code(error) in _DAMAGED else None, damaged=True)


def _opened(path: Path | None, *, damaged: bool = False) -> sqlite3.Connection:
    """Open the tables in a file, or in memory where that cannot be; a file that is no database is put aside."""
    if path is None:
        return _prepared(":memory:")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not damaged:
            try:
                return _prepared(path)
            except sqlite3.Error as error:
                if _code(error) not in _DAMAGED:
                    raise
        path.replace(path.with_name(f"{path.name}.damaged"))
        return _prepared(path)
    except (OSError, sqlite3.Error, _ForeignError):
        return _prepared(":memory:")


def _prepared(path: Path | str) -> sqlite3.Connection:
    """Connect, and make the tables where there are none.

    Raises:
        sqlite3.Error: it is no database, or cannot be written.
        _ForeignError: it is the database of another program.
    """
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _transact(connection, _make_tables)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_tables(connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != _APPLICATION:
        raise _ForeignError
    if tables and schema != _SCHEMA:
        for table in ("picture", "file"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in (*_TABLES, f"PRAGMA application_id = {_APPLICATION}", f"PRAGMA user_version = {_SCHEMA}"):
        connection.execute(statement)


def _transact(connection: sqlite3.Connection, change: Callable[[sqlite3.Connection], object]) -> None:
    """Do all of a change or nothing; it begins with the lock for writing, as one that is asked for later may be refused."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        change(connection)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # after a full disk there may be nothing left to undo
            connection.execute("ROLLBACK")
        raise


def _add(connection: sqlite3.Connection, pictures: Sequence[_Row], files: Sequence[_Row], most_bytes: int) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO picture (sha256, recipe, used, problem, jpeg, grey) VALUES (?, ?, ?, ?, ?, ?)", pictures
    )
    connection.executemany("INSERT OR REPLACE INTO file (path, size, mtime_ns, sha256) VALUES (?, ?, ?, ?)", files)
    while _bytes_taken(connection) > most_bytes:
        (count,) = connection.execute("SELECT count(*) FROM picture").fetchone()
        if not count:
            break
        connection.execute(_REMOVE_OLDEST, (count // 10 + 1,))
        connection.execute("DELETE FROM file WHERE sha256 NOT IN (SELECT sha256 FROM picture)")


def _bytes_taken(connection: sqlite3.Connection) -> int:
    """By pages in use; the file itself never shrinks, but pages that were freed are used again."""
    pages, free, size = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _picture(row: Sequence[Any]) -> Picture:
    sha256, _, problem, jpeg, grey = row
    side = THUMBNAIL_SIZE
    thumbnail = None if grey is None else np.frombuffer(grey, "<f4").astype(np.float32).reshape(side, side)
    return Picture(Fingerprint(sha256, thumbnail, problem), jpeg)


def _columns(picture: Picture) -> _Row:
    grey = picture.fingerprint.thumbnail
    return picture.fingerprint.problem, picture.jpeg, None if grey is None else grey.astype("<f4").tobytes()


def _today() -> int:
    return int(time.time() // 86400)


def _code(error: sqlite3.Error) -> int | None:
    """The primary code of SQLite, the lowest byte of what it gives (https://sqlite.org/rescode.html)."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
