"""Codestreams come from Pillow and pylibjpeg-openjpeg; hostile ones are those with a marker segment changed by hand."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import JPEG2000Lossless

from covid_core.errors import ImageRefusedError
from covid_core.images.codestream import jpeg2000_layout
from covid_core.images.decode import decode
from tests.images.samples import HEIGHT, WIDTH, compressed_dicom, encoded, jpeg_2000, smooth_colours, smooth_grey

SIDE = 3000


@pytest.fixture(scope="module")
def image():
    return smooth_grey(SIDE, SIDE).astype(np.uint16)


@pytest.fixture(scope="module")
def codestream(image):
    return jpeg_2000(image, 12)


@pytest.mark.parametrize("bare", [True, False])
def test_the_header_is_found_with_and_without_a_file_around_it(bare):
    colours = Image.fromarray(smooth_colours())
    found = jpeg2000_layout(encoded(colours, "JPEG2000", no_jp2=bare, tile_size=(32, 32)))
    assert (found.width, found.height, found.samples, found.bits) == (WIDTH, HEIGHT, 3, 8)
    for bits in (8, 12, 16):
        assert jpeg2000_layout(jpeg_2000(smooth_grey().astype(np.uint16), bits)).bits == bits


def test_what_is_no_codestream_has_no_header(codestream):
    for data in (b"", b"\xff\x4f\xff\x51", encoded(Image.fromarray(smooth_grey())), b"\0" + codestream):
        assert jpeg2000_layout(data) is None


@pytest.mark.parametrize(
    "options",
    [
        {"precinct_size": (128, 128), "codeblock_size": (32, 32)},
        {"precinct_size": (256, 256), "quality_layers": [80, 40, 20, 10, 5]},
        {"tile_size": (256, 256), "num_resolutions": 6},
    ],
)
def test_what_encoders_write_is_not_too_much(options, image):
    found = jpeg2000_layout(encoded(Image.fromarray((image // 2).astype(np.uint8)), "JPEG2000", no_jp2=True, **options))
    assert (found.width, found.height) == (SIDE, SIDE)


def with_style(codestream, *, layers=1, levels=5, blocks=4, precincts=None, component=False):
    """The codestream with another coding style (COD), or with one more for its first component (COC)."""
    place = codestream.index(b"\xff\x52")
    end = place + 2 + int.from_bytes(codestream[place + 2 : place + 4], "big")
    coded = bytes([levels, blocks, blocks, 0, 1]) + (b"" if precincts is None else bytes([precincts]) * (levels + 1))
    scheme = bytes([precincts is not None])
    if component:
        segment = b"\0" + scheme + coded
        return codestream[:end] + b"\xff\x53" + struct.pack(">H", 2 + len(segment)) + segment + codestream[end:]
    segment = scheme + struct.pack(">BHB", 0, layers, 0) + coded
    return codestream[:place] + b"\xff\x52" + struct.pack(">H", 2 + len(segment)) + segment + codestream[end:]


def in_tile_header(codestream, styled):
    """The codestream with the coding style of another in the header of its first tile-part."""
    start = styled.index(b"\xff\x52")
    segment = styled[start : start + 2 + int.from_bytes(styled[start + 2 : start + 4], "big")]
    place = codestream.index(b"\xff\x90")
    part = codestream[place + 6 : place + 10]
    longer = struct.pack(">L", int.from_bytes(part, "big") + len(segment))
    return codestream[: place + 6] + longer + codestream[place + 10 : place + 12] + segment + codestream[place + 12 :]


@pytest.mark.parametrize(
    "style",
    [
        {"precincts": 0x11},
        {"precincts": 0x33},
        {"blocks": 0},
        {"layers": 65535, "precincts": 0x88},
        {"precincts": 0x11, "component": True},
        {"blocks": 0, "component": True},
        {"precincts": 0x11, "in_tile": True},
        {"blocks": 0, "in_tile": True},
    ],
    ids=str,
)
def test_pieces_that_would_take_gigabytes_are_refused_before_they_are_made(style, codestream, image):
    style = dict(style)
    in_tile = style.pop("in_tile", False)
    hostile = with_style(codestream, **style)
    if in_tile:
        hostile = in_tile_header(codestream, hostile)
    data = compressed_dicom(image, JPEG2000Lossless, hostile)
    with pytest.raises(ImageRefusedError, match="pieces") as caught:
        decode(data)
    assert caught.value.reason == "damaged"


def test_the_same_style_written_by_hand_is_read(codestream, image):
    place = codestream.index(b"\xff\x52")
    assert with_style(codestream)[place : place + 9] == codestream[place : place + 9]
    data = compressed_dicom(image, JPEG2000Lossless, in_tile_header(codestream, codestream), BitsStored=12)
    expected = (image - image.min()) / (image.max() - image.min())
    np.testing.assert_allclose(decode(data), expected, atol=2e-6)


def box(kind, content, long=False):
    """A box of a JP2 file (ITU-T T.800 annex I.4), its length in 4 bytes or in 8."""
    if long:
        return struct.pack(">L4sQ", 1, kind, 16 + len(content)) + content
    return struct.pack(">L4s", 8 + len(content), kind) + content


def jp2_with_box(codestream, inserted, long=False):
    """A JP2 file of the codestream, as Pillow writes its boxes, with one more before it."""
    file = encoded(Image.fromarray(smooth_grey()), "JPEG2000")
    return file[: file.index(b"jp2c") - 4] + inserted + box(b"jp2c", codestream, long)


def test_a_harmless_codestream_in_another_box_does_not_hide_the_one_that_is_decoded(codestream, image):
    decoy = box(b"uuid", bytes(16) + codestream[:300] + b"\xff\xd9")
    hostile = jp2_with_box(with_style(codestream, precincts=0x11), decoy)
    with pytest.raises(ImageRefusedError, match="pieces"):
        decode(compressed_dicom(image, JPEG2000Lossless, hostile))


@pytest.mark.parametrize("long", [True, False])
def test_the_codestream_is_found_behind_other_boxes(long):
    codestream = encoded(Image.fromarray(smooth_grey(80, 100)), "JPEG2000", no_jp2=True)
    found = jpeg2000_layout(jp2_with_box(codestream, box(b"uuid", bytes(16), long), long))
    assert (found.width, found.height) == (100, 80)
    data = Path(str(get_testdata_file("GDCMJ2K_TextGBR.dcm", download=False))).read_bytes()  # a real one inside DICOM
    found = jpeg2000_layout(data[data.index(b"\0\0\0\x0cjP  ") :])
    assert (found.width, found.height, found.samples) == (400, 400, 3)


@pytest.mark.parametrize(
    "inserted",
    [b"\0\0\0\0uuid", b"\0\0\0\x07uuid", struct.pack(">L4sQ", 1, b"uuid", 15), box(b"free", b"") * 100_000, b"\0" * 5],
    ids=["endless", "too short", "long and too short", "many", "shifted"],
)
def test_boxes_that_lead_to_no_codestream_are_refused(inserted, codestream, image):
    data = jp2_with_box(codestream, inserted)
    assert jpeg2000_layout(data) is None
    with pytest.raises(ImageRefusedError, match="no header"):
        decode(compressed_dicom(image, JPEG2000Lossless, data))


def test_65000_tiles_are_refused_before_they_are_made(codestream):
    hostile = bytearray(codestream)
    hostile[24:32] = struct.pack(">LL", 12, 12)  # the tiles' size in the SIZ segment
    with pytest.raises(ImageRefusedError, match="pieces"):
        jpeg2000_layout(bytes(hostile))


def test_endless_segments_are_refused():
    start = jpeg_2000(smooth_grey().astype(np.uint16), 12)
    place = start.index(b"\xff\x52")
    with pytest.raises(ImageRefusedError, match="pieces"):
        jpeg2000_layout(start[:place] + b"\xff\x64\0\x02" * 1_000_000 + start[place:])
