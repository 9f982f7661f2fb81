"""The pixel data of a DICOM file to an array, once it is known that they fit what the file says of them.

Compressed pixels say themselves how large they are. That is compared with the header before a decoder sees them: decoders believe
it, whatever the file around them says.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import generate_fragments, parse_basic_offsets
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
    RLETransferSyntaxes,
)

from covid_core.errors import ImageRefusedError
from covid_core.images.codestream import jpeg2000_layout, jpeg_layout
from covid_core.images.dicom_header import UNDEFINED_LENGTH, Header, LimitedReader, PixelElement, damaged
from covid_core.images.limits import check_size, too_little_memory
from covid_core.images.types import MIN_SIDE

MAX_JPEG_2000_PIXELS = 25_000_000
"""Its decoder takes 8 bytes a pixel, 455 MiB at 50 million (OpenJPEG 2.5)."""
MAX_JPEG_2000_BYTES = 20 * 2**20
"""Compressed: it decodes 4 to 5 MiB a second. A lossless radiograph of 18 million pixels of 12 bits has about 13."""
MAX_PIXEL_BYTES = 100_000_000
"""Of the decoded pixels: 50 million greys of 16 bits, or 33 million colours."""

_NATIVE = {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian}
# Of pydicom's decoders those that are let at a file, the first that is installed. Any other that may be there is left alone.
_DECODERS = ("pyjpegls", "pillow", "pydicom")
_GREYS = {"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"}
_COLOURS = {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"}
_SUBSAMPLED = "YBR_FULL_422"
_START_OF_IMAGE = {b"\xff\xd8", b"\xff\x4f"}
_END_OF_IMAGE = b"\xff\xd9"
_INTEGER_PIXELS = 0x7FE00010


@dataclass(frozen=True)
class Shape:
    """How pixels are stored (PS3.3 C.7.6.3): `samples` a pixel, of which the lower `bits_stored` bits count.

    `planar` is 1 where all red values come first, then all green; 0 otherwise.
    """

    rows: int
    columns: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    signed: bool
    planar: int

    @property
    def pixel_bytes(self) -> int:
        """Of all pixels, decoded."""
        return self.rows * self.columns * self.samples * self.bits_allocated // 8


def check_syntax(syntax: UID) -> None:
    """Refuse by its name, as `unsupported_format`, a transfer syntax that nothing here can decode."""
    if syntax in _NATIVE or _decoder_of(syntax):
        return
    name = f"as {syntax.name}" if syntax.name != syntax else "in a way that is not part of the standard"
    raise ImageRefusedError("unsupported_format", f"The DICOM file is compressed {name}, which cannot be read here.")


def read_shape(header: Header) -> Shape:
    """Read how the pixels are stored, and refuse what is no single image of greys or colours.

    Raises:
        ImageRefusedError: `damaged`, `multi_frame`, `unsupported_format`, or as `check_size`.
    """
    integer = header.elements.integer
    if integer("NumberOfFrames", absent=1) > 1:
        raise _several_frames()
    rows, columns = integer("Rows"), integer("Columns")
    most = {"max_pixels": MAX_JPEG_2000_PIXELS} if header.syntax in JPEG2000TransferSyntaxes else {}
    check_size(columns, rows, **most)
    shape = Shape(
        rows,
        columns,
        integer("SamplesPerPixel", absent=1),
        header.elements.text("PhotometricInterpretation"),
        integer("BitsAllocated"),
        integer("BitsStored"),
        integer("PixelRepresentation", absent=0) == 1,
        integer("PlanarConfiguration", absent=0),
    )
    if shape.samples != (1 if shape.photometric in _GREYS else 3):
        raise damaged("the number of values a pixel does not fit their meaning")
    if shape.photometric not in _GREYS | _COLOURS:
        raise ImageRefusedError("unsupported_format", "The kind of colours of this image is not supported.")
    if shape.bits_allocated not in {8, 16} or (shape.samples > 1 and shape.signed):
        raise ImageRefusedError(
            "unsupported_format", f"The image has pixels of {shape.bits_allocated} bits; 8 and 16 are supported."
        )
    if not 1 <= shape.bits_stored <= shape.bits_allocated or shape.planar not in {0, 1}:
        raise damaged("what it says of its pixels contradicts itself")
    if integer("HighBit", absent=shape.bits_stored - 1) != shape.bits_stored - 1:
        raise ImageRefusedError("unsupported_format", "The pixels are stored in a way that is long retired.")
    if shape.pixel_bytes > MAX_PIXEL_BYTES:
        raise ImageRefusedError("too_large", f"The {columns} x {rows} pixels take too much memory.")
    return shape


def decode_pixels(data: bytes, header: Header, shape: Shape) -> tuple[NDArray[np.unsignedinteger], str]:
    """Decode the pixels.

    Returns:
        Bit patterns, (rows, columns) or (rows, columns, 3), and what they mean: a photometric interpretation.

    Raises:
        ImageRefusedError: `no_pixel_data`, `multi_frame`, `damaged`, `unsupported_format`.
    """
    element = header.pixels
    if element is None or element.length == 0:
        raise ImageRefusedError("no_pixel_data", "The DICOM file holds no picture.")
    if element.tag != _INTEGER_PIXELS:
        raise ImageRefusedError("unsupported_format", "The pixels are stored as fractions.")
    if header.syntax in _NATIVE:
        return _decode(_native_value(data, element, shape), header.syntax, shape, element.vr)
    if element.length != UNDEFINED_LENGTH:
        raise damaged("its compressed picture is not in fragments")
    source = LimitedReader(data)
    source.seek(element.start)
    _check_frame(_frame(source, header.syntax), header.syntax, shape)
    source.seek(element.start)
    return _decode(source, header.syntax, shape, element.vr)


def _decode(
    source: memoryview | LimitedReader, syntax: UID, shape: Shape, vr: str | None
) -> tuple[NDArray[np.unsignedinteger], str]:
    try:
        array, properties = get_decoder(syntax).as_array(
            source, index=0, raw=True, decoding_plugin=_decoder_of(syntax), **_options(shape, vr, syntax)
        )
    except MemoryError as cause:
        raise too_little_memory() from cause
    except Exception as cause:  # a decoder's own errors, of any kind
        raise damaged("its picture cannot be decoded") from cause
    patterns: NDArray[np.unsignedinteger] = array.view(array.dtype.str.replace("i", "u"))
    return patterns, str(properties["photometric_interpretation"])


def _options(shape: Shape, vr: str | None, syntax: UID) -> dict[str, Any]:
    options = {
        "rows": shape.rows,
        "columns": shape.columns,
        "samples_per_pixel": shape.samples,
        "photometric_interpretation": shape.photometric,
        "bits_allocated": shape.bits_allocated,
        "bits_stored": shape.bits_stored,
        "pixel_representation": int(shape.signed),
        "planar_configuration": shape.planar,
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
        "pixel_vr": vr or "OW",
        "allow_excess_frames": False,
    }
    # Bits beyond the stored ones are dealt with in `covid_core.images.grayscale`: a padding value may be in them.
    return options | ({"view_only": True, "correct_unused_bits": False} if syntax in _NATIVE else {})


def _decoder_of(syntax: UID) -> str:
    """The plugin that decodes a transfer syntax, empty where there is none."""
    try:
        available = get_decoder(syntax).available_plugins
    except NotImplementedError:
        return ""
    return next((name for name in _DECODERS if name in available), "")


def _native_value(data: bytes, element: PixelElement, shape: Shape) -> memoryview:
    if element.length == UNDEFINED_LENGTH or element.start + element.length > len(data):
        raise damaged("it ends before its picture does")
    expected = shape.pixel_bytes // 3 * 2 if shape.photometric == _SUBSAMPLED else shape.pixel_bytes
    # A wrong number of rows or columns makes a difference of at least `MIN_SIDE` bytes; less is padding.
    if not 0 <= element.length - expected < MIN_SIDE:
        raise damaged(
            f"it has {element.length} bytes of pixels where {shape.columns} x {shape.rows} pixels take {expected}"
        )
    return memoryview(data)[element.start : element.start + element.length]


def _frame(source: LimitedReader, syntax: UID) -> bytes:
    """The one frame of encapsulated pixel data (PS3.5 A.4), put together from its fragments."""
    try:
        offsets, fragments = parse_basic_offsets(source), list(generate_fragments(source))
    except Exception as cause:
        raise damaged("the fragments of its picture cannot be separated") from cause
    if not fragments:
        raise ImageRefusedError("no_pixel_data", "The DICOM file holds no picture.")
    starts = sum(syntax == RLELossless or fragment[:2] in _START_OF_IMAGE for fragment in fragments[1:])
    if len(offsets) > 1 or starts:
        raise _several_frames()
    return b"".join(fragments)


def _check_frame(frame: bytes, syntax: UID, shape: Shape) -> None:
    """Compare what a compressed frame says of itself with what the file says of it."""
    if syntax in RLETransferSyntaxes:  # says nothing; its decoder makes what the file says, or fails
        return
    layout = jpeg2000_layout(frame) if syntax in JPEG2000TransferSyntaxes else jpeg_layout(frame)
    if layout is None:
        raise damaged("its compressed picture has no header")
    if (layout.width, layout.height, layout.samples) != (shape.columns, shape.rows, shape.samples):
        raise damaged("its compressed picture is of another size than the file says")
    if syntax in JPEGLSTransferSyntaxes and not frame.rstrip(b"\0").endswith(_END_OF_IMAGE):
        raise damaged("its compressed picture is cut short")  # CharLS 2.4 would take 4 s to find out
    if syntax in JPEG2000TransferSyntaxes and len(frame) > MAX_JPEG_2000_BYTES:
        raise ImageRefusedError("too_large", "The compressed picture is too large to be decoded in a few seconds.")
    deep = layout.lossless or layout.bits > 8  # noqa: PLR2004
    if deep and (syntax in JPEGTransferSyntaxes or (syntax in JPEG2000TransferSyntaxes and shape.samples > 1)):
        raise ImageRefusedError(
            "unsupported_format",
            f"The DICOM file is compressed as {layout.bits}-bit {syntax.name}, which cannot be read here.",
        )


def _several_frames() -> ImageRefusedError:
    return ImageRefusedError("multi_frame", "The DICOM file holds several frames.")
