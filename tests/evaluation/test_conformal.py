import json

import numpy as np
import pytest

from covid_core.errors import EvaluationError
from covid_core.evaluation.conformal import ThreeWay, cross_fitted_coverage, fit_three_way

NINE = np.arange(9)


def logistic(scores: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-scores))


def test_the_bounds_are_the_ranks_that_a_calculation_by_hand_gives() -> None:
    # Of 19 covid images the bound is the 2nd lowest (0.1 of 19 + 1), of 9 others the highest (0.1 of 9 + 1).
    covid, others = 0.40 + 0.03 * np.arange(19), 0.10 + 0.05 * NINE
    fitted = fit_three_way([1] * 19 + [0] * 9, [*covid, *others], 0.90, fitted_on="images made up")
    assert (fitted.lower, fitted.upper) == (pytest.approx(0.43), pytest.approx(0.50))
    assert (fitted.coverage, fitted.n_covid, fitted.n_non_covid) == (0.90, 19, 9)
    assert fitted.fitted_on == "images made up"


def test_below_is_non_covid_above_is_covid_and_from_lower_to_upper_is_indeterminate() -> None:
    decision = ThreeWay(0.4, 0.6, 0.9, 50, 50, "val")
    assert decision.decide(0.39) == "non_covid"
    assert decision.decide(0.4) == "indeterminate"
    assert decision.decide(0.6) == "indeterminate"
    assert decision.decide(0.61) == "covid"
    assert decision.decide_all([[0.1, 0.5], [0.9, 0.6]]).tolist() == [
        ["non_covid", "indeterminate"],
        ["covid", "indeterminate"],
    ]


@pytest.mark.parametrize(("covid", "others"), [(8, 50), (50, 8), (0, 50), (0, 0)])
def test_with_too_few_images_of_a_class_every_image_is_indeterminate(covid: int, others: int) -> None:
    labels = np.array([True] * covid + [False] * others)
    fitted = fit_three_way(labels, np.where(labels, 0.9, 0.1), 0.90)
    assert [fitted.decide(probability) for probability in (0.0, 0.5, 1.0)] == ["indeterminate"] * 3


