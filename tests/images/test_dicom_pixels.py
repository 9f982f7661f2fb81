"""Compressed pixels are read, and pixels that do not fit what their file says of them are refused."""

import io
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import DecodeRunner
from pydicom.uid import (
    HTJ2K,
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from covid_core.images.decode import decode
from tests.images.expectations import SECONDARY, TWELVE_BITS, close, refusal, stretched
from tests.images.samples import (
    HEIGHT,
    WIDTH,
    compressed_dicom,
    dicom,
    dicom_bytes,
    dicom_dataset,
    encoded,
    jpeg_2000,
    jpeg_lossless_ls,
    luma,
    png_chunk,
    png_with_header,
    ramp,
    run_length,
    smooth_colours,
    smooth_grey,
)

# Compressed pixels


@pytest.mark.parametrize("fragments", [1, 3])
def test_jpeg_2000_is_read_in_one_fragment_or_several(fragments):
    frame = jpeg_2000(TWELVE_BITS, 12)
    size = -(-len(frame) // fragments // 2) * 2
    parts = [frame[start : start + size] for start in range(0, len(frame), size)]
    image = decode(compressed_dicom(TWELVE_BITS, JPEG2000Lossless, parts, BitsStored=12))
    close(image, stretched(TWELVE_BITS))


def test_signed_jpeg_2000_is_read():
    values = ramp(-2048, 2047).astype(np.int16)
    image = decode(compressed_dicom(values, JPEG2000Lossless, jpeg_2000(values, 12), BitsStored=12))
    close(image, stretched(values.astype(float)))


def test_colours_in_jpeg_2000_become_luma():
    rgb = smooth_colours()
    elements = {**SECONDARY, "PhotometricInterpretation": "YBR_RCT"}
    image = decode(compressed_dicom(rgb, JPEG2000Lossless, jpeg_2000(rgb, 8), **elements))
    close(image, luma(rgb))


def test_jpeg_ls_is_read():
    image = decode(compressed_dicom(TWELVE_BITS, JPEGLSLossless, jpeg_lossless_ls(TWELVE_BITS), BitsStored=12))
    close(image, stretched(TWELVE_BITS))


def test_colours_of_16_bits_in_jpeg_2000_are_refused_by_name():
    rgb = smooth_colours().astype(np.uint16) * 200
    refused = refusal(compressed_dicom(rgb, JPEG2000Lossless, jpeg_2000(rgb, 16), **SECONDARY))
    assert refused.reason == "unsupported_format"
    assert "16-bit JPEG 2000" in refused.message


def test_colours_in_jpeg_ls_become_luma():
    rgb = smooth_colours()
    close(decode(compressed_dicom(rgb, JPEGLSLossless, jpeg_lossless_ls(rgb), **SECONDARY)), luma(rgb))


@pytest.mark.parametrize(
    "values", [smooth_grey(), TWELVE_BITS, ramp(-500, 500).astype(np.int16)], ids=["8", "16", "signed"]
)
def test_run_length_coding_is_read(values):
    close(decode(compressed_dicom(values, RLELossless, run_length(values))), stretched(values.astype(float)))


def test_run_length_coded_colours_become_luma():
    rgb = smooth_colours()
    close(decode(compressed_dicom(rgb, RLELossless, run_length(rgb), **SECONDARY)), luma(rgb))


def test_jpeg_is_read():
    grey = smooth_grey()
    frame = encoded(Image.fromarray(grey), "JPEG", quality=95)
    expected = np.asarray(Image.open(io.BytesIO(frame))).astype(float)
    close(decode(compressed_dicom(grey, JPEGBaseline8Bit, frame)), stretched(expected))


def test_colours_in_a_jpeg_become_luma():
    rgb = smooth_colours()
    frame = encoded(Image.fromarray(rgb), "JPEG", quality=95)
    elements = {**SECONDARY, "PhotometricInterpretation": "YBR_FULL_422"}
    image = decode(compressed_dicom(rgb, JPEGBaseline8Bit, frame, **elements))
    np.testing.assert_allclose(image, luma(rgb), atol=4 / 255)


# What is refused


def test_an_image_without_pixels_is_refused():
    assert refusal(dicom(TWELVE_BITS, PixelData=None)).reason == "no_pixel_data"
    assert refusal(dicom(TWELVE_BITS, PixelData=b"")).reason == "no_pixel_data"


def test_a_compressed_image_without_a_frame_is_refused():
    dataset = dicom_dataset(TWELVE_BITS)
    dataset.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    assert refusal(dicom_bytes(dataset, JPEG2000Lossless)).reason == "no_pixel_data"


def test_floating_point_pixels_are_refused():
    dataset = dicom_dataset(TWELVE_BITS, PixelData=None)
    dataset.FloatPixelData = TWELVE_BITS.astype("<f4").tobytes()
    assert refusal(dicom_bytes(dataset)).reason == "unsupported_format"


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, HTJ2K, HTJ2KLossless, "1.2.840.10008.1.2.4.102"])
def test_a_compression_that_nothing_here_can_read_is_refused_by_its_name(syntax):
    refused = refusal(compressed_dicom(TWELVE_BITS, syntax, b"\xff\xd8\xff\xd9"))
    assert refused.reason == "unsupported_format"
    names = {JPEGLosslessSV1: "JPEG Lossless", HTJ2K: "High-Throughput", HTJ2KLossless: "High-Throughput"}
    assert names.get(syntax, "MPEG-4") in refused.message


