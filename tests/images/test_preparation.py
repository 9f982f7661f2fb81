import numpy as np
import pytest
from PIL import Image

from covid_core.errors import ImageRefusedError
from covid_core.images.decode import decode_file
from covid_core.images.preprocess import Preparation, prepare, prepare_files


def image_of(height, width, seed=0):
    """float32 (height, width) in [0, 1], smooth."""
    coarse = np.random.default_rng(seed).random((5, 6), np.float32)
    image = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))
    return np.clip(image, 0, 1)


def write_image(path, seed, height=130, width=170):
    Image.fromarray((image_of(height, width, seed) * 255).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize(("height", "width"), [(300, 200), (64, 1000), (224, 224)])
def test_a_model_input_is_a_square_of_bytes_that_uses_the_whole_range(height, width):
    given = image_of(height, width)
    before = given.copy()
    image = prepare(given, Preparation(size=96))
    assert (image.shape, image.dtype) == ((96, 96), np.uint8)
    assert (image.min(), image.max()) == (0, 255)
    np.testing.assert_array_equal(given, before)
    for grey in (0.0, 0.5, 1.0):
        assert prepare(np.full((height, width), grey, np.float32), Preparation(size=32)).max() == 0


def test_the_crop_box_takes_the_same_share_off_each_side():
    # 6% of 1000 is 60, of 500 is 30
    assert Preparation(border_crop=0.06).crop_box(1000, 500) == (60, 30, 940, 470)
    assert Preparation(border_crop=0).crop_box(640, 480) == (0, 0, 640, 480)
    assert Preparation(border_crop=0.4).crop_box(100, 64) == (40, 26, 60, 38)


def test_what_lies_in_the_border_does_not_reach_the_model():
    settings = Preparation(size=64)
    plain = image_of(400, 300)
    marked = plain.copy()
    left, top, right, bottom = settings.crop_box(300, 400)
    inside = np.zeros(plain.shape, bool)
    inside[top:bottom, left:right] = True
    marked[~inside] = 1.0
    np.testing.assert_array_equal(prepare(marked, settings), prepare(plain, settings))


def test_preparation_is_crop_resize_and_percentile_stretch_recomputed_by_hand():
    image = image_of(200, 300, seed=3)
    settings = Preparation(size=50, border_crop=0.1, low_percentile=2, high_percentile=95)
    cropped = image[20:180, 30:270]
    resized = np.asarray(Image.fromarray(cropped.copy()).resize((50, 50), Image.Resampling.BILINEAR), np.float64)
    ordered = np.sort(resized.ravel())
    position = np.array([0.02, 0.95]) * (len(ordered) - 1)  # linear interpolation between the two neighbours
    low, high = np.interp(position, np.arange(len(ordered)), ordered)
    expected = np.rint(np.clip((resized - low) / (high - low), 0, 1) * 255)
    assert np.abs(prepare(image, settings).astype(int) - expected).max() <= 1  # float32 against float64
    assert (prepare(image, settings) == expected).mean() > 0.99


def test_contrast_and_brightness_of_the_export_do_not_matter():
    image = image_of(200, 300, seed=4)
    dim = image * np.float32(0.25) + np.float32(0.5)
    difference = prepare(image, Preparation(size=64)).astype(int) - prepare(dim, Preparation(size=64))
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    "wrong",
    [
        *({"size": size} for size in (31, 1025)),
        *({"border_crop": share} for share in (-0.01, 0.41, float("nan"))),
        *({"low_percentile": percentile} for percentile in (-1, 50, float("nan"))),
        *({"high_percentile": percentile} for percentile in (50, 100.5)),
    ],
)
def test_settings_out_of_range_are_refused_with_what_was_received(wrong):
    with pytest.raises(ValueError, match="Received: "):
        Preparation(**wrong)


def test_training_and_serving_prepare_a_file_alike_with_settings_from_json(tmp_path):
    settings = Preparation(size=48, border_crop=0.02, low_percentile=0.5, high_percentile=99.5)
    assert Preparation(**settings.to_json()) == settings
    paths = [write_image(tmp_path / f"{seed}.png", seed, width=150 + 10 * seed) for seed in range(12)]
    progress = []
    together = prepare_files(paths, settings, lambda done, total: progress.append((done, total)))
    assert (together.dtype, together.shape) == (np.uint8, (12, 48, 48))
    for path, image in zip(paths, together, strict=True):
        np.testing.assert_array_equal(image, prepare(decode_file(path), settings))
    assert progress == [(done, 12) for done in range(1, 13)]
    assert prepare_files([], settings).shape == (0, 48, 48)


def test_a_file_that_cannot_be_decoded_is_named(tmp_path):
    good = write_image(tmp_path / "good.png", 0)
    (tmp_path / "bad.png").write_bytes(good.read_bytes()[:200])
    with pytest.raises(ImageRefusedError, match=r"bad\.png: The image is damaged") as caught:
        prepare_files([good, tmp_path / "bad.png"], Preparation(size=32))
    assert caught.value.reason == "damaged"
