"""The chapters on how far the figures can be trusted: shortcuts, subgroups and the films that are called wrongly.

Arranges what `covid_core.evaluation` measured; where a figure speaks against the model, a sentence says so.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pandas as pd

from covid_core import figures
from covid_core.data.film_record import describe
from covid_core.evaluation.mistakes import FALSE_ALARM, MISSED, mistakes
from covid_core.evaluation.subgroups import SUBGROUP_METRICS, worst_first
from covid_core.evaluation.summary import best_baseline, described
from covid_core.evaluation.tables import MEANINGS
from covid_core.labels import CLASS_TITLES
from covid_core.model_report.content import Chart, Item, Table, Words
from covid_core.model_report.missing import measured, not_measured
from covid_core.model_report.record import Record

PUBLIC_FILMS = "https://github.com/ieee8023/covid-chestxray-dataset/blob/master/images"
_CHANCE = 0.5
_LISTED = 20
_FOREST = "balanced_accuracy"


def shortcuts(record: Record) -> tuple[Item, ...]:
    """Whether the model looks at lungs or at publishers."""
    evaluation = record.evaluation
    items: list[Item] = []
    if evaluation.get("baselines"):
        items += [Words(sentence, "caution" if wins else "plain") for sentence, wins in _against_baselines(evaluation)]
    if evaluation.get("lungs"):
        items += [
            Words(sentence, "caution" if bad else "plain") for sentence, bad in _lungs_in_words(evaluation["lungs"])
        ]
    items.append(
        Chart(
            "areas-without-pixels",
            "The model beside what can be told without a pixel",
            figures.areas(_area_rows(evaluation)),
            alt="ROC AUC of the model and of the baselines; the table says the same",
            note="Circles: all films. Diamonds: pairs of films from one source, where recognising the publisher earns nothing.",
        )
    )
    for block, name in (
        ("former", "overview"),
        ("hospitals", "hospitals"),
        ("strangers", "strangers"),
        ("robustness", "robustness"),
        ("opacity_map", "opacity-map"),
        ("baselines", "baselines"),
        ("lungs", "lungs"),
        ("sources", "sources"),
        ("external", "external-films"),
    ):
        items += measured(record, block, name)
    if not evaluation.get("left_out_sources"):
        items += not_measured("left_out_sources", record.name)
    return tuple(items)


def subgroups(record: Record) -> tuple[Item, ...]:
    """For whom the model works, the worst first."""
    block = record.evaluation.get("subgroups")
    if block is None:
        return not_measured("subgroups", record.name)
    if not block:
        return (Words("Nothing is known of those on the films: there are no groups to tell apart.", "caution"),)
    ranked = worst_first(block, _FOREST)
    overall = record.evaluation["metrics"][_FOREST]["value"]
    rows = [
        figures.ForestRow(
            group=row["group"],
            name=row["name"],
            value=row[_FOREST]["value"],
            lower=row[_FOREST]["lower"],
            upper=row[_FOREST]["upper"],
            n=row["films"],
            few=row["few"],
        )
        for row in _under_headings(ranked)
    ]
    items: list[Item] = [
        Words(_worst_in_words(ranked, record.evaluation)),
        Chart(
            "subgroups",
            "Balanced accuracy by subgroup, the worst group and the worst in each first",
            figures.forest(rows, "Balanced accuracy (0 to 1)", overall),
            alt="Balanced accuracy of each subgroup with its interval; the table says the same",
            note="Dagger: 1 to 19 films of a class. Blank values are groups of their own. The line is the figure of all "
            "films. RT-PCR: covid films of each kind against all others. Many groups are looked at: one may look bad by chance.",
        ),
        Table(
            "subgroups-table",
            "The same in numbers",
            _subgroup_table(ranked),
            "Intervals are 95%, from resampling patients.",
        ),
    ]
    return tuple(items)


def failures(record: Record) -> tuple[Item, ...]:
    """The films that are called wrongly with most confidence."""
    evaluation = record.evaluation
    wrong = mistakes(record.predictions, part=evaluation["part"], threshold=evaluation["threshold"])
    if wrong.empty:
        return (Words("No film of this evaluation is called wrongly."),)
    kinds = wrong["kind"].value_counts()
    said = (
        f"Missed films with COVID-19: {int(kinds.get(MISSED, 0))}. False alarms: {int(kinds.get(FALSE_ALARM, 0))}. Films in all: "
        f"{evaluation['counts']['images']}."
    )
    table = Table(
        "errors",
        f"The {min(_LISTED, len(wrong))} most confident errors" if len(wrong) > 1 else "The one error",
        error_table(wrong.head(_LISTED)),
        "Confidence: how far the probability is from the threshold, as a share of the way to certainty.",
        folded=True,
    )
    return (Words(said), table)


def error_table(wrong: pd.DataFrame) -> pd.DataFrame:
    """Wrongly called films as text, with what is known of each.

    Args:
        wrong: rows of `covid_core.evaluation.mistakes.mistakes`.
    """
    return pd.DataFrame(
        [
            {
                "File": row["filename"],
                "Error": row["kind"],
                "P(COVID-19)": f"{row['probability_covid']:.2f}",
                "Confidence": f"{row['confidence']:.0%}",
                "Known": describe(row),
            }
            for row in wrong.to_dict("records")
        ]
    )


def public_address(filename: str) -> str:
    """Where the public collection shows a film."""
    return f"{PUBLIC_FILMS}/{quote(filename)}"


def _against_baselines(evaluation: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Say for all films and within a source whether the best baseline without pixels does better, and whether it does."""
    sentences = []
    for metric, where in (("roc_auc", "On all films"), ("within_source_auc", "Among films of one source")):
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


