"""The numbers of the Model report, counted again from `predictions.csv` by other libraries, for every bundle that is here.

What is expected comes from pandas, scikit-learn, SciPy, statsmodels or a line of arithmetic; nothing of `covid_core.evaluation`
takes part in it. Each figure is compared twice: as `evaluation.json` has it, and as a chapter of the report shows it.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import rankdata
from sklearn import metrics as sk
from statsmodels.stats.proportion import proportion_confint

from covid_core.evaluation.evaluate import at_threshold
from covid_core.inference.bundle import load_bundle
from covid_core.paths import model_names, models_dir
from covid_core.report.build import chapter, default_options
from covid_core.report.document import Chapter
from covid_core.report.record import Record, read_record

NAMES = model_names()
RESAMPLES = 2000
HALF_A_HUNDREDTH = 0.005 + 1e-9
CALLS = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "balanced_accuracy": "Balanced accuracy",
    "ppv": "Positive predictive value",
    "npv": "Negative predictive value",
    "accuracy": "Accuracy",
    "f1_covid": "F1, COVID-19",
    "f1_non_covid": "F1, not COVID-19",
    "lr_positive": "Likelihood ratio +",
    "lr_negative": "Likelihood ratio -",
}
AREAS = {
    "roc_auc": "ROC AUC",
    "pooled_auc": "ROC AUC, folds pooled",
    "within_source_auc": "ROC AUC within a source",
    "pr_auc": "Average precision (PR AUC)",
}
CALIBRATION = {
    "brier": "Brier score",
    "calibration_intercept": "Calibration intercept",
    "calibration_slope": "Calibration slope",
    "ece": "Calibration error (ECE)",
}


@dataclass(frozen=True)
class Counted:
    """A bundle's record as the report reads it, and its judged images (n,) read without the package.

    `truth` is true for covid, `p` is P(covid), `prevalence` what it assumes; that of the images where it assumes none.
    """

    record: Record
    table: pd.DataFrame
    truth: np.ndarray
    p: np.ndarray
    prevalence: float

    @property
    def shipped(self) -> dict[str, Any]:
        return self.record.evaluation

    @property
    def folds(self) -> np.ndarray:
        """The fold of each image, text (n,); one and the same where one model judged all."""
        return self.table["fold"].to_numpy(str) if "fold" in self.table else np.full(len(self.table), "")

    def weights(self) -> np.ndarray:
        """Weights (n,) that bring the classes to `prevalence`."""
        share = self.truth.mean()
        return np.where(self.truth, self.prevalence / share, (1 - self.prevalence) / (1 - share))


@lru_cache
def counted_of(name: str) -> Counted:
    record = read_record(load_bundle(models_dir() / name))
    table = pd.read_csv(models_dir() / name / "predictions.csv", dtype={"patientid": str, "group": str})
    table = table[table["part"] == record.evaluation["part"]].reset_index(drop=True)
    truth = (table["label"] == "covid").to_numpy()
    assumed = record.evaluation["reliability"]["prevalence"]
    return Counted(
        record, table, truth, table["probability_covid"].to_numpy(), truth.mean() if assumed is None else assumed
    )


@lru_cache
def shown(name: str, title: str, threshold: float | None = None, prevalence: float | None = None) -> Chapter:
    """A chapter of a model's report beside all the others."""
    asked = default_options(
        counted_of(name).record, tuple(counted_of(other).record for other in NAMES if other != name)
    )
    asked = asked if threshold is None else replace(asked, threshold=threshold)
    return chapter(title, asked if prevalence is None else replace(asked, prevalence=prevalence))


def rows_of(of: Chapter, name: str) -> dict[str, dict[str, str]]:
    """The rows of a table by their first cell."""
    (table,) = (one.table for one in of.tables() if one.name == name)
    return {row[table.columns[0]]: row for row in table.to_dict("records")}


def trace_of(of: Chapter, chart: str, pattern: str) -> Any:
    """The one trace of a chart whose whole name is of this pattern."""
    (figure,) = (one.figure for one in of.charts() if one.name == chart)
    (trace,) = (one for one in figure.data if re.fullmatch(pattern, one.name or ""))
    return trace


