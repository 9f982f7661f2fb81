"""The public dataset, file by file, over HTTPS, with the standard library alone.

A fetch that was cut short goes on where it stopped: whole files are skipped, and a file that was begun (`.NAME.part`) goes on
if the server still has the same one. With a list of the repository's files, each file that arrives is compared with its
checksum. This module knows the layout of the repository; it does not judge the images.
"""

import os
import shutil
import urllib.error
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, count
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from covid_core.data.fetch_listing import LISTING_BYTES, Blob, Listing, ListingError, parse_listing
from covid_core.data.fetch_lock import only_fetch_into
from covid_core.data.fetch_report import FetchReport
from covid_core.data.fetch_threads import supervise
from covid_core.data.fetch_transfer import NotFoundError, Session, TransferError, Wanted, check_address, fetch_file
from covid_core.data.metadata import read_metadata, safe_image_path
from covid_core.errors import DatasetError, DownloadError
from covid_core.locations import IMAGES_NAME, METADATA_NAME, PUBLIC_DATASET
from covid_core.storage import written_aside

DATASET_BYTES = 650 * 2**20
"""Room that is asked for before all images are fetched where no list tells their sizes; the archive has about 600 MB."""
RESERVE_BYTES = 2**24
"""Room that shall be left on the disk, and that the table alone must have."""

_LISTING_SECONDS = 10.0

Progress = Callable[[int, int], None]


def fetch_dataset(
    out_dir: Path,
    *,
    base_url: str = PUBLIC_DATASET,
    listing_url: str | None = None,
    metadata_only: bool = False,
    verify: bool = False,
    progress: Progress | None = None,
    in_bytes: Callable[[], None] | None = None,
    workers: int = 8,
    timeout: float = 30,
) -> FetchReport:
    """Download `metadata.csv` and the images of its folder `images`. CT volumes are not fetched.

    Images that are there stay, unless the list knows them in another size, and the table, unless the list knows another: they
    are then fetched aside and replaced.

    Args:
        out_dir: becomes the dataset folder.
        base_url: where the repository's files stand.
        listing_url: where the sizes and checksums of these files stand, as GitHub's REST API gives a git tree; see
            `covid_core.locations.dataset_listing`. Where it cannot be had the fetch goes on without, and the report says so.
        metadata_only: the table alone.
        verify: compare the images that are there with their checksums, too, and fetch anew those that differ.
        progress: called with (done, total) of the images, or of the table if it is fetched alone, at least every half second;
            total is 0 as long as it is not known. What it raises ends the fetch within about a second, even from a server
            that has fallen silent.
        in_bytes: called once, before the first total, where sizes are known and done and total are bytes; otherwise they
            are files.
        workers: files fetched at a time, at least 1.
        timeout: seconds without an answer after which a connection counts as dropped.

    Returns:
        What was done. Images that the server does not have are listed, not fatal, and so are names in the table that leave the
        folder of images.

    Raises:
        DownloadError: there is no connection, the server refuses, the answer is not the dataset, not one of the images is to be
            had, there is no list to `verify` with, the disk is full, or another fetch fills the same folder. What was fetched
            so far stays, and the same call goes on from there.
        DatasetError: the table that is there already is none.
    """
    check_address(base_url, "the dataset")
    if listing_url is not None:
        check_address(listing_url, "the list of checksums")
    base_url = base_url.rstrip("/") + "/"
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        with only_fetch_into(out_dir):
            meter = _Meter(progress, in_bytes)
            fetch = _Fetch(out_dir, base_url, timeout, max(1, workers), meter)
            fetch.read_listing(listing_url, min(timeout, _LISTING_SECONDS))
            if verify and fetch.not_compared is not None:
                raise DownloadError(
                    f"The files that are here cannot be compared with their checksums: {fetch.not_compared}. Name a list with "
                    "--listing, or fetch without --verify."
                )
            fetch.fetch_table(counted=metadata_only)
            if not metadata_only:
                fetch.fetch_images(verify=verify)
            return fetch.report()
    except OSError as cause:
        raise DownloadError(f"{out_dir} cannot be read or written: {cause.strerror or cause}.") from cause


def is_begun(out_dir: Path, *, metadata_only: bool = False) -> bool:
    """Whether an earlier fetch left something in the folder that the next one goes on from."""
    try:
        if metadata_only:
            return _table_at(out_dir).part.path.exists()
        return next((out_dir / IMAGES_NAME).iterdir(), None) is not None
    except OSError:
        return False


