"""An audit as text for the terminal, as JSON, and as one table of all rows."""

import json
from typing import Any

import pandas as pd

from covid_core.audit.finding import SEVERITIES, Audit, Finding
from covid_core.text import printable

ROWS_SHOWN = 5


def summary_lines(audit: Audit, rows_shown: int = ROWS_SHOWN) -> str:
    """The findings, most severe first, each with its first rows; then the checks that found nothing.

    Checks that could not run, and predictions no better than chance, come last with their sentences.
    """
    lines = [f"{audit.images} images of {audit.patients} patients"]
    for severity in SEVERITIES:
        for finding in audit.findings:
            if finding.count and finding.severity == severity:
                lines += ["", f"{severity}: {finding.check}: {finding.sentence}", *_row_lines(finding, rows_shown)]
    quiet = [finding for finding in audit.findings if not finding.count]
    fine = [finding.check for finding in quiet if finding.checked and finding.roc_auc is None]
    if fine:
        lines += ["", f"No problems found: {', '.join(fine)}"]
    lines += [f"{finding.check}: {finding.sentence}" for finding in quiet if finding.check not in fine]
    return "\n".join(lines)


def audit_json(audit: Audit) -> str:
    """The audit as one line of JSON in ASCII: `images`, `patients`, and `findings` with all their rows."""
    findings = [_record(one) for one in audit.findings]
    return json.dumps({"images": audit.images, "patients": audit.patients, "findings": findings}, allow_nan=False)


def audit_rows(audit: Audit) -> pd.DataFrame:
    """All rows, most severe first: `severity`, `check`, `filename`, `patientid`, `what`; '' for no file name."""
    found = [
        finding.rows.fillna("").assign(severity=severity, check=finding.check)
        for severity in SEVERITIES
        for finding in audit.findings
        if finding.severity == severity
    ]
    columns = ["severity", "check", "filename", "patientid", "what"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def _record(finding: Finding) -> dict[str, Any]:
    rows = finding.rows.astype(object).where(finding.rows.notna(), None)
    record: dict[str, Any] = {
        name: getattr(finding, name) for name in ("check", "severity", "count", "checked", "sentence")
    }
    for name in ("roc_auc", "within_source_auc"):
        area = getattr(finding, name)
        record[name] = area and {key: area[key] for key in ("value", "lower", "upper", "n")}
    return record | {"rows": rows.to_dict("records")}


def _row_lines(finding: Finding, most: int) -> list[str]:
    lines = [
        f"  {_plain(row['filename'])} (patient {_plain(row['patientid'])}): {_plain(row['what'])}"
        for row in finding.rows.head(most).to_dict("records")
    ]
    left = len(finding.rows) - most
    return [*lines, f"  and {left} more"] if left > 0 else lines


def _plain(text: object) -> str:
    return printable(text) if isinstance(text, str) else "no file name"
