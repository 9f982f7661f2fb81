import io
import zipfile

import numpy as np
import pytest
from PIL import Image
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from covid_core.errors import BundleError
from covid_core.images.decode import decode_file
from covid_core.images.preparation import prepare
from covid_core.inference.bundle import load_bundle
from covid_core.inference.explanation import DenseHead, KernelHead, grad_cam, load_head, overlay
from covid_core.inference.predictor import Predictor
from tests.fake_bundle import PREPARATION, tiny_classifier, write_film


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


@pytest.fixture(scope="module")
def machine():
    """A support vector machine on standardised features of six channels, of very different means and scales."""
    rng = np.random.default_rng(3)
    features = rng.normal([0.1, 5, -2, 0.7, 30, 0], [0.05, 2, 1, 0.3, 9, 1], (60, 6))
    curved = (features[:, 0] - 0.1) ** 2 / 0.0025 + (features[:, 1] - 5) / 2 > 1
    return make_pipeline(StandardScaler(), SVC(C=3.0, gamma=0.2)).fit(features, curved)


def kernel_arrays(machine):
    """What `head.npz` of a bundle holds of a fitted machine, in scikit-learn's precision."""
    scaler, svc = machine[0], machine[1]
    return {
        "support_vectors": svc.support_vectors_,
        "coefficients": svc.dual_coef_[0],
        "intercept": svc.intercept_,
        "gamma": np.array([svc.gamma]),
        "mean": scaler.mean_,
        "scale": scaler.scale_,
    }


def kernel_head(arrays):
    return KernelHead(**{name: array.astype(np.float32) for name, array in arrays.items()})


def decision_of(arrays, pooled):
    """The logit in float64, a sum over support vectors as it stands in the textbook."""
    total = float(arrays["intercept"][0])
    for vector, coefficient in zip(arrays["support_vectors"], arrays["coefficients"], strict=True):
        distance = sum(
            ((p - m) / s - v) ** 2 for p, m, s, v in zip(pooled, arrays["mean"], arrays["scale"], vector, strict=True)
        )
        total += coefficient * np.exp(-arrays["gamma"][0] * distance)
    return total


def test_the_arrays_of_a_kernel_head_are_those_of_scikit_learns_decision_function(machine):
    pooled = machine[0].inverse_transform(np.random.default_rng(4).normal(0, 1, (8, 6)))
    mine = [decision_of(kernel_arrays(machine), one) for one in pooled]
    np.testing.assert_allclose(mine, machine.decision_function(pooled), rtol=1e-9)
    assert {value > 0 for value in mine} == {True, False}


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_of_a_kernel_head_is_that_of_finite_differences(machine, seed):
    arrays = kernel_arrays(machine)
    pooled = machine[0].inverse_transform(np.random.default_rng(seed).normal(0, 1, (1, 6)))[0]
    steps = np.diag(1e-5 * arrays["scale"])
    expected = [
        (decision_of(arrays, pooled + step) - decision_of(arrays, pooled - step)) / (2 * step.sum()) for step in steps
    ]
    gradient = kernel_head(arrays).gradient(pooled.astype(np.float32))
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient * arrays["scale"], expected * arrays["scale"], rtol=2e-4, atol=2e-6)