def test_a_compression_of_no_known_name_is_refused():
    refused = refusal(dicom(TWELVE_BITS).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.99999.1.2.1\0"))
    assert refused.reason == "unsupported_format"
    assert "99999" not in refused.message


def test_jpeg_of_12_bits_is_refused_by_name():
    frame = bytearray(encoded(Image.fromarray(smooth_grey()), "JPEG"))
    frame[frame.index(b"\xff\xc0") + 4] = 12
    refused = refusal(compressed_dicom(TWELVE_BITS, JPEGExtended12Bit, bytes(frame)))
    assert refused.reason == "unsupported_format"
    assert "12-bit JPEG Extended" in refused.message


def test_a_deflated_file_is_refused_without_unpacking_it():
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packed.compress(bytes(300 * 2**20)) + packed.flush()
    data = dicom(TWELVE_BITS, DeflatedExplicitVRLittleEndian)
    meta_end = 144 + int.from_bytes(data[140:144], "little")  # behind the length of group 2 (PS3.10 section 7.1)
    data = data[:meta_end] + body
    tracemalloc.start()
    refused = refusal(data)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused.reason == "unsupported_format"
    assert DeflatedExplicitVRLittleEndian.name in refused.message
    assert peak_bytes < 2_000_000


@pytest.mark.parametrize(
    "elements",
    [
        {"Rows": 71},
        {"Rows": 69},
        {"Columns": 91},
        {"Columns": 89},
        {"BitsAllocated": 8, "BitsStored": 8},
        {"PixelData": TWELVE_BITS.tobytes()[:-64]},
        {"PixelData": TWELVE_BITS.tobytes() + bytes(64)},
        {"PixelData": TWELVE_BITS.tobytes() * 2},
        {"Rows": None},
        {"BitsAllocated": None},
        {"BitsStored": None},
        {"BitsStored": 17},
        {"SamplesPerPixel": 3, "PlanarConfiguration": 0},
        {"PhotometricInterpretation": "RGB"},
    ],
    ids=str,
)
def test_pixels_that_do_not_fit_what_the_file_says_of_them_are_refused(elements):
    assert refusal(dicom(TWELVE_BITS, **elements)).reason == "damaged"


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"BitsAllocated": 32, "PixelData": TWELVE_BITS.astype("<u4").tobytes()}, "unsupported_format"),
        ({"BitsStored": 12, "HighBit": 15}, "unsupported_format"),
        ({"PhotometricInterpretation": "HSV", "SamplesPerPixel": 3}, "unsupported_format"),
        ({"Rows": 60000, "Columns": 60000}, "too_large"),
        ({"Rows": 63, "Columns": 100}, "too_small"),
        ({"Rows": 64, "Columns": 193}, "bad_shape"),
    ],
    ids=str,
)
def test_pixels_of_another_kind_or_size_are_refused(elements, reason):
    assert refusal(dicom(TWELVE_BITS, **elements)).reason == reason


