import numpy as np
import pytest
from numpy.typing import ArrayLike
from sklearn import metrics as reference

from covid_core.evaluation import metrics
from covid_core.labels import CLASSES, COVID, NON_COVID

# 35 covid images of which 18 are called, 19 others of which 17 are not.
KNOWN_LABELS = np.array([1] * 35 + [0] * 19)
KNOWN_CALLED = np.array([1] * 18 + [0] * 17 + [0] * 17 + [1] * 2)


def random_images(seed: int, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores with many ties (one decimal)."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.65
    return labels, np.round(np.clip(rng.normal(0.4 + 0.2 * labels, 0.25), 0, 1), 1)


def shares(matrix: ArrayLike) -> dict[str, float | None]:
    return {name: metrics.defined(value) for name, value in metrics.rates(matrix).items()}


def test_a_known_predictor_gives_a_known_report() -> None:
    matrix = metrics.confusion_matrix(KNOWN_LABELS, KNOWN_CALLED)
    report = metrics.classification_report(matrix)

    assert matrix.tolist() == [[17, 2], [17, 18]]
    assert list(report) == ["non_covid", "covid"]
    assert (report[COVID].precision, report[COVID].recall) == (pytest.approx(18 / 20), pytest.approx(18 / 35))
    assert (report[NON_COVID].precision, report[NON_COVID].recall) == (pytest.approx(17 / 34), pytest.approx(17 / 19))
    assert (report[COVID].support, report[NON_COVID].support) == (35, 19)
    assert shares(matrix) == pytest.approx(
        {
            "sensitivity": 18 / 35,
            "specificity": 17 / 19,
            "ppv": 0.9,
            "npv": 0.5,
            "accuracy": 35 / 54,
            "balanced_accuracy": (18 / 35 + 17 / 19) / 2,
            "f1_covid": 36 / 55,
            "f1_non_covid": 34 / 53,
            "lr_positive": (18 / 35) / (2 / 19),
            "lr_negative": (17 / 35) / (17 / 19),
        }
    )


def test_an_image_exactly_at_the_threshold_is_called_covid() -> None:
    assert metrics.is_called([0.4999, 0.5, 0.5001], 0.5).tolist() == [False, True, True]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
def test_the_report_agrees_with_scikit_learn(threshold: float) -> None:
    labels, scores = random_images(7)
    called = metrics.is_called(scores, threshold)
    matrix = metrics.confusion_matrix(labels, called)
    report = metrics.classification_report(matrix)
    found = dict(zip(("macro avg", "weighted avg"), metrics.averages(report), strict=True))

    expected = reference.classification_report(labels, called, target_names=list(CLASSES), output_dict=True)
    assert matrix.tolist() == reference.confusion_matrix(labels, called).tolist()
    for name, row in {**report, **found}.items():
        assert list(vars(row).values()) == pytest.approx(list(expected[name].values()))
    printed = reference.classification_report(labels, called, target_names=list(CLASSES))
    assert metrics.format_classification_report(matrix) == printed.rstrip("\n")


def test_chance_and_perfect_scores_have_the_areas_they_must_have() -> None:
    labels = np.array([0, 0, 1, 1])
    assert metrics.roc_auc(labels, np.full(4, 0.3)) == 0.5
    assert metrics.roc_auc(labels, [0.1, 0.2, 0.8, 0.9]) == 1.0
    assert metrics.roc_auc(labels, [0.9, 0.8, 0.2, 0.1]) == 0.0
    assert metrics.roc_auc(np.ones(4), labels) is None
    assert metrics.roc_auc(np.zeros(4), labels) is None


def test_shares_of_nothing_are_none() -> None:
    never_called = shares([[5, 0], [3, 0]])
    assert never_called["f1_covid"] == 0.0
    assert [name for name, value in never_called.items() if value is None] == ["ppv", "lr_positive"]
    only_covid = shares([[0, 0], [1, 4]])
    assert [only_covid[name] for name in ("specificity", "balanced_accuracy", "f1_non_covid")] == [None] * 3
    assert set(shares(np.zeros((2, 2))).values()) == {None}


def test_an_undefined_value_has_no_mean_and_is_printed_as_a_dash() -> None:
    matrix = [[5, 0], [3, 0]]
    macro, weighted = metrics.averages(metrics.classification_report(matrix))
    assert (macro.precision, macro.recall, weighted.precision) == (None, 0.5, None)
    words = [line.split() for line in metrics.format_classification_report(matrix).splitlines()]
    assert ["covid", "-", "0.00", "0.00", "3"] in words


def test_weighing_images_equals_repeating_them() -> None:
    labels, scores = random_images(3, n=60)
    weights = np.random.default_rng(1).integers(0, 4, size=(4, 60))
    auc = metrics.weighted_roc_auc(labels, scores, weights.astype(float))
    precision = metrics.weighted_average_precision(labels, scores, weights.astype(float))
    matrices = metrics.weighted_confusion(labels, scores >= 0.5, weights.astype(float))
    for row, times in enumerate(weights):
        repeated_labels, repeated_scores = np.repeat(labels, times), np.repeat(scores, times)
        assert auc[row] == pytest.approx(reference.roc_auc_score(repeated_labels, repeated_scores))
        assert precision[row] == pytest.approx(reference.average_precision_score(repeated_labels, repeated_scores))
        expected = reference.confusion_matrix(repeated_labels, repeated_scores >= 0.5)
        np.testing.assert_allclose(matrices[row], expected)


def test_pairs_within_a_source_are_counted_by_hand() -> None:
    # a: 0.8 > 0.7 and 0.6 < 0.7: 1 of 2. b: 0.3 > 0.1 and a tie: 1.5 of 2. c has one class; unknown sources are no pair.
    scores = np.array([0.8, 0.6, 0.7, 0.3, 0.1, 0.3, 0.9, 0.9, 0.0])
    labels = np.array([1, 1, 0, 1, 0, 0, 1, 1, 0], bool)
    sources = np.array(["a", "a", "a", "b", "b", "b", "c", "", ""])
    once = np.ones((1, 9))
    assert metrics.weighted_within_source_auc(labels, scores, sources, once)[0] == pytest.approx(2.5 / 4)
    assert np.isnan(metrics.weighted_within_source_auc(labels, scores, np.full(9, ""), once)[0])
