import io
import re
import time
from collections.abc import Iterator

import pandas as pd
import pypdf
import pytest

from covid_core import figures
from covid_core.card_text import RESEARCH_ONLY
from covid_core.inference.bundle import load_bundle
from covid_core.locations import model_names, models_dir
from covid_core.model_report.content import Chapter, Chart, Command, Item, Report, Table, Words
from covid_core.model_report.pdf import report_pdf
from covid_core.model_report.record import read_record
from covid_core.model_report.whole import asked_by_default, whole_report

CONFUSION = figures.confusion([[17, 2], [17, 18]])
SMALL = pd.DataFrame({"Figure": ["Sensitivity", "Specificity"], "Value": ["0.51", "0.89"]})
HOSTILE = "<b>胸部X線</b> <para> &amp; &nbsp; \ud800 \x00 \u202e ]]> مريض " + "W" * 400
HEAD = {
    "title": "Model report: tiny",
    "subtitle": "Version 7, evaluated 2026-01-02.",
    "headline": "It finds 18 of 35.",
    "figures": (("Sensitivity", "0.51", "95% CI 0.34 to 0.69"), ("Specificity", "0.89", "no interval")),
}


def report(*items: Item, **head: object) -> Report:
    return Report(**(HEAD | head), chapters=(Chapter("first", "First chapter", items), Chapter("empty", "Nothing", ())))


def table(frame: pd.DataFrame, note: str = "") -> Table:
    return Table("some-table", "The table", frame, note)


def read(made: Report) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(report_pdf(made)), strict=True)


def text(made: Report) -> str:
    """Without the foot of the pages, and without blanks: a cell is broken over lines."""
    pages = [page.extract_text() for page in read(made).pages]
    return without_blanks(
        " ".join(re.sub(rf"{re.escape(RESEARCH_ONLY)}.*?Page \d+", "", page, flags=re.DOTALL) for page in pages)
    )


def without_blanks(words: str) -> str:
    return "".join(words.split())


def outline(reader: pypdf.PdfReader) -> list[object]:
    def titles(entries: list[object]) -> Iterator[object]:
        for entry in entries:
            yield list(titles(entry)) if isinstance(entry, list) else str(entry["/Title"])  # type: ignore[index]

    return list(titles(reader.outline))


FULL = report(
    Words("What is read first."),
    Words("What stands out.", "caution"),
    Words("What is small.", "remark"),
    Command("python -m covid_core evaluate --model tiny"),
    Chart("matrix", "The matrix", CONFUSION, "Seventeen.", "How to read the matrix."),
    table(SMALL, "How to read the table."),
)


def test_the_report_holds_its_head_and_every_item() -> None:
    found = text(FULL)
    said = [
        *(HEAD["title"], HEAD["subtitle"], HEAD["headline"]),
        *(part for figure in HEAD["figures"] for part in figure),
        *("What is read first.", "What stands out.", "What is small.", "python -m covid_core evaluate --model tiny"),
        *("The matrix", "How to read the matrix.", "The table", "How to read the table."),
        *("Figure", "Value", "Sensitivity", "0.51", "Specificity", "0.89"),
    ]
    assert [words for words in said if without_blanks(str(words)) not in found] == []


def test_the_chart_is_drawn_with_its_texts() -> None:
    page = text(report(Chart("matrix", "The matrix", CONFUSION, "Seventeen.")))
    assert without_blanks("Called (films)") in page
    assert list(read(FULL).pages[0].images) == []  # lines and letters, no pixels


def test_the_outline_leads_to_chapters_charts_and_tables() -> None:
    reader = read(FULL)
    assert outline(reader) == ["First chapter", ["The matrix", "The table"], "Nothing"]
    assert reader.get_destination_page_number(reader.outline[0]) == 0


def test_the_metadata_hold_the_title_alone() -> None:
    assert read(FULL).metadata == {"/Title": "Model report: tiny"}


def test_the_same_report_gives_the_same_bytes() -> None:
    assert report_pdf(FULL) == report_pdf(FULL)


def test_every_page_says_that_it_is_for_research_only_and_has_its_number() -> None:
    reader = read(report(*(Words("One more sentence. " * 60) for _ in range(20))))
    assert len(reader.pages) > 2
    for number, page in enumerate(reader.pages, start=1):
        assert RESEARCH_ONLY in page.extract_text()
        assert f"Page {number}" in page.extract_text()


def test_a_long_table_repeats_its_head_on_every_page() -> None:
    frame = pd.DataFrame({"Name of the film": [f"film-{number:03}" for number in range(200)], "Value": "0.5"})
    reader = read(report(table(frame)))
    pages = [page.extract_text() for page in reader.pages]
    assert len([page for page in pages if "film-" in page]) > 2
    assert all("Name of the film" in page for page in pages if "film-" in page)
    assert [name for name in frame["Name of the film"] if name not in "".join(pages)] == []


