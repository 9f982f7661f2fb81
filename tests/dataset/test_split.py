"""Parts and folds: nobody on two sides, the classes balanced."""

import numpy as np
import pandas as pd
import pytest

from covid_core.dataset.split import Overlap, assign_folds, count_parts, group_ids, overlap, split_parts
from covid_core.errors import DatasetError


def table_of(patients: int, images: int, seed: int = 0) -> pd.DataFrame:
    """`images` of `patients`, a third of the patients non_covid, the images unevenly spread."""
    rng = np.random.default_rng(seed)
    owner = np.concatenate([np.arange(patients), rng.integers(0, max(1, patients // 4), images - patients)])
    return pd.DataFrame(
        {
            "patientid": [f"p{number}" for number in owner],
            "label": ["non_covid" if number % 3 == 0 else "covid" for number in owner],
            "group": owner,
        }
    )


def test_patients_and_duplicates_are_joined_to_groups() -> None:
    # Images 0 and 2 are one patient's; 2 and 3 are one picture; 4 is another picture of image 1's patient.
    assert group_ids(["a", "b", "a", "c", "b", "d"], [(2, 3)]).tolist() == [0, 1, 0, 0, 1, 2]


@pytest.mark.parametrize(("patients", "images"), [(400, 700), (60, 150), (20, 40)])
@pytest.mark.parametrize("seed", range(3))
def test_no_group_stands_in_two_parts(patients: int, images: int, seed: int) -> None:
    table = table_of(patients, images, seed)
    parts = split_parts(table, seed=seed)
    assert parts.groupby(table["group"]).nunique().max() == 1
    assert set(parts) == {"train", "val", "test"}


@pytest.mark.parametrize("seed", range(5))
def test_each_class_comes_close_to_its_share(seed: int) -> None:
    table = table_of(400, 700, seed)
    parts = split_parts(table, (0.6, 0.2, 0.2), seed=seed)
    for label, images in table["label"].value_counts().items():
        shares = parts[table["label"] == label].value_counts() / images
        assert shares["train"] == pytest.approx(0.6, abs=0.01)
        assert shares["val"] == pytest.approx(0.2, abs=0.01)


def test_the_seed_decides_the_split_which_keeps_the_index_of_the_table() -> None:
    table = table_of(100, 150).iloc[::-1]
    assert split_parts(table, seed=1).equals(split_parts(table, seed=1))
    assert not split_parts(table, seed=1).equals(split_parts(table, seed=2))
    assert split_parts(table).index.equals(table.index)


@pytest.mark.parametrize("n_folds", [2, 5, 10])
def test_folds_are_grouped_and_of_equal_size(n_folds: int) -> None:
    table = table_of(200, 300)
    folds = assign_folds(table, n_folds)
    assert folds.groupby(table["group"]).nunique().max() == 1
    for label in ("covid", "non_covid"):
        sizes = folds[table["label"] == label].value_counts()
        assert len(sizes) == n_folds
        assert sizes.max() - sizes.min() <= 2


def test_a_part_without_a_class_is_refused() -> None:
    table = pd.DataFrame({"patientid": list("abcde"), "group": range(5), "label": ["covid"] * 3 + ["non_covid"] * 2})
    with pytest.raises(DatasetError, match="no image of class non_covid: there are 2"):
        split_parts(table)
    with pytest.raises(DatasetError, match="no image of class non_covid"):
        assign_folds(table, 3)
    with pytest.raises(DatasetError, match="at least 2 folds"):
        assign_folds(table, 1)


@pytest.mark.parametrize("fractions", [(0.7, 0.3), (0.7, 0.3, 0.0), (0.7, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_unusable_shares_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(DatasetError, match="sum to 1"):
        split_parts(table_of(20, 40), fractions)


def test_overlap_counts_what_a_careless_split_divides() -> None:
    table = pd.DataFrame(
        {
            "patientid": ["a", "a", "b", "c", "c", "d"],
            "duplicate": pd.array([7, None, 7, None, 8, 8], dtype="Int64"),
        }
    )
    careless = pd.Series(["train", "test", "val", "train", "train", "test"])
    # a is in train and test; picture 7 in train and val, picture 8 in train and test.
    assert overlap(table, careless) == Overlap(patients=1, duplicates=2)
    assert overlap(table, pd.Series(["train"] * 6)) == Overlap(patients=0, duplicates=0)


def test_parts_are_counted_in_images_and_patients() -> None:
    table = pd.DataFrame(
        {
            "patientid": ["a", "a", "b", "c"],
            "label": ["covid", "covid", "covid", "non_covid"],
            "part": ["train", "train", "train", "test"],
        }
    )
    assert count_parts(table).to_numpy().tolist() == [
        ["train", "non_covid", 0, 0],
        ["train", "covid", 3, 2],
        ["val", "non_covid", 0, 0],
        ["val", "covid", 0, 0],
        ["test", "non_covid", 1, 1],
        ["test", "covid", 0, 0],
    ]
