"""Bytes of a DICOM file to a radiograph: which objects are read, and what is kept of them.

Read are radiographs (CR, DX for presentation) and single secondary captures of one. The picture is what a viewer shows at first:
modality LUT or rescale, VOI LUT or first window, and black for air whatever the polarity. Of the rest of the file only `Tags`
is kept. `covid_core.images.decode` imports this module when the first DICOM file comes.
"""

import re

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)

from covid_core.errors import ImageRefusedError
from covid_core.images.dicom_header import Header, read_header
from covid_core.images.dicom_pixels import Shape, check_syntax, decode_pixels, read_shape
from covid_core.images.grayscale import LUMA, Table, apply_display, apply_greys, luma, patterns_used, stored_values
from covid_core.images.limits import check_contents
from covid_core.images.quiet import quiet
from covid_core.images.types import GreyImage, Radiograph, Tags

ADULT_AGE = 18
"""Years; the model learned from images of adults."""

_RADIOGRAPHS = {ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation}
_RADIOGRAPH_MODALITIES = {"CR", "DX", "DR", "RG"}
_CAPTURE_MODALITIES = _RADIOGRAPH_MODALITIES | {"", "OT", "SC", "HC"}  # captures of CT, MR and so on name those
# Defined terms of other body parts (PS3.16 annex L), split into words, and words that speak for a chest: ribs and heart are
# seen on an image of it. A value that has neither, such as PORTABLE, is left to the gate.
_OTHER_PART = re.compile(
    r"\b(ABDOM\w+|ANKLE|ARMS?|BREASTS?|CALCANEUS|CALF|CERVICAL|CLAVICLE|COCCYX|ELBOW|EXTREMITY|EYE|FACE|FACIAL|FEMUR|FINGER"
    r"|FOOT\w*|FOREARM|HAND\w*|HEAD\w*|HIPS?|HUMERUS|JAW|KIDNEYS?|KNEES?|KUB|LEGS?|LIMB|LUMBAR|MANDIBLE|MAXILLA|MOUTH|NASAL"
    r"|NECK|ORBITS?|PATELLA|PELVI\w+|SACRUM|SCALP|SCAPULA|SHOULDERS?|SINUS\w*|SKULL|\w*SPINE|STERNUM|TEETH|THIGH|THUMB|TIBIA"
    r"|TMJ|TOES?|UTERUS|WRIST|ZYGOMA)\b"
)
_CHEST = re.compile(r"\b(CHEST\w*|THORAX|TORAX|LUNGS?|RIBS?|HEART)\b")
_LATERAL = re.compile(r"\b([LR]L|[LR]?T?LAT|LATERAL|SAGITTAL)\b")
_OBLIQUE = re.compile(r"\b([LR][ALP]O|OBL|OBLIQUE)\b")
_LYING_ON_SIDE = "DECUB"  # lateral decubitus is a frontal image of a patient who lies on the side
_FRONTAL_MEANINGS = {"POSTERO-ANTERIOR": "PA", "ANTERO-POSTERIOR": "AP"}
_AGE = re.compile(r"(\d{3})([DWMY])")
_IN_A_YEAR = {"D": 365, "W": 52, "M": 12, "Y": 1}
_OLDEST_BAND = 90
_MANUFACTURER_LENGTH = 64


def read(data: bytes) -> Radiograph:
    """Read the content of a DICOM file.

    Raises:
        ImageRefusedError: `unsupported_object`, `unsupported_format`, `not_a_chest`, `lateral`, `multi_frame`,
            `no_pixel_data`, `damaged`, `too_large`, `too_small`, `bad_shape` or `constant`.
    """
    with quiet:  # pydicom warns of values, and quotes them
        return _read(data)


def _read(data: bytes) -> Radiograph:
    header = read_header(data)
    _check_object(header)
    if header.pixels is None:
        raise ImageRefusedError("no_pixel_data", "The DICOM file holds no picture.")
    check_syntax(header.syntax)
    _check_body(header)
    shape = read_shape(header)
    pixels, photometric = decode_pixels(data, header, shape)
    image = _grey_image(header, shape, pixels, photometric)
    check_contents(image)
    return Radiograph(image, "DICOM", _tags(header), _warnings(header))


def _check_object(header: Header) -> None:
    kind, modality = header.object_class, header.modality
    if kind == DigitalXRayImageStorageForProcessing:
        raise ImageRefusedError(
            "unsupported_object",
            "This is a detector's raw data (a digital X-ray for processing), not the image that is looked at.",
            "Give the image for presentation of the same exposure.",
        )
    if kind in _RADIOGRAPHS or (not kind and modality in _RADIOGRAPH_MODALITIES):
        return
    if kind != SecondaryCaptureImageStorage:
        known = kind.name.replace("Image Storage", "Image").removesuffix(" Storage")
        name = known if kind.name != kind else "an object of no known kind"
        raise ImageRefusedError("unsupported_object", f"This is no radiograph. The file says what it is: {name}.")
    if modality not in _CAPTURE_MODALITIES:
        known = modality if re.fullmatch(r"[A-Z]{2,6}", modality) else "another modality"
        raise ImageRefusedError("unsupported_object", f"This is a picture taken from {known}, not from a radiograph.")


