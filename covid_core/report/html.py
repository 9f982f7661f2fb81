"""The report of a model as one HTML file: it opens from a disk, offline, and asks no other host for anything.

Styles, scripts, charts and tables stand in the file. What comes from data is text wherever it stands, and the file's own policy
lets only its own two scripts run and forbids every connection.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from plotly.offline import get_plotlyjs

from covid_core.errors import EvaluationError
from covid_core.files import written_aside
from covid_core.report.csv_tables import check_names, csv_of, named_tables
from covid_core.report.document import Chapter, Chart, Command, Item, Report, Table, Words
from covid_core.text import RESEARCH_ONLY

_ASSETS = Path(__file__).parent / "assets"
_HIDDEN_BYTES = "backslashreplace"  # half a character, as names of files may have, cannot be written as UTF-8
# Plotly reads these tags in every text, and links, which would lead out of the file.
_NO_CHART_TAG = re.compile(r"<(?!/?(?:b|i|em|sub|sup|extra)>|br ?/?>)", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d[\d.,]*%?", re.ASCII)
_ONE_LINE = 40  # characters that a cell with figures may have without a break
_SHORT = 24  # characters of a text that reads well in a narrow column


def report_html(report: Report) -> str:
    """Lay a report out as one HTML file, to be saved as UTF-8; ValueError as of `check_names`.

    It follows the reader's light or dark setting, fits a telephone and A4 paper, and gives every table as CSV and every chart
    as PNG and SVG without a server.
    """
    tables = named_tables(report)
    charts = [chart for chapter in report.chapters for chart in chapter.charts()]
    check_names([chart.name for chart in charts])
    check_names([chapter.name for chapter in report.chapters])
    research_only = f'<p class="research">{_text(RESEARCH_ONLY)}</p>'
    plotly, own = _inline(get_plotlyjs()), _inline(_asset("report.js"))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(plotly, own)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{_text(report.title)}</title>
<style>{_asset("report.css")}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the report</a>
{research_only}
<div class="sheet">
<header>
<h1>{_text(report.title)}</h1>
<p class="headline">{_text(report.headline)}</p>
{_head_figures(report.figures)}
<p class="remark">{_text(report.subtitle)}</p>
</header>
{_contents(report.chapters)}
<main id="content">
<noscript><p class="caution">The charts and the buttons need JavaScript. Under each chart stands what it shows.</p></noscript>
{_joined(_chapter(chapter) for chapter in report.chapters)}
</main>
</div>
<footer>
{research_only}
</footer>
<script type="application/json" id="report-data">{_data(tables, charts)}</script>
<script>{plotly}</script>
<script>{own}</script>
</body>
</html>
"""


def write_report(report: Report, path: Path) -> None:
    """Write a report to a file that ends in `.html` (else EvaluationError), once it is complete; a former one is replaced."""
    if path.suffix.lower() != ".html":
        raise EvaluationError(f"A report is written as .html; a browser prints it to PDF. Received: {path.name!r}")
    with written_aside(path) as aside:
        aside.write_bytes(report_html(report).encode())


def _chapter(chapter: Chapter) -> str:
    return f"""<section class="chapter" id="chapter-{chapter.name}" aria-labelledby="title-{chapter.name}">
<h2 id="title-{chapter.name}">{_text(chapter.title)}</h2>
{_joined(_item(item) for item in chapter.items)}
</section>"""


def _item(item: Item) -> str:
    match item:
        case Words():
            return f'<p class="{item.tone}">{_text(item.text)}</p>'
        case Command():
            return f'<pre class="command" tabindex="0"><code>{_text(item.text)}</code></pre>'
        case Table():
            return _table(item)
        case Chart():
            return _chart(item)


def _chart(chart: Chart) -> str:
    alt = _text(chart.alt)
    height = int(chart.figure.layout.height or 400)  # kept free, so that nothing moves while the charts are drawn
    return f"""<section class="item" aria-labelledby="of-chart-{chart.name}">
<div class="head"><h3 id="of-chart-{chart.name}">{_text(chart.title)}</h3>
<div class="buttons">{_button("png", chart)}{_button("svg", chart)}</div></div>
<div class="chart" id="chart-{chart.name}" role="img" aria-label="{alt}" style="min-height: {height}px"></div>
<noscript><p>{alt}</p></noscript>
{_note(chart.note)}</section>"""


