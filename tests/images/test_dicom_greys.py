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


@pytest.mark.parametrize(
    ("values", "syntax", "bits"),
    [
        (TWELVE_BITS, ImplicitVRLittleEndian, 12),
        (TWELVE_BITS, ExplicitVRLittleEndian, 12),
        (TWELVE_BITS.astype(">u2"), ExplicitVRBigEndian, 12),
        (smooth_grey(), ExplicitVRLittleEndian, 8),
        (smooth_grey(71, 91), ExplicitVRLittleEndian, 8),  # an odd number of bytes, padded by one
        (ramp(-1000, 1000).astype(np.int16), ExplicitVRLittleEndian, 16),
    ],
)
def test_an_image_without_a_window_is_spread_from_black_to_white(values, syntax, bits):
    close(decode(dicom(values, syntax, BitsStored=bits)), stretched(values.astype(float)))


def test_8_bits_that_are_stored_in_big_endian_words_are_read():
    grey = smooth_grey()
    dataset = dicom_dataset(grey)
    dataset.PixelData = np.frombuffer(grey.tobytes(), ">u2").astype("<u2").tobytes()  # pairs of bytes change places
    dataset["PixelData"].VR = "OW"
    close(decode(dicom_bytes(dataset, ExplicitVRBigEndian)), stretched(grey.astype(float)))


def test_bits_above_the_stored_ones_do_not_count():
    overlaid = TWELVE_BITS | (0x8000 * (np.arange(WIDTH) % 2)).astype(np.uint16)
    close(decode(dicom(overlaid, BitsStored=12)), stretched(TWELVE_BITS))
    signed = ramp(-2048, 2047)
    close(decode(dicom((signed & 0xFFF).astype(np.int16), BitsStored=12)), stretched(signed))


# Window, look-up tables, rescale and polarity


def linear_window(values, centre, width):
    """PS3.3 C.11.2.1.2.1, line by line."""
    low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    middle = (values - (centre - 0.5)) / (width - 1) + 0.5
    return np.where(values <= low, 0, np.where(values > high, 1, middle))


VALUES = TWELVE_BITS.astype(float)
WINDOW = {"WindowCenter": 2000, "WindowWidth": 1500}
UPWARDS = np.arange(1000) ** 2 // 250
DOWNWARDS = [look_up_item(0, np.arange(4096)[::-1], 12)]


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        (WINDOW, linear_window(VALUES, 2000, 1500)),
        ({"WindowCenter": [1000, 3000], "WindowWidth": [800, 100]}, linear_window(VALUES, 1000, 800)),
        ({"WindowCenter": 2000, "WindowWidth": 1}, VALUES > 1999.5),
        ({**WINDOW, "VOILUTFunction": "LINEAR_EXACT"}, np.clip((VALUES - 2000) / 1500 + 0.5, 0, 1)),  # C.11.2.1.3.2
        ({**WINDOW, "VOILUTFunction": "SIGMOID"}, 1 / (1 + np.exp(-4 * (VALUES - 2000) / 1500))),  # C.11.2.1.3.1
        (
            {"RescaleSlope": 0.5, "RescaleIntercept": -100, "WindowCenter": 900, "WindowWidth": 600},
            linear_window(VALUES * 0.5 - 100, 900, 600),
        ),
        ({"RescaleSlope": -2, "RescaleIntercept": 9000}, 1 - stretched(VALUES)),
        (
            {"VOILUTSequence": [look_up_item(1000, UPWARDS, 12)]},
            UPWARDS[np.clip(TWELVE_BITS.astype(int) - 1000, 0, 999)] / 4095,
        ),
        ({"VOILUTSequence": [look_up_item(0, np.arange(65536)[::-1], 16)]}, (65535 - VALUES) / 65535),
        ({"VOILUTSequence": DOWNWARDS, "WindowCenter": 2000, "WindowWidth": 100}, (4095 - VALUES) / 4095),
        ({**WINDOW, "PhotometricInterpretation": "MONOCHROME1"}, 1 - linear_window(VALUES, 2000, 1500)),
        ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}, 1 - stretched(VALUES)),
        ({"PhotometricInterpretation": "MONOCHROME2", "PresentationLUTShape": "INVERSE"}, 1 - stretched(VALUES)),
    ],
    ids=[
        *(
            "window",
            "first of several",
            "threshold",
            "exact",
            "sigmoid",
            "rescaled",
            "negative slope",
            "look-up and its ends",
        ),
        *("65536 entries", "look-up before window", "least is white", "inverse", "inverse, once"),
    ],
)
def test_values_are_shown_as_the_standard_says(elements, expected):
    close(decode(dicom(TWELVE_BITS, **elements)), expected)


