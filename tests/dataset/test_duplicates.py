"""The same picture under several names, on drawn films; `test_prepare` has the real ones."""

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
    fingerprint_file,
    fingerprint_files,
    thumbnail,
    whole_correlations,
)
from covid_core.files import sha256_of_file
from tests.phantom import phantom_film


@pytest.fixture(scope="module")
def films() -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(5)
    return [
        np.asarray(phantom_film(rng, label, 256), np.float32) / np.float32(255) for label in ("covid", "non_covid") * 3
    ]


def fingerprints(*films: NDArray[np.float32]) -> list[Fingerprint]:
    return [Fingerprint(str(number), thumbnail(film)) for number, film in enumerate(films)]


def as_jpeg(film: NDArray[np.float32], quality: int) -> NDArray[np.float32]:
    buffer = io.BytesIO()
    Image.fromarray(np.rint(film * 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        return np.asarray(image, np.float32) / np.float32(255)


def test_films_of_different_patients_are_no_duplicates(films: list[NDArray[np.float32]]) -> None:
    assert duplicate_pairs(fingerprints(*films)) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda film: film * 0.6 + 0.2, id="less contrast"),
        pytest.param(lambda film: film**1.5, id="darker"),
        pytest.param(lambda film: as_jpeg(film, 30), id="strong compression"),
        pytest.param(lambda film: film[::2, ::2], id="half the size"),
        pytest.param(lambda film: film[20:, 10:-14], id="cropped"),
        pytest.param(lambda film: np.pad(film, ((0, 0), (20, 20))), id="black bars"),
    ],
)
def test_a_changed_copy_is_found(films: list[NDArray[np.float32]], change: object) -> None:
    assert callable(change)
    assert duplicate_pairs(fingerprints(*films, change(films[2]).astype(np.float32))) == [(2, 6)]


def test_pairs_are_found_whatever_block_they_are_in(
    films: list[NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("covid_core.dataset.duplicates._BLOCK", 2)
    steps: list[tuple[int, int]] = []
    pictures = fingerprints(*films, as_jpeg(films[5], 40), films[0] * 0.5, as_jpeg(films[2], 40))
    found = duplicate_pairs(pictures, progress=lambda done, total: steps.append((done, total)))
    assert found == [(0, 7), (2, 8), (5, 6)]
    assert steps == [(done, 9) for done in range(1, 10)]


def test_the_same_bytes_are_found_even_where_no_image_can_be_read() -> None:
    damaged = [Fingerprint("same", None, "damaged"), Fingerprint("other", None, "damaged"), Fingerprint("same", None)]
    assert duplicate_pairs(damaged) == [(0, 2)]


def test_constant_pictures_are_alike_only_by_content() -> None:
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
    assert found[1].sha256 == sha256_of_file(good)
    assert found[2].sha256 == ""
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_whole_pictures_are_correlated_as_numpy_does(films: list[NDArray[np.float32]]) -> None:
    small = np.stack([thumbnail(film) for film in films])
    expected = np.corrcoef(small.reshape(len(small), -1).astype(float))
    np.testing.assert_allclose(whole_correlations(small, small), expected, atol=1e-4)


def test_components_are_numbered_by_first_member() -> None:
    assert components(6, [(4, 1), (1, 5), (2, 3)]).tolist() == [0, 1, 2, 2, 1, 1]
    assert components(3, []).tolist() == [0, 1, 2]


def test_a_film_is_hashed_and_decoded_in_one_call(phantom_dataset: Path) -> None:
    item = fingerprint_file(phantom_dataset / "images" / "copy.png")
    assert item.thumbnail is not None
    assert item.thumbnail.shape == (64, 64)
    assert item.problem == ""
