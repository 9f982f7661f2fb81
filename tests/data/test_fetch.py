"""The download, against a server on this machine that drops connections, knows ranges and lacks one file."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from covid_core.data import fetch
from covid_core.data.fetch import fetch_dataset
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
        if path not in self.server.files:
            self.send_error(404)
            return
        content = self.server.files[path]
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.ranges else 0
        if start >= len(content) and start:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", self.server.content_type)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        drops = self.server.drops.get(path, [])
        self.wfile.write(content[start : start + drops.pop(0)] if drops else content[start:])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(FILES)
        self.drops: dict[str, list[int]] = {}
        self.busy: list[str] = []
        self.ranges = True
        self.content_type = "application/octet-stream"
        self.requests: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetch, "_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(fetch, "DATASET_BYTES", 2**20)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def assert_whole(out_dir: Path) -> None:
    images = {path.name: path.read_bytes() for path in (out_dir / "images").iterdir()}
    assert images == {"a.png": FILES["/images/a.png"], "b (1)#%.jpg": FILES["/images/b (1)#%.jpg"]}
    assert (out_dir / "metadata.csv").read_bytes() == FILES["/metadata.csv"]


def test_the_table_and_its_images_are_fetched_and_what_is_gone_is_listed(server: Server, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    report = fetch_dataset(tmp_path, base_url=server.url, progress=lambda done, total: calls.append((done, total)))
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
