"""Calls before and after a harmless change, counted by hand; and what each change does to a picture."""

import numpy as np
import pytest

from covid_core.evaluation.robustness import CHANGES, robustness_block
from tests.made_up_collections import picture

TRUTH = np.array([True, True, True, True, False, False])
BEFORE = np.array([0.9, 0.8, 0.6, 0.3, 0.2, 0.7])


def rows(changed: dict[str, list[float]], threshold: float = 0.5) -> dict:
    return robustness_block(TRUTH, BEFORE, {name: np.array(values) for name, values in changed.items()}, threshold)


def test_the_images_as_they_are_have_their_sensitivity_and_specificity() -> None:
    block = rows({})
    # Three of four are found; one of two is spared.
    assert (block["images"], block["sensitivity"], block["specificity"]) == (6, 0.75, 0.5)
    assert block["changes"] == []


def test_flips_and_differences_are_counted_by_hand() -> None:
    block = rows({"blurred": [0.9, 0.4, 0.6, 0.6, 0.6, 0.7], "pale": [0.9, 0.8, 0.6, 0.7, 0.2, 0.1]})
    blurred, pale = block["changes"]
    # The second is missed now, the fourth is found, the fifth is called.
    assert blurred["change"] == "blurred"
    assert blurred["flipped"] == pytest.approx(3 / 6)
    assert blurred["sensitivity"] == pytest.approx(0.0)
    assert blurred["specificity"] == pytest.approx(-0.5)
    assert blurred["mean_difference"] == pytest.approx((0 + 0.4 + 0 + 0.3 + 0.4 + 0) / 6)
    assert pale["flipped"] == pytest.approx(2 / 6)
    assert pale["sensitivity"] == pytest.approx(0.25)
    assert pale["specificity"] == pytest.approx(0.5)


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_every_change_changes_the_picture_and_leaves_its_input(name: str) -> None:
    image = picture(6, 400)
    before = image.copy()
    found = CHANGES[name](image, np.random.default_rng(3))
    assert found.dtype == np.uint8
    assert found.ndim == 2
    assert not np.array_equal(found, image)
    np.testing.assert_array_equal(image, before)


def test_the_strengths_are_those_that_the_names_give() -> None:
    image, rng = picture(6, 400), np.random.default_rng(3)
    sizes = {name: CHANGES[name](image, rng).shape for name in CHANGES}
    assert sizes.pop("5% cut off each side") == (360, 360)
    assert sizes.pop("black border of 5%") == sizes.pop("white border of 5%") == (440, 440)
    assert sizes.pop("reduced to 160 pixels") == (160, 160)
    assert set(sizes.values()) == {(400, 400)}
    assert CHANGES["black border of 5%"](image, rng)[0, 0] == 0
    assert CHANGES["white border of 5%"](image, rng)[0, 0] == 255
    np.testing.assert_array_equal(CHANGES["mirrored"](image, rng), np.fliplr(image))
    middle = np.full((4, 4), 100, np.uint8)
    # 255 * (100 / 255) ** 0.8 = 120.6; 255 * (100 / 255) ** 1.25 = 79.1
    assert CHANGES["gamma 0.8"](middle, rng)[0, 0] == 121
    assert CHANGES["gamma 1.25"](middle, rng)[0, 0] == 79
