"""How a page of a report is drawn: A4, fonts, text, pictures and the scale of the probability, with reportlab.

Knows nothing of films or models: it gets plain text and pictures. No text is read as markup, whatever it holds.
"""

# ruff: noqa: PLC0415  reportlab is imported only when a report is made, so that nothing else waits for it

import io
import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

JPEG_QUALITY = 88

_WIDTH, _HEIGHT = 595.28, 841.89  # A4 in points, 72 to the inch
_MARGIN, _GAP, _FOOTER, _LABEL = 40.0, 10.0, 24.0, 92.0
_INNER = _WIDTH - 2 * _MARGIN
_WORDS = 190.0  # of the width, beside the scale
_LOWEST_PICTURE, _HIGHEST_PICTURE = 130.0, 290.0
_SIZES = (8.0, 7.5, 7.0, 6.5, 6.0, 5.5, 5.0)  # of the rows; the first at which they fit
_LEADING = 1.28
# Blue and orange are Okabe and Ito's, as on the screen: told apart with any colour vision.
_BLUE, _ORANGE, _GREY, INK, QUIET, RULE = "#0072B2", "#D55E00", "#8C8C8C", "#1C2830", "#5B6B75", "#D3DDE2"
NOTICE, MARK = "#A03000", "#FFD166"

_naming = threading.Lock()


@dataclass(frozen=True)
class Row:
    """A line of a report.

    Attributes:
        label: what it is about.
        lines: what it says, one paragraph each.
    """

    label: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Scale:
    """A probability on a scale from 0 to 1.

    Attributes:
        probability: of the film, in [0, 1].
        threshold: the operating point, in [0, 1].
        indeterminate: the lowest and the highest probability of an indeterminate film; None where every film is called.
        spread: the ends of the range that the probability is known to; None where it is not known.
    """

    probability: float
    threshold: float
    indeterminate: tuple[float, float] | None
    spread: tuple[float, float] | None


@dataclass(frozen=True)
class Picture:
    """A picture and its caption.

    Attributes:
        pixels: uint8 (height, width) or (height, width, 3).
        caption: one line.
    """

    pixels: NDArray[np.uint8]
    caption: str


@dataclass(frozen=True)
class Letterhead:
    """What stands on every page.

    Attributes:
        title: of the document and at the head of each page.
        notice: a sentence below it that must not be missed.
        footer: one line.
    """

    title: str
    notice: str
    footer: str


@dataclass(frozen=True, kw_only=True)
class PageContent:
    """What stands on a page, from its top to its bottom.

    Attributes:
        heading: what the page is about.
        mark: a sentence in a box; None for a page without.
        headline: the result in a word or two.
        numbers: what belongs to the headline; `**` stands around what is bold.
        scale: beside the headline; None for a page without.
        pictures: side by side, as large as there is room.
        rows: what is to be said.
    """

    heading: Sequence[Row]
    mark: str | None = None
    headline: str
    numbers: str
    scale: Scale | None = None
    pictures: Sequence[Picture]
    rows: Sequence[Row]


def pdf_of(pages: Iterable[PageContent], letterhead: Letterhead) -> bytes:
    """Draw a document. The same input gives the same bytes; its metadata hold the title and nothing else.

    Args:
        pages: at least one; each is drawn before the next is asked for.
        letterhead: of every page.
    """
    from reportlab.pdfgen.canvas import Canvas

    name_fonts()
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(_WIDTH, _HEIGHT), pageCompression=1, invariant=1, lang="en")
    canvas._doc.info = title_alone(letterhead.title)
    number = 0
    for number, page in enumerate(pages, start=1):
        _draw(canvas, page, letterhead)
        _draw_footer(canvas, letterhead.footer, f"Page {number}")
        canvas.showPage()
    if number == 0:
        raise ValueError("`pages` must hold at least one page. Received: none")
    canvas.save()
    return buffer.getvalue()


def shown(text: str) -> str:
    """Text as the font can show it: a sign that it lacks, or that cannot be seen, becomes its code point, `[U+80F8]`."""
    signs = _signs()
    return "".join(sign if ord(sign) in signs and sign.isprintable() else f"[U+{ord(sign):04X}]" for sign in text)


def name_fonts() -> None:
    """Register the fonts, and have pictures stored as they are: as text, reportlab's default, they are a quarter larger."""
    from reportlab import rl_config
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    with _naming:  # a font that is named anew under a document that uses it would be in it twice
        if "Vera" in pdfmetrics.getRegisteredFontNames():
            return
        rl_config.useA85 = 0
        for name in ("VeraBd", "Vera"):  # Bitstream Vera: free to embed, and comes with reportlab
            pdfmetrics.registerFont(TTFont(name, f"{name}.ttf"))
        pdfmetrics.registerFontFamily("Vera", normal="Vera", bold="VeraBd", italic="Vera", boldItalic="VeraBd")


@cache
def _signs() -> frozenset[int]:
    """The code points of which the font has a glyph."""
    from reportlab.pdfbase import pdfmetrics

    name_fonts()
    return frozenset(pdfmetrics.getFont("Vera").face.charToGlyph)


