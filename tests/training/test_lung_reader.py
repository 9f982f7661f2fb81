import numpy as np
import pytest
from PIL import Image
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

pytest.importorskip("tensorflow", reason="training needs requirements-train.txt")

import keras

from covid_core.errors import TrainingError
from covid_core.images.preparation import Preparation
from covid_core.inference.ensemble import Ensemble
from covid_core.inference.explanation import KernelHead, grad_cam, load_head
from covid_core.inference.network import Network
from covid_core.storage import sha256_of_file
from covid_core.training import lung_reader
from covid_core.training.export import head_weights, load_trained, predict_films, write_litert
from covid_core.training.lung_reader import (
    BATCH_SIZE,
    CELL_SIDE,
    LungRecipe,
    build_reader,
    build_trunk,
    cells_of,
    fit_ensemble,
    fit_kernel,
    fit_lungs,
    lung_map,
    pool,
    shares_of,
)
from tests.fake_bundle import THREADS
from tests.phantom import phantom_film

# Keras 3.15 reads its variables by a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE = 64
EPOCHS = 12
PREPARATION = Preparation(size=SIZE, border_crop=0.0)


def recipe(**settings):
    return LungRecipe(**{"weights": "none", "threads": THREADS, "preparation": PREPARATION, **settings})


def lively_network():
    """MobileNetV2 with random weights that let the picture through; those it starts with fade it away."""
    keras.utils.set_random_seed(5)
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    rng = np.random.default_rng(5)
    for layer in network.layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            layer.set_weights([rng.normal(0, 0.8, layer.get_weights()[0].shape)])
    return network


@pytest.fixture(scope="module")
def network():
    """Tests share it and must not change its weights."""
    return lively_network()


@pytest.fixture(scope="module")
def weights_file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "lively.weights.h5"
    network.save_weights(path)
    return path


@pytest.fixture(scope="module")
def trunk(weights_file):
    return build_trunk(recipe(weights=weights_file.name, weights_sha256=sha256_of_file(weights_file)), weights_file)


@pytest.fixture(scope="module")
def films():
    """uint8 (40, SIZE, SIZE), covid and non_covid by turns: more than one batch."""
    rng = np.random.default_rng(6)
    drawn = [phantom_film(rng, ("covid", "non_covid")[index % 2]) for index in range(40)]
    return np.stack([np.asarray(Image.fromarray(film).resize((SIZE, SIZE))) for film in drawn])


@pytest.fixture(scope="module")
def progress():
    """What `cells_of` reports while it makes `cells`."""
    return []


@pytest.fixture(scope="module")
def cells(trunk, films, progress):
    return cells_of(trunk, films, lambda done, total: progress.append((done, total)))


@pytest.fixture(scope="module")
def inside(films):
    """Masks that one can learn: the lungs are the dark part between the rims."""
    middle = np.zeros((SIZE, SIZE), np.bool_)
    middle[8:-8, 8:-8] = True
    return (films < 128) & middle


@pytest.fixture(scope="module")
def fitted_lungs(cells, inside):
    """The lung model and its loss after each epoch."""
    return fit_lungs(cells, inside, recipe(lung_epochs=EPOCHS))


@pytest.fixture(scope="module")
def lungs(fitted_lungs):
    return fitted_lungs[0]


@pytest.fixture(scope="module")
def kernel(cells, lungs):
    return fit_kernel(pool(cells, lung_map(lungs, cells)), np.arange(40) % 2 == 0, recipe())


@pytest.fixture(scope="module")
def reader(trunk, lungs, kernel):
    return build_reader(trunk, lungs, kernel)