def says(cell: str, value: float) -> bool:
    """Tell whether a cell is this number, rounded to two digits."""
    return re.fullmatch(r"[+-]?\d+\.\d\d", cell) is not None and abs(float(cell) - value) <= HALF_A_HUNDREDTH


def says_interval(cell: str, lower: float, upper: float) -> bool:
    return all(says(text, bound) for text, bound in zip(cell.split(" to "), (lower, upper), strict=True))


@pytest.fixture(params=NAMES or [pytest.param("", marks=pytest.mark.skip(reason="no bundle is committed here"))])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def counted(name: str) -> Counted:
    images = counted_of(name)
    if images.truth.all() or not images.truth.any():
        pytest.skip("the images that were judged are of one class")
    return images


def rates_of(truth: np.ndarray, called: np.ndarray) -> dict[str, float]:
    """The figures of calls, by scikit-learn; NaN where a ratio would divide by 0."""
    sensitivity, specificity = sk.recall_score(truth, called), sk.recall_score(truth, called, pos_label=False)
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": sk.precision_score(truth, called),
        "npv": sk.precision_score(truth, called, pos_label=False),
        "accuracy": sk.accuracy_score(truth, called),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, called),
        "f1_covid": sk.f1_score(truth, called),
        "f1_non_covid": sk.f1_score(truth, called, pos_label=False),
        "lr_positive": sensitivity / (1 - specificity) if specificity < 1 else np.nan,
        "lr_negative": (1 - sensitivity) / specificity if specificity > 0 else np.nan,
    }


def pairs_won(images: Counted) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every pair of COVID-19 and another: won 1, tied 1/2, lost 0; and whether one model judged both, in one fold of a
    cross-validation; and whether both are of one source besides.
    """
    covid, other = images.p[images.truth][:, None], images.p[~images.truth][None, :]
    sources = images.table["source"].fillna("").to_numpy(str)
    one, two = sources[images.truth][:, None], sources[~images.truth][None, :]
    folds = images.folds
    comparable = folds[images.truth][:, None] == folds[~images.truth][None, :]
    return (covid > other) + 0.5 * (covid == other), comparable, comparable & (one == two) & (one != "")


def line_of(truth: np.ndarray, p: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Calibration in the large, with the slope held at 1, and the slope with its own intercept."""
    logits = np.log(np.clip(p, 1e-6, 1 - 1e-6) / (1 - np.clip(p, 1e-6, 1 - 1e-6)))
    target, ones = truth.astype(float), np.ones(truth.size)
    family = sm.families.Binomial()
    large = sm.GLM(target, ones, family=family, offset=logits, freq_weights=weights).fit(tol=1e-12)
    both = sm.GLM(target, np.column_stack([ones, logits]), family=family, freq_weights=weights).fit(tol=1e-12)
    return float(large.params[0]), float(both.params[1])


def bins_of(p: np.ndarray) -> np.ndarray:
    """Which tenth of the images each image is in, by its rank; equal probabilities stay together."""
    return (10 * (rankdata(p, method="min").astype(int) - 1)) // p.size


def error_of(truth: np.ndarray, p: np.ndarray, weights: np.ndarray) -> float:
    """The calibration error: |sum of weighted (p - outcome)| of each bin, over the sum of all weights."""
    gaps = pd.Series(weights * (p - truth)).groupby(bins_of(p)).sum()
    return float(gaps.abs().sum() / weights.sum())


