"""Expected pixels are computed with NumPy from the arrays that were written, never with the code under test."""

import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from covid_core.errors import ImageRefusedError
from covid_core.images import codestream, raster
from covid_core.images.decode import decode, read_image
from covid_core.images.types import Tags
from tests.images.expectations import measured, refusal
from tests.images.samples import (
    HEIGHT,
    WIDTH,
    broken_exif_jpeg,
    encoded,
    jpeg_with_orientation,
    luma,
    palette_picture,
    png_chunk,
    png_with_header,
    smooth_colours,
    smooth_grey,
)


def greys(values):
    """Of pixels that no PNG or JPEG can hold, as Pillow would give them."""
    return raster.to_grey(Image.fromarray(values))


DEEP = np.linspace(300, 16383, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
"""Greys of an image that fills a quarter of the range, as detectors of 14 bits do."""
BITS = np.random.default_rng(6).integers(0, 2, (HEIGHT, WIDTH)).astype(bool)


@pytest.mark.parametrize(("values", "white"), [(smooth_grey(), 255), (DEEP, 65535), (BITS, 1)], ids=["8", "16", "1"])
def test_greys_are_scaled_by_the_range_of_their_type(values, white):
    image = decode(encoded(Image.fromarray(values)))
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, values / white, atol=1e-7)


@pytest.mark.parametrize(
    "values",
    [np.array([[-50, 0], [100, 150]], np.int32), np.array([[70000, 0]], np.int32), np.array([[0.5, 2]], np.float32)],
)
def test_numbers_of_no_known_range_are_stretched_by_their_own(values):
    expected = (values - values.min()) / (values.max() - values.min())
    np.testing.assert_allclose(greys(values), expected, atol=1e-7)
    assert greys(np.full((3, 3), -7, np.int32)).max() == 0
    np.testing.assert_allclose(greys(DEEP.astype(np.int32)), DEEP / 65535, atol=1e-7)  # within 16 bits
    with pytest.raises(ImageRefusedError, match="not numbers"):
        greys(np.array([[0, np.nan]], np.float32))


def test_colours_become_luma():
    rgb = smooth_colours()
    np.testing.assert_allclose(decode(encoded(Image.fromarray(rgb))), luma(rgb), atol=1 / 255)


@pytest.mark.parametrize("pixels", [smooth_colours(), smooth_grey()], ids=["colours", "greys"])
def test_what_is_transparent_is_composited_on_black(pixels):
    alpha = smooth_grey(seed=4)
    image = decode(encoded(Image.fromarray(np.dstack([pixels, alpha]))))
    opaque = luma(pixels) if pixels.ndim == 3 else pixels / 255
    np.testing.assert_allclose(image, opaque * (alpha / 255), atol=2 / 255)


@pytest.mark.parametrize(
    ("transparency", "alpha"),
    [(None, [1, 1, 1, 1]), (1, [1, 0, 1, 1]), (bytes([255, 128, 0, 51]), np.array([255, 128, 0, 51]) / 255)],
    ids=["none", "one colour", "partly"],
)
def test_palette_indices_become_the_luma_of_their_colours_on_black(transparency, alpha):
    image, indices, colours = palette_picture()
    options = {} if transparency is None else {"transparency": transparency}
    expected = (luma(colours) * alpha)[indices]
    np.testing.assert_allclose(decode(encoded(image, **options)), expected, atol=2 / 255)


@pytest.mark.parametrize("kind", ["8 bits", "16 bits"])
def test_a_grey_that_stands_for_transparency_becomes_black(kind):
    values, white = (smooth_grey(), 255) if kind == "8 bits" else (DEEP, 65535)
    chosen = int(values[20, 20])
    image = decode(encoded(Image.fromarray(values), transparency=chosen))
    np.testing.assert_allclose(image, np.where(values == chosen, 0, values) / white, atol=1e-7)


def test_a_jpeg_in_printers_colours_becomes_grey():
    grey = smooth_grey()
    zero = np.zeros_like(grey)
    cmyk = Image.merge("CMYK", [Image.fromarray(band) for band in (zero, zero, zero, 255 - grey)])
    image = decode(encoded(cmyk, "JPEG", quality=95))
    np.testing.assert_allclose(image, grey / 255, atol=6 / 255)


