import copy
import re
from typing import Any

import pandas as pd
import pytest

from covid_core.report.document import Table
from covid_core.report.tables import optional_table, optional_tables


def metric(value: float | None, lower: float | None = None, upper: float | None = None, n: int = 50) -> dict[str, Any]:
    note = None if value is not None and lower is not None else "There are too few patients."
    return {
        "value": value,
        "lower": lower,
        "upper": upper,
        "method": "patient bootstrap",
        "n": n,
        "undefined": 0,
        "note": note,
    }


def areas(value: float) -> dict[str, Any]:
    return {
        "roc_auc": metric(value, value - 0.1, value + 0.05),
        "pooled_auc": metric(value - 0.1, value - 0.2, value - 0.05),
        "within_source_auc": metric(value - 0.2, value - 0.25, value - 0.15),
    }


def spread(mean: float, sd: float | None = 0.0123) -> dict[str, float | None]:
    return {"mean": mean, "sd": sd, "lowest": mean - 0.02, "highest": mean + 0.03}


def by_class(*values: float) -> dict[str, Any]:
    return {
        name: metric(value, value - 0.04, value + 0.02)
        for name, value in zip(("overall", "non_covid", "covid"), values, strict=True)
    }


def source(name: str, images: int, covid: int, area: float) -> dict[str, Any]:
    counts = {"films": images, "covid": covid, "non_covid": images - covid, "pairs": covid * (images - covid)}
    return {"source": name, **counts, "roc_auc": metric(area, area - 0.1, area + 0.1, n=images)}


BARE = {
    "metrics": {
        **areas(0.81),
        "sensitivity": metric(0.771, 0.72, 0.81),
        "specificity": metric(0.782, 0.71, 0.84),
        "balanced_accuracy": metric(0.777, 0.73, 0.81),
    },
    "calibration": {
        "before": {"brier": 0.244, "ece": 0.1149, "intercept": -0.5, "slope": 2.347},
        "after": {"brier": 0.187, "ece": 0.0351, "intercept": 0.0, "slope": None},
    },
    "sources": [source("radiopaedia.org", 120, 40, 0.73), source("www.eurorad.org", 30, 12, 0.66)],
}
"""What every evaluation has."""


def at_hospitals(value: float, **others: Any) -> dict[str, Any]:
    return {
        "roc_auc": metric(value, value - 0.02, value + 0.02),
        "same_size_auc": metric(value - 0.1, value - 0.14, value - 0.06),
        **others,
    }


CALLS = {"sensitivity": metric(0.81, 0.79, 0.83), "specificity": metric(0.84, 0.81, 0.86)}
FORMER_CALLS = {"sensitivity": metric(0.48, 0.45, 0.51), "specificity": metric(0.66, 0.62, 0.7)}


def kind(name: str, refused: float, repairs: int | None, auroc: float | None = 0.987) -> dict[str, Any]:
    return {
        "kind": name,
        "n": 40,
        "unreadable": 0,
        "roc_auc": auroc,
        "fpr95": None if auroc is None else 0.0312,
        "refused": metric(refused, refused - 0.1, refused, n=40),
        "right_repair": repairs,
    }


def place(name: str, **others: Any) -> dict[str, Any]:
    return {"name": name, "n": 30, "refused": metric(0.02, 0.01, 0.08, n=30), **others}


