"""What stands in the plots of charts: lines, markers, fills, errors, bars and cells, as reportlab's shapes. Knows one trace."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from reportlab.graphics.shapes import Circle, Group, Line, Path, Polygon, PolyLine

from covid_core.model_report.chart_axes import Axis, listed
from covid_core.model_report.chart_bars import Trace, nth
from covid_core.model_report.chart_text import INK, Across, Up, paint, written

_DASHES: Mapping[str, tuple[float, ...]] = {
    "dot": (1, 1),
    "dash": (3, 3),
    "longdash": (5, 5),
    "dashdot": (3, 2, 1, 2),
    "longdashdot": (5, 2, 1, 2),
}
"""In widths of the line, at least 3 pixels, as plotly has them."""
_CORNERS: Mapping[str, tuple[int, float, float, float]] = {
    "square": (4, 45, math.sqrt(2), 1),
    "diamond": (4, 90, 1.3, 1),
    "star": (5, 90, 1.4, 0.382),
    "triangle-up": (3, 90, 2 / math.sqrt(3), 1),
    "triangle-down": (3, 270, 2 / math.sqrt(3), 1),
    "pentagon": (5, 90, 1, 1),
    "hexagon": (6, 30, 1, 1),
}
"""Symbol -> corners, angle of the first in degrees, radius over half the size, radius of the notches over that of the corners."""
_STROKES: Mapping[str, tuple[float, ...]] = {"line-ns": (90,), "line-ew": (0,), "cross": (0, 90), "x": (45, 135)}
SYMBOLS = frozenset({"circle", *_CORNERS, *_STROKES})
DASHES = frozenset({"solid", *_DASHES})
SHAPES = frozenset({"linear", "hv", "vh"})
"""What can be drawn; the rest is told by the drawing."""
TEXT_SIZE = 12.0

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, bottom, width and height, pixels."""


@dataclass(frozen=True)
class Plot:
    """The pair of axes that a trace is drawn in."""

    x: Axis
    y: Axis

    def frame(self) -> Box:
        """Left, bottom, width and height, pixels."""
        left, bottom = min(self.x.start, self.x.end), min(self.y.start, self.y.end)
        return left, bottom, abs(self.x.end - self.x.start), abs(self.y.end - self.y.start)

    def clip(self) -> Path:
        """As `clip_to`, of the whole plot."""
        return clip_to(self.frame())

    def points(self, trace: Trace) -> list[Point | None]:
        """Where the points of a trace lie; None for a gap."""
        y_values = listed(trace.get("y"))
        x_values = listed(trace.get("x")) or list(range(len(y_values)))
        placed = [(self.x.at(x), self.y.at(y)) for x, y in zip(x_values, y_values, strict=False)]
        return [None if x is None or y is None else (x, y) for x, y in placed]


def clip_to(box: Box) -> Path:
    """What keeps a group within a rectangle when it is the first thing in it."""
    left, bottom, width, height = box
    path = Path(isClipPath=1, fillColor=None, strokeColor=None)
    path.moveTo(left, bottom)
    for x, y in ((left + width, bottom), (left + width, bottom + height), (left, bottom + height)):
        path.lineTo(x, y)
    path.closePath()
    return path


def scatter(trace: Trace, plot: Plot, colour: str, before: Sequence[Point | None]) -> Group:
    """Draw a line, its markers, errors, texts and the area that it fills.

    Args:
        trace: a scatter.
        plot: where it stands.
        colour: if it has none of its own.
        before: the points of the scatter before it, to which `tonexty` fills.
    """
    points, mode = plot.points(trace), str(trace.get("mode") or "lines")
    within = Group(plot.clip())
    line_colour = str(_line(trace).get("color") or marker_of(trace, 0).get("color") or colour)
    for area in _areas(trace, plot, points, before):
        flat = [part for point in area for part in point]
        fill = paint(str(trace.get("fillcolor") or line_colour), 1.0 if trace.get("fillcolor") else 0.5)
        within.add(Polygon(flat, fillColor=fill, strokeColor=None))
    if "lines" in mode:
        for part in _parts(points):
            within.add(
                line_through(_stepped(part, str(_line(trace).get("shape", "linear"))), _line(trace), line_colour)
            )
    group = Group(within)
    for name in ("error_x", "error_y"):
        group.add(_errors(trace, name, plot, line_colour))
    for number, point in enumerate(points):
        if point is None or not (plot.x.holds(point[0]) and plot.y.holds(point[1])):
            continue
        if "markers" in mode:
            marker = marker_of(trace, number)
            group.add(symbol(*point, marker, str(marker.get("color") or line_colour), float(trace.get("opacity", 1))))
        if "text" in mode:
            group.add(_beside(point, str(nth(trace.get("text"), number, "")), trace, number))
    return group


