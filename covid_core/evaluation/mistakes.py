"""The images a model calls wrongly, most confident first.

Confidence is the distance of P(covid) from the threshold as a share of the room there is on its side: (p - t) / (1 - t) for a
false alarm, (t - p) / t for a missed image. It is 0 at the threshold and 1 at certainty on both sides; the plain distance
would rank one kind above the other wherever the threshold is not 0.5.
"""

import numpy as np
import pandas as pd

from covid_core.errors import EvaluationError
from covid_core.evaluation import metrics
from covid_core.evaluation.predictions import checked_table
from covid_core.evaluation.subgroups import GROUPINGS, in_group, is_told, names_of, ordered_names
from covid_core.labels import COVID

MISSED = "missed COVID-19"
FALSE_ALARM = "false alarm"
KINDS = (MISSED, FALSE_ALARM)


def mistakes(predictions: pd.DataFrame, *, part: str, threshold: float) -> pd.DataFrame:
    """List the images of a part that are called wrongly at a threshold in [0, 1], the most confident first, then by file name.

    To the columns of `predictions` (`filename`, `label`, `part`, `probability_covid`, and any further ones) come `kind` (one of
    `KINDS`), `confidence` (in [0, 1]; see the module's docstring) and `subgroup_column(group)` for every grouping that the
    predictions tell: the group of the image, named among all images of the part, NA where it has none.
    """
    if not 0 <= threshold <= 1:
        raise EvaluationError(f"The threshold must be in [0, 1]. Received: {threshold}")
    table = checked_table(predictions, ("filename", "label", "part", "probability_covid"), part=part)
    probability = table["probability_covid"].to_numpy(np.float64)
    called, truth = metrics.is_called(probability, threshold), (table["label"] == COVID).to_numpy(np.bool_)
    room = np.where(called, 1 - threshold, threshold)
    confidence = np.divide(np.abs(probability - threshold), room, out=np.zeros_like(probability), where=room > 0)
    groups = {subgroup_column(group): names_of(table, group) for group in GROUPINGS if is_told(table, group)}
    listed = table.assign(
        kind=pd.Series(np.where(truth, MISSED, FALSE_ALARM), index=table.index, dtype="str"),
        confidence=confidence,
        **groups,
    )
    wrong: pd.DataFrame = listed[called != truth]
    return wrong.sort_values(["confidence", "filename"], ascending=[False, True], ignore_index=True)


def chosen(
    mistakes: pd.DataFrame, kind: str | None = None, group: str | None = None, name: str | None = None
) -> pd.DataFrame:
    """Keep the mistakes of one kind, of one subgroup (`group` and `name`, as `subgroups.in_group`), or both, in their order."""
    keep = np.ones(len(mistakes), np.bool_) if kind is None else (mistakes["kind"] == kind).to_numpy(np.bool_)
    if group is not None:
        keep = keep & in_group(mistakes[subgroup_column(group)], mistakes["label"], group, str(name))
    return mistakes[keep].reset_index(drop=True)


def groups_of(mistakes: pd.DataFrame) -> dict[str, list[str]]:
    """What `chosen` can be asked for: grouping -> the names of its groups with mistakes, in the order they are shown."""
    columns = {group: subgroup_column(group) for group in GROUPINGS if subgroup_column(group) in mistakes.columns}
    names = {group: ordered_names(mistakes[column], group) for group, column in columns.items()}
    return {group: found for group, found in names.items() if found}


def subgroup_column(group: str) -> str:
    """The column of the mistakes that names the group of each image within a grouping."""
    return f"subgroup: {group}"
