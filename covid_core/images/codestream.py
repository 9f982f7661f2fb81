"""What an encoded picture says of itself, read from its markers before a decoder sees it.

A decoder that trusts a hostile file can be kept busy for hours or take gigabytes: by millions of empty pieces (a PNG of 45 MiB
took Pillow 13 seconds, a JPEG 52), by a progressive JPEG of a million passes, or by a JPEG 2000 codestream whose tiles,
precincts, code-blocks and packets are made whether or not data follow (50 KB that claim precincts of 2 x 2 pixels took OpenJPEG
22 s and 5.6 GB). This module counts, and decodes nothing. It gives None where it cannot follow: the decoder then says what is
wrong. Decoding without it in a process limited to 1.5 GiB costs 2 to 20 ms more a file, but took up to 40 s and 1.4 GiB.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from covid_core.errors import ImageRefusedError

MAX_PIECES = 20_000
"""Of a PNG (chunks): one of 50 MiB in pieces of 8 KiB, as libpng writes them, has 6400."""
MAX_HEADER_STEPS = 4096
"""Of a JPEG (segments and fill bytes before its first pass): a colour profile has at most 255."""
MAX_HEADER_BYTES = 16 * 2**20
"""Of a JPEG before its first pass; Pillow puts the parts of its EXIF block together in quadratic time."""
MAX_PASSES = 64
"""Of a progressive JPEG: encoders write 6 to 10; each costs about 1 ns a pixel."""
MAX_TILES = 4096
MAX_PRECINCTS = 50_000
"""About 1.8 kB each. A radiograph of 18 million pixels in precincts of 128 x 128 has 1500."""
MAX_BLOCKS = 200_000
"""About 0.4 kB each. A radiograph of 18 million pixels in blocks of 32 x 32 has 24,000."""
MAX_PACKETS = 1_000_000
"""One for each layer, component, resolution and precinct."""
MAX_SEGMENTS = 20_000

_START_OF_CODESTREAM = b"\xff\x4f\xff\x51"  # SOC and SIZ
_JP2_START = b"\0\0\0\x0cjP  \r\n\x87\n"  # the first box of a JP2 file
_MAX_BOXES = 16  # before the codestream; a file of GDCM was seen with seven
_SIZ_BYTES = 43
_COD, _COC, _SOT, _SOD, _EOC = 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
_MAX_BYTE_COMPONENTS = 256  # a component's number takes one byte up to here
_LARGEST_PRECINCT = 0xFF  # 2 to the power of 15 a side
_HAS_PRECINCTS = 1
_MARKER, _START_OF_SCAN, _END_OF_IMAGE = 0xFF, 0xDA, 0xD9
_STANDALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15, and SOF55 of JPEG-LS
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}


@dataclass(frozen=True)
class Layout:
    """The size of an encoded picture, the bits of a sample, and how it is laid out.

    `samples` are the components a pixel, 0 for a PNG. A `progressive` JPEG keeps all passes in memory until the last; a
    `lossless` one is of the lossless processes, which are another codec.
    """

    width: int
    height: int
    samples: int
    bits: int
    progressive: bool = False
    lossless: bool = False


def png_layout(data: bytes) -> Layout | None:
    """Read the header of a PNG, None where it has none, and count its pieces (ISO/IEC 15948, 5.3 and 11.2.1).

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
            raise _too_many_pieces()
        if name == b"IEND":
            break
    return found


def jpeg_layout(data: bytes) -> Layout | None:
    """Read the frame header of a JPEG or JPEG-LS (ITU-T T.81 annex B, T.87 annex C); None where there is none before the data.

    Raises:
        ImageRefusedError: `damaged` for one of more pieces or passes than any program writes.
    """
    found, position, steps = None, 2, 0
    while position + 4 <= len(data):
        steps += 1
        if steps > MAX_HEADER_STEPS or position > MAX_HEADER_BYTES:
            raise _too_many_pieces()
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


class _Style(NamedTuple):
    """How the picture is cut up: decomposition levels, code-block sides and precincts as they are coded, and quality layers."""

    levels: int
    block_width: int
    block_height: int
    precincts: bytes
    layers: int


