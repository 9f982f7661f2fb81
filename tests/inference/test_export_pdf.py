import io
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pypdf
import pytest

from covid_core.errors import Refusal
from covid_core.inference.bundle import Bundle
from covid_core.inference.export_pdf import (
    PICTURE_SIDE,
    TITLE,
    ReportPage,
    printable,
    reading_pdf,
)
from covid_core.inference.prediction import Reading
from covid_core.inference.wording import CHILD
from covid_core.text import RESEARCH_ONLY
from tests.inference.export_samples import (
    ANYWAY,
    CHILD_SEEN,
    COPY,
    COVID,
    CREATED,
    DIGEST,
    FULL,
    INDETERMINATE,
    NOT_A_CHEST,
    OPAQUE,
    OTHER,
    REFUSED,
    evaluation,
    sample_bundle,
)
from tests.phantom import phantom_image

A4 = (595.28, 841.89)  # points, ISO 216
WORTHLESS = "so the result says nothing of how good it is."


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return sample_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return phantom_image(np.random.default_rng(1), "covid", size=160).astype(np.float32) / 255


def read(data: bytes) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(data), strict=True)


def text_of(data: bytes, page: int = 0) -> str:
    """All that a page says, lines joined."""
    return " ".join(read(data).pages[page].extract_text().split())


def report(
    bundle: Bundle,
    result: Reading,
    image: np.ndarray | None = None,
    *,
    patient: str = "",
    title: str = "3 of 5",
    created: datetime = CREATED,
) -> bytes:
    return reading_pdf([ReportPage(result, image, patient, title)], bundle, evaluation(), created)


def drawn_pictures(data: bytes) -> list[tuple[float, float, float, float]]:
    """Where a page's pictures are drawn: left, bottom, width and height in points."""
    places = []

    def note(operator: bytes, _operands: Any, matrix: list[float], _text: Any) -> None:
        if operator == b"Do":
            places.append((matrix[4], matrix[5], matrix[0], matrix[3]))

    read(data).pages[0].extract_text(visitor_operand_before=note)
    return places


def lowest_text(data: bytes) -> list[tuple[float, str]]:
    """What a page says, from the bottom upwards, each with its height over the edge in points."""
    said: list[tuple[float, str]] = []

    def note(text: str, matrix: list[float], text_matrix: list[float], _font: Any, _size: Any) -> None:
        if text.strip():
            said.append((matrix[3] * text_matrix[5] + matrix[5], text.strip()))

    read(data).pages[0].extract_text(visitor_text=note)
    return sorted(said)


SENTENCES = (
    TITLE,
    RESEARCH_ONLY,
    "Image: 3 of 5",
    "Indeterminate",
    "P(COVID-19) 0.620",
    "The model can rule out neither class: between 0.31 and 0.68 both classes are kept, at 90% coverage. "
    "This image leans to COVID-19.",
    "Models fitted on other draws of the patients say 0.50 to 0.80 (95% of them).",
    "The probability assumes that 50% of the images show COVID-19.",
    "this image 0.62",
    "operating point 0.40",
    "grey: indeterminate, 0.31 to 0.68; black bar: spread, 0.50 to 0.80",
    "25% of the heat lies in the lungs",
    "Where the model looked, not where disease is.",
    "COVID-19, radiopaedia.org, distance 0.31; Not COVID-19, source not stated, distance 0.42.",
    "The image is dark.",
    "Before it was read, the image was turned right, then inverted.",
    "view PA; sex F; age 60-69; modality CR; device by ACME.",
    "Sensitivity 0.70 (95% CI 0.43 to 0.89, n = 10), specificity 0.84 (95% CI 0.75 to 0.91, n = 95). "
    "Measured on 105 test images of 62 patients.",
    "net-a, version 2026-11-23-0123",
    f"SHA-256 {DIGEST}",
    "P(COVID-19) 0.400: chosen by hand.",
    "It was taught by the published. It knows no child.",
    "Made 2026-11-23 21:30:12 UTC+05:30 by covid_core 0.1.0",
    "Page 1",
)


def test_a_report_says_everything_that_is_known_of_an_image(bundle: Bundle, image: np.ndarray) -> None:
    said = text_of(report(bundle, FULL, image))
    assert [sentence for sentence in SENTENCES if sentence not in said] == []
    assert "secret-name" not in said  # of a similar image
    cold = replace(INDETERMINATE, heat=np.zeros((8, 8), np.float32))
    said = text_of(report(bundle, Reading("cold.png", cold), image))
    assert "Nothing in the image raised the probability of COVID-19, so there is no heat to show." in said
    assert "of the heat lies" not in said


def test_a_call_has_its_confidence_and_what_it_does_not_mean(bundle: Bundle) -> None:
    covid, other = (text_of(report(bundle, Reading("a.png", one))) for one in (COVID, OTHER))
    assert "Confidence 90%; P(COVID-19) 0.900" in covid
    assert "does not mean healthy" not in covid
    assert "Confidence 90%; P(COVID-19) 0.100" in other
    assert "Not COVID-19 does not mean healthy" in other
    assert "ensemble" not in covid
    assert "spread" not in covid


