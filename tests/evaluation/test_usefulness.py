import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from covid_core.evaluation.decision_curve import DecisionCurve, decision_curve, shifted_by, useful_range
from covid_core.evaluation.intervals import Band
from covid_core.evaluation.predictions import Predictions
from tests.evaluation.made_up import images_from


def random_images(seed: int = 0, n: int = 150) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.6
    return images_from(labels, np.clip(rng.normal(0.4 + 0.3 * labels, 0.2), 0, 1), patients=rng.integers(0, 90, n))


def curve_of(images: Predictions, prevalence: float) -> DecisionCurve:
    curve = decision_curve(images, prevalence=prevalence, n_resamples=200, seed=0)
    assert curve is not None
    return curve


def at(curve: DecisionCurve, threshold: float) -> int:
    return int(np.flatnonzero(np.isclose(curve.curve.x, threshold))[0])


def test_the_net_benefit_is_the_one_worked_out_by_hand() -> None:
    # At 0.2: three of four covid images are found, two of six others are acted on; w = 0.2/0.8.
    images = images_from([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], [0.9, 0.6, 0.2, 0.1, 0.7, 0.3, 0.1, 0.1, 0.05, 0.0])
    curve = curve_of(images, 0.4)
    here = at(curve, 0.2)
    assert curve.curve.value[here] == pytest.approx(3 / 10 - 2 / 10 * 0.25)
    assert curve.treat_all[here] == pytest.approx(4 / 10 - 6 / 10 * 0.25)
    assert curve.prevalence == 0.4


@pytest.mark.parametrize("prevalence", [0.05, 0.3, 0.8])
def test_the_curve_agrees_with_confusion_matrices_of_scikit_learn(prevalence: float) -> None:
    images = random_images()
    curve = curve_of(images, prevalence)
    assumed = images.truth.mean()
    with np.errstate(divide="ignore"):
        odds = images.probability / (1 - images.probability)
    odds = odds * (prevalence / (1 - prevalence)) / (assumed / (1 - assumed))
    for threshold, value in zip(curve.curve.x, curve.curve.value, strict=True):
        weight = threshold / (1 - threshold)
        (tn, fp), (fn, tp) = confusion_matrix(images.truth, odds >= weight)
        expected = tp / (tp + fn) * prevalence - fp / (tn + fp) * (1 - prevalence) * weight
        assert value == pytest.approx(expected)


def test_probabilities_move_with_the_prior_odds() -> None:
    # Odds of 1 at a prevalence of 0.5 are odds of 1/9 at 0.1; certainty stays certain.
    assert shifted_by([0.5, 0.0, 1.0], 0.5, 0.1).tolist() == pytest.approx([0.1, 0.0, 1.0])
    assert shifted_by([0.5, 0.0, 1.0], 0.5, 0.5).tolist() == [0.5, 0.0, 1.0]


def test_an_image_on_the_threshold_is_acted_on_after_the_shift_too() -> None:
    # 0.5 at a prevalence of 0.5 becomes 0.3 at 0.3, whatever the last digit says.
    images = images_from([1, 0], [0.5, 0.1], prevalence=0.5)
    curve = curve_of(images, 0.3)
    assert curve.curve.value[at(curve, 0.3)] == pytest.approx(0.3)
    assert curve.curve.value[at(curve, 0.31)] == 0


def test_the_bounds_are_those_of_resampling_whole_patients() -> None:
    images = random_images(3, n=60)
    curve = curve_of(images, float(images.truth.mean()))
    names, membership = np.unique(images.groups, return_inverse=True)
    draws = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), size=200)
    weights = draws[:, membership]
    found = (weights * (images.truth & images.called)).sum(1) / (weights * images.truth).sum(1)
    alarms = (weights * (~images.truth & images.called)).sum(1) / (weights * ~images.truth).sum(1)
    benefits = found * images.truth.mean() - alarms * (~images.truth).mean()
    here = at(curve, 0.5)
    expected = np.quantile(benefits, [0.025, 0.975]).tolist()
    assert [curve.curve.lower[here], curve.curve.upper[here]] == pytest.approx(expected)


def test_a_perfect_model_is_useful_everywhere_and_a_useless_one_nowhere() -> None:
    labels = np.repeat([1, 0], [20, 20])
    perfect = curve_of(images_from(labels, labels), 0.2)
    np.testing.assert_allclose(perfect.curve.value, 0.2)
    assert np.isnan(perfect.curve.lower).all()
    assert useful_range(perfect) == [(0.01, 0.99)]
    assert useful_range(curve_of(images_from(labels, np.full(40, 0.5)), 0.2)) == []


def test_useful_ranges_are_the_runs_above_both_lines() -> None:
    x, nothing = np.array([0.1, 0.2, 0.3, 0.4, 0.5]), np.full(5, np.nan)
    curve = DecisionCurve(
        prevalence=0.3,
        curve=Band(x, np.array([0.2, 0.25, 0.1, -0.1, 0.01]), nothing, nothing),
        treat_all=np.array([0.2, 0.1, 0.05, -0.2, -0.4]),
    )
    assert useful_range(curve) == [(0.2, 0.3), (0.5, 0.5)]


@pytest.mark.parametrize("label", [0, 1])
def test_there_is_no_curve_of_one_class(label: int) -> None:
    images = images_from(np.full(20, label), np.linspace(0, 1, 20))
    assert decision_curve(images, prevalence=0.2, n_resamples=50, seed=0) is None


@pytest.mark.parametrize("prevalence", [0.0, 1.0, -0.1, float("nan")])
def test_a_prevalence_that_is_none_is_refused(prevalence: float) -> None:
    with pytest.raises(ValueError, match="Received"):
        decision_curve(random_images(), prevalence=prevalence, n_resamples=50, seed=0)
