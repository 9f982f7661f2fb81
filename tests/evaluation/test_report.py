import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression

from covid_core.errors import EvaluationError
from covid_core.evaluation.estimates import METRICS
from covid_core.evaluation.evaluate import evaluate, read_evaluation, source_table, validated
from covid_core.evaluation.summary import summary_lines, verdict
from tests.evaluation.made_up import predictions


def random_predictions(n: int, patients: int, seed: int = 0) -> pd.DataFrame:
    """Images of patients of one class each, whose probabilities resemble each other within a patient."""
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, n)
    labels = (rng.random(patients) < 0.6)[patient]
    scores = rng.normal(size=patients)[patient] + 0.4 * rng.normal(size=n) + 1.5 * (labels - 0.5)
    table = predictions(labels, 1 / (1 + np.exp(-scores)), patient)
    return table.assign(source=rng.choice(["a.org", "b.org"], size=patients)[patient])


def known_predictions() -> pd.DataFrame:
    """The known predictor of test_metrics: 18 of 35 covid images called, 17 of 19 others not; each image its own patient."""
    labels = np.array([True] * 35 + [False] * 19)
    probability = np.array([0.9] * 18 + [0.2] * 17 + [0.1] * 17 + [0.8] * 2)
    return predictions(labels, probability)


def test_a_known_predictor_gives_a_known_evaluation() -> None:
    evaluation = evaluate(known_predictions(), model="known", threshold=0.5, n_resamples=200)

    assert evaluation["schema"] == 3
    assert (evaluation["classes"], evaluation["positive_class"]) == (["non_covid", "covid"], "covid")
    assert evaluation["confusion_matrix"] == [[17, 2], [17, 18]]
    assert list(evaluation["classification_report"]) == ["non_covid", "covid"]
    assert evaluation["classification_report"]["covid"] == {
        "precision": pytest.approx(18 / 20),
        "recall": pytest.approx(18 / 35),
        "f1": pytest.approx(36 / 55),
        "support": 35,
    }
    assert evaluation["classification_report"]["non_covid"] == {
        "precision": pytest.approx(17 / 34),
        "recall": pytest.approx(17 / 19),
        "f1": pytest.approx(34 / 53),
        "support": 19,
    }
    values = {name: metric["value"] for name, metric in evaluation["metrics"].items()}
    assert list(values) == list(METRICS)
    assert values["sensitivity"] == pytest.approx(18 / 35)
    assert values["specificity"] == pytest.approx(17 / 19)
    assert values["ppv"] == pytest.approx(18 / 20)
    assert values["npv"] == pytest.approx(17 / 34)
    # Pairs won by the covid image: 18 against all 19 others, 17 against the 17 others below them.
    assert values["roc_auc"] == pytest.approx((18 * 19 + 17 * 17) / (35 * 19))
    assert values["brier"] == pytest.approx((18 * 0.01 + 17 * 0.64 + 17 * 0.01 + 2 * 0.64) / 54)
    assert {name: evaluation["metrics"][name]["n"] for name in ("sensitivity", "specificity", "ppv", "npv")} == {
        "sensitivity": 35,
        "specificity": 19,
        "ppv": 20,
        "npv": 34,
    }


def test_values_agree_with_scikit_learn_on_random_images() -> None:
    table = random_predictions(120, 60)
    evaluation = evaluate(table, model="m", threshold=0.4, n_resamples=50)
    truth, scores = table["label"] == "covid", table["probability_covid"]
    called = scores >= 0.4
    expected = {
        "sensitivity": reference.recall_score(truth, called),
        "specificity": reference.recall_score(truth, called, pos_label=False),
        "accuracy": reference.accuracy_score(truth, called),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, called),
        "f1_covid": reference.f1_score(truth, called),
        "f1_non_covid": reference.f1_score(truth, called, pos_label=False),
        "roc_auc": reference.roc_auc_score(truth, scores),
        "pr_auc": reference.average_precision_score(truth, scores),
        "brier": reference.brier_score_loss(truth, scores),
    }
    assert {name: evaluation["metrics"][name]["value"] for name in expected} == pytest.approx(expected)


