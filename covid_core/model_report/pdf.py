"""The report of a model as PDF, to file or to print: what `covid_core.model_report.content` describes, on A4, with reportlab.

Knows neither models nor films. No text is read as markup, whatever it holds; a sign that the font lacks becomes its code point,
as on the reports on films. Import this where a document is made: it brings reportlab.
"""

import io
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    HRFlowable,
    PageTemplate,
    Paragraph,
    Spacer,
)
from reportlab.platypus import Table as Grid

from covid_core.card_text import RESEARCH_ONLY
from covid_core.inference.report_drawing import INK, NOTICE, QUIET, RULE, markup, name_fonts, shown, title_alone
from covid_core.model_report.chart_drawing import drawing
from covid_core.model_report.content import Chapter, Chart, Command, Item, Report, Table, Words

_WIDTH, _HEIGHT = A4  # points, 72 to the inch
_MARGIN, _FOOTER = 40.0, 30.0
_INNER, _ROOM = _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN - _FOOTER
_CHART = 440.0
"""Width of a chart: wide enough for the labels of its legend, narrow enough that a ROC curve does not look flat."""
_PAD = 3.0  # left and right of the text in a cell
_SIZES = (7.5, 7.0, 6.5, 6.0)  # of the letters of a table
_LONGEST_WORD = 0.3  # of the width of the page; a longer one, such as an address, is broken
_FIRST_ROWS = 100.0  # of a long table, on the page of its title
_LONGEST_FOOT = 200  # characters; no line holds more
_CARDS = 4  # headline figures side by side


def _style(size: float, **settings: Any) -> ParagraphStyle:
    base = {"fontName": "Vera", "fontSize": size, "leading": size * 1.32, "textColor": INK, "spaceAfter": 5}
    return ParagraphStyle("text", **(base | settings))


_TITLE = _style(18)
_SUBTITLE = _style(8.5, textColor=QUIET)
_HEADLINE = _style(10.5, spaceBefore=4, spaceAfter=10)
_CHAPTER = _style(14, spaceBefore=2, spaceAfter=8)
_HEADING = _style(9.5, spaceBefore=6, spaceAfter=3)
_NOTE = _style(7.5, textColor=QUIET, spaceAfter=4)
_BOX = {"borderWidth": 0.8, "borderPadding": 5, "leftIndent": 6, "rightIndent": 6, "spaceBefore": 11, "spaceAfter": 15}
_TONES = {
    "plain": _style(9),
    "caution": _style(9, backColor="#FFF3D6", borderColor=NOTICE, textColor=NOTICE, **_BOX),
    "remark": _NOTE,
}
_COMMAND = _style(8, fontName="Courier", backColor="#F0F3F5", borderColor=RULE, **_BOX)


def report_pdf(report: Report) -> bytes:
    """Make the PDF: the head, then the chapters in their order, with an outline. Tables that the page folds are open.

    The same report gives the same bytes.

    Args:
        report: as of `covid_core.model_report.whole.whole_report`.

    Returns:
        A PDF. Its metadata hold the title and nothing else.
    """
    name_fonts()
    buffer = io.BytesIO()
    title = shown(report.title)
    document = BaseDocTemplate(buffer, pagesize=A4, title=title, invariant=1, pageCompression=1, lang="en")
    frame = Frame(
        _MARGIN, _MARGIN + _FOOTER, _INNER, _ROOM, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0
    )

    def canvas_for(*settings: Any, **named: Any) -> Canvas:
        canvas = Canvas(*settings, **named)
        canvas._doc.info = title_alone(title)
        return canvas

    document.addPageTemplates([PageTemplate(frames=[frame], onPage=lambda canvas, _: _draw_foot(canvas, report.title))])
    parts = [*_head(report), *(part for chapter in report.chapters for part in _chapter(chapter))]
    document.build(parts, canvasmaker=canvas_for)
    return buffer.getvalue()


