import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from covid_core.errors import EvaluationError
from covid_core.evaluation.baselines import BASELINES, pixel_free_predictions


def table_of(n: int = 300, seed: int = 0) -> pd.DataFrame:
    """Images whose source tells the class in four of five cases, and whose view, sex and age tell nothing."""
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


def test_a_way_of_saving_pictures_that_tells_the_class_is_found_in_their_size_and_type() -> None:
    table, rng = table_of(), np.random.default_rng(1)
    covid = (table["label"] == "covid").to_numpy()
    folds, columns = np.arange(300) % 5, BASELINES["image size and file type"]
    anything = table.assign(width=rng.integers(400, 4000, 300), height=rng.integers(400, 4000, 300), file_type="png")
    wide = anything.assign(width=np.where(covid, 1.4, 1.0) * anything["height"])
    named = anything.assign(file_type=np.where(covid, "jpg", "png"))
    assert auc(anything, columns, folds) < 0.6
    assert auc(wide, columns, folds) > 0.99
    assert auc(named, columns, folds) == 1.0


def test_a_size_that_is_not_known_is_told_from_one_that_is() -> None:
    table = table_of()
    covid = (table["label"] == "covid").to_numpy()
    sized = table.assign(width=np.where(covid, np.nan, 1000), height=np.where(covid, np.nan, 1200), file_type=None)
    assert auc(sized, BASELINES["image size and file type"], np.arange(300) % 5) == 1.0


def test_a_table_without_the_columns_of_a_baseline_is_refused() -> None:
    with pytest.raises(EvaluationError, match=r"needs the columns width, height, file_type\. Received: label, source"):
        pixel_free_predictions(table_of(), np.arange(300) % 5, BASELINES["image size and file type"])