class _Meter:
    """Tells `progress` how far the fetch is, in bytes if sizes are known, else in files."""

    def __init__(self, progress: Progress | None, in_bytes: Callable[[], None] | None) -> None:
        self._progress, self._in_bytes = progress, in_bytes
        self._sizes: Mapping[Path, int] | None = None
        self._done = self._total = 0

    def begin(self, files: Sequence[Wanted], lacking: Sequence[Wanted], sizes: Mapping[Path, int] | None) -> None:
        """Count `files` from here on, of which all but `lacking` are there, by their `sizes` in bytes if there are any."""
        self._sizes = sizes
        if sizes is not None and self._in_bytes is not None:
            self._in_bytes()
        self._total = sum(self._weight(one.path) for one in files)
        self._done = self._total - sum(self._weight(one.path) for one in lacking)
        self.tell()

    def end(self, file: Wanted, under_way: dict[Path, int]) -> None:
        """A file is there, or is known not to be had."""
        self._done += self._weight(file.path)
        if self._total:
            self.tell(under_way)

    def tell(self, under_way: dict[Path, int] | None = None) -> None:
        """Call `progress`; of files `under_way` so many bytes are there."""
        if self._progress is None:
            return
        begun = 0
        if self._sizes is not None and under_way:
            begun = sum(min(have, self._weight(path)) for path, have in under_way.copy().items())
        self._progress(min(self._done + begun, self._total), self._total)

    def _weight(self, path: Path) -> int:
        return 1 if self._sizes is None else self._sizes.get(path, 0)


