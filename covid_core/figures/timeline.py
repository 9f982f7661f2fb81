"""The images of one patient along the days, as a plotly figure."""

from collections import Counter
from collections.abc import Sequence

import plotly.graph_objects as go

from covid_core.dataset.image_record import CT, OTHER, X_RAY, PatientImage
from covid_core.figures.marks import in_one_line
from covid_core.figures.theme import ACCENT, NEUTRAL, framed

_SHAPES = {X_RAY: "circle", CT: "square", OTHER: "diamond"}
_NAMES = {X_RAY: "X-ray", CT: "CT", OTHER: "another kind"}
_LONGEST_NAME = 40
_HEIGHT, _ROW = 145, 14  # pixels; of a second and third image on one day
_MOST_ROWS = 12  # images of one day that stand above each other; further ones lie on the last and are counted
_LEAST_DAYS = 4  # a few days side by side need no more than whole numbers on the axis


def timeline(images: Sequence[PatientImage], shown: str) -> go.Figure:
    """Draw one mark for each image of a patient that has a day; images of one day stand above each other.

    Of very many on one day the last ones lie on each other, and are counted above. The image whose file name is `shown` is open:
    it is drawn larger and in colour.
    """
    dated = [image for image in images if image.day is not None]
    seen: Counter[float] = Counter()
    places: list[tuple[float, int]] = []
    for image in dated:
        day = float(image.day or 0)
        places.append((day, min(seen[day], _MOST_ROWS - 1)))
        seen[day] += 1
    figure = go.Figure()
    for kind, symbol in _SHAPES.items():
        chosen = [number for number, image in enumerate(dated) if image.kind == kind]
        if chosen:
            figure.add_scatter(
                x=[places[number][0] for number in chosen],
                y=[places[number][1] for number in chosen],
                mode="markers",
                name=_NAMES[kind],
                marker={"symbol": symbol, "size": 12, "color": NEUTRAL},
                customdata=[in_one_line(dated[number].filename, _LONGEST_NAME) for number in chosen],
                hovertext=[in_one_line(dated[number].sentence, _LONGEST_NAME) for number in chosen],
                hovertemplate="%{hovertext}<br>%{customdata}<extra></extra>",
            )
    _mark_shown(figure, dated, places, shown)
    beyond = {day: count - _MOST_ROWS for day, count in seen.items() if count > _MOST_ROWS}
    figure.layout.annotations = [
        {"x": day, "y": _MOST_ROWS, "text": f"+{count}", "showarrow": False} for day, count in beyond.items()
    ]
    highest = max([0, *(row for _, row in places)]) + bool(beyond)
    days = [day for day, _ in places]
    figure.update_xaxes(
        title="Days since onset or admission",
        title_standoff=12,
        range=_range(days),
        showline=True,
        linecolor=NEUTRAL,
        ticks="outside",
    )
    if not days or max(days) - min(days) <= _LEAST_DAYS:
        figure.update_xaxes(dtick=1)
    figure.update_yaxes(visible=False, range=[-0.6, highest + 0.6], fixedrange=True)
    return framed(figure, height=_HEIGHT + _ROW * highest).update_layout(showlegend=True)


def _mark_shown(
    figure: go.Figure, images: Sequence[PatientImage], places: Sequence[tuple[float, int]], shown: str
) -> None:
    for image, (day, row) in zip(images, places, strict=True):
        if image.filename == shown:
            figure.add_scatter(
                x=[day],
                y=[row],
                mode="markers",
                name="this image",
                marker={"symbol": _SHAPES[image.kind], "size": 18, "color": ACCENT},
                hovertext=[in_one_line(image.sentence, _LONGEST_NAME)],
                hovertemplate="%{hovertext}, this image<extra></extra>",
            )


def _range(days: Sequence[float]) -> list[float]:
    """Room on both sides, so that a single day stands in the middle."""
    first, last = (min(days), max(days)) if days else (0.0, 0.0)
    room = max(1.0, 0.06 * (last - first))
    return [first - room, last + room]
