from dataclasses import fields, replace
from itertools import product

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.pixels import apply_voi_lut

from covid_core.errors import BundleError
from covid_core.images.decode import decode_file
from covid_core.images.orientation import repaired
from covid_core.images.preprocess import Preparation, prepare
from covid_core.inference.bundle import MANIFEST, load_bundle
from covid_core.inference.gate import MAX_REPAIRS, REPAIRS, Gate, load_gate, repaired_input, save_gate, signature, unit
from covid_core.inference.predictor import Predictor
from covid_core.paths import default_model, models_dir
from tests.inference.gate_samples import INVERSION, POSES, QUARTERS_LEFT, image_map, some_gate
from tests.real_images import sample


def looking_at(features):
    """What a gate is given to see an image after repairs, and the repairs it was asked for."""
    asked = []

    def look(repairs):
        asked.append(repairs)
        seen = features
        for repair in repairs:
            seen = seen * INVERSION if repair == "invert" else np.rot90(seen, QUARTERS_LEFT[repair])
        return seen

    return look, asked


def screened(features, gate=None):
    look, asked = looking_at(features)
    return (gate or some_gate()).screen(features, look), asked


def test_an_upright_image_passes_without_a_second_look():
    screening, asked = screened(image_map())
    assert screening.refusal is None
    assert (screening.pose, screening.limit, asked) == ("upright", 0.5, [])
    assert screening.pose_probability > 0.9


@pytest.mark.parametrize(
    ("image", "pose", "reason", "repair"),
    [
        (image_map(turned=1), "turned_left", "not_upright", "turn_right"),
        (image_map(turned=2), "upside_down", "not_upright", "turn_around"),
        (image_map(turned=3), "turned_right", "not_upright", "turn_left"),
        (image_map(inverted=True), "negative", "negative", "invert"),
    ],
)
def test_an_image_that_lies_wrong_is_offered_what_brings_it_right(image, pose, reason, repair):
    screening, asked = screened(image)
    refusal = screening.refusal
    assert (screening.pose, refusal.reason, refusal.repair) == (pose, reason, repair)
    assert asked == [(repair,)]


def test_what_would_not_pass_after_turning_either_is_not_told_to_turn():
    screening, asked = screened(image_map(turned=1, strange=5.0))
    assert screening.distance > screening.limit
    assert (screening.refusal.reason, screening.refusal.repair) == ("not_a_chest_xray", None)
    assert len(asked) <= MAX_REPAIRS
    screening, asked = screened(image_map(strange=5.0))  # upright, and so looked at once
    assert (screening.pose, screening.refusal.reason, asked) == ("upright", "not_a_chest_xray", [])


def test_a_negative_on_its_side_is_offered_one_repair_and_then_the_other():
    image = image_map(turned=2, inverted=True)
    first, asked = screened(image)
    assert len(asked) == 2
    repair = first.refusal.repair
    second, _ = screened(looking_at(image)[0]((repair,)))
    assert {repair, second.refusal.repair} == {"invert", "turn_around"}


def test_a_lateral_image_is_called_so_up_to_its_own_limit():
    lateral = image_map(lateral=1.0)
    gate = some_gate(limit=np.array([0.1], np.float32))
    near, _ = screened(lateral, gate)
    assert 0.1 < near.distance < 0.9
    assert (near.pose, near.refusal.reason, near.refusal.repair) == ("lateral", "lateral", None)
    far, _ = screened(lateral, replace(gate, lateral_limit=np.array([0.2], np.float32)))
    assert far.refusal.reason == "not_a_chest_xray"


def test_a_chest_image_of_doubtful_pose_is_refused_as_doubtful_without_a_repair():
    # No head at all: every pose but lateral is equally probable, and turning changes nothing.
    headless = image_map() * np.array([1, 0, 1, 1], np.float32)
    screening, _ = screened(headless, some_gate(limit=np.array([2.0], np.float32)))
    assert screening.pose_probability == pytest.approx(1 / 6, abs=1e-6)
    assert (screening.refusal.reason, screening.refusal.repair) == ("not_upright", None)
    assert "not clear" in screening.refusal.message


def test_the_distance_is_the_mean_to_the_five_nearest_images_in_plain_geometry():
    gate, image = some_gate(), image_map(strange=0.4)
    pooled = image.mean(axis=(0, 1))
    rooted = np.sqrt(pooled)  # none is negative
    lengths = np.linalg.norm(gate.references - rooted / np.linalg.norm(rooted), axis=1)
    screening, _ = screened(image, gate)
    assert screening.distance == pytest.approx(np.sort(lengths)[:5].mean(), abs=1e-4)


def test_the_pose_is_the_softmax_of_a_linear_map_of_the_fields():
    gate, image = some_gate(pose_bias=np.arange(6, dtype=np.float32) / 10), image_map(lateral=0.3)
    fields_in_order = np.concatenate([image[row, column] for row, column in product(range(2), range(2))])
    rooted = np.sqrt(fields_in_order)
    scores = rooted / np.linalg.norm(rooted) @ gate.pose_kernel.astype(float) + np.arange(6) / 10
    expected = np.exp(scores) / np.exp(scores).sum()
    screening, _ = screened(image, gate)
    assert screening.pose == POSES[expected.argmax()]
    assert screening.pose_probability == pytest.approx(expected.max(), abs=1e-5)


