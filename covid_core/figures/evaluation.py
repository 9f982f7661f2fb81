"""Numbers to plotly figures; nothing is computed here that a report could state, and nothing is shown.

Knows the content of `evaluation.json` and of the training history, not where they lie. Every figure is transparent and
leaves the colour of text to the surrounding theme, so that it reads on a light and on a dark page; the two classes keep
their colours everywhere; labels are short enough for 400 px.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from covid_core.evaluation.metrics import rates
from covid_core.labels import CLASS_TITLES, CLASSES, COVID, NON_COVID

CLASS_COLOURS: dict[str, str] = {NON_COVID: "#0072B2", COVID: "#D55E00"}
"""From the palette of Okabe and Ito (2008), told apart with every common colour vision deficiency."""
NEUTRAL = "#8C8C8C"
"""A grey that stands out from white and from black alike."""
_ACCENT = "#009E73"  # Okabe and Ito's bluish green, for what is no class
_GRID = "rgba(128, 128, 128, 0.25)"
_FLOW_LINE = 46  # characters that stand beside each other at 400 px
_CLEAR = "rgba(0, 0, 0, 0)"
_LONGEST_NAME = 24  # characters of the name of a bar
_BLUE_RGB, _ORANGE_RGB = "0, 114, 178", "213, 94, 0"


def confusion(matrix: ArrayLike, classes: Sequence[str] = CLASSES) -> go.Figure:
    """Draw a confusion matrix, the cells shaded by their share of the row.

    Args:
        matrix: counts (2, 2), rows reference standard, columns call, in the order of `classes`.
        classes: the class order.
    """
    rows: list[list[int]] = np.asarray(matrix, np.int64).tolist()
    titles = [CLASS_TITLES.get(name, name) for name in classes]
    shares = [[count / sum(row) if sum(row) else 0.0 for count in row] for row in rows]
    figure = go.Figure(
        go.Heatmap(
            z=shares,
            x=titles,
            y=[f"{title}<br>n = {sum(row)}" for title, row in zip(titles, rows, strict=True)],
            zmin=0,
            zmax=1,
            colorscale=[[0, f"rgba({_BLUE_RGB}, 0)"], [1, f"rgba({_BLUE_RGB}, 0.35)"]],
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
    figure.update_xaxes(title="Called (films)", showgrid=False)
    figure.update_yaxes(title="Reference standard (films)", autorange="reversed", showgrid=False)
    return framed(figure, height=320)


def roc(evaluation: Mapping[str, Any]) -> go.Figure:
    """Draw the ROC curve with the operating point and the line of chance; without a curve, the reason in its place.

    Args:
        evaluation: as of `covid_core.evaluation.report.evaluate`.
    """
    figure, counts = go.Figure(), evaluation["counts"]["by_class"]
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="chance", line={"color": NEUTRAL, "dash": "dot"}, hoverinfo="skip"
    )
    auc, points = evaluation["metrics"]["roc_auc"], evaluation["roc"]
    if points is None:
        _say(figure, auc["note"] or "No curve: a class has no film.")
    else:
        thresholds = ["none" if value is None else f"{value:.3f}" for value in points["thresholds"]]
        figure.add_scatter(
            x=points["fpr"],
            y=points["tpr"],
            customdata=thresholds,
            mode="lines",
            name=f"AUC {_with_interval(auc)}",
            line={"color": _ACCENT, "width": 3},
            hovertemplate="threshold %{customdata}<br>sensitivity %{y:.2f}<br>false alarms %{x:.2f}<extra></extra>",
        )
        operating = rates(evaluation["confusion_matrix"])
        figure.add_scatter(
            x=[1 - float(operating["specificity"])],
            y=[float(operating["sensitivity"])],
            mode="markers",
            name=f"operating point {evaluation['threshold']:.2f}",
            marker={"color": CLASS_COLOURS[COVID], "size": 13, "symbol": "diamond"},
            hovertemplate="sensitivity %{y:.2f}<br>false alarms %{x:.2f}<extra></extra>",
        )
    figure.update_xaxes(
        title=f"1 - specificity (share of {counts[NON_COVID]['images']} other films)", range=[-0.02, 1.02]
    )
    figure.update_yaxes(title=f"Sensitivity (share of {counts[COVID]['images']} COVID-19 films)", range=[-0.02, 1.02])
    return framed(figure, height=400)


def training_curves(history: pd.DataFrame) -> go.Figure:
    """Draw loss and AUC over the epochs of all stages, each stage's best epoch (lowest validation loss) marked.

    Args:
        history: columns stage, epoch (counting anew in each stage), loss, val_loss, auc, val_auc, learning_rate; rows
            in the order of training.
    """
    table = history.reset_index(drop=True)
    running = pd.Series(range(1, len(table) + 1), dtype="int64")
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    hover = [
        f"{stage}, epoch {epoch}, learning rate {rate:.1g}"
        for stage, epoch, rate in zip(table["stage"], table["epoch"], table["learning_rate"], strict=True)
    ]
    curves = (("training", "", NEUTRAL, "dot"), ("validation", "val_", _ACCENT, "solid"))
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


def reliability(evaluation: Mapping[str, Any]) -> go.Figure:
    """Draw the observed share of covid over the predicted probability, a marker for each bin, its area by its films.

    Args:
        evaluation: as of `covid_core.evaluation.report.evaluate`.
    """
    figure, content = go.Figure(), evaluation["reliability"]
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="ideal", line={"color": NEUTRAL, "dash": "dot"}, hoverinfo="skip"
    )
    bins = content["bins"]
    if not bins:
        _say(figure, "No bins: a class has no film.")
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
                "color": _ACCENT,
            },
            mode="markers",
            name=f"films in bins, 95% CI; ECE {content['ece']:.2f}",
            marker={"color": _ACCENT, "size": [6 + 8 * (one["n"] / most) ** 0.5 for one in bins]},
            hovertemplate=(
                "%{customdata[0]} films, %{customdata[1]:.2f} to %{customdata[2]:.2f}<br>"
                "predicted %{x:.2f}<br>observed %{y:.2f}<extra></extra>"
            ),
        )
    weighted = content["prevalence"]
    films = f"n = {evaluation['counts']['images']} films"
    figure.update_xaxes(title=f"Predicted P(COVID-19) ({films})", range=[-0.02, 1.02])
    figure.update_yaxes(
        title="Observed share of COVID-19" + ("" if weighted is None else f"<br>(weighted to {weighted:.0%})"),
        range=[-0.02, 1.02],
    )
    return framed(figure, height=400)


def probability_scale(
    probability: float,
    threshold: float,
    indeterminate: tuple[float, float] | None = None,
    spread: tuple[float, float] | None = None,
) -> go.Figure:
    """Draw one film's probability on a bar from 0 to 1, split where the call changes.

    Args:
        probability: P(covid) in [0, 1].
        threshold: the operating point in [0, 1].
        indeterminate: the lowest and the highest probability of an indeterminate film, hatched and named in a legend;
            None where every film is called.
        spread: between which probabilities an ensemble lies, drawn as a bar with ends and named in a legend; None where there is
            none.
    """
    figure = go.Figure()
    lower, upper = (threshold, threshold) if indeterminate is None else indeterminate
    for start, end, rgb in ((0.0, lower, _BLUE_RGB), (upper, 1.0, _ORANGE_RGB)):
        figure.add_shape(
            type="rect", x0=start, x1=end, y0=-0.5, y1=0.5, fillcolor=f"rgba({rgb}, 0.35)", line_width=0, layer="below"
        )
    figure.add_shape(type="line", x0=threshold, x1=threshold, y0=-0.7, y1=0.7, line={"color": NEUTRAL, "width": 3})
    called = COVID if probability >= threshold else NON_COVID
    undecided = indeterminate is not None and lower <= probability <= upper
    figure.add_scatter(
        x=[probability],
        y=[0],
        mode="markers",
        marker={
            "color": NEUTRAL if undecided else CLASS_COLOURS[called],
            "size": 18,
            "symbol": "diamond",
            "line": {"color": "white", "width": 2},
        },
        hovertemplate="P(COVID-19) %{x:.3f}<extra></extra>",
        cliponaxis=False,
        showlegend=False,
    )
    if indeterminate is not None:
        _hatch(figure, lower, upper)
    if spread is not None:
        _span(figure, *spread)
    figure.add_annotation(**_over(probability, f"<b>this film {probability:.2f}</b>"), y=0.75, yanchor="bottom")
    figure.add_annotation(**_over(threshold, f"operating point {threshold:.2f}"), y=-0.75, yanchor="top")
    figure.update_xaxes(title="P(COVID-19), calibrated (1 film)", range=[-0.02, 1.02], tickvals=[0, 0.25, 0.5, 0.75, 1])
    figure.update_yaxes(visible=False, range=[-1.9, 1.9], fixedrange=True)
    return framed(figure, height=150)


def counts_bar(series: "pd.Series[int]", title: str, axis: str) -> go.Figure:
    """Draw counts as horizontal bars, in the order of the series from top to bottom.

    Args:
        series: counts, the index holding their names; class names take the colours of the classes.
        title: what the names are, e.g. `View`.
        axis: what is counted, e.g. `images`.
    """
    names = [str(name) for name in series.index]
    counts = [int(count) for count in series]
    figure = go.Figure(
        go.Bar(
            x=counts,
            y=list(range(len(names))),
            orientation="h",
            text=counts,
            textposition="outside",
            cliponaxis=False,
            marker_color=[CLASS_COLOURS.get(name, NEUTRAL) for name in names],
            hovertext=names,
            hovertemplate="%{hovertext}: %{x} " + axis + "<extra></extra>",
        )
    )
    figure.update_xaxes(title=f"{axis.capitalize()} (n = {sum(counts)})", range=[0, 1.15 * max([*counts, 1])])
    # Positions, not names, make the axis: two long names cut short may look alike and must not share a bar.
    labels = [_short(CLASS_TITLES.get(name, name)) for name in names]
    figure.update_yaxes(
        title=title, autorange="reversed", tickvals=list(range(len(names))), ticktext=labels, showgrid=False
    )
    return framed(figure, height=110 + 34 * max(len(names), 1))


def stacked_counts(table: pd.DataFrame, title: str, axis: str) -> go.Figure:
    """Draw counts as horizontal bars, each made of the classes.

    Args:
        table: counts, the index holding the names of the bars, the columns the classes; another column is drawn in grey
            under its own name.
        title: what the names are, e.g. `View`.
        axis: what is counted, e.g. `images`.
    """
    figure = counts_bar(table.sum(axis=1), title, axis)
    totals = figure.data[0]
    positions = list(totals.y)
    figure.data = ()
    for column in table.columns:
        name = CLASS_TITLES.get(str(column), str(column))
        figure.add_bar(
            x=[int(count) for count in table[column]],
            y=positions,
            orientation="h",
            name=name,
            marker_color=CLASS_COLOURS.get(str(column), NEUTRAL),
            hovertext=[str(one) for one in table.index],
            hovertemplate="%{hovertext}, " + name + ": %{x} " + axis + "<extra></extra>",
        )
    for position, total in zip(positions, totals.x, strict=True):
        figure.add_annotation(x=total, y=position, text=str(total), showarrow=False, xanchor="left", xshift=4)
    return figure.update_layout(barmode="stack", legend_traceorder="normal", height=figure.layout.height + 30)


def flow(steps: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Draw the cohort flow: what remains after each step in images and patients, and what was left out on the way.

    Args:
        steps: the content of `flow.json`, from the whole table to the cohort; each with `reason`, `images`, `patients`
            (remaining), `excluded_images` and `excluded_patients`.
    """
    figure, rows, texts = go.Figure(), list(range(len(steps))), [_flow_text(step) for step in steps]
    figure.add_bar(
        y=rows,
        x=[step["images"] for step in steps],
        orientation="h",
        name="images kept",
        marker_color=_ACCENT,
        hovertemplate="%{x} images remain<extra></extra>",
    )
    figure.add_bar(
        y=rows,
        x=[step["excluded_images"] for step in steps],
        customdata=[[step["reason"], step["excluded_patients"]] for step in steps],
        orientation="h",
        name="left out here",
        marker={"color": "rgba(140, 140, 140, 0.35)", "line": {"color": NEUTRAL, "width": 1}},
        hovertemplate="%{x} images, %{customdata[1]} patients left out<br>%{customdata[0]}<extra></extra>",
    )
    for row, text in enumerate(texts):
        figure.add_annotation(
            x=0, y=row, text=text, align="left", showarrow=False, xanchor="left", yanchor="bottom", yshift=9
        )
    total = steps[0]["images"] + steps[0]["excluded_images"] if steps else 0
    # A step is as high, in pixels, as its bar and the longest text that stands above one.
    lines = max((text.count("<br>") + 1 for text in texts), default=1)
    step_height = 34 + 16 * lines
    figure.update_layout(barmode="stack", bargap=1 - 16 / step_height, legend_traceorder="normal")
    figure.update_xaxes(title=f"Images (n = {total} at the start)")
    figure.update_yaxes(
        title="Steps, first to last", range=[len(steps) - 0.7, -0.75], showticklabels=False, showgrid=False
    )
    return framed(figure, height=110 + step_height * max(len(steps), 1))


