"""Two models on the images that both have read: how far apart they are, and whether that could be chance.

Both models have read the same images, so everything is paired. Images of one patient are alike, so patients are resampled, and
are the clusters of the test.
"""

from dataclasses import dataclass, replace
from math import erfc, sqrt

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from covid_core.dataset.duplicates import components
from covid_core.errors import EvaluationError
from covid_core.evaluation import metrics
from covid_core.evaluation.estimates import honest
from covid_core.evaluation.intervals import MIN_GROUPS, Estimate, cluster_bootstrap, totals_by_group
from covid_core.evaluation.predictions import PAIRED_COLUMNS, Predictions, checked_table, predictions_of

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
_CLOSE = 1e-12


@dataclass(frozen=True)
class DeLong:
    """The difference of two areas, first - second, over its standard error, and the two-sided p of the normal distribution.

    Both are None where the standard error is 0 and the difference is not.
    """

    z: float | None
    p: float | None
    standard_error: float


@dataclass(frozen=True)
class Comparison:
    """Two models on the images that both have read; patients are those of the first table. Differences are first - second.

    Areas under the ROC curve are None where a class has no image; a difference judges both models on the same resampled
    patients. `delong` is the test with patients as clusters, None below `MIN_GROUPS` patients of either class.
    """

    images: int
    patients: int
    n_covid: int
    n_non_covid: int
    delong: DeLong | None
    auc_first: Estimate | None = None
    auc_second: Estimate | None = None
    auc_difference: Estimate | None = None
    within_source_difference: Estimate | None = None


def compare(first: pd.DataFrame, second: pd.DataFrame, *, n_resamples: int, seed: int) -> Comparison:
    """Compare two models on the images that both have, by file name; EvaluationError where there is none or their labels differ.

    Each table has one row a held-out image with `PAIRED_COLUMNS`; patients and `source`, which may be missing, are taken from
    the first. The numbers of the groups may differ: images that share a patient or a group in the first table, or a group in
    the second, are one cluster.
    """
    left, right = _common(checked_table(first, PAIRED_COLUMNS), checked_table(second, PAIRED_COLUMNS))
    one, two = predictions_of(left), predictions_of(right)
    one = replace(one, groups=_linked(one.patients, one.groups, two.groups))
    areas = _areas(one, two.probability, n_resamples=n_resamples, seed=seed)
    return Comparison(
        images=one.truth.size,
        patients=np.unique(one.patients).size,
        n_covid=int(one.truth.sum()),
        n_non_covid=int((~one.truth).sum()),
        delong=delong_test(one.truth, one.probability, two.probability, one.groups),
        **areas,
    )


def delong_test(truth: BoolArray, first: FloatArray, second: FloatArray, clusters: ArrayLike) -> DeLong | None:
    """Test whether two areas under the ROC curve of the same images differ, from the scores (n,) and clusters (patients, (n,)).

    Source: N. A. Obuchowski, Biometrics 53 (1997) 567. With every image its own cluster it is the test of E. R. DeLong,
    D. M. DeLong and D. L. Clarke-Pearson, Biometrics 44 (1988) 837.

    Returns:
        The test; a difference of 0 at every image is z = 0 and p = 1. None below `MIN_GROUPS` clusters of either class, or
        where the clusters leave no variance above 0.
    """
    if not truth.any() or truth.all():
        return None
    placements = _placements(truth, first) - _placements(truth, second)
    if not placements.any():
        return DeLong(0.0, 1.0, 0.0)
    difference = float(placements[truth].mean())
    names = np.asarray(clusters)
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


def _common(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images that both have, in the order of the first."""
    left, right = first.set_index("filename"), second.set_index("filename")
    common = left.index[left.index.isin(right.index)]
    if common.empty:
        raise EvaluationError(
            "The two models have no held-out image in common. Choose two models that were evaluated on the same dataset. "
            f"Received: {len(first)} and {len(second)} images"
        )
    left, right = left.loc[common], right.loc[common]
    differing = common[(left["label"] != right["label"]).to_numpy()]
    if not differing.empty:
        raise EvaluationError(
            f"The reference standard differs between the two models for {len(differing)} of {len(common)} images, the first is "
            f"{differing[0]}. Evaluate both models on the same dataset."
        )
    return left, right


def _linked(*groupings: NDArray[np.str_]) -> NDArray[np.str_]:
    """Name the clusters of images (n,) that share a group in any grouping, directly or through others, by their first image."""
    pairs = []
    for grouping in groupings:
        _, first, membership = np.unique(grouping, return_index=True, return_inverse=True)
        pairs += list(enumerate(first[membership].tolist()))
    number = components(groupings[0].size, pairs)
    return np.unique(number, return_index=True)[1][number].astype(np.str_)


def _areas(images: Predictions, other: FloatArray, *, n_resamples: int, seed: int) -> dict[str, Estimate]:
    """The areas of both models and their differences; none of them where a class has no image."""
    if not images.has_both_classes():
        return {}
    truth, sources = images.truth, images.sources

    def statistics(weights: FloatArray) -> dict[str, FloatArray]:
        one, two = (metrics.weighted_roc_auc(truth, scores, weights) for scores in (images.probability, other))
        within_one, within_two = (
            metrics.weighted_within_source_auc(truth, scores, sources, weights)
            for scores in (images.probability, other)
        )
        return {
            "auc_first": one,
            "auc_second": two,
            "auc_difference": one - two,
            "within_source_difference": within_one - within_two,
        }

    found = cluster_bootstrap(statistics, images.groups, n_resamples=n_resamples, seed=seed)
    kinds = dict.fromkeys(found, "roc_auc") | {"within_source_difference": "within_source_auc"}
    return {name: honest(kinds[name], estimate, images) for name, estimate in found.items()}


def _placements(truth: BoolArray, scores: FloatArray) -> FloatArray:
    """The structural components (n,): the share of the images of the other class that each image is on the right side of.

    A tie counts half. The mean over the images of either class is the area under the ROC curve.
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
    covid_images, other_images, covid, other = totals.T
    terms = (
        (np.sum(covid**2) / covid_images.sum() ** 2, np.count_nonzero(covid_images)),
        (np.sum(other**2) / other_images.sum() ** 2, np.count_nonzero(other_images)),
        (2 * np.sum(covid * other) / (covid_images.sum() * other_images.sum()), len(totals)),
    )
    return float(sum(term * count / (count - 1) for term, count in terms))
