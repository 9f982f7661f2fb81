"""What an audit says: one finding a check, with its severity, its count and the rows it speaks of.

Knows nothing of how anything is found: the checks are in the modules beside it, `covid_core.data.audit` runs them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

Severity = Literal["error", "warning", "notice"]
Metric = Mapping[str, Any]
"""`value`, `lower`, `upper` (each may be None) and `n`, as `covid_core.evaluation` gives them."""
Say = Callable[[str], None]
"""Called with what is done next, in words."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "notice")
"""From the gravest down. Error: a row or a file is wrong. Warning: the data mislead whoever takes no notice of it (`prepare`
does where it can). Notice: good to know."""
ROW_COLUMNS = ("filename", "patientid", "what")


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: a short stable name.
        severity: how grave it is, if the count is not 0.
        count: how many of what the sentence counts; 0 where all is well or nothing could be checked.
        sentence: what was found, as people read it.
        rows: `ROW_COLUMNS`, on the index of the table: the rows it speaks of, and what is the matter with each.
        checked: False where the check could not run; the sentence says why.
        roc_auc: how well the class is told, in [0, 1], by a check that measures it; None for any other.
        within_source_auc: the same among films of one source, None where it was not measured.
    """

    check: str
    severity: Severity
    count: int
    sentence: str
    rows: pd.DataFrame = field(repr=False)
    checked: bool = True
    roc_auc: Metric | None = None
    within_source_auc: Metric | None = None


@dataclass(frozen=True)
class Audit:
    """Everything that an audit found.

    Attributes:
        findings: one a check, in a fixed order, those with nothing to tell among them.
        images: rows of the table.
        patients: patients in it.
    """

    findings: tuple[Finding, ...]
    images: int
    patients: int

    def at_least(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings that count something and are of this severity or graver."""
        grave = SEVERITIES[: SEVERITIES.index(severity) + 1]
        return tuple(finding for finding in self.findings if finding.count and finding.severity in grave)

    def of(self, check: str) -> Finding:
        """The finding of a check.

        Raises:
            KeyError: there is no such check.
        """
        return {finding.check: finding for finding in self.findings}[check]

    def __repr__(self) -> str:
        counts = {finding.check: finding.count for finding in self.findings}
        return f"Audit({self.images} images of {self.patients} patients: {counts})"


def rows_of(table: pd.DataFrame, what: Iterable[tuple[int, str]]) -> pd.DataFrame:
    """The rows that a finding speaks of.

    Args:
        table: with `filename` and `patientid`.
        what: index of a row, and what is the matter with it; a row may come more than once.

    Returns:
        `ROW_COLUMNS`, in the given order, on the index of the table.
    """
    pairs = list(what)
    places = [place for place, _ in pairs]
    texts = pd.Series([text for _, text in pairs], index=places, dtype="str")
    return table.loc[places, ["filename", "patientid"]].assign(what=texts.to_numpy())


def given(table: pd.DataFrame, column: str) -> list[tuple[int, Any]]:
    """Index and value of the rows that give a value in a column."""
    values = table[column].dropna()
    return list(zip(values.index.tolist(), values.tolist(), strict=True))


def not_checked(check: str, why: str) -> Finding:
    """A check that could not run, and why."""
    return Finding(check, "notice", 0, f"Not checked: {why}", rows_of(_NO_TABLE, ()), checked=False)


def printable(text: str) -> str:
    """A table's text without what would steer a terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def counted(count: int, one: str, many: str | None = None) -> str:
    """A count with its word: `1 file`, `2 files`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


_NO_TABLE = pd.DataFrame({"filename": [], "patientid": []}, dtype="str")
