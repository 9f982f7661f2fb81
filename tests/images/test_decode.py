"""Expected pixels are computed with NumPy from the arrays that were written, never with the code under test."""

import io
import struct
import time
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from covid_core.errors import ImageRefusedError
from covid_core.images import decode as decoding
from covid_core.images.decode import decode, decode_file

HEIGHT, WIDTH = 70, 90
RED, GREEN, BLUE = 0.299, 0.587, 0.114
"""Weights of luma, ITU-R BT.601."""


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def smooth_grey(height=HEIGHT, width=WIDTH, seed=0):
    """uint8 (height, width): a picture that JPEG keeps within a few greys."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def smooth_colours():
    return np.stack([smooth_grey(seed=seed) for seed in (1, 2, 3)], axis=-1)


def luma(rgb):
    return rgb.astype(np.float64) @ [RED, GREEN, BLUE] / 255


def refusal(data):
    with pytest.raises(ImageRefusedError) as caught:
        decode(data)
    return caught.value


def png_chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_with_header(width, height, *further):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + b"".join(further)


def jpeg_with_orientation(grey, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(Image.fromarray(grey), "JPEG", quality=95, exif=exif)


def test_an_8_bit_grey_png_gives_its_values_over_255():
    grey = smooth_grey()
    film = decode(encoded(Image.fromarray(grey)))
    assert film.dtype == np.float32
    assert film.shape == (HEIGHT, WIDTH)
    np.testing.assert_allclose(film, grey / 255, atol=1e-7)


def test_colours_become_luma():
    rgb = smooth_colours()
    np.testing.assert_allclose(decode(encoded(Image.fromarray(rgb))), luma(rgb), atol=1 / 255)


def test_transparent_colours_are_composited_on_black():
    rgb, alpha = smooth_colours(), smooth_grey(seed=4)
    film = decode(encoded(Image.fromarray(np.dstack([rgb, alpha]))))
    np.testing.assert_allclose(film, luma(rgb) * (alpha / 255), atol=2 / 255)


def test_transparent_greys_are_composited_on_black():
    grey, alpha = smooth_grey(), smooth_grey(seed=4)
    film = decode(encoded(Image.fromarray(np.dstack([grey, alpha]))))
    np.testing.assert_allclose(film, grey / 255 * (alpha / 255), atol=2 / 255)


def palette_picture():
    """An image of four colours, and its indices."""
    indices = np.random.default_rng(5).integers(0, 4, (HEIGHT, WIDTH), dtype=np.uint8)
    colours = np.array([[0, 0, 0], [255, 255, 255], [200, 30, 90], [10, 220, 60]], np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(colours.ravel().tolist())
    return image, indices, colours


def test_palette_indices_become_the_luma_of_their_colours():
    image, indices, colours = palette_picture()
    np.testing.assert_allclose(decode(encoded(image)), luma(colours)[indices], atol=1 / 255)


def test_a_palette_with_one_transparent_colour_shows_black_there():
    image, indices, colours = palette_picture()
    expected = luma(colours) * [1, 0, 1, 1]
    np.testing.assert_allclose(decode(encoded(image, transparency=1)), expected[indices], atol=1 / 255)


def test_a_palette_with_partly_transparent_colours_is_composited_on_black():
    image, indices, colours = palette_picture()
    film = decode(encoded(image, transparency=bytes([255, 128, 0, 51])))
    expected = luma(colours) * np.array([255, 128, 0, 51]) / 255
    np.testing.assert_allclose(film, expected[indices], atol=2 / 255)


def test_a_grey_that_stands_for_transparency_becomes_black():
    grey = smooth_grey()
    chosen = int(grey[10, 10])
    film = decode(encoded(Image.fromarray(grey), transparency=chosen))
    np.testing.assert_allclose(film, np.where(grey == chosen, 0, grey) / 255, atol=1e-7)


def ramp_16_bit():
    """uint16 greys of a film that fills a quarter of the range, as detectors of 14 bits do."""
    return np.linspace(300, 16383, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)


def test_16_bit_greys_are_scaled_by_the_range_of_their_type():
    values = ramp_16_bit()
    film = decode(encoded(Image.fromarray(values)))
    np.testing.assert_allclose(film, values / 65535, atol=1e-7)
    assert len(np.unique(film)) > 256


def test_clipping_16_bit_greys_as_pillow_does_would_lose_the_film():
    values = ramp_16_bit()
    image = Image.open(io.BytesIO(encoded(Image.fromarray(values))))
    clipped = np.asarray(image.convert("L"))
    film = decode(encoded(Image.fromarray(values)))
    assert clipped.min() == 255  # the trap is real: every grey above 255 would be white
    assert film.max() < 0.26
    assert film.max() - film.min() > 0.2


def test_a_16_bit_grey_that_stands_for_transparency_becomes_black():
    values = ramp_16_bit()
    chosen = int(values[20, 20])
    film = decode(encoded(Image.fromarray(values), transparency=chosen))
    np.testing.assert_allclose(film, np.where(values == chosen, 0, values) / 65535, atol=1e-7)


def test_32_bit_integers_within_16_bits_are_scaled_as_16_bits():
    values = ramp_16_bit().astype(np.int32)
    np.testing.assert_allclose(decoding._to_grey(Image.fromarray(values)), values / 65535, atol=1e-7)


@pytest.mark.parametrize("values", [np.array([[-50, 0], [100, 150]], np.int32), np.array([[70000, 0]], np.int32)])
def test_32_bit_integers_of_no_known_range_are_stretched_by_their_own(values):
    expected = (values - values.min()) / (values.max() - values.min())
    np.testing.assert_allclose(decoding._to_grey(Image.fromarray(values)), expected, atol=1e-7)


def test_constant_values_of_no_known_range_are_black():
    assert decoding._to_grey(Image.fromarray(np.full((3, 3), -7, np.int32))).max() == 0


def test_floating_point_values_that_are_not_numbers_are_refused():
    with pytest.raises(ImageRefusedError, match="not numbers"):
        decoding._to_grey(Image.fromarray(np.array([[0, np.nan]], np.float32)))


def test_1_bit_pictures_are_black_and_white():
    bits = np.random.default_rng(6).integers(0, 2, (HEIGHT, WIDTH)).astype(bool)
    film = decode(encoded(Image.fromarray(bits)))
    np.testing.assert_array_equal(film, bits.astype(np.float32))


def test_a_jpeg_in_printers_colours_becomes_grey():
    grey = smooth_grey()
    zero = np.zeros_like(grey)
    cmyk = Image.merge("CMYK", [Image.fromarray(band) for band in (zero, zero, zero, 255 - grey)])
    film = decode(encoded(cmyk, "JPEG", quality=95))
    np.testing.assert_allclose(film, grey / 255, atol=6 / 255)


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


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_pictures_are_turned_upright_as_their_exif_says(orientation):
    stored = smooth_grey()
    film = decode(jpeg_with_orientation(stored, orientation))
    expected = UPRIGHT[orientation](stored) / 255
    assert film.shape == expected.shape
    np.testing.assert_allclose(film, expected, atol=6 / 255)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_ignored(orientation):
    stored = smooth_grey()
    np.testing.assert_allclose(decode(jpeg_with_orientation(stored, orientation)), stored / 255, atol=6 / 255)


def test_a_16_bit_png_is_turned_upright_too():
    exif = Image.Exif()
    exif[0x0112] = 6
    values = ramp_16_bit()
    film = decode(encoded(Image.fromarray(values), exif=exif))
    np.testing.assert_allclose(film, np.rot90(values, -1) / 65535, atol=1e-7)


def broken_exif_jpeg():
    """A JPEG whose EXIF block announces two entries and ends within the first."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0\x06"
    return encoded(Image.fromarray(smooth_grey()), "JPEG", quality=95, exif=exif)


