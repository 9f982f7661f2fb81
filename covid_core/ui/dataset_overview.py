"""The overview of the collection: charts of the images that meet the filters, side by side where there is room."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from covid_core.dataset import summaries
from covid_core.dataset.image_record import title_of
from covid_core.figures.dataset import stacked_counts
from covid_core.figures.explorer import answers, columns, country_map, finding_treemap, missing_map, pyramid
from covid_core.labels import CLASS_TITLES
from covid_core.ui.dataset import OpenCollection
from covid_core.ui.page import PAIRED_FROM, chart, static_table


@dataclass(frozen=True)
class _Chart:
    """One chart: counted from the rows that meet the filters (and their whole table), drawn, and given in numbers."""

    title: str
    name: str  # of the saved picture
    alt: str
    remark: str  # below it
    count: Callable[[pd.DataFrame, pd.DataFrame], Any]
    draw: Callable[[Any], go.Figure]
    rows: str  # title of the first column of the numbers
    numbers: Callable[[Any], pd.DataFrame] = lambda counted: counted


_PAIRED = (
    _Chart(
        "Findings",
        "findings",
        "Areas within areas: images by finding, the particular within the general",
        "A finding is named from the general to the particular. Coloured as the class; grey holds both or none.",
        lambda kept, _: summaries.finding_hierarchy(kept),
        finding_treemap,
        "Finding",
        lambda tree: tree.set_index("id")[["images"]],
    ),
    _Chart(
        "View and class",
        "views",
        "Bars: images by view, each divided by class",
        "",
        lambda kept, _: summaries.view_by_label(kept),
        lambda counted: stacked_counts(counted, "View", "images"),
        "View",
    ),
    _Chart(
        "Source and class",
        "sources",
        "Bars: images by the web site they come from, each divided by class",
        "A source with a single class reveals the class.",
        lambda kept, _: summaries.source_by_label(kept),
        lambda counted: stacked_counts(counted, "Source", "images"),
        "Source",
    ),
    _Chart(
        "Age and sex",
        "age-and-sex",
        "Bars to both sides: patients by age, women left and men right",
        "Each patient counts once, with the first age and sex given. Not given: age or sex.",
        lambda kept, _: summaries.age_sex_pyramid(kept),
        pyramid,
        "Age (years)",
    ),
    _Chart(
        "Images of a patient",
        "images-of-a-patient",
        "Columns: patients by the number of their images",
        "Images of one patient are similar, so parts and folds keep them together.",
        lambda kept, _: summaries.images_per_patient(kept).to_frame("patients"),
        lambda counted: columns(counted, "Images of a patient", "patients"),
        "Images of a patient",
    ),
    _Chart(
        "Days since onset",
        "days",
        "Columns: images by days since symptoms began or the patient came to hospital, divided by class",
        "Since symptoms began, or since admission: the table does not say which.",
        lambda kept, _: summaries.days_since_onset(kept),
        lambda counted: columns(counted, "Days", "images"),
        "Days",
    ),
    _Chart(
        "Outcomes",
        "outcomes",
        "Bars: images by outcome of the patient",
        "Counted by image. What is not given is not a no.",
        lambda kept, _: summaries.outcomes(kept),
        answers,
        "Outcome",
    ),
    _Chart(
        "Missing values",
        "not-given",
        "A grid: the share of missing values in each column, over all images and by class",
        "What is missing more often in one class than in the other can reveal the class.",
        summaries.missingness,
        missing_map,
        "Column",
        lambda missing: missing.blanks.rename(index=title_of),
    ),
)
_PLACES = _Chart(
    "Places",
    "places",
    "A map: images by country, as circles",
    "The country is read from the free text of the place; each circle is at the middle of its country. "
    "Not counted: texts that name no country, or two.",
    lambda kept, _: summaries.images_by_country(kept),
    country_map,
    "Country",
    lambda countries: countries.set_index("name")[["images", "patients"]],
)
_COLUMNS = {**CLASS_TITLES, "F": "women", "M": "men", "all": "all images"}


def overview_section(collection: OpenCollection, kept: pd.DataFrame) -> None:
    """Show charts of the rows of a collection that meet the filters, at least one."""
    with st.grid(2, min_column_width=PAIRED_FROM, gap="medium") as grid:
        for one in _PAIRED:
            with grid.cell():
                _show(one, kept, collection.table)
    _show(_PLACES, kept, collection.table)


def _show(one: _Chart, kept: pd.DataFrame, table: pd.DataFrame) -> None:
    counted = one.count(kept, table)
    st.subheader(one.title, anchor=False)
    chart(one.draw(counted), alt=one.alt, save_as=(one.name, "png"))
    if one.remark:
        st.caption(one.remark)
    opened = st.expander("Numbers", key=f"numbers of {one.name}", type="compact", on_change="rerun")
    if opened.open:
        with opened:
            numbers = one.numbers(counted).rename(columns=_COLUMNS).rename_axis(one.rows)
            static_table(numbers.reset_index().astype("str"))
