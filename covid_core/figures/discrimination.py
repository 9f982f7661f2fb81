"""How well a model tells the classes apart, as plotly figures: ROC, precision and recall, scores by class, models compared."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from covid_core.evaluation.intervals import Band
from covid_core.figures import marks
from covid_core.figures.theme import ACCENT, ACCENT_RGB, CLASS_COLOURS, NEUTRAL, framed, say
from covid_core.labels import CLASS_TITLES, COVID, NON_COVID, Label

SERIES = (ACCENT, "#CC79A7", "#B87A00", "#3B8FD0", "#8A6FD0", NEUTRAL)
"""Colours of what is no class; each stands out from white and from the dark page by a contrast of 3 or more (WCAG 2.2)."""

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_SHARES = [-0.02, 1.02]
_BINS = 20
_LONGEST_NAME = 32  # characters of the name of a model in a legend


def roc(evaluation: Mapping[str, Any], band: Band | None = None) -> go.Figure:
    """Draw the ROC curve with the operating point, the line of chance and a band; without a curve, the reason in its place."""
    figure, metrics, points = go.Figure(), evaluation["metrics"], evaluation["roc"]
    counts = evaluation["counts"]["by_class"]
    if points is None:
        say(figure, marks.in_lines(metrics["pooled_auc"]["note"] or "No curve: a class has no image."))
    else:
        _chance(figure, (0, 1), "chance")
        if band is not None:
            marks.draw_band(figure, band, ACCENT_RGB, "95% CI of the curve")
        _roc_line(figure, points, f"AUC {marks.with_interval(metrics['pooled_auc'])}", {"color": ACCENT, "width": 3})
        marks.draw_cross(
            figure,
            marks.complement(metrics["specificity"]),
            metrics["sensitivity"],
            f"operating point {evaluation['threshold']:.2f}",
            ("false alarms", "sensitivity"),
        )
    figure.update_xaxes(title=f"1 - specificity (share of {counts[NON_COVID]['images']} other images)", range=_SHARES)
    figure.update_yaxes(title=f"Sensitivity (share of {counts[COVID]['images']} COVID-19 images)", range=_SHARES)
    return framed(figure, height=400)


def precision_recall(evaluation: Mapping[str, Any], band: Band | None) -> go.Figure:
    """Draw precision over recall, which is the band's, with the operating point and chance; without it, the reason."""
    figure, metrics, counts = go.Figure(), evaluation["metrics"], evaluation["counts"]
    precision = metrics["pr_auc"]
    if precision["value"] is None:
        say(figure, marks.in_lines(precision["note"] or "No curve: a class has no image."))
    elif band is None:
        say(figure, marks.in_lines("No curve: the predictions on the single images are missing."))
    else:
        _chance(figure, (counts["prevalence"],) * 2, f"chance {counts['prevalence']:.2f}")
        marks.draw_band(figure, band, ACCENT_RGB, "95% CI of the curve")
        hover = "precision %{y:.2f}<br>recall %{x:.2f}<extra></extra>"
        marks.draw_line(
            figure,
            band.x,
            band.value,
            f"AP {marks.with_interval(precision)}",
            {"color": ACCENT, "width": 3},
            hover=hover,
        )
        marks.draw_cross(
            figure,
            metrics["sensitivity"],
            metrics["ppv"],
            f"operating point {evaluation['threshold']:.2f}",
            ("recall", "precision"),
        )
    figure.update_xaxes(title=f"Recall (share of {counts['by_class'][COVID]['images']} COVID-19 images)", range=_SHARES)
    figure.update_yaxes(title=f"Precision (share of images called<br>COVID-19, n = {counts['images']})", range=_SHARES)
    return framed(figure, height=400)


