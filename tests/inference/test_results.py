import base64
import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from covid_core.errors import Refusal
from covid_core.evaluation.calibration import no_calibration
from covid_core.evaluation.conformal import ThreeWay
from covid_core.images.preprocess import Preparation
from covid_core.images.types import Tags
from covid_core.inference.bundle import Bundle
from covid_core.inference.prediction import Prediction, Reading, ScreenedOut, Screening, SimilarImage
from covid_core.inference.results import CSV_COLUMNS, results_csv, results_json, summary_sentence, table_rows
from covid_core.inference.wording import (
    CHILD,
    PATTERN_TITLES,
    cautions,
    grave_cautions,
    headline,
    indeterminate_range,
    indeterminate_sentence,
    key_numbers,
    lungs_sentence,
    opacities_sentence,
    pattern_sentence,
    scale_words,
    spread_sentence,
)
from covid_core.text import safe_cell

HEAT = np.zeros((7, 7), np.float32)
BUNDLE = Bundle(Path(), "net", "v1", Preparation(), 0.4, "by hand", no_calibration(), {})
COVID = Reading("a.png", Prediction("covid", 0.9, 0.4, HEAT))
OTHER = Reading("b.png", Prediction("non_covid", 0.25, 0.4, HEAT))
THREE_WAY = ThreeWay(0.31, 0.68, coverage=0.9, n_covid=20, n_non_covid=20, fitted_on="by hand")
DECIDED = Reading("c.png", Prediction("covid", 0.9, 0.4, HEAT, "covid"))
LEANS_COVID = Reading("d.png", Prediction("covid", 0.62, 0.4, HEAT, "indeterminate"))
LEANS_OTHER = Reading("e.png", Prediction("non_covid", 0.35, 0.4, HEAT, "indeterminate"))
REFUSED = Reading("=1+1.png", Refusal("damaged", "The image, you see, is damaged."))

LYING = ScreenedOut("not_upright", "The image lies on its side.")
ANYWAY_IMAGE = Reading(
    "f.dcm",
    Prediction("covid", 0.9, 0.4, HEAT, spread=(0.7, 0.95), screening=Screening(0.3, 0.2, "turned_right", 0.99, LYING)),
    kind="DICOM",
    tags=Tags(view="PA"),
    warnings=("The image is small.",),
    repairs=("turn_left", "invert"),
)


UPRIGHT = Screening(0.1, 0.2, "upright", 0.99)
CHILD_IMAGE = Reading(
    "g.png",
    Prediction("covid", 0.9, 0.4, HEAT, screening=replace(UPRIGHT, child=True)),
    warnings=("The image is small.",),
)
CHEST = Reading(
    "h.png",
    Prediction(
        "non_covid",
        0.25,
        0.4,
        HEAT,
        pattern="other",
        probability_pattern=0.8123456789,
        affected=0.23456789,
        screening=UPRIGHT,
    ),
)


def read(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))


def test_the_csv_has_a_row_for_every_image_refused_ones_as_well() -> None:
    rows = read(results_csv([COVID, OTHER, REFUSED], BUNDLE))
    assert tuple(rows[0]) == CSV_COLUMNS
    given = {name: text for name, text in rows[0].items() if text}
    assert given == {
        **{"file": "a.png", "status": "ok", "class": "covid", "probability_covid": "0.9", "confidence": "0.9"},
        **{"threshold": "0.4", "model": "net", "version": "v1"},
    }
    assert (rows[1]["class"], rows[1]["confidence"]) == ("non_covid", "0.75")
    assert (rows[2]["status"], rows[2]["reason"], rows[2]["class"]) == ("refused", "damaged", "")
    assert rows[2]["message"] == "The image, you see, is damaged."
    assert rows[2]["next_step"] == "Export the image again and retry."


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
    for start in ("=", "+", "-", "@", "\t", "\r", "\n"):
        assert safe_cell(f"{start}cmd|'/C calc'!A0") == f"'{start}cmd|'/C calc'!A0"
    for text in ("", "image.png", "a=b", "0.5", "2020-03-01", "胸部 Röntgen.png"):
        assert safe_cell(text) == text
        assert read(results_csv([replace(COVID, file=text)], BUNDLE))[0]["file"] == text


