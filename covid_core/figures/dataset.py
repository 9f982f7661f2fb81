"""Counts of images as plotly figures: bars, bars made of the classes, and the flow of a cohort."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from covid_core.figures.marks import in_one_line, name_rows
from covid_core.figures.theme import ACCENT, CLASS_COLOURS, NEUTRAL, framed
from covid_core.labels import CLASS_TITLES

_FLOW_LINE = 46  # characters that stand beside each other at 400 px
_LONGEST_NAME = 24  # characters of the name of a bar
_LONGEST_HOVER = 100  # characters of it beside the pointer


def counts_bar(series: "pd.Series[int]", title: str, axis: str) -> go.Figure:
    """Draw counts as horizontal bars, in the order of the series from top to bottom; those of classes have the classes' colours.

    `title` is what the names are, as `View`, `axis` what is counted, as `images`.
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
            hovertext=[in_one_line(name, _LONGEST_HOVER) for name in names],
            hovertemplate="%{hovertext}: %{x} " + axis + "<extra></extra>",
        )
    )
    figure.update_xaxes(title=f"{axis.capitalize()} (n = {sum(counts)})", range=[0, 1.15 * max([*counts, 1])])
    # Positions, not names, make the axis: two long names cut short may look alike and must not share a bar.
    labels = [in_one_line(CLASS_TITLES.get(name, name), _LONGEST_NAME) for name in names]
    name_rows(figure, title, labels)
    return framed(figure, height=110 + 34 * max(len(names), 1))


def stacked_counts(table: pd.DataFrame, title: str, axis: str) -> go.Figure:
    """Draw counts as horizontal bars, each made of the classes: the table's columns, of which others are grey."""
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
            hovertext=[in_one_line(str(one), _LONGEST_HOVER) for one in table.index],
            hovertemplate="%{hovertext}, " + name + ": %{x} " + axis + "<extra></extra>",
        )
    # All at once: plotly copies the others with each one that is added.
    figure.layout.annotations = [
        {"x": total, "y": position, "text": str(total), "showarrow": False, "xanchor": "left", "xshift": 4}
        for position, total in zip(positions, totals.x, strict=True)
    ]
    return figure.update_layout(barmode="stack", legend_traceorder="normal", height=figure.layout.height + 30)


def flow(steps: Sequence[Mapping[str, Any]], parts: Sequence[Mapping[str, Any]] = ()) -> go.Figure:
    """Draw the cohort flow: what remains after each step in images and patients, and what was left out on the way.

    The steps are those of `flow.json`, from the whole table to the cohort. The parts that the cohort is divided into stand
    below it; each has `title`, `images`, `patients` and `by_class`: {class: {`images`, `patients`}}.
    """
    figure, rows = go.Figure(), list(range(len(steps)))
    texts = [*(_flow_text(step, row) for row, step in enumerate(steps)), *(_part_text(part) for part in parts)]
    figure.add_bar(
        y=rows,
        x=[step["images"] for step in steps],
        orientation="h",
        name="images kept",
        marker_color=ACCENT,
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
    _add_parts(figure, parts, len(steps))
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
        title="Steps, first to last", range=[len(texts) - 0.7, -0.75], showticklabels=False, showgrid=False
    )
    return framed(figure, height=110 + step_height * max(len(texts), 1))


def _add_parts(figure: go.Figure, parts: Sequence[Mapping[str, Any]], first_row: int) -> None:
    """Draw the parts as bars of their classes, each beginning where the one above it ends: together they are the cohort."""
    ends = list(accumulate((part["images"] for part in parts), initial=0))
    starts = ends[:-1]
    for label in parts[0]["by_class"] if parts else ():
        counts = [part["by_class"][label] for part in parts]
        figure.add_bar(
            y=list(range(first_row, first_row + len(parts))),
            x=[count["images"] for count in counts],
            base=starts,
            customdata=[
                [part["title"], count["images"], count["patients"]] for part, count in zip(parts, counts, strict=True)
            ],
            orientation="h",
            name=CLASS_TITLES.get(label, label),
            marker_color=CLASS_COLOURS.get(label, NEUTRAL),
            hovertemplate="%{customdata[0]}: %{customdata[1]} images of %{customdata[2]} patients<extra>"
            + CLASS_TITLES.get(label, label)
            + "</extra>",
        )
        starts = [start + count["images"] for start, count in zip(starts, counts, strict=True)]


def _flow_text(step: Mapping[str, Any], row: int) -> str:
    remaining = f"<b>{step['images']} images, {step['patients']} patients</b>"
    # The reason of the first step says what it counts, that of the others why they leave something out.
    left_out = f"{step['excluded_images']} left out: {step['reason']}" if row else str(step["reason"])
    return "<br>".join([remaining, *textwrap.wrap(left_out, _FLOW_LINE)])


def _part_text(part: Mapping[str, Any]) -> str:
    lines = [f"<b>{part['title']}: {part['images']} images, {part['patients']} patients</b>"]
    for label, count in part["by_class"].items():
        lines.append(f"{CLASS_TITLES.get(label, label)}: {count['images']} images of {count['patients']} patients")
    return "<br>".join(lines)
