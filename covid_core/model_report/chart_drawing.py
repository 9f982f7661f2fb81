"""The figures of `covid_core.figures` as drawings for paper: plotly's description read, reportlab's shapes written.

Not a general converter. It covers what those figures use; what it does not know it leaves out and names, under the drawing and in
`Drawn.left_out`, which the tests hold empty for every figure. Import this where a document is made: it brings reportlab.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from reportlab.graphics.shapes import Drawing, Group, Line, Rect

from covid_core.inference.report_drawing import name_fonts
from covid_core.model_report.chart_axes import Axis, unpacked
from covid_core.model_report.chart_bars import Bar, axes_of
from covid_core.model_report.chart_blocks import bar, heatmap
from covid_core.model_report.chart_legend import legend_of
from covid_core.model_report.chart_marks import Plot, line_of, scatter
from covid_core.model_report.chart_sheet import (
    PAD,
    SIZE,
    STANDOFF,
    TITLE,
    axes_and_bars,
    crowded,
    frame_of,
    label_depth,
    label_gap,
    labelled,
    letters,
    placed,
    title_of,
)
from covid_core.model_report.chart_text import INK, Across, Up, extent, paint, written
from covid_core.model_report.chart_vocabulary import left_out

POINTS_PER_PIXEL = 0.68
"""Plotly's letters of 12 pixels are 8 points on paper."""
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")
"""Plotly's own, for what has none."""
_HEIGHT = 450.0  # plotly's own
_NOTE = 18.0  # pixels


@dataclass(frozen=True)
class Drawn:
    """A figure on paper.

    Attributes:
        drawing: a reportlab drawing, also a flowable.
        left_out: what of the figure is not drawn, such as `scatter.stackgroup`; empty for nothing.
    """

    drawing: Drawing
    left_out: tuple[str, ...]


def drawing(figure: go.Figure, width: float) -> Drawing:
    """Draw a figure; as `drawn`, without the list of what is left out."""
    return drawn(figure, width).drawing


def drawn(figure: go.Figure, width: float) -> Drawn:
    """Draw a figure as wide as asked, as high as it says.

    Args:
        figure: of `covid_core.figures`.
        width: points.
    """
    name_fonts()
    layout = unpacked(figure.layout.to_plotly_json())
    traces = [unpacked(trace.to_plotly_json()) for trace in figure.data if trace.visible in {None, True}]
    missing = left_out(layout, traces)
    wide, high = width / POINTS_PER_PIXEL, float(layout.get("height") or _HEIGHT)
    axes, bars = axes_and_bars(layout, traces)
    legend = legend_of(layout, traces, COLOURS, wide - 2 * PAD)
    axes = placed(axes, layout, legend, wide, high)
    sheet = Group(*_below(layout, axes), *_traces(traces, axes, bars), *_above(layout, axes))
    if legend is not None:
        frame = frame_of(axes)
        sheet.add(legend.drawn(frame.left, frame.bottom, frame.right - frame.left, frame.top - frame.bottom))
    note = _NOTE if missing else 0.0
    result = Drawing(width, (high + note) * POINTS_PER_PIXEL)
    if missing:
        sheet.add(written(f"Not drawn here: {', '.join(missing)}.", PAD, -_NOTE / 2, 9, across="left"))
    sheet.transform = (POINTS_PER_PIXEL, 0, 0, POINTS_PER_PIXEL, 0, note * POINTS_PER_PIXEL)
    result.add(sheet)
    return Drawn(result, missing)


def _below(layout: Mapping[str, Any], axes: Mapping[str, Axis]) -> list[Group]:
    """What lies under the traces: shapes that are asked to, grids, labels and titles."""
    groups = [_shape(shape, axes) for shape in layout.get("shapes") or () if shape.get("layer") == "below"]
    return [*groups, *(_axis(axis, axes) for axis in axes.values())]


def _above(layout: Mapping[str, Any], axes: Mapping[str, Axis]) -> list[Group]:
    groups = [_shape(shape, axes) for shape in layout.get("shapes") or () if shape.get("layer") != "below"]
    return [*groups, *(_annotation(one, axes) for one in layout.get("annotations") or () if one.get("visible", True))]


def _traces(traces: Sequence[Mapping[str, Any]], axes: Mapping[str, Axis], bars: Sequence[Bar]) -> list[Group]:
    """Cells, then bars, then lines: the order in which plotly lays them."""
    plots = [Plot(axes[x], axes[y]) for x, y in map(axes_of, traces)]
    coloured = [COLOURS[number % len(COLOURS)] for number in range(len(traces))]
    groups = [heatmap(trace, plot) for trace, plot in zip(traces, plots, strict=True) if trace["type"] == "heatmap"]
    groups += [bar(one, traces[one.trace], plots[one.trace], coloured[one.trace]) for one in bars]
    before: dict[tuple[str, str], list[Any]] = {}
    for trace, plot, colour in zip(traces, plots, coloured, strict=True):
        if trace["type"] == "scatter":
            groups.append(scatter(trace, plot, colour, before.get(axes_of(trace), [])))
            before[axes_of(trace)] = plot.points(trace)
    return groups


