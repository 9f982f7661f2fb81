"""The marks that several figures draw: a band, a point with its interval, the operating point, a name on several lines.

A metric has a `value`, `lower` and `upper`; each may be None.
"""

import html
import textwrap
from collections.abc import Mapping, Sequence
from math import log10
from typing import Any

import numpy as np
import plotly.graph_objects as go

from covid_core.evaluation.intervals import Band
from covid_core.evaluation.post_test_words import percent
from covid_core.figures.theme import CLASS_COLOURS, NEUTRAL
from covid_core.labels import COVID

Metric = Mapping[str, Any]
SENTENCE = 40
"""Characters of a line in a plot of 400 px."""
_PREVALENCES = (0.001, 0.01, 0.1, 0.5, 0.9)


def draw_line(
    figure: go.Figure, x: Any, y: Any, name: str | None, look: Mapping[str, Any], *, hover: str | None = None
) -> None:
    """Draw a curve; without a name it is not in the legend, without a hover text it is not under the pointer."""
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",
        name=name,
        showlegend=None if name else False,
        line=dict(look),
        hoverinfo="skip" if hover is None else None,
        hovertemplate=hover,
    )


def draw_diamond(figure: go.Figure, x: float, y: float, colour: str, *, hover: str, size: int = 14) -> None:
    """Draw what a curve is at the chosen place, with a white edge and without an entry in the legend."""
    figure.add_scatter(
        x=[x],
        y=[y],
        mode="markers",
        marker={"color": colour, "size": size, "symbol": "diamond", "line": {"color": "white", "width": 2}},
        showlegend=False,
        cliponaxis=False,
        hovertemplate=hover,
    )


def name_rows(figure: go.Figure, title: str, names: Sequence[str], **look: Any) -> None:
    """Name rows that lie at 0, 1, ... from top to bottom; `look` may give their range."""
    look = {"tickvals": list(range(len(names))), "ticktext": names, "showgrid": False, **look}
    figure.update_yaxes(title=title, **({} if "range" in look else {"autorange": "reversed"}), **look)


def prevalence_axis(figure: go.Figure, title: str, lowest: float, highest: float) -> None:
    """Make the horizontal axis one of prevalences in per cent, on a logarithmic scale."""
    figure.update_xaxes(
        title=title,
        type="log",
        range=[log10(lowest), log10(highest)],
        tickvals=_PREVALENCES,
        ticktext=[percent(tick).rstrip("%") for tick in _PREVALENCES],
    )


def tick_step(most: int, steps: int) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50 and so on that reaches a number in so many steps."""
    powers = [int(10**power) for power in range(9)]
    return next(factor * power for power in powers for factor in (1, 2, 5) if steps * factor * power >= most)


def error_bars(metrics: Sequence[Metric], colour: str, width: int = 0) -> dict[str, Any]:
    """The intervals of figures as arms; a figure without an interval has arms without length."""
    known = [metric["lower"] is not None and metric["upper"] is not None for metric in metrics]
    pairs = list(zip(metrics, known, strict=True))
    return {
        "array": [metric["upper"] - metric["value"] if has else 0 for metric, has in pairs],
        "arrayminus": [metric["value"] - metric["lower"] if has else 0 for metric, has in pairs],
        "color": colour,
        "thickness": 1.5,
        "width": width,
    }


def draw_band(figure: go.Figure, band: Band, rgb: str, name: str | None) -> None:
    """Fill what lies between the bounds of a band, wherever it has both, in a colour as `ACCENT_RGB`; its curve is not drawn.

    None as the name leaves it out of the legend.
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
    """Draw a point with the interval of each of its figures, named `axes` under the pointer; nothing where one is not defined."""
    if x["value"] is None or y["value"] is None:
        return
    figure.add_scatter(
        x=[x["value"]],
        y=[y["value"]],
        error_x=None if x["lower"] is None else error_bars([x], CLASS_COLOURS[COVID], 5),
        error_y=None if y["lower"] is None else error_bars([y], CLASS_COLOURS[COVID], 5),
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
