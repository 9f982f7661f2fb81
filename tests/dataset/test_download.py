"""The download, against a server on this machine that drops connections, falls silent, refuses, changes and lacks files."""

import hashlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from covid_core.cli.main import main
from covid_core.dataset import download
from covid_core.dataset.download import fetch_dataset, parse_listing
from covid_core.errors import DownloadError

HEADER = "patientid,finding,view,modality,folder,filename\n"
TABLE = f"""{HEADER}1,COVID-19,PA,X-ray,images,a.png
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
    """Answers with `server.files`, unless the server shall misbehave for a path."""

    server: "Server"

    def do_GET(self) -> None:
        path = unquote(self.path)
        self.server.requests.append(path)
        statuses = self.server.statuses.get(path, [])
        status = statuses.pop(0) if statuses else 200 if path in self.server.files else 404
        if status != 200:
            self.send_response(status)
            self.send_header("Location", "ftp://127.0.0.1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        once = self.server.once.get(path, [])
        content = once.pop(0) if once else self.server.files[path]
        self.send_response(200)
        self.send_header("Content-Type", self.server.content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        drops = self.server.drops.get(path, [])
        self.wfile.write(content[: drops.pop(0)] if drops else content[: self.server.stalls.get(path)])
        self.close_connection = True
        if path in self.server.stalls:
            self.server.silent.set()
            self.server.over.wait()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(FILES)
        self.statuses: dict[str, list[int]] = {}
        """Path -> statuses of its next answers."""
        self.once: dict[str, list[bytes]] = {}
        """Path -> other contents of its next answers."""
        self.drops: dict[str, list[int]] = {}
        """Path -> bytes after which its next answers break off."""
        self.stalls: dict[str, int] = {}
        """Path -> bytes after which the server falls silent."""
        self.silent, self.over = threading.Event(), threading.Event()
        self.content_type = "application/octet-stream"
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(download, "DATASET_BYTES", 2**20)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def listing_of(files: dict[str, bytes]) -> bytes:
    """What GitHub answers for these files, their hashes as git computes them (Pro Git, chapter 10.2)."""
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


def table_of(*names: str) -> bytes:
    """A table of X-rays with these file names."""
    rows = [f"{number},COVID-19,PA,X-ray,images,{name}\n" for number, name in enumerate(names)]
    return (HEADER + "".join(rows)).encode()


def visible(folder: Path) -> list[str]:
    """The files below a folder, without the lock."""
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"
    )


def assert_whole(out_dir: Path) -> None:
    assert visible(out_dir) == sorted(path.lstrip("/") for path in FILES)
    for path, content in FILES.items():
        assert (out_dir / path.lstrip("/")).read_bytes() == content


def test_the_table_and_its_images_are_downloaded_and_what_is_gone_is_listed(server: Server, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    report = fetch_dataset(tmp_path, base_url=server.url, progress=lambda done, total: calls.append((done, total)))
    assert_whole(tmp_path)
    assert (report.downloaded, report.skipped, report.not_found) == (3, 0, ["gone.png"])
    assert "gone.png" in " ".join(report.sentences())
    of_images = [call for call in calls if call[1]]
    assert of_images == sorted(of_images)
    assert of_images[-1] == (3, 3)
    assert not any("volume" in path for path in server.requests)


def test_complete_files_are_not_downloaded_again_and_empty_ones_are(server: Server, tmp_path: Path) -> None:
    assert fetch_dataset(tmp_path, base_url=server.url, metadata_only=True).downloaded == 1
    assert visible(tmp_path) == ["metadata.csv"]
    fetch_dataset(tmp_path, base_url=server.url)
    server.requests.clear()
    report = fetch_dataset(tmp_path, base_url=server.url)
    assert (report.downloaded, report.skipped, server.requests) == (0, 3, ["/images/gone.png"])
    (tmp_path / "images" / "a.png").write_bytes(b"")
    assert fetch_dataset(tmp_path, base_url=server.url).downloaded == 1
    assert_whole(tmp_path)


@pytest.mark.parametrize("path", ["/images/a.png", "/metadata.csv"])
def test_a_connection_that_drops_and_a_busy_server_are_tried_again(server: Server, tmp_path: Path, path: str) -> None:
    server.statuses = {path: [503]}
    server.drops = {path: [10, 0]}
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)
    assert server.requests.count(path) == 4


@pytest.mark.parametrize(
    ("statuses", "drops", "words"),
    [
        ([], [1000] * 9, "could not be downloaded"),
        ([429] * 9, [], "answered 429"),
        ([403], [], "refused .* status 403"),
    ],
)
def test_a_file_that_cannot_be_had_is_one_sentence_and_the_same_call_resumes(
    server: Server, tmp_path: Path, statuses: list[int], drops: list[int], words: str
) -> None:
    server.statuses, server.drops = {"/images/a.png": statuses}, {"/images/a.png": drops}
    with pytest.raises(DownloadError, match=words):
        fetch_dataset(tmp_path, base_url=server.url, workers=1)
    assert visible(tmp_path) == ["metadata.csv"]
    server.statuses, server.drops = {}, {}
    assert fetch_dataset(tmp_path, base_url=server.url).skipped == 1
    assert_whole(tmp_path)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/", "must begin with http"),
        ("http://[", "could not be downloaded"),
        ("http://127.0.0.1:9/", "Check the connection"),
    ],
)
def test_an_address_that_leads_nowhere_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    monkeypatch.setattr(download, "RETRY_SECONDS", 0.001)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DownloadError, match=words):
        fetch_dataset(tmp_path, base_url=url)
    assert visible(tmp_path) == []


def test_what_is_not_the_dataset_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"no metadata\.csv at"):
        fetch_dataset(tmp_path, base_url=server.url + "elsewhere")
    server.files["/metadata.csv"] = b"<html>please log in</html>"
    with pytest.raises(DownloadError, match="not the table"):
        fetch_dataset(tmp_path, base_url=server.url)
    server.content_type = "text/html; charset=utf-8"
    with pytest.raises(DownloadError, match="web page"):
        fetch_dataset(tmp_path, base_url=server.url)
    server.statuses["/metadata.csv"] = [302] * 9
    with pytest.raises(DownloadError, match=r"metadata\.csv"):
        fetch_dataset(tmp_path, base_url=server.url)
    assert visible(tmp_path) == []


@pytest.mark.parametrize("names", [["../a.png"], ["missing.png", "gone.png"]])
def test_a_table_without_an_image_to_download_is_an_error_and_stays(
    server: Server, tmp_path: Path, names: list[str]
) -> None:
    server.files["/metadata.csv"] = table_of(*names)
    with pytest.raises(DownloadError, match=r"images? (of|that)"):
        fetch_dataset(tmp_path, base_url=server.url)
    assert visible(tmp_path) == ["metadata.csv"]


@pytest.mark.parametrize("name", ["n" * 251 + ".png", "ä" * 125 + ".png"])
def test_names_that_leave_the_folder_are_left_out_and_the_longest_names_are_downloaded(
    server: Server, tmp_path: Path, name: str
) -> None:
    server.files |= {
        "/elsewhere.png": b"from elsewhere",
        "/metadata.csv": table_of("../elsewhere.png", "\x1b[2J\x9b../x.png", "x" * 256, name),
        f"/images/{name}": b"content",
    }
    report = fetch_dataset(tmp_path, base_url=server.url)
    assert report.escaping_names == ["../elsewhere.png", "\x1b[2J\x9b../x.png", "x" * 256]
    assert visible(tmp_path) == [f"images/{name}", "metadata.csv"]
    text = " ".join(report.sentences())
    assert "3: ../elsewhere.png" in text
    assert text.isprintable()


def test_of_many_names_the_first_ten_are_listed(server: Server, tmp_path: Path) -> None:
    server.files["/metadata.csv"] = table_of("a.png", *[f"gone{number:02}.png" for number in range(13)])
    text = " ".join(fetch_dataset(tmp_path, base_url=server.url).sentences())
    assert ("13: " in text, "and 3 more" in text, text.count("gone")) == (True, True, 10)


def test_sizes_and_checksums_are_compared_and_a_former_table_is_kept(
    server: Server, tmp_path: Path, listing: str
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"smaller")
    (tmp_path / "images" / "b (1)#%.jpg").write_bytes(FILES["/images/b (1)#%.jpg"])
    former = TABLE.replace("SARS", "MERS").encode()  # of the same size
    (tmp_path / "metadata.csv").write_bytes(former)
    server.once["/metadata.csv"] = [former]
    report = fetch_dataset(tmp_path, base_url=server.url, listing_url=listing)
    assert report.former_table is not None
    assert report.former_table.read_bytes() == former
    report.former_table.unlink()
    assert_whole(tmp_path)
    assert (report.downloaded, report.skipped, report.compared, report.not_compared) == (2, 1, 2, None)
    assert server.requests.count("/metadata.csv") == 2


@pytest.mark.parametrize("path", ["/images/a.png", "/metadata.csv"])
def test_another_content_again_and_again_is_an_error_and_nothing_of_it_stays(
    server: Server, tmp_path: Path, listing: str, path: str
) -> None:
    server.files[path] = FILES[path][:-1] + b"!"
    with pytest.raises(DownloadError, match="list of checksums"):
        fetch_dataset(tmp_path, base_url=server.url, listing_url=listing)
    assert path.lstrip("/") not in visible(tmp_path)


def test_images_are_verified_on_request_and_those_that_differ_downloaded_again(
    server: Server, tmp_path: Path, listing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "chosen"
    monkeypatch.setenv("COVID_DATASET_DIR", str(out))
    command = ["fetch", "--url", server.url, "--listing", listing]
    assert main(command) == 0
    (out / "images" / "a.png").write_bytes(FILES["/images/a.png"][:-1] + b"!")
    assert main(command) == 0
    assert "0 files downloaded, 3 already here." in capsys.readouterr().out
    assert main([*command, "--verify"]) == 0
    assert "1 file downloaded, 2 already here." in capsys.readouterr().out
    assert_whole(out)


@pytest.mark.parametrize("status", [200, 404, 403, 500])
def test_without_a_list_the_download_goes_on_and_says_so_but_cannot_verify(
    server: Server, tmp_path: Path, status: int
) -> None:
    url = server.url + "listing.json"
    server.files["/listing.json"] = b"<html>log in</html>"
    server.statuses["/listing.json"] = [status] * 2
    with pytest.raises(DownloadError, match="cannot be compared"):
        fetch_dataset(tmp_path, base_url=server.url, listing_url=url, verify=True)
    report = fetch_dataset(tmp_path, base_url=server.url, listing_url=url)
    assert_whole(tmp_path)
    assert report.compared == 0
    assert str(report.not_compared) in " ".join(report.sentences())


@pytest.mark.parametrize(
    "data",
    [
        listing_of(FILES).replace(b'"truncated": false', b'"truncated": true'),
        listing_of(FILES).replace(b', "truncated": false', b""),
        listing_of(FILES).replace(b'"size": ', b'"size": "3", "was": '),
        b"[" * 100_000,
        b"[]",
        b'{"tree": [1], "truncated": false}',
    ],
)
def test_what_is_no_list_of_checksums_is_refused(data: bytes) -> None:
    with pytest.raises(DownloadError):
        parse_listing(data)


def test_a_file_without_end_is_not_written_without_end(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MOST_BYTES", 1000)
    with pytest.raises(DownloadError, match="larger than any file"):
        fetch_dataset(tmp_path, base_url=server.url, workers=1)
    assert visible(tmp_path) == ["metadata.csv"]


@pytest.mark.parametrize("listed", [True, False])
def test_a_full_disk_is_reported_before_the_images_are_downloaded(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listing: str, listed: bool
) -> None:
    monkeypatch.setattr(download, "DATASET_BYTES", 2**60)
    if listed:
        server.files["/listing.json"] = listing_of(FILES).replace(b'"size": 153600', b'"size": %d' % 2**60)
    with pytest.raises(DownloadError, match="MiB free"):
        fetch_dataset(tmp_path, base_url=server.url, listing_url=listing if listed else None)
    assert visible(tmp_path) == ["metadata.csv"]


@pytest.mark.timeout(60)  # far below the hour that the server may be silent
@pytest.mark.parametrize("path", ["/listing.json", "/metadata.csv", "/images/a.png"])
def test_a_stop_takes_effect_while_the_server_is_silent(
    server: Server, tmp_path: Path, listing: str, path: str
) -> None:
    server.stalls[path] = 10

    class Stop(BaseException):
        """As Streamlit ends a script."""

    def stop(_done: int, _total: int) -> None:
        if server.silent.is_set():
            raise Stop

    with pytest.raises(Stop):
        fetch_dataset(tmp_path, base_url=server.url, listing_url=listing, progress=stop, timeout=3600)
    server.stalls.clear()
    fetch_dataset(tmp_path, base_url=server.url, listing_url=listing)
    assert_whole(tmp_path)


def test_a_second_download_into_the_folder_is_refused_and_disturbs_nothing(server: Server, tmp_path: Path) -> None:
    refusals: list[str] = []

    def again(_done: int, total: int) -> None:
        if total and not refusals:
            with pytest.raises(DownloadError) as refusal:
                fetch_dataset(tmp_path, base_url=server.url)
            refusals.append(str(refusal.value))

    fetch_dataset(tmp_path, base_url=server.url, progress=again)
    assert "Another download" in refusals[0]
    assert_whole(tmp_path)


PROGRAM = """
import signal, sys
from pathlib import Path
from covid_core.dataset.download import fetch_dataset
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
fetch_dataset(Path(sys.argv[1]), base_url=sys.argv[2], timeout=3600)
"""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_download_locks_nothing_and_leaves_no_half_file(
    server: Server, tmp_path: Path, number: signal.Signals
) -> None:
    server.stalls["/images/a.png"] = 100_000
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path), server.url], stderr=subprocess.DEVNULL
    ) as other:
        try:
            assert server.silent.wait(60)
            other.send_signal(number)
            other.wait(60)
        finally:
            other.kill()
    assert not (tmp_path / "images" / "a.png").exists()
    server.stalls.clear()
    fetch_dataset(tmp_path, base_url=server.url)
    assert_whole(tmp_path)