def _axis(axis: Axis, axes: Mapping[str, Axis]) -> Group:
    """Draw the grid, the labels and the title of an axis."""
    group, frame = Group(), _frame_across(axis, axes)
    if axis.spec.get("visible", True) is False:
        return group
    upright = axis.name[0] == "y"
    grid = {"strokeColor": paint(str(axis.spec.get("gridcolor") or "#EEEEEE")), "strokeWidth": 1.0}
    ticks = axis.ticks()
    for place, _ in ticks if axis.spec.get("showgrid", True) is not False else ():
        group.add(
            Line(frame[0], place, frame[1], place, **grid)
            if upright
            else Line(place, frame[0], place, frame[1], **grid)
        )
    far = axis.spec.get("side") in {"right", "top"}
    edge = frame[1] + label_gap(axis) if far else frame[0] - label_gap(axis)
    size = letters(axis)
    turned = not upright and crowded(axis)
    for place, text in ticks if labelled(axis) else ():
        if upright:
            group.add(written(text, edge, place, size, across="left" if far else "right"))
        elif turned:
            group.add(written(text, place, edge, size, across="right", angle=90))
        else:
            group.add(written(text, place, edge, size, up="bottom" if far else "top"))
    middle, away = (axis.start + axis.end) / 2, label_depth(axis) + STANDOFF
    if title_of(axis) and upright:
        at = frame[1] + away if far else frame[0] - away
        # Turned by a right angle, what is up points to the left.
        title_size = min(TITLE, TITLE * 1.15 * abs(axis.end - axis.start) / extent(title_of(axis), TITLE)[0])
        group.add(written(title_of(axis), at, middle, title_size, angle=90, up="top" if far else "bottom"))
    elif title_of(axis):
        at = frame[1] + away if far else frame[0] - away
        group.add(written(title_of(axis), middle, at, TITLE, up="bottom" if far else "top"))
    return group


def _frame_across(axis: Axis, axes: Mapping[str, Axis]) -> tuple[float, float]:
    """From where to where the plot reaches across an axis, pixels."""
    other = "x" if axis.name[0] == "y" else "y"
    anchor = axes.get(str(axis.spec.get("anchor") or other)) or next(
        one for one in axes.values() if one.name[0] == other
    )
    return min(anchor.start, anchor.end), max(anchor.start, anchor.end)


def _at(reference: str, value: Any, axes: Mapping[str, Axis], letter: str) -> float | None:
    """Where a value of a shape or an annotation lies, pixels."""
    name = reference.removesuffix(" domain")
    if reference == "paper" or name not in axes:
        frame = frame_of(axes)
        low, high = (frame.left, frame.right) if letter == "x" else (frame.bottom, frame.top)
        return low + float(value) * (high - low)
    axis = axes[name]
    if reference.endswith(" domain"):
        return axis.start + float(value) * (axis.end - axis.start)
    # On a logarithmic axis plotly takes the value of a shape as it is and that of an annotation as a logarithm.
    return axis.at(value)


def _shape(shape: Mapping[str, Any], axes: Mapping[str, Axis]) -> Group:
    x_ref, y_ref = str(shape.get("xref", "x")), str(shape.get("yref", "y"))
    x0, x1 = (_at(x_ref, shape[end], axes, "x") for end in ("x0", "x1"))
    y0, y1 = (_at(y_ref, shape[end], axes, "y") for end in ("y0", "y1"))
    if x0 is None or x1 is None or y0 is None or y1 is None:
        return Group()
    frame = frame_of(axes)
    x0, x1 = (min(max(x, frame.left), frame.right) for x in (x0, x1))
    y0, y1 = (min(max(y, frame.bottom), frame.top) for y in (y0, y1))
    opacity = float(shape.get("opacity", 1))
    line = line_of({"width": 2, **(shape.get("line") or {})})
    if shape.get("type") == "line":
        return Group(Line(x0, y0, x1, y1, **line))
    if shape.get("type") == "rect":
        fill = paint(str(shape.get("fillcolor") or "rgba(0,0,0,0)"), opacity)
        return Group(Rect(min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0), fillColor=fill, **line))
    return Group()


def _annotation(one: Mapping[str, Any], axes: Mapping[str, Axis]) -> Group:
    x_ref, y_ref = str(one.get("xref", "x")), str(one.get("yref", "y"))
    x, y = _annotated(x_ref, one.get("x"), axes, "x"), _annotated(y_ref, one.get("y"), axes, "y")
    if x is None or y is None or not one.get("text"):
        return Group()
    x, y, group = x + float(one.get("xshift", 0)), y + float(one.get("yshift", 0)), Group()
    across, up = str(one.get("xanchor", "auto")), str(one.get("yanchor", "auto"))
    if one.get("showarrow", True):
        to = (x + float(one.get("ax", -10)), y - float(one.get("ay", -30)))
        colour = paint(str(one.get("arrowcolor") or INK))
        group.add(Line(x, y, *to, strokeColor=colour, strokeWidth=float(one.get("arrowwidth") or 1)))
        x, y = to
    elif "paper" in x_ref or "domain" in x_ref:
        across = _thirds(float(one["x"]), ("left", "center", "right")) if across == "auto" else across
    if not one.get("showarrow", True) and ("paper" in y_ref or "domain" in y_ref):
        up = _thirds(float(one["y"]), ("bottom", "middle", "top")) if up == "auto" else up
    settled_across: Across = "center" if across == "auto" else across  # type: ignore[assignment]
    settled_up: Up = "middle" if up == "auto" else up  # type: ignore[assignment]
    size = float((one.get("font") or {}).get("size", SIZE))
    align: Across = one.get("align", "center")
    turned = -float(one.get("textangle") or 0)
    group.add(
        written(
            str(one["text"]),
            x,
            y,
            size,
            across=settled_across,
            up=settled_up,
            align=align,
            angle=turned,
            opacity=float(one.get("opacity", 1)),
        )
    )
    return group


def _annotated(reference: str, value: Any, axes: Mapping[str, Axis], letter: str) -> float | None:
    axis = axes.get(reference)
    if axis is not None and axis.log and isinstance(value, int | float):
        return axis.place(float(value))
    return _at(reference, value, axes, letter)


def _thirds(share: float, names: tuple[str, str, str]) -> str:
    return names[0] if share < 1 / 3 else names[2] if share > 2 / 3 else names[1]
