import re
from dataclasses import asdict, replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from covid_core.evaluation.published import (
    AFTER,
    BEFORE,
    FIELD,
    ORIGINAL_FILMS,
    Matrix,
    ReportedRow,
    ReportedTable,
    Supports,
    consistent_matrices,
    false_alarms_needed,
    original_figures,
    original_in_words,
    original_table,
    published_table,
    swap_argument,
    swapped_back,
)
from covid_core.evaluation.report import evaluate

EXCHANGED_FILMS = Supports(non_covid=35, covid=19)
TABLES = pytest.mark.parametrize("table", [BEFORE, AFTER], ids=lambda table: table.when)


def printed_as(share: Fraction, printed: float) -> bool:
    """Whether two digits of an exact share, a half rounded up or to even, are the printed ones."""
    hundredths = share * 100
    up = (hundredths + Fraction(1, 2)).__floor__()
    return round(printed * 100) in (up, round(hundredths))


def by_exact_search(table: ReportedTable, films: Supports) -> list[Matrix]:
    """The same question answered with whole numbers over the whole grid of confusion matrices."""
    found = []
    for tn in range(films.non_covid + 1):
        for tp in range(films.covid + 1):
            fp, fn = films.non_covid - tn, films.covid - tp
            if tn + fn == 0 or tp + fp == 0:
                continue
            exact = {
                "covid": (Fraction(tp, tp + fp), Fraction(tp, tp + fn), Fraction(2 * tp, 2 * tp + fp + fn)),
                "non_covid": (Fraction(tn, tn + fn), Fraction(tn, tn + fp), Fraction(2 * tn, 2 * tn + fp + fn)),
            }
            if all(
                printed_as(share, printed)
                for name, shares in exact.items()
                for share, printed in zip(shares, asdict(getattr(table, name)).values(), strict=True)
            ):
                found.append(((tn, fp), (fn, tp)))
    return found


@TABLES
def test_no_calls_on_the_originals_films_give_its_tables_as_printed(table: ReportedTable) -> None:
    assert consistent_matrices(table, ORIGINAL_FILMS) == ()


def test_with_the_class_names_exchanged_one_confusion_matrix_gives_each_table() -> None:
    assert consistent_matrices(BEFORE.swapped(), ORIGINAL_FILMS) == (((18, 1), (17, 18)),)  # 18/19, 18/35, 18/36
    assert consistent_matrices(AFTER.swapped(), ORIGINAL_FILMS) == (((17, 2), (17, 18)),)  # 17/19, 18/35, 18/20


@TABLES
@pytest.mark.parametrize("films", [ORIGINAL_FILMS, EXCHANGED_FILMS], ids=["films as counted", "films exchanged"])
def test_the_search_finds_what_exact_arithmetic_over_the_whole_grid_finds(
    table: ReportedTable, films: Supports
) -> None:
    for rows in (table, table.swapped()):
        assert list(consistent_matrices(rows, films)) == by_exact_search(rows, films)


@TABLES
def test_exchanging_the_films_instead_of_the_names_is_the_same_matrix_turned_round(table: ReportedTable) -> None:
    (tn, fp), (fn, tp) = swapped_back(table)
    assert consistent_matrices(table, EXCHANGED_FILMS) == (((tp, fn), (fp, tn)),)


def test_a_half_may_have_been_rounded_up_or_to_even() -> None:
    films = Supports(non_covid=200, covid=200)  # 25 of 200 are 0.125, 175 of 200 are 0.875
    for recall in (0.12, 0.13):
        rows = ReportedTable("made up", ReportedRow(0.50, 0.88, 0.64), ReportedRow(0.50, recall, 0.20))
        assert ((175, 25), (175, 25)) in consistent_matrices(rows, films)
    missed = ReportedTable("made up", ReportedRow(0.50, 0.88, 0.64), ReportedRow(0.50, 0.14, 0.20))
    assert ((175, 25), (175, 25)) not in consistent_matrices(missed, films)


def test_a_class_without_films_is_refused() -> None:
    with pytest.raises(ValueError, match="must have a film"):
        consistent_matrices(BEFORE, Supports(non_covid=0, covid=35))


def test_a_table_that_fits_nothing_is_not_swapped_back() -> None:
    with pytest.raises(ValueError, match="must fit one matrix"):
        swapped_back(replace(BEFORE, covid=ReportedRow(0.10, 0.95, 0.67)))


def test_the_reported_precision_would_need_more_false_alarms_than_there_were_films() -> None:
    assert false_alarms_needed(BEFORE.covid, 35) == 32  # 33 found, 33 * 0.49 / 0.51 = 31.7
    assert false_alarms_needed(AFTER.covid, 35) == 31  # 31 found, 31 * 0.50 / 0.50
    assert ORIGINAL_FILMS.non_covid == 19