@pytest.mark.parametrize("threshold", [None, 0.3, 0.8])
def test_the_confusion_matrix_is_that_of_scikit_learn_at_every_threshold(
    name: str, counted: Counted, threshold: float | None
) -> None:
    at = counted.shipped["threshold"] if threshold is None else threshold
    expected = sk.confusion_matrix(counted.truth, counted.p >= at)
    if threshold is None:
        assert counted.shipped["confusion_matrix"] == expected.tolist()
    assert at_threshold(counted.shipped, counted.record.predictions, at)["confusion_matrix"] == expected.tolist()
    here = shown(name, "operating-point", threshold)
    (figure,) = (one.figure for one in here.charts() if one.name == "confusion-matrix")
    drawn = {(cell.y, cell.x): int(re.match(r"<b>(\d+)</b>", cell.text)[1]) for cell in figure.layout.annotations}
    assert drawn == dict(np.ndenumerate(expected))
    np.testing.assert_allclose(figure.data[0].z, expected / expected.sum(axis=1, keepdims=True), atol=1e-12)
    rows = rows_of(here, "confusion-matrix-table")
    for title, row in zip(("Not COVID-19", "COVID-19"), expected, strict=True):
        cells = [rows[title][f"Called: {called}"] for called in ("Not COVID-19", "COVID-19")]
        assert rows[title]["Images"] == str(row.sum())
        for cell, count in zip(cells, row, strict=True):
            found, percent = re.fullmatch(r"(\d+) \((\d+)%\)", cell).groups()
            assert int(found) == count
            assert abs(int(percent) - 100 * count / row.sum()) <= 0.5 + 1e-9


@pytest.mark.parametrize("threshold", [None, 0.3, 0.8])
def test_every_rate_is_that_of_scikit_learn_in_the_record_and_in_the_table(
    name: str, counted: Counted, threshold: float | None
) -> None:
    at = counted.shipped["threshold"] if threshold is None else threshold
    measured = counted.shipped if threshold is None else at_threshold(counted.shipped, counted.record.predictions, at)
    rows = rows_of(shown(name, "operating-point", threshold), "figures-at-threshold")
    called = counted.p >= at
    expected = rates_of(counted.truth, called)
    rests_on = {
        "sensitivity": counted.truth.sum(),
        "specificity": (~counted.truth).sum(),
        "ppv": called.sum(),
        "npv": (~called).sum(),
    }
    assert set(rows) == set(CALLS.values())
    for metric, title in CALLS.items():
        stored, row = measured["metrics"][metric], rows[title]
        assert int(row["Images"]) == stored["n"] == rests_on.get(metric, counted.truth.size), metric
        if np.isnan(expected[metric]):
            assert (stored["value"], stored["lower"], row["Value"]) == (None, None, "undefined"), metric
        else:
            assert stored["value"] == pytest.approx(expected[metric], abs=1e-12), metric
            assert says(row["Value"], expected[metric]), metric
        if stored["lower"] is None:
            assert row["95% interval"] == stored["note"], metric
        else:
            assert says_interval(row["95% interval"], stored["lower"], stored["upper"]), metric


def areas_of(images: Counted) -> dict[str, float]:
    won, comparable, together = pairs_won(images)
    return {
        "roc_auc": float(won[comparable].mean()),
        "pooled_auc": sk.roc_auc_score(images.truth, images.p),
        "within_source_auc": float(won[together].mean()),
        "pr_auc": sk.average_precision_score(images.truth, images.p),
    }


def test_the_areas_are_those_of_scikit_learn_and_of_pairs_counted_by_hand(name: str, counted: Counted) -> None:
    rows = rows_of(shown(name, "discrimination"), "areas")
    classes = counted.table.assign(truth=counted.truth).groupby("source")["truth"].agg(["size", "nunique"])
    rests_on = {"within_source_auc": classes.loc[classes["nunique"] == 2, "size"].sum()}
    for metric, expected in areas_of(counted).items():
        assert counted.shipped["metrics"][metric]["value"] == pytest.approx(expected, abs=1e-12), metric
        stored, row = counted.shipped["metrics"][metric], rows[AREAS[metric]]
        assert says(row["Value"], expected), metric
        assert int(row["Images"]) == stored["n"] == rests_on.get(metric, counted.truth.size), metric
        assert says_interval(row["95% interval"], stored["lower"], stored["upper"]), metric


