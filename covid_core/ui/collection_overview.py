"""The overview of the collection: what the chosen images are, as charts that stand side by side where there is room."""

from collections.abc import Callable

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from covid_core import figures
from covid_core.data import overview
from covid_core.ui.collection import OpenCollection
from covid_core.ui.frame import chart

_PAIRED_FROM = 380  # pixels: two charts stand side by side where each has as many
_Drawn = tuple[str, str, str, str, Callable[[pd.DataFrame, pd.DataFrame], go.Figure]]
"""Title, name of the saved picture, what it shows in words, a remark, and how it is drawn of some rows and their table."""
_PAIRED: tuple[_Drawn, ...] = (
    (
        "Findings",
        "findings",
        "Areas within areas: images by finding, the particular within the general",
        "A finding is named from the general to the particular. Coloured as the class; grey holds both or none.",
        lambda kept, _: figures.finding_treemap(overview.finding_hierarchy(kept)),
    ),
    (
        "View and class",
        "views",
        "Bars: images by view, each divided by class",
        "",
        lambda kept, _: figures.stacked_counts(overview.view_by_label(kept), "View", "images"),
    ),
    (
        "Source and class",
        "sources",
        "Bars: images by the web site they come from, each divided by class",
        "A source of one class alone gives the class away.",
        lambda kept, _: figures.stacked_counts(overview.source_by_label(kept), "Source", "images"),
    ),
    (
        "Age and sex",
        "age-and-sex",
        "Bars to both sides: patients by age, women left and men right",
        "Each patient counts once, with the first age and sex given. Not given: age or sex.",
        lambda kept, _: figures.pyramid(overview.age_sex_pyramid(kept)),
    ),
    (
        "Images of a patient",
        "images-of-a-patient",
        "Columns: patients by the number of their images",
        "Films of one patient are alike, which is why parts and folds keep them together.",
        lambda kept, _: figures.columns(
            overview.images_per_patient(kept).to_frame("patients"), "Images of a patient", "patients"
        ),
    ),
    (
        "Days since onset",
        "days",
        "Columns: images by days since symptoms began or the patient came to hospital, divided by class",
        "Since symptoms began, or since admission: the table does not say which.",
        lambda kept, _: figures.columns(overview.days_since_onset(kept), "Days", "images"),
    ),
    (
        "Outcomes",
        "outcomes",
        "Bars: images by what the table says of how the patient fared",
        "Counted by image. What is not given is not a no.",
        lambda kept, _: figures.answers(overview.outcomes(kept)),
    ),
    (
        "What is not given",
        "not-given",
        "A grid: which share of each column is not given, over all images and by class",
        "What is given for one class more often than for the other can give the class away.",
        lambda kept, table: figures.missing_map(overview.missingness(kept, table)),
    ),
)
_PLACES: _Drawn = (
    "Places",
    "places",
    "A map: images by country, as circles",
    "The country is told from the free text of the place; circles stand at the middle of the country. "
    "Not told: no country is named, or two are.",
    lambda kept, _: figures.country_map(overview.images_by_country(kept)),
)


def overview_section(collection: OpenCollection, kept: pd.DataFrame) -> None:
    """Show what some images are.

    Args:
        collection: that is looked at.
        kept: its rows that meet the filters, as `covid_core.data.filters.filtered` gives them; at least one.
    """
    with st.grid(2, min_column_width=_PAIRED_FROM, gap="medium") as grid:
        for drawn in _PAIRED:
            with grid.cell():
                _chart(drawn, kept, collection.table)
    _chart(_PLACES, kept, collection.table)


def _chart(drawn: _Drawn, kept: pd.DataFrame, table: pd.DataFrame) -> None:
    title, name, alt, remark, draw = drawn
    st.subheader(title, anchor=False)
    chart(draw(kept, table), alt=alt, save_as=(name, "png"))
    if remark:
        st.caption(remark)
