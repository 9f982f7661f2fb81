"""The parts of the Predict page on one image: its reading or refusal, repairs, what it means for the patient, similar images."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from covid_core.dataset.image_record import record_of_image
from covid_core.errors import EvaluationError, Refusal
from covid_core.evaluation import post_test, post_test_words
from covid_core.evaluation.conformal import INDETERMINATE
from covid_core.figures.post_test import people_bars, post_test_curve
from covid_core.figures.prediction import probability_scale
from covid_core.images.orientation import Repair, shortest
from covid_core.inference.bundle import Bundle
from covid_core.inference.prediction import Prediction, Reading, ScreenedOut, SimilarImage
from covid_core.inference.predictor import Predictor
from covid_core.inference.results import table_rows
from covid_core.inference.wording import (
    NOT_HEALTHY,
    assumption,
    grave_cautions,
    headline,
    indeterminate_sentence,
    key_numbers,
    pattern_sentence,
    repairs_sentence,
    scale_words,
    spread_sentence,
)
from covid_core.labels import CLASS_TITLES, NON_COVID
from covid_core.ui.dataset import OpenCollection, open_image, pictures_of, small_pictures
from covid_core.ui.dataset_source import installed_collection
from covid_core.ui.page import chart, plain, problem
from covid_core.ui.uploads import MAX_KEPT_BYTES, GrowingTable, UploadedImage, ask_for, results_of

_REPAIR_BUTTONS: dict[Repair, tuple[str, str]] = {
    "turn_left": ("Turn left", ":material/rotate_left:"),
    "turn_right": ("Turn right", ":material/rotate_right:"),
    "turn_around": ("Turn around", ":material/autorenew:"),
    "invert": ("Invert", ":material/invert_colors:"),
}
_NOT_FOR_THIS_IMAGE = (
    "How often the model is right was measured on frontal chest X-rays that it had not seen. This image is none of them, so "
    "nothing can be said of a patient by its answer."
)
_THREE_ANSWERS = (
    "The model gives three answers, so there are three likelihood ratios. Those of the model report are of the operating point "
    "alone, as if it always decided."
)


def read_images(images: Sequence[UploadedImage], predictor: Predictor, place: DeltaGenerator) -> list[Reading]:
    """Read all images that are not read yet; `place` shows the progress and the results so far."""
    with place:
        below = st.empty()
    growing: GrowingTable | None = None
    results: list[Reading] = []
    for results in results_of(images, predictor):
        if len(results) < len(images):
            growing = growing or GrowingTable(below, len(images))
            growing.show(table_rows(results))
    below.empty()
    unseen = sum(one.kind is not None and one.picture is None for one in results)
    if unseen:
        place.warning(
            f"{unseen} of the images have a result and no picture: a session keeps {MAX_KEPT_BYTES // 2**20} MiB of pictures. "
            "Upload fewer images at once to see all.",
            icon=":material/warning:",
        )
    return results


def reading(result: Reading, bundle: Bundle) -> None:
    """Show what the model says of an image: in words, on a scale, and what speaks against relying on it."""
    outcome, three_way = result.outcome, bundle.three_way
    if isinstance(outcome, Refusal):
        raise TypeError("a refused image has no reading")
    grave = grave_cautions(outcome)
    if grave:
        st.warning(plain(" ".join(grave)), icon=":material/warning:")
    st.subheader(headline(outcome), anchor=False)
    st.markdown(key_numbers(outcome))
    leaning = pattern_sentence(outcome)
    if leaning is not None:
        st.markdown(leaning)
    if three_way is not None and outcome.decision == INDETERMINATE:
        st.markdown(indeterminate_sentence(outcome, three_way))
    band = None if three_way is None else (three_way.lower, three_way.upper)
    scale = probability_scale(outcome.probability_covid, outcome.threshold, band, outcome.spread)
    height = 104 + 24 * ((three_way is not None) + (outcome.spread is not None))  # a line of the legend for each
    chart(
        scale.update_layout(margin_t=0, margin_b=20, height=height, xaxis_title=None),
        alt=scale_words(outcome, three_way),
    )
    if result.warnings:
        st.warning("\n".join(f"- {plain(warning)}" for warning in result.warnings), icon=":material/warning:")
    spread = spread_sentence(outcome)
    if spread is not None:
        st.caption(spread)
    if (outcome.decision or outcome.label) == NON_COVID:
        st.caption(NOT_HEALTHY)
    st.caption(f"{assumption(bundle)} Model {plain(bundle.name)}, version {plain(bundle.version)}.")


def refusal(image: UploadedImage, refused: Refusal) -> None:
    """Say why an image is refused and what to do next; offer the repair that would help, and to predict it anyway."""
    st.error(plain(refused.message), icon=":material/block:")
    st.markdown(f"**What to do:** {plain(refused.next_step)}")
    if not isinstance(refused, ScreenedOut):
        return
    with st.container(horizontal=True):
        if refused.repair is not None:
            _repair_button(image, refused.repair, primary=True)
        st.button(
            "Predict anyway",
            icon=":material/play_arrow:",
            on_click=ask_for,
            args=(image.id, image.given.repairs, True),
            help="The result is marked as predicted anyway wherever it is shown or exported.",
        )


def repairs(image: UploadedImage, *, readable: bool) -> None:
    """Let the user put an image right, and take that back; nothing for one that cannot be read."""
    if not readable:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.popover("Turn or invert", icon=":material/tune:"):
            for repair in _REPAIR_BUTTONS:
                _repair_button(image, repair)
        if image.given.repairs or image.given.anyway:
            st.button("As uploaded", icon=":material/undo:", on_click=ask_for, args=(image.id, (), False))
    said = repairs_sentence(image.given.repairs)
    if said is not None:
        st.caption(said)


def meaning(prediction: Prediction, evaluation: Mapping[str, Any] | None) -> None:
    """Let the user choose how common COVID-19 is among people like the patient, and say what the answer then means.

    Nothing is shown without the model's evaluation.
    """
    if evaluation is None:
        return
    if grave_cautions(prediction):
        st.info(_NOT_FOR_THIS_IMAGE, icon=":material/info:")
        return
    cohort = evaluation["counts"]["prevalence"]
    try:
        answers = post_test.answers_of(evaluation, three_way=prediction.decision is not None)
        choices = post_test_words.prevalence_choices(cohort)
        prevalence = st.select_slider(
            "How common is COVID-19 among people like this patient?",
            choices,
            value=cohort,
            format_func=lambda choice: post_test_words.prevalence_label(choice, cohort),
            key="prevalence",
            help="The probability of COVID-19 before the image. It starts at the share where the model was judged, "
            "which is far above that of most clinics.",
        )
        found = post_test.read(answers, prediction.decision or prediction.label, prevalence)
    except EvaluationError as error:
        problem(error)
        return
    words, drawing = st.columns(2, gap="medium")
    with words:
        st.metric("Probability of COVID-19 after the image", post_test_words.probability_in_words(found))
        if found.probability.note:
            st.caption(plain(found.probability.note))
        st.markdown(plain(" ".join(post_test_words.natural_frequency_sentences(found))))
        ratios = (
            f"{post_test_words.RATIO_TITLES[one.decision]} {post_test_words.ratio_in_words(one)}" for one in answers
        )
        st.markdown(plain("; ".join(ratios) + "."))
        st.caption(plain(post_test_words.accuracy_sentence(answers)))
        if prediction.decision is not None:
            st.caption(_THREE_ANSWERS)
        elsewhere = post_test_words.elsewhere_sentence(evaluation)
        if elsewhere is not None:
            st.caption(plain(elsewhere))
    with drawing:
        chart(people_bars(found), alt=post_test_words.people_words(found))
        chart(post_test_curve(found), alt=post_test_words.curve_words(found))


def similar_images(prediction: Prediction) -> None:
    """Show the images that the model was fitted on and that look most like this one."""
    if not prediction.similar:
        st.caption(
            "This model keeps no record of the images it was fitted on. Models that were exported with a gate do."
        )
        return
    similar_row(prediction.similar, installed_collection())


def similar_row(
    images: Sequence[SimilarImage], collection: OpenCollection | None, openable: Collection[str] = ()
) -> None:
    """Show similar images side by side.

    Args:
        images: at least one, nearest first.
        collection: that has them; None where none is installed.
        openable: file names of those with a button that opens the image over the page.
    """
    st.caption(
        "Images of the collection that the model was fitted on, by the distance of their features to this image's, nearest "
        "first (0 is the same picture). Alike to the model, which need not be alike to you. Auxiliary images (see the model "
        "card) are not searched."
    )
    pictures: list[bytes | None] = [None] * len(images)
    if collection is not None and collection.images is not None:
        pictures = small_pictures(collection.images, [image.filename for image in images], pictures_of(collection))
    with st.grid(len(images), min_column_width=150) as grid:
        for number, (image, picture) in enumerate(zip(images, pictures, strict=True), start=1):
            with grid.cell():
                _similar_image(number, image, picture, collection)
                if image.filename in openable:
                    st.button(
                        f"Open image {number}",
                        icon=":material/open_in_full:",
                        key=f"similar {image.filename}",
                        on_click=open_image,
                        args=(image.filename,),
                    )
    if collection is None:
        st.caption(
            "Finding, view, age and sex are in the collection's table: `python -m covid_core fetch --metadata-only`."
        )


def _similar_image(number: int, image: SimilarImage, picture: bytes | None, collection: OpenCollection | None) -> None:
    record = None if collection is None else record_of_image(collection.table, image.filename)
    if picture is not None:
        st.image(picture, width="stretch", alt=f"A similar image, {CLASS_TITLES[image.label]}")
    st.markdown(f"**{CLASS_TITLES[image.label]}**, distance {image.distance:.2f}")
    if record is not None and record.summary:
        st.caption(plain(f"{record.summary}."))
    st.text(", ".join(filter(None, (image.source, image.filename))))
    if record is not None and record.source_url is not None:
        st.link_button(f"Source of image {number}", record.source_url, icon=":material/open_in_new:")


def _repair_button(image: UploadedImage, repair: Repair, *, primary: bool = False) -> None:
    title, icon = _REPAIR_BUTTONS[repair]
    st.button(
        title,
        icon=icon,
        type="primary" if primary else "secondary",
        key=f"{'offered' if primary else 'chosen'} {repair}",
        on_click=ask_for,
        args=(image.id, shortest((*image.given.repairs, repair)), False),
    )