def test_a_perfect_sensitivity_gets_the_interval_of_its_patients_and_not_one_without_width() -> None:
    labels = np.array([True] * 40 + [False] * 40)
    probability = np.array([0.9] * 40 + [0.1, 0.8] * 20)
    patients = np.array([*(np.arange(40) // 2), *range(100, 140)])  # 20 covid patients of two images each
    metric = evaluate(predictions(labels, probability, patients), model="m", threshold=0.5)["metrics"]["sensitivity"]
    assert (metric["value"], metric["upper"], metric["n"]) == (1.0, 1.0, 40)
    assert metric["lower"] == pytest.approx(1 - 0.1611, abs=5e-5)  # Newcombe 1998: 0 of 20
    assert metric["method"] == "Wilson, patients as the unit"


def test_too_few_patients_of_one_class_withhold_only_what_rests_on_them() -> None:
    labels = np.array([True] * 6 + [False] * 34)
    probability = np.tile([0.9, 0.1], 20)
    patients = np.array([0, 0, 0, 1, 1, 1, *range(10, 44)])
    metrics = evaluate(predictions(labels, probability, patients), model="m", threshold=0.5)["metrics"]
    assert metrics["sensitivity"]["lower"] is None
    assert "2 patients" in metrics["sensitivity"]["note"]
    assert metrics["roc_auc"]["lower"] is None
    assert metrics["specificity"]["lower"] is not None


@pytest.mark.parametrize("prevalence", [None, 0.5])
@pytest.mark.parametrize("is_covid", [True, False])
def test_a_part_of_one_class_gives_none_with_a_sentence(is_covid: bool, prevalence: float | None) -> None:
    table = predictions(np.full(30, is_covid), np.linspace(0, 1, 30))
    evaluation = evaluate(table, model="m", threshold=0.5, prevalence=prevalence)
    json.dumps(evaluation, allow_nan=False)
    present, absent = ("sensitivity", "specificity") if is_covid else ("specificity", "sensitivity")
    undefined = [absent, "ppv", "npv", "balanced_accuracy", "f1_covid", "f1_non_covid", "roc_auc", "pr_auc"]
    assert [evaluation["metrics"][name]["value"] for name in undefined] == [None] * 8
    assert all(evaluation["metrics"][name]["note"] for name in undefined)
    assert evaluation["metrics"][present]["value"] == 0.5
    assert evaluation["metrics"][present]["lower"] is not None
    assert evaluation["roc"] is None
    assert "only" in evaluation["note"]
    assert "undefined" in summary_lines(evaluation)
    assert "nothing can be said" in verdict(evaluation)


def test_a_class_of_few_patients_is_noted_in_words_that_a_reader_knows() -> None:
    truth = np.array([True] * 40 + [False] * 5)
    note = evaluate(predictions(truth, np.linspace(0, 1, 45)), model="m", threshold=0.5, n_resamples=10)["note"]
    assert "images without COVID-19 come from fewer than 20 patients" in note
    assert "images with COVID-19" not in note


def test_a_single_image_is_enough_not_to_crash() -> None:
    table = predictions(np.array([True]), np.array([0.9]))
    evaluation = evaluate(table, model="m", threshold=0.5, prevalence=0.5)
    json.dumps(evaluation, allow_nan=False)
    assert verdict(evaluation).startswith("On 1 test image of 1 patient the model found 1 of 1 COVID-19 image (")
    summary_lines(evaluation)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda table: table.drop(columns="group"), "lack the columns group"),
        (lambda table: table.assign(part="val"), "no image of part 'test'. Parts: val"),
        (lambda table: table.assign(label="COVID"), "Received: 'COVID'"),
        (lambda table: table.assign(probability_covid=1.2), r"probability_covid .* outside \[0, 1\]"),
        (lambda table: table.assign(probability_raw=-3.0), r"probability_raw .* outside \[0, 1\]"),
        (lambda table: table.assign(probability_covid=np.nan), "54 empty values"),
        (lambda table: table.assign(filename="same.png"), "53 images occur more than once"),
    ],
)
def test_predictions_that_cannot_be_used_are_refused(change: object, sentence: str) -> None:
    with pytest.raises(EvaluationError, match=sentence):
        evaluate(change(known_predictions()), model="m", threshold=0.5)  # type: ignore[operator]


