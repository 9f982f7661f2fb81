import io
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from covid_core.dataset.cohort import select_cohort
from covid_core.dataset.metadata import read_metadata
from covid_core.images.decode import decode_file
from covid_core.images.quality import measure, quality_warnings
from covid_core.images.types import GreyImage


def film(height: int = 600, width: int = 600) -> GreyImage:
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


def test_a_good_film_has_no_warning() -> None:
    assert quality_warnings(film()) == ()


def test_a_film_with_fewer_pixels_than_the_model_reads_is_small() -> None:
    assert only_warning(film(300, 223)).startswith(
        "The film is only 223 pixels on its shorter side and the model reads 224, so detail is missing."
    )
    assert quality_warnings(film(300, 224)) == ()


def test_a_wide_margin_is_measured_whatever_its_grey_and_letters_on_it_do_not_hide_it() -> None:
    image = np.full((800, 800), 0.5, np.float32)
    image[100:700, 100:700] = film()
    image[40:60, 40:70] = 1.0
    assert measure(image).border == pytest.approx(1 - 600**2 / 800**2, abs=0.01)
    assert only_warning(image).startswith("44% of the picture is empty border")


def test_a_margin_does_not_count_as_black_or_as_contrast() -> None:
    image = np.zeros((1200, 1200), np.float32)
    image[300:900, 300:900] = 0.4 + 0.2 * film()
    assert measure(image).black == 0
    assert measure(image).contrast == pytest.approx(measure(0.4 + 0.2 * film()).contrast, abs=0.01)


def test_a_flat_film_is_told_how_much_of_the_range_it_uses() -> None:
    image = 0.4 + 0.2 * film()
    low, high = np.percentile(image[90:510, 90:510], [1, 99])
    assert only_warning(image).startswith(f"The film is flat: it uses only {high - low:.0%} of the range")


@pytest.mark.parametrize(("grey", "name"), [(0.0, "black"), (1.0, "white")])
def test_what_is_plain_black_or_white_in_the_middle_is_counted(grey: float, name: str) -> None:
    image = film()
    image[200:300, 200:300] = grey  # 10,000 of the 420 x 420 pixels in the middle
    assert getattr(measure(image), name) == pytest.approx(10_000 / 420**2, abs=0.003)
    assert only_warning(image).startswith(f"6% of the middle of the film is plain {name}")


def test_black_and_white_corners_are_no_fault() -> None:
    image = film()
    image[:85, :85], image[-85:, -85:] = 0.0, 1.0
    assert quality_warnings(image) == ()


def test_a_film_in_sixteen_shades_lacks_most_of_them() -> None:
    image = (np.rint(film() * 15) / 15).astype(np.float32)
    assert only_warning(image).startswith("94% of the shades of grey are missing")


def test_a_film_in_sixteen_bits_lacks_no_shade() -> None:
    assert measure((np.rint(film() * 65535) / 65535).astype(np.float32)).shades == 1


def test_a_blurred_film_is_called_blurred_at_any_size() -> None:
    for times in (1, 2, 3):
        image = film(500, 500).repeat(times, axis=0).repeat(times, axis=1)
        assert quality_warnings(image) == ()
        assert only_warning(blurred(image, 4 * times)).startswith("The film is blurred")


@pytest.mark.parametrize("offset", [0, 3])
def test_strong_compression_is_seen_wherever_its_grid_begins(offset: int) -> None:
    image = film()
    assert "strongly compressed" not in " ".join(quality_warnings(compressed(image, 90)[offset:, offset:]))
    assert "The film is strongly compressed" in " ".join(quality_warnings(compressed(image, 10)[offset:, offset:]))


def test_lines_at_every_eighth_pixel_in_one_direction_are_no_compression() -> None:
    image = film()
    image[:, ::8] += 0.1
    assert measure(np.clip(image, 0, 1)).blockiness < 1.2


@pytest.mark.parametrize("shape", [(64, 64), (64, 192), (65, 1000)])
@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_an_empty_picture_is_measured_without_complaint_and_called_flat(shape: tuple[int, int], grey: float) -> None:
    warnings = quality_warnings(np.full(shape, grey, np.float32))
    assert "The film is flat: it uses only 0% of the range" in " ".join(warnings)


@pytest.mark.parametrize("film_rows", [1, 3, 10])
def test_a_film_of_a_few_lines_in_an_empty_picture_is_measured_without_complaint(film_rows: int) -> None:
    image = np.zeros((300, 300), np.float32)
    image[100 : 100 + film_rows, 50:250] = film()[:film_rows, :200]
    assert "% of the picture is empty border" in " ".join(quality_warnings(image))


def test_the_picture_is_left_as_it_was() -> None:
    image = film()
    before = image.copy()
    quality_warnings(image)
    np.testing.assert_array_equal(image, before)


def test_a_turned_film_gets_the_same_warnings() -> None:
    image = np.zeros((900, 700), np.float32)
    image[200:700, 100:600] = film(500, 500)
    assert quality_warnings(np.rot90(image)) == quality_warnings(image) != ()


def test_ten_million_pixels_are_measured_in_a_moment() -> None:
    image = np.tile(film(500, 500), (7, 6))
    fastest = min(_seconds_for(image) for _ in range(5))
    assert fastest < 0.15  # 0.011 s measured; ten times that on a busy machine


def _seconds_for(image: GreyImage) -> float:
    start = time.perf_counter()
    quality_warnings(image)
    return time.perf_counter() - start


@pytest.mark.slow
def test_each_warning_is_given_on_at_most_one_in_fifty_films_of_the_cohort(real_dataset: Path) -> None:
    cohort = select_cohort(read_metadata(real_dataset / "metadata.csv"), real_dataset / "images").table
    found = [quality_warnings(decode_file(real_dataset / "images" / name)) for name in cohort["filename"]]
    for kind in (
        "shorter side",
        "blurred",
        "flat",
        "plain white",
        "plain black",
        "shades of grey",
        "compressed",
        "empty border",
    ):
        assert 0 < sum(any(kind in sentence for sentence in one) for one in found) <= len(found) / 50
