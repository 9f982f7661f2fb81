"""Expected values: Altman and Bland's liver scans, Gigerenzer's mammograms, a second bootstrap, and by hand."""

import math
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from covid_core.errors import EvaluationError
from covid_core.evaluation.conformal import ThreeWay, fit_three_way
from covid_core.evaluation.evaluate import evaluate, three_way_block
from covid_core.evaluation.intervals import Estimate, wilson
from covid_core.evaluation.post_test import Answer, answers_of, curve, people, read
from covid_core.evaluation.post_test_words import (
    PREVALENCES,
    elsewhere_sentence,
    natural_frequency_sentences,
    percent,
    prevalence_choices,
    prevalence_label,
)
from tests.evaluation.made_up import predictions

UNDEFINED = Estimate(None, None, None, "none", 0).to_json()
LIVER_SCANS = ((54, 32), (27, 231))
"""Altman and Bland, BMJ 308 (1994) 1552: rows normal and abnormal pathology, columns normal and abnormal scan."""


def ratio(in_covid: float, in_others: float) -> dict[str, Any]:
    """A likelihood ratio with bounds a third below and above it; undefined where no other image gets the answer."""
    if not in_others:
        return UNDEFINED
    value = in_covid / in_others
    return Estimate(value, value * 2 / 3, value * 4 / 3, "patient bootstrap", 100).to_json()


def evaluation_of(matrix: tuple[tuple[int, int], tuple[int, int]]) -> dict[str, Any]:
    """An evaluation that has the shares of a confusion matrix with Wilson's intervals."""
    (tn, fp), (fn, tp) = matrix
    shares = {"sensitivity": wilson(tp, tp + fn).to_json(), "specificity": wilson(tn, tn + fp).to_json()}
    return {
        "metrics": {
            **shares,
            "lr_positive": ratio(tp / (tp + fn), fp / (tn + fp)),
            "lr_negative": ratio(fn / (tp + fn), tn / (tn + fp)),
        }
    }


def two_answers(matrix: tuple[tuple[int, int], tuple[int, int]]) -> tuple[Answer, ...]:
    return answers_of(evaluation_of(matrix), three_way=False)


def three_answers(in_covid: tuple[int, int, int], in_others: tuple[int, int, int]) -> tuple[Answer, ...]:
    """Answers from the percentages of each class that are called COVID-19, indeterminate and not COVID-19."""
    answers = {
        name: {
            "in_covid": wilson(one, 100).to_json(),
            "in_others": wilson(other, 100).to_json(),
            "likelihood_ratio": ratio(one / 100, other / 100),
        }
        for name, one, other in zip(("covid", "indeterminate", "non_covid"), in_covid, in_others, strict=True)
    }
    return answers_of({"three_way": {"answers": answers}}, three_way=True)


@cache
def cross_validated() -> pd.DataFrame:
    """Predictions of 900 radiographs of 600 patients in five folds, two of every other patient."""
    rng = np.random.default_rng(11)
    group = np.repeat(np.arange(600), np.arange(600) % 2 + 1)
    covid = (rng.random(600) < 0.6)[group]
    logits = rng.normal(size=600)[group] + 0.5 * rng.normal(size=group.size) + 1.6 * (covid - 0.5)
    return predictions(covid, 1 / (1 + np.exp(-logits)), group, part="out_of_fold", fold=group % 5)


@cache
def measured() -> dict[str, Any]:
    """The evaluation of these, with a three-way decision."""
    table = cross_validated()
    evaluation = evaluate(table, model="made up", threshold=0.5, part="out_of_fold")
    return {**evaluation, "three_way": three_way_block(table, ThreeWay(0.3, 0.7, 0.9, 500, 400, "nothing"))}


# What an answer means


@pytest.mark.parametrize(("prevalence", "ppv", "npv"), [(0.75, 0.88, 0.67), (0.25, 0.45, 0.95)])
def test_predictive_values_are_those_that_altman_and_bland_give_for_two_prevalences(
    prevalence: float, ppv: float, npv: float
) -> None:
    answers = two_answers(LIVER_SCANS)
    assert read(answers, "covid", prevalence).probability.value == pytest.approx(ppv, abs=0.005)
    assert 1 - (read(answers, "non_covid", prevalence).probability.value or 0) == pytest.approx(npv, abs=0.005)


