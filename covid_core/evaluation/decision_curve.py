"""Whether acting on a model does more good than acting on all patients or on none: decision curves.

The threshold probability says what a missed patient costs against a false alarm: who acts from 10 % on takes nine false alarms
for one patient found.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from covid_core.evaluation.bands import resampled_band
from covid_core.evaluation.intervals import Band, totals_by_group
from covid_core.evaluation.predictions import Predictions

FloatArray = NDArray[np.float64]
_CLOSE = 1e-12  # rounding of the shift must not decide on an image that lies on a threshold


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit over threshold probabilities, where COVID-19 has the share `prevalence` of the patients.

    `curve` is the model's net benefit in true positives per patient at 0.01, 0.02, ... 0.99, with pointwise 95 % bounds;
    `treat_all` (g,) is that of acting on every patient.
    """

    prevalence: float
    curve: Band
    treat_all: FloatArray


def decision_curve(images: Predictions, *, prevalence: float, n_resamples: int, seed: int) -> DecisionCurve | None:
    """The net benefit of acting on the images whose probability is at least the threshold probability.

    With w = pt / (1 - pt), the net benefit is sensitivity * prevalence - (1 - specificity) * (1 - prevalence) * w.
    Source: A. J. Vickers and E. B. Elkin, Med. Decis. Making 26 (2006) 565; the share of the images that are covid is replaced
    by the prevalence of choice in (0, 1), as images were collected by class, and the probabilities are brought to it first. It is
    held in the resampling of patients: it is not estimated from the images. None where a class has no image.
    """
    if not 0 < prevalence < 1:
        raise ValueError(f"`prevalence` must be in (0, 1). Received: {prevalence}")
    if not images.has_both_classes():
        return None
    thresholds = np.arange(1, 100) / 100
    harm = (1 - prevalence) * thresholds / (1 - thresholds)
    acted_on = shifted_by(images.probability, images.assumed_prevalence(), prevalence)[:, None] >= thresholds - _CLOSE
    truth = images.truth[:, None]
    names, totals = totals_by_group(images.groups, np.hstack([truth, ~truth, acted_on & truth, acted_on & ~truth]))

    def net_benefit(weights: FloatArray) -> FloatArray:
        covid, other, found, false_alarms = np.split(weights @ totals, [1, 2, 2 + thresholds.size], axis=1)
        benefit = prevalence * found / np.maximum(covid, 1) - harm * false_alarms / np.maximum(other, 1)
        return np.where((covid > 0) & (other > 0), benefit, np.nan)

    curve = resampled_band(thresholds, net_benefit, images, groups=names, n_resamples=n_resamples, seed=seed)
    return DecisionCurve(prevalence, curve, prevalence - harm)


def useful_range(curve: DecisionCurve) -> list[tuple[float, float]]:
    """(lowest, highest) of each run of threshold probabilities at which the model beats acting on all and acting on none."""
    better = curve.curve.value > np.maximum(curve.treat_all, 0) + _CLOSE
    turns = np.flatnonzero(np.diff(np.concatenate([[False], better, [False]]).astype(np.int8)))
    x = curve.curve.x
    return [(float(x[start]), float(x[after - 1])) for start, after in zip(turns[::2], turns[1::2], strict=True)]


def shifted_by(probability: ArrayLike, assumed: float, prevalence: float) -> FloatArray:
    """Probabilities that assume one prevalence as they would be at another, by Bayes' rule: float64, of the same shape."""
    given = np.asarray(probability, np.float64)
    covid = given * (prevalence / assumed)
    return np.asarray(covid / (covid + (1 - given) * ((1 - prevalence) / (1 - assumed))), np.float64)
