"""The chest network against Keras' own MobileNetV2, and the batches that it is trained on."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from covid_core.errors import TrainingError
from covid_core.files import sha256_of_file
from covid_core.images.preprocess import Preparation
from covid_core.training.chest_network import Batches, build_network, compile_upper
from covid_core.training.chest_recipe import ChestRecipe
from tests.fake_bundle import THREADS
from tests.made_up_collections import picture
from tests.training.chest import RECIPE as TINY
from tests.training.chest import tiny_networks

# Keras 3.15 reads its variables by a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE = 64
IMAGES = np.stack([picture(seed, SIZE) for seed in range(3)])[..., None].astype(np.float32)


@pytest.fixture(scope="module")
def mobilenet():
    """MobileNetV2 with random weights that let the picture through; those it starts with fade it away."""
    keras.utils.set_random_seed(5)
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    rng = np.random.default_rng(5)
    for layer in network.layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            layer.set_weights([rng.normal(0, 0.8, layer.get_weights()[0].shape)])
    return network


@pytest.fixture(scope="module")
def weights_file(mobilenet, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "lively.weights.h5"
    mobilenet.save_weights(path)
    return path


@pytest.fixture(scope="module")
def network(weights_file):
    recipe = ChestRecipe(
        weights=weights_file.name,
        weights_sha256=sha256_of_file(weights_file),
        threads=THREADS,
        preparation=Preparation(size=SIZE, border_crop=0.0),
    )
    return build_network(recipe, weights_file)


def test_the_cells_are_three_layers_of_keras_network_and_stand_for_sixteen_pixels(mobilenet, network) -> None:
    taps = keras.Model(
        mobilenet.input,
        [mobilenet.get_layer(name).output for name in ("block_9_add", "block_12_add", "block_13_expand_relu")],
    )
    colours = np.repeat(IMAGES, 3, axis=-1)
    expected = np.concatenate(
        [np.asarray(one) for one in taps(keras.applications.mobilenet_v2.preprocess_input(colours))], -1
    )
    cells, opacities = (np.asarray(one) for one in network.taps(network.lower(IMAGES)))
    assert cells.shape == (3, 4, 4, 64 + 96 + 576)
    np.testing.assert_allclose(cells, expected, atol=1e-3, rtol=1e-3)
    assert expected.std() > 0.1
    assert opacities.shape == (3, 4, 4, 1)
    assert 0 <= opacities.min() <= opacities.max() <= 1


def test_the_upper_network_answers_four_questions_of_each_image(network) -> None:
    lower = network.lower(IMAGES)
    assert lower.shape == (3, 8, 8, 32)
    assert [tuple(one.shape) for one in network.upper(lower)] == [(3, 4, 4, 1), (3, 4), (3, 1), (3, 1)]
    assert network.upper.output_names == ["opacity", "appearance", "pattern", "covid"]


def test_blocks_up_to_the_fifth_are_frozen_and_the_others_are_trained(network) -> None:
    trained = {weight.path.split("/")[0] for weight in network.upper.trainable_weights}
    blocks = {int(name.split("_")[1]) for name in trained if name.startswith("block_")}
    assert blocks == set(range(6, 17))
    assert not any(name.startswith(("Conv1", "bn_Conv1", "expanded_conv")) for name in trained)


def test_training_leaves_the_frozen_blocks_as_they_are_and_moves_what_is_used() -> None:
    recipe = replace(TINY, learning_rate=1e-2, warmup_steps=0, average=0.5)
    with tiny_networks():
        tiny = build_network(recipe)
    before = [np.asarray(one) for one in (tiny.lower(IMAGES), tiny.taps(tiny.lower(IMAGES))[0])]
    compile_upper(tiny.upper, recipe, 3)
    lower = np.asarray(tiny.lower(IMAGES))
    targets = (np.ones((3, 4, 4, 1)), np.zeros((3, 1), int), np.ones((3, 1)), np.zeros((3, 1)))
    tiny.upper.fit(lower, targets, epochs=3, verbose=0)
    np.testing.assert_array_equal(np.asarray(tiny.lower(IMAGES)), before[0])
    assert not np.allclose(np.asarray(tiny.taps(tiny.lower(IMAGES))[0]), before[1])


def test_two_networks_of_one_recipe_without_weights_begin_alike() -> None:
    with tiny_networks():
        first, second, other = (build_network(replace(TINY, seed=seed)) for seed in (3, 3, 4))
    found = [np.asarray(one.lower(IMAGES)) for one in (first, second, other)]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_batch_normalisation_follows_at_the_pace_of_the_recipe() -> None:
    with tiny_networks():
        tiny = build_network(replace(TINY, momentum=0.8, dropout=0.25))
    momenta = [one.momentum for one in tiny.upper.layers if isinstance(one, keras.layers.BatchNormalization)]
    rates = [one.rate for one in tiny.upper.layers if isinstance(one, keras.layers.Dropout)]
    assert momenta == [0.8]
    assert rates == [0.25]


def test_named_weights_without_their_file_are_refused() -> None:
    with pytest.raises(TrainingError, match="--weights FILE"):
        build_network(replace(TINY, weights="mine.weights.h5"))


# Batches: 11 images in two copies; the value of each cell is the number of its image, plus 100 for the second copy.
COUNT = 11


def batches_of(first_epoch: int = 0, batch_size: int = 3, seed: int = 0, rows: np.ndarray | None = None) -> Batches:
    lowers = [
        np.full((COUNT, 4, 4, 2), 0, np.float16) + np.arange(COUNT)[:, None, None, None] + 100 * n for n in (0, 1)
    ]
    return Batches(
        [one.astype(np.float16) for one in lowers],
        [(one[:, :2, :2, 0] / 200).astype(np.float16) for one in lowers],
        {
            "appearance": np.arange(COUNT) % 4,
            "pattern": (np.arange(COUNT) % 2).astype(np.float32),
            "covid": (np.arange(COUNT) % 3 == 0).astype(np.float32),
        },
        {
            name: np.arange(COUNT, dtype=np.float32) + place
            for place, name in enumerate(("opacity", "appearance", "pattern", "covid"))
        },
        rows=np.arange(1, COUNT) if rows is None else rows,
        recipe=replace(TINY, batch_size=batch_size, seed=seed),
        first_epoch=first_epoch,
    )


def numbers(batch: tuple) -> list[int]:
    return batch[0][:, 0, 0, 0].astype(int).tolist()


def epoch_of(batches: Batches) -> list[int]:
    return [number for step in range(len(batches)) for number in numbers(batches[step])]


def test_an_epoch_shows_each_image_at_most_once_and_no_other_than_those_chosen() -> None:
    batches = batches_of(rows=np.array([2, 3, 5, 7]), batch_size=2)
    assert len(batches) == 2
    assert sorted(epoch_of(batches)) == [2, 3, 5, 7]
    whole = epoch_of(batches_of())
    assert len(batches_of()) == 3
    assert len(whole) == len(set(whole)) == 9
    assert set(whole) <= set(range(1, COUNT))


def test_each_epoch_uses_the_next_copy_in_another_order() -> None:
    batches = batches_of()
    epochs = []
    for _ in range(4):
        epochs.append(epoch_of(batches))
        batches.on_epoch_end()
    assert [min(epoch) >= 100 for epoch in epochs] == [False, True, False, True]
    assert len({tuple(number % 100 for number in epoch) for epoch in epochs}) == 4


def test_a_training_that_goes_on_sees_the_epochs_that_were_left() -> None:
    batches = batches_of(seed=5)
    batches.on_epoch_end()
    assert epoch_of(batches) == epoch_of(batches_of(first_epoch=1, seed=5))
    assert epoch_of(batches_of(seed=5)) != epoch_of(batches_of(seed=6))


def test_targets_and_weights_stand_beside_their_image() -> None:
    batches = batches_of()
    for step in range(len(batches)):
        lower, (opacity, appearance, pattern, covid), weights = batches[step]
        rows = np.array(numbers(batches[step]))
        assert lower.dtype == opacity.dtype == np.float32
        np.testing.assert_allclose(opacity, np.broadcast_to((rows / 200)[:, None, None, None], (3, 2, 2, 1)), rtol=1e-3)
        np.testing.assert_array_equal(appearance[:, 0], rows % 4)
        np.testing.assert_array_equal(pattern[:, 0], rows % 2)
        np.testing.assert_array_equal(covid[:, 0], rows % 3 == 0)
        np.testing.assert_array_equal(weights[0], np.broadcast_to(rows[:, None, None], (3, 2, 2)))
        for place, weight in enumerate(weights[1:], start=1):
            np.testing.assert_array_equal(weight, rows + place)


def test_keras_uses_one_copy_an_epoch() -> None:
    """Keras fetches batches ahead; none of the next epoch may come from the former copy."""
    given = keras.Input((4, 4, 2))
    first = keras.layers.Lambda(lambda cells: cells[:, :2, :2, :1], name="opacity")(given)
    second = []

    class Model(keras.Model):
        def train_step(self, data):
            return {"least": keras.ops.min(data[0]), "largest": keras.ops.max(data[0])}

    class Noted(keras.callbacks.Callback):
        def on_train_batch_end(self, _batch, logs=None):
            assert logs["least"] >= 100 or logs["largest"] < 100
            second.append(bool(logs["largest"] >= 100))

    model = Model(given, first)
    model.compile(loss=[None])
    model.fit(batches_of(), epochs=4, shuffle=False, verbose=0, callbacks=[Noted()])
    begun = second[0]  # Keras counts an epoch as ended before the first begins
    assert second == ([begun] * 3 + [not begun] * 3) * 2
