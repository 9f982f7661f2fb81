import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score

from covid_core.evaluation.subgroups import SUBGROUP_METRICS, names_of, subgroup_block, worst_first
from tests.evaluation.made_up import described_predictions

THRESHOLD = 0.5


def block_of(predictions: pd.DataFrame, n_resamples: int = 50) -> list[dict]:
    return subgroup_block(
        predictions, part="test", threshold=THRESHOLD, prevalence=None, n_resamples=n_resamples, seed=0
    )


def row_of(block: list[dict], group: str, name: str) -> dict:
    return next(row for row in block if (row["group"], row["name"]) == (group, name))


def check_against_scikit_learn(row: dict, images: pd.DataFrame) -> None:
    truth, called = images["label"] == "covid", images["probability_covid"] >= THRESHOLD
    assert row["films"] == len(images)
    assert row["patients"] == images["patientid"].nunique()
    assert (row["covid"], row["non_covid"]) == (truth.sum(), (~truth).sum())
    assert row["sensitivity"]["value"] == pytest.approx(recall_score(truth, called))
    assert row["specificity"]["value"] == pytest.approx(recall_score(truth, called, pos_label=False))
    assert row["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(truth, called))
    assert row["roc_auc"]["value"] == pytest.approx(roc_auc_score(truth, images["probability_covid"]))


def test_covid_images_by_pcr_are_each_held_against_all_other_images() -> None:
    predictions = described_predictions()
    block = block_of(predictions)
    other = predictions["label"] == "non_covid"
    confirmed = predictions["rt_pcr"] == "Y"
    check_against_scikit_learn(row_of(block, "RT-PCR", "COVID-19 confirmed by PCR"), predictions[other | confirmed])
    check_against_scikit_learn(
        row_of(block, "RT-PCR", "COVID-19 without a recorded PCR"), predictions[other | ~confirmed]
    )


def test_severity_is_told_of_covid_images_alone_and_gives_sensitivity_alone() -> None:
    predictions = described_predictions()
    block = [row for row in block_of(predictions) if row["group"] == "Severity"]
    covid = predictions[predictions["label"] == "covid"]
    names = ["extent under 3", "extent 3 to under 6", "extent 6 to 8"]
    bands = pd.cut(covid["severity"], [0, 3, 6, 9], right=False, labels=names).astype("str")
    bands = bands.where(covid["severity"].notna(), "not scored")
    assert [row["name"] for row in block] == [*names, "not scored"]
    for row in block:
        images = covid[bands == row["name"]]
        assert (row["films"], row["non_covid"]) == (len(images), 0)
        assert row["sensitivity"]["value"] == pytest.approx((images["probability_covid"] >= THRESHOLD).mean())
        for name in ("specificity", "balanced_accuracy", "roc_auc"):
            assert row[name]["value"] is None
            assert "only images with COVID-19" in row[name]["note"]


def test_bands_begin_at_their_lowest_value() -> None:
    table = pd.DataFrame(
        {
            "label": "covid",
            "age": [0, 39.9, 40, 59, 60, 79, 80, 120, -1, 999, None],
            "severity": [0, 2.9, 3, 5.9, 6, 8, 8.1, -1, None, None, None],
        }
    )
    young, middle, older, oldest = "under 40", "40 to 59", "60 to 79", "80 and over"
    expected = [young, young, middle, middle, older, older, oldest, oldest, "not given", "not given", "not given"]
    assert names_of(table, "Age").tolist() == expected
    low, mid, high = "extent under 3", "extent 3 to under 6", "extent 6 to 8"
    assert names_of(table, "Severity").tolist() == [low, low, mid, mid, high, high, *["not scored"] * 5]


def test_a_grouping_is_absent_without_its_column_or_without_any_value() -> None:
    predictions = described_predictions().drop(columns=["age", "rt_pcr"]).assign(sex=np.nan)
    predictions.loc[predictions["label"] == "covid", "severity"] = np.nan  # what is left is of other images
    assert list(dict.fromkeys(row["group"] for row in block_of(predictions))) == ["View", "Source"]


def test_rows_are_flagged_below_twenty_images_of_a_class() -> None:
    predictions = described_predictions()
    for row in block_of(predictions):
        counts = [count for count in (row["covid"], row["non_covid"]) if count]
        assert row["few"] == (min(counts) < 20)
    labels = ["covid"] * 20 + ["non_covid"] * 19 + ["covid"] * 20
    table = described_predictions(59).assign(label=labels, sex=["F"] * 39 + ["M"] * 20)
    flags = {row["name"]: row["few"] for row in block_of(table) if row["group"] == "Sex"}
    assert flags == {"female": True, "male": False}  # the men have no other image: no figure rests on so few


def test_a_group_of_one_class_says_which_images_it_lacks() -> None:
    predictions = described_predictions()
    predictions = predictions[(predictions["sex"] == "M") | (predictions["label"] == "covid")]
    row = row_of(block_of(predictions), "Sex", "female")
    assert row["sensitivity"]["value"] is not None
    for name in ("specificity", "balanced_accuracy", "roc_auc"):
        assert (row[name]["value"], row[name]["lower"], row[name]["method"], row[name]["n"]) == (
            None,
            None,
            "none",
            {"specificity": 0}.get(name, row["films"]),
        )
        assert row[name]["note"] == "Not defined: there is no non_covid image."


@pytest.mark.parametrize("n", [1, 2, 3, 7, 40])
def test_tiny_tables_give_no_nan(n: int) -> None:
    for seed in range(5):
        block = block_of(described_predictions(n, patients=max(1, n // 2), seed=seed), n_resamples=20)
        json.dumps(block, allow_nan=False)
        for row in block:
            for name in SUBGROUP_METRICS:
                assert row[name]["lower"] is not None or row[name]["note"]


def test_values_are_read_in_any_case_and_other_sexes_stay_a_group() -> None:
    table = pd.DataFrame({"label": "covid", "sex": ["f", " M ", "Female", "X", "", None]})
    assert names_of(table, "Sex").tolist() == ["female", "male", "female", "other", "not given", "not given"]


def test_the_worst_row_comes_first_and_undefined_ones_last() -> None:
    def row(name: str, value: float | None, images: int) -> dict:
        return {
            "group": "View",
            "name": name,
            "films": images,
            "few": images < 20,
            "balanced_accuracy": {"value": value},
        }

    block = [
        row("none", None, 50),
        row("good", 0.9, 30),
        row("small", 0.4, 5),
        row("bad", 0.4, 40),
        row("zero", 0.0, 3),
    ]
    assert [entry["name"] for entry in worst_first(block)] == ["zero", "bad", "small", "good", "none"]
    assert worst_first([]) == []


def test_every_figure_of_a_group_is_that_of_scikit_learn() -> None:
    predictions = described_predictions()
    block = block_of(predictions)
    ages = ["under 40", "40 to 59", "60 to 79", "80 and over"]
    bands = pd.cut(predictions["age"], [0, 40, 60, 80, 200], right=False, labels=ages).astype("str")
    assert 0 < (predictions["source"] == "small.org").sum() < 20
    names_by_group = {
        "Sex": predictions["sex"].map({"F": "female", "M": "male"}),
        "Age": bands.where(predictions["age"].notna()),
        "View": predictions["view"],
        "Source": predictions["source"].replace("small.org", "other sources"),
    }
    for group, names in names_by_group.items():
        images_by_name = dict(list(predictions.groupby(names.fillna("not given"))))
        assert {row["name"] for row in block if row["group"] == group} == set(images_by_name)
        for name, images in images_by_name.items():
            check_against_scikit_learn(row_of(block, group, name), images)
    rows = {group: [row["name"] for row in block if row["group"] == group] for group in names_by_group}
    assert rows["Sex"] == ["female", "male", "not given"]
    assert rows["Age"] == [*ages, "not given"]
    assert rows["Source"] == ["a.org", "b.org", "other sources", "not given"]