def test_an_evaluation_of_another_schema_or_class_order_is_refused(tmp_path: Path) -> None:
    evaluation = evaluate(known_predictions(), model="m", threshold=0.5, n_resamples=50)
    for wrong, sentence in (
        (
            {**evaluation, "schema": 1},
            "schema 1; this version reads 3. Evaluate the model again with `covid_core evaluate --model NAME`",
        ),
        ({**evaluation, "schema": 2}, "schema 2; this version reads 3"),
        ([evaluation], "schema None"),
        ({**evaluation, "classes": ["covid", "non_covid"]}, "they must be"),
        ({key: value for key, value in evaluation.items() if key != "roc"}, "lacks roc"),
        ({**evaluation, "metrics": {"sensitivity": {}}}, "lacks metrics.specificity"),
        (
            {**evaluation, "metrics": {k: v for k, v in evaluation["metrics"].items() if k != "pooled_auc"}},
            "lacks metrics.pooled_auc",
        ),
    ):
        with pytest.raises(EvaluationError, match=sentence):
            validated(wrong)
    with pytest.raises(EvaluationError, match="is missing"):
        read_evaluation(tmp_path / "evaluation.json")


def test_the_summary_shows_both_classes_the_matrix_and_the_main_figures() -> None:
    lines = summary_lines(evaluate(known_predictions(), model="known", threshold=0.5)).splitlines()
    words = [line.split() for line in lines]
    assert lines[0] == "Model known: 54 test images of 54 patients, covid at P(covid) >= 0.5"
    assert ["non_covid", "0.50", "0.89", "0.64", "19"] in words
    assert ["covid", "0.90", "0.51", "0.65", "35"] in words
    assert ["non_covid", "17", "2"] in words
    assert ["covid", "17", "18"] in words
    assert "COVID-19 images: 18 found, 17 missed. Other images: 17 rightly not called, 2 false alarms." in lines
    at = next(index for index, line in enumerate(lines) if line.startswith("Sensitivity       0.51 (95% CI 0."))
    assert lines[at + 1].startswith("Specificity       0.89 (95% CI 0.")
    assert lines[at + 2].startswith("ROC AUC           0.95 (95% CI 0.")
    assert lines[at + 3].startswith("  within a source undefined. Not defined: no source has images of both classes.")


def test_the_verdict_states_hits_false_alarms_and_ranking_in_one_sentence() -> None:
    sentence = verdict(evaluate(known_predictions(), model="known", threshold=0.5))
    assert sentence.startswith(
        "On 54 test images of 54 patients the model found 18 of 35 COVID-19 images (sensitivity 0.51, 95% CI 0."
    )
    assert "raised a false alarm on 2 of 19 images without COVID-19 (specificity 0.89, 95% CI 0." in sentence
    assert sentence.endswith("where 0.5 is chance and 1 is perfect.")
    assert "\n" not in sentence


def test_the_verdict_says_when_a_model_cannot_be_told_from_chance() -> None:
    evaluation = copy.deepcopy(evaluate(known_predictions(), model="known", threshold=0.5))
    evaluation["metrics"]["roc_auc"] |= {"value": 0.56, "lower": 0.47, "upper": 0.65}
    assert "0.56 (95% CI 0.47 to 0.65), which cannot be distinguished from chance" in verdict(evaluation)


def test_recognising_the_publisher_earns_nothing_within_a_source() -> None:
    labels = np.array([True] * 30 + [False] * 30)
    of_covid = np.arange(60) % 10 < 8
    source = np.where(labels == of_covid, "covid-cases.org", "others.org")
    by_publisher = predictions(labels, np.where(source == "covid-cases.org", 0.9, 0.1)).assign(source=source)
    found = evaluate(by_publisher, model="m", threshold=0.5, n_resamples=200)["metrics"]
    assert found["roc_auc"]["value"] > 0.7
    assert found["within_source_auc"]["value"] == 0.5


