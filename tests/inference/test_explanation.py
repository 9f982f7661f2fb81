import io

import numpy as np
import pytest
from PIL import Image

from covid_core.errors import BundleError
from covid_core.images.decode import decode_file
from covid_core.images.preparation import prepare
from covid_core.inference.bundle import load_bundle
from covid_core.inference.explanation import Head, grad_cam, load_head, overlay
from covid_core.inference.predictor import Predictor
from tests.fake_bundle import PREPARATION, tiny_classifier, write_film


def head_of(hidden_kernel, hidden_bias, output_kernel):
    return Head(
        np.array(hidden_kernel, np.float32),
        np.array(hidden_bias, np.float32),
        np.array(output_kernel, np.float32)[:, None],
        np.zeros(1, np.float32),
    )


def test_grad_cam_of_a_network_small_enough_to_work_out_by_hand():
    # Two channels, two hidden units, a feature map of 1 x 2. Means are (2, 1), so the hidden units are
    # relu(1*2 + 0*1) = 2 and relu(-1*2 + 1*1) = 0: only the first counts, and its gradient is 3 * (1, 0).
    features = np.array([[[1, 2], [3, 0]]], np.float32)
    heat = grad_cam(features, head_of([[1, -1], [0, 1]], [0, 0], [3, 5]))
    np.testing.assert_allclose(heat, [[1 / 3, 1]], rtol=1e-6)


def test_what_only_lowers_the_probability_has_no_heat():
    features = np.array([[[1, 2], [3, 0]]], np.float32)
    heat = grad_cam(features, head_of([[1, -1], [0, 1]], [0, 0], [-3, 5]))
    np.testing.assert_array_equal(heat, np.zeros((1, 2)))
    assert heat.dtype == np.float32


def test_a_silent_feature_map_has_no_heat_and_divides_by_nothing():
    heat = grad_cam(np.zeros((4, 4, 2), np.float32), head_of([[1, 0], [0, 1]], [1, 1], [1, 1]))
    np.testing.assert_array_equal(heat, np.zeros((4, 4)))


@pytest.mark.parametrize("seed", [0, 2, 8])
def test_the_closed_form_equals_the_gradients_of_tensorflow(bundle_folder, tmp_path, seed):
    """Grad-CAM of Selvaraju et al. (2017): channels weighted by their mean gradient of the logit, then ReLU."""
    model = tiny_classifier()
    import keras  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    path = write_film(tmp_path / "film.png", seed)
    film = prepare(decode_file(path), PREPARATION)
    model.get_layer("probability_covid").activation = keras.activations.linear  # the logit before the sigmoid
    to_features = keras.Model(model.input, model.get_layer("pooling").input)
    features = tf.convert_to_tensor(to_features(film[None, ..., None].astype(np.float32)))
    with tf.GradientTape() as tape:
        tape.watch(features)
        value = features
        for name in ("pooling", "hidden", "dropout", "probability_covid"):
            value = model.get_layer(name)(value)
        logit = value[0, 0]
    weights = tape.gradient(logit, features).numpy()[0].mean(axis=(0, 1))
    expected = np.maximum((features.numpy()[0] * weights).sum(axis=-1), 0)
    assert expected.max() > 0
    served = Predictor(load_bundle(bundle_folder)).predict(decode_file(path)).heat
    np.testing.assert_allclose(served, expected / expected.max(), rtol=1e-4, atol=1e-5)


def test_the_overlay_leaves_the_film_outside_the_box_as_it_is():
    film = np.random.default_rng(0).random((60, 80)).astype(np.float32)
    box = (10, 5, 70, 50)
    drawn = overlay(film, np.ones((7, 7), np.float32), box)
    grey = np.rint(film * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    outside = np.ones(film.shape, bool)
    outside[5:50, 10:70] = False
    assert drawn.shape == (60, 80, 3)
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn[outside], grey[outside])
    assert (drawn[~outside] != grey[~outside]).any(axis=-1).mean() > 0.99


def test_the_overlay_of_no_heat_is_the_film():
    film = np.random.default_rng(1).random((40, 40)).astype(np.float32)
    drawn = overlay(film, np.zeros((7, 7), np.float32), (0, 0, 40, 40))
    np.testing.assert_array_equal(drawn, np.rint(film * 255).astype(np.uint8)[..., None].repeat(3, axis=2))


def test_the_hottest_place_is_drawn_with_the_given_opacity_in_the_brightest_colour():
    # inferno ends in (252, 255, 164); half of it over a mid grey of 0.5 * 255
    drawn = overlay(np.full((8, 8), 0.5, np.float32), np.ones((2, 2), np.float32), (0, 0, 8, 8), opacity=0.5)
    expected = np.rint(0.5 * 127.5 + 0.5 * np.array([252, 255, 164]))
    np.testing.assert_allclose(drawn[4, 4], expected, atol=1)


def test_a_warm_corner_of_the_map_is_drawn_in_that_corner_of_the_box():
    heat = np.zeros((4, 4), np.float32)
    heat[0, 3] = 1
    drawn = overlay(np.zeros((100, 200), np.float32), heat, (100, 0, 200, 100)).astype(int).sum(axis=-1)
    row, column = np.unravel_index(drawn.argmax(), drawn.shape)
    assert row < 25
    assert column >= 175


def truncated_archive():
    stream = io.BytesIO()
    np.savez(stream, hidden_kernel=np.zeros((2, 2)))
    return stream.getvalue()[:60]


def wrong_arrays():
    stream = io.BytesIO()
    np.savez(stream, kernel=np.zeros((2, 2)))
    return stream.getvalue()


def png():
    stream = io.BytesIO()
    Image.new("L", (4, 4)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", truncated_archive(), wrong_arrays(), png()],
    ids=["empty", "cut short", "other arrays", "a picture"],
)
def test_a_file_that_holds_no_head_is_refused(tmp_path, content):
    (tmp_path / "head.npz").write_bytes(content)
    with pytest.raises(BundleError, match="does not hold the head's weights"):
        load_head(tmp_path / "head.npz")
