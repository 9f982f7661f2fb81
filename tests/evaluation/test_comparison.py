from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from covid_core.errors import EvaluationError
from covid_core.evaluation.comparison import Comparison, DeLong, compare, delong_test
from tests.evaluation.made_up import predictions


def scored(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and the scores of two models that are alike, with ties."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.55
    shared = rng.normal(size=n) + truth
    first, second = (np.round(shared + rng.normal(size=n) * spread, 1) for spread in (0.4, 0.9))
    return truth, first, second


def two_tables(seed: int = 0, n: int = 80) -> tuple[pd.DataFrame, pd.DataFrame]:
    truth, first, second = scored(seed, n)
    patients = np.random.default_rng(seed + 1).integers(0, 50, n)
    squeezed = (1 / (1 + np.exp(-values)) for values in (first, second))
    source = np.where(np.arange(n) % 2, "a", "b")
    one, two = (predictions(truth, values, patients, source=source) for values in squeezed)
    return one, two


def compared(first: pd.DataFrame, second: pd.DataFrame) -> Comparison:
    return compare(first, second, n_resamples=200, seed=0)


def brute_force(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """The difference and its standard error from DeLong's matrices S10 and S01, pair by pair."""
    columns = []
    for scores in (first, second):
        kernel = np.zeros((truth.sum(), (~truth).sum()))
        for (i, x), (j, y) in product(enumerate(scores[truth]), enumerate(scores[~truth])):
            kernel[i, j] = 1.0 if x > y else 0.5 if x == y else 0.0
        columns.append(kernel)
    areas = [kernel.mean() for kernel in columns]
    s10, s01 = (np.cov([kernel.mean(axis=axis) for kernel in columns]) for axis in (1, 0))
    covariance = s10 / truth.sum() + s01 / (~truth).sum()
    contrast = np.array([1, -1])
    return areas[0] - areas[1], float(np.sqrt(contrast @ covariance @ contrast))


def independent(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> DeLong:
    """The test with every image its own cluster."""
    test = delong_test(truth, first, second, np.arange(len(truth)))
    assert test is not None
    return test


@pytest.mark.parametrize("seed", range(5))
def test_with_every_image_its_own_patient_it_is_delongs_test_by_his_matrices(seed: int) -> None:
    truth, first, second = scored(seed)
    difference, standard_error = brute_force(truth, first, second)
    test = independent(truth, first, second)
    assert test.standard_error == pytest.approx(standard_error)
    assert test.z == pytest.approx(difference / standard_error)
    assert test.p == pytest.approx(2 * norm.sf(abs(difference / standard_error)))


def test_delong_gives_the_standard_error_that_is_published_for_hanley_and_mcneil() -> None:
    # CT ratings of J. A. Hanley and B. J. McNeil, Radiology 143 (1982) 29, table I; Stata's manual states for them
    # (roctab) an area of 0.8932 and DeLong's standard error of 0.0307. Against a constant score the test is that of one area.
    ratings = np.repeat(np.tile(np.arange(1, 6), 2), [33, 6, 6, 11, 2, 3, 2, 2, 11, 33])
    abnormal = np.repeat([False, True], [58, 51])
    test = independent(abnormal, ratings.astype(float), np.zeros(109))
    assert test.z is not None
    assert test.standard_error == pytest.approx(0.0307, abs=5e-5)
    assert 0.5 + test.z * test.standard_error == pytest.approx(0.8932, abs=5e-5)


def test_patients_with_images_of_both_classes_enter_as_obuchowski_writes_it() -> None:
    truth, first, second = scored(4, n=40)
    clusters = np.random.default_rng(0).integers(0, 22, 40)
    v10, v01, m, n = {}, {}, int(truth.sum()), int((~truth).sum())
    for image in range(40):
        others = np.flatnonzero(truth != truth[image])
        sign = 1 if truth[image] else -1
        placement = [np.mean((np.sign(sign * (s[image] - s[others])) + 1) / 2) for s in (first, second)]
        (v10 if truth[image] else v01)[image] = placement[0] - placement[1]
    theta = np.mean(list(v10.values()))
    x, y = np.zeros(22), np.zeros(22)
    for image in range(40):
        of_class = x if truth[image] else y
        of_class[clusters[image]] += (v10 if truth[image] else v01)[image] - theta
    with_covid, with_other = len(set(clusters[truth])), len(set(clusters[~truth]))
    total = len(set(clusters))
    s10 = with_covid / ((with_covid - 1) * m) * (x**2).sum()
    s01 = with_other / ((with_other - 1) * n) * (y**2).sum()
    s11 = total / (total - 1) * (x * y).sum()
    test = delong_test(truth, first, second, clusters=clusters)
    assert test is not None
    assert test.standard_error**2 == pytest.approx(s10 / m + s01 / n + 2 * s11 / (m * n))


def test_a_comparison_states_the_figures_of_both_models_on_the_same_images() -> None:
    first, second = two_tables()
    result = compared(first, second.iloc[::-1])
    truth = first["label"] == "covid"
    areas = [roc_auc_score(truth, table["probability_covid"]) for table in (first, second)]
    assert result.auc_first is not None
    assert result.auc_second is not None
    assert result.auc_difference is not None
    assert [result.auc_first.value, result.auc_second.value] == pytest.approx(areas)
    assert result.auc_difference.value == pytest.approx(areas[0] - areas[1])
    assert (result.images, result.n_covid, result.n_non_covid) == (80, truth.sum(), (~truth).sum())
    assert result.patients == first["patientid"].nunique()


def test_the_interval_of_the_difference_resamples_whole_patients() -> None:
    first, second = two_tables(2)
    _, membership = np.unique(first["group"], return_inverse=True)
    result = compared(first, second)
    truth = (first["label"] == "covid").to_numpy()
    # Clusters are numbered by their first image and resampled in the order of these numbers as text.
    clusters = np.unique(
        np.array([np.flatnonzero(membership == group)[0] for group in membership]).astype(str), return_inverse=True
    )[1]
    count = clusters.max() + 1
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=200)[:, clusters]
    differences = [
        roc_auc_score(truth, first["probability_covid"], sample_weight=weights)
        - roc_auc_score(truth, second["probability_covid"], sample_weight=weights)
        for weights in draws
    ]
    assert result.auc_difference is not None
    found = [result.auc_difference.lower, result.auc_difference.upper]
    assert found == pytest.approx(np.quantile(differences, [0.025, 0.975]).tolist())


def test_groups_of_either_table_bind_images_to_one_cluster() -> None:
    first, second = two_tables(1)
    # By the first table every image is alone, by the second images 0 and 1, 2 and 3, ... belong together.
    alone = first.assign(patientid=[str(n) for n in range(80)], group=[str(n) for n in range(80)])
    paired = second.assign(group=[str(n // 2) for n in range(80)])
    truth = (first["label"] == "covid").to_numpy()
    scores = [table["probability_covid"].to_numpy() for table in (first, second)]
    assert compared(alone, paired).delong == delong_test(truth, *scores, clusters=np.arange(80) // 2)
    # Chained over both, 0-1-2-3... are all one: too few clusters for a test, an interval, or a crash.
    chained = alone.assign(group=[str((n + 1) // 2) for n in range(80)])
    result = compared(chained, paired)
    assert result.delong is None
    assert result.auc_difference is not None
    assert result.auc_difference.lower is None


def test_identical_predictions_do_not_differ() -> None:
    first, _ = two_tables()
    result = compare(first, first, n_resamples=100, seed=0)
    assert result.delong == DeLong(0.0, 1.0, 0.0)
    assert result.auc_difference is not None
    assert result.auc_difference.value == 0.0


@pytest.mark.parametrize("label", [False, True])
def test_one_class_alone_leaves_nothing_to_compare(label: bool) -> None:
    truth = np.full(12, label)
    rng = np.random.default_rng(0)
    result = compared(predictions(truth, rng.random(12)), predictions(truth, rng.random(12)))
    assert (result.auc_first, result.auc_second, result.auc_difference) == (None, None, None)
    assert (result.within_source_difference, result.delong) == (None, None)


def test_images_with_two_labels_or_none_in_common_are_refused() -> None:
    first, second = two_tables()
    other = second.copy()
    other.loc[3, "label"] = "covid" if other.loc[3, "label"] == "non_covid" else "non_covid"
    with pytest.raises(EvaluationError, match=r"differs .* 1 of 80 images, the first is 3\.png"):
        compared(first, other)
    with pytest.raises(EvaluationError, match="no held-out image in common"):
        compared(first, second.assign(filename=[f"other{n}" for n in range(80)]))
