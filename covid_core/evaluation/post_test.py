"""What a model's answer to one film means for the patient: from the probability before the film to the one after it.

Knows how often each answer was given to films of each class, as an evaluation says it, and nothing of the film itself. The odds
of COVID-19 after an answer are the odds before it times the answer's likelihood ratio: its share among the films with COVID-19
over its share among the others.

A model that may abstain is a test with three answers, and each has a likelihood ratio of its own (D. L. Simel, J. R. Feussner,
E. R. DeLong and D. B. Matchar, Med. Decis. Making 7 (1987) 107). Read with the two ratios of the operating point, an
indeterminate film would be counted as a call that the model did not make, and the probabilities after the answers would not
average to the one before. So it gets the ratio of the band, which lies near 1 where the film tells little.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import floor, inf, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from covid_core.errors import EvaluationError
from covid_core.evaluation.conformal import INDETERMINATE, Decision
from covid_core.evaluation.intervals import NO_INTERVAL, Band, Estimate
from covid_core.labels import COVID, NON_COVID

MOVER_R = "MOVER-R"
PEOPLE = 1000
FEWEST = 10
"""Where fewer of 1000 people have COVID-19, ten thousand are counted: parts of 2 people cannot be rounded honestly."""
SCALE = (0.001, 0.9)
"""The lowest and the highest prevalence that are drawn."""


@dataclass(frozen=True)
class Answer:
    """One of the answers a model can give, and how often it gives it.

    Attributes:
        decision: the answer.
        in_covid: the share of the films with COVID-19 that get it, in [0, 1].
        in_others: the share of the other films that get it, in [0, 1].
        likelihood_ratio: the first over the second, in [0, inf); its value is None where no other film gets the answer, and
            an upper bound of None beside a lower one means that there is none.
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
    """Natural frequencies: of so many people like the patient, how many get which answer; all numbers add up.

    Attributes:
        total: people, 1000 or 10,000.
        with_covid: those who have COVID-19.
        groups: one for each answer, in the order of the answers.
    """

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
    """What an answer means at a prevalence.

    Attributes:
        answer: the model's answer to the film.
        prevalence: the probability of COVID-19 before the film, in (0, 1).
        probability: the one after it, in [0, 1]; bounds from those of the likelihood ratio, the prevalence being taken as it is.
        people: the same in whole numbers.
    """

    answer: Answer
    prevalence: float
    probability: Estimate
    people: People


def answers_of(evaluation: Mapping[str, Any], *, three_way: bool) -> tuple[Answer, ...]:
    """The answers of a model, covid first.

    Two answers take the sensitivity and specificity of the operating point, and the evaluation's own likelihood ratios with
    their bootstrap over patients. Three take what cross-fitted three-way decisions measured, from which the ratios and their
    intervals are made by `ratio`; on the committed lung model these lie within 3% of a bootstrap over patients.

    Args:
        evaluation: as of `covid_core.evaluation.report.evaluate`.
        three_way: whether the model may abstain (its bundle has a three-way decision).

    Raises:
        EvaluationError: the evaluation does not say how often the answers are given, as with films of one class only.
    """
    return _three_answers(evaluation) if three_way else _two_answers(evaluation)


