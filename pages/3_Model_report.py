"""How far a model can be trusted: its figures on films it never saw, how it was trained, and what limits both."""

import streamlit as st

from covid_core import figures, ui
from covid_core.evaluation import tables
from covid_core.evaluation.further import further_tables
from covid_core.evaluation.report import verdict
from covid_core.inference.wording import assumption

CARD_SECTIONS = (
    "Intended use",
    "Out of scope",
    "Limitations",
    "Factors",
    "Model",
    "Training data",
    "Training",
    "Licences",
)

ui.page("Model report", "How often the model is right and wrong on films it never saw, and how it was made.")
bundle = ui.choose_bundle()
if bundle is None:
    st.stop()

evaluation = ui.evaluation_of(bundle)
if evaluation is not None:
    st.markdown(f"**{ui.plain(bundle.name)}.** {ui.plain(verdict(evaluation))}")
    ui.key_figures(evaluation)
    if evaluation.get("note"):
        st.warning(ui.plain(str(evaluation["note"])), icon=":material/warning:")

    matrix_column, roc_column = st.columns(2, gap="medium")
    with matrix_column:
        st.subheader("Confusion matrix", anchor=False)
        ui.chart(
            figures.confusion(evaluation["confusion_matrix"]), alt="Confusion matrix; the table below says the same"
        )
        ui.static_table(tables.confusion_table(evaluation))
        st.caption(
            "Films, and their share of the row. Rows are the reference standard: the finding that the source of the film gives. "
            "Class order: 0 is not COVID-19, 1 is COVID-19."
        )
    with roc_column:
        st.subheader("ROC curve", anchor=False)
        ui.chart(figures.roc(evaluation), alt="ROC curve with the operating point")
        st.caption(f"Operating point {evaluation['threshold']:.3g}: {ui.plain(bundle.threshold_method)}.")

    st.subheader("Figures with their intervals", anchor=False)
    ui.static_table(tables.metric_table(evaluation))
    st.caption(ui.plain(tables.how_made(evaluation)))

    report_column, reliability_column = st.columns(2, gap="medium")
    with report_column:
        st.subheader("Classification report", anchor=False)
        ui.static_table(tables.class_table(evaluation))
        st.caption("Recall of COVID-19 is the sensitivity, recall of not COVID-19 the specificity.")
    with reliability_column:
        st.subheader("Can the probability be taken at its word?", anchor=False)
        ui.chart(figures.reliability(evaluation), alt="Observed share of COVID-19 over the predicted probability")
        st.caption(
            "On the dotted line, of the films given a probability of 0.7, 70% are COVID-19. " + assumption(bundle)
        )

    further = further_tables(evaluation)
    if further:
        st.subheader("Beyond one number", anchor=False)
    for position, measured in enumerate(further):
        with st.expander(measured.title, expanded=position == 0):
            ui.static_table(measured.table)
            st.caption(ui.plain(measured.note))

history = ui.history_of(bundle)
if history is not None:
    st.subheader("Training curves", anchor=False)
    ui.chart(figures.training_curves(history), alt="Loss and ROC AUC of training and validation over the epochs")

st.subheader("How it was made, and its limits", anchor=False)
sections = ui.card_of(bundle)
for title in CARD_SECTIONS:
    if title in sections:
        with st.expander(title, expanded=title == "Limitations"):
            st.markdown(sections[title])
with st.expander("Recipe in full"):
    st.json(bundle.manifest.get("training", {}))

st.subheader("Downloads", anchor=False)
with st.container(horizontal=True):
    for name, kind in (
        ("evaluation.json", "application/json"),
        ("predictions.csv", "text/csv"),
        ("MODEL_CARD.md", "text/markdown"),
    ):
        ui.download(bundle, name, kind)
