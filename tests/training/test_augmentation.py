"""Random changes of training radiographs: the opacity moves with its mask, and how the image was made varies."""

import numpy as np
import pytest

from covid_core.training.augmentation import Strength, augment
from tests.made_up_collections import picture

SIZE = 96
NOTHING = Strength(degrees=0, shift=0, zoom_in=0, zoom_out=0, aspect=0, log_gamma=0, occasional=0, marks=0)
GEOMETRY = Strength(log_gamma=0, occasional=0, marks=0)


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def image() -> np.ndarray:
    """Soft patches, with 5% of the pixels black and 5% white, so that stretching by percentiles changes nothing."""
    soft = picture(4, SIZE).astype(float)
    low, high = np.percentile(soft, [5, 95])
    return np.rint(np.clip((soft - low) / (high - low), 0, 1) * 255).astype(np.uint8)


@pytest.fixture
def mask() -> np.ndarray:
    drawn = np.zeros((SIZE, SIZE), np.uint8)
    drawn[30:52, 18:40] = 255
    return drawn


@pytest.mark.parametrize("seed", range(12))
def test_a_bright_opacity_and_its_mask_move_together(mask: np.ndarray, seed: int) -> None:
    found, moved = augment(mask, mask, generator(seed), GEOMETRY)
    border = found[0, 0] > 0 or found[-1, -1] > 0  # a border of another grey than black
    inside = moved > 127
    assert inside.any()
    if not border:
        np.testing.assert_allclose(found, moved, atol=8)
    assert found[inside].min() > 60
    assert not np.array_equal(moved, mask)


def test_the_mask_keeps_about_its_area_and_its_values(mask: np.ndarray) -> None:
    areas = []
    for seed in range(60):
        _, moved = augment(mask, mask, generator(seed), GEOMETRY)
        assert moved.shape == mask.shape
        assert moved.dtype == np.uint8
        areas.append((moved > 127).mean() / (mask > 127).mean())
    # Zoomed in by at most 22% (1 / 0.78 ** 2), out by at most 12% (1 / 1.12 ** 2).
    assert 0.75 < min(areas) < 0.9
    assert 1.3 < max(areas) < 1.7


@pytest.mark.parametrize("seed", range(5))
def test_the_same_random_numbers_give_the_same_image(image: np.ndarray, mask: np.ndarray, seed: int) -> None:
    first, second = (augment(image, mask, generator(seed)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    other, _ = augment(image, mask, generator(seed + 100))
    assert not np.array_equal(first[0], other)


@pytest.mark.parametrize("seed", range(30))
def test_the_greys_use_the_full_range_again(image: np.ndarray, mask: np.ndarray, seed: int) -> None:
    dim = (90 + image * 0.2).astype(np.uint8)
    found, _ = augment(dim, mask, generator(seed))
    assert found.dtype == np.uint8
    assert found.shape == image.shape
    assert (found.min(), found.max()) == (0, 255)


def test_no_strength_leaves_the_image_or_its_mirror_image(image: np.ndarray, mask: np.ndarray) -> None:
    mirrored = 0
    for seed in range(40):
        found, moved = augment(image, mask, generator(seed), NOTHING)
        turned = np.array_equal(moved, mask[:, ::-1])
        mirrored += turned
        step = -1 if turned else 1
        np.testing.assert_array_equal(moved, mask[:, ::step])
        np.testing.assert_array_equal(found, image[:, ::step])
    assert 10 < mirrored < 30


def test_neither_the_image_nor_the_mask_is_changed_in_place(image: np.ndarray, mask: np.ndarray) -> None:
    before = image.copy(), mask.copy()
    for seed in range(10):
        augment(image, mask, generator(seed))
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])


def test_gamma_keeps_the_order_of_the_greys_and_changes_the_middle(image: np.ndarray, mask: np.ndarray) -> None:
    by = Strength(degrees=0, shift=0, zoom_in=0, zoom_out=0, aspect=0, log_gamma=0.45, occasional=0, marks=0)
    middles = []
    for seed in range(40):
        found, moved = augment(image, mask, generator(seed), by)
        step = -1 if not np.array_equal(moved, mask) else 1
        found = found[:, ::step]
        order = np.argsort(image.ravel(), kind="stable")
        assert (np.diff(found.ravel()[order].astype(int)) >= 0).all()
        middles.append(np.median(found[np.abs(image.astype(int) - 128) < 5]))
    # 128 / 255 to the power of exp(0.45) = 1.57 is 0.34 of 255, to the power of exp(-0.45) is 0.64 of it.
    assert 80 < min(middles) < 110
    assert 145 < max(middles) < 170


@pytest.mark.parametrize(("setting", "value"), [("occasional", 1.0), ("marks", 1.0)])
def test_occasional_changes_and_marks_leave_the_mask(
    image: np.ndarray, mask: np.ndarray, setting: str, value: float
) -> None:
    for seed in range(10):
        found, moved = augment(image, mask, generator(seed), Strength(**{**vars(NOTHING), setting: value}))
        step = -1 if not np.array_equal(moved, mask) else 1
        np.testing.assert_array_equal(moved, mask[:, ::step])
        assert not np.array_equal(found, image[:, ::step])


def test_most_borders_are_black_and_some_have_another_grey() -> None:
    white = np.full((SIZE, SIZE), 255, np.uint8)
    white[::2] = 250
    shifted = Strength(**{**vars(NOTHING), "zoom_out": 0.12, "shift": 0.07})
    corners = [augment(white, white, generator(seed), shifted)[0] for seed in range(80)]
    borders = [found for found in corners if (found[:, 0] < 200).any() or (found[:, -1] < 200).any()]
    black = [found for found in borders if min(found[:, 0].min(), found[:, -1].min()) == 0]
    assert len(borders) > 20
    assert len(black) > 0.6 * len(borders)