def line_through(points: Sequence[Point], line: Mapping[str, Any], colour: str) -> PolyLine:
    """Draw a line through points, as wide and as dashed as it says."""
    width = float(line.get("width", 2))
    dash = _DASHES.get(str(line.get("dash", "solid")))
    return PolyLine(
        [part for point in points for part in point],
        strokeColor=paint(colour) if width else None,
        strokeWidth=width,
        strokeDashArray=None if dash is None else [part * max(width, 3) for part in dash],
        strokeLineJoin=1,
    )


def symbol(x: float, y: float, marker: Mapping[str, Any], colour: str, opacity: float = 1) -> Group:
    """Draw a marker around a point.

    Args:
        x: of its middle.
        y: of its middle.
        marker: of one point: symbol, size, opacity and line.
        colour: of its fill, or of its line if it is open.
        opacity: in [0, 1], of all that the marker is drawn with.
    """
    name, radius = str(marker.get("symbol") or "circle"), float(marker.get("size") or 6) / 2
    opened, form = name.endswith("-open"), name.removesuffix("-open")
    line, opacity = dict(marker.get("line") or {}), opacity * float(marker.get("opacity") or 1)
    width = float(line.get("width") or (1 if opened else 0))
    stroke = paint(colour if opened else str(line.get("color") or INK), opacity) if width else None
    style = {"fillColor": None if opened else paint(colour, opacity), "strokeColor": stroke, "strokeWidth": width}
    if form in _STROKES and (opened or form.startswith("line")):
        ends = [
            (math.cos(math.radians(angle)) * radius, math.sin(math.radians(angle)) * radius) for angle in _STROKES[form]
        ]
        return Group(*(Line(x - a, y - b, x + a, y + b, strokeColor=stroke, strokeWidth=width) for a, b in ends))
    if form in _STROKES:
        ends = [
            (math.cos(math.radians(angle)) * radius, math.sin(math.radians(angle)) * radius) for angle in _STROKES[form]
        ]
        thick = {"strokeColor": style["fillColor"], "strokeWidth": radius * 0.7}
        return Group(*(Line(x - a, y - b, x + a, y + b, **thick) for a, b in ends))
    if form in _CORNERS:
        return Group(Polygon(_corners((x, y), radius, _CORNERS[form]), **style, strokeLineJoin=1))
    return Group(Circle(x, y, radius, **style))


def line_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """The line around a shape in reportlab's words."""
    width = float(line.get("width") or 0)
    dash = _DASHES.get(str(line.get("dash", "solid")))
    return {
        "strokeColor": paint(str(line.get("color") or INK)) if width else None,
        "strokeWidth": width,
        "strokeDashArray": None if dash is None else [part * max(width, 3) for part in dash],
    }


def _line(trace: Trace) -> dict[str, Any]:
    return dict(trace.get("line") or {})


def marker_of(trace: Trace, number: int) -> dict[str, Any]:
    """The marker of one point: what is a list holds one for each."""
    marker = {key: value for key, value in (trace.get("marker") or {}).items() if key not in {"line", "pattern"}}
    line = dict((trace.get("marker") or {}).get("line") or {})
    return {
        **{key: nth(value, number) for key, value in marker.items()},
        "line": {key: nth(value, number) for key, value in line.items()},
        "pattern": (trace.get("marker") or {}).get("pattern"),
    }


def _parts(points: Sequence[Point | None]) -> list[list[Point]]:
    """The points between the gaps, where there are two at least."""
    parts: list[list[Point]] = [[]]
    for point in points:
        if point is None:
            parts.append([])
        else:
            parts[-1].append(point)
    return [part for part in parts if len(part) > 1]


def _stepped(points: Sequence[Point], shape: str) -> list[Point]:
    if shape == "linear":
        return list(points)
    stepped = [points[0]]
    for (x, y), after in pairwise(points):
        stepped += [(after[0], y) if shape == "hv" else (x, after[1]), after]
    return stepped