class _Bookmark(Flowable):  # type: ignore[misc]  # reportlab has no types
    """An entry of the outline: it takes no room and leads to where it stands."""

    def __init__(self, title: str, key: str, level: int) -> None:
        """Name the entry.

        Args:
            title: what the outline says.
            key: of the entry alone.
            level: 0, or 1 for what stands below the last entry of level 0.
        """
        super().__init__()
        self.title, self.key, self.level = title, key, level

    def wrap(self, *_: Any) -> tuple[float, float]:
        """Take no room."""
        return 0.0, 0.0

    def draw(self) -> None:
        """Add the entry."""
        self.canv.bookmarkHorizontal(self.key, 0, 14)
        self.canv.addOutlineEntry(shown(self.title), self.key, self.level)


def _draw_foot(canvas: Any, title: str) -> None:
    right, top = _WIDTH - _MARGIN, _MARGIN + _FOOTER - 12
    canvas.setStrokeColor(RULE)
    canvas.line(_MARGIN, top, right, top)
    canvas.setFont("Vera", 7)
    canvas.setFillColor(QUIET)
    canvas.drawString(_MARGIN, top - 11, RESEARCH_ONLY)
    canvas.drawString(_MARGIN, top - 21, _cut(title, 7, _INNER - 60))
    canvas.drawRightString(right, top - 21, f"Page {canvas.getPageNumber()}")


def _cut(text: str, size: float, width: float) -> str:
    line = shown(" ".join(text[:_LONGEST_FOOT].split()))
    if len(text) <= _LONGEST_FOOT and stringWidth(line, "Vera", size) <= width:
        return line
    while line and stringWidth(f"{line}…", "Vera", size) > width:
        line = line[:-1]
    return f"{line}…"


def _head(report: Report) -> Iterator[Flowable]:
    yield from _paragraphs(report.title, _TITLE, bold=True)
    yield from _paragraphs(report.subtitle, _SUBTITLE)
    if report.figures:
        yield _cards(report.figures)
    yield from _paragraphs(report.headline, _HEADLINE)


def _cards(figures: Sequence[tuple[str, str, str]]) -> Grid:
    """The headline figures, each with its title above and its interval below."""
    cards = [
        [
            *_paragraphs(title, _style(8, textColor=QUIET, spaceAfter=1)),
            *_paragraphs(value, _style(17, spaceAfter=1), bold=True),
            *_paragraphs(interval, _style(7.5, textColor=QUIET, spaceAfter=2)),
        ]
        for title, value, interval in figures
    ]
    rows = [cards[start : start + _CARDS] for start in range(0, len(cards), _CARDS)]
    rows[-1] += [[] for _ in range(_CARDS - len(rows[-1]))]
    widths = [_INNER / _CARDS] * _CARDS
    grid = Grid([piece for row in rows for piece in _in_pieces(row, widths)], colWidths=widths, spaceAfter=6)
    grid.setStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *_lines(0.6), *_padding(_PAD, 4)])
    return grid


def _chapter(chapter: Chapter) -> Iterator[Flowable]:
    """A chapter; its title and the words below it stand on the page of the chart or the table that they open."""
    opening: list[Flowable] = [
        HRFlowable("100%", 1.2, color=INK, spaceBefore=14, spaceAfter=6),
        _Bookmark(chapter.title, chapter.name, 0),
        *_paragraphs(chapter.title, _CHAPTER, bold=True),
    ]
    for item in chapter.items:
        if _height(opening) > _ROOM / 3:
            yield from opening
            opening = []
        above = _height(opening)
        parts, together = _item(item, chapter.name, _ROOM - above)
        if opening and isinstance(item, Words | Command):
            opening += parts
            continue
        yield CondPageBreak(min(above + together, _ROOM - 1))
        yield from opening
        yield from parts
        opening = []
    yield from opening


