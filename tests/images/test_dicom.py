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
    ("name", "said"),
    [
        (CTImageStorage, "CT Image"),
        (MRImageStorage, "MR Image"),
        (UltrasoundImageStorage, "Ultrasound Image"),
        ("1.2.840.10008.1.3.10", "Media Storage Directory"),
        ("1.2.3.4.5", "no known kind"),
    ],
)
def test_other_objects_are_refused_by_their_name(name, said):
    refused = refusal(dicom(TWELVE_BITS, SOPClassUID=name))
    assert refused.reason == "unsupported_object"
    assert said in refused.message


def test_a_detectors_raw_data_are_no_image():
    refused = refusal(dicom(TWELVE_BITS, SOPClassUID=DigitalXRayImageStorageForProcessing))
    assert refused.reason == "unsupported_object"
    assert "presentation" in refused.next_step


def test_a_picture_taken_from_a_ct_is_refused():
    refused = refusal(dicom(TWELVE_BITS, SOPClassUID=SecondaryCaptureImageStorage, Modality="CT"))
    assert (refused.reason, "CT" in refused.message) == ("unsupported_object", True)


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


@pytest.mark.parametrize("view", ["LL", "RL", "LATERAL", "LLAT", "Left Lateral", "LLO", "RAO"])
def test_lateral_and_oblique_views_are_refused(view):
    assert refusal(dicom(TWELVE_BITS, ViewPosition=view)).reason == "lateral"


@pytest.mark.parametrize("view", ["PA", "AP", "LLD", "RLD", "LATERAL DECUB", ""])
def test_frontal_views_are_taken_lying_on_the_side_too(view):
    assert read_image(dicom(TWELVE_BITS, ViewPosition=view)).tags.view == (view or None)


@pytest.mark.parametrize(("meaning", "view"), [("postero-anterior", "PA"), ("antero-posterior", "AP")])
def test_a_coded_view_is_read(meaning, view):
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "R-10206", "SRT", meaning
    assert read_image(dicom(TWELVE_BITS, ViewCodeSequence=[code])).tags.view == view


def test_a_coded_lateral_view_is_refused():
    code = Dataset()
    code.CodeMeaning = "left lateral"
    assert refusal(dicom(TWELVE_BITS, ViewCodeSequence=[code])).reason == "lateral"


def test_several_frames_are_refused():
    twice = dicom(TWELVE_BITS, NumberOfFrames=2, PixelData=TWELVE_BITS.tobytes() * 2)
    assert refusal(twice).reason == "multi_frame"


@pytest.mark.parametrize("frames", [1, None])
def test_one_frame_may_be_said_or_not(frames):
    elements = {} if frames is None else {"NumberOfFrames": frames}
    close(decode(dicom(TWELVE_BITS, **elements)), stretched(TWELVE_BITS))


# What is kept of a file, and what is said of it


@pytest.mark.parametrize(
    ("age", "band"),
    [("064Y", "60-69"), ("090Y", "90+"), ("102Y", "90+"), ("018Y", "10-19"), ("008M", "0-9"), ("64", None), ("", None)],
)
def test_of_the_age_ten_years_are_kept(age, band):
    assert read_image(dicom(TWELVE_BITS, PatientAge=age)).tags.age_band == band


@pytest.mark.parametrize(("sex", "kept"), [("F", "F"), ("M", "M"), ("O", "O"), ("f", "F"), ("MAX", None), ("", None)])
def test_of_the_sex_three_letters_are_kept(sex, kept):
    assert read_image(dicom(TWELVE_BITS, PatientSex=sex)).tags.sex == kept


def test_of_the_manufacturer_64_printable_characters_are_kept():
    name = "Röntgen\x07 & Söhne " + "x" * 80
    assert (
        read_image(dicom(TWELVE_BITS, Manufacturer=name, SpecificCharacterSet="ISO_IR 192")).tags.manufacturer
        == ("Röntgen & Söhne " + "x" * 80)[:64]
    )


def test_view_and_modality_are_kept():
    tags = read_image(dicom(TWELVE_BITS, ViewPosition="pa")).tags
    assert (tags.view, tags.modality) == ("PA", "CR")


def test_a_name_is_kept_nowhere():
    film = read_image(dicom(TWELVE_BITS, AccessionNumber="SECRET-ID", InstitutionName="SECRET^NAME", ViewPosition="PA"))
    assert "SECRET" not in repr((film.tags, film.warnings, film.kind))


def test_burned_in_text_is_warned_of():
    assert read_image(dicom(TWELVE_BITS, BurnedInAnnotation="NO")).warnings == ()
    (warning,) = read_image(dicom(TWELVE_BITS, BurnedInAnnotation="YES")).warnings
    assert "text" in warning


@pytest.mark.parametrize(("age", "warned"), [("017Y", True), ("000Y", True), ("150M", True), ("018Y", False)])
def test_children_are_warned_of(age, warned):
    assert len(read_image(dicom(TWELVE_BITS, PatientAge=age)).warnings) == warned


# How the image lies


@pytest.mark.parametrize("orientation", [["L", "F"], ["LH", "FL"], "", "L"])
def test_an_image_that_lies_as_images_do_or_does_not_say_is_not_warned_of(orientation):
    assert read_image(dicom(TWELVE_BITS, PatientOrientation=orientation)).warnings == ()


@pytest.mark.parametrize(
    ("orientation", "said"),
    [
        (["R", "F"], "mirrored"),
        (["R", "H"], "turned"),
        (["L", "H"], "turned"),
        (["F", "L"], "turned"),
        (["A", "F"], "turned"),
    ],
)
def test_an_image_that_lies_otherwise_is_warned_of(orientation, said):
    (warning,) = read_image(dicom(TWELVE_BITS, PatientOrientation=orientation)).warnings
    assert said in warning
    assert "left and right may be swapped" in warning


@pytest.mark.parametrize(("ratio", "warned"), [([1, 1], False), ([2, 2], False), ([4, 3], True), ([1, 2], True)])
def test_pixels_that_are_not_square_are_warned_of(ratio, warned):
    warnings = read_image(dicom(TWELVE_BITS, PixelAspectRatio=ratio)).warnings
    assert len(warnings) == warned
    assert all("square" in warning for warning in warnings)


def test_an_orientation_that_cannot_be_read_is_left_out():
    data = dicom(TWELVE_BITS, PatientOrientation="L" * 5000)
    assert read_image(data).warnings == ()


# Real images


def test_a_real_chest_image_is_read():
    film = read_image(sample("RG1_UNCR").read_bytes())
    assert film.image.shape == (1955, 1841)
    assert (film.tags.view, film.tags.modality, film.tags.sex) == ("PA", "CR", "F")
    top_corner, middle_of_chest = film.image[60:160, 20:60].mean(), film.image[900:1100, 880:960].mean()
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
        films = list(pool.map(decode, [data] * 200))
    assert all(np.array_equal(film, expected) for film in films)
    assert warnings.filters == before