def _lungs_in_words(lungs: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Say what is left of the ranking with lungs alone and without them, and whether that speaks against the model."""
    alone, without, whole = (lungs[name]["roc_auc"] for name in ("lungs_only", "lungs_out", "whole"))
    sentences = []
    if alone["lower"] is not None and whole["value"] is not None:
        lost = alone["lower"] <= _CHANCE
        told = "which cannot be told from chance" if lost else "which is above chance"
        if alone["upper"] < _CHANCE:
            told = "which is below chance"
        sentences.append(
            (
                f"With the lungs alone to see, its ROC AUC is {described(alone)}, {told}; with the whole of the same "
                "films it is "
                f"{described(whole)}.",
                lost,
            )
        )
    if without["lower"] is not None:
        above = without["lower"] > _CHANCE
        told = (
            "above chance: part of its answer does not come from the lungs"
            if above
            else "no better than chance: nothing is found that it reads outside the lungs"
        )
        sentences.append((f"With the lungs blacked out it is {described(without)}, {told}.", above))
    return sentences


def _area_rows(evaluation: Mapping[str, Any]) -> list[figures.AreaRow]:
    metrics = evaluation["metrics"]
    rows = [figures.AreaRow("this model", metrics["roc_auc"], metrics["within_source_auc"], is_model=True)]
    for name, found in (evaluation.get("baselines") or {}).items():
        rows.append(figures.AreaRow(name, found.get("roc_auc"), found.get("within_source_auc"), is_model=False))
    return rows


def _under_headings(ranked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Bring rows of one grouping together, the grouping with the worst of them first; each keeps its order."""
    groups = list(dict.fromkeys(row["group"] for row in ranked))
    return [row for group in groups for row in ranked if row["group"] == group]


def _worst_in_words(ranked: list[dict[str, Any]], evaluation: Mapping[str, Any]) -> str:
    title = MEANINGS[_FOREST][0].lower()
    firm = [row for row in ranked if row[_FOREST]["value"] is not None and not row["few"]]
    overall = described(evaluation["metrics"][_FOREST])
    if not firm:
        return f"No subgroup has 20 films of each class, so none has a firm {title}. Of all films it is {overall}."
    worst, best = firm[0], firm[-1]
    if len(firm) == 1:
        return (
            f"Only {_named(worst)} has at least 20 films of each class, and there the {title} is "
            f"{described(worst[_FOREST])}. Of all films it is {overall}."
        )
    return (
        f"Of the groups with at least 20 films of each class, the {title} is lowest for {_named(worst)}, "
        f"{described(worst[_FOREST])}, "
        f"and highest for {_named(best)}, {described(best[_FOREST])}. Of all films it is {overall}."
    )


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['group'].lower() if row['group'] != 'RT-PCR' else 'RT-PCR'} {row['name']}"


def _subgroup_table(ranked: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "Group": f"{row['group']}: {row['name']}",
                "Films": f"{row['films']}" + (" (few)" if row["few"] else ""),
                "Patients": str(row["patients"]),
                CLASS_TITLES["covid"]: str(row["covid"]),
                **{MEANINGS[name][0]: _short(row[name]) for name in SUBGROUP_METRICS},
            }
            for row in ranked
        ]
    )


def _short(metric: Mapping[str, Any]) -> str:
    if metric["value"] is None:
        return "not defined"
    bounds = "" if metric["lower"] is None else f" ({metric['lower']:.2f} to {metric['upper']:.2f})"
    return f"{metric['value']:.2f}{bounds}"
