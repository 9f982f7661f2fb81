"""What others have published: the tables of the system that this one reimplements, and the headline figures of the field.

Knows the printed figures, what they were measured on and the schema of `covid_core.evaluation.report`; it measures nothing.
Of the original it shows by arithmetic that its two class names were exchanged, and what it found once they are put right.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import pandas as pd

from covid_core.evaluation import metrics
from covid_core.evaluation.metrics import ClassScores
from covid_core.evaluation.summary import described, films_in_words
from covid_core.labels import COVID, NON_COVID

Matrix = tuple[tuple[int, int], tuple[int, int]]
"""Counts ((TN, FP), (FN, TP)): rows reference standard, columns call, in class order."""

_HALF_A_HUNDREDTH = 0.005 + 1e-9
"""How far a share may lie from its two printed digits; a half may have been rounded up or to even."""


@dataclass(frozen=True)
class ReportedRow:
    """A row of a printed classification report; shares in [0, 1] with two digits."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class ReportedTable:
    """A printed classification report.

    Attributes:
        when: at what point of the training it was measured.
        non_covid: the row printed as `non_covid`.
        covid: the row printed as `covid`.
    """

    when: str
    non_covid: ReportedRow
    covid: ReportedRow

    def swapped(self) -> "ReportedTable":
        """The same with the two class names exchanged."""
        return replace(self, non_covid=self.covid, covid=self.non_covid)


@dataclass(frozen=True)
class Supports:
    """How many test films there are of each class, at least one of each."""

    non_covid: int
    covid: int


@dataclass(frozen=True)
class Published:
    """A headline figure of another system.

    Attributes:
        model: its name.
        citation: first author, journal, year.
        doi: of the paper.
        tested_on: the films.
        reference_standard: what said which films show COVID-19.
        figure: as published.
        comparable: whether it may be held against ours, and why.
    """

    model: str
    citation: str
    doi: str
    tested_on: str
    reference_standard: str
    figure: str
    comparable: str


BEFORE = ReportedTable(
    "before fine-tuning", non_covid=ReportedRow(0.95, 0.51, 0.67), covid=ReportedRow(0.51, 0.95, 0.67)
)
AFTER = ReportedTable("after fine-tuning", non_covid=ReportedRow(0.90, 0.51, 0.65), covid=ReportedRow(0.50, 0.89, 0.64))
"""The original's tables, row and figures as printed."""
ORIGINAL_FILMS = Supports(non_covid=19, covid=35)
"""The original's test films, counted as files."""

FIELD = (
    Published(
        model="Deep-COVID",
        citation="Minaee et al., Medical Image Analysis 2020",
        doi="10.1016/j.media.2020.101794",
        tested_on="COVID-Xray-5k: 3,100 test films, 100 of them with COVID-19",
        reference_standard=(
            "COVID-19: the finding given by the collection, and only films on which a radiologist saw clear signs. "
            "Others: films of CheXpert."
        ),
        figure="sensitivity 98% at a specificity of about 90%",
        comparable=(
            "No. Its COVID-19 films come from the collection that the models shipped here were trained on, all its "
            "other films from CheXpert, so whoever recognises the publisher knows the class. COVID-19 films without "
            "clear signs were left out as well, which makes the task easier."
        ),
    ),
    Published(
        model="COVID-Net CXR-2",
        citation="Pavlova et al., Frontiers in Medicine 2022",
        doi="10.3389/fmed.2022.861680",
        tested_on="COVIDx 8B: 400 test films, 200 of them with COVID-19",
        reference_standard=(
            "COVID-19: patients diagnosed with it, of the RICORD collection. Others: films of the RSNA pneumonia challenge."
        ),
        figure="sensitivity 95.5%, positive predictive value 97.0%",
        comparable=(
            "No. In its test list every COVID-19 film is from RICORD and every other film from the RSNA challenge, so "
            "whoever recognises the publisher knows the class. The predictive value holds only where half of the films "
            "show COVID-19."
        ),
    ),
    Published(
        model="DeepCOVID-XR",
        citation="Wehbe et al., Radiology 2021",
        doi="10.1148/radiol.2020203511",
        tested_on="2,214 films of one hospital that was held out, 1,192 of them with COVID-19",
        reference_standard="RT-PCR for both classes",
        figure="ROC AUC 0.90",
        comparable=(
            "In kind, not in number. Both classes come from one hospital that the model had never seen, which is the "
            "test to aim at; hold it against our ROC AUC within a source. Its films and its share of COVID-19 are "
            "others than ours, and it was developed on 14,788 films."
        ),
    ),
    Published(
        model="CAD4COVID-XRay",
        citation="Murphy et al., Radiology 2020",
        doi="10.1148/radiol.2020201874",
        tested_on="454 films of patients suspected of COVID-19 at one hospital, in sequence, 223 of them with COVID-19",
        reference_standard="RT-PCR for both classes",
        figure="ROC AUC 0.81",
        comparable=(
            "In kind, not in number. Both classes are patients suspected of COVID-19 at one hospital, so the publisher "
            "tells nothing; hold it against our ROC AUC within a source. Six readers did about as well on the same "
            "films, which shows how hard the question is."
        ),
    ),
)
"""Facts and figures as in the papers' abstracts and in the public lists of their test films."""


