import hashlib

import keras
import numpy as np
import pytest

from covid_core.errors import TrainingError
from covid_core.images.preprocess import Preparation
from covid_core.training import backbones
from covid_core.training.backbones import BACKBONES, backbone_of, build_classifier, freeze_lower, starting_weights
from covid_core.training.recipe import Recipe
from tests.training.tiny import SIZE

# Keras 3.15 reads its variables by a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def recipe(**settings):
    return Recipe(**{"weights": "none", "hidden_units": 8, "preparation": Preparation(size=SIZE), **settings})


@pytest.fixture(scope="module")
def mobilenet():
    """Tests share it and must not change its weights."""
    return build_classifier(recipe())


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("mobilenetv2", keras.applications.mobilenet_v2.preprocess_input),
        ("resnet50", keras.applications.resnet50.preprocess_input),
    ],
)
def test_the_scaling_inside_the_model_is_keras_own_on_grey_pictures(name, reference):
    grey = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1)).astype(np.float32).repeat(3, axis=-1)
    expected = reference(grey.copy())
    np.testing.assert_allclose(np.asarray(BACKBONES[name].scaling()(grey)), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["mobilenetv2", "resnet50"])
def test_a_classifier_takes_grey_bytes_and_gives_one_probability(name):
    model = build_classifier(recipe(backbone=name))
    images = np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 1)).astype(np.float32)
    probability = np.asarray(model(images, training=False))
    assert probability.shape == (2, 1)
    assert ((probability > 0) & (probability < 1)).all()
    kinds = [type(layer).__name__ for layer in model.layers[-4:]]
    assert kinds == ["GlobalAveragePooling2D", "Dense", "Dropout", "Dense"]
    assert (model.layers[-3].units, model.layers[-2].rate) == (8, pytest.approx(0.3))


def values_of(layers):
    return [np.asarray(weight) for layer in layers for weight in layer.weights]


def is_normalisation(layer):
    return isinstance(layer, keras.layers.BatchNormalization)


@pytest.mark.slow
def test_an_epoch_moves_neither_the_lower_two_thirds_nor_any_batch_normalisation():
    model = build_classifier(recipe(), None)
    freeze_lower(model, 2 / 3)
    layers = backbone_of(model).layers
    lower = layers[: len(layers) * 2 // 3]
    upper = layers[len(layers) * 2 // 3 :]
    assert len(layers) == 154  # MobileNetV2 of Keras without its top
    still = [*lower, *(layer for layer in upper if is_normalisation(layer))]
    moving = [layer for layer in upper if layer.weights and not is_normalisation(layer)]
    assert len(moving) > 10
    _assert_only_some_layers_move(model, still, moving)
    freeze_lower(model, 0.0)  # fine-tuning
    _assert_only_some_layers_move(
        model,
        [layer for layer in layers if is_normalisation(layer)],
        [layer for layer in layers if layer.weights and not is_normalisation(layer)],
    )


def _assert_only_some_layers_move(model, still, moving):
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (16, SIZE, SIZE, 1)).astype(np.float32)
    before_still, before_moving = values_of(still), values_of(moving)
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="binary_crossentropy")
    model.fit(images, rng.integers(0, 2, (16, 1)), batch_size=8, epochs=1, verbose=0)
    for before, after in zip(before_still, values_of(still), strict=True):
        np.testing.assert_array_equal(before, after)
    moved = [not np.array_equal(a, b) for a, b in zip(before_moving, values_of(moving), strict=True)]
    assert all(layer.trainable for layer in moving)
    assert np.mean(moved) > 0.25  # many gradients of an untrained network are too small for float32


def test_an_unknown_backbone_is_refused_with_those_there_are():
    with pytest.raises(TrainingError, match=r"'mobilenetv2', 'resnet50'.*Received: 'vgg16'"):
        build_classifier(recipe(backbone="vgg16"))


def test_a_failing_download_says_what_to_do_instead(monkeypatch):
    def fails(**_settings):
        # What keras.utils.get_file raises where the network is closed.
        raise Exception("URL fetch failure on https://storage.example/weights.h5: None -- [Errno -2] Name not known")  # noqa: TRY002

    monkeypatch.setitem(BACKBONES, "mobilenetv2", backbones.Backbone(fails, BACKBONES["mobilenetv2"].scaling))
    with pytest.raises(TrainingError, match=r"could not be downloaded.*--weights FILE.*--weights none") as caught:
        build_classifier(recipe(weights="imagenet"))
    assert "URL fetch failure" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_a_file_are_those_of_the_backbone(mobilenet, tmp_path):
    path = tmp_path / "mine.weights.h5"
    backbone_of(mobilenet).save_weights(path)
    model = build_classifier(recipe(weights=path.name, weights_sha256="0" * 64, seed=1), path)
    for expected, loaded in zip(values_of([backbone_of(mobilenet)]), values_of([backbone_of(model)]), strict=True):
        np.testing.assert_array_equal(expected, loaded)


def test_weights_of_another_network_a_file_that_holds_none_and_a_missing_one_are_refused(tmp_path):
    other = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save_weights(other)
    with pytest.raises(TrainingError, match=r"does not hold weights of mobilenetv2.*--weights and --backbone"):
        build_classifier(recipe(weights=other.name), other)
    for name in ("image.weights.h5", "image.png"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n")
        with pytest.raises(TrainingError, match="does not hold weights"):
            build_classifier(recipe(weights=name), tmp_path / name)
    for missing in (None, tmp_path / "mine.weights.h5"):
        with pytest.raises(TrainingError, match=r"There is no weights file.*mine\.weights\.h5.*--weights FILE"):
            build_classifier(recipe(weights="mine.weights.h5"), missing)


def test_where_the_weights_came_from_is_never_guessed():
    assert "ImageNet" in starting_weights(recipe(weights="imagenet"))["origin"]
    assert "random" in starting_weights(recipe())["origin"]
    unknown = starting_weights(recipe(weights="mine.h5", weights_sha256="0" * 64))
    assert unknown == {"name": "mine.h5", "sha256": "0" * 64, "origin": "a local file of unrecorded origin"}


def test_the_weights_of_the_shared_folder_have_their_origin(shared_dir):
    path = shared_dir / "weights" / "mobilenetv2_1.00_imagenet_notop.weights.h5"
    if not path.is_file():
        pytest.skip(f"there are no weights at {path}")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert "Stanford Dogs" in starting_weights(recipe(weights=path.name, weights_sha256=sha256))["origin"]
