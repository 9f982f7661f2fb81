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


def source(name: str, films: int, covid: int, area: float) -> dict[str, Any]:
    counts = {"films": films, "covid": covid, "non_covid": films - covid, "pairs": covid * (films - covid)}
    return {"source": name, **counts, "roc_auc": metric(area, area - 0.1, area + 0.1, n=films)}


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


def test_the_model_stands_above_the_baselines_and_a_source_knows_nothing_within_itself() -> None:
    table = table_of(FULL, "baselines").table
    assert list(table.columns) == ["", "ROC AUC", "ROC AUC, folds pooled", "ROC AUC within a source"]
    assert rows_of(table) == [
        [
            "this model",
            "0.81 (95% CI 0.71 to 0.86, n = 50)",
            "0.71 (95% CI 0.61 to 0.76, n = 50)",
            "0.61 (95% CI 0.56 to 0.66, n = 50)",
        ],
        ["source, no pixels", "0.87 (95% CI 0.84 to 0.89, n = 50)", "not defined", "not defined"],
        [
            "view, no pixels",
            "0.71 (95% CI 0.61 to 0.76, n = 50)",
            "0.61 (95% CI 0.51 to 0.66, n = 50)",
            "0.51 (95% CI 0.46 to 0.56, n = 50)",
        ],
    ]


def test_each_source_has_its_films_and_its_figure_with_and_without_itself() -> None:
    found = table_of(FULL, "sources")
    assert list(found.table.columns) == ["Source", "Images", "Pairs", "COVID-19", "ROC AUC", "ROC AUC, source left out"]
    assert rows_of(found.table) == [
        [
            "radiopaedia.org",
            "120",
            "3200",
            "40",
            "0.73 (95% CI 0.63 to 0.83, n = 120)",
            "0.62 (95% CI 0.52 to 0.72, n = 120)",
        ],
        ["www.eurorad.org", "30", "216", "12", "0.66 (95% CI 0.56 to 0.76, n = 30)", "not measured"],
    ]
    for figure in ("0.61 (95% CI 0.55 to 0.68, n = 50)", "sensitivity 0.72 (95%", "specificity 0.63 (95%"):
        assert figure in found.note


@pytest.mark.parametrize("nothing", ["absent", None])
def test_without_sources_left_out_their_column_and_sentence_are_missing(nothing: str | None) -> None:
    evaluation = {**FULL, "left_out_sources": None} if nothing is None else BARE
    found = table_of(evaluation, "sources")
    assert "ROC AUC, source left out" not in found.table.columns
    assert "eft out" not in found.note


def test_hospitals_never_seen_stand_below_the_model_as_a_whole_the_former_one_and_the_size_alone() -> None:
    found = table_of(FULL, "hospitals")
    assert list(found.table.columns) == [*("", "Images", "AUC", "AUC, same image size", "Sensitivity", "Specificity")]
    assert [row[:2] for row in rows_of(found.table)] == [
        ["this model, hospital left out", "1234 (600 typical)"],
        ["the former model", "1234 (600 typical)"],
        ["image size alone, no pixels", "1234 (600 typical)"],
        ["hospital group S00", "800 (400 typical)"],
        ["hospital group S01", "434 (200 typical)"],
    ]
    assert rows_of(found.table)[0][2:] == [
        "0.88 (95% CI 0.86 to 0.90, n = 50)",
        "0.78 (95% CI 0.74 to 0.82, n = 50)",
        "0.81 (95% CI 0.79 to 0.83, n = 50)",
        "0.84 (95% CI 0.81 to 0.86, n = 50)",
    ]
    assert [cell[:4] for cell in found.table["AUC"]] == ["0.88", "0.61", "0.70", "0.90", "0.85"]
    assert rows_of(found.table)[2][4:] == ["", ""]  # a size calls nothing
    for words in ("1234 images of 1001 patients", "pooled over groups the AUC is 0.91", "common: 0.046"):
        assert words in found.note


def test_without_a_former_model_no_row_of_one_is_shown() -> None:
    evaluation = copy.deepcopy(FULL)
    del evaluation["hospitals"]["former"], evaluation["former"]
    assert "the former model" not in list(table_of(evaluation, "hospitals").table[""])
    assert optional_table(evaluation, "former") is None


def test_strangers_are_counted_with_the_share_that_is_called_covid_by_either_model() -> None:
    found = table_of(FULL, "strangers")
    assert list(found.table.columns) == ["Images", "n", "Called COVID-19", "By the former model"]
    assert rows_of(found.table) == [
        ["tuberculosis", "300", "0.11 (95% CI 0.08 to 0.15, n = 300)", "0.32 (95% CI 0.27 to 0.37, n = 300)"],
        ["children", "200", "0.41 (95% CI 0.34 to 0.48, n = 200)", ""],
    ]


