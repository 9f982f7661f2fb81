"""The download, against a server on this machine that drops connections, stalls, refuses, lies and lacks one file."""

import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest

from covid_core.data import fetch, fetch_transfer
from covid_core.data.fetch import fetch_dataset, is_begun
from covid_core.data.fetch_listing import Blob
from covid_core.data.fetch_lock import LOCK_NAME, only_fetch_into
from covid_core.data.fetch_threads import THREAD_NAME
from covid_core.errors import DatasetError, DownloadError

TABLE = """patientid,finding,view,modality,folder,filename
1,COVID-19,PA,X-ray,images,a.png
2,COVID-19,PA,X-ray,images,b (1)#%.jpg
3,SARS,PA,X-ray,images,gone.png
4,SARS,Axial,CT,volumes,volume.nii.gz
"""
FILES = {
    "/metadata.csv": TABLE.encode(),
    "/images/a.png": bytes(range(256)) * 600,
    "/images/b (1)#%.jpg": bytes(range(255, -1, -1)) * 500,
}


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`; the first answers for a path in `server.drops` end after so many bytes."""

    server: "Server"

    def do_GET(self) -> None:
        path = unquote(self.path)
        wanted = self.headers.get("Range")
        self.server.requests.append((path, wanted))
        if path in self.server.busy:
            self.server.busy.remove(path)
            self.send_error(503)
            return
        refusal = self.server.refuses.get(path, 200 if path in self.server.files else 404)
        if refusal >= 300:
            self.send_response(refusal)
            self.send_header("Location", "ftp://127.0.0.1/elsewhere")
            self.end_headers()
            return
        content = self.server.once.pop(path, self.server.files[path])
        if self.server.stalls.get(path) == 0:
            self.stall(path)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.ranges else 0
        if start >= len(content) and start:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", self.server.content_type)
        if self.server.length:
            self.send_header("Content-Length", str(len(content) - start))
        if start:
            right = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", right if self.server.content_range is None else self.server.content_range)
        self.end_headers()
        if path in self.server.stalls:
            self.wfile.write(content[start : start + self.server.stalls[path]])
            self.stall(path)
            return
        drops = self.server.drops.get(path, [])
        self.wfile.write(content[start : start + drops.pop(0)] if drops else content[start:])
        self.close_connection = True

    def stall(self, path: str) -> None:
        """Fall silent in the middle of an answer, until the other side has gone or the test is over."""
        self.close_connection = True
        self.server.stalled.append(path)
        self.connection.settimeout(0.05)
        while not self.server.over.is_set():
            try:
                if not self.connection.recv(1):
                    return
            except TimeoutError:
                continue
            except OSError:
                return

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(FILES)
        self.drops: dict[str, list[int]] = {}
        self.busy: list[str] = []
        self.refuses: dict[str, int] = {}
        self.once: dict[str, bytes] = {}
        self.stalls: dict[str, int] = {}
        """Path -> bytes of its body after which the server falls silent; at 0 not even the headers come."""
        self.stalled: list[str] = []
        self.over = threading.Event()
        self.ranges = True
        self.length = True
        self.content_range: str | None = None
        self.content_type = "application/octet-stream"
        self.requests: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetch_transfer, "_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(fetch, "DATASET_BYTES", 2**20)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def assert_whole(out_dir: Path) -> None:
    images = {path.name: path.read_bytes() for path in (out_dir / "images").iterdir()}
    assert images == {"a.png": FILES["/images/a.png"], "b (1)#%.jpg": FILES["/images/b (1)#%.jpg"]}
    assert (out_dir / "metadata.csv").read_bytes() == FILES["/metadata.csv"]


def test_the_table_and_its_images_are_fetched_and_what_is_gone_is_listed(server: Server, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []

    def note_what_is_new(done: int, total: int) -> None:
        if total and (done, total) not in calls:
            calls.append((done, total))

    report = fetch_dataset(tmp_path, base_url=server.url, progress=note_what_is_new)
    assert_whole(tmp_path)
    assert (report.downloaded, report.skipped, report.not_found) == (3, 0, ("gone.png",))
    assert "3 files fetched, 0 were there already" in report.summary()
    assert "gone.png" in report.summary()
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert not any("volume" in path for path, _ in server.requests)


def test_the_table_alone_is_fetched_on_request(server: Server, tmp_path: Path) -> None:
    report = fetch_dataset(tmp_path, base_url=server.url, metadata_only=True)
    assert [path.name for path in tmp_path.iterdir()] == ["metadata.csv"]
    assert report.downloaded == 1


def test_files_that_are_there_are_not_fetched_again(server: Server, tmp_path: Path) -> None:
    fetch_dataset(tmp_path, base_url=server.url)
    server.requests.clear()
    report = fetch_dataset(tmp_path, base_url=server.url)
    assert server.requests == [("/images/gone.png", None)]
    assert (report.downloaded, report.skipped) == (0, 3)


def test_a_dropped_connection_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.drops = {"/images/a.png": [70_000, 0, 3], "/metadata.csv": [10]}
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)
    asked = [wanted for path, wanted in server.requests if path == "/images/a.png"]
    assert asked == [None, "bytes=70000-", "bytes=70000-", "bytes=70003-"]


def test_a_server_without_ranges_sends_the_file_anew(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.drops = {"/images/a.png": [70_000]}
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)


def test_a_fetch_that_was_killed_is_resumed_by_the_next(server: Server, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / ".a.png.part").write_bytes(FILES["/images/a.png"][:1000])
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)
    assert ("/images/a.png", "bytes=1000-") in server.requests


def test_a_partial_file_that_is_too_long_is_begun_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / ".a.png.part").write_bytes(b"x" * 10**6)
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.busy = ["/images/a.png", "/metadata.csv"]
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)


def test_a_server_that_always_drops_ends_in_one_sentence_and_a_resumable_state(server: Server, tmp_path: Path) -> None:
    server.drops = {"/images/a.png": [5000, *[0] * 100]}
    with pytest.raises(DownloadError, match="goes on where it stopped"):
        fetch_dataset(tmp_path, base_url=server.url)
    assert (tmp_path / "images" / ".a.png.part").read_bytes() == FILES["/images/a.png"][:5000]
    assert not (tmp_path / "images" / "a.png").exists()
    server.drops = {}
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)


def test_an_interruption_stops_the_workers_and_the_next_fetch_goes_on(server: Server, tmp_path: Path) -> None:
    def interrupt(done: int, _: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_dataset(tmp_path, base_url=server.url, progress=interrupt, workers=1)
    assert threading.active_count() <= 3  # this one, the server's, and perhaps one that still answers
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)


def test_without_a_connection_the_error_is_one_sentence(server: Server, tmp_path: Path) -> None:
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="Check the connection"):
        fetch_dataset(tmp_path, base_url=url, timeout=2)
    assert list(tmp_path.iterdir()) == []


def test_a_login_page_is_not_taken_for_the_dataset(server: Server, tmp_path: Path) -> None:
    server.files["/metadata.csv"] = b"<html>please log in</html>"
    with pytest.raises(DownloadError, match="not the table"):
        fetch_dataset(tmp_path, base_url=server.url)
    server.content_type = "text/html; charset=utf-8"
    with pytest.raises(DownloadError, match="web page"):
        fetch_dataset(tmp_path, base_url=server.url)
    assert not (tmp_path / "metadata.csv").exists()


def test_a_wrong_address_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"no metadata\.csv at"):
        fetch_dataset(tmp_path, base_url=server.url + "elsewhere")
    with pytest.raises(DownloadError, match="http"):
        fetch_dataset(tmp_path, base_url="file:///etc/")


def test_a_table_with_a_hostile_file_name_is_refused(server: Server, tmp_path: Path) -> None:
    server.files["/metadata.csv"] = TABLE.replace("gone.png", "../../gone.png").encode()
    with pytest.raises(DatasetError, match="plain name"):
        fetch_dataset(tmp_path, base_url=server.url)


def test_a_full_disk_is_told_before_the_images_are_fetched(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "DATASET_BYTES", 2**60)
    with pytest.raises(DownloadError, match="MiB free"):
        fetch_dataset(tmp_path, base_url=server.url)
    assert not (tmp_path / "images").exists()


def listing_of(files: dict[str, bytes]) -> bytes:
    """What GitHub answers for these files, their hashes as git takes them."""
    tree = [{"path": "images", "mode": "040000", "type": "tree", "sha": "0" * 40}]
    for path, content in files.items():
        sha = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        tree.append({"path": path.lstrip("/"), "mode": "100644", "type": "blob", "size": len(content), "sha": sha})
    return json.dumps({"sha": "0" * 40, "tree": tree, "truncated": False}).encode()


@pytest.fixture
def listing(server: Server) -> str:
    """The address of a list of `FILES`."""
    server.files["/listing.json"] = listing_of(FILES)
    return server.url + "listing.json"


def test_the_hash_of_a_blob_is_the_one_git_prints(tmp_path: Path) -> None:
    # `printf 'what is up, doc?' | git hash-object --stdin`, Pro Git, chapter 10.2.
    (tmp_path / "doc").write_bytes(b"what is up, doc?")
    blob = Blob(16, "bd9dbf5aae1a3862dd1526723246b20206e5fc37")
    assert blob.matches(tmp_path / "doc")
    (tmp_path / "doc").write_bytes(b"what is up, dog?")
    assert not blob.matches(tmp_path / "doc")


def test_each_file_is_compared_with_its_checksum_and_progress_counts_bytes(
    server: Server, tmp_path: Path, listing: str
) -> None:
    calls: list[tuple[int, int]] = []
    units: list[str] = []
    report = fetch_dataset(
        tmp_path,
        base_url=server.url,
        listing_url=listing,
        progress=lambda done, total: calls.append((done, total)),
        in_bytes=lambda: units.append("bytes"),
    )
    assert_whole(tmp_path)
    assert (report.compared, report.not_compared) == (3, None)
    assert "3 of those fetched were compared with their checksums" in report.summary()
    assert units == ["bytes"]
    of_images = [call for call in calls if call[1]]
    assert of_images[0] == (0, 600 * 256 + 500 * 256)
    assert of_images[-1] == (600 * 256 + 500 * 256, 600 * 256 + 500 * 256)
    assert of_images == sorted(of_images)


def test_without_a_list_the_report_says_that_nothing_was_compared(server: Server, tmp_path: Path) -> None:
    report = fetch_dataset(tmp_path, base_url=server.url, in_bytes=lambda: pytest.fail("no size is known"))
    assert report.compared == 0
    assert "Nothing was compared with checksums: there is no list" in report.summary()


@pytest.mark.parametrize("whole", [True, False])
def test_the_table_alone_has_progress_too(server: Server, tmp_path: Path, listing: str, whole: bool) -> None:
    calls: list[tuple[int, int]] = []
    fetch_dataset(
        tmp_path,
        base_url=server.url,
        listing_url=listing if whole else None,
        metadata_only=True,
        progress=lambda done, total: calls.append((done, total)),
    )
    total = len(TABLE.encode()) if whole else 1
    counted = [call for call in calls if call[1]]
    assert (counted[0], counted[-1]) == ((0, total), (total, total))


@pytest.mark.parametrize("code", [403, 429, 404, 500])
def test_a_list_that_is_refused_does_not_hold_up_the_fetch(server: Server, tmp_path: Path, code: int) -> None:
    server.refuses["/listing.json"] = code
    report = fetch_dataset(tmp_path, base_url=server.url, listing_url=server.url + "listing.json")
    assert_whole(tmp_path)
    assert (
        f"Nothing was compared with checksums: the list of checksums could not be had (the server answered {code})"
        in (report.summary())
    )


def _changed(**changes: object) -> bytes:
    entry = {"path": "metadata.csv", "type": "blob", "size": 3, "sha": "a" * 40, **changes}
    return json.dumps({"tree": [entry], "truncated": False}).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (listing_of(FILES).replace(b'"truncated": false', b'"truncated": true'), "cut short"),
        (listing_of(FILES).replace(b', "truncated": false', b""), "cut short"),
        (b"<html>log in</html>", "not readable"),
        (b"[" * 100_000, "not readable"),
        (b"[]", "not one of GitHub's"),
        (b'{"tree": {}, "truncated": false}', "not one of GitHub's"),
        (b'{"tree": [1], "truncated": false}', "not one of GitHub's"),
        (_changed(size=-1), "not one of GitHub's"),
        (_changed(size=True), "not one of GitHub's"),
        (_changed(size="3"), "not one of GitHub's"),
        (_changed(size=10**400), "not one of GitHub's"),
        (_changed(path=None), "not one of GitHub's"),
        (_changed(sha="A" * 40), "not one of GitHub's"),
        (_changed(sha=None), "not one of GitHub's"),
    ],
)
def test_a_list_that_is_none_is_not_used(server: Server, tmp_path: Path, content: bytes, reason: str) -> None:
    server.files["/listing.json"] = content
    report = fetch_dataset(tmp_path, base_url=server.url, listing_url=server.url + "listing.json")
    assert_whole(tmp_path)
    assert reason in str(report.not_compared)


def test_a_list_without_end_is_not_read_to_the_end(
    server: Server, tmp_path: Path, listing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "LISTING_BYTES", 100)
    assert "too long" in str(fetch_dataset(tmp_path, base_url=server.url, listing_url=listing).not_compared)


def test_a_list_that_does_not_come_is_done_without(server: Server, tmp_path: Path, listing: str) -> None:
    server.stalls["/listing.json"] = 10
    report = fetch_dataset(tmp_path, base_url=server.url, listing_url=listing, timeout=0.5)
    assert_whole(tmp_path)
    assert "could not be had" in str(report.not_compared)


def test_another_content_than_announced_is_thrown_away_and_fetched_anew(
    server: Server, tmp_path: Path, listing: str
) -> None:
    wrong = FILES["/images/a.png"][:-1] + b"!"
    server.once["/images/a.png"] = wrong
    report = fetch_dataset(tmp_path, base_url=server.url, listing_url=listing)
    assert_whole(tmp_path)
    assert report.compared == 3
    assert [wanted for path, wanted in server.requests if path == "/images/a.png"] == [None, None]


@pytest.mark.parametrize("path", ["/images/a.png", "/metadata.csv"])
def test_another_content_twice_is_an_error_and_leaves_nothing_of_it(
    server: Server, tmp_path: Path, listing: str, path: str
) -> None:
    server.files[path] = FILES[path][:-1] + b"!"
    with pytest.raises(DownloadError, match="not the file that the list of checksums names"):
        fetch_dataset(tmp_path, base_url=server.url, listing_url=listing)
    name = path.rpartition("/")[2]
    assert not [left for left in tmp_path.rglob("*") if name in left.name]


def test_a_part_of_another_file_is_found_out_by_its_checksum(server: Server, tmp_path: Path, listing: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / ".a.png.part").write_bytes(b"x" * 1000)
    fetch_dataset(tmp_path, base_url=server.url, listing_url=listing)
    assert_whole(tmp_path)


def test_a_part_that_is_whole_is_not_fetched_again(server: Server, tmp_path: Path, listing: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / ".a.png.part").write_bytes(FILES["/images/a.png"])
    fetch_dataset(tmp_path, base_url=server.url, listing_url=listing)
    assert_whole(tmp_path)
    assert "/images/a.png" not in [path for path, _ in server.requests]


def test_files_of_another_size_are_replaced_and_the_table_of_before_is_kept(
    server: Server, tmp_path: Path, listing: str
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "metadata.csv").write_bytes(b"mine")
    (tmp_path / "images" / "a.png").write_bytes(b"smaller")
    (tmp_path / "images" / "b (1)#%.jpg").write_bytes(FILES["/images/b (1)#%.jpg"])
    report = fetch_dataset(tmp_path, base_url=server.url, listing_url=listing)
    assert (tmp_path / "metadata.csv.old").read_bytes() == b"mine"
    (tmp_path / "metadata.csv.old").unlink()
    assert_whole(tmp_path)
    assert (report.downloaded, report.skipped, report.replaced) == (2, 1, 2)
    assert "kept as metadata.csv.old" in report.summary()


def test_a_file_of_another_size_stays_where_its_replacement_fails(server: Server, tmp_path: Path, listing: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"smaller")
    server.refuses["/images/a.png"] = 403
    with pytest.raises(DownloadError, match=r"refused .* with status 403"):
        fetch_dataset(tmp_path, base_url=server.url, listing_url=listing)
    assert (tmp_path / "images" / "a.png").read_bytes() == b"smaller"


def test_a_server_that_asks_for_patience_for_ever_ends_in_a_sentence(server: Server, tmp_path: Path) -> None:
    server.refuses["/images/a.png"] = 429
    with pytest.raises(DownloadError, match="answered 429"):
        fetch_dataset(tmp_path, base_url=server.url)


@pytest.mark.parametrize("wrong", ["bytes 0-9/153600", "bytes 9-153599/153600", "bytes 1000-", ""])
def test_another_range_than_asked_for_makes_the_file_begin_anew(server: Server, tmp_path: Path, wrong: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / ".a.png.part").write_bytes(FILES["/images/a.png"][:1000])
    server.content_range = wrong
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)
    asked = [wanted for path, wanted in server.requests if path == "/images/a.png"]
    assert asked == ["bytes=1000-", None]


def test_a_file_without_end_is_not_written_without_end(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_transfer, "MOST_BYTES", 1000)
    with pytest.raises(DownloadError, match="larger than any file"):
        fetch_dataset(tmp_path, base_url=server.url, workers=1)
    server.length = False
    with pytest.raises(DownloadError, match="larger than any file"):
        fetch_dataset(tmp_path, base_url=server.url, workers=1)
    assert (tmp_path / "images" / ".a.png.part").stat().st_size <= 1001


def disk_with(free: int) -> Callable[[Path], object]:
    return lambda _: shutil._ntuple_diskusage(2**40, 2**40 - free, free)  # type: ignore[attr-defined]


def test_the_room_asked_for_is_what_the_files_still_need(
    server: Server, tmp_path: Path, listing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = 600 * 256 + 500 * 256
    (tmp_path / "images").mkdir()
    (tmp_path / "metadata.csv").write_bytes(FILES["/metadata.csv"])
    (tmp_path / "images" / ".a.png.part").write_bytes(FILES["/images/a.png"][:50_000])
    needed = images - 50_000 + fetch.RESERVE_BYTES
    monkeypatch.setattr("shutil.disk_usage", disk_with(needed - 1))
    with pytest.raises(DownloadError, match="MiB free"):
        fetch_dataset(tmp_path, base_url=server.url, listing_url=listing)
    monkeypatch.setattr("shutil.disk_usage", disk_with(needed))
    fetch_dataset(tmp_path, base_url=server.url, listing_url=listing)
    assert_whole(tmp_path)


def test_a_full_disk_is_told_before_the_table_is_fetched(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", disk_with(1000))
    with pytest.raises(DownloadError, match="MiB free"):
        fetch_dataset(tmp_path, base_url=server.url, metadata_only=True)
    assert server.requests == []


@pytest.mark.parametrize("where", ["/listing.json", "/metadata.csv", "/images/a.png"])
@pytest.mark.parametrize("after", [0, 10])
def test_a_stop_while_the_server_is_silent_takes_effect_within_a_second(
    server: Server, tmp_path: Path, listing: str, where: str, after: int
) -> None:
    server.stalls[where] = after
    asked_at: list[float] = []

    def stop(_: int, __: int) -> None:
        if where in server.stalled:
            asked_at.append(time.monotonic())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_dataset(tmp_path, base_url=server.url, listing_url=listing, progress=stop, timeout=60)
    assert time.monotonic() - asked_at[0] < 1
    assert THREAD_NAME not in [thread.name for thread in threading.enumerate()]
    server.stalls.clear()
    fetch_dataset(tmp_path, base_url=server.url, listing_url=listing)
    assert_whole(tmp_path)


def test_progress_is_told_twice_a_second_while_the_server_is_silent(server: Server, tmp_path: Path) -> None:
    server.stalls["/images/a.png"] = 10
    told: list[float] = []

    def until_enough(_: int, __: int) -> None:
        told.append(time.monotonic())
        if len(told) > 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_dataset(tmp_path, base_url=server.url, progress=until_enough, timeout=60)
    assert max(after - before for before, after in pairwise(told)) < 0.5


def test_nothing_is_written_after_a_stop(server: Server, tmp_path: Path) -> None:
    session = fetch_transfer.Session(timeout=5)
    wanted = fetch_transfer.Wanted(server.url + "images/a.png", tmp_path / "a.png", None)
    session.stop()
    with pytest.raises(DownloadError, match="stopped"):
        fetch_transfer.fetch_file(wanted, session)
    with pytest.raises(DownloadError, match="stopped"), session.changing_files():
        pytest.fail("a file could be changed")
    assert list(tmp_path.iterdir()) == []


def test_a_second_fetch_of_the_same_folder_is_refused_and_disturbs_nothing(server: Server, tmp_path: Path) -> None:
    refusals: list[str] = []

    def fetch_again(done: int, total: int) -> None:
        if (done, total) == (0, 3):
            with pytest.raises(DownloadError) as refusal:
                fetch_dataset(tmp_path, base_url=server.url)
            refusals.append(str(refusal.value))

    fetch_dataset(tmp_path, base_url=server.url, progress=fetch_again)
    assert "is under way, in another tab or terminal" in refusals[0]
    assert_whole(tmp_path)
    assert not (tmp_path / LOCK_NAME).exists()


def test_of_many_that_want_a_folder_one_has_it_at_a_time(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def take_turns() -> None:
        for _ in range(300):
            with suppress(DownloadError), only_fetch_into(tmp_path):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0001)
                inside.pop()

    takers = [threading.Thread(target=take_turns) for _ in range(6)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    assert max(most) == 1
    assert list(tmp_path.iterdir()) == []


HOLDER = """
import sys, time
from pathlib import Path
from covid_core.data.fetch_lock import only_fetch_into
with only_fetch_into(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_fetch_locks_nothing(server: Server, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(DownloadError, match="under way"):
            fetch_dataset(tmp_path, base_url=server.url)
        other.kill()
    assert (tmp_path / LOCK_NAME).exists()
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)


FETCHER = """
import sys
from pathlib import Path
from covid_core.data.fetch import fetch_dataset
fetch_dataset(Path(sys.argv[1]), base_url=sys.argv[2], timeout=60)
"""


def test_a_fetch_whose_process_was_killed_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.stalls["/images/a.png"] = 100_000
    part = tmp_path / "images" / ".a.png.part"
    with subprocess.Popen([sys.executable, "-c", FETCHER, str(tmp_path), server.url]) as other:
        latest = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size == 100_000) and time.monotonic() < latest:
            time.sleep(0.05)
        other.kill()
    server.stalls.clear()
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)
    assert ("/images/a.png", "bytes=100000-") in server.requests


def test_what_an_earlier_fetch_left_is_seen(server: Server, tmp_path: Path) -> None:
    assert not is_begun(tmp_path)
    assert not is_begun(tmp_path, metadata_only=True)
    server.drops = {"/metadata.csv": [20, *[0] * 100]}
    with pytest.raises(DownloadError):
        fetch_dataset(tmp_path, base_url=server.url)
    assert is_begun(tmp_path, metadata_only=True)
    server.drops = {"/images/a.png": [20, *[0] * 100]}
    with pytest.raises(DownloadError):
        fetch_dataset(tmp_path, base_url=server.url)
    assert is_begun(tmp_path)
    assert not is_begun(tmp_path, metadata_only=True)


@pytest.mark.parametrize("url", ["ftp://example.org/", "http://", "http://[", "https://example.org:x/", ""])
def test_an_address_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="address of the dataset must begin with"):
        fetch_dataset(tmp_path, base_url=url)
    with pytest.raises(DownloadError, match="address of the list of checksums must begin with"):
        fetch_dataset(tmp_path, base_url="http://127.0.0.1:9/", listing_url=url)


def test_a_redirect_to_something_else_than_the_web_is_not_followed(server: Server, tmp_path: Path) -> None:
    server.refuses["/metadata.csv"] = 302
    with pytest.raises(DownloadError, match=r"metadata\.csv"):
        fetch_dataset(tmp_path, base_url=server.url)
    assert not (tmp_path / "metadata.csv").exists()
