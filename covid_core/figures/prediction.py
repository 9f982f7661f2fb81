"""The result of one image as a plotly figure."""

from typing import Any

import plotly.graph_objects as go

from covid_core.figures.marks import draw_diamond
from covid_core.figures.theme import ACCENT, BLUE_RGB, CLASS_COLOURS, CLEAR, NEUTRAL, ORANGE_RGB, framed
from covid_core.labels import COVID, NON_COVID


def probability_scale(
    probability: float,
    threshold: float,
    indeterminate: tuple[float, float] | None = None,
    spread: tuple[float, float] | None = None,
) -> go.Figure:
    """Draw one image's P(covid) on a bar from 0 to 1, split where the call changes.

    The part from the lowest to the highest indeterminate probability is hatched and named in a legend; so is the spread of an
    ensemble, a bar with ends.
    """
    figure = go.Figure()
    lower, upper = (threshold, threshold) if indeterminate is None else indeterminate
    for start, end, rgb in ((0.0, lower, BLUE_RGB), (upper, 1.0, ORANGE_RGB)):
        figure.add_shape(
            type="rect", x0=start, x1=end, y0=-0.5, y1=0.5, fillcolor=f"rgba({rgb}, 0.35)", line_width=0, layer="below"
        )
    figure.add_shape(type="line", x0=threshold, x1=threshold, y0=-0.7, y1=0.7, line={"color": NEUTRAL, "width": 3})
    called = COVID if probability >= threshold else NON_COVID
    undecided = indeterminate is not None and lower <= probability <= upper
    colour = NEUTRAL if undecided else CLASS_COLOURS[called]
    draw_diamond(figure, probability, 0, colour, hover="P(COVID-19) %{x:.3f}<extra></extra>", size=18)
    if indeterminate is not None:
        _hatch(figure, lower, upper)
    if spread is not None:
        _span(figure, *spread)
    figure.add_annotation(**_over(probability, f"<b>this image {probability:.2f}</b>"), y=0.75, yanchor="bottom")
    figure.add_annotation(**_over(threshold, f"operating point {threshold:.2f}"), y=-0.75, yanchor="top")
    figure.update_xaxes(
        title="P(COVID-19), calibrated (1 image)", range=[-0.02, 1.02], tickvals=[0, 0.25, 0.5, 0.75, 1]
    )
    figure.update_yaxes(visible=False, range=[-1.9, 1.9], fixedrange=True)
    return framed(figure, height=150)


def _over(x: float, text: str) -> dict[str, Any]:
    """An annotation at `x` of a scale from 0 to 1 that does not run over its ends."""
    anchor = "left" if x < 0.25 else "right" if x > 0.75 else "center"  # noqa: PLR2004
    return {"x": x, "text": text, "showarrow": False, "xanchor": anchor}


def _hatch(figure: go.Figure, lower: float, upper: float) -> None:
    """Hatch the indeterminate part of a scale, so that it differs from the classes without its colour."""
    figure.add_bar(
        x=[upper - lower],
        base=[lower],
        y=[0],
        width=1,
        orientation="h",
        name=f"indeterminate {lower:.2f} to {upper:.2f}",
        marker={
            "pattern": {"shape": "/", "fillmode": "replace", "fgcolor": NEUTRAL, "bgcolor": CLEAR, "size": 6},
            "line": {"color": NEUTRAL, "width": 1},
        },
        hovertemplate="%{fullData.name}<extra></extra>",
        showlegend=True,
    )
    # A click on the legend would hide the only thing that says that an image is not called.
    figure.update_layout(legend_itemclick=False, legend_itemdoubleclick=False)


def _span(figure: go.Figure, lower: float, upper: float) -> None:
    """Draw a bar with ends behind a scale's image, which need not lie within it."""
    figure.add_scatter(
        x=[lower, upper],
        y=[0, 0],
        mode="lines+markers",
        name=f"ensemble {lower:.2f} to {upper:.2f}",
        line={"color": ACCENT, "width": 4},
        marker={"symbol": "line-ns", "size": 14, "line": {"color": ACCENT, "width": 3}},
        hovertemplate="%{fullData.name}<extra></extra>",
        cliponaxis=False,
    )
    figure.data = (figure.data[-1], *figure.data[:-1])  # what is drawn first lies below
