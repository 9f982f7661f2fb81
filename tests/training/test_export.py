import numpy as np
import pytest

from covid_core.errors import TrainingError
from covid_core.images.preprocess import prepare_files
from covid_core.inference.network import Network
from covid_core.training.export import BATCH_SIZE, head_weights, load_trained, predict_images, write_litert
from tests.fake_bundle import CELLS, CHANNELS, MEMBERS, PREPARATION, SIZE, tiny_classifier, tiny_reader, write_image

# Keras 3.15 reads its variables by a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_a_saved_model_predicts_as_before_whatever_the_size_of_the_batches(tmp_path):
    model = tiny_classifier()
    model.save(tmp_path / "best.keras")
    images = np.random.default_rng(0).integers(0, 256, (BATCH_SIZE + 3, SIZE, SIZE), dtype=np.uint8)
    expected = np.concatenate([np.asarray(model(image[None, ..., None].astype(np.float32))) for image in images])[:, 0]
    given = predict_images(load_trained(tmp_path / "best.keras"), images)
    assert given.dtype == np.float64
    np.testing.assert_allclose(given, expected, atol=1e-6)


def test_a_saved_reader_predicts_the_product_of_its_two_answers(tmp_path):
    model = tiny_reader()
    model.save(tmp_path / "best.keras")
    images = prepare_files([write_image(tmp_path / f"{seed}.png", seed) for seed in range(BATCH_SIZE + 3)], PREPARATION)
    answers = np.concatenate([np.asarray(model(one[None, ..., None].astype(np.float32))[0]) for one in images])
    given = predict_images(load_trained(tmp_path / "best.keras"), images)
    np.testing.assert_allclose(given, answers[:, 1] * answers[:, 2], atol=1e-5)
    assert np.ptp(given) > 0.4


@pytest.mark.parametrize("content", [None, b"", b"not a model"])
def test_a_missing_or_damaged_model_is_refused(tmp_path, content):
    path = tmp_path / "best.keras"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"best\.keras cannot be loaded"):
        load_trained(path)


def test_the_heads_weights_turn_pooled_features_into_the_models_output():
    model = tiny_classifier()
    import keras  # noqa: PLC0415

    image = np.random.default_rng(1).integers(0, 256, (1, SIZE, SIZE, 1)).astype(np.float32)
    pooled = np.asarray(keras.Model(model.input, model.get_layer("pooling").output)(image))[0]
    head = head_weights(model)
    hidden = np.maximum(pooled @ head["hidden_kernel"] + head["hidden_bias"], 0)
    logit = hidden @ head["output_kernel"] + head["output_bias"]
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), np.asarray(model(image))[0], rtol=1e-5)


def test_the_heads_weights_of_a_reader_turn_its_pooled_features_into_its_two_questions_and_their_product():
    model = tiny_reader()
    import keras  # noqa: PLC0415

    image = np.random.default_rng(1).integers(0, 256, (1, SIZE, SIZE, 1)).astype(np.float32)
    pooled = np.asarray(keras.Model(model.input, model.get_layer("pooling").output)(image))[0]
    head = head_weights(model)
    assert {name: array.shape for name, array in head.items()} == {"kernel": (CHANNELS, 2), "bias": (2,)}
    questions = 1 / (1 + np.exp(-(pooled.astype(float) @ head["kernel"] + head["bias"])))
    answers, features = (np.asarray(one)[0] for one in model(image)[:2])
    np.testing.assert_allclose(features.mean(axis=(0, 1)), pooled, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(questions, answers[1:3], rtol=1e-3, atol=1e-6)
    assert answers[0] == pytest.approx(questions.prod(), rel=1e-3, abs=1e-6)


def test_a_classifier_is_served_with_the_map_before_its_pooling_and_a_reader_with_its_own_outputs(tmp_path):
    image = np.random.default_rng(3).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    write_litert(tiny_classifier(), tmp_path / "classifier.tflite")
    given = Network(tmp_path / "classifier.tflite").invoke(image)
    assert (given.answers.shape, given.features.shape, given.maps) == ((1,), (*CELLS, CHANNELS), None)
    write_litert(tiny_reader(), tmp_path / "reader.tflite")
    given = Network(tmp_path / "reader.tflite").invoke(image)
    assert (given.answers.shape, given.features.shape) == ((3 + MEMBERS,), (*CELLS, CHANNELS))
    assert given.maps.shape == (*CELLS, 2)
