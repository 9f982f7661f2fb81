"""Expected greys are computed with NumPy from the arrays that were written, by the formulas of the standard."""

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from covid_core.images.decode import decode
from tests.images.expectations import SECONDARY, TWELVE_BITS, close, refusal, stretched
from tests.images.samples import (
    HEIGHT,
    WIDTH,
    dicom,
    dicom_bytes,
    dicom_dataset,
    look_up_item,
    luma,
    ramp,
    smooth_colours,
    smooth_grey,
)

# Uncompressed pixels


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_an_image_without_a_window_is_spread_from_black_to_white(syntax):
    close(decode(dicom(TWELVE_BITS, syntax, BitsStored=12)), stretched(TWELVE_BITS))


def test_a_big_endian_image_is_read():
    close(decode(dicom(TWELVE_BITS.astype(">u2"), ExplicitVRBigEndian, BitsStored=12)), stretched(TWELVE_BITS))


def test_an_image_of_8_bits_is_read():
    close(decode(dicom(smooth_grey())), stretched(smooth_grey().astype(float)))


def test_8_bits_that_are_stored_in_big_endian_words_are_read():
    grey = smooth_grey()
    dataset = dicom_dataset(grey)
    dataset.PixelData = np.frombuffer(grey.tobytes(), ">u2").astype("<u2").tobytes()  # pairs of bytes change places
    dataset["PixelData"].VR = "OW"
    close(decode(dicom_bytes(dataset, ExplicitVRBigEndian)), stretched(grey.astype(float)))


def test_an_odd_number_of_bytes_is_padded_by_one():
    grey = smooth_grey(71, 91)
    close(decode(dicom(grey)), stretched(grey.astype(float)))


def test_signed_values_are_read_as_such():
    values = ramp(-1000, 1000).astype(np.int16)
    image = decode(dicom(values, BitsStored=16))
    close(image, stretched(values.astype(float)))
    assert image[0, 0] == 0  # as unsigned numbers the first would be the largest


def test_signed_values_of_12_bits_are_read_as_such():
    values = ramp(-2048, 2047)
    close(decode(dicom((values & 0xFFF).astype(np.int16), BitsStored=12)), stretched(values))


def test_bits_above_the_stored_ones_do_not_count():
    overlaid = TWELVE_BITS | (0x8000 * (np.arange(WIDTH) % 2)).astype(np.uint16)
    close(decode(dicom(overlaid, BitsStored=12)), stretched(TWELVE_BITS))


# Window, look-up tables, rescale and polarity


def linear_window(values, centre, width):
    """PS3.3 C.11.2.1.2.1, line by line."""
    low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    middle = (values - (centre - 0.5)) / (width - 1) + 0.5
    return np.where(values <= low, 0, np.where(values > high, 1, middle))


def test_a_window_spreads_its_values_from_black_to_white():
    image = decode(dicom(TWELVE_BITS, WindowCenter=2000, WindowWidth=1500))
    close(image, linear_window(TWELVE_BITS.astype(float), 2000, 1500))
    assert image.min() == 0
    assert image.max() == 1


def test_of_several_windows_the_first_is_taken():
    image = decode(dicom(TWELVE_BITS, WindowCenter=[1000, 3000], WindowWidth=[800, 100]))
    close(image, linear_window(TWELVE_BITS.astype(float), 1000, 800))


def test_a_window_of_width_1_is_a_threshold():
    image = decode(dicom(TWELVE_BITS, WindowCenter=2000, WindowWidth=1))
    np.testing.assert_array_equal(image, TWELVE_BITS > 1999.5)


def test_an_exact_window_has_no_half_values():
    image = decode(dicom(TWELVE_BITS, WindowCenter=2000, WindowWidth=1500, VOILUTFunction="LINEAR_EXACT"))
    close(image, np.clip((TWELVE_BITS - 2000.0) / 1500 + 0.5, 0, 1))  # PS3.3 C.11.2.1.3.2


