"""What a model is worth in use, as plotly figures: net benefit over thresholds, predictive values over the prevalence."""

from math import log10

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from covid_core.evaluation.intervals import Band
from covid_core.evaluation.post_test_words import percent
from covid_core.figures.marks import draw_band, draw_operating_point
from covid_core.figures.theme import ACCENT, ACCENT_RGB, BLUE_RGB, CLASS_COLOURS, NEUTRAL, ORANGE_RGB, framed, say
from covid_core.labels import COVID, NON_COVID, Label

_TICKS = (0.001, 0.01, 0.1, 0.5, 0.9)


def decision_curve(
    model: Band | None, treat_all: NDArray[np.float64], *, prevalence: float, threshold: float, n: int
) -> go.Figure:
    """Draw the net benefit over the threshold probability (Vickers and Elkin 2006) beside treating all and none.

    Args:
        model: net benefit of the model, true positives per film, with its bounds, over the threshold probability; None where
            it is not defined.
        treat_all: net benefit of calling every film COVID-19, float64 (g,) over `model.x`.
        prevalence: share of COVID-19 that the net benefit assumes, the most it can be.
        threshold: the operating point in [0, 1].
        n: films.
    """
    figure = go.Figure()
    if model is None:
        say(figure, "No curve: a class has no film.")
    else:
        _strategy(figure, model.x, treat_all, "call all COVID-19", "dash")
        _strategy(figure, model.x, np.zeros_like(model.x), "call none", "dot")
        draw_band(figure, model, ACCENT_RGB, "95% CI")
        figure.add_scatter(
            x=model.x,
            y=model.value,
            mode="lines",
            name="model",
            line={"color": ACCENT, "width": 3},
            hovertemplate="threshold %{x:.2f}<br>net benefit %{y:.3f}<extra>model</extra>",
        )
        draw_operating_point(figure, threshold)
    figure.update_xaxes(
        title="Threshold probability (at 0.20, finding one<br>COVID-19 outweighs 4 false alarms)", range=[0, 1]
    )
    # Calling all falls without end as the threshold rises; what matters lies between nothing and the prevalence.
    figure.update_yaxes(
        title=f"Net benefit (true positives per film,<br>less weighted false alarms; n = {n})",
        range=[-0.15 * prevalence, 1.1 * prevalence],
    )
    return framed(figure, height=360)


def predictive_values(ppv: Band, npv: Band, *, chosen: float, n: int) -> go.Figure:
    """Draw both predictive values over the prevalence on a logarithmic scale; the chosen prevalence is marked.

    Bounds from the lowest (highest) sensitivity together with the lowest (highest) specificity are conservative: both are
    rarely that low at once.

    Args:
        ppv: share of films called COVID-19 that are, over the prevalence in (0, 1); bounds may be NaN.
        npv: share of films called not COVID-19 that are not, likewise.
        chosen: the prevalence in (0, 1) that is marked.
        n: films that sensitivity and specificity rest on.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=[chosen, chosen],
        y=[0, 1],
        mode="lines",
        name=f"prevalence {percent(chosen)}",
        line={"color": NEUTRAL, "width": 2},
        hoverinfo="skip",
    )
    sides: tuple[tuple[Label, Band, str, str], ...] = (
        (COVID, ppv, ORANGE_RGB, "PPV"),
        (NON_COVID, npv, BLUE_RGB, "NPV"),
    )
    for label, band, rgb, name in sides:
        draw_band(figure, band, rgb, f"{name}, 95% CI")
        figure.add_scatter(
            x=band.x,
            y=band.value,
            mode="lines",
            name=name,
            line={"color": CLASS_COLOURS[label], "width": 3, "dash": "solid" if label == COVID else "dash"},
            hovertemplate=f"prevalence %{{x:.2%}}<br>{name} %{{y:.1%}}<extra></extra>",
        )
        _mark(figure, band, chosen, CLASS_COLOURS[label])
    figure.update_xaxes(
        title="Prevalence of COVID-19, log scale (%)",
        type="log",
        range=[log10(ppv.x[0]), log10(ppv.x[-1])],
        tickvals=_TICKS,
        ticktext=[percent(tick).rstrip("%") for tick in _TICKS],
    )
    figure.update_yaxes(
        title=f"Call is right (% of such calls; n = {n})",
        range=[-0.02, 1.02],
        tickvals=[0, 0.25, 0.5, 0.75, 1],
        ticktext=["0", "25", "50", "75", "100"],
    )
    return framed(figure, height=340)


def _strategy(figure: go.Figure, x: NDArray[np.float64], y: NDArray[np.float64], name: str, dash: str) -> None:
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",
        name=name,
        line={"color": NEUTRAL, "dash": dash, "width": 2},
        hovertemplate=f"threshold %{{x:.2f}}<br>net benefit %{{y:.3f}}<extra>{name}</extra>",
    )


def _mark(figure: go.Figure, band: Band, chosen: float, colour: str) -> None:
    """Mark a curve at the chosen prevalence, on the straight line that is drawn between two points of the grid."""
    figure.add_scatter(
        x=[chosen],
        y=[np.interp(log10(chosen), np.log10(band.x), band.value)],
        mode="markers",
        marker={"color": colour, "size": 13, "symbol": "diamond", "line": {"color": "white", "width": 2}},
        showlegend=False,
        hovertemplate="prevalence %{x:.2%}<br>%{y:.1%}<extra></extra>",
        cliponaxis=False,
    )
