"""The titles, notes and columns of the report's tables and charts, from `assets/words.toml`."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from covid_core.report.document import Chart, Table

if TYPE_CHECKING:
    import plotly.graph_objects as go

_WORDS = tomllib.loads((Path(__file__).parent / "assets" / "words.toml").read_text(encoding="utf-8"))
MEANINGS: Mapping[str, tuple[str, str]] = {name: tuple(words) for name, words in _WORDS["metrics"].items()}
"""Metric of an evaluation -> its title and what it means, in the order they are shown."""
TITLES: Mapping[str, str] = {name: title for name, (title, _) in MEANINGS.items()}
TABLES: Mapping[str, Mapping[str, Any]] = _WORDS["tables"]


def table(block: str, rows: Iterable[Sequence[str]], values: Mapping[str, Any] | None = None) -> Table:
    """Put rows of text under the words of a block, `values` filling in the note.

    Short rows are filled up, and columns that no row reaches are left out.
    """
    words, cells = TABLES[block], [list(row) for row in rows]
    width = max(map(len, cells), default=len(words["columns"]))
    frame = pd.DataFrame([row + [""] * (width - len(row)) for row in cells], columns=words["columns"][:width])
    note = words.get("note", "").format(**(values or {})).strip()
    return Table(words["name"], words["title"], frame, note, words.get("folded", False))


def chart(name: str, figure: "go.Figure", **values: Any) -> Chart:
    """Put a figure under the words of this name, which `values` fill in."""
    words = _WORDS["charts"][name]
    alt, note = (words.get(key, "").format(**values).strip() for key in ("alt", "note"))
    return Chart(name, words["title"], figure, alt, note)
