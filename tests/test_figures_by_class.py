import pandas as pd

from covid_core.figures import CLASS_COLOURS, NEUTRAL
from covid_core.figures_by_class import stacked_counts

TABLE = pd.DataFrame({"non_covid": [3, 0], "covid": [5, 2], "not given": [1, 0]}, index=["PA", "AP"])


def test_every_class_is_a_part_of_each_bar_in_its_own_colour() -> None:
    figure = stacked_counts(TABLE, "View", "images")
    assert [(bar.name, list(bar.x), bar.marker.color) for bar in figure.data] == [
        ("Not COVID-19", [3, 0], CLASS_COLOURS["non_covid"]),
        ("COVID-19", [5, 2], CLASS_COLOURS["covid"]),
        ("not given", [1, 0], NEUTRAL),
    ]
    assert figure.layout.barmode == "stack"


def test_the_whole_of_each_bar_is_written_at_its_end() -> None:
    notes = [(note.x, note.y, note.text) for note in stacked_counts(TABLE, "View", "images").layout.annotations]
    assert notes == [(9, 0, "9"), (2, 1, "2")]


def test_the_bars_are_named_and_counted() -> None:
    figure = stacked_counts(TABLE, "View", "images")
    assert list(figure.layout.yaxis.ticktext) == ["PA", "AP"]
    assert figure.layout.xaxis.title.text == "Images (n = 11)"