def jpeg2000_layout(data: bytes) -> Layout | None:
    """Read the header of a codestream, with or without a JP2 file around it, and count what it would be decoded into.

    The standard wants it without (PS3.5 A.4.4), yet there are files with one, and decoders take them. None where no
    codestream begins, at the first byte or in the first box that is to hold one.

    Raises:
        ImageRefusedError: `damaged` for one of more pieces than any program writes.
    """
    start = _codestream(data) if data.startswith(_JP2_START) else 0
    if start is None or not data.startswith(_START_OF_CODESTREAM, start) or start + _SIZ_BYTES > len(data):
        return None
    sizes = struct.unpack_from(">8IH", data, start + 8)
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, samples = sizes
    if not tile_width or not tile_height:
        return None
    across, down = -(-(right - tile_left) // tile_width), -(-(bottom - tile_top) // tile_height)
    layout = Layout(right - left, bottom - top, samples, (data[start + 42] & 0x7F) + 1)
    if across * down > MAX_TILES:
        raise _too_many_pieces()
    for style in _styles(data, start + 2, samples):
        _check(style, layout)
    return layout


def _codestream(data: bytes) -> int | None:
    """Where the codestream of a JP2 file begins (ITU-T T.800 annex I), found box by box as a decoder finds it.

    A search for its first bytes could be led to a harmless one in another box. None where the boxes do not lead to one.
    """
    position = 0
    for _ in range(_MAX_BOXES):
        if position + 16 > len(data):
            return None
        length, kind, longer = struct.unpack_from(">L4sQ", data, position)
        head = 16 if length == 1 else 8
        if kind == b"jp2c":
            return position + head
        length = longer if length == 1 else length
        if length < head:
            return None
        position += length
    return None


def _styles(data: bytes, position: int, samples: int) -> Iterator[_Style]:
    """The coding styles of the whole picture (COD) and of single components (COC), in the main header or that of a tile."""
    layers = 1
    for marker, segment in _segments(data, position):
        if marker == _COD and len(segment) >= 10:  # noqa: PLR2004
            layers = int.from_bytes(segment[2:4], "big")
            coded, style = segment[5:], segment[0]
        elif marker == _COC and len(segment) >= (7 if samples <= _MAX_BYTE_COMPONENTS else 8):
            skipped = 1 if samples <= _MAX_BYTE_COMPONENTS else 2
            coded, style = segment[skipped + 1 :], segment[skipped]
        else:
            continue
        yield _Style(coded[0], coded[1] & 15, coded[2] & 15, coded[5:] if style & _HAS_PRECINCTS else b"", layers)


def _segments(data: bytes, position: int) -> Iterator[tuple[int, bytes]]:
    """The marker segments of the main header and of each tile-part's header; packets are passed over."""
    part_start = part_bytes = 0
    for _ in range(MAX_SEGMENTS):
        if position + 4 > len(data):
            return
        marker, length = struct.unpack_from(">HH", data, position)
        if marker == _EOC or (marker == _SOD and part_start + part_bytes <= position):
            return
        if marker == _SOD:
            position = part_start + part_bytes
            continue
        segment = data[position + 4 : position + 2 + length]
        if marker == _SOT and len(segment) >= 8:  # noqa: PLR2004
            part_start, part_bytes = position, int.from_bytes(segment[2:6], "big")
        yield marker, segment
        position += 2 + length
    raise _too_many_pieces()


def _check(style: _Style, layout: Layout) -> None:
    blocks = layout.width * layout.height * layout.samples >> (style.block_width + 2 + style.block_height + 2)
    total = largest = 0
    for resolution in range(style.levels + 1):
        side = style.precincts[resolution] if resolution < len(style.precincts) else _LARGEST_PRECINCT
        reduced = style.levels - resolution
        across = 1 + (layout.width >> (reduced + (side & 15)))
        down = 1 + (layout.height >> (reduced + (side >> 4)))
        total, largest = total + across * down * layout.samples, max(largest, across * down)
    packets = style.layers * layout.samples * (style.levels + 1) * largest
    if blocks > MAX_BLOCKS or total > MAX_PRECINCTS or packets > MAX_PACKETS:
        raise _too_many_pieces()


def _too_many_pieces() -> ImageRefusedError:
    return ImageRefusedError("damaged", "The image is made of more pieces than any program writes.")