def read(answers: Sequence[Answer], decision: Decision, prevalence: float) -> Reading:
    """Say what an answer means at a prevalence.

    Args:
        answers: all of the model's.
        decision: the one that the film got.
        prevalence: the share of people like the patient who have COVID-19, in (0, 1).

    Raises:
        EvaluationError: the prevalence is not in (0, 1), or the model has no such answer.
    """
    if not 0 < prevalence < 1:
        raise EvaluationError(
            f"A prevalence lies between 0 and 1: at either end a film changes nothing. Received: {prevalence}"
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
    """The probability of COVID-19 after an answer, by Bayes' theorem.

    Args:
        prevalence: float (...) in (0, 1).
        likelihood_ratio: of the answer, in [0, inf).
    """
    before = np.asarray(prevalence, np.float64)
    return before * likelihood_ratio / (1 - before + before * likelihood_ratio)


def curve(answer: Answer, points: int = 121, *, through: float | None = None) -> Band:
    """The probability after an answer over the whole scale of prevalences, which are evenly spaced in their logarithm.

    Args:
        answer: one of a model's.
        points: how many prevalences.
        through: a further one, in (0, 1), that the curve shall have a point at.

    Returns:
        The probabilities in [0, 1] over the prevalences, with their bounds.
    """
    before = np.geomspace(*SCALE, points)
    if through is not None:
        before = np.unique(np.append(before, through))
    found = answer.likelihood_ratio
    value, lower = (
        np.full(before.size, np.nan) if one is None else probability_after(before, one)
        for one in (found.value, found.lower)
    )
    if found.upper is not None:
        upper = probability_after(before, found.upper)
    else:
        upper = np.full(before.size, np.nan if found.lower is None else 1.0)
    return Band(before, value, lower, upper)


def people(answers: Sequence[Answer], prevalence: float) -> People:
    """Count people by what they have and which answer they get.

    Whole numbers within a class are made by the largest remainder, so that they add up to the class.

    Args:
        answers: all of the model's.
        prevalence: in (0, 1).
    """
    total = PEOPLE if round(PEOPLE * min(prevalence, 1 - prevalence)) >= FEWEST else 10 * PEOPLE
    with_covid = round(total * prevalence)
    ill = _whole_parts([answer.in_covid.value or 0.0 for answer in answers], with_covid)
    well = _whole_parts([answer.in_others.value or 0.0 for answer in answers], total - with_covid)
    groups = (Group(answer.decision, covid, other) for answer, covid, other in zip(answers, ill, well, strict=True))
    return People(total, with_covid, tuple(groups))


def ratio(numerator: Estimate, denominator: Estimate) -> Estimate:
    """Divide two independent estimates that are not negative, with an interval made of theirs.

    MOVER-R needs no counts, keeps what the patients' bootstrap knows of films that are not independent, and bears a share of 0
    or 1. Source: A. Donner and G. Y. Zou, Stat. Methods Med. Res. 21 (2012) 347, equation 9; R. G. Newcombe, the same 25 (2016)
    1774, for ratios and products of shares. Both bounds are written here with the roots multiplied out, so that nothing is
    divided by a difference that may be 0.

    Returns:
        The ratio; value None where the denominator is 0, upper None where it may be. Without bounds where an estimate has none.
    """
    a, b = numerator, denominator
    note, n = a.note or b.note, min(a.n, b.n)
    if a.value is None or b.value is None:
        return Estimate(None, None, None, NO_INTERVAL, n, note=note)
    value = a.value / b.value if b.value else None
    if a.lower is None or a.upper is None or b.lower is None or b.upper is None:
        return Estimate(value, None, None, NO_INTERVAL, n, note=note)
    product = a.value * b.value
    lower = _lower_bound(product, a.lower * (2 * a.value - a.lower), b.upper * (2 * b.value - b.upper))
    below = b.lower * (2 * b.value - b.lower)
    upper = None
    if below > 0:
        upper = (product + sqrt(max(product**2 - a.upper * (2 * a.value - a.upper) * below, 0.0))) / below
    return Estimate(value, lower, upper, MOVER_R, n, note=note)


def _lower_bound(product: float, above: float, below: float) -> float:
    """The lower bound of a ratio: `above` and `below` are l (2 v - l) of the numerator and u (2 v - u) of the denominator."""
    return above / (product + sqrt(max(product**2 - above * below, 0.0))) if above else 0.0


def _product(a: Estimate, b: Estimate) -> Estimate:
    """Multiply two shares as the ratio of one to the other turned over; the second counts only where the first is not 0.

    A share of the decided films and the share of films that are decided come from the same films, but do not depend on each
    other: the first takes the second as it is.
    """
    if a.value == 0:
        return Estimate(0.0, None, None, NO_INTERVAL, a.n, note=a.note)
    if b.value == 0:
        reach = None if a.upper is None or b.upper is None else a.upper * b.upper
        return Estimate(0.0, None if reach is None else 0.0, reach, MOVER_R, a.n, note=b.note)
    turned = Estimate(_inverse(b.value), _inverse(b.upper), _inverse(b.lower), b.method, b.n, b.undefined, b.note)
    found = ratio(a, turned)
    return Estimate(
        found.value,
        found.lower,
        None if found.upper is None else min(found.upper, 1.0),
        found.method,
        a.n,
        note=found.note,
    )


def _inverse(value: float | None) -> float | None:
    return None if value is None else 1 / value if value else inf


def _rest(share: Estimate) -> Estimate:
    """What is left of the whole."""
    value, lower, upper = (None if one is None else 1 - one for one in (share.value, share.upper, share.lower))
    return Estimate(value, lower, upper, share.method, share.n, share.undefined, share.note)


def _two_answers(evaluation: Mapping[str, Any]) -> tuple[Answer, ...]:
    metrics = evaluation["metrics"]
    sensitivity, specificity = _measured(metrics["sensitivity"]), _measured(metrics["specificity"])
    return (
        _answer(COVID, sensitivity, _rest(specificity), metrics["lr_positive"]),
        _answer(NON_COVID, _rest(sensitivity), specificity, metrics["lr_negative"]),
    )


def _three_answers(evaluation: Mapping[str, Any]) -> tuple[Answer, ...]:
    if "three_way" not in evaluation:
        raise EvaluationError("The evaluation of this model does not say how often it abstains.")
    found = evaluation["three_way"]
    ill, well = (_measured(found["indeterminate"][name]) for name in (COVID, NON_COVID))
    if ill.value == well.value == 1:  # no film was decided, so that none was decided right or wrong
        return (_answer(INDETERMINATE, ill, well),)
    right, rightly_not = (_measured(found[name]) for name in ("sensitivity", "specificity"))
    return (
        _answer(COVID, _product(_rest(ill), right), _product(_rest(well), _rest(rightly_not))),
        _answer(INDETERMINATE, ill, well),
        _answer(NON_COVID, _product(_rest(ill), _rest(right)), _product(_rest(well), rightly_not)),
    )


def _answer(
    decision: Decision, in_covid: Estimate, in_others: Estimate, bootstrapped: Mapping[str, Any] | None = None
) -> Answer:
    found = ratio(in_covid, in_others)
    if bootstrapped is not None and bootstrapped["lower"] is not None:
        found = _estimate(bootstrapped)
    elif found.value is None:
        found = replace(
            found, note="No film without COVID-19 got this answer: how far it raises the odds is not known."
        )
    return Answer(decision, in_covid, in_others, found)


def _measured(metric: Mapping[str, Any]) -> Estimate:
    if metric["value"] is None:
        raise EvaluationError(
            "What an answer of this model means cannot be told: it was judged on films of one class only, or decided none."
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
