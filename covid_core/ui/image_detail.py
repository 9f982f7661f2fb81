"""One image of the collection, opened over the page. Texts of the table are shown as they are, never as Markdown."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from covid_core.dataset.descriptions import MAX_SEVERITY, SEVERITY_NAME, severity_scores
from covid_core.dataset.image_record import CT, FilmRecord, PatientFilm, film_record, title_of
from covid_core.dataset.metadata import safe_image_path
from covid_core.errors import CovidCoreError, DatasetError
from covid_core.figures.timeline import timeline
from covid_core.inference.bundle import Bundle
from covid_core.inference.gate import Gate, load_gate
from covid_core.inference.prediction import SimilarFilm
from covid_core.inference.similar import similar_to_known, was_fitted_on
from covid_core.labels import CLASS_TITLES
from covid_core.report.one_image import held_out_words
from covid_core.report.record import Record, read_record
from covid_core.report.robustness import public_address
from covid_core.text import counted
from covid_core.ui.dataset import OpenCollection, pictures_of, small_pictures
from covid_core.ui.dataset_source import installed_collection
from covid_core.ui.image_viewer import film_of_collection, served_prediction
from covid_core.ui.models import manifest_hash
from covid_core.ui.open_image import close_image, open_image, opened_image
from covid_core.ui.page import chart, data_address, plain, problem, static_table
from covid_core.ui.result import similar_row

_CLEARANCE = 430  # pixels of the window's height that the film leaves to what stands around it
_THUMBNAILS = 24  # of a patient that are shown at once
_LONG_NOTE = 2000  # characters; a longer one scrolls within a box
_LONGEST_NAME = 300
_OF_THE_PERSON = frozenset(map(title_of, ("sex", "age", "RT_PCR_positive")))
_SEARCHED = "film_searched"


@st.dialog("An image of the collection", width="large", on_dismiss=close_image)
def film_detail(
    collection: OpenCollection,
    filename: str,
    bundle: Bundle | None,
    fate: Callable[[str], str | None] | None = None,
    selection: Sequence[str] = (),
) -> None:
    """Show an image and all that is known of it; the next ones, and similar ones, open in its place.

    Args:
        collection: the open one.
        filename: of the image; perhaps one that no row names.
        bundle: the model in use; None without one.
        fate: what became of a file in the cohort, in words; None where there is no cohort.
        selection: file names of the images that meet the filters, in the reader's order.
    """
    # A button in the dialog runs it alone, with the arguments that it was opened with.
    shown = opened_image() or filename
    record = film_record(collection.table, shown)
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
        [f"This patient's images ({len(record.films)})", "All fields and notes", "Similar images"]
    )
    with of_patient:
        _of_patient(record, collection)
    with fields:
        _fields(record)
    with similar:
        _similar(record, collection, bundle)


def _steps(record: FilmRecord, selection: Sequence[str]) -> None:
    """The way to the images before and after this one: of all that meet the filters, and of its patient."""
    patient = plain(record.patientid)
    names = [film.filename for film in record.films]
    with st.container(horizontal=True, vertical_alignment="center"):
        if record.filename in selection:
            words = f"of {len(selection):,} that meet the filters"
            _step_buttons(selection, record.filename, words, ("Previous", "P"), ("Next", "N"))
        if len(names) > 1:
            _step_buttons(
                names, record.filename, f"of {len(names)} of patient **{patient}**", ("Earlier", None), ("Later", None)
            )
        else:
            st.markdown(f"The only image of patient **{patient}**.", width="content")


def _step_buttons(
    names: Sequence[str], shown: str, words: str, back: tuple[str, str | None], forth: tuple[str, str | None]
) -> None:
    """Buttons to the name before and after the one that is shown; each with its title and its key, if it has one."""
    place = names.index(shown)
    for (title, shortcut), icon, there in ((back, "chevron_left", place - 1), (forth, "chevron_right", place + 1)):
        possible = 0 <= there < len(names)
        st.button(
            title,
            icon=f":material/{icon}:",
            key=f"film {title}",
            shortcut=shortcut,
            disabled=not possible,
            on_click=open_image,
            args=(names[there] if possible else shown,),
        )
    st.markdown(f"Image {place + 1:,} {words}", width="content")


def _picture(record: FilmRecord, collection: OpenCollection, bundle: Bundle | None) -> None:
    if not record.is_volume and collection.images is not None:
        film_of_collection(
            record.filename,
            collection.images,
            None if record.kind == CT else bundle,
            key="film detail",
            clearance=_CLEARANCE,
            own=collection.own,
        )
        return
    if record.is_volume:
        reason = "This is a volume of CT slices (NIfTI), which is not shown here."
    elif collection.own:
        reason = "Only the table was given, without its images, so there is no picture."
    else:
        reason = "The images of this table are not installed, so there is no picture."
    st.info(reason, icon=":material/image_not_supported:")


def _head(record: FilmRecord, collection: OpenCollection, fate: str | None) -> None:
    st.markdown(
        f"**Class**: {CLASS_TITLES[record.label] if record.label is not None else 'none, as no finding is given'}"
    )
    this = record.films[record.position]
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
    _severity(record.filename, collection.folder)


def _severity(filename: str, folder: Path | None) -> None:
    if folder is None:
        return
    try:
        score = severity_scores(folder / SEVERITY_NAME).get(filename)
    except DatasetError:
        st.caption("The severity scores of the annotations cannot be read.")
        return
    if score is not None:
        st.markdown(f"**Severity**: {score:g} of {MAX_SEVERITY:g}")
        st.caption("Extent of lung involvement, the mean of three readers (Cohen et al., 2020).")


def _model(record: FilmRecord, bundle: Bundle | None, *, pictured: bool) -> None:
    if bundle is None:
        st.caption("No model is installed, so there is no prediction and no heat map.")
        return
    try:
        gate = _gate_of(bundle)
        fitted = None if gate is None else was_fitted_on(record.filename, record.patientid, gate)
        said = held_out_words(_record_of(bundle), record, fitted)
    except CovidCoreError as error:
        problem(error)
        return
    st.markdown(f"**Model**: {plain(said.headline)}")
    st.caption(plain(f"{said.origin} {said.heat}" if pictured else said.origin))


def _links(record: FilmRecord, *, public: bool) -> None:
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


def _of_patient(record: FilmRecord, collection: OpenCollection) -> None:
    dated = sum(film.day is not None for film in record.films)
    if dated and len(record.films) > 1:
        chart(timeline(record.films, record.filename), alt="The patient's images by day; they are listed below")
    undated = len(record.films) - dated
    if undated:
        st.caption(f"{undated} of {len(record.films)} without a day: last in the list.")
    if record.unnamed:
        st.caption(f"Of this patient {counted(record.unnamed, 'more row')} of the table without a file name.")
    first = min(max(record.position - _THUMBNAILS // 2, 0), max(len(record.films) - _THUMBNAILS, 0))
    films = record.films[first : first + _THUMBNAILS]
    if len(films) < len(record.films):
        st.caption(f"Images {first + 1} to {first + len(films)} of {len(record.films)}.")
    names, images = [film.filename for film in films], collection.images
    pictures = [None] * len(films) if images is None else small_pictures(images, names, pictures_of(collection))
    with st.grid(6, min_column_width=120) as grid:
        for film, picture in zip(films, pictures, strict=True):
            with grid.cell():
                _small(film, picture, this=film.filename == record.filename)


def _small(film: PatientFilm, picture: bytes | None, *, this: bool) -> None:
    if picture is not None:
        st.image(data_address(picture), width="stretch", alt=film.sentence)
    st.text(film.sentence if picture is not None else f"{film.sentence} (no picture)")
    # Never disabled: it would lose the focus, and the dialog would no longer receive the Escape key.
    st.button(
        "Shown" if this else "Open",
        icon=":material/visibility:" if this else ":material/open_in_full:",
        key=f"of patient {film.filename}",
        on_click=open_image,
        args=(film.filename,),
    )


def _fields(record: FilmRecord) -> None:
    static_table(pd.DataFrame([(field.title, field.text) for field in record.fields], columns=["Field", "Value"]))
    if record.not_given:
        st.caption(f"Not given: {plain(', '.join(record.not_given))}.")
    for note in record.notes:
        st.markdown(f"**{plain(note.title)}**")
        with st.container(height=320 if len(note.text) > _LONG_NOTE else "content", border=False):
            st.text(note.text)


def _similar(record: FilmRecord, collection: OpenCollection, bundle: Bundle | None) -> None:
    if bundle is None:
        st.caption("Similar images are found by a model, and none is installed.")
        return
    try:
        gate = _gate_of(bundle)
    except CovidCoreError as error:
        problem(error)
        return
    if gate is None:
        st.caption("This model keeps no record of its training images, so it finds no similar ones.")
        return
    films: Sequence[SimilarFilm] | None = similar_to_known(record.filename, record.patientid, gate)
    if films is None:
        films = _searched(record, collection, bundle)
    if films:
        names = collection.table["filename"]
        known = installed_collection() if collection.own else collection
        similar_row(films, known, open_image, set(names[names.isin([film.filename for film in films])]))


def _searched(record: FilmRecord, collection: OpenCollection, bundle: Bundle) -> Sequence[SimilarFilm]:
    """The images similar to one that the gate does not know; this needs the file and the network."""
    path = None
    if collection.images is not None and _is_plain(record.filename) and not record.is_volume and record.kind != CT:
        path = collection.images / record.filename
    if path is None or not path.is_file():
        st.caption("Similar images are found for chest X-rays whose file is available.")
        return ()
    if st.session_state.get(_SEARCHED) != record.filename:
        st.button("Look for similar images", icon=":material/image_search:", on_click=_search, args=(record.filename,))
        return ()
    served = served_prediction(path, bundle, own=collection.own)
    if isinstance(served, str):
        st.caption(f"The gate of the model refuses this image, so there is nothing to compare. {plain(served)}")
        return ()
    return () if served is None else served.similar


def _search(filename: str) -> None:
    st.session_state[_SEARCHED] = filename


def _record_of(bundle: Bundle) -> Record:
    return _record(str(bundle.folder), manifest_hash(bundle.folder), bundle)


@st.cache_resource(max_entries=4, show_spinner=False)
def _record(folder: str, content: str, _bundle: Bundle) -> Record:  # noqa: ARG001  (the key)
    return read_record(_bundle)


def _gate_of(bundle: Bundle) -> Gate | None:
    return _gate(str(bundle.folder), manifest_hash(bundle.folder), bundle)


@st.cache_resource(max_entries=4, show_spinner=False)
def _gate(folder: str, content: str, _bundle: Bundle) -> Gate | None:  # noqa: ARG001  (the key)
    path = _bundle.optional_file("gate.npz")
    return None if path is None else load_gate(path)
