"""Upload images; see what the model says of each, how firmly, where it looked, and what that means for a patient."""

import streamlit as st

from covid_core.errors import Refusal
from covid_core.inference.results import summary_sentence, table_rows
from covid_core.inference.wording import OPACITIES_CAPTION, heat_sentences, opacities_sentence
from covid_core.ui.models import choose_bundle, evaluation_of, predictor_of
from covid_core.ui.page import page
from covid_core.ui.privacy import forget_uploads
from covid_core.ui.result import meaning, read_images, reading, refusal, repairs, similar_images
from covid_core.ui.result_downloads import downloads_of_all, downloads_of_one
from covid_core.ui.uploads import choose_image, uploaded_images
from covid_core.ui.viewer import HEAT_MAP, model_layer, radiograph_viewer

OPACITIES = "Opacities"
# Pixels of the window's height that the image leaves to the title, the uploader, its own controls and the footer.
CLEARANCE = 440

page("Predict", keeps_uploads=True)
bundle = choose_bundle()
if bundle is None:
    st.stop()

upload_column, answer_column = st.columns(2, gap="medium")
with upload_column:
    uploads = st.file_uploader(
        "Frontal chest X-rays (PNG, JPEG, DICOM, or ZIP)", accept_multiple_files=True, key="films"
    )
    if not uploads:
        st.caption("Images stay in memory for your session; they are not stored, logged or passed on.")
predictor = predictor_of(bundle)
if predictor is None:
    st.stop()
if not uploads:
    forget_uploads()
    st.stop()

images = uploaded_images(uploads)
results = read_images(images, predictor, answer_column)

chosen = 0
if len(images) > 1:
    with answer_column:
        st.markdown(summary_sentence(results))
        downloads_of_all(results, bundle)
    chosen = choose_image(st.container(), table_rows(results), images)
image, result = images[chosen], results[chosen]
outcome, picture = result.outcome, result.image

name = HEAT_MAP
picture_column, reading_column = st.columns(2, gap="medium")
with picture_column:
    if picture is not None:
        layer, alt = None, "The image that was refused"
        if not isinstance(outcome, Refusal):
            shown = outcome.heat
            if outcome.opacities is not None:
                overlays = (OPACITIES, HEAT_MAP)
                name = st.segmented_control("Overlay", overlays, default=OPACITIES, key="overlay") or OPACITIES
                shown = outcome.opacities if name == OPACITIES else outcome.heat
            layer = model_layer(shown, bundle.preparation.crop_box(picture.shape[1], picture.shape[0]), name)
            alt = f"The image, with the model's {name.lower()} over it"
        # The viewer keeps its settings by key: inverted by hand, a negative would be one again once it is repaired.
        key = "repaired" if result.repairs else "uploaded"
        radiograph_viewer(picture, layer, key=key, alt=alt, clearance=CLEARANCE)
    st.text(result.file)
    if not isinstance(outcome, Refusal):
        found = opacities_sentence(outcome, bundle)
        if found is not None:
            st.markdown(found)
        st.caption(OPACITIES_CAPTION if name == OPACITIES else heat_sentences(outcome, bundle))
with reading_column:
    if isinstance(outcome, Refusal):
        refusal(image, outcome)
    else:
        reading(result, bundle)
    repairs(image, readable=result.kind is not None)
if isinstance(outcome, Refusal):
    with st.expander("Report and downloads", icon=":material/download:"):
        downloads_of_one(image, result, bundle)
    st.stop()

for_patient, similar, reports = st.tabs(
    ["What does this mean for my patient?", "Similar images", "Report and downloads"]
)
with for_patient:
    meaning(outcome, evaluation_of(bundle))
with similar:
    similar_images(outcome)
with reports:
    downloads_of_one(image, result, bundle)
