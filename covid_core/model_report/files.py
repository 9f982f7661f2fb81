"""The report of a model as a file: HTML or PDF, by the ending of its name, written aside and then put in place."""

from pathlib import Path

from covid_core.errors import EvaluationError
from covid_core.model_report.html import report_html
from covid_core.model_report.pdf import report_pdf
from covid_core.model_report.whole import Asked, whole_report
from covid_core.storage import written_aside

ENDINGS = (".html", ".pdf")


def write_report(asked: Asked, path: Path) -> None:
    """Write a report; a former file there is replaced.

    Args:
        asked: what the report is of.
        path: its ending says which kind of file, one of `ENDINGS`.

    Raises:
        EvaluationError: the ending is another, or the predictions cannot be evaluated.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise EvaluationError(f"A report is written as {' or '.join(ENDINGS)}. Received: {path.name!r}")
    report = whole_report(asked)
    content = report_html(report).encode() if ending == ".html" else report_pdf(report)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        aside.write_bytes(content)
