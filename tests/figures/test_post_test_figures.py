import math

import numpy as np
import plotly.graph_objects as go
import pytest

from covid_core.evaluation.conformal import Decision
from covid_core.evaluation.intervals import Estimate
from covid_core.evaluation.post_test import Answer, Reading, read
from covid_core.figures.post_test import people_bars, post_test_curve
from covid_core.figures.theme import CLASS_COLOURS, NEUTRAL
from tests.figures.inspection import assert_it_suits_every_page, texts


def share(value: float) -> Estimate:
    return Estimate(value, None, None, "none", 100)


def answer(decision: Decision, in_covid: float, in_others: float, spread: float | None = 1.5) -> Answer:
    """An answer whose ratio has an interval of so many times less and more, or none."""
    ratio = in_covid / in_others
    lower, upper = (None, None) if spread is None else (ratio / spread, ratio * spread)
    return Answer(decision, share(in_covid), share(in_others), Estimate(ratio, lower, upper, "patient bootstrap", 100))


THREE = (answer("covid", 0.6, 0.1), answer("indeterminate", 0.3, 0.3), answer("non_covid", 0.1, 0.6))


def drawn() -> dict[str, go.Figure]:
    readings = [read(THREE, one.decision, 0.02) for one in THREE]
    return {
        f"{draw.__name__} {one.answer.decision}": draw(one)
        for one in readings
        for draw in (people_bars, post_test_curve)
    }


def row_names(reading: Reading) -> list[str]:
    return list(people_bars(reading).layout.yaxis.ticktext)


@pytest.mark.parametrize("name", drawn())
def test_a_figure_leaves_background_and_text_colour_to_the_page_and_names_its_axes(name: str) -> None:
    assert_it_suits_every_page(drawn()[name])


def test_the_bars_are_the_people_of_each_answer_by_what_they_have() -> None:
    figure = people_bars(read(THREE, "covid", 0.02))
    with_covid, without = figure.data
    assert (with_covid.name, list(with_covid.x), with_covid.marker.color) == (
        "COVID-19",
        [12, 6, 2],
        CLASS_COLOURS["covid"],
    )
    assert (without.name, list(without.x), without.marker.color) == (
        "Not COVID-19",
        [98, 294, 588],
        CLASS_COLOURS["non_covid"],
    )
    assert figure.layout.barmode == "stack"
    assert figure.layout.xaxis.title.text == "People, of 1000"


def test_every_bar_says_its_numbers_and_the_images_own_is_bold() -> None:
    assert row_names(read(THREE, "indeterminate", 0.02)) == [
        "Called COVID-19<br>12 of 110 with COVID-19",
        "<b>Indeterminate</b><br>6 of 300 with COVID-19",
        "Called not COVID-19<br>2 of 590 with COVID-19",
    ]


@pytest.mark.parametrize(
    ("decision", "colour"),
    [("covid", CLASS_COLOURS["covid"]), ("non_covid", CLASS_COLOURS["non_covid"]), ("indeterminate", NEUTRAL)],
)
def test_the_curve_has_the_colour_of_its_answer(decision: Decision, colour: str) -> None:
    figure = post_test_curve(read(THREE, decision, 0.1))
    assert colour in [one.line.color for one in figure.data]
    assert figure.data[-1].marker.color == colour


def test_the_curve_marks_what_the_chosen_prevalence_becomes() -> None:
    figure = post_test_curve(read(THREE, "covid", 0.1))
    odds = 6 / 9  # 0.6 / 0.1 times 0.1 to 0.9
    marker = figure.data[-1]
    assert (marker.x[0], marker.y[0]) == (0.1, pytest.approx(odds / (1 + odds)))
    assert texts(figure) == ["<b>before 10%, after 40%</b>"]


def test_the_curve_lies_in_its_band_over_a_logarithmic_scale() -> None:
    figure = post_test_curve(read(THREE, "covid", 0.1))
    no_image, band, line = figure.data[:3]
    assert (figure.layout.xaxis.type, list(figure.layout.xaxis.range)) == (
        "log",
        pytest.approx([-3, math.log10(0.9)]),
    )
    np.testing.assert_array_equal(no_image.x, no_image.y)
    assert band.name == "95% CI"
    upper, lower = np.asarray(band.y[line.y.size : -1], float)[::-1], np.asarray(band.y[: line.y.size], float)
    assert (lower < line.y).all()
    assert (line.y < upper).all()


def test_a_ratio_that_is_not_known_has_neither_band_nor_marker() -> None:
    unknown = Answer("covid", share(0.6), share(0.0), Estimate(None, None, None, "none", 100))
    figure = post_test_curve(read((unknown,), "covid", 0.1))
    assert texts(figure) == []
    assert "95% CI" not in [one.name for one in figure.data]
