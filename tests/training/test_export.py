import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs requirements-train.txt")

from covid_core.errors import TrainingError
from covid_core.training.export import BATCH_SIZE, head_weights, load_trained, predict_films
from tests.fake_bundle import SIZE, tiny_classifier

# Keras 3.15 reads its variables by a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_a_saved_model_predicts_as_before_whatever_the_size_of_the_batches(tmp_path):
    model = tiny_classifier()
    model.save(tmp_path / "best.keras")
    films = np.random.default_rng(0).integers(0, 256, (BATCH_SIZE + 3, SIZE, SIZE), dtype=np.uint8)
    expected = np.concatenate([np.asarray(model(film[None, ..., None].astype(np.float32))) for film in films])[:, 0]
    given = predict_films(load_trained(tmp_path / "best.keras"), films)
    assert given.dtype == np.float64
    np.testing.assert_allclose(given, expected, atol=1e-6)


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

    film = np.random.default_rng(1).integers(0, 256, (1, SIZE, SIZE, 1)).astype(np.float32)
    pooled = np.asarray(keras.Model(model.input, model.get_layer("pooling").output)(film))[0]
    head = head_weights(model)
    hidden = np.maximum(pooled @ head["hidden_kernel"] + head["hidden_bias"], 0)
    logit = hidden @ head["output_kernel"] + head["output_bias"]
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), np.asarray(model(film))[0], rtol=1e-5)
