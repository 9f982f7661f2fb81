"""Findings of an audit: one per check, with its severity, its count and the rows that it is about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

Severity = Literal["error", "warning", "notice"]
Metric = Mapping[str, Any]
"""`value`, `lower`, `upper` (each may be None) and `n`, as `covid_core.evaluation` gives them."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "notice")
"""Most severe first. Error: a row or a file is wrong. Warning: the data are misleading unless handled, as `prepare` does where
it can. Notice: good to know."""


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        check: a short stable name; `title` is for people.
        severity: applies if the count is not 0.
        count: of what the sentence counts; 0 where nothing was found or nothing could be checked.
        rows: `filename`, `patientid` and `what`, on the index of the table; a row may occur more than once.
        checked: False where the check could not run; the sentence says why.
        roc_auc, within_source_auc: of a check that predicts the class, over all images and among those of one source.
    """

    check: str
    title: str
    severity: Severity
    count: int
    sentence: str
    rows: pd.DataFrame = field(repr=False)
    checked: bool = True
    roc_auc: Metric | None = None
    within_source_auc: Metric | None = None


@dataclass(frozen=True)
class Audit:
    """All findings of an audit, one per check in a fixed order, and the images and patients of the table."""

    findings: tuple[Finding, ...]
    images: int
    patients: int

    def at_least(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings that count something and have this severity or a higher one."""
        severe = SEVERITIES[: SEVERITIES.index(severity) + 1]
        return tuple(finding for finding in self.findings if finding.count and finding.severity in severe)

    def of(self, check: str) -> Finding:
        """The finding of a check, by its name."""
        return {finding.check: finding for finding in self.findings}[check]
