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

from covid_core.cli import main
from covid_core.data import fetch, fetch_transfer
from covid_core.data.fetch import fetch_dataset, is_begun
from covid_core.data.fetch_listing import Blob
from covid_core.data.fetch_lock import LOCK_NAME, only_fetch_into
from covid_core.data.fetch_threads import THREAD_NAME
from covid_core.errors import DownloadError
from covid_core.ui import fetch_panel

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


def tag_of(content: bytes) -> dict[str, str]:
    """A strong entity tag, as GitHub's servers give it."""
    return {"ETag": f'"{hashlib.sha256(content).hexdigest()}"'}


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
        validators = self.server.validators_of(content)
        condition = self.headers.get("If-Range")
        self.server.conditions.append(condition)
        same = condition is None or condition in validators.values() or not self.server.heeds_conditions
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.ranges and same else 0
        if start and (start >= len(content) or self.server.refuses_ranges):
            self.send_error(416)
            return
        in_part = start > 0 or self.server.in_part
        self.send_response(206 if in_part else 200)
        self.send_header("Content-Type", self.server.content_type)
        for name, value in validators.items():
            self.send_header(name, value)
        if self.server.length:
            self.send_header("Content-Length", self.server.announced or str(len(content) - start))
        if in_part:
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
        self.refuses_ranges = False
        self.validators_of: Callable[[bytes], dict[str, str]] = tag_of
        self.heeds_conditions = True
        self.conditions: list[str | None] = []
        self.in_part = False
        self.length = True
        self.announced: str | None = None
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


def begin_image(server: Server, out_dir: Path, name: str = "a.png") -> None:
    """Leave the first 1000 bytes of an image, as a fetch does whose connection drops again and again."""
    server.drops = {f"/images/{name}": [1000, *[0] * 100]}
    with pytest.raises(DownloadError, match="goes on where it stopped"):
        fetch_dataset(out_dir, base_url=server.url)
    server.drops = {}
    server.requests.clear()
    server.conditions.clear()


def test_a_part_of_an_earlier_fetch_is_gone_on_with_if_the_server_has_the_same_file(
    server: Server, tmp_path: Path
) -> None:
    begin_image(server, tmp_path)
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)
    assert ("/images/a.png", "bytes=1000-") in server.requests
    assert tag_of(FILES["/images/a.png"])["ETag"] in server.conditions


@pytest.mark.parametrize("heeds_conditions", [True, False])
@pytest.mark.parametrize("size", [600 * 256, 600 * 256 + 1])
def test_of_a_file_that_changed_meanwhile_nothing_old_is_kept(
    server: Server, tmp_path: Path, size: int, heeds_conditions: bool
) -> None:
    begin_image(server, tmp_path)
    server.heeds_conditions = heeds_conditions
    server.files["/images/a.png"] = b"n" * size
    fetch_dataset(tmp_path, base_url=server.url)
    assert (tmp_path / "images" / "a.png").read_bytes() == b"n" * size
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["a.png", "b (1)#%.jpg"]


def test_a_file_of_another_size_is_noticed_where_the_server_names_it_at_first_only(
    server: Server, tmp_path: Path
) -> None:
    begin_image(server, tmp_path)
    server.heeds_conditions, server.validators_of = False, lambda _: {}
    server.files["/images/a.png"] = b"n" * 2000
    fetch_dataset(tmp_path, base_url=server.url)
    assert (tmp_path / "images" / "a.png").read_bytes() == b"n" * 2000
    assert [wanted for path, wanted in server.requests if path == "/images/a.png"] == ["bytes=1000-", None]


LONG_AGO = "Tue, 01 Dec 2020 10:00:00 GMT"


@pytest.mark.parametrize(
    ("validators", "condition"),
    [
        ({"Last-Modified": LONG_AGO}, LONG_AGO),
        ({"ETag": '"x"', "Last-Modified": LONG_AGO}, '"x"'),
        ({"ETag": 'W/"x"', "Last-Modified": LONG_AGO}, None),
        ({"ETag": "x"}, None),
        ({"Last-Modified": "Tue, 01 Dec 2099 10:00:00 GMT"}, None),
        ({"Last-Modified": "Tue, 99 Dec 2020 10:00:00 GMT"}, None),
        ({"Last-Modified": "yesterday"}, None),
        ({}, None),
    ],
)
def test_a_part_is_gone_on_with_under_the_name_that_the_server_gave_the_file_and_begun_anew_without_one(
    server: Server, tmp_path: Path, validators: dict[str, str], condition: str | None
) -> None:
    server.validators_of = lambda _: validators
    begin_image(server, tmp_path)
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)
    assert ("/images/a.png", None if condition is None else "bytes=1000-") in server.requests
    assert set(server.conditions) == {condition}


