"""An audit in words for the terminal, and as plain values for a program."""

from typing import Any

from covid_core.data.audit_finding import SEVERITIES, Audit, Finding

ROWS_SHOWN = 5


def summary_lines(audit: Audit, rows_shown: int = ROWS_SHOWN) -> str:
    """What was found, the gravest first, with the first rows of each; then what is in order, and what was not checked.

    Args:
        audit: of a collection.
        rows_shown: of each finding, at most.
    """
    lines = [f"{audit.images} images of {audit.patients} patients"]
    for severity in SEVERITIES:
        for finding in audit.findings:
            if finding.count and finding.severity == severity:
                lines += ["", f"{severity}: {finding.check}: {finding.sentence}", *_row_lines(finding, rows_shown)]
    fine = [finding.check for finding in audit.findings if finding.checked and not finding.count]
    if fine:
        lines += ["", f"in order: {', '.join(fine)}"]
    lines += [f"{finding.check}: {finding.sentence}" for finding in audit.findings if not finding.checked]
    return "\n".join(lines)


def audit_record(audit: Audit) -> dict[str, Any]:
    """The audit as plain values for JSON: `images`, `patients`, and `findings` with all their rows."""
    return {"images": audit.images, "patients": audit.patients, "findings": [_record(one) for one in audit.findings]}


def _record(finding: Finding) -> dict[str, Any]:
    rows = finding.rows.astype(object).where(finding.rows.notna(), None)
    return {
        "check": finding.check,
        "severity": finding.severity,
        "count": finding.count,
        "checked": finding.checked,
        "sentence": finding.sentence,
        "rows": rows.to_dict("records"),
    }


def _row_lines(finding: Finding, most: int) -> list[str]:
    lines = [
        f"  {_plain(row['filename'])} (patient {_plain(row['patientid'])}): {_plain(row['what'])}"
        for row in finding.rows.head(most).to_dict("records")
    ]
    left = len(finding.rows) - most
    return [*lines, f"  and {left} more"] if left > 0 else lines


def _plain(text: object) -> str:
    """A table's text without what would steer a terminal."""
    if not isinstance(text, str):
        return "no file name"
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
