"""The parts of the Predict page that speak of one image: its reading or refusal, repairs, and the images that look like it."""

from collections.abc import Callable, Collection, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from covid_core.dataset.image_record import record_of_image
from covid_core.errors import Refusal
from covid_core.evaluation.conformal import INDETERMINATE
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
from covid_core.ui.dataset import OpenCollection, pictures_of, small_pictures
from covid_core.ui.dataset_source import installed_collection
from covid_core.ui.page import chart, plain
from covid_core.ui.uploads import MAX_KEPT_BYTES, GrowingTable, UploadedImage, ask_for, not_read_yet, results_of

_REPAIR_BUTTONS: dict[Repair, tuple[str, str]] = {
    "turn_left": ("Turn left", ":material/rotate_left:"),
    "turn_right": ("Turn right", ":material/rotate_right:"),
    "turn_around": ("Turn around", ":material/autorenew:"),
    "invert": ("Invert", ":material/invert_colors:"),
}


def read_images(films: Sequence[UploadedImage], predictor: Predictor, place: DeltaGenerator) -> list[Reading]:
    """Read all images that are not read yet, and show in a place how far it has come.

    Args:
        films: all that were given.
        predictor: of the model in use.
        place: where progress and, of many images, the results so far are shown while they are read.
    """
    with place:
        below = st.empty()
    waiting = not_read_yet(films, predictor)
    growing = GrowingTable(below, len(films)) if waiting else None
    results: list[Reading] = []
    for results in results_of(films, predictor):
        if growing is not None and len(results) < len(films):
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
    chart(
        scale.update_layout(margin_t=0, margin_b=20, height=_scale_height(outcome, bundle), xaxis_title=None),
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


def _scale_height(prediction: Prediction, bundle: Bundle) -> int:
    """Pixels, with a line of the legend for each thing that it names."""
    return 104 + 24 * (bundle.three_way is not None) + 24 * (prediction.spread is not None)


def refusal(film: UploadedImage, refused: Refusal) -> None:
    """Say why an image is refused and what to do next; offer the repair that would help, and to predict it anyway."""
    st.error(plain(refused.message), icon=":material/block:")
    st.markdown(f"**What to do:** {plain(refused.next_step)}")
    if not isinstance(refused, ScreenedOut):
        return
    with st.container(horizontal=True):
        if refused.repair is not None:
            _repair_button(film, refused.repair, primary=True)
        st.button(
            "Predict anyway",
            icon=":material/play_arrow:",
            on_click=ask_for,
            args=(film.id, film.given.repairs, True),
            help="The result is marked as predicted anyway wherever it is shown or exported.",
        )


def repairs(film: UploadedImage, *, readable: bool) -> None:
    """Let the user put an image right, and take that back; nothing for one that cannot be read."""
    if not readable:
        return
    done, anyway = film.given.repairs, film.given.anyway
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.popover("Turn or invert", icon=":material/tune:"):
            for repair in _REPAIR_BUTTONS:
                _repair_button(film, repair)
        if done or anyway:
            st.button("As uploaded", icon=":material/undo:", on_click=ask_for, args=(film.id, (), False))
    said = repairs_sentence(film.given.repairs)
    if said is not None:
        st.caption(said)


def similar_images(prediction: Prediction) -> None:
    """Show the images that the model was fitted on and that look most like this one."""
    if not prediction.similar:
        st.caption(
            "This model keeps no record of the images it was fitted on. Models that were exported with a gate do."
        )
        return
    similar_row(prediction.similar, installed_collection())


def similar_row(
    films: Sequence[SimilarImage],
    collection: OpenCollection | None,
    open_it: Callable[[str], None] | None = None,
    openable: Collection[str] = (),
) -> None:
    """Show similar images side by side.

    Args:
        films: at least one, nearest first.
        collection: that has them; None where none is installed.
        open_it: opens an image by its file name, as the callback of a button below each that is `openable`; None for no buttons.
        openable: file names.
    """
    st.caption(
        "Images of the collection that the model was fitted on, by the distance of their features to this image's, nearest "
        "first (0 is the same picture). Alike to the model, which need not be alike to you. Auxiliary images (see the model "
        "card) are not searched."
    )
    pictures: list[bytes | None] = [None] * len(films)
    if collection is not None and collection.images is not None:
        pictures = small_pictures(collection.images, [film.filename for film in films], pictures_of(collection))
    with st.grid(len(films), min_column_width=150) as grid:
        for number, (film, picture) in enumerate(zip(films, pictures, strict=True), start=1):
            with grid.cell():
                _similar_image(number, film, picture, collection)
                if open_it is not None and film.filename in openable:
                    st.button(
                        f"Open image {number}",
                        icon=":material/open_in_full:",
                        key=f"similar {film.filename}",
                        on_click=open_it,
                        args=(film.filename,),
                    )
    if collection is None:
        st.caption(
            "Finding, view, age and sex are in the collection's table: `python -m covid_core fetch --metadata-only`."
        )


def _similar_image(number: int, film: SimilarImage, picture: bytes | None, collection: OpenCollection | None) -> None:
    record = None if collection is None else record_of_image(collection.table, film.filename)
    if picture is not None:
        st.image(picture, width="stretch", alt=f"A similar image, {CLASS_TITLES[film.label]}")
    st.markdown(f"**{CLASS_TITLES[film.label]}**, distance {film.distance:.2f}")
    if record is not None and record.summary:
        st.caption(plain(f"{record.summary}."))
    st.text(", ".join(filter(None, (film.source, film.filename))))
    if record is not None and record.source_url is not None:
        st.link_button(f"Source of image {number}", record.source_url, icon=":material/open_in_new:")


def _repair_button(film: UploadedImage, repair: Repair, *, primary: bool = False) -> None:
    title, icon = _REPAIR_BUTTONS[repair]
    st.button(
        title,
        icon=icon,
        type="primary" if primary else "secondary",
        key=f"{'offered' if primary else 'chosen'} {repair}",
        on_click=ask_for,
        args=(film.id, shortest((*film.given.repairs, repair)), False),
    )
