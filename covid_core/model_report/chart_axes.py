"""Axes of charts: which numbers an axis spans, where a value lies on it, its ticks. Knows plotly's words, draws nothing."""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_ROOM = 0.05  # of the range, that plotly leaves beside markers and above lines
_TICK_EVERY = {"x": 75.0, "y": 45.0}  # pixels
_STEPS = (1, 2, 5, 10)
_TICKS_OF_FEW_DECADES = 2

Spec = Mapping[str, Any]


@dataclass(frozen=True)
class Span:
    """Numbers that an axis must show.

    Attributes:
        numbers: on the axis, logarithms where it is logarithmic.
        below: whether room is left under the lowest.
        above: whether room is left over the highest.
    """

    numbers: tuple[float, ...]
    below: bool = True
    above: bool = True


@dataclass(frozen=True)
class Axis:
    """A scale along a side of a plot.

    Attributes:
        name: `x`, `y`, `x2`, ...
        spec: the axis in the figure's layout.
        categories: the names along it, numbered from 0; None for numbers.
        low: the number at its start (left or bottom), a logarithm where it is logarithmic.
        high: the number at its end.
        start: where it begins, pixels.
        end: where it ends, pixels.
    """

    name: str
    spec: Spec
    categories: tuple[str, ...] | None
    low: float
    high: float
    start: float = 0.0
    end: float = 1.0

    @property
    def log(self) -> bool:
        """Whether it is logarithmic."""
        return self.spec.get("type") == "log"

    def number(self, value: Any) -> float | None:
        """A value as a number on the axis; None for one that has no place on it."""
        return number_on(value, self.categories, log=self.log)

    def at(self, value: Any) -> float | None:
        """Where a value lies, pixels; None for one that has no place."""
        number = self.number(value)
        return None if number is None else self.place(number)

    def place(self, number: float) -> float:
        """Where a number on the axis lies, pixels."""
        return self.start + (number - self.low) / (self.high - self.low) * (self.end - self.start)

    def holds(self, place: float) -> bool:
        """Whether a pixel lies on the axis, its ends among it."""
        return min(self.start, self.end) - 0.5 <= place <= max(self.start, self.end) + 0.5

    def ticks(self) -> list[tuple[float, str]]:
        """Where its ticks lie, pixels, and what is written at them."""
        places = [(self.place(number), text) for number, text in self._numbered()]
        return [(place, text) for place, text in places if self.holds(place)]

    def _numbered(self) -> list[tuple[float, str]]:
        values = self.spec.get("tickvals")
        if values is not None:
            texts = self.spec.get("ticktext")
            named = zip(values, [self._said(value) for value in values] if texts is None else texts, strict=False)
            return [(number, str(text)) for value, text in named if (number := self.number(value)) is not None]
        if self.categories is not None:
            return [(float(number), name) for number, name in enumerate(self.categories)]
        return self._decades() if self.log else self._even()

    def _decades(self) -> list[tuple[float, str]]:
        low, high = sorted((self.low, self.high))
        digits = (1, 2, 5) if high - low <= _TICKS_OF_FEW_DECADES else (1,)
        values = [digit * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for digit in digits]
        return [(math.log10(value), self._said(value)) for value in values]

    def _even(self) -> list[tuple[float, str]]:
        low, high = sorted((self.low, self.high))
        most = self.spec.get("nticks") or max(abs(self.end - self.start) / _TICK_EVERY[self.name[0]], 2)
        step = float(self.spec.get("dtick") or nice_step((high - low) / most))
        first = float(self.spec.get("tick0") or 0)
        numbers = range(math.ceil((low - first) / step - 1e-9), math.floor((high - first) / step + 1e-9) + 1)
        return [(value, self._said(value)) for value in (round(first + number * step, 12) for number in numbers)]

    def _said(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        form = str(self.spec.get("tickformat") or "").replace("~", "")
        text = format(int(value) if form.endswith("d") else float(value), form or ".10g")
        return f"{self.spec.get('tickprefix', '')}{text}{self.spec.get('ticksuffix', '')}"


def number_on(value: Any, categories: Sequence[str] | None, *, log: bool) -> float | None:
    """A value as a number: the number of its category, its logarithm, or itself; None for what is not finite."""
    if categories is not None and str(value) in categories:
        return float(categories.index(str(value)))
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if log:
        return math.log10(number) if number > 0 and math.isfinite(number) else None
    return number if math.isfinite(number) else None


def nice_step(least: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50, ... that is at least so large; 1 for nothing."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in _STEPS if step * power >= least * (1 - 1e-9))


def categories_of(spec: Spec, values: Iterable[Any]) -> tuple[str, ...] | None:
    """The categories of an axis in their order; None for an axis of numbers."""
    all_values = list(values)
    if spec.get("type") != "category" and not any(_is_name(value) for value in all_values):
        return None
    given = [str(value) for value in listed(spec.get("categoryarray"))]
    return tuple(dict.fromkeys([*given, *(str(value) for value in all_values)]))


def limits(spec: Spec, spans: Sequence[Span], categories: Sequence[str] | None) -> tuple[float, float]:
    """The numbers at the start and the end of an axis, as given or as wide as what it must show.

    Args:
        spec: the axis in the layout.
        spans: what it must show.
        categories: along it; None for numbers.
    """
    if categories is not None:
        low, high = -0.5, len(categories) - 0.5
    else:
        low, high = _reach(spans)
        if spec.get("rangemode") == "tozero":
            low, high = min(low, 0.0) if low < 0 else 0.0, max(high, 0.0)
    given = listed(spec.get("range")) or [None, None]
    if None not in given:
        return float(given[0]), float(given[1])
    low, high = (own if wish is None else float(wish) for own, wish in zip((low, high), given, strict=True))
    return (high, low) if spec.get("autorange") in {"reversed", "min reversed", "max reversed"} else (low, high)


def listed(values: Any) -> list[Any]:
    """An array of a figure as a list of Python's own values; empty for none."""
    if values is None:
        return []
    return list(np.asarray(values, dtype=object).tolist()) if not isinstance(values, list) else list(values)


def unpacked(value: Any) -> Any:
    """A part of a figure whose arrays are arrays: plotly packs those of a figure that was copied or stored as base64."""
    if not isinstance(value, Mapping):
        return [unpacked(one) for one in value] if isinstance(value, list | tuple) else value
    if "bdata" not in value:
        return {key: unpacked(one) for key, one in value.items()}
    numbers = np.frombuffer(base64.b64decode(value["bdata"]), dtype=np.dtype(value["dtype"]).newbyteorder("<"))
    shape = str(value.get("shape", numbers.size)).split(",")
    return numbers.reshape([int(length) for length in shape]).tolist()


def _reach(spans: Sequence[Span]) -> tuple[float, float]:
    ends = [(min(span.numbers), max(span.numbers), span) for span in spans if span.numbers]
    if not ends:
        return 0.0, 1.0
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    if low == high:
        return low - 1, high + 1
    room = _ROOM * (high - low)
    below = any(span.below and end <= low + room for end, _, span in ends)
    above = any(span.above and end >= high - room for _, end, span in ends)
    return low - room * below, high + room * above


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and number_on(value, None, log=False) is None
