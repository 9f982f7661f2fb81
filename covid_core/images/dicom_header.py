"""The few elements of a DICOM file that this program needs, parsed once, from bytes that may be hostile.

pydicom parses, on three conditions. The transfer syntax is looked at before anything else, because pydicom would inflate a
deflated file at once (306 KB took 52 s and 600 MB). Only the elements in `_WANTED` are kept: a patient's name, numbers and
dates are passed over. And the file can be read only so often, so that thousands of nested or empty elements end in a refusal
(5 MiB of empty items took 8.6 s and 490 MiB).
"""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import VR

from covid_core.errors import ImageRefusedError
from covid_core.images.grayscale import Display, LookUpTable

MAX_READS = 100_000
"""Of the file by the parser, about three for each element; a radiograph has some hundred elements."""
UNDEFINED_LENGTH = 0xFFFFFFFF

_PREAMBLE_BYTES = 132
_COLOURS = ("Red", "Green", "Blue")
_WANTED = (
    *("SOPClassUID", "Modality", "Manufacturer", "PatientSex", "PatientAge", "BodyPartExamined", "ViewPosition"),
    *("ViewCodeSequence", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PatientOrientation", "PixelAspectRatio"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "BurnedInAnnotation", "PresentationLUTShape"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("RescaleIntercept", "RescaleSlope", "ModalityLUTSequence"),
    *(f"{colour}PaletteColorLookupTable{part}" for colour in _COLOURS for part in ("Descriptor", "Data")),
)
_WANTED_TAGS: list[BaseTag | int] = [Tag(keyword) for keyword in _WANTED]
_PIXEL_DATA = {0x7FE00008, 0x7FE00009, 0x7FE00010}  # float, double float and integer pixels
_MAX_LOOK_UP_BYTES = 2**19  # three look-up tables of 65,536 entries
_MAX_TABLE_BYTES = 2 * 2**16
_MAX_VALUE_BYTES = 4096


class Elements:
    """Typed access to parsed elements; what cannot be read counts as missing, unless the pixels cannot be understood without."""

    def __init__(self, dataset: Dataset, *, little_endian: bool) -> None:
        self._dataset, self._little_endian = dataset, little_endian

    def texts(self, keyword: str) -> tuple[str, ...]:
        """All values of an element in capitals; none where it is missing."""
        return tuple("" if one is None else str(one).strip().upper() for one in self._values(keyword))

    def text(self, keyword: str) -> str:
        """The first value of an element in capitals; empty where it is missing."""
        return self.plain_text(keyword).upper()

    def plain_text(self, keyword: str) -> str:
        """The first value of an element as it is; empty where it is missing."""
        first = self._first(keyword)
        return first.strip() if isinstance(first, str) else ""

    def meaning(self, keyword: str) -> str:
        """What the first code of a sequence means, in capitals; empty where it is missing."""
        try:
            code = self._item(keyword, _MAX_VALUE_BYTES)
        except ImageRefusedError:
            return ""
        return "" if code is None else code.text("CodeMeaning")

    def uid(self, keyword: str) -> str:
        """A UID, from its bytes: letters and digits; empty where there is none."""
        return self._stored(keyword)[:64].decode("ascii", "ignore").strip("\0 ")

    def number(self, keyword: str) -> float | None:
        """The first value of an element; None where it is missing."""
        value = self._first(keyword)
        try:
            return None if value is None or isinstance(value, bytes) else float(value)
        except (ValueError, TypeError, OverflowError):
            return None

    def integer(self, keyword: str, absent: int | None = None) -> int:
        """The first value of an element without which the pixels cannot be understood, or `absent` for a missing one."""
        number = self.number(keyword)
        if number is None and absent is not None and not self._stored(keyword):
            return absent
        if number is None or not number.is_integer():
            raise damaged(f"it does not say plainly how its picture is stored ({keyword})")
        return int(number)

    def display(self) -> Display:
        """How the stored values are shown; a look-up table that cannot be read is `damaged`, as it may change every grey."""
        centre, width = self.number("WindowCenter"), self.number("WindowWidth")
        function = self.text("VOILUTFunction")
        return Display(
            modality=self._look_up("ModalityLUTSequence"),
            slope=self.number("RescaleSlope"),
            intercept=self.number("RescaleIntercept"),
            voi=self._look_up("VOILUTSequence"),
            window=None if centre is None or width is None else (centre, width),
            function=function if function in {"LINEAR_EXACT", "SIGMOID"} else "LINEAR",
            inverted=self.text("PhotometricInterpretation") == "MONOCHROME1"
            or self.text("PresentationLUTShape") == "INVERSE",
        )

    def palette(self) -> list[LookUpTable]:
        """The red, green and blue of each pixel value."""
        names = [f"{colour}PaletteColorLookupTable" for colour in _COLOURS]
        return [self._table(f"{name}Descriptor", f"{name}Data") for name in names]

    def _look_up(self, keyword: str) -> LookUpTable | None:
        item = self._item(keyword, _MAX_LOOK_UP_BYTES)
        return None if item is None else item._table("LUTDescriptor", "LUTData")

    def _item(self, keyword: str, max_bytes: int) -> "Elements | None":
        """The first item of a sequence of no more than `max_bytes`, None where there is none."""
        if keyword not in self._dataset:
            return None
        found = self._value(keyword, max_bytes)
        if not isinstance(found, Sequence):
            raise _broken_table(keyword)
        return Elements(found[0], little_endian=self._little_endian) if found else None

    def _table(self, descriptor: str, data: str) -> LookUpTable:
        # From the bytes, as the standard leaves it to other elements whether they are signed, words or bytes.
        described, entries = self._stored(descriptor), self._stored(data)
        order = "<" if self._little_endian else ">"
        try:
            count, first, bits = struct.unpack_from(f"{order}3H", described)
        except struct.error as cause:
            raise _broken_table(descriptor) from cause
        count = count or 2**16
        if not 1 <= bits <= 16 or not count <= len(entries) <= _MAX_TABLE_BYTES:  # noqa: PLR2004
            raise _broken_table(data)
        kind = f"{order}u2" if len(entries) >= 2 * count else "u1"
        return LookUpTable(first, np.frombuffer(entries, kind, count).astype(np.float64), bits)

    def _first(self, keyword: str) -> Any:
        return next(iter(self._values(keyword)), None)

    def _values(self, keyword: str) -> tuple[Any, ...]:
        try:
            value = self._value(keyword)
        except ImageRefusedError:
            return ()
        return tuple(value) if isinstance(value, MultiValue) else (value,)

    def _value(self, keyword: str, max_bytes: int = _MAX_VALUE_BYTES) -> Any:
        if keyword not in self._dataset:
            return None
        if len(self._stored(keyword)) > max_bytes:
            raise damaged(f"one of its entries is too long ({keyword})")
        try:
            return self._dataset[keyword].value
        except Exception as cause:  # whatever pydicom meets in a value that does not keep to its representation
            raise damaged(f"one of its entries cannot be read ({keyword})") from cause

    def _stored(self, keyword: str) -> bytes:
        """The bytes of a value as they stand in the file; none for an empty one, or one that pydicom has converted already."""
        try:
            element = self._dataset.get_item(tag_for_keyword(keyword) or 0) if keyword in self._dataset else None
        except Exception:  # pydicom converts an empty value at once, and may not know its representation
            return b""
        value = getattr(element, "value", None)
        return value if isinstance(value, bytes) else b""


@dataclass(frozen=True)
class PixelElement:
    """Where the pixel data of a file are: bytes from its beginning, and as many as the file says or `UNDEFINED_LENGTH`."""

    tag: int
    vr: str | None
    start: int
    length: int


@dataclass(frozen=True)
class Header:
    """What a file says of itself. Texts are in capitals, the manufacturer's apart, and empty where the file does not say.

    Where the file names no transfer syntax, `syntax` is the uncompressed one it is written in. `view` is the view position, or
    what the coded view of a DX object means; `orientation` and `aspect` are those of PS3.3 C.7.6.1.1.1 and C.7.6.3.1.7.
    """

    syntax: UID
    object_class: UID
    modality: str
    manufacturer: str
    sex: str
    age: str
    body_part: str
    view: str
    burned_in: str
    orientation: tuple[str, ...]
    aspect: tuple[str, ...]
    pixels: PixelElement | None
    elements: Elements = field(repr=False)


def read_header(data: bytes) -> Header:
    """Parse a DICOM file, with or without a preamble, up to its pixels.

    Raises:
        ImageRefusedError: `unsupported_format` for a deflated file, `damaged`.
    """
    source = LimitedReader(data)
    source.seek(_PREAMBLE_BYTES if data[_PREAMBLE_BYTES - 4 : _PREAMBLE_BYTES] == b"DICM" else 0)
    meta = _parsed(source, ExplicitVRLittleEndian, lambda tag, _vr, _length: tag >> 16 != 2)  # noqa: PLR2004
    syntax = UID(meta.uid("TransferSyntaxUID")) or _guessed_syntax(source)
    if syntax == DeflatedExplicitVRLittleEndian:
        raise ImageRefusedError("unsupported_format", f"The DICOM file is packed ({syntax.name}), which is not read.")
    pixels: list[PixelElement] = []

    def at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
        if tag not in _PIXEL_DATA:
            return False
        pixels.append(PixelElement(int(tag), vr, source.tell(), length))
        return True

    elements = _parsed(source, syntax, at_pixels, _WANTED_TAGS)
    return Header(
        syntax=syntax,
        object_class=UID(elements.uid("SOPClassUID") or meta.uid("MediaStorageSOPClassUID")),
        modality=elements.text("Modality"),
        manufacturer=elements.plain_text("Manufacturer"),
        sex=elements.text("PatientSex"),
        age=elements.text("PatientAge"),
        body_part=elements.text("BodyPartExamined"),
        view=elements.text("ViewPosition") or elements.meaning("ViewCodeSequence"),
        burned_in=elements.text("BurnedInAnnotation"),
        orientation=elements.texts("PatientOrientation"),
        aspect=elements.texts("PixelAspectRatio"),
        pixels=pixels[-1] if pixels else None,
        elements=elements,
    )


class LimitedReader(io.BytesIO):
    """Bytes that can be read from no more than `MAX_READS` times."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as `io.BytesIO` does."""
        self._reads += 1
        if self._reads > MAX_READS:
            raise OSError("too many elements")
        return super().read(size)


def damaged(what: str) -> ImageRefusedError:
    """The refusal of a file that contradicts itself or the standard; `what` says where, as a clause."""
    return ImageRefusedError("damaged", f"The DICOM file is damaged: {what}.")


def _broken_table(keyword: str) -> ImageRefusedError:
    return damaged(f"its table of greys or colours cannot be read ({keyword})")


def _parsed(
    source: LimitedReader,
    syntax: UID,
    stop_when: Callable[[BaseTag, str | None, int], bool],
    wanted: list[BaseTag | int] | None = None,
) -> Elements:
    little_endian = syntax != ExplicitVRBigEndian
    try:
        implicit = syntax == ImplicitVRLittleEndian
        dataset = read_dataset(source, implicit, little_endian, stop_when=stop_when, specific_tags=wanted)
    except Exception as cause:  # whatever pydicom meets in bytes that are no DICOM, too deep or too many
        raise damaged("its entries cannot be separated") from cause
    return Elements(dataset, little_endian=little_endian)


def _guessed_syntax(source: LimitedReader) -> UID:
    """The uncompressed syntax that the next element is written in, for files that do not say (PS3.5 section 7.1)."""
    first = source.read(6)
    source.seek(-len(first), io.SEEK_CUR)
    if first[4:] not in {vr.encode() for vr in VR}:
        return ImplicitVRLittleEndian
    little = int.from_bytes(first[:2], "little") < 0x0400  # noqa: PLR2004  groups above are of later elements
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian
