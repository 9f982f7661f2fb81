"""Which images of the table are used, step by step; every image left out has a reason, every step its counts.

It opens no image: `covid_core.dataset.prepare` adds the last step, `readable`, through `exclude`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from covid_core.dataset.metadata import safe_image_path
from covid_core.errors import DatasetError
from covid_core.labels import CLASSES, COVID, is_no_finding

FRONTAL_VIEWS = ("PA", "AP")
SUPINE_VIEW = "AP Supine"
MIN_IMAGES_PER_CLASS = 300
"""A class with fewer images of `FRONTAL_VIEWS` than this is lacking, and `SUPINE_VIEW` is added."""

_DECIDING = ("patientid", "filename", "finding", "view", "modality", "label")

Ambiguous = Literal["drop", "non_covid", "covid"]


@dataclass(frozen=True)
class CohortRules:
    """What a user may decide about the cohort.

    Attributes:
        ambiguous: what becomes of a `No Finding` image of a patient who has COVID-19 elsewhere in the table: left out,
            kept as it is labelled, or counted as covid.
        include_supine: whether `AP Supine` images are added where a class is lacking.
    """

    ambiguous: Ambiguous = "drop"
    include_supine: bool = True

    def __post_init__(self) -> None:
        if self.ambiguous not in {"drop", "non_covid", "covid"}:
            raise ValueError(f"`ambiguous` must be drop, non_covid or covid. Received: {self.ambiguous!r}")


@dataclass(frozen=True)
class FlowStep:
    """One step of the flow.

    Attributes:
        reason: why images are left out here, as people read it.
        images, patients: what is left after the step.
        excluded_patients: patients who had an image before the step and have none after it.
    """

    name: str
    reason: str
    images: int
    patients: int
    excluded_images: int
    excluded_patients: int


@dataclass(frozen=True)
class Cohort:
    """The images that are used, and the account of the others.

    Attributes:
        table: the rows of `read_metadata` that are used, in their order and on their index; `label` is never NA.
        flow: the steps in their order; the first one counts all rows.
        exclusions: one row per image left out, on its index, with `filename` (NA where there is none), `patientid`, `reason`
            and `step` (the name of the step that left it out).
    """

    table: pd.DataFrame = field(repr=False)
    flow: tuple[FlowStep, ...]
    exclusions: pd.DataFrame = field(repr=False)


def select_cohort(table: pd.DataFrame, images_dir: Path | None, rules: CohortRules | None = None) -> Cohort:
    """Select the frontal X-rays with a label and a file; a table without any is no error here.

    Without a folder of images the step that looks for the files is skipped.
    """
    chosen = _selected(table[list(_DECIDING)], images_dir, rules or CohortRules())
    return replace(chosen, table=table.loc[chosen.table.index].assign(label=chosen.table["label"]))


def _selected(table: pd.DataFrame, images_dir: Path | None, rules: CohortRules) -> Cohort:
    """Take the steps with the columns they look at; of a large table the others would be copied at each step."""
    everything = FlowStep("all", "every row of the table", len(table), table["patientid"].nunique(), 0, 0)
    nothing = pd.DataFrame(columns=["filename", "patientid", "reason", "step"], index=table.index[:0], dtype="str")
    cohort = Cohort(table, (everything,), nothing)
    cohort = exclude(cohort, "x_ray", "not an X-ray", _not(cohort.table["modality"].str.lower() == "x-ray"))
    views, reason = _views(cohort.table, rules)
    cohort = exclude(cohort, "frontal", reason, _not(cohort.table["view"].isin(views)))
    cohort = exclude(cohort, "labelled", "no finding is given (todo, Unknown, blank)", cohort.table["label"].isna())
    if images_dir is not None:
        problems = _file_problems(cohort.table, images_dir)
        cohort = exclude(cohort, "file", "the file is missing", problems != "", problems)
    ambiguous = ambiguous_rows(cohort.table, table)
    if rules.ambiguous == "drop":
        return exclude(cohort, "unambiguous", "No Finding in a patient who has COVID-19 elsewhere", ambiguous)
    kept = cohort.table.assign(label=cohort.table["label"].mask(ambiguous, rules.ambiguous))
    reason = (
        f"{int(ambiguous.sum())} No Finding images of patients with COVID-19 elsewhere are kept as {rules.ambiguous}"
    )
    return exclude(replace(cohort, table=kept), "unambiguous", reason, pd.Series(False, index=kept.index))


def exclude(
    cohort: Cohort, name: str, reason: str, excluded: "pd.Series[bool]", details: "pd.Series[str] | None" = None
) -> Cohort:
    """Take one step of the flow: leave out rows of `cohort.table` for a reason, or each for the one in `details`."""
    before = cohort.table
    left_out = before[excluded]
    table = before[~excluded]
    patients = table["patientid"].nunique()
    step = FlowStep(name, reason, len(table), patients, len(left_out), before["patientid"].nunique() - patients)
    reasons = left_out[["filename", "patientid"]].assign(
        reason=reason if details is None else details[excluded], step=name
    )
    return Cohort(table, (*cohort.flow, step), pd.concat([cohort.exclusions, reasons]))


def ambiguous_rows(rows: pd.DataFrame, table: pd.DataFrame) -> "pd.Series[bool]":
    """Tell which rows are `No Finding` images of a patient who has COVID-19 anywhere in the whole table."""
    covid_patients = set(table.loc[table["label"] == COVID, "patientid"])
    no_finding = rows["finding"].map(lambda finding: isinstance(finding, str) and is_no_finding(finding)).astype(bool)
    return no_finding & rows["patientid"].isin(covid_patients)


def missing_files(table: pd.DataFrame, images_dir: Path) -> pd.DataFrame:
    """List every row of a table, used or not, that has no usable file: `filename`, `folder` and `reason`."""
    problems = _file_problems(table, images_dir)
    missing = problems != ""
    return table.loc[missing, ["filename", "folder"]].assign(reason=problems[missing]).reset_index(drop=True)


def flow_to_json(flow: tuple[FlowStep, ...]) -> list[dict[str, Any]]:
    """The flow as plain values, step by step."""
    return [asdict(step) for step in flow]


def flow_table(steps: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """The flow in images and patients, one row a step of `flow_to_json`, text in every cell."""
    columns = {
        "reason": "Step",
        "excluded_images": "Images left out",
        "excluded_patients": "Patients left out",
        "images": "Images",
        "patients": "Patients",
    }
    return pd.DataFrame(steps)[list(columns)].rename(columns=columns).astype(str)


def _not(condition: "pd.Series[Any]") -> "pd.Series[bool]":
    """The rows that do not meet a condition; NA does not meet it."""
    return ~condition.fillna(False).astype(bool)


def _views(x_rays: pd.DataFrame, rules: CohortRules) -> tuple[tuple[str, ...], str]:
    """The views that are used, and the reason to give for leaving out the others."""
    frontal = x_rays.loc[x_rays["view"].isin(FRONTAL_VIEWS), "label"].value_counts()
    lacking = min(frontal.get(label, 0) for label in CLASSES) < MIN_IMAGES_PER_CLASS
    views = (*FRONTAL_VIEWS, SUPINE_VIEW) if rules.include_supine and lacking else FRONTAL_VIEWS
    return views, f"not a frontal view ({', '.join(views)})"


def _file_problems(table: pd.DataFrame, images_dir: Path) -> "pd.Series[str]":
    """Why each row has no usable file, '' where it has one. A file that is listed again is used once."""
    repeated = table["filename"].duplicated() & table["filename"].notna()
    problems = [
        "the file is listed in an earlier row" if again else _file_problem(name, images_dir)
        for name, again in zip(table["filename"], repeated, strict=True)
    ]
    return pd.Series(problems, index=table.index, dtype="str")


def _file_problem(filename: object, images_dir: Path) -> str:
    if not isinstance(filename, str):
        return "the table gives no file name"
    try:
        return "" if safe_image_path(images_dir, filename).is_file() else "the file is missing"
    except DatasetError:
        return "the file name is not a plain name inside the folder"