def test_the_probability_of_a_child_is_the_logistic_of_a_linear_map_of_the_fields():
    features = image_map(strange=0.5)
    fields_in_order = np.concatenate([features[row, column] for row, column in product(range(2), range(2))])
    rooted = np.sqrt(fields_in_order)
    logit = 3 * (rooted / np.linalg.norm(rooted))[3::4].sum() - 2
    expected = 1 / (1 + np.exp(-logit))
    assert 0.3 < expected < 0.9
    assert some_gate().probability_child(signature(features, 2)) == pytest.approx(expected, abs=1e-6)


def test_a_childs_radiograph_passes_and_is_marked_and_an_adults_is_not():
    gate = some_gate(limit=np.array([2.0], np.float32))
    adult, child = image_map(), image_map(strange=1.0)
    assert gate.probability_child(signature(adult, 2)) < 0.5 < gate.probability_child(signature(child, 2))
    assert (screened(adult, gate)[0].child, screened(adult, gate)[0].refusal) == (False, None)
    assert (screened(child, gate)[0].child, screened(child, gate)[0].refusal) == (True, None)
    refused = screened(image_map(strange=5.0))[0]
    assert (refused.refusal.reason, refused.child) == ("not_a_chest_xray", True)
    # What is as probable as the limit is marked, and where the limit is above 1 nothing ever is.
    even = some_gate(child_kernel=np.zeros(16, np.float32), child_bias=np.zeros(1, np.float32))  # 0.5 whatever it is
    assert screened(adult, even)[0].child
    assert not screened(adult, replace(even, child_limit=np.nextafter(np.float32([0.5]), np.float32(1))))[0].child
    sure = some_gate(child_bias=np.array([80], np.float32), child_limit=np.array([2.0], np.float32))
    assert not screened(child, sure)[0].child


def test_strangeness_is_above_one_for_just_what_is_refused():
    gate = some_gate()
    for turned, strange, lateral in product(range(4), (0, 0.3, 0.6, 5), (0, 0.2, 1)):
        image = image_map(turned=turned, strange=strange, lateral=lateral)
        refused = screened(image, gate)[0].refusal is not None
        assert (gate.strangeness(signature(image, 2)) > 1) == refused


def test_a_signature_is_the_mean_of_the_map_and_of_its_fields():
    features = np.random.default_rng(0).normal(size=(14, 7, 3)).astype(np.float32)
    given = signature(features, 3)
    np.testing.assert_allclose(given[0], features.reshape(-1, 3).mean(axis=0), atol=1e-6)
    bands = [slice(0, 5), slice(5, 9), slice(9, 14)], [slice(0, 2), slice(2, 5), slice(5, 7)]
    for number, (rows, columns) in enumerate(product(*bands), start=1):
        np.testing.assert_allclose(given[number], features[rows, columns].reshape(-1, 3).mean(axis=0), atol=1e-6)
    assert (given.shape, given.dtype) == ((10, 3), np.float32)
    with pytest.raises(ValueError, match="at least 3 cells"):
        signature(np.zeros((2, 5, 4), np.float32), 3)


def test_unit_keeps_signs_and_has_length_one():
    # Roots 2 and -3, length sqrt(13).
    np.testing.assert_allclose(unit(np.array([4, -9], np.float32)), [2 / 13**0.5, -3 / 13**0.5], rtol=1e-6)
    np.testing.assert_array_equal(unit(np.zeros(3, np.float32)), np.zeros(3))


def test_a_quarter_to_the_left_brings_the_top_to_the_left():
    image = np.zeros((4, 4), np.uint8)
    image[0] = 9  # the head of the patient
    lying = repaired_input(image, ("turn_left",))
    np.testing.assert_array_equal(lying, [[9, 0, 0, 0]] * 4)
    np.testing.assert_array_equal(repaired_input(lying, (REPAIRS["turned_left"],)), image)


@pytest.mark.parametrize(
    "repairs", [("turn_left",), ("turn_right",), ("turn_around",), ("invert",), ("invert", "turn_left")]
)
@pytest.mark.parametrize("crop", [0.0, 0.06])
def test_repairing_what_is_prepared_is_preparing_what_is_repaired(repairs, crop):
    rng = np.random.default_rng(4)
    coarse = Image.fromarray(rng.random((9, 7)).astype(np.float32)).resize((340, 411), Image.Resampling.BICUBIC)
    image, settings = np.clip(np.asarray(coarse), 0, 1), Preparation(border_crop=crop)
    there = prepare(repaired(image, repairs), settings).astype(int)
    here = repaired_input(prepare(image, settings), repairs).astype(int)
    assert np.abs(there - here).max() <= 1