def test_broken_metadata_does_not_cost_a_readable_film():
    np.testing.assert_allclose(decode(broken_exif_jpeg()), smooth_grey() / 255, atol=6 / 255)


def test_an_orientation_of_the_wrong_type_does_not_cost_a_readable_film():
    # One entry, tag 0x0112, type ASCII: Pillow cannot write such a block back, which `exif_transpose` would try.
    entry = struct.pack("<HHI4s", 0x0112, 2, 2, b"6\0\0\0")
    further = struct.pack("<HHI4s", 0x0128, 2, 2, b"x\0\0\0")
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + entry + further + b"\0\0\0\0"
    film = decode(encoded(Image.fromarray(smooth_grey()), "JPEG", quality=95, exif=exif))
    np.testing.assert_allclose(film, smooth_grey() / 255, atol=6 / 255)


def test_warnings_stay_off_and_come_back_when_many_threads_decode():
    before = list(warnings.filters)
    data = broken_exif_jpeg()
    with ThreadPoolExecutor(8) as pool:
        films = list(pool.map(decode, [data] * 600))  # under pytest a warning that slips through raises
    assert len(films) == 600
    assert warnings.filters == before


def test_the_name_of_a_file_says_nothing_about_its_kind(tmp_path):
    grey = smooth_grey()
    (tmp_path / "film.jpg").write_bytes(encoded(Image.fromarray(grey)))
    (tmp_path / "film.dcm").write_bytes(encoded(Image.fromarray(grey)))
    np.testing.assert_array_equal(decode_file(tmp_path / "film.jpg"), decode_file(tmp_path / "film.dcm"))


