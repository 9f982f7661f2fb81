"""Harmless changes held against what NumPy, SciPy and hand calculation make of the same picture."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from covid_core.images import changes
from tests.made_up_collections import picture

HEIGHT, WIDTH = 200, 160
DRAWN = (changes.draw_arrows, changes.draw_letters, changes.draw_electrodes)


@pytest.fixture
def image() -> np.ndarray:
    """uint8 (HEIGHT, WIDTH) of soft patches between 40 and 180: whatever is drawn on it stands out from it."""
    soft = Image.fromarray(picture(3)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    return (40 + np.asarray(soft) * (140 / 255)).astype(np.uint8)


def grey(value: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH), value, np.uint8)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_quarter_turn_is_counter_clockwise(turns: int) -> None:
    square = picture(1, 64)
    np.testing.assert_array_equal(changes.rotate(square, 90 * turns), np.rot90(square, turns))


def test_a_few_degrees_are_those_of_scipy_and_leave_black_corners(image: np.ndarray) -> None:
    found = changes.rotate(image, 7)
    assert found.shape == image.shape
    expected = ndimage.rotate(image.astype(float), 7, reshape=False, order=1)
    inside = (slice(40, -40), slice(40, -40))
    assert np.abs(found[inside] - expected[inside]).max() <= 1.5
    assert found[0, 0] == found[-1, 0] == found[0, -1] == found[-1, -1] == 0


@pytest.mark.parametrize(("share", "rows", "columns"), [(0.05, 10, 8), (0.1, 20, 16), (0.25, 50, 40)])
def test_a_crop_takes_its_share_off_each_side(image: np.ndarray, share: float, rows: int, columns: int) -> None:
    np.testing.assert_array_equal(changes.crop(image, share), image[rows:-rows, columns:-columns])
    np.testing.assert_array_equal(changes.crop(image, 0), image)


@pytest.mark.parametrize("value", [0, 255, 77])
def test_a_border_has_one_grey_and_the_image_within_it(image: np.ndarray, value: int) -> None:
    found = changes.add_border(image, 0.05, value)
    assert found.shape == (HEIGHT + 20, WIDTH + 16)
    np.testing.assert_array_equal(found[10:-10, 8:-8], image)
    border = np.ones(found.shape, np.bool_)
    border[10:-10, 8:-8] = False
    assert set(found[border].tolist()) == {value}


@pytest.mark.parametrize(
    ("shape", "sigma", "pixels"), [((250, 1000), 4, 4.0), ((1000, 250), 4, 4.0), ((300, 500), 6, 3.0)]
)
def test_blur_is_in_thousandths_of_the_longer_side(shape: tuple[int, int], sigma: float, pixels: float) -> None:
    edge = np.zeros(shape, np.uint8)
    middle = shape[1] // 2
    edge[:, middle:] = 255
    profile = changes.blur(edge, sigma)[shape[0] // 2].astype(float)
    expected = ndimage.gaussian_filter1d(edge[0].astype(float), pixels)
    assert np.abs(profile - expected).max() < 6
    slope = np.diff(profile)
    at = np.arange(len(slope)) - (slope * np.arange(len(slope))).sum() / slope.sum()
    assert np.sqrt((slope * at**2).sum() / slope.sum()) == pytest.approx(pixels, rel=0.05)


def test_compression_is_that_of_a_jpeg_file_and_loses_more_at_a_lower_quality(image: np.ndarray) -> None:
    noisy = np.clip(image + np.random.default_rng(1).normal(0, 12, image.shape), 0, 255).astype(np.uint8)
    errors = []
    for quality in (90, 40, 10):
        content = io.BytesIO()
        Image.fromarray(noisy).save(content, format="JPEG", quality=quality)
        found = changes.compress(noisy, quality)
        np.testing.assert_array_equal(found, np.asarray(Image.open(io.BytesIO(content.getvalue()))))
        errors.append(np.abs(found.astype(float) - noisy).mean())
    assert errors == sorted(errors)
    assert 0 < errors[0] < 4 < errors[-1]


def test_gamma_is_a_power_of_the_greys_in_the_unit_interval() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    # 255 * (64 / 255) ** 2 = 16.06; 255 * (128 / 255) ** 0.5 = 180.67; 255 * (200 / 255) ** 1.25 = 188.2
    assert changes.adjust_gamma(every, 2.0).ravel()[64] == 16
    assert changes.adjust_gamma(every, 0.5).ravel()[128] == 181
    assert changes.adjust_gamma(every, 1.25).ravel()[200] == 188
    np.testing.assert_array_equal(changes.adjust_gamma(every, 1.0), every)
    for gamma in (0.3, 0.8, 1.25, 3.0):
        found = changes.adjust_gamma(every, gamma).ravel()
        assert (found[0], found[-1]) == (0, 255)
        assert (np.diff(found.astype(int)) >= 0).all()
        assert (found >= every.ravel()).all() if gamma < 1 else (found <= every.ravel()).all()


@pytest.mark.parametrize(("side", "shape"), [(100, (100, 80)), (50, (50, 40)), (1, (1, 1))])
def test_an_image_is_reduced_to_its_longer_side(image: np.ndarray, side: int, shape: tuple[int, int]) -> None:
    found = changes.shrink(image, side)
    assert found.shape == shape
    assert found.mean() == pytest.approx(image.mean(), abs=2 if side > 1 else 25)
    assert changes.shrink(image.T, side).shape == shape[::-1]
    np.testing.assert_array_equal(changes.shrink(image, 1000), image)  # never enlarged


def test_reducing_averages_what_lies_in_a_pixel() -> None:
    halves = np.repeat(np.tile([0, 200], 40)[None], 80, axis=0).astype(np.uint8)  # columns of 0 and 200 by turns
    assert np.abs(changes.shrink(halves, 20)[:, 1:-1].astype(int) - 100).max() <= 2


@pytest.mark.parametrize("draw", DRAWN)
def test_the_same_random_numbers_give_the_same_marks_and_others_others(draw, image: np.ndarray) -> None:
    found = [draw(image, np.random.default_rng(seed)) for seed in (7, 7, 8)]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    np.testing.assert_array_equal(draw(image, np.random.default_rng(1), 0), image)


@pytest.mark.parametrize("draw", DRAWN)
def test_marks_change_a_small_part_of_the_image_and_nothing_else(draw, image: np.ndarray) -> None:
    before = image.copy()
    for seed in range(20):
        found = draw(image, np.random.default_rng(seed))
        assert found.shape == image.shape
        assert found.dtype == np.uint8
        assert 0 < (found != image).mean() < 0.12
    np.testing.assert_array_equal(image, before)


def test_an_arrow_is_one_white_or_black_piece_of_limited_length(image: np.ndarray) -> None:
    colours = []
    for seed in range(60):
        found = changes.draw_arrows(image, np.random.default_rng(seed), 1)
        changed = found != image
        (colour,) = set(found[changed].tolist())
        colours.append(colour)
        _, pieces = ndimage.label(changed, np.ones((3, 3)))
        assert pieces == 1
        rows, columns = np.nonzero(changed)
        # At most 0.18 of the shorter side long and, at its head, 3.2 * 0.03 of it wide.
        assert np.hypot(np.ptp(rows), np.ptp(columns)) <= 160 * np.hypot(0.18, 0.096) + 3
    assert set(colours) == {0, 255}
    assert colours.count(255) > colours.count(0)


def test_letters_stand_near_the_upper_or_the_lower_edge(image: np.ndarray) -> None:
    upper = lower = 0
    for seed in range(40):
        found = changes.draw_letters(image, np.random.default_rng(seed), 1)
        rows, _ = np.nonzero(found != image)
        if rows.size:
            # Begins in the upper 15% or the lower 20%; letters are at most a tenth of the shorter side high.
            assert rows.max() < 0.15 * HEIGHT + 1.5 * 16 or rows.min() >= 0.8 * HEIGHT
            upper, lower = upper + (rows.max() < HEIGHT / 2), lower + (rows.min() > HEIGHT / 2)
    assert upper > lower > 0
    assert 200 <= changes.draw_letters(grey(0), np.random.default_rng(4), 1).max() <= 255


def test_an_electrode_is_a_bright_disc_with_a_lead_to_a_side() -> None:
    for seed in range(20):
        found = changes.draw_electrodes(grey(0), np.random.default_rng(seed), 1)
        changed = found > 0
        (value,) = set(found[changed].tolist())
        assert 190 <= value <= 255
        _, pieces = ndimage.label(changed, np.ones((3, 3)))
        assert pieces == 1
        assert changed[:, 0].any() != changed[:, -1].any()