def test_a_gate_is_read_as_it_was_written_and_always_the_same_bytes(tmp_path):
    gate = some_gate()
    for name in ("one.npz", "other.npz"):
        save_gate(tmp_path / name, gate)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()
    read = load_gate(tmp_path / "one.npz")
    for field in fields(Gate):
        ours, theirs = getattr(gate, field.name), getattr(read, field.name)
        if field.name == "references":  # kept in half precision
            np.testing.assert_allclose(theirs, ours, rtol=1e-3)
        else:
            np.testing.assert_array_equal(theirs, ours)
    assert read.references.dtype == np.float32


@pytest.mark.parametrize(
    "change",
    [
        {"references": None},
        {"further": np.zeros(1, np.float32)},
        {"references": np.zeros((7, 3), np.float16)},
        {"references": np.zeros((3, 4), np.float16)},
        {"limit": np.array([np.nan], np.float32)},
        {"limit": np.array([0.1, 0.2], np.float32)},
        {"fitted": np.ones(7)},
        {"filenames": np.arange(7)},
        {"labels": np.array(["covid"] * 6 + ["flu"])},
        *(
            {"poses": np.array([*first, "turned_left", "turned_right", "negative", "lateral"])}
            for first in (("upside_down", "upright"), ("upright", "upright"), ("upright", "sideways"))
        ),
        {"pose_kernel": np.zeros((15, 6), np.float32)},
        {"child_kernel": np.zeros(15, np.float32)},
        {"child_kernel": np.zeros((16, 1), np.float32)},
        {"child_bias": np.zeros(2, np.float32)},
        {"child_limit": np.array([np.inf], np.float32)},
        {"child_limit": None},
        {"filenames": np.array([None] * 7, dtype=object)},
        dict.fromkeys(vars(some_gate())),
    ],
)
def test_a_file_whose_arrays_are_not_those_of_a_gate_is_refused(tmp_path, change):
    path = tmp_path / "gate.npz"
    save_gate(path, some_gate())
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files} | change
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(BundleError, match=r"gate\.npz"):
        load_gate(path)
    path.unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        load_gate(path)


@pytest.fixture(scope="module")
def shipped():
    """The default model, which has a gate."""
    if not (models_dir() / default_model() / MANIFEST).is_file():
        pytest.skip("the default model is not here")
    bundle = load_bundle(models_dir() / default_model())
    path = bundle.optional_file("gate.npz")
    if path is None:
        pytest.skip("the default model has no gate")
    return Predictor(bundle), load_gate(path)


def screened_by(shipped, image):
    predictor, gate = shipped
    image = prepare(image, predictor.bundle.preparation)
    return gate.screen(
        predictor.network.invoke(image).features,
        lambda repairs: predictor.network.invoke(repaired_input(image, repairs)).features,
    )


@pytest.mark.parametrize("name", ["RG1_UNCR", "RG1_J2KI"])
def test_the_shipped_gate_lets_a_real_chest_image_pass(shipped, name):
    assert screened_by(shipped, decode_file(sample(name))).refusal is None


@pytest.mark.parametrize(
    ("wrong", "reason", "repair"),
    [
        ("turn_left", "not_upright", "turn_right"),
        ("turn_right", "not_upright", "turn_left"),
        ("turn_around", "not_upright", "turn_around"),
        ("invert", "negative", "invert"),
    ],
)
def test_the_shipped_gate_offers_the_right_repair_of_a_real_image(shipped, wrong, reason, repair):
    refusal = screened_by(shipped, repaired(decode_file(sample("RG1_J2KI")), [wrong])).refusal
    assert (refusal.reason, refusal.repair) == (reason, repair)


def test_the_shipped_gate_refuses_a_leg_however_it_lies(shipped):
    # Read by pydicom itself: our own reader refuses it for the body part that its header names.
    file = pydicom.dcmread(sample("RG3_UNCR"))
    leg = apply_voi_lut(file.pixel_array, file).astype(np.float32)
    leg = 1 - (leg - leg.min()) / np.ptp(leg)  # MONOCHROME1
    for repairs in ((), ("turn_left",), ("turn_around",), ("turn_right",), ("invert",)):
        refusal = screened_by(shipped, repaired(leg, repairs)).refusal
        assert (refusal.reason, refusal.repair) == ("not_a_chest_xray", None)


def test_the_shipped_gate_holds_no_more_of_the_metadata_than_the_predictions_do(shipped):
    predictor, gate = shipped
    kinds = {name: getattr(gate, name).dtype.kind for name in (field.name for field in fields(Gate))}
    assert {name for name, kind in kinds.items() if kind == "U"} == {
        *("filenames", "patientids", "labels", "sources", "poses"),
    }
    predicted = predictor.bundle.file("predictions.csv").read_text().splitlines()
    of_the_dataset = len(predicted) - 1
    assert len(gate.filenames) >= of_the_dataset
    # Those of other collections come after those of the dataset, and none of them can be shown as similar.
    assert not gate.fitted[of_the_dataset:].any()
