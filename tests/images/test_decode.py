"""Which file goes to which reader, and what is refused before any of them sees it."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from covid_core.errors import ImageRefusedError
from covid_core.images import limits
from covid_core.images.decode import decode, decode_file, is_dicom, read_image, read_image_file, read_limited
from tests.conftest import PROJECT_DIR
from tests.images.expectations import refusal
from tests.images.samples import encoded, small_files, smooth_colours, smooth_grey, zip_of

READABLE = {
    name: content
    for name, content in small_files().items()
    if not name.startswith("ZIP") and name not in {"PNG animated", "JPEG of two"}
}


@pytest.mark.parametrize("name", READABLE)
def test_the_content_of_a_file_says_what_kind_it_is(name, tmp_path):
    content = READABLE[name]
    radiograph = read_image(content)
    assert (radiograph.kind, radiograph.image.dtype) == (name.split()[0], np.float32)
    path = tmp_path / "image.txt"
    path.write_bytes(content)
    assert read_image_file(path).kind == radiograph.kind
    for image in (decode(content), decode_file(path), read_image_file(path).image):
        np.testing.assert_array_equal(image, radiograph.image)


@pytest.mark.parametrize("where", ["missing.png", "."])
def test_a_path_without_a_file_is_refused(tmp_path, where):
    with pytest.raises(ImageRefusedError) as caught:
        decode_file(tmp_path / where)
    assert caught.value.reason == "missing_file"


@pytest.mark.parametrize(
    "data",
    [b"patient 12, PA view\n", bytes(500), b"\x89PNG", b"<html></html>", b"\x08", b"\x08\0\x05\0\xff\xff\xff\xff"],
)
def test_what_is_no_image_is_refused_as_such(data):
    assert refusal(data).reason == "not_an_image"
    assert refusal(b"").reason == "empty_file"


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP", "WebP", "PDF", "JPEG2000"])
def test_other_kinds_of_image_are_refused_by_name(kind):
    refused = refusal(encoded(Image.fromarray(smooth_grey()), kind))
    assert refused.reason == "unsupported_format"
    assert kind.replace("JPEG2000", "JPEG 2000") in refused.message


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x20ftypavif", "AVIF"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"Rar!\x1a\x07", "RAR"),
        (b"\x1f\x8b", "GZIP"),
        (zip_of({"a.png": b"x"}), "ZIP"),
    ],
)
def test_what_phones_and_packers_write_is_refused_by_name(start, name):
    refused = refusal(start + bytes(100))
    assert (refused.reason, name in refused.message) == ("unsupported_format", True)
    assert ("predict" in refused.next_step) == (name == "ZIP")  # which opens archives


@pytest.mark.parametrize(
    "start",
    [
        b"\x02\0\0\0UL\x04\0",
        b"\x08\0\x05\0CS\x0a\0",
        b"\x08\0\0\0\x04\0\0\0",  # implicit: a group length of 4 bytes
        b"\0\x08\0\x16UI\0\x1a",  # big-endian
        bytes(128) + b"DICM",
    ],
)
def test_dicom_is_told_by_its_preamble_or_its_first_element(start):
    assert is_dicom(start + bytes(64))
    assert refusal(start + bytes(64)).reason in {"damaged", "unsupported_object"}


def test_a_file_of_too_many_bytes_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_BYTES", 1000)
    data = encoded(Image.fromarray(smooth_colours()))
    assert refusal(data).reason == "too_large"
    path = tmp_path / "image.png"
    path.write_bytes(data)
    with pytest.raises(ImageRefusedError) as caught:
        read_limited(path)
    assert caught.value.reason == "too_large"


def test_a_png_does_not_wait_for_pydicom(tmp_path):
    (tmp_path / "image.png").write_bytes(encoded(Image.fromarray(smooth_grey())))
    code = (
        "import pathlib, sys; from covid_core.images.decode import decode_file; "
        f"decode_file(pathlib.Path({str(tmp_path / 'image.png')!r})); "
        "sys.exit(any(name in sys.modules for name in ('pydicom', 'openjpeg', 'jpeg_ls', 'rle')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=PROJECT_DIR).returncode == 0
