"""A clinician's way through the app, in Chromium: an image is uploaded and its result read."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from pydicom import dcmread
from pypdf import PdfReader

from covid_core.images.decode import decode_file
from covid_core.inference.bundle import load_bundle
from covid_core.inference.predictor import Predictor
from covid_core.inference.wording import headline
from covid_core.paths import default_model, models_dir
from tests.browser.pages import download, wait_until_idle
from tests.real_images import chest_image, leg_image, sample

pytestmark = pytest.mark.browser


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "film.png"
    Image.fromarray(chest_image(1)).save(path)
    return path


def open_predict(page: Page, address: str, *images: Path) -> None:
    page.goto(f"{address}/Predict")
    page.locator("input[type=file]").set_input_files(images)


def open_downloads(page: Page) -> None:
    page.get_by_role("tab", name="Report and downloads").click()


def text_of(pdf: bytes) -> str:
    """The words of a PDF, however its lines are broken."""
    return " ".join(" ".join(one.extract_text() for one in PdfReader(io.BytesIO(pdf)).pages).split())


@pytest.mark.smoke
def test_an_uploaded_image_is_answered_with_what_the_model_says_of_it(address: str, page: Page, image: Path) -> None:
    prediction = Predictor(load_bundle(models_dir() / default_model())).predict(decode_file(image))
    open_predict(page, address, image)
    heading = page.get_by_role("heading", name=headline(prediction), exact=True)
    expect(heading).to_be_visible()
    expect(page.get_by_text(f"{prediction.probability_covid:.3f}").first).to_be_visible()
    expect(page.get_by_alt_text(re.compile("the model's opacities"))).to_be_visible()
    page.get_by_role("radio", name="Heat map").click()
    expect(page.get_by_alt_text(re.compile("the model's heat map"))).to_be_visible()
    below = heading.bounding_box()
    assert below is not None
    assert below["y"] < 800, "the answer stands below the fold"


@pytest.mark.smoke
def test_a_broken_image_is_refused_in_place_and_the_others_are_read(
    address: str, page: Page, image: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(image.read_bytes()[:2000])
    open_predict(page, address, broken, image)
    expect(page.get_by_role("alert").get_by_text("damaged or cut short")).to_be_visible()
    expect(page.get_by_text(re.compile("1 refused")).first).to_be_visible()
    expect(page.get_by_text(re.compile("1 (called COVID-19|called not COVID-19|indeterminate)")).first).to_be_visible()


def test_many_images_can_be_gone_through_by_key_and_taken_away(
    address: str, page: Page, image: Path, tmp_path: Path
) -> None:
    broken, named = tmp_path / "broken.png", tmp_path / "=1+1.png"
    broken.write_bytes(image.read_bytes()[:2000])
    named.write_bytes(image.read_bytes())
    open_predict(page, address, image, broken, named)
    expect(page.get_by_alt_text(re.compile("the model's opacities"))).to_be_visible()
    page.keyboard.press("n")
    expect(page.get_by_role("alert").get_by_text("damaged or cut short")).to_be_visible()
    page.keyboard.press("p")
    expect(page.get_by_alt_text(re.compile("the model's opacities"))).to_be_visible()
    rows = list(csv.DictReader(io.StringIO(download(page, "Table as CSV").decode("utf-8-sig"))))
    assert [(row["file"], row["status"]) for row in rows] == [
        *(("film.png", "ok"), ("broken.png", "refused"), ("'=1+1.png", "ok"))
    ]
    found = json.loads(download(page, "JSON"))
    assert [one["file"] for one in found] == ["film.png", "broken.png", "=1+1.png"]
    report = download(page, "All reports as PDF")
    assert len(PdfReader(io.BytesIO(report)).pages) == 3
    assert "Image: 2 of 3" in text_of(report)
    assert "broken.png" not in text_of(report)  # a file is often named after the patient


def test_the_report_of_an_image_names_the_patient_only_if_a_name_was_typed_in(
    address: str, page: Page, image: Path
) -> None:
    open_predict(page, address, image)
    expect(page.get_by_alt_text(re.compile("the model's opacities"))).to_be_visible()
    open_downloads(page)
    assert "Patient" not in text_of(download(page, "Report as PDF"))
    page.get_by_role("textbox", name="Patient, to be printed on the PDF").fill("Ada Example")
    page.get_by_role("button", name="Use this name").click()
    expect(page.get_by_text("The PDF names: Ada Example")).to_be_visible()
    words = text_of(download(page, "Report as PDF"))
    assert "Ada Example" in words
    assert "not a medical device" in words.lower()


def test_a_dicom_image_goes_back_as_dicom_in_its_own_study(address: str, page: Page) -> None:
    source = dcmread(sample("RG1_J2KI"), stop_before_pixels=True)
    open_predict(page, address, sample("RG1_J2KI"))
    expect(page.get_by_alt_text(re.compile("the model's opacities"))).to_be_visible()
    expect(page.get_by_text(str(source.PatientName).split("^")[0])).to_have_count(0)
    open_downloads(page)
    for label, modality in (("Overlay as DICOM", source.Modality), ("Reading as DICOM report", "SR")):
        made = dcmread(io.BytesIO(download(page, label)))
        assert made.StudyInstanceUID == source.StudyInstanceUID
        assert made.SOPInstanceUID != source.SOPInstanceUID
        assert made.Modality in {modality, "OT", "SR"}


@pytest.mark.smoke
def test_what_is_no_chest_image_is_refused_and_is_marked_when_it_is_predicted_anyway(
    address: str, page: Page, tmp_path: Path
) -> None:
    leg = tmp_path / "leg.png"
    Image.fromarray(leg_image()).save(leg)
    open_predict(page, address, leg)
    expect(page.get_by_text("is unlike the frontal chest X-rays that the model knows").first).to_be_visible()
    page.get_by_role("button", name="Predict anyway").click()
    expect(page.get_by_text("Predicted anyway").first).to_be_visible()
    open_downloads(page)
    assert "PREDICTED ANYWAY" in text_of(download(page, "Report as PDF"))
    assert json.loads(download(page, "Result as JSON"))[0]["gate"] == "predicted anyway"


@pytest.mark.smoke
def test_every_page_opens_by_its_own_address_and_says_that_it_is_for_research_only(address: str, page: Page) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    for path in ("", "Predict", "Dataset", "Model_report"):
        page.goto(f"{address}/{path}")
        expect(page.get_by_text("Not a medical device").first).to_be_visible()
        wait_until_idle(page)
        expect(page.get_by_test_id("stException")).to_have_count(0)
    assert not problems