def _item(item: Item, chapter: str, room: float) -> tuple[list[Flowable], float]:
    """An item, its charts no higher than the room, and how much of it must stand on one page, points."""
    match item:
        case Words():
            return [*_paragraphs(item.text, _TONES[item.tone])], 0.0
        case Command():
            return [*_paragraphs(item.text, _COMMAND)], 0.0
        case Chart():
            chart = _chart(item, chapter, room)
            return chart, _height(chart)
        case Table():
            return _table(item, chapter)


def _chart(chart: Chart, chapter: str, room: float) -> list[Flowable]:
    """A chart between its title and its note; one higher than the room is made smaller."""
    heading, note = _heading(chart, chapter), _paragraphs(chart.note, _NOTE)
    room = max(room - _height([*heading, *note]) - 12, _ROOM / 3)
    sheet = drawing(chart.figure, _CHART)
    if sheet.height > room:
        # Drawn wider and then scaled, so that it is as wide on paper as the others.
        sheet = drawing(chart.figure, min(_CHART * sheet.height / room, 2 * _CHART))
        sheet.renderScale = min(room / sheet.height, _CHART / sheet.width)
    return [*heading, sheet, *note, Spacer(0, 6)]


def _heading(item: Table | Chart, chapter: str) -> list[Flowable]:
    return [_Bookmark(item.title, f"{chapter}/{item.name}", 1), *_paragraphs(item.title, _HEADING, bold=True)]


def _table(table: Table, chapter: str) -> tuple[list[Flowable], float]:
    """A table below its title and its note: on one page if half a page holds it, else over as many as it needs."""
    names, rows = [str(name) for name in table.table.columns], [[*map(str, row)] for row in table.table.to_numpy()]
    above = [*_heading(table, chapter), *_paragraphs(table.note, _NOTE)]
    grids: list[Flowable] = [part for grid in _grids(names, rows) for part in (grid, Spacer(0, 8))]
    if not rows:
        grids += _paragraphs("No rows.", _NOTE)
    height = _height(grids)
    return [*above, *grids], _height(above) + (height if height <= _ROOM / 2 else _FIRST_ROWS)


def _grids(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Grid]:
    """A table at the largest size at which it is as wide as the page; if there is none, side by side parts below each other.

    Each part begins with the first column, which names the rows.
    """
    if not names:
        return []
    columns = [[name, *(row[number] for row in rows)] for number, name in enumerate(names)]
    laid = [(size, widths) for size in _SIZES if (widths := _widths(columns, size)) is not None]
    if laid:
        # A little smaller if that keeps every text on its line; else as large as the words allow.
        size, widths = next((one for one in laid if _on_one_line(columns, *one)), laid[0])
        return [_grid(columns, widths, size)]
    size, parts = _SIZES[-1], [[columns[0]]]
    for column in columns[1:]:
        if _widths([*parts[-1], column], size) is None:
            parts.append([columns[0]])
        parts[-1].append(column)
    return [_grid(part, _widths(part, size) or [], size) for part in parts]


def _widths(columns: Sequence[Sequence[str]], size: float) -> list[float] | None:
    """The widths of columns, points; None where their words have no room.

    A column whose text has room in its fair share of the page is as wide as its text. The others have room for their words, and
    share the rest by the length of their text, so that their cells are about equally high.
    """
    extents = [_extent(column, size) for column in columns]
    widths = [word for word, _ in extents]
    spare = _INNER - sum(widths)
    if spare < 0:
        return None
    waiting = sorted(range(len(columns)), key=lambda number: extents[number][1])
    while waiting:
        word, text = extents[waiting[0]]
        fair = (spare + sum(widths[number] for number in waiting)) / len(waiting)
        if text > fair or text - word > spare:
            break
        widths[waiting.pop(0)] = text
        spare -= text - word
    longing = sum(extents[number][1] - widths[number] for number in waiting)
    return [
        width + (spare * (extents[number][1] - width) / longing if number in waiting and longing else 0)
        for number, width in enumerate(widths)
    ]


