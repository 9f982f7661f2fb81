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
from covid_core.evaluation.calibration import Calibration
from covid_core.evaluation.conformal import ThreeWay
from covid_core.images.decode import decode_file
from covid_core.images.preparation import prepare, prepare_files
from covid_core.inference.bundle import load_bundle
from covid_core.inference.network import Network
from covid_core.inference.predictor import Predictor
from tests.fake_bundle import (
    CALIBRATION,
    PREPARATION,
    change_manifest,
    replace_file,
    tiny_classifier,
    write_fake_bundle,
)


@pytest.fixture
def own(bundle_folder, tmp_path):
    return shutil.copytree(bundle_folder, tmp_path / "own")


def test_litert_agrees_with_keras_and_the_films_differ(bundle_folder, films):
    from covid_core.training.export import predict_films  # noqa: PLC0415

    prepared = prepare_files(films, PREPARATION)
    expected = predict_films(tiny_classifier(), prepared)
    network = Network(bundle_folder / "model.tflite")
    served = np.array([network.invoke(film).probability for film in prepared])
    assert expected.std() > 0.01
    np.testing.assert_allclose(served, expected, atol=1e-4)


def test_a_prediction_is_the_calibrated_output_of_the_network(predictor, films):
    for path in films:
        film = prepare(decode_file(path), PREPARATION)
        raw, *_ = predictor.network.invoke(film)
        logit = np.log(raw / (1 - raw))
        expected = 1 / (1 + np.exp(-(CALIBRATION.slope * logit + CALIBRATION.intercept)))
        prediction = predictor.predict(decode_file(path))
        assert prediction.probability_covid == pytest.approx(expected, abs=1e-6)
        assert abs(expected - raw) > 1e-3  # so that a forgotten calibration shows


def test_without_a_calibration_the_output_is_the_probability(tmp_path, films):
    plain = Calibration("none", slope=1.0, intercept=0.0, prevalence=None, fitted_on="nothing", n=0)
    predictor = Predictor(load_bundle(write_fake_bundle(tmp_path / "plain", calibration=plain)))
    raw, *_ = predictor.network.invoke(prepare(decode_file(films[0]), PREPARATION))
    assert predictor.predict(decode_file(films[0])).probability_covid == pytest.approx(raw, abs=1e-7)


def test_the_label_is_the_side_of_0_5_and_the_confidence_that_of_the_label(predictor, films):
    predictions = [predictor.predict(decode_file(path)) for path in films]
    assert {prediction.label for prediction in predictions} == {"covid", "non_covid"}
    for prediction in predictions:
        probability = prediction.probability_covid
        assert prediction.label == ("covid" if probability >= 0.5 else "non_covid")
        assert prediction.confidence == pytest.approx(max(probability, 1 - probability))


def test_the_threshold_is_the_bundles_and_a_film_on_it_is_covid(own, films):
    image = decode_file(films[0])
    probability = Predictor(load_bundle(own)).predict(image).probability_covid
    calls = {}
    for threshold in (probability, float(np.nextafter(probability, 1))):
        change_manifest(own, lambda manifest, value=threshold: manifest["threshold"].update(value=value))
        prediction = Predictor(load_bundle(own)).predict(image)
        assert prediction.threshold == threshold
        assert prediction.probability_covid == probability
        calls[threshold] = prediction.label
    assert list(calls.values()) == ["covid", "non_covid"]


def test_a_bundle_without_a_three_way_decision_decides_nothing(predictor, films):
    assert predictor.predict(decode_file(films[0])).decision is None


def test_between_the_bounds_a_film_is_indeterminate_and_beyond_them_it_is_what_it_is_called(predictor, own, films):
    probabilities = sorted(predictor.predict(decode_file(path)).probability_covid for path in films)
    lower, upper = probabilities[2], probabilities[-3]  # each the probability of a film, which is indeterminate
    assert lower < 0.5 < upper
    three_way = ThreeWay(lower, upper, coverage=0.9, n_covid=20, n_non_covid=20, fitted_on="nothing")
    change_manifest(own, lambda manifest: manifest.update(three_way=three_way.to_json()))
    deciding = Predictor(load_bundle(own))
    predictions = sorted((deciding.predict(decode_file(path)) for path in films), key=lambda one: one.probability_covid)
    assert [one.decision for one in predictions] == ["non_covid"] * 2 + ["indeterminate"] * 8 + ["covid"] * 2
    assert [one.label for one in predictions] == ["covid" if one >= 0.5 else "non_covid" for one in probabilities]


