"""The tables of an evaluation: its figures with their intervals, and the measurements that not every model has.

The page, the HTML file, the model card and the README show these. Every cell is text.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from covid_core.evaluation.metrics import ClassScores, averages
from covid_core.evaluation.published import original_figures, published
from covid_core.evaluation.summary import OUT_OF_FOLD, described, interval
from covid_core.labels import CLASS_TITLES, CLASSES
from covid_core.report.document import Command, Item, Table, Words
from covid_core.report.words import MEANINGS, TABLES, TITLES, table

Evaluation = Mapping[str, Any]
Row = Sequence[str]

_AREAS = ("roc_auc", "pooled_auc", "within_source_auc", "pr_auc")
_CALIBRATION = ("brier", "calibration_intercept", "calibration_slope", "ece")
_RATES = ("sensitivity", "specificity", "balanced_accuracy")
_SPREAD = ("roc_auc", "pooled_auc", "within_source_auc", *_RATES)


def call_table(evaluation: Evaluation) -> Table:
    """The figures that follow from the calls at the threshold."""
    names = [name for name in MEANINGS if name not in (*_AREAS, *_CALIBRATION)]
    not_refitted = TABLES["calls"]["not_refitted"] if evaluation["part"] == OUT_OF_FOLD else ""
    return table("calls", _figures(evaluation, names), evaluation["bootstrap"] | {"not_refitted": not_refitted})


def area_table(evaluation: Evaluation) -> Table:
    """The areas under curves, which need no threshold."""
    return table("areas", _figures(evaluation, _AREAS))


def calibration_table(evaluation: Evaluation) -> Table:
    """Whether the probabilities hold."""
    return table("calibrated", _figures(evaluation, _CALIBRATION))


def confusion_table(evaluation: Evaluation) -> Table:
    """The confusion matrix in counts and shares of the row: rows reference standard, columns call, in class order."""
    rows = []
    for name, counts in zip(CLASSES, evaluation["confusion_matrix"], strict=True):
        total = sum(counts)
        cells = (f"{count} ({count / total:.0%})" if total else "0" for count in counts)
        rows.append([CLASS_TITLES[name], *cells, str(total)])
    return table("confusion", rows)


def class_table(evaluation: Evaluation) -> Table:
    """The classification report as scikit-learn lays it out, in class order; a dash where a share is undefined."""
    report = {name: ClassScores(**evaluation["classification_report"][name]) for name in CLASSES}
    both = all(row.support for row in report.values())  # with one class, what compares the two says nothing
    macro, weighted = averages(report)
    scores = {CLASS_TITLES[name]: row for name, row in report.items()}
    scores |= {"Mean of the classes": macro, "Mean, weighted by images": weighted}
    rows = []
    for title, row in scores.items():
        shares = (number(one if both else None, missing="-") for one in (row.precision, row.recall, row.f1))
        rows.append([title, *shares, str(row.support)])
    right = number(evaluation["metrics"]["accuracy"]["value"], missing="-")
    rows.insert(len(report), ["Accuracy", "", "", right, str(macro.support)])
    return table("classes", rows)


def bins_table(evaluation: Evaluation) -> Table:
    """The bins of the reliability curve, probabilities rising."""
    reliability = evaluation["reliability"]
    share = reliability["prevalence"]
    rows = []
    for one in reliability["bins"]:
        shares = (number(one[name]) for name in ("predicted", "observed"))
        rows.append([f"{one['low']:.2f} to {one['high']:.2f}", str(one["n"]), *shares, interval(one)])
    weighted = "" if share is None else f"Shares are those of images of which {share:.0%} are COVID-19. "
    return table("bins", rows, {"binning": reliability["binning"].capitalize(), "weighted": weighted})


def optional_tables(evaluation: Evaluation) -> list[Table]:
    """The tables of what was measured beyond the figures of one part, those on shortcuts first."""
    found = (optional_table(evaluation, block) for block in _OPTIONAL)
    return [one for one in found if one is not None]


def optional_table(evaluation: Evaluation, block: str) -> Table | None:
    """The table of one block of an evaluation; None where it was not measured."""
    make = _OPTIONAL[block]
    if not evaluation.get(block):
        return None
    rows, values = make(evaluation)
    return table(block, rows, values)


def measured(evaluation: Evaluation, *blocks: str) -> Iterator[Item]:
    """The tables of blocks that were measured, else what `not_measured` says; nothing for one that need not be there."""
    for block in blocks:
        found = optional_table(evaluation, block)
        if found is not None:
            yield found
        elif "missing" in TABLES[block]:
            yield from not_measured(block, evaluation["model"])


def not_measured(block: str, model: str) -> tuple[Words, Command]:
    """The sentence and the command for a block that the evaluation of a model lacks."""
    words = TABLES[block]
    # What is built is another model, beside this one and not in its place.
    built = words["command"].startswith("build")
    how = "; only a model that is built like this has it:" if built else ". This measures it:"
    command = f"python -m covid_core {words['command'].format(name=shlex.quote(model))}"
    return Words(f"{words['missing']} was not measured for this model{how}", "caution"), Command(command)


def number(value: float | None, digits: int = 2, missing: str = "undefined") -> str:
    """A figure with so many digits, or the word for one that is undefined."""
    return missing if value is None else f"{value:.{digits}f}"


def _figures(evaluation: Evaluation, names: Iterable[str]) -> Iterator[Row]:
    for name in names:
        metric, (title, meaning) = evaluation["metrics"][name], MEANINGS[name]
        bounds = interval(metric)
        by = metric["method"] if bounds else ""
        yield title, number(metric["value"]), bounds or metric["note"] or "none", by, str(metric["n"]), meaning


Made = tuple[Iterable[Row], Mapping[str, Any]]
"""The rows of a table, and what fills in its note."""


def _former(evaluation: Evaluation) -> Made:
    """Everything in one table, the former model beside this one."""
    former, hospitals = evaluation["former"], evaluation.get("hospitals") or {}
    then = hospitals.get("former", {})
    elsewhere = {
        "roc_auc": "SIIM, hospital group left out: AUC within a group",
        "same_size_auc": "the same, within one image size",
        "sensitivity": "the same: sensitivity",
        "specificity": "the same: specificity",
    }
    rows = [(title, hospitals[kind], then.get(kind)) for kind, title in elsewhere.items() if kind in hospitals]
    for name, title in (("within_source_auc", "dataset, within a source: AUC"), ("roc_auc", "dataset: AUC")):
        rows.append((title, evaluation["metrics"][name], former[name]))
    if evaluation.get("left_out_sources"):
        left_out = evaluation["left_out_sources"]["within_source_auc"]
        rows.append(("dataset, source left out: AUC", left_out, former["left_out_sources"]))
    for one in evaluation.get("strangers") or ():
        rows.append((f"{one['kind']}, collection left out: called COVID-19", one["called_covid"], one.get("former")))
    for name, block in (evaluation.get("external") or {}).items():
        for finding, entry in block["by_finding"].items():
            before = former["external"].get(name, {}).get(finding, {})
            for kind in _scored(entry):
                rows.append((f"{name} (external), {finding}: {kind}", entry[kind], before.get(kind)))
    return [(title, *(described(one) if one else "" for one in (now, old))) for title, now, old in rows], former


def _hospitals(evaluation: Evaluation) -> Made:
    block = evaluation["hospitals"]
    total = f"{block['images']} ({block['covid']} typical)"
    rows = [("this model, hospital left out", total, block)]
    if "former" in block:
        rows.append(("the former model", total, block["former"]))
    rows.append(("image size alone, no pixels", total, block["size_alone"]))
    for one in block["groups"]:
        rows.append((f"hospital group {one['site']}", f"{one['images']} ({one['covid']} typical)", one))
    kinds = ("roc_auc", "same_size_auc", "sensitivity", "specificity")
    cells = [(name, images, *_known(found, kinds)) for name, images, found in rows]
    return cells, block | {"pooled": number(block["pooled_auc"]), "error": number(block["ece"], 3)}


def _strangers(evaluation: Evaluation) -> Made:
    return [
        (one["kind"], str(one["images"]), *(described(one[name]) for name in ("called_covid", "former") if name in one))
        for one in evaluation["strangers"]
    ], {}


def _robustness(evaluation: Evaluation) -> Made:
    block = evaluation["robustness"]
    rows = []
    for one in block["changes"]:
        shares = (f"{one['flipped']:.1%}", *(f"{one[name]:+.1%}" for name in ("sensitivity", "specificity")))
        rows.append((one["change"], *shares, number(one["mean_difference"], 3)))
    return rows, block


def _opacity_map(evaluation: Evaluation) -> Made:
    block = evaluation["opacity_map"]
    shares = f"{block['mean_share']:.0%}, {block['mean_share_in_boxes']:.0%}"
    return [
        ("Pointing game: the strongest cell lies in a radiologist's box", described(block["pointing_game"])),
        ("ROC AUC of the cells", number(block["cell_auc"], 3)),
        ("Overlap with the boxes (Dice)", described(block["dice"])),
        ("Share of the lungs, mean absolute error", described(block["share_error"])),
        ("Share of the lungs, mean: by the map, by the boxes", shares),
    ], block


def _baselines(evaluation: Evaluation) -> Made:
    rows = {f"{name}, no pixels": found for name, found in evaluation["baselines"].items()}
    return [(name, *_areas(found)) for name, found in ({"this model": evaluation["metrics"]} | rows).items()], {}


def _sources(evaluation: Evaluation) -> Made:
    block = evaluation.get("left_out_sources") or {}
    left_out = {row["source"]: described(row["roc_auc"]) for row in block.get("sources", ())}
    rows = []
    for row in evaluation["sources"]:
        counts = (str(row[name]) for name in ("films", "pairs", "covid"))
        without = [left_out.get(row["source"], "not measured")] if left_out else []
        rows.append([row["source"], *counts, described(row["roc_auc"]), *without])
    if not left_out:
        return rows, {"left_out": ""}
    figures = {name: described(block[name]) for name in ("within_source_auc", "sensitivity", "specificity")}
    return rows, {"left_out": TABLES["sources"]["left_out"].format(**figures)}


def _lungs(evaluation: Evaluation) -> Made:
    block = evaluation["lungs"]
    seen = {"whole": "the whole image", "lungs_only": "the lungs alone", "lungs_out": "the image without lungs"}
    return [(title, *_areas(block[name])) for name, title in seen.items()], block


def _external(evaluation: Evaluation) -> Made:
    rows, areas = [], []
    for name, block in evaluation["external"].items():
        for finding, entry in block["by_finding"].items():
            scored = "; ".join(f"{kind} {described(entry[kind])}" for kind in _scored(entry))
            rows.append((name, finding, str(entry["n"]), str(entry["called_covid"]), scored or "not scored"))
        if block.get("roc_auc") is not None:
            classes = f"{block['labelled']['covid']} covid and {block['labelled']['non_covid']} other images"
            areas.append(f"ROC AUC on {name}: {block['roc_auc']:.2f}, without an interval ({classes})")
    copies = sum(block.get("copies_left_out", 0) for block in evaluation["external"].values())
    return rows, {"copies": copies, "areas": f"{'; '.join(areas)}." if areas else ""}


def _three_way(evaluation: Evaluation) -> Made:
    block = evaluation["three_way"]
    words = {"overall": "all images"} | {name: CLASS_TITLES[name] for name in CLASSES}
    rows = [
        (f"{kind.capitalize()}, {word}", described(block[kind][key]))
        for kind in ("covered", "indeterminate")
        for key, word in words.items()
    ]
    return [*rows, *((f"{TITLES[name]} among the decided", described(block[name])) for name in _RATES[:2])], block


def _ensemble(evaluation: Evaluation) -> Made:
    block = evaluation["ensemble"]
    return [
        ("Median width of the spread", number(block["median_width"])),
        ("Exceeded by one image in ten", number(block["width_90th_percentile"])),
        ("Spread holds the operating point", f"{block['holds_operating_point']:.0%}"),
    ], block


def _gate(evaluation: Evaluation) -> Made:
    block = evaluation["gate"]
    rows: list[Row] = []
    for one in block["kinds"]:
        areas = (number(one[name], 3, missing="") for name in ("roc_auc", "fpr95"))
        repaired = "" if one["right_repair"] is None else f"{one['right_repair']} of {one['n']}"
        rows.append([one["kind"], str(one["n"]), described(one["refused"]), *areas, repaired])
    for one in (*block["hospitals"], *block["sources"]):
        warned = _known(one, ("warned", "called_silently"))
        rows.append([f"to pass: {one['name']}", str(one["n"]), described(one["refused"]), "", "", "", *warned])
    return rows, block


def _calibration(evaluation: Evaluation) -> Made:
    before, after = (evaluation["calibration"][when] for when in ("before", "after"))
    order = ("brier", "ece", "calibration_intercept", "calibration_slope")
    keys = {name: name.removeprefix("calibration_") for name in order}
    return [(TITLES[name], number(before[key]), number(after[key])) for name, key in keys.items()], {}


def _operating_point(evaluation: Evaluation) -> Made:
    chosen = (evaluation["metrics"], evaluation["operating_point"]["across_folds"])
    return [(TITLES[name], *(described(found[name]) for found in chosen)) for name in _RATES], {}


def _seeds(evaluation: Evaluation) -> Made:
    return _spread(evaluation["seed_means"]).values(), {"count": len(evaluation["seeds"])}


def _original_protocol(evaluation: Evaluation) -> Made:
    block, original = evaluation["original_protocol"], original_figures()
    rows = _spread(block)
    return [(*row, number(original.get(name), missing="not reported")) for name, row in rows.items()], block | {
        "original": published()["original"]["found"]
    }


def _spread(figures: Mapping[str, Any]) -> dict[str, Row]:
    """Metric -> its title, mean, standard deviation, lowest and highest value, of those that were measured."""
    digits = {"mean": 2, "sd": 3, "lowest": 2, "highest": 2}
    return {
        name: (TITLES[name], *(number(figures[name][key], count) for key, count in digits.items()))
        for name in _SPREAD
        if name in figures
    }


def _areas(found: Mapping[str, Any]) -> Iterable[str]:
    return (described(found[name]) if name in found else "not defined" for name in _AREAS[:3])


def _known(found: Mapping[str, Any], names: Iterable[str]) -> Iterable[str]:
    return (described(found[name]) if name in found else "" for name in names)


def _scored(entry: Mapping[str, Any]) -> Iterable[str]:
    return (name for name in ("sensitivity", "specificity") if name in entry)


_OPTIONAL: Mapping[str, Callable[[Evaluation], Made]] = {
    make.__name__.removeprefix("_"): make
    for make in (
        *(_former, _hospitals, _strangers, _robustness, _opacity_map, _baselines, _sources, _lungs, _external),
        *(_three_way, _ensemble, _gate, _calibration, _operating_point, _seeds, _original_protocol),
    )
}
"""Block of an evaluation -> what makes its table, in the order they are shown."""
