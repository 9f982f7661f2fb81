"""What an evaluation holds beyond the figures of one part, as titled tables for the model card and the report page.

Knows the further blocks of `evaluation.json` (`covid_core.evaluation.report`) and computes nothing; a block that was not
measured has no table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from covid_core.evaluation.published import original_figures, published
from covid_core.evaluation.summary import described
from covid_core.labels import CLASS_TITLES, CLASSES

_AREAS = {
    "roc_auc": "ROC AUC",
    "pooled_auc": "ROC AUC over all folds pooled",
    "within_source_auc": "ROC AUC within a source",
}
_SPREAD = {
    **_AREAS,
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "balanced_accuracy": "Balanced accuracy",
}
_SEEN_AS = {"whole": "the whole film", "lungs_only": "the lungs alone", "lungs_out": "the film without lungs"}


@dataclass(frozen=True)
class FurtherTable:
    """One measurement.

    Attributes:
        title: what was measured.
        note: one or two sentences on how to read it.
        table: text in every cell.
    """

    title: str
    note: str
    table: pd.DataFrame


def further_tables(evaluation: Mapping[str, Any]) -> list[FurtherTable]:
    """The tables of what was measured, those on shortcuts first."""
    found = (further_table(evaluation, block) for block in _makers())
    return [table for table in found if table is not None]


def further_table(evaluation: Mapping[str, Any], block: str) -> FurtherTable | None:
    """The table of one block of an evaluation; None where it was not measured."""
    return _makers()[block](evaluation) if evaluation.get(block) else None


def _makers() -> dict[str, Callable[[Mapping[str, Any]], FurtherTable]]:
    return {
        "former": _overview,
        "hospitals": _hospitals,
        "strangers": _strangers,
        "robustness": _robustness,
        "opacity_map": _opacity_map,
        "baselines": _baselines,
        "sources": _sources,
        "lungs": _lungs,
        "external": _external,
        "three_way": _three_way,
        "ensemble": _ensemble,
        "gate": _gate,
        "calibration": _calibration,
        "operating_point": _operating_point,
        "seeds": _seeds,
        "original_protocol": _original_protocol,
    }


def markdown_table(table: pd.DataFrame) -> str:
    """A table of text as Markdown; a bar in a cell is escaped, it would end the cell."""
    head = f"| {' | '.join(table.columns)} |\n|{'---|' * len(table.columns)}"
    rows = (" | ".join(cell.replace("|", "\\|") for cell in row) for row in table.itertuples(index=False))
    return "\n".join([head, *(f"| {row} |" for row in rows)])


def _overview(evaluation: Mapping[str, Any]) -> FurtherTable:
    """Everything in one table, the former model beside this one."""
    former, hospitals = evaluation["former"], evaluation.get("hospitals") or {}
    then = hospitals.get("former", {})
    elsewhere = {
        "roc_auc": "SIIM, hospital group left out: AUC within a group",
        "same_size_auc": "the same, within one image size",
        "sensitivity": "the same: sensitivity",
        "specificity": "the same: specificity",
    }
    rows: list[tuple[str, Mapping[str, Any] | None, Mapping[str, Any] | None]] = [
        *((title, hospitals[kind], then.get(kind)) for kind, title in elsewhere.items() if kind in hospitals),
        ("dataset, within a source: AUC", evaluation["metrics"]["within_source_auc"], former["within_source_auc"]),
        ("dataset: AUC", evaluation["metrics"]["roc_auc"], former["roc_auc"]),
    ]
    if evaluation.get("left_out_sources"):
        left_out = evaluation["left_out_sources"]["within_source_auc"]
        rows.append(("dataset, source left out: AUC", left_out, former["left_out_sources"]))
    rows += [
        (f"{one['kind']}, collection left out: called COVID-19", one["called_covid"], one.get("former"))
        for one in evaluation.get("strangers") or ()
    ]
    for name, block in (evaluation.get("external") or {}).items():
        for finding, entry in block["by_finding"].items():
            before = former["external"].get(name, {}).get(finding, {})
            rows += [
                (f"{name} (external), {finding}: {kind}", entry[kind], before.get(kind))
                for kind in ("sensitivity", "specificity")
                if kind in entry
            ]
    return FurtherTable(
        "All of it in one table",
        f"The former model is `{former['model']}`. Its AUCs of the dataset are over all folds pooled; those of this model are "
        "over the pairs of one fold.",
        pd.DataFrame(
            [
                {
                    "Figure": name,
                    "This model": described(now) if now else "",
                    "Former model": described(old) if old else "",
                }
                for name, now, old in rows
            ]
        ),
    )


def _hospitals(evaluation: Mapping[str, Any]) -> FurtherTable:
    block = evaluation["hospitals"]
    kinds = {
        "roc_auc": "AUC",
        "same_size_auc": "AUC, same image size",
        "sensitivity": "Sensitivity",
        "specificity": "Specificity",
    }

    def row(name: str, images: str, figures: Mapping[str, Any]) -> dict[str, str]:
        return {"": name, "Images": images} | {
            title: described(figures[kind]) if kind in figures else "" for kind, title in kinds.items()
        }

    total = f"{block['images']} ({block['covid']} typical)"
    rows = [row("this model, hospital left out", total, block)]
    if "former" in block:
        rows.append(row("the former model", total, block["former"]))
    rows.append(row("image size alone, no pixels", total, block["size_alone"]))
    rows += [
        row(f"hospital group {one['site']}", f"{one['images']} ({one['covid']} typical)", one)
        for one in block["groups"]
    ]
    return FurtherTable(
        "At hospitals it has never seen",
        "Appearance typical of COVID-19 against negative for pneumonia, as radiologists of the SIIM-FISABIO-RSNA challenge read "
        f"{block['images']} images of {block['patients']} patients. Patients known to have COVID-19 are no negatives. Each image "
        "is judged by a network and heads that saw nothing of its hospital group; groups are inferred from the equipment. AUCs "
        f"compare images of one group only; pooled over groups the AUC is {_number(block['pooled_auc'])}. Calibration error with "
        f"both classes equally common: {_number(block['ece'], 3)}.",
        pd.DataFrame(rows),
    )


def _strangers(evaluation: Mapping[str, Any]) -> FurtherTable:
    rows = []
    for one in evaluation["strangers"]:
        cells = {"Images": one["kind"], "n": str(one["images"]), "Called COVID-19": described(one["called_covid"])}
        rows.append(cells | ({"By the former model": described(one["former"])} if "former" in one else {}))
    return FurtherTable(
        "Other diseases, normal radiographs and children",
        "Share called COVID-19 at the operating point, by a network and heads that saw nothing of that collection. What the gate "
        "refuses, and which images it takes for a child's, is not counted here. The former model had learned from images of "
        "Hannover and of NIH (No Finding and pneumonia).",
        pd.DataFrame(rows).fillna(""),
    )


def _robustness(evaluation: Mapping[str, Any]) -> FurtherTable:
    block = evaluation["robustness"]
    rows = [
        {
            "Change": one["change"],
            "Calls that flip": f"{one['flipped']:.1%}",
            "Sensitivity": f"{one['sensitivity']:+.1%}",
            "Specificity": f"{one['specificity']:+.1%}",
            "Mean change of P": f"{one['mean_difference']:.3f}",
        }
        for one in block["changes"]
    ]
    return FurtherTable(
        "Harmless changes of the image",
        f"{block['images']} images of left-out hospital groups, by networks that never saw them, each change alone: the share of "
        f"calls that flip, and how sensitivity ({block['sensitivity']:.0%}) and specificity ({block['specificity']:.0%}) move.",
        pd.DataFrame(rows),
    )


def _opacity_map(evaluation: Mapping[str, Any]) -> FurtherTable:
    block = evaluation["opacity_map"]
    rows = [
        {
            "Figure": "Pointing game: the strongest cell lies in a radiologist's box",
            "Value": described(block["pointing_game"]),
        },
        {"Figure": "ROC AUC of the cells", "Value": _number(block["cell_auc"], 3)},
        {"Figure": "Overlap with the boxes (Dice)", "Value": described(block["dice"])},
        {"Figure": "Share of the lungs, mean absolute error", "Value": described(block["share_error"])},
        {"Figure": "Share of the lungs, mean: by the map, by the boxes", "Value": _two_shares(block)},
    ]
    return FurtherTable(
        "The opacity map against radiologists' boxes",
        f"{block['images']} images with boxes of {block['patients']} patients, by networks that never saw their hospital group. "
        f"Cells above {block['threshold']:g} count as affected; that threshold was chosen on these images.",
        pd.DataFrame(rows),
    )


def _two_shares(block: Mapping[str, Any]) -> str:
    return f"{block['mean_share']:.0%}, {block['mean_share_in_boxes']:.0%}"


def _baselines(evaluation: Mapping[str, Any]) -> FurtherTable:
    rows = {"this model": evaluation["metrics"], **{f"{k}, no pixels": v for k, v in evaluation["baselines"].items()}}
    return FurtherTable(
        "Against what can be told without a pixel",
        "Logistic regressions on columns of the table, through the same folds. A model that does not beat them may "
        "know no more "
        "than they do. Within a source the publisher tells nothing.",
        pd.DataFrame([{"": name, **_areas(row)} for name, row in rows.items()]),
    )


def _sources(evaluation: Mapping[str, Any]) -> FurtherTable:
    left_out = {row["source"]: row for row in (evaluation.get("left_out_sources") or {}).get("sources", [])}
    rows = []
    for row in evaluation["sources"]:
        cells = {
            "Source": row["source"],
            "Films": str(row["films"]),
            "Pairs": str(row["pairs"]),
            CLASS_TITLES["covid"]: str(row["covid"]),
            "ROC AUC": described(row["roc_auc"]),
        }
        if left_out:
            known = left_out.get(row["source"])
            cells["ROC AUC, source left out"] = described(known["roc_auc"]) if known else "not measured"
        rows.append(cells)
    note = (
        "ROC AUC among the films of one source, those with both classes and enough films. The figure within a source "
        "is over all their "
        "pairs of a covid and another film, so the sources with most pairs decide it."
    )
    if left_out:
        block = evaluation["left_out_sources"]
        note += (
            " Left out: by heads fitted without any image of that source (the lung map and the calibration, which tell no "
            "class apart, may have seen it). A source is a publisher, not a hospital. Over the pairs of these sources: "
            f"{described(block['within_source_auc'])}; at the operating point sensitivity "
            f"{described(block['sensitivity'])} and "
            f"specificity {described(block['specificity'])}."
        )
    return FurtherTable("Source by source", note, pd.DataFrame(rows))


def _lungs(evaluation: Mapping[str, Any]) -> FurtherTable:
    lungs = evaluation["lungs"]
    return FurtherTable(
        "Is it looking at the lungs?",
        f"The {lungs['films']} films that have a lung mask ({lungs['n_covid']} with COVID-19, {lungs['n_non_covid']} "
        "without, of "
        f"{lungs['patients']} patients), with everything but the lungs blacked out, or the lungs. What is left without "
        "lungs is "
        "not disease. A film with black in it is strange to a model, so what is lost says less than what is left.",
        pd.DataFrame([{"Seen": title, **_areas(lungs[name])} for name, title in _SEEN_AS.items()]),
    )


def _external(evaluation: Mapping[str, Any]) -> FurtherTable:
    rows = []
    for name, block in evaluation["external"].items():
        for finding, entry in block["by_finding"].items():
            scored = [f"{kind} {described(entry[kind])}" for kind in ("sensitivity", "specificity") if kind in entry]
            rows.append(
                {
                    "Set": name,
                    "Finding": finding,
                    "Films": str(entry["n"]),
                    "Called COVID-19": str(entry["called_covid"]),
                    "Figure": "; ".join(scored) or "not scored",
                }
            )
    areas = [
        f"ROC AUC on {name}: {block['roc_auc']:.2f}, without an interval ({block['labelled']['covid']} covid and "
        f"{block['labelled']['non_covid']} other films)"
        for name, block in evaluation["external"].items()
        if block.get("roc_auc") is not None
    ]
    copies = sum(block.get("copies_left_out", 0) for block in evaluation["external"].values())
    return FurtherTable(
        "External films",
        "Films of other collections, at the same operating point; none was trained on. Where the model card names "
        "other films of the same "
        "collection as auxiliary, their weight was chosen on such films, and the figure is not that of an unseen "
        "hospital. Films are "
        f"taken as independent of each other; patients are not known. {copies} copies of training films were left out. "
        + "; ".join(areas)
        + ("." if areas else ""),
        pd.DataFrame(rows),
    )


def _three_way(evaluation: Mapping[str, Any]) -> FurtherTable:
    block = evaluation["three_way"]
    rows = [{"Figure": f"Covered, {word}", "Value": described(block["covered"][key])} for key, word in _by_class()]
    rows += [
        {"Figure": f"Indeterminate, {word}", "Value": described(block["indeterminate"][key])}
        for key, word in _by_class()
    ]
    rows += [
        {"Figure": f"{name.capitalize()} among the decided", "Value": described(block[name])}
        for name in ("sensitivity", "specificity")
    ]
    return FurtherTable(
        "Three-way decision",
        f"Indeterminate from {block['lower']:.3f} to {block['upper']:.3f}: class-conditional conformal prediction "
        "across folds, asking "
        f"for {block['coverage']:.0%} coverage of each class. The coverage is measured, on folds that the bounds were "
        "not fitted on; it is "
        "not guaranteed for the model that is served, nor for other hospitals.",
        pd.DataFrame(rows),
    )


def _ensemble(evaluation: Mapping[str, Any]) -> FurtherTable:
    block = evaluation["ensemble"]
    rows = [
        {"Figure": "Median width of the spread", "Value": f"{block['median_width']:.2f}"},
        {"Figure": "Exceeded by one film in ten", "Value": f"{block['width_90th_percentile']:.2f}"},
        {"Figure": "Spread holds the operating point", "Value": f"{block['holds_operating_point']:.0%}"},
    ]
    return FurtherTable(
        "How firm the probability is",
        f"{block['members']} models fitted on other draws of the patients (Bayesian bootstrap) judge each of "
        f"{block['films']} films that none of them saw; the spread holds the middle {block['share']:.0%} of what they say. It "
        "tells how far the answer depends on who was in the training data, not how often it is right.",
        pd.DataFrame(rows),
    )


def _gate(evaluation: Mapping[str, Any]) -> FurtherTable:
    block = evaluation["gate"]
    rows = [
        {
            "Films": kind["kind"],
            "n": str(kind["n"]),
            "Refused": described(kind["refused"]),
            "AUROC": "" if kind["roc_auc"] is None else f"{kind['roc_auc']:.3f}",
            "FPR95": "" if kind["fpr95"] is None else f"{kind['fpr95']:.3f}",
            "Right repair offered": "" if kind["right_repair"] is None else f"{kind['right_repair']} of {kind['n']}",
            **dict.fromkeys(("Warned of a child", "Called COVID-19, nothing said"), ""),
        }
        for kind in block["kinds"]
    ]
    rows += [
        {
            "Films": f"to pass: {place['name']}",
            "n": str(place["n"]),
            "Refused": described(place["refused"]),
            **dict.fromkeys(("AUROC", "FPR95", "Right repair offered"), ""),
            "Warned of a child": described(place["warned"]) if "warned" in place else "",
            "Called COVID-19, nothing said": described(place["called_silently"]) if "called_silently" in place else "",
        }
        for place in (*block["hospitals"], *block["sources"])
    ]
    return FurtherTable(
        "Is it a frontal chest X-ray?",
        f"The gate knows {block['films']} films. The first rows should be refused, those to pass should not. AUROC and FPR95 "
        "(the share of the kind that passes where 95% of the dataset's upright films do) compare them with the dataset's upright "
        "films. The gate's features and limits were chosen with a look at auxiliary and pretraining, never at nih and "
        "figure1. Films of the dataset are judged without anything of their patient. Intervals are Wilson's, films "
        "taken as independent.",
        pd.DataFrame(rows),
    )


def _calibration(evaluation: Mapping[str, Any]) -> FurtherTable:
    names = {
        "brier": "Brier score",
        "ece": "Calibration error (ECE)",
        "intercept": "Calibration intercept",
        "slope": "Calibration slope",
    }
    rows = [
        {
            "Figure": title,
            **{when.capitalize(): _number(evaluation["calibration"][when][key]) for when in ("before", "after")},
        }
        for key, title in names.items()
    ]
    return FurtherTable(
        "Calibration, before and after",
        "Before: the model's own output read as a probability. After: calibrated on other films than the one it is "
        "applied to. The "
        "classes are weighted to be equally common. Perfect are 0, 0, 0 and 1.",
        pd.DataFrame(rows),
    )


def _operating_point(evaluation: Mapping[str, Any]) -> FurtherTable:
    names = ("sensitivity", "specificity", "balanced_accuracy")
    columns = {
        "Chosen on all folds": evaluation["metrics"],
        "Chosen on the other folds": evaluation["operating_point"]["across_folds"],
    }
    return FurtherTable(
        "The operating point, without its own optimism",
        "The operating point was chosen on the films it is judged on, which flatters it. Chosen for each fold on the "
        "other folds, it is "
        "free of that.",
        pd.DataFrame(
            [
                {"Figure": _SPREAD[name], **{title: described(of[name]) for title, of in columns.items()}}
                for name in names
            ]
        ),
    )


def _seeds(evaluation: Mapping[str, Any]) -> FurtherTable:
    return FurtherTable(
        "Repeated with other folds",
        f"{len(evaluation['seeds'])} cross-validations with patients divided anew.",
        _spread(evaluation["seed_means"]),
    )


def _original_protocol(evaluation: Mapping[str, Any]) -> FurtherTable:
    block = evaluation["original_protocol"]
    table = _spread(block)
    original = original_figures()
    reported = [_number(original[name]) if name in original else "not reported" for name in _SPREAD if name in block]
    return FurtherTable(
        "The original protocol",
        f"{block['note']} {block['repetitions']} repetitions on {block['images']} films. The "
        "original reported its classes swapped; by its own numbers of films it found "
        f"{published()['original']['found']}.",
        table.assign(Original=reported),
    )


def _spread(figures: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "Figure": title,
                "Mean": _number(figures[name]["mean"]),
                "SD": _number(figures[name]["sd"], 3),
                "Lowest": _number(figures[name]["lowest"]),
                "Highest": _number(figures[name]["highest"]),
            }
            for name, title in _SPREAD.items()
            if name in figures
        ]
    )


def _areas(row: Mapping[str, Any]) -> dict[str, str]:
    return {title: described(row[name]) if name in row else "not defined" for name, title in _AREAS.items()}


def _by_class() -> list[tuple[str, str]]:
    return [("overall", "all films"), *((name, CLASS_TITLES[name]) for name in CLASSES)]


def _number(value: float | None, digits: int = 2) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"