def test_the_ratios_of_three_answers_are_bootstrapped_over_patients() -> None:
    """The cross-fitted decisions are made once more from the predictions, and their patients resampled."""
    table = cross_validated()
    truth, values = (table["label"] == "covid").to_numpy(), table["probability_covid"].to_numpy()
    decided = np.empty(len(table), "<U13")
    for fold in table["fold"].unique():
        here = (table["fold"] == fold).to_numpy()
        decided[here] = fit_three_way(truth[~here], values[~here]).decide_all(values[here])
    _, patient = np.unique(table["group"], return_inverse=True)
    times = np.random.default_rng(0).multinomial(600, np.full(600, 1 / 600), size=2000)[:, patient]
    for answer in answers_of(measured(), three_way=True):
        given = decided == answer.decision
        found = answer.likelihood_ratio
        assert found.value == pytest.approx(given[truth].mean() / given[~truth].mean())
        drawn = [
            np.average(given[truth], weights=one[truth]) / np.average(given[~truth], weights=one[~truth])
            for one in times
        ]
        assert (found.lower, found.upper) == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
        assert (found.method, found.n) == ("patient bootstrap", len(table))


@pytest.mark.parametrize("three_way", [False, True])
@pytest.mark.parametrize("prevalence", [0.001, 0.02, 0.7])
def test_the_probabilities_after_all_answers_average_to_the_one_before(three_way: bool, prevalence: float) -> None:
    answers = answers_of(measured(), three_way=three_way)
    average = sum(
        (read(answers, one.decision, prevalence).probability.value or 0)
        * (prevalence * (one.in_covid.value or 0) + (1 - prevalence) * (one.in_others.value or 0))
        for one in answers
    )
    assert average == pytest.approx(prevalence)


# What is not known


@pytest.mark.parametrize("prevalence", [0.0, 1.0, -0.1, 2.0, math.nan])
def test_a_prevalence_of_none_or_all_is_refused(prevalence: float) -> None:
    with pytest.raises(EvaluationError, match="A prevalence lies between 0 and 1"):
        read(two_answers(LIVER_SCANS), "covid", prevalence)


def test_an_answer_that_the_model_does_not_give_is_refused() -> None:
    with pytest.raises(EvaluationError, match=r"The model gives one of .* Received: 'indeterminate'"):
        read(two_answers(LIVER_SCANS), "indeterminate", 0.1)


def test_images_of_one_class_say_nothing_of_an_answer() -> None:
    evaluation = evaluation_of(LIVER_SCANS)
    evaluation["metrics"]["specificity"] = UNDEFINED
    with pytest.raises(EvaluationError, match="images of one class only"):
        answers_of(evaluation, three_way=False)


@pytest.mark.parametrize("block", [{}, {"three_way": {"coverage": 0.9}}])
def test_an_evaluation_without_three_measured_answers_names_the_command_that_measures_them(block: Any) -> None:
    with pytest.raises(EvaluationError, match="covid_core evaluate --model net`"):
        answers_of({"model": "net", **block}, three_way=True)


def test_an_answer_that_no_image_without_covid_got_has_no_ratio_and_says_so() -> None:
    truth = np.arange(200) % 2 == 0
    # Every covid image is above every other one, so that no other image is called.
    table = pd.DataFrame(
        {
            "label": np.where(truth, "covid", "non_covid"),
            "probability_covid": np.where(truth, 0.9, 0.1) + np.arange(200) / 4000,
            "fold": np.arange(200) % 5,
            "group": np.arange(200),
        }
    )
    called = three_way_block(table, ThreeWay(0.3, 0.7, 0.9, 100, 100, "nothing"))["answers"]["covid"]
    assert called["in_others"]["value"] == 0
    assert (called["likelihood_ratio"]["value"], called["likelihood_ratio"]["lower"]) == (None, None)
    assert "how far it raises the odds is not known" in called["likelihood_ratio"]["note"]


# People in whole numbers


def test_natural_frequencies_are_those_of_gigerenzers_mammograms() -> None:
    """Gigerenzer et al., Psychol. Sci. Public Interest 8 (2007) 53: 1% have it; 90% of them, 9% of the others test positive."""
    found = people(two_answers(((910, 90), (100, 900))), 0.01)
    assert (found.total, found.with_covid, found.without) == (1000, 10, 990)
    positive = found.given("covid")
    assert (positive.with_covid, positive.without, positive.total) == (9, 89, 98)


@pytest.mark.parametrize("three_way", [False, True])
@pytest.mark.parametrize("prevalence", [*PREVALENCES, 0.0137, 0.4711, 0.999])
def test_people_add_up_and_none_is_rounded_away(three_way: bool, prevalence: float) -> None:
    answers = answers_of(measured(), three_way=three_way)
    found = people(answers, prevalence)
    assert sum(group.with_covid for group in found.groups) == found.with_covid
    assert sum(group.without for group in found.groups) == found.without
    assert found.with_covid >= 10
    assert found.without >= 10
    for group, answer in zip(found.groups, answers, strict=True):
        assert abs(group.with_covid - found.with_covid * (answer.in_covid.value or 0)) < 1
        assert abs(group.without - found.without * (answer.in_others.value or 0)) < 1


