"""Every metric as a function of weights, resampled by patient, held to the images it rests on.

A metric that is undefined or rests on too few patients says so in its note.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from covid_core.evaluation import calibration, intervals, metrics
from covid_core.evaluation.intervals import Estimate
from covid_core.evaluation.predictions import Predictions
from covid_core.labels import COVID, NON_COVID

FloatArray = NDArray[np.float64]

CALL_METRICS = (
    *("sensitivity", "specificity", "ppv", "npv", "accuracy", "balanced_accuracy"),
    *("f1_covid", "f1_non_covid", "lr_positive", "lr_negative"),
)
"""Those that depend on the threshold."""
METRICS = (
    *CALL_METRICS,
    *("roc_auc", "pooled_auc", "within_source_auc", "pr_auc"),
    *("brier", "calibration_intercept", "calibration_slope", "ece"),
)
"""The names in `metrics` of an evaluation, in the order they are shown."""
_ONE_CLASS = frozenset({"sensitivity", "specificity", "accuracy", "brier"})
_SHARES = frozenset({"sensitivity", "specificity", "ppv", "npv", "accuracy"})
_CALIBRATION_LINE = frozenset({"calibration_intercept", "calibration_slope"})


def all_metrics(images: Predictions, *, n_resamples: int, seed: int) -> dict[str, Estimate]:
    """Every one of `METRICS`, in their order."""
    found = _estimates(_weighted_metrics, images, n_resamples=n_resamples, seed=seed)
    found["ece"] = _calibration_error(images)
    return {name: found[name] for name in METRICS}


def threshold_metrics(images: Predictions, *, n_resamples: int, seed: int) -> dict[str, Estimate]:
    """Those of `all_metrics` that depend on the call (`CALL_METRICS`), in their order and with the same values and bounds.

    Fast enough for a slider: the images of a group are counted once, and only groups are resampled.
    """
    cell = 2 * images.truth.astype(np.int64) + images.called  # of a confusion matrix laid flat
    names, cells = intervals.totals_by_group(images.groups, np.eye(4)[cell])
    estimates = intervals.cluster_bootstrap(
        lambda weights: _rates_of_both_classes(weights @ cells), names, n_resamples=n_resamples, seed=seed
    )
    return {name: honest(name, estimates[name], images) for name in CALL_METRICS}


def area_metrics(images: Predictions, *, n_resamples: int, seed: int) -> dict[str, Estimate]:
    """`roc_auc`, `pooled_auc` and `within_source_auc`, which need no threshold and no calibration."""
    return _estimates(weighted_areas, images, n_resamples=n_resamples, seed=seed)


def _estimates(
    statistics: Callable[[Predictions, FloatArray], Mapping[str, FloatArray]],
    images: Predictions,
    *,
    n_resamples: int,
    seed: int,
) -> dict[str, Estimate]:
    estimates = intervals.cluster_bootstrap(
        lambda weights: statistics(images, weights), images.groups, n_resamples=n_resamples, seed=seed
    )
    return {name: honest(name, estimate, images) for name, estimate in estimates.items()}


def _weighted_metrics(images: Predictions, weights: FloatArray) -> dict[str, FloatArray]:
    """Every metric that has an interval, for weights (b, n): name -> (b,), NaN where undefined."""
    values = _rates_of_both_classes(metrics.weighted_confusion(images.truth, images.called, weights))
    values |= weighted_areas(images, weights)
    values["pr_auc"] = metrics.weighted_average_precision(images.truth, images.probability, weights)
    values["brier"] = calibration.weighted_brier(
        images.truth, images.probability, weights, prevalence=images.prevalence
    )
    values["calibration_intercept"], values["calibration_slope"] = calibration.weighted_calibration_line(
        images.truth, images.probability, weights, prevalence=images.prevalence
    )
    return values


def _rates_of_both_classes(cells: FloatArray) -> dict[str, FloatArray]:
    """The rates of confusion matrices, (b, 2, 2) or flat (b, 4): name -> (b,), NaN where undefined.

    What compares the classes is undefined where one of them has no weight: a PPV of 1 without negatives is no merit.
    """
    matrices = cells.reshape(-1, 2, 2)
    both = (matrices.sum(axis=2) > 0).all(axis=1)
    rates = metrics.rates(matrices)
    return {name: value if name in _ONE_CLASS else np.where(both, value, np.nan) for name, value in rates.items()}


def weighted_areas(images: Predictions, weights: FloatArray) -> dict[str, FloatArray]:
    """AUCs; of a cross-validation over the pairs of one fold, as the scores of different models are not on one scale."""
    pooled = metrics.weighted_roc_auc(images.truth, images.probability, weights)
    within_fold = (
        pooled
        if images.folds is None
        else metrics.weighted_within_source_auc(images.truth, images.probability, images.folds, weights)
    )
    return {
        "roc_auc": within_fold,
        "pooled_auc": pooled,
        "within_source_auc": metrics.weighted_within_source_auc(
            images.truth, images.probability, images.source_strata, weights
        ),
    }


def _calibration_error(images: Predictions) -> Estimate:
    bins = calibration.reliability_bins(images.truth, images.probability, prevalence=images.prevalence)
    value = calibration.expected_calibration_error(bins)
    note = "No interval: a mean of absolute values; a resampled interval would be biased."
    if value is None:
        note = _one_class_note(images)
    return Estimate(value, None, None, intervals.NO_INTERVAL, images.truth.size, note=note)


def honest(name: str, estimate: Estimate, images: Predictions) -> Estimate:
    """Hold a bootstrap estimate of the metric `name` to the images it rests on, and say why it is undefined."""
    bases = _bases(name, images)
    estimate = intervals.resting_on(
        estimate,
        n=int(np.any(bases, axis=0).sum()),
        patients=min(np.unique(images.groups[base]).size for base in bases),
        is_share=name in _SHARES,
    )
    return replace(estimate, note=_undefined_note(name, images)) if estimate.value is None else estimate


def _bases(name: str, images: Predictions) -> list[NDArray[np.bool_]]:
    """The images a metric rests on: one mask (n,), or one for each class where it compares them."""
    single = {
        "sensitivity": images.truth,
        "specificity": ~images.truth,
        "ppv": images.called,
        "npv": ~images.called,
        "accuracy": np.ones_like(images.truth),
    }
    if name in single:
        return [single[name]]
    if name == "brier" and images.prevalence is None:
        return [np.ones_like(images.truth)]
    if name == "within_source_auc":
        paired = np.isin(images.sources, images.paired_sources())
        return [images.truth & paired, ~images.truth & paired]
    return [images.truth, ~images.truth]


def _undefined_note(name: str, images: Predictions) -> str:
    if not images.has_both_classes():
        return _one_class_note(images)
    if name == "within_source_auc":
        return "Not defined: no source has images of both classes."
    if name in _CALIBRATION_LINE:
        return "Not defined: the probabilities separate the classes, or are all the same."
    return "Not defined: its denominator is 0."


def _one_class_note(images: Predictions) -> str:
    return f"Not defined: there is no {NON_COVID if images.truth.all() else COVID} image."
