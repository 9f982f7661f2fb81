"""What a running app holds of an upload: in its memory, in its open files, on the disk. For the privacy tests; Linux only.

An upload carries marks, random texts that occur nowhere else, in its name, its metadata and its pixels. Here they are looked
for, and the images that carry them are made: of a real chest X-ray that comes with pydicom-data.
"""

import base64
import io
import os
import re
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.data import get_testdata_file

CHUNK = 1 << 24


def chest_image() -> pydicom.Dataset:
    """RG1 of pydicom-data: a real PA chest X-ray, 1955 x 1841, uncompressed, MONOCHROME1."""
    path = get_testdata_file("RG1_UNCR.dcm", download=False)
    if path is None:
        pytest.skip("the chest X-ray needs pydicom-data, of requirements-dev.txt")
    return pydicom.dcmread(path)


def image_png(text: str = "", pixels: str = "", *, colour: bool = False, compressed: bool = True) -> bytes:
    """The chest X-ray as PNG, with a noise of one grey level that makes every file another one.

    Args:
        text: stands in the comment of the file.
        pixels: stands, as bytes, in the row in the middle.
        colour: three equal channels: 10 MB instead of 3.6 where it is not compressed.
        compressed: otherwise the pixels stand in the file as they are.
    """
    values = chest_image().pixel_array
    grey = np.rint(255 * (1 - (values - values.min()) / np.ptp(values))).astype(np.uint8)
    grey ^= np.random.default_rng().integers(2, size=grey.shape, dtype=np.uint8)
    _mark(grey, pixels)
    image = Image.fromarray(grey).convert("RGB" if colour else "L")
    comment = PngInfo()
    comment.add_text("Comment", text)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=comment, compress_level=1 if compressed else 0)
    return buffer.getvalue()


def image_dicom(patient: str, pixels: str) -> bytes:
    """The chest X-ray as DICOM: `patient` is the patient's name and id, `pixels` stands in the row in the middle."""
    radiograph = chest_image()
    radiograph.PatientName, radiograph.PatientID = patient, patient
    values = radiograph.pixel_array.copy()
    _mark(values, pixels)
    radiograph.PixelData = values.tobytes()
    buffer = io.BytesIO()
    radiograph.save_as(buffer)
    return buffer.getvalue()


def encodings(mark: str) -> tuple[bytes, ...]:
    """A text as it may stand in memory or in a file: UTF-8, UTF-16, and base64 at each of the three alignments."""
    plain = mark.encode()
    in_base64 = []
    for before in range(3):
        # The characters that depend on what stands beside the text are cut off.
        coded = base64.b64encode(b"\0" * before + plain).rstrip(b"=")
        in_base64.append(coded[(8 * before + 5) // 6 : -1])
    return plain, mark.encode("utf-16-le"), mark.encode("utf-16-be"), *in_base64


def process_at(address: str) -> int:
    """The id of the app's process, which this one started."""
    port = str(urlsplit(address).port).encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"streamlit" in arguments and port in arguments:
            return int(folder.name)
    raise RuntimeError(f"There is no app at {address}.")


def copies_in_memory(process: int, *needles: bytes) -> int:
    """How often any of the needles stands in what a process can write to, freed memory included."""
    count = 0
    with Path(f"/proc/{process}/maps").open() as maps, Path(f"/proc/{process}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            region, rights = line.split(maxsplit=2)[:2]
            if rights[:2] == "rw":
                start, end = (int(address, 16) for address in region.split("-"))
                count += sum(part.count(needle) for part in _parts(memory, start, end) for needle in needles)
    return count


def open_files(process: int) -> Iterator[bytes]:
    """The content of each ordinary file that a process has open for writing, deleted ones included."""
    for link in Path(f"/proc/{process}/fd").iterdir():
        try:
            flags = re.search(r"flags:\s+(\d+)", Path(f"/proc/{process}/fdinfo/{link.name}").read_text())
            if flags and int(flags[1], 8) & (os.O_WRONLY | os.O_RDWR) and link.is_file():
                yield link.read_bytes()
        except OSError:
            continue


def files_since(folders: Sequence[Path], start: float, without: Sequence[str] = ()) -> Iterator[Path]:
    """The files below the folders that were written since a moment, in seconds since the epoch.

    `without` are beginnings of the names of files and folders to pass over.
    """
    for folder in folders:
        for place, inner, names in os.walk(folder):
            inner[:] = [name for name in inner if not name.startswith(tuple(without))]
            for name in names:
                path = Path(place) / name
                try:
                    if not name.startswith(tuple(without)) and path.is_file() and path.stat().st_mtime >= start:
                        yield path
                except OSError:
                    continue


@contextmanager
def no_file_may_grow(process: int) -> Iterator[None]:
    """Let every attempt of a process to write to an ordinary file fail."""
    soft, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, (soft, hard))


def _mark(pixels: NDArray[np.generic], mark: str) -> None:
    row = pixels[len(pixels) // 2].view(np.uint8)
    content = np.frombuffer(mark.encode(), np.uint8)
    row[: content.size] = content


def _parts(memory: io.FileIO, start: int, end: int) -> Iterator[bytes]:
    for position in range(start, end, CHUNK):
        try:
            memory.seek(position)
            # A needle may stand across two parts, so that they overlap.
            yield memory.read(min(CHUNK + 256, end - position))
        except (OSError, OverflowError):
            return
