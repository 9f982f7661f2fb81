"""The flow to the cohort, its parts, what stands in two of them, and how they differ."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from covid_core.dataset.split import PARTS
from covid_core.dataset.split import overlap as in_two_parts
from covid_core.errors import EvaluationError
from covid_core.evaluation.subgroups import is_told, names_of, ordered_names
from covid_core.labels import CLASSES, COVID, NON_COVID

FLOW_KEYS = ("reason", "images", "patients", "excluded_images", "excluded_patients")
_DISTRIBUTIONS = {"view": "View", "sex": "Sex", "age": "Age", "source": "Source"}
"""Name of a distribution -> the grouping of `covid_core.evaluation.subgroups` that names its categories."""


def cohort_block(
    split: pd.DataFrame,
    flow: Sequence[Mapping[str, Any]],
    overlap: Mapping[str, int] | None,
    *,
    folds: "pd.Series[Any] | None",
) -> dict[str, Any]:
    """The block `cohort` of `evaluation.json`.

    `split` is as of `read_split`, with whichever of `sha256`, `duplicate`, `view`, `sex`, `age` and `source` there are, `flow`
    has the steps of `flow.json`. The `overlap` recorded there is not copied, but held against what is counted here. `folds` are
    those of the images, on the index of `split`, of a model judged out of fold. EvaluationError where one has none.

    Returns:
        - `flow`: [{`FLOW_KEYS`}], in order.
        - `parts`: [{`name`, `images`, `patients`, `covid`, `non_covid`}]: `train`, `val` and `test`, or `fold 0` and so on.
        - `overlap`: {`patients`, `duplicates`}: patients, and sets of images with the same content or (almost) the same picture,
          in more than one part. `duplicates` is None where the split knows neither `sha256` nor `duplicate`.
        - `distributions`: {`view` | `sex` | `age` | `source` | `label`: {category: {part: images}}}, where the split tells them.
        - `note`: sentences on how to read it, or None.
    """
    if folds is not None and (not folds.index.equals(split.index) or folds.isna().any()):
        raise EvaluationError("The folds do not name the fold of every image of the split. Use the folds made for it.")
    part = split["part"].astype("str") if folds is None else "fold " + folds.astype("int64").astype("str")
    present = list(PARTS) if folds is None else [f"fold {number}" for number in sorted(folds.astype("int64").unique())]
    names = [name for name in present if (part == name).any()]
    counted = _overlap(split, part)
    return {
        "flow": [{key: step[key] for key in FLOW_KEYS} for step in flow],
        "parts": [{"name": name, **_counts(split[part == name])} for name in names],
        "overlap": counted,
        "distributions": _distributions(split, part, names),
        "note": _note(counted, overlap, len(names), cross_validated=folds is not None),
    }


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    return {
        "images": len(rows),
        "patients": int(rows["patientid"].nunique()),
        "covid": int((rows["label"] == COVID).sum()),
        "non_covid": int((rows["label"] == NON_COVID).sum()),
    }


def _overlap(split: pd.DataFrame, part: "pd.Series[str]") -> dict[str, int | None]:
    key = _pictures(split)
    blank = pd.Series(pd.NA, index=split.index, dtype="str")
    found = in_two_parts(split.assign(duplicate=blank if key is None else key), part)
    return {"patients": found.patients, "duplicates": None if key is None else found.duplicates}


def _pictures(split: pd.DataFrame) -> "pd.Series[Any] | None":
    """What names the picture of each image: the number of its duplicates, or else its content; None if neither is known.

    An image whose content stands under a number elsewhere gets that number, so that a number that was lost divides nothing.
    """
    content = split["sha256"].astype("str").where(split["sha256"].notna()) if "sha256" in split.columns else None
    if "duplicate" not in split.columns:
        return content
    number = split["duplicate"].astype("str").where(split["duplicate"].notna())
    if content is None:
        return number
    return number.groupby(content).transform("first").fillna(number).fillna(content)


def _distributions(split: pd.DataFrame, part: "pd.Series[str]", parts: Sequence[str]) -> dict[str, Any]:
    found = {}
    for title, group in _DISTRIBUTIONS.items():
        if is_told(split, group):
            names = names_of(split, group)
            found[title] = _crossed(names, ordered_names(names, group), part, parts)
    labels = split["label"]
    return {**found, "label": _crossed(labels, [name for name in CLASSES if (labels == name).any()], part, parts)}


def _crossed(
    names: "pd.Series[Any]", categories: Sequence[str], part: "pd.Series[str]", parts: Sequence[str]
) -> dict[str, dict[str, int]]:
    return {
        category: {name: int(((names == category) & (part == name)).sum()) for name in parts} for category in categories
    }


def _note(
    counted: Mapping[str, int | None], recorded: Mapping[str, int] | None, n_parts: int, *, cross_validated: bool
) -> str | None:
    if cross_validated:
        return f"Cross-validated in {n_parts} folds: every image is development and test in turn."
    known = {name: count for name, count in counted.items() if count is not None}
    if recorded is not None and any(recorded.get(name) != count for name, count in known.items()):
        return (
            "The overlap counted here differs from the one recorded when the dataset was prepared: the split was changed "
            "since, or is of another version. Prepare the dataset again."
        )
    return None