def _check_body(header: Header) -> None:
    part, view = _words(header.body_part), _words(header.view)
    other = _OTHER_PART.search(part)
    if other and not _CHEST.search(part):
        raise ImageRefusedError(
            "not_a_chest", f"The file says that it shows another part of the body ({other[0].lower()})."
        )
    for named, pattern in (("a lateral", _LATERAL), ("an oblique", _OBLIQUE)):
        if pattern.search(view) and _LYING_ON_SIDE not in view:
            raise ImageRefusedError("lateral", f"The file says that this is {named} image.")


def _words(text: str) -> str:
    """The words of a term, apart by spaces: `CHEST_PA` has two."""
    return " ".join(re.findall("[A-Z]+", text))


def _grey_image(header: Header, shape: Shape, pixels: NDArray[np.unsignedinteger], photometric: str) -> GreyImage:
    white = 2**shape.bits_stored - 1
    if photometric == "RGB":
        return luma(pixels, white)
    values = stored_values(shape.bits_allocated, shape.bits_stored, signed=shape.signed)
    if shape.samples > 1:
        return apply_greys(pixels[..., 0], values / white)
    if shape.photometric == "PALETTE COLOR":
        colours = np.stack([table.apply(values) / (2**table.bits - 1) for table in header.elements.palette()], axis=-1)
        return apply_greys(pixels, np.clip(colours @ LUMA, 0, 1))
    padding = _padding(header, values)
    used = patterns_used(pixels) & ~padding
    if not used.any():
        raise ImageRefusedError("constant", "The image is blank: it is padding everywhere.")
    greys = apply_display(values, header.elements.display(), used)
    greys[padding] = 0
    return apply_greys(pixels, greys)


def _padding(header: Header, values: Table) -> NDArray[np.bool_]:
    """The patterns that fill the picture up around the radiograph (PS3.3 C.7.5.1.1.2), outside its range of greys."""
    padding = np.zeros(len(values), np.bool_)
    value = header.elements.number("PixelPaddingValue")
    limit = header.elements.number("PixelPaddingRangeLimit")
    if value is None or not value.is_integer():
        return padding
    pattern = int(value) % len(values)
    padding[pattern] = True
    first = values[pattern]
    if first not in {
        value,
        value - len(values),
    }:  # it uses bits above the stored ones, as no pixel of the radiograph does
        return padding
    last = values[int(limit) % len(values)] if limit is not None and limit.is_integer() else first
    padding |= (values >= min(first, last)) & (values <= max(first, last))
    return padding


def _tags(header: Header) -> Tags:
    years = _age(header)
    return Tags(
        view=_code(_FRONTAL_MEANINGS.get(header.view, header.view)),
        sex=header.sex if header.sex in {"F", "M", "O"} else None,
        age_band=None if years is None else _age_band(years),
        modality=_code(header.modality),
        manufacturer=_printable(header.manufacturer),
    )


def _warnings(header: Header) -> tuple[str, ...]:
    warnings, years = [], _age(header)
    if header.burned_in == "YES":
        warnings.append(
            "The file says that text is burned into the image: it can mislead the model, and may name the patient."
        )
    if years is not None and years < ADULT_AGE:
        warnings.append(
            f"The file says that the patient is under {ADULT_AGE}; the model learned from images of adults."
        )
    return (*warnings, *_geometry_warnings(header))


def _geometry_warnings(header: Header) -> tuple[str, ...]:
    """What the file says against the picture being seen as usual, with the patient's left on the viewer's right.

    Patient orientation (PS3.3 C.7.6.1.1.1) is where a row and a column of pixels lead to: `L` and `F`, left and feet, for a
    frontal radiograph. The pixel aspect ratio (C.7.6.3.1.7) is the height of a pixel to its width.
    """
    warnings = []
    row, column = header.orientation if len(header.orientation) == 2 else ("", "")  # noqa: PLR2004
    if row.startswith("R") and column.startswith("F"):
        warnings.append(
            "The file says that the image is stored mirrored, with the patient's left side on the left: left and right may be"
            " swapped. Check the side marker."
        )
    elif (row and not row.startswith("L")) or (column and not column.startswith("F")):
        warnings.append(
            "The file says that the image is stored turned or flipped: left and right may be swapped. Check the side marker."
        )
    if len(header.aspect) == 2 and header.aspect[0] != header.aspect[1]:  # noqa: PLR2004
        warnings.append("The file says that its pixels are not square: the image is shown stretched.")
    return tuple(warnings)


def _age(header: Header) -> int | None:
    """In whole years, from `nnnD`, `nnnW`, `nnnM` or `nnnY` (PS3.5 6.2)."""
    age = _AGE.fullmatch(header.age)
    return None if age is None else int(age[1]) // _IN_A_YEAR[age[2]]


def _age_band(years: int) -> str:
    """Ten years: fewer would help to tell who it is."""
    first = years // 10 * 10
    return f"{_OLDEST_BAND}+" if first >= _OLDEST_BAND else f"{first}-{first + 9}"


def _code(text: str) -> str | None:
    """A term of a few capitals, None for anything else: it is shown and exported."""
    return text if re.fullmatch(r"[A-Z0-9 _-]{1,16}", text) else None


def _printable(text: str) -> str | None:
    kept = "".join(character for character in text if character.isprintable())[:_MANUFACTURER_LENGTH].strip()
    return kept or None
