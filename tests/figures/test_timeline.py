from typing import Any

import plotly.graph_objects as go

from covid_core.dataset.image_record import CT, X_RAY, PatientImage
from covid_core.figures.timeline import timeline


def image(name: str, day: float | None, kind: str = X_RAY) -> PatientImage:
    return PatientImage(name, day, kind, "PA")


def traces(figure: go.Figure) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data}


def test_every_image_with_a_day_has_one_mark_where_its_day_is() -> None:
    drawn = traces(timeline([image("a", -2), image("b", 3), image("c", 9, CT), image("d", None)], "d"))
    assert {name: tuple(trace.x) for name, trace in drawn.items()} == {"X-ray": (-2, 3), "CT": (9,)}


def test_the_image_that_is_open_is_larger_and_of_another_colour_in_its_own_shape() -> None:
    drawn = traces(timeline([image("a", 1), image("b", 2, CT)], "b"))
    this, others = drawn["this image"], drawn["CT"]
    assert (tuple(this.x), tuple(this.y)) == ((2,), (0,))
    assert this.marker.size > others.marker.size
    assert this.marker.color != others.marker.color
    assert this.marker.symbol == others.marker.symbol


def test_images_of_one_day_stand_above_each_other() -> None:
    drawn = traces(timeline([image("a", 4), image("b", 4, CT), image("c", 4), image("d", 5)], "c"))
    marks = [(x, y) for name in ("X-ray", "CT") for x, y in zip(drawn[name].x, drawn[name].y, strict=True)]
    assert sorted(marks) == [(4, 0), (4, 1), (4, 2), (5, 0)]
    assert (tuple(drawn["this image"].x), tuple(drawn["this image"].y)) == ((4,), (2,))


def test_very_many_images_of_one_day_keep_the_chart_low_and_are_counted() -> None:
    figure = timeline([image(str(number), 4) for number in range(5_000)], "4999")
    assert figure.layout.height < 400
    assert [note.text for note in figure.layout.annotations] == ["+4988"]
    assert tuple(traces(figure)["this image"].y) == (11,)


def test_a_name_that_looks_like_html_is_shown_as_it_stands() -> None:
    (shown,) = traces(timeline([image("<b onload=x>.png", 1)], ""))["X-ray"].customdata
    assert shown == "&lt;b onload=x&gt;.png"