def _flow_text(step: Mapping[str, Any]) -> str:
    remaining = f"<b>{step['images']} images, {step['patients']} patients</b>"
    left_out = (
        f"{step['excluded_images']} left out: {step['reason']}" if step["excluded_images"] else str(step["reason"])
    )
    return "<br>".join([remaining, *textwrap.wrap(left_out, _FLOW_LINE)])


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


def framed(figure: go.Figure, *, height: int) -> go.Figure:
    """What all figures share: no background, no colour of text, room for the labels, the legend above."""
    figure.update_layout(
        template="none",
        paper_bgcolor=_CLEAR,
        plot_bgcolor=_CLEAR,
        height=height,
        margin={"l": 8, "r": 16, "t": 32, "b": 8},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "bgcolor": _CLEAR},
        hovermode="closest",
    )
    figure.update_xaxes(automargin=True, gridcolor=_GRID, zeroline=False)
    figure.update_yaxes(automargin=True, gridcolor=_GRID, zeroline=False, title_standoff=10)
    return figure


def _over(x: float, text: str) -> dict[str, Any]:
    """An annotation at `x` of a scale from 0 to 1 that does not run over its ends."""
    anchor = "left" if x < 0.25 else "right" if x > 0.75 else "center"  # noqa: PLR2004
    return {"x": x, "text": text, "showarrow": False, "xanchor": anchor}


