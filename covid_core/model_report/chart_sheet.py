"""Where the axes of a chart stand on its sheet: what they span, and the room for labels, titles and legend. Draws nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from covid_core.model_report.chart_axes import Axis, Span, categories_of, limits, listed, number_on
from covid_core.model_report.chart_bars import Bar, axes_of, bars_of
from covid_core.model_report.chart_legend import Legend
from covid_core.model_report.chart_marks import error_ends
from covid_core.model_report.chart_text import extent

SIZE, TITLE = 12.0, 13.0
"""Of letters, pixels."""
STANDOFF = 10.0
PAD = 4.0
_GAP = 6.0


@dataclass(frozen=True)
class Margins:
    """Pixels around the plots."""

    left: float
    bottom: float
    right: float
    top: float


def axes_and_bars(layout: Mapping[str, Any], traces: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Axis], list[Bar]]:
    """The axes by their names, wide enough for what stands in them, and the bars laid out on them.

    Args:
        layout: of the figure.
        traces: those that are visible.
    """
    pairs = [axes_of(trace) for trace in traces] or [("x", "y")]
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    specs: dict[str, Mapping[str, Any]] = {name: layout.get(_key(name)) or {} for name in names}
    categories = {name: categories_of(specs[name], _values_on(name, traces)) for name in names}
    bars = bars_of(traces, layout, categories)
    # Axes that match share what they must show, and the range of the one that the others follow.
    leaders = {name: leader if (leader := specs[name].get("matches")) in specs else name for name in names}
    spans: dict[str, list[Span]] = {leader: [] for leader in leaders.values()}
    for number, trace in enumerate(traces):
        own = [one for one in bars if one.trace == number]
        for name in axes_of(trace):
            log = specs[name].get("type") == "log"
            spans[leaders[name]] += _spans(trace, name[0], own, categories[name], log=log)
    for name in names:
        spans[leaders[name]].append(_marked(layout, name, specs[name], categories[name]))
    axes = {}
    for name, leader in leaders.items():
        spec = {"range": specs[leader].get("range"), **specs[name]}
        axes[name] = Axis(name, specs[name], categories[name], *limits(spec, spans[leader], categories[name]))
    return axes, bars


def _values_on(name: str, traces: Sequence[Mapping[str, Any]]) -> list[Any]:
    return [value for trace in traces if name in axes_of(trace) for value in listed(trace.get(name[0]))]


def _spans(
    trace: Mapping[str, Any], letter: str, bars: Sequence[Bar], categories: tuple[str, ...] | None, *, log: bool
) -> list[Span]:
    """What of a trace an axis must show."""
    if trace["type"] == "bar":
        along = [one for one in bars if one.horizontal == (letter == "x")]
        beside = [one for one in bars if one.horizontal != (letter == "x")]
        values = tuple(value for one in along for value in (one.base, one.end))
        edges = tuple(edge for one in beside for edge in one.position)
        return [
            Span(values, below=min(values, default=0) < 0, above=max(values, default=0) > 0),
            Span(edges, below=False, above=False),
        ]
    points, name = listed(trace.get(letter)), f"error_{letter}"
    reached = [error_ends(trace, name, number, value) or (value, value) for number, value in enumerate(points)]
    ends = [number_on(end, categories, log=log) for pair in reached for end in pair]
    room = letter == "y" or "markers" in str(trace.get("mode") or "lines")
    return [Span(tuple(end for end in ends if end is not None), room, room)]


def _marked(layout: Mapping[str, Any], name: str, spec: Mapping[str, Any], categories: tuple[str, ...] | None) -> Span:
    """The ends of the shapes that are bound to values of an axis."""
    letter = name[0]
    ends = [
        shape[letter + end]
        for shape in layout.get("shapes") or ()
        for end in "01"
        if shape.get(f"{letter}ref", letter) == name and letter + end in shape
    ]
    numbers = [number_on(end, categories, log=spec.get("type") == "log") for end in ends]
    return Span(tuple(number for number in numbers if number is not None), below=False, above=False)


def placed(
    axes: Mapping[str, Axis], layout: Mapping[str, Any], legend: Legend | None, wide: float, high: float
) -> dict[str, Axis]:
    """The axes where they stand on the sheet, with room for the labels, the titles and the legend."""
    # The ticks depend on the length of an axis, and the length on the labels of the ticks.
    guess = _between(axes, Margins(60, 50, 16, 32), wide, high)
    margins = _margins(guess, layout, legend, high)
    return _between(guess, margins, wide, high)


def _between(axes: Mapping[str, Axis], margins: Margins, wide: float, high: float) -> dict[str, Axis]:
    there = {}
    for name, axis in axes.items():
        low, top = (float(end) for end in axis.spec.get("domain") or (0, 1))
        near, far = (margins.left, margins.right) if name[0] == "x" else (margins.bottom, margins.top)
        length = max((wide if name[0] == "x" else high) - near - far, 10)
        there[name] = replace(axis, start=near + low * length, end=near + top * length)
    return there


def _margins(axes: Mapping[str, Axis], layout: Mapping[str, Any], legend: Legend | None, high: float) -> Margins:
    given = {side: float((layout.get("margin") or {}).get(side, 40)) for side in "lrtb"}
    left, bottom, right = given["l"], given["b"], max(given["r"], 2 * PAD)
    for name, axis in axes.items():
        domain = axis.spec.get("domain") or (0, 1)
        if name[0] == "x" and domain[1] == 1 and labelled(axis):
            right = max(right, extent(axis.ticks()[-1][1], letters(axis))[0] / 2 + PAD if axis.ticks() else 0)
        if axis.spec.get("side") in {"right", "top"}:
            right = max(right, _depth(axis)) if name[0] == "y" else right
        elif domain[0] == 0 or _anchor_starts(axis, axes):
            left, bottom = (max(left, _depth(axis)), bottom) if name[0] == "y" else (left, max(bottom, _depth(axis)))
    top = given["t"]
    if legend is not None:
        top, bottom = legend.margins(top, bottom, high)
    return Margins(left, bottom, right, top)


def _anchor_starts(axis: Axis, axes: Mapping[str, Axis]) -> bool:
    """Whether the axis that this one stands on begins at the edge of the sheet."""
    anchor = axes.get(str(axis.spec.get("anchor") or "xy".replace(axis.name[0], "")))
    return anchor is None or (anchor.spec.get("domain") or (0, 1))[0] == 0


def _depth(axis: Axis) -> float:
    """How far the labels and the title of an axis reach away from the plot, pixels."""
    labels = label_depth(axis)
    title = title_of(axis)
    return labels + (extent(title, TITLE)[1] + STANDOFF if title else 0) + PAD


def label_depth(axis: Axis) -> float:
    """How far the labels of an axis reach away from the plot, pixels."""
    if not labelled(axis):
        return 0.0
    sizes = [extent(text, letters(axis)) for _, text in axis.ticks()]
    turned = axis.name[0] == "y" or crowded(axis)
    return max((size[0] if turned else size[1] for size in sizes), default=0) + label_gap(axis)


def letters(axis: Axis) -> float:
    """The size of the labels of an axis, pixels."""
    return float((axis.spec.get("tickfont") or {}).get("size", SIZE))


def label_gap(axis: Axis) -> float:
    """From the plot to the labels."""
    return _GAP + float(axis.spec.get("ticklabelstandoff", 0))


def labelled(axis: Axis) -> bool:
    """Whether an axis has labels."""
    return axis.spec.get("visible", True) is not False and axis.spec.get("showticklabels", True) is not False


def title_of(axis: Axis) -> str:
    """The title of an axis; empty for none."""
    return "" if axis.spec.get("visible", True) is False else str((axis.spec.get("title") or {}).get("text") or "")


def crowded(axis: Axis) -> bool:
    """Whether the labels along the foot must be turned to have room."""
    ticks = sorted(axis.ticks())
    halves = [(place, extent(text, letters(axis))[0] / 2) for place, text in ticks]
    return any(a + wide + 2 > b - next_ for (a, wide), (b, next_) in pairwise(halves))


def frame_of(axes: Mapping[str, Axis]) -> Margins:
    """The edges of all plots together, pixels from the left and from the foot."""
    places: dict[str, list[float]] = {"x": [], "y": []}
    for axis in axes.values():
        low, high = axis.spec.get("domain") or (0, 1)
        unit = (axis.end - axis.start) / ((high - low) or 1)
        places[axis.name[0]] += [axis.start - low * unit, axis.end + (1 - high) * unit]
    return Margins(min(places["x"]), min(places["y"]), max(places["x"]), max(places["y"]))


def _key(name: str) -> str:
    """`x2` -> `xaxis2`, as the layout calls it."""
    return f"{name[0]}axis{name[1:]}"
