import numpy as np
import pytest
from PIL import Image

from covid_core.errors import ImageRefusedError
from covid_core.images.decode import decode_file
from covid_core.images.preprocess import Preparation, prepare, prepare_files


def film_of(height, width, seed=0):
    """float32 (height, width) in [0, 1], smooth."""
    coarse = np.random.default_rng(seed).random((5, 6), np.float32)
    film = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))
    return np.clip(film, 0, 1)


def write_film(path, seed, height=130, width=170):
    Image.fromarray((film_of(height, width, seed) * 255).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize(("height", "width"), [(300, 200), (64, 1000), (224, 224)])
def test_a_model_input_is_a_square_of_bytes_that_uses_the_whole_range(height, width):
    film = prepare(film_of(height, width), Preparation(size=96))
    assert film.shape == (96, 96)
    assert film.dtype == np.uint8
    assert (film.min(), film.max()) == (0, 255)


def test_the_crop_box_takes_the_same_share_off_each_side():
    # 6% of 1000 is 60, of 500 is 30
    assert Preparation(border_crop=0.06).crop_box(1000, 500) == (60, 30, 940, 470)
    assert Preparation(border_crop=0).crop_box(640, 480) == (0, 0, 640, 480)
    assert Preparation(border_crop=0.4).crop_box(100, 64) == (40, 26, 60, 38)


def test_what_lies_in_the_border_does_not_reach_the_model():
    settings = Preparation(size=64)
    plain = film_of(400, 300)
    marked = plain.copy()
    left, top, right, bottom = settings.crop_box(300, 400)
    inside = np.zeros(plain.shape, bool)
    inside[top:bottom, left:right] = True
    marked[~inside] = 1.0
    np.testing.assert_array_equal(prepare(marked, settings), prepare(plain, settings))


def test_preparation_is_crop_resize_and_percentile_stretch_recomputed_by_hand():
    film = film_of(200, 300, seed=3)
    settings = Preparation(size=50, border_crop=0.1, low_percentile=2, high_percentile=95)
    cropped = film[20:180, 30:270]
    resized = np.asarray(Image.fromarray(cropped.copy()).resize((50, 50), Image.Resampling.BILINEAR), np.float64)
    ordered = np.sort(resized.ravel())
    position = np.array([0.02, 0.95]) * (len(ordered) - 1)  # linear interpolation between the two neighbours
    low, high = np.interp(position, np.arange(len(ordered)), ordered)
    expected = np.rint(np.clip((resized - low) / (high - low), 0, 1) * 255)
    assert np.abs(prepare(film, settings).astype(int) - expected).max() <= 1  # float32 against float64
    assert (prepare(film, settings) == expected).mean() > 0.99


def test_contrast_and_brightness_of_the_export_do_not_matter():
    film = film_of(200, 300, seed=4)
    dim = film * np.float32(0.25) + np.float32(0.5)
    difference = prepare(film, Preparation(size=64)).astype(int) - prepare(dim, Preparation(size=64))
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_a_constant_picture_gives_zeros_and_no_division_by_zero(grey):
    film = prepare(np.full((100, 120), grey, np.float32), Preparation(size=32))
    assert film.shape == (32, 32)
    assert film.max() == 0


def test_the_input_picture_is_not_changed():
    film = film_of(100, 100)
    before = film.copy()
    prepare(film, Preparation(size=32))
    np.testing.assert_array_equal(film, before)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 31},
        {"size": 1025},
        {"border_crop": -0.01},
        {"border_crop": 0.41},
        {"low_percentile": -1},
        {"low_percentile": 50},
        {"high_percentile": 50},
        {"high_percentile": 100.5},
        {"border_crop": float("nan")},
        {"low_percentile": float("nan")},
    ],
)
def test_settings_out_of_range_are_refused_with_what_was_received(wrong):
    with pytest.raises(ValueError, match="Received: "):
        Preparation(**wrong)


def test_settings_survive_the_way_through_json():
    settings = Preparation(size=96, border_crop=0.02, low_percentile=0.5, high_percentile=99.5)
    assert Preparation(**settings.to_json()) == settings
    assert settings.to_json() == {
        "size": 96,
        "border_crop": 0.02,
        "low_percentile": 0.5,
        "high_percentile": 99.5,
    }


def test_training_and_serving_prepare_a_file_alike(tmp_path):
    paths = [write_film(tmp_path / f"{seed}.png", seed, width=150 + 10 * seed) for seed in range(12)]
    settings = Preparation(size=48)
    together = prepare_files(paths, settings)
    assert together.dtype == np.uint8
    assert together.shape == (12, 48, 48)
    for path, film in zip(paths, together, strict=True):
        np.testing.assert_array_equal(film, prepare(decode_file(path), settings))


def test_progress_is_told_after_each_film(tmp_path):
    paths = [write_film(tmp_path / f"{seed}.png", seed) for seed in range(3)]
    told = []
    prepare_files(paths, Preparation(size=32), lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_no_files_give_no_films():
    assert prepare_files([], Preparation(size=32)).shape == (0, 32, 32)


def test_a_file_that_cannot_be_decoded_is_named(tmp_path):
    good = write_film(tmp_path / "good.png", 0)
    (tmp_path / "bad.png").write_bytes(good.read_bytes()[:200])
    with pytest.raises(ImageRefusedError, match=r"bad\.png: The image is damaged") as caught:
        prepare_files([good, tmp_path / "bad.png"], Preparation(size=32))
    assert caught.value.reason == "damaged"