def test_a_harmless_change_is_shown_with_the_calls_that_flip_and_which_way_the_rates_move() -> None:
    found = table_of(FULL, "robustness")
    assert rows_of(found.table) == [
        ["gamma 0.8", "4.2%", "+1.5%", "-2.0%", "0.026"],
        ["mirrored", "0.0%", "+0.0%", "+0.0%", "0.000"],
    ]
    for words in ("400 images", "sensitivity (81%)", "specificity (83%)"):
        assert words in found.note


def test_the_opacity_map_is_held_against_the_boxes_by_place_by_area_and_by_share() -> None:
    found = table_of(FULL, "opacity_map")
    assert [row[1] for row in rows_of(found.table)] == [
        "0.86 (95% CI 0.83 to 0.89, n = 50)",
        "0.935",
        "0.58 (95% CI 0.56 to 0.60, n = 50)",
        "0.11 (95% CI 0.10 to 0.12, n = 50)",
        "31%, 29%",
    ]
    for words in ("500 images with boxes of 480 patients", "Cells above 0.35"):
        assert words in found.note


def test_the_overview_has_every_figure_of_both_models_side_by_side() -> None:
    found = table_of(FULL, "former")
    assert "`mobilenetv2-older`" in found.note
    assert list(found.table.columns) == ["Figure", "This model", "Former model"]
    assert [[name, now[:4], then[:4]] for name, now, then in rows_of(found.table)] == [
        ["SIIM, hospital group left out: AUC within a group", "0.88", "0.61"],
        ["the same, within one image size", "0.78", "0.51"],
        ["the same: sensitivity", "0.81", "0.48"],
        ["the same: specificity", "0.84", "0.66"],
        ["dataset, within a source: AUC", "0.61", "0.62"],
        ["dataset: AUC", "0.81", "0.83"],
        ["dataset, source left out: AUC", "0.61", "0.60"],
        ["tuberculosis, collection left out: called COVID-19", "0.11", "0.32"],
        ["children, collection left out: called COVID-19", "0.41", ""],
        ["far (external), No Finding: specificity", "0.90", "0.70"],
        ["far (external), COVID-19: sensitivity", "0.95", ""],
    ]


def test_the_gate_is_shown_with_what_it_refuses_warns_of_and_lets_pass_in_silence() -> None:
    found = table_of(FULL, "gate")
    assert "knows 900 images" in found.note
    assert list(found.table.columns) == [
        *("Images", "n", "Refused", "AUROC", "FPR95", "Right repair offered"),
        *("Warned of a child", "Called COVID-19, nothing said"),
    ]
    rows = rows_of(found.table)
    assert rows[0][:6] == ["turned left", "40", "1.00 (95% CI 0.90 to 1.00, n = 40)", "0.987", "0.031", "38 of 40"]
    assert [row[5] for row in rows[1:3]] == ["", ""]
    assert rows[2][3:5] == ["", ""]
    assert [[row[0], row[6][:4], row[7][:4]] for row in rows[3:]] == [
        ["to pass: the dataset, patients apart", "0.01", "0.55"],
        ["to pass: children", "0.93", "0.02"],
        ["to pass: radiopaedia.org", "", ""],  # as a gate of before there were warnings has it
    ]


def test_the_ensemble_is_shown_by_how_wide_it_spreads_and_how_often_it_holds_the_operating_point() -> None:
    found = table_of(FULL, "ensemble")
    assert [row[1] for row in rows_of(found.table)] == ["0.21", "0.37", "34%"]
    for words in ("20 models", "700 images"):
        assert words in found.note


def test_the_lungs_are_told_with_their_films_of_each_class() -> None:
    found = table_of(FULL, "lungs")
    for words in ("416 images", "400 with COVID-19", "16 without", "250 patients"):
        assert words in found.note
    assert [row[:2] for row in rows_of(found.table)] == [
        ["the whole image", "0.82 (95% CI 0.72 to 0.87, n = 50)"],
        ["the lungs alone", "0.77 (95% CI 0.67 to 0.82, n = 50)"],
        ["the image without lungs", "0.58 (95% CI 0.48 to 0.63, n = 50)"],
    ]


def test_external_films_are_told_by_finding_with_the_figure_that_fits_it() -> None:
    assert rows_of(table_of(FULL, "external").table) == [
        ["far", "No Finding", "200", "20", "specificity 0.90 (95% CI 0.85 to 0.93, n = 200)"],
        ["far", "COVID-19", "20", "18", "sensitivity 0.95 (95% CI 0.76 to 0.99, n = 20)"],
        ["far", "not stated", "10", "4", "not scored"],
    ]


