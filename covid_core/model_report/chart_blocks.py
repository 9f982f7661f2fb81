"""Areas in the plots of charts: bars with their errors and texts, and the cells of a heat map, as reportlab's shapes."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from reportlab.graphics.shapes import Group, Line, Rect
from reportlab.lib.colors import Color

from covid_core.model_report.chart_axes import listed
from covid_core.model_report.chart_bars import Bar, Trace, nth
from covid_core.model_report.chart_marks import (
    TEXT_SIZE,
    Box,
    Plot,
    clip_to,
    error_bar,
    error_ends,
    line_of,
    marker_of,
    reached,
)
from covid_core.model_report.chart_text import INK, extent, paint, written


def bar(one: Bar, trace: Trace, plot: Plot, colour: str) -> Group:
    """Draw a bar, its hatching, its error and its text."""
    left, bottom, right, top = box_of(one, plot)
    marker = marker_of(trace, one.number)
    fill = str(marker.get("color") or colour)
    line = dict(marker.get("line") or {})
    opacity = float(trace.get("opacity", 1)) * float(marker.get("opacity") or 1)
    group = Group(
        plot.clip(), swatch((left, bottom, right - left, top - bottom), marker, paint(fill, opacity), line_of(line))
    )
    error = Group(_errors_at(trace, "error_x" if one.horizontal else "error_y", plot, one, (left, bottom, right, top)))
    return Group(group, error, _bar_text(one, trace, plot, (left, bottom, right, top), fill))


def box_of(one: Bar, plot: Plot) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of a bar, pixels."""
    along, beside = (plot.x, plot.y) if one.horizontal else (plot.y, plot.x)
    low, high = sorted((reached(along, one.base), reached(along, one.end)))
    first, last = sorted((beside.place(one.position[0]), beside.place(one.position[1])))
    return (low, first, high, last) if one.horizontal else (first, low, last, high)


def swatch(box: Box, marker: Mapping[str, Any], fill: Color | None, line: Mapping[str, Any]) -> Group:
    """Draw a filled rectangle, or a hatched one where the marker has a pattern."""
    (left, bottom, width, height), pattern = box, dict(marker.get("pattern") or {})
    if not nth(pattern.get("shape"), 0):
        return Group(Rect(left, bottom, width, height, fillColor=fill, **line))
    ink, hatching = paint(str(pattern.get("fgcolor") or INK)), Group(clip_to(box))
    start = left - height
    while start < left + width:
        hatching.add(Line(start, bottom, start + height, bottom + height, strokeColor=ink, strokeWidth=1))
        start += float(pattern.get("size") or 8)
    return Group(hatching, Rect(left, bottom, width, height, fillColor=None, **line))


def heatmap(trace: Trace, plot: Plot) -> Group:
    """Draw cells, each in the colour of its value."""
    rows = [listed(row) for row in listed(trace.get("z"))]
    columns = listed(trace.get("x")) or list(range(len(rows[0]) if rows else 0))
    names = listed(trace.get("y")) or list(range(len(rows)))
    known = [value for row in rows for value in row if value is not None]
    low = float(trace.get("zmin", min(known, default=0)))
    high = float(trace.get("zmax", max(known, default=1)))
    x_gap, y_gap = float(trace.get("xgap", 0)), float(trace.get("ygap", 0))
    group = Group()
    for name, row in zip(names, rows, strict=False):
        for column, value in zip(columns, row, strict=False):
            across, up = plot.x.number(column), plot.y.number(name)
            if across is None or up is None or value is None:
                continue
            left, right = sorted((plot.x.place(across - 0.5), plot.x.place(across + 0.5)))
            bottom, top = sorted((plot.y.place(up - 0.5), plot.y.place(up + 0.5)))
            share = min(max((float(value) - low) / ((high - low) or 1), 0), 1)
            fill = paint(blend(listed(trace.get("colorscale")), share))
            cell = (left + x_gap / 2, bottom + y_gap / 2, right - left - x_gap, top - bottom - y_gap)
            group.add(Rect(*cell, fillColor=fill, strokeColor=None))
    return group


def blend(scale: Sequence[Sequence[Any]], share: float) -> str:
    """The colour at a share of a colour scale, between the two stops around it."""
    stops = [(float(stop), paint(str(colour)) or _unseen(str(colour))) for stop, colour in scale]
    for (low, first), (high, second) in pairwise(stops):
        if share <= high:
            part = (share - low) / ((high - low) or 1)
            mixed = [a + part * (b - a) for a, b in zip(first.rgba(), second.rgba(), strict=True)]
            return f"rgba({mixed[0] * 255}, {mixed[1] * 255}, {mixed[2] * 255}, {mixed[3]:.4f})"
    return INK


def _unseen(colour: str) -> Any:
    """A colour with no opacity at all, as a stop of a scale."""
    opaque = paint(re.sub(r",\s*[\d.]+\s*\)$", ", 1)", colour))
    return opaque.clone(alpha=0) if opaque is not None else paint(INK)


def _errors_at(trace: Trace, name: str, plot: Plot, one: Bar, box: tuple[float, float, float, float]) -> Group:
    ends = error_ends(trace, name, one.number, one.end)
    if ends is None:
        return Group()
    along = plot.x if one.horizontal else plot.y
    middle = (box[1] + box[3]) / 2 if one.horizontal else (box[0] + box[2]) / 2
    places = [reached(along, end) for end in ends]
    return error_bar(trace[name], places, middle, horizontal=one.horizontal, colour=INK)


def _bar_text(one: Bar, trace: Trace, plot: Plot, box: tuple[float, float, float, float], fill: str) -> Group:
    text, position = nth(trace.get("text"), one.number), str(nth(trace.get("textposition"), one.number, "auto"))
    if text is None or text == "" or position == "none":
        return Group()
    left, bottom, right, top = box
    size = float((trace.get("textfont") or {}).get("size", TEXT_SIZE))
    width, height = extent(str(text), size)
    fits = width <= right - left and height <= top - bottom
    if position == "inside" or (position == "auto" and fits):
        return (
            written(str(text), (left + right) / 2, (bottom + top) / 2, size, colour=_readable_on(fill))
            if fits
            else Group()
        )
    grows = one.end >= one.base
    if one.horizontal:
        right_side = grows == (plot.x.end >= plot.x.start)
        at, across = (right + 4, "left") if right_side else (left - 4, "right")
        return written(str(text), at, (bottom + top) / 2, size, across=across)  # type: ignore[arg-type]
    return written(
        str(text), (left + right) / 2, top + 2 if grows else bottom - 2, size, up="bottom" if grows else "top"
    )


def _readable_on(fill: str) -> str:
    painted = paint(fill)
    if painted is None or painted.alpha < 0.5:  # noqa: PLR2004  half seen through, paper shows
        return INK
    return INK if 0.3 * painted.red + 0.59 * painted.green + 0.11 * painted.blue > 0.6 else "#FFFFFF"  # noqa: PLR2004