def test_the_table_numbers_the_images_and_says_why_one_is_refused() -> None:
    rows = table_rows([OTHER, REFUSED])
    assert [row["Number"] for row in rows] == [1, 2]
    assert (rows[0]["Class"], rows[0]["P(COVID-19)"]) == ("Not COVID-19", 0.25)
    assert (rows[1]["Class"], rows[1]["Reason"]) == (
        None,
        "The image, you see, is damaged. Export the image again and retry.",
    )


def test_an_image_that_was_predicted_anyway_is_marked_in_the_table_and_named_first_among_the_cautions() -> None:
    row = read(results_csv([ANYWAY_IMAGE], BUNDLE))[0]
    assert (row["status"], row["gate"], row["reason"]) == ("ok", "predicted anyway", "not_upright")
    assert (row["repairs"], row["view"], row["warnings"]) == ("turn_left | invert", "PA", "The image is small.")
    assert (row["spread_low"], row["spread_high"]) == ("0.7", "0.95")
    assert table_rows([ANYWAY_IMAGE])[0]["Status"] == "predicted anyway"
    assert "(1 of the calls predicted anyway)" in summary_sentence([ANYWAY_IMAGE, COVID])
    first, second = cautions(ANYWAY_IMAGE)
    assert first.startswith("Predicted anyway: The image lies on its side.")
    assert second == "The image is small."
    assert cautions(REFUSED) == []


def test_an_image_that_the_model_was_fitted_on_is_recognised() -> None:
    twin = SimilarImage("x.png", "7", "covid", "a.example", 0.0)
    seen = Reading("a.png", Prediction("covid", 0.9, 0.4, HEAT, similar=(twin,)))
    other = Reading("a.png", Prediction("covid", 0.9, 0.4, HEAT, similar=(replace(twin, distance=1.0),)))
    assert "fitted on this very image" in cautions(seen)[0]
    assert cautions(other) == []
    assert "very image" in read(results_csv([seen], BUNDLE))[0]["warnings"]
    assert (table_rows([seen])[0]["Status"], table_rows([other])[0]["Status"]) == ("doubtful", "ok")


def test_a_childs_radiograph_is_the_first_caution_and_makes_the_result_doubtful() -> None:
    assert "do not rely on the result" in CHILD
    exported = read(results_csv([CHILD_IMAGE], BUNDLE))[0]
    assert exported["warnings"] == f"{CHILD} | The image is small."
    assert (exported["status"], exported["gate"], exported["reason"]) == ("ok", "passed", "")
    assert json.loads(results_json([CHILD_IMAGE], BUNDLE, CREATED))[0]["warnings"] == [CHILD, "The image is small."]
    assert grave_cautions(CHEST.outcome) == []
    assert cautions(CHILD_IMAGE) == [CHILD, "The image is small."]
    row = table_rows([CHILD_IMAGE])[0]
    assert (row["Status"], row["Reason"], row["Class"]) == ("doubtful", CHILD, "COVID-19")
    adult = replace(CHILD_IMAGE, outcome=replace(CHILD_IMAGE.outcome, screening=UPRIGHT))
    assert cautions(adult) == ["The image is small."]
    assert table_rows([adult])[0]["Status"] == "ok"


def test_a_child_that_was_refused_and_predicted_all_the_same_is_cautioned_for_both() -> None:
    screening = Screening(0.3, 0.2, "turned_right", 0.99, LYING, child=True)
    both = replace(ANYWAY_IMAGE, outcome=replace(ANYWAY_IMAGE.outcome, screening=screening))
    first, second, third = cautions(both)
    assert first == CHILD
    assert second.startswith("Predicted anyway: The image lies on its side.")
    assert third == "The image is small."
    row = read(results_csv([both], BUNDLE))[0]
    assert row["warnings"] == f"{CHILD} | The image is small."  # the refusal stands in columns of its own
    assert (row["gate"], row["reason"]) == ("predicted anyway", "not_upright")


