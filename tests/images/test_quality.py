import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from covid_core.dataset.cohort import select_cohort
from covid_core.dataset.metadata import read_metadata
from covid_core.images.decode import decode_file
from covid_core.images.quality import measure, quality_warnings
from covid_core.images.types import GreyImage


def good_image(height: int = 600, width: int = 600) -> GreyImage:
    """A grey slope with ribs and fine grain: nothing to complain of."""
    rng = np.random.default_rng(0)
    down, across = np.mgrid[0:height, 0:width]
    ribs = 0.1 * np.sin(down / height * 40) + 0.05 * np.sin(across / width * 60)
    image = 0.2 + 0.6 * across / width + ribs + rng.normal(0, 0.01, (height, width))
    return np.clip(image, 0.02, 0.98).astype(np.float32)


def blurred(image: GreyImage, sigma: float) -> GreyImage:
    picture = Image.fromarray(np.rint(image * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(sigma))
    return np.asarray(picture, np.float32) / 255


def compressed(image: GreyImage, quality: int) -> GreyImage:
    file = io.BytesIO()
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float32) / 255


def only_warning(image: GreyImage) -> str:
    (sentence,) = quality_warnings(image)
    return sentence


def test_a_good_image_has_no_warning_whatever_its_corners_and_is_left_as_it_was() -> None:
    image = good_image()
    assert quality_warnings(image) == ()
    np.testing.assert_array_equal(image, good_image())
    image[:85, :85], image[-85:, -85:] = 0.0, 1.0
    assert quality_warnings(image) == ()


def test_an_image_with_fewer_pixels_than_the_model_reads_is_small() -> None:
    assert only_warning(good_image(300, 223)).startswith(
        "The image is only 223 pixels on its shorter side and the model reads 224, so detail is missing."
    )
    assert quality_warnings(good_image(300, 224)) == ()


def test_a_wide_margin_is_measured_whatever_its_grey_and_letters_on_it_do_not_hide_it() -> None:
    image = np.full((800, 800), 0.5, np.float32)
    image[100:700, 100:700] = good_image()
    image[40:60, 40:70] = 1.0
    assert measure(image).border == pytest.approx(1 - 600**2 / 800**2, abs=0.01)
    assert only_warning(image).startswith("44% of the picture is empty border")


def test_a_margin_does_not_count_as_black_or_as_contrast() -> None:
    image = np.zeros((1200, 1200), np.float32)
    image[300:900, 300:900] = 0.4 + 0.2 * good_image()
    assert measure(image).black == 0
    assert measure(image).contrast == pytest.approx(measure(0.4 + 0.2 * good_image()).contrast, abs=0.01)


def test_a_flat_image_is_told_how_much_of_the_range_it_uses() -> None:
    image = 0.4 + 0.2 * good_image()
    low, high = np.percentile(image[90:510, 90:510], [1, 99])
    assert only_warning(image).startswith(f"The image is flat: it uses only {high - low:.0%} of the range")


@pytest.mark.parametrize(("grey", "name"), [(0.0, "black"), (1.0, "white")])
def test_what_is_plain_black_or_white_in_the_middle_is_counted(grey: float, name: str) -> None:
    image = good_image()
    image[200:300, 200:300] = grey  # 10,000 of the 420 x 420 pixels in the middle
    assert getattr(measure(image), name) == pytest.approx(10_000 / 420**2, abs=0.003)
    assert only_warning(image).startswith(f"6% of the middle of the image is plain {name}")


def test_an_image_in_sixteen_shades_lacks_most_of_them() -> None:
    assert measure((np.rint(good_image() * 65535) / 65535).astype(np.float32)).shades == 1
    image = (np.rint(good_image() * 15) / 15).astype(np.float32)
    assert only_warning(image).startswith("94% of the shades of grey are missing")


def test_a_blurred_image_is_called_blurred_at_any_size() -> None:
    for times in (1, 2, 3):
        image = good_image(500, 500).repeat(times, axis=0).repeat(times, axis=1)
        assert quality_warnings(image) == ()
        assert only_warning(blurred(image, 4 * times)).startswith("The image is blurred")


@pytest.mark.parametrize("offset", [0, 3])
def test_strong_compression_is_seen_wherever_its_grid_begins(offset: int) -> None:
    image = good_image()
    assert "strongly compressed" not in " ".join(quality_warnings(compressed(image, 90)[offset:, offset:]))
    assert "The image is strongly compressed" in " ".join(quality_warnings(compressed(image, 10)[offset:, offset:]))


def test_lines_at_every_eighth_pixel_in_one_direction_are_no_compression() -> None:
    image = good_image()
    image[:, ::8] += 0.1
    assert measure(np.clip(image, 0, 1)).blockiness < 1.2


@pytest.mark.parametrize("shape", [(64, 64), (64, 192), (65, 1000)])
@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_an_empty_picture_is_measured_without_complaint_and_called_flat(shape: tuple[int, int], grey: float) -> None:
    warnings = quality_warnings(np.full(shape, grey, np.float32))
    assert "The image is flat: it uses only 0% of the range" in " ".join(warnings)


@pytest.mark.parametrize("image_rows", [1, 3, 10])
def test_an_image_of_a_few_lines_in_an_empty_picture_is_measured_without_complaint(image_rows: int) -> None:
    image = np.zeros((300, 300), np.float32)
    image[100 : 100 + image_rows, 50:250] = good_image()[:image_rows, :200]
    assert "% of the picture is empty border" in " ".join(quality_warnings(image))


def test_a_turned_image_gets_the_same_warnings() -> None:
    image = np.zeros((900, 700), np.float32)
    image[200:700, 100:600] = good_image(500, 500)
    assert quality_warnings(np.rot90(image)) == quality_warnings(image) != ()


@pytest.mark.slow
def test_each_warning_is_given_on_at_most_one_in_fifty_images_of_the_cohort(real_dataset: Path) -> None:
    cohort = select_cohort(read_metadata(real_dataset / "metadata.csv"), real_dataset / "images").table
    found = [quality_warnings(decode_file(real_dataset / "images" / name)) for name in cohort["filename"]]
    kinds = (
        "shorter side",
        "blurred",
        "flat",
        "plain white",
        "plain black",
        "shades of grey",
        "compressed",
        "empty border",
    )
    for kind in kinds:
        assert 0 < sum(any(kind in sentence for sentence in one) for one in found) <= len(found) / 50