def test_a_finding_whose_films_have_both_labels_shows_both_figures() -> None:
    evaluation = copy.deepcopy(FULL)
    entry = evaluation["external"]["far"]["by_finding"]["not stated"]
    entry |= {"sensitivity": metric(0.25, 0.1, 0.5, n=4), "specificity": metric(0.5, 0.3, 0.7, n=6)}
    text = " ".join(rows_of(table_of(evaluation, "external").table)[2])
    assert "sensitivity 0.25" in text
    assert "specificity 0.50" in text


def test_the_three_way_decision_tells_its_bounds_its_coverage_and_what_is_left_undecided() -> None:
    found = table_of(FULL, "three_way")
    for words in ("from 0.310 to 0.690", "90% coverage"):
        assert words in found.note
    assert [[name, value[:4]] for name, value in rows_of(found.table)] == [
        ["Covered, all images", "0.91"],
        ["Covered, Not COVID-19", "0.92"],
        ["Covered, COVID-19", "0.89"],
        ["Indeterminate, all images", "0.31"],
        ["Indeterminate, Not COVID-19", "0.33"],
        ["Indeterminate, COVID-19", "0.28"],
        ["Sensitivity among the decided", "0.86"],
        ["Specificity among the decided", "0.88"],
    ]


def test_the_calibration_before_stands_beside_that_after_and_what_is_undefined_says_so() -> None:
    table = table_of(BARE, "calibration").table
    assert list(table.columns) == ["Figure", "Before", "After"]
    assert [row[1:] for row in rows_of(table)] == [
        ["0.24", "0.19"],
        ["0.11", "0.04"],
        ["-0.50", "0.00"],
        ["2.35", "undefined"],
    ]


def test_repetitions_are_told_by_mean_spread_and_extremes_in_the_order_of_the_figures() -> None:
    found = table_of(FULL, "seeds")
    assert "3 cross-validations" in found.note
    assert list(found.table.columns) == ["Figure", "Mean", "SD", "Lowest", "Highest"]
    assert rows_of(found.table)[0] == ["ROC AUC", "0.79", "0.012", "0.77", "0.82"]
    assert rows_of(found.table)[2] == ["Sensitivity", "0.75", "undefined", "0.73", "0.78"]


def test_the_original_protocol_is_told_with_its_note_its_repetitions_and_its_films() -> None:
    found = table_of(FULL, "original_protocol")
    assert found.note.startswith("For comparison only. 20 repetitions on 444 images. ")
    assert rows_of(found.table) == [
        ["ROC AUC", "0.85", "0.012", "0.83", "0.88", "not reported"],
        ["Balanced accuracy", "0.78", "0.012", "0.76", "0.81", "0.70"],
    ]


def test_a_figure_without_a_value_says_why() -> None:
    evaluation = copy.deepcopy(FULL)
    evaluation["lungs"]["lungs_out"]["within_source_auc"] = metric(None)
    assert table_of(evaluation, "lungs").table["ROC AUC within a source"][2] == "undefined. There are too few patients."


def test_a_table_as_markdown_has_a_head_a_rule_and_its_rows() -> None:
    table = pd.DataFrame([{"Seen": "the lungs", "ROC AUC": "0.77"}, {"Seen": "the rest", "ROC AUC": "0.58"}])
    assert Table("seen", "Seen", table).markdown() == (
        "| Seen | ROC AUC |\n|---|---|\n| the lungs | 0.77 |\n| the rest | 0.58 |"
    )


def test_a_finding_with_a_bar_in_it_does_not_tear_its_row() -> None:
    evaluation = copy.deepcopy(FULL)
    findings = evaluation["external"]["far"]["by_finding"]
    findings["Mass|Nodule"] = findings.pop("No Finding")  # as NIH ChestX-ray8 writes several findings
    head, *rows = table_of(evaluation, "external").markdown().splitlines()
    bars = {len(re.findall(r"(?<!\\)\|", line)) for line in (head, *rows)}
    assert bars == {6}


def test_the_operating_point_chosen_elsewhere_stands_beside_the_one_chosen_here() -> None:
    rows = rows_of(table_of(FULL, "operating_point").table)
    assert [[name, here[:4], there[:4]] for name, here, there in rows] == [
        ["Sensitivity", "0.77", "0.73"],
        ["Specificity", "0.78", "0.74"],
        ["Balanced accuracy", "0.78", "0.74"],
    ]
