"""What a model's answer to an image means for the patient: the part of the Predict page where a prevalence is chosen."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from covid_core.errors import EvaluationError
from covid_core.evaluation import post_test, post_test_words
from covid_core.figures.post_test import people_bars, post_test_curve
from covid_core.inference.prediction import Prediction
from covid_core.inference.wording import grave_cautions
from covid_core.ui.page import chart, plain, problem

_PREVALENCE = "prevalence"
_NOT_FOR_THIS_IMAGE = (
    "How often the model is right was measured on frontal chest X-rays that it had not seen. This image is none of them, so "
    "nothing can be said of a patient by its answer."
)
_THREE_ANSWERS = (
    "The model gives three answers, so there are three likelihood ratios. Those of the model report are of the operating point "
    "alone, as if it always decided."
)


def meaning(prediction: Prediction, evaluation: Mapping[str, Any] | None) -> None:
    """Let the user choose how common COVID-19 is among people like the patient, and say what the answer then means.

    Args:
        prediction: of the image.
        evaluation: of the model; None where it cannot be read, which was said already.
    """
    if evaluation is None:
        return
    if grave_cautions(prediction):
        st.info(_NOT_FOR_THIS_IMAGE, icon=":material/info:")
        return
    cohort = evaluation["counts"]["prevalence"]
    try:
        answers = post_test.answers_of(evaluation, three_way=prediction.decision is not None)
        choices = post_test_words.prevalence_choices(cohort)
        prevalence = st.select_slider(
            "How common is COVID-19 among people like this patient?",
            choices,
            value=cohort,
            format_func=lambda choice: post_test_words.prevalence_label(choice, cohort),
            key=_PREVALENCE,
            help="The probability of COVID-19 before the image. It starts at the share where the model was judged, "
            "which is far above that of most clinics.",
        )
        reading = post_test.read(answers, prediction.decision or prediction.label, prevalence)
    except EvaluationError as error:
        problem(error)
        return
    words, drawing = st.columns(2, gap="medium")
    with words:
        st.metric("Probability of COVID-19 after the image", post_test_words.probability_in_words(reading))
        if reading.probability.note:
            st.caption(plain(reading.probability.note))
        st.markdown(plain(" ".join(post_test_words.natural_frequency_sentences(reading))))
        ratios = (
            f"{post_test_words.RATIO_TITLES[one.decision]} {post_test_words.ratio_in_words(one)}" for one in answers
        )
        st.markdown(plain("; ".join(ratios) + "."))
        st.caption(plain(post_test_words.accuracy_sentence(answers)))
        if prediction.decision is not None:
            st.caption(_THREE_ANSWERS)
        elsewhere = post_test_words.elsewhere_sentence(evaluation)
        if elsewhere is not None:
            st.caption(plain(elsewhere))
    with drawing:
        chart(people_bars(reading), alt=post_test_words.people_words(reading))
        chart(post_test_curve(reading), alt=post_test_words.curve_words(reading))
