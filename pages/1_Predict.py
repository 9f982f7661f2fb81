"""Upload films; see what the model says of each, and where it looked."""

import streamlit as st

from covid_core import figures, ui
from covid_core.errors import ImageRefusedError
from covid_core.evaluation.conformal import INDETERMINATE
from covid_core.inference.explanation import overlay
from covid_core.inference.results import (
    assumption,
    headline,
    heat_caption,
    indeterminate_sentence,
    key_numbers,
    results_csv,
    scale_words,
    summary_sentence,
    table_rows,
)
from covid_core.labels import COVID

ui.page("Predict", keeps_uploads=True)
bundle = ui.choose_bundle()
predictor = ui.predictor_of(bundle) if bundle is not None else None
if bundle is None or predictor is None:
    st.stop()

upload_column, answer_column = st.columns(2, gap="medium")
with upload_column:
    uploads = st.file_uploader(
        "Frontal chest X-rays, PNG or JPEG", type=["png", "jpg", "jpeg"], accept_multiple_files=True, key="films"
    )
    st.caption(
        "Films stay in memory for your session and are not stored. The model takes any picture for a frontal chest X-ray of an "
        "adult, so upload nothing else."
    )
if not uploads:
    ui.forget_uploads()
    st.stop()

with answer_column:
    progress, table = st.empty(), st.empty()
results = []
for results in ui.predict_uploads(uploads, predictor):
    if len(uploads) > 1:
        progress.progress(len(results) / len(uploads), text=f"{len(results)} of {len(uploads)} films")
        ui.results_table(table, table_rows(results))
progress.empty()

chosen, words, scale = 0, answer_column, answer_column
if len(uploads) > 1:
    with answer_column.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.caption(summary_sentence(results))
        st.download_button(
            "Table as CSV",
            results_csv(results, bundle),
            file_name="predictions.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
    chosen = ui.choose_film(table, table_rows(results), uploads)
    words, scale = st.columns(2, gap="medium", vertical_alignment="center")

outcome, three_way = results[chosen].outcome, bundle.three_way
if isinstance(outcome, ImageRefusedError):
    st.text(results[chosen].file)
    ui.problem(outcome)
    st.stop()

with words:
    st.subheader(headline(outcome), anchor=False)
    st.markdown(key_numbers(outcome))
    if three_way is not None and outcome.decision == INDETERMINATE:
        st.markdown(indeterminate_sentence(outcome, three_way))
with scale:
    band = None if three_way is None else (three_way.lower, three_way.upper)
    ui.chart(
        figures.probability_scale(outcome.probability_covid, outcome.threshold, band).update_layout(
            margin_t=0, margin_b=0, height=92 if band is None else 116, xaxis_title=None
        ),
        alt=scale_words(outcome, three_way),
    )

film = ui.film_of(uploads[chosen])
film_column, heat_column = st.columns(2, gap="medium")
with film_column.container(key=f"{ui.FILM}-uploaded"):
    st.image(film, clamp=True, width="stretch", output_format="JPEG", alt="The film as it was uploaded")
    st.text(results[chosen].file)
    if outcome.label != COVID:
        st.caption("Not COVID-19 does not mean healthy: other kinds of pneumonia are in this class as well.")
    st.caption(assumption(bundle))
    st.caption(f"Model {ui.plain(bundle.name)}, version {ui.plain(bundle.version)}.")
with heat_column.container(key=f"{ui.FILM}-heat"):
    picture = st.empty()
    with st.container(horizontal=True, vertical_alignment="center", gap="large"):
        shown = st.toggle("Heat map", value=True, key="heat", persist_state="session")
        opacity = st.slider("Opacity", 0.1, 0.9, 0.45, 0.05, key="opacity", persist_state="session", disabled=not shown)
    if shown:
        box = bundle.preparation.crop_box(film.shape[1], film.shape[0])
        drawn = overlay(film, outcome.heat, box, opacity)
        picture.image(drawn, width="stretch", output_format="JPEG", alt="The film with the model's heat map over it")
        st.caption(heat_caption(outcome, bundle))
