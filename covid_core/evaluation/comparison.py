"""Two models on the films that both have read: how far apart they are, and whether that could be chance.

Knows two tables of predictions, not the models. Both models have read the same films, so everything is paired. Films of one
patient are alike: the difference that counts is the one with patients resampled; the tests that take films as independent
stand beside it because reviewers ask for them, and say so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import erfc, sqrt

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from covid_core.errors import EvaluationError
from covid_core.evaluation import metrics
from covid_core.evaluation.estimates import LEVEL, honest
from covid_core.evaluation.films import PAIRED_COLUMNS, Films, checked_table, films_of
from covid_core.evaluation.intervals import MIN_GROUPS, Estimate, cluster_bootstrap, totals_by_group

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_CLOSE = 1e-12


@dataclass(frozen=True)
class DeLong:
    """A test of whether two areas under the ROC curve differ.

    Attributes:
        z: the difference, first - second, over its standard error; None where that is 0 and the difference is not.
        p: two-sided, from the normal distribution; None likewise.
        standard_error: of the difference, at least 0.
    """

    z: float | None
    p: float | None
    standard_error: float


@dataclass(frozen=True)
class McNemar:
    """The exact test of whether two models are right equally often. It takes films as independent.

    Films of one patient are not, so p is too small where patients have many films.

    Attributes:
        what: `sensitivity` (on the covid films), `specificity` (on the others) or `accuracy` (on all).
        films: how many it rests on.
        only_first: films that only the first model called right.
        only_second: films that only the second model called right.
        p: two-sided, None without films.
    """

    what: str
    films: int
    only_first: int
    only_second: int
    p: float | None


@dataclass(frozen=True)
class Comparison:
    """Two models on the same films. Differences are first - second.

    Attributes:
        films: films that both have read.
        patients: patients they are of, by the first table.
        n_covid: films with COVID-19 by the reference standard.
        n_non_covid: the others.
        auc_first: area under the ROC curve of the first model on these films; this and all areas below are None where a
            class has no film.
        auc_second: of the second model.
        auc_difference: between them, both models judged on the same resampled patients.
        within_source_difference: between their areas over pairs from one source; its value is None where no source has both
            classes.
        delong: the test that takes films as independent; None below `MIN_GROUPS` films of either class.
        delong_clustered: the test with patients as clusters; None below `MIN_GROUPS` patients of either class.
        mcnemar: for sensitivity, specificity and accuracy, in this order.
    """

    films: int
    patients: int
    n_covid: int
    n_non_covid: int
    auc_first: Estimate | None
    auc_second: Estimate | None
    auc_difference: Estimate | None
    within_source_difference: Estimate | None
    delong: DeLong | None
    delong_clustered: DeLong | None
    mcnemar: tuple[McNemar, ...]


def compare(
    first: pd.DataFrame, second: pd.DataFrame, *, thresholds: tuple[float, float], n_resamples: int, seed: int
) -> Comparison:
    """Compare two models on the films that both have, by file name.

    Args:
        first: one row a held-out film with `filename`, `patientid`, `group`, `label` and `probability_covid`; `source` may be
            missing.
        second: likewise; patients and sources are taken from the first. The numbers of the groups may differ: films that
            share a patient or a group in the first table, or a group in the second, are one cluster.
        thresholds: of the first and of the second model; a film is called covid at or above it.
        n_resamples: of the patient bootstrap.
        seed: of the patient bootstrap.

    Raises:
        EvaluationError: a table is not fit for it, no film is in both, or the labels of a film differ.
    """
    left, right = _common(checked_table(first, PAIRED_COLUMNS), checked_table(second, PAIRED_COLUMNS))
    one = films_of(left, threshold=thresholds[0])
    two = films_of(right, threshold=thresholds[1])
    one = replace(one, groups=_linked([one.patients, one.groups, two.groups]).astype(np.str_))
    areas = _areas(one, two.probability, n_resamples=n_resamples, seed=seed)
    return Comparison(
        films=one.truth.size,
        patients=np.unique(one.patients).size,
        n_covid=int(one.truth.sum()),
        n_non_covid=int((~one.truth).sum()),
        auc_first=areas.get("auc_first"),
        auc_second=areas.get("auc_second"),
        auc_difference=areas.get("auc_difference"),
        within_source_difference=areas.get("within_source_difference"),
        delong=delong_test(one.truth, one.probability, two.probability),
        delong_clustered=delong_test(one.truth, one.probability, two.probability, clusters=one.groups),
        mcnemar=_mcnemar_tests(one.truth, one.called == one.truth, two.called == one.truth),
    )


def delong_test(
    truth: BoolArray, first: FloatArray, second: FloatArray, *, clusters: ArrayLike | None = None
) -> DeLong | None:
    """Test whether two areas under the ROC curve of the same films differ.

    Sources: E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, Biometrics 44 (1988) 837; with clusters N. A. Obuchowski,
    Biometrics 53 (1997) 567. With every film its own cluster the second is the first.

    Args:
        truth: bool (n,), true for covid.
        first: float64 (n,), scores of the first model, higher for covid.
        second: of the second model.
        clusters: (n,), the cluster (patient) of each film; None takes films as independent.

    Returns:
        The test; a difference of 0 at every film is z = 0 and p = 1. None below `MIN_GROUPS` clusters of either class, or
        where the clusters leave no variance above 0.
    """
    if not truth.any() or truth.all():
        return None
    placements = _placements(truth, first) - _placements(truth, second)
    if not placements.any():
        return DeLong(0.0, 1.0, 0.0)
    difference = float(placements[truth].mean())
    names = np.arange(truth.size) if clusters is None else np.asarray(clusters)
    if min(np.unique(names[of_class]).size for of_class in (truth, ~truth)) < MIN_GROUPS:
        return None
    variance = _variance(truth, placements - difference, names)
    if variance < -_CLOSE:
        return None
    standard_error = sqrt(max(variance, 0.0))
    if standard_error < _CLOSE:
        same = abs(difference) < _CLOSE
        return DeLong(0.0 if same else None, 1.0 if same else None, 0.0)
    z = difference / standard_error
    return DeLong(z, erfc(abs(z) / sqrt(2)), standard_error)


def exact_mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided form of the test of Q. McNemar, Psychometrika 12 (1947) 153.

    It asks whether the films on which only one model is right fall to either as a fair coin would.

    Args:
        only_first: films that only the first model called right.
        only_second: films that only the second called right.

    Returns:
        p in (0, 1]; 1 where no film divides them.
    """
    divided, fewer = only_first + only_second, min(only_first, only_second)
    ways = tail = 1  # to choose 0 films, then 1, 2 ... of those that divide the models, in whole numbers
    for count in range(fewer):
        ways = ways * (divided - count) // (count + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << divided))


