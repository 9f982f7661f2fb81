"""The two questions against scikit-learn, and the reader that is served against its parts, with NumPy."""

from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from covid_core.errors import TrainingError
from covid_core.images.preprocess import Preparation
from covid_core.inference.explanation import load_head
from covid_core.inference.network import Network
from covid_core.training.chest_heads import (
    Heads,
    averaged_cells,
    build_reader,
    covid_labels,
    fit_ensemble,
    fit_heads,
    fit_lungs,
    pattern_labels,
    see,
)
from covid_core.training.chest_network import build_network, shares_of
from covid_core.training.chest_recipe import ChestRecipe
from covid_core.training.export import head_weights, load_trained, predict_films, write_litert
from tests.fake_bundle import THREADS
from tests.phantom import phantom_film
from tests.training.chest import tiny_networks

# Keras 3.15 reads its variables by a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE, EPOCHS, COUNT = 64, 40, 40
RECIPE = ChestRecipe(
    weights="none", threads=THREADS, preparation=Preparation(size=SIZE, border_crop=0.0), lung_epochs=EPOCHS, members=5
)
PATTERN_COUNTS = {"cohort": 1.0, "siim": 0.3, "nih": 0.3, "pakistan": 0.3, "guangzhou": 0.1, "hannover": 0.0}
COVID_COUNTS = {"cohort": 1.0, "siim": 0.2, "nih": 0.2, "pakistan": 0.2, "guangzhou": 0.0, "hannover": 0.0}
CHANNELS = 6


