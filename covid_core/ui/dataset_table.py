"""The rows of the collection as a table, in the order that table and gallery share; to open one, or to download all."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from covid_core.audit.checks import parse_date
from covid_core.dataset.filters import NOT_GIVEN, NOTES, with_notes
from covid_core.dataset.image_record import title_of
from covid_core.dataset.summaries import shown_table
from covid_core.ui.dataset import OpenCollection, open_ticked
from covid_core.ui.page import csv_bytes, offer, table_height

MOST_ROWS = 5_000
"""Rows that are sent to the browser at once."""

ORDERS: dict[str, tuple[str, ...]] = {
    "As in the table": (),
    "Patient and day": ("patientid", "offset"),
    "Most recent": ("date",),
    "Age": ("age",),
    "Finding": ("finding_path",),
    "View": ("view",),
    "Source": ("source",),
    "File name": ("filename",),
}
"""The orders of the images, as they are chosen, and the columns that decide."""

_KEY, _SORT = "images_table", "sort"
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
    """Show the rows of a collection that meet the filters, at least one; ticking one opens its image."""
    usual = shown_table(with_notes(kept.head(0), collection.table))
    more = [name for name in (*map(str, kept), *NOTES) if name not in _REPEATED and name not in usual]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        order = choose_order()
        chosen = st.multiselect(
            "More columns", more, format_func=_title, placeholder="None", key="columns", bind="query-params"
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
    """Let the reader choose the order of the images, the same in the gallery and the table: one of `ORDERS`."""
    return st.selectbox("Sort by", ORDERS, key=_SORT, bind="query-params", on_change=on_change, width=220)


def chosen_order() -> str:
    """The order that was chosen last, in whatever section."""
    order = st.session_state.get(_SORT)
    return order if order in ORDERS else next(iter(ORDERS))


def in_order(kept: pd.DataFrame, order: str) -> pd.DataFrame:
    """Put rows in order: blanks last, and rows that are alike as they were.

    Numbers in a text count as numbers (patient 9 before patient 10), and capitals as small letters. A date that names no day
    counts as the first one it may mean.

    Args:
        kept: as `covid_core.dataset.filters.with_choices` prepares it.
        order: one of `ORDERS`.
    """
    columns = ORDERS[order]
    return kept.sort_values(list(columns), key=_sort_key, kind="stable") if columns else kept


def table_of(rows: pd.DataFrame, more: Sequence[str] = ()) -> pd.DataFrame:
    """The rows as they are shown: the columns of `shown_table`, then `more`; long texts cut, addresses only of the web."""
    shown = shown_table(rows).assign(**{name: rows[name].to_numpy() for name in more})
    shown["url"] = shown["url"].where(shown["url"].str.match(r"https?://", na=False))
    for name in map(str, shown):
        texts = shown[name]
        if isinstance(texts.dtype, pd.StringDtype):
            shown[name] = texts.where(~(texts.str.len() > _LONGEST_CELL), texts.str.slice(0, _LONGEST_CELL - 1) + "…")
    return shown


def _title(name: str) -> str:
    return _TITLES.get(name) or title_of(name)


def _columns(more: Sequence[str]) -> dict[str, Any]:
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
    """Rows of a table as the file gave them, with what the cohort and the split say of each.

    Args:
        table: as `read_metadata` gives it.
        rows: on the index of the table, with the columns of `with_choices` that the table does not have.
    """
    beyond = rows[[name for name in rows if name not in table and name not in _REPEATED]]
    whole = pd.concat([table.loc[rows.index], beyond], axis=1)
    # Ages and days are whole numbers unless the file says otherwise: 60, not 60.0.
    given = whole.convert_dtypes().astype("object")
    return csv_bytes(given.where(given.notna(), ""))


def _sort_key(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """What a column is sorted by, NaN for blanks; each of its values is looked at once."""
    if pd.api.types.is_numeric_dtype(column):
        return column
    key = _newest_first if column.name == "date" else _natural
    keys = {value: key(value) for value in column.unique() if isinstance(value, str) and value != NOT_GIVEN}
    return column.astype("object").map(keys)


def _newest_first(text: str) -> float:
    period = parse_date(text)
    return float("nan") if period is None else -float(period.asfreq("D", "start").ordinal)


def _natural(text: str) -> str:
    return re.sub(r"\d+", lambda digits: digits[0].zfill(12), text[:_LONGEST_KEY].casefold())
