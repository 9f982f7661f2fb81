import math

import numpy as np
import plotly.graph_objects as go
import pytest

from covid_core.evaluation.intervals import Band
from covid_core.figures.usefulness import decision_curve, predictive_values
from tests.figures.inspection import assert_it_suits_every_page, outline, texts, trace

THRESHOLDS = np.array([0.1, 0.5, 0.9])
MODEL = Band(THRESHOLDS, np.array([0.28, 0.2, 0.05]), np.array([0.25, 0.15, np.nan]), np.array([0.30, 0.25, np.nan]))
TREAT_ALL = 0.3 - 0.7 * np.array([1 / 9, 1, 9])
"""At a prevalence of 0.3; the odds of the thresholds are 1 to 9, 1 to 1, 9 to 1."""
PREVALENCES = np.array([0.001, 0.01, 0.1, 0.9])
PPV = Band(PREVALENCES, np.array([0.01, 0.1, 0.5, 0.9]), np.array([0, 0.05, 0.4, 0.8]), np.array([0.02, 0.2, 0.6, 1]))
NPV = Band(PREVALENCES, PPV.value[::-1], np.full(4, np.nan), np.full(4, np.nan))


def decision(model: Band | None = MODEL) -> go.Figure:
    return decision_curve(model, TREAT_ALL, prevalence=0.3, threshold=0.52, n=672)


def predictive(chosen: float = 0.01) -> go.Figure:
    return predictive_values(PPV, NPV, chosen=chosen, n=672)


@pytest.mark.parametrize("figure", [decision(), decision(None), predictive()], ids=["decision", "no model", "values"])
def test_a_figure_leaves_background_and_text_colour_to_the_page_and_names_its_axes(figure: go.Figure) -> None:
    assert_it_suits_every_page(figure)


def test_the_net_benefit_stands_beside_calling_all_and_calling_none() -> None:
    figure = decision()
    np.testing.assert_array_equal(trace(figure, "model").y, MODEL.value)
    np.testing.assert_array_equal(trace(figure, "call all").y, TREAT_ALL)
    assert set(trace(figure, "call none").y) == {0}
    assert outline(trace(figure, "95% CI")) == {(0.1, 0.25), (0.5, 0.15), (0.5, 0.25), (0.1, 0.3)}


def test_a_part_of_one_class_gets_a_sentence_in_place_of_a_decision_curve() -> None:
    assert texts(decision(None)) == ["No curve: a class has no image."]


def test_both_predictive_values_are_drawn_in_the_colour_of_their_call_over_a_logarithmic_scale() -> None:
    figure = predictive()
    (ppv,) = [one for one in figure.data if one.name == "PPV"]
    (npv,) = [one for one in figure.data if one.name == "NPV"]
    assert (ppv.line.color, npv.line.color) == ("#D55E00", "#0072B2")
    assert ppv.line.dash != npv.line.dash
    assert (figure.layout.xaxis.type, list(figure.layout.xaxis.range)) == ("log", pytest.approx([-3, math.log10(0.9)]))


def test_the_chosen_prevalence_is_marked_on_both_curves() -> None:
    figure = predictive()
    assert set(trace(figure, "prevalence 1%").x) == {0.01}
    assert [(one.x[0], one.y[0]) for one in figure.data if one.mode == "markers"] == [
        (0.01, pytest.approx(0.1)),
        (0.01, pytest.approx(0.5)),
    ]


def test_a_prevalence_between_the_points_of_the_grid_is_marked_on_the_line_that_is_drawn() -> None:
    marker = next(one for one in predictive(math.sqrt(0.001)).data if one.mode == "markers")
    assert marker.y[0] == pytest.approx((0.1 + 0.5) / 2)  # halfway from 0.01 to 0.1 on a logarithmic scale