@pytest.mark.parametrize("where", ["missing.png", "."])
def test_a_path_without_a_file_is_refused(tmp_path, where):
    with pytest.raises(ImageRefusedError) as caught:
        decode_file(tmp_path / where)
    assert caught.value.reason == "missing_file"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "progressive JPEG"])
def test_a_file_cut_short_anywhere_is_refused(kind):
    options = {"progressive": True} if kind == "progressive JPEG" else {}
    data = encoded(Image.fromarray(smooth_colours()), kind.split()[-1], **options)
    reasons = set()
    for end in range(1, len(data) - 20, 7):
        try:
            film = decode(data[:end])
        except ImageRefusedError as refused:
            reasons.add(refused.reason)
        else:
            pytest.fail(f"the first {end} of {len(data)} bytes gave a film of {film.shape}")
    assert reasons == {"not_an_image", "damaged"}


def test_an_empty_file_is_refused():
    assert refusal(b"").reason == "empty_file"


@pytest.mark.parametrize("data", [b"patient 12, PA view\n", b"\0" * 500, b"\x89PNG", b"<html><body>404</body></html>"])
def test_what_is_no_image_is_refused_as_such(data):
    assert refusal(data).reason == "not_an_image"


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP", "WebP", "PDF"])
def test_other_kinds_of_image_are_refused_by_name(kind):
    refused = refusal(encoded(Image.fromarray(smooth_grey()), kind))
    assert refused.reason == "unsupported_format"
    assert kind in str(refused)


def test_an_archive_is_refused_by_name():
    refused = refusal(b"PK\x03\x04" + b"\0" * 100)
    assert (refused.reason, "ZIP" in str(refused)) == ("unsupported_format", True)


def test_a_dicom_file_is_refused_with_what_to_do_instead():
    refused = refusal(b"\0" * 128 + b"DICM" + b"\x02\0\0\0UL\x04\0" + b"\0" * 64)
    assert refused.reason == "unsupported_format"
    assert "DICOM" in str(refused)
    assert "PNG or JPEG" in str(refused)


def test_a_jpeg_of_several_pictures_is_refused_because_it_is_unclear_which_is_the_film():
    first, second = Image.fromarray(smooth_colours()), Image.fromarray(smooth_colours()[::-1].copy())
    refused = refusal(encoded(first, "MPO", save_all=True, append_images=[second]))
    assert refused.reason == "unsupported_format"
    assert "MPO" in str(refused)


def test_of_an_animated_png_the_first_picture_counts():
    first, second = Image.fromarray(smooth_grey(seed=1)), Image.fromarray(smooth_grey(seed=2))
    film = decode(encoded(first, save_all=True, append_images=[second]))
    np.testing.assert_allclose(film, smooth_grey(seed=1) / 255, atol=1e-7)


