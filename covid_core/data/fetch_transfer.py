"""One file over HTTP, with the standard library alone: begun, gone on with after a drop, compared, put in place.

It goes on by range requests (RFC 9110, section 14), if the server still has the file that the part began. All transfers of one
fetch share a `Session`. Once that is stopped, nothing of it writes a byte any more, and connections that hang are cut rather
than waited for. Knows files and addresses, nothing of the dataset.
"""

import functools
import http.client
import io
import re
import socket
import ssl
import threading
import urllib.error
import urllib.request
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from covid_core.data.fetch_listing import Blob
from covid_core.data.fetch_part import Origin, Part, origin_of
from covid_core.errors import DownloadError

MOST_BYTES = 2**28
"""The longest file that is taken; the public ones have a few MB each."""

_CHUNK_BYTES = 2**16
_ATTEMPTS = 5
"""How often in a row a file may fail without coming further than ever before."""
_FIRST_PAUSE_SECONDS = 0.5
_SIZE = re.compile(r"\d{1,15}", re.ASCII)
_RANGE = re.compile(rf"bytes ({_SIZE.pattern})-\d+/({_SIZE.pattern})", re.ASCII)


class NotFoundError(Exception):
    """The server has no such file."""


class TransferError(Exception):
    """The transfer failed in a way that another attempt may mend."""


@dataclass(frozen=True)
class Wanted:
    """A file to fetch.

    Attributes:
        url: where it is.
        path: where it shall stand.
        blob: what it shall be; None if nobody says so.
    """

    url: str
    path: Path
    blob: Blob | None

    @property
    def part(self) -> Part:
        """What it grows in until it is whole."""
        return Part.of(self.path)


