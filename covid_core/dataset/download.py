"""Download of the public dataset, file by file, over HTTPS.

Each file arrives in a folder aside and is moved into place once it is whole and right. Complete files are skipped, so the same
call resumes a download that was stopped.
"""

import asyncio
import hashlib
import json
import shutil
import ssl
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pandas as pd
from filelock import FileLock, Timeout

from covid_core.dataset.metadata import read_metadata, safe_image_path
from covid_core.errors import DatasetError, DownloadError
from covid_core.paths import IMAGES_NAME, METADATA_NAME, PUBLIC_DATASET
from covid_core.text import counted, printable

DATASET_BYTES = 650 * 2**20
"""Disk space for all images where no list gives their sizes; the archive has about 600 MB."""
RESERVE_BYTES = 2**24
"""Disk space that stays free."""
MOST_BYTES = 2**28
"""The largest file that is downloaded; the public ones have a few MB each."""
RETRY_SECONDS = 0.5
"""Pause before the second attempt at a file; it doubles with each further one."""

_ATTEMPTS = 4
_TICK_SECONDS = 0.25
_NAMES_SHOWN, _LONGEST_NAME = 10, 255
_ASIDE, _LOCK = ".download.part", ".download.lock"


class _NotFoundError(Exception):
    """The server has no such file."""


class _FailedError(Exception):
    """The file did not arrive; another attempt may succeed."""


@dataclass(frozen=True)
class _File:
    """A file to download; size in bytes and git's SHA-1 are None where no list gives them."""

    url: str
    path: Path
    size: int | None
    sha: str | None

    def is_complete(self) -> bool:
        """Whether the file is there in its size; where that is not known, whether it is there and not empty."""
        size = self.path.stat().st_size if self.path.is_file() else -1
        return size > 0 if self.size is None else size == self.size

    def is_content(self, path: Path) -> bool:
        """Whether what is at `path` is this file; where no checksum is known, whether it is not empty."""
        content = path.read_bytes()
        # Git hashes `blob SIZE`, a zero byte and the content (Pro Git, chapter 10.2).
        digest = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        return bool(content) if self.sha is None else digest == self.sha


@dataclass
class FetchReport:
    """What a download did; each count includes the table.

    Attributes:
        compared: files whose checksum was compared and is right.
        not_compared: why no checksum was compared; None where there is a list of them.
        escaping_names: file names in the table that would leave the folder of images; these were not downloaded.
        former_table: copy of the table that was replaced.
    """

    downloaded: int = 0
    skipped: int = 0
    compared: int = 0
    not_compared: str | None = "there is no list of checksums for this address"
    not_found: list[str] = field(default_factory=list)
    escaping_names: list[str] = field(default_factory=list)
    former_table: Path | None = None

    def sentences(self) -> list[str]:
        """What was done, for people."""
        lines = [f"{counted(self.downloaded, 'file')} downloaded, {self.skipped} already here."]
        if self.not_compared is not None:
            lines.append(f"No checksum was compared: {self.not_compared}.")
        elif self.compared:
            lines.append(f"{counted(self.compared, 'file matches its', 'files match their')} checksum.")
        if self.former_table is not None:
            lines.append(f"The previous table was kept as {self.former_table.name}.")
        if self.not_found:
            lines.append(f"Not on the server: {_listed(self.not_found)}.")
        if self.escaping_names:
            lines.append(f"Left out, because the name is not a plain file name: {_listed(self.escaping_names)}.")
        return lines


def fetch_dataset(
    out_dir: Path,
    *,
    base_url: str = PUBLIC_DATASET,
    listing_url: str | None = None,
    metadata_only: bool = False,
    verify: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    workers: int = 8,
    timeout: float = 30,
) -> FetchReport:
    """Download `metadata.csv` and the images of its folder `images`, but no CT volumes.

    Args:
        out_dir: becomes the dataset folder.
        base_url: where `metadata.csv` and `images/` are.
        listing_url: sizes and checksums of these files, as GitHub's REST API gives a git tree. Images of another size and a
            table of another content are then replaced. Without an answer the download goes on, and the report says so.
        metadata_only: download the table alone.
        verify: compare the checksums of images that are there too, and download those that differ.
        progress: called with (done, total), in files, every quarter of a second; total is 0 as long as it is not known.
            Whatever it raises stops the download at once.
        workers: files downloaded at a time.
        timeout: seconds without an answer after which a connection counts as dropped.

    Raises:
        DownloadError: the dataset cannot be had or written, there is no list to `verify` with, or another download into the
            same folder runs. Complete files stay.
        DatasetError: the table that is there cannot be read.
    """
    if not base_url.startswith(("http://", "https://")):
        raise DownloadError(f"The address of the dataset must begin with http:// or https://. Received: {base_url!r}")
    aside = out_dir / _ASIDE
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(out_dir / _LOCK, blocking=False):
            shutil.rmtree(aside, ignore_errors=True)  # of a killed process
            aside.mkdir()
            try:
                download = _Download(
                    out_dir, base_url.rstrip("/"), listing_url, metadata_only, verify, progress, workers
                )
                return asyncio.run(download.run(timeout))
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    except Timeout:
        raise DownloadError(f"Another download into {out_dir} is running. Wait until it ends, or stop it.") from None
    except OSError as cause:
        raise DownloadError(f"{out_dir} cannot be read or written: {cause.strerror or cause}.") from cause


