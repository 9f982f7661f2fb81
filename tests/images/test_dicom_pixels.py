"""Compressed pixels are read, and pixels that do not fit what their file says of them are refused."""

import io
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
from tests.images.expectations import SECONDARY, TWELVE_BITS, close, measured, refusal, stretched
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


SIGNED = ramp(-2048, 2047).astype(np.int16)


@pytest.mark.parametrize(
    ("values", "syntax", "frame", "bits"),
    [
        (SIGNED, JPEG2000Lossless, jpeg_2000(SIGNED, 12), 12),
        (TWELVE_BITS, JPEGLSLossless, jpeg_lossless_ls(TWELVE_BITS), 12),
        *(
            (values, RLELossless, run_length(values), 8 * values.itemsize)
            for values in (smooth_grey(), TWELVE_BITS, SIGNED)
        ),
    ],
    ids=["signed JPEG 2000", "JPEG-LS", "run-length, 8", "run-length, 16", "run-length, signed"],
)
def test_compressed_greys_are_read(values, syntax, frame, bits):
    close(decode(compressed_dicom(values, syntax, frame, BitsStored=bits)), stretched(values.astype(float)))


@pytest.mark.parametrize(
    ("syntax", "encode", "photometric"),
    [
        (JPEG2000Lossless, lambda rgb: jpeg_2000(rgb, 8), "YBR_RCT"),
        (JPEGLSLossless, jpeg_lossless_ls, "RGB"),
        (RLELossless, run_length, "RGB"),
    ],
)
def test_compressed_colours_become_luma(syntax, encode, photometric):
    rgb = smooth_colours()
    elements = {**SECONDARY, "PhotometricInterpretation": photometric}
    close(decode(compressed_dicom(rgb, syntax, encode(rgb), **elements)), luma(rgb))


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
    dataset = dicom_dataset(TWELVE_BITS)  # compressed, without a frame
    dataset.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    assert refusal(dicom_bytes(dataset, JPEG2000Lossless)).reason == "no_pixel_data"


def test_floating_point_pixels_are_refused():
    dataset = dicom_dataset(TWELVE_BITS, PixelData=None)
    dataset.FloatPixelData = TWELVE_BITS.astype("<f4").tobytes()
    assert refusal(dicom_bytes(dataset)).reason == "unsupported_format"


def jpeg_of_12_bits():
    frame = bytearray(encoded(Image.fromarray(smooth_grey()), "JPEG"))
    frame[frame.index(b"\xff\xc0") + 4] = 12
    return bytes(frame)


DEEP_COLOURS = smooth_colours().astype(np.uint16) * 200


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (compressed_dicom(TWELVE_BITS, JPEGLosslessSV1, b"\xff\xd8\xff\xd9"), "JPEG Lossless"),
        (compressed_dicom(TWELVE_BITS, HTJ2K, b"\xff\xd8\xff\xd9"), "High-Throughput"),
        (compressed_dicom(TWELVE_BITS, HTJ2KLossless, b"\xff\xd8\xff\xd9"), "High-Throughput"),
        (compressed_dicom(TWELVE_BITS, "1.2.840.10008.1.2.4.102", b"\xff\xd8\xff\xd9"), "MPEG-4"),
        (dicom(TWELVE_BITS).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.99999.1.2.1\0"), "not part of the standard"),
        (compressed_dicom(TWELVE_BITS, JPEGExtended12Bit, jpeg_of_12_bits()), "12-bit JPEG Extended"),
        (
            compressed_dicom(DEEP_COLOURS, JPEG2000Lossless, jpeg_2000(DEEP_COLOURS, 16), **SECONDARY),
            "16-bit JPEG 2000",
        ),
    ],
    ids=["lossless", "HTJ2K", "HTJ2K lossless", "MPEG-4", "unknown", "12 bits", "16-bit colours"],
)
def test_a_compression_that_nothing_here_can_read_is_refused_by_its_name(data, name):
    refused = refusal(data)
    assert (refused.reason, name in refused.message) == ("unsupported_format", True)
    assert "99999" not in refused.message


def test_a_deflated_file_is_refused_without_unpacking_it():
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packed.compress(bytes(300 * 2**20)) + packed.flush()
    data = dicom(TWELVE_BITS, DeflatedExplicitVRLittleEndian)
    meta_end = 144 + int.from_bytes(data[140:144], "little")  # behind the length of group 2 (PS3.10 section 7.1)
    data = data[:meta_end] + body
    refused, peak_bytes = measured(lambda: refusal(data))
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


def test_bytes_of_padding_behind_the_pixels_do_not_matter():
    close(decode(dicom(TWELVE_BITS, PixelData=TWELVE_BITS.tobytes() + bytes(62))), stretched(TWELVE_BITS))


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


@pytest.mark.parametrize(
    ("syntax", "frame"),
    [
        (JPEG2000Lossless, jpeg_2000(ramp(0, 4095, 80, 80).astype(np.uint16), 12)),
        (JPEGLSLossless, jpeg_lossless_ls(ramp(0, 4095, 80, 80).astype(np.uint16))),
        (JPEGBaseline8Bit, encoded(Image.fromarray(smooth_grey(80, 80)), "JPEG")),
        (JPEGBaseline8Bit, encoded(Image.fromarray(smooth_colours()), "JPEG")),
        (RLELossless, run_length(ramp(0, 4095, 69, 90).astype(np.uint16))),
        (RLELossless, run_length(smooth_grey())),
        (
            JPEGLSLossless,
            jpeg_lossless_ls(TWELVE_BITS)[:-500],
        ),  # cut short, which its decoder would take seconds to find out
    ],
)
def test_a_compressed_picture_of_another_size_than_the_file_says_is_refused(syntax, frame):
    assert refusal(compressed_dicom(TWELVE_BITS, syntax, frame)).reason == "damaged"


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, JPEGBaseline8Bit, RLELossless])
@pytest.mark.parametrize(
    "frame", [b"\0\0", b"nothing of a picture", bytes(500), png_with_header(WIDTH, HEIGHT, png_chunk(b"IEND", b""))]
)
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


def test_an_image_for_which_no_memory_is_left_is_too_large_and_not_damaged(monkeypatch):
    def exhausted(*_arguments, **_options):
        raise MemoryError

    monkeypatch.setattr(DecodeRunner, "set_source", exhausted)
    refused = refusal(dicom(TWELVE_BITS))
    assert refused.reason == "too_large"
    assert "memory" in refused.message