def check_address(url: str, what: str) -> None:
    """Refuse an address that is not one of the web.

    Raises:
        DownloadError: it is not.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise DownloadError(f"The address of {what} must begin with http:// or https:// and a host. Received: {url!r}")


class Session:
    """What all transfers of one fetch share: the time they wait, what they have so far, and the way to stop them."""

    def __init__(self, timeout: float) -> None:
        """`timeout`: seconds without an answer after which a connection counts as dropped."""
        self.timeout = timeout
        self.under_way: dict[Path, int] = {}
        """File that is under way -> bytes that are there."""
        self._stopped = threading.Event()
        # Held for each change of a file: none can follow a stop, even from a thread that hangs in a name look-up until later.
        self._writing = threading.Lock()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._opener = _opener(self)

    def stop(self) -> None:
        """End all transfers: nothing is written from here on, and whoever waits for a server is woken."""
        with self._writing:
            self._stopped.set()
            sockets = list(self._sockets)
        for one in sockets:
            with suppress(OSError):
                # Of the plain socket below TLS: closing alone would not wake a thread that reads.
                socket.socket.shutdown(one, socket.SHUT_RDWR)

    def go_on(self) -> None:
        """End this transfer if the fetch was abandoned."""
        if self._stopped.is_set():
            raise DownloadError("The download was stopped. Start it again: it goes on where it stopped.")

    def pause(self, seconds: float) -> None:
        """Wait, unless the fetch is abandoned meanwhile."""
        self._stopped.wait(seconds)

    @contextmanager
    def changing_files(self) -> Iterator[None]:
        """Hold off a stop while files change, or raise if it came before."""
        with self._writing:
            self.go_on()
            yield

    def attend(self, connection: socket.socket) -> None:
        """Know a connection, to cut it at a stop."""
        with self.changing_files():
            self._sockets.add(connection)

    def open(self, url: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
        """Ask for `url`.

        Raises:
            TransferError: no answer came.
            urllib.error.HTTPError: the answer is a refusal; to be closed.
        """
        request = urllib.request.Request(url, headers=headers or {})  # noqa: S310 - the opener knows http and https only
        try:
            response: http.client.HTTPResponse = self._opener.open(request, timeout=self.timeout)
        except urllib.error.HTTPError:
            raise
        except (OSError, http.client.HTTPException, ValueError) as cause:  # URLError is an OSError
            raise TransferError(str(getattr(cause, "reason", None) or cause) or type(cause).__name__) from cause
        return response

    def chunks(self, response: http.client.HTTPResponse, most: int) -> Iterator[bytes]:
        """What arrives, as it arrives, `most` bytes in all.

        Raises:
            TransferError: the connection dropped.
        """
        left = most
        while left > 0:
            self.go_on()
            try:
                # One read of the socket at a time: what has arrived is kept when the rest does not come.
                chunk = response.read1(min(_CHUNK_BYTES, left))
            except (OSError, http.client.HTTPException, ValueError) as cause:
                raise TransferError(str(cause) or type(cause).__name__) from cause
            if not chunk:
                return
            left -= len(chunk)
            yield chunk


def fetch_file(wanted: Wanted, session: Session) -> None:
    """Fetch one file, going on after dropped connections; it appears under its name only when it is whole and the right one.

    Raises:
        NotFoundError: the server has no such file.
        DownloadError: it cannot be had, or what the server has is another file than announced.
        OSError: it cannot be written.
    """
    part, blob = wanted.part, wanted.blob
    with session.changing_files():
        part.path.parent.mkdir(parents=True, exist_ok=True)
    another_came = False
    while True:
        # A process that was killed at the end leaves a part that is whole.
        if blob is None or not part.path.exists() or part.size != blob.size:
            _transfer_all(wanted, session)
        session.under_way[wanted.path] = part.size
        right = blob is None or blob.matches(part.path)
        with session.changing_files():
            if right:
                part.become(wanted.path)
                return
            part.remove()
        session.under_way[wanted.path] = 0
        if another_came:
            raise DownloadError(
                f"{wanted.url} is not the file that the list of checksums names, twice in a row. A network may have changed "
                "it, or the dataset was updated just now: try again later, or leave the comparison out with --listing none."
            )
        another_came = True


def _transfer_all(wanted: Wanted, session: Session) -> None:
    """Make requests until the part is whole."""
    failures = furthest = 0
    while True:
        session.go_on()
        try:
            _transfer(wanted, session)
        except TransferError as cause:
            session.go_on()
            # A part that is begun anew again and again gets its first bytes each time: they are no progress.
            reached = session.under_way.get(wanted.path, 0)
            failures = 1 if reached > furthest else failures + 1
            furthest = max(furthest, reached)
            if failures >= _ATTEMPTS:
                raise DownloadError(
                    f"{wanted.url} could not be fetched: {cause}. Check the connection and start again: it goes on where it "
                    "stopped."
                ) from cause
            session.pause(_FIRST_PAUSE_SECONDS * 2 ** (failures - 1))
        else:
            return


def _transfer(wanted: Wanted, session: Session) -> None:
    """Make one request for what is lacking of a file, and append it to its part.

    Raises:
        TransferError: the file is not whole; another attempt may go on.
    """
    part, blob = wanted.part, wanted.blob
    origin = part.origin
    # Without either nothing would tell, in the end, that the first bytes are of another file than the last.
    have = part.size if origin is not None or blob is not None else 0
    try:
        response = session.open(wanted.url, _range_headers(have, origin))
    except urllib.error.HTTPError as refusal:
        with refusal:
            _handle_refusal(wanted, refusal.code, session)
        return
    with response:
        in_part = response.status == HTTPStatus.PARTIAL_CONTENT
        expected = _expected_size(response, have, origin)
        if in_part and expected is None:
            _begin_anew(part, session)
            raise TransferError("the server sent another part than it was asked for, or one of another file")
        if (expected or 0) > MOST_BYTES:
            raise DownloadError(f"{wanted.url} is larger than any file of the dataset. Check the address.")
        began = origin_of(response.headers, expected)
        with _opened(part, session, began, resumed=in_part and have > 0) as file:
            _write(response, file, wanted, session, (MOST_BYTES + 1 if expected is None else expected))
    have = part.size
    if expected is not None and have != expected:
        raise TransferError(f"{have} of {expected} bytes arrived")
    if have == 0 and (blob is None or blob.size):
        raise TransferError("the server sent an empty file")
    if have > MOST_BYTES:
        raise DownloadError(f"{wanted.url} is larger than any file of the dataset. Check the address.")


def _range_headers(have: int, origin: Origin | None) -> dict[str, str]:
    """What asks for a file from byte `have` on, or for all of it where it is not that of `origin` any more."""
    if not have:
        return {}
    wanted = {"Range": f"bytes={have}-"}
    return wanted if origin is None else {**wanted, "If-Range": origin.validator}


@contextmanager
def _opened(part: Part, session: Session, origin: Origin | None, *, resumed: bool) -> Iterator[io.FileIO]:
    """The part, opened to go on, or to begin anew with the file that `origin` names."""
    with session.changing_files():
        file = part.go_on() if resumed else part.begin(origin)
    with file:
        yield file


def _write(response: http.client.HTTPResponse, file: io.FileIO, wanted: Wanted, session: Session, until: int) -> None:
    """Append what arrives, up to `until` bytes of the whole file."""
    have = file.seek(0, 2)
    session.under_way[wanted.path] = have
    for chunk in session.chunks(response, until - have):
        with session.changing_files():
            rest = memoryview(chunk)
            while rest:  # a plain file may take less than it is given
                rest = rest[file.write(rest) :]
        have += len(chunk)
        session.under_way[wanted.path] = have


def _begin_anew(part: Part, session: Session) -> None:
    with session.changing_files():
        part.remove()


def _handle_refusal(wanted: Wanted, code: int, session: Session) -> None:
    """Turn an HTTP error into ours."""
    if code in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        raise NotFoundError
    if code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # what we hold is not the beginning of this file
        _begin_anew(wanted.part, session)
        raise TransferError("the file has changed")
    if code == HTTPStatus.TOO_MANY_REQUESTS or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise TransferError(f"the server answered {code}")
    raise DownloadError(f"The server refused {wanted.url} with status {code}. Check the address.")


def _expected_size(response: http.client.HTTPResponse, have: int, origin: Origin | None) -> int | None:
    """The size of the whole file; None where the server does not tell, or sends something else than the part it was asked for."""
    if response.headers.get_content_type() == "text/html":
        raise DownloadError(f"{response.url} gave a web page instead of the file. Log in to the network, then retry.")
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != have or int(match[2]) < have:
            return None
        total = int(match[2])
        return total if origin is None or origin.may_be(response.headers, total) else None
    length = response.headers.get("Content-Length")
    if length is None:
        return None
    if _SIZE.fullmatch(length) is None:
        raise TransferError("the server announced a size that no file has")
    return int(length)


def _opener(session: Session) -> urllib.request.OpenerDirector:
    """An opener for http and https alone, through the system's proxies, whose connections the session can cut."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        _HTTPHandler(session),
        _HTTPSHandler(session),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


class _HTTPHandler(urllib.request.HTTPHandler):
    def __init__(self, session: Session) -> None:
        super().__init__()
        self._attended = functools.partial(_Connection, session)

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._attended, request)


class _HTTPSHandler(urllib.request.HTTPSHandler):
    def __init__(self, session: Session) -> None:
        super().__init__()
        self._attended = functools.partial(_SecureConnection, session)
        # Checks certificate and host name. Made once: reading the system's certificates takes a while.
        self._trusted = ssl.create_default_context()

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._attended, request, context=self._trusted)


class _Connection(http.client.HTTPConnection):
    def __init__(self, session: Session, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._session = session

    def connect(self) -> None:
        super().connect()
        self._session.attend(self.sock)


class _SecureConnection(http.client.HTTPSConnection):
    def __init__(self, session: Session, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._session = session

    def connect(self) -> None:
        super().connect()
        self._session.attend(self.sock)
