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
class ReportOptions:
    """What a report is made of: a model, the models it is compared with, and the reader's threshold and prevalence."""

    record: Record
    others: tuple[Record, ...]
    threshold: float
    prevalence: float


_CHAPTERS: Mapping[str, tuple[str, Callable[[ReportOptions], tuple[Item, ...]]]] = {
    "operating-point": ("Operating point", lambda of: performance.operating_point(of.record, of.threshold)),
    "discrimination": ("Discrimination", lambda of: performance.discrimination(of.record, of.others)),
    "calibration": ("Calibration", lambda of: performance.calibration(of.record)),
    "in-your-clinic": (
        "In your clinic",
        lambda of: performance.in_your_clinic(of.record, of.threshold, of.prevalence),
    ),
    "holding-back": (
        "Indeterminate results",
        lambda of: tuple(measured(of.record.evaluation, "three_way", "ensemble", "gate")),
    ),
    "shortcuts": ("Shortcut learning", lambda of: robustness.shortcuts(of.record)),
    "subgroups": ("Subgroups", lambda of: robustness.subgroups(of.record)),
    "failures": ("Where it fails", lambda of: robustness.failures(of.record)),
    "training": ("How it was trained", lambda of: provenance.training(of.record)),
    "cohort": ("Cohort", lambda of: provenance.cohort(of.record)),
    "card": ("Model card", lambda of: provenance.card(of.record)),
}
CHAPTERS: Mapping[str, str] = {name: title for name, (title, _) in _CHAPTERS.items()}
"""Name of a chapter -> its title, in the order they are read."""


def default_options(record: Record, others: tuple[Record, ...] = ()) -> ReportOptions:
    """The model's own operating point, and the share of COVID-19 among the images that it was judged on."""
    return ReportOptions(record, others, record.evaluation["threshold"], default_prevalence(record.evaluation))


def chapter(name: str, options: ReportOptions) -> Chapter:
    """Make the chapter of this name, one of `CHAPTERS`."""
    title, make = _CHAPTERS[name]
    return Chapter(name, title, make(options))


def build_report(options: ReportOptions) -> Report:
    """Put head and chapters together."""
    evaluation = options.record.evaluation
    return Report(
        title=f"Model report: {options.record.name}",
        subtitle=subtitle(options.record),
        headline=verdict(evaluation),
        figures=tuple((title, *value_and_interval(evaluation["metrics"][name])) for name, title in HEADLINE.items()),
        chapters=tuple(chapter(name, options) for name in CHAPTERS),
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
