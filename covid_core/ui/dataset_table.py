"""The rows of the collection as a table, in the order that table and gallery share; to open one, or to download all."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from covid_core.audit.checks import parse_date
from covid_core.dataset.filters import NOT_GIVEN, NOTES, with_notes
from covid_core.dataset.image_record import title_of
from covid_core.dataset.summaries import shown_table
from covid_core.report.csv_tables import CSV_ENCODING, csv_of
from covid_core.ui.dataset import OpenCollection
from covid_core.ui.open_image import open_ticked
from covid_core.ui.page import offer, table_height

MOST_ROWS = 5_000
"""Rows that are sent to the browser at once."""

_KEY, _SORT = "images_table", "sort"
_AS_IN_THE_TABLE = "As in the table"
_LONGEST_CELL = 200  # characters; one cell of the file may hold a million
_LONGEST_KEY = 200  # characters of a text that its place depends on
_ROWS_SEEN = 14
_REPEATED = frozenset({"diagnosis", "finding_path", "notes", "clinical_notes"})
"""Columns made for the filters, and the notes, which the table has already."""
_TITLES = {
    "label": "Class",
    "notes": "Notes",
    "source": "Web site",
    "country": "Country code",
    "has_file": "Has a file",
    "cohort": "Cohort",
    "reason": "Why left out",
    "part": "Part of the split",
}
"""Columns that no table of the collection has."""


def table_section(collection: OpenCollection, kept: pd.DataFrame) -> None:
    """Show the rows that meet the filters; ticking one opens its image.

    Args:
        collection: the open one.
        kept: its rows, as `covid_core.dataset.filters.filtered` gives them; at least one.
    """
    usual = shown_table(with_notes(kept.head(0), collection.table))
    more = [name for name in (*map(str, kept), *NOTES) if name not in _REPEATED and name not in usual]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        order = choose_order()
        chosen = st.multiselect(
            "More columns",
            more,
            format_func=_title,
            placeholder="None",
            key="columns",
            bind="query-params",
        )
    rows = in_order(kept, order)
    shown = with_notes(rows.head(MOST_ROWS), collection.table)
    st.dataframe(
        table_of(shown, chosen),
        hide_index=True,
        height=table_height(len(shown), _ROWS_SEEN),
        placeholder="",
        column_config=_columns(chosen),
        alt="The images that meet the filters",
        key=_KEY,
        on_select=partial(open_ticked, _KEY, shown["filename"].tolist()),
        selection_mode="single-row",
    )
    if len(shown) < len(rows):
        st.caption(f"The first {len(shown):,} of {len(rows):,} rows are shown, in the order chosen above.")
    st.caption("Tick the box before a row to see its image.")
    # The button keeps its rows until the page runs again, so they go without the columns of the table.
    made = partial(csv_of_rows, collection.table, rows.drop(columns=list(collection.table), errors="ignore"))
    offer(f"All {len(rows):,} rows as CSV", made, "images.csv", "text/csv")


def choose_order(on_change: Callable[[], None] | None = None) -> str:
    """Let the reader choose the order of the images, the same in the gallery and the table; the address keeps it.

    Args:
        on_change: called before the page runs again, when another order is chosen.

    Returns:
        One of `ORDERS`.
    """
    return st.selectbox("Sort by", ORDERS, key=_SORT, bind="query-params", on_change=on_change, width=220)


def chosen_order() -> str:
    """The order that was chosen last, in whatever section."""
    order = st.session_state.get(_SORT)
    return order if order in ORDERS else _AS_IN_THE_TABLE


def in_order(kept: pd.DataFrame, order: str) -> pd.DataFrame:
    """Put rows in order: blanks last, and rows that are alike as they were.

    Numbers in a text count as numbers (patient 9 before patient 10), and capitals as small letters. A date that names no day
    counts as the first one it may mean.

    Args:
        kept: as `covid_core.dataset.filters.with_choices` prepares it.
        order: one of `ORDERS`.

    Raises:
        KeyError: there is no such order.
    """
    keys = _KEYS[order](kept)
    if not keys:
        return kept
    # The last key counts most for NumPy; infinity and not NaN for blanks, as both of two blanks must be alike.
    return kept.iloc[np.lexsort([np.where(np.isnan(key), np.inf, key) for key in reversed(keys)])]


def table_of(rows: pd.DataFrame, more: Sequence[str] = ()) -> pd.DataFrame:
    """The rows as they are shown: the columns of `shown_table`, then `more`; long texts cut, addresses only of the web.

    Args:
        rows: as `covid_core.dataset.filters.with_choices` prepares them.
        more: further columns of `rows`.
    """
    shown = shown_table(rows).assign(**{name: rows[name].to_numpy() for name in more})
    shown["url"] = shown["url"].where(shown["url"].str.match(r"https?://", na=False))
    texts = {name: _cut(shown[name]) for name in map(str, shown) if isinstance(shown[name].dtype, pd.StringDtype)}
    return shown.assign(**texts)


def _title(name: str) -> str:
    return _TITLES.get(name) or title_of(name)


def _columns(more: Iterable[str]) -> dict[str, Any]:
    column = st.column_config
    narrow = ("patientid", "view", "modality", "sex", "date", "license")
    wider = ("filename", "finding", "location")
    return {
        **{name: column.TextColumn(_title(name), width="small") for name in narrow},
        **{name: column.TextColumn(_title(name), width="medium") for name in wider},
        "label": column.TextColumn(_title("label"), width=110),
        "age": column.NumberColumn(_title("age"), format="%d", width="small"),
        "offset": column.NumberColumn(
            _title("offset"), format="%d", width="small", help="Days since onset or admission"
        ),
        "url": column.LinkColumn(_title("url"), width="medium"),
        "notes": column.TextColumn(_title("notes"), width="large"),
        **{name: column.Column(_title(name)) for name in more},
    }


def csv_of_rows(table: pd.DataFrame, rows: pd.DataFrame) -> bytes:
    """Rows as the file gave them, with what the cohort and the split say of each; no spreadsheet runs a cell.

    Args:
        table: as `read_metadata` gives it.
        rows: on the index of the table, with the columns of `with_choices` that the table does not have.
    """
    beyond = rows[[name for name in rows if name not in table and name not in _REPEATED]]
    whole = pd.concat([table.loc[rows.index], beyond], axis=1)
    # Ages and days are whole numbers unless the file says otherwise: 60, not 60.0.
    given = whole.convert_dtypes().astype("object")
    return csv_of(given.where(given.notna(), "")).encode(CSV_ENCODING, errors="backslashreplace")


def _cut(texts: "pd.Series[str]") -> "pd.Series[str]":
    return texts.where(~(texts.str.len() > _LONGEST_CELL), texts.str.slice(0, _LONGEST_CELL - 1) + "…")


Key = NDArray[np.float64]


def _number(name: str) -> Callable[[pd.DataFrame], Key]:
    return lambda rows: rows[name].to_numpy(np.float64)


def _text(name: str) -> Callable[[pd.DataFrame], Key]:
    return lambda rows: _places(rows[name].astype("object"), _natural)


def _newest(rows: pd.DataFrame) -> Key:
    return -_places(rows["date"].astype("object"), _first_day)


def _first_day(text: str) -> int | None:
    period = parse_date(text)
    return None if period is None else period.asfreq("D", "start").ordinal


def _places(column: "pd.Series[Any]", key: Callable[[str], Any]) -> Key:
    """The place of each value among all, float64 (n,); NaN for blanks and values without a key. Each value is looked at once."""
    codes, values = pd.factorize(column)
    keys = [None if value == NOT_GIVEN else key(value) for value in values]
    ranks = {one: float(rank) for rank, one in enumerate(sorted({one for one in keys if one is not None}))}
    places = np.array([*(np.nan if one is None else ranks[one] for one in keys), np.nan])
    return places[codes]  # a blank has code -1, the last place


def _natural(text: str) -> str:
    return re.sub(r"\d+", lambda digits: digits[0].zfill(12), text[:_LONGEST_KEY].casefold())


_KEYS: dict[str, Callable[[pd.DataFrame], list[Key]]] = {
    _AS_IN_THE_TABLE: lambda _rows: [],
    "Patient and day": lambda rows: [_text("patientid")(rows), _number("offset")(rows)],
    "Most recent": lambda rows: [_newest(rows)],
    "Age": lambda rows: [_number("age")(rows)],
    "Finding": lambda rows: [_text("finding_path")(rows)],
    "View": lambda rows: [_text("view")(rows)],
    "Source": lambda rows: [_text("source")(rows)],
    "File name": lambda rows: [_text("filename")(rows)],
}
ORDERS = tuple(_KEYS)
"""The orders that `in_order` knows, as they are chosen."""
