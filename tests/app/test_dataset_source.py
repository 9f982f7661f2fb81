"""The ways to a collection on a page: installed, fetched, uploaded, named."""

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from covid_core.dataset import download
from covid_core.ui.dataset_source import time_left
from tests.app.conftest import METADATA, texts

SHORT = "\n".join(METADATA.splitlines()[:3]) + "\n"


def page_of_a_collection() -> None:
    import streamlit as st  # noqa: PLC0415 - AppTest runs the body of this function alone

    from covid_core.ui.dataset_source import choose_collection  # noqa: PLC0415

    chosen = choose_collection()
    if chosen is None:
        st.text("nothing chosen")
    else:
        st.text(f"{len(chosen.table)} rows; own {chosen.own}; folder {chosen.folder}; images {chosen.images}")
        st.text(f"content {chosen.content}")


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COVID_OWN_COMPUTER", "COVID_DATASET_URL", "COVID_DATASET_LISTING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "RETRY_SECONDS", 0.001)


@pytest.fixture
def own_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVID_OWN_COMPUTER", "1")


def opened() -> AppTest:
    return AppTest.from_function(page_of_a_collection, default_timeout=30).run()


def labels(app: AppTest) -> list[str]:
    return [button.label for button in app.button]


def said(app: AppTest) -> str:
    return " ".join(one.value for one in app.success).replace("\\", "")