def logistic(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def made_up(count: int = 400, seed: int = 0) -> tuple[np.ndarray, pd.DataFrame]:
    """Pooled images (count, CHANNELS) of all sources on very different scales, and their table."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        source = str(rng.choice(list(PATTERN_COUNTS), p=[0.3, 0.4, 0.1, 0.05, 0.1, 0.05]))
        row = {
            "source": source,
            "group": f"{source} {number // 3}",
            "finding": "",
            "appearance": "",
            "known_positive": False,
            "pattern": np.nan,
            "covid": np.nan,
        }
        if source == "cohort":
            row["finding"] = str(
                rng.choice(["No Finding", "Pneumonia/Viral/COVID-19", "Pneumonia/Bacterial"], p=[0.3, 0.4, 0.3])
            )
            row["covid"] = float("COVID" in row["finding"])
        elif source == "siim":
            row["appearance"] = str(rng.choice(["typical", "negative", "indeterminate", "atypical"]))
            row["pattern"] = float(row["appearance"] != "negative")
            row["covid"] = {"typical": 1.0, "atypical": 0.0}.get(row["appearance"], np.nan)
            row["known_positive"] = bool(row["appearance"] == "negative" and rng.random() < 0.4)
        elif source == "hannover":
            row["covid"] = 1.0
        else:
            row["pattern"] = float(rng.random() < 0.4)
            row["covid"] = 0.0 if row["pattern"] else np.nan
        rows.append(row)
    table = pd.DataFrame(rows)
    values = rng.normal(size=(count, CHANNELS))
    values[:, 0] += (table["pattern"] == 1) + (table["finding"].str.startswith("Pneu"))
    values[:, 1] += 1.5 * (table["covid"] == 1)
    return (values * np.geomspace(0.1, 10, CHANNELS) + 3).astype(np.float32), table


def answers_by_hand(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """What the two heads learn, row by row."""
    pattern, covid = [], []
    for row in table.itertuples():
        pattern.append(float(row.finding != "No Finding") if row.source == "cohort" else row.pattern)
        clear = row.source == "siim" and row.appearance == "negative" and not row.known_positive
        covid.append(0.0 if clear else row.covid)
    return np.array(pattern), np.array(covid)


def by_scikit_learn(pooled: np.ndarray, labels: np.ndarray, counts: np.ndarray, cost: float) -> LogisticRegression:
    """A function from pooled images to logits: scikit-learn's regression with both answers weighing the same in all."""
    used = (counts > 0) & np.isfinite(labels)
    truth, weight = labels[used] == 1, counts[used].astype(float)
    weight[truth] *= used.sum() / 2 / weight[truth].sum()
    weight[~truth] *= used.sum() / 2 / weight[~truth].sum()
    scaler = StandardScaler().fit(pooled[used].astype(float))
    model = LogisticRegression(C=cost, max_iter=3000)
    model.fit(scaler.transform(pooled[used].astype(float)), truth, sample_weight=weight)
    return lambda values: model.decision_function(scaler.transform(values.astype(float)))


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(1).random(400) < 0.7


def expected_questions(pooled, table, rows, recipe, draw=None) -> np.ndarray:
    labels = answers_by_hand(table)
    logits = []
    for label, counts, cost, prior in (
        (labels[0], PATTERN_COUNTS, recipe.pattern_cost, recipe.prior_logit),
        (labels[1], COVID_COUNTS, recipe.covid_cost, 0.0),
    ):
        weight = table["source"].map(counts).to_numpy() * rows * (1.0 if draw is None else draw)
        logits.append(by_scikit_learn(pooled, label, weight, cost)(pooled) + prior)
    return logistic(np.stack(logits, axis=1))


@pytest.mark.parametrize(("pattern_cost", "covid_cost"), [(3e-4, 3e-3), (0.1, 1.0)])
def test_both_questions_are_scikit_learns_logistic_regressions(rows, pattern_cost, covid_cost) -> None:
    pooled, table = made_up()
    recipe = replace(RECIPE, pattern_cost=pattern_cost, covid_cost=covid_cost)
    heads = fit_heads(pooled, table, rows, recipe)
    found = heads.questions(pooled)
    assert heads.kernel.shape == (CHANNELS, 2)
    assert heads.kernel.dtype == heads.bias.dtype == np.float32
    np.testing.assert_allclose(found, expected_questions(pooled, table, rows, recipe), atol=2e-5)
    assert found.std(axis=0).min() > 1e-3


def test_the_labels_are_those_of_the_documentation() -> None:
    _, table = made_up()
    pattern, covid = answers_by_hand(table)
    np.testing.assert_array_equal(pattern_labels(table), pattern)
    np.testing.assert_array_equal(covid_labels(table), covid)
    known = (table["appearance"] == "negative") & table["known_positive"]
    assert known.any()
    assert np.isnan(covid_labels(table)[known]).all()


def test_the_answer_is_the_product_of_both_questions(rows) -> None:
    pooled, table = made_up()
    heads = fit_heads(pooled, table, rows, RECIPE)
    logits = pooled.astype(float) @ heads.kernel.astype(float) + heads.bias
    np.testing.assert_allclose(heads.questions(pooled), logistic(logits), atol=1e-9)
    np.testing.assert_allclose(heads.answer(pooled), logistic(logits[:, 0]) * logistic(logits[:, 1]), atol=1e-9)


def test_the_prior_moves_the_first_question_only(rows) -> None:
    pooled, table = made_up()
    without, with_prior = (fit_heads(pooled, table, rows, replace(RECIPE, prior_logit=prior)) for prior in (0.0, 1.5))
    np.testing.assert_array_equal(without.kernel, with_prior.kernel)
    np.testing.assert_allclose(with_prior.bias - without.bias, [1.5, 0.0], atol=1e-6)


def test_images_whose_label_is_unknown_or_that_were_not_chosen_count_nothing(rows) -> None:
    pooled, table = made_up()
    expected = fit_heads(pooled, table, rows, RECIPE)
    pattern, covid = answers_by_hand(table)
    source = table["source"]
    unused = ~rows | (
        (np.isnan(pattern) | (source == "hannover")) & (np.isnan(covid) | source.isin(["guangzhou", "hannover"]))
    )
    assert unused.sum() > (~rows).sum()
    strange = pooled.copy()
    strange[unused] = 1e4
    found = fit_heads(strange, table, rows, RECIPE)
    np.testing.assert_array_equal(found.kernel, expected.kernel)
    np.testing.assert_array_equal(found.bias, expected.bias)


def test_a_source_that_counts_less_pulls_less() -> None:
    pooled, table = made_up()
    everyone = np.ones(len(table), np.bool_)
    turned = table.copy()
    siim = turned["source"] == "siim"
    turned.loc[siim, "pattern"] = 1 - turned.loc[siim, "pattern"]
    moved = []
    for weight in (0.01, 1.0):
        recipe = replace(RECIPE, pattern_weight={**RECIPE.pattern_weight, "siim": weight})
        first, second = (fit_heads(pooled, one, everyone, recipe).questions(pooled)[:, 0] for one in (table, turned))
        moved.append(np.abs(first - second).mean())
    assert moved[0] < 0.5 * moved[1]


def test_every_member_is_a_regression_on_patients_of_other_weights(rows) -> None:
    pooled, table = made_up()
    members = fit_ensemble(pooled, table, rows, RECIPE)
    assert len(members) == RECIPE.members
    names = sorted(set(table["group"]))
    rng = np.random.default_rng(RECIPE.seed)
    for member in members:
        weight = dict(zip(names, rng.exponential(size=len(names)), strict=True))
        draw = table["group"].map(weight).to_numpy()
        np.testing.assert_allclose(
            member.questions(pooled), expected_questions(pooled, table, rows, RECIPE, draw), atol=2e-5
        )
    answers = np.stack([member.answer(pooled) for member in members])
    assert answers.std(axis=0).min() > 0
    assert answers.std(axis=0).max() > 0.005
    assert len({member.bias.tobytes() for member in members}) == RECIPE.members


def test_another_seed_draws_other_patients_and_the_same_seed_the_same(rows) -> None:
    pooled, table = made_up()
    first, again, other = (
        fit_ensemble(pooled, table, rows, replace(RECIPE, seed=seed, members=1))[0] for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.kernel, again.kernel)
    assert not np.array_equal(first.kernel, other.kernel)


@pytest.mark.parametrize("finding", ["No Finding", "Pneumonia/Viral/COVID-19"])
def test_images_of_one_answer_only_are_refused(finding) -> None:
    pooled, table = made_up(60)
    table = table.assign(source="cohort", finding=finding, covid=1.0)
    with pytest.raises(TrainingError, match=r"both answers are needed\. Received: 60, "):
        fit_heads(pooled, table, np.ones(60, np.bool_), RECIPE)


def test_no_images_are_refused() -> None:
    pooled, table = made_up(60)
    with pytest.raises(TrainingError, match=r"Received: 0, 0 of them yes"):
        fit_heads(pooled, table, np.zeros(60, np.bool_), RECIPE)


def test_a_channel_that_is_the_same_everywhere_does_no_harm(rows) -> None:
    pooled, table = made_up()
    pooled[:, 2] = 7.0
    heads = fit_heads(pooled, table, rows, RECIPE)
    assert np.isfinite(heads.kernel).all()
    assert np.isfinite(heads.questions(pooled)).all()


def test_shares_of_cells_count_the_pixels_of_each() -> None:
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


# From here on with a tiny network and made-up radiographs.


@pytest.fixture(scope="module")
def network():
    """A network with random weights. Tests share it and must not change it."""
    with tiny_networks():
        return build_network(RECIPE)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """uint8 (COUNT, SIZE, SIZE), covid and non_covid by turns."""
    rng = np.random.default_rng(6)
    drawn = [phantom_film(rng, ("covid", "non_covid")[index % 2]) for index in range(COUNT)]
    return np.stack([np.asarray(Image.fromarray(one).resize((SIZE, SIZE))) for one in drawn])


def lower_of(network, images: np.ndarray) -> np.ndarray:
    return np.asarray(network.lower(images[..., None].astype(np.float32)))


@pytest.fixture(scope="module")
def cells(network, images) -> tuple[np.ndarray, np.ndarray]:
    plain, mirrored = (lower_of(network, images[:, :, ::step]).astype(np.float16) for step in (1, -1))
    return averaged_cells(network, plain, mirrored)


@pytest.fixture(scope="module")
def inside(images) -> np.ndarray:
    """Masks that one can learn: the lungs are the dark part between the rims."""
    middle = np.zeros((SIZE, SIZE), np.bool_)
    middle[8:-8, 8:-8] = True
    return (images < 128) & middle


@pytest.fixture(scope="module")
def fitted_lungs(cells, inside):
    """The lung model and its loss after each epoch."""
    return fit_lungs(cells[0], inside, RECIPE)


@pytest.fixture(scope="module")
def heads_of_all(cells) -> list[Heads]:
    """The heads and three members of an ensemble, with weights from NumPy."""
    rng = np.random.default_rng(8)
    channels = 2 * cells[0].shape[-1]
    return [
        Heads(rng.normal(0, 0.2, (channels, 2)).astype(np.float32), rng.normal(0, 0.3, 2).astype(np.float32))
        for _ in range(4)
    ]


@pytest.fixture(scope="module")
def reader(network, fitted_lungs, heads_of_all):
    return build_reader(network, fitted_lungs[0], heads_of_all[0], heads_of_all[1:])


def test_cells_are_the_mean_of_the_image_and_its_mirror_image_turned_back(network, images, cells) -> None:
    as_is, maps = (np.asarray(one) for one in network.taps(lower_of(network, images)))
    turned, turned_maps = (np.asarray(one) for one in network.taps(lower_of(network, images[:, :, ::-1])))
    np.testing.assert_allclose(cells[0], (as_is + turned[:, :, ::-1]) / 2, atol=5e-3, rtol=5e-3)
    np.testing.assert_allclose(cells[1], (maps + turned_maps[:, :, ::-1]) / 2, atol=2e-3)
    assert cells[0].dtype == cells[1].dtype == np.float16
    assert cells[0].shape == (COUNT, 4, 4, 8 + 8 + 12)
    assert as_is.std() > 0.1


def test_a_mirrored_image_has_the_mirrored_cells(network, images, cells) -> None:
    plain, mirrored = (lower_of(network, images[:, :, ::step]).astype(np.float16) for step in (-1, 1))
    found = averaged_cells(network, plain, mirrored)
    for one, other in zip(found, cells, strict=True):
        np.testing.assert_array_equal(one[:, :, ::-1], other)


def test_the_lung_map_learns_its_masks(fitted_lungs, cells, inside) -> None:
    lungs, losses = fitted_lungs
    assert len(losses) == EPOCHS
    assert losses[-1] < losses[0]
    found = np.asarray(lungs(cells[0].astype(np.float32)))
    assert found.shape == (COUNT, 4, 4, 1)
    assert 0 <= found.min() < found.max() <= 1
    assert np.corrcoef(found.ravel(), shares_of(inside).ravel())[0, 1] > 0.6


def test_the_same_seed_gives_the_same_lung_map_and_another_seed_another(cells, inside) -> None:
    found = [
        np.asarray(
            fit_lungs(cells[0], inside, replace(RECIPE, lung_epochs=1, seed=seed))[0](cells[0].astype(np.float32))
        )
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def pooled_by_hand(cells: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """The mean over the lungs, then the mean over the image."""
    flat = cells.reshape(len(cells), -1, cells.shape[-1]).astype(np.float64)
    weight = lungs.reshape(len(cells), -1, 1).astype(np.float64) + 1e-3
    return np.concatenate([(flat * weight).sum(axis=1) / weight.sum(axis=1), flat.mean(axis=1)], axis=1)


def test_pooling_is_over_the_lungs_and_over_the_image(fitted_lungs, cells) -> None:
    seen = see(*cells, fitted_lungs[0])
    lungs = np.asarray(fitted_lungs[0](cells[0].astype(np.float32)))[..., 0]
    np.testing.assert_allclose(seen.lungs, lungs, atol=1e-6)
    np.testing.assert_array_equal(seen.opacities, cells[1][..., 0].astype(np.float32))
    np.testing.assert_allclose(seen.pooled, pooled_by_hand(cells[0], lungs), atol=1e-3, rtol=1e-3)
    some = seen.at(np.array([3, 1]))
    np.testing.assert_array_equal(some.pooled, seen.pooled[[3, 1]])
    np.testing.assert_array_equal(some.lungs, seen.lungs[[3, 1]])


def answers_of(reader, images: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(one) for one in reader(images[..., None].astype(np.float32))]


def test_the_reader_is_the_logistic_of_the_mean_of_its_own_features(reader, heads_of_all, images) -> None:
    answers, features, _ = answers_of(reader, images)
    mean = features.astype(np.float64).mean(axis=(1, 2))
    questions = [logistic(mean @ one.kernel.astype(float) + one.bias) for one in heads_of_all]
    products = [one[:, 0] * one[:, 1] for one in questions]
    expected = np.column_stack([products[0], questions[0], *products[1:]])
    assert answers.shape == (COUNT, 3 + 3)
    np.testing.assert_allclose(answers, expected, atol=1e-5)
    assert answers.std(axis=0).min() > 1e-3
    assert len({tuple(column) for column in answers[:, [0, 3, 4, 5]].T}) == 4


def test_the_features_of_the_reader_are_its_cells_weighed_by_its_lung_map(reader, fitted_lungs, cells, images) -> None:
    _, features, maps = answers_of(reader, images)
    assert maps.shape == (COUNT, 4, 4, 2)
    assert 0 <= maps.min() <= maps.max() <= 1
    np.testing.assert_allclose(
        features.mean(axis=(1, 2)),
        pooled_by_hand(features[..., cells[0].shape[-1] :], maps[..., 0]),
        atol=1e-4,
        rtol=1e-4,
    )
    # What is fitted on was rounded to half precision; what serves is not.
    np.testing.assert_allclose(features[..., cells[0].shape[-1] :], cells[0], atol=1e-2, rtol=1e-2)
    np.testing.assert_allclose(maps[..., 1], cells[1][..., 0], atol=5e-3)
    np.testing.assert_allclose(maps[..., 0], see(*cells, fitted_lungs[0]).lungs, atol=2e-2)


def test_a_mirrored_image_has_the_same_answer_where_the_lung_map_is_the_same_both_ways(
    network, heads_of_all, images
) -> None:
    shape = network.taps.outputs[0].shape[1:]
    brightness = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Lambda(lambda cells: keras.ops.sigmoid(keras.ops.mean(cells, -1, keepdims=True))),
        ]
    )
    reader = build_reader(network, brightness, heads_of_all[0], heads_of_all[1:])
    answers, features, maps = answers_of(reader, images)
    turned, turned_features, turned_maps = answers_of(reader, images[:, :, ::-1])
    np.testing.assert_allclose(turned, answers, atol=1e-5)
    np.testing.assert_allclose(turned_features[:, :, ::-1], features, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(turned_maps[:, :, ::-1], maps, atol=1e-5)
    assert np.abs(maps[:, :, ::-1] - maps).max() > 0.01


def test_a_reader_without_an_ensemble_gives_three_answers(network, fitted_lungs, heads_of_all, reader, images) -> None:
    alone = build_reader(network, fitted_lungs[0], heads_of_all[0], [])
    found, *_ = answers_of(alone, images[:4])
    assert found.shape == (4, 3)
    np.testing.assert_allclose(found, answers_of(reader, images[:4])[0][:, :3], atol=1e-6)
    np.testing.assert_allclose(predict_films(alone, images[:4]), found[:, 0], atol=1e-6)


def test_the_reader_comes_back_from_its_file(reader, images, tmp_path) -> None:
    reader.save(tmp_path / "model.keras")
    again = load_trained(tmp_path / "model.keras")
    for found, expected in zip(answers_of(again, images[:5]), answers_of(reader, images[:5]), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_exported_reader_agrees_with_keras_in_all_its_outputs(reader, heads_of_all, images, tmp_path) -> None:
    write_litert(reader, tmp_path / "model.tflite")
    np.savez(tmp_path / "head.npz", **head_weights(reader))
    network, head = Network(tmp_path / "model.tflite"), load_head(tmp_path / "head.npz")
    with np.load(tmp_path / "head.npz") as kept:
        np.testing.assert_array_equal(kept["kernel"], heads_of_all[0].kernel)
        np.testing.assert_array_equal(kept["bias"], heads_of_all[0].bias)
    assert network.size == SIZE
    assert network.channels == head.channels == len(heads_of_all[0].kernel)
    answers, features, maps = answers_of(reader, images[:6])
    for index, image in enumerate(images[:6]):
        served = network.invoke(image)
        np.testing.assert_allclose(served.answers, answers[index], atol=1e-4)
        np.testing.assert_allclose(served.features, features[index], atol=1e-3, rtol=1e-3)
        np.testing.assert_allclose(served.maps, maps[index], atol=1e-4)
        assert served.probability == pytest.approx(answers[index, 0], abs=1e-4)