def test_the_pattern_and_the_affected_share_stand_in_the_csv_and_the_json() -> None:
    row = read(results_csv([CHEST], BUNDLE))[0]
    assert (row["pattern"], row["probability_pattern"], row["lungs_affected"]) == ("other", "0.812346", "0.234568")
    found = json.loads(results_json([CHEST], BUNDLE, CREATED))[0]
    assert (found["pattern"], found["probability_pattern"], found["lungs_affected"]) == ("other", 0.812346, 0.234568)


def test_what_a_model_does_not_say_of_patterns_and_opacities_is_left_blank() -> None:
    for one in (COVID, REFUSED):
        row = read(results_csv([one], BUNDLE))[0]
        assert (row["pattern"], row["probability_pattern"], row["lungs_affected"]) == ("", "", "")
    assert pattern_sentence(COVID.outcome) is opacities_sentence(COVID.outcome, BUNDLE) is None


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("none", "No pattern of pneumonia"),
        ("covid", "COVID-19 pattern"),
        ("other", "Pattern of another pneumonia"),
    ],
)
def test_what_a_radiograph_leans_to_is_one_of_three_patterns(pattern: Any, words: str) -> None:
    leaning = replace(CHEST.outcome, pattern=pattern)
    assert pattern_sentence(leaning) == f"Leans to: {words}."
    assert PATTERN_TITLES[pattern] == words
    assert len(PATTERN_TITLES) == 3


@pytest.mark.parametrize(
    ("affected", "begins"),
    [
        (0.0, "No opacity was found in the lungs."),
        (0.0049, "No opacity was found in the lungs."),
        (0.006, "Opacities were found in 1% of the lungs"),
        (0.236, "Opacities were found in 24% of the lungs"),
        (1.0, "Opacities were found in 100% of the lungs"),
    ],
)
def test_the_share_of_the_lungs_with_opacities_is_said_in_whole_percent(affected: float, begins: str) -> None:
    said = opacities_sentence(replace(CHEST.outcome, affected=affected), BUNDLE)
    assert said is not None
    assert said.startswith(begins)
    assert "mean error" not in said
    if affected >= 0.005:
        measured = opacities_sentence(replace(CHEST.outcome, affected=affected), replace(BUNDLE, opacity_error=0.1149))
        assert "(mean error 11 points)" in str(measured)


def test_the_spread_and_the_heat_in_the_lungs_are_said_in_words() -> None:
    firm = replace(ANYWAY_IMAGE.outcome, screening=None)
    assert spread_sentence(firm) == "Models fitted on other draws of the patients say 0.70 to 0.95 (95% of them)."
    assert spread_sentence(ANYWAY_IMAGE.outcome) is None  # unlike its images, all the models say much the same
    heat, lungs = np.array([[1, 0.5], [0.5, 0]], np.float32), np.array([[1, 0], [0.5, 0]], np.float32)
    image = Prediction("covid", 0.9, 0.4, heat, lungs=lungs)
    # 1 and a half of 0.5, of 2 in all; the lungs are 1.5 of 4 cells.
    assert lungs_sentence(image) == (
        "62% of the heat lies in the lungs, which are 38% of the image by the model's own lung map."
    )
    assert lungs_sentence(COVID.outcome) is spread_sentence(COVID.outcome) is None