FULL: dict[str, Any] = {
    **BARE,
    "former": {
        "model": "mobilenetv2-older",
        "roc_auc": metric(0.83, 0.8, 0.86),
        "within_source_auc": metric(0.62, 0.58, 0.66),
        "left_out_sources": metric(0.6, 0.53, 0.67),
        "external": {"far": {"No Finding": {"n": 200, "specificity": metric(0.7, 0.65, 0.75, n=200)}}},
    },
    "hospitals": {
        "images": 1234,
        "patients": 1001,
        "covid": 600,
        **at_hospitals(0.88, **CALLS),
        "pooled_auc": 0.9123,
        "ece": 0.0456,
        "size_alone": at_hospitals(0.7),
        "groups": [
            {"site": "S00", "images": 800, "covid": 400, **at_hospitals(0.9, **CALLS)},
            {"site": "S01", "images": 434, "covid": 200, **at_hospitals(0.85, **CALLS)},
        ],
        "former": at_hospitals(0.61, **FORMER_CALLS),
    },
    "strangers": [
        {
            "kind": "tuberculosis",
            "network": "left out",
            "images": 300,
            "called_covid": metric(0.11, 0.08, 0.15, n=300),
            "former": metric(0.32, 0.27, 0.37, n=300),
        },
        {
            "kind": "children",
            "network": "left out",
            "images": 200,
            "called_covid": metric(0.41, 0.34, 0.48, n=200),
        },
    ],
    "robustness": {
        "images": 400,
        "sensitivity": 0.812,
        "specificity": 0.834,
        "changes": [
            {
                "change": "gamma 0.8",
                "flipped": 0.0425,
                "sensitivity": 0.0151,
                "specificity": -0.0204,
                "mean_difference": 0.0261,
            },
            {"change": "mirrored", "flipped": 0.0, "sensitivity": 0.0, "specificity": 0.0, "mean_difference": 0.0},
        ],
    },
    "opacity_map": {
        "images": 500,
        "patients": 480,
        "threshold": 0.35,
        "pointing_game": metric(0.86, 0.83, 0.89),
        "dice": metric(0.58, 0.56, 0.6),
        "share_error": metric(0.11, 0.1, 0.12),
        "cell_auc": 0.9346,
        "mean_share": 0.312,
        "mean_share_in_boxes": 0.287,
    },
    "baselines": {"source": {"roc_auc": metric(0.87, 0.84, 0.89)}, "view": areas(0.71)},
    "left_out_sources": {
        "within_source_auc": metric(0.61, 0.55, 0.68),
        "sensitivity": metric(0.72, 0.65, 0.79),
        "specificity": metric(0.63, 0.55, 0.71),
        "sources": [source("radiopaedia.org", 120, 40, 0.62)],
    },
    "lungs": {
        "films": 416,
        "patients": 250,
        "n_covid": 400,
        "n_non_covid": 16,
        "whole": areas(0.82),
        "lungs_only": areas(0.77),
        "lungs_out": areas(0.58),
    },
    "external": {
        "far": {
            "images": 230,
            "patients": None,
            "copies_left_out": 3,
            "roc_auc": 0.834,
            "labelled": {"non_covid": 200, "covid": 20},
            "by_finding": {
                "No Finding": {"n": 200, "called_covid": 20, "specificity": metric(0.9, 0.85, 0.93, n=200)},
                "COVID-19": {"n": 20, "called_covid": 18, "sensitivity": metric(0.95, 0.76, 0.99, n=20)},
                "not stated": {"n": 10, "called_covid": 4},
            },
        },
    },
    "three_way": {
        "coverage": 0.9,
        "lower": 0.3104,
        "upper": 0.6896,
        "covered": by_class(0.91, 0.92, 0.89),
        "indeterminate": by_class(0.31, 0.33, 0.28),
        "decided": metric(0.69, 0.62, 0.75),
        "sensitivity": metric(0.86, 0.8, 0.9),
        "specificity": metric(0.88, 0.82, 0.92),
    },
    "ensemble": {
        "members": 20,
        "share": 0.95,
        "films": 700,
        "median_width": 0.214,
        "width_90th_percentile": 0.371,
        "holds_operating_point": 0.336,
    },
    "gate": {
        "films": 900,
        "kinds": [kind("turned left", 1.0, 38), kind("CT slice", 0.9, None), kind("nothing", 0.5, None, auroc=None)],
        "hospitals": [
            place(
                "the dataset, patients apart",
                warned=metric(0.01, 0.0, 0.03, n=30),
                called_silently=metric(0.55, 0.5, 0.6, n=30),
            ),
            place("children", warned=metric(0.93, 0.88, 0.97, n=30), called_silently=metric(0.02, 0.0, 0.06, n=30)),
        ],
        "sources": [place("radiopaedia.org")],
    },
    "operating_point": {
        "value": 0.52,
        "rule": "youden",
        "method": "the maximum of Youden's J",
        "across_folds": {
            "sensitivity": metric(0.733, 0.7, 0.76),
            "specificity": metric(0.744, 0.7, 0.78),
            "balanced_accuracy": metric(0.739, 0.7, 0.77),
        },
    },
    "seeds": [{"seed": seed, "roc_auc": 0.8} for seed in range(3)],
    "seed_means": {"roc_auc": spread(0.793), "within_source_auc": spread(0.654), "sensitivity": spread(0.75, None)},
    "original_protocol": {
        "repetitions": 20,
        "images": 444,
        "note": "For comparison only.",
        "balanced_accuracy": spread(0.778),
        "roc_auc": spread(0.85),
    },
}

