"""Diagnostic figures of a two-class reader, as pure functions on arrays.

Knows the class order (`covid_core.labels.CLASSES`: index 0 non_covid, index 1 covid) and nothing of tables, patients or
intervals. The positive class is covid. A figure that is not defined (a share of nothing) is None for one matrix and NaN
within an array of many; NaN never leaves this package in a report.

The same formulas serve one set of films and thousands of its resamples: a resample is a weighting of the films, so
every formula takes counts or weights with leading axes. That way a value and its interval cannot follow different
definitions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from covid_core.evaluation.checks import flags
from covid_core.labels import CLASS_INDICES, CLASSES, COVID, NON_COVID, Label

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class ClassScores:
    """One row of a classification report; shares in [0, 1], None where there is nothing to divide by.

    Attributes:
        precision: of the films called this class, the share that are.
        recall: of the films of this class, the share called so.
        f1: harmonic mean of the two; None for a class without films.
        support: films of this class by the reference standard.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class Curve:
    """A curve over thresholds: three arrays (k,) of equal length, thresholds falling."""

    x: FloatArray
    y: FloatArray
    thresholds: FloatArray


def is_called(probability_covid: ArrayLike, threshold: float) -> BoolArray:
    """Tell which films are called covid: those with `probability_covid` (n,) at or above the threshold."""
    return np.asarray(probability_covid, np.float64) >= threshold


def confusion_matrix(labels: ArrayLike, called: ArrayLike) -> NDArray[np.int64]:
    """Count films by reference standard and call.

    Args:
        labels: bool or 0/1 (n,); true for covid by the reference standard.
        called: bool or 0/1 (n,); true for films called covid.

    Returns:
        int64 (2, 2); rows are the reference standard, columns the call, both in class order: `[[TN, FP], [FN, TP]]`.
    """
    truth, call = flags("labels", labels), flags("called", called)
    if truth.shape != call.shape:
        raise ValueError(f"`labels` and `called` must have the same length. Received: {truth.size}, {call.size}")
    return np.bincount(2 * truth.astype(np.int64) + call, minlength=4).reshape(2, 2)


