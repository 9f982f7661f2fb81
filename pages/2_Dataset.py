"""The collection the model learned from: what it holds, filtered as one likes, how a cohort is made of it, and what to doubt."""

import streamlit as st

from covid_core import ui

ui.page(
    "Dataset",
    "The COVID-19 Image Data Collection (Cohen et al., 2020): what is in it, which images a model uses, and what to doubt.",
)
collection = ui.choose_collection()
if collection is None:
    st.stop()
ui.explore(collection)
