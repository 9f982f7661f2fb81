"""Thumbnails and fingerprints that are made once, on drawn films; and what may happen to the file that keeps them."""

import io
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covid_core.data import pictures
from covid_core.data.duplicates import Fingerprint, fingerprint_file, fingerprint_files
from covid_core.data.picture_shelf import Shelf
from covid_core.data.pictures import PictureStore
from covid_core.errors import ImageRefusedError
from tests.images.samples import dicom, smooth_grey
from tests.phantom import phantom_film

LONG_AGO = 1_600_000_000


@pytest.fixture
def films(tmp_path: Path) -> list[Path]:
    """Twelve films, PNG and JPEG, that were not changed lately."""
    folder = tmp_path / "films"
    folder.mkdir()
    rng = np.random.default_rng(7)
    return [drawn(folder / f"{number:02}.{('png', 'jpg')[number % 2]}", rng) for number in range(12)]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each decoding; the numbers are sizes in bytes."""
    sizes: list[int] = []
    decode = pictures.decode

    def counted(data: bytes) -> object:
        sizes.append(len(data))
        return decode(data)

    monkeypatch.setattr(pictures, "decode", counted)
    return sizes


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read, in any order."""
    names: list[str] = []
    read_limited = pictures.read_limited

    def noted(path: Path) -> bytes:
        names.append(path.name)
        return read_limited(path)

    monkeypatch.setattr(pictures, "read_limited", noted)
    return names


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "cache" / pictures.STORE_NAME


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def drawn(path: Path, rng: np.random.Generator, size: int = 160) -> Path:
    Image.fromarray(phantom_film(rng, "covid", size)).save(path)
    return aged(path)


def aged(path: Path, seconds: int = LONG_AGO) -> Path:
    os.utime(path, (seconds, seconds))
    return path


def same(found: list[Fingerprint], paths: list[Path]) -> bool:
    """Whether fingerprints are those that are made of each file alone."""
    expected = [fingerprint_file(path) for path in paths]
    return len(found) == len(expected) and all(
        one.sha256 == other.sha256
        and one.problem == other.problem
        and (one.thumbnail is None) == (other.thumbnail is None)
        and (one.thumbnail is None or np.array_equal(one.thumbnail, other.thumbnail))
        for one, other in zip(found, expected, strict=True)
    )


def picture(jpeg: bytes | None) -> np.ndarray:
    assert jpeg is not None
    with Image.open(io.BytesIO(jpeg)) as image:
        assert image.format == "JPEG"
        return np.asarray(image)


def test_fingerprints_are_the_same_with_a_store_as_without(films: list[Path], place: Path) -> None:
    store = PictureStore(place)
    for _ in ("made", "kept"):
        assert same(fingerprint_files(films, store=store), films)
    dtypes = {item.thumbnail.dtype for item in store.fingerprints(films) if item.thumbnail is not None}
    assert dtypes == {np.dtype(np.float32)}
    store.close()


def test_one_decoding_makes_both_the_thumbnail_and_the_fingerprint(
    films: list[Path], place: Path, decoded: list[int], read: list[str]
) -> None:
    first = PictureStore(place)
    thumbnails = first.thumbnails(films)
    first.close()
    again = PictureStore(place)
    assert same(again.fingerprints(films), films)
    assert again.thumbnails(films) == thumbnails
    assert len(decoded) == len(read) == 12
    again.close()


def test_a_changed_file_of_the_same_size_is_read_again(films: list[Path], place: Path, read: list[str]) -> None:
    store = PictureStore(place)
    before = store.thumbnails(films)
    content = films[3].read_bytes()
    drawn(films[3], np.random.default_rng(99))
    new = films[3].read_bytes()
    longest = max(len(content), len(new))
    films[3].write_bytes(new.ljust(longest, b"\0"))
    aged(films[3], LONG_AGO)
    store.thumbnails(films)
    read.clear()
    films[3].write_bytes(content.ljust(longest, b"\0"))
    aged(films[3], LONG_AGO + 1)
    assert store.thumbnails(films)[3] == before[3]
    assert read == ["03.jpg"]
    store.close()


def test_a_file_that_was_changed_just_now_is_not_taken_for_unchanged(films: list[Path], read: list[str]) -> None:
    store = PictureStore(None)
    os.utime(films[0])
    store.thumbnails(films[:2])
    store.thumbnails(films[:2])
    assert sorted(read) == ["00.png", "00.png", "01.jpg"]
    store.close()


