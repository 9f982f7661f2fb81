import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from covid_core.training.pipeline import (
    augmentation_layers,
    balanced_class_weights,
    fixed_batches,
    training_batches,
)
from covid_core.training.recipe import Augmentation

SIZE = 32
NONE = Augmentation(rotation=0.0, shift=0.0, zoom=0.0, brightness=0.0, flip=False)


def noisy_images(count=12):
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE), dtype=np.uint8)


def gathered(dataset):
    """The images and labels of one pass."""
    images, labels = zip(*((batch.numpy(), targets.numpy()) for batch, targets in dataset), strict=True)
    return np.concatenate(images), np.concatenate(labels)


@pytest.mark.parametrize("n_covid", [1, 5, 47])
def test_class_weights_are_those_of_scikit_learn(n_covid):
    labels = np.array([1] * n_covid + [0] * 20)
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels)
    assert balanced_class_weights(labels) == {0: pytest.approx(expected[0]), 1: pytest.approx(expected[1])}


def test_validation_batches_are_the_images_as_they_are_in_their_order():
    images, labels = noisy_images(), np.arange(12) % 2
    batches = list(fixed_batches(images, labels, batch_size=5))
    assert [batch.shape for batch, _ in batches] == [(5, SIZE, SIZE, 1), (5, SIZE, SIZE, 1), (2, SIZE, SIZE, 1)]
    given, targets = gathered(fixed_batches(images, labels, batch_size=5))
    assert given.dtype == targets.dtype == np.float32
    np.testing.assert_array_equal(given[..., 0], images)
    np.testing.assert_array_equal(targets[:, 0], labels)


def numbered_images():
    """Images whose every pixel is their number, and labels that follow from it."""
    numbers = np.arange(40)
    return np.broadcast_to(numbers[:, None, None], (40, SIZE, SIZE)).astype(np.uint8), (numbers % 3 == 0).astype(int)


def test_each_epoch_brings_every_image_once_in_a_new_order_with_its_own_label():
    images, labels = numbered_images()
    dataset = training_batches(images, labels, batch_size=16, augmentation=NONE, seed=0)
    orders = []
    for _ in range(2):
        given, targets = gathered(dataset)
        order = np.rint(given[:, 0, 0, 0]).astype(int)
        assert sorted(order) == list(range(40))
        np.testing.assert_array_equal(targets[:, 0], labels[order])
        orders.append(order.tolist())
    assert orders[0] != orders[1]
    assert orders[0] != list(range(40))


def two_epochs(seed):
    dataset = training_batches(noisy_images(), np.arange(12) % 2, batch_size=5, augmentation=Augmentation(), seed=seed)
    return [gathered(dataset)[0] for _ in range(2)]


def test_augmented_images_keep_their_shape_and_range_and_are_repeatable():
    first, second = two_epochs(seed=3)
    assert first.shape == (12, SIZE, SIZE, 1)
    assert first.dtype == np.float32
    assert min(first.min(), second.min()) >= 0
    assert max(first.max(), second.max()) <= 255
    again = two_epochs(seed=3)
    np.testing.assert_array_equal(first, again[0])
    np.testing.assert_array_equal(second, again[1])
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, two_epochs(seed=4)[0])


def test_augmentation_changes_images_but_none_of_it_changes_nothing():
    images = noisy_images().astype(np.float32)[..., None]
    changed = images
    for layer in augmentation_layers(Augmentation(), seed=0):
        changed = layer(changed, training=True)
    assert (np.abs(np.asarray(changed) - images).mean(axis=(1, 2, 3)) > 1).all()
    same = images  # a mirror would show
    for layer in augmentation_layers(NONE, seed=0):
        same = layer(same, training=True)
    np.testing.assert_allclose(np.asarray(same), images, atol=1e-3)
