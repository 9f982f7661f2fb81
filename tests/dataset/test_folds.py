from pathlib import Path

import pandas as pd
import pytest

from covid_core.dataset.folds import lay_out_fold, make_folds, read_folds, write_folds
from covid_core.dataset.prepare import PreparedDataset, prepare_dataset, read_split
from covid_core.errors import DatasetError


@pytest.fixture(scope="module")
def prepared(phantom_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared")
    prepare_dataset(phantom_dataset, out)
    return out


def test_every_image_is_held_out_once_and_never_beside_its_patient_or_duplicate(prepared: Path, tmp_path: Path) -> None:
    folds = make_folds(prepared, 3, seed=4)
    table = read_split(prepared).merge(folds, on="filename")
    assert sorted(folds["filename"]) == sorted(read_split(prepared)["filename"])
    for key in ("patientid", "group"):
        assert len(table[[key, "fold"]].drop_duplicates()) == table[key].nunique()
    assert set(folds["fold"]) == {0, 1, 2}
    write_folds(folds, tmp_path / "folds.csv")
    pd.testing.assert_frame_equal(read_folds(tmp_path / "folds.csv", prepared), folds, check_dtype=False)


def test_a_fold_is_a_prepared_dataset_whose_test_part_is_that_fold(prepared: Path, tmp_path: Path) -> None:
    folds = make_folds(prepared, 3)
    lay_out_fold(prepared, folds, 1, tmp_path / "fold")
    split = read_split(tmp_path / "fold")
    assert set(split.loc[split["part"] == "test", "filename"]) == set(folds.loc[folds["fold"] == 1, "filename"])
    assert len(split[["group", "part"]].drop_duplicates()) == split["group"].nunique()
    assert set(zip(split["part"], split["label"], strict=True)) == {
        (part, label) for part in ("train", "val", "test") for label in ("covid", "non_covid")
    }


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda folds: folds.iloc[1:], "does not name the images"),
        (lambda folds: pd.concat([folds, folds.iloc[:1].assign(filename="x")]), "does not name the images"),
        (lambda folds: folds.rename(columns={"fold": "part"}), "does not hold folds"),
        (lambda folds: folds.assign(fold=range(len(folds))), "divides images of one patient"),
    ],
)
def test_folds_that_do_not_fit_are_refused(prepared: Path, tmp_path: Path, change, sentence: str) -> None:
    write_folds(change(make_folds(prepared, 3)), tmp_path / "folds.csv")
    with pytest.raises(DatasetError, match=sentence):
        read_folds(tmp_path / "folds.csv", prepared)


def test_the_committed_folds_are_those_of_the_real_dataset(real_prepared: PreparedDataset) -> None:
    committed = Path(__file__).resolve().parents[2] / "models" / "folds.csv"
    folds = read_folds(committed, real_prepared.out_dir)
    assert len(folds) == 672
    pd.testing.assert_frame_equal(folds, make_folds(real_prepared.out_dir), check_dtype=False)
