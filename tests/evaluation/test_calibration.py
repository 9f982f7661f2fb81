import json

import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from covid_core.errors import EvaluationError
from covid_core.evaluation import calibration
from covid_core.evaluation.calibration import Calibration, fit_platt


def logistic(scores: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-scores))


def images(n: int, slope: float, intercept: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Raw outputs and labels whose true probability is logistic(slope * logit(raw) + intercept)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, size=n)
    return logistic(logits), rng.random(n) < logistic(slope * logits + intercept)


def test_another_prevalence_moves_the_log_odds_by_the_difference_of_the_priors() -> None:
    raw, labels = images(60_000, slope=0.6, intercept=0.8)
    balanced = fit_platt(raw, labels, fitted_on="simulation")
    share = labels.mean()
    assert balanced.prevalence == 0.5
    assert balanced.slope == pytest.approx(0.6, abs=0.02)
    assert balanced.intercept == pytest.approx(0.8 - np.log(share / (1 - share)), abs=0.03)


def test_platt_agrees_with_scikit_learns_logistic_regression_on_the_smoothed_targets() -> None:
    raw, labels = images(120, slope=1.3, intercept=0.9)
    positives, negatives = labels.sum(), (~labels).sum()
    targets = np.where(labels, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    weights = np.where(labels, 0.5 / positives, 0.5 / negatives)
    logits = np.log(raw / (1 - raw))[:, None]
    # A soft target is an image that counts partly as covid and partly as not.
    expected = LogisticRegression(C=1e10, tol=1e-10, max_iter=1000).fit(
        np.vstack([logits, logits]),
        np.repeat([1, 0], 120),
        sample_weight=120 * np.concatenate([weights * targets, weights * (1 - targets)]),
    )
    fitted = fit_platt(raw, labels, fitted_on="simulation")
    assert fitted.slope == pytest.approx(expected.coef_[0, 0], abs=1e-4)
    assert fitted.intercept == pytest.approx(expected.intercept_[0], abs=1e-4)


@pytest.mark.parametrize("labels", [np.zeros(20, bool), np.ones(20, bool)])
def test_a_single_class_is_not_calibrated(labels: np.ndarray) -> None:
    fitted = fit_platt(np.linspace(0.1, 0.9, 20), labels, fitted_on="val")
    assert (fitted.method, fitted.prevalence, fitted.n) == ("none", None, 20)
    assert fitted.note


def test_a_model_that_ranks_the_wrong_way_is_not_turned_around() -> None:
    raw, labels = images(300, slope=1.0, intercept=0.0)
    fitted = fit_platt(raw, ~labels, fitted_on="val")
    assert fitted.method == "none"
    np.testing.assert_array_equal(fitted.apply(raw), raw)


def test_a_constant_output_is_not_calibrated() -> None:
    assert fit_platt(np.full(10, 0.7), np.arange(10) < 5, fitted_on="val").method == "none"


def test_separated_classes_and_saturated_outputs_give_finite_probabilities() -> None:
    raw, labels = np.array([0.0] * 10 + [1.0] * 10), np.arange(20) >= 10
    fitted = fit_platt(raw, labels, fitted_on="val")
    # Platt's targets for ten images of a class are 11/12 and 1/12.
    assert fitted.method == "platt"
    np.testing.assert_allclose(fitted.apply(raw), np.where(labels, 11 / 12, 1 / 12), rtol=1e-4)


def test_applying_keeps_the_order_and_the_shape() -> None:
    raw = np.linspace(0, 1, 12).reshape(3, 4)
    result = Calibration("platt", 0.5, -1.0, 0.5, "val", 10).apply(raw)
    assert result.shape == (3, 4)
    assert (np.diff(result.ravel()) > 0).all()
    assert result[1, 1] == pytest.approx(logistic(0.5 * np.log((5 / 11) / (6 / 11)) - 1.0))


def test_a_calibration_survives_json() -> None:
    for original in (
        fit_platt(*images(50, 1.0, 0.2), fitted_on="val"),
        calibration.no_calibration(fitted_on="val", n=3, note="why"),
    ):
        assert Calibration.from_json(json.loads(json.dumps(original.to_json(), allow_nan=False))) == original


@pytest.mark.parametrize(
    "change", [{"method": "isotonic"}, {"slope": "steep"}, {"slope": -1.0}, {"intercept": None}, {"intercept": "nan"}]
)
def test_a_calibration_that_is_not_understood_is_refused(change: dict[str, object]) -> None:
    value = Calibration("platt", 1.0, 0.0, 0.5, "val", 10).to_json() | change
    with pytest.raises(EvaluationError, match="Received"):
        Calibration.from_json(value)


def test_a_raw_output_outside_the_unit_interval_is_refused() -> None:
    for wrong in (1.01, -0.01, np.nan):
        with pytest.raises(ValueError, match="probability_raw"):
            Calibration("platt", 1.0, 0.0, 0.5, "val", 10).apply([0.5, wrong])


def test_the_brier_score_agrees_with_scikit_learn_with_and_without_a_prevalence() -> None:
    raw, labels = images(200, 1.0, 0.8)
    weights = np.where(labels, 0.3 / labels.sum(), 0.7 / (~labels).sum())
    assert calibration.brier_score(labels, raw) == pytest.approx(brier_score_loss(labels, raw))
    expected = brier_score_loss(labels, raw, sample_weight=weights)
    assert calibration.brier_score(labels, raw, prevalence=0.3) == pytest.approx(expected)


def test_bins_hold_equally_many_images_and_keep_equal_probabilities_together() -> None:
    labels, probability = np.arange(100) % 2 == 0, np.linspace(0.01, 0.99, 100)
    assert [one.n for one in calibration.reliability_bins(labels, probability)] == [10] * 10
    tied = np.where(np.arange(100) < 55, 0.2, probability)
    bins = calibration.reliability_bins(labels, tied)
    assert bins[0].n == 55 + int((probability[55:] <= 0.2).sum())
    assert sum(one.n for one in bins) == 100


def test_a_bin_states_its_mean_its_share_and_wilsons_bounds() -> None:
    labels, probability = np.array([True] * 15 + [False] * 133), np.full(148, 0.25)
    (only,) = calibration.reliability_bins(labels, probability)
    assert (only.predicted, only.observed, only.n) == (pytest.approx(0.25), pytest.approx(15 / 148), 148)
    assert (only.lower, only.upper) == (pytest.approx(0.0624, abs=5e-5), pytest.approx(0.1605, abs=5e-5))
    assert calibration.expected_calibration_error([only]) == pytest.approx(0.25 - 15 / 148)


def test_weighted_to_equal_classes_the_share_of_a_bin_is_that_of_equally_common_classes() -> None:
    # 80 covid and 20 others; 8 and 2 of them in the upper half of an uninformative score: balanced, that is one half.
    labels = np.array([True] * 80 + [False] * 20)
    probability = np.concatenate([[0.6] * 8, [0.4] * 72, [0.6] * 2, [0.4] * 18])
    bins = calibration.reliability_bins(labels, probability, prevalence=0.5)
    assert [one.observed for one in bins] == [pytest.approx(0.5)] * 2
    assert [one.predicted for one in bins] == [pytest.approx(0.4), pytest.approx(0.6)]
    assert calibration.expected_calibration_error(bins) == pytest.approx(0.1)
    assert all(one.lower < 0.5 < one.upper for one in bins)


def line_by_other_means(labels: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Intercept at slope 1 as the root of the mean error, slope from scikit-learn."""
    logits = np.log(probability / (1 - probability))
    intercept = brentq(lambda shift: weights @ (logistic(logits + shift) - labels), -20, 20, xtol=1e-12)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logits[:, None], labels, sample_weight=weights)
    return intercept, model.coef_[0, 0]


@pytest.mark.parametrize("prevalence", [None, 0.5, 0.1])
def test_the_calibration_line_agrees_with_scikit_learn_and_a_root_finder(prevalence: float | None) -> None:
    raw, labels = images(150, slope=0.7, intercept=0.6)
    share = labels.mean() if prevalence is None else prevalence
    weights = 150 * np.where(labels, share / labels.sum(), (1 - share) / (~labels).sum())
    found = calibration.calibration_line(labels, raw, prevalence=prevalence)
    assert found == pytest.approx(line_by_other_means(labels, raw, weights), abs=1e-5)


@pytest.mark.parametrize(
    ("labels", "probability"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]),
        ([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9]),
        ([0, 0, 1, 1], [0.1, 0.5, 0.5, 0.9]),  # touching is not overlapping: the likelihood has no maximum
        ([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.3]),
        ([1, 1, 1], [0.1, 0.5, 0.9]),
        ([0, 0, 0], [0.1, 0.5, 0.9]),
        ([], []),
    ],
)
@pytest.mark.parametrize("prevalence", [None, 0.5])
def test_separated_constant_or_one_sided_images_have_no_calibration_line(
    labels: list[int], probability: list[float], prevalence: float | None
) -> None:
    assert calibration.calibration_line(labels, probability, prevalence=prevalence) is None


def test_a_few_saturated_and_wrong_probabilities_do_not_lead_the_fit_astray() -> None:
    raw, labels = images(200, slope=0.3, intercept=0.0, seed=3)
    raw, labels = np.append(raw, [1e-6] * 3), np.append(labels, [True] * 3)
    found = calibration.calibration_line(labels, raw)
    assert found == pytest.approx(line_by_other_means(labels, raw, np.ones(203)), abs=1e-5)


def test_probabilities_near_one_for_every_image_are_found_far_too_high() -> None:
    # Where all are saturated a full step of Newton's method goes a thousand times too far.
    labels, probability = np.arange(20) % 2 == 0, np.linspace(0.9990, 0.9999, 20)
    found = calibration.calibration_line(labels, probability)
    assert found == pytest.approx(line_by_other_means(labels, probability, np.ones(20)), abs=1e-4)


@pytest.mark.parametrize("prevalence", [None, 0.4])
def test_weighing_images_gives_the_calibration_line_of_repeated_images(prevalence: float | None) -> None:
    raw, labels = images(60, slope=0.8, intercept=0.3)
    times = np.random.default_rng(4).integers(0, 3, size=(5, 60))
    times[3] *= labels  # no image of the other class
    intercepts, slopes = calibration.weighted_calibration_line(labels, raw, times.astype(float), prevalence=prevalence)
    for row, repeated in enumerate(times):
        expected = calibration.calibration_line(
            np.repeat(labels, repeated), np.repeat(raw, repeated), prevalence=prevalence
        )
        if row == 3:
            assert expected is None
            assert np.isnan([intercepts[row], slopes[row]]).all()
        else:
            assert (intercepts[row], slopes[row]) == pytest.approx(expected, abs=1e-7)
