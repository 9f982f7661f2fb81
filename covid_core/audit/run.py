"""The audit of a collection: everything that makes its table or its images misleading, each with its rows."""

from pathlib import Path

import pandas as pd

from covid_core.audit.checks import CHECKS, AuditInput
from covid_core.audit.files import file_paths, read_files
from covid_core.audit.finding import Audit
from covid_core.audit.prediction import prediction_findings
from covid_core.dataset.cohort import CohortRules, ambiguous_rows, select_cohort
from covid_core.dataset.duplicates import FingerprintFiles, Progress, fingerprint_files
from covid_core.dataset.metadata import read_metadata, unreadable_numbers
from covid_core.paths import IMAGES_NAME, METADATA_NAME


def audit_dataset(
    collection: Path | None,
    *,
    table_only: bool = False,
    progress: Progress | None = None,
    comparing: Progress | None = None,
    table: pd.DataFrame | None = None,
    fingerprints: FingerprintFiles = fingerprint_files,
) -> Audit:
    """Audit a collection; its images are read once, and nothing is written.

    Args:
        collection: the folder with `metadata.csv` and `images/`; None for a table without a folder, which is audited alone.
        table_only: look at no image. Otherwise a collection without a single one is an error, lest a pipeline go on with
            nothing.
        progress: called after each file that was read. What it raises ends the audit.
        comparing: called after each image that was compared with the others. What it raises ends the audit.
        table: of `read_metadata`, if it was read already.
        fingerprints: reads the files; that of an image cache is quicker the next time.

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
    table.attrs = {}  # with the unreadable numbers, which the rows of the findings need not carry
    images_dir = None if collection is None or table_only else collection / IMAGES_NAME
    paths = file_paths(table, images_dir or Path())
    present = {} if images_dir is None else {row: path for row, path in paths.items() if path and path.is_file()}
    files = read_files(table, present, progress, comparing, fingerprints)
    missing = {} if present else {"files": "no file of the table is there."}
    if images_dir is None:
        missing = dict.fromkeys(("folder", "files"), "the table alone is audited.")
    rules = CohortRules(ambiguous="non_covid")
    frontal = table.loc[select_cohort(table, images_dir if present else None, rules).table.index]
    data = AuditInput(table, frontal, unreadable, paths, present, files)
    cohort = frontal[~ambiguous_rows(frontal, table)]
    position = {row: number for number, row in enumerate(cohort.index)}
    pairs = [(position[a], position[b]) for a, b, _ in files.pairs if {a, b} <= position.keys()]
    findings = (*(check.run(data, missing) for check in CHECKS), *prediction_findings(cohort, pairs))
    return Audit(findings, len(table), int(table["patientid"].nunique()))
