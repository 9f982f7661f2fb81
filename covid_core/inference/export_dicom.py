"""DICOM out for DICOM in: the heat map as a Secondary Capture image, and the result as a structured report.

Both are filed with the study of the image: the patient and the study are taken over from its file, and go nowhere else. Of the
file only the elements named here are read, never its pixels. Values of the file are never passed to a library that may put
them into a warning or an error.

Sources: DICOM PS3.3, A.8.1 (Secondary Capture Image IOD) and A.35.3 (Comprehensive SR IOD); PS3.16, TID 1500, 1501 and 4019.
"""

# ruff: noqa: PLC0415  pydicom and highdicom are imported only when an export is made, so that nothing else waits for them

import io
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from covid_core.errors import CovidCoreError
from covid_core.files import sha256_of_bytes
from covid_core.images.quiet import quiet
from covid_core.inference.bundle import Bundle
from covid_core.inference.export_pdf import model_hash, software
from covid_core.inference.export_sr import CODING_SCHEME, MAKER, chief_sentences, measurement_report, report_sentences
from covid_core.inference.prediction import Prediction, Reading
from covid_core.inference.wording import ANYWAY, further_cautions, heat_sentences, repairs_sentence

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

CAPTURE_SERIES, REPORT_SERIES = 9001, 9002
"""Numbers of the new series: far above those that a device gives to its own."""