def test_a_sigmoid_window_is_one():
    image = decode(dicom(TWELVE_BITS, WindowCenter=2000, WindowWidth=1500, VOILUTFunction="SIGMOID"))
    close(image, 1 / (1 + np.exp(-4 * (TWELVE_BITS - 2000.0) / 1500)))  # PS3.3 C.11.2.1.3.1


@pytest.mark.parametrize("width", [0.99, 0, -5, float("1e999")])
def test_a_window_that_the_standard_forbids_is_left_out(width):
    elements = {"WindowCenter": 2000, "WindowWidth": width if np.isfinite(width) else "1E999"}
    close(decode(dicom(TWELVE_BITS, **elements)), stretched(TWELVE_BITS))


@pytest.mark.parametrize("centre", [-5000, 60000])
def test_a_window_that_shows_nothing_of_the_image_is_left_out(centre):
    close(decode(dicom(TWELVE_BITS, WindowCenter=centre, WindowWidth=100)), stretched(TWELVE_BITS))


@pytest.mark.parametrize("elements", [{"WindowCenter": 2000}, {"WindowWidth": 100}])
def test_half_a_window_is_none(elements):
    close(decode(dicom(TWELVE_BITS, **elements)), stretched(TWELVE_BITS))


def test_the_window_is_of_rescaled_values():
    image = decode(dicom(TWELVE_BITS, RescaleSlope=0.5, RescaleIntercept=-100, WindowCenter=900, WindowWidth=600))
    close(image, linear_window(TWELVE_BITS * 0.5 - 100, 900, 600))


def test_a_negative_slope_turns_the_greys_around():
    image = decode(dicom(TWELVE_BITS, RescaleSlope=-2, RescaleIntercept=9000))
    close(image, 1 - stretched(TWELVE_BITS))


def test_a_slope_of_zero_is_left_out_as_nobody_can_have_meant_it():
    image = decode(dicom(TWELVE_BITS, RescaleSlope=0, RescaleIntercept=7))
    close(image, stretched(TWELVE_BITS))


def test_a_modality_look_up_comes_before_the_window():
    entries = np.sqrt(np.arange(4096) * 4096).astype(np.int64)
    image = decode(
        dicom(TWELVE_BITS, ModalityLUTSequence=[look_up_item(0, entries, 12)], WindowCenter=2500, WindowWidth=2000)
    )
    close(image, linear_window(entries[TWELVE_BITS].astype(float), 2500, 2000))


def test_values_outside_a_look_up_take_its_ends():
    entries = np.arange(1000) ** 2 // 250
    image = decode(dicom(TWELVE_BITS, VOILUTSequence=[look_up_item(1000, entries, 12)]))
    close(image, entries[np.clip(TWELVE_BITS.astype(int) - 1000, 0, 999)] / 4095)


def test_a_look_up_may_begin_below_zero():
    values, entries = ramp(-500, 499).astype(np.int16), np.arange(1000)
    image = decode(dicom(values, VOILUTSequence=[look_up_item(-500, entries, 10)]))
    close(image, (values + 500) / 1023)


def test_a_look_up_of_65536_entries_says_0():
    entries = np.arange(65536)[::-1]
    image = decode(dicom(TWELVE_BITS, VOILUTSequence=[look_up_item(0, entries, 16)]))
    close(image, (65535.0 - TWELVE_BITS) / 65535)


def test_a_look_up_is_preferred_to_a_window():
    entries = np.arange(4096)[::-1]
    elements = {"VOILUTSequence": [look_up_item(0, entries, 12)], "WindowCenter": 2000, "WindowWidth": 100}
    close(decode(dicom(TWELVE_BITS, **elements)), (4095.0 - TWELVE_BITS) / 4095)


def test_an_image_whose_least_value_is_white_is_inverted():
    image = decode(dicom(TWELVE_BITS, PhotometricInterpretation="MONOCHROME1", WindowCenter=2000, WindowWidth=1500))
    close(image, 1 - linear_window(TWELVE_BITS.astype(float), 2000, 1500))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_an_image_that_says_inverse_is_inverted_once(photometric):
    image = decode(dicom(TWELVE_BITS, PhotometricInterpretation=photometric, PresentationLUTShape="INVERSE"))
    close(image, 1 - stretched(TWELVE_BITS))


