"""The legend of a chart: what it names, in rows, and the room that it takes. Knows traces, not where the plot stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reportlab.graphics.shapes import Group

from covid_core.model_report.chart_bars import nth
from covid_core.model_report.chart_blocks import swatch
from covid_core.model_report.chart_marks import line_of, line_through, symbol
from covid_core.model_report.chart_text import INK, extent, paint, written

_SIZE = 12.0
_SAMPLE, _GAP, _BETWEEN = 30.0, 5.0, 14.0  # pixels
_SPACING = 4.0
_LARGEST_MARKER = 14.0

Trace = Mapping[str, Any]


@dataclass(frozen=True)
class Legend:
    """A legend in rows.

    Attributes:
        rows: the traces and their colours, row by row.
        x: of its anchor, over the width of the plots.
        y: of its anchor, over their height; above 1 it stands over them, below 0 under them.
        across: which side of it is at the anchor.
        up: which edge of it is at the anchor.
    """

    rows: tuple[tuple[tuple[Trace, str], ...], ...]
    x: float
    y: float
    across: str
    up: str

    @property
    def height(self) -> float:
        """Of all rows, pixels."""
        return sum(map(_height, self.rows))

    def margins(self, top: float, bottom: float, high: float) -> tuple[float, float]:
        """The margins above and below the plots that leave room for it, pixels.

        Args:
            top: the least above.
            bottom: the least below.
            high: of the whole sheet.
        """
        if self.y >= 1:
            plot = (high - bottom - self.height - _GAP) / self.y
            return max(top, high - bottom - plot), bottom
        if self.y < 0:
            return top, max(bottom, -self.y * (high - top - bottom) + self.height + _GAP)
        return top, bottom

    def drawn(self, left: float, bottom: float, width: float, height: float) -> Group:
        """Draw it.

        Args:
            left: edge of the plots, pixels.
            bottom: edge of the plots, pixels.
            width: of the plots, pixels.
            height: of the plots, pixels.
        """
        widths = [sum(map(_width, row)) for row in self.rows]
        start = left + self.x * width
        start -= {"right": 1.0, "center": 0.5}.get(self.across, 0.0) * max(widths)
        top = bottom + self.y * height + {"bottom": 1.0, "middle": 0.5}.get(self.up, 0.0) * self.height
        group = Group()
        for number, row in enumerate(self.rows):
            at, middle = start, top - sum(map(_height, self.rows[:number])) - _height(row) / 2
            for entry in row:
                group.add(_sample(*entry, at, middle))
                group.add(written(str(entry[0]["name"]), at + _SAMPLE + _GAP, middle, _SIZE, across="left"))
                at += _width(entry)
        return group


def legend_of(
    layout: Mapping[str, Any], traces: Sequence[Trace], colours: Sequence[str], width: float
) -> Legend | None:
    """The legend of a figure, None for one without.

    Args:
        layout: of the figure.
        traces: of the figure, all that are visible.
        colours: of the traces that have none of their own.
        width: that it may take, pixels.
    """
    named = [(trace, colours[number % len(colours)]) for number, trace in enumerate(traces)]
    able = [entry for entry in named if entry[0]["type"] != "heatmap" and entry[0].get("showlegend", True)]
    asked = any(trace.get("showlegend") for trace in traces)
    wanted = layout.get("showlegend", asked or len([one for one in named if one[0]["type"] != "heatmap"]) > 1)
    entries = [entry for entry in able if entry[0].get("name")]
    entries += [(_line_of_shape(shape), "") for shape in layout.get("shapes") or () if shape.get("showlegend")]
    if not wanted or not entries:
        return None
    spec = layout.get("legend") or {}
    if _reversed(spec, layout, traces):
        entries.reverse()
    side = spec.get("orientation") != "h"
    rows = [(entry,) for entry in entries] if side else _rows(entries, width)
    return Legend(
        tuple(rows),
        float(spec.get("x", 0)),
        float(spec.get("y", 1.02)),
        str(spec.get("xanchor", "left")),
        str(spec.get("yanchor", "bottom")),
    )


def _line_of_shape(shape: Mapping[str, Any]) -> Trace:
    """A shape that the legend names, as a trace that looks like it."""
    line = {"color": INK, **(shape.get("line") or {})}
    return {"type": "scatter", "mode": "lines", "name": shape.get("name", ""), "line": line}


def _reversed(spec: Mapping[str, Any], layout: Mapping[str, Any], traces: Sequence[Trace]) -> bool:
    if "traceorder" in spec:
        return "reversed" in str(spec["traceorder"])
    stacked = layout.get("barmode") == "stack" and any(trace["type"] == "bar" for trace in traces)
    return stacked or any(trace.get("fill") in {"tonextx", "tonexty"} for trace in traces)


def _rows(entries: Sequence[tuple[Trace, str]], width: float) -> list[tuple[tuple[Trace, str], ...]]:
    rows: list[list[tuple[Trace, str]]] = [[]]
    for entry in entries:
        if rows[-1] and sum(map(_width, rows[-1])) + _width(entry) - _BETWEEN > width:
            rows.append([])
        rows[-1].append(entry)
    return [tuple(row) for row in rows]


def _height(row: Sequence[tuple[Trace, str]]) -> float:
    return max(extent(str(trace["name"]), _SIZE)[1] for trace, _ in row) + _SPACING


def _width(entry: tuple[Trace, str]) -> float:
    return _SAMPLE + _GAP + extent(str(entry[0]["name"]), _SIZE)[0] + _BETWEEN


def _sample(trace: Trace, colour: str, left: float, middle: float) -> Group:
    """Draw what a trace looks like, left of its name."""
    given, line = dict(trace.get("marker") or {}), dict(trace.get("line") or {})
    around = {key: nth(value, 0) for key, value in dict(given.get("line") or {}).items()}
    marker = {key: nth(value, 0) for key, value in given.items() if key not in {"line", "pattern"}} | {"line": around}
    if trace["type"] == "bar":
        fill = paint(str(marker.get("color") or colour), float(trace.get("opacity", 1)))
        box = (left + 9, middle - 6, 12.0, 12.0)
        return swatch(box, {"pattern": given.get("pattern")}, fill, line_of(around))
    group, mode = Group(), str(trace.get("mode") or "lines")
    ink = str(line.get("color") or marker.get("color") or colour)
    if trace.get("fill", "none") != "none":
        fill = paint(str(trace.get("fillcolor") or ink), 1.0 if trace.get("fillcolor") else 0.5)
        group.add(swatch((left, middle - 5, _SAMPLE, 10.0), {}, fill, line_of({})))
    if "lines" in mode:
        group.add(line_through([(left, middle), (left + _SAMPLE, middle)], line, ink))
    if "markers" in mode:
        size = min(float(marker.get("size") or 6), _LARGEST_MARKER)
        group.add(symbol(left + _SAMPLE / 2, middle, marker | {"size": size}, str(marker.get("color") or ink)))
    return group
