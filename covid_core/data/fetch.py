"""The public dataset, file by file, over HTTPS, with the standard library alone.

A fetch that was cut short goes on where it stopped: whole files are skipped, and a file that was begun (`.NAME.part`) goes on by
an HTTP range request (RFC 9110, section 14). This module knows the layout of the repository; it does not judge the images.
"""

import http.client
import re
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote, urlsplit

import pandas as pd

from covid_core.data.metadata import read_metadata, safe_image_path
from covid_core.errors import DatasetError, DownloadError

DEFAULT_URL = "https://raw.githubusercontent.com/ieee8023/covid-chestxray-dataset/master/"
DATASET_BYTES = 650 * 2**20
"""Room that is asked for before all images are fetched; the archive has about 600 MB."""
IMAGES_FOLDER = "images"

_CHUNK_BYTES = 2**16
_ATTEMPTS = 5
"""How often in a row a file may fail without a new byte."""
_FIRST_PAUSE_SECONDS = 0.5
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FetchReport:
    """What a fetch did.

    Attributes:
        out_dir: the dataset folder: `metadata.csv` and `images/`.
        downloaded: files fetched now, the table included.
        skipped: files that were there already, the table included.
        not_found: names of images that the server does not have.
    """

    out_dir: Path
    downloaded: int
    skipped: int
    not_found: tuple[str, ...]

    def summary(self) -> str:
        """What was done, as the command line prints it."""
        lines = [f"{self.out_dir}: {self.downloaded} files fetched, {self.skipped} were there already."]
        if self.not_found:
            lines.append(f"The server does not have {len(self.not_found)}: {', '.join(self.not_found)}")
        return "\n".join(lines)


class _NotFoundError(Exception):
    """The server has no such file."""


class _TransferError(Exception):
    """The transfer failed in a way that another attempt may mend."""


@dataclass(frozen=True)
class _Session:
    """What all transfers of one fetch share.

    Attributes:
        timeout: seconds without an answer after which a connection counts as dropped.
        stop: set when the fetch is abandoned; transfers then end at the next chunk.
    """

    timeout: float
    stop: threading.Event


def fetch_dataset(
    out_dir: Path,
    *,
    base_url: str = DEFAULT_URL,
    metadata_only: bool = False,
    progress: Progress | None = None,
    workers: int = 8,
    timeout: float = 30,
) -> FetchReport:
    """Download `metadata.csv` and the images of its folder `images`. CT volumes are not fetched.

    Args:
        out_dir: becomes the dataset folder.
        base_url: where the repository's files stand.
        metadata_only: the table alone.
        progress: called with (images done, images of the table).
        workers: files fetched at a time, at least 1.
        timeout: seconds without an answer after which a connection counts as dropped.

    Returns:
        What was done. Images that the server does not have are listed, not fatal.

    Raises:
        DownloadError: there is no connection, the server refuses, the answer is not the dataset, or the disk is full. What
            was fetched so far stays, and the same call goes on from there.
    """
    if urlsplit(base_url).scheme not in {"http", "https"}:
        raise DownloadError(f"The address of the dataset must begin with http:// or https://. Received: {base_url!r}")
    base_url = base_url.rstrip("/") + "/"
    session = _Session(timeout, threading.Event())
    table_path = out_dir / "metadata.csv"
    had_table = table_path.exists()
    try:
        if not had_table:
            _fetch_table(base_url, table_path, session)
        wanted = {} if metadata_only else _wanted_images(read_metadata(table_path), base_url, out_dir / IMAGES_FOLDER)
        todo = {path: url for path, url in wanted.items() if not path.exists()}
        if todo:
            _check_room(out_dir, len(todo) / len(wanted))
        not_found = _fetch_all(todo, session, workers, _counted(progress, len(wanted) - len(todo), len(wanted)))
    except OSError as cause:
        raise DownloadError(f"{out_dir} cannot be written: {cause.strerror or cause}.") from cause
    return FetchReport(
        out_dir=out_dir,
        downloaded=len(todo) - len(not_found) + (not had_table),
        skipped=len(wanted) - len(todo) + had_table,
        not_found=tuple(sorted(not_found)),
    )


def _fetch_table(base_url: str, path: Path, session: _Session) -> None:
    """Fetch the table and keep it only if it is one (a network's login page would not be)."""
    candidate = path.with_name(".metadata.csv.new")
    try:
        _fetch_file(base_url + path.name, candidate, session)
        read_metadata(candidate)
        candidate.replace(path)
    except _NotFoundError:
        raise DownloadError(f"There is no {path.name} at {base_url}. Check the address.") from None
    except DatasetError as cause:
        raise DownloadError(f"{base_url}{path.name} is not the table of the dataset: {cause}") from cause
    finally:
        candidate.unlink(missing_ok=True)