@pytest.mark.parametrize(
    "elements",
    [
        *({"WindowCenter": 2000, "WindowWidth": width} for width in (0.99, 0, -5, "1E999")),
        *({"WindowCenter": centre, "WindowWidth": 100} for centre in (-5000, 60000)),
        {"WindowCenter": 2000},
        {"WindowWidth": 100},
        {"RescaleSlope": 0, "RescaleIntercept": 7},
    ],
    ids=str,
)
def test_what_the_standard_forbids_or_shows_nothing_of_the_image_is_left_out(elements):
    close(decode(dicom(TWELVE_BITS, **elements)), stretched(TWELVE_BITS))


def test_a_look_up_may_begin_below_zero():
    values = ramp(-500, 499).astype(np.int16)
    close(decode(dicom(values, VOILUTSequence=[look_up_item(-500, np.arange(1000), 10)])), (values + 500) / 1023)


@pytest.mark.parametrize(
    ("values", "margin", "elements"),
    [
        (TWELVE_BITS, 65535, {"PixelPaddingValue": 65535}),
        (TWELVE_BITS, [1, 3] * 5, {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 5}),
        (ramp(-1000, 1000).astype(np.int16), -2000, {"PixelPaddingValue": -2000}),
        # Of its lower 12 bits remains 2048, a grey of the image.
        (ramp(2000, 4095).astype(np.uint16), 0xF800, {"BitsStored": 12, "PixelPaddingValue": 0xF800}),
    ],
    ids=["value", "range", "signed", "above the stored bits"],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_spoil_the_greys(values, margin, elements, photometric):
    padded = values.copy()
    padded[:, :10] = margin
    image = decode(dicom(padded, PhotometricInterpretation=photometric, **elements))
    inside = stretched(values[:, 10:].astype(float))
    close(image[:, 10:], inside if photometric == "MONOCHROME2" else 1 - inside)
    assert not image[:, :10].any()


def test_a_modality_look_up_comes_before_the_window():
    entries = np.sqrt(np.arange(4096) * 4096).astype(np.int64)
    image = decode(
        dicom(TWELVE_BITS, ModalityLUTSequence=[look_up_item(0, entries, 12)], WindowCenter=2500, WindowWidth=2000)
    )
    close(image, linear_window(entries[TWELVE_BITS].astype(float), 2500, 2000))


@pytest.mark.parametrize("elements", [{}, {"PixelPaddingValue": 7}])
def test_an_image_of_one_value_is_blank(elements):
    assert refusal(dicom(np.full((80, 80), 7, np.uint16), **elements)).reason == "constant"


# Colours


@pytest.mark.parametrize("planar", [0, 1])
def test_colours_become_luma(planar):
    rgb = smooth_colours()
    dataset = dicom_dataset(rgb, **SECONDARY)
    if planar:
        dataset.PlanarConfiguration, dataset.PixelData = 1, rgb.transpose(2, 0, 1).tobytes()
    close(decode(dicom_bytes(dataset)), luma(rgb))
    deep = rgb.astype(np.uint16) * 200
    close(decode(dicom(deep, **SECONDARY)), luma(deep, 65535))
    close(decode(dicom(rgb, PhotometricInterpretation="YBR_FULL", **SECONDARY)), rgb[..., 0] / 255)


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