# EXIF 2.32, tag 0x0112: where the stored first row and first column stand on the upright picture.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1, :],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", [*UPRIGHT, 0, 9, 65535])
def test_pictures_are_turned_upright_as_their_exif_says(orientation):
    upright = UPRIGHT.get(orientation, UPRIGHT[1])  # one that does not exist is ignored
    image = decode(jpeg_with_orientation(smooth_grey(), orientation))
    np.testing.assert_allclose(image, upright(smooth_grey()) / 255, atol=6 / 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_allclose(decode(encoded(Image.fromarray(DEEP), exif=exif)), upright(DEEP) / 65535, atol=1e-7)


def test_broken_metadata_do_not_cost_a_readable_image():
    # One entry, tag 0x0112, type ASCII: Pillow cannot write such a block back, which `exif_transpose` would try.
    entry = struct.pack("<HHI4s", 0x0112, 2, 2, b"6\0\0\0")
    further = struct.pack("<HHI4s", 0x0128, 2, 2, b"x\0\0\0")
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + entry + further + b"\0\0\0\0"
    for data in (broken_exif_jpeg(), encoded(Image.fromarray(smooth_grey()), "JPEG", quality=95, exif=exif)):
        np.testing.assert_allclose(decode(data), smooth_grey() / 255, atol=6 / 255)


def test_warnings_stay_off_and_come_back_when_many_threads_decode():
    before = list(warnings.filters)
    data = broken_exif_jpeg()
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(decode, [data] * 600))  # under pytest a warning that slips through raises
    assert len(images) == 600
    assert warnings.filters == before


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "progressive JPEG"])
def test_a_file_cut_short_anywhere_is_refused(kind):
    options = {"progressive": True} if kind == "progressive JPEG" else {}
    data = encoded(Image.fromarray(smooth_colours()), kind.split()[-1], **options)
    reasons = set()
    for end in range(1, len(data) - 20, 7):
        try:
            image = decode(data[:end])
        except ImageRefusedError as refused:
            reasons.add(refused.reason)
        else:
            pytest.fail(f"the first {end} of {len(data)} bytes gave an image of {image.shape}")
    assert reasons == {"not_an_image", "damaged"}


@pytest.mark.parametrize("side", [7_100, 20_000, 2**31 - 1])
def test_a_picture_that_is_too_large_is_refused_from_its_header_alone(side):
    data = png_with_header(side, side, png_chunk(b"IDAT", zlib.compress(bytes(1000))), png_chunk(b"IEND", b""))
    refused, peak_bytes = measured(lambda: refusal(data))
    assert refused.reason == "too_large"
    assert "50 million pixels" in str(refused)
    assert peak_bytes < 5_000_000


def test_a_picture_for_which_no_memory_is_left_is_too_large_and_not_damaged(monkeypatch):
    def exhausted(_image):
        raise MemoryError

    monkeypatch.setattr(raster, "to_grey", exhausted)
    refused = refusal(encoded(Image.fromarray(smooth_grey())))
    assert (refused.reason, "memory" in refused.message) == ("too_large", True)


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt"])
def test_text_that_would_unpack_to_100_mebibytes_is_not_unpacked(name):
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(100)) + packer.flush()
    key = b"comment\0\0" if name == b"zTXt" else b"comment\0\1\0\0\0"
    picture = encoded(Image.fromarray(smooth_grey()))
    header_end = 8 + 25  # signature and IHDR
    data = picture[:header_end] + png_chunk(name, key + bomb) + picture[header_end:]
    refused, peak_bytes = measured(lambda: refusal(data))
    assert refused.reason == "damaged"
    assert peak_bytes < 20_000_000