def _wanted_images(table: pd.DataFrame, base_url: str, images_dir: Path) -> dict[Path, str]:
    """The images of a table, as target and address. Tables without the column `folder` have images alone."""
    rows = table[table["folder"].fillna(IMAGES_FOLDER) == IMAGES_FOLDER]
    names = rows["filename"].dropna().drop_duplicates().tolist()
    return {safe_image_path(images_dir, name): f"{base_url}{IMAGES_FOLDER}/{quote(name, safe='')}" for name in names}


def _counted(progress: Progress | None, done: int, total: int) -> Callable[[], None]:
    """A function without arguments that tells `progress` of one more; it tells it at once where it begins."""
    count = done

    def advance() -> None:
        nonlocal count
        count += 1
        if progress is not None:
            progress(count, total)

    if progress is not None and total:
        progress(done, total)
    return advance


def _check_room(out_dir: Path, share: float) -> None:
    needed, free = DATASET_BYTES * share, shutil.disk_usage(out_dir).free
    if free < needed:
        raise DownloadError(
            f"{out_dir} has {free / 2**20:.0f} MiB free; about {needed / 2**20:.0f} are needed. Make room or choose another "
            "--out."
        )


def _fetch_all(todo: dict[Path, str], session: _Session, workers: int, advance: Callable[[], None]) -> list[str]:
    """Fetch files, several at a time, and give the names of those that the server does not have."""
    not_found = []
    executor = ThreadPoolExecutor(max(1, workers))
    try:
        futures = {executor.submit(_fetch_file, url, path, session): path for path, url in todo.items()}
        for future in as_completed(futures):
            try:
                future.result()
            except _NotFoundError:
                not_found.append(futures[future].name)
            advance()
    finally:
        session.stop.set()  # nothing runs any more, or an error or Ctrl-C ended the fetch
        executor.shutdown(cancel_futures=True)
    return not_found


def _fetch_file(url: str, path: Path, session: _Session) -> None:
    """Fetch one file, going on after dropped connections; it appears under its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    failures = 0
    while True:
        _go_on(session)
        before = _size(partial)
        try:
            _transfer(url, partial, session)
        except _TransferError as cause:
            failures = 1 if _size(partial) > before else failures + 1
            if failures >= _ATTEMPTS:
                raise DownloadError(
                    f"{url} could not be fetched: {cause}. Check the connection and run the same command again; it goes "
                    "on where it stopped."
                ) from cause
            session.stop.wait(_FIRST_PAUSE_SECONDS * 2 ** (failures - 1))
        else:
            partial.replace(path)
            return


def _transfer(url: str, partial: Path, session: _Session) -> None:
    """Make one request for what is lacking of a file, and append it to `partial`.

    Raises:
        _TransferError: the file is not whole; another attempt may go on.
    """
    have = _size(partial)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - http(s) only
    try:
        response = urllib.request.urlopen(request, timeout=session.timeout)  # noqa: S310
    except urllib.error.HTTPError as refusal:
        with refusal:
            _handle_refusal(url, refusal.code, partial)
    except (OSError, http.client.HTTPException) as cause:  # URLError is an OSError
        raise _TransferError(str(getattr(cause, "reason", None) or cause)) from cause
    else:
        with response:
            expected = _expected_size(response, have)
            resumed = response.status == HTTPStatus.PARTIAL_CONTENT
            with partial.open("ab" if resumed else "wb") as file:
                for chunk in _chunks(response, session):
                    file.write(chunk)
        if expected is not None and _size(partial) != expected:
            raise _TransferError(f"{_size(partial)} of {expected} bytes arrived")


def _handle_refusal(url: str, code: int, partial: Path) -> None:
    """Turn an HTTP error into ours."""
    if code == HTTPStatus.NOT_FOUND:
        raise _NotFoundError
    if code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # what we hold is not the beginning of this file
        partial.unlink(missing_ok=True)
        raise _TransferError("the file has changed")
    if code == HTTPStatus.TOO_MANY_REQUESTS or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _TransferError(f"the server answered {code}")
    raise DownloadError(f"The server refused {url} with status {code}. Check the address.")


def _expected_size(response: http.client.HTTPResponse, have: int) -> int | None:
    """The size of the whole file, None where the server does not tell."""
    if response.headers.get_content_type() == "text/html":
        raise DownloadError(f"{response.url} gave a web page instead of the file. Log in to the network, then retry.")
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != have:
            raise DownloadError(f"The server answered a range request for {response.url} with another range.")
        return int(match[2])
    length = response.headers.get("Content-Length")
    return int(length) if length is not None and length.isdecimal() else None


def _chunks(response: http.client.HTTPResponse, session: _Session) -> Iterator[bytes]:
    while True:
        _go_on(session)
        try:
            chunk = response.read(_CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as cause:
            raise _TransferError(str(cause) or type(cause).__name__) from cause
        if not chunk:
            return
        yield chunk


def _go_on(session: _Session) -> None:
    """End this transfer if the fetch was abandoned."""
    if session.stop.is_set():
        raise DownloadError("The download was stopped. Run the same command again; it goes on where it stopped.")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
