"""What can be taken away of films that were read: tables, reports, and DICOM objects for what came as DICOM.

A report is made when its button is pressed, on the server's thread for downloads, from what the session holds; it is not kept.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import PurePath

import streamlit as st

from covid_core.errors import ImageRefusedError
from covid_core.images.display import fitted
from covid_core.images.film import GreyImage
from covid_core.inference.bundle import Bundle
from covid_core.inference.dicom_objects import DicomExportError, check_source, secondary_capture, structured_report
from covid_core.inference.explanation import overlay
from covid_core.inference.film_report import ReportPage, film_report_pdf
from covid_core.inference.prediction import FilmResult
from covid_core.inference.reading import open_film
from covid_core.inference.results import results_csv, results_json
from covid_core.ui.bundles import evaluation_of
from covid_core.ui.frame import problem
from covid_core.ui.uploads import UploadedFilm

_DICOM = "application/dicom"


def downloads_of_all(films: Sequence[UploadedFilm], results: Sequence[FilmResult], bundle: Bundle) -> None:
    """Offer the results of all films as CSV and JSON, and their reports as one PDF."""
    evaluation = evaluation_of(bundle)

    def pages() -> Iterator[ReportPage]:
        for film, result in zip(films, results, strict=True):
            yield ReportPage(result, _picture(film))

    with st.container(horizontal=True):
        _button("Table as CSV", lambda: results_csv(results, bundle), "predictions.csv", "text/csv")
        _button("JSON", lambda: results_json(results, bundle, _now()), "predictions.json", "application/json")
        _button(
            "All reports as PDF",
            lambda: film_report_pdf(pages(), bundle, evaluation, _now()),
            "reports.pdf",
            "application/pdf",
        )


def downloads_of_one(film: UploadedFilm, result: FilmResult, picture: GreyImage | None, bundle: Bundle) -> None:
    """Offer the report of a film, and of a DICOM film the overlay and the reading as DICOM objects."""
    evaluation = evaluation_of(bundle)
    patient = st.text_input(
        "Patient, to be printed on the report",
        key=f"patient {film.id}",
        placeholder="Left out if you type nothing",
        help="It is printed on the PDF and nowhere else, and is forgotten with the film.",
    )
    stem = PurePath(result.file).stem or "film"
    with st.container(horizontal=True):
        _button(
            "Report as PDF",
            lambda: film_report_pdf([ReportPage(result, picture, patient)], bundle, evaluation, _now()),
            f"{stem}-report.pdf",
            "application/pdf",
        )
        _button("JSON", lambda: results_json([result], bundle, _now()), f"{stem}.json", "application/json")
        outcome = result.outcome
        if result.kind != "DICOM" or picture is None or isinstance(outcome, ImageRefusedError):
            return
        source = film.given.content()
        try:
            check_source(source)
        except DicomExportError as error:
            problem(error)
            return
        height, width = picture.shape
        drawn = overlay(picture, outcome.heat, bundle.preparation.crop_box(width, height))
        _button(
            "Overlay as DICOM",
            lambda: secondary_capture(source, drawn, result, bundle, _now()),
            f"{stem}-overlay.dcm",
            _DICOM,
        )
        _button(
            "Reading as DICOM report",
            lambda: structured_report(source, result, bundle, _now()),
            f"{stem}-report.dcm",
            _DICOM,
        )
    st.caption(
        "The DICOM objects belong to the study of the film: they carry its patient and study, as a PACS needs them."
    )


def _button(label: str, make: Callable[[], bytes], file_name: str, mime: str) -> None:
    st.download_button(
        label,
        make,
        file_name=file_name,
        mime=mime,
        icon=":material/download:",
        on_click="ignore",
        key=f"get {file_name}",
    )


def _picture(film: UploadedFilm) -> GreyImage | None:
    try:
        return fitted(open_film(film.given).image)
    except ImageRefusedError:
        return None


def _now() -> datetime:
    return datetime.now().astimezone()