@pytest.mark.parametrize(
    ("height", "width", "reason"),
    [
        *((63, 100, "too_small"), (100, 63, "too_small"), (1, 1, "too_small"), (64, 64, None)),
        *((100, 301, "bad_shape"), (301, 100, "bad_shape"), (100, 300, None)),
    ],
)
def test_a_picture_too_small_or_too_long_is_refused_with_its_size(height, width, reason):
    data = encoded(Image.fromarray(smooth_grey(height, width)))
    if reason is None:
        assert decode(data).shape == (height, width)
    else:
        refused = refusal(data)
        assert (refused.reason, f"{width} x {height}" in str(refused)) == (reason, True)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_of_one_grey_is_refused(kind):
    for value in (0, 77, 255):
        assert refusal(encoded(Image.fromarray(np.full((80, 80), value, np.uint8)), kind)).reason == "constant"
    clear = np.dstack([smooth_colours(), np.zeros((HEIGHT, WIDTH), np.uint8)])
    assert refusal(encoded(Image.fromarray(clear))).reason == "constant"


@pytest.mark.parametrize("kind", ["PNG", "MPO"])
def test_a_file_of_several_pictures_is_refused(kind):
    first, second = Image.fromarray(smooth_colours()), Image.fromarray(smooth_colours()[::-1].copy())
    assert refusal(encoded(first, kind, save_all=True, append_images=[second])).reason == "multi_frame"


def test_the_kind_of_the_file_is_kept_and_nothing_else_of_it():
    exif = Image.Exif()
    exif[0x010E] = "SECRET^NAME"
    image = read_image(encoded(Image.fromarray(smooth_grey()), "JPEG", exif=exif))
    assert (image.kind, image.tags, image.warnings) == ("JPEG", Tags(), ())


@pytest.mark.parametrize("name", [b"prVt", b"IDAT"])
def test_a_png_of_millions_of_empty_pieces_is_refused_at_once(name):
    pieces = png_chunk(name, b"") * 1_000_000
    data = png_with_header(100, 100, pieces, png_chunk(b"IDAT", zlib.compress(bytes(101 * 100))))
    assert refusal(data).reason == "damaged"


def test_as_many_pieces_as_an_image_of_50_mebibytes_has_in_libpng_are_read():
    picture = encoded(Image.fromarray(smooth_grey()))
    header_end = 8 + 25  # signature and IHDR
    data = picture[:header_end] + png_chunk(b"prVt", b"") * (50 * 2**20 // 8192) + picture[header_end:]
    np.testing.assert_allclose(decode(data), smooth_grey() / 255, atol=1e-7)


@pytest.mark.parametrize("piece", [b"\xff", b"\xff\xe5\x00\x02", b"\xff\xe1\xff\xffExif\0\0" + bytes(65527)])
def test_a_jpeg_of_millions_of_empty_pieces_or_passes_is_refused_at_once(piece):
    picture = encoded(Image.fromarray(smooth_grey()), "JPEG", progressive=True)
    assert refusal(picture[:2] + piece * (40 * 2**20 // len(piece)) + picture[2:]).reason == "damaged"
    last_pass, end = picture.rindex(b"\xff\xda"), picture.rindex(b"\xff\xd9")
    assert refusal(picture[:end] + picture[last_pass:end] * 100_000 + picture[end:]).reason == "damaged"


def test_a_progressive_jpeg_may_have_half_the_pixels_of_another():
    picture = encoded(Image.fromarray(smooth_grey()), "JPEG", progressive=True)
    assert decode(picture).shape == (HEIGHT, WIDTH)
    place = picture.index(b"\xff\xc2") + 5  # height and width in the frame header
    data = picture[:place] + struct.pack(">HH", 5001, 5000) + picture[place + 4 :]
    refused = refusal(data)
    assert refused.reason == "too_large"
    assert "25 million" in str(refused)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_the_frame_header_of_a_jpeg_is_found_behind_other_segments(options):
    data = encoded(Image.fromarray(smooth_colours()), "JPEG", comment="hello", icc_profile=b"x" * 100_000, **options)
    found = codestream.jpeg_layout(data)
    assert (found.width, found.height, found.samples, found.bits) == (WIDTH, HEIGHT, 3, 8)
    assert found.progressive is bool(options)
