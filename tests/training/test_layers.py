import keras
import numpy as np
import pytest

from covid_core.training.layers import Coordinates, LungWeighting

# Keras 3.15 reads its variables by a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def features(n=3, height=4, width=6, channels=5):
    return np.random.default_rng(0).normal(size=(n, height, width, channels)).astype(np.float32)


def pooled(values, lungs):
    weighted = LungWeighting()([values, np.asarray(lungs, np.float32)])
    return np.asarray(keras.layers.GlobalAveragePooling2D()(weighted))


def test_pooling_gives_the_mean_over_the_lungs_and_then_the_mean_over_the_image():
    values = features()
    lungs = np.zeros((3, 4, 6, 1), np.float32)
    lungs[0, 1:3, 2:4] = 1.0
    lungs[1] = np.random.default_rng(1).random((4, 6, 1))
    lungs[2, 0, 0] = 1.0
    found = pooled(values, lungs)
    for image, weights, row in zip(values, lungs, found, strict=True):
        weighted = np.average(image.reshape(-1, 5), axis=0, weights=weights.ravel())
        np.testing.assert_allclose(row[:5], weighted, atol=0.05)  # a thousandth of a cell outside counts as well
        floored = np.average(image.reshape(-1, 5), axis=0, weights=weights.ravel() + 1e-3)
        np.testing.assert_allclose(row[:5], floored, atol=1e-5)
        np.testing.assert_allclose(row[5:], image.mean(axis=(0, 1)), atol=1e-6)
    assert np.abs(found[0, :5] - found[0, 5:]).max() > 0.2


@pytest.mark.parametrize("everywhere", [0.0, 0.4, 1.0])
def test_an_image_without_lungs_or_with_nothing_else_is_pooled_evenly(everywhere):
    values = features()
    found = pooled(values, np.full((3, 4, 6, 1), everywhere))
    np.testing.assert_allclose(found, np.tile(values.mean(axis=(1, 2)), 2), atol=1e-5)


def test_the_lungs_of_one_image_do_not_weigh_another():
    values, lungs = features(), np.random.default_rng(2).random((3, 4, 6, 1))
    other = lungs.copy()
    other[1:] = 0.0
    np.testing.assert_array_equal(pooled(values, lungs)[0], pooled(values, other)[0])


def test_each_cell_gets_its_row_and_column_and_their_squares():
    values = features(n=2, height=3, width=5, channels=2)
    found = np.asarray(Coordinates()(values))
    assert found.shape == (2, 3, 5, 6)
    np.testing.assert_array_equal(found[..., :2], values)
    for image in found:
        np.testing.assert_array_equal(image[0, 0, 2:], [-1, -1, 1, 1])
        np.testing.assert_array_equal(image[0, 4, 2:], [-1, 1, 1, 1])
        np.testing.assert_array_equal(image[2, 0, 2:], [1, -1, 1, 1])
        np.testing.assert_array_equal(image[2, 4, 2:], [1, 1, 1, 1])
        np.testing.assert_allclose(image[1, 1, 2:], [0, -0.5, 0, 0.25], atol=1e-6)


def test_a_model_of_these_layers_comes_back_from_its_file(tmp_path):
    image = keras.Input((4, 6, 1))
    lungs = keras.layers.Conv2D(1, 1, activation="sigmoid")(Coordinates()(image))
    means = keras.layers.GlobalAveragePooling2D()(LungWeighting()([image, lungs]))
    answer = keras.layers.Dense(1, activation="sigmoid")
    model = keras.Model(image, answer(means))
    model.set_weights([np.random.default_rng(4).normal(size=weight.shape) for weight in model.weights])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    values = features(channels=1)
    before, after = np.asarray(model(values)), np.asarray(again(values))
    np.testing.assert_array_equal(before, after)
    assert np.ptp(before) > 1e-3
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in model.layers]
