"""The file is read back with the parser of the standard library."""

import json
from html.parser import HTMLParser

import pandas as pd
import plotly.graph_objects as go
import pytest

from covid_core.report.document import Chapter, Chart, Command, Report, Table, Words
from covid_core.report.html import report_html
from covid_core.text import RESEARCH_ONLY

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=https://example.org/x onerror=alert(2)>",
    '" onclick="alert(3)" \'',
    "<!--<script>",
    "=cmd|'/C calc'!A0",
    "\u2028&lt;b",
)
ADDRESSES = {"src", "href", "srcset", "action", "formaction", "data", "poster", "background", "xlink:href", "ping"}


class Reader(HTMLParser):
    """Elements with their attributes, the text outside of scripts and styles, and the scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002, the name is the parser's
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside == "style":
            self.styles.append(data)
        else:
            self.words.append(data)

    def shape(self) -> list[tuple[str, set[str]]]:
        """The elements and the names of their attributes; a class only says how wide the text of a column is."""
        return [(tag, set(attributes) - {"class"}) for tag, attributes in self.elements]

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def report_saying(text: str) -> Report:
    """A report with a text wherever one can stand."""
    figure = go.Figure(go.Bar(x=[text], y=[1], name=text, hovertemplate=text), {"title": {"text": text}})
    items = (
        *(Words(text), Words(text, "caution"), Words(text, "remark"), Command(text)),
        Chart("bars", text, figure, alt=text, note=text),
        Table("films", text, pd.DataFrame({text: [text], "n": ["3"]}), note=text),
        Table("bins", text, pd.DataFrame({text: [text], "n": ["-0.02"]}), note=text, folded=True),
    )
    return Report(text, text, text, ((text, text, text),), (Chapter("part", text, items),))


@pytest.fixture(scope="module")
def plain() -> Reader:
    return Reader(report_html(report_saying("Sensitivity")))


def test_nothing_refers_to_another_place(plain: Reader) -> None:
    addresses = [value for _, attributes in plain.elements for name, value in attributes.items() if name in ADDRESSES]
    assert addresses
    assert all(address is not None and address.startswith("#") for address in addresses)
    assert not plain.named("link") + plain.named("img") + plain.named("iframe")
    assert not any("url(" in style or "@import" in style for style in plain.styles)


def test_every_link_leads_to_a_place_in_the_file(plain: Reader) -> None:
    places = [attributes["id"] for _, attributes in plain.elements if "id" in attributes]
    assert len(places) == len(set(places))
    assert {str(link["href"])[1:] for link in plain.named("a")} <= set(places)


def test_its_policy_forbids_every_connection(plain: Reader) -> None:
    policy = next(one["content"] for one in plain.named("meta") if one.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))
    assert rules["default-src"] == rules["connect-src"] == rules["form-action"] == "'none'"
    assert all(source.startswith("'sha256-") for source in rules["script-src"].split())
    assert rules["img-src"] == "data: blob:"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_text_and_nothing_else(text: str, plain: Reader) -> None:
    page = Reader(report_html(report_saying(text)))
    assert page.shape() == plain.shape()
    assert page.words.count(text) == plain.words.count("Sensitivity")
    assert page.scripts[1:] == plain.scripts[1:]
    label = next(one["aria-label"] for one in page.named("div") if one.get("id") == "chart-bars")
    assert label == text


def test_half_a_character_can_be_written_all_the_same() -> None:
    report = Report("", "", "", (), (Chapter("part", "Part", (Words("film\udc80"),)),))
    assert "film\\udc80" in report_html(report).encode("utf-8").decode("utf-8")


def test_charts_have_no_links_but_keep_bold_and_breaks() -> None:
    link = '<a href="https://example.org">x</a><br><b>y</b><span style="color:red">'
    chart = json.loads(Reader(report_html(report_saying(link))).scripts[0])["charts"]["bars"]
    assert chart["data"][0]["name"] == (
        '&lt;a href="https://example.org">x&lt;/a><br><b>y</b>&lt;span style="color:red">'
    )


def test_formulas_are_text_in_the_tables_to_take_away() -> None:
    tables = json.loads(Reader(report_html(report_saying("=cmd"))).scripts[0])["tables"]
    assert tables["films"] == "'=cmd,n\r\n'=cmd,3\r\n"
    assert tables["bins"] == "'=cmd,n\r\n'=cmd,-0.02\r\n"


def test_research_only_stands_first_and_last(plain: Reader) -> None:
    words = [word.strip() for word in plain.words if word.strip()]
    assert words.count(RESEARCH_ONLY) == 2
    assert words[-1] == RESEARCH_ONLY
    assert words.index(RESEARCH_ONLY) < words.index("Sensitivity", 1)


def test_headings_leave_no_level_out(plain: Reader) -> None:
    levels = [int(tag[1]) for tag, _ in plain.elements if tag in {"h1", "h2", "h3", "h4"}]
    assert levels == [1, 2, 3, 3, 3]


def test_every_table_and_chart_can_be_taken_away(plain: Reader) -> None:
    buttons = {(one["data-kind"], one["data-name"]) for one in plain.named("button")}
    assert buttons == {("png", "bars"), ("svg", "bars"), ("csv", "films"), ("csv", "bins")}


def test_two_charts_of_one_name_are_an_error() -> None:
    chart = Chart("roc", "ROC", go.Figure(), alt="")
    with pytest.raises(ValueError, match="more than once: roc"):
        report_html(Report("", "", "", (), (Chapter("part", "Part", (chart, chart)),)))
