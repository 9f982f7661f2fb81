"""Groups side by side, as plotly figures: a forest plot, the model among baselines without pixels, shares of categories.

Names of groups come from a table that anyone may have written: they are shown as they stand, never as HTML.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go

from covid_core.figures.discrimination import SERIES
from covid_core.figures.marks import Metric, draw_line, error_bars, in_lines, in_one_line, name_rows, with_interval
from covid_core.figures.theme import ACCENT, NEUTRAL, framed

_LONGEST_NAME = 28  # characters of the name of a row at 400 px
_BASELINE_LINE = 22  # characters of a line of the name of a baseline
_LINE = 16  # pixels
_MEASURE_LINE = 24  # characters of a line of the title below the plot, which is half as wide as the figure
_OFFSET = 0.16  # of a row: how far its two markers lie from its middle


@dataclass(frozen=True)
class ForestRow:
    """One group of a forest plot and the `n` images its figure rests on; `few` are too few for it to be relied on.

    Neighbours that share a `group`, as `Sex`, stand under it as their heading; there is none where it is empty.
    """

    group: str
    name: str
    value: float | None
    lower: float | None
    upper: float | None
    n: int
    few: bool


@dataclass(frozen=True)
class AreaRow:
    """A model or a baseline with its ROC AUC over all images and over pairs within a source; None where there is none."""

    name: str
    pooled: Metric | None
    within: Metric | None
    is_model: bool


def forest(
    rows: Sequence[ForestRow], measure: str, reference: float | None, limits: tuple[float, float] = (0.0, 1.0)
) -> go.Figure:
    """Draw a figure of each group with its interval, one row each, in the order given.

    `measure` says what it is, with its unit; `reference` is the figure of all images, a vertical line; None for no line.
    """
    slots = _slots(rows)
    figure = go.Figure()
    lowest = len(slots) - 0.4
    if reference is not None:
        name = f"all images {reference:.2f}"
        draw_line(figure, [reference, reference], [-0.5, lowest], name, {"color": NEUTRAL, "dash": "dash"})
    placed = [(position, slot) for position, slot in enumerate(slots) if isinstance(slot, ForestRow)]
    for few in (False, True):
        _forest_points(figure, [(position, row) for position, row in placed if row.few == few], few)
    for position, row in placed:
        _at_edge(figure, position, str(row.n))
        if row.value is None:
            _note(figure, limits[0], position, "not defined")
    _at_edge(figure, -1, "<b>n</b>")
    margin = 0.03 * (limits[1] - limits[0])
    figure.update_xaxes(
        title=in_lines(f"{measure}, 95% CI", _MEASURE_LINE), range=[limits[0] - margin, limits[1] + margin]
    )
    labels = [_forest_name(slot) for slot in slots]
    name_rows(figure, "Group (n = its images)", labels, range=[lowest, -1.5], tickfont={"size": 11})
    return framed(figure, height=150 + 22 * len(slots)).update_layout(margin_r=44)


def areas(rows: Sequence[AreaRow]) -> go.Figure:
    """Draw the ROC AUC of the model and of baselines without pixels on one axis, over all images and within a source."""
    figure = go.Figure()
    names = [in_lines(row.name, _BASELINE_LINE) for row in rows]
    draw_line(figure, [0.5, 0.5], [-0.5, len(rows) - 0.5], "chance", {"color": NEUTRAL, "dash": "dot"})
    _area_points(figure, rows, "pooled")
    _area_points(figure, rows, "within")
    known = [metric["lower"] for row in rows for metric in (row.pooled, row.within) if metric is not None]
    _at_edge(figure, -0.5, "<b>n</b>")
    # A small set's interval may reach below 0.4.
    lowest = min([0.4, *(bound for bound in known if bound is not None)])
    figure.update_xaxes(
        title="ROC AUC (0.5 = chance), 95% CI",
        range=[floor(10 * lowest) / 10 - 0.01, 1.01],
        dtick=0.1,
        tickformat=".1f",
    )
    labels = [f"<b>{name}</b>" if row.is_model else name for row, name in zip(rows, names, strict=True)]
    bounds = [len(rows) - 0.5, -0.75]
    name_rows(figure, "Given by (n = its images)", labels, range=bounds, tickfont={"size": 11})
    most = max((name.count("<br>") + 1 for name in names), default=1)
    return framed(figure, height=150 + max(len(rows), 1) * max(44, 8 + _LINE * most)).update_layout(margin_r=44)


def distributions(table: pd.DataFrame, title: str, axis: str) -> go.Figure:
    """Draw how each part is made up: the share of every category (of the index), a bar for each part (a column).

    `title` is what the categories are, as `View`, `axis` what is counted, as `images`.
    """
    figure, positions = go.Figure(), list(range(len(table)))
    largest = 0.0
    for position, column in enumerate(table.columns):
        counts = [int(count) for count in table[column]]
        total = sum(counts)
        shares = [100 * count / total if total else 0.0 for count in counts]
        largest = max([largest, *shares])
        name = in_one_line(str(column), _LONGEST_NAME)
        figure.add_bar(
            x=shares,
            y=positions,
            orientation="h",
            text=[f"{share:.0f}" for share in shares],
            textposition="outside",
            cliponaxis=False,
            customdata=[
                [in_one_line(str(one), 80), name, count] for one, count in zip(table.index, counts, strict=True)
            ],
            name=f"{name} (n = {total})",
            marker={"color": SERIES[position % len(SERIES)]},
            hovertemplate="%{customdata[0]}, %{customdata[1]}: %{customdata[2]} " + axis + ", %{x:.1f}%<extra></extra>",
        )
    figure.update_layout(barmode="group", bargap=0.3, bargroupgap=0.05)
    figure.update_xaxes(
        title=in_lines(f"Share of the {axis} of each part (%)", _MEASURE_LINE), range=[0, 1.12 * max(largest, 1)]
    )
    labels = [in_one_line(str(one), _LONGEST_NAME) for one in table.index]
    bounds = [len(table) - 0.5, -0.5]
    name_rows(figure, title, labels, range=bounds, tickfont={"size": 11}, ticklabelstandoff=4)
    bars = max(len(table.columns), 1) * max(len(table), 1)
    return framed(figure, height=130 + 12 * max(len(table), 1) + 16 * bars)


def _slots(rows: Sequence[ForestRow]) -> list[ForestRow | str]:
    """The rows with a heading before each run of rows that share one."""
    slots: list[ForestRow | str] = []
    before = ""
    for row in rows:
        if row.group and row.group != before:
            slots.append(row.group)
        slots.append(row)
        before = row.group
    return slots


def _forest_name(slot: ForestRow | str) -> str:
    if isinstance(slot, str):
        return f"<b>{in_one_line(slot, _LONGEST_NAME)}</b>"
    return in_one_line(slot.name, _LONGEST_NAME) + (" †" if slot.few else "")


def _forest_points(figure: go.Figure, placed: Sequence[tuple[int, ForestRow]], few: bool) -> None:
    defined = [(position, row) for position, row in placed if row.value is not None]
    if not defined:
        return
    metrics = [{"value": row.value, "lower": row.lower, "upper": row.upper} for _, row in defined]
    figure.add_scatter(
        x=[row.value for _, row in defined],
        y=[position for position, _ in defined],
        error_x=error_bars(metrics, ACCENT),
        mode="markers",
        opacity=0.75 if few else 1,
        cliponaxis=False,
        name="† few images" if few else "group",
        showlegend=few,
        marker={
            "color": ACCENT,
            "size": 9,
            "symbol": "circle-open" if few else "circle",
            "line": {"color": ACCENT, "width": 2 if few else 0},
        },
        customdata=[
            [in_one_line(row.name, 80), with_interval(metric), row.n]
            for (_, row), metric in zip(defined, metrics, strict=True)
        ],
        hovertemplate="%{customdata[0]}<br>%{customdata[1]}<br>%{customdata[2]} images<extra></extra>",
    )


def _area_points(figure: go.Figure, rows: Sequence[AreaRow], which: Literal["pooled", "within"]) -> None:
    """Draw the markers of one kind, the model's larger and coloured; a row without the figure says so in its place."""
    pooled = which == "pooled"
    offset = -_OFFSET if pooled else _OFFSET
    shown: list[tuple[int, AreaRow, Metric]] = []
    for position, row in enumerate(rows):
        metric = row.pooled if pooled else row.within
        if metric is None or metric["value"] is None:
            _note(figure, 0.51, position + offset, f"{'all images' if pooled else 'within a source'}: not defined")
        else:
            shown.append((position, row, metric))
            _at_edge(figure, position + offset, str(metric["n"]))
    for is_model in (True, False):
        chosen = [one for one in shown if one[1].is_model == is_model]
        colour = ACCENT if is_model else NEUTRAL
        values: list[Any] = [metric["value"] for *_, metric in chosen]
        figure.add_scatter(
            x=values or [None],  # a trace without any point would not be named in the legend
            y=[position + offset for position, *_ in chosen] or [0],
            error_x=error_bars([metric for *_, metric in chosen], colour),
            mode="markers",
            name="over all images" if pooled else "within a source",
            legendgroup=which,
            showlegend=is_model,
            marker={"color": colour, "size": 12 if is_model else 9, "symbol": "circle" if pooled else "diamond"},
            customdata=[[in_lines(row.name), with_interval(metric), metric["n"]] for _, row, metric in chosen],
            hovertemplate="%{customdata[0]}<br>%{customdata[1]}<br>%{customdata[2]} images"
            "<extra>%{fullData.name}</extra>",
        )


def _note(figure: go.Figure, x: float, y: float, text: str) -> None:
    figure.add_annotation(x=x, y=y, text=text, showarrow=False, xanchor="left", opacity=0.7, font={"size": 11})


def _at_edge(figure: go.Figure, y: float, text: str) -> None:
    """Write a text to the right of the plot."""
    figure.add_annotation(
        x=1, xref="paper", y=y, text=text, showarrow=False, xanchor="left", xshift=10, font={"size": 11}
    )
