import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from covid_core.evaluation import intervals
from covid_core.evaluation.estimates import CALL_METRICS, all_metrics, threshold_metrics
from covid_core.evaluation.films import Films, films_of

BUNDLES = Path(__file__).resolve().parents[2] / "models"


def random_films(seed: int, n: int = 120, patients: int = 70, threshold: float = 0.5, share: float = 0.6) -> Films:
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, n).astype(str)
    truth = rng.random(n) < share
    probability = np.round(np.clip(rng.normal(0.4 + 0.2 * truth, 0.25), 0, 1), 2)
    return Films(truth, probability >= threshold, probability, patient, patient, rng.choice(["a", "b"], n), None)


def test_what_depends_on_the_call_is_what_another_threshold_changes() -> None:
    low, high = (all_metrics(random_films(0, threshold=one), n_resamples=20, seed=0) for one in (0.4, 0.7))
    assert tuple(name for name in low if low[name].value != high[name].value) == CALL_METRICS
    assert len(CALL_METRICS) == 10


@pytest.mark.parametrize(
    "films",
    [
        random_films(0),
        random_films(1, n=40, patients=4),
        random_films(2, n=40, patients=15, threshold=0.8),
        random_films(3, threshold=1.1),
        random_films(4, threshold=0.0),
        random_films(5, share=0.0),
        random_films(6, share=1.1),
        random_films(7, n=2, patients=2),
        random_films(8, share=0.06),
    ],
    ids=["usual", "4 patients", "few", "none called", "all called", "no covid", "only covid", "2 films", "rare"],
)
def test_figures_of_the_call_are_exactly_those_of_the_whole_report(films: Films) -> None:
    whole = all_metrics(films, n_resamples=300, seed=3)
    assert threshold_metrics(films, n_resamples=300, seed=3) == {name: whole[name] for name in CALL_METRICS}


def test_figures_of_the_call_are_those_that_a_bundle_states() -> None:
    bundle = BUNDLES / "mobilenetv2-lungs"
    if not (bundle / "predictions.csv").is_file():
        pytest.skip("the bundle is not here")
    evaluation = json.loads((bundle / "evaluation.json").read_text(encoding="utf-8"))
    table = pd.read_csv(bundle / "predictions.csv", dtype={"patientid": str, "group": str})
    films = films_of(table[table["part"] == evaluation["part"]], threshold=evaluation["threshold"])
    settings = evaluation["bootstrap"]
    found = threshold_metrics(films, n_resamples=settings["resamples"], seed=settings["seed"])
    for name, estimate in found.items():
        stated = evaluation["metrics"][name]
        assert (estimate.method, estimate.n, estimate.note) == (stated["method"], stated["n"], stated["note"])
        for key in ("value", "lower", "upper"):
            assert getattr(estimate, key) == pytest.approx(stated[key], rel=1e-12)


@pytest.mark.parametrize("n_groups", [7, 300])
def test_draws_are_the_same_whether_kept_or_fresh(n_groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = np.concatenate(list(intervals.group_draws(n_groups, n_resamples=250, seed=5)))
    monkeypatch.setattr(intervals, "_KEPT", 0)
    fresh = np.concatenate(list(intervals.group_draws(n_groups, n_resamples=250, seed=5)))
    expected = np.random.default_rng(5).multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=250)
    np.testing.assert_array_equal(kept, expected)
    np.testing.assert_array_equal(fresh, expected)


def test_kept_draws_cannot_be_altered() -> None:
    block = next(iter(intervals.group_draws(7, n_resamples=10, seed=0)))
    with pytest.raises(ValueError, match="read-only"):
        block[0, 0] = 9


def test_totals_of_groups_agree_with_pandas() -> None:
    rng = np.random.default_rng(0)
    groups, values = rng.integers(0, 12, 50).astype(str), rng.normal(size=(50, 3))
    names, totals = intervals.totals_by_group(groups, values)
    expected = pd.DataFrame(values).groupby(groups).sum()
    assert names.tolist() == expected.index.tolist()
    np.testing.assert_allclose(totals, expected.to_numpy())
