"""Of whom the films are, from a prepared dataset, from a collection, and from both."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from covid_core.errors import DatasetError
from covid_core.evaluation.evaluate import evaluate
from covid_core.evaluation.metadata_blocks import whom_blocks
from tests.made_up_records import forty_films

FILMS = forty_films()
STEP = {"reason": "every row", "images": 40, "patients": 20, "excluded_images": 0, "excluded_patients": 0}


@pytest.fixture(scope="module")
def evaluation() -> dict[str, Any]:
    return evaluate(FILMS, model="own", threshold=0.5, n_resamples=40)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """What `prepare` leaves of the forty films: their table and their (empty) files; every film is of a woman of 50."""
    folder = tmp_path / "dataset"
    for row in FILMS.itertuples():
        film = folder / "split" / row.part / row.label / row.filename
        film.parent.mkdir(parents=True, exist_ok=True)
        film.touch()
    columns = ["filename", "patientid", "label", "part", "group", "source"]
    table = FILMS[columns].assign(sha256=FILMS["filename"], finding="Pneumonia", view="PA", sex="F", age=50)
    table.to_csv(folder / "split.csv", index=False)
    return folder


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """A table that names the forty films and one more: every film is of a man, the age is known of none."""
    folder = tmp_path / "collection"
    folder.mkdir()
    columns = "patientid,sex,age,finding,RT_PCR_positive,view,modality,filename,url"
    rows = [f"p,M,,Pneumonia,Y,AP,X-ray,{name},https://example.org/" for name in (*FILMS["filename"], "more.png")]
    (folder / "metadata.csv").write_text("\n".join([columns, *rows]) + "\n")
    return folder


def groups(blocks: dict[str, Any]) -> dict[str, set[str]]:
    """Grouping -> the names of its groups."""
    found: dict[str, set[str]] = {}
    for row in blocks["subgroups"]:
        found.setdefault(row["group"], set()).add(row["name"])
    return found


def test_with_neither_folder_nothing_is_measured(evaluation: dict[str, Any]) -> None:
    assert whom_blocks(FILMS, evaluation, None, None) == {}


def test_with_the_dataset_alone_both_blocks_rest_on_what_it_says(evaluation: dict[str, Any], dataset: Path) -> None:
    blocks = whom_blocks(FILMS, evaluation, dataset, None)
    assert set(blocks) == {"subgroups", "cohort"}
    found = groups(blocks)
    assert found["Sex"] == {"female"}
    assert found["Age"] == {"40 to 59"}
    assert found["View"] == {"PA"}
    assert "RT-PCR" not in found
    assert blocks["cohort"]["flow"] == []
    assert blocks["cohort"]["parts"] == [{"name": "test", "images": 40, "patients": 20, "covid": 20, "non_covid": 20}]
    assert blocks["cohort"]["distributions"]["sex"] == {"female": {"test": 40}}


def test_with_the_collection_alone_there_are_groups_and_no_cohort(evaluation: dict[str, Any], collection: Path) -> None:
    blocks = whom_blocks(FILMS, evaluation, None, collection)
    assert set(blocks) == {"subgroups"}
    found = groups(blocks)
    assert found["Sex"] == {"male"}
    assert found["View"] == {"AP"}
    assert "Age" not in found
    assert found["RT-PCR"] == {"COVID-19 confirmed by PCR"}
    whole = next(row for row in blocks["subgroups"] if row["group"] == "Sex")
    for name in ("sensitivity", "specificity", "roc_auc"):
        assert whole[name]["value"] == evaluation["metrics"][name]["value"]


def test_with_both_the_collection_is_asked_first_and_the_dataset_fills_its_gaps(
    evaluation: dict[str, Any], dataset: Path, collection: Path
) -> None:
    found = groups(whom_blocks(FILMS, evaluation, dataset, collection))
    assert found["Sex"] == {"male"}
    assert found["Age"] == {"40 to 59"}


def test_a_collection_of_other_films_leaves_them_unknown(evaluation: dict[str, Any], collection: Path) -> None:
    table = (collection / "metadata.csv").read_text().replace("film", "elsewhere")
    (collection / "metadata.csv").write_text(table.replace("elsewherename", "filename"))
    assert set(groups(whom_blocks(FILMS, evaluation, None, collection))) == {"Source"}


def test_the_flow_is_that_of_the_dataset(evaluation: dict[str, Any], dataset: Path) -> None:
    account = {"flow": [STEP], "overlap": {"patients": 0, "duplicates": 0}}
    (dataset / "flow.json").write_text(json.dumps(account))
    cohort = whom_blocks(FILMS, evaluation, dataset, None)["cohort"]
    assert cohort["flow"] == [STEP]
    assert cohort["overlap"] == {"patients": 0, "duplicates": 0}
    assert cohort["note"] is None


def test_the_parts_of_a_cross_validation_are_its_folds(dataset: Path) -> None:
    folds = FILMS["patientid"].str[-2:].astype(int) % 2
    films = FILMS.assign(part="out_of_fold", fold=folds)
    judged = evaluate(films, model="own", threshold=0.5, part="out_of_fold", n_resamples=40)
    cohort = whom_blocks(films, judged, dataset, None)["cohort"]
    assert [part["name"] for part in cohort["parts"]] == ["fold 0", "fold 1"]
    assert [part["images"] for part in cohort["parts"]] == [20, 20]
    assert "Cross-validated in 2 folds" in cohort["note"]


def test_what_the_predictions_say_themselves_is_not_taken(evaluation: dict[str, Any], dataset: Path) -> None:
    films = FILMS.assign(sex="M", age=10.0)
    assert groups(whom_blocks(films, evaluation, dataset, None))["Sex"] == {"female"}


@pytest.mark.parametrize("damage", ["no dataset", "no collection", "flow"])
def test_a_folder_that_cannot_be_read_is_a_sentence(
    evaluation: dict[str, Any], dataset: Path, collection: Path, tmp_path: Path, damage: str
) -> None:
    (dataset / "flow.json").write_text("{" if damage == "flow" else "{}")
    places = {
        "no dataset": (tmp_path / "none", collection),
        "no collection": (dataset, tmp_path / "none"),
        "flow": (dataset, collection),
    }
    with pytest.raises(DatasetError, match=r"\.$"):
        whom_blocks(FILMS, evaluation, *places[damage])


def test_the_predictions_are_left_as_they_were(evaluation: dict[str, Any], dataset: Path, collection: Path) -> None:
    before = FILMS.copy()
    whom_blocks(FILMS, evaluation, dataset, collection)
    pd.testing.assert_frame_equal(FILMS, before)
