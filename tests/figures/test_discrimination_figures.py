from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from covid_core.evaluation.intervals import Band
from covid_core.figures.discrimination import SERIES, precision_recall, roc, roc_overlay, score_histogram
from covid_core.figures.theme import CLASS_COLOURS
from tests.figures.inspection import (
    MIXED,
    THEMES,
    assert_it_suits_every_page,
    contrast,
    evaluation_of,
    outline,
    rgb,
    texts,
    trace,
)

GRID = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
BAND = Band(GRID, np.array([0.2, 0.6, 0.8, 0.9, 1.0]), np.array([0.1, 0.5, 0.7, 0.8, 1.0]), np.ones(5))
ONE_CLASS = np.ones(12, bool)
AUC = {"value": 0.861, "lower": 0.819, "upper": 0.899, "n": 672}
POINTS = {"fpr": [0.0, 0.2, 1.0], "tpr": [0.0, 0.7, 1.0], "thresholds": [None, 0.5, 0.1]}


def drawn() -> dict[str, go.Figure]:
    evaluation, nobody = evaluation_of(MIXED), evaluation_of(ONE_CLASS)
    return {
        "roc": roc(evaluation),
        "roc with a band": roc(evaluation, BAND),
        "roc of one class": roc(nobody, BAND),
        "precision_recall": precision_recall(evaluation, BAND),
        "precision_recall without a curve": precision_recall(evaluation, None),
        "precision_recall of one class": precision_recall(nobody, BAND),
        "score_histogram": score_histogram(np.linspace(0, 1, 36), MIXED, 0.5),
        "score_histogram of nothing": score_histogram(np.empty(0), np.empty(0, bool), 0.5),
        "roc_overlay": roc_overlay([("one", POINTS, AUC), ("two", None, AUC)]),
        "roc_overlay of nothing": roc_overlay([]),
    }


@pytest.mark.parametrize("name", drawn())
def test_a_figure_leaves_background_and_text_colour_to_the_page_and_names_its_axes(name: str) -> None:
    assert_it_suits_every_page(drawn()[name])


def test_the_roc_curve_carries_the_operating_point_of_the_confusion_matrix_and_the_chance_line() -> None:
    evaluation = evaluation_of(MIXED)
    figure = roc(evaluation)
    (tn, fp), (fn, tp) = evaluation["confusion_matrix"]
    point = trace(figure, "operating point")
    assert (point.x[0], point.y[0]) == (pytest.approx(fp / (fp + tn)), pytest.approx(tp / (tp + fn)))
    assert (point.x[0], point.y[0]) in [
        (pytest.approx(x), pytest.approx(y))
        for x, y in zip(*(trace(figure, "AUC")[axis] for axis in "xy"), strict=True)
    ]
    assert (list(trace(figure, "chance").x), list(trace(figure, "chance").y)) == ([0, 1], [0, 1])


def test_the_operating_point_of_the_roc_curve_has_the_interval_of_both_its_figures() -> None:
    evaluation = evaluation_of(MIXED)
    evaluation["metrics"]["sensitivity"] |= {"value": 0.75, "lower": 0.5, "upper": 0.875}
    evaluation["metrics"]["specificity"] |= {"value": 0.75, "lower": 0.625, "upper": 0.875}
    point = trace(roc(evaluation), "operating point")
    assert (point.x[0] - point.error_x.arrayminus[0], point.x[0] + point.error_x.array[0]) == (0.125, 0.375)
    assert (point.y[0] - point.error_y.arrayminus[0], point.y[0] + point.error_y.array[0]) == (0.5, 0.875)
    assert point.hovertemplate.startswith("sensitivity 0.75 (0.50 to 0.88)<br>false alarms 0.25 (0.12 to 0.38)")


def test_the_band_of_the_roc_curve_is_filled_between_its_bounds_and_lies_behind_the_curve() -> None:
    figure = roc(evaluation_of(MIXED), BAND)
    names = [one.name for one in figure.data]
    fill = trace(figure, "95% CI")
    assert outline(fill) == {*zip(GRID, BAND.lower, strict=True), *zip(GRID, BAND.upper, strict=True)}
    assert fill.fill == "toself"
    assert names.index("95% CI of the curve") < min(
        position for position, name in enumerate(names) if name.startswith("AUC")
    )