def test_a_moved_folder_and_a_copy_are_hashed_but_not_decoded(
    films: list[Path], place: Path, decoded: list[int], read: list[str]
) -> None:
    store = PictureStore(place)
    store.thumbnails(films)
    moved = films[0].parent.rename(films[0].parent.with_name("moved"))
    paths = [moved / path.name for path in films]
    paths.append(aged(Path(shutil.copy(paths[0], moved / "copy"))))
    assert same(store.fingerprints(paths), paths)
    assert (len(decoded), len(read)) == (12, 25)
    assert store.thumbnails(films) == [None] * 12
    store.close()


def test_the_same_bytes_under_two_names_are_decoded_once(films: list[Path], decoded: list[int]) -> None:
    copies = [aged(Path(shutil.copy(films[0], films[0].with_name(f"copy-{number}")))) for number in range(8)]
    store = PictureStore(None)
    assert len({item.sha256 for item in store.fingerprints(copies)}) == 1
    assert len(decoded) == 1
    store.close()


def test_a_path_that_is_listed_twice_is_read_once(films: list[Path], read: list[str]) -> None:
    store = PictureStore(None)
    steps: list[tuple[int, int]] = []
    found = store.thumbnails([films[0], films[1], films[0]], lambda done, total: steps.append((done, total)))
    assert found[0] == found[2] != found[1]
    assert sorted(read) == ["00.png", "01.jpg"]
    assert steps == [(1, 2), (2, 2)]
    store.close()


