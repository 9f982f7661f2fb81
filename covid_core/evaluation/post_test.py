"""What a model's answer to one image means for the patient: the probability of COVID-19 before the image and after it.

The odds after an answer are the odds before it times the answer's likelihood ratio: its share among the images with COVID-19 over
its share among the others. A model that may abstain is a test with three answers, each with a ratio of its own (D. L. Simel,
J. R. Feussner, E. R. DeLong and D. B. Matchar, Med. Decis. Making 7 (1987) 107). Read with the two ratios of the operating point,
an indeterminate image would be counted as a call that the model did not make, and the probabilities after the answers would not
average to the one before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import floor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from covid_core.errors import EvaluationError
from covid_core.evaluation.conformal import DECISIONS, Decision
from covid_core.evaluation.intervals import Band, Estimate
from covid_core.labels import COVID, NON_COVID

PEOPLE = 1000
FEWEST = 10
"""Where fewer of 1000 people have COVID-19, ten thousand are counted: parts of 2 people cannot be rounded honestly."""
SCALE = (0.001, 0.9)
"""The lowest and the highest prevalence that are drawn."""


@dataclass(frozen=True)
class Answer:
    """One of the answers a model can give, and the shares of the images with COVID-19 and of the others that get it.

    `likelihood_ratio` is the first over the second; its value is None where no other image gets the answer.
    """

    decision: Decision
    in_covid: Estimate
    in_others: Estimate
    likelihood_ratio: Estimate


@dataclass(frozen=True)
class Group:
    """The people who get one answer, in whole numbers."""

    decision: Decision
    with_covid: int
    without: int

    @property
    def total(self) -> int:
        """All who get the answer."""
        return self.with_covid + self.without


@dataclass(frozen=True)
class People:
    """Natural frequencies: of 1000 or 10,000 people like the patient, how many get which answer; all numbers add up."""

    total: int
    with_covid: int
    groups: tuple[Group, ...]

    @property
    def without(self) -> int:
        """Those who do not have COVID-19."""
        return self.total - self.with_covid

    def given(self, decision: Decision) -> Group:
        """The people who get an answer."""
        return next(group for group in self.groups if group.decision == decision)


@dataclass(frozen=True)
class Reading:
    """What an answer means at a prevalence in (0, 1).

    `probability` is that of COVID-19 after the image, with bounds from those of the likelihood ratio; `people` says the same in
    whole numbers.
    """

    answer: Answer
    prevalence: float
    probability: Estimate
    people: People


def answers_of(evaluation: Mapping[str, Any], *, three_way: bool) -> tuple[Answer, ...]:
    """The answers of a model as its evaluation measured them, covid first; intervals are from resampling patients.

    Of a model that may abstain they are those of cross-fitted three-way decisions, else those at the operating point.
    EvaluationError where it was not measured how often they are given, as with images of one class only.
    """
    if three_way:
        measured = evaluation.get("three_way", {}).get("answers")
        if measured is None:
            raise EvaluationError(
                "The evaluation does not say how often this model gives each of its three answers. Run "
                f"`python -m covid_core evaluate --model {evaluation.get('model', 'NAME')}`."
            )
        return tuple(
            Answer(
                one,
                _share(measured[one]["in_covid"]),
                _share(measured[one]["in_others"]),
                _estimate(measured[one]["likelihood_ratio"]),
            )
            for one in DECISIONS
        )
    metrics = evaluation["metrics"]
    sensitivity, specificity = _share(metrics["sensitivity"]), _share(metrics["specificity"])
    return (
        Answer(COVID, sensitivity, _rest(specificity), _estimate(metrics["lr_positive"])),
        Answer(NON_COVID, _rest(sensitivity), specificity, _estimate(metrics["lr_negative"])),
    )


def read(answers: Sequence[Answer], decision: Decision, prevalence: float) -> Reading:
    """Say what one of a model's answers means, at the share of people like the patient who have COVID-19.

    EvaluationError where that is not in (0, 1), or the model has no such answer.
    """
    if not 0 < prevalence < 1:
        raise EvaluationError(
            f"A prevalence lies between 0 and 1: at either end an image changes nothing. Received: {prevalence}"
        )
    found = [answer for answer in answers if answer.decision == decision]
    if not found:
        raise EvaluationError(
            f"The model gives one of the answers {[answer.decision for answer in answers]}. Received: {decision!r}"
        )
    ratios = found[0].likelihood_ratio
    probability = replace(
        ratios,
        value=_after_or_none(prevalence, ratios.value),
        lower=_after_or_none(prevalence, ratios.lower),
        upper=_after_or_none(prevalence, ratios.upper),
    )
    return Reading(found[0], prevalence, probability, people(answers, prevalence))


def probability_after(prevalence: ArrayLike, likelihood_ratio: float) -> NDArray[np.float64]:
    """The probability of COVID-19 after an answer, by Bayes' theorem, for any shape of prevalences in (0, 1)."""
    before = np.asarray(prevalence, np.float64)
    return before * likelihood_ratio / (1 - before + before * likelihood_ratio)


def curve(answer: Answer, points: int = 121, *, through: float | None = None) -> Band:
    """The probability after an answer over the whole scale of prevalences, evenly spaced in their logarithm, and at `through`."""
    before = np.geomspace(*SCALE, points)
    if through is not None:
        before = np.unique(np.append(before, through))
    found = answer.likelihood_ratio
    value, lower, upper = (
        np.full(before.size, np.nan) if one is None else probability_after(before, one)
        for one in (found.value, found.lower, found.upper)
    )
    return Band(before, value, lower, upper)


def people(answers: Sequence[Answer], prevalence: float) -> People:
    """Count people by what they have and which of all answers they get, at a prevalence in (0, 1).

    Whole numbers within a class are made by the largest remainder, so that they add up to the class.
    """
    total = PEOPLE if round(PEOPLE * min(prevalence, 1 - prevalence)) >= FEWEST else 10 * PEOPLE
    with_covid = round(total * prevalence)
    ill = _whole_parts([answer.in_covid.value or 0.0 for answer in answers], with_covid)
    well = _whole_parts([answer.in_others.value or 0.0 for answer in answers], total - with_covid)
    groups = (Group(answer.decision, covid, other) for answer, covid, other in zip(answers, ill, well, strict=True))
    return People(total, with_covid, tuple(groups))


def _rest(share: Estimate) -> Estimate:
    """What is left of the whole; the bounds change sides."""
    value, lower, upper = (None if one is None else 1 - one for one in (share.value, share.upper, share.lower))
    return replace(share, value=value, lower=lower, upper=upper)


def _share(metric: Mapping[str, Any]) -> Estimate:
    if metric["value"] is None:
        raise EvaluationError(
            "What an answer of this model means is not known: it was judged on images of one class only."
        )
    return _estimate(metric)


def _estimate(metric: Mapping[str, Any]) -> Estimate:
    return Estimate(**{field.name: metric[field.name] for field in fields(Estimate)})


def _after_or_none(prevalence: float, likelihood_ratio: float | None) -> float | None:
    return None if likelihood_ratio is None else float(probability_after(prevalence, likelihood_ratio))


def _whole_parts(shares: Sequence[float], total: int) -> list[int]:
    """Split a number in whole parts: each gets its share rounded down, and the largest remainders one more."""
    exact = [share * total for share in shares]
    parts = [floor(one) for one in exact]
    by_remainder = sorted(range(len(parts)), key=lambda index: parts[index] - exact[index])
    for index in by_remainder[: total - sum(parts)]:
        parts[index] += 1
    return parts