@pytest.mark.parametrize(
    "kept", ["", '"x', '"x"', '"x"\n153600', "x\n153600\n", '"x"\r\nHost: elsewhere\n1\n', "\x00" * 70]
)
def test_what_was_half_written_of_the_name_is_not_taken_for_one(server: Server, tmp_path: Path, kept: str) -> None:
    begin_image(server, tmp_path)
    (tmp_path / "images" / ".a.png.origin").write_bytes(kept.encode())
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)
    assert ("/images/a.png", None) in server.requests


def test_a_part_of_another_program_is_not_gone_on_with(server: Server, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / ".a.png.part").write_bytes(b"x" * 1000)
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)


def test_an_answer_in_part_that_nobody_asked_for_is_not_put_behind_a_part_that_is_there(
    server: Server, tmp_path: Path
) -> None:
    server.in_part = True
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / ".a.png.part").write_bytes(b"x" * 1000)
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)


@pytest.mark.parametrize("content_range", [None, "bytes 0-9/153600"])
def test_a_server_that_drops_and_knows_no_ranges_is_not_asked_for_ever(
    server: Server, tmp_path: Path, content_range: str | None
) -> None:
    server.refuses_ranges, server.content_range = content_range is None, content_range
    server.drops = {"/images/a.png": [10] * 1000}
    with pytest.raises(DownloadError, match="could not be fetched"):
        fetch_dataset(tmp_path, base_url=server.url)
    assert len([path for path, _ in server.requests if path == "/images/a.png"]) == 5


def test_a_connection_that_drops_often_but_always_brings_something_is_gone_on_with(
    server: Server, tmp_path: Path
) -> None:
    server.drops = {"/images/a.png": [1000] * 20}
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)


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


def table_of(*names: str) -> bytes:
    """A table of X-rays with these file names."""
    rows = [f"{number},COVID-19,PA,X-ray,images,{name}" for number, name in enumerate(names)]
    return "\n".join([TABLE.splitlines()[0], *rows, ""]).encode()


def test_a_row_whose_file_name_leaves_the_folder_is_left_out_and_the_rest_is_fetched(
    server: Server, tmp_path: Path
) -> None:
    out_dir = tmp_path / "out"
    server.files["/elsewhere.png"] = b"from elsewhere"
    server.files["/metadata.csv"] = table_of("../elsewhere.png", "a.png", "x" * 256, "b (1)#%.jpg", "../elsewhere.png")
    report = fetch_dataset(out_dir, base_url=server.url)
    assert (report.downloaded, report.escaping_names) == (3, ("../elsewhere.png", "x" * 256))
    assert report.left_out in report.summary()
    assert report.left_out in fetch_panel._in_words(report)
    assert report.left_out.startswith("Left out: 2 file names of the table")
    assert report.left_out.endswith(f": ../elsewhere.png, {'x' * 255}....")
    assert not list(tmp_path.rglob("elsewhere*"))


def test_nothing_is_said_of_rows_left_out_where_there_are_none(server: Server, tmp_path: Path) -> None:
    report = fetch_dataset(tmp_path, base_url=server.url)
    assert report.left_out == ""
    assert "Left out" not in report.summary()


@pytest.mark.parametrize("name", ["n" * 251 + ".png", "\N{LATIN SMALL LETTER A WITH DIAERESIS}" * 125 + ".png"])
def test_the_longest_names_that_a_file_may_have_are_fetched_and_gone_on_with(
    server: Server, tmp_path: Path, name: str
) -> None:
    server.files["/metadata.csv"] = table_of(name)
    server.files[f"/images/{name}"] = FILES["/images/a.png"]
    begin_image(server, tmp_path, name)
    fetch_dataset(tmp_path, base_url=server.url)
    assert (f"/images/{name}", "bytes=1000-") in server.requests
    assert [path.name for path in (tmp_path / "images").iterdir()] == [name]
    assert (tmp_path / "images" / name).read_bytes() == FILES["/images/a.png"]


