"""One image of the collection, opened over the page. Texts of the table are shown as they are, never as Markdown."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from covid_core.dataset.descriptions import MAX_SEVERITY, SEVERITY_NAME, severity_scores
from covid_core.dataset.image_record import CT, ImageRecord, PatientImage, record_of_image, title_of
from covid_core.dataset.metadata import safe_image_path
from covid_core.errors import CovidCoreError, DatasetError
from covid_core.figures.timeline import timeline
from covid_core.inference.bundle import Bundle
from covid_core.inference.prediction import Prediction, SimilarImage
from covid_core.inference.similar import similar_to_known, was_fitted_on
from covid_core.labels import CLASS_TITLES
from covid_core.report.one_image import held_out_words
from covid_core.report.robustness import public_address
from covid_core.text import counted
from covid_core.ui.dataset import OpenCollection, open_image, opened_image, pictures_of, small_pictures
from covid_core.ui.dataset_source import installed_collection
from covid_core.ui.image_viewer import image_of_collection, served_prediction
from covid_core.ui.models import cached_gate, cached_record
from covid_core.ui.page import chart, data_address, plain, problem, set_state, static_table
from covid_core.ui.result import similar_row

_CLEARANCE = 430  # pixels of the window's height that the image leaves to what stands around it
_THUMBNAILS = 24  # of a patient that are shown at once
_LONG_NOTE = 2000  # characters; a longer one scrolls within a box
_LONGEST_NAME = 300
_OF_THE_PERSON = frozenset(map(title_of, ("sex", "age", "RT_PCR_positive")))
_SEARCHED = "film_searched"


@st.dialog("An image of the collection", width="large", on_dismiss=open_image)
def image_detail(
    collection: OpenCollection,
    filename: str,
    bundle: Bundle | None,
    fate: Callable[[str], str | None] | None = None,
    selection: Sequence[str] = (),
) -> None:
    """Show an image and all that is known of it; the next ones, and similar ones, open in its place.

    Args:
        collection: that it is of.
        filename: of the image; perhaps one that no row names.
        bundle: the model in use.
        fate: gives in words what became of a file in the cohort.
        selection: file names of the images that meet the filters, in the reader's order.
    """
    # A button in the dialog runs it alone, with the arguments that it was opened with.
    shown = opened_image() or filename
    record = record_of_image(collection.table, shown)
    if record is None:
        st.warning(
            "No row of this table names this file. The link may belong to another version of the table: close this window and "
            "look for the image in the list.",
            icon=":material/search_off:",
        )
        st.text(shown[:_LONGEST_NAME])
        return
    _steps(record, selection)
    picture, facts = st.columns([3, 2], gap="medium")
    with picture:
        _picture(record, collection, bundle)
    with facts:
        _head(record, collection, None if fate is None else fate(shown))
        _model(record, bundle, pictured=collection.images is not None)
        _links(record, public=not collection.own)
    of_patient, fields, similar = st.tabs(
        [f"This patient's images ({len(record.images)})", "All fields and notes", "Similar images"]
    )
    with of_patient:
        _of_patient(record, collection)
    with fields:
        _fields(record)
    with similar:
        _similar(record, collection, bundle)


def _steps(record: ImageRecord, selection: Sequence[str]) -> None:
    """The way to the images before and after this one: of all that meet the filters, and of its patient."""
    patient, shown = plain(record.patientid), record.filename
    names = [image.filename for image in record.images]
    with st.container(horizontal=True, vertical_alignment="center"):
        if shown in selection:
            words = f"of {len(selection):,} that meet the filters"
            _step_buttons(selection, shown, words, {"Previous": "P", "Next": "N"})
        if len(names) > 1:
            _step_buttons(names, shown, f"of {len(names)} of patient **{patient}**", {"Earlier": None, "Later": None})
        else:
            st.markdown(f"The only image of patient **{patient}**.", width="content")


def _step_buttons(names: Sequence[str], shown: str, words: str, titles: dict[str, str | None]) -> None:
    """Buttons to the name before and after the one that is shown; `titles` gives the key of each, if it has one."""
    place = names.index(shown)
    steps = (("chevron_left", place - 1), ("chevron_right", place + 1))
    for (title, shortcut), (icon, there) in zip(titles.items(), steps, strict=True):
        possible = 0 <= there < len(names)
        st.button(
            title,
            icon=f":material/{icon}:",
            key=f"image {title}",
            shortcut=shortcut,
            disabled=not possible,
            on_click=open_image,
            args=(names[there] if possible else shown,),
        )
    st.markdown(f"Image {place + 1:,} {words}", width="content")


def _picture(record: ImageRecord, collection: OpenCollection, bundle: Bundle | None) -> None:
    if record.is_volume:
        reason = "This is a volume of CT slices (NIfTI), which is not shown here."
    elif collection.images is not None:
        reader = None if record.kind == CT else bundle
        image_of_collection(record.filename, collection, reader, key="image detail", clearance=_CLEARANCE)
        return
    elif collection.own:
        reason = "Only the table was given, without its images, so there is no picture."
    else:
        reason = "The images of this table are not installed, so there is no picture."
    st.info(reason, icon=":material/image_not_supported:")


def _head(record: ImageRecord, collection: OpenCollection, fate: str | None) -> None:
    st.markdown(
        f"**Class**: {CLASS_TITLES[record.label] if record.label is not None else 'none, as no finding is given'}"
    )
    this = record.images[record.position]
    person = ", ".join(f"{field.title}: {field.text}" for field in record.fields if field.title in _OF_THE_PERSON)
    st.text("\n".join(filter(None, (record.finding, this.sentence, person, record.filename[:_LONGEST_NAME]))))
    if record.rows > 1:
        st.warning(
            f"{record.rows} rows of the table name this file; the first of them is shown.", icon=":material/warning:"
        )
    if record.kind == CT and not record.is_volume:
        st.caption("A slice of a CT, not a chest X-ray, so the model does not read it.")
    if fate:
        st.markdown(f"**Cohort**: {plain(fate)}")
    if collection.folder is None:
        return
    try:
        score = severity_scores(collection.folder / SEVERITY_NAME).get(record.filename)
    except DatasetError:
        st.caption("The severity scores of the annotations cannot be read.")
        return
    if score is not None:
        st.markdown(f"**Severity**: {score:g} of {MAX_SEVERITY:g}")
        st.caption("Extent of lung involvement, the mean of three readers (Cohen et al., 2020).")


def _model(record: ImageRecord, bundle: Bundle | None, *, pictured: bool) -> None:
    if bundle is None:
        st.caption("No model is installed, so there is no prediction and no heat map.")
        return
    try:
        gate = cached_gate(bundle)
        fitted = None if gate is None else was_fitted_on(record.filename, record.patientid, gate)
        said = held_out_words(cached_record(bundle), record, fitted)
    except CovidCoreError as error:
        problem(error)
        return
    st.markdown(f"**Model**: {plain(said.headline)}")
    st.caption(plain(f"{said.origin} {said.heat}" if pictured else said.origin))


def _links(record: ImageRecord, *, public: bool) -> None:
    """Licence and addresses; for a visitor's own table none that would send its file names to the public host."""
    if record.licence is None:
        st.caption("Licence not given: ask the source before you share the image.")
    else:
        st.markdown(f"**Licence**: {plain(record.licence)}")
    with st.container(horizontal=True):
        if record.source_url is not None:
            st.link_button("Source", record.source_url, icon=":material/open_in_new:")
        if record.doi_url is not None:
            st.link_button("Article", record.doi_url, icon=":material/article:", help="By its DOI")
        if public and record.in_images and _is_plain(record.filename):
            st.link_button("In the public collection", public_address(record.filename), icon=":material/open_in_new:")


