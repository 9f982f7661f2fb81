import numpy as np
import pytest

from covid_core.inference.gate import signature
from covid_core.inference.similar import COPY_DISTANCE, similar_images, similar_to_known, was_fitted_on
from tests.inference.gate_samples import image_map, some_gate

IMAGE = image_map(strange=0.02)
"""The second of the images that the gate knows."""


def test_the_nearest_images_come_first_and_the_same_picture_is_at_nothing():
    found = similar_images(IMAGE, some_gate(fitted=np.ones(7, np.bool_)))
    assert len(found) == 5
    assert (found[0].filename, found[0].patientid, found[0].label, found[0].source) == (
        "1.png",
        "p1",
        "non_covid",
        "a.example",
    )
    assert found[0].distance == pytest.approx(0, abs=1e-3)
    assert found[0].distance < COPY_DISTANCE
    assert [image.distance for image in found] == sorted(image.distance for image in found)


def test_distances_are_those_between_points_on_the_unit_sphere():
    gate = some_gate(fitted=np.ones(7, np.bool_))
    rooted = np.sqrt(signature(IMAGE, 2)[0])
    lengths = np.linalg.norm(gate.references - rooted / np.linalg.norm(rooted), axis=1)
    for image in similar_images(IMAGE, gate, count=7):
        assert image.distance == pytest.approx(lengths[int(image.filename[0])], abs=1e-3)


def test_only_images_that_the_model_was_fitted_on_are_found_however_few():
    gate = some_gate()
    assert {image.filename for image in similar_images(image_map(strange=0.12), gate)} == {f"{n}.png" for n in range(4)}
    assert similar_images(IMAGE, some_gate(fitted=np.zeros(7, np.bool_))) == ()


def test_the_images_like_a_known_one_are_those_of_its_picture_without_itself() -> None:
    gate = some_gate(fitted=np.ones(7, np.bool_))
    found = similar_to_known("1.png", str(gate.patientids[1]), gate)
    assert found is not None
    assert [image.filename for image in found] == [image.filename for image in similar_images(IMAGE, gate, count=6)[1:]]
    for image in found:
        apart = np.linalg.norm(gate.references[1] - gate.references[int(image.filename[0])])
        assert image.distance == pytest.approx(float(apart), abs=1e-3)


def test_an_image_that_is_only_known_finds_those_that_were_fitted() -> None:
    gate = some_gate(fitted=np.arange(7) == 5)
    found = similar_to_known("1.png", str(gate.patientids[1]), gate)
    assert found is not None
    assert [image.filename for image in found] == ["5.png"]
    assert was_fitted_on("5.png", str(gate.patientids[5]), gate) is True
    assert was_fitted_on("1.png", str(gate.patientids[1]), gate) is False


def test_an_image_of_that_name_of_another_patient_is_not_known() -> None:
    gate = some_gate(fitted=np.ones(7, np.bool_))
    for filename, patient in (("1.png", "somebody else"), ("unknown.png", str(gate.patientids[1]))):
        assert similar_to_known(filename, patient, gate) is None
        assert was_fitted_on(filename, patient, gate) is None