def test_a_film_that_is_decided_is_never_decided_against_its_class(own, films):
    three_way = ThreeWay(0.4, 0.4, coverage=0.9, n_covid=20, n_non_covid=20, fitted_on="nothing")
    change_manifest(own, lambda manifest: manifest.update(three_way=three_way.to_json()))
    for threshold in (0.05, 0.4, 0.95):
        change_manifest(own, lambda manifest, value=threshold: manifest["threshold"].update(value=value))
        predictor = Predictor(load_bundle(own))
        for prediction in (predictor.predict(decode_file(path)) for path in films):
            assert prediction.decision in {prediction.label, "indeterminate"}


def kernel_archive(channels):
    """A `head.npz` with a support vector machine for so many channels."""
    rng, stream = np.random.default_rng(6), io.BytesIO()
    arrays = {
        "support_vectors": rng.normal(0, 1, (4, channels)),
        "coefficients": np.array([0.5, -1, 1.5, -1]),
        "intercept": np.array([0.2]),
        "gamma": np.array([0.1]),
        "mean": np.full(channels, 0.4),
        "scale": np.full(channels, 0.5),
    }
    np.savez(stream, **{name: array.astype(np.float32) for name, array in arrays.items()})
    return stream.getvalue()


def test_the_heat_of_a_bundle_with_a_kernel_head_is_that_of_its_support_vectors(own, films):
    content = kernel_archive(channels=8)
    replace_file(own, "head.npz", content)
    predictor, image = Predictor(load_bundle(own)), decode_file(films[0])
    _, features, _ = predictor.network.invoke(prepare(image, PREPARATION))
    arrays = {name: array.astype(float) for name, array in np.load(io.BytesIO(content)).items()}

    def decision(pooled):
        standardised = (pooled - arrays["mean"]) / arrays["scale"]
        distances = ((standardised - arrays["support_vectors"]) ** 2).sum(axis=1)
        return np.exp(-arrays["gamma"] * distances) @ arrays["coefficients"] + arrays["intercept"][0]

    pooled, steps = features.astype(float).mean(axis=(0, 1)), 1e-5 * np.eye(8)
    gradient = [(decision(pooled + step) - decision(pooled - step)) / 2e-5 for step in steps]
    expected = np.maximum(features @ gradient, 0)
    assert expected.max() > 0
    np.testing.assert_allclose(predictor.predict(image).heat, expected / expected.max(), rtol=1e-3, atol=1e-4)


def test_a_head_for_another_network_is_refused(own):
    replace_file(own, "head.npz", kernel_archive(channels=9))
    with pytest.raises(BundleError, match="a head for 9 channels, its network gives 8"):
        Predictor(load_bundle(own))


def test_eight_threads_on_one_predictor_give_the_values_of_one(predictor, films):
    images = [decode_file(path) for path in films]
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


def test_a_feature_map_that_was_given_out_does_not_change_with_the_next_film(predictor, films):
    first, second = prepare_files(films[:2], PREPARATION)
    _, features, _ = predictor.network.invoke(first)
    before = features.copy()
    predictor.network.invoke(second)
    np.testing.assert_array_equal(features, before)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x1c\0\0\0TFL3" + b"\0" * 100])
def test_a_file_that_is_no_network_is_refused(own, content):
    replace_file(own, "model.tflite", content)
    with pytest.raises(BundleError, match=r"model\.tflite"):
        Predictor(load_bundle(own))


def test_a_bundle_whose_preparation_does_not_fit_its_network_is_refused(own):
    change_manifest(own, lambda manifest: manifest["preparation"].update(size=96))
    with pytest.raises(BundleError, match="96 pixels a side, its network takes 64"):
        Predictor(load_bundle(own))


def test_serving_loads_neither_tensorflow_nor_pandas_nor_scikit_learn():
    script = (
        "import json, pkgutil, sys, importlib\n"
        "import covid_core.cli, covid_core.inference\n"
        "for module in pkgutil.iter_modules(covid_core.inference.__path__):\n"
        "    importlib.import_module(f'covid_core.inference.{module.name}')\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert {"covid_core", "numpy", "PIL", "ai_edge_litert"} <= loaded
    assert loaded.isdisjoint({"tensorflow", "keras", "pandas", "sklearn", "scipy", "streamlit", "plotly"})
