"""What an encoded picture says of itself, read from its markers before a decoder sees it.

A decoder that trusts a hostile file can be kept busy for hours: by millions of empty pieces (a PNG of 45 MiB took Pillow 13
seconds, a JPEG 52) or by a progressive JPEG of a million passes. This module counts, and decodes nothing. It says None where it
cannot follow; what is wrong there is for the decoder to say. JPEG 2000 is in `covid_core.images.jpeg2000`.
"""

import struct
from dataclasses import dataclass

from covid_core.errors import ImageRefusedError

MAX_PIECES = 20_000
"""Of a PNG (chunks): one of 50 MiB in pieces of 8 KiB, as libpng writes them, has 6400."""
MAX_HEADER_STEPS = 4096
"""Of a JPEG (segments and fill bytes before its first pass): a colour profile has at most 255."""
MAX_HEADER_BYTES = 16 * 2**20
"""Of a JPEG before its first pass; Pillow puts the parts of its EXIF block together in quadratic time."""
MAX_PASSES = 64
"""Of a progressive JPEG: encoders write 6 to 10; each costs about 1 ns a pixel."""

_MARKER, _START_OF_SCAN, _END_OF_IMAGE = 0xFF, 0xDA, 0xD9
_STANDALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15, and SOF55 of JPEG-LS
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}


@dataclass(frozen=True)
class Layout:
    """The size of an encoded picture and how it is laid out.

    Attributes:
        width: pixels.
        height: pixels.
        samples: components a pixel; 0 where nobody needs to know.
        bits: of a sample.
        progressive: a JPEG whose passes are all kept in memory until the last.
        lossless: a JPEG of the lossless processes, which are another codec.
    """

    width: int
    height: int
    samples: int
    bits: int
    progressive: bool = False
    lossless: bool = False


def png_layout(data: bytes) -> Layout | None:
    """Read the header of a PNG, and count its pieces (ISO/IEC 15948, 5.3 and 11.2.1).

    Returns:
        The layout; None where the file does not begin with a header.

    Raises:
        ImageRefusedError: `damaged` for one of more pieces than any program writes.
    """
    found, position, pieces = None, 8, 0
    while position + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        if name == b"IHDR" and position + 17 <= len(data):
            width, height, bits = struct.unpack_from(">IIB", data, position + 8)
            found = Layout(width, height, samples=0, bits=bits)
        position, pieces = position + 12 + length, pieces + 1
        if pieces > MAX_PIECES:
            raise too_many_pieces()
        if name == b"IEND":
            break
    return found


def jpeg_layout(data: bytes) -> Layout | None:
    """Read the frame header of a JPEG or JPEG-LS (ITU-T T.81 annex B, T.87 annex C).

    Args:
        data: from the marker that starts the image (SOI) on.

    Returns:
        The layout; None where no frame header stands before the first pass.

    Raises:
        ImageRefusedError: `damaged` for one of more pieces or passes than any program writes.
    """
    found, position, steps = None, 2, 0
    while position + 4 <= len(data):
        steps += 1
        if steps > MAX_HEADER_STEPS or position > MAX_HEADER_BYTES:
            raise too_many_pieces()
        if data[position] != _MARKER or data[position + 1] in {0x00, _MARKER}:  # junk or a fill byte
            position += 1
            continue
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if marker in _STANDALONE:
            position += 2
            continue
        if marker in {_START_OF_SCAN, _END_OF_IMAGE}:
            break
        if marker in _FRAME_HEADERS and position + 10 <= len(data):
            bits, height, width, samples = struct.unpack_from(">BHHB", data, position + 4)
            found = Layout(width, height, samples, bits, marker in _PROGRESSIVE, marker in _LOSSLESS)
        position += 2 + length
    if data.count(b"\xff\xda", position) > MAX_PASSES:
        raise ImageRefusedError("damaged", "The image is stored in more passes than any program writes.")
    return found


def too_many_pieces() -> ImageRefusedError:
    """The refusal of a picture that is made to keep its decoder busy."""
    return ImageRefusedError("damaged", "The image is made of more pieces than any program writes.")
