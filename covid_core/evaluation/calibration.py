"""From a model's raw output to a probability one can take at its word, and how well that holds.

Knows arrays and NumPy only, as it also serves. A probability means nothing without the share of covid films it assumes,
the prevalence: a calibration states it, and every check here can weight the two classes to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from covid_core.errors import EvaluationError
from covid_core.evaluation.intervals import wilson

FloatArray = NDArray[np.float64]
Method = Literal["none", "platt"]

N_BINS = 10
_CLIP = 1e-6  # a float32 sigmoid saturates at 1 - 6e-8; beyond this a logit carries no information
_MAX_STEPS = 100
_MIN_SPREAD = 1e-9  # of the logits: a constant output cannot be calibrated
_MAX_SLOPE = 1e6  # of a curve that has become a step


@dataclass(frozen=True)
class Calibration:
    """How a raw output becomes a probability.

    Attributes:
        method: `none` leaves the raw output as it is, `platt` takes logistic(slope * logit(raw) + intercept).
        slope: above 0, so that the order of the films stays.
        intercept: log odds at a raw output of 0.5.
        prevalence: the share of covid films the probability assumes, in (0, 1); None for method `none`, where it is
            unknown.
        fitted_on: which films it was fitted on, in words.
        n: how many these were.
        note: why the method is `none` although a fit was asked for, else None.
    """

    method: Method
    slope: float
    intercept: float
    prevalence: float | None
    fitted_on: str
    n: int
    note: str | None = None

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise EvaluationError(f"A calibration has the method none or platt. Received: {self.method!r}")
        if not (0 < self.slope < np.inf) or not np.isfinite(self.intercept):
            raise EvaluationError(
                f"A calibration has a slope above 0 and a finite intercept. Received: {self.slope}, {self.intercept}"
            )

    def apply(self, probability_raw: ArrayLike) -> FloatArray:
        """Calibrate raw outputs.

        Args:
            probability_raw: values in [0, 1], of any shape.

        Returns:
            P(covid), float64 in [0, 1], of the same shape.
        """
        raw = _unit_interval("probability_raw", probability_raw)
        if self.method == "none":
            return raw
        return _logistic(self.slope * _logit(raw) + self.intercept)

    def to_json(self) -> dict[str, Any]:
        """The calibration as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Calibration":
        """Rebuild a calibration from what `to_json` gave.

        Raises:
            EvaluationError: a field is missing or of another kind, or the method is unknown.
        """
        try:
            prevalence, note = value["prevalence"], value.get("note")
            return cls(
                method=value["method"],
                slope=float(value["slope"]),
                intercept=float(value["intercept"]),
                prevalence=None if prevalence is None else float(prevalence),
                fitted_on=str(value["fitted_on"]),
                n=int(value["n"]),
                note=None if note is None else str(note),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as cause:
            raise EvaluationError(f"A calibration is incomplete or damaged. Received: {value!r}") from cause


def no_calibration(*, fitted_on: str = "nothing", n: int = 0, note: str | None = None) -> Calibration:
    """The calibration that leaves the raw output as it is."""
    return Calibration("none", slope=1.0, intercept=0.0, prevalence=None, fitted_on=fitted_on, n=n, note=note)


def fit_platt(probability_raw: ArrayLike, labels: ArrayLike, *, prevalence: float = 0.5, fitted_on: str) -> Calibration:
    """Fit Platt's logistic curve to held-out raw outputs.

    Source: J. Platt, Probabilistic outputs for support vector machines, in Advances in Large Margin Classifiers
    (1999), with his smoothed targets (N+ + 1) / (N+ + 2) and 1 / (N- + 2); Newton's method with halved steps as in
    Lin, Lin and Weng, Machine Learning 68 (2007) 267. The classes are weighted to `prevalence`, whatever their shares
    in the data: those of a collection of published cases are those of no hospital. (The smoothed targets pull towards
    0.5, the rarer class more; with 30 films or more a class, the prevalence is off by at most 0.03.)

    With equally common classes (0.5), and as far as the calibration holds, the threshold 0.5 is the one that maximises
    Youden's J = sensitivity + specificity - 1: there the two classes' densities are equal.

    Args:
        probability_raw: float (n,) in [0, 1], on films the model was not trained on.
        labels: bool or 0/1 (n,), true for covid.
        prevalence: share of covid films the result shall assume, in (0, 1).
        fitted_on: which films these are, in words.

    Returns:
        A calibration of method `platt`, or `none` with a note where a class has no film, all outputs are the same, or
        the curve would fall (a slope of 0 or below would turn the model's order around).
    """
    raw, truth = _unit_interval("probability_raw", probability_raw), np.asarray(labels).astype(np.bool_)
    if raw.ndim != 1 or raw.shape != truth.shape:
        raise ValueError(f"`probability_raw` and `labels` must be (n,) both. Received: {raw.shape}, {truth.shape}")
    if not 0 < prevalence < 1:
        raise ValueError(f"`prevalence` must be in (0, 1). Received: {prevalence}")
    n, positives = truth.size, int(truth.sum())
    if positives in {0, n}:
        return no_calibration(fitted_on=fitted_on, n=n, note="Not calibrated: a class has no film.")
    logits = _logit(raw)
    if np.ptp(logits) < _MIN_SPREAD:
        return no_calibration(fitted_on=fitted_on, n=n, note="Not calibrated: the model's outputs are all the same.")
    targets = np.where(truth, (positives + 1) / (positives + 2), 1 / (n - positives + 2))
    slope, intercept = _newton(logits, targets, class_weights(truth, prevalence))
    if not 0 < slope < _MAX_SLOPE:
        return no_calibration(
            fitted_on=fitted_on, n=n, note="Not calibrated: on these films a higher output does not mean more COVID-19."
        )
    return Calibration("platt", slope, intercept, prevalence, fitted_on, n)


def class_weights(labels: ArrayLike, prevalence: float | None) -> FloatArray:
    """Weights that make covid as common as `prevalence` says.

    Args:
        labels: bool (n,) with both classes present.
        prevalence: in (0, 1); None weighs every film 1.

    Returns:
        float64 (n,), summing to n.
    """
    truth = np.asarray(labels).astype(np.bool_)
    if prevalence is None:
        return np.ones(truth.size)
    share = float(truth.mean())
    if share in {0.0, 1.0}:
        raise ValueError("Films of one class alone cannot be weighted to a prevalence.")
    return np.asarray(np.where(truth, prevalence / share, (1 - prevalence) / (1 - share)), np.float64)


def brier_score(labels: ArrayLike, probability: ArrayLike, *, prevalence: float | None = None) -> float | None:
    """The mean squared difference of probability and outcome: 0 is perfect, 0.25 is what 0.5 for all films gives.

    Args:
        labels: bool or 0/1 (n,), true for covid.
        probability: P(covid), float (n,) in [0, 1].
        prevalence: what the probabilities assume; the classes are weighted to it. None takes the films as they are.

    Returns:
        A value in [0, 1], None without films or where one class alone was to be weighted.
    """
    truth, values = np.asarray(labels).astype(np.bool_), _unit_interval("probability", probability)
    if not _can_be_weighted(truth, prevalence):
        return None
    return float(np.average((values - truth) ** 2, weights=class_weights(truth, prevalence)))


@dataclass(frozen=True)
class ReliabilityBin:
    """Films of neighbouring probabilities.

    Attributes:
        low: the lowest probability among them.
        high: the highest.
        predicted: their mean probability.
        observed: the share that are covid.
        lower: lower bound of that share, Wilson 95 % (films taken as independent).
        upper: upper bound, likewise.
        n: number of films.
        weight: their share in the whole.
    """

    low: float
    high: float
    predicted: float
    observed: float
    lower: float
    upper: float
    n: int
    weight: float


def reliability_bins(
    labels: ArrayLike, probability: ArrayLike, *, prevalence: float | None = None, n_bins: int = N_BINS
) -> list[ReliabilityBin]:
    """Compare probability and outcome in bins of (nearly) equally many films.

    Equal counts, not equal widths: the probabilities of a small part crowd together, and bins of equal width would
    hold two films here and fifty there. Equal probabilities stay in one bin, so there may be fewer bins than asked
    for.

    Args:
        labels: bool or 0/1 (n,), true for covid.
        probability: P(covid), float (n,) in [0, 1].
        prevalence: what the probabilities assume; shares, means and bounds are weighted to it. None takes the films as
            they are.
        n_bins: number of bins asked for.

    Returns:
        The bins that hold films, probabilities rising; none where one class alone was to be weighted.
    """
    truth, values = np.asarray(labels).astype(np.bool_), _unit_interval("probability", probability)
    if not _can_be_weighted(truth, prevalence):
        return []
    weights = class_weights(truth, prevalence)
    edges = np.unique(np.quantile(values, np.arange(1, n_bins) / n_bins, method="inverted_cdf"))
    membership = np.searchsorted(edges, values, side="left")
    bins = []
    for index in np.unique(membership):
        inside = membership == index
        interval = wilson(int(truth[inside].sum()), int(inside.sum()))
        bins.append(
            ReliabilityBin(
                low=float(values[inside].min()),
                high=float(values[inside].max()),
                predicted=float(np.average(values[inside], weights=weights[inside])),
                observed=float(np.average(truth[inside], weights=weights[inside])),
                lower=_shifted(interval.lower, truth.mean(), prevalence),
                upper=_shifted(interval.upper, truth.mean(), prevalence),
                n=int(inside.sum()),
                weight=float(weights[inside].sum() / weights.sum()),
            )
        )
    return bins


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float | None:
    """The mean distance of predicted and observed share over the bins, weighted by their films; None without bins.

    It is biased upwards on few films: chance alone separates the two in a bin of ten.
    """
    if not bins:
        return None
    return sum(one.weight * abs(one.predicted - one.observed) for one in bins)


def _newton(logits: FloatArray, targets: FloatArray, weights: FloatArray) -> tuple[float, float]:
    """Minimise the weighted cross entropy of logistic(slope * logits + intercept) against soft targets."""
    design = np.stack([logits, np.ones_like(logits)], axis=1)
    parameters = np.zeros(2)
    loss = _cross_entropy(design @ parameters, targets, weights)
    for _ in range(_MAX_STEPS):
        fitted = _logistic(design @ parameters)
        gradient = design.T @ (weights * (fitted - targets))
        if np.abs(gradient).max() < 1e-9 * weights.sum():
            break
        hessian = design.T @ (design * (weights * fitted * (1 - fitted))[:, None]) + 1e-12 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        for halving in 0.5 ** np.arange(30):
            candidate = parameters - halving * step
            candidate_loss = _cross_entropy(design @ candidate, targets, weights)
            if candidate_loss < loss:
                break
        else:
            break  # no descent left at this precision
        parameters, loss = candidate, candidate_loss
    return float(parameters[0]), float(parameters[1])


def _cross_entropy(scores: FloatArray, targets: FloatArray, weights: FloatArray) -> float:
    return float(weights @ (np.logaddexp(0, scores) - targets * scores))


def _logit(probability: FloatArray) -> FloatArray:
    clipped = np.clip(probability, _CLIP, 1 - _CLIP)
    return np.log(clipped) - np.log1p(-clipped)


def _logistic(scores: FloatArray) -> FloatArray:
    return 0.5 * (1 + np.tanh(scores / 2))


def _can_be_weighted(labels: NDArray[np.bool_], prevalence: float | None) -> bool:
    return bool(labels.size) and (prevalence is None or (bool(labels.any()) and not bool(labels.all())))


def _shifted(share: float | None, prevalence: float, target: float | None) -> float:
    """A share of covid among films of one prevalence, as it would be at another (Bayes' rule on the odds)."""
    if share is None:
        raise ValueError("A bin without films has no share.")
    if target is None:
        return share
    covid, other = share * target / prevalence, (1 - share) * (1 - target) / (1 - prevalence)
    return float(covid / (covid + other))


def _unit_interval(name: str, values: ArrayLike) -> FloatArray:
    array = np.asarray(values, np.float64)
    if not ((array >= 0) & (array <= 1)).all():  # false for NaN too
        raise ValueError(f"`{name}` must be in [0, 1]. Received: {array!r}")
    return array
