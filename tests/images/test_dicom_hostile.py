"""DICOM files that are cut short, lie, or are made to keep their reader busy."""

import logging
import struct

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless

from covid_core.errors import ImageRefusedError
from covid_core.images import dicom_header
from covid_core.images.decode import decode, read_image
from tests.images.expectations import TWELVE_BITS, close, refusal, stretched
from tests.images.samples import HEIGHT, compressed_dicom, dicom, jpeg_2000, small_files


@pytest.mark.parametrize("name", [name for name in small_files() if name.startswith("DICOM")])
def test_a_file_cut_short_anywhere_is_refused(name):
    data = small_files()[name]
    whole = decode(data)
    reasons = set()
    for end in [*range(1, 900, 13), *range(900, len(data) - 2, 499)]:
        try:
            image = decode(data[:end])
        except ImageRefusedError as refused:
            reasons.add(refused.reason)
        else:  # only a decoder that can do without the last bytes
            assert end > len(data) - 20
            np.testing.assert_array_equal(image, whole)
    assert reasons <= {"not_an_image", "damaged", "no_pixel_data", "unsupported_object"}


def element(group, number, vr, content, length=None):
    """An explicit little-endian element; a value of its own length, unless `length` lies."""
    length = len(content) if length is None else length
    if vr in {b"OB", b"OW", b"SQ", b"UN", b"UT"}:
        return struct.pack("<HH2sHL", group, number, vr, 0, length) + content
    return struct.pack("<HH2sH", group, number, vr, length) + content


def with_element(inserted, before=b"\x28\0\x02\0US"):
    """An image with bytes put in front of one of its elements."""
    data = dicom(TWELVE_BITS)
    place = data.index(before)
    return data[:place] + inserted + data[place:]


ITEM, ITEM_END, SEQUENCE_END = (struct.pack("<HHL", 0xFFFE, number, 0) for number in (0xE000, 0xE00D, 0xE0DD))
OPEN_ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
OPEN_SEQUENCE = element(0x08, 0x1140, b"SQ", b"", 0xFFFFFFFF)


@pytest.mark.parametrize(
    "inserted",
    [
        OPEN_SEQUENCE + ITEM * 1_000_000 + SEQUENCE_END,
        (OPEN_SEQUENCE + OPEN_ITEM) * 200_000,
        element(0x09, 0x10, b"LO", b"") * 1_000_000,
    ],
    ids=["empty items", "nested", "empty elements"],
)
def test_thousands_of_elements_are_refused_at_once(inserted):
    data = with_element(inserted, b"\x08\0\x60\0CS")
    assert refusal(data).reason == "damaged"


def test_an_image_with_nested_sequences_is_read_as_long_as_they_end():
    nested = (OPEN_SEQUENCE + OPEN_ITEM) * 20 + (ITEM_END + SEQUENCE_END) * 20
    close(decode(with_element(nested, b"\x08\0\x60\0CS")), stretched(TWELVE_BITS))


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0xFFFFFFFE])
def test_a_length_that_lies_is_noticed(length):
    refused = refusal(with_element(element(0x19, 0x10, b"UN", b"short", length)))
    assert refused.reason in {"damaged", "no_pixel_data"}


@pytest.mark.parametrize(
    "inserted",
    [
        element(0x28, 0x1050, b"UT", b"1\\" * 1_000_000),
        element(0x28, 0x1050, b"DS", b"hello ") + element(0x28, 0x1051, b"DS", b"world "),
        element(0x28, 0x1050, b"SQ", b"") + element(0x28, 0x1051, b"SQ", ITEM),
        element(0x28, 0x1053, b"DS", b"NaN ") + element(0x28, 0x1052, b"DS", b"Inf "),
        element(0x28, 0x0120, b"UT", b"what"),
        element(0x28, 0x3010, b"SQ", b""),
    ],
    ids=["a million windows", "words", "sequences", "not numbers", "padding in words", "no table"],
)
def test_what_only_concerns_the_display_is_left_out_where_it_cannot_be_read(inserted):
    data = with_element(inserted, b"\xe0\x7f\x10\0OW")
    close(decode(data), stretched(TWELVE_BITS))


@pytest.mark.parametrize(
    "inserted",
    [
        element(0x28, 0x3010, b"SQ", ITEM * 200_000),
        element(0x28, 0x3010, b"SQ", ITEM),
        element(0x28, 0x3010, b"UT", b"words"),
        element(0x28, 0x3000, b"SQ", struct.pack("<HHL", 0xFFFE, 0xE000, 14) + element(0x28, 0x3002, b"US", bytes(6))),
    ],
    ids=["thousands of tables", "an empty table", "words", "half a table"],
)
def test_a_look_up_table_that_cannot_be_read_is_refused_as_it_may_change_every_grey(inserted):
    assert refusal(with_element(inserted, b"\xe0\x7f\x10\0OW")).reason == "damaged"


@pytest.mark.parametrize(
    "wrong",
    [
        element(0x28, 0x10, b"UT", b"many"),
        element(0x28, 0x10, b"SQ", b""),
        element(0x28, 0x10, b"FL", struct.pack("<f", float("nan"))),
        element(0x28, 0x10, b"DS", b"70.5"),
        element(0x28, 0x10, b"SS", struct.pack("<h", -70)),
    ],
)
def test_a_number_of_rows_that_is_no_number_is_refused(wrong):
    right = element(0x28, 0x10, b"US", struct.pack("<H", HEIGHT))
    data = dicom(TWELVE_BITS)
    assert data.count(right) == 1
    assert refusal(data.replace(right, wrong)).reason in {"damaged", "too_small"}


def test_what_pydicom_says_of_a_file_is_heard_nowhere_and_its_log_is_left_as_it_was(capfd, caplog):
    levels = {name: logging.getLogger(name).level for name in ("pydicom", "jpeg_ls")}
    data = with_element(element(0x28, 0x1050, b"DS", b"SECRET^NAME "), b"\xe0\x7f\x10\0OW")
    frame = jpeg_2000(TWELVE_BITS, 12)
    with caplog.at_level(logging.DEBUG):
        read_image(data)
        refusal(compressed_dicom(TWELVE_BITS, JPEG2000Lossless, frame[: len(frame) // 2]))
    assert caplog.text == ""
    assert {name: logging.getLogger(name).level for name in levels} == levels
    assert max(levels.values()) <= logging.CRITICAL
    assert capfd.readouterr() == ("", "")


def test_the_parser_can_read_from_a_file_only_so_often():
    source = dicom_header.LimitedReader(b"abc")
    for _ in range(dicom_header.MAX_READS):
        source.read(0)
    with pytest.raises(OSError, match="too many"):
        source.read(0)
