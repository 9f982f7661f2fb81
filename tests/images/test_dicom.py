"""Which DICOM objects are taken for an image, what is kept of them, and what is said of them."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
)

from covid_core.images.decode import decode, read_image
from tests.images.expectations import TWELVE_BITS, close, refusal, stretched
from tests.images.samples import dicom, dicom_bytes, dicom_dataset, small_files
from tests.real_images import sample

# Which objects are taken


@pytest.mark.parametrize("name", [DigitalXRayImageStorageForPresentation, SecondaryCaptureImageStorage])
def test_digital_radiographs_and_secondary_captures_are_taken(name):
    close(decode(dicom(TWELVE_BITS, SOPClassUID=name, Modality="DX")), stretched(TWELVE_BITS))


def test_an_object_without_a_class_is_taken_by_that_of_its_file_or_by_its_modality():
    dataset = dicom_dataset(TWELVE_BITS, SOPClassUID=None)
    close(decode(dicom_bytes(dataset)), stretched(TWELVE_BITS))
    bare = small_files()["DICOM bare"]  # has neither preamble nor file meta
    assert bare[:8] == b"\x08\0\x16\0UI\x1a\0"
    nameless = bare[8 + 0x1A :]
    close(decode(nameless), decode(bare))


@pytest.mark.parametrize(
    ("name", "modality", "said"),
    [
        (CTImageStorage, "CT", "CT Image"),
        (MRImageStorage, "MR", "MR Image"),
        (UltrasoundImageStorage, "US", "Ultrasound Image"),
        ("1.2.840.10008.1.3.10", "CR", "Media Storage Directory"),
        ("1.2.3.4.5", "CR", "no known kind"),
        (DigitalXRayImageStorageForProcessing, "DX", "raw data"),
        (SecondaryCaptureImageStorage, "CT", "taken from CT"),
    ],
)
def test_other_objects_are_refused_by_their_name(name, modality, said):
    refused = refusal(dicom(TWELVE_BITS, SOPClassUID=name, Modality=modality))
    assert (refused.reason, said in refused.message) == ("unsupported_object", True)


@pytest.mark.parametrize(
    "part", ["", "CHEST", "Thorax", "CHEST_PA", "LUNG", "RIBS", "PORTABLE", "CHEST ABDOMEN", "CHESTABDPELVIS"]
)
def test_a_chest_and_what_may_be_one_is_taken(part):
    close(decode(dicom(TWELVE_BITS, BodyPartExamined=part)), stretched(TWELVE_BITS))


@pytest.mark.parametrize(
    "part", ["EXTREMITY", "HAND", "ABDOMEN", "KNEE_LEFT", "CSPINE", "THORACIC SPINE", "Skull", "PELVIS"]
)
def test_another_part_of_the_body_is_refused(part):
    assert refusal(dicom(TWELVE_BITS, BodyPartExamined=part)).reason == "not_a_chest"


def coded_view(meaning):
    code = Dataset()
    code.CodeMeaning = meaning
    return {"ViewCodeSequence": [code]}


@pytest.mark.parametrize("view", ["LL", "RL", "LATERAL", "LLAT", "Left Lateral", "LLO", "RAO"])
def test_lateral_and_oblique_views_are_refused(view):
    assert refusal(dicom(TWELVE_BITS, ViewPosition=view)).reason == "lateral"
    assert refusal(dicom(TWELVE_BITS, **coded_view("left lateral"))).reason == "lateral"


@pytest.mark.parametrize(
    ("elements", "view"),
    [
        *(({"ViewPosition": view}, view or None) for view in ("PA", "AP", "LLD", "RLD", "LATERAL DECUB", "")),
        (coded_view("postero-anterior"), "PA"),
        (coded_view("antero-posterior"), "AP"),
    ],
)
def test_frontal_views_are_taken_lying_on_the_side_too(elements, view):
    assert read_image(dicom(TWELVE_BITS, **elements)).tags.view == view


def test_several_frames_are_refused_and_one_may_be_said():
    twice = dicom(TWELVE_BITS, NumberOfFrames=2, PixelData=TWELVE_BITS.tobytes() * 2)
    assert refusal(twice).reason == "multi_frame"
    close(decode(dicom(TWELVE_BITS, NumberOfFrames=1)), stretched(TWELVE_BITS))


# What is kept of a file, and what is said of it


@pytest.mark.parametrize(
    ("age", "band", "warned"),
    [
        ("064Y", "60-69", False),
        ("090Y", "90+", False),
        ("102Y", "90+", False),
        ("018Y", "10-19", False),
        ("017Y", "10-19", True),
        ("150M", "10-19", True),
        ("008M", "0-9", True),
        ("000Y", "0-9", True),
        ("64", None, False),
        ("", None, False),
    ],
)
def test_of_the_age_ten_years_are_kept_and_children_are_warned_of(age, band, warned):
    radiograph = read_image(dicom(TWELVE_BITS, PatientAge=age))
    assert (radiograph.tags.age_band, len(radiograph.warnings)) == (band, warned)


@pytest.mark.parametrize(("sex", "kept"), [("F", "F"), ("M", "M"), ("O", "O"), ("f", "F"), ("MAX", None), ("", None)])
def test_of_the_sex_three_letters_are_kept(sex, kept):
    assert read_image(dicom(TWELVE_BITS, PatientSex=sex)).tags.sex == kept


def test_of_the_rest_of_a_file_view_modality_and_a_printable_manufacturer_are_kept_and_no_name():
    name = "Röntgen\x07 & Söhne " + "x" * 80
    secrets = {"AccessionNumber": "SECRET-ID", "InstitutionName": "SECRET^NAME"}
    data = dicom(TWELVE_BITS, Manufacturer=name, SpecificCharacterSet="ISO_IR 192", ViewPosition="pa", **secrets)
    radiograph = read_image(data)
    tags = radiograph.tags
    assert (tags.view, tags.modality, tags.manufacturer) == ("PA", "CR", ("Röntgen & Söhne " + "x" * 80)[:64])
    assert "SECRET" not in repr((tags, radiograph.warnings, radiograph.kind))


def test_burned_in_text_is_warned_of():
    assert read_image(dicom(TWELVE_BITS, BurnedInAnnotation="NO")).warnings == ()
    (warning,) = read_image(dicom(TWELVE_BITS, BurnedInAnnotation="YES")).warnings
    assert "text" in warning


# How the image lies


@pytest.mark.parametrize(
    ("orientation", "said"),
    [
        *((usual, None) for usual in (["L", "F"], ["LH", "FL"], "", "L", "L" * 5000)),
        (["R", "F"], "mirrored"),
        *((turned, "turned") for turned in (["R", "H"], ["L", "H"], ["F", "L"], ["A", "F"])),
    ],
)
def test_an_image_that_lies_otherwise_than_usual_is_warned_of(orientation, said):
    warnings = read_image(dicom(TWELVE_BITS, PatientOrientation=orientation)).warnings
    assert len(warnings) == (said is not None)
    assert all(said in one and "left and right may be swapped" in one for one in warnings)


@pytest.mark.parametrize(("ratio", "warned"), [([1, 1], False), ([2, 2], False), ([4, 3], True), ([1, 2], True)])
def test_pixels_that_are_not_square_are_warned_of(ratio, warned):
    warnings = read_image(dicom(TWELVE_BITS, PixelAspectRatio=ratio)).warnings
    assert len(warnings) == warned
    assert all("square" in warning for warning in warnings)


# Real images


def test_a_real_chest_image_is_read():
    radiograph = read_image(sample("RG1_UNCR").read_bytes())
    image, tags = radiograph.image, radiograph.tags
    assert image.shape == (1955, 1841)
    assert (tags.view, tags.modality, tags.sex) == ("PA", "CR", "F")
    top_corner, middle_of_chest = image[60:160, 20:60].mean(), image[900:1100, 880:960].mean()
    assert top_corner < 0.5 < middle_of_chest  # air is black, the spine is white


def test_a_real_image_is_the_same_however_it_is_compressed():
    plain = decode(sample("RG1_UNCR").read_bytes())
    np.testing.assert_array_equal(decode(sample("RG1_J2KR").read_bytes()), plain)
    assert np.abs(decode(sample("RG1_J2KI").read_bytes()) - plain).max() < 0.02


@pytest.mark.parametrize("name", ["RG3_UNCR", "RG3_J2KI"])
def test_a_real_image_of_a_leg_is_refused(name):
    assert refusal(sample(name).read_bytes()).reason == "not_a_chest"


def test_real_colours_are_the_same_however_they_are_compressed():
    rgb = decode(sample("SC_rgb").read_bytes())
    close(decode(sample("SC_rgb_expb").read_bytes()), rgb)
    close(decode(sample("SC_rgb_16bit").read_bytes()), rgb)
    np.testing.assert_allclose(decode(sample("SC_ybr_full_uncompressed").read_bytes()), rgb, atol=2 / 255)


def test_images_are_read_in_many_threads():
    before = list(warnings.filters)
    data = small_files()["DICOM JPEG-LS"]
    expected = decode(data)
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(decode, [data] * 200))
    assert all(np.array_equal(image, expected) for image in images)
    assert warnings.filters == before