@dataclass
class _Download:
    out_dir: Path
    base_url: str
    listing_url: str | None
    metadata_only: bool
    verify: bool
    progress: Callable[[int, int], None]
    workers: int
    done: int = 0
    total: int = 0
    listing: dict[str, tuple[int, str]] = field(default_factory=dict)
    report: FetchReport = field(default_factory=FetchReport)

    async def run(self, timeout: float) -> FetchReport:
        trusted = ssl.create_default_context()  # the certificates of the system, such as a hospital's own
        try:
            # As it is: what a server compresses has neither the announced size nor a limit.
            headers = {"Accept-Encoding": "identity"}
            client = httpx2.AsyncClient(timeout=timeout, follow_redirects=True, headers=headers, verify=trusted)
        except (ImportError, ValueError) as cause:
            raise DownloadError(f"The proxy that the environment names cannot be used: {cause}.") from cause
        async with client as self.client:
            if self.listing_url is not None:
                await self._watch(self._read_listing(self.listing_url))
            if self.verify and self.report.not_compared is not None:
                raise DownloadError(
                    f"The files cannot be compared with their checksums: {self.report.not_compared}. Name a list with "
                    "--listing, or download without --verify."
                )
            await self._fetch_table()
            if not self.metadata_only:
                await self._fetch_images()
        return self.report

    async def _read_listing(self, url: str) -> None:
        try:
            self.listing = parse_listing((await self._received(url, "listing")).read_bytes())
        except (httpx2.HTTPError, httpx2.InvalidURL, DownloadError, _FailedError, _NotFoundError) as cause:
            self.report.not_compared = (
                f"the list of checksums cannot be read ({str(cause).rstrip('.') or type(cause).__name__})"
            )
        else:
            self.report.not_compared = None

    async def _fetch_table(self) -> None:
        """Download the table and keep it only if it is one; a network's login page is not."""
        table = self._file(METADATA_NAME)
        self.total = int(self.metadata_only)
        # Always by content: a correction may leave the size as it was.
        if table.is_complete() and table.is_content(table.path):
            self._count(table, downloaded=False)
            return
        self._check_space(table.size or 0)
        try:
            await self._watch(self._arrived(table))
            read_metadata(self.out_dir / _ASIDE / METADATA_NAME)
        except _NotFoundError:
            raise DownloadError(f"There is no {METADATA_NAME} at {self.base_url}. Check the address.") from None
        except DatasetError as cause:
            raise DownloadError(f"{table.url} is not the table of the dataset: {cause}") from cause
        if table.path.exists():
            self.report.former_table = table.path.with_name(f"{METADATA_NAME}.old")
            shutil.copyfile(table.path, self.report.former_table)
        self._put_in_place(table)

    async def _fetch_images(self) -> None:
        images = self._images(read_metadata(self.out_dir / METADATA_NAME))
        if not images:
            raise DownloadError("The table names no image that could be downloaded. Check the address.")
        lacking = [one for one in images if not one.is_complete()]
        if lacking:
            sizes = [one.size for one in lacking if one.size is not None]
            self._check_space(sum(sizes) if sizes else DATASET_BYTES * len(lacking) // len(images))
        todo = images if self.verify else lacking
        self.done, self.total = len(images) - len(todo), len(images)
        self.report.skipped += self.done
        waiting = iter(todo)

        async def work() -> None:
            for image in waiting:
                await self._bring(image)

        await self._watch(*(work() for _ in range(self.workers)))
        if not any(one.is_complete() for one in images):
            raise DownloadError(
                f"None of the {len(images)} images of the table is at {self.base_url}/{IMAGES_NAME}/. Check the address."
            )

    async def _bring(self, image: _File) -> None:
        """Download an image unless its content is right."""
        if image.is_complete() and await asyncio.to_thread(image.is_content, image.path):
            self._count(image, downloaded=False)
            return
        try:
            await self._arrived(image)
        except _NotFoundError:
            self.report.not_found.append(image.path.name)
            self.done += 1
        else:
            image.path.parent.mkdir(exist_ok=True)
            self._put_in_place(image)

    async def _arrived(self, file: _File) -> None:
        """Download a file into the folder aside, in several attempts if need be, and compare its checksum."""
        reason = ""
        for attempt in range(_ATTEMPTS):
            await asyncio.sleep(RETRY_SECONDS * 2 ** (attempt - 1) if attempt else 0)
            try:
                path = await self._received(file.url, file.path.name)
            except (httpx2.HTTPError, httpx2.InvalidURL, _FailedError) as cause:
                reason = str(cause).rstrip(".") or type(cause).__name__
                continue
            if file.is_content(path):
                return
            reason = "the file is empty" if file.sha is None else "its content is not that of the list of checksums"
        raise DownloadError(
            f"{file.url} could not be downloaded: {reason}. Check the connection and start again: complete files stay."
        )

    async def _received(self, url: str, name: str) -> Path:
        """Write what the server answers into the folder aside."""
        path = self.out_dir / _ASIDE / name
        async with self.client.stream("GET", url) as answer:
            code = answer.status_code
            if code in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
                raise _NotFoundError("the server does not have it")
            if code == HTTPStatus.TOO_MANY_REQUESTS or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise _FailedError(f"the server answered {code}")
            if code != HTTPStatus.OK:
                raise DownloadError(f"The server refused {url} with status {code}. Check the address.")
            if answer.headers.get("Content-Type", "").startswith("text/html"):
                raise DownloadError(f"{url} gave a web page instead of the file. Log in to the network, then retry.")
            with path.open("wb") as file:
                async for chunk in answer.aiter_bytes():
                    if file.tell() + len(chunk) > MOST_BYTES:
                        raise DownloadError(f"{url} is larger than any file of the dataset. Check the address.")
                    file.write(chunk)
        return path

    async def _watch(self, *jobs: Coroutine[Any, Any, None]) -> None:
        """Run jobs side by side and call `progress` meanwhile; the first error ends all of them."""
        tasks = {asyncio.ensure_future(job) for job in jobs}
        pending = tasks
        try:
            while pending:
                self.progress(self.done, self.total)
                ended, pending = await asyncio.wait(pending, timeout=_TICK_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
                for task in ended:
                    task.result()
            self.progress(self.done, self.total)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _put_in_place(self, file: _File) -> None:
        shutil.move(self.out_dir / _ASIDE / file.path.name, file.path)
        self._count(file, downloaded=True)

    def _count(self, file: _File, *, downloaded: bool) -> None:
        self.report.downloaded += downloaded
        self.report.skipped += not downloaded
        self.report.compared += file.sha is not None
        self.done += 1

    def _images(self, table: pd.DataFrame) -> list[_File]:
        """The images that a table names. Tables without the column `folder` have images alone."""
        rows = table[table["folder"].fillna(IMAGES_NAME) == IMAGES_NAME]
        images = []
        for name in rows["filename"].dropna().unique():
            try:
                safe_image_path(self.out_dir / IMAGES_NAME, name)
                images.append(self._file(f"{IMAGES_NAME}/{name}"))
            except DatasetError:
                self.report.escaping_names.append(name)
        return images

    def _file(self, name: str) -> _File:
        return _File(f"{self.base_url}/{quote(name)}", self.out_dir / name, *self.listing.get(name, (None, None)))

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.out_dir).free
        if free < needed + RESERVE_BYTES:
            raise DownloadError(
                f"{self.out_dir} has {free >> 20} MiB free; {(needed + RESERVE_BYTES) >> 20} are needed. Make space or choose "
                "another folder."
            )


def parse_listing(data: bytes) -> dict[str, tuple[int, str]]:
    """Read what `GET /repos/OWNER/REPO/git/trees/REF?recursive=1` answers: path -> size in bytes and SHA-1 of the file."""
    try:
        answer = json.loads(data)
        files = {one["path"]: (one["size"], one["sha"]) for one in answer["tree"] if one["type"] == "blob"}
        if answer["truncated"] is False and all(isinstance(size, int) for size, _ in files.values()):
            return files
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise DownloadError("it is cut short, or not one of GitHub's")


def _listed(names: Sequence[str]) -> str:
    """The count and the first names, none longer than a file's or with what would control a terminal."""
    shown = ", ".join(printable(name[:_LONGEST_NAME]) for name in names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{len(names)}: {shown}" + (f" and {more} more" if more > 0 else "")
