"""The collection the model learned from: what it holds, filtered as one likes, how a cohort is made of it, and what to doubt."""

import streamlit as st

from covid_core.ui.dataset_page import explore
from covid_core.ui.dataset_source import choose_collection
from covid_core.ui.page import page

page(
    "Dataset",
    "The COVID-19 Image Data Collection (Cohen et al., 2020): what is in it, which images a model uses, and what to doubt.",
)
collection = choose_collection()
if collection is None:
    st.stop()
explore(collection)