@pytest.mark.parametrize(("covid", "others"), [(60, 40), (300, 30)])
def test_over_many_draws_each_class_is_covered_as_often_as_promised(covid: int, others: int) -> None:
    rng, draws, new = np.random.default_rng(0), 1500, 40
    labels = np.array([True] * covid + [False] * others)
    kept = np.empty((draws, 2))
    for draw in range(draws):
        fitted = fit_three_way(labels, logistic(rng.normal(np.where(labels, 0.6, -0.6))))
        # The classes overlap so much that an indeterminate image has both of them in its set.
        kept[draw] = (
            (fitted.decide_all(logistic(rng.normal(0.6, size=new))) != "non_covid").mean(),
            (fitted.decide_all(logistic(rng.normal(-0.6, size=new))) != "covid").mean(),
        )
    for images, measured in zip((covid, others), kept.T, strict=True):
        error = measured.std() / np.sqrt(draws)
        # A new image is equally likely to take each of n + 1 ranks, and the lowest n + 1 tenths of them are not covered.
        exact = 1 - ((images + 1) // 10) / (images + 1)
        assert measured.mean() == pytest.approx(exact, abs=3 * error)
        assert measured.mean() >= 0.90 - 3 * error


def test_cross_fitted_shares_agree_with_a_count_by_hand_where_sets_hold_both_classes() -> None:
    # Fold 0 is judged by fold 1's bounds, 0.2 and 0.8, and fold 1 by fold 0's, 0.1 and 0.9: all its images are between.
    labels = np.tile([True] * 9 + [False] * 9, 2)
    fold = np.repeat([0, 1], 18)
    first = np.repeat([0.1, 0.5, 0.9], 3)
    probability = np.concatenate([first, first, 0.2 + 0.05 * NINE, 0.4 + 0.05 * NINE])
    found = cross_fitted_coverage(labels, probability, fold, np.arange(36), n_resamples=200)
    value = {
        name: {part: share["value"] for part, share in found[name].items()} for name in ("covered", "indeterminate")
    }
    assert found["coverage"] == 0.90
    # Not covered: the 3 covid images at 0.1 and the 3 others at 0.9.
    assert value["covered"] == pytest.approx({"overall": 30 / 36, "covid": 15 / 18, "non_covid": 15 / 18})
    assert value["indeterminate"] == pytest.approx({"overall": 24 / 36, "covid": 12 / 18, "non_covid": 12 / 18})
    assert found["decided"]["value"] == pytest.approx(12 / 36)
    assert (found["sensitivity"]["value"], found["sensitivity"]["n"]) == (0.5, 6)
    assert (found["specificity"]["value"], found["specificity"]["n"]) == (0.5, 6)
    assert found["covered"]["overall"]["lower"] < 30 / 36 < found["covered"]["overall"]["upper"]


def test_an_empty_set_is_indeterminate_and_not_covered() -> None:
    # Fold 1 puts its bounds at 0.70 for covid and 0.30 for the others: what lies between them is typical of neither.
    labels = np.tile([True] * 9 + [False] * 9, 2)
    covid, others = 0.70 + 0.02 * NINE, 0.30 - 0.02 * NINE
    probability = np.concatenate([[0.60, *covid[1:]], [0.50, *others[1:]], covid, others])
    found = cross_fitted_coverage(labels, probability, np.repeat([0, 1], 18), np.arange(36), n_resamples=200)
    assert found["covered"]["overall"]["value"] == pytest.approx(34 / 36)
    assert found["covered"]["covid"]["value"] == pytest.approx(17 / 18)
    assert found["indeterminate"]["overall"]["value"] == pytest.approx(2 / 36)
    assert (found["sensitivity"]["value"], found["sensitivity"]["n"]) == (1.0, 17)
    assert found["sensitivity"]["method"] == "Wilson, patients as the unit"


def random_images(n: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities, folds and patients; two images a patient."""
    rng = np.random.default_rng(1)
    patients = np.arange(n) // 2
    labels = patients % 3 > 0
    return labels, logistic(rng.normal(np.where(labels, 0.7, -0.7))), patients % 5, patients


def test_where_nothing_is_decided_the_figures_among_the_decided_are_undefined() -> None:
    labels, folds = np.arange(12) % 2 == 0, np.arange(12) % 3
    found = cross_fitted_coverage(labels, np.linspace(0, 1, 12), folds, np.arange(12), n_resamples=50)
    json.dumps(found, allow_nan=False)
    assert found["indeterminate"]["overall"]["value"] == 1.0
    assert found["covered"]["overall"]["value"] == 1.0
    assert (found["sensitivity"]["value"], found["sensitivity"]["n"]) == (None, 0)
    assert found["sensitivity"]["note"]


def test_a_patient_with_images_in_two_folds_is_refused() -> None:
    labels, probability, folds, patients = random_images()
    with pytest.raises(EvaluationError, match="100 patients with images in several folds, the first is 0"):
        cross_fitted_coverage(labels, probability, np.arange(200) % 2, patients)
    with pytest.raises(ValueError, match="folds"):
        cross_fitted_coverage(labels, probability, folds[:5], patients)


def test_a_decision_survives_json_and_ignores_what_else_stands_there() -> None:
    original = fit_three_way(*random_images()[:2], fitted_on="out-of-fold predictions")
    read = json.loads(json.dumps(original.to_json(), allow_nan=False))
    assert ThreeWay.from_json(read | {"method": "a sentence"}) == original


@pytest.mark.parametrize(
    "change",
    [{"lower": 0.7}, {"upper": 1.2}, {"lower": None}, {"upper": "nan"}, {"coverage": 1.0}, {"n_covid": "many"}],
)
def test_a_decision_that_is_not_understood_is_refused(change: dict[str, object]) -> None:
    value = ThreeWay(0.4, 0.6, 0.9, 50, 50, "val").to_json() | change
    with pytest.raises(EvaluationError, match="Received"):
        ThreeWay.from_json(value)
    with pytest.raises(EvaluationError, match="Received"):
        ThreeWay.from_json({})


def test_what_is_no_probability_and_no_coverage_is_refused() -> None:
    for wrong in (1.01, np.nan):
        with pytest.raises(ValueError, match="probability"):
            ThreeWay(0.4, 0.6, 0.9, 50, 50, "val").decide(wrong)
    with pytest.raises(ValueError, match="coverage"):
        fit_three_way([True, False], [0.9, 0.1], 1.0)