def test_padding_is_black_and_does_not_spoil_the_greys():
    values = TWELVE_BITS.copy()
    values[:, :10] = 65535
    image = decode(dicom(values, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=65535))
    inside = values[:, 10:]
    close(image[:, 10:], 1 - stretched(inside))
    assert not image[:, :10].any()


def test_padding_may_be_a_range():
    values = TWELVE_BITS.copy()
    values[:, :5], values[:, 5:10] = 1, 3
    image = decode(dicom(values, PixelPaddingValue=0, PixelPaddingRangeLimit=5))
    close(image[:, 10:], stretched(values[:, 10:]))
    assert not image[:, :10].any()


def test_padding_of_signed_pixels_is_negative():
    values = ramp(-1000, 1000).astype(np.int16)
    values[:, :10] = -2000
    image = decode(dicom(values, PixelPaddingValue=-2000))
    close(image[:, 10:], stretched(values[:, 10:].astype(float)))
    assert not image[:, :10].any()


def test_padding_above_the_stored_bits_is_not_taken_for_a_grey():
    values = ramp(2000, 4095).astype(np.uint16)
    values[:, :10] = 0xF800  # of its lower 12 bits remains 2048, a grey of the image
    image = decode(dicom(values, BitsStored=12, PixelPaddingValue=0xF800))
    close(image[:, 10:], stretched(values[:, 10:]))
    assert (values[:, 10:] == 2048).any()
    assert not image[:, :10].any()


def test_an_image_that_is_padding_everywhere_is_blank():
    assert refusal(dicom(np.full((80, 80), 7, np.uint16), PixelPaddingValue=7)).reason == "constant"


def test_an_image_of_one_value_is_blank():
    assert refusal(dicom(np.full((80, 80), 7, np.uint16))).reason == "constant"


# Colours


@pytest.mark.parametrize("planar", [0, 1])
def test_colours_become_luma(planar):
    rgb = smooth_colours()
    dataset = dicom_dataset(rgb, **SECONDARY)
    if planar:
        dataset.PlanarConfiguration, dataset.PixelData = 1, rgb.transpose(2, 0, 1).tobytes()
    close(decode(dicom_bytes(dataset)), luma(rgb))


def test_colours_of_16_bits_become_luma():
    rgb = smooth_colours().astype(np.uint16) * 200
    close(decode(dicom(rgb, **SECONDARY)), luma(rgb, 65535))


def test_the_first_of_ybr_is_luma():
    ybr = smooth_colours()
    close(decode(dicom(ybr, PhotometricInterpretation="YBR_FULL", **SECONDARY)), ybr[..., 0] / 255)


def test_subsampled_ybr_is_read():
    grey = smooth_grey()
    pairs = np.full((HEIGHT, WIDTH // 2, 4), 128, np.uint8)
    pairs[..., 0], pairs[..., 1] = grey[:, ::2], grey[:, 1::2]
    elements = {"PhotometricInterpretation": "YBR_FULL_422", "PixelData": pairs.tobytes(), **SECONDARY}
    close(decode(dicom(np.dstack([grey] * 3), **elements)), grey / 255)


def test_palette_indices_become_the_luma_of_their_colours():
    indices = np.random.default_rng(5).integers(0, 4, (HEIGHT, WIDTH), dtype=np.uint8)
    colours = np.array([[0, 0, 0], [65535, 65535, 65535], [50000, 7000, 20000], [2000, 60000, 15000]], np.uint16)
    tables = {}
    for name, entries in zip(("Red", "Green", "Blue"), colours.T, strict=True):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [4, 0, 16]
        tables[f"{name}PaletteColorLookupTableData"] = entries.astype("<u2").tobytes()
    image = decode(dicom(indices, PhotometricInterpretation="PALETTE COLOR", **SECONDARY, **tables))
    close(image, luma(colours, 65535)[indices])
