"""What a report is made of: chapters of words, tables and charts.

One description for all who show it: the page and the self-contained HTML file arrange the same chapters, so that no
figure can differ between them. Knows neither models nor how anything is shown.
"""

from dataclasses import dataclass
from typing import Literal

import pandas as pd
import plotly.graph_objects as go

Tone = Literal["plain", "caution", "remark"]


@dataclass(frozen=True)
class Words:
    """A paragraph.

    Attributes:
        text: plain text, no Markdown and no HTML.
        tone: `plain` is read first, `caution` stands out as a warning, `remark` is small print.
    """

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Command:
    """A line to run in a terminal, for what is not measured yet."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table whose every cell is text, its first column naming the rows.

    Attributes:
        name: of the file it is taken away in, without ending: lower case, letters, digits and hyphens, once in a report.
        title: what it shows.
        table: the cells.
        note: how to read it; empty for none.
        folded: whether it stays closed until a reader opens it.
    """

    name: str
    title: str
    table: pd.DataFrame
    note: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Chart:
    """A figure.

    Attributes:
        name: as of `Table`.
        title: what it shows.
        figure: as of `covid_core.figures`: transparent, without a colour of text.
        alt: the same in words for those who cannot see it.
        note: how to read it; empty for none.
    """

    name: str
    title: str
    figure: go.Figure
    alt: str
    note: str = ""


Item = Words | Command | Table | Chart


@dataclass(frozen=True)
class Chapter:
    """A part of the report that answers one question.

    Attributes:
        name: as of `Table`; it names the chapter in an address.
        title: of the chapter.
        items: in the order they are read.
    """

    name: str
    title: str
    items: tuple[Item, ...]

    def tables(self) -> list[Table]:
        """The tables, in their order."""
        return [item for item in self.items if isinstance(item, Table)]

    def charts(self) -> list[Chart]:
        """The charts, in their order."""
        return [item for item in self.items if isinstance(item, Chart)]


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes:
        title: of the report.
        subtitle: the model's version and date, and the data it was trained on, one line.
        headline: the verdict, one sentence.
        figures: the headline figures: title, value, interval, all text.
        chapters: in the order they are read.
    """

    title: str
    subtitle: str
    headline: str
    figures: tuple[tuple[str, str, str], ...]
    chapters: tuple[Chapter, ...]
