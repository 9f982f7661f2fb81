"""What a model is worth in use, as plotly figures: net benefit over thresholds, predictive values over the prevalence."""

from math import log10

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from covid_core.evaluation.intervals import Band
from covid_core.evaluation.post_test_words import percent
from covid_core.figures.marks import draw_band, draw_diamond, draw_line, draw_operating_point, prevalence_axis
from covid_core.figures.theme import ACCENT, ACCENT_RGB, BLUE_RGB, CLASS_COLOURS, NEUTRAL, ORANGE_RGB, framed, say
from covid_core.labels import COVID, NON_COVID, Label


def decision_curve(
    model: Band | None, treat_all: NDArray[np.float64], *, prevalence: float, threshold: float, n: int
) -> go.Figure:
    """Draw the net benefit over the threshold probability (Vickers and Elkin 2006) beside treating all (g,) and none.

    The prevalence that it assumes is the most that a net benefit, in true positives per image, can be.
    """
    figure = go.Figure()
    if model is None:
        say(figure, "No curve: a class has no image.")
    else:
        hover = "threshold %{{x:.2f}}<br>net benefit %{{y:.3f}}<extra>{}</extra>"
        strategies = (("call all COVID-19", treat_all, "dash"), ("call none", np.zeros_like(model.x), "dot"))
        for name, benefit, dash in strategies:
            draw_line(
                figure, model.x, benefit, name, {"color": NEUTRAL, "dash": dash, "width": 2}, hover=hover.format(name)
            )
        draw_band(figure, model, ACCENT_RGB, "95% CI")
        draw_line(figure, model.x, model.value, "model", {"color": ACCENT, "width": 3}, hover=hover.format("model"))
        draw_operating_point(figure, threshold)
    figure.update_xaxes(
        title="Threshold probability (at 0.20, finding one<br>COVID-19 outweighs 4 false alarms)", range=[0, 1]
    )
    # Calling all falls without end as the threshold rises; what matters lies between nothing and the prevalence.
    figure.update_yaxes(
        title=f"Net benefit (true positives per image,<br>less weighted false alarms; n = {n})",
        range=[-0.15 * prevalence, 1.1 * prevalence],
    )
    return framed(figure, height=360)


def predictive_values(ppv: Band, npv: Band, *, chosen: float, n: int) -> go.Figure:
    """Draw both predictive values over the prevalence on a logarithmic scale; the chosen prevalence is marked.

    Bounds from the lowest (highest) sensitivity together with the lowest (highest) specificity are conservative: both are
    rarely that low at once. `n` is the number of images that these rest on.
    """
    figure = go.Figure()
    draw_line(figure, [chosen, chosen], [0, 1], f"prevalence {percent(chosen)}", {"color": NEUTRAL, "width": 2})
    sides: tuple[tuple[Label, Band, str, str], ...] = (
        (COVID, ppv, ORANGE_RGB, "PPV"),
        (NON_COVID, npv, BLUE_RGB, "NPV"),
    )
    for label, band, rgb, name in sides:
        draw_band(figure, band, rgb, f"{name}, 95% CI")
        look = {"color": CLASS_COLOURS[label], "width": 3, "dash": "solid" if label == COVID else "dash"}
        hover = f"prevalence %{{x:.2%}}<br>{name} %{{y:.1%}}<extra></extra>"
        draw_line(figure, band.x, band.value, name, look, hover=hover)
        # On the straight line that is drawn between two points of the grid.
        there = float(np.interp(log10(chosen), np.log10(band.x), band.value))
        draw_diamond(figure, chosen, there, CLASS_COLOURS[label], hover=hover, size=13)
    prevalence_axis(figure, "Prevalence of COVID-19, log scale (%)", ppv.x[0], ppv.x[-1])
    figure.update_yaxes(
        title=f"Call is right (% of such calls; n = {n})",
        range=[-0.02, 1.02],
        tickvals=[0, 0.25, 0.5, 0.75, 1],
        ticktext=["0", "25", "50", "75", "100"],
    )
    return framed(figure, height=340)
