import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from covid_core.evaluation.baselines import BASELINES, pixel_free_predictions


def table_of(n: int = 300, seed: int = 0) -> pd.DataFrame:
    """Films whose source tells the class in four of five cases, and whose view, sex and age tell nothing."""
    rng = np.random.default_rng(seed)
    covid = rng.random(n) < 0.6
    told = rng.random(n) < 0.8
    return pd.DataFrame(
        {
            "label": np.where(covid, "covid", "non_covid"),
            "source": np.where(covid == told, "covid-cases.org", "others.org"),
            "view": rng.choice(["PA", "AP"], n),
            "sex": rng.choice(["M", "F", None], n),
            "age": np.where(rng.random(n) < 0.3, np.nan, rng.integers(20, 90, n)),
        }
    )


def auc(table: pd.DataFrame, columns: tuple[str, ...], folds: np.ndarray) -> float:
    return float(roc_auc_score(table["label"] == "covid", pixel_free_predictions(table, folds, columns)))


def test_a_source_that_tells_the_class_is_found_and_a_view_that_does_not_is_not() -> None:
    table, folds = table_of(), np.arange(300) % 5
    assert auc(table, BASELINES["source"], folds) == pytest.approx(0.8, abs=0.05)
    assert auc(table, BASELINES["view"], folds) < 0.6
    assert auc(table, BASELINES["sex, age and view"], folds) < 0.6


def test_a_source_that_the_other_folds_never_show_tells_nothing() -> None:
    table = table_of(40)
    table["source"] = [f"site-{index}.org" for index in range(40)]
    probability = pixel_free_predictions(table, np.arange(40) % 4, ("source",))
    assert all(len(set(probability[np.arange(40) % 4 == fold])) == 1 for fold in range(4))


def test_missing_values_are_a_category_of_their_own() -> None:
    table = table_of(200)
    table["sex"] = np.where(table["label"] == "covid", None, "M")
    assert auc(table, ("sex",), np.arange(200) % 5) == 1.0
