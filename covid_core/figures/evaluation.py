"""Confusion matrix, reliability diagram and training history as plotly figures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from covid_core.evaluation.calibration import ReliabilityBin
from covid_core.figures.marks import draw_line
from covid_core.figures.theme import ACCENT, BLUE_RGB, CLASS_COLOURS, NEUTRAL, framed, say
from covid_core.labels import CLASS_TITLES, CLASSES, COVID

_BIN = (
    "%{customdata[0]} images, %{customdata[1]:.2f} to %{customdata[2]:.2f}<br>"
    "predicted %{x:.2f}<br>observed %{y:.2f}<extra></extra>"
)


def confusion(matrix: ArrayLike) -> go.Figure:
    """Draw a confusion matrix (2, 2) of counts, rows reference standard, columns call, shaded by their share of the row."""
    rows: list[list[int]] = np.asarray(matrix, np.int64).tolist()
    titles = [CLASS_TITLES[name] for name in CLASSES]
    shares = [[count / sum(row) if sum(row) else 0.0 for count in row] for row in rows]
    figure = go.Figure(
        go.Heatmap(
            z=shares,
            x=titles,
            y=[f"{title}<br>n = {sum(row)}" for title, row in zip(titles, rows, strict=True)],
            zmin=0,
            zmax=1,
            colorscale=[[0, f"rgba({BLUE_RGB}, 0)"], [1, f"rgba({BLUE_RGB}, 0.35)"]],
            showscale=False,
            xgap=3,
            ygap=3,
            hovertemplate="reference %{y}<br>called %{x}<br>%{z:.0%} of the row<extra></extra>",
        )
    )
    for row, (counts, parts) in enumerate(zip(rows, shares, strict=True)):
        for column, (count, part) in enumerate(zip(counts, parts, strict=True)):
            # An annotation takes the theme's text colour; a heatmap's own text would not know the page behind it.
            text = f"<b>{count}</b><br>{part:.0%}" if sum(counts) else "<b>0</b>"
            figure.add_annotation(x=column, y=row, text=text, showarrow=False, font={"size": 16})
    figure.update_xaxes(title="Called (images)", showgrid=False)
    figure.update_yaxes(title="Reference standard (images)", autorange="reversed", showgrid=False)
    return framed(figure, height=320)


def training_curves(history: pd.DataFrame) -> go.Figure:
    """Draw loss and AUC over the epochs of all stages, each stage's best epoch (lowest validation loss) marked.

    The history has stage, epoch (counting again in each stage), loss, val_loss, auc, val_auc and learning_rate, in the order of
    training.
    """
    table = history.reset_index(drop=True)
    running = pd.Series(range(1, len(table) + 1), dtype="int64")
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    hover = [
        f"{stage}, epoch {epoch}, learning rate {rate:.1g}"
        for stage, epoch, rate in zip(table["stage"], table["epoch"], table["learning_rate"], strict=True)
    ]
    curves = (("training", "", NEUTRAL, "dot"), ("validation", "val_", ACCENT, "solid"))
    for row, measure in ((1, "loss"), (2, "auc")):
        for name, prefix, colour, dash in curves:
            figure.add_scatter(
                x=running,
                y=table[prefix + measure],
                text=hover,
                mode="lines+markers",
                name=name,
                legendgroup=name,
                showlegend=row == 1,
                line={"color": colour, "dash": dash},
                marker={"size": 5},
                hovertemplate="%{text}<br>%{y:.3f}<extra>" + name + "</extra>",
                row=row,
                col=1,
            )
    _mark_stages(figure, table)
    _mark_best(figure, table, running)
    figure.update_xaxes(title=f"Epoch (n = {len(table)}, all stages)", row=2, col=1)
    figure.update_yaxes(title="Loss (cross entropy)", row=1, col=1)
    figure.update_yaxes(title="ROC AUC", row=2, col=1)
    # The names of the stages stand between the panels and the legend.
    return framed(figure, height=480).update_layout(legend_y=1.06)


def reliability(evaluation: Mapping[str, Any], before: Sequence[ReliabilityBin] = ()) -> go.Figure:
    """Draw the observed share of covid over the predicted probability, a marker for each bin, its area by its images."""
    figure, content = go.Figure(), evaluation["reliability"]
    draw_line(figure, [0, 1], [0, 1], "ideal", {"color": NEUTRAL, "dash": "dot"})
    bins = content["bins"]
    if before and bins:
        figure.add_scatter(
            x=[one.predicted for one in before],
            y=[one.observed for one in before],
            customdata=[[one.n, one.low, one.high] for one in before],
            mode="markers",
            name="before calibration",
            marker={"color": NEUTRAL, "size": 9, "symbol": "circle-open"},
            hovertemplate=f"before calibration: {_BIN}",
        )
    if not bins:
        say(figure, "No bins: a class has no image.")
    else:
        most = max(one["n"] for one in bins)
        figure.add_scatter(
            x=[one["predicted"] for one in bins],
            y=[one["observed"] for one in bins],
            customdata=[[one["n"], one["low"], one["high"]] for one in bins],
            error_y={
                "array": [one["upper"] - one["observed"] for one in bins],
                "arrayminus": [one["observed"] - one["lower"] for one in bins],
                "thickness": 1,
                "color": ACCENT,
            },
            mode="markers",
            name=f"images in bins, 95% CI; ECE {content['ece']:.2f}",
            marker={"color": ACCENT, "size": [6 + 8 * (one["n"] / most) ** 0.5 for one in bins]},
            hovertemplate=_BIN,
        )
    weighted = content["prevalence"]
    images = f"n = {evaluation['counts']['images']} images"
    figure.update_xaxes(title=f"Predicted P(COVID-19) ({images})", range=[-0.02, 1.02])
    figure.update_yaxes(
        title="Observed share of COVID-19" + ("" if weighted is None else f"<br>(weighted to {weighted:.0%})"),
        range=[-0.02, 1.02],
    )
    return framed(figure, height=400)


def _mark_stages(figure: go.Figure, table: pd.DataFrame) -> None:
    changes = [row for row in range(1, len(table)) if table["stage"].iloc[row] != table["stage"].iloc[row - 1]]
    for row in changes:
        figure.add_vline(x=row + 0.5, line={"color": NEUTRAL, "dash": "dash", "width": 1}, row="all", col=1)
    for row in [0, *changes] if len(table) else []:
        figure.add_annotation(
            x=row + 0.6,
            y=1,
            xref="x",
            yref="paper",
            text=str(table["stage"].iloc[row]),
            showarrow=False,
            xanchor="left",
            yanchor="bottom",
        )


def _mark_best(figure: go.Figure, table: pd.DataFrame, running: "pd.Series[int]") -> None:
    losses = table["val_loss"].dropna()
    best = list(losses.groupby(table["stage"], sort=False).idxmin())
    for row, measure in ((1, "val_loss"), (2, "val_auc")):
        figure.add_scatter(
            x=running.loc[best],
            y=table.loc[best, measure],
            mode="markers",
            name="best epoch",
            legendgroup="best",
            showlegend=row == 1,
            marker={"symbol": "star", "size": 14, "color": CLASS_COLOURS[COVID]},
            hovertemplate="lowest validation loss of its stage<extra></extra>",
            row=row,
            col=1,
        )