def _on_one_line(columns: Sequence[Sequence[str]], size: float, widths: Sequence[float]) -> bool:
    return all(_extent(column, size)[1] <= width for column, width in zip(columns, widths, strict=True))


def _extent(column: Sequence[str], size: float) -> tuple[float, float]:
    """The width of the longest word of a column, if it is not to be broken, and of its longest text, points."""

    def width(text: str, font: str) -> float:
        return float(stringWidth(shown(text), font, size)) + 2 * _PAD + 1

    head, *cells = column
    fonts = [(head, "VeraBd"), *((cell, "Vera") for cell in set(cells))]
    word = max(width(word, font) for text, font in fonts for word in ["", *text.split()])
    return min(word, _LONGEST_WORD * _INNER), max(width(text, font) for text, font in fonts)


def _grid(columns: Sequence[Sequence[str]], widths: Sequence[float], size: float) -> Grid:
    style, quiet = _style(size, spaceAfter=0), _style(size, spaceAfter=0, textColor=QUIET)
    cells: list[Sequence[Any]] = []
    for number, texts in enumerate(zip(*columns, strict=True)):
        row = [_paragraphs(text, quiet if number == 0 else style, bold=number == 0) for text in texts]
        cells += _in_pieces(row, widths)
        if number == 0:
            head = len(cells)
    # A head as high as a page cannot be repeated on every one.
    repeated = head if head == 1 else 0
    grid = Grid(cells, colWidths=list(widths), repeatRows=repeated, hAlign="LEFT", spaceBefore=2)
    grid.setStyle(
        [
            *(("VALIGN", (0, 0), (-1, -1), "TOP"), ("LINEBELOW", (0, head - 1), (-1, head - 1), 0.9, QUIET)),
            *_lines(0.4),
            *_padding(_PAD, 2.2),
        ]
    )
    return grid


def _in_pieces(row: Sequence[list[Paragraph]], widths: Sequence[float]) -> list[Sequence[Any]]:
    """A row, or several where it is higher than a third of a page: a single row cannot be split."""
    pieces = [_pieces(cell, width - 2 * _PAD, _ROOM / 3) for cell, width in zip(row, widths, strict=True)]
    return list(zip_longest(*pieces, fillvalue=""))


def _pieces(cell: Sequence[Paragraph], width: float, height: float) -> list[list[Paragraph]]:
    """The paragraphs of a cell, in parts that are no higher than asked."""
    parts: list[list[Paragraph]] = [[]]
    room = height
    for paragraph in cell:
        rest = [paragraph]
        while rest:
            first = rest.pop(0)
            _, tall = first.wrap(width, height)
            if tall > room and parts[-1]:
                parts.append([])
                room = height
            if tall > room:
                first, *rest = first.split(width, room) or [first]
                tall = room
            parts[-1].append(first)
            room -= tall
    return parts


def _lines(width: float) -> list[Any]:
    return [("LINEBELOW", (0, 0), (-1, -1), width, RULE), ("LINEABOVE", (0, 0), (-1, 0), width, RULE)]


def _padding(beside: float, above: float) -> list[Any]:
    sides = {"LEFT": beside, "RIGHT": beside, "TOP": above, "BOTTOM": above}
    return [(f"{side}PADDING", (0, 0), (-1, -1), points) for side, points in sides.items()]


def _height(parts: Sequence[Flowable]) -> float:
    """Of parts below each other, points."""
    return sum(float(part.wrap(_INNER, _HEIGHT)[1] + part.getSpaceBefore() + part.getSpaceAfter()) for part in parts)


def _paragraphs(text: str, style: ParagraphStyle, *, bold: bool = False) -> list[Paragraph]:
    """A text, a paragraph for each of its lines; none for an empty text."""
    lines = (markup(" ".join(line.split("\t"))) for line in text.splitlines() if line.strip())
    return [Paragraph(f"<b>{line}</b>" if bold else line, style) for line in lines]