@cache
def consistent_matrices(rows: ReportedTable, supports: Supports) -> tuple[Matrix, ...]:
    """Every confusion matrix of whole films that gives all six printed figures, out of all there are.

    A recall fixes the films found of its class up to rounding, so the search goes over all counts of both classes.

    Args:
        rows: the printed figures.
        supports: films of each class by the reference standard.

    Returns:
        The matrices; empty where the figures cannot be those of such films.

    Raises:
        ValueError: a class has no film.
    """
    if min(supports.non_covid, supports.covid) < 1:
        raise ValueError(f"Each class must have a film. Received: {supports}")
    right = product(
        _counts_with_recall(rows.non_covid.recall, supports.non_covid),
        _counts_with_recall(rows.covid.recall, supports.covid),
    )
    candidates = (((tn, supports.non_covid - tn), (supports.covid - tp, tp)) for tn, tp in right)
    return tuple(matrix for matrix in candidates if _gives(matrix, rows))


def false_alarms_needed(row: ReportedRow, films: int) -> int:
    """How many false alarms a precision and a recall amount to: FP = TP (1 - precision) / precision.

    Args:
        row: of the class in question; its precision above 0.
        films: of that class.
    """
    found = _found(row, films)
    return round(found * (1 - row.precision) / row.precision)


def swapped_back(table: ReportedTable) -> Matrix:
    """What the original found on its films, once the class names of a table are exchanged.

    Raises:
        ValueError: the table does not determine it.
    """
    found = consistent_matrices(table.swapped(), ORIGINAL_FILMS)
    if len(found) != 1:
        raise ValueError(f"The table must fit one matrix. Received: {len(found)} for {table.when}")
    return found[0]


def original_figures(table: ReportedTable = AFTER) -> dict[str, float]:
    """The original's `sensitivity`, `specificity` and `balanced_accuracy`, in [0, 1], its class names put right."""
    (tn, fp), (fn, tp) = swapped_back(table)
    sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "balanced_accuracy": (sensitivity + specificity) / 2,
    }


def original_in_words(table: ReportedTable = AFTER) -> str:
    """What the original found, its class names put right: `18 of 35 covid films and 17 of 19 others`."""
    (tn, fp), (fn, tp) = swapped_back(table)
    return f"{tp} of {tp + fn} covid films and {tn} of {tn + fp} others"


def swap_argument() -> str:
    """Why the original's class names must have been exchanged, in four sentences made of its figures."""
    row, films = BEFORE.covid, ORIGINAL_FILMS
    return (
        f"{BEFORE.when.capitalize()} the original reported a recall of {row.recall:.2f} and a precision of {row.precision:.2f} "
        f"for COVID-19. Its test files were {films.covid} films with COVID-19 and {films.non_covid} others: to find about "
        f"{_found(row, films.covid)} of the {films.covid} at that precision takes about {false_alarms_needed(row, films.covid)} "
        f"false alarms, and there were only {films.non_covid} films to raise one on. {_search_in_words()} "
        f"So its true sensitivity was {_sensitivity(BEFORE)} {BEFORE.when} and {_sensitivity(AFTER)} after it, "
        f"its specificity {_specificity(BEFORE)} and {_specificity(AFTER)}."
    )