@dataclass
class _Fetch:
    """A fetch under way: what is known, and what was done so far."""

    out_dir: Path
    base_url: str
    timeout: float
    workers: int
    meter: _Meter
    listing: Listing | None = None
    not_compared: str | None = "there is no list of checksums for this address"
    downloaded: int = 0
    skipped: int = 0
    compared: int = 0
    verified: int = 0
    replaced: int = 0
    not_found: list[str] = field(default_factory=list)
    escaping_names: list[str] = field(default_factory=list)
    former_table: Path | None = None

    def report(self) -> FetchReport:
        return FetchReport(
            out_dir=self.out_dir,
            downloaded=self.downloaded,
            skipped=self.skipped,
            not_found=tuple(sorted(self.not_found)),
            escaping_names=tuple(self.escaping_names),
            compared=self.compared,
            verified=self.verified,
            not_compared=self.not_compared,
            replaced=self.replaced,
            former_table=self.former_table,
        )

    def read_listing(self, url: str | None, timeout: float) -> None:
        """Get the list of files, or remember why there is none."""
        if url is None:
            return
        session = Session(timeout)

        def done(_: int, answer: Listing | BaseException) -> None:
            if isinstance(answer, ListingError):
                self.not_compared = str(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                self.listing, self.not_compared = answer, None

        job = partial(_read_listing, url, session)
        supervise([job], workers=1, done=done, tick=self.meter.tell, stop=session.stop)

    def fetch_table(self, *, counted: bool) -> None:
        """Fetch the table and keep it only if it is one (a network's login page would not be).

        Args:
            counted: whether `progress` is about the table.
        """
        path = self.out_dir / METADATA_NAME
        wanted = _table_at(self.out_dir, self.base_url, self._blob(METADATA_NAME))
        # Always by its content: a correction may leave the size as it was.
        here = _is_here(path, wanted.blob) and (wanted.blob is None or wanted.blob.matches(path))
        if counted:
            self.meter.begin([wanted], [] if here else [wanted], self._sizes([wanted]))
        if here:
            self.skipped += 1
            self.verified += wanted.blob is not None
            return
        _check_room(self.out_dir, RESERVE_BYTES + (wanted.blob.size if wanted.blob else 0))
        try:
            self._fetch([wanted])
            if self.not_found:
                raise DownloadError(f"There is no {METADATA_NAME} at {self.base_url}. Check the address.")
            read_metadata(wanted.path)
            if path.exists():
                self.former_table = _kept(path)
                self.replaced += 1
            wanted.path.replace(path)
        except DatasetError as cause:
            raise DownloadError(f"{wanted.url} is not the table of the dataset: {cause}") from cause
        finally:
            wanted.path.unlink(missing_ok=True)

    def fetch_images(self, *, verify: bool) -> None:
        """Fetch the images that the table names and that are not there in their size.

        Args:
            verify: compare those that are there in their size with their checksums, and fetch those that differ.
        """
        wanted = self._wanted_images(read_metadata(self.out_dir / METADATA_NAME))
        if not wanted:
            raise DownloadError(
                "The table names no image that could be fetched. Check the address, or fetch the table alone with "
                "--metadata-only."
            )
        lacking = [one for one in wanted if not _is_here(one.path, one.blob)]
        doubted = [one for one in wanted if verify and one.blob is not None and _is_here(one.path, one.blob)]
        self.skipped += len(wanted) - len(lacking) - len(doubted)
        if lacking:
            _check_room(self.out_dir, self._room_for(lacking, len(lacking) / len(wanted)))
        self.meter.begin(wanted, [*lacking, *doubted], self._sizes(wanted))
        self._fetch([*lacking, *doubted])
        if not any(_is_here(one.path, one.blob) for one in wanted):
            raise DownloadError(
                f"None of the {len(wanted)} images that the table names is at {self.base_url}{IMAGES_NAME}/. Check the "
                "address; the table stays."
            )

    def _fetch(self, todo: Sequence[Wanted]) -> None:
        session = Session(self.timeout)
        there_before = {one.path for one in todo if one.path.exists()}

        def done(place: int, fetched: bool | BaseException) -> None:
            one = todo[place]
            session.under_way.pop(one.path, None)
            if isinstance(fetched, NotFoundError):
                self.not_found.append(one.path.name)
            elif isinstance(fetched, BaseException):
                raise fetched
            elif fetched:
                self.downloaded += 1
                self.compared += one.blob is not None
                self.replaced += one.path in there_before
            else:
                self.skipped += 1
                self.verified += 1
            self.meter.end(one, session.under_way)

        jobs = [partial(_bring, one, session) for one in todo]
        tick = partial(self.meter.tell, session.under_way)
        supervise(jobs, workers=self.workers, done=done, tick=tick, stop=session.stop)

    def _wanted_images(self, table: pd.DataFrame) -> list[Wanted]:
        """The images of a table whose names stay in the folder. Tables without the column `folder` have images alone."""
        rows = table[table["folder"].fillna(IMAGES_NAME) == IMAGES_NAME]
        wanted = []
        for name in rows["filename"].dropna().drop_duplicates().tolist():
            try:
                path = safe_image_path(self.out_dir / IMAGES_NAME, name)
            except DatasetError:
                self.escaping_names.append(name)
            else:
                url = f"{self.base_url}{IMAGES_NAME}/{quote(name, safe='')}"
                wanted.append(Wanted(url, path, self._blob(f"{IMAGES_NAME}/{name}")))
        return wanted

    def _blob(self, name: str) -> Blob | None:
        return None if self.listing is None else self.listing.get(name)

    def _sizes(self, files: Sequence[Wanted]) -> dict[Path, int] | None:
        """Size in bytes of each file that the list knows; None without one of them."""
        sizes = {one.path: one.blob.size for one in files if one.blob is not None}
        return sizes or None

    def _room_for(self, todo: Sequence[Wanted], share: float) -> float:
        """Bytes that the files still need; by the share of the whole archive where no list tells."""
        sizes = self._sizes(todo)
        if sizes is None:
            return DATASET_BYTES * share
        begun = sum(one.part.size for one in todo if one.blob is not None)
        return sum(sizes.values()) - begun + RESERVE_BYTES


def _table_at(out_dir: Path, base_url: str = "", blob: Blob | None = None) -> Wanted:
    """The table, to be fetched aside: it is kept only if it is one."""
    return Wanted(base_url + METADATA_NAME, out_dir / f".{METADATA_NAME}.new", blob)


def _is_here(path: Path, blob: Blob | None) -> bool:
    """Whether a file is there in its size; an empty one is not, unless it shall be empty."""
    if not path.exists():
        return False
    size = path.stat().st_size
    return size > 0 if blob is None else size == blob.size


def _bring(wanted: Wanted, session: Session) -> bool:
    """Fetch a file unless it is there to the byte.

    Returns:
        Whether it was fetched.
    """
    if wanted.blob is not None and wanted.path.exists() and wanted.blob.matches(wanted.path):
        return False
    fetch_file(wanted, session)
    return True


def _kept(path: Path) -> Path:
    """Keep what a file holds under a further name: `.old` at its end, then `.old2` and so on while these hold something else."""
    names = (path.with_name(f"{path.name}.old{number}") for number in chain([""], count(2)))
    kept = next(one for one in names if not os.path.lexists(one) or _same_content(one, path))
    if not kept.exists():
        try:
            kept.hardlink_to(path)
        except OSError:  # some file systems have no links
            with written_aside(kept) as aside:
                shutil.copyfile(path, aside)
    return kept


def _same_content(one: Path, other: Path) -> bool:
    return one.is_file() and one.read_bytes() == other.read_bytes()


def _read_listing(url: str, session: Session) -> Listing:
    """Ask for the list of files.

    Raises:
        ListingError: it cannot be had.
    """
    try:
        with session.open(url, {"Accept": "application/vnd.github+json"}) as response:
            data = b"".join(session.chunks(response, LISTING_BYTES + 1))
    except urllib.error.HTTPError as refusal:
        with refusal:
            raise ListingError(f"the list of checksums could not be had (the server answered {refusal.code})") from None
    except TransferError as cause:
        raise ListingError(f"the list of checksums could not be had ({cause})") from cause
    if len(data) > LISTING_BYTES:
        raise ListingError("the list of checksums is too long")
    return parse_listing(data)


def _check_room(out_dir: Path, needed: float) -> None:
    free = shutil.disk_usage(out_dir).free
    if free < needed:
        raise DownloadError(
            f"{out_dir} has {free / 2**20:.0f} MiB free; about {needed / 2**20:.0f} are needed. Make room or choose another "
            "folder."
        )
