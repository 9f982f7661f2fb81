"""The collection the model learned from: what it holds, filtered as one likes, and which films are used."""

import streamlit as st

from covid_core import figures, ui
from covid_core.data import overview
from covid_core.data.cohort import Ambiguous, CohortRules, flow_to_json, select_cohort
from covid_core.labels import CLASS_TITLES

AMBIGUOUS: dict[Ambiguous, str] = {"drop": "leave out", "non_covid": "as labelled", "covid": "as COVID-19"}

ui.page(
    "Dataset", "The COVID-19 Image Data Collection (Cohen et al., 2020): what is in it, and which films a model uses."
)

chosen = ui.choose_table()
if chosen is None:
    st.stop()
table, images_dir = chosen
explored = overview.with_choices(table)
with st.grid(5, min_column_width=130):
    findings = st.multiselect("Finding", overview.finding_choices(explored), key="finding", placeholder="All")
    views = st.multiselect("View", overview.choices(explored, "view"), key="view", placeholder="All")
    sexes = st.multiselect("Sex", overview.choices(explored, "sex"), key="sex", placeholder="All")
    modalities = st.multiselect("Modality", overview.choices(explored, "modality"), key="modality", placeholder="All")
    labels = st.multiselect(
        "Class",
        overview.choices(explored, "label"),
        key="label",
        placeholder="All",
        format_func=lambda name: CLASS_TITLES.get(name, name),
    )
kept = overview.filtered(explored, overview.Filters(findings, views, sexes, modalities, labels))
counts = overview.counts(kept)
with st.grid(5, min_column_width=130):
    st.metric("Images", counts.images, border=True)
    st.metric("Patients", counts.patients, border=True)
    st.metric("Sources", counts.sources, border=True)
    for name, count in counts.by_label.items():
        st.metric(CLASS_TITLES[name], count, border=True)
if counts.unlabelled:
    st.caption(f"{counts.unlabelled} of the images have no finding (blank, todo or Unknown) and so no class.")

if kept.empty:
    st.info("No image meets all of these filters. Take one away.", icon=":material/filter_alt_off:")
else:
    finding_chart, view_chart = st.columns(2, gap="medium")
    with finding_chart:
        st.subheader("Images by finding", anchor=False)
        by_finding = overview.top_counts(kept, "diagnosis")
        ui.chart(figures.counts_bar(by_finding, "Finding", "images"), alt="Bars: images by finding")
    with view_chart:
        st.subheader("Images by view and class", anchor=False)
        by_view = overview.view_by_label(kept)
        ui.chart(figures.stacked_counts(by_view, "View", "images"), alt="Bars: images by view, each divided by class")
    st.subheader("The images", anchor=False)
    ui.images_table(overview.shown_table(kept))

st.subheader("Which films a model uses", anchor=False)
st.markdown(
    "From all images of the table (the filters above do not count here) to the cohort, step by step; every image left out has a "
    "reason."
)
with st.container(horizontal=True, vertical_alignment="bottom"):
    ambiguous = st.segmented_control(
        "No Finding in a patient who has COVID-19 elsewhere",
        list(AMBIGUOUS),
        default="drop",
        required=True,
        format_func=lambda choice: AMBIGUOUS[choice],
        key="ambiguous",
    )
    supine = st.toggle("Add AP Supine films where others are few", value=True, key="supine")
cohort = select_cohort(table, images_dir, CohortRules(ambiguous=ambiguous, include_supine=supine))
steps = flow_to_json(cohort.flow)
st.markdown(overview.cohort_sentence(cohort.table))
ui.chart(
    figures.flow(steps), alt="Bars: images that remain after each step, and those left out; the table says the same"
)
ui.flow_table(steps)
if images_dir is None:
    st.caption("The images themselves are not here, so no step asks whether a file exists.")
