import io
import shutil
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread, dcmwrite
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from covid_core.errors import CovidCoreError
from covid_core.inference.bundle import Bundle
from covid_core.inference.export_dicom import DicomExportError, secondary_capture, structured_report
from covid_core.inference.prediction import Prediction, Reading
from covid_core.inference.wording import CHILD
from covid_core.text import RESEARCH_ONLY
from tests.inference.export_samples import (
    ANYWAY,
    COPY,
    COVID,
    CREATED,
    DIGEST,
    FULL,
    INDETERMINATE,
    LATER,
    OPAQUE,
    OTHER,
    REFUSED,
    sample_bundle,
)

SECONDARY_CAPTURE, COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.88.33"
COVID_19 = Code("840539006", "SCT", "COVID-19")
PROBABILITY = Code("122157", "DCM", "Probability")

# Attributes by type (1: present with a value; 2: present) of the mandatory modules, from the tables of PS3.3, annex C: patient
# C.7-1, general study C.7-3, general series C.7-5a, SC equipment C.8-24, general image C.7-9, image pixel C.7-11a, SOP common
# C.12-1; SR document series C.17-1, general equipment C.7-8, SR document general C.17-2, SR document content C.17-4.
_PATIENT_AND_STUDY = {
    **{"PatientName": 2, "PatientID": 2, "PatientBirthDate": 2, "PatientSex": 2, "StudyInstanceUID": 1},
    **{"StudyDate": 2, "StudyTime": 2, "ReferringPhysicianName": 2, "StudyID": 2, "AccessionNumber": 2},
}
_COMMON = {**_PATIENT_AND_STUDY, "SOPClassUID": 1, "SOPInstanceUID": 1, "SpecificCharacterSet": 1}
CAPTURE_ATTRIBUTES = {
    **_COMMON,
    **{"Modality": 1, "SeriesInstanceUID": 1, "SeriesNumber": 2, "ConversionType": 1, "InstanceNumber": 2},
    **{"PatientOrientation": 2, "SamplesPerPixel": 1, "PhotometricInterpretation": 1, "Rows": 1, "Columns": 1},
    **{"BitsAllocated": 1, "BitsStored": 1, "HighBit": 1, "PixelRepresentation": 1, "PlanarConfiguration": 1},
    "PixelData": 1,
}
REPORT_ATTRIBUTES = {
    **_COMMON,
    **{"Modality": 1, "SeriesInstanceUID": 1, "SeriesNumber": 1, "ReferencedPerformedProcedureStepSequence": 2},
    **{"Manufacturer": 2, "InstanceNumber": 1, "CompletionFlag": 1, "VerificationFlag": 1, "ContentDate": 1},
    **{"ContentTime": 1, "PerformedProcedureCodeSequence": 2, "CurrentRequestedProcedureEvidenceSequence": 1},
    **{"ValueType": 1, "ConceptNameCodeSequence": 1, "ContinuityOfContent": 1, "ContentSequence": 1},
}