def test_cells_are_the_named_layers_of_keras_network_and_stand_for_sixteen_pixels(network, trunk, films):
    taps = keras.Model(network.input, [network.get_layer(name).output for name in recipe().taps])

    def by_keras(pictures):
        colours = np.repeat(pictures[..., None].astype(np.float32), 3, axis=-1)
        return np.concatenate(taps(keras.applications.mobilenet_v2.preprocess_input(colours)), axis=-1)

    expected = (by_keras(films[:3]) + by_keras(films[:3, :, ::-1])[:, :, ::-1]) / 2
    found = np.asarray(trunk(films[:3, ..., None].astype(np.float32)))
    assert found.shape == (3, SIZE // CELL_SIDE, SIZE // CELL_SIDE, expected.shape[-1])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert expected.std() > 0.1


def test_the_trunk_has_nothing_to_train(trunk):
    assert trunk.trainable_weights == []


def test_cells_are_the_trunks_in_half_precision_batch_by_batch(trunk, films, cells, progress):
    assert cells.dtype == np.float16
    assert progress == [(BATCH_SIZE, 40), (40, 40)]
    for index in (0, BATCH_SIZE - 1, BATCH_SIZE, 39):
        alone = np.asarray(trunk(films[index : index + 1, ..., None].astype(np.float32)))[0]
        np.testing.assert_allclose(cells[index], alone, rtol=1e-3, atol=1e-3)


def test_a_mirrored_film_has_the_mirrored_cells_and_the_same_mean_over_the_film(trunk, films, cells):
    mirrored = cells_of(trunk, films[:, :, ::-1])
    np.testing.assert_allclose(mirrored[:, :, ::-1], cells, atol=2e-3, rtol=2e-3)
    everywhere = np.ones((*cells.shape[:3], 1), np.float32)
    channels = cells.shape[-1]
    one, other = pool(cells, everywhere), pool(mirrored, everywhere)
    np.testing.assert_allclose(one[:, channels:], other[:, channels:], atol=1e-3)


def test_a_reader_whose_lung_map_is_the_same_both_ways_says_the_same_of_a_mirrored_film(trunk, films, cells):
    everywhere = keras.Sequential([keras.Input(cells.shape[1:]), keras.layers.Lambda(lambda c: 0.5 + 0 * c[..., :1])])
    machine = fit_kernel(pool(cells, lung_map(everywhere, cells)), np.arange(40) % 2 == 0, recipe())
    reader = build_reader(trunk, everywhere, machine)
    found = predict_films(reader, films)
    np.testing.assert_allclose(found, predict_films(reader, films[:, :, ::-1]), atol=1e-5)
    assert np.ptp(found) > 0.1


@pytest.mark.parametrize("size", [40, 100, 225])
def test_an_input_that_is_no_multiple_of_sixteen_pixels_is_refused(size):
    with pytest.raises(TrainingError, match=rf"multiple of 16 pixels\. Received: {size}"):
        build_trunk(recipe(preparation=Preparation(size=size)))


def test_named_weights_without_their_file_are_refused():
    with pytest.raises(TrainingError, match="--weights FILE"):
        build_trunk(recipe(weights="mine.weights.h5"))


def test_shares_of_cells_count_the_pixels_of_each():
    inside = np.zeros((2, 32, 48), np.bool_)
    inside[0, :16, :16] = True
    inside[0, 16:, 16:32] = np.arange(16) < 4  # a quarter of the columns
    inside[1, 15:17, 47] = True  # one pixel in each of two cells
    expected = np.zeros((2, 2, 3, 1))
    expected[0, 0, 0], expected[0, 1, 1] = 1.0, 0.25
    expected[1, :, 2] = 1 / 256
    found = shares_of(inside)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected)


def test_the_lung_map_learns_its_masks(fitted_lungs, cells, inside):
    lungs, losses = fitted_lungs
    assert len(losses) == EPOCHS
    assert losses[-1] < losses[0]
    found = lung_map(lungs, cells)
    assert found.shape == (40, 4, 4, 1)
    assert found.min() >= 0
    assert found.max() <= 1
    assert np.corrcoef(found.ravel(), shares_of(inside).ravel())[0, 1] > 0.6


def test_the_same_seed_gives_the_same_lung_map_and_another_seed_another(lungs, cells, inside):
    found = lung_map(lungs, cells)
    np.testing.assert_array_equal(found, lung_map(fit_lungs(cells, inside, recipe(lung_epochs=EPOCHS))[0], cells))
    other = recipe(lung_epochs=EPOCHS, seed=1)
    assert not np.array_equal(found, lung_map(fit_lungs(cells, inside, other)[0], cells))