@pytest.mark.parametrize("side", [7_100, 20_000, 2**31 - 1])
def test_a_picture_that_is_too_large_is_refused_from_its_header_alone(side):
    data = png_with_header(side, side, png_chunk(b"IDAT", zlib.compress(bytes(1000))), png_chunk(b"IEND", b""))
    tracemalloc.start()
    begin = time.perf_counter()
    refused = refusal(data)
    seconds = time.perf_counter() - begin
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused.reason == "too_large"
    assert "50 million pixels" in str(refused)
    assert seconds < 1
    assert peak_bytes < 5_000_000


def test_a_file_of_too_many_bytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "MAX_BYTES", 1000)
    data = encoded(Image.fromarray(smooth_colours()))
    assert refusal(data).reason == "too_large"
    (tmp_path / "film.png").write_bytes(data)
    with pytest.raises(ImageRefusedError) as caught:
        decode_file(tmp_path / "film.png")
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize(("height", "width"), [(63, 400), (400, 63), (1, 1)])
def test_a_picture_with_a_side_below_64_pixels_is_refused_with_its_size(height, width):
    refused = refusal(encoded(Image.fromarray(np.zeros((height, width), np.uint8))))
    assert refused.reason == "too_small"
    assert f"{width} x {height}" in str(refused)


def test_64_pixels_a_side_are_enough():
    assert decode(encoded(Image.fromarray(np.zeros((64, 64), np.uint8)))).shape == (64, 64)


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt"])
def test_text_that_would_unpack_to_100_mebibytes_is_not_unpacked(name):
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(100)) + packer.flush()
    key = b"comment\0\0" if name == b"zTXt" else b"comment\0\1\0\0\0"
    picture = encoded(Image.fromarray(smooth_grey()))
    header_end = 8 + 25  # signature and IHDR
    data = picture[:header_end] + png_chunk(name, key + bomb) + picture[header_end:]
    tracemalloc.start()
    assert refusal(data).reason == "damaged"
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 20_000_000


def seeds_for_mutation():
    grey, rgb = smooth_grey(), smooth_colours()
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    palette = Image.fromarray(rgb).quantize(16)
    return {
        "grey png": encoded(Image.fromarray(grey), exif=exif),
        "rgba png": encoded(Image.fromarray(np.dstack([rgb, grey]))),
        "palette png": encoded(palette, transparency=bytes([0, 128, 255])),
        "16-bit png": encoded(Image.fromarray(ramp_16_bit())),
        "1-bit png": encoded(Image.fromarray(grey).convert("1")),
        "animated png": encoded(
            Image.fromarray(grey), save_all=True, append_images=[Image.fromarray(grey[::-1].copy())]
        ),
        "grey jpeg": encoded(Image.fromarray(grey), "JPEG", exif=exif),
        "colour jpeg": encoded(Image.fromarray(rgb), "JPEG", exif=exif, comment="hello"),
        "progressive jpeg": encoded(Image.fromarray(rgb), "JPEG", progressive=True, icc_profile=b"x" * 300),
        "cmyk jpeg": encoded(Image.fromarray(rgb).convert("CMYK"), "JPEG"),
    }


def mutated(data, rng):
    """Change some bytes, near the beginning more often, cut the end off, or repeat a piece."""
    changed = bytearray(data)
    kind = rng.integers(4)
    if kind == 0:
        del changed[rng.integers(1, len(changed)) :]
    elif kind == 1:
        place, source = rng.integers(0, len(changed), 2)
        changed[place:place] = changed[source : source + rng.integers(1, 40)]
    else:
        reach = len(changed) if kind == 2 else min(300, len(changed))
        for place in rng.integers(0, reach, rng.integers(1, 6)):
            changed[place] = rng.integers(256)
    return bytes(changed)


@pytest.mark.parametrize("name", seeds_for_mutation())
def test_whatever_the_bytes_the_outcome_is_a_grey_picture_or_a_refusal(name):
    data, rng = seeds_for_mutation()[name], np.random.default_rng(len(name))
    outcomes = {"film": 0, "refused": 0}
    for _ in range(400):
        try:
            film = decode(mutated(data, rng))
        except ImageRefusedError:
            outcomes["refused"] += 1
        else:
            outcomes["film"] += 1
            assert film.dtype == np.float32
            assert film.ndim == 2
            assert film.min() >= 0
            assert film.max() <= 1
    assert min(outcomes.values()) > 0