BLOCKS = (
    *("former", "hospitals", "strangers", "robustness", "opacity_map", "baselines", "sources", "lungs", "external"),
    *("three_way", "ensemble", "gate", "calibration", "operating_point", "seeds", "original_protocol"),
)


def table_of(evaluation: dict[str, Any], block: str) -> Table:
    found = optional_table(evaluation, block)
    assert found is not None
    return found


def rows_of(table: pd.DataFrame) -> list[list[str]]:
    return table.to_numpy().tolist()


def test_every_block_that_was_measured_has_one_table_of_text_those_on_shortcuts_first() -> None:
    found = optional_tables(FULL)
    assert [one.title for one in found] == [table_of(FULL, block).title for block in BLOCKS]
    assert len({one.title for one in found}) == len({one.name for one in found}) == len(BLOCKS)
    for one in found:
        assert one.note.endswith(".")
        assert "{" not in one.note
        assert len(one.table) > 0
        assert all(isinstance(cell, str) for row in [list(one.table.columns), *rows_of(one.table)] for cell in row)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("nothing", ["absent", None, "empty"])
def test_a_block_that_was_not_measured_has_no_table(block: str, nothing: str | None) -> None:
    evaluation = copy.deepcopy(FULL)
    if nothing == "absent":
        del evaluation[block]
    else:
        evaluation[block] = None if nothing is None else type(FULL[block])()
    assert optional_table(evaluation, block) is None
    assert len(optional_tables(evaluation)) == len(BLOCKS) - 1


def test_an_evaluation_of_the_test_part_alone_has_its_sources_and_its_calibration() -> None:
    assert [one.name for one in optional_tables(BARE)] == ["sources", "calibration"]


def figures_in(block: str) -> dict[str, list[str]]:
    """First cell of a row -> the figures in its others, without intervals and what follows them."""
    return {name: [cell.split(" (")[0] for cell in cells] for name, *cells in rows_of(table_of(FULL, block).table)}