def test_the_gradient_of_a_single_support_vector_worked_out_by_hand():
    # x = ((4 - 2) / 2, (3 - 3) / 1) = (1, 0) is 1 away from the origin, so the kernel is exp(-ln 2) = 1/2, and the
    # derivative -2 ln 2 * 4 * 1/2 * (1, 0) / (2, 1) = (-2 ln 2, 0).
    arrays = {
        "support_vectors": np.zeros((1, 2)),
        "coefficients": np.array([4]),
        "intercept": np.array([7]),
        "gamma": np.array([np.log(2)]),
        "mean": np.array([2, 3]),
        "scale": np.array([2, 1]),
    }
    gradient = kernel_head(arrays).gradient(np.array([4, 3], np.float32))
    np.testing.assert_allclose(gradient, [-2 * np.log(2), 0], rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_grad_cam_of_a_kernel_head_weighs_the_channels_by_finite_differences_over_the_cells(machine, seed):
    """Grad-CAM of Selvaraju et al. (2017) from its definition, each cell of each channel moved by itself."""
    arrays, rng = kernel_arrays(machine), np.random.default_rng(seed)
    film = machine[0].inverse_transform(rng.normal(0, 1, (1, 6)))[0]
    features = film + rng.normal(0, 1, (2, 3, 6)) * arrays["scale"]
    slopes = np.empty_like(features)
    for cell in np.ndindex(features.shape):
        step = np.zeros_like(features)
        step[cell] = 1e-4 * arrays["scale"][cell[-1]]
        ends = [decision_of(arrays, (features + sign * step).mean(axis=(0, 1))) for sign in (1, -1)]
        slopes[cell] = (ends[0] - ends[1]) / (2 * step[cell])
    expected = np.maximum((features * slopes.mean(axis=(0, 1))).sum(axis=-1), 0)
    assert expected.max() > 0
    heat = grad_cam(features.astype(np.float32), kernel_head(arrays))
    np.testing.assert_allclose(heat, expected / expected.max(), rtol=1e-3, atol=1e-4)


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


def archive(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **{name: np.asarray(array, np.float32) for name, array in arrays.items()})
    return stream.getvalue()


def png():
    stream = io.BytesIO()
    Image.new("L", (4, 4)).save(stream, "PNG")
    return stream.getvalue()


DENSE = {
    "hidden_kernel": np.ones((3, 2)),
    "hidden_bias": np.ones(2),
    "output_kernel": np.ones((2, 1)),
    "output_bias": np.ones(1),
}
KERNEL = {
    "support_vectors": np.ones((4, 3)),
    "coefficients": np.ones(4),
    "intercept": np.ones(1),
    "gamma": np.ones(1),
    "mean": np.ones(3),
    "scale": np.ones(3),
}


@pytest.mark.parametrize(("arrays", "kind"), [(DENSE, DenseHead), (KERNEL, KernelHead)])
def test_the_arrays_tell_which_head_it_is(tmp_path, arrays, kind):
    (tmp_path / "head.npz").write_bytes(archive(**arrays))
    head = load_head(tmp_path / "head.npz")
    assert type(head) is kind
    assert head.channels == 3
    for name, array in arrays.items():
        np.testing.assert_array_equal(getattr(head, name), array)


@pytest.mark.parametrize(
    "content",
    [b"", archive(**DENSE)[:60], archive(kernel=np.zeros((2, 2))), archive(**DENSE, **KERNEL), archive(), png()],
    ids=["empty", "cut short", "other arrays", "two heads", "no arrays", "a picture"],
)
def test_a_file_that_holds_no_head_is_refused(tmp_path, content):
    (tmp_path / "head.npz").write_bytes(content)
    with pytest.raises(BundleError, match="does not hold the head's weights"):
        load_head(tmp_path / "head.npz")


@pytest.mark.parametrize(
    ("arrays", "name", "shape"),
    [
        (DENSE, "hidden_kernel", (3,)),
        (DENSE, "hidden_bias", (3,)),
        (DENSE, "output_kernel", (2, 2)),
        (DENSE, "output_kernel", (2,)),
        (DENSE, "output_bias", (2,)),
        (KERNEL, "support_vectors", (0, 3)),
        (KERNEL, "support_vectors", (4, 3, 1)),
        (KERNEL, "coefficients", (1, 4)),
        (KERNEL, "coefficients", (5,)),
        (KERNEL, "intercept", ()),
        (KERNEL, "gamma", (3,)),
        (KERNEL, "mean", (4,)),
        (KERNEL, "scale", (1,)),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused_by_name(tmp_path, arrays, name, shape):
    (tmp_path / "head.npz").write_bytes(archive(**{**arrays, name: np.ones(shape)}))
    with pytest.raises(BundleError, match=rf"`{name}` must be of the shape .*Received: \({', '.join(map(str, shape))}"):
        load_head(tmp_path / "head.npz")


@pytest.mark.parametrize(("name", "value"), [("gamma", [0]), ("gamma", [-1]), ("scale", [1, 0, 1])])
def test_what_a_kernel_head_divides_or_decays_by_is_above_0(tmp_path, name, value):
    (tmp_path / "head.npz").write_bytes(archive(**{**KERNEL, name: value}))
    with pytest.raises(BundleError, match=rf"`{name}` must be above 0"):
        load_head(tmp_path / "head.npz")


@pytest.mark.parametrize("value", [np.array([np.nan, 1, 1], np.float32), np.ones(3), np.array(["a", "b", "c"])])
def test_arrays_that_are_no_finite_float32_are_refused_by_name(tmp_path, value):
    np.savez(
        tmp_path / "head.npz",
        **{**{name: np.asarray(array, np.float32) for name, array in KERNEL.items()}, "scale": value},
    )
    with pytest.raises(BundleError, match="`scale` must be finite float32"):
        load_head(tmp_path / "head.npz")


def test_an_archive_with_something_else_than_arrays_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "head.npz", "w") as file:
        file.writestr("support_vectors.txt", "none")
    with pytest.raises(BundleError, match="does not hold the head's weights"):
        load_head(tmp_path / "head.npz")
