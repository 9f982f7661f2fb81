import io
import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from covid_core.errors import BundleError
from covid_core.evaluation.conformal import ThreeWay
from covid_core.images.decode import decode_file
from covid_core.images.preprocess import prepare_files
from covid_core.inference.bundle import load_bundle
from covid_core.inference.prediction import ScreenedOut
from covid_core.inference.predictor import Predictor
from tests.fake_bundle import (
    CALIBRATION,
    CELLS,
    CHANNELS,
    MEMBERS,
    OPACITY_THRESHOLD,
    PATTERN_THRESHOLD,
    PREPARATION,
    add_fake_gate,
    change_manifest,
    replace_file,
    tiny_classifier,
)


@pytest.fixture
def own(bundle_folder, tmp_path):
    return shutil.copytree(bundle_folder, tmp_path / "own")


@pytest.fixture
def own_chest(chest_folder, tmp_path):
    return shutil.copytree(chest_folder, tmp_path / "own chest")


def calibrated(raw):
    """Platt scaling as its definition has it."""
    return 1 / (1 + np.exp(-(CALIBRATION.slope * np.log(raw / (1 - raw)) + CALIBRATION.intercept)))


def test_a_prediction_is_the_calibrated_output_of_the_network_which_is_that_of_keras(predictor, images):
    from covid_core.training.export import predict_images  # noqa: PLC0415

    prepared = prepare_files(images, PREPARATION)
    by_keras = predict_images(tiny_classifier(), prepared)
    assert by_keras.std() > 0.01
    labels = set()
    for path, image, output in zip(images, prepared, by_keras, strict=True):
        raw = predictor.network.invoke(image).probability
        assert raw == pytest.approx(output, abs=1e-4)
        prediction = predictor.predict(decode_file(path))
        probability = prediction.probability_covid
        assert probability == pytest.approx(calibrated(raw), abs=1e-6)
        assert abs(probability - raw) > 1e-3  # so that a forgotten calibration shows
        assert prediction.label == ("covid" if probability >= 0.5 else "non_covid")
        assert prediction.confidence == pytest.approx(max(probability, 1 - probability))
        labels.add(prediction.label)
    assert labels == {"covid", "non_covid"}


def test_the_threshold_is_the_bundles_and_an_image_on_it_is_covid(own, images):
    image = decode_file(images[0])
    probability = Predictor(load_bundle(own)).predict(image).probability_covid
    calls = {}
    for threshold in (probability, float(np.nextafter(probability, 1))):
        change_manifest(own, lambda manifest, value=threshold: manifest["threshold"].update(value=value))
        prediction = Predictor(load_bundle(own)).predict(image)
        assert prediction.threshold == threshold
        assert prediction.probability_covid == probability
        calls[threshold] = prediction.label
    assert list(calls.values()) == ["covid", "non_covid"]


def test_between_the_bounds_an_image_is_indeterminate_and_beyond_them_it_is_what_it_is_called(predictor, own, images):
    probabilities = sorted(predictor.predict(decode_file(path)).probability_covid for path in images)
    lower, upper = probabilities[2], probabilities[-3]  # each the probability of an image, which is indeterminate
    assert lower < 0.5 < upper
    three_way = ThreeWay(lower, upper, coverage=0.9, n_covid=20, n_non_covid=20, fitted_on="nothing")
    change_manifest(own, lambda manifest: manifest.update(three_way=three_way.to_json()))
    deciding = Predictor(load_bundle(own))
    predictions = sorted(
        (deciding.predict(decode_file(path)) for path in images), key=lambda one: one.probability_covid
    )
    assert [one.decision for one in predictions] == ["non_covid"] * 2 + ["indeterminate"] * 8 + ["covid"] * 2
    assert [one.label for one in predictions] == ["covid" if one >= 0.5 else "non_covid" for one in probabilities]