FIGURES: dict[str, dict[str, list[str]]] = {
    "former": {
        "SIIM, hospital group left out: AUC within a group": ["0.88", "0.61"],
        "the same, within one image size": ["0.78", "0.51"],
        "the same: sensitivity": ["0.81", "0.48"],
        "the same: specificity": ["0.84", "0.66"],
        "dataset, within a source: AUC": ["0.61", "0.62"],
        "dataset: AUC": ["0.81", "0.83"],
        "dataset, source left out: AUC": ["0.61", "0.60"],
        "tuberculosis, collection left out: called COVID-19": ["0.11", "0.32"],
        "children, collection left out: called COVID-19": ["0.41", ""],
        "far (external), No Finding: specificity": ["0.90", "0.70"],
        "far (external), COVID-19: sensitivity": ["0.95", ""],
    },
    "hospitals": {
        "this model, hospital left out": ["1234", "0.88", "0.78", "0.81", "0.84"],
        "the former model": ["1234", "0.61", "0.51", "0.48", "0.66"],
        "image size alone, no pixels": ["1234", "0.70", "0.60", "", ""],  # a size calls nothing
        "hospital group S00": ["800", "0.90", "0.80", "0.81", "0.84"],
        "hospital group S01": ["434", "0.85", "0.75", "0.81", "0.84"],
    },
    "strangers": {"tuberculosis": ["300", "0.11", "0.32"], "children": ["200", "0.41", ""]},
    "robustness": {
        "gamma 0.8": ["4.2%", "+1.5%", "-2.0%", "0.026"],
        "mirrored": ["0.0%", "+0.0%", "+0.0%", "0.000"],
    },
    "baselines": {
        "this model": ["0.81", "0.71", "0.61"],
        "source, no pixels": ["0.87", "not defined", "not defined"],  # within a source it knows nothing
        "view, no pixels": ["0.71", "0.61", "0.51"],
    },
    "sources": {
        "radiopaedia.org": ["120", "3200", "40", "0.73", "0.62"],
        "www.eurorad.org": ["30", "216", "12", "0.66", "not measured"],
    },
    "lungs": {
        "the whole image": ["0.82", "0.72", "0.62"],
        "the lungs alone": ["0.77", "0.67", "0.57"],
        "the image without lungs": ["0.58", "0.48", "0.38"],
    },
    "three_way": {
        "Covered, all images": ["0.91"],
        "Covered, Not COVID-19": ["0.92"],
        "Covered, COVID-19": ["0.89"],
        "Indeterminate, all images": ["0.31"],
        "Indeterminate, Not COVID-19": ["0.33"],
        "Indeterminate, COVID-19": ["0.28"],
        "Sensitivity among the decided": ["0.86"],
        "Specificity among the decided": ["0.88"],
    },
    "gate": {
        "turned left": ["40", "1.00", "0.987", "0.031", "38 of 40", "", ""],
        "CT slice": ["40", "0.90", "0.987", "0.031", "", "", ""],
        "nothing": ["40", "0.50", "", "", "", "", ""],
        "to pass: the dataset, patients apart": ["30", "0.02", "", "", "", "0.01", "0.55"],
        "to pass: children": ["30", "0.02", "", "", "", "0.93", "0.02"],
        "to pass: radiopaedia.org": [
            "30",
            "0.02",
            "",
            "",
            "",
            "",
            "",
        ],  # as a gate of before there were warnings has it
    },
    "operating_point": {
        "Sensitivity": ["0.77", "0.73"],
        "Specificity": ["0.78", "0.74"],
        "Balanced accuracy": ["0.78", "0.74"],
    },
    "original_protocol": {
        "ROC AUC": ["0.85", "0.012", "0.83", "0.88", "not reported"],
        "Balanced accuracy": ["0.78", "0.012", "0.76", "0.81", "0.70"],
    },
}


@pytest.mark.parametrize("block", FIGURES)
def test_every_figure_of_a_block_stands_in_its_row_and_column(block: str) -> None:
    assert figures_in(block) == FIGURES[block]


