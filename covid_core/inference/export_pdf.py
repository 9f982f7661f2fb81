"""Reports on images as PDF, to file or to print: one A4 page an image, drawn with ReportLab.

The name of an image's file is often the patient's, so it is not printed.
"""

# ruff: noqa: PLC0415  ReportLab is imported only when a report is made, so that nothing else waits for it

import io
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

from PIL import Image

import covid_core
from covid_core.errors import Refusal
from covid_core.evaluation.conformal import INDETERMINATE
from covid_core.evaluation.summary import described, images_in_words
from covid_core.images.display import fitted
from covid_core.images.types import GreyImage
from covid_core.inference import wording
from covid_core.inference.bundle import Bundle
from covid_core.inference.explanation import overlay
from covid_core.inference.prediction import Prediction, Reading
from covid_core.labels import CLASS_TITLES, COVID
from covid_core.text import RESEARCH_ONLY, card_sections

TITLE = "Second reader report: COVID-19 on a frontal chest X-ray"
PICTURE_SIDE = 720
"""Longer side of a printed picture, pixels: about 200 to the inch at the size it has on the page."""

Row = tuple[str, tuple[str, ...]]
"""A label, and the paragraphs beside it."""

_LONGEST_TEXT = 300  # characters of a text that comes from outside
_MOST_WARNINGS = 8
_JPEG_QUALITY = 88
_MARGIN, _FOOTER, _GAP, _LABEL, _CALL = 40.0, 24.0, 10.0, 92.0, 200.0  # points, 72 to the inch
_INNER, _HEIGHT = 595.28 - 2 * _MARGIN, 841.89 - 2 * _MARGIN - _FOOTER  # of A4, without margins and footer
_LOWEST_PICTURE, _HIGHEST_PICTURE = 130.0, 290.0
_INK, _QUIET, _RULE, _NOTICE = "#1C2830", "#5B6B75", "#D3DDE2", "#A03000"
_MARK: dict[str, Any] = {
    "backColor": "#FFD166",
    "borderColor": _INK,
    "borderWidth": 1,
    "borderPadding": 5,
    "spaceBefore": 9,
    "spaceAfter": 12,
}

_fonts_lock = threading.Lock()


@dataclass(frozen=True)
class ReportPage:
    """What one page is made of; empty texts are left out."""

    result: Reading
    image: GreyImage | None
    """As the model was given it (repairs done), at display size, in [0, 1]; None for a page without pictures."""
    patient: str = ""  # the patient's name as typed in
    title: str = ""  # tells the image from the others without naming anybody, such as `3 of 5`


def reading_pdf(
    pages: Iterable[ReportPage], bundle: Bundle, evaluation: Mapping[str, Any] | None, created: datetime
) -> bytes:
    """Make the reports: one A4 page an image, refused images included.

    Each page is laid out before the next is asked for, so that a generator keeps one decoded image in memory at a time.

    Args:
        pages: at least one.
        bundle: the model that the results come from.
        evaluation: the content of its `evaluation.json`; None where it cannot be read.
        created: when the report is made, with its offset from UTC, else `ValueError`.
    """
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import BaseDocTemplate, Frame, KeepInFrame, PageBreak, PageTemplate

    _register_fonts()
    made = f"Made {report_time(created)} by {software()}"
    model = list(_model_rows(bundle, evaluation))
    story: list[Any] = []
    for page in pages:
        story += [KeepInFrame(_INNER, _HEIGHT, _flowables(page, bundle, model), mode="shrink"), PageBreak()]
    if not story:
        raise ValueError("`pages` must hold at least one page. Received: none")

    def footer(canvas: Any, document: Any) -> None:
        canvas.setFont("Vera", 7)
        canvas.setFillColor(_QUIET)
        canvas.drawString(_MARGIN, _MARGIN - 8, made)
        canvas.drawRightString(_MARGIN + _INNER, _MARGIN - 8, f"Page {document.page}")

    buffer = io.BytesIO()
    document = BaseDocTemplate(buffer, pagesize=A4, title=TITLE, author=software(), lang="en")
    frame = Frame(_MARGIN, _MARGIN + _FOOTER, _INNER, _HEIGHT, 0, 0, 0, 0)
    document.addPageTemplates(PageTemplate(frames=[frame], onPage=footer))
    document.build(story)
    return buffer.getvalue()


