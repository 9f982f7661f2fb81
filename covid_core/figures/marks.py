"""The marks that several figures draw: a band, a point with its interval, the operating point, a name on several lines.

A metric has a `value`, `lower` and `upper`; each may be None.
"""

import html
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from covid_core.evaluation.intervals import Band
from covid_core.figures.theme import CLASS_COLOURS, NEUTRAL
from covid_core.labels import COVID

Metric = Mapping[str, Any]
SENTENCE = 40
"""Characters of a line in a plot of 400 px."""


def draw_band(figure: go.Figure, band: Band, rgb: str, name: str | None) -> None:
    """Fill what lies between the bounds of a band, wherever it has both.

    Args:
        figure: gets one trace more, or none where the band has no bounds.
        band: the bounds; its curve is not drawn.
        rgb: red, green and blue, e.g. `ACCENT_RGB`.
        name: of the entry in the legend; None for no entry.
    """
    known = np.isfinite(band.lower) & np.isfinite(band.upper)
    x: list[float | None] = []
    y: list[float | None] = []
    # Each stretch without a gap is a shape of its own: a fill to the next trace would run across the gaps.
    for stretch in np.split(np.arange(known.size), np.flatnonzero(np.diff(known)) + 1):
        if stretch.size and known[stretch[0]]:
            x += [*band.x[stretch].tolist(), *band.x[stretch[::-1]].tolist(), None]
            y += [*band.lower[stretch].tolist(), *band.upper[stretch[::-1]].tolist(), None]
    if x:
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            line_width=0,
            fill="toself",
            fillcolor=f"rgba({rgb}, 0.25)",
            name=name,
            showlegend=name is not None,
            hoverinfo="skip",
        )


def draw_cross(figure: go.Figure, x: Metric, y: Metric, name: str, axes: tuple[str, str]) -> None:
    """Draw a point with the interval of each of its figures, or nothing where one of them is not defined.

    Args:
        figure: gets one trace more, or none.
        x: the horizontal figure.
        y: the vertical figure.
        name: of the entry in the legend.
        axes: what the two figures are, for the text under the pointer.
    """
    if x["value"] is None or y["value"] is None:
        return
    figure.add_scatter(
        x=[x["value"]],
        y=[y["value"]],
        error_x=_arms(x),
        error_y=_arms(y),
        mode="markers",
        name=name,
        marker={"color": CLASS_COLOURS[COVID], "size": 12, "symbol": "diamond"},
        hovertemplate=f"{axes[1]} {with_interval(y)}<br>{axes[0]} {with_interval(x)}<extra></extra>",
    )


def draw_operating_point(
    figure: go.Figure, threshold: float, *, name: str = "operating point", dash: str = "solid"
) -> None:
    """Draw a vertical line from bottom to top where the call changes, named in the legend."""
    figure.add_shape(
        type="line",
        x0=threshold,
        x1=threshold,
        y0=0,
        y1=1,
        yref="paper",
        line={"color": NEUTRAL, "width": 2, "dash": dash},
        name=f"{name} {threshold:.2f}",
        showlegend=True,
    )


def complement(metric: Metric) -> dict[str, float | None]:
    """The metric of what is left to 1, e.g. the false alarms of a specificity; the bounds change sides."""
    value, lower, upper = (None if metric[key] is None else 1 - metric[key] for key in ("value", "lower", "upper"))
    return {"value": value, "lower": upper, "upper": lower}


def with_interval(metric: Metric) -> str:
    """A metric in words: `0.86 (0.82 to 0.90)`."""
    if metric["value"] is None:
        return "not defined"
    if metric["lower"] is None or metric["upper"] is None:
        return f"{metric['value']:.2f}"
    return f"{metric['value']:.2f} ({metric['lower']:.2f} to {metric['upper']:.2f})"


def in_lines(text: str, width: int = SENTENCE) -> str:
    """A text on as many lines as it needs, for plotly: what looks like HTML in it is shown as it stands."""
    return "<br>".join(html.escape(line, quote=False) for line in textwrap.wrap(text, width))


def in_one_line(text: str, width: int) -> str:
    """A text cut to a number of characters, for plotly: what looks like HTML in it is shown as it stands."""
    cut = text if len(text) <= width else text[: width - 1].rstrip() + "…"
    return html.escape(cut, quote=False)


def _arms(metric: Metric) -> dict[str, Any] | None:
    if metric["lower"] is None or metric["upper"] is None:
        return None
    return {
        "array": [metric["upper"] - metric["value"]],
        "arrayminus": [metric["value"] - metric["lower"]],
        "color": CLASS_COLOURS[COVID],
        "thickness": 1.5,
        "width": 5,
    }
