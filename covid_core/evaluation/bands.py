"""Curves with a pointwise band around them, resampled by patient as the single figures are."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from covid_core.evaluation.intervals import LEVEL, MIN_GROUPS, Band, caution, few_groups, group_draws
from covid_core.evaluation.predictions import Predictions

FloatArray = NDArray[np.float64]
Curves = Callable[[FloatArray], FloatArray]
"""A curve of weighted observations: weights float64 (b, n) -> float64 (b, g), a row of NaN where it is undefined."""

_CLOSE = 1e-9  # 58 of 200 images are at 0.29, whatever the last digit says


def roc_band(images: Predictions, *, n_resamples: int, seed: int) -> Band | None:
    """The ROC curve: sensitivity over the false positive rate, at 0, 0.01, ... 1, with 95 % bounds; None without a class.

    Between two points of the empirical curve it is interpolated linearly, as its area is; where the curve rises without
    further false positives, the value is the top of that step.
    """
    if not images.has_both_classes():
        return None
    rates = np.linspace(0, 1, 101)
    return resampled_band(
        rates, lambda weights: _sensitivity_at(images, weights, rates), images, n_resamples=n_resamples, seed=seed
    )


def pr_band(images: Predictions, *, n_resamples: int, seed: int) -> Band | None:
    """The precision-recall curve: precision over recall, at 0.01, 0.02, ... 1, with 95 % bounds; None where a class has no image.

    The value is the precision at the highest threshold that has the recall: steps, as in average precision. A straight line
    between two points would promise a precision that no threshold has (J. Davis and M. Goadrich, ICML 2006, 233). The
    precision holds at the prevalence of the images, and each resample has its own.
    """
    if not images.has_both_classes():
        return None
    recalls = np.arange(1, 101) / 100
    return resampled_band(
        recalls, lambda weights: _precision_at(images, weights, recalls), images, n_resamples=n_resamples, seed=seed
    )


def band_note(images: Predictions) -> str | None:
    """The sentence on why a band of these images is missing, or too narrow; None where there is nothing to say."""
    patients = _patients(images)
    return few_groups(patients) if patients < MIN_GROUPS else caution(patients)


def resampled_band(
    x: FloatArray, curves: Curves, images: Predictions, *, groups: ArrayLike | None = None, n_resamples: int, seed: int
) -> Band:
    """A curve over the grid `x` (g,), with percentile bounds from resampling whole groups (n,); the images' own for None.

    The draws are those of `intervals.cluster_bootstrap`. The bounds are NaN below `MIN_GROUPS` patients of either class, where
    the curve is undefined in more than half of the resamples, and where it is the same in all of them.
    """
    names, membership = np.unique(np.asarray(images.groups if groups is None else groups), return_inverse=True)
    value = curves(np.ones((1, membership.size)))[0]
    none = np.full(value.shape, np.nan)
    if _patients(images) < MIN_GROUPS:
        return Band(x, value, none, none)
    draws = np.concatenate(
        [
            curves(times[:, membership].astype(np.float64))
            for times in group_draws(len(names), n_resamples=n_resamples, seed=seed)
        ]
    )
    defined = draws[np.isfinite(draws).all(axis=1)]
    if 2 * len(defined) < len(draws) or np.ptp(defined, axis=0).max() <= _CLOSE:
        return Band(x, value, none, none)
    lower, upper = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return Band(x, value, lower, upper)


def _patients(images: Predictions) -> int:
    """The groups of the class that has fewer."""
    return min(np.unique(images.groups[of_class]).size for of_class in (images.truth, ~images.truth))


def _sensitivity_at(images: Predictions, weights: FloatArray, rates: FloatArray) -> FloatArray:
    """Sensitivity at false positive rates (g,) in [0, 1], for weights (b, n): float64 (b, g)."""
    covid, other = (np.pad(counts, ((0, 0), (1, 0))) for counts in _at_or_above_thresholds(images, weights))
    x, y = _share_of_last(other), _share_of_last(covid)
    last = _count_below(x, rates + _CLOSE) - 1
    following = np.minimum(last + 1, x.shape[1] - 1)
    (x_last, x_next), (y_last, y_next) = ((_taken(of, last), _taken(of, following)) for of in (x, y))
    gap = x_next - x_last
    way = np.clip((rates - x_last) / np.where(gap > 0, gap, 1), 0, 1)
    return _where_both_classes(covid, other, y_last + way * (y_next - y_last))


def _precision_at(images: Predictions, weights: FloatArray, recalls: FloatArray) -> FloatArray:
    """Precision at recalls (g,) in (0, 1], for weights (b, n): float64 (b, g)."""
    covid, other = _at_or_above_thresholds(images, weights)
    first = np.minimum(_count_below(_share_of_last(covid), recalls - _CLOSE), covid.shape[1] - 1)
    hits, false_alarms = _taken(covid, first), _taken(other, first)
    return _where_both_classes(covid, other, hits / np.maximum(hits + false_alarms, 1))


def _at_or_above_thresholds(images: Predictions, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weight of the covid images and of the others at or above each distinct probability, falling: float64 (b, k) each."""
    order = np.argsort(-images.probability, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(images.probability[order]) != 0, True))
    truth, ordered = images.truth[order], weights[:, order]
    return np.cumsum(ordered * truth, axis=1)[:, ends], np.cumsum(ordered * ~truth, axis=1)[:, ends]


def _share_of_last(counts: FloatArray) -> FloatArray:
    """Running counts (b, k) as shares of the whole; 0 where there is nothing."""
    return counts / np.maximum(counts[:, -1:], 1)


def _count_below(shares: FloatArray, x: FloatArray) -> NDArray[np.int64]:
    """How many of each row's rising shares (b, k) in [0, 1] are below each x (g,): int64 (b, g).

    All rows in one search: each is lifted above the one before.
    """
    lift = 2.0 * np.arange(len(shares))[:, None]
    found = np.searchsorted((shares + lift).ravel(), x + lift)
    return np.asarray(found - shares.shape[1] * np.arange(len(shares))[:, None], np.int64)


def _taken(values: FloatArray, positions: NDArray[np.int64]) -> FloatArray:
    return np.take_along_axis(values, positions, axis=1)


def _where_both_classes(covid: FloatArray, other: FloatArray, curves: FloatArray) -> FloatArray:
    """The curves (b, g), NaN in the rows where a class has no weight."""
    return np.where((covid[:, -1:] > 0) & (other[:, -1:] > 0), curves, np.nan)