def _is_plain(filename: str) -> bool:
    try:
        safe_image_path(Path(), filename)
    except DatasetError:
        return False
    return True


def _of_patient(record: ImageRecord, collection: OpenCollection) -> None:
    everything = record.images
    dated = sum(image.day is not None for image in everything)
    if dated and len(everything) > 1:
        chart(timeline(everything, record.filename), alt="The patient's images by day; they are listed below")
    if dated < len(everything):
        st.caption(f"{len(everything) - dated} of {len(everything)} without a day: last in the list.")
    if record.unnamed:
        st.caption(f"Of this patient {counted(record.unnamed, 'more row')} of the table without a file name.")
    first = min(max(record.position - _THUMBNAILS // 2, 0), max(len(everything) - _THUMBNAILS, 0))
    images = everything[first : first + _THUMBNAILS]
    if len(images) < len(everything):
        st.caption(f"Images {first + 1} to {first + len(images)} of {len(everything)}.")
    pictures: list[bytes | None] = [None] * len(images)
    if collection.images is not None:
        names = [image.filename for image in images]
        pictures = small_pictures(collection.images, names, pictures_of(collection))
    with st.grid(6, min_column_width=120) as grid:
        for image, picture in zip(images, pictures, strict=True):
            with grid.cell():
                _small(image, picture, this=image.filename == record.filename)


def _small(image: PatientImage, picture: bytes | None, *, this: bool) -> None:
    if picture is not None:
        st.image(data_address(picture), width="stretch", alt=image.sentence)
    st.text(image.sentence if picture is not None else f"{image.sentence} (no picture)")
    # Never disabled: it would lose the focus, and the dialog would no longer receive the Escape key.
    st.button(
        "Shown" if this else "Open",
        icon=":material/visibility:" if this else ":material/open_in_full:",
        key=f"of patient {image.filename}",
        on_click=open_image,
        args=(image.filename,),
    )


def _fields(record: ImageRecord) -> None:
    static_table(pd.DataFrame([(field.title, field.text) for field in record.fields], columns=["Field", "Value"]))
    if record.not_given:
        st.caption(f"Not given: {plain(', '.join(record.not_given))}.")
    for note in record.notes:
        st.markdown(f"**{plain(note.title)}**")
        with st.container(height=320 if len(note.text) > _LONG_NOTE else "content", border=False):
            st.text(note.text)


def _similar(record: ImageRecord, collection: OpenCollection, bundle: Bundle | None) -> None:
    if bundle is None:
        st.caption("Similar images are found by a model, and none is installed.")
        return
    try:
        gate = cached_gate(bundle)
    except CovidCoreError as error:
        problem(error)
        return
    if gate is None:
        st.caption("This model keeps no record of its training images, so it finds no similar ones.")
        return
    images: Sequence[SimilarImage] | None = similar_to_known(record.filename, record.patientid, gate)
    if images is None:
        images = _searched(record, collection, bundle)
    if images:
        names = collection.table["filename"]
        known = installed_collection() if collection.own else collection
        similar_row(images, known, set(names[names.isin([image.filename for image in images])]))


def _searched(record: ImageRecord, collection: OpenCollection, bundle: Bundle) -> Sequence[SimilarImage]:
    """The images similar to one that the gate does not know; this needs the file and the network."""
    path = None
    if collection.images is not None and _is_plain(record.filename) and not record.is_volume and record.kind != CT:
        path = collection.images / record.filename
    if path is None or not path.is_file():
        st.caption("Similar images are found for chest X-rays whose file is available.")
        return ()
    if st.session_state.get(_SEARCHED) != record.filename:
        st.button(
            "Look for similar images",
            icon=":material/image_search:",
            on_click=set_state,
            args=(_SEARCHED, record.filename),
        )
        return ()
    served = served_prediction(path, bundle, own=collection.own)
    if isinstance(served, str):
        st.caption(f"The gate of the model refuses this image, so there is nothing to compare. {plain(served)}")
    return served.similar if isinstance(served, Prediction) else ()