def test_the_originals_true_figures_follow_from_its_table() -> None:
    assert original_figures() == pytest.approx(
        {"sensitivity": 18 / 35, "specificity": 17 / 19, "balanced_accuracy": (18 / 35 + 17 / 19) / 2}
    )
    assert original_figures(BEFORE)["specificity"] == pytest.approx(18 / 19)
    assert original_in_words() == "18 of 35 covid films and 17 of 19 others"


def test_the_argument_is_made_of_the_numbers() -> None:
    text = swap_argument()
    assert len(re.findall(r"\.(?: |$)", text)) == 4
    assert "recall of 0.95 and a precision of 0.51" in text
    assert "about 33 of the 35 at that precision takes about 32 false alarms" in text
    assert "only 19 films" in text
    assert "none gives either of its two tables as printed" in text
    assert "sensitivity was 0.51 (18 of 35 films) before fine-tuning and 0.51 (18 of 35 films) after it" in text
    assert "specificity 0.95 (18 of 19 films) and 0.89 (17 of 19 films)" in text


def test_the_originals_rows_stand_as_printed_beside_what_they_mean() -> None:
    table = original_table()
    assert table.to_numpy().tolist() == [
        ["covid, before fine-tuning", "0.51", "0.95", "0.67", "not COVID-19: specificity 0.95 (18 of 19 films)"],
        ["non_covid, before fine-tuning", "0.95", "0.51", "0.67", "COVID-19: sensitivity 0.51 (18 of 35 films)"],
        ["covid, after fine-tuning", "0.50", "0.89", "0.64", "not COVID-19: specificity 0.89 (17 of 19 films)"],
        ["non_covid, after fine-tuning", "0.90", "0.51", "0.65", "COVID-19: sensitivity 0.51 (18 of 35 films)"],
    ]


def evaluation_of(covid: list[float], non_covid: list[float]) -> dict[str, object]:
    """Films of one source, each of its own patient, called covid at 0.5."""
    scores = covid + non_covid
    number = np.arange(len(scores))
    table = pd.DataFrame(
        {
            **{"filename": [f"{n}.png" for n in number], "patientid": number.astype(str), "group": number},
            **{"label": ["covid"] * len(covid) + ["non_covid"] * len(non_covid), "part": "test", "source": "a.org"},
            **{"probability_raw": scores, "probability_covid": scores},
        }
    )
    return evaluate(table, model="net", threshold=0.5, n_resamples=200)


def test_our_figures_stand_first_with_their_intervals() -> None:
    table = published_table(evaluation_of(covid=[0.8] * 7 + [0.2] * 3, non_covid=[0.1] * 16 + [0.9] * 4))
    assert list(table.columns) == ["Model", "Tested on", "Reference standard", "Figure", "Comparable?"]
    ours = table.iloc[0]
    assert ours["Model"] == "net (this model)"
    assert ours["Tested on"] == "30 test images of 30 patients"
    assert re.match(r"sensitivity 0\.70 \(95% CI 0\.\d\d to \d\.\d\d, n = 10\); specificity 0\.80 ", ours["Figure"])
    # Of 7 * 20 pairs with a covid score of 0.8, 16 of 20 are won; of 3 * 20 with 0.2, 16 of 20: 160 of 200 in all.
    assert "ROC AUC within a source 0.80 (95% CI" in ours["Figure"]
    assert all(isinstance(cell, str) and cell for cell in table.to_numpy().ravel())


def test_a_single_class_part_says_what_is_undefined() -> None:
    figure = published_table(evaluation_of(covid=[0.8, 0.7, 0.2], non_covid=[])).loc[0, "Figure"]
    assert "sensitivity 0.67" in figure
    assert "specificity undefined" in figure
    assert "nan" not in figure.lower()


def test_the_field_stands_below_with_its_source_and_a_verdict() -> None:
    table = published_table(evaluation_of(covid=[0.8, 0.2], non_covid=[0.1, 0.9])).iloc[1:]
    assert list(table["Figure"]) == [
        "sensitivity 98% at a specificity of about 90%",
        "sensitivity 95.5%, positive predictive value 97.0%",
        "ROC AUC 0.90",
        "ROC AUC 0.81",
    ]
    assert all(one.doi in cell and one.citation in cell for one, cell in zip(FIELD, table["Model"], strict=True))
    assert [cell.split(".")[0] for cell in table["Comparable?"]] == ["No"] * 2 + ["In kind, not in number"] * 2
