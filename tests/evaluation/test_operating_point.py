import numpy as np
import pytest
from sklearn.metrics import roc_curve

from covid_core.errors import EvaluationError
from covid_core.evaluation.operating_point import choose_operating_point

COVID = [0.35, 0.45, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90]
OTHERS = [0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.40, 0.50, 0.52, 0.54]


def images(covid: list[float], others: list[float]) -> tuple[list[int], list[float]]:
    return [1] * len(covid) + [0] * len(others), [*covid, *others]


def random_images(seed: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of two decimals, so that many are equal."""
    rng = np.random.default_rng(seed)
    labels = rng.random(150) < 0.6
    return labels, np.round(np.clip(rng.normal(0.4 + shift * labels, 0.2), 0, 1), 2)


def test_the_highest_threshold_that_finds_nine_in_ten_is_taken_where_seven_in_ten_are_spared() -> None:
    # 9 of 10 covid images are above 0.425, between 0.40 and 0.45, and so are 3 of the 10 others.
    chosen = choose_operating_point(*images(COVID, OTHERS))
    assert chosen.value == pytest.approx(0.425)
    assert chosen.rule == "sensitivity"
    assert "sensitivity 0.900 and specificity 0.700" in chosen.method
    assert "20 images" in chosen.method


def test_where_too_few_are_spared_youdens_maximum_is_taken_and_both_specificities_are_told() -> None:
    # With 0.46 for 0.40, the threshold 0.40 spares only 6. Above 0.545 are 8 covid images and no other: J = 0.8.
    chosen = choose_operating_point(*images(COVID, [*OTHERS[:6], 0.46, *OTHERS[7:]]))
    assert chosen.value == pytest.approx(0.545)
    assert chosen.rule == "youden"
    assert (
        "a sensitivity of at least 0.90 would leave a specificity of only 0.600 where 0.70 is asked for"
        in chosen.method
    )
    assert "sensitivity 0.800 and specificity 1.000" in chosen.method


def test_of_equal_youden_indices_the_threshold_that_misses_less_is_taken() -> None:
    # J is 0.5 at 0.2 (2 of 2 found, 1 of 2 spared) and at 0.6 (1 of 2 found, 2 of 2 spared).
    assert choose_operating_point(*images([0.3, 0.7], [0.1, 0.5])).value == pytest.approx(0.2)


@pytest.mark.parametrize("seed", range(4))
def test_youdens_maximum_agrees_with_scikit_learns_roc_curve(seed: int) -> None:
    labels, probability = random_images(seed, shift=0.2)
    chosen = choose_operating_point(labels, probability, least_specificity=0.95)
    fpr, tpr, _ = roc_curve(labels, probability)
    called = probability >= chosen.value
    assert chosen.rule == "youden"
    assert called[labels].mean() - called[~labels].mean() == pytest.approx((tpr - fpr).max())


@pytest.mark.parametrize("seed", range(4))
def test_no_higher_threshold_has_the_sensitivity_and_no_image_is_on_it(seed: int) -> None:
    labels, probability = random_images(seed, shift=0.5)
    chosen = choose_operating_point(labels, probability)
    assert chosen.rule == "sensitivity"
    assert (probability[labels] >= chosen.value).mean() >= 0.90
    assert (probability[labels] > probability[probability > chosen.value].min()).mean() < 0.90
    assert chosen.value not in probability


def test_one_class_or_one_probability_has_no_operating_point() -> None:
    with pytest.raises(EvaluationError, match="Received: 3 covid, 0 others"):
        choose_operating_point([1, 1, 1], [0.1, 0.5, 0.9])
    with pytest.raises(EvaluationError, match=r"Received: 0\.5"):
        choose_operating_point([0, 1, 1], [0.5, 0.5, 0.5])