def press(app: AppTest, key: str) -> AppTest:
    return app.button(key=key).click().run()


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder behind `COVID_DATASET_URL`: the table, one image, and the list of both that GitHub would give."""
    folder = tmp_path / "archive"
    (folder / "images").mkdir(parents=True)
    (folder / "metadata.csv").write_text(SHORT, encoding="utf-8")
    (folder / "images" / "a.png").write_bytes(b"image " * 1000)
    tree = []
    for name in ("metadata.csv", "images/a.png"):
        content = (folder / name).read_bytes()
        sha = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        tree.append({"path": name, "type": "blob", "size": len(content), "sha": sha})
    (folder / "listing.json").write_text(json.dumps({"tree": tree, "truncated": False}))

    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("COVID_DATASET_URL", f"http://127.0.0.1:{server.server_port}/")
        yield folder
        server.shutdown()
        thread.join()


def test_the_installed_dataset_is_opened_and_read_again_when_it_changes(dataset: Path) -> None:
    app = opened()
    assert not app.exception
    assert f"6 rows; own False; folder {dataset}; images {dataset / 'images'}" in texts(app)
    assert f"content {hashlib.sha256(METADATA.encode()).hexdigest()}" in texts(app)
    assert "In use: the installed dataset." in texts(app)
    assert not app.expander[0].proto.expanded
    (dataset / "metadata.csv").write_text(SHORT, encoding="utf-8")
    assert "2 rows" in texts(app.run())
    (dataset / "metadata.csv").write_bytes(b"a,b\n1,2\n")
    app.run()
    assert not app.exception
    assert app.error
    assert "nothing chosen" in texts(app)


@pytest.mark.usefixtures("no_dataset")
def test_without_a_dataset_the_ways_to_one_are_open() -> None:
    app = opened()
    assert not app.exception
    assert app.expander[0].proto.expanded
    assert "nothing chosen" in texts(app)
    assert labels(app) == ["Get the table (under 1 MB)"]


def test_the_last_upload_takes_the_place_of_the_installed_table_until_it_is_removed(dataset: Path) -> None:
    app = opened()
    for table, rows in ((METADATA, 6), (SHORT, 2)):
        app.file_uploader[0].upload("table.csv", table.encode(), "text/csv").run()
        assert f"{rows} rows; own True; folder None; images None" in texts(app)
        assert f"content {hashlib.sha256(table.encode()).hexdigest()}" in texts(app)
    assert "In use: the table you uploaded" in texts(app)
    press(app, "back_to_installed")
    assert f"6 rows; own False; folder {dataset}" in texts(app)
    assert labels(app) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"a,b\n1,2\n", b"\x00\x01", METADATA.splitlines()[0].encode(), b"![x](http://example.org/x.png),b\n1,2\n"],
)
def test_a_bad_upload_is_a_sentence_and_nothing_is_half_loaded(dataset: Path, content: bytes) -> None:
    app = opened()
    app.file_uploader[0].upload("table.csv", content, "text/csv").run()
    assert not app.exception
    assert app.error[0].value
    assert "![x]" not in app.error[0].value, "Markdown is not rendered"
    assert "nothing chosen" in texts(app)
    press(app, "back_to_installed")
    assert f"folder {dataset}" in texts(app)


@pytest.mark.usefixtures("own_computer")
def test_a_named_folder_goes_before_the_installed_dataset_and_an_upload_before_both(
    dataset: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "my *images*"
    mine.mkdir()
    (mine / "metadata.csv").write_text(SHORT, encoding="utf-8")
    app = opened()
    app.text_input[0].set_value(f' "{mine}" ').run()
    assert f"2 rows; own True; folder {mine}; images None" in texts(app)
    assert r"my \*images\*" in next(one.value for one in app.caption if "In use" in one.value)
    (mine / "images").mkdir()
    app.run()
    assert f"images {mine / 'images'}" in texts(app)
    app.file_uploader[0].upload("table.csv", METADATA.encode(), "text/csv").run()
    assert "6 rows; own True; folder None" in texts(app)
    press(app, "back_to_installed")
    assert f"6 rows; own False; folder {dataset}" in texts(app)
    assert app.text_input[0].value == ""


@pytest.mark.usefixtures("own_computer", "no_dataset")
def test_the_table_itself_may_be_named_and_is_missed_when_it_is_gone(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text(SHORT, encoding="utf-8")
    app = opened()
    app.text_input[0].set_value(str(tmp_path / "metadata.csv")).run()
    assert f"2 rows; own True; folder {tmp_path}" in texts(app)
    (tmp_path / "metadata.csv").unlink()
    app.run()
    assert not app.exception
    assert app.error
    assert "nothing chosen" in texts(app)


@pytest.mark.usefixtures("own_computer")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("{here}/nowhere", "There is no folder"),
        ("{here}", "There is no metadata.csv in"),
        ("images", "Give the whole path"),
        ("{here}/" + "x" * 300, "cannot be opened"),
        ("~nobody-has-this-name/x", "cannot be opened"),
        ("{here}/\0", "There is no folder"),
    ],
)
def test_a_folder_that_cannot_be_used_is_a_sentence(dataset: Path, tmp_path: Path, name: str, sentence: str) -> None:
    assert dataset.is_dir()
    app = opened()
    app.text_input[0].set_value(name.format(here=tmp_path)).run()
    assert not app.exception
    assert sentence in texts(app)
    assert "nothing chosen" in texts(app)


def test_on_a_server_no_folder_can_be_named_and_no_archive_fetched(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text(SHORT, encoding="utf-8")
    app = AppTest.from_function(page_of_a_collection, default_timeout=30)
    app.session_state["folder_of_collection"] = str(tmp_path)
    app.run()
    assert f"6 rows; own False; folder {dataset}" in texts(app)
    assert not app.text_input
    assert labels(app) == []
    assert "python -m covid_core fetch" in texts(app)


@pytest.mark.usefixtures("archive", "no_dataset")
def test_the_table_alone_is_fetched_at_a_press_and_the_page_goes_on_with_it(tmp_path: Path) -> None:
    app = press(opened(), "fetch_table")
    assert not app.exception
    assert f"2 rows; own False; folder {tmp_path / 'no dataset'}; images None" in texts(app)
    assert "1 file downloaded, 0 already here. No checksum was compared" in said(app)
    assert not [button for button in app.button if button.key == "stop_fetch"]
    assert said(app.run()) == ""


@pytest.mark.usefixtures("own_computer", "no_dataset")
def test_the_whole_archive_is_fetched_and_compared(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert archive.is_dir()
    monkeypatch.setenv("COVID_DATASET_LISTING", os.environ["COVID_DATASET_URL"] + "listing.json")
    app = press(opened(), "fetch_archive")
    assert not app.exception
    assert f"images {tmp_path / 'no dataset' / 'images'}" in texts(app)
    assert "2 files match their checksum" in said(app)
    assert "Not on the server: 1:" in said(app)
    assert (tmp_path / "no dataset" / "images" / "a.png").read_bytes() == b"image " * 1000
    assert "Resume the images" in labels(app)


@pytest.mark.usefixtures("no_dataset")
def test_a_fetch_that_fails_is_a_sentence_and_can_be_tried_again(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (archive / "metadata.csv").unlink()
    app = press(opened(), "fetch_table")
    assert not app.exception
    assert "There is no metadata.csv at" in texts(app)
    assert "nothing chosen" in texts(app)
    with monkeypatch.context() as patched:
        patched.setenv("COVID_DATASET_URL", "http://127.0.0.1:9/")  # discard; nothing listens
        press(app, "fetch_table")
        assert not app.exception
        assert "Check the connection" in texts(app)
    (archive / "metadata.csv").write_text(SHORT, encoding="utf-8")
    assert "2 rows" in texts(press(app, "fetch_table"))


def test_the_time_left_is_rough() -> None:
    assert time_left(1) == "less than a minute left"
    assert time_left(61) == "about 2 minutes left"
    assert time_left(3 * 3600) == "about 3 hours left"
