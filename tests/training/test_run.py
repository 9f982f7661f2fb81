import json

import pytest

from covid_core.errors import TrainingError
from covid_core.training.recipe import Recipe, StageSettings
from covid_core.training.run import discard, new_run, open_run, read_history, record_finished, resumable

DATASET = {"folder": "dataset", "split_sha256": "a" * 64, "counts": []}
ORIGIN = {"runtime": {"seed": 0, "threads": 2, "onednn": True}, "versions": {"python": "3.11"}, "commit": None}
ENTRY = {"epochs": 2, "best_epoch": 1, "val_loss": 0.5, "val_auc": 0.8, "seconds": 3.0}
HEADER = "epoch,auc,learning_rate,loss,seconds,val_auc,val_loss\n"


def start(folder, recipe=None, dataset=None):
    """The run to go on with, or a new one."""
    recipe, dataset = recipe or Recipe(), dataset or DATASET
    return resumable(folder, recipe, dataset) or new_run(folder, recipe, dataset, ORIGIN)


def test_a_run_is_recorded_before_its_first_epoch(tmp_path):
    run = start(tmp_path / "runs" / "first")
    record = json.loads((tmp_path / "runs" / "first" / "run.json").read_text())
    assert record == run.record
    assert record["recipe"] == Recipe().to_json()
    assert record["dataset"] == DATASET
    assert {key: record[key] for key in ORIGIN} == ORIGIN
    assert record["stages"] == {}
    assert run.name == "first"


def test_the_same_recipe_and_dataset_resume_a_run_wherever_the_dataset_is(tmp_path):
    first = start(tmp_path / "run")
    assert resumable(tmp_path / "run", Recipe(), {**DATASET, "folder": "elsewhere"}) == first


@pytest.mark.parametrize(
    ("recipe", "dataset"),
    [
        (Recipe(seed=1), DATASET),
        (Recipe(initial=StageSettings(max_epochs=16, learning_rate=1e-4)), DATASET),
        (Recipe(), {**DATASET, "split_sha256": "b" * 64}),
    ],
)
def test_another_recipe_or_split_does_not_resume_a_run(tmp_path, recipe, dataset):
    start(tmp_path / "run")
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(TrainingError, match=r"another recipe or dataset.*--restart"):
        start(tmp_path / "run", recipe, dataset)
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_a_folder_or_file_of_something_else_never_becomes_a_run_nor_is_it_discarded(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("words")
    (tmp_path / "file").write_text("words")
    for path in (tmp_path / "thesis", tmp_path / "file"):
        with pytest.raises(TrainingError, match="not a run"):
            start(path)
        with pytest.raises(TrainingError, match="not a run"):
            discard(path)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "words"
    assert (tmp_path / "file").read_text() == "words"


def test_a_run_is_discarded_with_all_it_holds(tmp_path):
    run = start(tmp_path / "run")
    run.stage_folder("initial").mkdir()
    run.best_model("initial").write_bytes(b"weights")
    discard(run.folder)
    assert not run.folder.exists()
    discard(run.folder)  # nothing there is nothing to do


def test_a_stage_counts_only_once_it_is_recorded(tmp_path):
    run = start(tmp_path / "run")
    with pytest.raises(TrainingError, match=r"not finished.*`train`"):
        run.latest_stage()
    with pytest.raises(TrainingError, match=r"'finetune'.*Run `finetune` first"):
        run.require("finetune")
    (run.stage_folder("initial") / "backup").mkdir(parents=True)
    after = record_finished(run, "initial", ENTRY)
    assert not (run.stage_folder("initial") / "backup").exists()
    assert after.latest_stage() == "initial"
    assert record_finished(after, "finetune", ENTRY).latest_stage() == "finetune"
    assert open_run(run.folder).record["stages"] == {"initial": ENTRY, "finetune": ENTRY}
    assert not run.is_finished("initial")  # the former value is as it was


@pytest.mark.parametrize("content", [None, "[]", "{", '{"schema": 99}', '{"schema": 1, "recipe": null}'])
def test_a_record_that_is_missing_or_cannot_be_read_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(TrainingError, match=r"run\.json"):
        open_run(tmp_path)


def test_epochs_count_from_1_and_the_later_row_of_a_repeated_one_counts(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(
        HEADER
        + "0,0.5,0.1,0.7,1,0.5,0.71\n"
        + "1,0.6,0.1,0.6,1,0.6,0.61\n"  # logged, but the process was killed before the backup
        + "1,0.6,0.1,0.6,1,0.6,0.65\n"
        + "2,0.7,0.1,0.5,1,0.7,0.55\n"
    )
    history = read_history(path)
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["val_loss"].tolist() == [0.71, 0.65, 0.55]


@pytest.mark.parametrize("content", [None, ""])
def test_a_missing_or_empty_history_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "history.csv").write_text(content)
    with pytest.raises(TrainingError, match=r"history\.csv"):
        read_history(tmp_path / "history.csv")


def test_the_history_of_a_run_puts_its_stages_one_after_the_other(tmp_path):
    run = start(tmp_path / "run")
    for stage, loss in (("initial", 0.7), ("finetune", 0.6)):
        run.stage_folder(stage).mkdir()
        (run.stage_folder(stage) / "history.csv").write_text(HEADER + f"0,0.5,0.1,{loss},1,0.5,{loss}\n")
    assert run.history("initial")["stage"].tolist() == ["initial"]
    both = run.history("finetune")
    assert both[["stage", "epoch", "loss"]].to_numpy().tolist() == [["initial", 1, 0.7], ["finetune", 1, 0.6]]
