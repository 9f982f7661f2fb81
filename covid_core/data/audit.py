"""The audit of a collection: everything that makes its table or its images misleading, each with its rows.

    python -m covid_core audit --collection data/covid-chestxray-dataset

Puts the checks in order: those of the files (`audit_files`), of the table (`audit_table`), and of what predicts the class
without a pixel (`audit_prediction`). It changes nothing and writes nothing.
"""

from pathlib import Path

import pandas as pd

from covid_core.data.audit_files import FilePair, audit_files
from covid_core.data.audit_finding import SEVERITIES, Audit, Finding, Say, Severity
from covid_core.data.audit_prediction import prediction_findings
from covid_core.data.audit_table import table_findings
from covid_core.data.cohort import CohortRules, ambiguous_rows, select_cohort
from covid_core.data.duplicates import FingerprintFiles, Progress, fingerprint_files
from covid_core.data.metadata import read_metadata, unreadable_numbers
from covid_core.locations import IMAGES_NAME, METADATA_NAME

__all__ = ["SEVERITIES", "Audit", "Finding", "Severity", "audit_dataset"]


def audit_dataset(
    collection: Path | None,
    *,
    table_only: bool = False,
    progress: Progress | None = None,
    table: pd.DataFrame | None = None,
    fingerprints: FingerprintFiles = fingerprint_files,
    say: Say = lambda _: None,
) -> Audit:
    """Audit a collection; its images are read once.

    Args:
        collection: the folder with `metadata.csv` and `images/`; None for a table without a folder, which is audited alone.
        table_only: look at no image. Otherwise a collection without a single one is an error: to pass over its files in silence
            would let a pipeline go on with nothing.
        progress: called with (done, total) after each file that was read. What it raises ends the audit.
        table: what `read_metadata` gave, if it was read already.
        fingerprints: reads the files; that of an image cache is quicker the next time.
        say: called with what is done next, in words, before each step that takes time. What it raises ends the audit.

    Returns:
        One finding a check, in a fixed order.

    Raises:
        DatasetError: `metadata.csv` is missing or no such table.
        ValueError: neither a folder nor a table is given.
    """
    if table is None:
        if collection is None:
            raise ValueError("An audit needs a folder or a table. Received neither.")
        table = read_metadata(collection / METADATA_NAME)
    unreadable = unreadable_numbers(table)
    table = table.reset_index(drop=True)
    table.attrs = {}  # the rows of the findings are made of this table, and need not carry what is already told
    images_dir = None if collection is None or table_only else collection / IMAGES_NAME
    files = audit_files(table, images_dir, progress, say, fingerprints)
    say("Reading the table")
    films = _films(table, images_dir if files.any_present else None)
    cohort = films[~ambiguous_rows(films, table)]
    findings = (
        *files.findings,
        *table_findings(table, films, unreadable),
        *prediction_findings(cohort, _within(cohort, files.pairs), say),
    )
    return Audit(findings, len(table), int(table["patientid"].nunique()))


def _films(table: pd.DataFrame, images_dir: Path | None) -> pd.DataFrame:
    """The labelled frontal X-rays whose file is there, or all for None, with their own labels, on the index of the table."""
    return table.loc[select_cohort(table, images_dir, CohortRules(ambiguous="non_covid")).table.index]


def _within(cohort: pd.DataFrame, pairs: tuple[FilePair, ...]) -> list[tuple[int, int]]:
    """The pairs of which both are in a cohort, as positions in it."""
    position = {row: number for number, row in enumerate(cohort.index)}
    return [(position[a], position[b]) for a, b, _ in pairs if a in position and b in position]