def rates(matrix: ArrayLike) -> dict[str, FloatArray]:
    """Compute every figure that a confusion matrix gives.

    Args:
        matrix: counts or weights (..., 2, 2) as of `confusion_matrix`.

    Returns:
        name -> float64 (...), NaN where undefined. F1 of a class without films is undefined, of a class that is never
        called right it is 0.
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


def sensitivity(matrix: ArrayLike) -> float | None:
    """Of the covid films, the share called covid: TP / (TP + FN)."""
    return _rate("sensitivity", matrix)


def specificity(matrix: ArrayLike) -> float | None:
    """Of the non_covid films, the share not called covid: TN / (TN + FP)."""
    return _rate("specificity", matrix)


def ppv(matrix: ArrayLike) -> float | None:
    """Of the films called covid, the share that are: TP / (TP + FP). Holds only at the prevalence of the films read."""
    return _rate("ppv", matrix)


def npv(matrix: ArrayLike) -> float | None:
    """Of the films not called covid, the share that are not: TN / (TN + FN). Holds only at the prevalence as above."""
    return _rate("npv", matrix)


def accuracy(matrix: ArrayLike) -> float | None:
    """The share of films called right."""
    return _rate("accuracy", matrix)


def balanced_accuracy(matrix: ArrayLike) -> float | None:
    """The mean of sensitivity and specificity; 0.5 is what guessing gives."""
    return _rate("balanced_accuracy", matrix)


def f1_covid(matrix: ArrayLike) -> float | None:
    """The harmonic mean of precision and recall of class covid."""
    return _rate("f1_covid", matrix)


def f1_non_covid(matrix: ArrayLike) -> float | None:
    """The harmonic mean of precision and recall of class non_covid."""
    return _rate("f1_non_covid", matrix)


def lr_positive(matrix: ArrayLike) -> float | None:
    """The positive likelihood ratio, sensitivity / (1 - specificity); None where the specificity is 1."""
    return _rate("lr_positive", matrix)


def lr_negative(matrix: ArrayLike) -> float | None:
    """The negative likelihood ratio, (1 - sensitivity) / specificity; None where the specificity is 0."""
    return _rate("lr_negative", matrix)


def roc_auc(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """The area under the ROC curve, as the Mann-Whitney statistic: P(a covid film scores higher), a tie counting half.

    Args:
        labels: bool or 0/1 (n,), true for covid.
        scores: float (n,), higher for covid.

    Returns:
        A value in [0, 1], or None where a class has no film.
    """
    truth, values = _scored(labels, scores)
    return defined(weighted_roc_auc(truth, values, np.ones((1, truth.size)))[0])


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """The area under the precision-recall curve as a step function: the mean over covid films of the precision there.

    Returns:
        A value in (0, 1], or None where a class has no film (without negatives it is 1 whatever the scores).
    """
    truth, values = _scored(labels, scores)
    return defined(weighted_average_precision(truth, values, np.ones((1, truth.size)))[0])


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> Curve | None:
    """The ROC curve.

    Returns:
        x false positive rate, y true positive rate, from (0, 0) at threshold infinity to (1, 1); one point for each
        distinct score. None where a class has no film.
    """
    truth, values = _scored(labels, scores)
    if not _has_both(truth):
        return None
    positives, negatives, thresholds = _cumulative(truth, values)
    return Curve(
        x=np.append(0.0, negatives / negatives[-1]),
        y=np.append(0.0, positives / positives[-1]),
        thresholds=np.append(np.inf, thresholds),
    )


def pr_curve(labels: ArrayLike, scores: ArrayLike) -> Curve | None:
    """The precision-recall curve.

    Returns:
        x recall, y precision, one point for each distinct score. None where a class has no film.
    """
    truth, values = _scored(labels, scores)
    if not _has_both(truth):
        return None
    positives, negatives, thresholds = _cumulative(truth, values)
    return Curve(x=positives / positives[-1], y=positives / (positives + negatives), thresholds=thresholds)


def weighted_roc_auc(labels: BoolArray, scores: FloatArray, weights: FloatArray) -> FloatArray:
    """`roc_auc` for many weightings of the same films.

    Args:
        labels: bool (n,).
        scores: float64 (n,).
        weights: float64 (b, n), not negative.

    Returns:
        float64 (b,), NaN where a class has no weight.
    """
    positive, negative = _tied_blocks(labels, scores, weights)
    below = np.cumsum(negative, axis=1) - negative
    wins = np.sum(positive * (below + negative / 2), axis=1)
    return _ratio(wins, positive.sum(axis=1) * negative.sum(axis=1))


def weighted_within_source_auc(
    labels: BoolArray, scores: FloatArray, sources: NDArray[np.str_], weights: FloatArray
) -> FloatArray:
    """ROC AUC over the pairs of a covid and another film that come from one source, pooled over the sources.

    A model that recognises the publisher earns nothing here: within a pair it is the same. Sources with one class give no
    pair, and a source counts by how many pairs it gives.

    Args:
        labels: bool (n,).
        scores: float64 (n,).
        sources: str (n,); an empty one is unknown and pairs with no other.
        weights: float64 (b, n), not negative.

    Returns:
        float64 (b,), NaN where no pair has weight.
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
    """`average_precision` for many weightings of the same films; arguments and result as `weighted_roc_auc`."""
    positive, negative = (blocks[:, ::-1] for blocks in _tied_blocks(labels, scores, weights))
    hits, false_alarms = np.cumsum(positive, axis=1), np.cumsum(negative, axis=1)
    precision = np.nan_to_num(_ratio(hits, hits + false_alarms))  # no weight so far: adds nothing to the sum below
    area = _ratio(np.sum(positive * precision, axis=1), positive.sum(axis=1))
    return np.where(negative.sum(axis=1) > 0, area, np.nan)


def weighted_confusion(labels: BoolArray, called: BoolArray, weights: FloatArray) -> FloatArray:
    """`confusion_matrix` for many weightings (b, n) of the same films: float64 (b, 2, 2)."""
    cell = 2 * labels.astype(np.int64) + called
    return (weights @ np.eye(4)[cell]).reshape(-1, 2, 2)


def classification_report(matrix: ArrayLike) -> dict[Label, ClassScores]:
    """Precision, recall, F1 and support of each class.

    Args:
        matrix: counts (2, 2) as of `confusion_matrix`.

    Returns:
        class name -> scores, in class order. Row `covid` has precision = PPV and recall = sensitivity, row
        `non_covid` has precision = NPV and recall = specificity.
    """
    counts = np.asarray(matrix)
    support = counts.sum(axis=1)
    rows: dict[Label, tuple[float | None, float | None, float | None]] = {
        NON_COVID: (npv(counts), specificity(counts), f1_non_covid(counts)),
        COVID: (ppv(counts), sensitivity(counts), f1_covid(counts)),
    }
    return {name: ClassScores(*rows[name], support=int(support[CLASS_INDICES[name]])) for name in CLASSES}


