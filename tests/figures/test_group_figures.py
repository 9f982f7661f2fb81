import pandas as pd
import plotly.graph_objects as go
import pytest

from covid_core.figures.groups import AreaRow, ForestRow, areas, distributions, forest
from tests.figures.inspection import assert_it_suits_every_page, trace

ROWS = [
    ForestRow("Sex", "female", 0.75, 0.5, 0.875, 120, few=False),
    ForestRow("Sex", "not given", 1.0, None, None, 7, few=True),
    ForestRow("View", "L", None, None, None, 2, few=True),
    ForestRow("View", "PA", 0.8, 0.7, 0.9, 300, few=False),
]
MEASURE = "Sensitivity (share of COVID-19 images)"
PARTS = pd.DataFrame({"development": [30, 10], "test": [2, 2]}, index=["PA", "AP"])


def auc(value: float | None, lower: float | None, upper: float | None, n: int = 100) -> dict[str, float | int | None]:
    return {"value": value, "lower": lower, "upper": upper, "n": n}


AREAS = [
    AreaRow("this model", auc(0.86, 0.82, 0.9), auc(0.85, 0.8, 0.9, 60), is_model=True),
    AreaRow("source", auc(0.8, 0.75, 0.85), None, is_model=False),
    AreaRow("view", auc(0.6, None, None), auc(None, None, None), is_model=False),
]


def drawn() -> dict[str, go.Figure]:
    return {
        "forest": forest(ROWS, MEASURE, 0.77),
        "forest of nothing": forest([], MEASURE, None),
        "areas": areas(AREAS),
        "areas of nothing": areas([]),
        "distributions": distributions(PARTS, "View", "films"),
        "distributions of nothing": distributions(PARTS.iloc[:0], "View", "films"),
    }


@pytest.mark.parametrize("name", drawn())
def test_a_figure_leaves_background_and_text_colour_to_the_page_and_names_its_axes(name: str) -> None:
    assert_it_suits_every_page(drawn()[name])


def test_the_rows_of_a_forest_stand_in_their_order_under_their_headings() -> None:
    axis = drawn()["forest"].layout.yaxis
    assert list(axis.ticktext) == ["<b>Sex</b>", "female", "not given †", "<b>View</b>", "L †", "PA"]
    assert list(axis.tickvals) == [0, 1, 2, 3, 4, 5]
    assert axis.range[0] > axis.range[1]  # the first on top


def test_every_group_has_its_figure_with_its_interval() -> None:
    solid = trace(drawn()["forest"], "group")
    assert list(zip(solid.x, solid.y, strict=True)) == [(0.75, 1), (0.8, 5)]
    assert list(solid.error_x.array) == pytest.approx([0.125, 0.1])
    assert list(solid.error_x.arrayminus) == pytest.approx([0.25, 0.1])
    assert list(solid.customdata[0]) == ["female", "0.75 (0.50 to 0.88)", 120]


def test_a_group_of_few_images_is_hollow_and_says_so_in_the_legend() -> None:
    hollow = trace(drawn()["forest"], "† few")
    assert (list(hollow.x), list(hollow.y), hollow.marker.symbol) == ([1.0], [2], "circle-open")
    assert hollow.opacity < 1
    assert hollow.showlegend


def test_a_group_whose_figure_is_not_defined_says_so_in_its_row() -> None:
    notes = {(note.y, note.text) for note in drawn()["forest"].layout.annotations}
    assert (4, "not defined") in notes
    assert not [one for one in drawn()["forest"].data if one.mode == "markers" and 4 in one.y]


def test_the_name_of_a_group_is_cut_and_never_read_as_html() -> None:
    row = ForestRow("Source", "<b>www.a-long-name-of-a-publisher.org</b>", 0.5, 0.4, 0.6, 50, few=False)
    figure = forest([row], MEASURE, None)
    assert figure.layout.yaxis.ticktext[1] == "&lt;b&gt;www.a-long-name-of-a-pub…"
    assert figure.data[0].customdata[0][0] == "&lt;b&gt;www.a-long-name-of-a-publisher.org&lt;/b&gt;"


def test_each_row_of_areas_has_a_circle_over_all_images_and_a_diamond_within_a_source() -> None:
    figure = drawn()["areas"]
    pooled, pooled_others = (one for one in figure.data if one.name == "over all images")
    within, within_others = (one for one in figure.data if one.name == "within a source")
    assert (list(pooled.x), list(pooled_others.x), list(within.x)) == ([0.86], [0.8, 0.6], [0.85])
    assert list(within_others.x) == [None]
    assert {pooled.marker.symbol, pooled_others.marker.symbol} == {"circle"}
    assert {within.marker.symbol, within_others.marker.symbol} == {"diamond"}
    assert pooled.y[0] < 0 < within.y[0]
    assert list(pooled.error_x.arrayminus) == pytest.approx([0.04])


def test_the_model_is_emphasised_among_the_baselines() -> None:
    figure = drawn()["areas"]
    model, others = (one for one in figure.data if one.name == "over all images")
    assert model.marker.size > others.marker.size
    assert model.marker.color != others.marker.color
    assert list(figure.layout.yaxis.ticktext) == ["<b>this model</b>", "source", "view"]


def test_distributions_are_shares_of_each_part_with_its_number_in_the_legend() -> None:
    development, test = drawn()["distributions"].data
    assert (development.name, list(development.x)) == ("development (n = 40)", [75, 25])
    assert (test.name, list(test.x)) == ("test (n = 4)", [50, 50])
    assert list(development.text) == ["75", "25"]
    assert list(development.customdata[0]) == ["PA", "development", 30]
    assert drawn()["distributions"].layout.barmode == "group"
