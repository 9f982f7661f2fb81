"""An evaluation in words: the block for the terminal and the sentence that heads the report page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from covid_core.evaluation.metrics import format_classification_report
from covid_core.labels import CLASSES

OUT_OF_FOLD = "out_of_fold"
"""The part of images that were each judged by a model of a cross-validation that never saw their patient."""
_CHANCE = 0.5
_PARTS = {"train": "training", "val": "validation", OUT_OF_FOLD: "held-out"}
_HELD_OUT = " (each judged by a model that never saw its patient)"
_MAIN = {
    "Sensitivity": "sensitivity",
    "Specificity": "specificity",
    "ROC AUC": "roc_auc",
    "  within a source": "within_source_auc",
}


@dataclass(frozen=True)
class BestBaseline:
    """The baseline without pixels that does best by a metric, named by what it sees.

    `lead` is how much that is above the model's, of the two as they are shown, with two digits; below 0 where it does worse.
    """

    name: str
    metric: Mapping[str, Any]
    lead: float


def summary_lines(evaluation: Mapping[str, Any]) -> str:
    """Lay an evaluation out for the terminal: what was read, the report, the matrix in words, the main figures."""
    (tn, fp), (fn, tp) = evaluation["confusion_matrix"]
    lines = [
        f"Model {evaluation['model']}: {images_in_words(evaluation)}, covid at P(covid) >= {evaluation['threshold']:.4g}",
        "",
        format_classification_report(evaluation["confusion_matrix"]),
        "",
        "Confusion matrix (rows: reference standard, columns: called)",
        f"{'':12} {CLASSES[0]:>9} {CLASSES[1]:>9}",
        f"{CLASSES[0]:>12} {tn:>9} {fp:>9}",
        f"{CLASSES[1]:>12} {fn:>9} {tp:>9}",
        f"COVID-19 images: {tp} found, {fn} missed. Other images: {tn} rightly not called, {fp} false alarms.",
        "",
    ]
    lines += [f"{title:<18}{described(evaluation['metrics'][name])}" for title, name in _MAIN.items()]
    lines.append(
        f"Intervals: {evaluation['bootstrap']['resamples']} resamples of patients; images of one are not independent."
    )
    if evaluation.get("note"):
        lines.append(f"Note: {evaluation['note']}")
    return "\n".join(lines)


def verdict(evaluation: Mapping[str, Any]) -> str:
    """Say in one plain sentence what the figures show, and whether a baseline without pixels does better."""
    metrics = evaluation["metrics"]
    (tn, fp), (fn, tp) = evaluation["confusion_matrix"]
    clauses = []
    if tp + fn:
        clauses.append(
            f"found {tp} of {_plural(tp + fn, 'COVID-19 image')} ({_in_sentence('sensitivity', metrics['sensitivity'])})"
        )
    if tn + fp:
        clauses.append(
            f"raised a false alarm on {fp} of {_plural(tn + fp, 'image')} without COVID-19 "
            f"({_in_sentence('specificity', metrics['specificity'])})"
        )
    return (
        f"On {images_in_words(evaluation)} the model {' and '.join(clauses)}{_ranking(metrics['roc_auc'])}"
        f"{_better_baseline(evaluation)}."
    )


def images_in_words(evaluation: Mapping[str, Any]) -> str:
    """Which images were judged: `100 test images of 63 patients`; those of a cross-validation are explained."""
    counts, part = evaluation["counts"], evaluation["part"]
    images = _plural(counts["images"], f"{part_in_words(part)} image")
    return f"{images}{_HELD_OUT if part == 'out_of_fold' else ''} of {_plural(counts['patients'], 'patient')}"


def part_in_words(part: str) -> str:
    """The word before `images` for a part: `validation` for `val`, `held-out` for `out_of_fold`."""
    return _PARTS.get(part, part)


def described(metric: Mapping[str, Any]) -> str:
    """A metric in figures: `0.70 (95% CI 0.43 to 0.89, n = 10)`, or what of it there is, or why there is nothing."""
    if metric["value"] is None:
        return f"undefined. {metric['note'] or ''}".strip()
    if metric["lower"] is None:
        return f"{metric['value']:.2f} (n = {metric['n']}). {metric['note'] or ''}".strip()
    return f"{metric['value']:.2f} (95% CI {interval(metric)}, n = {metric['n']})"


def interval(metric: Mapping[str, Any]) -> str:
    """`0.43 to 0.89`, empty where there is none."""
    return "" if metric["lower"] is None else f"{metric['lower']:.2f} to {metric['upper']:.2f}"


def best_baseline(evaluation: Mapping[str, Any], metric: str) -> BestBaseline | None:
    """Find the baseline that does best by a metric, of equal ones the first; None where the model or all of them lack it."""
    own = evaluation["metrics"][metric]["value"]
    found = {name: metrics.get(metric) for name, metrics in (evaluation.get("baselines") or {}).items()}
    defined = {name: one for name, one in found.items() if one and one["value"] is not None}
    if own is None or not defined:
        return None
    name, best = max(defined.items(), key=lambda item: item[1]["value"])
    return BestBaseline(name, best, round(best["value"], 2) - round(own, 2))


def _in_sentence(name: str, metric: Mapping[str, Any]) -> str:
    """`sensitivity 0.70, 95% CI 0.43 to 0.89`; for a metric that has a value."""
    bounds = interval(metric)
    return f"{name} {metric['value']:.2f}, {f'95% CI {bounds}' if bounds else 'too few patients for an interval'}"


def _ranking(auc: Mapping[str, Any]) -> str:
    if auc["value"] is None:
        return "; with one class alone, nothing can be said about telling them apart"
    if auc["lower"] is None:
        return f"; its area under the ROC curve is {auc['value']:.2f}, without an interval"
    chance = (
        "which cannot be distinguished from chance (0.5)"
        if auc["lower"] <= _CHANCE
        else "where 0.5 is chance and 1 is perfect"
    )
    return f"; its area under the ROC curve is {auc['value']:.2f} (95% CI {interval(auc)}), {chance}"


def _better_baseline(evaluation: Mapping[str, Any]) -> str:
    """Name the best baseline where it ranks the images better than the model; empty where none does."""
    best = best_baseline(evaluation, "roc_auc")
    if best is None or best.lead <= 0:
        return ""
    return f"; a baseline that sees no pixel, only the {best.name}, has a higher one, {described(best.metric)}"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