def _areas(
    trace: Trace, plot: Plot, points: Sequence[Point | None], before: Sequence[Point | None]
) -> list[Sequence[Point]]:
    fill, shape = str(trace.get("fill") or "none"), str(_line(trace).get("shape", "linear"))
    if fill == "toself":
        return list(_parts(points))
    known = [point for point in points if point is not None]
    if fill == "none" or len(known) < 2:  # noqa: PLR2004  an area needs two
        return []
    other = [point for point in before if point is not None]
    if fill == "tonexty" and len(other) > 1:
        return [[*_stepped(known, shape), *reversed(_stepped(other, shape))]]
    floor = plot.y.place(0.0) if not plot.y.log else min(plot.y.start, plot.y.end)
    return [[*_stepped(known, shape), (known[-1][0], floor), (known[0][0], floor)]]


def _errors(trace: Trace, name: str, plot: Plot, colour: str) -> Group:
    x_values, y_values = listed(trace.get("x")), listed(trace.get("y"))
    group = Group()
    for number, (x, y) in enumerate(zip(x_values, y_values, strict=False)):
        ends = error_ends(trace, name, number, x if name == "error_x" else y)
        along, beside, other = (plot.x, plot.y, y) if name == "error_x" else (plot.y, plot.x, x)
        middle = beside.at(other)
        if ends is not None and middle is not None and beside.holds(middle):
            places = [reached(along, end) for end in (along.number(ends[0]), along.number(ends[1])) if end is not None]
            group.add(error_bar(trace[name], places, middle, horizontal=name == "error_x", colour=colour))
    return group


def error_ends(trace: Trace, name: str, number: int, value: Any) -> tuple[float, float] | None:
    """From where to where the error of a point reaches, in its own values; None for a point without."""
    error = trace.get(name) or {}
    over = nth(error.get("array"), number)
    under = nth(error.get("arrayminus"), number, over)
    if error.get("visible") is False or over is None or under is None or not isinstance(value, int | float):
        return None
    ends = (value - float(under), value + float(over))
    return ends if all(math.isfinite(end) for end in ends) else None


def error_bar(
    error: Mapping[str, Any], places: Sequence[float], middle: float, *, horizontal: bool, colour: str
) -> Group:
    """Draw the bar of an error and its ends."""
    ink, width = paint(str(error.get("color") or colour)), float(error.get("thickness", 2))
    cap = float(error.get("width", 4))
    low, high = min(places), max(places)
    lines = [((low, middle), (high, middle))]
    lines += [((end, middle - cap), (end, middle + cap)) for end in (low, high) if cap]
    group = Group()
    for start, end in lines:
        turned = (*start, *end) if horizontal else (start[1], start[0], end[1], end[0])
        group.add(Line(*turned, strokeColor=ink, strokeWidth=width))
    return group


def _corners(middle: Point, radius: float, form: tuple[int, float, float, float]) -> list[float]:
    corners: list[float] = []
    count, first, reach, notch = form
    steps = count if notch == 1 else 2 * count
    for step in range(steps):
        angle = math.radians(first + 360 * step / steps)
        far = radius * reach * (notch if step % 2 and notch != 1 else 1)
        corners += [middle[0] + far * math.cos(angle), middle[1] + far * math.sin(angle)]
    return corners


def _beside(point: Point, text: str, trace: Trace, number: int) -> Group:
    words = str(nth(trace.get("textposition"), number, "middle center")).split()
    up: Up = {"top": "bottom", "bottom": "top"}.get(words[0], "middle")  # type: ignore[assignment]
    across: Across = {"left": "right", "right": "left"}.get(words[-1], "center")  # type: ignore[assignment]
    away = float(nth((trace.get("marker") or {}).get("size"), number, 6)) / 2 + 2
    x = point[0] + {"left": away, "right": -away}.get(across, 0)
    y = point[1] + {"bottom": away, "top": -away}.get(up, 0)
    return written(text, x, y, float((trace.get("textfont") or {}).get("size", TEXT_SIZE)), across=across, up=up)


def reached(axis: Axis, number: float) -> float:
    """Where a number lies, no farther than a little beyond the axis, so that nothing runs over the page."""
    low, high = sorted((axis.start, axis.end))
    return min(max(axis.place(number), low - 1), high + 1)