def title_alone(title: str) -> Any:
    """A document's metadata with its title alone; reportlab would add an author, a program and a date."""
    from reportlab.pdfbase.pdfdoc import PDFDictionary, PDFInfo, PDFString

    class TitleAlone(PDFInfo):  # type: ignore[misc]  # reportlab has no types
        def format(self, document: Any) -> Any:
            return PDFDictionary({"Title": PDFString(self.title)}).format(document)

    metadata = TitleAlone()
    metadata.title = title
    return metadata


def markup(text: str) -> str:
    """Text as reportlab's markup, in which it stands for itself."""
    return escape(shown(text)).replace("  ", "&nbsp; ")  # of two blanks it would make one


def _paragraph(markup: str, size: float, colour: str = INK) -> Any:
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph

    style = ParagraphStyle("text", fontName="Vera", fontSize=size, leading=size * _LEADING, textColor=colour)
    return Paragraph(markup, style)


def _below(canvas: Any, paragraph: Any, left: float, top: float, width: float) -> float:
    """Draw a paragraph below `top`; gives its lower edge."""
    _, height = paragraph.wrap(width, _HEIGHT)
    paragraph.drawOn(canvas, left, top - height)
    return float(top - height)


def _draw(canvas: Any, page: PageContent, letterhead: Letterhead) -> None:
    """Draw from the top; the pictures get what room the text leaves."""
    top = _draw_heading(canvas, letterhead, page.heading)
    if page.mark is not None:
        top = _draw_mark(canvas, page.mark, top)
    top = _draw_result(canvas, page, top)
    room = top - _MARGIN - _FOOTER
    table, height = _table(page.rows, room - (_LOWEST_PICTURE if page.pictures else 0))
    if page.pictures:
        top = _draw_pictures(canvas, page.pictures, top, min(room - height, _HIGHEST_PICTURE))
    table.drawOn(canvas, _MARGIN, top - height)


def _draw_heading(canvas: Any, letterhead: Letterhead, heading: Sequence[Row]) -> float:
    top = _below(canvas, _paragraph(f"<b>{markup(letterhead.title)}</b>", 14), _MARGIN, _HEIGHT - _MARGIN, _INNER)
    top = _below(canvas, _paragraph(f"<b>{markup(letterhead.notice)}</b>", 8.5, NOTICE), _MARGIN, top - 3, _INNER) - 3
    for row in heading:
        words = f'<font color="{QUIET}">{markup(row.label)}</font>&nbsp; <b>{markup(" ".join(row.lines))}</b>'
        top = _below(canvas, _paragraph(words, 8.5), _MARGIN, top - 2, _INNER)
    canvas.setStrokeColor(RULE)
    canvas.line(_MARGIN, top - 5, _MARGIN + _INNER, top - 5)
    return top - 5 - _GAP


def _draw_mark(canvas: Any, sentence: str, top: float) -> float:
    paragraph = _paragraph(f"<b>{markup(sentence)}</b>", 10)
    _, height = paragraph.wrap(_INNER - 16, _HEIGHT)
    canvas.setFillColor(MARK)
    canvas.setStrokeColor(INK)
    canvas.rect(_MARGIN, top - height - 12, _INNER, height + 12, stroke=1, fill=1)
    paragraph.drawOn(canvas, _MARGIN + 8, top - height - 5)
    return float(top - height - 12 - _GAP)


def _draw_result(canvas: Any, page: PageContent, top: float) -> float:
    width = _INNER if page.scale is None else _WORDS
    numbers = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", markup(page.numbers))
    bottom = _below(canvas, _paragraph(f"<b>{markup(page.headline)}</b>", 20), _MARGIN, top, width)
    bottom = _below(canvas, _paragraph(numbers, 9), _MARGIN, bottom - 4, width) - _GAP
    if page.scale is None:
        return bottom
    left = _MARGIN + _WORDS + _GAP
    return min(_draw_scale(canvas, page.scale, left, top, _INNER - _WORDS - _GAP) - _GAP, bottom)


def _draw_scale(canvas: Any, scale: Scale, left: float, top: float, width: float) -> float:
    """Draw a bar from 0 to 1 with what lies on it; gives its lower edge."""
    high, low = top - 13, top - 29  # the edges of the bar
    lower, upper = scale.indeterminate or (scale.threshold, scale.threshold)

    def at(value: float) -> float:
        return left + 8 + value * (width - 16)

    for start, end, colour in ((0.0, lower, _BLUE), (upper, 1.0, _ORANGE)):
        canvas.setFillColor(colour, alpha=0.3)
        canvas.rect(at(start), low, at(end) - at(start), high - low, stroke=0, fill=1)
    if scale.indeterminate is not None:
        _hatch(canvas, at(lower), low, at(upper), high)
    canvas.setStrokeColor(INK)
    canvas.setLineWidth(1.6)
    canvas.line(at(scale.threshold), low - 4, at(scale.threshold), high + 4)
    _draw_film(canvas, at, scale, (low + high) / 2)
    _label(canvas, f"this film {scale.probability:.2f}", at(scale.probability), top - 6, (left, width), font="VeraBd")
    for tick in (0, 0.25, 0.5, 0.75, 1):
        _label(canvas, f"{tick:g}", at(tick), low - 11, (left, width), colour=QUIET)
    _label(canvas, f"operating point {scale.threshold:.2f}", at(scale.threshold), low - 21, (left, width))
    parts = []
    if scale.indeterminate is not None:
        parts.append(f"hatched: indeterminate, {lower:.2f} to {upper:.2f}")
    if scale.spread is not None:
        parts.append(f"black bar: spread, {scale.spread[0]:.2f} to {scale.spread[1]:.2f}")
    _label(canvas, "; ".join(parts), left + width / 2, low - 32, (left, width), colour=QUIET)
    return low - (34 if parts else 23)


