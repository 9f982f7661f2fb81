"""The probability from which an image is called covid, chosen on predictions by models that never saw the image.

A false alarm costs a second look, a missed image may cost more: so the sensitivity is set first, as long as the specificity that
is left is worth having.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from covid_core.errors import EvaluationError
from covid_core.evaluation.checks import labels_and_probability

Rule = Literal["sensitivity", "youden"]


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold in [0, 1], the rule it was chosen by, and a sentence on the choice, without a full stop."""

    value: float
    rule: Rule
    method: str


def choose_operating_point(
    labels: ArrayLike, probability: ArrayLike, *, sensitivity: float = 0.90, least_specificity: float = 0.70
) -> OperatingPoint:
    """Choose the highest threshold that has the sensitivity, or Youden's where too little specificity would be left.

    Source of the second: W. J. Youden, Cancer 3 (1950) 32: the maximum of J = sensitivity + specificity - 1; of equal ones
    the lowest threshold, which misses less. Thresholds lie midway between neighbouring distinct probabilities, so that no
    image is exactly on one. `labels` are true for covid (n,), `probability` (n,) in [0, 1] is out of fold. EvaluationError where
    a class has no image, or all probabilities are the same.
    """
    truth, values = labels_and_probability(labels, probability)
    covid, other = int(truth.sum()), int((~truth).sum())
    if not covid or not other:
        raise EvaluationError(
            f"An operating point needs images of both classes. Received: {covid} covid, {other} others"
        )
    distinct = np.unique(values)
    if distinct.size == 1:
        raise EvaluationError(
            f"No threshold lies between probabilities that are all the same. Received: {distinct[0]:g}"
        )
    thresholds = (distinct[:-1] + distinct[1:]) / 2
    # Images above each threshold, counted by rank: a midpoint of neighbours in floating point may be one of them.
    found = covid - np.searchsorted(np.sort(values[truth]), distinct[:-1], side="right")
    spared = np.searchsorted(np.sort(values[~truth]), distinct[:-1], side="right")
    enough = np.flatnonzero(found / covid >= sensitivity)
    left = spared[enough[-1]] / other if enough.size else 0.0  # with no such threshold, every image would be called
    rule: Rule = "sensitivity" if enough.size and left >= least_specificity else "youden"
    asked = f"a sensitivity of at least {sensitivity:.2f}"
    if rule == "sensitivity":
        best = enough[-1]
        why = f"the highest threshold with {asked}, which leaves the specificity of at least {least_specificity:.2f} asked for"
    else:
        best = np.argmax(found * other + spared * covid)  # J in whole numbers, so that ties are ties
        why = (
            f"the maximum of Youden's J (sensitivity + specificity - 1), as {asked} would leave a specificity of only "
            f"{left:.3f} where {least_specificity:.2f} is asked for"
        )
    measured = f"sensitivity {found[best] / covid:.3f} and specificity {spared[best] / other:.3f}"
    return OperatingPoint(
        value=float(thresholds[best]),
        rule=rule,
        method=f"{why}; {measured} on the out-of-fold predictions of {truth.size} images that it was chosen on",
    )
