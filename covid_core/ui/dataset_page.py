"""The Dataset page: one collection, filtered once, seen in sections; and one of its images, opened over all of them."""

from typing import Any

import pandas as pd
import streamlit as st

from covid_core.dataset.filters import IN_COHORT, with_choices
from covid_core.dataset.prepare import PlanRules
from covid_core.paths import model_names
from covid_core.ui.audit_panel import audit_section
from covid_core.ui.cohort_builder import cohort_section, exclusions_now, part_of_split, rule_controls
from covid_core.ui.dataset import EXPLORED, OpenCollection, follow_address, opened_image, store_of
from covid_core.ui.dataset_filters import fate_name, filter_bar, filter_options, part_name
from covid_core.ui.dataset_overview import overview_section
from covid_core.ui.dataset_table import chosen_order, in_order, table_section
from covid_core.ui.gallery import gallery_section
from covid_core.ui.image_detail import image_detail
from covid_core.ui.models import choose_bundle

SECTIONS = ("Overview", "Images", "Table", "Cohort", "Audit")
Explored = tuple[pd.DataFrame, dict[str, dict[str, int]]]
"""A table that `with_choices` has prepared, and the options of its filters."""


def explore(collection: OpenCollection) -> None:
    """Show a collection: its filters, the section that is chosen, and the image that is opened."""
    bundle = choose_bundle() if model_names() else None
    follow_address()
    bar = st.container()
    with st.container(horizontal=True, vertical_alignment="center"):
        section = st.pills(
            "Section",
            SECTIONS,
            default=SECTIONS[0],
            required=True,
            key="section",
            bind="query-params",
            label_visibility="collapsed",
        )
        # The rules decide what the filters `Cohort` and `Part of the split` mean, so every section has them.
        elsewhere = None if section == "Cohort" else st.popover("Cohort rules", icon=":material/rule:", type="tertiary")
    with elsewhere or st.container():
        rules = rule_controls()
    explored, options = _explored(collection, rules)
    with bar:
        kept = filter_bar(explored, options)
    if section == "Cohort":
        cohort_section(collection, rules)
    elif section == "Audit":
        audit_section(collection, kept)
    elif kept.empty:
        st.info("No image meets all of these filters. Remove one of them.", icon=":material/filter_alt_off:")
    elif section == "Images":
        gallery_section(collection, kept)
    elif section == "Table":
        table_section(collection, kept)
    else:
        overview_section(collection, kept)
    image = opened_image()
    if image is not None:
        selection = in_order(kept, chosen_order())["filename"].dropna().drop_duplicates().tolist()
        image_detail(collection, image, bundle, lambda filename: _fate(explored, filename), selection)


def _fate(explored: pd.DataFrame, filename: str) -> str | None:
    """What becomes of an image, in words; None where no row names it."""
    rows = explored[explored["filename"] == filename]
    if rows.empty or "cohort" not in rows:
        return None
    row = rows.iloc[0]
    words = fate_name(row["cohort"]) if row["cohort"] == IN_COHORT else f"left out: {row['reason']}"
    return f"{words}, {part_name(row['part'])}" if "part" in rows else words


def _explored(collection: OpenCollection, rules: PlanRules) -> Explored:
    """The table with all that can be filtered, and what can be chosen; made again when an input is another object."""
    store = store_of(collection)
    if "files" not in store:
        store["files"] = collection.images and frozenset(path.name for path in collection.images.iterdir())
    exclusions, split = exclusions_now(collection, rules), part_of_split(collection, rules)
    made_of = (collection.table, exclusions, split, store["files"])
    kept: tuple[tuple[Any, ...], Explored] | None = st.session_state.get(EXPLORED)
    if kept is not None and all(one is other for one, other in zip(kept[0], made_of, strict=True)):
        return kept[1]
    explored = with_choices(collection.table, files=store["files"], exclusions=exclusions, split=split)
    made: Explored = (explored, filter_options(explored))
    st.session_state[EXPLORED] = (made_of, made)
    return made
