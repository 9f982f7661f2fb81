"""An evaluation as tables for people: the figures with their intervals, the confusion matrix and the report by class.

Knows the schema of `covid_core.evaluation.report` and computes nothing but shares of a row.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from covid_core.evaluation.metrics import ClassScores, averages
from covid_core.evaluation.summary import OUT_OF_FOLD
from covid_core.labels import CLASS_TITLES, CLASSES

MEANINGS = {
    "sensitivity": ("Sensitivity", "share of COVID-19 films that are called COVID-19"),
    "specificity": ("Specificity", "share of other films that are not called COVID-19"),
    "roc_auc": ("ROC AUC", "how often a COVID-19 film scores higher than another one; 0.5 is chance"),
    "pooled_auc": (
        "ROC AUC, folds pooled",
        "the same over all pairs, although scores of different models are not on one scale",
    ),
    "within_source_auc": (
        "ROC AUC within a source",
        "the same over pairs of films from one publisher, so that recognising the publisher earns nothing",
    ),
    "balanced_accuracy": ("Balanced accuracy", "mean of sensitivity and specificity"),
    "ppv": ("Positive predictive value", "share of the COVID-19 calls that are right, at the share of COVID-19 here"),
    "npv": ("Negative predictive value", "share of the other calls that are right, at the share of COVID-19 here"),
    "accuracy": ("Accuracy", "share of all calls that are right"),
    "f1_covid": ("F1, COVID-19", "harmonic mean of sensitivity and positive predictive value"),
    "f1_non_covid": ("F1, not COVID-19", "harmonic mean of specificity and negative predictive value"),
    "lr_positive": ("Likelihood ratio +", "how many times a COVID-19 call raises the odds of COVID-19"),
    "lr_negative": ("Likelihood ratio -", "what another call multiplies the odds of COVID-19 by"),
    "pr_auc": (
        "Average precision (PR AUC)",
        "area under the steps of the precision-recall curve; chance is the share of COVID-19 films",
    ),
    "brier": ("Brier score", "mean squared error of the probability; 0 is perfect, 0.25 is a coin's"),
    "calibration_intercept": (
        "Calibration intercept",
        "0 where the probabilities are right on the whole; below 0 they are too high, above 0 too low",
    ),
    "calibration_slope": (
        "Calibration slope",
        "1 where the probabilities spread as they should; below 1 they are too extreme, above 1 not extreme enough",
    ),
    "ece": ("Calibration error (ECE)", "mean distance of the probability from the observed share; 0 is perfect"),
}
"""Metric of an evaluation -> its title and what it says, in the order they are shown."""


_NOT_REFITTED = (
    " The models of the folds were not fitted anew for each resample: the intervals hold no chance of their training."
)
AREAS = ("roc_auc", "pooled_auc", "within_source_auc", "pr_auc")
CALIBRATION = ("brier", "calibration_intercept", "calibration_slope", "ece")


def call_table(evaluation: Mapping[str, Any]) -> pd.DataFrame:
    """The figures that follow from the calls at the threshold; see `_figures_table`."""
    return _figures_table(evaluation, [name for name in MEANINGS if name not in (*AREAS, *CALIBRATION)])


def area_table(evaluation: Mapping[str, Any]) -> pd.DataFrame:
    """The areas under curves, which need no threshold; see `_figures_table`."""
    return _figures_table(evaluation, AREAS)


def calibration_table(evaluation: Mapping[str, Any]) -> pd.DataFrame:
    """The figures that tell whether a probability holds; see `_figures_table`."""
    return _figures_table(evaluation, CALIBRATION)


def _figures_table(evaluation: Mapping[str, Any], names: Sequence[str]) -> pd.DataFrame:
    """One row a figure: `Figure`, `Value`, `95% interval`, `Interval by`, `Films` and `Meaning`, all of them text."""
    rows = []
    for name in names:
        metric, (title, meaning) = evaluation["metrics"][name], MEANINGS[name]
        bounds = interval(metric)
        rows.append(
            {
                "Figure": title,
                "Value": "undefined" if metric["value"] is None else f"{metric['value']:.2f}",
                "95% interval": bounds or metric["note"] or "none",
                "Interval by": metric["method"] if bounds else "",
                "Films": str(metric["n"]),
                "Meaning": meaning,
            }
        )
    return pd.DataFrame(rows)


def bins_table(evaluation: Mapping[str, Any]) -> pd.DataFrame:
    """The bins of the reliability curve, probabilities rising, all of them text."""
    return pd.DataFrame(
        [
            {
                "Probability": f"{one['low']:.2f} to {one['high']:.2f}",
                "Films": str(one["n"]),
                "Mean predicted": f"{one['predicted']:.2f}",
                "Observed (weighted)": f"{one['observed']:.2f}",
                "95% interval": f"{one['lower']:.2f} to {one['upper']:.2f}",
            }
            for one in evaluation["reliability"]["bins"]
        ],
        columns=["Probability", "Films", "Mean predicted", "Observed (weighted)", "95% interval"],
    )


def interval(metric: Mapping[str, Any]) -> str:
    """`0.43 to 0.89`, empty where there is none."""
    return "" if metric["lower"] is None else f"{metric['lower']:.2f} to {metric['upper']:.2f}"


def confusion_table(evaluation: Mapping[str, Any]) -> pd.DataFrame:
    """The confusion matrix in counts and shares of the row, rows reference standard, columns call, in class order."""
    rows = []
    for name, counts in zip(CLASSES, evaluation["confusion_matrix"], strict=True):
        total = sum(counts)
        cells = {
            f"Called: {CLASS_TITLES[called]}": f"{count} ({count / total:.0%})" if total else "0"
            for called, count in zip(CLASSES, counts, strict=True)
        }
        rows.append({"Reference standard": CLASS_TITLES[name], **cells, "Films": str(total)})
    return pd.DataFrame(rows)


def class_table(evaluation: Mapping[str, Any]) -> pd.DataFrame:
    """The classification report as scikit-learn lays it out, classes in class order; a dash where a share is undefined."""
    report = {name: ClassScores(**evaluation["classification_report"][name]) for name in CLASSES}
    both = all(row.support for row in report.values())
    macro, weighted = averages(report)
    right = evaluation["metrics"]["accuracy"]["value"]
    in_all = {"Precision": "", "Recall": "", "F1": _two_digits(right), "Films": str(macro.support)}
    return pd.DataFrame(
        [
            *(_class_row(CLASS_TITLES[name], row, both) for name, row in report.items()),
            {"Class": "Accuracy", **in_all},
            _class_row("Mean of the classes", macro, both),
            _class_row("Mean, weighted by films", weighted, both),
        ]
    )


def _class_row(title: str, row: ClassScores, both: bool) -> dict[str, str]:
    """A row of the classification report; where the films are of one class, what compares the two says nothing."""
    shares = {"Precision": row.precision, "Recall": row.recall, "F1": row.f1}
    return {
        "Class": title,
        **{name: _two_digits(share if both else None) for name, share in shares.items()},
        "Films": str(row.support),
    }


def _two_digits(share: float | None) -> str:
    return "-" if share is None else f"{share:.2f}"


def how_made(evaluation: Mapping[str, Any]) -> str:
    """Say how the intervals were made."""
    bootstrap = evaluation["bootstrap"]
    return (
        f"Intervals: {bootstrap['level']:.0%}, from {bootstrap['resamples']} resamples of whole patients (bootstrap), since the "
        "films of one patient are not independent. Where all films agree (a share of 0 or 1) it is Wilson's interval with "
        "patients as the unit." + (_NOT_REFITTED if evaluation["part"] == OUT_OF_FOLD else "")
    )