def test_bytes_of_padding_behind_the_pixels_do_not_matter():
    close(decode(dicom(TWELVE_BITS, PixelData=TWELVE_BITS.tobytes() + bytes(62))), stretched(TWELVE_BITS))


@pytest.mark.parametrize(
    ("syntax", "frame"),
    [
        (JPEG2000Lossless, jpeg_2000(ramp(0, 4095, 80, 80).astype(np.uint16), 12)),
        (JPEGLSLossless, jpeg_lossless_ls(ramp(0, 4095, 80, 80).astype(np.uint16))),
        (JPEGBaseline8Bit, encoded(Image.fromarray(smooth_grey(80, 80)), "JPEG")),
        (JPEGBaseline8Bit, encoded(Image.fromarray(smooth_colours()), "JPEG")),
        (RLELossless, run_length(ramp(0, 4095, 69, 90).astype(np.uint16))),
        (RLELossless, run_length(smooth_grey())),
    ],
)
def test_a_compressed_picture_of_another_size_than_the_file_says_is_refused(syntax, frame):
    assert refusal(compressed_dicom(TWELVE_BITS, syntax, frame)).reason == "damaged"


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, JPEGBaseline8Bit, RLELossless])
@pytest.mark.parametrize("frame", [b"\0\0", b"nothing of a picture", bytes(500)])
def test_a_compressed_picture_that_is_none_is_refused(syntax, frame):
    assert refusal(compressed_dicom(TWELVE_BITS, syntax, frame)).reason == "damaged"


@pytest.mark.parametrize(
    ("syntax", "frame"),
    [
        (RLELossless, run_length(TWELVE_BITS)),
        (JPEG2000Lossless, jpeg_2000(TWELVE_BITS, 12)),
        (JPEGBaseline8Bit, encoded(Image.fromarray(smooth_grey()), "JPEG")),
    ],
)
@pytest.mark.parametrize("with_offsets", [True, False])
def test_a_second_frame_that_the_file_does_not_mention_is_noticed(syntax, frame, with_offsets):
    dataset = dicom_dataset(TWELVE_BITS)
    dataset.PixelData = encapsulate([frame, frame], has_bot=with_offsets)
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    assert refusal(dicom_bytes(dataset, syntax)).reason == "multi_frame"


def test_a_jpeg_ls_without_its_end_is_refused_before_its_decoder_sees_it():
    frame = jpeg_lossless_ls(TWELVE_BITS)
    refused = refusal(compressed_dicom(TWELVE_BITS, JPEGLSLossless, frame[: len(frame) // 2]))
    assert (refused.reason, "cut short" in refused.message) == ("damaged", True)


def test_an_image_for_which_no_memory_is_left_is_too_large_and_not_damaged(monkeypatch):
    def exhausted(*_arguments, **_options):
        raise MemoryError

    monkeypatch.setattr(DecodeRunner, "set_source", exhausted)
    refused = refusal(dicom(TWELVE_BITS))
    assert refused.reason == "too_large"
    assert "memory" in refused.message


def test_a_png_inside_is_no_frame():
    frame = png_with_header(WIDTH, HEIGHT, png_chunk(b"IEND", b""))
    assert refusal(compressed_dicom(TWELVE_BITS, JPEGBaseline8Bit, frame)).reason == "damaged"