def pooled_films(n, seed=7, channels=6):
    """Pooled films (n, channels), a quarter of them covid, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 4 == 0
    values = rng.normal(size=(n, channels)) * np.geomspace(0.1, 10, channels) + 3
    values[:, 0] += 0.1 * labels
    return values.astype(np.float32), labels


def logistic(values):
    return 1 / (1 + np.exp(-values))


@pytest.mark.parametrize("cost", [3.0, 0.5])
def test_the_kernel_is_scikit_learns_machine_with_balanced_classes(cost):
    values, labels = pooled_films(80)
    kernel = fit_kernel(values, labels, recipe(cost=cost))
    scaler = StandardScaler().fit(values)
    machine = SVC(C=cost, gamma="auto", class_weight="balanced").fit(scaler.transform(values), labels)
    new, _ = pooled_films(50, seed=8)
    found = kernel.predict(new)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, logistic(machine.decision_function(scaler.transform(new))), atol=1e-5)
    assert np.ptp(found) > 0.05


def with_auxiliary():
    """Own films and auxiliary ones of another scale, all of the latter non_covid; labels; and which are auxiliary."""
    values, labels = pooled_films(60)
    further, _ = pooled_films(40, seed=9)
    together = np.concatenate([values, 5 * further - 20])
    return together, np.concatenate([labels, np.zeros(40, np.bool_)]), np.arange(100) >= 60


def test_auxiliary_films_weigh_little_and_both_classes_the_same_in_all():
    values, labels, auxiliary = with_auxiliary()
    kernel = fit_kernel(values, labels, recipe(auxiliary_weight=0.1), auxiliary=auxiliary)
    scaler = StandardScaler().fit(values[:60])
    # 15 covid films, 45 others of our own and 40 auxiliary at a tenth: 15 against 49, to be 32 each.
    weights = np.where(labels, 32 / 15, np.where(auxiliary, 0.1, 1.0) * 32 / 49)
    machine = SVC(C=3.0, gamma="auto").fit(scaler.transform(values), labels, sample_weight=weights)
    np.testing.assert_allclose(
        kernel.predict(values), logistic(machine.decision_function(scaler.transform(values))), atol=1e-5
    )
    alone = fit_kernel(values[:60], labels[:60], recipe())
    assert np.abs(kernel.predict(values) - alone.predict(values)).max() > 0.05


def test_auxiliary_films_do_not_enter_the_standardisation():
    values, labels, auxiliary = with_auxiliary()
    kernel = fit_kernel(values, labels, recipe(), auxiliary=auxiliary)
    np.testing.assert_allclose(kernel.mean, values[:60].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(kernel.scale, values[:60].std(axis=0), rtol=1e-5)


def test_auxiliary_films_of_almost_no_weight_change_nothing():
    values, labels, auxiliary = with_auxiliary()
    found = fit_kernel(values, labels, recipe(auxiliary_weight=1e-9), auxiliary=auxiliary).predict(values[:60])
    np.testing.assert_allclose(found, fit_kernel(values[:60], labels[:60], recipe()).predict(values[:60]), atol=1e-3)


def test_what_the_kernel_is_given_stays_as_it_is():
    values, labels, auxiliary = with_auxiliary()
    before = [values.copy(), labels.copy(), auxiliary.copy()]
    fit_kernel(values, labels, recipe(), auxiliary=auxiliary)
    for array, copy in zip((values, labels, auxiliary), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def balanced(weights, labels, total):
    """Weights of which each class has half of the total."""
    return np.where(labels, weights / weights[labels].sum(), weights / weights[~labels].sum()) * total / 2


def test_every_member_of_the_ensemble_is_scikit_learns_machine_on_patients_of_other_weights():
    values, labels, auxiliary = with_auxiliary()
    patients = np.arange(100) // 2
    settings = recipe(ensemble_members=4, auxiliary_weight=0.1, seed=3)
    kernel = fit_kernel(values, labels, settings, auxiliary=auxiliary)
    members = Ensemble(**vars(fit_ensemble(values, labels, patients, settings, auxiliary=auxiliary)))
    new, _ = pooled_films(30, seed=11)
    found = np.array([members.probabilities(film, KernelHead(**vars(kernel))) for film in new]).T
    rng, scaler = np.random.default_rng(3), StandardScaler().fit(values[:60])
    for member in found:
        weights = np.where(auxiliary, 0.1, 1.0) * np.repeat(rng.exponential(size=50), 2)
        machine = SVC(C=3.0, gamma="auto")
        machine.fit(scaler.transform(values), labels, sample_weight=balanced(weights, labels, 60 + 4))
        np.testing.assert_allclose(member, logistic(machine.decision_function(scaler.transform(new))), atol=1e-4)
    assert found.std(axis=0).max() > 0.01
    # The head's vectors are not kept twice.
    assert len(members.further_vectors) < 100 - len(kernel.support_vectors) + 1


def test_the_reader_is_its_parts_one_after_the_other(trunk, lungs, kernel, reader, films):
    found = predict_films(reader, films)
    cells = np.asarray(trunk(films[..., None].astype(np.float32)))
    maps = np.asarray(lungs(cells))
    flat, weights = cells.reshape(40, -1, cells.shape[-1]), maps.reshape(40, -1, 1) + 1e-3
    pooled = np.concatenate([(flat * weights).sum(axis=1) / weights.sum(axis=1), flat.mean(axis=1)], axis=1)
    standard = (pooled - kernel.mean) / kernel.scale
    away = ((standard[:, None] - kernel.support_vectors[None]) ** 2).sum(axis=-1)
    expected = logistic(np.exp(-kernel.gamma * away) @ kernel.coefficients + kernel.intercept)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # What is fitted on was rounded to half precision; what serves is not.
    np.testing.assert_allclose(found, kernel.predict(pool(cells.astype(np.float16), maps)), atol=2e-3)
    assert np.ptp(found) > 0.2


def test_the_reader_comes_back_from_its_file(reader, films, tmp_path):
    reader.save(tmp_path / "model.keras")
    again = load_trained(tmp_path / "model.keras")
    np.testing.assert_array_equal(predict_films(again, films[:5]), predict_films(reader, films[:5]))


def test_the_exported_reader_agrees_with_keras_and_explains_itself(lungs, reader, kernel, films, tmp_path):
    write_litert(reader, tmp_path / "model.tflite")
    np.savez(tmp_path / "head.npz", **head_weights(reader))
    network, head = Network(tmp_path / "model.tflite"), load_head(tmp_path / "head.npz")
    assert network.size == SIZE
    assert network.channels == head.channels == len(kernel.mean)
    expected = predict_films(reader, films[:6])
    outside = keras.Model(reader.input, reader.get_layer("feature_map").output)
    hottest = []
    for film, probability in zip(films[:6], expected, strict=True):
        served, features, shown = network.invoke(film)
        np.testing.assert_allclose(
            shown, lung_map(lungs, cells_of(reader.get_layer("trunk"), film[None]))[0, ..., 0], atol=5e-3
        )
        assert served == pytest.approx(probability, abs=1e-4)
        np.testing.assert_allclose(
            features, np.asarray(outside(film[None, ..., None].astype(np.float32)))[0], atol=1e-3, rtol=1e-3
        )
        heat = grad_cam(features, head)
        assert heat.shape == (4, 4)
        assert np.isfinite(heat).all()
        assert heat.min() >= 0
        hottest.append(heat.max())
    assert set(hottest) <= {0.0, 1.0}
    assert 1.0 in hottest


def test_a_recipe_in_plain_values_names_the_backbone_and_every_choice():
    plain = recipe(seed=3).to_json()
    assert (plain["backbone"], plain["seed"], plain["preparation"]["size"]) == ("mobilenetv2", 3, SIZE)
    assert set(plain) == {"backbone", *lung_reader.LungRecipe.__dataclass_fields__}
