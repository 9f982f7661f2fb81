"""Text and colours of charts: from plotly's way of writing them to reportlab's shapes. Knows no chart."""

import html
import re
from dataclasses import dataclass
from typing import Literal

from reportlab.graphics.shapes import Group, String
from reportlab.lib.colors import Color, toColor
from reportlab.pdfbase.pdfmetrics import stringWidth

from covid_core.inference.report_drawing import shown

INK = "#1C2830"
LEADING = 1.25
"""Height of a line over the size of its letters."""

_MARK = re.compile(r"(<br\s*/?>|</?(?:b|i|sub|sup)>)", re.IGNORECASE)
_RGB = re.compile(r"rgba?\(\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*([\d.]+)\s*(?:,\s*([\d.]+)\s*)?\)")
_MIDDLE_OF_LETTERS = 0.36  # of the size above the baseline: half the height of a capital of the font

Across = Literal["left", "center", "right"]
Up = Literal["top", "middle", "bottom"]


@dataclass(frozen=True)
class Run:
    """A piece of a line, in one weight."""

    text: str
    bold: bool

    def width(self, size: float) -> float:
        """Its length at a size, in the unit of the size."""
        return float(stringWidth(self.text, self.font, size))

    @property
    def font(self) -> str:
        """The font it is written in."""
        return "VeraBd" if self.bold else "Vera"


Line = tuple[Run, ...]


def lines_of(text: str) -> tuple[Line, ...]:
    """The lines of a text in plotly's markup: `<br>` and `<b>` are followed, other weights dropped, the rest is plain text."""
    lines: list[list[Run]] = [[]]
    bold = False
    for part in _MARK.split(text):
        mark = part.lower()
        if _MARK.fullmatch(part) is None:
            lines[-1].append(Run(shown(html.unescape(part).replace("\n", " ")), bold))
        elif mark.startswith("<br"):
            lines.append([])
        elif mark in {"<b>", "</b>"}:
            bold = mark == "<b>"
    return tuple(tuple(run for run in line if run.text) for line in lines)


def extent(text: str, size: float) -> tuple[float, float]:
    """The width and the height of a text, in the unit of the size."""
    lines = lines_of(text)
    return max(_width(line, size) for line in lines), len(lines) * LEADING * size


def written(
    text: str,
    x: float,
    y: float,
    size: float,
    *,
    across: Across = "center",
    up: Up = "middle",
    align: Across | None = None,
    angle: float = 0,
    colour: str = INK,
    opacity: float = 1.0,
) -> Group:
    """Write a text at a point.

    Args:
        text: in plotly's markup.
        x: of the point.
        y: of the point, upwards.
        size: of the letters, in the same unit.
        across: which side of the text is at the point.
        up: which edge of the text is at the point.
        align: of its lines to each other; as `across` by default.
        angle: counter-clockwise, degrees.
        colour: of the letters.
        opacity: of the letters, in [0, 1].
    """
    lines, (width, height) = lines_of(text), extent(text, size)
    left = {"left": 0.0, "center": -width / 2, "right": -width}[across]
    top = {"top": 0.0, "middle": height / 2, "bottom": height}[up]
    group, ink = Group(), paint(colour, opacity)
    for number, line in enumerate(lines):
        spare = width - _width(line, size)
        start = left + {"left": 0.0, "center": spare / 2, "right": spare}[align or across]
        baseline = top - (number + 0.5) * LEADING * size - _MIDDLE_OF_LETTERS * size
        for run in line:
            group.add(String(start, baseline, run.text, fontName=run.font, fontSize=size, fillColor=ink))
            start += run.width(size)
    group.translate(x, y)
    group.rotate(angle)
    return group


def paint(colour: str, opacity: float = 1.0) -> Color | None:
    """A colour of CSS as reportlab's; None for one that cannot be seen.

    Args:
        colour: a name, `#rgb`, `#rrggbb`, `rgb(...)` or `rgba(...)`.
        opacity: in [0, 1], on top of the colour's own.

    Raises:
        ValueError: it is none of these.
    """
    parts = _RGB.fullmatch(colour.strip())
    if parts is not None:
        red, green, blue, alpha = (1.0 if part is None else float(part) for part in parts.groups())
        painted = Color(red / 255, green / 255, blue / 255, alpha * opacity)
    else:
        short = re.fullmatch(r"#([0-9a-fA-F])([0-9a-fA-F])([0-9a-fA-F])", colour.strip())
        known = toColor("#" + "".join(2 * digit for digit in short.groups()) if short else colour.strip())
        painted = Color(known.red, known.green, known.blue, opacity)
    return painted if painted.alpha > 0 else None


def _width(line: Line, size: float) -> float:
    return sum(run.width(size) for run in line)
