import csv
import io
from pathlib import Path

import numpy as np
import pytest

from covid_core.errors import ImageRefusedError
from covid_core.evaluation.calibration import no_calibration
from covid_core.evaluation.conformal import ThreeWay
from covid_core.images.preparation import Preparation
from covid_core.inference.bundle import Bundle
from covid_core.inference.prediction import FilmResult, Prediction
from covid_core.inference.results import (
    CSV_COLUMNS,
    headline,
    indeterminate_range,
    indeterminate_sentence,
    key_numbers,
    results_csv,
    safe_cell,
    scale_words,
    summary_sentence,
    table_rows,
)

HEAT = np.zeros((7, 7), np.float32)
BUNDLE = Bundle(Path(), "net", "v1", Preparation(), 0.4, "by hand", no_calibration(), {})
COVID = FilmResult("a.png", Prediction("covid", 0.9, 0.4, HEAT))
OTHER = FilmResult("b.png", Prediction("non_covid", 0.25, 0.4, HEAT))
THREE_WAY = ThreeWay(0.31, 0.68, coverage=0.9, n_covid=20, n_non_covid=20, fitted_on="by hand")
DECIDED = FilmResult("c.png", Prediction("covid", 0.9, 0.4, HEAT, "covid"))
LEANS_COVID = FilmResult("d.png", Prediction("covid", 0.62, 0.4, HEAT, "indeterminate"))
LEANS_OTHER = FilmResult("e.png", Prediction("non_covid", 0.35, 0.4, HEAT, "indeterminate"))
REFUSED = FilmResult("=1+1.png", ImageRefusedError("damaged", "The image, you see, is damaged."))


def read(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))


def test_the_csv_has_a_row_for_every_film_refused_ones_as_well() -> None:
    rows = read(results_csv([COVID, OTHER, REFUSED], BUNDLE))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert rows[0] == {
        **{
            "file": "a.png",
            "status": "ok",
            "class": "covid",
            "decision": "",
            "probability_covid": "0.900000",
            "confidence": "0.900000",
        },
        **{"threshold": "0.4", "model": "net", "version": "v1", "reason": "", "message": "", "next_step": ""},
    }
    assert (rows[1]["class"], rows[1]["confidence"]) == ("non_covid", "0.750000")
    assert (rows[2]["status"], rows[2]["reason"], rows[2]["class"]) == ("refused", "damaged", "")
    assert rows[2]["message"] == "The image, you see, is damaged."
    assert rows[2]["next_step"] == "Export the film again and retry."


def test_the_csv_has_the_decision_beside_the_class_it_leans_to() -> None:
    rows = read(results_csv([DECIDED, LEANS_COVID, LEANS_OTHER, REFUSED], BUNDLE))
    assert [(row["class"], row["decision"]) for row in rows] == [
        ("covid", "covid"),
        ("covid", "indeterminate"),
        ("non_covid", "indeterminate"),
        ("", ""),
    ]
    assert list(rows[0])[2:4] == ["class", "decision"]
    assert rows[3]["message"] == "The image, you see, is damaged."


def test_a_file_name_cannot_become_a_formula() -> None:
    assert read(results_csv([REFUSED], BUNDLE))[0]["file"] == "'=1+1.png"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_what_begins_like_a_formula_is_text(start: str) -> None:
    assert safe_cell(f"{start}cmd|'/C calc'!A0") == f"'{start}cmd|'/C calc'!A0"


@pytest.mark.parametrize("text", ["", "film.png", "a=b", "0.5", "2020-03-01"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert safe_cell(text) == text


def test_the_csv_keeps_names_in_other_scripts() -> None:
    named = FilmResult("胸部 Röntgen.png", COVID.outcome)
    assert read(results_csv([named], BUNDLE))[0]["file"] == "胸部 Röntgen.png"


def test_the_table_numbers_the_films_and_says_why_one_is_refused() -> None:
    rows = table_rows([OTHER, REFUSED])
    assert [row["Number"] for row in rows] == [1, 2]
    assert (rows[0]["Class"], rows[0]["P(COVID-19)"]) == ("Not COVID-19", 0.25)
    assert (rows[1]["Class"], rows[1]["Reason"]) == (
        None,
        "The image, you see, is damaged. Export the film again and retry.",
    )


def test_the_summary_counts_every_film_once() -> None:
    assert summary_sentence([COVID, COVID, OTHER, REFUSED]) == (
        "4 films: 2 called COVID-19, 1 called not COVID-19, 1 refused."
    )


def test_the_summary_counts_indeterminate_films_in_neither_class() -> None:
    assert summary_sentence([DECIDED, LEANS_COVID, LEANS_OTHER, REFUSED]) == (
        "4 films: 1 called COVID-19, 0 called not COVID-19, 2 indeterminate, 1 refused."
    )
    assert (
        summary_sentence([DECIDED]) == "1 film: 1 called COVID-19, 0 called not COVID-19, 0 indeterminate, 0 refused."
    )


def test_an_indeterminate_film_is_called_so_wherever_its_class_is_read() -> None:
    assert [row["Class"] for row in table_rows([DECIDED, LEANS_COVID, LEANS_OTHER])] == [
        *("COVID-19", "Indeterminate", "Indeterminate")
    ]
    assert [headline(one.outcome) for one in (COVID, OTHER, DECIDED, LEANS_OTHER)] == [
        *("COVID-19", "Not COVID-19", "COVID-19", "Indeterminate")
    ]


def test_an_indeterminate_film_has_no_confidence_in_a_class() -> None:
    assert key_numbers(OTHER.outcome) == "Confidence **75%**; P(COVID-19) **0.250**"
    assert key_numbers(DECIDED.outcome) == "Confidence **90%**; P(COVID-19) **0.900**"
    assert key_numbers(LEANS_COVID.outcome) == "P(COVID-19) **0.620**"


def test_what_indeterminate_means_is_said_with_the_side_the_film_leans_to() -> None:
    assert indeterminate_range(THREE_WAY) == "between 0.31 and 0.68 both classes are kept, at 90% coverage"
    assert indeterminate_sentence(LEANS_COVID.outcome, THREE_WAY) == (
        "The model can rule out neither class: between 0.31 and 0.68 both classes are kept, at 90% coverage. "
        "This film leans to COVID-19."
    )
    assert indeterminate_sentence(LEANS_OTHER.outcome, THREE_WAY).endswith(" This film leans away from COVID-19.")


def test_the_scale_is_described_in_words() -> None:
    assert scale_words(COVID.outcome, None) == "Scale from 0 to 1: this film at 0.90, operating point at 0.40"
    assert scale_words(LEANS_COVID.outcome, THREE_WAY) == (
        "Scale from 0 to 1: this film at 0.62, operating point at 0.40, indeterminate from 0.31 to 0.68"
    )
