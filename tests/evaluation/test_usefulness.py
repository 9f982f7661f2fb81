import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from covid_core.evaluation.decision_curve import DecisionCurve, decision_curve, shifted, useful_range
from covid_core.evaluation.intervals import Band
from covid_core.evaluation.predictions import Films


def films_from(labels, scores, *, patients=None, prevalence: float | None = None) -> Films:
    truth, probability = np.asarray(labels, bool), np.asarray(scores, float)
    groups = np.asarray(np.arange(len(truth)) if patients is None else patients).astype(str)
    return Films(truth, probability >= 0.5, probability, groups, groups, np.full(len(truth), ""), prevalence)


def random_films(seed: int = 0, n: int = 150) -> Films:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.6
    return films_from(labels, np.clip(rng.normal(0.4 + 0.3 * labels, 0.2), 0, 1), patients=rng.integers(0, 90, n))


def curve_of(films: Films, prevalence: float) -> DecisionCurve:
    curve = decision_curve(films, prevalence=prevalence, n_resamples=200, seed=0)
    assert curve is not None
    return curve


def at(curve: DecisionCurve, threshold: float) -> int:
    return int(np.flatnonzero(np.isclose(curve.curve.x, threshold))[0])


def test_the_net_benefit_is_the_one_worked_out_by_hand() -> None:
    # At 0.2: three of four covid films are found, two of six others are acted on; w = 0.2/0.8.
    films = films_from([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], [0.9, 0.6, 0.2, 0.1, 0.7, 0.3, 0.1, 0.1, 0.05, 0.0])
    curve = curve_of(films, 0.4)
    here = at(curve, 0.2)
    assert curve.curve.value[here] == pytest.approx(3 / 10 - 2 / 10 * 0.25)
    assert curve.treat_all[here] == pytest.approx(4 / 10 - 6 / 10 * 0.25)
    assert curve.treat_none[here] == 0
    assert curve.prevalence == 0.4


@pytest.mark.parametrize("prevalence", [0.05, 0.3, 0.8])
def test_the_curve_agrees_with_confusion_matrices_of_scikit_learn(prevalence: float) -> None:
    films = random_films()
    curve = curve_of(films, prevalence)
    assumed = films.truth.mean()
    with np.errstate(divide="ignore"):
        odds = films.probability / (1 - films.probability)
    odds = odds * (prevalence / (1 - prevalence)) / (assumed / (1 - assumed))
    for threshold, value in zip(curve.curve.x, curve.curve.value, strict=True):
        weight = threshold / (1 - threshold)
        (tn, fp), (fn, tp) = confusion_matrix(films.truth, odds >= weight)
        expected = tp / (tp + fn) * prevalence - fp / (tn + fp) * (1 - prevalence) * weight
        assert value == pytest.approx(expected)


def test_at_the_prevalence_of_the_films_it_is_the_definition_of_vickers_and_elkin() -> None:
    films = random_films(1)
    curve = curve_of(films, float(films.truth.mean()))
    here = at(curve, 0.5)
    acted_on = films.probability >= 0.5
    benefit = (acted_on & films.truth).sum() - (acted_on & ~films.truth).sum()
    assert curve.curve.value[here] == pytest.approx(benefit / films.truth.size)


def test_probabilities_move_with_the_prior_odds() -> None:
    # Odds of 1 at a prevalence of 0.5 are odds of 1/9 at 0.1; certainty stays certain.
    films = films_from([1, 0, 1], [0.5, 0.0, 1.0], prevalence=0.5)
    assert shifted(films, 0.1).tolist() == pytest.approx([0.1, 0.0, 1.0])
    assert shifted(films, 0.5).tolist() == [0.5, 0.0, 1.0]


def test_a_film_on_the_threshold_is_acted_on_after_the_shift_too() -> None:
    # 0.5 at a prevalence of 0.5 becomes 0.3 at 0.3, whatever the last digit says.
    films = films_from([1, 0], [0.5, 0.1], prevalence=0.5)
    curve = curve_of(films, 0.3)
    assert curve.curve.value[at(curve, 0.3)] == pytest.approx(0.3)
    assert curve.curve.value[at(curve, 0.31)] == 0


def test_the_bounds_enclose_the_curve_and_the_grid_is_as_promised() -> None:
    curve = curve_of(random_films(2), 0.3).curve
    np.testing.assert_allclose(curve.x, np.arange(0.01, 0.995, 0.01))
    assert (curve.lower <= curve.value + 1e-9).all()
    assert (curve.value <= curve.upper + 1e-9).all()


def test_the_bounds_are_those_of_resampling_whole_patients() -> None:
    films = random_films(3, n=60)
    curve = curve_of(films, float(films.truth.mean()))
    names, membership = np.unique(films.groups, return_inverse=True)
    draws = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), size=200)
    weights = draws[:, membership]
    found = (weights * (films.truth & films.called)).sum(1) / (weights * films.truth).sum(1)
    alarms = (weights * (~films.truth & films.called)).sum(1) / (weights * ~films.truth).sum(1)
    benefits = found * films.truth.mean() - alarms * (~films.truth).mean()
    here = at(curve, 0.5)
    expected = np.quantile(benefits, [0.025, 0.975]).tolist()
    assert [curve.curve.lower[here], curve.curve.upper[here]] == pytest.approx(expected)


def test_a_perfect_model_is_useful_everywhere_and_a_useless_one_nowhere() -> None:
    labels = np.repeat([1, 0], [20, 20])
    perfect = curve_of(films_from(labels, labels), 0.2)
    np.testing.assert_allclose(perfect.curve.value, 0.2)
    assert np.isnan(perfect.curve.lower).all()
    assert useful_range(perfect) == [(0.01, 0.99)]
    assert useful_range(curve_of(films_from(labels, np.full(40, 0.5)), 0.2)) == []


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
    films = films_from(np.full(20, label), np.linspace(0, 1, 20))
    assert decision_curve(films, prevalence=0.2, n_resamples=50, seed=0) is None


def test_two_patients_give_a_curve_without_bounds() -> None:
    curve = curve_of(films_from([1, 0, 1, 0], [0.9, 0.1, 0.4, 0.6], patients=[0, 0, 1, 1]), 0.2).curve
    assert np.isfinite(curve.value).all()
    assert np.isnan(curve.lower).all()


@pytest.mark.parametrize("prevalence", [0.0, 1.0, -0.1, float("nan")])
def test_a_prevalence_that_is_none_is_refused(prevalence: float) -> None:
    with pytest.raises(ValueError, match="Received"):
        decision_curve(random_films(), prevalence=prevalence, n_resamples=50, seed=0)
