"""The report of a model: its head, and its chapters one by one or all together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from covid_core.evaluation.summary import interval, verdict
from covid_core.report import performance, provenance, robustness
from covid_core.report.document import Chapter, Item, Report
from covid_core.report.record import Record
from covid_core.report.tables import measured, number
from covid_core.text import card_lines

HEADLINE = {
    "within_source_auc": "AUC within a source",
    "roc_auc": "ROC AUC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
}
"""Metric of an evaluation -> a title short enough for its card, which cuts off what does not fit."""


@dataclass(frozen=True)
class Asked:
    """What a report is made of.

    Attributes:
        record: of the model.
        others: of the models it is compared with.
        threshold: from which an image is called covid, in [0, 1].
        prevalence: the share of COVID-19 among those who are read, in (0, 1).
    """

    record: Record
    others: tuple[Record, ...]
    threshold: float
    prevalence: float


_CHAPTERS: Mapping[str, tuple[str, Callable[[Asked], tuple[Item, ...]]]] = {
    "operating-point": ("Operating point", lambda of: performance.operating_point(of.record, of.threshold)),
    "discrimination": ("Discrimination", lambda of: performance.discrimination(of.record, of.others)),
    "calibration": ("Calibration", lambda of: performance.calibration(of.record)),
    "in-your-clinic": (
        "In your clinic",
        lambda of: performance.in_your_clinic(of.record, of.threshold, of.prevalence),
    ),
    "holding-back": (
        "When it holds back",
        lambda of: tuple(measured(of.record.evaluation, "three_way", "ensemble", "gate")),
    ),
    "shortcuts": ("Lungs or publishers?", lambda of: robustness.shortcuts(of.record)),
    "subgroups": ("For whom?", lambda of: robustness.subgroups(of.record)),
    "failures": ("Where it fails", lambda of: robustness.failures(of.record)),
    "training": ("How it was trained", lambda of: provenance.training(of.record)),
    "cohort": ("Cohort", lambda of: provenance.cohort(of.record)),
    "card": ("Model card", lambda of: provenance.card(of.record)),
}
CHAPTERS: Mapping[str, str] = {name: title for name, (title, _) in _CHAPTERS.items()}
"""Name of a chapter -> its title, in the order they are read."""


def asked_by_default(record: Record, others: tuple[Record, ...] = ()) -> Asked:
    """The model's own operating point, and the share of COVID-19 among the images that it was judged on."""
    return Asked(record, others, record.evaluation["threshold"], default_prevalence(record.evaluation))


def chapter(name: str, asked: Asked) -> Chapter:
    """Make the chapter of this name, one of `CHAPTERS`.

    Raises:
        EvaluationError: the predictions cannot be evaluated.
    """
    title, make = _CHAPTERS[name]
    return Chapter(name, title, make(asked))


def whole_report(asked: Asked) -> Report:
    """Put head and chapters together.

    Raises:
        EvaluationError: the predictions cannot be evaluated.
    """
    evaluation = asked.record.evaluation
    return Report(
        title=f"Model report: {asked.record.name}",
        subtitle=subtitle(asked.record),
        headline=verdict(evaluation),
        figures=tuple((title, *value_and_interval(evaluation["metrics"][name])) for name, title in HEADLINE.items()),
        chapters=tuple(chapter(name, asked) for name in CHAPTERS),
    )


def subtitle(record: Record) -> str:
    """Version, date, the hash of the training data and the intended use."""
    data = record.manifest.get("training", {}).get("dataset", {}).get("split_sha256")
    parts = [f"Version {record.version}", f"evaluated {str(record.evaluation['created'])[:10]}"]
    if data:
        parts.append(f"training data {data[:12]}")
    use = card_lines(record.card.get("Intended use", ""))
    return f"{', '.join(parts)}. {' '.join(use)}".strip()


def default_prevalence(evaluation: Mapping[str, Any]) -> float:
    """The share of COVID-19 among the images judged; one half where they are of one class."""
    share = float(evaluation["counts"]["prevalence"])
    return share if 0 < share < 1 else 0.5


def value_and_interval(metric: Mapping[str, Any]) -> tuple[str, str]:
    """A figure as its card shows it: `0.77` and `0.72 to 0.81 (95%)`."""
    bounds = interval(metric)
    return number(metric["value"]), f"{bounds} (95%)" if bounds else "no interval"
