"""The same picture under several names, on drawn images; `test_prepare` has the real ones."""

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from covid_core.dataset.duplicates import (
    Fingerprint,
    components,
    duplicate_pairs,
    fingerprint_files,
    thumbnail,
)
from covid_core.files import sha256_of_file
from tests.phantom import phantom_image


@pytest.fixture(scope="module")
def images() -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(5)
    return [
        np.asarray(phantom_image(rng, label, 256), np.float32) / np.float32(255) for label in ("covid", "non_covid") * 3
    ]


def fingerprints(*images: NDArray[np.float32]) -> list[Fingerprint]:
    return [Fingerprint(str(number), thumbnail(image)) for number, image in enumerate(images)]


def as_jpeg(image: NDArray[np.float32], quality: int) -> NDArray[np.float32]:
    buffer = io.BytesIO()
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as opened:
        return np.asarray(opened, np.float32) / np.float32(255)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda image: image * 0.6 + 0.2, id="less contrast"),
        pytest.param(lambda image: image**1.5, id="darker"),
        pytest.param(lambda image: as_jpeg(image, 30), id="strong compression"),
        pytest.param(lambda image: image[::2, ::2], id="half the size"),
        pytest.param(lambda image: image[20:, 10:-14], id="cropped"),
        pytest.param(lambda image: np.pad(image, ((0, 0), (20, 20))), id="black bars"),
    ],
)
def test_a_changed_copy_is_found(images: list[NDArray[np.float32]], change: object) -> None:
    assert callable(change)
    assert duplicate_pairs(fingerprints(*images)) == []
    assert duplicate_pairs(fingerprints(*images, change(images[2]).astype(np.float32))) == [(2, 6)]


def test_pairs_are_found_whatever_block_they_are_in(
    images: list[NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("covid_core.dataset.duplicates._BLOCK", 2)
    steps: list[tuple[int, int]] = []
    pictures = fingerprints(*images, as_jpeg(images[5], 40), images[0] * 0.5, as_jpeg(images[2], 40))
    found = duplicate_pairs(pictures, progress=lambda done, total: steps.append((done, total)))
    assert found == [(0, 7), (2, 8), (5, 6)]
    assert steps == [(done, 9) for done in range(1, 10)]


def test_what_has_no_picture_is_compared_by_content_alone() -> None:
    damaged = [Fingerprint("same", None, "damaged"), Fingerprint("other", None, "damaged"), Fingerprint("same", None)]
    assert duplicate_pairs(damaged) == [(0, 2)]
    black, white = np.zeros((64, 64), np.float32), np.ones((64, 64), np.float32)
    assert duplicate_pairs([Fingerprint("a", black), Fingerprint("b", black), Fingerprint("c", white)]) == []


def test_unreadable_files_are_reported_and_the_rest_goes_on(tmp_path: Path, phantom_dataset: Path) -> None:
    good = phantom_dataset / "images" / "copy.png"
    (tmp_path / "bad.png").write_bytes(b"no image")
    calls: list[tuple[int, int]] = []
    found = fingerprint_files(
        [tmp_path / "bad.png", good, tmp_path / "none.png"], lambda done, total: calls.append((done, total))
    )
    assert [bool(item.problem) for item in found] == [True, False, True]
    assert found[1].thumbnail is not None
    assert found[1].thumbnail.shape == (64, 64)
    assert found[1].sha256 == sha256_of_file(good)
    assert found[2].sha256 == ""
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_components_are_numbered_by_first_member() -> None:
    assert components(6, [(4, 1), (1, 5), (2, 3)]).tolist() == [0, 1, 2, 2, 1, 1]
    assert components(3, []).tolist() == [0, 1, 2]
