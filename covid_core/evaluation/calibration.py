"""From a model's raw output to a calibrated probability, and how well it holds. NumPy only, as it also serves.

A probability means nothing without the share of covid images it assumes, the prevalence. Throughout, `labels` are bool or 0/1
(n,), true for covid, `probability` is P(covid), float (n,) in [0, 1], and the classes are weighted to `prevalence`, which the
probabilities assume; None takes the images as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from covid_core.errors import EvaluationError
from covid_core.evaluation.checks import labels_and_probability, unit_interval
from covid_core.evaluation.intervals import wilson
from covid_core.evaluation.logistic import fit_logistic, logistic, logit

FloatArray = NDArray[np.float64]
Method = Literal["none", "platt"]

N_BINS = 10
_MIN_SPREAD = 1e-9  # of the logits: a constant output cannot be calibrated
_MAX_SLOPE = 1e6  # of a curve that has become a step


@dataclass(frozen=True)
class Calibration:
    """How a raw output becomes a probability, and which `n` images it was `fitted_on`.

    Method `none` leaves the raw output as it is, `platt` takes logistic(slope * logit(raw) + intercept); the slope is above 0,
    so that the order of the images stays. `prevalence` in (0, 1) is None for method `none`, where it is unknown; `note` says why
    the method is `none` although a fit was asked for.
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
        """Calibrate raw outputs in [0, 1], of any shape: P(covid), float64 of the same shape."""
        raw = unit_interval("probability_raw", probability_raw)
        if self.method == "none":
            return raw
        return logistic(self.slope * logit(raw) + self.intercept)

    def to_json(self) -> dict[str, Any]:
        """The calibration as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Calibration":
        """Rebuild a calibration from what `to_json` gave; EvaluationError where it is damaged."""
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
    """Fit Platt's logistic curve to the raw outputs (n,) of images that the model was not trained on.

    Source: J. Platt, Probabilistic outputs for support vector machines, in Advances in Large Margin Classifiers
    (1999), with his smoothed targets (N+ + 1) / (N+ + 2) and 1 / (N- + 2). The classes are weighted to `prevalence` in (0, 1),
    whatever their shares in the data: those of a collection of published cases are those of no hospital. (The smoothed
    targets pull towards 0.5, the rarer class more; with 30 images or more a class, the prevalence is off by at most 0.03.)

    With equally common classes (0.5), and as far as the calibration holds, the threshold 0.5 is the one that maximises
    Youden's J = sensitivity + specificity - 1: there the two classes' densities are equal.

    Returns:
        A calibration of method `platt`, or `none` with a note where a class has no image, all outputs are the same, or
        the curve would fall (a slope of 0 or below would turn the model's order around).
    """
    truth, raw = labels_and_probability(labels, probability_raw, "probability_raw")
    if not 0 < prevalence < 1:
        raise ValueError(f"`prevalence` must be in (0, 1). Received: {prevalence}")
    n, positives = truth.size, int(truth.sum())
    if positives in {0, n}:
        return no_calibration(fitted_on=fitted_on, n=n, note="Not calibrated: a class has no image.")
    logits = logit(raw)
    if np.ptp(logits) < _MIN_SPREAD:
        return no_calibration(fitted_on=fitted_on, n=n, note="Not calibrated: the model's outputs are all the same.")
    targets = np.where(truth, (positives + 1) / (positives + 2), 1 / (n - positives + 2))
    (slope, intercept), *_ = fit_logistic(
        np.stack([logits, np.ones(n)], axis=1), targets, class_weights(truth, prevalence)[None], np.zeros(n)
    ).tolist()
    if not 0 < slope < _MAX_SLOPE:
        return no_calibration(
            fitted_on=fitted_on,
            n=n,
            note="Not calibrated: on these images a higher output does not mean more COVID-19.",
        )
    return Calibration("platt", slope, intercept, prevalence, fitted_on, n)


def class_weights(labels: ArrayLike, prevalence: float | None) -> FloatArray:
    """Weights that make covid as common as `prevalence` says: float64 (n,), summing to n; both classes must be present."""
    truth = np.asarray(labels).astype(np.bool_)
    if prevalence is None:
        return np.ones(truth.size)
    share = float(truth.mean())
    if share in {0.0, 1.0}:
        raise ValueError("Images of one class alone cannot be weighted to a prevalence.")
    return np.asarray(np.where(truth, prevalence / share, (1 - prevalence) / (1 - share)), np.float64)


def brier_score(labels: ArrayLike, probability: ArrayLike, *, prevalence: float | None = None) -> float | None:
    """The mean squared difference of probability and outcome: 0 is perfect, 0.25 is what 0.5 for all images gives."""
    truth, values = labels_and_probability(labels, probability)
    score = float(weighted_brier(truth, values, np.ones((1, truth.size)), prevalence=prevalence)[0])
    return score if np.isfinite(score) else None


def weighted_brier(
    labels: NDArray[np.bool_], probability: FloatArray, weights: FloatArray, *, prevalence: float | None
) -> FloatArray:
    """`brier_score` for many weightings (b, n) of the same images: float64 (b,), NaN where undefined."""
    errors = (probability - labels) ** 2
    with np.errstate(invalid="ignore"):
        if prevalence is None:
            return np.asarray((weights @ errors) / weights.sum(axis=1), np.float64)
        covid, other = ((weights @ (errors * part)) / (weights @ part) for part in (labels, ~labels))
    return np.asarray(prevalence * covid + (1 - prevalence) * other, np.float64)


@dataclass(frozen=True)
class ReliabilityBin:
    """Images of neighbouring probabilities, from the lowest to the highest among them.

    `predicted` is their mean probability, `observed` the share that are covid, with 95 % bounds by Wilson (images taken as
    independent), `n` their number and `weight` their share in the whole.
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
    labels: ArrayLike, probability: ArrayLike, *, prevalence: float | None = None
) -> list[ReliabilityBin]:
    """Compare probability and outcome in bins of (nearly) equally many images, probabilities rising.

    Equal counts, not equal widths: the probabilities of a small part crowd together, and bins of equal width would
    hold two images here and fifty there. Equal probabilities stay in one bin, so there may be fewer bins than asked
    for; there is none where one class alone was to be weighted.
    """
    truth, values = labels_and_probability(labels, probability)
    if not truth.size or (prevalence is not None and (truth.all() or not truth.any())):
        return []
    weights = class_weights(truth, prevalence)
    edges = np.unique(np.quantile(values, np.arange(1, N_BINS) / N_BINS, method="inverted_cdf"))
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
    """The mean distance of predicted and observed share over the bins, weighted by their images; None without bins.

    It is biased upwards on few images: chance alone separates the two in a bin of ten.
    """
    if not bins:
        return None
    return sum(one.weight * abs(one.predicted - one.observed) for one in bins)