def in_memory(**values: Any) -> bytes:
    """A digital chest X-ray with a name in UTF-8; a value of None takes the element away."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = UID("1.2.3.4.5.6.3")
    image = FileDataset("image", {}, file_meta=meta, preamble=b"\0" * 128)
    given = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": DigitalXRayImageStorageForPresentation,
        "SOPInstanceUID": "1.2.3.4.5.6.3",
        "SeriesInstanceUID": "1.2.3.4.5.6.2",
        "StudyInstanceUID": "1.2.3.4.5.6.1",
        "PatientName": "Müller^Łucja=胸部^山田",
        "PatientID": "ПАЦ-7",
        "PatientBirthDate": "19500131",
        "PatientSex": "F",
        "StudyDate": "20200301",
        "StudyTime": "101500",
        "AccessionNumber": "A1",
        "StudyID": "S1",
        "StudyDescription": "Thorax",
        "ReferringPhysicianName": "Überweiser^Ö",
        "Modality": "DX",
        "PatientOrientation": ["L", "F"],
        "InstitutionName": "A hospital",
        "OtherPatientIDs": "secret",
    } | values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that are not valid: some of these files are bad on purpose
        for keyword, value in given.items():
            if value is not None:
                setattr(image, keyword, value)
        buffer = io.BytesIO()
        dcmwrite(buffer, image, enforce_file_format=True)
    return buffer.getvalue()


def packaged(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"{name} is not installed here (pydicom-data, requirements-dev.txt)")
    return Path(str(path)).read_bytes()


def charset_sample(name: str) -> bytes:
    return Path(get_charset_files(name)[0]).read_bytes()


SOURCES: dict[str, Callable[[], bytes]] = {
    "a real chest X-ray (CR)": lambda: packaged("RG1_UNCR.dcm"),
    "a real leg (CR), JPEG 2000": lambda: packaged("RG3_J2KI.dcm"),
    "CR, Japanese": lambda: charset_sample("chrJapMultiExplicitIR6.dcm"),
    "CR, Korean": lambda: charset_sample("chrKoreanMulti.dcm"),
    "SC, Greek": lambda: charset_sample("chrGreek.dcm"),
    "SC, big endian": lambda: packaged("SC_rgb_small_odd_big_endian.dcm"),
    "SC without patient id and birth date": lambda: packaged("OT-PAL-8-face.dcm"),
    "DX, UTF-8": in_memory,
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return sample_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def rgb() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (70, 61, 3), np.uint8)  # odd, so that the pixels want padding


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest) -> bytes:
    return SOURCES[request.param]()


def opened(data: bytes) -> FileDataset:
    return dcmread(io.BytesIO(data))


def content(report: Dataset) -> list[Dataset]:
    """Every content item, from the root downwards."""
    items = list(report.get("ContentSequence", []))
    return items + [below for item in items for below in content(item)]


def numbers(report: Dataset) -> dict[str, float]:
    """Code value of each measurement -> its value; all of them are ratios."""
    found = {}
    for item in content(report):
        if item.ValueType == "NUM":
            measured = item.MeasuredValueSequence[0]
            assert measured.MeasurementUnitsCodeSequence[0].CodeValue == "{ratio}"
            assert measured.MeasurementUnitsCodeSequence[0].CodingSchemeDesignator == "UCUM"
            found[item.ConceptNameCodeSequence[0].CodeValue] = float(measured.NumericValue)
    return found


def codes_of(report: Dataset) -> dict[str, str]:
    """Meaning of the name of each coded item -> meaning of its value."""
    return {
        item.ConceptNameCodeSequence[0].CodeMeaning: item.ConceptCodeSequence[0].CodeMeaning
        for item in content(report)
        if item.ValueType == "CODE"
    }


def texts(report: Dataset) -> list[str]:
    return [item.TextValue for item in content(report) if item.ValueType == "TEXT"]


def missing(dataset: Dataset, types: dict[str, int]) -> list[str]:
    return [name for name, kind in types.items() if name not in dataset or (kind == 1 and dataset[name].is_empty)]


def both(result: Reading, rgb: NDArray[np.uint8], bundle: Bundle, **values: Any) -> tuple[FileDataset, FileDataset]:
    """The capture and the report of a result on the image in memory."""
    source = in_memory(**values)
    made = secondary_capture(source, rgb, result, bundle, CREATED), structured_report(source, result, bundle, CREATED)
    return opened(made[0]), opened(made[1])


def test_both_objects_have_what_the_standard_demands(source: bytes, rgb: NDArray[np.uint8], bundle: Bundle) -> None:
    capture = opened(secondary_capture(source, rgb, FULL, bundle, CREATED))
    report = opened(structured_report(source, FULL, bundle, CREATED))
    assert missing(capture, CAPTURE_ATTRIBUTES) == []
    assert missing(report, REPORT_ATTRIBUTES) == []
    assert (capture.SOPClassUID, report.SOPClassUID) == (SECONDARY_CAPTURE, COMPREHENSIVE_SR)
    for made in (capture, report):
        assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID
        assert made.file_meta.MediaStorageSOPClassUID == made.SOPClassUID
        assert made.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed here (dicom3tools)")
def test_the_validator_of_dicom3tools_finds_no_error(
    source: bytes, rgb: NDArray[np.uint8], bundle: Bundle, tmp_path: Path
) -> None:
    for result in (FULL, replace(FULL, outcome=ANYWAY), Reading("a", COVID)):
        made = {
            "SCImage": secondary_capture(source, rgb, result, bundle, CREATED),
            "ComprehensiveSR": structured_report(source, result, bundle, CREATED),
        }
        for iod, data in made.items():
            file = tmp_path / "made.dcm"
            file.write_bytes(data)
            done = subprocess.run(["dciodvfy", "-new", str(file)], capture_output=True, text=True, check=False)
            said = done.stdout + done.stderr
            assert iod in said
            assert "Error" not in said


def test_both_objects_are_filed_with_the_study_of_the_image(rgb: NDArray[np.uint8], bundle: Bundle) -> None:
    for made in both(FULL, rgb, bundle):
        assert made.StudyInstanceUID == "1.2.3.4.5.6.1"
        assert str(made.PatientName) == "Müller^Łucja=胸部^山田"
        assert (made.PatientID, made.PatientBirthDate, made.PatientSex) == ("ПАЦ-7", "19500131", "F")
        assert (made.StudyDate, made.StudyTime, made.AccessionNumber) == ("20200301", "101500", "A1")
        assert (made.StudyID, made.StudyDescription) == ("S1", "Thorax")
        assert str(made.ReferringPhysicianName) == "Überweiser^Ö"
        assert "InstitutionName" not in made
        assert "OtherPatientIDs" not in made


@pytest.mark.parametrize(
    ("name", "patient"),
    # As pydicom's own tests give them (tests/test_charset.py).
    [
        ("chrArab.dcm", "قباني^لنزار"),
        ("chrFren.dcm", "Buc^Jérôme"),
        ("chrGerm.dcm", "Äneas^Rüdiger"),
        ("chrGreek.dcm", "Διονυσιος"),
        ("chrH31.dcm", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("chrH32.dcm", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        ("chrHbrw.dcm", "שרון^דבורה"),
        ("chrI2.dcm", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("chrRuss.dcm", "Люкceмбypг"),  # noqa: RUF001  as it is written there
        ("chrX1.dcm", "Wang^XiaoDong=王^小東"),
        ("chrX2.dcm", "Wang^XiaoDong=王^小东"),
    ],
)
def test_names_in_other_scripts_survive(name: str, patient: str, bundle: Bundle) -> None:
    report = opened(structured_report(charset_sample(name), FULL, bundle, CREATED))
    assert str(report.PatientName) == patient
    assert report.SpecificCharacterSet == "ISO_IR 192"


def test_the_capture_holds_the_overlay(source: bytes, rgb: NDArray[np.uint8], bundle: Bundle) -> None:
    capture = opened(secondary_capture(source, rgb, FULL, bundle, CREATED))
    assert np.array_equal(capture.pixel_array, rgb)
    assert capture.ImageType[:2] == ["DERIVED", "SECONDARY"]
    assert capture.PhotometricInterpretation == "RGB"


def test_the_capture_says_what_it_is(rgb: NDArray[np.uint8], bundle: Bundle) -> None:
    capture = opened(secondary_capture(in_memory(), rgb, FULL, bundle, CREATED))
    assert capture.SeriesDescription == "RESEARCH ONLY: COVID-19 heat map"
    assert capture.ContentQualification == "RESEARCH"
    assert capture.DerivationDescription.startswith("Heat map (Grad-CAM) of net-a, version 2026-11-23-0123")
    assert "Where the model looked, not where disease is." in capture.DerivationDescription
    assert "turned right, then inverted" in capture.DerivationDescription
    assert capture.ImageComments.startswith(RESEARCH_ONLY)
    assert "P(COVID-19) 0.620" in capture.ImageComments
    assert (capture.DateOfSecondaryCapture, capture.TimeOfSecondaryCapture) == ("20261123", "213012")
    assert capture.DeviceSerialNumber == DIGEST
    assert list(capture.SoftwareVersions) == ["covid_core 0.1.0", "model 2026-11-23-0123"]
    assert (capture.ManufacturerModelName, capture.ConversionType) == ("net-a", "WSD")


def test_both_objects_refer_to_the_image(source: bytes, rgb: NDArray[np.uint8], bundle: Bundle) -> None:
    image = dcmread(io.BytesIO(source), stop_before_pixels=True, force=True)  # one of them has no preamble
    capture = opened(secondary_capture(source, rgb, FULL, bundle, CREATED))
    report = opened(structured_report(source, FULL, bundle, CREATED))
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert capture.SourceImageSequence[0].ReferencedSOPClassUID == image.SOPClassUID
    images = [item.ReferencedSOPSequence[0] for item in content(report) if item.ValueType == "IMAGE"]
    assert [one.ReferencedSOPInstanceUID for one in images] == [image.SOPInstanceUID]
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0]
    assert evidence.StudyInstanceUID == image.StudyInstanceUID
    assert evidence.ReferencedSeriesSequence[0].SeriesInstanceUID == image.SeriesInstanceUID


def test_the_new_objects_have_identities_of_their_own(rgb: NDArray[np.uint8], bundle: Bundle) -> None:
    source = in_memory()
    made = [
        secondary_capture(source, rgb, FULL, bundle, CREATED),
        secondary_capture(source, 255 - rgb, FULL, bundle, CREATED),
        secondary_capture(source, rgb, replace(FULL, outcome=ANYWAY), bundle, CREATED),
        secondary_capture(source, rgb, FULL, bundle, LATER),
        secondary_capture(in_memory(SOPInstanceUID="1.2.3.4.5.6.9"), rgb, FULL, bundle, CREATED),
        secondary_capture(source, rgb, FULL, replace(bundle, version="v2"), CREATED),
        structured_report(source, FULL, bundle, CREATED),
        structured_report(source, replace(FULL, repairs=()), bundle, CREATED),
        structured_report(source, FULL, bundle, LATER),
    ]
    uids = [uid for data in map(opened, made) for uid in (data.SOPInstanceUID, data.SeriesInstanceUID)]
    assert len(set(uids)) == 2 * len(made)
    assert all(uid.is_valid and uid.startswith("2.25.") for uid in uids)

    def observer(source: bytes, by: Bundle) -> str:
        items = content(opened(structured_report(source, FULL, by, CREATED)))
        (item,) = (one for one in items if one.ConceptNameCodeSequence[0].CodeMeaning == "Device Observer UID")
        return str(item.UID)

    # The observer is the model, whatever the image.
    assert observer(source, bundle) == observer(in_memory(SOPInstanceUID="1.2.3.4.5.6.9"), bundle)
    assert observer(source, bundle) != observer(source, replace(bundle, version="v2"))


def test_the_same_input_gives_the_same_files(rgb: NDArray[np.uint8], bundle: Bundle) -> None:
    for make in (
        lambda: secondary_capture(in_memory(), rgb, FULL, bundle, CREATED),
        lambda: structured_report(in_memory(), FULL, bundle, CREATED),
    ):
        assert make() == make()


def test_the_report_holds_the_result(source: bytes, bundle: Bundle) -> None:
    report = opened(structured_report(source, FULL, bundle, CREATED))
    assert numbers(report) == {
        **{"122157": 0.62, "SPREAD_LOW": 0.5, "SPREAD_HIGH": 0.8, "OPERATING_POINT": 0.4},
        **{"INDET_FROM": 0.31, "INDET_TO": 0.68, "HEAT_IN_LUNGS": 0.25},
    }
    assert codes_of(report)["COVID-19"] == "Indeterminate"
    assert codes_of(report)["Check for an upright frontal chest X-ray"] == "Passed"
    said = texts(report)
    assert RESEARCH_ONLY in said
    assert any(one.startswith("Indeterminate. The model can rule out neither class") for one in said)
    assert {"The image is dark.", "It knows no child.", "net-a", "2026-11-23-0123", f"SHA-256 {DIGEST}"} <= set(said)
    assert "Before it was read, the image was turned right, then inverted." in said
    assert "Made 2026-11-23 21:30:12 UTC+05:30 by covid_core 0.1.0." in said
    assert "Operating point 0.400: chosen by hand" in said
    cold = Reading("a", replace(INDETERMINATE, heat=np.zeros((8, 8), np.float32)))
    assert "HEAT_IN_LUNGS" not in numbers(opened(structured_report(source, cold, bundle, CREATED)))


def test_a_measurement_report_is_read_by_highdicom(bundle: Bundle) -> None:
    report = highdicom.sr.ComprehensiveSR.from_dataset(opened(structured_report(in_memory(), FULL, bundle, CREATED)))
    (group,) = report.content.get_image_measurement_groups()
    (probability,) = group.get_measurements(name=PROBABILITY)
    assert (probability.value, probability.unit.value) == (0.62, "{ratio}")
    (decision,) = group.get_qualitative_evaluations(name=COVID_19)
    assert decision.value == Code("82334004", "SCT", "Indeterminate")
    assert group.source_images[0].referenced_sop_instance_uid == "1.2.3.4.5.6.3"
    (observer,) = report.content.get_observer_contexts()
    assert observer.observer_identifying_attributes.serial_number == DIGEST


@pytest.mark.parametrize(
    ("prediction", "code", "meaning"),
    [
        (COVID, "410592001", "Probably present"),
        (OTHER, "410593006", "Probably NOT present"),
        (replace(COVID, decision=None), "410592001", "Probably present"),
        (INDETERMINATE, "82334004", "Indeterminate"),
    ],
)
def test_the_decision_is_coded(prediction: Any, code: str, meaning: str, bundle: Bundle) -> None:
    report = opened(structured_report(in_memory(), Reading("a", prediction), bundle, CREATED))
    (item,) = (item for item in content(report) if item.ConceptNameCodeSequence[0].CodeValue == "840539006")
    value = item.ConceptCodeSequence[0]
    assert (value.CodeValue, value.CodingSchemeDesignator, value.CodeMeaning) == (code, "SCT", meaning)


def test_the_report_is_not_a_verified_one(bundle: Bundle) -> None:
    report = opened(structured_report(in_memory(), FULL, bundle, CREATED))
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        *("PARTIAL", "UNVERIFIED", "PRELIMINARY"),
    )
    assert report.SeriesDescription == "RESEARCH ONLY: COVID-19 second reader report"


def test_an_image_predicted_anyway_is_marked_in_both(rgb: NDArray[np.uint8], bundle: Bundle) -> None:
    result = replace(FULL, outcome=ANYWAY)
    capture, report = both(result, rgb, bundle)
    mark = (
        "PREDICTED ANYWAY: the gate refused this image (not_a_chest_xray). This is unlike the frontal chest X-rays that the "
        "model knows."
    )
    assert mark in capture.ImageComments
    assert mark in texts(report)
    assert codes_of(report)["Check for an upright frontal chest X-ray"] == "Refused, predicted anyway"
    assert all("PREDICTED ANYWAY" in one.SeriesDescription for one in (capture, report))
    assert set(numbers(report)) == {"122157", "OPERATING_POINT", "INDET_FROM", "INDET_TO", "HEAT_IN_LUNGS"}  # no spread
    assert "0.80" not in " ".join([capture.ImageComments, *texts(report)])


@pytest.mark.parametrize("outcome", [COPY, replace(ANYWAY, similar=COPY.similar)])
def test_both_say_what_speaks_against_relying_on_the_result(
    outcome: Prediction, rgb: NDArray[np.uint8], bundle: Bundle
) -> None:
    result = replace(FULL, outcome=outcome, warnings=("The image is dark.", "The image is small."))
    capture, report = both(result, rgb, bundle)
    copy = "The model was fitted on this very image or a copy of it, so the result says nothing of how good it is."
    for caution in (copy, *result.warnings):
        assert caution in capture.ImageComments
        assert caution in texts(report)
    capture, report = both(Reading("a", OPAQUE), rgb, bundle)
    assert CHILD in capture.ImageComments
    assert CHILD in texts(report)


def test_the_report_holds_the_pattern_and_the_affected_share_where_the_model_tells_them(bundle: Bundle) -> None:
    report = opened(structured_report(in_memory(), Reading("a", OPAQUE), bundle, CREATED))
    assert numbers(report) == {
        **{"122157": 0.9, "OPERATING_POINT": 0.4, "INDET_FROM": 0.31, "INDET_TO": 0.68},
        **{"PATTERN": 0.97, "LUNGS_AFFECTED": 0.236},
    }
    said = " ".join(texts(report))
    assert "Leans to: COVID-19 pattern. Opacities were found in 24% of the lungs" in said
    assert "Leans to" not in " ".join(texts(opened(structured_report(in_memory(), FULL, bundle, CREATED))))


def test_the_comments_are_no_longer_than_a_long_text(rgb: NDArray[np.uint8], bundle: Bundle) -> None:
    wordy = replace(FULL, warnings=("long words " * 2000,))
    comments = opened(secondary_capture(in_memory(), rgb, wordy, bundle, CREATED)).ImageComments
    assert 10000 < len(comments) <= 10240  # PS3.5, 6.2: LT; blanks at the end do not count
    assert comments.startswith(RESEARCH_ONLY)


def test_the_name_of_the_file_goes_nowhere(rgb: NDArray[np.uint8], bundle: Bundle) -> None:
    for outcome in (INDETERMINATE, ANYWAY, COPY):
        named = replace(FULL, outcome=outcome, file="Doe_Jane_1950.dcm")
        other = replace(named, file="other.dcm")
        capture = secondary_capture(in_memory(), rgb, named, bundle, CREATED)
        report = structured_report(in_memory(), named, bundle, CREATED)
        assert b"Doe_Jane" not in capture + report
        assert capture == secondary_capture(in_memory(), rgb, other, bundle, CREATED)
        assert report == structured_report(in_memory(), other, bundle, CREATED)


@pytest.mark.parametrize("said", ["YES", "NO", None])
def test_burned_in_text_is_told_as_the_image_tells_it(said: str | None, rgb: NDArray[np.uint8], bundle: Bundle) -> None:
    capture = opened(secondary_capture(in_memory(BurnedInAnnotation=said), rgb, FULL, bundle, CREATED))
    assert capture.get("BurnedInAnnotation") == said


def test_a_lossy_image_gives_a_lossy_capture(rgb: NDArray[np.uint8], bundle: Bundle) -> None:
    source = in_memory(LossyImageCompression="01", LossyImageCompressionRatio="10.5")
    capture = opened(secondary_capture(source, rgb, FULL, bundle, CREATED))
    assert (capture.LossyImageCompression, capture.LossyImageCompressionRatio) == ("01", 10.5)
    assert "LossyImageCompression" not in opened(secondary_capture(in_memory(), rgb, FULL, bundle, CREATED))


def test_the_orientation_is_taken_over_unless_the_image_was_turned(rgb: NDArray[np.uint8], bundle: Bundle) -> None:
    as_it_is, turned = replace(FULL, repairs=()), FULL
    assert list(opened(secondary_capture(in_memory(), rgb, as_it_is, bundle, CREATED)).PatientOrientation) == ["L", "F"]
    assert not opened(secondary_capture(in_memory(), rgb, turned, bundle, CREATED)).PatientOrientation


def test_what_the_image_does_not_say_is_left_blank(rgb: NDArray[np.uint8], bundle: Bundle) -> None:
    unknown = dict.fromkeys(name for name in _PATIENT_AND_STUDY if name != "StudyInstanceUID")
    for made in both(FULL, rgb, bundle, **unknown, SpecificCharacterSet=None, StudyDescription=None):
        assert all(made[name].is_empty for name in unknown)
        assert "StudyDescription" not in made


@pytest.mark.parametrize(
    "values",
    [
        {"PatientBirthDate": "1950.01.31"},
        {"PatientBirthDate": "19501399", "PatientSex": "female"},
        {"StudyTime": "25:00"},
    ],
)
def test_a_value_of_another_form_is_left_blank(values: dict[str, str], bundle: Bundle) -> None:
    report = opened(structured_report(in_memory(**values), FULL, bundle, CREATED))
    assert all(report[name].is_empty for name in values)


def test_unusual_values_are_taken_over_without_a_word(
    bundle: Bundle, rgb: NDArray[np.uint8], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    source = in_memory(PatientName="Marker", PatientID="Marker" * 20, AccessionNumber="Marker is too long for it")
    caplog.clear()
    capfd.readouterr()
    for data in (
        secondary_capture(source, rgb, FULL, bundle, CREATED),
        structured_report(source, FULL, bundle, CREATED),
    ):
        made = dcmread(io.BytesIO(data), specific_tags=["PatientName"])
        assert made.PatientName == "Marker"
        assert b"Marker" * 20 in data
    assert caplog.text == ""
    assert "Marker" not in "".join(capfd.readouterr())


def test_times_are_those_of_the_zone_of_the_image(rgb: NDArray[np.uint8], bundle: Bundle) -> None:
    for made in both(FULL, rgb, bundle, TimezoneOffsetFromUTC="+0200"):
        assert made.TimezoneOffsetFromUTC == "+0200"
        assert (made.ContentDate, made.ContentTime) == ("20261123", "180012")  # 21:30:12 at +05:30
        assert made.StudyTime == "101500"


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"])
@pytest.mark.parametrize("value", [None, "no uid", "1.2..3"])
def test_an_image_of_no_known_study_is_refused(keyword: str, value: str | None, bundle: Bundle) -> None:
    with pytest.raises(DicomExportError, match="does not say which study") as refused:
        structured_report(in_memory(**{keyword: value}), FULL, bundle, CREATED)
    assert isinstance(refused.value, CovidCoreError)
    assert "PDF" in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n no DICOM", b"\0" * 128 + b"DICM" + b"\xff" * 40])
def test_what_is_no_dicom_file_is_refused(data: bytes, rgb: NDArray[np.uint8], bundle: Bundle) -> None:
    with pytest.raises(DicomExportError):
        secondary_capture(data, rgb, FULL, bundle, CREATED)
    with pytest.raises(DicomExportError):
        secondary_capture(in_memory(SOPClassUID="1.2.840.10008.5.1.4.1.1.2"), rgb, FULL, bundle, CREATED)  # CT
    with pytest.raises(DicomExportError, match="deflated"):
        secondary_capture(packaged("image_dfl.dcm"), rgb, FULL, bundle, CREATED)


def test_a_refusal_does_not_quote_the_image(bundle: Bundle) -> None:
    cut = in_memory(PatientName="Marker^Marker")[:300]
    with pytest.raises(DicomExportError) as refused:
        structured_report(cut, FULL, bundle, CREATED)
    assert refused.value.__cause__ is None
    assert "Marker" not in str(refused.value)


def test_a_refused_image_has_nothing_to_file(rgb: NDArray[np.uint8], bundle: Bundle) -> None:
    with pytest.raises(DicomExportError, match="refused image"):
        secondary_capture(in_memory(), rgb, REFUSED, bundle, CREATED)
    with pytest.raises(DicomExportError, match="refused image"):
        structured_report(in_memory(), REFUSED, bundle, CREATED)
    with pytest.raises(ValueError, match="uint8"):
        secondary_capture(in_memory(), rgb[..., 0], FULL, bundle, CREATED)
    with pytest.raises(ValueError, match="offset from UTC"):
        structured_report(in_memory(), FULL, bundle, datetime(2026, 11, 23))