def test_the_roc_curve_has_the_points_of_scikit_learn(name: str, counted: Counted) -> None:
    fpr, tpr, thresholds = sk.roc_curve(counted.truth, counted.p, drop_intermediate=False)
    stored = counted.shipped["roc"]
    trace = trace_of(shown(name, "discrimination"), "roc", "AUC.*")
    for x, y in ((stored["fpr"], stored["tpr"]), (trace.x, trace.y)):
        np.testing.assert_allclose(x, fpr, atol=1e-12)
        np.testing.assert_allclose(y, tpr, atol=1e-12)
    assert stored["thresholds"][0] is None
    np.testing.assert_allclose(stored["thresholds"][1:], thresholds[1:], atol=1e-12)
    point = trace_of(shown(name, "discrimination"), "roc", "operating point.*")
    called = counted.p >= counted.shipped["threshold"]
    assert (point.x[0], point.y[0]) == pytest.approx((called[~counted.truth].mean(), called[counted.truth].mean()))


@lru_cache
def random_draws(groups: int) -> np.ndarray:
    rng = np.random.Generator(np.random.MT19937(20_240_607))
    return np.stack([np.bincount(rng.integers(groups, size=groups), minlength=groups) for _ in range(RESAMPLES)])


def draws(groups: pd.Series) -> np.ndarray:
    """How often each image is in each of the resamples of whole groups: float64 (RESAMPLES, n)."""
    number = groups.groupby(groups).ngroup().to_numpy()
    return random_draws(number.max() + 1)[:, number].astype(float)


