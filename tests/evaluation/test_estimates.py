import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from covid_core.evaluation import intervals
from covid_core.evaluation.estimates import CALL_METRICS, all_metrics, area_metrics, threshold_metrics
from covid_core.evaluation.predictions import Predictions, predictions_of
from covid_core.paths import model_names, models_dir


def random_images(
    seed: int, n: int = 120, patients: int = 70, threshold: float = 0.5, share: float = 0.6
) -> Predictions:
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, n).astype(str)
    truth = rng.random(n) < share
    probability = np.round(np.clip(rng.normal(0.4 + 0.2 * truth, 0.25), 0, 1), 2)
    return Predictions(truth, probability >= threshold, probability, patient, patient, rng.choice(["a", "b"], n), None)


def test_what_depends_on_the_call_is_what_another_threshold_changes() -> None:
    low, high = (all_metrics(random_images(0, threshold=one), n_resamples=20, seed=0) for one in (0.4, 0.7))
    assert tuple(name for name in low if low[name].value != high[name].value) == CALL_METRICS
    assert len(CALL_METRICS) == 10


@pytest.mark.parametrize(
    "images",
    [
        random_images(0),
        random_images(1, n=40, patients=4),
        random_images(2, n=40, patients=15, threshold=0.8),
        random_images(3, threshold=1.1),
        random_images(4, threshold=0.0),
        random_images(5, share=0.0),
        random_images(6, share=1.1),
        random_images(7, n=2, patients=2),
        random_images(8, share=0.06),
    ],
    ids=["usual", "4 patients", "few", "none called", "all called", "no covid", "only covid", "2 images", "rare"],
)
def test_figures_of_the_call_are_exactly_those_of_the_whole_report(images: Predictions) -> None:
    whole = all_metrics(images, n_resamples=300, seed=3)
    assert threshold_metrics(images, n_resamples=300, seed=3) == {name: whole[name] for name in CALL_METRICS}


def cross_validated(seed: int, n: int = 150) -> Predictions:
    """Radiographs in five folds of unlike sizes and shares of COVID-19, whose models' scores are not on one scale."""
    rng = np.random.default_rng(seed)
    fold = rng.choice(5, n, p=[0.1, 0.15, 0.2, 0.25, 0.3])
    patient = np.char.add(fold.astype(str), rng.integers(0, 15, n).astype(str))
    truth = rng.random(n) < np.array([0.3, 0.4, 0.5, 0.6, 0.7])[fold]
    logits = rng.normal(1.2 * truth - 0.6) - 0.9 * fold
    probability = np.round(1 / (1 + np.exp(-logits)), 2)
    sources = rng.choice(["a", "b", ""], n)
    return Predictions(truth, probability >= 0.5, probability, patient, patient, sources, None, fold.astype(str))


def mean_over_pairs(images: Predictions, strata: np.ndarray) -> float:
    """Scikit-learn's area of each stratum that has both classes, weighted by its pairs of a covid and another one."""
    areas, pairs = [], []
    for stratum in np.unique(strata[strata != ""]):
        truth, scores = images.truth[strata == stratum], images.probability[strata == stratum]
        if 0 < truth.sum() < truth.size:
            areas.append(roc_auc_score(truth, scores))
            pairs.append(truth.sum() * (~truth).sum())
    return float(np.average(areas, weights=pairs))


@pytest.mark.parametrize("seed", range(4))
def test_the_area_of_a_cross_validation_is_over_the_pairs_of_one_fold_and_the_pooled_one_over_all(seed: int) -> None:
    images = cross_validated(seed)
    assert images.folds is not None
    found = area_metrics(images, n_resamples=50, seed=0)
    assert found["roc_auc"].value == pytest.approx(mean_over_pairs(images, images.folds))
    assert found["pooled_auc"].value == pytest.approx(roc_auc_score(images.truth, images.probability))
    together = np.where(images.sources == "", "", np.char.add(images.folds, images.sources))
    assert found["within_source_auc"].value == pytest.approx(mean_over_pairs(images, together))
    assert (
        found["roc_auc"].value - found["pooled_auc"].value > 0.03
    )  # the folds' scales differ, and later folds have more covid
    whole = all_metrics(images, n_resamples=50, seed=0)
    assert {name: whole[name] for name in found} == found


@pytest.mark.parametrize("seed", range(4))
def test_without_folds_the_pooled_area_is_the_same(seed: int) -> None:
    images = replace(cross_validated(seed), folds=None)
    found = area_metrics(images, n_resamples=50, seed=0)
    assert found["roc_auc"].value == pytest.approx(roc_auc_score(images.truth, images.probability))
    assert found["pooled_auc"] == found["roc_auc"]
    assert found["within_source_auc"].value == pytest.approx(mean_over_pairs(images, images.sources))


def test_folds_are_those_of_the_table_and_stay_with_a_source() -> None:
    table = pd.DataFrame(
        {
            "filename": ["a", "b", "c"],
            "patientid": ["1", "2", "3"],
            "group": ["1", "2", "3"],
            "label": ["covid", "non_covid", "covid"],
            "source": ["x", "y", "x"],
            "probability_covid": [0.1, 0.2, 0.3],
        }
    )
    assert predictions_of(table).folds is None
    images = predictions_of(table.assign(fold=[4, 0, 2]))
    assert images.folds is not None
    assert images.folds.tolist() == ["4", "0", "2"]
    of_source = images.of_source("x").folds
    assert of_source is not None
    assert of_source.tolist() == ["4", "2"]


@pytest.mark.parametrize(
    "name", model_names() or [pytest.param("", marks=pytest.mark.skip(reason="no bundle is committed here"))]
)
def test_figures_of_the_call_are_those_that_a_bundle_states(name: str) -> None:
    bundle = models_dir() / name
    evaluation = json.loads((bundle / "evaluation.json").read_text(encoding="utf-8"))
    table = pd.read_csv(bundle / "predictions.csv", dtype={"patientid": str, "group": str})
    images = predictions_of(table[table["part"] == evaluation["part"]], threshold=evaluation["threshold"])
    settings = evaluation["bootstrap"]
    found = threshold_metrics(images, n_resamples=settings["resamples"], seed=settings["seed"])
    for metric, estimate in found.items():
        stated = evaluation["metrics"][metric]
        assert (estimate.method, estimate.n, estimate.note) == (stated["method"], stated["n"], stated["note"])
        for key in ("value", "lower", "upper"):
            assert getattr(estimate, key) == pytest.approx(stated[key], rel=1e-12)


@pytest.mark.parametrize("n_groups", [7, 9000])  # 9000 are too many to be kept in memory
def test_draws_are_those_of_numpy_and_cannot_be_altered(n_groups: int) -> None:
    blocks = list(intervals.group_draws(n_groups, n_resamples=250, seed=5))
    expected = np.random.default_rng(5).multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=250)
    np.testing.assert_array_equal(np.concatenate(blocks), expected)
    assert not any(block.flags.writeable for block in blocks)
