"""Subgroup and cohort blocks, from a prepared dataset, from a collection, and from both."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from covid_core.errors import DatasetError
from covid_core.evaluation.evaluate import evaluate
from covid_core.evaluation.metadata_blocks import whom_blocks
from tests.made_up_records import forty_images

IMAGES = forty_images()
STEP = {"reason": "every row", "images": 40, "patients": 20, "excluded_images": 0, "excluded_patients": 0}


@pytest.fixture(scope="module")
def evaluation() -> dict[str, Any]:
    return evaluate(IMAGES, model="own", threshold=0.5, n_resamples=40)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """What `prepare` leaves of the forty images: their table and their (empty) files; every image is of a woman of 50."""
    folder = tmp_path / "dataset"
    for row in IMAGES.itertuples():
        image = folder / "split" / row.part / row.label / row.filename
        image.parent.mkdir(parents=True, exist_ok=True)
        image.touch()
    columns = ["filename", "patientid", "label", "part", "group", "source"]
    table = IMAGES[columns].assign(sha256=IMAGES["filename"], finding="Pneumonia", view="PA", sex="F", age=50)
    table.to_csv(folder / "split.csv", index=False)
    return folder


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """A table that names the forty images and one more: every image is of a man, the age is known of none."""
    folder = tmp_path / "collection"
    folder.mkdir()
    columns = "patientid,sex,age,finding,RT_PCR_positive,view,modality,filename,url"
    rows = [f"p,M,,Pneumonia,Y,AP,X-ray,{name},https://example.org/" for name in (*IMAGES["filename"], "more.png")]
    (folder / "metadata.csv").write_text("\n".join([columns, *rows]) + "\n")
    return folder


def groups(blocks: dict[str, Any]) -> dict[str, set[str]]:
    """Grouping -> the names of its groups."""
    found: dict[str, set[str]] = {}
    for row in blocks["subgroups"]:
        found.setdefault(row["group"], set()).add(row["name"])
    return found


def test_the_dataset_alone_gives_both_blocks_and_nothing_gives_none(evaluation: dict[str, Any], dataset: Path) -> None:
    assert whom_blocks(IMAGES, evaluation, None, None) == {}
    before = IMAGES.assign(sex="M", age=10.0)  # what the predictions say themselves is not taken, nor changed
    images = before.copy()
    blocks = whom_blocks(images, evaluation, dataset, None)
    pd.testing.assert_frame_equal(images, before)
    assert set(blocks) == {"subgroups", "cohort"}
    found = groups(blocks)
    assert (found["Sex"], found["Age"], found["View"]) == ({"female"}, {"40 to 59"}, {"PA"})
    assert "RT-PCR" not in found
    assert blocks["cohort"]["flow"] == []
    assert blocks["cohort"]["parts"] == [{"name": "test", "images": 40, "patients": 20, "covid": 20, "non_covid": 20}]
    assert blocks["cohort"]["distributions"]["sex"] == {"female": {"test": 40}}


def test_a_collection_gives_groups_and_no_cohort_and_goes_before_the_dataset(
    evaluation: dict[str, Any], dataset: Path, collection: Path
) -> None:
    blocks = whom_blocks(IMAGES, evaluation, None, collection)
    assert set(blocks) == {"subgroups"}
    found = groups(blocks)
    assert (found["Sex"], found["View"], found["RT-PCR"]) == ({"male"}, {"AP"}, {"COVID-19 confirmed by PCR"})
    assert "Age" not in found
    whole = next(row for row in blocks["subgroups"] if row["group"] == "Sex")
    for name in ("sensitivity", "specificity", "roc_auc"):
        assert whole[name]["value"] == evaluation["metrics"][name]["value"]
    both = groups(whom_blocks(IMAGES, evaluation, dataset, collection))
    assert (both["Sex"], both["Age"]) == ({"male"}, {"40 to 59"})


def test_a_collection_of_other_images_leaves_them_unknown(evaluation: dict[str, Any], collection: Path) -> None:
    table = (collection / "metadata.csv").read_text().replace("film", "elsewhere")
    (collection / "metadata.csv").write_text(table.replace("elsewherename", "filename"))
    assert set(groups(whom_blocks(IMAGES, evaluation, None, collection))) == {"Source"}


def test_the_flow_is_that_of_the_dataset(evaluation: dict[str, Any], dataset: Path) -> None:
    account = {"flow": [STEP], "overlap": {"patients": 0, "duplicates": 0}}
    (dataset / "flow.json").write_text(json.dumps(account))
    cohort = whom_blocks(IMAGES, evaluation, dataset, None)["cohort"]
    assert cohort["flow"] == [STEP]
    assert cohort["overlap"] == {"patients": 0, "duplicates": 0}
    assert cohort["note"] is None


def test_the_parts_of_a_cross_validation_are_its_folds(dataset: Path) -> None:
    folds = IMAGES["patientid"].str[-2:].astype(int) % 2
    images = IMAGES.assign(part="out_of_fold", fold=folds)
    judged = evaluate(images, model="own", threshold=0.5, part="out_of_fold", n_resamples=40)
    cohort = whom_blocks(images, judged, dataset, None)["cohort"]
    assert [part["name"] for part in cohort["parts"]] == ["fold 0", "fold 1"]
    assert [part["images"] for part in cohort["parts"]] == [20, 20]
    assert "Cross-validated in 2 folds" in cohort["note"]


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
        whom_blocks(IMAGES, evaluation, *places[damage])