def format_classification_report(report: Mapping[Label, ClassScores]) -> str:
    """Lay the report out as scikit-learn does, classes in order; `-` stands for an undefined value.

    Args:
        report: as of `classification_report`.

    Returns:
        A table of several lines, the last without a newline.
    """
    macro, weighted = averages(report)
    total = macro.support
    width = max(len("weighted avg"), *(len(name) for name in report))
    right = sum((row.recall or 0.0) * row.support for row in report.values())
    lines = [
        " " * (width + 1) + "".join(f" {title:>9}" for title in ("precision", "recall", "f1-score", "support")),
        "",
    ]
    lines += [
        _report_line(name, width, [row.precision, row.recall, row.f1], row.support) for name, row in report.items()
    ]
    lines += [
        "",
        f"{'accuracy':>{width}} {'':20} {_two_digits(right / total if total else None)} {total:>9}",
        _report_line("macro avg", width, [macro.precision, macro.recall, macro.f1], total),
        _report_line("weighted avg", width, [weighted.precision, weighted.recall, weighted.f1], total),
    ]
    return "\n".join(lines)


def averages(report: Mapping[Label, ClassScores]) -> tuple[ClassScores, ClassScores]:
    """The mean of the classes and the mean weighted by their films, as scikit-learn's report has them; None where undefined."""
    rows = list(report.values())
    supports = [row.support for row in rows]

    def mean(weights: list[int]) -> ClassScores:
        return ClassScores(
            precision=_weighted_mean([row.precision for row in rows], weights),
            recall=_weighted_mean([row.recall for row in rows], weights),
            f1=_weighted_mean([row.f1 for row in rows], weights),
            support=sum(supports),
        )

    return mean([1] * len(rows)), mean(supports)


def _report_line(name: str, width: int, values: list[float | None], support: int) -> str:
    return f"{name:>{width}} " + "".join(f" {_two_digits(value)}" for value in values) + f" {support:>9}"


def _two_digits(value: float | None) -> str:
    return f"{'-':>9}" if value is None else f"{value:>9.2f}"


def _weighted_mean(values: list[float | None], weights: list[int]) -> float | None:
    """The mean of a column, None as soon as a value that counts is."""
    if not sum(weights) or any(value is None and weight for value, weight in zip(values, weights, strict=True)):
        return None
    return sum((value or 0.0) * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)


def _rate(name: str, matrix: ArrayLike) -> float | None:
    return defined(rates(matrix)[name])


def defined(value: ArrayLike) -> float | None:
    """A number, or None for what is not one: JSON has no NaN."""
    number = float(np.asarray(value))
    return number if np.isfinite(number) else None


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def _scored(labels: ArrayLike, scores: ArrayLike) -> tuple[BoolArray, FloatArray]:
    truth, values = flags("labels", labels), np.asarray(scores, np.float64)
    if truth.shape != values.shape or not np.isfinite(values).all():
        raise ValueError(f"`scores` must be {truth.size} finite numbers, one for each label. Received: {values!r}")
    return truth, values


def _has_both(labels: BoolArray) -> bool:
    return bool(labels.any()) and not bool(labels.all())


def _tied_blocks(labels: BoolArray, scores: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The weight of covid and of other films at each distinct score, rising: float64 (b, k) each."""
    if not scores.size:
        return np.zeros((len(weights), 0)), np.zeros((len(weights), 0))
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(scores[order]) > 0))
    ordered = weights[:, order]
    positive = np.add.reduceat(ordered * labels[order], starts, axis=1)
    return positive, np.add.reduceat(ordered, starts, axis=1) - positive


def _cumulative(labels: BoolArray, scores: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Covid films and other films at or above each distinct score, and these scores, falling: float64 (k,) each."""
    positive, negative = _tied_blocks(labels, scores, np.ones((1, labels.size)))
    return np.cumsum(positive[0, ::-1]), np.cumsum(negative[0, ::-1]), np.unique(scores)[::-1]