def test_calibration_is_reported_of_the_raw_output_and_of_the_calibrated_one() -> None:
    table = random_predictions(150, 80)
    truth, raw = (table["label"] == "covid").to_numpy(), np.sqrt(table["probability_covid"])
    weights = np.where(truth, 0.5 / truth.sum(), 0.5 / (~truth).sum())
    found = evaluate(table.assign(probability_raw=raw), model="m", threshold=0.5, prevalence=0.5, n_resamples=50)
    for name, probability in (("before", raw), ("after", table["probability_covid"])):
        logits = np.log(probability / (1 - probability)).to_numpy()[:, None]
        fitted = LogisticRegression(C=np.inf, tol=1e-10).fit(logits, truth, sample_weight=150 * weights)
        brier = reference.brier_score_loss(truth, probability, sample_weight=weights)
        assert found["calibration"][name]["brier"] == pytest.approx(brier)
        assert found["calibration"][name]["slope"] == pytest.approx(fitted.coef_[0, 0], abs=1e-4)
    after = found["calibration"]["after"]
    metrics = ("brier", "ece", "calibration_intercept", "calibration_slope")
    assert [found["metrics"][name]["value"] for name in metrics] == pytest.approx(list(after.values()))
    # A square root makes every probability higher.
    assert found["calibration"]["before"]["intercept"] < after["intercept"]
    assert found["calibration"]["before"]["ece"] > after["ece"]


def test_every_source_of_ten_images_with_both_classes_has_an_area_of_its_own() -> None:
    table = random_predictions(80, 80)
    table["source"] = ["a.org"] * 30 + ["b.org"] * 40 + ["small.org"] * 9 + [None]
    table.loc[70, "label"], table.loc[71, "label"] = "covid", "non_covid"
    rows = evaluate(table, model="m", threshold=0.5, n_resamples=200)["sources"]
    assert [(row["source"], row["films"]) for row in rows] == [("b.org", 40), ("a.org", 30)]
    for row in rows:
        images = table[table["source"] == row["source"]]
        truth = images["label"] == "covid"
        assert (row["covid"], row["non_covid"]) == (truth.sum(), (~truth).sum())
        assert row["pairs"] == row["covid"] * row["non_covid"]
        assert row["roc_auc"]["value"] == pytest.approx(reference.roc_auc_score(truth, images["probability_covid"]))
        assert row["roc_auc"]["lower"] < row["roc_auc"]["value"] < row["roc_auc"]["upper"]
        assert row["roc_auc"]["n"] == row["films"]
    assert source_table(table, n_resamples=200) == rows
    one_class = table.assign(source=table["label"])
    assert evaluate(one_class, model="m", threshold=0.5, n_resamples=50)["sources"] == []


def test_images_of_a_cross_validation_are_called_held_out() -> None:
    table = known_predictions().assign(part="out_of_fold")
    evaluation = evaluate(table, model="known", threshold=0.5, part="out_of_fold", n_resamples=50)
    words = "54 held-out images (each judged by a model that never saw its patient) of 54 patients"
    assert verdict(evaluation).startswith(f"On {words} the model found 18 of 35 COVID-19 images")
    assert summary_lines(evaluation).startswith(f"Model known: {words}, covid at")


def test_the_verdict_names_a_baseline_only_where_it_does_better() -> None:
    evaluation = evaluate(known_predictions(), model="known", threshold=0.5, n_resamples=50)
    model = evaluation["metrics"]["roc_auc"]

    def with_baselines(**areas: float | None) -> str:
        return verdict(
            evaluation | {"baselines": {name: {"roc_auc": model | {"value": area}} for name, area in areas.items()}}
        )

    assert with_baselines(source=0.99, view=0.97, age=None).endswith(
        "; a baseline that sees no pixel, only the source, has a higher one, 0.99 (95% CI 0.88 to 1.00, n = 54)."
    )
    assert with_baselines(source=0.94, view=0.6) == verdict(evaluation)
    assert model["value"] < 0.951
    assert with_baselines(source=0.951) == verdict(evaluation)  # both are shown as 0.95
    assert with_baselines(source=None) == verdict(evaluation)
