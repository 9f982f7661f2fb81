import io

import numpy as np
import pytest

from covid_core.errors import BundleError
from covid_core.images.decode import decode_file
from covid_core.images.preprocess import prepare
from covid_core.inference.bundle import load_bundle
from covid_core.inference.explanation import DenseHead, QuestionsHead, grad_cam, load_head, overlay
from covid_core.inference.predictor import Predictor
from tests.fake_bundle import PREPARATION, start_tensorflow, tiny_classifier, tiny_reader, write_image


def head_of(hidden_kernel, hidden_bias, output_kernel):
    return DenseHead(
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
    assert heat.dtype == np.float32
    # What only lowers the probability, and a silent feature map, have no heat.
    assert not grad_cam(features, head_of([[1, -1], [0, 1]], [0, 0], [-3, 5])).any()
    assert not grad_cam(np.zeros((4, 4, 2), np.float32), head_of([[1, 0], [0, 1]], [1, 1], [1, 1])).any()


@pytest.mark.parametrize("seed", [0, 2, 8])
def test_the_closed_form_equals_the_gradients_of_tensorflow(bundle_folder, tmp_path, seed):
    """Grad-CAM of Selvaraju et al. (2017): channels weighted by their mean gradient of the logit, then ReLU."""
    model = tiny_classifier()
    import keras  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    path = write_image(tmp_path / "image.png", seed)
    image = prepare(decode_file(path), PREPARATION)
    model.get_layer("probability_covid").activation = keras.activations.linear  # the logit before the sigmoid
    to_features = keras.Model(model.input, model.get_layer("pooling").input)
    features = tf.convert_to_tensor(to_features(image[None, ..., None].astype(np.float32)))
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


def questions_head(kernel, bias):
    return QuestionsHead(np.array(kernel, np.float32), np.array(bias, np.float32))


def test_the_gradient_of_two_questions_is_their_weights_by_the_doubt_in_each_answer():
    # The pooled features (2, 1) make the logits 2 - 2 = 0 and -2 + ln 3 + 2 = ln 3, so the answers are 1/2 and 3/4. The doubts
    # 1/2 and 1/4 weigh (1, 0) and (0, -2).
    head = questions_head([[1, 0], [0, -2]], [-2, np.log(3) + 2])
    gradient = head.gradient(np.array([2, 1], np.float32))
    np.testing.assert_allclose(gradient, [1 / 2, -1 / 2], rtol=1e-6)
    assert gradient.dtype == np.float32
    # The means of this map are (2, 1), so the cells are (1 - 2) / 2, below 0, and (3 - 0) / 2.
    np.testing.assert_allclose(grad_cam(np.array([[[1, 2], [3, 0]]], np.float32), head), [[0, 1]], atol=1e-7)


def test_a_question_that_is_answered_for_certain_has_no_part_in_the_heat():
    # The first question is at sigmoid(40), a doubt of 4e-18; what speaks for it is in the first cell, for the other in the last.
    features = np.array([[[2, 0], [0, 2]]], np.float32)
    heat = grad_cam(features, questions_head([[1, 0], [0, 1]], [39, 0]))
    np.testing.assert_allclose(heat, [[0, 1]], atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_of_two_questions_equals_that_of_tensorflow(seed):
    start_tensorflow()
    import tensorflow as tf  # noqa: PLC0415

    rng = np.random.default_rng(seed)
    kernel, bias = rng.normal(0, 1, (6, 2)), rng.normal(0, 1, 2)
    pooled = tf.Variable(rng.normal(0, 1, 6))
    with tf.GradientTape() as tape:
        answers = tf.sigmoid(tf.linalg.matvec(tf.constant(kernel), pooled, transpose_a=True) + bias)
        log_probability = tf.math.log(answers[0] * answers[1])
    expected = tape.gradient(log_probability, pooled).numpy()
    found = questions_head(kernel, bias).gradient(pooled.numpy().astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seed", [0, 2, 8])
def test_the_heat_of_the_served_reader_equals_the_gradients_of_tensorflow(chest_predictor, tmp_path, seed):
    """Grad-CAM of Selvaraju et al. (2017) of log P(covid), which is the first of the reader's answers."""
    model = tiny_reader()
    import keras  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    image = prepare(decode_file(write_image(tmp_path / "image.png", seed)), PREPARATION)
    given = keras.Model(model.input, model.get_layer("feature_map").output)(image[None, ..., None].astype(np.float32))
    features = tf.convert_to_tensor(given)
    questions = model.get_layer("questions")
    with tf.GradientTape() as tape:
        tape.watch(features)
        answers = questions(model.get_layer("pooling")(features))[0]
        log_probability = tf.math.log(answers[0] * answers[1])
    np.testing.assert_allclose(
        float(tf.exp(log_probability)), chest_predictor.network.invoke(image).probability, atol=1e-5
    )
    weights = tape.gradient(log_probability, features).numpy()[0].mean(axis=(0, 1))
    expected = np.maximum((features.numpy()[0] * weights).sum(axis=-1), 0)
    assert expected.max() > 0
    served = chest_predictor.predict_prepared(image).heat
    np.testing.assert_allclose(served, expected / expected.max(), rtol=1e-3, atol=1e-4)


def test_the_overlay_leaves_the_image_outside_the_box_as_it_is():
    image = np.random.default_rng(0).random((60, 80)).astype(np.float32)
    box = (10, 5, 70, 50)
    drawn = overlay(image, np.ones((7, 7), np.float32), box)
    grey = np.rint(image * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    outside = np.ones(image.shape, bool)
    outside[5:50, 10:70] = False
    assert drawn.shape == (60, 80, 3)
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn[outside], grey[outside])
    assert (drawn[~outside] != grey[~outside]).any(axis=-1).mean() > 0.99
    np.testing.assert_array_equal(overlay(image, np.zeros((7, 7), np.float32), box), grey)


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


def archive(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **{name: np.asarray(array, np.float32) for name, array in arrays.items()})
    return stream.getvalue()


DENSE = {
    **{"hidden_kernel": np.ones((3, 2)), "hidden_bias": np.ones(2)},
    **{"output_kernel": np.ones((2, 1)), "output_bias": np.ones(1)},
}
QUESTIONS = {"kernel": np.ones((3, 2)), "bias": np.ones(2)}


@pytest.mark.parametrize(("arrays", "kind"), [(DENSE, DenseHead), (QUESTIONS, QuestionsHead)])
def test_the_arrays_tell_which_head_it_is(tmp_path, arrays, kind):
    (tmp_path / "head.npz").write_bytes(archive(**arrays))
    head = load_head(tmp_path / "head.npz")
    assert type(head) is kind
    assert head.channels == 3
    for name, array in arrays.items():
        np.testing.assert_array_equal(getattr(head, name), array)


@pytest.mark.parametrize(
    "content", [b"", archive(**DENSE)[:60], b"\x89PNG\r\n\x1a\n"], ids=["empty", "cut short", "a picture"]
)
def test_a_file_that_is_no_archive_of_arrays_is_refused(tmp_path, content):
    (tmp_path / "head.npz").write_bytes(content)
    with pytest.raises(BundleError, match="cannot be read as arrays"):
        load_head(tmp_path / "head.npz")


@pytest.mark.parametrize(
    "arrays", [{"kernel": np.zeros((2, 2))}, DENSE | QUESTIONS, {}], ids=["other arrays", "two heads", "no arrays"]
)
def test_arrays_that_are_not_those_of_one_head_are_refused(tmp_path, arrays):
    (tmp_path / "head.npz").write_bytes(archive(**arrays))
    with pytest.raises(BundleError, match="must hold"):
        load_head(tmp_path / "head.npz")


@pytest.mark.parametrize(
    ("arrays", "name", "value"),
    [
        *((DENSE, "hidden_kernel", np.ones(shape)) for shape in [(3,), (3, 3)]),
        (DENSE, "hidden_bias", np.ones(3)),
        *((DENSE, "output_kernel", np.ones(shape)) for shape in [(2, 2), (2,)]),
        (DENSE, "output_bias", np.ones(2)),
        *((QUESTIONS, "kernel", np.ones(shape)) for shape in [(0, 2), (3,), (3, 1), (3, 3), (3, 2, 1)]),
        *((QUESTIONS, "bias", np.ones(shape)) for shape in [(), (3,), (1, 2)]),
        (QUESTIONS, "bias", np.array([np.nan, 1])),
        (QUESTIONS, "bias", np.array(["a", "b"])),
    ],
)
def test_arrays_that_do_not_fit_each_other_or_are_no_finite_numbers_are_refused_by_name(tmp_path, arrays, name, value):
    np.savez(tmp_path / "head.npz", **(arrays | {name: value}))
    with pytest.raises(BundleError, match=r"must be (of the shape|finite numbers)") as refused:
        load_head(tmp_path / "head.npz")
    assert name.split("_")[0] in str(refused.value)