def original_table() -> pd.DataFrame:
    """The original's rows as printed and what they mean once the class names are put right; text in every cell."""
    return pd.DataFrame(
        [
            {
                "Row as printed": f"{name}, {table.when}",
                "Precision": f"{row.precision:.2f}",
                "Recall": f"{row.recall:.2f}",
                "F1": f"{row.f1:.2f}",
                "What it means": meaning,
            }
            for table in (BEFORE, AFTER)
            for name, row, meaning in (
                (COVID, table.covid, f"not COVID-19: specificity {_specificity(table)}"),
                (NON_COVID, table.non_covid, f"COVID-19: sensitivity {_sensitivity(table)}"),
            )
        ]
    )


def published_table(evaluation: Mapping[str, Any]) -> pd.DataFrame:
    """Our figures with their intervals above those of the field; text in every cell.

    Args:
        evaluation: as of `report.evaluate`.

    Returns:
        Columns `Model`, `Tested on`, `Reference standard`, `Figure`, `Comparable?`, ours first.
    """
    others = [
        {
            "Model": f"{one.model} ({one.citation}, doi:{one.doi})",
            "Tested on": one.tested_on,
            "Reference standard": one.reference_standard,
            "Figure": one.figure,
            "Comparable?": one.comparable,
        }
        for one in FIELD
    ]
    return pd.DataFrame([_ours(evaluation), *others])


def _ours(evaluation: Mapping[str, Any]) -> dict[str, str]:
    found = evaluation["metrics"]
    titles = {
        "sensitivity": "sensitivity",
        "specificity": "specificity",
        "within_source_auc": "ROC AUC within a source",
    }
    return {
        "Model": f"{evaluation['model']} (this model)",
        "Tested on": films_in_words(evaluation),
        "Reference standard": "the finding given by the source of the film; not every case is confirmed by RT-PCR",
        "Figure": "; ".join(f"{title} {described(found[name])}" for name, title in titles.items()),
        "Comparable?": (
            "The row to compare with. Within a source, films of one publisher are compared with each other only, so that "
            "recognising the publisher earns nothing."
        ),
    }


def _found(row: ReportedRow, films: int) -> int:
    return round(row.recall * films)


def _counts_with_recall(recall: float, films: int) -> list[int]:
    return [count for count in range(films + 1) if _reads(count / films, recall)]


def _gives(matrix: Matrix, rows: ReportedTable) -> bool:
    report = metrics.classification_report(matrix)
    return _row_reads(report[NON_COVID], rows.non_covid) and _row_reads(report[COVID], rows.covid)


def _row_reads(scores: ClassScores, row: ReportedRow) -> bool:
    return _reads(scores.precision, row.precision) and _reads(scores.recall, row.recall) and _reads(scores.f1, row.f1)


def _reads(share: float | None, printed: float) -> bool:
    """Whether a share is printed so with two digits; an undefined one is never printed."""
    return share is not None and abs(share - printed) <= _HALF_A_HUNDREDTH


def _search_in_words() -> str:
    """How many confusion matrices of the original's films give its two tables, as printed and with the names exchanged."""
    tables = (BEFORE, AFTER)
    printed = sum(len(consistent_matrices(table, ORIGINAL_FILMS)) for table in tables)
    exchanged = [len(consistent_matrices(table.swapped(), ORIGINAL_FILMS)) for table in tables]
    return (
        f"Of all ways to call these films, {printed or 'none'} gives either of its two tables as printed; with the two "
        f"class names exchanged, {_ways(exchanged[0])} the first table and {_ways(exchanged[1])} the second."
    )


def _ways(count: int) -> str:
    return {0: "none gives", 1: "exactly one confusion matrix gives"}.get(count, f"{count} confusion matrices give")


def _sensitivity(table: ReportedTable) -> str:
    (_, _), (fn, tp) = swapped_back(table)
    return f"{tp / (tp + fn):.2f} ({tp} of {tp + fn} films)"


def _specificity(table: ReportedTable) -> str:
    (tn, fp), (_, _) = swapped_back(table)
    return f"{tn / (tn + fp):.2f} ({tn} of {tn + fp} films)"