def auc_of(truth: np.ndarray, p: np.ndarray, weights: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    """The share of pairs that are won in each resample, from the table of all pairs."""
    covid, other = p[truth][:, None], p[~truth][None, :]
    won = (covid > other) + 0.5 * (covid == other)
    allowed = np.ones_like(won) if allowed is None else allowed.astype(float)
    drawn, others = weights[:, truth], weights[:, ~truth]
    with np.errstate(invalid="ignore"):
        return ((drawn @ (won * allowed)) * others).sum(axis=1) / ((drawn @ allowed) * others).sum(axis=1)


def lines_of(images: Counted, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Calibration intercepts and slopes of every resample, its classes weighted to the prevalence, by plain Newton steps."""
    truth, p = images.truth, np.clip(images.p, 1e-6, 1 - 1e-6)
    logits = np.log(p / (1 - p))
    share = images.prevalence / weights[:, truth].sum(axis=1), (1 - images.prevalence) / weights[:, ~truth].sum(axis=1)
    weights = weights * np.where(truth, share[0][:, None], share[1][:, None])
    large, intercept, slope = np.zeros(len(weights)), np.zeros(len(weights)), np.ones(len(weights))
    for _ in range(12):
        fitted = 1 / (1 + np.exp(-(large[:, None] + logits)))
        large += (weights * (truth - fitted)).sum(axis=1) / (weights * fitted * (1 - fitted)).sum(axis=1)
        fitted = 1 / (1 + np.exp(-(intercept[:, None] + slope[:, None] * logits)))
        residual, bend = weights * (truth - fitted), weights * fitted * (1 - fitted)
        g0, g1 = residual.sum(axis=1), residual @ logits
        h00, h01, h11 = bend.sum(axis=1), bend @ logits, bend @ logits**2
        intercept += (h11 * g0 - h01 * g1) / (h00 * h11 - h01**2)
        slope += (h00 * g1 - h01 * g0) / (h00 * h11 - h01**2)
    return large, slope


def resampled(images: Counted) -> dict[str, np.ndarray]:
    """Every figure with an interval in every resample of patients, NaN or infinite where it is undefined."""
    weights, truth, called = draws(images.table["group"]), images.truth, images.p >= images.shipped["threshold"]
    tp, fp, fn, tn = (
        weights[:, cell].sum(axis=1) for cell in (truth & called, ~truth & called, truth & ~called, ~truth & ~called)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
        brier = [
            (weights[:, of] @ (images.p[of] - images.truth[of]) ** 2) / weights[:, of].sum(axis=1)
            for of in (truth, ~truth)
        ]
        figures = {
            "sensitivity": sensitivity,
            "specificity": specificity,
            "ppv": tp / (tp + fp),
            "npv": tn / (tn + fn),
            "accuracy": (tp + tn) / (tp + tn + fp + fn),
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "f1_covid": 2 * tp / (2 * tp + fp + fn),
            "f1_non_covid": 2 * tn / (2 * tn + fp + fn),
            "lr_positive": sensitivity / (1 - specificity),
            "lr_negative": (1 - sensitivity) / specificity,
        }
    intercept, slope = lines_of(images, weights)
    _, comparable, together = pairs_won(images)
    return figures | {
        "roc_auc": auc_of(truth, images.p, weights, comparable),
        "pooled_auc": auc_of(truth, images.p, weights),
        "within_source_auc": auc_of(truth, images.p, weights, together),
        "pr_auc": np.array([sk.average_precision_score(truth, images.p, sample_weight=one) for one in weights]),
        "brier": images.prevalence * brier[0] + (1 - images.prevalence) * brier[1],
        "calibration_intercept": intercept,
        "calibration_slope": slope,
    }


def is_bounded(stored: dict[str, Any], values: np.ndarray) -> bool:
    """Tell whether each bound leaves 2.5 % of these resamples outside.

    Two bootstraps of 2000 resamples differ in what a bound leaves outside with a standard deviation of sqrt(2 * 0.025 * 0.975
    / 2000) = 0.005; four of them are allowed. A bound of a ratio or a slope can move far meanwhile, its distribution has a
    long tail, so the shares are compared. A resample exactly on the bound may count as either.
    """
    defined, lower, upper = values[np.isfinite(values)], stored["lower"], stored["upper"]
    outside = (defined < lower - 1e-9).mean(), (defined > upper + 1e-9).mean()
    or_on_it = (defined <= lower + 1e-9).mean(), (defined >= upper - 1e-9).mean()
    return max(outside) <= 0.025 + 0.02 and min(or_on_it) >= 0.025 - 0.02


def test_the_intervals_are_those_of_another_bootstrap_over_patients(counted: Counted) -> None:
    for metric, values in resampled(counted).items():
        stored = counted.shipped["metrics"][metric]
        if stored["method"] != "patient bootstrap":
            continue
        assert is_bounded(stored, values), metric
        if not metric.startswith(("lr_", "calibration_")):
            bounds = np.quantile(values[np.isfinite(values)], [0.025, 0.975])
            assert np.abs(bounds - [stored["lower"], stored["upper"]]).max() <= 0.02, metric


def test_the_calibration_figures_are_those_of_statsmodels(name: str, counted: Counted) -> None:
    weights = counted.weights()
    table = rows_of(shown(name, "calibration"), "calibration")
    for when, column in (("before", "probability_raw"), ("after", "probability_covid")):
        p = counted.table[column].to_numpy()
        intercept, slope = line_of(counted.truth, p, weights)
        expected = {
            "brier": sk.brier_score_loss(counted.truth, p, sample_weight=weights),
            "ece": error_of(counted.truth, p, weights),
            "intercept": intercept,
            "slope": slope,
        }
        assert counted.shipped["calibration"][when] == pytest.approx(expected, abs=1e-7)
        for key, title in zip(expected, ("brier", "ece", "calibration_intercept", "calibration_slope"), strict=True):
            assert says(table[CALIBRATION[title]][when.capitalize()], expected[key])
    rows = rows_of(shown(name, "calibration"), "calibration-figures")
    for title, key in (
        ("brier", "brier"),
        ("ece", "ece"),
        ("calibration_intercept", "intercept"),
        ("calibration_slope", "slope"),
    ):
        stored, row = counted.shipped["metrics"][title], rows[CALIBRATION[title]]
        assert stored["value"] == pytest.approx(expected[key], abs=1e-7)
        assert says(row["Value"], expected[key])
        assert int(row["Images"]) == stored["n"] == counted.truth.size
        if stored["lower"] is None:
            assert row["95% interval"] == stored["note"]
        else:
            assert says_interval(row["95% interval"], stored["lower"], stored["upper"])


def test_the_reliability_bins_hold_what_their_images_say(name: str, counted: Counted) -> None:
    weights, share, stored = counted.weights(), counted.truth.mean(), counted.shipped["reliability"]
    odds = counted.prevalence / (1 - counted.prevalence) / (share / (1 - share))
    expected = []
    for number in np.unique(bins_of(counted.p)):
        here = bins_of(counted.p) == number
        bounds = np.array(proportion_confint(counted.truth[here].sum(), here.sum(), method="wilson"))
        lower, upper = bounds * odds / (bounds * odds + 1 - bounds)
        expected.append(
            {
                "low": counted.p[here].min(),
                "high": counted.p[here].max(),
                "predicted": np.average(counted.p[here], weights=weights[here]),
                "observed": np.average(counted.truth[here], weights=weights[here]),
                "lower": lower,
                "upper": upper,
                "n": here.sum(),
                "weight": weights[here].sum() / weights.sum(),
            }
        )
    assert len(stored["bins"]) == len(expected)
    for one, two in zip(stored["bins"], expected, strict=True):
        assert one == pytest.approx(two, abs=1e-9)
    error = sum(one["weight"] * abs(one["predicted"] - one["observed"]) for one in stored["bins"])
    assert stored["ece"] == pytest.approx(error, abs=1e-12)
    trace = trace_of(shown(name, "calibration"), "reliability", "images in bins.*")
    np.testing.assert_allclose(trace.x, [one["predicted"] for one in expected], atol=1e-9)
    np.testing.assert_allclose(trace.y, [one["observed"] for one in expected], atol=1e-9)
    for bound, reach in (("upper", np.asarray(trace.error_y.array)), ("lower", -np.asarray(trace.error_y.arrayminus))):
        np.testing.assert_allclose(trace.y + reach, [one[bound] for one in expected], atol=1e-9)
    (bins,) = (one.table for one in shown(name, "calibration").tables() if one.name == "reliability-bins")
    for row, one in zip(bins.to_dict("records"), expected, strict=True):
        assert says_interval(row["Probability"], one["low"], one["high"])
        assert says_interval(row["95% interval"], one["lower"], one["upper"])
        assert says(row["Mean predicted"], one["predicted"])
        assert says(row["Observed (weighted)"], one["observed"])
        assert row["Images"] == str(one["n"])


def test_the_predictive_values_are_those_of_bayes_rule(name: str, counted: Counted) -> None:
    prevalence = 0.1
    here = shown(name, "in-your-clinic", None, prevalence)
    called = counted.p >= counted.shipped["threshold"]
    sensitivity, alarms = called[counted.truth].mean(), called[~counted.truth].mean()

    def by_bayes(share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ppv = sensitivity * share / (sensitivity * share + alarms * (1 - share))
        npv = (1 - alarms) * (1 - share) / ((1 - alarms) * (1 - share) + (1 - sensitivity) * share)
        return ppv, npv

    (chart,) = (one for one in here.charts() if one.name == "predictive-values")
    marks = [one for one in chart.figure.data if len(one.x) == 1]
    for position, title in enumerate(("PPV", "NPV")):
        trace = trace_of(here, "predictive-values", title)
        assert min(trace.x) < prevalence < max(trace.x)
        np.testing.assert_allclose(trace.y, by_bayes(np.asarray(trace.x))[position], atol=1e-12)
        assert marks[position].x[0] == prevalence
        assert marks[position].y[0] == pytest.approx(by_bayes(np.array(prevalence))[position], abs=0.001)
    said = re.findall(r"(\d+(?:\.\d+)?)%", chart.alt)
    for text, value in zip(said, by_bayes(np.array(prevalence)), strict=False):
        assert abs(float(text) - 100 * value) <= 0.5 + 1e-9
    people = {title: trace_of(here, "people", title) for title in ("COVID-19", "Not COVID-19")}
    for title, share, rates in (
        ("COVID-19", prevalence, (sensitivity, 1 - sensitivity)),
        ("Not COVID-19", 1 - prevalence, (alarms, 1 - alarms)),
    ):
        assert sum(people[title].x) == 1000 * share
        np.testing.assert_allclose(people[title].x, 1000 * share * np.array(rates), atol=1)
