"""What an answer means for a patient, in words: the scale of prevalences, natural frequencies, and what a chart of them shows.

Natural frequencies are what people reason with best (G. Gigerenzer and U. Hoffrage, Psychol. Rev. 102 (1995) 684), so every
probability is also said as people out of people.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from covid_core.evaluation.conformal import INDETERMINATE, Decision
from covid_core.evaluation.intervals import Estimate
from covid_core.evaluation.post_test import Answer, Group, Reading
from covid_core.labels import COVID, NON_COVID

COHORT = "cohort"
PREVALENCES = tuple(
    hundredths / 100 for hundredths in (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 90)
)
"""The choices of a prevalence: from 1 in 1000 to 90%, each about one and a half times the one before."""
RATIO_TITLES: Mapping[Decision, str] = {COVID: "LR+", INDETERMINATE: "LR, indeterminate", NON_COVID: "LR\N{MINUS SIGN}"}
"""Answer -> what its likelihood ratio is called."""
_CALLED: Mapping[Decision, str] = {COVID: "COVID-19", NON_COVID: "not COVID-19", INDETERMINATE: "indeterminate"}
_LEAST, _HALF = 0.01, 50  # per cent
_SEPARATED = 10_000


def prevalence_choices(cohort: float) -> tuple[float, ...]:
    """The choices of a prevalence in rising order, with that of the cohort in place of one that would be labelled alike."""
    return tuple(sorted([cohort, *(choice for choice in PREVALENCES if percent(choice) != percent(cohort))]))


def prevalence_label(prevalence: float, cohort: float) -> str:
    """The label of a choice: `2%`, or `70% (cohort)`."""
    return f"{percent(prevalence)} ({COHORT})" if prevalence == cohort else percent(prevalence)


def percent(share: float) -> str:
    """A share in [0, 1] as people read it: `0.34%`, `6.5%`, `15%`, `99.6%`; never 0% or 100% for what is only close to it."""
    hundredths = 100 * share
    nearest = min(hundredths, 100 - hundredths)
    if 0 < nearest < _LEAST:
        return f"less than {_LEAST}%" if hundredths < _HALF else f"more than {100 - _LEAST}%"
    # Two figures that count at the lower end; at the upper one what is missing to 100% counts, and less of it.
    digits = sum(nearest < limit for limit in ((0.1, 1, 10) if hundredths < _HALF else (0.1, 1)))
    written = f"{hundredths:.{digits}f}"
    return (written.rstrip("0").rstrip(".") if digits else written) + "%"


def whole(count: int) -> str:
    """A whole number as people read it: `1000`, `10,000`."""
    return f"{count:,}" if count >= _SEPARATED else str(count)


def ratio_in_words(answer: Answer) -> str:
    """A likelihood ratio: `3.43 (95% CI 2.59 to 4.82)`, or what of it is known."""
    return _with_interval(answer.likelihood_ratio, lambda value: f"{value:.2f}")


def probability_in_words(reading: Reading) -> str:
    """The probability after the image: `6.5% (95% CI 5% to 9%)`, or what of it is known."""
    return _with_interval(reading.probability, percent)


def natural_frequency_sentences(reading: Reading) -> tuple[str, ...]:
    """Say what an answer means in people: how many have COVID-19, how many get this answer, and how many of those have it.

    Two or three sentences, such as "Of 1000 people like this, 20 have COVID-19." and "The model calls 15 of them COVID-19,
    and 219 of the 980 others: of these 234 people, 15 have it (about 6.5%)."
    """
    people, decision = reading.people, reading.answer.decision
    group = people.given(decision)
    sentences = [
        f"Of {whole(people.total)} people like this, {whole(people.with_covid)} have COVID-19.",
        f"The model {_splits(decision, group, people.without)}: {_who_has_it(reading, group)}.",
    ]
    undecided = [one for one in people.groups if one.decision == INDETERMINATE]
    if decision == INDETERMINATE:
        sentences.append(_little_told(reading))
    elif undecided:
        sentences.append(f"On {_number(undecided[0].total)} of the {whole(people.total)} it makes no call.")
    return tuple(sentences)


def accuracy_sentence(answers: Sequence[Answer]) -> str:
    """Say how often images of either class get each answer, with intervals: what all the rest is made of."""
    if len(answers) == 2:  # noqa: PLR2004
        sensitivity, specificity = (_with_interval(one, percent) for one in (answers[0].in_covid, answers[1].in_others))
        return f"Sensitivity {sensitivity}, specificity {specificity}."
    ill, well = (
        ", ".join(f"{_CALLED[one.decision]} {_with_interval(getattr(one, side), percent)}" for one in answers)
        for side in ("in_covid", "in_others")
    )
    return f"Images with COVID-19 are called: {ill}. Other images: {well}."


def elsewhere_sentence(evaluation: Mapping[str, Any]) -> str | None:
    """Say how often the model was right on images of publishers that it had not seen; None where that was not measured."""
    shares = [
        [figures[name]["value"] for name in ("sensitivity", "specificity")]
        for figures in (evaluation.get("left_out_sources"), evaluation["metrics"])
        if figures
    ]
    if len(shares) == 1 or None in (*shares[0], *shares[1]):
        return None
    (right, specificity), (usual, usual_specificity) = shares
    return (
        f"At the operating point alone, as if it always decided, the model found {percent(right)} of the images with COVID-19 "
        f"from publishers that it had not seen, instead of {percent(usual)}, and gave a false alarm on "
        f"{percent(1 - specificity)} of the others, instead of {percent(1 - usual_specificity)}: at another hospital an image is "
        "likely to tell less than this."
    )


def people_words(reading: Reading) -> str:
    """Say what the bars of people show, for those who do not see them."""
    people = reading.people
    bars = "; ".join(
        f"{_called(group.decision)} {_number(group.total)}, of whom {_number(group.with_covid)} with COVID-19"
        for group in people.groups
    )
    return f"Bars of {whole(people.total)} people, {whole(people.with_covid)} with COVID-19: {bars}."


def curve_words(reading: Reading) -> str:
    """Say what the curve over the prevalence shows, for those who do not see it."""
    called = _called(reading.answer.decision)
    return (
        f"Curve of the probability of COVID-19 after an image that is {called}, over the prevalence from 0.1% to 90%: at "
        f"{percent(reading.prevalence)} it is {probability_in_words(reading)}."
    )


def _with_interval(estimate: Estimate, write: Callable[[float], str]) -> str:
    if estimate.value is None:
        return "not known"
    if estimate.lower is None or estimate.upper is None:
        return write(estimate.value)
    return f"{write(estimate.value)} (95% CI {write(estimate.lower)} to {write(estimate.upper)})"


def _splits(decision: Decision, group: Group, without: int) -> str:
    ill, well = _number(group.with_covid), f"{_number(group.without)} of the {whole(without)} others"
    if decision == INDETERMINATE:
        return f"makes no call on {ill} of them and on {well}"
    return f"calls {ill} of them {_CALLED[decision]}, and {well}"


def _who_has_it(reading: Reading, group: Group) -> str:
    if not group.total:
        return "so few get this answer that none is left to count"
    whom = "of this 1 person" if group.total == 1 else f"of these {whole(group.total)} people"
    verb = "has" if group.with_covid == 1 else "have"
    it = "it" if group.decision == COVID else "COVID-19"
    all_the_same = " all the same" if group.decision == NON_COVID and group.with_covid else ""
    return f"{whom}, {_number(group.with_covid)} {verb} {it}{all_the_same} ({_about(reading.probability)})"


def _about(probability: Estimate) -> str:
    if probability.value is None:
        return "how likely that is, is not known"
    written = percent(probability.value)
    return written if written.startswith(("less", "more")) else f"about {written}"


def _little_told(reading: Reading) -> str:
    found = reading.answer.likelihood_ratio
    ratio = f"likelihood ratio {ratio_in_words(reading.answer)}".replace(" (", ", ").rstrip(")")
    if found.value is None:
        return "How much such an image tells is not known."
    if found.lower is None or found.upper is None or found.lower <= 1 <= found.upper:
        return (
            f"Such images are about as common with COVID-19 as without ({ratio}): take the probability to be what it was before "
            "the image."
        )
    return f"Such images are {'more' if found.value > 1 else 'less'} common with COVID-19 than without ({ratio})."


def _called(decision: Decision) -> str:
    return _CALLED[decision] if decision == INDETERMINATE else f"called {_CALLED[decision]}"


def _number(count: int) -> str:
    return whole(count) if count else "none"
