"""The front door: what this is, which model is loaded, and where to go."""

import streamlit as st

from covid_core.evaluation.summary import verdict
from covid_core.ui.models import choose_bundle, evaluation_of, key_figures
from covid_core.ui.page import PAGES, link, page, plain

page(
    "COVID-19 on chest X-rays",
    "Reads a frontal chest X-ray and gives the probability of COVID-19, the places in the image that speak for it, and how far "
    "the answer can be trusted. A second reader for research and teaching.",
)

bundle = choose_bundle()
if bundle is not None:
    st.subheader(f"The model in use: {plain(bundle.name)}", anchor=False)
    evaluation = evaluation_of(bundle)
    if evaluation is not None:
        key_figures(evaluation)
        st.markdown(plain(verdict(evaluation)))

st.subheader("Where to go", anchor=False)
with st.grid(3, min_column_width=200, border=True) as grid:
    for path, label, icon, purpose in PAGES[1:]:
        with grid.cell():
            link(path, f"**{label}**", icon)
            st.caption(purpose)

st.subheader("How to read a result", anchor=False)
st.markdown(
    "- **Probability of COVID-19**: how likely the image shows COVID-19 if images with and without it were equally common. Where "
    "COVID-19 is rarer, it is less likely than the number says.\n"
    "- **Operating point**: from this probability on, the image is called COVID-19.\n"
    "- **Indeterminate**: the probability is too near the middle to rule out either class; take it as no answer.\n"
    "- **Not COVID-19** does not mean healthy: other kinds of pneumonia are in this class as well.\n"
    "- **Heat map**: where the model looked, not where disease is. A heat map beside the lungs or on a label is a reason to "
    "distrust the result; one on the lungs is no proof of disease.\n"
    "- **Ensemble**: what models fitted on other draws of the patients say of the same image. A wide spread means that the "
    "answer depends on who happened to be in the training data.\n"
    "- **Refused**: what does not look like an upright, frontal chest X-ray gets no answer unless you ask for one, and then it "
    "is marked. The check can be wrong both ways; a model without a gate has none.\n"
    "- An uploaded image stays in memory for your session; it is not stored, logged or passed on."
)