def _table(table: Table) -> str:
    title = f'<h3 id="of-table-{table.name}">{_text(table.title)}</h3>'
    buttons = f'<div class="buttons">{_button("csv", table)}</div>'
    rows = f"""<div class="scroll" role="group" tabindex="0" aria-labelledby="of-table-{table.name}">
{_rows(table.table)}</div>
{_note(table.note)}"""
    start = f'<section class="item" id="table-{table.name}" aria-labelledby="of-table-{table.name}">'
    if table.folded:
        return f"{start}\n<details><summary>{title}</summary>\n{buttons}\n{rows}</details></section>"
    return f'{start}\n<div class="head">{title}\n{buttons}</div>\n{rows}</section>'


def _rows(table: pd.DataFrame) -> str:
    """The cells, the first of each row as its name, numbers to the right."""
    kinds = [_kind(table.iloc[:, place]) for place in range(table.shape[1])]
    head = _joined(f"<th scope='col'{kind}>{_text(name)}</th>" for name, kind in zip(table.columns, kinds, strict=True))
    body = _joined(
        f"<tr><th scope='row'{kinds[0]}>{_text(name)}</th>"
        + "".join(f"<td{kind}>{_text(value)}</td>" for value, kind in zip(values, kinds[1:], strict=True))
        + "</tr>"
        for name, *values in table.itertuples(index=False, name=None)
    )
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _kind(column: "pd.Series[Any]") -> str:
    """How a column is set: numbers to the right, short cells with figures in one line, long texts wide enough to read."""
    cells = [str(cell) for cell in column if str(cell)]
    if cells and all(_NUMBER.fullmatch(cell) for cell in cells):
        return " class='number'"
    if cells and all(_NUMBER.match(cell) and len(cell) < _ONE_LINE for cell in cells):
        return " class='figure'"
    return " class='prose'" if any(len(cell) > _SHORT for cell in cells) else ""


def _button(kind: str, of: Table | Chart) -> str:
    """A button that saves a table or a chart; `report.js` knows what from its attributes."""
    label = _text(f"{kind.upper()}: {of.title}")
    return (
        f'<button type="button" data-kind="{kind}" data-name="{of.name}" aria-label="{label}">{kind.upper()}</button>'
    )


def _head_figures(figures: Sequence[tuple[str, str, str]]) -> str:
    cards = _joined(
        f'<div><dt>{_text(title)}</dt><dd class="value">{_text(value)}</dd><dd>{_text(interval)}</dd></div>'
        for title, value, interval in figures
    )
    return f'<dl class="figures">\n{cards}\n</dl>'


def _contents(chapters: Sequence[Chapter]) -> str:
    links = _joined(f'<li><a href="#chapter-{one.name}">{_text(one.title)}</a></li>' for one in chapters)
    return f'<nav class="contents" aria-label="Contents">\n<ol>\n{links}\n</ol>\n</nav>'


def _note(note: str) -> str:
    return f'<p class="remark">{_text(note)}</p>\n' if note else ""


def _data(tables: Sequence[Table], charts: Sequence[Chart]) -> str:
    """What the buttons save and the charts draw, as JSON that cannot end the script it stands in.

    Source: the HTML standard, restrictions for contents of script elements; json escapes everything beyond ASCII by itself.
    """
    content = {
        "tables": {table.name: csv_of(table.table) for table in tables},
        "charts": {chart.name: _harmless(json.loads(chart.figure.to_json())) for chart in charts},
    }
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _harmless(value: Any) -> Any:
    """The texts of a figure without tags other than for bold, breaks and the like: Plotly would make links of them."""
    if isinstance(value, str):
        return _NO_CHART_TAG.sub("&lt;", value)
    if isinstance(value, list):
        return [_harmless(one) for one in value]
    return {key: _harmless(one) for key, one in value.items()} if isinstance(value, dict) else value


def _policy(*scripts: str) -> str:
    """A Content-Security-Policy: these scripts alone run, and nothing is fetched or sent.

    Plotly sets styles on what it draws, and makes its pictures by way of a data or blob address.
    """
    hashes = " ".join(f"'sha256-{b64encode(sha256(one.encode()).digest()).decode()}'" for one in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src 'none'; form-action 'none'; base-uri 'none'"
    )


def _inline(script: str) -> str:
    """A script as it stands in the file; a parser reads every line end as a newline, and the policy's hash is taken of that."""
    if re.search(r"</script|<!--", script, re.IGNORECASE):
        raise ValueError("A script to be inlined must contain neither `</script` nor `<!--`.")
    return script.replace("\r\n", "\n").replace("\r", "\n")


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _text(value: object) -> str:
    """Anything as text of HTML, also between quotation marks."""
    return escape(str(value).encode("utf-8", errors=_HIDDEN_BYTES).decode("utf-8"), quote=True)


def _joined(parts: Iterable[str]) -> str:
    return "\n".join(parts)
