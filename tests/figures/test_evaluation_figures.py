import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from covid_core.figures.dataset import counts_bar, flow, stacked_counts
from covid_core.figures.evaluation import confusion, reliability, training_curves
from covid_core.figures.prediction import probability_scale
from covid_core.figures.theme import CLASS_COLOURS, NEUTRAL
from tests.figures.inspection import (
    MIXED,
    THEMES,
    assert_it_leaves_background_and_text_colour_to_the_page,
    contrast,
    evaluation_of,
    rgb,
    texts,
    trace,
)

HISTORY = pd.DataFrame(
    {
        "stage": ["initial", "initial", "initial", "finetune", "finetune"],
        "epoch": [1, 2, 3, 1, 2],
        "loss": [0.7, 0.6, 0.5, 0.45, 0.4],
        "val_loss": [0.69, 0.60, 0.62, 0.58, 0.59],
        "auc": [0.5, 0.6, 0.7, 0.75, 0.8],
        "val_auc": [0.5, 0.61, 0.66, 0.70, 0.72],
        "learning_rate": [1e-4, 1e-4, 1e-4, 1e-5, 1e-5],
    }
)
FLOW = [
    {"reason": "every row", "images": 10, "patients": 6, "excluded_images": 0, "excluded_patients": 0},
    {"reason": "not an X-ray", "images": 7, "patients": 5, "excluded_images": 3, "excluded_patients": 1},
]
BY_CLASS = pd.DataFrame({"non_covid": [3, 0], "covid": [5, 2], "not given": [1, 0]}, index=["PA", "AP"])


def every_figure() -> dict[str, go.Figure]:
    evaluation = evaluation_of(MIXED)
    return {
        "confusion": confusion([[17, 2], [17, 18]]),
        "training_curves": training_curves(HISTORY),
        "reliability": reliability(evaluation),
        "probability_scale": probability_scale(0.9, 0.5),
        "probability_scale with three answers": probability_scale(0.6, 0.5, (0.3, 0.7)),
        "probability_scale with an ensemble": probability_scale(0.6, 0.5, (0.3, 0.7), (0.45, 0.75)),
        "counts_bar": counts_bar(pd.Series({"covid": 3, "non_covid": 2}), "Class", "images"),
        "stacked_counts": stacked_counts(BY_CLASS, "View", "images"),
        "flow": flow(FLOW),
    }


@pytest.mark.parametrize("name", every_figure())
def test_a_figure_leaves_background_and_text_colour_to_the_page(name: str) -> None:
    assert_it_leaves_background_and_text_colour_to_the_page(every_figure()[name])


@pytest.mark.parametrize("name", every_figure())
def test_every_axis_that_is_shown_has_a_title(name: str) -> None:
    figure = every_figure()[name]
    axes = [*figure.select_xaxes(), *figure.select_yaxes()]
    # In a column of panels only the lowest x axis carries the title and the numbers.
    shown = [axis for axis in axes if axis.visible is not False and not (axis.matches and axis.showticklabels is False)]
    assert all(axis.title.text for axis in shown)


def test_the_confusion_matrix_shows_counts_and_shares_of_the_row_in_their_cells() -> None:
    figure = confusion([[17, 2], [17, 18]])
    assert list(figure.data[0].x) == ["Not COVID-19", "COVID-19"]
    assert list(figure.data[0].y) == ["Not COVID-19<br>n = 19", "COVID-19<br>n = 35"]
    cells = {(note.x, note.y): note.text for note in figure.layout.annotations}
    assert cells == {
        (0, 0): "<b>17</b><br>89%",
        (1, 0): "<b>2</b><br>11%",
        (0, 1): "<b>17</b><br>49%",
        (1, 1): "<b>18</b><br>51%",
    }
    assert figure.layout.yaxis.autorange == "reversed"  # the first class on top, as in the table


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_text_of_the_page_is_legible_on_the_fullest_cell_of_a_confusion_matrix(theme: str) -> None:
    text, page = (rgb(THEMES[theme][name]) for name in ("textColor", "backgroundColor"))
    fullest = confusion([[1, 0], [0, 1]]).data[0].colorscale[-1][1]
    *shade, opacity = map(float, re.findall(r"[\d.]+", fullest))
    cell = opacity * np.array(shade) + (1 - opacity) * page
    assert contrast(text, cell) >= 4.5


def test_training_curves_run_on_through_the_stages_and_mark_the_best_epoch_of_each() -> None:
    figure = training_curves(HISTORY)
    validation = next(one for one in figure.data if one.name == "validation")
    best = [one for one in figure.data if one.name == "best epoch"]
    assert list(validation.x) == [1, 2, 3, 4, 5]
    assert (list(best[0].x), list(best[0].y)) == ([2, 4], [0.60, 0.58])
    assert (list(best[1].x), list(best[1].y)) == ([2, 4], [0.61, 0.70])
    assert {shape.x0 for shape in figure.layout.shapes} == {3.5}
    assert {"initial", "finetune"} <= set(texts(figure))