def test_the_curve_runs_over_the_scale_through_the_readings() -> None:
    answers = two_answers(LIVER_SCANS)
    found = curve(answers[0], 4)  # 0.1%, about 1%, about 9%, 90%
    assert found.x[[0, -1]] == pytest.approx([0.001, 0.9])
    assert np.diff(np.log(found.x)) == pytest.approx([math.log(900) / 3] * 3)
    for index, before in enumerate(found.x):
        reading = read(answers, "covid", float(before)).probability
        assert (found.value[index], found.lower[index], found.upper[index]) == pytest.approx(
            (reading.value, reading.lower, reading.upper)
        )


# In words


def test_a_call_is_said_in_people() -> None:
    answers = two_answers(((910, 90), (100, 900)))
    assert natural_frequency_sentences(read(answers, "covid", 0.01)) == (
        "Of 1000 people like this, 10 have COVID-19.",
        "The model calls 9 of them COVID-19, and 89 of the 990 others: of these 98 people, 9 have it (about 9.2%).",
    )
    assert natural_frequency_sentences(read(answers, "non_covid", 0.01))[1] == (
        "The model calls 1 of them not COVID-19, and 901 of the 990 others: of these 902 people, 1 has COVID-19 all the same "
        "(about 0.11%)."
    )


def test_an_indeterminate_image_leaves_the_probability_where_it_was() -> None:
    first, second, third = natural_frequency_sentences(
        read(three_answers((63, 30, 7), (14, 30, 56)), "indeterminate", 0.1)
    )
    assert first == "Of 1000 people like this, 100 have COVID-19."
    assert second == (
        "The model makes no call on 30 of them and on 270 of the 900 others: of these 300 people, 30 have COVID-19 (about 10%)."
    )
    assert "about as common with COVID-19 as without (likelihood ratio 1.00, 95% CI 0.67 to 1.33)" in third


def test_a_call_of_a_model_that_may_abstain_says_how_often_it_does() -> None:
    answers = three_answers((63, 30, 7), (16, 20, 64))
    assert natural_frequency_sentences(read(answers, "covid", 0.1)) == (
        "Of 1000 people like this, 100 have COVID-19.",
        "The model calls 63 of them COVID-19, and 144 of the 900 others: of these 207 people, 63 have it (about 30%).",
        "On 210 of the 1000 it makes no call.",
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        *((0.001, "0.1%"), (0.0034, "0.34%"), (0.015, "1.5%"), (0.02, "2%"), (0.0652, "6.5%"), (0.0996, "10%")),
        *(
            (0.153, "15%"),
            (0.5, "50%"),
            (0.919, "92%"),
            (0.993, "99.3%"),
            (0.9996, "99.96%"),
            (0.0, "0%"),
            (1.0, "100%"),
        ),
        *((0.00004, "less than 0.01%"), (0.99996, "more than 99.99%")),
    ],
)
def test_percentages_are_short_and_never_claim_certainty(value: float, written: str) -> None:
    assert percent(value) == written


def test_how_much_worse_it_is_elsewhere_is_said_beside_the_same_figures_at_home() -> None:
    here = {"sensitivity": {"value": 0.77}, "specificity": {"value": 0.78}}
    there = {"sensitivity": {"value": 0.75}, "specificity": {"value": 0.65}}
    said = elsewhere_sentence({"metrics": here, "left_out_sources": there}) or ""
    assert "found 75% of the images with COVID-19 from publishers that it had not seen, instead of 77%" in said
    assert "false alarm on 35% of the others, instead of 22%" in said
    assert elsewhere_sentence({"metrics": here}) is None
    unknown = {"sensitivity": {"value": None}, "specificity": {"value": 1}}
    assert elsewhere_sentence({"metrics": here, "left_out_sources": unknown}) is None


def test_the_cohorts_prevalence_stands_in_its_place_instead_of_a_choice_that_reads_alike() -> None:
    labels = [prevalence_label(choice, 0.012) for choice in prevalence_choices(0.012)]
    assert labels[5:8] == ["1%", "1.2% (cohort)", "1.5%"]
    assert [prevalence_label(choice, 0.7009) for choice in prevalence_choices(0.7009)][-3:] == [
        "50%",
        "70% (cohort)",
        "90%",
    ]