def test_an_image_predicted_anyway_is_marked(bundle: Bundle, image: np.ndarray) -> None:
    said = text_of(report(bundle, replace(FULL, outcome=ANYWAY), image))
    mark = (
        "PREDICTED ANYWAY: the gate refused this image (not_a_chest_xray). This is unlike the frontal chest X-rays that the "
        "model knows."
    )
    assert mark in said
    assert said.index(mark) < said.index("Indeterminate")
    assert "grey: indeterminate, 0.31 to 0.68" in said
    assert "spread" not in said
    assert "0.80" not in said.split("Similar images")[0]
    assert "PREDICTED ANYWAY" not in text_of(report(bundle, FULL, image))


def test_an_image_predicted_anyway_keeps_its_other_cautions(bundle: Bundle) -> None:
    copy = replace(ANYWAY, similar=COPY.similar)
    odd = ("Predicted anyway is how this warning of the file begins.", "The image is dark.")
    said = text_of(report(bundle, replace(FULL, outcome=copy, warnings=odd)))
    assert f"Warnings The model was fitted on this very image or a copy of it, {WORTHLESS} {odd[0]} {odd[1]}" in said
    assert said.count(NOT_A_CHEST.message) == 1


def test_that_it_looks_like_a_child_stands_among_the_warnings_predicted_anyway_or_not(bundle: Bundle) -> None:
    passed = text_of(report(bundle, Reading("a.png", OPAQUE)))
    assert f"Warnings {CHILD}" in passed
    assert "PREDICTED ANYWAY" not in passed
    refused = replace(OPAQUE, screening=replace(CHILD_SEEN, refusal=NOT_A_CHEST))
    said = text_of(report(bundle, Reading("a.png", refused, warnings=("The image is dark.",))))
    assert f"Warnings {CHILD} The image is dark." in said
    assert said.count(NOT_A_CHEST.message) == 1
    assert "child's radiograph" not in text_of(report(bundle, FULL))


def test_a_refused_image_has_a_page_with_reason_and_next_step(bundle: Bundle, image: np.ndarray) -> None:
    said = text_of(report(bundle, REFUSED, image))
    assert (
        "Refused This is unlike the frontal chest X-rays that the model knows. No prediction was made (reason: not_a_chest_xray)."
        in said
    )
    assert "Give a frontal chest X-ray; if it is one, predict anyway and doubt the result." in said
    assert "P(COVID-19) 0.6" not in said
    assert "this image" not in said
    assert "net-a" in said
    damaged = Reading("a.png", Refusal("damaged", "The image is <damaged> & cut."))
    assert "The image is <damaged> & cut." in text_of(report(bundle, damaged))
    with pytest.raises(ValueError, match="at least one page"):
        reading_pdf([], bundle, None, CREATED)
    with pytest.raises(ValueError, match="offset from UTC"):
        report(bundle, FULL, created=datetime(2026, 11, 23))


def test_every_image_has_one_a4_page(bundle: Bundle, image: np.ndarray) -> None:
    titles = [f"{number} of 3" for number in (1, 2, 3)]
    images = ((FULL, image), (REFUSED, None), (Reading("b.png", COVID), image))
    pages = [ReportPage(result, image, title=title) for title, (result, image) in zip(titles, images, strict=True)]
    document = read(reading_pdf(pages, bundle, None, CREATED))
    assert [tuple(map(float, page.mediabox[2:])) for page in document.pages] == [pytest.approx(A4, abs=0.1)] * 3
    assert all(title in page.extract_text() for page, title in zip(document.pages, titles, strict=True))
    assert "Page 3" in document.pages[2].extract_text()


@pytest.mark.parametrize("title", ["", "1 of 1"])
@pytest.mark.parametrize("result", [FULL, replace(FULL, outcome=ANYWAY), REFUSED, Reading("a", COVID)])
def test_the_name_of_the_file_is_not_printed(bundle: Bundle, image: np.ndarray, result: Reading, title: str) -> None:
    data = report(bundle, replace(result, file="DOE^JANE.dcm"), image, title=title)
    assert "DOE" not in text_of(data)
    assert b"DOE^JANE" not in data
    assert text_of(data) == text_of(report(bundle, replace(result, file="other.dcm"), image, title=title))


@pytest.mark.parametrize(
    "name",
    [
        *("<b>&=cmd|", "a <i>x</i>&amp;", "**bold**", "=1+1|' /C calc'!A0", "(a) \\b $c$", "]]>"),
        "</para><img src='/etc/passwd'/>",
    ],
)
def test_a_typed_name_is_plain_text_whatever_it_holds(bundle: Bundle, name: str) -> None:
    said = text_of(report(bundle, FULL, title=name, patient=f" {name} "))
    assert f"Image: {name} Patient, as typed in: {name} Indeterminate" in said
    assert f"{RESEARCH_ONLY} Indeterminate" in text_of(report(bundle, FULL, title=" ", patient=""))


def test_signs_that_the_font_lacks_become_their_code_points(bundle: Bundle) -> None:
    assert "typed in: [U+80F8][U+90E8] Röntgen" in text_of(report(bundle, FULL, patient="胸部 Röntgen"))
    assert printable("a\u202eb\u200bc\n\udc80") == "a[U+202E]b[U+200B]c[U+000A][U+DC80]"


