"""The image cache gives what decoding each file gives, decodes each content once, and survives whatever happens to its folder."""

import io
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covid_core.dataset import image_cache
from covid_core.dataset.duplicates import Fingerprint, fingerprint_files
from covid_core.dataset.image_cache import ImageCache
from tests.images.samples import dicom, smooth_grey
from tests.phantom import phantom_image

LONG_AGO = 1_600_000_000


def drawn(path: Path, seed: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(phantom_image(np.random.default_rng(seed), "covid", 160)).save(path)
    return aged(path)


def aged(path: Path, seconds: int = LONG_AGO) -> Path:
    os.utime(path, (seconds, seconds))
    return path


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Six readable files, PNG and JPEG, a damaged and a missing one; none was changed lately."""
    folder = tmp_path / "images"
    good = [drawn(folder / f"{number}.{('png', 'jpg')[number % 2]}", number) for number in range(6)]
    damaged = folder / "damaged.png"
    damaged.write_bytes(b"no image")
    return [*good, aged(damaged), folder / "missing.png"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "user" / "cache"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The contents that were decoded."""
    return recorded(monkeypatch, "decode")


def recorded(monkeypatch: pytest.MonkeyPatch, name: str) -> list:
    calls: list = []
    original = getattr(image_cache, name)
    monkeypatch.setattr(image_cache, name, lambda argument: (calls.append(argument), original(argument))[1])
    return calls


def plain(fingerprints: list[Fingerprint]) -> list[tuple[object, ...]]:
    return [
        (one.sha256, one.problem, None if one.thumbnail is None else (one.thumbnail.dtype, one.thumbnail.tobytes()))
        for one in fingerprints
    ]


def check(cache: ImageCache, paths: list[Path]) -> None:
    """Fingerprints are those of the files alone, and there are thumbnails of all that have one."""
    found = cache.fingerprints(paths)
    assert plain(found) == plain(fingerprint_files(paths))
    assert [jpeg is None for jpeg in cache.thumbnails(paths)] == [bool(one.problem) for one in found]


@pytest.mark.parametrize("on_disk", [True, False])
def test_each_content_is_read_and_decoded_once(
    on_disk: bool, paths: list[Path], folder: Path, decoded: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = recorded(monkeypatch, "read_limited")
    cache = ImageCache(folder if on_disk else None)
    for _ in range(2):
        check(cache, paths)
    if on_disk:
        check(ImageCache(folder), paths)
    assert len(decoded) == 7
    assert sorted(path for path in read if path.name != "missing.png") == sorted(paths[:7])
    os.utime(paths[0])
    for _ in range(2):
        cache.thumbnails(paths[:2])
    assert read.count(paths[0]) == 3, "a file that was changed just now is not taken for unchanged"
    assert folder.exists() == on_disk, "without a folder nothing is written"


def test_a_changed_file_is_read_again_and_a_repaired_one_has_its_thumbnail(paths: list[Path], folder: Path) -> None:
    cache = ImageCache(folder)
    before = cache.thumbnails(paths)
    size = max(path.stat().st_size for path in paths[:2])
    for path, seed in ((paths[0], 99), (paths[6], 1), (paths[7], 2)):
        drawn(path, seed)
    paths[0].write_bytes(paths[0].read_bytes().ljust(size, b"\0"))
    aged(paths[0], LONG_AGO + 1)
    aged(paths[6], LONG_AGO + 1)
    check(cache, paths)
    after = cache.thumbnails(paths)
    assert after[0] != before[0]
    assert None not in after


def test_a_moved_folder_and_a_copy_are_not_decoded(paths: list[Path], folder: Path, decoded: list[bytes]) -> None:
    cache = ImageCache(folder)
    cache.thumbnails(paths[:6])
    moved = paths[0].parent.rename(paths[0].parent.with_name("moved"))
    copy = aged(Path(shutil.copy(moved / "0.png", moved / "copy.png")))
    check(cache, [moved / "0.png", copy])
    assert len(decoded) == 6
    assert cache.thumbnails(paths[:1]) == [None]


def test_a_thumbnail_is_the_whole_image_in_small(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(900) * 255 // 899, (600, 900)).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    Image.fromarray(ramp.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(ramp[:100, :150]).save(tmp_path / "small.png")
    (tmp_path / "dicom").write_bytes(dicom(smooth_grey()))
    jpegs = ImageCache(None).thumbnails([tmp_path / name for name in ("ramp.png", "deep.png", "small.png", "dicom")])
    eight, sixteen, small, from_dicom = (np.asarray(Image.open(io.BytesIO(jpeg or b""))) for jpeg in jpegs)
    expected = np.broadcast_to((np.arange(256) + 0.5) * 900 / 256 * 255 / 899, (171, 256))
    for one in (eight, sixteen):
        assert one.shape == (171, 256)
        assert np.abs(one - expected).max() < 6
    assert small.shape == (100, 150), "not enlarged"
    assert max(from_dicom.shape) <= 256


def test_an_image_for_which_memory_was_short_is_tried_again(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ImageCache(None)
    with monkeypatch.context() as short:
        short.setattr("covid_core.images.raster._opened", lambda *_: (_ for _ in ()).throw(MemoryError))
        assert cache.thumbnails(paths[:1]) == [None]
    assert None not in cache.thumbnails(paths[:1])


def test_work_that_is_stopped_ends_soon_and_keeps_what_is_done(
    folder: Path, decoded: list[bytes], tmp_path: Path
) -> None:
    many = [drawn(tmp_path / "many" / f"{number}.png", 100 + number) for number in range(60)]
    steps: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        steps.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ImageCache(folder).thumbnails(many, stop)
    assert steps == [(1, 60), (2, 60), (3, 60)]
    assert 3 <= len(decoded) < 60
    assert None not in ImageCache(folder).thumbnails(many)
    assert len(decoded) == 60


@pytest.mark.parametrize("fault", ["index", "index of another kind", "empty files", "cut files", "other arrays"])
def test_what_is_damaged_is_made_again(fault: str, paths: list[Path], folder: Path) -> None:
    check(ImageCache(folder), paths)
    if fault.startswith("index"):
        (folder / "index.json").write_text("[1, 2]" if "kind" in fault else '{"/a": [1')
    for path in folder.glob("??/*"):
        if fault == "other arrays" and path.suffix == ".npy":
            np.save(path, np.zeros(3))
        elif fault.endswith("files"):
            path.write_bytes(path.read_bytes()[:50] if fault == "cut files" else b"")
    for _ in range(2):
        check(ImageCache(folder), paths)


def test_where_nothing_can_be_written_the_cache_is_in_memory(
    paths: list[Path], tmp_path: Path, folder: Path, decoded: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "file").touch()
    cache = ImageCache(tmp_path / "file" / "cache")
    for _ in range(2):
        check(cache, paths)
    assert len(decoded) == 7
    monkeypatch.setattr(Path, "write_bytes", full)
    cache = ImageCache(folder)
    for _ in range(2):
        check(cache, paths[:6])


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_cache_that_grows_too_large_is_emptied_of_its_own_files_alone(
    on_disk: bool, paths: list[Path], folder: Path, decoded: list[bytes]
) -> None:
    (folder / "ab").mkdir(parents=True)
    (folder / "ab" / "thesis.jpg").write_bytes(b"years of work")
    cache = ImageCache(folder if on_disk else None, max_bytes=60_000)  # of which an image takes at least 16,384
    check(cache, paths)
    check(cache, paths)
    assert len(decoded) > 7
    assert sum(path.stat().st_size for path in folder.glob("??/*.npy")) <= 60_000
    assert (folder / "ab" / "thesis.jpg").read_bytes() == b"years of work"


def test_many_threads_and_two_processes_may_use_one_folder(paths: list[Path], folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from covid_core.dataset.image_cache import ImageCache; "
        "ImageCache(Path(sys.argv[1])).thumbnails(sorted(Path(sys.argv[2]).iterdir())); sys.exit('scipy' in sys.modules)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(folder), str(paths[0].parent)])
    caches = [ImageCache(folder), ImageCache(folder)]
    with ThreadPoolExecutor(4) as executor:
        list(executor.map(lambda number: check(caches[number % 2], paths[number % 3 :]), range(8)))
    assert other.wait() == 0, "SciPy, which is slow to load, is not needed"
    check(ImageCache(folder), paths)


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_the_folder_is_for_its_owner_alone(paths: list[Path], folder: Path) -> None:
    ImageCache(folder).thumbnails(paths[:1])
    assert folder.stat().st_mode & 0o077 == 0
