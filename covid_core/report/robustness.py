"""The chapters on how far the figures can be trusted: shortcuts, subgroups and the images that are called wrongly."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pandas as pd

from covid_core.dataset.image_record import describe
from covid_core.evaluation.mistakes import FALSE_ALARM, MISSED, mistakes
from covid_core.evaluation.subgroups import SUBGROUP_METRICS, worst_first
from covid_core.evaluation.summary import best_baseline, described, interval
from covid_core.figures.groups import AreaRow, ForestRow, areas, forest
from covid_core.report.document import Item, Table, Words
from covid_core.report.record import Record
from covid_core.report.tables import measured, not_measured, number
from covid_core.report.words import TITLES, chart, table

PUBLIC_IMAGES = "https://github.com/ieee8023/covid-chestxray-dataset/blob/master/images"
_CHANCE = 0.5
_LISTED = 20
_FOREST = "balanced_accuracy"


def shortcuts(record: Record) -> tuple[Item, ...]:
    """Whether the model looks at lungs or at publishers."""
    evaluation = record.evaluation
    sentences = [*_against_baselines(evaluation), *_lungs_in_words(evaluation.get("lungs"))]
    items: list[Item] = [Words(sentence, "caution" if against else "plain") for sentence, against in sentences]
    metrics, baselines = evaluation["metrics"], evaluation.get("baselines") or {}
    rows = [AreaRow("this model", metrics["roc_auc"], metrics["within_source_auc"], is_model=True)]
    for name, found in baselines.items():
        rows.append(AreaRow(name, found.get("roc_auc"), found.get("within_source_auc"), is_model=False))
    items.append(chart("areas-without-pixels", areas(rows)))
    items += measured(
        evaluation,
        *("former", "hospitals", "strangers", "robustness", "opacity_map", "baselines", "lungs", "sources", "external"),
    )
    if not evaluation.get("left_out_sources"):
        items += not_measured("left_out_sources", record.name)
    return tuple(items)


def subgroups(record: Record) -> tuple[Item, ...]:
    """Figures of subgroups, the worst first."""
    block = record.evaluation.get("subgroups")
    if block is None:
        return not_measured("subgroups", record.name)
    if not block:
        return (Words("Nothing is known of those on the images: there are no groups to tell apart.", "caution"),)
    ranked = worst_first(block, _FOREST)
    overall = record.evaluation["metrics"][_FOREST]["value"]
    rows = [
        ForestRow(
            **{name: row[name] for name in ("group", "name", "few")},
            **{name: row[_FOREST][name] for name in ("value", "lower", "upper")},
            n=row["films"],
        )
        for group in dict.fromkeys(row["group"] for row in ranked)  # that with the worst of all first
        for row in ranked
        if row["group"] == group
    ]
    return (
        Words(_worst_in_words(ranked, record.evaluation)),
        chart("subgroups", forest(rows, "Balanced accuracy (0 to 1)", overall)),
        table("subgroups", map(_subgroup_row, ranked)),
    )


def failures(record: Record) -> tuple[Item, ...]:
    """The images that are called wrongly with most confidence."""
    evaluation = record.evaluation
    wrong = mistakes(record.predictions, part=evaluation["part"], threshold=evaluation["threshold"])
    if wrong.empty:
        return (Words("No image of this evaluation is called wrongly."),)
    kinds = wrong["kind"].value_counts()
    sentence = (
        f"Missed images with COVID-19: {int(kinds.get(MISSED, 0))}. False alarms: {int(kinds.get(FALSE_ALARM, 0))}. "
        f"Images in all: {evaluation['counts']['images']}."
    )
    title = f"The {min(_LISTED, len(wrong))} most confident errors" if len(wrong) > 1 else "The one error"
    note = "Confidence: how far the probability is from the threshold, as a share of the way to certainty."
    return Words(sentence), Table("errors", title, error_table(wrong.head(_LISTED)), note, folded=True)


def error_table(wrong: pd.DataFrame) -> pd.DataFrame:
    """Wrongly called images, rows of `covid_core.evaluation.mistakes.mistakes`, as text with what is known of each."""
    return pd.DataFrame(
        {
            "File": wrong["filename"],
            "Error": wrong["kind"],
            "P(COVID-19)": wrong["probability_covid"].map("{:.2f}".format),
            "Confidence": wrong["confidence"].map("{:.0%}".format),
            "Known": [describe(row) for row in wrong.to_dict("records")],
        }
    )


def public_address(filename: str) -> str:
    """Where the public collection shows an image."""
    return f"{PUBLIC_IMAGES}/{quote(filename)}"


def _against_baselines(evaluation: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Say for all images and within a source whether the best baseline without pixels does better, and whether it does."""
    sentences = []
    for metric, where in (("roc_auc", "On all images"), ("within_source_auc", "Among images of one source")):
        best = best_baseline(evaluation, metric)
        if best is None:
            continue
        wins = best.lead >= 0
        verb = "scores no lower than the model" if wins else "scores lower than the model"
        sentence = (
            f"{where} the best baseline that sees no pixel, only {best.name}, {verb}: ROC AUC {described(best.metric)} against "
            f"{described(evaluation['metrics'][metric])}. The difference was not tested."
        )
        sentences.append((sentence, wins))
    return sentences


