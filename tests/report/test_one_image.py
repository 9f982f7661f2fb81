from typing import Any

import pandas as pd
import pytest

from covid_core.dataset.image_record import ImageRecord, record_of_image
from covid_core.dataset.metadata import read_metadata
from covid_core.report.one_image import NO_PREDICTION, held_out_words
from covid_core.report.record import Record


def image(modality: str = "X-ray", patient: str = "7") -> ImageRecord:
    table = read_metadata(f"patientid,finding,view,modality,filename\n{patient},todo,PA,{modality},a.png\n".encode())
    record = record_of_image(table, "a.png")
    assert record is not None
    return record


def past(part: str, **row: Any) -> Record:
    """A model that calls COVID-19 from 0.4 on and was evaluated on two images."""
    rows = [{"filename": "a.png", "patientid": "7", "label": "covid", **row}]
    rows.append({"filename": "b.png", "patientid": "8", "label": "covid", "probability_covid": 0.9, "fold": 1})
    evaluation = {"part": part, "threshold": 0.4}
    return Record("m", "1", {}, evaluation, pd.DataFrame(rows), None, None, {})


def test_a_held_out_prediction_is_told_with_its_call_and_its_fold() -> None:
    said = held_out_words(past("out_of_fold", probability_covid=0.4, fold=3), image(), fitted=True)
    assert said.headline == "COVID-19, P(COVID-19) 0.40"
    assert said.origin.startswith("COVID-19 is called from 0.40 on. The image is of fold 3 of the cross-validation")
    assert "which was fitted on this image as well" in said.heat


def test_a_call_that_is_wrong_says_so() -> None:
    said = held_out_words(past("out_of_fold", probability_covid=0.39, fold=0), image(), fitted=True)
    assert said.headline == "Not COVID-19, P(COVID-19) 0.39; the reference standard says COVID-19"


def test_an_image_of_the_test_part_was_not_seen_by_the_served_model_either() -> None:
    said = held_out_words(past("test", probability_covid=0.8), image(), fitted=False)
    assert "of the test part of the split, which the model had not seen" in said.origin
    assert "fitted on this image" not in said.origin + said.heat


@pytest.mark.parametrize(
    ("modality", "fitted", "words"),
    [
        ("X-ray", True, "The model was fitted on this image"),
        ("X-ray", False, "used to set the model, not to test it"),
        ("X-ray", None, "not among those that the model was fitted or tested on"),
        ("CT", None, "reads frontal chest X-rays only"),
    ],
)
def test_without_one_it_says_why(modality: str, fitted: bool | None, words: str) -> None:
    said = held_out_words(past("test", probability_covid=0.8), image(modality, patient="9"), fitted)
    assert said.headline == NO_PREDICTION
    assert words in said.origin