def test_the_reliability_diagram_has_a_marker_and_bounds_for_every_bin() -> None:
    evaluation = evaluation_of(MIXED)
    bins = evaluation["reliability"]["bins"]
    markers = trace(reliability(evaluation), "images in bins")
    assert list(markers.x) == [one["predicted"] for one in bins]
    assert list(markers.y) == [one["observed"] for one in bins]
    assert list(np.add(markers.y, markers.error_y.array)) == pytest.approx([one["upper"] for one in bins])
    assert list(np.subtract(markers.y, markers.error_y.arrayminus)) == pytest.approx([one["lower"] for one in bins])


@pytest.mark.parametrize(("probability", "colour"), [(0.62, "#D55E00"), (0.6, "#D55E00"), (0.59, "#0072B2")])
def test_the_scale_shows_the_image_in_the_colour_of_its_call_beside_the_operating_point(
    probability: float, colour: str
) -> None:
    figure = probability_scale(probability, 0.6)
    assert figure.data[0].x[0] == probability
    assert figure.data[0].marker.color == colour
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(0.0, 0.6), (0.6, 1.0), (0.6, 0.6)]
    assert texts(figure) == [f"<b>this image {probability:.2f}</b>", "operating point 0.60"]


@pytest.mark.parametrize(
    ("probability", "colour"),
    [(0.71, "#D55E00"), (0.7, "#8C8C8C"), (0.5, "#8C8C8C"), (0.3, "#8C8C8C"), (0.29, "#0072B2")],
)
def test_the_indeterminate_part_of_the_scale_is_hatched_and_named_and_its_images_have_no_classs_colour(
    probability: float, colour: str
) -> None:
    figure = probability_scale(probability, 0.6, (0.3, 0.7))
    image, band = figure.data
    assert image.marker.color == colour
    assert (band.base[0], band.base[0] + band.x[0]) == (0.3, pytest.approx(0.7))
    assert (band.name, band.showlegend) == ("indeterminate 0.30 to 0.70", True)
    assert band.marker.pattern.shape == "/"
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(0.0, 0.3), (0.7, 1.0), (0.6, 0.6)]
    assert texts(figure) == [f"<b>this image {probability:.2f}</b>", "operating point 0.60"]


def test_the_spread_of_an_ensemble_is_a_bar_with_ends_behind_the_image_and_named() -> None:
    figure = probability_scale(0.6, 0.5, (0.3, 0.7), (0.45, 0.75))
    bar, image, band = figure.data
    assert (list(bar.x), list(bar.y)) == ([0.45, 0.75], [0, 0])
    assert (bar.name, bar.marker.symbol) == ("ensemble 0.45 to 0.75", "line-ns")
    assert bar.showlegend is not False
    assert (image.x[0], image.marker.symbol) == (0.6, "diamond")
    assert band.name == "indeterminate 0.30 to 0.70"


def test_count_bars_keep_names_apart_that_look_alike_when_cut_short() -> None:
    names = ["Pneumonia/Bacterial/Streptococcus", "Pneumonia/Bacterial/Staphylococcus"]
    figure = counts_bar(pd.Series([5, 3], index=names), "Finding", "images")
    assert list(figure.data[0].y) == [0, 1]
    assert list(figure.data[0].hovertext) == names
    assert figure.layout.xaxis.title.text == "Images (n = 8)"


def test_the_flow_names_images_patients_and_the_reason_of_every_step() -> None:
    figure = flow(FLOW)
    assert list(trace(figure, "images kept").x) == [10, 7]
    assert list(trace(figure, "left out").x) == [0, 3]
    assert texts(figure) == [
        "<b>10 images, 6 patients</b><br>every row",
        "<b>7 images, 5 patients</b><br>3 left out: not an X-ray",
    ]


def test_empty_counts_and_an_empty_flow_are_drawn_without_complaint() -> None:
    assert counts_bar(pd.Series([], dtype="int64"), "View", "images").layout.xaxis.title.text == "Images (n = 0)"
    assert flow([]).layout.annotations == ()


def test_every_class_is_a_part_of_each_bar_in_its_own_colour() -> None:
    figure = stacked_counts(BY_CLASS, "View", "images")
    assert [(bar.name, list(bar.x), bar.marker.color) for bar in figure.data] == [
        ("Not COVID-19", [3, 0], CLASS_COLOURS["non_covid"]),
        ("COVID-19", [5, 2], CLASS_COLOURS["covid"]),
        ("not given", [1, 0], NEUTRAL),
    ]
    assert figure.layout.barmode == "stack"


def test_a_name_of_a_bar_that_looks_like_html_is_shown_as_it_stands() -> None:
    (bar, *_) = stacked_counts(pd.DataFrame({"covid": [1]}, index=["<b>PA</b><br>x"]), "View", "images").data
    axis = counts_bar(pd.Series({"<b>PA</b>": 1}), "View", "images").layout.yaxis
    assert bar.hovertext == ("&lt;b&gt;PA&lt;/b&gt;&lt;br&gt;x",)
    assert axis.ticktext == ("&lt;b&gt;PA&lt;/b&gt;",)