def test_an_image_that_is_decided_is_never_decided_against_its_class(own, images):
    three_way = ThreeWay(0.4, 0.4, coverage=0.9, n_covid=20, n_non_covid=20, fitted_on="nothing")
    change_manifest(own, lambda manifest: manifest.update(three_way=three_way.to_json()))
    for threshold in (0.05, 0.4, 0.95):
        change_manifest(own, lambda manifest, value=threshold: manifest["threshold"].update(value=value))
        predictor = Predictor(load_bundle(own))
        for prediction in (predictor.predict(decode_file(path)) for path in images):
            assert prediction.decision in {prediction.label, "indeterminate"}


def test_without_questions_maps_and_members_nothing_is_said_of_them(predictor, images):
    prediction = predictor.predict(decode_file(images[0]))
    for name in ("decision", "pattern", "probability_pattern", "affected", "lungs", "opacities", "spread", "screening"):
        assert getattr(prediction, name) is None


def both_views(predictor, images):
    """Each radiograph as the network answers it and as the predictor reads it."""
    prepared = prepare_files(images, predictor.bundle.preparation)
    return [(predictor.network.invoke(image), predictor.predict_prepared(image)) for image in prepared]


def test_a_radiograph_leans_to_covid_to_another_pneumonia_or_to_no_pattern(chest_predictor, images):
    found = set()
    for given, prediction in both_views(chest_predictor, images):
        other = "other" if given.answers[1] >= PATTERN_THRESHOLD else "none"
        assert prediction.pattern == ("covid" if calibrated(given.answers[0]) >= 0.5 else other)
        assert prediction.probability_pattern == pytest.approx(given.answers[1], abs=1e-7)
        found.add(prediction.pattern)
    assert found == {"covid", "other", "none"}


def test_the_pattern_threshold_is_the_bundles_and_what_is_on_it_has_a_pattern(own_chest, images):
    change_manifest(
        own_chest, lambda manifest: manifest["threshold"].update(value=1.0)
    )  # so that none is called COVID-19
    seen = float(both_views(Predictor(load_bundle(own_chest)), images[:1])[0][0].answers[1])
    calls = []
    for threshold in (seen, float(np.nextafter(seen, 1))):
        change_manifest(own_chest, lambda manifest, value=threshold: manifest.update(pattern_threshold=value))
        calls.append(Predictor(load_bundle(own_chest)).predict(decode_file(images[0])).pattern)
    assert calls == ["other", "none"]


def test_the_lungs_and_the_opacities_are_the_two_channels_of_the_maps(chest_predictor, images):
    for given, prediction in both_views(chest_predictor, images):
        np.testing.assert_array_equal(prediction.lungs, given.maps[:, :, 0])
        np.testing.assert_array_equal(prediction.opacities, given.maps[:, :, 1])
        assert prediction.lungs.shape == prediction.heat.shape == CELLS


def test_the_lungs_are_affected_where_a_cell_of_lung_is_above_the_opacity_threshold(chest_predictor, images):
    shares = []
    for given, prediction in both_views(chest_predictor, images):
        lung = affected = 0.0
        for row, column in np.ndindex(*CELLS):
            lung += given.maps[row, column, 0]
            affected += given.maps[row, column, 0] * (given.maps[row, column, 1] > OPACITY_THRESHOLD)
        assert prediction.affected == pytest.approx(affected / lung, abs=1e-6)
        shares.append(prediction.affected)
    assert 0 < min(shares) < max(shares) < 1


@pytest.mark.parametrize(
    ("missing", "unsaid"),
    [("pattern_threshold", ("pattern", "probability_pattern")), ("opacity_threshold", ("affected",))],
)
def test_what_a_bundle_has_no_threshold_for_is_not_said_and_all_else_is(
    chest_predictor, own_chest, images, missing, unsaid
):
    whole = chest_predictor.predict(decode_file(images[0]))
    change_manifest(own_chest, lambda manifest: manifest.pop(missing))
    less = Predictor(load_bundle(own_chest)).predict(decode_file(images[0]))
    for name in ("pattern", "probability_pattern", "affected", "spread", "label", "probability_covid"):
        assert getattr(less, name) == (None if name in unsaid else getattr(whole, name))