def test_the_metadata_name_the_program_and_nobody_else(bundle: Bundle, image: np.ndarray) -> None:
    document = read(report(bundle, replace(FULL, file="DOE.dcm"), image, patient="Doe", title="Doe"))
    metadata = dict(document.metadata or {})
    assert metadata["/Title"] == TITLE
    assert metadata["/Author"] == "covid_core 0.1.0"
    assert "doe" not in str(metadata).lower()
    assert document.xmp_metadata is None
    assert document.outline == []


def fonts_of(data: bytes) -> list[str]:
    """The fonts of a page, without the tag of their subset."""
    fonts = read(data).pages[0]["/Resources"]["/Font"].values()
    return sorted(str(one.get_object()["/BaseFont"]).rpartition("+")[2] for one in fonts)


def test_many_threads_make_the_same_report(bundle: Bundle, image: np.ndarray) -> None:
    first = report(bundle, FULL, image)
    wanted, made = (text_of(first), fonts_of(first)), []
    threads = [threading.Thread(target=lambda: made.append(report(bundle, FULL, image))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(text_of(data), fonts_of(data)) for data in made] == [wanted] * 8


@pytest.mark.parametrize(("height", "width"), [(200, 100), (100, 200), (1500, 1200), (64, 190)])
def test_the_image_and_its_heat_map_keep_their_shape(bundle: Bundle, height: int, width: int) -> None:
    image = np.random.default_rng(0).random((height, width), np.float32)
    data = report(bundle, FULL, image)
    places = drawn_pictures(data)
    assert len(places) == 2
    for left, bottom, across, up in places:
        assert across / up == pytest.approx(width / height, rel=0.02)
        assert left >= 0 and bottom >= 0
        assert left + across <= A4[0]
        assert bottom + up <= A4[1]
    assert places[0][0] + places[0][2] <= places[1][0]
    stored = [one.get_object() for one in read(data).pages[0]["/Resources"]["/XObject"].values()]
    assert all("/DCTDecode" in one["/Filter"] for one in stored)
    assert drawn_pictures(report(bundle, FULL)) == []
    assert len(drawn_pictures(report(bundle, REFUSED, image))) == 1
    assert max(max(one["/Width"], one["/Height"]) for one in stored) <= PICTURE_SIDE


def test_the_heat_map_shows_where_the_heat_is(bundle: Bundle) -> None:
    grey = np.full((160, 160), 0.5, np.float32)
    pictures = [np.asarray(one.image.convert("RGB"), float) for one in read(report(bundle, FULL, grey)).pages[0].images]
    colour = sorted(float(np.ptp(picture, axis=2).max()) for picture in pictures)
    assert colour[0] < 3  # the image is grey
    heated = max(pictures, key=lambda picture: np.ptp(picture, axis=2).max())
    assert np.ptp(heated[:, 110:140], axis=2).mean() > 30  # the right half is hot
    assert np.ptp(heated[:, 20:60], axis=2).mean() < 5


def test_long_texts_fit_the_page(bundle: Bundle, image: np.ndarray) -> None:
    long = replace(FULL, warnings=tuple(f"{n}. " + "long words " * 60 for n in range(40)))
    data = reading_pdf([ReportPage(long, image, "n" * 900, "x" * 5000)], bundle, evaluation(), CREATED)
    assert len(read(data).pages) == 1
    said = lowest_text(data)
    assert all(height >= 30 for height, _ in said)
    assert "covid_core" in said[0][1] or "Page" in said[0][1]
    assert min(height for height, text in said if "It knows no child" in text) > said[0][0] + 8
    assert "And 32 more." in text_of(data)
    assert text_of(data).count("x") > 200


def test_a_model_without_evaluation_or_card_says_so(tmp_path: Path) -> None:
    bare = replace(sample_bundle(tmp_path), manifest={}, three_way=None)
    bare.file("MODEL_CARD.md").unlink()
    said = text_of(reading_pdf([ReportPage(Reading("a.png", COVID), None)], bare, None, CREATED))
    assert "its accuracy is not known" in said
    assert "SHA-256 not recorded" in said
    assert "its model card cannot be read" in said
    assert "grey" not in said


def test_one_image_is_in_memory_at_a_time(bundle: Bundle) -> None:
    alive: list[int] = []

    def pages() -> Iterator[ReportPage]:
        drawn: list[weakref.ref[np.ndarray]] = []
        for _ in range(4):
            alive.append(sum(one() is not None for one in drawn))
            image = np.zeros((90, 90), np.float32)
            drawn.append(weakref.ref(image))
            page = ReportPage(FULL, image)
            del image
            yield page
            del page

    reading_pdf(pages(), bundle, None, CREATED)
    assert max(alive) <= 1


def test_the_libraries_are_loaded_only_when_an_export_is_made() -> None:
    script = (
        "import sys, covid_core.inference.export_pdf, covid_core.inference.export_dicom; "
        "print([name for name in ('reportlab', 'pydicom', 'highdicom') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
