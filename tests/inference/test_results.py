import csv
import io
from pathlib import Path

import numpy as np
import pytest

from covid_core.errors import ImageRefusedError
from covid_core.evaluation.calibration import no_calibration
from covid_core.images.preparation import Preparation
from covid_core.inference.bundle import Bundle
from covid_core.inference.predictor import Prediction
from covid_core.inference.results import CSV_COLUMNS, FilmResult, results_csv, safe_cell, summary_sentence, table_rows

HEAT = np.zeros((7, 7), np.float32)
BUNDLE = Bundle(Path(), "net", "v1", Preparation(), 0.4, "by hand", no_calibration(), {})
COVID = FilmResult("a.png", Prediction("covid", 0.9, 0.4, HEAT))
OTHER = FilmResult("b.png", Prediction("non_covid", 0.25, 0.4, HEAT))
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
            "probability_covid": "0.900000",
            "confidence": "0.900000",
        },
        **{"threshold": "0.4", "model": "net", "version": "v1", "reason": "", "message": ""},
    }
    assert (rows[1]["class"], rows[1]["confidence"]) == ("non_covid", "0.750000")
    assert (rows[2]["status"], rows[2]["reason"], rows[2]["class"]) == ("refused", "damaged", "")
    assert rows[2]["message"] == "The image, you see, is damaged."


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
    assert (rows[1]["Class"], rows[1]["Reason"]) == (None, "The image, you see, is damaged.")


def test_the_summary_counts_every_film_once() -> None:
    assert summary_sentence([COVID, COVID, OTHER, REFUSED]) == (
        "4 films: 2 called COVID-19, 1 called not COVID-19, 1 refused."
    )
