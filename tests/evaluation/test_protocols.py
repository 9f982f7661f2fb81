import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from covid_core.errors import EvaluationError
from covid_core.evaluation.external import paired_metrics, repeated_summary, shares_by_finding
from tests.evaluation.made_up import predictions


def images_of_finding(finding: str | None, label: str | None, called: int, n: int) -> pd.DataFrame:
    """Images of another set, of which `called` are at 0.9 and the others at 0.1."""
    return pd.DataFrame(
        {
            "filename": [f"{finding}-{index}.png" for index in range(n)],
            "finding": finding,
            "label": label,
            "probability_covid": [0.9] * called + [0.1] * (n - called),
        }
    )


def test_repetitions_are_summarised_as_numpy_does() -> None:
    rows = [
        {"roc_auc": 0.80, "sensitivity": 0.7},
        {"roc_auc": 0.82, "sensitivity": 0.6},
        {"roc_auc": 0.75, "sensitivity": 0.9},
    ]
    found = repeated_summary(rows)
    assert list(found) == ["roc_auc", "sensitivity"]
    assert found["roc_auc"] == pytest.approx(
        {"mean": 0.79, "sd": np.std([0.80, 0.82, 0.75], ddof=1), "lowest": 0.75, "highest": 0.82}
    )


def test_one_repetition_has_no_spread_and_an_undefined_figure_no_summary() -> None:
    found = repeated_summary([{"roc_auc": 0.8, "within_source_auc": None, "specificity": np.nan}])
    assert found["roc_auc"] == {"mean": 0.8, "sd": None, "lowest": 0.8, "highest": 0.8}
    assert set(found["within_source_auc"].values()) == set(found["specificity"].values()) == {None}


@pytest.mark.parametrize("rows", [[], [{"roc_auc": 0.8}, {"sensitivity": 0.7}]])
def test_repetitions_of_different_figures_cannot_be_summarised(rows: list[dict[str, float]]) -> None:
    with pytest.raises(EvaluationError, match="Received"):
        repeated_summary(rows)


def test_images_without_covid_have_a_specificity_and_those_with_it_a_sensitivity() -> None:
    table = pd.concat(
        [
            images_of_finding("Tuberculosis", "non_covid", 15, 148),
            images_of_finding("COVID-19", "covid", 20, 20),
            images_of_finding("Nodule", None, 3, 30),
        ]
    )
    found = shares_by_finding(table, 0.5)
    json.dumps(found, allow_nan=False)
    assert list(found) == ["Tuberculosis", "Nodule", "COVID-19"]  # by number of images
    specificity = found["Tuberculosis"]["specificity"]
    assert (found["Tuberculosis"]["n"], found["Tuberculosis"]["called_covid"]) == (148, 15)
    # Newcombe 1998: 15 of 148 is 0.0624 to 0.1605, and 0 of 20 is 0 to 0.1611.
    assert specificity["value"] == pytest.approx(133 / 148)
    assert (specificity["lower"], specificity["upper"]) == pytest.approx((1 - 0.1605, 1 - 0.0624), abs=5e-5)
    assert specificity["method"] == "Wilson"
    assert found["COVID-19"]["sensitivity"]["lower"] == pytest.approx(1 - 0.1611, abs=5e-5)
    assert "specificity" not in found["COVID-19"]
    assert found["Nodule"] == {"n": 30, "called_covid": 3}


def test_blank_labels_within_a_finding_are_counted_but_not_scored() -> None:
    table = pd.concat(
        [images_of_finding(None, "non_covid", 1, 4), images_of_finding(None, "", 2, 2).assign(filename=["a", "b"])]
    )
    found = shares_by_finding(table, 0.5)
    assert list(found) == ["not stated"]
    assert (found["not stated"]["n"], found["not stated"]["called_covid"]) == (6, 3)
    assert (found["not stated"]["specificity"]["value"], found["not stated"]["specificity"]["n"]) == (0.75, 4)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"label": "healthy"}, "Received: 'healthy'"),
        ({"probability_covid": 1.5}, r"outside \[0, 1\]"),
        ({"filename": "same.png"}, "occur more than once"),
    ],
)
def test_a_set_that_cannot_be_scored_is_refused(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(EvaluationError, match=sentence):
        shares_by_finding(images_of_finding("Mass", "non_covid", 1, 4).assign(**change), 0.5)
    with pytest.raises(EvaluationError, match="lack the columns finding"):
        shares_by_finding(images_of_finding("Mass", "non_covid", 1, 4).drop(columns="finding"), 0.5)


def test_what_rests_on_pairs_agrees_with_scikit_learn_and_needs_no_part() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(120) % 3 > 0
    scores = 1 / (1 + np.exp(-rng.normal(truth - 0.5)))
    source = np.where(np.arange(120) < 60, "a.org", "b.org")
    table = predictions(truth, scores, np.arange(120) // 2, source=source).drop(columns="part")
    found = paired_metrics(table, n_resamples=300, seed=1)
    assert list(found) == ["roc_auc", "pooled_auc", "within_source_auc"]
    assert found["roc_auc"]["value"] == pytest.approx(roc_auc_score(truth, scores))
    assert found["pooled_auc"] == found["roc_auc"]  # one model judged all
    # Both halves have 40 covid images and 20 others, so their pairs count alike.
    halves = [roc_auc_score(truth[half], scores[half]) for half in (source == "a.org", source == "b.org")]
    assert found["within_source_auc"]["value"] == pytest.approx(np.mean(halves))
    assert found["roc_auc"]["lower"] < found["roc_auc"]["value"] < found["roc_auc"]["upper"]
    assert found == paired_metrics(table, n_resamples=300, seed=1)
    assert found != paired_metrics(table, n_resamples=300, seed=2)
    assert paired_metrics(table.drop(columns="source"), n_resamples=50)["within_source_auc"]["value"] is None


def test_what_rests_on_pairs_of_a_cross_validation_compares_within_one_fold() -> None:
    rng = np.random.default_rng(1)
    truth, fold = np.arange(120) % 3 > 0, np.arange(120) // 60
    scores = np.clip(rng.normal(0.3 + 0.15 * truth, 0.1) + 0.3 * fold, 0, 1)
    table = predictions(truth, scores, np.arange(120) // 2, fold=fold)
    found = paired_metrics(table, n_resamples=50)
    # Both folds have 40 of COVID-19 and 20 others, so their pairs count alike.
    halves = [roc_auc_score(truth[fold == one], scores[fold == one]) for one in (0, 1)]
    assert found["roc_auc"]["value"] == pytest.approx(np.mean(halves))
    assert found["pooled_auc"]["value"] == pytest.approx(roc_auc_score(truth, scores))
    assert found["pooled_auc"]["value"] < found["roc_auc"]["value"] - 0.05