def _lungs_in_words(lungs: Mapping[str, Any] | None) -> list[tuple[str, bool]]:
    """Say what is left of the ranking with lungs alone and without them, and whether that speaks against the model."""
    if not lungs:
        return []
    alone, without, whole = (lungs[name]["roc_auc"] for name in ("lungs_only", "lungs_out", "whole"))
    sentences = []
    if alone["lower"] is not None and whole["value"] is not None:
        lost = alone["lower"] <= _CHANCE
        against = "is below chance" if alone["upper"] < _CHANCE else "cannot be distinguished from chance"
        sentence = (
            f"With the lungs alone to see, its ROC AUC is {described(alone)}, which "
            f"{against if lost else 'is above chance'}; with the whole of the same images it is {described(whole)}."
        )
        sentences.append((sentence, lost))
    if without["lower"] is not None:
        above = without["lower"] > _CHANCE
        what = (
            "above chance: part of its answer does not come from the lungs"
            if above
            else "no better than chance: nothing is found that it reads outside the lungs"
        )
        sentences.append((f"With the lungs blacked out it is {described(without)}, {what}.", above))
    return sentences


def _worst_in_words(ranked: list[dict[str, Any]], evaluation: Mapping[str, Any]) -> str:
    title, overall = TITLES[_FOREST].lower(), described(evaluation["metrics"][_FOREST])
    firm = [row for row in ranked if row[_FOREST]["value"] is not None and not row["few"]]
    if not firm:
        found = f"No subgroup has 20 images of each class, so none has a firm {title}."
    elif len(firm) == 1:
        found = (
            f"Only {_named(firm[0])} has at least 20 images of each class, and there the {title} is "
            f"{described(firm[0][_FOREST])}."
        )
    else:
        worst, best = firm[0], firm[-1]
        found = (
            f"Of the groups with at least 20 images of each class, the {title} is lowest for {_named(worst)}, "
            f"{described(worst[_FOREST])}, and highest for {_named(best)}, {described(best[_FOREST])}."
        )
    return f"{found} Of all images it is {overall}."


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['group'].lower() if row['group'] != 'RT-PCR' else 'RT-PCR'} {row['name']}"


def _subgroup_row(row: Mapping[str, Any]) -> list[str]:
    cells = [f"{row['group']}: {row['name']}", f"{row['films']}{' (few)' if row['few'] else ''}"]
    for metric in (row[name] for name in SUBGROUP_METRICS):
        bounds = interval(metric)
        cells.append(number(metric["value"], missing="not defined") + (f" ({bounds})" if bounds else ""))
    return [*cells[:2], str(row["patients"]), str(row["covid"]), *cells[2:]]
