import numpy as np
import pytest

from covid_core.evaluation import intervals
from covid_core.evaluation.intervals import cluster_bootstrap, wilson


def mean_of(values: np.ndarray) -> intervals.Statistics:
    """The mean of `values` as a statistic of weights."""
    return lambda weights: {"mean": (weights @ values) / weights.sum(axis=1)}


@pytest.mark.parametrize(
    ("successes", "n", "lower", "upper"),
    # Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(successes: int, n: int, lower: float, upper: float) -> None:
    estimate = wilson(successes, n)
    assert estimate.lower == pytest.approx(lower, abs=5e-5)
    assert estimate.upper == pytest.approx(upper, abs=5e-5)
    assert estimate.value == pytest.approx(successes / n)
    assert estimate.n == n


def test_wilson_of_nothing_has_no_value_but_a_reason() -> None:
    estimate = wilson(0, 0)
    assert (estimate.value, estimate.lower, estimate.upper) == (None, None, None)
    assert estimate.note


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values, groups = np.random.default_rng(0).normal(size=80), np.arange(80) // 2
    first, again, other = (cluster_bootstrap(mean_of(values), groups, seed=seed)["mean"] for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_without_clusters_the_interval_is_the_textbook_one_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(size=400)
    estimate = cluster_bootstrap(mean_of(values), np.arange(400), n_resamples=4000)["mean"]
    half = 1.96 * values.std() / np.sqrt(400)
    assert estimate.lower == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert estimate.upper == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_resamples_without_a_defined_figure_are_left_out_and_counted() -> None:
    rare = np.arange(12) < 1  # one group of twelve: absent from (11/12)^12 = 0.35 of the resamples

    def share_of_rare(weights: np.ndarray) -> dict[str, np.ndarray]:
        weight = weights @ rare
        return {"inverse": np.where(weight > 0, 1 / np.maximum(weight, 1), np.nan)}

    estimate = cluster_bootstrap(share_of_rare, np.arange(12))["inverse"]
    assert estimate.undefined == pytest.approx(2000 * (11 / 12) ** 12, rel=0.1)
    assert estimate.upper == 1.0
    assert estimate.note is not None  # twelve patients are few


def test_a_figure_that_most_resamples_do_not_have_gets_no_interval() -> None:
    def defined_once(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"once": np.where((weights == 1).all(axis=1), 1.0, np.nan)}

    estimate = cluster_bootstrap(defined_once, np.arange(30))["once"]
    assert (estimate.value, estimate.lower, estimate.upper) == (1.0, None, None)
    assert estimate.note is not None
    assert "undefined in" in estimate.note


@pytest.mark.parametrize("patients", [1, 4])
def test_a_handful_of_patients_gives_a_value_without_an_interval_and_says_why(patients: int) -> None:
    estimate = cluster_bootstrap(mean_of(np.arange(8.0)), np.arange(8) % patients)["mean"]
    assert (estimate.value, estimate.lower, estimate.upper) == (3.5, None, None)
    assert estimate.note is not None
    assert f"{patients} patient" in estimate.note