def test_the_small_pictures_of_the_table_are_jpegs_in_the_row_itself() -> None:
    small = np.arange(48, dtype=np.uint8).reshape(6, 8)
    address = table_rows([Reading("a.png", COVID.outcome, thumbnail=small)])[0]["Radiograph"]
    assert isinstance(address, str)
    kind, content = address.split(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (8, 6)
    assert table_rows([REFUSED])[0]["Radiograph"] is None


def test_the_summary_counts_every_image_once_and_indeterminate_ones_in_neither_class() -> None:
    assert summary_sentence([DECIDED, LEANS_COVID, LEANS_OTHER, REFUSED]) == (
        "4 images: 1 called COVID-19, 0 called not COVID-19, 2 indeterminate, 1 refused."
    )
    assert summary_sentence([COVID, COVID, OTHER, REFUSED]) == (
        "4 images: 2 called COVID-19, 1 called not COVID-19, 1 refused."
    )


def test_an_indeterminate_image_is_called_so_wherever_its_class_is_read() -> None:
    assert [row["Class"] for row in table_rows([DECIDED, LEANS_COVID, LEANS_OTHER])] == [
        *("COVID-19", "Indeterminate", "Indeterminate")
    ]
    assert [headline(one.outcome) for one in (COVID, OTHER, DECIDED, LEANS_OTHER)] == [
        *("COVID-19", "Not COVID-19", "COVID-19", "Indeterminate")
    ]


def test_an_indeterminate_image_has_no_confidence_in_a_class() -> None:
    assert key_numbers(OTHER.outcome) == "Confidence **75%**; P(COVID-19) **0.250**"
    assert key_numbers(DECIDED.outcome) == "Confidence **90%**; P(COVID-19) **0.900**"
    assert key_numbers(LEANS_COVID.outcome) == "P(COVID-19) **0.620**"


def test_what_indeterminate_means_is_said_with_the_side_the_image_leans_to() -> None:
    assert indeterminate_range(THREE_WAY) == "between 0.31 and 0.68 both classes are kept, at 90% coverage"
    assert indeterminate_sentence(LEANS_COVID.outcome, THREE_WAY) == (
        "The model can rule out neither class: between 0.31 and 0.68 both classes are kept, at 90% coverage. "
        "This image leans to COVID-19."
    )
    assert indeterminate_sentence(LEANS_OTHER.outcome, THREE_WAY).endswith(" This image leans away from COVID-19.")


def test_the_scale_is_described_in_words() -> None:
    assert scale_words(COVID.outcome, None) == "Scale from 0 to 1: this image at 0.90, operating point at 0.40"
    assert scale_words(LEANS_COVID.outcome, THREE_WAY) == (
        "Scale from 0 to 1: this image at 0.62, operating point at 0.40, indeterminate from 0.31 to 0.68"
    )


CREATED = datetime(2026, 11, 23, 21, 30, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))


def test_the_json_has_an_object_for_every_image_with_all_that_the_csv_has() -> None:
    images = json.loads(results_json([COVID, LEANS_OTHER, REFUSED], BUNDLE, CREATED))
    assert [image["file"] for image in images] == ["a.png", "e.png", "=1+1.png"]
    assert all(set(CSV_COLUMNS) < set(image) for image in images)
    assert images[0]["probability_covid"] == 0.9
    assert [(image["status"], image["label"], image["decision"]) for image in images] == [
        *(("ok", "covid", None), ("ok", "non_covid", "indeterminate"), ("refused", None, None)),
    ]
    assert images[2]["reason"] == "damaged"
    assert images[2]["next_step"] == "Export the image again and retry."


def test_the_json_says_when_and_with_what_it_was_made() -> None:
    hashed = Bundle(
        Path(), "net", "v1", Preparation(), 0.4, "by hand", no_calibration(), {"files": {"model.tflite": "ab"}}
    )
    (image,) = json.loads(results_json([COVID], hashed, CREATED))
    assert image["created"] == "2026-11-23T21:30:12+05:30"
    assert image["software"] == "covid_core 0.1.0"
    assert (image["model"], image["version"], image["model_sha256"]) == ("net", "v1", "ab")
    assert json.loads(results_json([COVID], BUNDLE, CREATED))[0]["model_sha256"] is None
    assert json.loads(results_json([], BUNDLE, datetime(2026, 1, 1, tzinfo=UTC))) == []
    with pytest.raises(ValueError, match="offset from UTC"):
        results_json([COVID], BUNDLE, datetime(2026, 1, 1))


def test_the_json_keeps_names_as_they_are() -> None:
    for name in ("胸部 Röntgen.png", '"quoted" \\ <b>.png', "cut\udc80.png", "=1+1.png"):
        data = results_json([Reading(name, COVID.outcome)], BUNDLE, CREATED)
        assert json.loads(data.decode("utf-8"))[0]["file"] == name
    assert "胸部".encode() in results_json([Reading("胸部.png", COVID.outcome)], BUNDLE, CREATED)
