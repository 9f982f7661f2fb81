"""What a result means for a patient, as plotly figures: people in whole numbers, and the probability after the image."""

import plotly.graph_objects as go

from covid_core.evaluation.conformal import INDETERMINATE, Decision
from covid_core.evaluation.post_test import SCALE, Group, Reading, curve
from covid_core.evaluation.post_test_words import percent, whole
from covid_core.figures.marks import draw_band, draw_diamond, draw_line, name_rows, prevalence_axis
from covid_core.figures.theme import CLASS_COLOURS, NEUTRAL, framed
from covid_core.labels import CLASS_TITLES, COVID, NON_COVID, Label

_HOVER = "before %{x:.2%}<br>after %{y:.2%}<extra></extra>"
_CALLED = {COVID: "Called COVID-19", NON_COVID: "Called not COVID-19", INDETERMINATE: "Indeterminate"}


def people_bars(reading: Reading) -> go.Figure:
    """Draw people as bars, one for each answer, made of those who have COVID-19 and the others; the image's answer is in bold."""
    groups = reading.people.groups
    positions = list(range(len(groups)))
    figure = go.Figure()
    sides: tuple[tuple[Label, list[int]], ...] = (
        (COVID, [group.with_covid for group in groups]),
        (NON_COVID, [group.without for group in groups]),
    )
    for label, counts in sides:
        figure.add_bar(
            x=counts,
            y=positions,
            orientation="h",
            name=CLASS_TITLES[label],
            marker_color=CLASS_COLOURS[label],
            hovertemplate=f"{CLASS_TITLES[label]}: %{{x}} people<extra></extra>",
        )
    figure.update_layout(barmode="stack", legend_traceorder="normal", bargap=0.35)
    figure.update_xaxes(title=f"People, of {whole(reading.people.total)}", rangemode="tozero")
    name_rows(figure, "Answer", [_row(group, reading.answer.decision) for group in groups])
    return framed(figure, height=90 + 45 * len(groups))


def post_test_curve(reading: Reading) -> go.Figure:
    """Draw the probability after the image over the one before it, with its interval; the chosen prevalence is marked."""
    decision, points = reading.answer.decision, curve(reading.answer)
    colour = NEUTRAL if decision == INDETERMINATE else CLASS_COLOURS[decision]
    figure = go.Figure()
    draw_line(figure, points.x, points.x, "no image", {"color": NEUTRAL, "dash": "dot"})
    draw_band(figure, points, ", ".join(map(str, bytes.fromhex(colour.removeprefix("#")))), "95% CI")
    called = _CALLED[decision].lower().replace("covid", "COVID")
    draw_line(figure, points.x, points.value, called, {"color": colour, "width": 3}, hover=_HOVER)
    if reading.probability.value is not None:
        _mark(figure, reading.prevalence, reading.probability.value, colour)
    prevalence_axis(figure, "Prevalence, log scale (%)", *SCALE)
    figure.update_yaxes(title="After the image (%)", range=[0, 1.02], tickvals=[0, 0.5, 1], ticktext=["0", "50", "100"])
    return framed(figure, height=220)


def _mark(figure: go.Figure, before: float, after: float, colour: str) -> None:
    """Mark the chosen prevalence and what it becomes."""
    draw_line(figure, [before, before], [before, after], None, {"color": NEUTRAL, "width": 1})
    draw_diamond(figure, before, after, colour, hover=_HOVER)
    # In the corner no curve passes, whatever its ratio; beside the marker one always does.
    figure.add_annotation(
        x=0,
        y=1,
        xref="paper",
        yref="paper",
        text=f"<b>before {percent(before)}, after {percent(after)}</b>",
        showarrow=False,
        xanchor="left",
        yanchor="top",
        xshift=8,
    )


def _row(group: Group, chosen: Decision) -> str:
    """The name of a bar, and how many of its people have COVID-19."""
    name = _CALLED[group.decision]
    of_them = f"{whole(group.with_covid)} of {whole(group.total)} with COVID-19"
    return f"<b>{name}</b><br>{of_them}" if group.decision == chosen else f"{name}<br>{of_them}"