def test_figures_have_their_intervals_and_what_is_undefined_says_so() -> None:
    assert rows_of(table_of(FULL, "lungs").table)[0][1] == "0.82 (95% CI 0.72 to 0.87, n = 50)"
    assert [row[1] for row in rows_of(table_of(FULL, "opacity_map").table)] == [
        *("0.86 (95% CI 0.83 to 0.89, n = 50)", "0.935", "0.58 (95% CI 0.56 to 0.60, n = 50)"),
        *("0.11 (95% CI 0.10 to 0.12, n = 50)", "31%, 29%"),
    ]
    assert [row[1] for row in rows_of(table_of(FULL, "ensemble").table)] == ["0.21", "0.37", "34%"]
    calibration = [row[1:] for row in rows_of(table_of(BARE, "calibration").table)]
    assert calibration == [["0.24", "0.19"], ["0.11", "0.04"], ["-0.50", "0.00"], ["2.35", "undefined"]]
    seeds = rows_of(table_of(FULL, "seeds").table)
    assert seeds[0] == ["ROC AUC", "0.79", "0.012", "0.77", "0.82"]
    assert seeds[2] == ["Sensitivity", "0.75", "undefined", "0.73", "0.78"]
    evaluation = copy.deepcopy(FULL)
    evaluation["lungs"]["lungs_out"]["within_source_auc"] = metric(None)
    assert table_of(evaluation, "lungs").table["ROC AUC within a source"][2] == "undefined. There are too few patients."


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("former", ["`mobilenetv2-older`"]),
        ("hospitals", ["1234 images of 1001 patients", "pooled over groups the AUC is 0.91", "common: 0.046"]),
        ("robustness", ["400 images", "sensitivity (81%)", "specificity (83%)"]),
        ("opacity_map", ["500 images with boxes of 480 patients", "Cells above 0.35"]),
        ("sources", ["0.61 (95% CI 0.55 to 0.68, n = 50)", "sensitivity 0.72 (95%", "specificity 0.63 (95%"]),
        ("lungs", ["416 images", "400 with COVID-19", "16 without", "250 patients"]),
        ("three_way", ["from 0.310 to 0.690", "90% coverage"]),
        ("ensemble", ["20 models", "700 images"]),
        ("gate", ["knows 900 images"]),
        ("seeds", ["3 cross-validations"]),
        ("original_protocol", ["For comparison only. 20 repetitions on 444 images. "]),
    ],
)
def test_the_note_of_a_table_says_what_its_figures_rest_on(block: str, words: list[str]) -> None:
    note = table_of(FULL, block).note
    assert [one for one in words if one not in note] == []


@pytest.mark.parametrize("left_out", [{}, {"left_out_sources": None}])
def test_without_sources_left_out_their_column_and_sentence_are_missing(left_out: dict[str, None]) -> None:
    found = table_of({**BARE, **left_out}, "sources")
    assert "ROC AUC, source left out" not in found.table.columns
    assert "eft out" not in found.note


def test_without_a_former_model_no_row_of_one_is_shown() -> None:
    evaluation = copy.deepcopy(FULL)
    del evaluation["hospitals"]["former"], evaluation["former"]
    assert "the former model" not in list(table_of(evaluation, "hospitals").table[""])
    assert optional_table(evaluation, "former") is None


def test_external_images_are_listed_by_finding_with_the_figures_that_fit_it() -> None:
    evaluation = copy.deepcopy(FULL)
    findings = evaluation["external"]["far"]["by_finding"]
    findings["both"] = {"n": 10, "called_covid": 4, "sensitivity": metric(0.25), "specificity": metric(0.5)}
    findings["Mass|Nodule"] = findings.pop("not stated")  # as NIH ChestX-ray8 writes several findings
    found = table_of(evaluation, "external")
    assert [[*row[1:4], row[4].split(" (")[0]] for row in rows_of(found.table)] == [
        ["No Finding", "200", "20", "specificity 0.90"],
        ["COVID-19", "20", "18", "sensitivity 0.95"],
        ["both", "10", "4", "sensitivity 0.25"],
        ["Mass|Nodule", "10", "4", "not scored"],
    ]
    assert "specificity 0.50" in found.table.iloc[2, 4]
    bars = {len(re.findall(r"(?<!\\)\|", line)) for line in found.markdown().splitlines()}
    assert bars == {6}  # the bar in a finding does not tear its row


def test_a_table_as_markdown_has_a_head_a_rule_and_its_rows() -> None:
    table = pd.DataFrame([{"Seen": "the lungs", "ROC AUC": "0.77"}, {"Seen": "the rest", "ROC AUC": "0.58"}])
    assert Table("seen", "Seen", table).markdown() == (
        "| Seen | ROC AUC |\n|---|---|\n| the lungs | 0.77 |\n| the rest | 0.58 |"
    )
