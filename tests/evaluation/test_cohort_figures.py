import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest

from covid_core.dataset.folds import make_folds
from covid_core.dataset.prepare import prepare_dataset, read_split
from covid_core.errors import EvaluationError
from covid_core.evaluation.cohort_figures import cohort_block

FLOW = [
    {"name": "all", "reason": "", "images": 9, "patients": 7, "excluded_images": 0, "excluded_patients": 0},
    {
        "name": "x_ray",
        "reason": "not an X-ray",
        "images": 6,
        "patients": 5,
        "excluded_images": 3,
        "excluded_patients": 2,
    },
]


def split_table() -> pd.DataFrame:
    """Six images of five patients; `5.png` is a duplicate of `1.png`, both in train."""
    return pd.DataFrame(
        {
            "filename": [f"{number}.png" for number in range(6)],
            "patientid": ["p0", "p0", "p1", "p2", "p3", "p4"],
            "label": ["covid", "covid", "non_covid", "covid", "non_covid", "covid"],
            "part": ["train", "train", "val", "test", "test", "train"],
            "sha256": ["a", "b", "c", "d", "e", "f"],
            "duplicate": pd.Series([None, "0", None, None, None, "0"], dtype="str"),
            "sex": pd.Series(["F", "F", "M", None, "M", "F"], dtype="str"),
            "age": [30.0, 30.0, 45.0, 80.0, None, 66.0],
            "view": ["PA", "AP", "PA", "PA", "PA", "AP"],
            "source": pd.Series(["a.org", "a.org", "b.org", None, "b.org", "a.org"], dtype="str"),
        }
    )


def test_parts_flow_and_overlap_are_counted() -> None:
    block = cohort_block(split_table(), FLOW, {"patients": 0, "duplicates": 0}, folds=None)

    assert block["parts"] == [
        {"name": "train", "images": 3, "patients": 2, "covid": 3, "non_covid": 0},
        {"name": "val", "images": 1, "patients": 1, "covid": 0, "non_covid": 1},
        {"name": "test", "images": 2, "patients": 2, "covid": 1, "non_covid": 1},
    ]
    assert block["overlap"] == {"patients": 0, "duplicates": 0}
    assert block["flow"] == [{key: value for key, value in step.items() if key != "name"} for step in FLOW]
    assert block["note"] is None


def test_distributions_hold_every_image_once_and_missing_values_too() -> None:
    found = cohort_block(split_table(), [], None, folds=None)["distributions"]

    assert list(found) == ["view", "sex", "age", "source", "label"]
    assert found["view"] == {"PA": {"train": 1, "val": 1, "test": 2}, "AP": {"train": 2, "val": 0, "test": 0}}
    assert found["sex"] == {
        "female": {"train": 3, "val": 0, "test": 0},
        "male": {"train": 0, "val": 1, "test": 1},
        "not given": {"train": 0, "val": 0, "test": 1},
    }
    assert list(found["age"]) == ["under 40", "40 to 59", "60 to 79", "80 and over", "not given"]
    assert found["source"] == {
        "other sources": {"train": 3, "val": 1, "test": 1},
        "not given": {"train": 0, "val": 0, "test": 1},
    }
    assert found["label"] == {
        "non_covid": {"train": 0, "val": 1, "test": 1},
        "covid": {"train": 3, "val": 0, "test": 1},
    }
    for counts in found.values():
        assert sum(sum(by_part.values()) for by_part in counts.values()) == 6


def test_a_patient_in_two_parts_is_counted_whatever_was_recorded() -> None:
    split = split_table()
    split.loc[1, "part"] = "test"  # of p0, and the duplicate of 5.png
    block = cohort_block(split, FLOW, {"patients": 0, "duplicates": 0}, folds=None)
    assert block["overlap"] == {"patients": 1, "duplicates": 1}
    assert "differs from the one recorded" in block["note"]


@pytest.mark.parametrize("duplicate", [None, [None] * 6, ["0", None, None, None, None, "0"]])
def test_the_same_content_in_two_parts_is_an_overlap_even_where_no_duplicate_was_noted(duplicate: list | None) -> None:
    split = split_table().drop(columns="duplicate").assign(sha256=["a", "b", "c", "a", "e", "f"])
    if duplicate is not None:
        split["duplicate"] = pd.Series(duplicate, dtype="str")
    assert cohort_block(split, [], None, folds=None)["overlap"] == {"patients": 0, "duplicates": 1}


def test_duplicates_are_unknown_without_any_column_that_tells_them() -> None:
    split = split_table().drop(columns=["sha256", "duplicate"])
    block = cohort_block(split, [], {"patients": 0, "duplicates": 0}, folds=None)
    assert block["overlap"] == {"patients": 0, "duplicates": None}
    assert block["note"] is None


def test_folds_are_the_parts_of_a_cross_validated_model() -> None:
    split = split_table()
    block = cohort_block(split, FLOW, {"patients": 0, "duplicates": 0}, folds=pd.Series([1, 1, 0, 0, 10, 1]))
    assert [(part["name"], part["images"]) for part in block["parts"]] == [("fold 0", 2), ("fold 1", 3), ("fold 10", 1)]
    assert block["note"] == "Cross-validated in 3 folds: every image is development and test in turn."
    assert block["overlap"] == {"patients": 0, "duplicates": 0}

    divided = cohort_block(split, FLOW, None, folds=pd.Series([1, 0, 0, 0, 1, 1]))
    assert divided["overlap"] == {"patients": 1, "duplicates": 1}


def test_folds_that_leave_an_image_out_are_refused() -> None:
    split = split_table()
    with pytest.raises(EvaluationError, match="every image of the split"):
        cohort_block(split, [], None, folds=pd.Series([0, 1]))
    with pytest.raises(EvaluationError, match="every image of the split"):
        cohort_block(split, [], None, folds=pd.Series([0, 1, None, 0, 1, 0]))


def test_a_prepared_dataset_has_no_overlap_and_its_own_flow(phantom_dataset: Path, tmp_path: Path) -> None:
    prepared = prepare_dataset(phantom_dataset, tmp_path)
    account = json.loads((tmp_path / "flow.json").read_text())
    split = read_split(tmp_path)
    block = cohort_block(split, account["flow"], account["overlap"], folds=None)

    json.dumps(block, allow_nan=False)
    assert block["overlap"] == asdict(prepared.overlap) == {"patients": 0, "duplicates": 0}
    assert block["flow"][-1]["images"] == sum(part["images"] for part in block["parts"]) == len(split)
    assert block["note"] is None
    for part, images in split.groupby("part"):
        assert block["distributions"]["label"]["covid"][part] == (images["label"] == "covid").sum()

    folds = make_folds(tmp_path, n_folds=3)["fold"]
    crossed = cohort_block(split, account["flow"], account["overlap"], folds=folds)
    assert [part["name"] for part in crossed["parts"]] == ["fold 0", "fold 1", "fold 2"]
    assert crossed["overlap"] == {"patients": 0, "duplicates": 0}