def _hatch(figure: go.Figure, lower: float, upper: float) -> None:
    """Hatch the indeterminate part of a scale: told from the classes' plain colours by its lines, whatever the colours."""
    figure.add_bar(
        x=[upper - lower],
        base=[lower],
        y=[0],
        width=1,
        orientation="h",
        name=f"indeterminate {lower:.2f} to {upper:.2f}",
        marker={
            "pattern": {"shape": "/", "fillmode": "replace", "fgcolor": NEUTRAL, "bgcolor": _CLEAR, "size": 6},
            "line": {"color": NEUTRAL, "width": 1},
        },
        hovertemplate="%{fullData.name}<extra></extra>",
        showlegend=True,
    )
    # A click on the legend would hide the only thing that says that a film is not called.
    figure.update_layout(legend_itemclick=False, legend_itemdoubleclick=False)


def _span(figure: go.Figure, lower: float, upper: float) -> None:
    """Draw a bar with ends behind a scale's film, which need not lie within it."""
    figure.add_scatter(
        x=[lower, upper],
        y=[0, 0],
        mode="lines+markers",
        name=f"ensemble {lower:.2f} to {upper:.2f}",
        line={"color": _ACCENT, "width": 4},
        marker={"symbol": "line-ns", "size": 14, "line": {"color": _ACCENT, "width": 3}},
        hovertemplate="%{fullData.name}<extra></extra>",
        cliponaxis=False,
    )
    figure.data = (figure.data[-1], *figure.data[:-1])  # what is drawn first lies below


def _with_interval(metric: Mapping[str, Any]) -> str:
    if metric["lower"] is None:
        return f"{metric['value']:.2f}"
    return f"{metric['value']:.2f} ({metric['lower']:.2f} to {metric['upper']:.2f})"


def _say(figure: go.Figure, sentence: str) -> None:
    figure.add_annotation(x=0.5, y=0.5, xref="paper", yref="paper", text=sentence, showarrow=False)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1].rstrip() + "…"
