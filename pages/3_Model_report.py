"""How far a model can be trusted: its figures on images it never saw, how it was made, and where it fails."""

import streamlit as st

from covid_core.ui.models import choose_bundle
from covid_core.ui.page import page
from covid_core.ui.report_page import choose_chapter, record_of, report_chapter, report_head

page("Model report", "How often the model is right and wrong on images it never saw, and how it was made.")
bundle = choose_bundle()
if bundle is None:
    st.stop()
record = record_of(bundle)
if record is None:
    st.stop()

report_head(record)
report_chapter(choose_chapter(), record, bundle)
