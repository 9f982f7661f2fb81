import re
from collections.abc import Iterator
from typing import Any

import plotly.graph_objects as go
import pytest
from reportlab.graphics.shapes import Circle, Group, Line, Polygon, PolyLine, Rect, String

from covid_core import figures
from covid_core.figures import framed
from covid_core.model_report.chart_drawing import POINTS_PER_PIXEL, drawing, drawn
from tests.figures import (
    test_discrimination_figures,
    test_evaluation_figures,
    test_group_figures,
    test_post_test_figures,
    test_usefulness_figures,
)

FIGURES = {
    **test_discrimination_figures.drawn(),
    **test_evaluation_figures.every_figure(),
    **test_group_figures.drawn(),
    **test_post_test_figures.drawn(),
    "decision_curve": test_usefulness_figures.decision(),
    "decision_curve of one class": test_usefulness_figures.decision(None),
    "predictive_values": test_usefulness_figures.predictive(),
}
DATASET_PAGE = {"covid_core.figures.explorer", "covid_core.figures.timeline"}
WIDTH = 440.0
HOSTILE = "<b>胸 <br>" + "x" * 90 + " </para> &amp; \ud800 \x00"


def shapes(group: Any, kind: type) -> Iterator[Any]:
    for one in group.contents:
        if isinstance(one, Group):
            yield from shapes(one, kind)
        elif isinstance(one, kind):
            yield one


def words(figure: go.Figure) -> str:
    return " ".join(one.text for one in shapes(drawing(figure, WIDTH), String))


def plain(**settings: Any) -> go.Figure:
    """Ten units of both axes between margins that leave 400 x 300 pixels, without ticks or titles that would widen them."""
    axis = {"range": [0, 10], "showticklabels": False}
    margin = {"l": 100, "r": 100, "t": 60, "b": 40}
    return go.Figure(layout={"height": 400, "margin": margin, "xaxis": axis, "yaxis": axis, **settings})


@pytest.mark.parametrize("name", FIGURES)
def test_of_every_figure_nothing_is_left_out(name: str) -> None:
    result = drawn(FIGURES[name], WIDTH)
    assert result.left_out == ()
    assert (result.drawing.width, result.drawing.height) == (WIDTH, FIGURES[name].layout.height * POINTS_PER_PIXEL)


def test_every_public_figure_is_among_those_drawn_but_for_what_no_report_has() -> None:
    made = {name.split(" ")[0] for name in FIGURES}
    no_figures = {"CLASS_COLOURS", "NEUTRAL", "AreaRow", "ForestRow", "framed"}
    of_the_dataset_page = {
        name for name in figures.__all__ if getattr(getattr(figures, name), "__module__", None) in DATASET_PAGE
    }
    assert made == set(figures.__all__) - no_figures - of_the_dataset_page


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_that_was_stored_and_read_again_is_drawn_alike(name: str) -> None:
    again = go.Figure(FIGURES[name].to_dict())
    for kind in (String, PolyLine, Rect, Line, Polygon):
        stored, made = (
            [one.getProperties() for one in shapes(drawing(figure, WIDTH), kind)] for figure in (again, FIGURES[name])
        )
        assert stored == made


@pytest.mark.parametrize("name", FIGURES)
def test_titles_of_axes_and_names_in_the_legend_are_written(name: str) -> None:
    figure = FIGURES[name]
    written = "".join(words(figure).split())
    axes = [axis for axis in (figure.layout.xaxis, figure.layout.yaxis) if axis.visible is not False]
    named = [one for one in figure.data if one.name and one.showlegend is not False and len(figure.data) > 1]
    for text in [*(axis.title.text or "" for axis in axes), *(one.name for one in named)]:
        assert "".join(re.sub("</?(br|b)>", "", text).split()) in written


def test_a_point_lies_where_its_numbers_say() -> None:
    # The sheet is 600 pixels wide: the plot reaches from 100 to 500 and, from the foot, from 40 to 340.
    figure = plain().add_scatter(x=[0, 5, 10], y=[0, 2, 10], mode="lines+markers")
    sheet = drawing(figure, 600 * POINTS_PER_PIXEL)
    circles = [(one.cx, one.cy) for one in shapes(sheet, Circle)]
    assert circles == [(100, 40), (300, 100), (500, 340)]
    (line,) = shapes(sheet, PolyLine)
    assert line.points == [100, 40, 300, 100, 500, 340]


def test_a_point_on_a_logarithmic_axis_lies_at_its_logarithm() -> None:
    figure = plain(xaxis={"type": "log", "range": [-2, 2], "showticklabels": False})
    figure.add_scatter(x=[0.01, 0.1, 100], y=[0, 0, 0], mode="markers")
    sheet = drawing(figure, 600 * POINTS_PER_PIXEL)
    assert [one.cx for one in shapes(sheet, Circle)] == pytest.approx([100, 200, 500])


def test_a_stacked_bar_begins_where_the_one_below_it_ends() -> None:
    figure = plain(barmode="stack", bargap=0)
    for length, colour in ((2, "#FF0000"), (3, "#0000FF")):
        figure.add_bar(x=[length], y=[5], orientation="h", marker_color=colour, showlegend=False)
    bars = [one for one in shapes(drawing(figure, 600 * POINTS_PER_PIXEL), Rect) if one.fillColor is not None]
    # One unit is 40 pixels sideways and 30 upwards.
    assert [(one.x, one.y, one.width, one.height) for one in bars] == [(100, 175, 80, 30), (180, 175, 120, 30)]


def test_a_gap_in_a_line_is_a_gap_on_paper() -> None:
    figure = plain().add_scatter(x=[0, 1, 2, 3, 4], y=[1, 1, None, 1, 1], mode="lines")
    assert [len(line.points) // 2 for line in shapes(drawing(figure, 400), PolyLine)] == [2, 2]


def test_what_cannot_be_drawn_is_named_on_the_paper() -> None:
    result = drawn(framed(go.Figure(go.Pie(values=[1, 2])), height=200), WIDTH)
    assert result.left_out == ("traces of kind pie",)
    assert "Not drawn here: traces of kind pie." in " ".join(one.text for one in shapes(result.drawing, String))


@pytest.mark.parametrize("name", ["", HOSTILE, "<b>", "COVID\n19"])
def test_names_of_any_kind_are_drawn(name: str) -> None:
    rows = [figures.ForestRow(name, name, 0.5, 0.4, 0.6, 12, few=False)]
    point = {"value": 0.8, "lower": 0.7, "upper": 0.9, "n": 12}
    curve = {"fpr": [0, 1], "tpr": [0, 1], "thresholds": [None, 0.5]}
    for figure in (figures.forest(rows, "Share", 0.5), figures.roc_overlay([(name, curve, point)])):
        assert drawing(figure, WIDTH).asString("pdf").startswith(b"%PDF")


def test_a_letter_that_the_font_lacks_becomes_its_code_point() -> None:
    assert "[U+80F8]" in words(plain(xaxis={"title": {"text": "胸"}, "range": [0, 1]}).add_scatter(x=[0], y=[0]))
