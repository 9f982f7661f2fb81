import numpy as np
import pytest

from covid_core.evaluation.estimates import METRICS
from covid_core.evaluation.evaluate import evaluate
from covid_core.report.tables import (
    area_table,
    calibration_table,
    call_table,
    class_table,
    confusion_table,
)
from covid_core.report.words import MEANINGS
from tests.evaluation.made_up import predictions

TRUE_NEGATIVE, FALSE_POSITIVE, FALSE_NEGATIVE, TRUE_POSITIVE = 16, 4, 3, 7


@pytest.fixture(scope="module")
def evaluation() -> dict[str, object]:
    """30 images of 30 patients with the four counts above."""
    called = [0.1] * TRUE_NEGATIVE + [0.9] * FALSE_POSITIVE + [0.2] * FALSE_NEGATIVE + [0.8] * TRUE_POSITIVE
    table = predictions(np.arange(30) >= 20, called)
    return evaluate(table, model="net", threshold=0.5, n_resamples=200)


def test_every_metric_of_an_evaluation_has_a_meaning() -> None:
    assert set(MEANINGS) == set(METRICS)


def test_the_figures_stand_with_their_intervals(evaluation: dict[str, object]) -> None:
    found = call_table(evaluation)
    assert "95%, from 200 resamples of whole patients" in found.note
    table = found.table.set_index("Figure")
    assert table.loc["Sensitivity", "Value"] == "0.70"
    assert table.loc["Specificity", "Value"] == "0.80"
    assert table.loc["Sensitivity", "Images"] == "10"
    lower, upper = map(float, table.loc["Sensitivity", "95% interval"].split(" to "))
    assert 0 <= lower < 0.7 < upper <= 1
    assert table.loc["Sensitivity", "Interval by"] == "patient bootstrap"


def test_every_figure_stands_in_one_of_the_tables(evaluation: dict[str, object]) -> None:
    tables = [make(evaluation).table for make in (call_table, area_table, calibration_table)]
    assert sorted(title for table in tables for title in table["Figure"]) == sorted(
        title for title, _ in MEANINGS.values()
    )


def test_a_figure_without_a_value_says_why(evaluation: dict[str, object]) -> None:
    missing = {"value": None, "lower": None, "upper": None, "n": 0, "note": "Not defined: there is no covid image."}
    table = call_table({**evaluation, "metrics": dict.fromkeys(MEANINGS, missing)}).table
    assert set(table["Value"]) == {"undefined"}
    assert set(table["95% interval"]) == {"Not defined: there is no covid image."}


def test_the_confusion_matrix_stands_in_class_order(evaluation: dict[str, object]) -> None:
    table = confusion_table(evaluation).table
    assert list(table.columns) == ["Reference standard", "Called: Not COVID-19", "Called: COVID-19", "Images"]
    assert list(table.iloc[0]) == ["Not COVID-19", "16 (80%)", "4 (20%)", "20"]
    assert list(table.iloc[1]) == ["COVID-19", "3 (30%)", "7 (70%)", "10"]


def test_an_empty_row_of_the_matrix_has_no_shares() -> None:
    assert list(confusion_table({"confusion_matrix": [[0, 0], [1, 1]]}).table.iloc[0]) == [
        "Not COVID-19",
        "0",
        "0",
        "0",
    ]


def test_the_report_by_class_is_that_of_the_four_counts(evaluation: dict[str, object]) -> None:
    table = class_table(evaluation).table.set_index("Class")
    assert list(table.loc["COVID-19"]) == ["0.64", "0.70", "0.67", "10"]  # 7/11, 7/10, 14/21
    assert list(table.loc["Not COVID-19"]) == ["0.84", "0.80", "0.82", "20"]  # 16/19, 16/20, 32/39
