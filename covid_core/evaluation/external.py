"""What an evaluation holds beside the figures of one part: repeated runs, images of other sets, images seen in parts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from covid_core.errors import EvaluationError
from covid_core.evaluation import estimates, intervals, metrics
from covid_core.evaluation.predictions import PAIRED_COLUMNS, checked_table, predictions_of
from covid_core.labels import COVID, NON_COVID

_FINDING_COLUMNS = ("filename", "finding", "label", "probability_covid")
_NOT_STATED = "not stated"
_INDEPENDENT = "Images are taken as independent of each other."


def repeated_summary(rows: Sequence[Mapping[str, float | None]]) -> dict[str, dict[str, float | None]]:
    """Summarise the figures of repetitions (name -> figure), such as a cross-validation with several seeds.

    name -> `mean`, `sd` (n - 1 in the denominator; None for one repetition), `lowest`, `highest`; all None where a repetition has
    no figure (None or NaN). EvaluationError where there is no repetition, or their names differ.
    """
    if not rows or any(set(row) != set(rows[0]) for row in rows):
        raise EvaluationError(
            f"A summary needs repetitions with the same figures. Received: {[sorted(row) for row in rows]}"
        )
    return {name: _spread([row[name] for row in rows]) for name in rows[0]}


def shares_by_finding(table: pd.DataFrame, threshold: float) -> dict[str, dict[str, Any]]:
    """Count the calls on images of another set, by what their table says was found.

    The table has `filename`, `finding`, `label` (a class, or blank where the finding is neither) and `probability_covid`.

    Returns:
        finding -> `n`, `called_covid` (images of any label) and, of those that have the label, `sensitivity` of covid and
        `specificity` of non_covid, metrics with Wilson's interval; the most frequent finding first.
    """
    blank = {name: table[name].replace("", None) for name in ("finding", "label") if name in table.columns}
    table = checked_table(table.assign(**blank), _FINDING_COLUMNS, may_be_blank=("finding", "label"))
    called = pd.Series(metrics.is_called(table["probability_covid"], threshold), index=table.index)
    findings = table["finding"].fillna(_NOT_STATED)
    return {
        str(finding): _calls(table.loc[findings == finding, "label"], called[findings == finding])
        for finding in findings.value_counts().sort_index().sort_values(ascending=False, kind="stable").index
    }


def paired_metrics(predictions: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0) -> dict[str, dict[str, Any]]:
    """What rests on pairs of a covid and another image alone, from a table with `PAIRED_COLUMNS`: no threshold, no calibration.

    The same images with the same seed are resampled alike, whatever was predicted of them. Without `source` the figure within
    a source is undefined.
    """
    images = predictions_of(checked_table(predictions, PAIRED_COLUMNS))
    found = estimates.area_metrics(images, n_resamples=n_resamples, seed=seed)
    return {name: estimate.to_json() for name, estimate in found.items()}


def _spread(figures: Sequence[float | None]) -> dict[str, float | None]:
    defined = [figure for figure in figures if figure is not None and isfinite(figure)]
    if len(defined) < len(figures):
        return dict.fromkeys(("mean", "sd", "lowest", "highest"))
    sd = stdev(defined) if len(defined) > 1 else None
    return {"mean": fmean(defined), "sd": sd, "lowest": min(defined), "highest": max(defined)}


def _calls(labels: "pd.Series[str]", called: "pd.Series[bool]") -> dict[str, Any]:
    row: dict[str, Any] = {"n": len(labels), "called_covid": int(called.sum())}
    for name, label in (("sensitivity", COVID), ("specificity", NON_COVID)):
        right = (called if label == COVID else ~called)[labels == label]
        if right.size:
            row[name] = replace(intervals.wilson(int(right.sum()), right.size), note=_INDEPENDENT).to_json()
    return row