def test_a_gap_in_a_band_is_left_open() -> None:
    lower = np.array([0.1, 0.5, np.nan, 0.8, 0.9])
    fill = trace(roc(evaluation_of(MIXED), Band(GRID, BAND.value, lower, BAND.upper)), "95% CI")
    assert list(fill.x) == [0, 0.25, 0.25, 0, None, 0.75, 1, 1, 0.75, None]
    assert list(fill.y) == [0.1, 0.5, 1, 1, None, 0.8, 0.9, 1, 1, None]


@pytest.mark.parametrize("draw", [roc, precision_recall])
def test_a_part_of_one_class_gets_a_sentence_in_place_of_a_curve(draw: Any) -> None:
    figure = draw(evaluation_of(ONE_CLASS), BAND)
    assert "no non_covid image" in texts(figure)[0].replace("<br>", " ")
    assert figure.data == ()


def test_precision_over_recall_carries_the_operating_point_and_chance_at_the_share_of_covid() -> None:
    labels = np.array([0, 0, 1, 0, 1, 1, 1, 1] * 4).astype(bool)
    evaluation = evaluation_of(labels)
    figure = precision_recall(evaluation, BAND)
    (_, fp), (fn, tp) = evaluation["confusion_matrix"]
    point = trace(figure, "operating point")
    assert (point.x[0], point.y[0]) == (pytest.approx(tp / (tp + fn)), pytest.approx(tp / (tp + fp)))
    assert set(trace(figure, "chance 0.62").y) == {20 / 32}
    curve = trace(figure, f"AP {evaluation['metrics']['pr_auc']['value']:.2f} (")
    np.testing.assert_array_equal(curve.y, BAND.value)


def test_scores_are_counted_in_twenty_bins_with_covid_upwards_and_the_others_downwards() -> None:
    probabilities = np.array([0.0, 0.04, 0.05, 0.99, 1.0, 0.97])
    labels = np.array([False, False, True, True, True, False])
    covid, other = score_histogram(probabilities, labels, 0.4).data
    assert (covid.name, covid.marker.color) == ("COVID-19 (n = 3)", CLASS_COLOURS["covid"])
    assert (other.name, other.marker.color) == ("Not COVID-19 (n = 3)", CLASS_COLOURS["non_covid"])
    assert list(covid.y) == [0, 1] + [0] * 17 + [2]
    assert list(other.y) == [-2] + [0] * 18 + [-1]
    assert list(covid.x[:2]) == pytest.approx([0.025, 0.075])
    assert [row[0] for row in other.customdata][::19] == [2, 1]  # counts under the pointer are not negative


@pytest.mark.parametrize(
    ("images", "expected"), [(1, [-1, 0, 1]), (6, [-6, -4, -2, 0, 2, 4, 6]), (70, [-50, 0, 50]), (0, [-1, 0, 1])]
)
def test_the_counts_below_zero_are_round_and_written_without_a_minus(images: int, expected: list[int]) -> None:
    axis = score_histogram(np.full(images, 0.5), np.ones(images, bool), 0.5).layout.yaxis
    assert sorted(axis.tickvals) == expected
    assert list(axis.ticktext) == [str(abs(tick)) for tick in axis.tickvals]


def test_the_first_of_several_models_is_emphasised_on_top_and_first_in_the_legend() -> None:
    figure = roc_overlay([("mine", POINTS, AUC), ("other", POINTS, AUC | {"lower": None, "n": 100})])
    chance, other, mine = figure.data
    assert chance.showlegend is False
    assert mine.name == "<b>mine</b><br>AUC 0.86 (0.82 to 0.90), n = 672 images"
    assert other.name == "other<br>AUC 0.86, n = 100 images"
    assert mine.line.width > other.line.width
    assert figure.layout.legend.traceorder == "reversed"


def test_the_name_of_a_model_is_cut_and_never_read_as_html() -> None:
    _, model = roc_overlay([("<a href='x'>" + "a" * 40, POINTS, AUC)]).data
    name = model.name.split("<br>")[0]
    assert name == "<b>&lt;a href='x'&gt;" + "a" * 19 + "…</b>"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("colour", SERIES)
def test_a_curve_is_seen_on_the_page(colour: str, theme: str) -> None:
    assert contrast(rgb(colour), rgb(THEMES[theme]["backgroundColor"])) >= 3