def test_a_table_far_too_wide_is_complete_and_names_its_rows_in_every_part() -> None:
    frame = pd.DataFrame({f"column{column:02}": [f"cell{row}.{column:02}" for row in range(3)] for column in range(40)})
    found = text(report(table(frame)))
    cells = [*frame.columns, *frame.to_numpy().ravel()]
    assert [cell for cell in cells if cell not in found] == []
    assert found.count("cell2.00") > 1


def test_nothing_of_a_table_stands_beyond_the_page() -> None:
    frame = pd.DataFrame({f"column {column}": ["a" * 70, "two words"] for column in range(9)})
    places: list[tuple[float, float]] = []
    for page in read(report(table(frame))).pages:
        page.extract_text(visitor_text=lambda text, _, matrix, *__: places.append((matrix[4], len(text))))
    assert max(across for across, _ in places) < 595.28 - 40


def test_a_cell_higher_than_a_page_is_split_and_complete() -> None:
    words = [f"word{number}" for number in range(4000)]
    found = text(report(table(pd.DataFrame({"Setting": ["recipe"], "Value": [" ".join(words)]}))))
    assert [word for word in words if word not in found] == []


@pytest.mark.parametrize(
    "frame", [pd.DataFrame({"Figure": [], "Value": []}), pd.DataFrame()], ids=["no rows", "nothing"]
)
def test_a_table_without_rows_says_so(frame: pd.DataFrame) -> None:
    found = text(report(table(frame)))
    assert [name for name in frame.columns if name not in found] == []
    assert "Norows." in found


def test_columns_and_rows_of_one_name_are_all_shown() -> None:
    found = text(report(table(pd.DataFrame([["a", "b1"], ["a", "b2"]], columns=["same", "same"]))))
    assert found.count("same") == 2
    assert "b1" in found
    assert "b2" in found


@pytest.mark.parametrize("words", [HOSTILE, "", " \n\t", "line one\nline two", "x" * 6_000])
def test_no_text_makes_it_fail(words: str) -> None:
    columns = pd.Index([words, "Value"], dtype=object)  # as text, pandas would refuse half a surrogate
    frame = pd.DataFrame([[words, "0.5"], ["plain", words]], columns=columns, dtype=object)
    made = report(
        *(Words(words, tone) for tone in ("plain", "caution", "remark")),
        Command(words),
        Chart("chart", words, CONFUSION, words, words),
        Table("table", words, frame, words),
        title=words,
        subtitle=words,
        headline=words,
        figures=((words, words, words),),
    )
    assert all(RESEARCH_ONLY in page.extract_text() for page in read(made).pages)


def test_letters_that_the_font_lacks_become_their_code_points() -> None:
    assert "[U+80F8]" in text(report(Words("胸"), Command("胸"), table(pd.DataFrame({"Name": ["胸"]}))))


def test_text_that_looks_like_markup_stands_as_it_is() -> None:
    assert without_blanks("<b>bold</b> & <br/>") in text(report(Words("<b>bold</b> & <br/>")))


@pytest.mark.skipif(not model_names(), reason="no bundle is committed here")
def test_the_report_of_the_models_here_is_whole_within_three_seconds() -> None:
    record, *others = [read_record(load_bundle(models_dir() / name)) for name in model_names()]
    made = whole_report(asked_by_default(record, tuple(others)))
    start = time.perf_counter()
    reader = pypdf.PdfReader(io.BytesIO(report_pdf(made)))
    assert time.perf_counter() - start < 3
    found = without_blanks(" ".join(page.extract_text() for page in reader.pages))
    said = [chapter.title for chapter in made.chapters]
    for chapter in made.chapters:
        for item in chapter.items:
            said += [item.text] if isinstance(item, Words | Command) else [item.title]
            said += [*item.table.columns] if isinstance(item, Table) else []
            # A cell may be broken by the foot of a page or by the cell beside it: its words are looked for one by one.
            said += (
                [word for cell in item.table.to_numpy().ravel() for word in cell.split()]
                if isinstance(item, Table)
                else []
            )
    missing = {one for one in said if len(one) < 25 and without_blanks(one) not in found}
    assert missing == set()
    assert "Notdrawnhere" not in found


def test_a_chart_higher_than_a_page_is_on_one_page() -> None:
    rows = [figures.ForestRow("Source", f"group {number:03}", 0.5, 0.4, 0.6, 12, few=False) for number in range(90)]
    chart = Chart("forest", "All groups", figures.forest(rows, "Share", 0.5), "Groups.", "How to read it.")
    (page,) = [page.extract_text() for page in read(report(chart)).pages if "group 0" in page.extract_text()]
    assert "All groups" in page
    assert "How to read it." in page
    assert "group 089" in page


def test_a_chapter_does_not_open_at_the_foot_of_a_page_without_its_chart() -> None:
    chart = Chart("matrix", "The matrix", CONFUSION, "Seventeen.")
    for filling in range(20, 36):
        words = tuple(Words("Filling.") for _ in range(filling))
        made = Report(
            **HEAD, chapters=(Chapter("a", "Before", words), Chapter("b", "Opened here", (Words("So."), chart)))
        )
        (page,) = [page.extract_text() for page in read(made).pages if "Opened here" in page.extract_text()]
        assert "The matrix" in page