# Patient and study, as far as they are taken over. Those of the first line are of type 2: present, and empty if not known.
_ALWAYS = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID"),
)
_IF_KNOWN = ("IssuerOfPatientID", "StudyDescription", "TimezoneOffsetFromUTC")
_NAMES = ("PatientName", "ReferringPhysicianName")
_IDENTITY = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_ABOUT_THE_IMAGE = (
    *("BurnedInAnnotation", "PatientOrientation"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)
# A value of another form would make the new file invalid, so it is left out. PS3.5, 6.2.
_DATE = r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
_FORMS = {
    **dict.fromkeys(_IDENTITY, r"(?=.{1,64}$)(0|[1-9]\d*)(\.(0|[1-9]\d*))+"),
    "SOPClassUID": r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(1(\.1){0,2}|7)",  # CR, DX or secondary capture: PS3.4, B.5
    "BurnedInAnnotation": r"YES|NO",
    "PatientBirthDate": _DATE,
    "PatientSex": r"[FMO]",
    "StudyDate": _DATE,
    "StudyTime": r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?",
    "TimezoneOffsetFromUTC": r"[+-](0\d|1[0-4])[0-5]\d",
    "PatientOrientation": r"[APRLHF]{1,3}\\[APRLHF]{1,3}",
    "LossyImageCompressionRatio": r"\d{1,8}(\.\d{1,7})?",
    "LossyImageCompressionMethod": r"[A-Z0-9_]{1,16}",
}
_LONGEST_VALUE = 1024  # bytes; what is longer is no name, number or date
_LONGEST_STRING, _LONGEST_TEXT, _LONGEST_COMMENT = 64, 1024, 10240  # characters of the VRs LO, ST and LT: PS3.5, 6.2
_HEADER = 65536  # bytes, in which the file says how it is compressed
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_LOSSY_SYNTAXES = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")
_OUR_UIDS = UUID("6c9b3a54-21f7-4a0e-9a4e-8f3a4d1c7b52")


class DicomExportError(CovidCoreError):
    """No DICOM object can be made of a result; `str(error)` says why, and what to do instead."""


@dataclass(frozen=True)
class _Source:
    """The image's file, as far as it is read."""

    values: dict[str, str]  # keyword -> value as text, of the elements that have a value of the right form
    lossy: bool  # whether the pixels were compressed with a loss, at any time


@dataclass(frozen=True)
class _Export:
    """What both objects are made of: the result, the image's file, the model, and the time in the file's own time zone."""

    result: Reading
    prediction: Prediction
    source: _Source
    bundle: Bundle
    made: datetime

    def uid(self, role: str, content: str) -> str:
        """A new UID, the same for the same image, model, time, role and content."""
        image, model = self.source.values["SOPInstanceUID"], model_hash(self.bundle)
        return _uid(image, self.bundle.name, self.bundle.version, model, self.made.isoformat(), role, content)


def secondary_capture(
    source: bytes, rgb: NDArray[np.uint8], result: Reading, bundle: Bundle, created: datetime
) -> bytes:
    """Make a Secondary Capture image of an image with its heat map, in the study of the image.

    Args:
        source: the DICOM file that the image was read from.
        rgb: uint8 (height, width, 3), without text of its own.
        result: what became of the image.
        bundle: the model that the result comes from.
        created: when the object is made, with its offset from UTC.

    Returns:
        A DICOM file, Explicit VR Little Endian, not compressed. The same input gives the same bytes.

    Raises:
        DicomExportError: the image was refused, or its file does not say which study it belongs to.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:  # noqa: PLR2004  height, width and three colours
        raise ValueError(f"`rgb` must be uint8 (height, width, 3). Received: {rgb.dtype} {rgb.shape}")
    export = _export(source, result, bundle, created)
    from highdicom.sc import SCImage

    content = sha256_of_bytes(rgb.tobytes() + repr(report_sentences(result, bundle, created)).encode())
    image = SCImage(
        pixel_array=np.ascontiguousarray(rgb),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # asked for here, and replaced by what is known of it
        study_instance_uid=export.source.values["StudyInstanceUID"],
        series_instance_uid=export.uid("capture series", content),
        sop_instance_uid=export.uid("capture", content),
        series_number=CAPTURE_SERIES,
        series_description=_series_description("COVID-19 heat map", export),
        **_common(export),
    )
    _describe_capture(image, export)
    return _file_of(image, export)


def structured_report(source: bytes, result: Reading, bundle: Bundle, created: datetime) -> bytes:
    """Make a Comprehensive SR of a result, a measurement report (TID 1500) on the image, in the study of the image.

    It is partial, preliminary and not verified: nobody has read it who answers for it. For the arguments, the result and the
    errors see `secondary_capture`.
    """
    export = _export(source, result, bundle, created)
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from highdicom.sr import ComprehensiveSR

    values, sentences = export.source.values, report_sentences(result, bundle, created)
    content = sha256_of_bytes(repr((sentences, export.prediction.probability_covid)).encode())
    report = ComprehensiveSR(
        evidence=[_evidence(export.source)],
        content=measurement_report(
            export.prediction,
            bundle,
            sentences,
            image=(values["SOPClassUID"], values["SOPInstanceUID"]),
            observation=export.uid("observation", content),
            reader=_uid(MAKER, bundle.name, bundle.version, model_hash(bundle)),
        )[0],
        series_instance_uid=export.uid("report series", content),
        sop_instance_uid=export.uid("report", content),
        series_number=REPORT_SERIES,
        series_description=_series_description("COVID-19 second reader report", export),
        coding_schemes=[CodingSchemeIdentificationItem(CODING_SCHEME, name="Codes of covid_core")],
        **_common(export),
    )
    return _file_of(report, export)


def check_source(source: bytes) -> None:
    """Raise `DicomExportError` where a PACS could not file what is exported for a DICOM file, or it cannot be read."""
    _read(source)


def _export(source: bytes, result: Reading, bundle: Bundle, created: datetime) -> _Export:
    if not isinstance(result.outcome, Prediction):
        raise DicomExportError("A refused image has no result that could be filed. Choose an image that was predicted.")
    if created.utcoffset() is None:
        raise ValueError(f"`created` must know its offset from UTC. Received: {created!r}")
    read = _read(source)
    # One offset holds for every date and time of a file (PS3.3, C.12.1.1.8), the study's among them, which stay as they are.
    offset = read.values.get("TimezoneOffsetFromUTC")
    made = created if offset is None else created.astimezone(datetime.strptime(offset, "%z").tzinfo)
    return _Export(result, result.outcome, read, bundle, made)


def _uid(*parts: str) -> str:
    """A UID that nobody else gives, made of a name-based UUID: PS3.5, B.2."""
    return f"2.25.{uuid5(_OUR_UIDS, '|'.join(parts)).int}"


def _read(source: bytes) -> _Source:
    """Read the elements that are named here, and refuse a file that a PACS could not file the result with."""
    from pydicom import dcmread

    if _DEFLATED in source[:_HEADER]:  # a few bytes of it may inflate to gigabytes
        raise DicomExportError("The DICOM file is deflated, which is not supported. Export the result as PDF.")
    wanted = (*_IDENTITY, *_ALWAYS, *_IF_KNOWN, *_ABOUT_THE_IMAGE)
    try:
        with quiet:  # pydicom may quote the file in its log
            dataset = dcmread(io.BytesIO(source), stop_before_pixels=True, force=True, specific_tags=list(wanted))
            values = {keyword: _value(dataset, keyword) for keyword in wanted}
        syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    except Exception:  # what a damaged file makes the reader raise is not foreseeable, and may quote the patient's name
        raise DicomExportError("The DICOM file cannot be read again. Export the result as PDF.") from None
    if not all(values[keyword] for keyword in _IDENTITY):
        raise DicomExportError(
            "The DICOM file does not say which study, series and image it is, so that nothing can be filed with it. "
            "Export the result as PDF."
        )
    lossy = values["LossyImageCompression"] == "01" or syntax in _LOSSY_SYNTAXES
    return _Source({keyword: value for keyword, value in values.items() if value}, lossy)


def _value(dataset: "Dataset", keyword: str) -> str:
    """An element as text; empty where it is missing, or its value is not of the form that the standard wants."""
    from pydicom.charset import convert_encodings, decode_bytes
    from pydicom.tag import Tag
    from pydicom.valuerep import TEXT_VR_DELIMS, PersonName

    # As it is stored: pydicom would otherwise put a value that it finds invalid into a warning.
    element = dataset.get_item(Tag(keyword))
    stored = None if element is None else element.value
    if not isinstance(stored, bytes) or len(stored) > _LONGEST_VALUE:
        return ""
    encodings = convert_encodings(dataset.get("SpecificCharacterSet"))
    text = str(PersonName(stored, encodings)) if keyword in _NAMES else decode_bytes(stored, encodings, TEXT_VR_DELIMS)
    text = re.sub(r"[\x00-\x1f\x7f]", "", text).strip()
    return text if re.fullmatch(_FORMS.get(keyword, r".*"), text) else ""


def _common(export: _Export) -> dict[str, Any]:
    """What highdicom asks for any object. The patient is not among it: it would put an unusual name into a warning."""
    date, time = _date_and_time(export.made)
    return {
        "instance_number": 1,
        "manufacturer": MAKER,
        "manufacturer_model_name": _string(export.bundle.name),
        "software_versions": [_string(software()), _string(f"model {export.bundle.version}")],
        "device_serial_number": _string(model_hash(export.bundle)),
        "content_qualification": "RESEARCH",
        "specific_character_set": "ISO_IR 192",
        **{"content_date": date, "content_time": time, "series_date": date, "series_time": time},
    }


def _describe_capture(image: "Dataset", export: _Export) -> None:
    values, prediction, bundle = export.source.values, export.prediction, export.bundle
    orientation = "" if export.result.repairs else values.get("PatientOrientation", "")
    image.PatientOrientation = orientation.split("\\") if orientation else []
    image.BodyPartExamined = "CHEST"
    image.ConversionType = "WSD"
    image.DateOfSecondaryCapture, image.TimeOfSecondaryCapture = _date_and_time(export.made)
    derivation = f"Heat map (Grad-CAM) of {bundle.name}, version {bundle.version}, drawn over the image."
    parts = (derivation, heat_sentences(prediction, bundle), repairs_sentence(export.result.repairs) or "")
    image.DerivationDescription = " ".join(parts).strip()[:_LONGEST_TEXT]
    comments = " ".join([*chief_sentences(prediction, bundle), *further_cautions(export.result)])
    image.ImageComments = comments[:_LONGEST_COMMENT]
    image.SourceImageSequence = [_reference(export.source)]
    if "BurnedInAnnotation" in values:  # the overlay adds none; where the image's file does not say, neither does this
        image.BurnedInAnnotation = values["BurnedInAnnotation"]
    if export.source.lossy:  # once lost is lost: PS3.3, C.7.6.1.1.5
        image.LossyImageCompression = "01"
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if keyword in values:
                setattr(image, keyword, values[keyword])


def _reference(source: _Source) -> "Dataset":
    from highdicom.sr import CodedConcept
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = source.values["SOPClassUID"]
    item.ReferencedSOPInstanceUID = source.values["SOPInstanceUID"]
    purpose = CodedConcept("121322", "DCM", "Source Image for Image Processing Operation")
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item


def _evidence(source: _Source) -> "Dataset":
    """The image as highdicom wants it: where it is, without the patient."""
    from pydicom.dataset import Dataset

    image = Dataset()
    for keyword in _IDENTITY:
        setattr(image, keyword, source.values[keyword])
    for keyword in _ALWAYS:
        setattr(image, keyword, "")
    return image


def _file_of(made: Any, export: _Export) -> bytes:
    """Put in the patient, the study and the times, and write the object as a file."""
    from pydicom.config import IGNORE
    from pydicom.datadict import dictionary_VR
    from pydicom.dataelem import DataElement
    from pydicom.tag import Tag

    values = export.source.values
    for keyword in (*_ALWAYS, *(keyword for keyword in _IF_KNOWN if keyword in values)):
        # Unchecked, as a check that fails would put the value into a warning; it is as it was in the image's file.
        value, representation = values.get(keyword, ""), dictionary_VR(keyword)
        made.add(DataElement(Tag(keyword), representation, value, validation_mode=IGNORE))
    made.InstanceCreationDate, made.InstanceCreationTime = _date_and_time(export.made)
    for equipment in made.ContributingEquipmentSequence:  # highdicom names itself, at the present time
        equipment.ContributionDateTime = f"{export.made:%Y%m%d%H%M%S%z}"
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _series_description(title: str, export: _Export) -> str:
    mark = f", {ANYWAY.upper()}" if export.prediction.anyway is not None else ""
    return _string(f"RESEARCH ONLY{mark}: {title}")


def _date_and_time(moment: datetime) -> tuple[str, str]:
    """`20261123` and `213012`."""
    return f"{moment:%Y%m%d}", f"{moment:%H%M%S}"


def _string(text: str) -> str:
    """Text as one value of the VR LO, in which a backslash parts values."""
    return text.replace("\\", "/")[:_LONGEST_STRING]