def test_the_spread_holds_the_middle_95_percent_of_the_calibrated_members(chest_predictor, images):
    for given, prediction in both_views(chest_predictor, images):
        members = np.sort(calibrated(given.answers[3:].astype(float)))
        assert members.size == MEMBERS == 5
        # Of five values the 2.5th percentile lies a tenth of the way from the lowest to the next, and likewise from above.
        low = members[0] + 0.1 * (members[1] - members[0])
        high = members[4] - 0.1 * (members[4] - members[3])
        assert prediction.spread == pytest.approx((low, high), abs=1e-5)
        assert prediction.spread[1] - prediction.spread[0] > 1e-4


def test_what_the_gate_refuses_is_given_no_spread_but_all_else_that_the_network_gives(own_chest, images):
    add_fake_gate(own_chest, limit=0.0)
    predictor, image = Predictor(load_bundle(own_chest)), decode_file(images[0])
    refused = predictor.predict(image)
    assert isinstance(refused, ScreenedOut)
    assert refused.reason == "not_a_chest_xray"
    prediction = predictor.predict(image, anyway=True)
    assert prediction.anyway is not None
    assert prediction.spread is None
    assert prediction.pattern is not None
    assert prediction.affected is not None


@pytest.mark.parametrize(("limit", "warned"), [(0.5, True), (0.51, False), (2.0, False)])
def test_what_passes_the_gate_is_marked_as_a_childs_from_the_limit_on(own_chest, images, limit, warned):
    add_fake_gate(own_chest, child_limit=limit)  # each is a child's with a probability of 0.5
    prediction = Predictor(load_bundle(own_chest)).predict(decode_file(images[0]))
    assert prediction.screening.child == warned
    assert prediction.anyway is None
    assert prediction.spread is not None


def questions_archive(channels):
    """A `head.npz` with two questions of so many channels."""
    stream = io.BytesIO()
    np.savez(stream, kernel=np.ones((channels, 2), np.float32), bias=np.zeros(2, np.float32))
    return stream.getvalue()


def test_a_head_a_gate_or_a_preparation_for_another_network_is_refused(own, own_chest, bundle_folder, tmp_path):
    replace_file(own, "head.npz", questions_archive(channels=9))
    with pytest.raises(BundleError, match="a head for 9 channels, its network gives 8"):
        Predictor(load_bundle(own))
    add_fake_gate(own_chest, channels=CHANNELS + 1)
    with pytest.raises(BundleError, match=r"gate of .* does not fit its network"):
        Predictor(load_bundle(own_chest))
    other = shutil.copytree(bundle_folder, tmp_path / "other")
    change_manifest(other, lambda manifest: manifest["preparation"].update(size=96))
    with pytest.raises(BundleError, match="96 pixels a side, its network takes 64"):
        Predictor(load_bundle(other))


def test_eight_threads_on_one_predictor_give_the_values_of_one(predictor, images):
    images = [decode_file(path) for path in images]
    expected = [predictor.predict(image) for image in images]
    begin = threading.Barrier(8)

    def fifty(worker):
        begin.wait()
        order = np.random.default_rng(worker).integers(0, len(images), 50)
        return [(index, predictor.predict(images[index])) for index in order]

    with ThreadPoolExecutor(8) as pool:
        answers = [answer for answers in pool.map(fifty, range(8)) for answer in answers]
    assert len(answers) == 400
    for index, prediction in answers:
        assert prediction.probability_covid == expected[index].probability_covid
        np.testing.assert_array_equal(prediction.heat, expected[index].heat)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x1c\0\0\0TFL3" + b"\0" * 100])
def test_a_file_that_is_no_network_is_refused(own, content):
    replace_file(own, "model.tflite", content)
    with pytest.raises(BundleError, match=r"model\.tflite"):
        Predictor(load_bundle(own))


def test_serving_loads_neither_tensorflow_nor_pandas_nor_scikit_learn():
    script = (
        "import json, pkgutil, sys, importlib\n"
        "import covid_core.cli.main, covid_core.inference\n"
        "for module in pkgutil.iter_modules(covid_core.inference.__path__):\n"
        "    importlib.import_module(f'covid_core.inference.{module.name}')\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert {"covid_core", "numpy", "PIL", "ai_edge_litert"} <= loaded
    assert loaded.isdisjoint({"tensorflow", "keras", "pandas", "sklearn", "scipy", "streamlit", "plotly"})
