"""Upload images; see what the model says of each, how firmly, where it looked, and what that means for a patient."""

import streamlit as st

from covid_core import ui
from covid_core.errors import Refusal
from covid_core.inference.prediction import Prediction
from covid_core.inference.results import summary_sentence, table_rows
from covid_core.inference.wording import OPACITIES_CAPTION, heat_sentences, opacities_sentence

OPACITIES, HEAT = "Opacities", "Heat map"
# Pixels of the window's height that the image leaves to the title, the uploader, its own controls and the footer.
CLEARANCE = 440

ui.page("Predict", keeps_uploads=True)
bundle = ui.choose_bundle()
if bundle is None:
    st.stop()

upload_column, answer_column = st.columns(2, gap="medium")
with upload_column:
    uploads = st.file_uploader(
        "Frontal chest X-rays (PNG, JPEG, DICOM, or ZIP)", accept_multiple_files=True, key="films"
    )
    if not uploads:
        st.caption("Images stay in memory for your session; they are not stored, logged or passed on.")
predictor = ui.predictor_of(bundle)
if predictor is None:
    st.stop()
if not uploads:
    ui.forget_uploads()
    st.stop()

images = ui.uploaded_images(uploads)
results = ui.read_images(images, predictor, answer_column)

chosen = 0
if len(images) > 1:
    with answer_column:
        st.markdown(summary_sentence(results))
        ui.downloads_of_all(results, bundle)
    chosen = ui.choose_image(st.container(), table_rows(results), images)
film, result = images[chosen], results[chosen]
picture = result.image

layer = HEAT
picture_column, reading_column = st.columns(2, gap="medium")
with picture_column:
    if picture is not None:
        # The viewer keeps its settings by key: inverted by hand, a negative would be one again once it is repaired.
        key = "repaired" if result.repairs else "uploaded"
        if isinstance(result.outcome, Refusal):
            ui.radiograph_viewer(picture, None, None, key=key, alt="The image that was refused", clearance=CLEARANCE)
        else:
            box = bundle.preparation.crop_box(picture.shape[1], picture.shape[0])
            opacities = result.outcome.opacities
            if opacities is not None:
                layer = (
                    st.segmented_control("Overlay", (OPACITIES, HEAT), default=OPACITIES, key="overlay") or OPACITIES
                )
            shown = opacities if opacities is not None and layer == OPACITIES else result.outcome.heat
            alt = f"The image, with the model's {layer.lower()} over it"
            ui.radiograph_viewer(picture, shown, box, key=key, alt=alt, clearance=CLEARANCE, layer=layer)
    st.text(result.file)
    if isinstance(result.outcome, Prediction):
        found = opacities_sentence(result.outcome, bundle)
        if found is not None:
            st.markdown(found)
        st.caption(OPACITIES_CAPTION if layer == OPACITIES else heat_sentences(result.outcome, bundle))
with reading_column:
    if isinstance(result.outcome, Refusal):
        ui.refusal(film, result.outcome)
    else:
        ui.reading(result, bundle)
    ui.repairs(film, readable=result.kind is not None)
if isinstance(result.outcome, Refusal):
    with st.expander("Report and downloads", icon=":material/download:"):
        ui.downloads_of_one(film, result, bundle)
    st.stop()

meaning, similar, reports = st.tabs(["What does this mean for my patient?", "Similar images", "Report and downloads"])
with meaning:
    ui.meaning(result.outcome, ui.evaluation_of(bundle))
with similar:
    ui.similar_images(result.outcome)
with reports:
    ui.downloads_of_one(film, result, bundle)
