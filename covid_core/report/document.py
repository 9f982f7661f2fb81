"""What a report is made of: chapters of words, tables and charts.

The page, the HTML file, the model card and the README show the same tables, so that no figure can differ between them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pandas as pd

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Words:
    """A paragraph of plain text. `caution` stands out as a warning, `remark` is small print."""

    text: str
    tone: Literal["plain", "caution", "remark"] = "plain"


@dataclass(frozen=True)
class Command:
    """A line to run in a terminal, for what is not measured yet."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table whose every cell is text, its first column naming the rows.

    `name` is that of its CSV file, without ending: lower case, letters, digits and hyphens, once in a report. A `folded` one
    stays closed until a reader opens it.
    """

    name: str
    title: str
    table: pd.DataFrame
    note: str = ""
    folded: bool = False

    def markdown(self) -> str:
        """The cells as a Markdown table; a bar in a cell is escaped, it would end the cell."""
        head = f"| {' | '.join(self.table.columns)} |\n|{'---|' * self.table.shape[1]}"
        rows = (" | ".join(cell.replace("|", "\\|") for cell in row) for row in self.table.itertuples(index=False))
        return "\n".join([head, *(f"| {row} |" for row in rows)])


@dataclass(frozen=True)
class Chart:
    """A figure of `covid_core.figures`; `name`, `title` and `note` as of `Table`, `alt` says in words what it shows."""

    name: str
    title: str
    figure: "go.Figure"
    alt: str
    note: str = ""


Item = Words | Command | Table | Chart


@dataclass(frozen=True)
class Chapter:
    """A part of the report that answers one question; its `name`, as of `Table`, stands in addresses."""

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
    """A whole report: one line on the model's version and data, the verdict, and headline figures (title, value, interval)."""

    title: str
    subtitle: str
    headline: str
    figures: tuple[tuple[str, str, str], ...]
    chapters: tuple[Chapter, ...]
