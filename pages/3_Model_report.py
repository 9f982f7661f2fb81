"""How far a model can be trusted: its figures on images it never saw, how it was made, and where it fails."""

import streamlit as st

from covid_core import ui

ui.page("Model report", "How often the model is right and wrong on images it never saw, and how it was made.")
bundle = ui.choose_bundle()
if bundle is None:
    st.stop()
record = ui.record_of(bundle)
if record is None:
    st.stop()

ui.report_head(record)
ui.report_chapter(ui.choose_chapter(), record, bundle)