def _hatch(canvas: Any, left: float, low: float, right: float, high: float) -> None:
    canvas.saveState()
    path = canvas.beginPath()
    path.rect(left, low, right - left, high - low)
    canvas.setFillColor("#EDEDED")
    canvas.clipPath(path, stroke=0, fill=1)
    canvas.setStrokeColor(_GREY)
    canvas.setLineWidth(0.7)
    start = left - (high - low)
    while start < right:
        canvas.line(start, low, start + (high - low), high)
        start += 4
    canvas.restoreState()


def _draw_film(canvas: Any, at: Any, scale: Scale, middle: float) -> None:
    """The film as a diamond, its spread as a bar with ends."""
    if scale.spread is not None:
        canvas.setLineWidth(2.2)
        start, end = (at(value) for value in scale.spread)
        canvas.line(start, middle, end, middle)
        for edge in (start, end):
            canvas.line(edge, middle - 7, edge, middle + 7)  # taller than the diamond, which may hide the bar
    undecided = (
        scale.indeterminate is not None and scale.indeterminate[0] <= scale.probability <= scale.indeterminate[1]
    )
    canvas.setFillColor(_GREY if undecided else _ORANGE if scale.probability >= scale.threshold else _BLUE)
    canvas.setStrokeColor("#FFFFFF")
    canvas.setLineWidth(1)
    path, centre = canvas.beginPath(), at(scale.probability)
    path.moveTo(centre, middle + 6)
    for across, up in ((6, 0), (0, -6), (-6, 0)):
        path.lineTo(centre + across, middle + up)
    path.close()
    canvas.drawPath(path, stroke=1, fill=1)


def _label(
    canvas: Any,
    text: str,
    centre: float,
    baseline: float,
    within: tuple[float, float],
    *,
    font: str = "Vera",
    colour: str = INK,
) -> None:
    """Write a line around `centre`, moved as far as it takes to stay within (left, width)."""
    from reportlab.pdfbase.pdfmetrics import stringWidth

    left, width = within
    length = stringWidth(text, font, 7)
    canvas.setFont(font, 7)
    canvas.setFillColor(colour)
    canvas.drawString(min(max(centre - length / 2, left), left + width - length), baseline, text)


def _draw_pictures(canvas: Any, pictures: Sequence[Picture], top: float, room: float) -> float:
    """Draw pictures side by side in a room of so many points; gives the lower edge."""
    from reportlab.lib.utils import ImageReader

    width = (_INNER - _GAP) / 2
    shapes = [picture.pixels.shape for picture in pictures]
    height = min(room - 12 - _GAP, max(width * shape[0] / shape[1] for shape in shapes))
    for number, (picture, shape) in enumerate(zip(pictures, shapes, strict=True)):
        left = _MARGIN + number * (width + _GAP)
        drawn = min(width, height * shape[1] / shape[0])
        reader = ImageReader(io.BytesIO(_jpeg(picture.pixels)))
        tall = drawn * shape[0] / shape[1]
        canvas.drawImage(reader, left, top - tall, drawn, tall)
        _label(canvas, picture.caption, left, top - tall - 9, (left, width), colour=QUIET)
    return float(top - height - 12 - _GAP)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _table(rows: Sequence[Row], room: float) -> tuple[Any, float]:
    """Lay rows out at the largest size that fits the room, in points; gives the table and its height."""
    from reportlab.platypus import Table

    for size in _SIZES:
        cells = [
            [
                _paragraph(f"<b>{markup(row.label)}</b>", size, QUIET),
                [_paragraph(markup(line), size) for line in row.lines],
            ]
            for row in rows
        ]
        table = Table(cells, colWidths=[_LABEL, _INNER - _LABEL])
        table.setStyle(
            [
                *(("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 0)),
                *(("TOPPADDING", (0, 0), (-1, -1), 2), ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5)),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEABOVE", (0, 0), (-1, -1), 0.4, RULE),
            ]
        )
        _, height = table.wrap(_INNER, _HEIGHT)
        if height <= room:
            break
    return table, float(height)


def _draw_footer(canvas: Any, left: str, right: str) -> None:
    canvas.setFont("Vera", 7)
    canvas.setFillColor(QUIET)
    canvas.drawString(_MARGIN, _MARGIN - 8, shown(left))
    canvas.drawRightString(_WIDTH - _MARGIN, _MARGIN - 8, right)