def limitations(bundle: Bundle) -> tuple[str, ...]:
    """The sentences under "Limitations" of a bundle's model card; one that says so where there is none."""
    try:
        card = bundle.file("MODEL_CARD.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        card = ""
    lines = card_sections(card).get("Limitations", "").splitlines()
    sentences = tuple(line.removeprefix("- ").strip() for line in lines if line.strip())
    return sentences or ("The limits of this model are not known: its model card cannot be read.",)


def decision_sentence(prediction: Prediction, bundle: Bundle) -> str:
    """Say what an image is called, and what that does not mean."""
    decision = f"{wording.headline(prediction)}."
    if bundle.three_way is not None and prediction.decision == INDETERMINATE:
        return f"{decision} {wording.indeterminate_sentence(prediction, bundle.three_way)}"
    return decision if prediction.label == COVID else f"{decision} {wording.NOT_HEALTHY}"


def probability_sentences(prediction: Prediction, bundle: Bundle) -> str:
    """Give the probability, how firm it is, and what it assumes."""
    return wording.joined(
        f"P(COVID-19) {prediction.probability_covid:.3f}.",
        wording.spread_sentence(prediction),
        wording.assumption(bundle),
    )


def anyway_sentence(refusal: Refusal) -> str:
    """Mark an image that was predicted although the gate refused it."""
    return f"{wording.ANYWAY.upper()}: the gate refused this image ({refusal.reason}). {refusal.message}"


def model_hash(bundle: Bundle) -> str:
    """The SHA-256 of the network that serves, in lower-case hexadecimal; `not recorded` for a bundle without hashes."""
    return str(bundle.manifest.get("files", {}).get("model.tflite", "not recorded"))


def software() -> str:
    """The name and version of this program."""
    return f"covid_core {covid_core.__version__}"


def report_time(created: datetime) -> str:
    """`2026-11-23 21:30:12 UTC+01:00`; `ValueError` for a time that does not know its offset from UTC."""
    if created.utcoffset() is None:
        raise ValueError(f"`created` must know its offset from UTC. Received: {created!r}")
    time = created.isoformat(sep=" ", timespec="seconds")
    return f"{time[:19]} UTC{time[19:]}"


def printable(text: str) -> str:
    """Text as the font can show it: a sign that it lacks, or that cannot be seen, becomes its code point, `[U+80F8]`."""
    glyphs = _glyphs()
    return "".join(sign if ord(sign) in glyphs and sign.isprintable() else f"[U+{ord(sign):04X}]" for sign in text)


def _register_fonts() -> None:
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    with _fonts_lock:  # a font that is registered again while another thread uses it would be in its document twice
        if "Vera" not in pdfmetrics.getRegisteredFontNames():
            for name in ("VeraBd", "Vera"):  # Bitstream Vera: free to embed, and comes with ReportLab
                pdfmetrics.registerFont(TTFont(name, f"{name}.ttf"))


@cache
def _glyphs() -> frozenset[int]:
    """The code points of which the font has a glyph."""
    from reportlab.pdfbase import pdfmetrics

    _register_fonts()
    return frozenset(pdfmetrics.getFont("Vera").face.charToGlyph)


def _flowables(page: ReportPage, bundle: Bundle, model: list[Row]) -> list[Any]:
    """Lay out one page; the pictures get what height the text leaves."""
    result, outcome = page.result, page.result.outcome
    prediction = outcome if isinstance(outcome, Prediction) else None
    above: list[Any] = [_paragraph(TITLE, 14, bold=True), _paragraph(RESEARCH_ONLY, 8.5, _NOTICE, bold=True)]
    for label, text in (("Image", page.title.strip()), ("Patient, as typed in", page.patient.strip())):
        if text:
            above.append(_paragraph(f"{label}: {_short(text)}", 8.5))
    if isinstance(outcome, Prediction):
        if outcome.anyway is not None:
            above.append(_paragraph(anyway_sentence(outcome.anyway), 10, bold=True, **_MARK))
        call = [
            _paragraph(wording.headline(outcome), 20, bold=True),
            _paragraph(wording.key_numbers(outcome).replace("**", ""), 9),
        ]
        above.append(_grid([[call, _scale(outcome, bundle)]], [_CALL, _INNER - _CALL]))
        rows = list(_result_rows(outcome, bundle))
    else:
        message = f"{outcome.message} No prediction was made (reason: {outcome.reason})."
        above += [_paragraph("Refused", 20, bold=True), _paragraph(message, 9)]
        rows = [("What to do next", (outcome.next_step,))]
    cells = [
        [_paragraph(label, 8, _QUIET, bold=True), [_paragraph(line, 8) for line in lines]]
        for label, lines in (*rows, *_image_rows(result), *model)
        if any(lines)
    ]
    table = _grid(cells, [_LABEL, _INNER - _LABEL], [("LINEABOVE", (0, 0), (-1, -1), 0.4, _RULE)])
    used = sum(one.wrap(_INNER, _HEIGHT)[1] + one.getSpaceAfter() for one in (*above, table))
    room = min(max(_HEIGHT - used - 24, _LOWEST_PICTURE), _HIGHEST_PICTURE)
    return [*above, *_pictures(page.image, prediction, bundle, room), table]


def _paragraph(text: str, size: float, colour: str = _INK, *, bold: bool = False, **style: Any) -> Any:
    """A paragraph of plain text: none of it is read as markup."""
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph

    base = {"fontName": "VeraBd" if bold else "Vera", "fontSize": size, "leading": size * 1.28, "textColor": colour}
    return Paragraph(escape(printable(text)), ParagraphStyle("text", **({"spaceAfter": 3} | base | style)))


def _grid(cells: list[list[Any]], widths: list[float], style: Sequence[tuple[Any, ...]] = ()) -> Any:
    from reportlab.platypus import Table

    whole = (0, 0), (-1, -1)
    padding = [
        (f"{side}PADDING", *whole, 0 if side in {"LEFT", "RIGHT"} else 2) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")
    ]
    return Table(
        cells, colWidths=widths, style=[*padding, ("VALIGN", *whole, "TOP"), *style], spaceAfter=_GAP, hAlign="LEFT"
    )


def _scale(prediction: Prediction, bundle: Bundle) -> Any:
    """Draw the probability on a bar from 0 to 1: blue is not COVID-19, grey indeterminate, orange COVID-19."""
    from reportlab.graphics.shapes import Circle, Drawing, Line, Rect, String
    from reportlab.lib.colors import HexColor
    from reportlab.pdfbase.pdfmetrics import stringWidth

    width, high, low = _INNER - _CALL, 50, 34  # of the drawing, and the edges of the bar
    threshold, three_way = prediction.threshold, bundle.three_way
    lower, upper = (threshold, threshold) if three_way is None else (three_way.lower, three_way.upper)

    def at(value: float) -> float:
        return 8 + value * (width - 16)

    def label(text: str, value: float, baseline: float, font: str = "Vera", colour: str = _INK) -> Any:
        half = stringWidth(text, font, 7) / 2
        centre = min(max(at(value), half), width - half)
        return String(
            centre, baseline, text, fontName=font, fontSize=7, fillColor=HexColor(colour), textAnchor="middle"
        )

    drawing = Drawing(width, 62)
    for start, end, colour in ((0.0, lower, "#B3D5E8"), (lower, upper, "#D0D0D0"), (upper, 1.0, "#F2CEB3")):
        drawing.add(Rect(at(start), low, at(end) - at(start), high - low, fillColor=HexColor(colour), strokeColor=None))
    drawing.add(Line(at(threshold), low - 4, at(threshold), high + 4, strokeColor=HexColor(_INK), strokeWidth=1.6))
    legend = [] if three_way is None else [f"grey: indeterminate, {lower:.2f} to {upper:.2f}"]
    if prediction.spread is not None:
        start, end = prediction.spread
        for line in ((start, 42, end, 42), (start, 36, start, 48), (end, 36, end, 48)):
            drawing.add(Line(at(line[0]), line[1], at(line[2]), line[3], strokeColor=HexColor(_INK), strokeWidth=2))
        legend.append(f"black bar: spread, {start:.2f} to {end:.2f}")
    drawing.add(
        Circle(at(prediction.probability_covid), 42, 5, fillColor=HexColor(_INK), strokeColor=HexColor("#FFFFFF"))
    )
    drawing.add(label(f"this image {prediction.probability_covid:.2f}", prediction.probability_covid, 56, "VeraBd"))
    for tick in (0, 0.25, 0.5, 0.75, 1):
        drawing.add(label(f"{tick:g}", tick, 23, colour=_QUIET))
    drawing.add(label(f"operating point {threshold:.2f}", threshold, 13))
    drawing.add(label("; ".join(legend), 0.5, 2, colour=_QUIET))
    return drawing


def _pictures(image: GreyImage | None, prediction: Prediction | None, bundle: Bundle, room: float) -> list[Any]:
    """The radiograph, and beside it the radiograph with the heat over it, at most `room` points high."""
    from reportlab.platypus import Image as Figure

    if image is None:
        return []
    small = fitted(image, PICTURE_SIDE)
    height, width = small.shape
    pictures = [((small * 255).round().astype("uint8"), "The radiograph")]
    if prediction is not None:
        drawn = overlay(small, prediction.heat, bundle.preparation.crop_box(width, height))
        pictures.append((drawn, "The radiograph with the model's heat map over it"))
    across = (_INNER - _GAP) / 2
    scale = min(across / width, room / height)
    cells = []
    for pixels, caption in pictures:
        jpeg = io.BytesIO()
        Image.fromarray(pixels).save(jpeg, format="JPEG", quality=_JPEG_QUALITY)
        figure = Figure(jpeg, width * scale, height * scale, hAlign="LEFT")
        cells.append([figure, _paragraph(caption, 7, _QUIET)])
    return [_grid([cells], [across + _GAP, across][: len(cells)])]


def _result_rows(prediction: Prediction, bundle: Bundle) -> Iterator[Row]:
    yield "Decision", (decision_sentence(prediction, bundle),)
    yield "Probability", (probability_sentences(prediction, bundle),)
    yield "The scale", (f"{wording.scale_words(prediction, bundle.three_way)}.",)
    yield (
        "Pattern",
        (wording.joined(wording.pattern_sentence(prediction), wording.opacities_sentence(prediction, bundle)),),
    )
    yield "Heat map", (wording.heat_sentences(prediction, bundle),)
    similar = "; ".join(
        f"{CLASS_TITLES[one.label]}, {_short(one.source) or 'source not stated'}, distance {one.distance:.2f}"
        for one in prediction.similar
    )
    yield (
        "Similar images",
        (similar and f"The most similar images that the model was fitted on, nearest first: {similar}.",),
    )


def _image_rows(result: Reading) -> Iterator[Row]:
    """Warnings, repairs, and what the file says of its image; nothing that names the patient is kept in its tags."""
    warnings = [_short(caution) for caution in wording.further_cautions(result)]
    left_out = len(warnings) - _MOST_WARNINGS
    yield "Warnings", (*warnings[:_MOST_WARNINGS], *([f"And {left_out} more."] if left_out > 0 else ()))
    yield "Repairs", (wording.repairs_sentence(result.repairs) or "",)
    tags = result.tags
    values = {"view": tags.view, "sex": tags.sex, "age": tags.age_band, "modality": tags.modality}
    values["device by"] = tags.manufacturer
    found = "; ".join(f"{name} {_short(value)}" for name, value in values.items() if value)
    yield "The file says", (found and f"{found}.",)


def _model_rows(bundle: Bundle, evaluation: Mapping[str, Any] | None) -> Iterator[Row]:
    accuracy = "The evaluation of this model cannot be read: its accuracy is not known here."
    if evaluation is not None:
        rates = {name: described(evaluation["metrics"][name]) for name in ("sensitivity", "specificity")}
        accuracy = (
            f"Sensitivity {rates['sensitivity']}, specificity {rates['specificity']}. "
            f"Measured on {images_in_words(evaluation)}."
        )
    yield "Accuracy", (accuracy,)
    yield "Model", (f"{bundle.name}, version {bundle.version}", f"SHA-256 {model_hash(bundle)}")
    yield "Operating point", (f"P(COVID-19) {bundle.threshold:.3f}: {bundle.threshold_method.rstrip('.')}.",)
    yield "Limits", (" ".join(limitations(bundle)),)


def _short(text: str) -> str:
    """A text from outside, without its middle if it is long."""
    half = _LONGEST_TEXT // 2
    return text if len(text) <= _LONGEST_TEXT else f"{text[:half]} … {text[-half:]}"