def test_two_long_names_do_not_share_a_part() -> None:
    parts = {fetch_transfer.Wanted("", Path("n" * 250 + end), None).part for end in ("a.png", "b.png")}
    assert len(parts) == 2


def test_an_archive_without_one_of_the_images_is_an_error_and_the_table_stays(server: Server, tmp_path: Path) -> None:
    server.files = {"/metadata.csv": FILES["/metadata.csv"]}
    with pytest.raises(DownloadError, match=r"None of the 3 images that the table names is at .*/images/\. Check"):
        fetch_dataset(tmp_path, base_url=server.url)
    assert (tmp_path / "metadata.csv").read_bytes() == FILES["/metadata.csv"]
    fetch_dataset(tmp_path, base_url=server.url, metadata_only=True)


def test_images_that_are_here_are_enough_where_the_server_has_none(server: Server, tmp_path: Path) -> None:
    fetch_dataset(tmp_path, base_url=server.url)
    (tmp_path / "images" / "a.png").unlink()
    server.files = {"/metadata.csv": FILES["/metadata.csv"]}
    assert fetch_dataset(tmp_path, base_url=server.url).not_found == ("a.png", "gone.png")


@pytest.mark.parametrize("names", [["../a.png"], [""]])
def test_a_table_that_names_no_image_to_fetch_is_an_error(server: Server, tmp_path: Path, names: list[str]) -> None:
    server.files["/metadata.csv"] = table_of(*names)
    with pytest.raises(DownloadError, match="names no image that could be fetched"):
        fetch_dataset(tmp_path, base_url=server.url)


@pytest.mark.parametrize("announced", [True, False])
def test_an_empty_answer_is_no_file(server: Server, tmp_path: Path, announced: bool) -> None:
    server.length = announced
    server.files["/images/a.png"] = b""
    with pytest.raises(DownloadError, match="sent an empty file"):
        fetch_dataset(tmp_path, base_url=server.url)
    assert not (tmp_path / "images" / "a.png").exists()


def test_an_empty_file_is_here_only_where_it_shall_be_empty(server: Server, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b (1)#%.jpg"):
        (tmp_path / "images" / name).touch()
    (tmp_path / "metadata.csv").touch()
    fetch_dataset(tmp_path, base_url=server.url)
    (tmp_path / "metadata.csv.old").unlink()
    assert_whole(tmp_path)
    server.files["/images/gone.png"] = b""
    server.files["/listing.json"] = listing_of(server.files)
    report = fetch_dataset(tmp_path, base_url=server.url, listing_url=server.url + "listing.json")
    assert (report.downloaded, report.not_found) == (1, ())
    assert (tmp_path / "images" / "gone.png").read_bytes() == b""
    report = fetch_dataset(tmp_path, base_url=server.url, listing_url=server.url + "listing.json")
    assert (report.downloaded, report.skipped) == (0, 4)


def test_of_many_names_the_first_ten_are_told_and_none_steers_a_terminal(server: Server, tmp_path: Path) -> None:
    names = [f"gone{number:02}\x9b31m.png" for number in range(13)]
    server.files["/metadata.csv"] = table_of("a.png", *names, "../\x1b[2J", *[f"../{number}" for number in range(12)])
    summary = fetch_dataset(tmp_path, base_url=server.url).summary()
    assert all(character.isprintable() or character == "\n" for character in summary)
    assert "does not have 13: gone00\N{REPLACEMENT CHARACTER}31m.png, gone01" in summary
    assert "gone09\N{REPLACEMENT CHARACTER}31m.png and 3 more\n" in summary
    assert ": ../\N{REPLACEMENT CHARACTER}[2J, ../0, " in summary
    assert "../8 and 3 more" in summary
    assert "gone10" not in summary


@pytest.mark.parametrize("size", ["9" * 5000, "9" * 20, "1e3", "-1"])
def test_a_size_that_no_file_has_is_not_believed(server: Server, tmp_path: Path, size: str) -> None:
    begin_image(server, tmp_path)
    server.content_range = f"bytes 1000-153599/{size}"
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)
    server.announced = size
    (tmp_path / "metadata.csv").unlink()
    with pytest.raises(DownloadError, match="announced a size that no file has"):
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


