"""Bars of charts in the numbers of their axes: beside each other, on top of each other, or from a base. Draws nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from covid_core.model_report.chart_axes import listed, number_on

_GAP = 0.2  # plotly's own, of the distance between bars

Trace = Mapping[str, Any]
Categories = Mapping[str, tuple[str, ...] | None]


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        trace: the number of the trace that it is of.
        number: of the bar within the trace.
        horizontal: whether it grows sideways.
        position: from where to where it is wide, on the axis of its position.
        base: where it starts on the axis of its value.
        end: where it ends there.
    """

    trace: int
    number: int
    horizontal: bool
    position: tuple[float, float]
    base: float
    end: float


def bars_of(traces: Sequence[Trace], layout: Mapping[str, Any], categories: Categories) -> list[Bar]:
    """The bars of a figure, those of each pair of axes laid out together.

    Args:
        traces: of the figure; those that are no bars are passed over.
        layout: of the figure.
        categories: of each axis, by its name.
    """
    pairs: dict[tuple[str, str], list[int]] = {}
    for number, trace in enumerate(traces):
        if trace["type"] == "bar":
            pairs.setdefault(axes_of(trace), []).append(number)
    return [bar for numbers in pairs.values() for bar in _laid_out(traces, numbers, layout, categories)]


def axes_of(trace: Trace) -> tuple[str, str]:
    """The names of the axes of a trace."""
    return str(trace.get("xaxis") or "x"), str(trace.get("yaxis") or "y")


def nth(value: Any, number: int, otherwise: Any = None) -> Any:
    """A setting of one point: the same for all, or one from a list."""
    if value is None:
        return otherwise
    if isinstance(value, str) or not hasattr(value, "__len__"):
        return value
    return value[number] if number < len(value) else otherwise


def _laid_out(
    traces: Sequence[Trace], numbers: Sequence[int], layout: Mapping[str, Any], categories: Categories
) -> list[Bar]:
    mode = layout.get("barmode", "group")
    columns = {number: _column(traces[number], categories) for number in numbers}
    room = _distance(columns.values()) * (1 - float(layout.get("bargap", _GAP)))
    groups = list(dict.fromkeys(_group(traces[number], number) for number in numbers)) if mode == "group" else [""]
    slot = room / len(groups)
    wide = slot * (1 - float(layout.get("bargroupgap", 0)))
    grown: dict[tuple[float, bool], float] = {}
    bars = []
    for number, column in columns.items():
        trace = traces[number]
        place = groups.index(_group(trace, number)) if mode == "group" else 0
        for point, (position, value) in column.items():
            base = nth(trace.get("base"), point)
            if base is None and mode in {"stack", "relative"}:
                base = grown.get((position, value >= 0), 0.0)
                grown[position, value >= 0] = base + value
            middle = position + (place + 0.5 - len(groups) / 2) * slot
            width = float(nth(trace.get("width"), point, wide))
            start = float(base or 0)
            across = (middle - width / 2, middle + width / 2)
            bars.append(Bar(number, point, _horizontal(trace), across, start, start + value))
    return bars


def _column(trace: Trace, categories: Categories) -> dict[int, tuple[float, float]]:
    """The bars of a trace that have both: number of the bar -> position, value."""
    horizontal = _horizontal(trace)
    x_name, y_name = axes_of(trace)
    values = listed(trace.get("x" if horizontal else "y"))
    positions = listed(trace.get("y" if horizontal else "x")) or list(range(len(values)))
    names = categories[y_name if horizontal else x_name]
    placed = (
        (number_on(position, names, log=False), number_on(value, None, log=False))
        for position, value in zip(positions, values, strict=False)
    )
    return {
        number: (position, value)
        for number, (position, value) in enumerate(placed)
        if position is not None and value is not None
    }


def _distance(columns: Any) -> float:
    """The least distance between two positions; 1 for a single one."""
    positions = sorted({position for column in columns for position, _ in column.values()})
    return min((after - before for before, after in pairwise(positions)), default=1.0)


def _group(trace: Trace, number: int) -> str:
    return str(trace.get("offsetgroup") or f"trace {number}")


def _horizontal(trace: Trace) -> bool:
    return bool(trace.get("orientation") == "h")