def score_histogram(
    probabilities: NDArray[np.float64], labels: NDArray[np.bool_], threshold: float, shipped: float | None = None
) -> go.Figure:
    """Draw how many images got which P(covid) (n,) in [0, 1], those with COVID-19 (n,) upwards and the others downwards.

    Mirrored rather than overlaid: where the classes mix, two see-through colours would make a third that stands for none.
    Where the threshold is not the model's own, `shipped`, that is dotted.
    """
    figure, most = go.Figure(), {}
    sides: tuple[tuple[Label, NDArray[np.bool_], int], ...] = ((COVID, labels, 1), (NON_COVID, ~labels, -1))
    for label, chosen, sign in sides:
        counts, edges = np.histogram(probabilities[chosen], bins=_BINS, range=(0, 1))
        most[label] = int(counts.max())
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=sign * counts,
            width=1 / _BINS,
            customdata=np.column_stack([counts, edges[:-1], edges[1:]]),
            name=f"{CLASS_TITLES[label]} (n = {int(chosen.sum())})",
            marker={"color": CLASS_COLOURS[label]},
            hovertemplate=(
                "%{customdata[0]} images, %{customdata[1]:.2f} to %{customdata[2]:.2f}"
                f"<extra>{CLASS_TITLES[label]}</extra>"
            ),
        )
    if shipped is None or shipped == threshold:
        marks.draw_operating_point(figure, threshold)
    else:
        marks.draw_operating_point(figure, threshold, name="chosen")
        marks.draw_operating_point(figure, shipped, name="the model's own", dash="dot")
    if not labels.size:
        say(figure, "No image.")
    highest = max(*most.values(), 1)
    step = marks.tick_step(highest, 3)
    ticks = [sign * count for sign in (-1, 1) for count in range(step, highest + 1, step)] + [0]
    figure.update_layout(barmode="overlay", bargap=0.05)
    figure.update_xaxes(title=f"P(COVID-19), calibrated (n = {labels.size} images)", range=_SHARES)
    figure.update_yaxes(
        title="Images in each of 20 bins",
        # The side of a rare class is as high as it needs to be and never so low that it is lost.
        range=[sign * (most[label] + 0.1 * highest) for label, sign in ((NON_COVID, -1), (COVID, 1))],
        tickvals=ticks,
        ticktext=[str(abs(tick)) for tick in ticks],
    )
    return framed(figure, height=340)


def roc_overlay(curves: Sequence[tuple[str, Mapping[str, Any] | None, marks.Metric]]) -> go.Figure:
    """Draw the ROC curves of several models in one plot, the first one emphasised; distinguished by dash and by colour.

    Of each model it takes its name, the `roc` and an AUC of its evaluation. A model without a curve is named in the legend. Up
    to six have a colour and a dash of their own.
    """
    figure = go.Figure()
    _chance(figure, (0, 1), None)
    for position, (name, points, auc) in reversed(list(enumerate(curves))):  # what is drawn last lies on top
        look = {
            "color": SERIES[position % len(SERIES)],
            "dash": _DASHES[position % len(_DASHES)],
            "width": 2 if position else 4,
        }
        title = marks.in_one_line(name, _LONGEST_NAME)
        title = title if position else f"<b>{title}</b>"
        _roc_line(figure, points, f"{title}<br>AUC {marks.with_interval(auc)}, n = {auc['n']} images", look)
    if not curves:
        say(figure, "No model has a ROC curve.")
    figure.update_xaxes(title="1 - specificity (share of the other images)", range=_SHARES)
    figure.update_yaxes(title="Sensitivity (share of COVID-19 images)", range=_SHARES)
    # The legend may take more than the half of the height that plotly grants it, else six models would have to be scrolled.
    return framed(figure, height=350 + 38 * max(len(curves), 1)).update_layout(
        legend_maxheight=1.0, legend_traceorder="reversed"
    )


def _roc_line(figure: go.Figure, points: Mapping[str, Any] | None, name: str, line: Mapping[str, Any]) -> None:
    """Draw one ROC curve; without points only its name stands in the legend."""
    drawn = points or {"fpr": [None], "tpr": [None], "thresholds": [None]}
    figure.add_scatter(
        x=drawn["fpr"],
        y=drawn["tpr"],
        customdata=["none" if value is None else f"{value:.3f}" for value in drawn["thresholds"]],
        mode="lines",
        name=name,
        line=dict(line),
        hovertemplate="threshold %{customdata}<br>sensitivity %{y:.2f}<br>false alarms %{x:.2f}<extra></extra>",
    )


def _chance(figure: go.Figure, y: tuple[float, float], name: str | None) -> None:
    marks.draw_line(figure, [0, 1], y, name, {"color": NEUTRAL, "dash": "dot"})
