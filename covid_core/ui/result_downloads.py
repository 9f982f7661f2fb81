"""What can be taken away of images that were read: tables, reports, and DICOM objects for what came as DICOM.

A report is made when its button is pressed, on the server's thread for downloads, from what the session holds; it is not kept.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import PurePath

import streamlit as st

from covid_core.inference.bundle import Bundle
from covid_core.inference.explanation import overlay
from covid_core.inference.export_dicom import DicomExportError, check_source, secondary_capture, structured_report
from covid_core.inference.export_pdf import ReportPage, reading_pdf
from covid_core.inference.prediction import Prediction, Reading
from covid_core.inference.results import results_csv, results_json
from covid_core.ui.models import evaluation_of
from covid_core.ui.page import offer, problem
from covid_core.ui.privacy import PATIENT
from covid_core.ui.uploads import MAX_IMAGES, UploadedImage

MOST_REPORTS = 100
"""Images of which reports are made in one go, while the visitor waits."""
_DICOM = "application/dicom"


def downloads_of_all(results: Sequence[Reading], bundle: Bundle) -> None:
    """Offer the results of all images as CSV and JSON, and their reports as one PDF."""
    evaluation = evaluation_of(bundle)

    def pages() -> Iterator[ReportPage]:
        for number, result in enumerate(results, start=1):
            yield ReportPage(result, result.image, title=f"{number} of {len(results)}")

    with st.container(horizontal=True):
        offer("Table as CSV", lambda: results_csv(results, bundle), "predictions.csv", "text/csv")
        offer("JSON", lambda: results_json(results, bundle, _now()), "predictions.json", "application/json")
        if len(results) <= MOST_REPORTS:
            offer(
                "All reports as PDF",
                lambda: reading_pdf(pages(), bundle, evaluation, _now()),
                "reports.pdf",
                "application/pdf",
            )
    if len(results) > MOST_REPORTS:
        st.caption(f"Reports are made of up to {MOST_REPORTS} images at once; one by one there is no limit.")


def downloads_of_one(image: UploadedImage, result: Reading, bundle: Bundle) -> None:
    """Offer the report of an image, and of a DICOM image the overlay and the reading as DICOM objects."""
    evaluation, patient = evaluation_of(bundle), _patient(image)
    stem = PurePath(result.file).stem or "film"
    with st.container(horizontal=True):
        offer(
            "Report as PDF",
            lambda: reading_pdf([ReportPage(result, result.image, patient)], bundle, evaluation, _now()),
            f"{stem}-report.pdf",
            "application/pdf",
        )
        offer("Result as CSV", lambda: results_csv([result], bundle), f"{stem}.csv", "text/csv")
        offer("Result as JSON", lambda: results_json([result], bundle, _now()), f"{stem}.json", "application/json")
        if result.kind == "DICOM" and isinstance(result.outcome, Prediction):
            _dicom_objects(image, result, result.outcome, bundle)


def _patient(image: UploadedImage) -> str:
    """Let a name be typed in for the report, and give the one that was; a button sends it, so that it is never half there."""
    kept = f"{PATIENT}{image.id}"
    with st.form(f"name {image.id}", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        typed = st.text_input(
            "Patient, to be printed on the PDF",
            value=st.session_state.get(kept, ""),
            placeholder="Left out if you type nothing",
            help="It is printed on the PDF and nowhere else, and is forgotten with the image. The file's name is not printed.",
        )
        if st.form_submit_button("Use this name"):
            st.session_state[kept] = typed
    name = str(st.session_state.get(kept, "")).strip()
    if name:
        st.text(f"The PDF names: {name}")
    return name


def _dicom_objects(image: UploadedImage, result: Reading, prediction: Prediction, bundle: Bundle) -> None:
    content, stem = image.given.content, PurePath(result.file).stem or "film"
    trouble = _export_trouble(image.id, content)
    if trouble is not None:
        problem(DicomExportError(trouble))
        return

    def capture() -> bytes:
        picture = result.image
        if picture is None:
            raise DicomExportError("The picture is not kept. Upload fewer images at once.")
        height, width = picture.shape
        drawn = overlay(picture, prediction.heat, bundle.preparation.crop_box(width, height))
        return secondary_capture(content(), drawn, result, bundle, _now())

    if result.picture is not None:
        offer("Overlay as DICOM", capture, f"{stem}-overlay.dcm", _DICOM)
    offer(
        "Reading as DICOM report",
        lambda: structured_report(content(), result, bundle, _now()),
        f"{stem}-report.dcm",
        _DICOM,
    )
    st.caption("These two carry the patient and the study of the image, as a PACS needs them.")


# Of one session, and a sentence only: the file is parsed once, not in every run of the page.
@st.cache_data(scope="session", max_entries=MAX_IMAGES, show_spinner=False)
def _export_trouble(image_id: str, _content: Callable[[], bytes]) -> str | None:  # noqa: ARG001
    """Why no DICOM object can be made for an image; None where it can."""
    try:
        check_source(_content())
    except DicomExportError as error:
        return str(error)
    return None


def _now() -> datetime:
    return datetime.now().astimezone()
