"""Small tables written row by row, and their audit."""

import pandas as pd

from covid_core.audit.finding import Finding
from covid_core.audit.run import Audit, audit_dataset
from covid_core.dataset.metadata import read_metadata

COVID, OTHER = "Pneumonia/Viral/COVID-19", "Pneumonia/Bacterial"


def table_of(*rows: dict[str, object]) -> pd.DataFrame:
    """A table of frontal X-rays of patients 0, 1, …, with what each row says otherwise."""
    plain = {"view": "PA", "modality": "X-ray", "finding": OTHER, "folder": "images"}
    given = [{"patientid": str(n), "filename": f"image-{n}.png"} | plain | row for n, row in enumerate(rows)]
    return read_metadata(pd.DataFrame(given).to_csv(index=False).encode())


def audited(*rows: dict[str, object]) -> Audit:
    """The audit of such a table, without a folder."""
    return audit_dataset(None, table=table_of(*rows))


def names(finding: Finding) -> list[str]:
    """The files of the rows of a finding."""
    return finding.rows["filename"].tolist()