def test_a_thumbnail_is_the_whole_film_in_small(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:600, 0:900]
    film = (columns * 255 // 899).astype(np.uint8)
    Image.fromarray(film).save(tmp_path / "ramp.png")
    Image.fromarray(film.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    clear = np.dstack([film] * 3 + [np.where(rows < 300, 255, 0).astype(np.uint8)])
    Image.fromarray(clear).save(tmp_path / "clear.png")
    Image.fromarray(film[:100, :150]).save(tmp_path / "small.png")
    store = PictureStore(None)
    names = ("ramp", "deep", "clear", "small")
    ramp, deep, half, small = map(picture, store.thumbnails([tmp_path / f"{name}.png" for name in names]))
    assert ramp.shape == deep.shape == half.shape == (171, 256)
    expected = np.broadcast_to((np.arange(256) + 0.5) * 900 / 256 * 255 / 899, (171, 256))
    assert np.abs(ramp - expected).max() < 6
    assert np.abs(deep - expected).max() < 6
    assert half[120:].max() < 8  # what is transparent is black
    assert small.shape == (100, 150)  # not enlarged
    store.close()


def test_a_dicom_film_has_a_thumbnail(tmp_path: Path) -> None:
    (tmp_path / "film").write_bytes(dicom(smooth_grey()))
    store = PictureStore(None)
    assert max(picture(store.thumbnails([tmp_path / "film"])[0]).shape) <= 256
    store.close()


def test_an_unreadable_file_is_reported_and_tried_again_once_it_is_changed(
    films: list[Path], place: Path, decoded: list[int]
) -> None:
    films[2].write_bytes(b"no film")
    aged(films[2])
    films[4].unlink()
    store = PictureStore(place)
    for _ in ("made", "kept"):
        assert same(store.fingerprints(films), films)
        assert [place for place, jpeg in enumerate(store.thumbnails(films)) if jpeg is None] == [2, 4]
    assert len(decoded) == 11
    drawn(films[2], np.random.default_rng(1))
    drawn(films[4], np.random.default_rng(2))
    assert None not in store.thumbnails(films)
    store.close()


def test_a_film_for_which_memory_was_short_is_tried_again(films: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    store = PictureStore(None)
    with monkeypatch.context() as short:
        short.setattr("covid_core.images.raster._opened", lambda *_: (_ for _ in ()).throw(MemoryError))
        assert store.thumbnails(films[:1]) == [None]
    assert None not in store.thumbnails(films[:1])
    store.close()


def test_progress_is_told_to_the_end_and_from_the_calling_thread(films: list[Path]) -> None:
    store = PictureStore(None)
    steps: list[tuple[int, int]] = []
    threads = set()

    def progress(done: int, total: int) -> None:
        steps.append((done, total))
        threads.add(threading.current_thread())

    store.thumbnails(films[:5])
    store.thumbnails(films, progress)
    assert steps == [(done, 12) for done in range(5, 13)]
    assert threads == {threading.current_thread()}
    store.close()


def test_a_film_that_could_not_be_read_at_first_has_its_picture_the_next_time(
    films: list[Path], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PictureStore(place)
    with monkeypatch.context() as failing:
        failing.setattr(
            pictures, "read_limited", lambda _: (_ for _ in ()).throw(ImageRefusedError("missing_file", "No."))
        )
        assert store.thumbnails(films[:1]) == [None]
    assert None not in store.thumbnails(films[:1])
    store.close()


class _StoppedError(BaseException):
    """As Streamlit ends a script."""


def test_work_that_is_stopped_ends_soon_and_keeps_what_is_done(
    films: list[Path], place: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, stopped = pictures.decode, threading.Event()
    first = {path.read_bytes() for path in films[:3]}

    def slow(data: bytes) -> object:
        """However busy the machine is, no further film is decoded before the stop."""
        if data not in first:
            stopped.wait(10)
        return counted(data)

    def stop(done: int, _total: int) -> None:
        if done == 3:
            threading.Timer(0.2, stopped.set).start()
            raise _StoppedError

    monkeypatch.setattr(pictures, "decode", slow)

    store = PictureStore(place)
    with pytest.raises(_StoppedError):
        store.thumbnails(films, stop)
    store.close()
    assert 3 <= len(decoded) < 12
    again = PictureStore(place)
    assert None not in again.thumbnails(films)
    assert len(decoded) == 12
    again.close()


def test_two_stores_and_many_threads_may_use_one_file(films: list[Path], place: Path) -> None:
    stores = [PictureStore(place), PictureStore(place)]
    with ThreadPoolExecutor(8) as executor:
        found = list(executor.map(lambda number: stores[number % 2].fingerprints(films[number % 3 :]), range(16)))
    assert all(same(items, films[number % 3 :]) for number, items in enumerate(found))
    assert rows(place) == (12, 12)
    for store in stores:
        store.close()


_READER = """
import sys
from pathlib import Path
from covid_core.data.pictures import PictureStore
paths = sorted(Path(sys.argv[2]).iterdir())
PictureStore(Path(sys.argv[1])).thumbnails(paths, lambda done, total: print(done, flush=True))
"""


def reader(place: Path, folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", _READER, str(place), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_may_use_one_file(films: list[Path], place: Path) -> None:
    running = [reader(place, films[0].parent) for _ in range(2)]
    assert [process.communicate()[0].split()[-1] for process in running] == ["12", "12"]
    assert rows(place) == (12, 12)


def test_a_killed_process_loses_a_batch_at_most_and_the_next_goes_on(
    tmp_path: Path, place: Path, decoded: list[int]
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    film = phantom_film(np.random.default_rng(3), "covid", 160)
    for number in range(200):
        film[0, :2] = divmod(number, 16)
        Image.fromarray(film).save(folder / f"{number:03}.png")
        aged(folder / f"{number:03}.png")
    with reader(place, folder) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 150:
                process.send_signal(signal.SIGKILL)
                break
    kept, files = rows(place)
    assert kept == files
    assert 128 <= kept < 200
    store = PictureStore(place)
    paths = sorted(folder.iterdir())
    assert same(store.fingerprints(paths), paths)
    assert len(decoded) == 200 - kept
    store.close()


def rows(place: Path) -> tuple[int, int]:
    """How many pictures and files a store holds, if SQLite finds it whole."""
    connection = sqlite3.connect(place)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("picture", "file")]
        return counts[0], counts[1]
    finally:
        connection.close()


@pytest.mark.parametrize("content", [b"no database " * 1000, b"SQLite format 3\0" + bytes(range(256)) * 64])
def test_a_damaged_store_is_put_aside_and_begun_anew(films: list[Path], place: Path, content: bytes) -> None:
    place.parent.mkdir()
    place.write_bytes(content)
    store = PictureStore(place)
    assert None not in store.thumbnails(films)
    store.close()
    assert rows(place) == (12, 12)
    assert place.with_name("pictures.sqlite.damaged").read_bytes() == content


def test_a_store_that_turns_out_to_be_damaged_while_it_is_used_is_begun_anew(films: list[Path], place: Path) -> None:
    first = PictureStore(place)
    first.thumbnails(films)
    first.close()
    store = PictureStore(place)
    with place.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (place.stat().st_size - 4096))
    for _ in range(2):
        assert same(store.fingerprints(films), films)
        assert None not in store.thumbnails(films)
    store.close()
    assert rows(place) == (12, 12)


def test_the_database_of_another_program_is_left_as_it_is(films: list[Path], place: Path, decoded: list[int]) -> None:
    place.parent.mkdir()
    other = sqlite3.connect(place)
    other.execute("CREATE TABLE picture (name TEXT)")
    other.commit()
    other.close()
    content = place.read_bytes()
    store = PictureStore(place)
    for _ in range(2):
        assert None not in store.thumbnails(films)
    assert len(decoded) == 12  # kept in memory
    store.close()
    assert place.read_bytes() == content


def test_a_store_of_another_version_is_begun_anew(films: list[Path], place: Path) -> None:
    PictureStore(place).close()
    other = sqlite3.connect(place)
    other.execute("ALTER TABLE picture DROP COLUMN jpeg")
    other.execute("PRAGMA user_version = 999")
    other.commit()
    other.close()
    store = PictureStore(place)
    assert None not in store.thumbnails(films)
    store.close()
    assert rows(place) == (12, 12)


def test_where_no_file_can_be_written_the_store_is_in_memory(
    films: list[Path], tmp_path: Path, decoded: list[int]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = PictureStore(tmp_path / "file" / "cache" / "pictures.sqlite")
    for _ in range(2):
        assert same(store.fingerprints(films), films)
    assert len(decoded) == 12
    store.close()


def test_a_store_that_may_only_be_read_does_no_harm(
    films: list[Path], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = PictureStore(place)
    first.thumbnails(films[:3])
    first.close()
    content = place.read_bytes()
    connect = sqlite3.connect

    def read_only(database: object, **settings: object) -> sqlite3.Connection:
        name = str(database)
        return connect(name if name == ":memory:" else f"file:{name}?mode=ro", uri=True, **settings)  # type: ignore[call-overload]

    monkeypatch.setattr(sqlite3, "connect", read_only)
    store = PictureStore(place)
    assert same(store.fingerprints(films), films)
    store.close()
    assert place.read_bytes() == content


def test_a_full_disk_does_no_harm(films: list[Path], place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def small(database: object, **settings: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(str(database), **settings)  # type: ignore[call-overload]
        if str(database) != ":memory:":
            connection.execute("PRAGMA max_page_count = 12")
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    store = PictureStore(place)
    assert same(store.fingerprints(films), films)
    assert same(store.fingerprints(films), films)
    store.close()


def test_what_was_used_longest_ago_goes_first(
    films: list[Path], place: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[int]
) -> None:
    day = 20_000
    monkeypatch.setattr("covid_core.data.picture_shelf._today", lambda: day)
    store = PictureStore(place, most_bytes=300_000)  # at 16 kB and more each
    store.thumbnails(films[:8])
    day += 1
    store.thumbnails(films[:4])
    day += 1
    for number in range(6):
        drawn(films[0].with_name(f"new-{number}.png"), np.random.default_rng(100 + number))
    store.thumbnails(sorted(films[0].parent.glob("new-*")))
    decoded.clear()
    store.thumbnails(films[:4])
    assert decoded == []
    store.thumbnails(films[4:8])
    assert decoded != []
    store.close()
    assert place.stat().st_size < 2 * 300_000


def test_pictures_that_were_made_another_way_are_not_taken(
    films: list[Path], place: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[int]
) -> None:
    for recipe in (1, 2, 1):
        monkeypatch.setattr(pictures, "_recipe", lambda recipe=recipe: recipe)
        store = PictureStore(place)
        store.thumbnails(films)
        store.close()
    assert len(decoded) == 24


def test_a_store_that_another_process_holds_for_long_is_gone_without(
    films: list[Path], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("covid_core.data.picture_shelf._BUSY_SECONDS", 0.05)
    store = PictureStore(place)
    holder = sqlite3.connect(place, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert same(store.fingerprints(films), films)
    holder.execute("ROLLBACK")
    holder.close()
    assert same(store.fingerprints(films), films)
    store.close()
    assert rows(place) == (12, 12)


def test_a_page_of_thumbnails_is_there_at_once(films: list[Path], place: Path) -> None:
    store = PictureStore(place)
    store.thumbnails(films)
    begin = time.perf_counter()
    store.thumbnails(films * 5)
    assert time.perf_counter() - begin < 1
    store.close()


def test_neither_thumbnails_nor_fingerprints_load_scipy() -> None:
    code = "import sys, covid_core.data.pictures; sys.exit('scipy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_folder_of_a_new_store_is_for_its_owner_alone(place: Path) -> None:
    Shelf(place, recipe=1).close()
    if os.name == "posix":
        assert place.parent.stat().st_mode & 0o077 == 0
