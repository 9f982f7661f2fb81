"""A bundle's past, read from its files: what is there, what is not, and what does not fit together."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from covid_core.errors import BundleError, DatasetError, EvaluationError
from covid_core.inference.bundle import load_bundle
from covid_core.paths import models_dir
from covid_core.report.build import chapter, default_options
from covid_core.report.record import HISTORY_COLUMNS, Record, read_others, read_record
from tests.fake_bundle import replace_file, write_fake_bundle, write_fake_chest_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_fake_bundle(tmp_path / "own")


def record_in(folder: Path, collection: Path | None = None) -> Record:
    return read_record(load_bundle(folder), collection)


def change_predictions(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    table = change(pd.read_csv(folder / "predictions.csv"))
    replace_file(folder, "predictions.csv", table.to_csv(index=False).encode())


def words(record: Record, name: str) -> str:
    return " ".join(
        getattr(item, "text", "") + getattr(item, "title", "") for item in chapter(name, default_options(record)).items
    )


def test_a_record_holds_the_images_that_the_evaluation_judged(folder: Path) -> None:
    record = record_in(folder)
    assert (record.name, record.version) == ("own", "2000-01-01-00000000")
    # 40 images each of validation and test, by turns two of each class; the evaluation is of the test part.
    assert record.predictions["filename"].tolist() == [f"film{number}.png" for number in range(40, 80)]
    assert record.predictions.index.tolist() == list(range(40))
    assert record.images().truth.tolist() == [True, True, False, False] * 10
    assert record.images().called.tolist() == (record.predictions["probability_covid"] >= 0.5).tolist()
    assert "Intended use" in record.card


def test_names_of_patients_stay_as_they_are_written(folder: Path) -> None:
    change_predictions(folder, lambda table: table.assign(patientid="007", group="08"))
    found = record_in(folder).predictions
    assert set(found["patientid"]) == {"007"}
    assert set(found["group"]) == {"08"}


def test_the_epochs_are_those_of_both_stages(folder: Path) -> None:
    record = record_in(folder)
    assert record.history is not None
    assert set(HISTORY_COLUMNS) <= set(record.history.columns)
    assert record.history["stage"].tolist() == ["initial"] * 3 + ["finetune"] * 2
    assert record.history_problem is None
    assert "Learning curves" in words(record, "training")


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"stage,epoch\ninitial,1\n", ",".join(HISTORY_COLUMNS).encode(), b'a,b\n"1']
)
def test_a_history_that_cannot_be_read_is_a_sentence_in_the_report(folder: Path, content: bytes) -> None:
    replace_file(folder, "history.csv", content)
    record = record_in(folder)
    assert record.history is None
    said = "The training curves of this model cannot be read. Export it again with `export`."
    assert record.history_problem == said
    assert said in words(record, "training")


@pytest.mark.parametrize("content", [b"", b"stage,epoch,loss\npretraining,1,0.7\nlungs,1,0.3\n"])
def test_a_chest_reader_has_no_curves_of_a_validation_part_and_no_problem(tmp_path: Path, content: bytes) -> None:
    folder = write_fake_chest_bundle(tmp_path / "chest")
    replace_file(folder, "history.csv", content)
    record = record_in(folder)
    assert (record.history, record.history_problem) == (None, None)
    said = words(record, "training")
    assert "without a validation part" in said
    assert "losses after each epoch are in the bundle's history.csv" in said
    assert "Learning curves" not in said


def test_a_card_that_cannot_be_read_is_a_sentence_in_the_report(folder: Path) -> None:
    replace_file(folder, "MODEL_CARD.md", b"\xff\xfe")
    record = record_in(folder)
    assert record.card == {}
    assert "model card of this model cannot be read" in words(record, "card")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.head(-1), r"has 39 images where its evaluation has 40.*evaluate --model own"),
        (lambda table: table.drop(columns="probability_covid"), "probability_covid"),
        (lambda table: table.drop(columns=["group", "part"]), "group"),
        (lambda table: table.assign(part="val"), "test"),
        (lambda table: table.assign(patientid=None), "patientid .* empty values"),
        (lambda table: table.assign(label="pneumonia"), "'pneumonia'"),
        (lambda table: table.assign(probability_covid=1.5), r"outside \[0, 1\]"),
    ],
)
def test_predictions_that_do_not_fit_the_evaluation_are_a_sentence(
    folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame], said: str
) -> None:
    change_predictions(folder, change)
    with pytest.raises(EvaluationError, match=said):
        record_in(folder)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'filename,label\n"film'])
def test_predictions_that_are_no_table_are_a_sentence(folder: Path, content: bytes) -> None:
    replace_file(folder, "predictions.csv", content)
    with pytest.raises(EvaluationError, match=r"^predictions.csv of own cannot be read"):
        record_in(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"schema": 2}', b'{"schema": 3}'])
def test_an_evaluation_of_another_kind_is_a_sentence(folder: Path, content: bytes) -> None:
    replace_file(folder, "evaluation.json", content)
    with pytest.raises(EvaluationError, match=r"evaluation\.json"):
        record_in(folder)


def collection(folder: Path, rows: list[str]) -> Path:
    folder.mkdir()
    head = "patientid,sex,age,finding,RT_PCR_positive,view,modality,filename,url"
    (folder / "metadata.csv").write_text("\n".join([head, *rows]) + "\n")
    return folder


def test_a_collection_describes_the_images_in_place_of_what_the_predictions_say(folder: Path, tmp_path: Path) -> None:
    """The predictions of this bundle have columns of their own for sex, age, view and finding."""
    rows = ["1,M,31,Tuberculosis,Y,AP Supine,X-ray,film41.png,https://example.org/41"]
    found = record_in(folder, collection(tmp_path / "collection", rows)).predictions.set_index("filename")
    assert found.loc["film41.png", ["sex", "age", "finding", "view"]].tolist() == [
        "M",
        31.0,
        "Tuberculosis",
        "AP Supine",
    ]
    assert found["sex"].notna().sum() == 1


def test_a_collection_that_is_not_there_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"metadata\.csv"):
        record_in(folder, tmp_path / "none")


@pytest.fixture
def three_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the models `a`, `b` and `c`, of which none is the default one."""
    for name in ("c", "a", "b"):
        write_fake_bundle(tmp_path / "models" / name)
    monkeypatch.setenv("COVID_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("COVID_MODEL", "nobody")
    return tmp_path / "models"


@pytest.mark.usefixtures("three_models")
def test_the_others_are_all_models_but_one_by_alphabet() -> None:
    others, unread = read_others("b")
    assert [other.name for other in others] == ["a", "c"]
    assert unread == {}


def test_a_model_that_was_altered_is_no_other_and_says_why(three_models: Path) -> None:
    (three_models / "a" / "history.csv").write_text("altered", encoding="utf-8")
    others, unread = read_others("b")
    assert [other.name for other in others] == ["c"]
    assert [(name, type(why)) for name, why in unread.items()] == [("a", BundleError)]
    assert "history.csv was altered" in str(unread["a"])


@pytest.mark.usefixtures("three_models")
def test_the_others_are_read_by_whoever_keeps_them_already() -> None:
    kept = {name: record_in(models_dir() / name) for name in ("a", "c")}
    others, _ = read_others("b", kept.__getitem__)
    assert [one is other for one, other in zip(others, kept.values(), strict=True)] == [True, True]