def test_a_corrected_table_of_the_same_size_is_fetched(server: Server, tmp_path: Path, listing: str) -> None:
    former = FILES["/metadata.csv"].replace(b"SARS", b"MERS")
    (tmp_path / "metadata.csv").write_bytes(former)
    report = fetch_dataset(tmp_path, base_url=server.url, listing_url=listing)
    assert (tmp_path / "metadata.csv").read_bytes() == FILES["/metadata.csv"]
    assert (tmp_path / "metadata.csv.old").read_bytes() == former
    assert report.former_table == tmp_path / "metadata.csv.old"
    assert fetch_dataset(tmp_path, base_url=server.url, listing_url=listing).verified == 1


def test_each_former_table_is_kept_and_none_twice(server: Server, tmp_path: Path, listing: str) -> None:
    former = [b"first", b"second", b"third", b"first"]
    kept = []
    for content in former:
        (tmp_path / "metadata.csv").write_bytes(content)
        report = fetch_dataset(tmp_path, base_url=server.url, listing_url=listing, metadata_only=True)
        assert report.former_table is not None
        assert report.former_table.read_bytes() == content
        kept.append(report.former_table.name)
    assert kept == ["metadata.csv.old", "metadata.csv.old2", "metadata.csv.old3", "metadata.csv.old"]
    assert "kept as metadata.csv.old." in report.summary()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metadata.csv", *kept[:3]]


@pytest.mark.parametrize("links", [True, False])
def test_a_table_is_there_at_every_moment_of_its_replacement(
    server: Server, tmp_path: Path, listing: str, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    table = tmp_path / "metadata.csv"
    table.write_bytes(b"mine")
    replace = Path.replace

    def fail_for_the_table(self: Path, target: Path) -> Path:
        assert table.read_bytes() == b"mine"
        if target == table:
            raise PermissionError(13, "Permission denied")
        return replace(self, target)

    def no_links(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "replace", fail_for_the_table)
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", no_links)
    with pytest.raises(DownloadError, match="Permission denied"):
        fetch_dataset(tmp_path, base_url=server.url, listing_url=listing)
    assert table.read_bytes() == b"mine"
    monkeypatch.setattr(Path, "replace", replace)
    report = fetch_dataset(tmp_path, base_url=server.url, listing_url=listing)
    assert report.former_table == tmp_path / "metadata.csv.old"
    assert report.former_table.read_bytes() == b"mine"
    assert table.read_bytes() == FILES["/metadata.csv"]


def test_images_of_the_right_size_are_compared_on_request_and_those_that_differ_fetched_anew(
    server: Server, tmp_path: Path, listing: str
) -> None:
    fetch_dataset(tmp_path, base_url=server.url, listing_url=listing)
    (tmp_path / "images" / "a.png").write_bytes(FILES["/images/a.png"][:-1] + b"!")
    assert fetch_dataset(tmp_path, base_url=server.url, listing_url=listing).downloaded == 0
    calls: list[tuple[int, int]] = []
    report = fetch_dataset(
        tmp_path,
        base_url=server.url,
        listing_url=listing,
        verify=True,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert_whole(tmp_path)
    assert (report.downloaded, report.replaced, report.skipped, report.verified) == (1, 1, 2, 2)
    assert (
        "1 of those fetched and 2 of those that were there already were compared with their checksums and are right."
        in (report.summary())
    )
    of_images = [call for call in calls if call[1]]
    assert (of_images[0], of_images[-1]) == ((0, 281_600), (281_600, 281_600))
    assert of_images == sorted(of_images)


def test_a_comparison_without_a_list_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"cannot be compared with their checksums: there is no list .* --listing"):
        fetch_dataset(tmp_path, base_url=server.url, verify=True)
    server.refuses["/listing.json"] = 403
    with pytest.raises(DownloadError, match="the server answered 403"):
        fetch_dataset(tmp_path, base_url=server.url, listing_url=server.url + "listing.json", verify=True)
    assert list(tmp_path.iterdir()) == []


def test_the_command_compares_on_request_and_fills_the_folder_that_the_button_fills(
    server: Server, tmp_path: Path, listing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COVID_DATASET_DIR", str(tmp_path / "chosen"))
    assert main(["fetch", "--url", server.url, "--listing", listing]) == 0
    assert_whole(tmp_path / "chosen")
    (tmp_path / "chosen" / "images" / "a.png").write_bytes(FILES["/images/a.png"][:-1] + b"!")
    assert main(["fetch", "--url", server.url, "--listing", listing, "--verify"]) == 0
    assert_whole(tmp_path / "chosen")
    assert "1 were there with another content and were replaced." in capsys.readouterr().out


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
    begin_image(server, tmp_path)
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
