"""What a LiteRT file gives is known by the shapes of its outputs; the converter keeps neither their names nor their order."""

import warnings
from itertools import permutations

import numpy as np
import pytest

from covid_core.errors import BundleError
from covid_core.images.preprocess import prepare_files
from covid_core.inference.network import Network
from tests.fake_bundle import CELLS, CHANNELS, MEMBERS, PREPARATION, start_tensorflow, tiny_reader

SIDE = 16


def write_network(path, *outputs):
    """A network whose outputs are of these shapes, each filled with its place in the list plus the image's mean grey."""
    start_tensorflow()
    import keras  # noqa: PLC0415

    from covid_core.training.export import write_litert  # noqa: PLC0415

    grey = keras.Input((SIDE, SIDE, 1), name="grey")
    mean = keras.ops.mean(grey, axis=(1, 2, 3))
    given = [
        keras.ops.reshape(mean, (-1, *[1] * len(shape))) + keras.ops.full((1, *shape), float(number))
        for number, shape in enumerate(outputs)
    ]
    if len(given) == 1:  # `write_litert` takes a model of one output for a classifier
        given.append(given[0] + 0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="__array__ implementation", category=DeprecationWarning)
        write_litert(keras.Model(grey, given), path)
    return path


ANSWERS, FEATURES, MAPS = (7,), (4, 4, 6), (4, 4, 2)


@pytest.mark.parametrize("order", list(permutations([ANSWERS, FEATURES, MAPS])), ids=str)
def test_answers_features_and_maps_are_known_in_whatever_order_they_come(tmp_path, order):
    network = Network(write_network(tmp_path / "model.tflite", *order))
    given = network.invoke(np.full((SIDE, SIDE), 100, np.uint8))
    assert (network.size, network.channels) == (SIDE, 6)
    for found, shape in ((given.answers, ANSWERS), (given.features, FEATURES), (given.maps, MAPS)):
        np.testing.assert_array_equal(found, np.full(shape, 100 + order.index(shape), np.float32))
    assert given.probability == given.answers[0]


def test_a_network_without_maps_gives_none(tmp_path):
    network = Network(write_network(tmp_path / "model.tflite", FEATURES, (1,)))
    given = network.invoke(np.zeros((SIDE, SIDE), np.uint8))
    assert given.maps is None
    assert (given.answers.shape, given.features.shape) == ((1,), FEATURES)


@pytest.mark.parametrize(
    "outputs",
    [(ANSWERS,), (FEATURES, MAPS), (ANSWERS, MAPS), (ANSWERS, FEATURES, (4, 4, 9)), (ANSWERS, (3,), FEATURES)],
    ids=["answers alone", "no answers", "no features", "two feature maps", "answers twice"],
)
def test_outputs_that_cannot_be_told_apart_are_refused_with_their_shapes(tmp_path, outputs):
    with pytest.raises(
        BundleError, match=r"must give P\(covid\) and a feature map\. Received outputs of the shapes \["
    ):
        Network(write_network(tmp_path / "model.tflite", *outputs))


def test_the_reader_answers_as_keras_does_in_all_that_it_gives(chest_folder, images):
    prepared = prepare_files(images, PREPARATION)
    answers, features, maps = (np.asarray(one) for one in tiny_reader()(prepared[..., None].astype(np.float32)))
    network = Network(chest_folder / "model.tflite")
    for number, image in enumerate(prepared):
        given = network.invoke(image)
        np.testing.assert_allclose(given.answers, answers[number], atol=1e-4)
        np.testing.assert_allclose(given.features, features[number], atol=1e-3)
        np.testing.assert_allclose(given.maps, maps[number], atol=1e-4)
    assert answers.shape == (len(images), 3 + MEMBERS)
    assert features.shape[1:] == (*CELLS, CHANNELS)
    assert (answers[:, :3].std(axis=0) > 0.1).all()
    assert (maps.std(axis=(0, 1, 2)) > 0.01).all()
