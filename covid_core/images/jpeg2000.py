"""What a JPEG 2000 codestream says of itself, read from its marker segments before a decoder sees it (ITU-T T.800 annex A).

The decoder makes room for every tile, precinct, code-block and packet that these segments speak of, whether or not data follow:
50 KB that claim precincts of 2 x 2 pixels took OpenJPEG 22 s and 5.6 GB, code-blocks of 4 x 4 pixels 860 MB. This module counts
them, and decodes nothing.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from covid_core.images.layout import Layout, too_many_pieces

MAX_TILES = 4096
MAX_PRECINCTS = 50_000
"""About 1.8 kB each. A film of 18 million pixels in precincts of 128 x 128 has 1500."""
MAX_BLOCKS = 200_000
"""About 0.4 kB each. A film of 18 million pixels in blocks of 32 x 32 has 24,000."""
MAX_PACKETS = 1_000_000
"""One for each layer, component, resolution and precinct."""
MAX_SEGMENTS = 20_000

_START = b"\xff\x4f\xff\x51"  # SOC and SIZ
_FILE_START = b"\0\0\0\x0cjP  \r\n\x87\n"  # the first box of a JP2 file
_MAX_BOXES = 16  # before the codestream; a file of GDCM was seen with seven
_SIZ_BYTES = 43
_COD, _COC, _SOT, _SOD, _EOC = 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
_MAX_BYTE_COMPONENTS = 256  # a component's number takes one byte up to here
_LARGEST_PRECINCT = 0xFF  # 2 to the power of 15 a side
_HAS_PRECINCTS = 1


class _Style(NamedTuple):
    """How the picture is cut up: decomposition levels, code-block sides and precincts as they are coded, and quality layers."""

    levels: int
    block_width: int
    block_height: int
    precincts: bytes
    layers: int


def jpeg2000_layout(data: bytes) -> Layout | None:
    """Read the header of a codestream, with or without a JP2 file around it, and count what it would be decoded into.

    The standard wants it without (PS3.5 A.4.4), yet there are files with one, and decoders take them.

    Returns:
        The layout; None where no codestream begins, at the first byte or in the first box that is to hold one.

    Raises:
        ImageRefusedError: `damaged` for one of more pieces than any program writes.
    """
    start = _codestream(data) if data.startswith(_FILE_START) else 0
    if start is None or not data.startswith(_START, start) or start + _SIZ_BYTES > len(data):
        return None
    sizes = struct.unpack_from(">8IH", data, start + 8)
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, samples = sizes
    if not tile_width or not tile_height:
        return None
    across, down = -(-(right - tile_left) // tile_width), -(-(bottom - tile_top) // tile_height)
    layout = Layout(right - left, bottom - top, samples, (data[start + 42] & 0x7F) + 1)
    if across * down > MAX_TILES:
        raise too_many_pieces()
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
    raise too_many_pieces()


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
        raise too_many_pieces()