def _common(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The films that both have, in the order of the first."""
    left, right = first.set_index("filename"), second.set_index("filename")
    common = left.index[left.index.isin(right.index)]
    if common.empty:
        raise EvaluationError(
            "The two models have no held-out film in common. Choose two models that were evaluated on the same dataset. "
            f"Received: {len(first)} and {len(second)} films"
        )
    left, right = left.loc[common], right.loc[common]
    differing = common[(left["label"] != right["label"]).to_numpy()]
    if not differing.empty:
        raise EvaluationError(
            f"The reference standard differs between the two models for {len(differing)} of {len(common)} films, the first is "
            f"{differing[0]}. Evaluate both models on the same dataset."
        )
    return left, right


def _linked(groupings: Sequence[NDArray[np.str_]]) -> NDArray[np.int64]:
    """Number the clusters of films (n,) that share a group in any grouping, directly or through others: int64 (n,)."""
    memberships = [np.unique(grouping, return_inverse=True)[1] for grouping in groupings]
    numbers = np.arange(len(memberships[0]))
    while True:
        before = numbers
        for membership in memberships:
            lowest = np.full(membership.max() + 1, len(numbers))
            np.minimum.at(lowest, membership, numbers)
            numbers = lowest[membership]
        if np.array_equal(before, numbers):
            return numbers


def _areas(films: Films, other: FloatArray, *, n_resamples: int, seed: int) -> dict[str, Estimate]:
    """The areas of both models and their differences; none of them where a class has no film."""
    if not films.has_both_classes():
        return {}
    truth, sources = films.truth, films.sources

    def statistics(weights: FloatArray) -> dict[str, FloatArray]:
        one, two = (metrics.weighted_roc_auc(truth, scores, weights) for scores in (films.probability, other))
        within_one, within_two = (
            metrics.weighted_within_source_auc(truth, scores, sources, weights) for scores in (films.probability, other)
        )
        return {
            "auc_first": one,
            "auc_second": two,
            "auc_difference": one - two,
            "within_source_difference": within_one - within_two,
        }

    found = cluster_bootstrap(statistics, films.groups, n_resamples=n_resamples, seed=seed, level=LEVEL)
    kinds = dict.fromkeys(found, "roc_auc") | {"within_source_difference": "within_source_auc"}
    return {name: honest(kinds[name], estimate, films) for name, estimate in found.items()}


def _placements(truth: BoolArray, scores: FloatArray) -> FloatArray:
    """The structural components (n,): the share of the films of the other class that each film is on the right side of.

    A tie counts half. The mean over the films of either class is the area under the ROC curve.
    """
    placements = np.empty(truth.size)
    for of_class in (truth, ~truth):
        others = np.sort(scores[~of_class])
        below = np.searchsorted(others, scores[of_class], side="left")
        not_above = np.searchsorted(others, scores[of_class], side="right")
        placements[of_class] = (below + not_above) / (2 * others.size)
    placements[~truth] = 1 - placements[~truth]
    return placements


def _variance(truth: BoolArray, residuals: FloatArray, clusters: ArrayLike) -> float:
    """Obuchowski's variance of an area, or of a difference of two, from the residuals of its components (n,)."""
    _, totals = totals_by_group(
        clusters, np.column_stack([truth, ~truth, residuals * truth, residuals * ~truth]).astype(np.float64)
    )
    covid_films, other_films, covid, other = totals.T
    terms = (
        (np.sum(covid**2) / covid_films.sum() ** 2, np.count_nonzero(covid_films)),
        (np.sum(other**2) / other_films.sum() ** 2, np.count_nonzero(other_films)),
        (2 * np.sum(covid * other) / (covid_films.sum() * other_films.sum()), len(totals)),
    )
    return float(sum(term * count / (count - 1) for term, count in terms))


def _mcnemar_tests(truth: BoolArray, first_right: BoolArray, second_right: BoolArray) -> tuple[McNemar, ...]:
    tests = []
    for what, of_class in (("sensitivity", truth), ("specificity", ~truth), ("accuracy", np.ones_like(truth))):
        only_first = int((first_right & ~second_right & of_class).sum())
        only_second = int((second_right & ~first_right & of_class).sum())
        films = int(of_class.sum())
        tests.append(
            McNemar(what, films, only_first, only_second, exact_mcnemar(only_first, only_second) if films else None)
        )
    return tuple(tests)
