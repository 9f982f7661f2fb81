"""Diagnostic figures of a two-class reader, as pure functions on arrays; the positive class is covid.

A figure that is not defined (a share of nothing) is None for one matrix and NaN within an array of many. A resample is a
weighting of the images, so every formula takes counts or weights with leading axes: value and interval follow one definition.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from covid_core.evaluation.checks import flags
from covid_core.labels import CLASS_INDICES, CLASSES, COVID, NON_COVID, Label

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class ClassScores:
    """One row of a classification report; shares in [0, 1], None where there is nothing to divide by; F1 None without images."""

    precision: float | None
    recall: float | None
    f1: float | None
    support: int


def is_called(probability_covid: ArrayLike, threshold: float) -> BoolArray:
    """Tell which images are called covid: those with `probability_covid` (n,) at or above the threshold."""
    return np.asarray(probability_covid, np.float64) >= threshold


def confusion_matrix(labels: ArrayLike, called: ArrayLike) -> NDArray[np.int64]:
    """Count images (n,) by reference standard (rows) and call (columns), true for covid: int64 `[[TN, FP], [FN, TP]]`."""
    truth, call = flags("labels", labels), flags("called", called)
    if truth.shape != call.shape:
        raise ValueError(f"`labels` and `called` must have the same length. Received: {truth.size}, {call.size}")
    return np.bincount(2 * truth.astype(np.int64) + call, minlength=4).reshape(2, 2)


def rates(matrix: ArrayLike) -> dict[str, FloatArray]:
    """Every figure that matrices (..., 2, 2) of counts or weights give: name -> float64 (...), NaN where undefined.

    F1 of a class without images is undefined, of a class that is never called right it is 0.
    """
    counts = np.asarray(matrix, np.float64)
    tn, fp, fn, tp = counts[..., 0, 0], counts[..., 0, 1], counts[..., 1, 0], counts[..., 1, 1]
    sensitivity, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": _ratio(tp, tp + fp),
        "npv": _ratio(tn, tn + fn),
        "accuracy": _ratio(tn + tp, tn + fp + fn + tp),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "f1_covid": np.where(tp + fn > 0, _ratio(2 * tp, 2 * tp + fp + fn), np.nan),
        "f1_non_covid": np.where(tn + fp > 0, _ratio(2 * tn, 2 * tn + fp + fn), np.nan),
        "lr_positive": _ratio(sensitivity, 1 - specificity),
        "lr_negative": _ratio(1 - sensitivity, specificity),
    }


def roc_auc(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """The area under the ROC curve: P(a covid image scores higher), a tie counting half; None where a class has no image."""
    truth, values = flags("labels", labels), np.asarray(scores, np.float64)
    if truth.shape != values.shape or not np.isfinite(values).all():
        raise ValueError(f"`scores` must be {truth.size} finite numbers, one for each label. Received: {values!r}")
    return defined(weighted_roc_auc(truth, values, np.ones((1, truth.size)))[0])


def weighted_roc_auc(labels: BoolArray, scores: FloatArray, weights: FloatArray) -> FloatArray:
    """`roc_auc` for many weightings (b, n), not negative, of the same images: float64 (b,), NaN where a class has no weight."""
    positive, negative = _tied_blocks(labels, scores, weights)
    below = np.cumsum(negative, axis=1) - negative
    wins = np.sum(positive * (below + negative / 2), axis=1)
    return _ratio(wins, positive.sum(axis=1) * negative.sum(axis=1))


def weighted_within_source_auc(
    labels: BoolArray, scores: FloatArray, sources: NDArray[np.str_], weights: FloatArray
) -> FloatArray:
    """ROC AUC over the pairs of a covid and another image that come from one source, pooled over the sources: float64 (b,).

    A model that recognises the publisher earns nothing here: within a pair it is the same. Sources with one class give no
    pair, and a source counts by how many pairs it gives. An empty source is unknown and pairs with no other; without any pair
    the figure is NaN.
    """
    wins, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for source in np.unique(sources[sources != ""]):
        positive, negative = labels & (sources == source), ~labels & (sources == source)
        if positive.any() and negative.any():
            difference = scores[positive][:, None] - scores[negative]
            won = (difference > 0) + 0.5 * (difference == 0)
            wins += np.einsum("bp,pn,bn->b", weights[:, positive], won, weights[:, negative], optimize=True)
            pairs += weights[:, positive].sum(axis=1) * weights[:, negative].sum(axis=1)
    return _ratio(wins, pairs)


def weighted_average_precision(labels: BoolArray, scores: FloatArray, weights: FloatArray) -> FloatArray:
    """Mean over covid images of the precision at their score, for many weightings; arguments and result as `weighted_roc_auc`."""
    positive, negative = (blocks[:, ::-1] for blocks in _tied_blocks(labels, scores, weights))
    hits, false_alarms = np.cumsum(positive, axis=1), np.cumsum(negative, axis=1)
    precision = np.nan_to_num(_ratio(hits, hits + false_alarms))  # no weight so far: adds nothing to the sum below
    area = _ratio(np.sum(positive * precision, axis=1), positive.sum(axis=1))
    return np.where(negative.sum(axis=1) > 0, area, np.nan)


def weighted_confusion(labels: BoolArray, called: BoolArray, weights: FloatArray) -> FloatArray:
    """`confusion_matrix` for many weightings (b, n) of the same images: float64 (b, 2, 2)."""
    cell = 2 * labels.astype(np.int64) + called
    return (weights @ np.eye(4)[cell]).reshape(-1, 2, 2)


def classification_report(matrix: ArrayLike) -> dict[Label, ClassScores]:
    """Precision, recall, F1 and support of each class, in class order, from counts (2, 2) as of `confusion_matrix`.

    Row `covid` has precision = PPV and recall = sensitivity, row `non_covid` has precision = NPV and recall = specificity.
    """
    found, support = rates(matrix), np.asarray(matrix).sum(axis=1)
    columns = {NON_COVID: ("npv", "specificity", "f1_non_covid"), COVID: ("ppv", "sensitivity", "f1_covid")}
    report: dict[Label, ClassScores] = {}
    for name in CLASSES:
        precision, recall, f1 = (defined(found[column]) for column in columns[name])
        report[name] = ClassScores(precision, recall, f1, int(support[CLASS_INDICES[name]]))
    return report


def format_classification_report(matrix: ArrayLike) -> str:
    """The report of counts (2, 2) as scikit-learn prints it, classes in order; `-` stands for an undefined value."""
    from sklearn import metrics  # noqa: PLC0415  takes a second, which no page should wait for

    counts = np.asarray(matrix).ravel()
    truth, called = np.repeat([0, 0, 1, 1], counts), np.repeat([0, 1, 0, 1], counts)
    report = metrics.classification_report(truth, called, labels=[0, 1], target_names=CLASSES, zero_division=np.nan)
    return cast(str, report).rstrip().replace("nan", "  -")


def averages(report: Mapping[Label, ClassScores]) -> tuple[ClassScores, ClassScores]:
    """The mean of the classes and the mean weighted by their images, as in scikit-learn's report; None where undefined."""
    shares = np.array([[row.precision, row.recall, row.f1] for row in report.values()], np.float64)  # None becomes NaN
    supports = np.array([row.support for row in report.values()])

    def mean(weights: NDArray[np.int64]) -> ClassScores:
        counted = np.where(weights[:, None] > 0, shares * weights[:, None], 0).sum(axis=0)
        with np.errstate(invalid="ignore"):  # 0 / 0 without images
            precision, recall, f1 = (defined(one) for one in counted / weights.sum())
        return ClassScores(precision, recall, f1, int(supports.sum()))

    return mean(np.ones_like(supports)), mean(supports)


def defined(value: ArrayLike) -> float | None:
    """A number, or None for what is not one: JSON has no NaN."""
    number = float(np.asarray(value))
    return number if np.isfinite(number) else None


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def _tied_blocks(labels: BoolArray, scores: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The weight of covid and of other images at each distinct score, rising: float64 (b, k) each."""
    if not scores.size:
        return np.zeros((len(weights), 0)), np.zeros((len(weights), 0))
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(scores[order]) > 0))
    ordered = weights[:, order]
    positive = np.add.reduceat(ordered * labels[order], starts, axis=1)
    return positive, np.add.reduceat(ordered, starts, axis=1) - positive