def calibration_line(
    labels: ArrayLike, probability: ArrayLike, *, prevalence: float | None = None
) -> tuple[float, float] | None:
    """The intercept and slope of logistic recalibration: 0 and 1 where the probabilities hold.

    Sources: D. R. Cox, Biometrika 45 (1958) 562; B. Van Calster et al., BMC Medicine 17 (2019) 230. The intercept is
    calibration in the large, fitted with the slope held at 1: below 0 the probabilities are too high on the whole. The
    slope is fitted with an intercept of its own: below 1 the probabilities are too extreme. Probabilities count as at
    least 1e-6 and at most 1 - 1e-6.

    None where a class has no image, or no probability lies among those of the other class (separated classes, constant
    probabilities): the slope is then infinite or anything.
    """
    truth, values = labels_and_probability(labels, probability)
    intercepts, slopes = weighted_calibration_line(truth, values, np.ones((1, truth.size)), prevalence=prevalence)
    return (float(intercepts[0]), float(slopes[0])) if np.isfinite(slopes[0]) else None


def weighted_calibration_line(
    labels: NDArray[np.bool_], probability: FloatArray, weights: FloatArray, *, prevalence: float | None
) -> tuple[FloatArray, FloatArray]:
    """`calibration_line` for many weightings (b, n) of the same images: float64 (b,) each, NaN where undefined."""
    logits, ones = logit(probability), np.ones((labels.size, 1))
    overlap = _classes_overlap(labels, logits, weights)
    weights = weights[overlap]
    if prevalence is not None:
        covid, other = weights @ labels, weights @ ~labels
        weights = weights * np.where(labels, (prevalence / covid)[:, None], ((1 - prevalence) / other)[:, None])
    targets = labels.astype(np.float64)
    intercepts, slopes = np.full((2, overlap.size), np.nan)
    intercepts[overlap] = fit_logistic(ones, targets, weights, logits)[:, 0]
    slopes[overlap] = fit_logistic(np.column_stack([logits, ones]), targets, weights, np.zeros_like(logits))[:, 0]
    return intercepts, slopes


def _classes_overlap(labels: NDArray[np.bool_], logits: FloatArray, weights: FloatArray) -> NDArray[np.bool_]:
    """Tell which weightings (b, n) leave an image of each class above one of the other: only these have a finite slope."""
    highest, lowest = [], []
    for of_class in (labels, ~labels):
        counts = weights[:, of_class] > 0
        highest.append(np.max(np.where(counts, logits[of_class], -np.inf), axis=1, initial=-np.inf))
        lowest.append(np.min(np.where(counts, logits[of_class], np.inf), axis=1, initial=np.inf))
    return np.asarray((highest[0] > lowest[1]) & (highest[1] > lowest[0]), np.bool_)


def _shifted(share: float | None, prevalence: float, target: float | None) -> float:
    """A share of covid among images of one prevalence, as it would be at another (Bayes' rule on the odds)."""
    if share is None or target is None:
        return float(share or 0)
    covid, other = share * target / prevalence, (1 - share) * (1 - target) / (1 - prevalence)
    return float(covid / (covid + other))
