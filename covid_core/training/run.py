"""A run's folder: the recipe it was started with, what its stages left behind, and whether they are finished.

runs/NAME/run.json               recipe, dataset, runtime, versions, commit, and an entry per finished stage
runs/NAME/<stage>/best.keras     weights of the epoch with the lowest validation loss
runs/NAME/<stage>/history.csv    one row an epoch
runs/NAME/<stage>/backup/        state of the last whole epoch, while the stage is unfinished
"""

import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from covid_core.errors import TrainingError
from covid_core.files import read_json, write_json
from covid_core.training.recipe import STAGES, Recipe, Stage

SCHEMA = 1
_RECORD_KEYS = {"recipe", "dataset", "stages"}


@dataclass(frozen=True)
class Run:
    """A run: its folder, the recipe it was started with, and the content of `run.json`."""

    folder: Path
    recipe: Recipe
    record: dict[str, Any]

    @property
    def name(self) -> str:
        """That of the folder."""
        return self.folder.name

    @property
    def dataset(self) -> Path:
        """The prepared dataset that the run learns from."""
        return Path(self.record["dataset"]["folder"])

    def stage_folder(self, stage: Stage) -> Path:
        """Where a stage keeps its files."""
        return self.folder / stage

    def best_model(self, stage: Stage) -> Path:
        """The model of the epoch with the lowest validation loss."""
        return self.stage_folder(stage) / "best.keras"

    def is_finished(self, stage: Stage) -> bool:
        """Whether a stage has come to its end."""
        return stage in self.record["stages"]

    def latest_stage(self) -> Stage:
        """The last finished stage.

        Raises:
            TrainingError: none is finished.
        """
        finished = [stage for stage in STAGES if self.is_finished(stage)]
        if not finished:
            raise TrainingError(f"The initial training of {self.folder} is not finished. Go on with it: `train`.")
        return finished[-1]

    def stages_until(self, last: Stage) -> tuple[Stage, ...]:
        """The stages a model of stage `last` went through."""
        return STAGES[: STAGES.index(last) + 1]

    def require(self, stage: Stage) -> None:
        """Check that a stage is finished.

        Raises:
            TrainingError: it is not.
        """
        if not self.is_finished(stage):
            command = "train" if stage == "initial" else "finetune"
            raise TrainingError(f"Stage {stage!r} of {self.folder} is not finished. Run `{command}` first.")

    def history(self, last: Stage) -> pd.DataFrame:
        """The epochs of every stage up to and including `last`: stage, epoch (from 1), loss, val_loss, auc, val_auc, ..."""
        tables = []
        for stage in self.stages_until(last):
            table = read_history(self.stage_folder(stage) / "history.csv")
            table.insert(0, "stage", stage)
            tables.append(table)
        return pd.concat(tables, ignore_index=True)


def new_run(folder: Path, recipe: Recipe, dataset: dict[str, Any], origin: dict[str, Any]) -> Run:
    """Make the folder of a run.

    Args:
        folder: is made.
        recipe: what it starts with.
        dataset: `folder` and `split_sha256` of the prepared dataset, and counts.
        origin: runtime, versions and commit.
    """
    record = {
        "schema": SCHEMA,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe": recipe.to_json(),
        "dataset": dataset,
        **origin,
        "stages": {},
    }
    write_json(folder / "run.json", record)
    return Run(folder, recipe, record)


def resumable(folder: Path, recipe: Recipe, dataset: dict[str, Any]) -> Run | None:
    """Open a run to go on with its initial training; None where there is nothing yet. Nothing is written.

    Raises:
        TrainingError: the folder holds something else, a run with another recipe or dataset, or one that is finished.
    """
    if not (folder / "run.json").exists():
        if folder.is_file() or (folder.exists() and any(folder.iterdir())):
            raise TrainingError(f"{folder} exists and is not a run. Choose another --out.")
        return None
    run = open_run(folder)
    if run.recipe != recipe or run.record["dataset"]["split_sha256"] != dataset["split_sha256"]:
        raise TrainingError(
            f"{folder} was started with another recipe or dataset. Repeat its settings to go on with it, choose another "
            "--out, or give --restart to throw it away."
        )
    if run.is_finished("initial"):
        raise TrainingError(
            f"The initial training of {folder} is finished. Go on with `finetune`, or choose another --out."
        )
    return run


def open_run(folder: Path) -> Run:
    """Open the folder of an existing run.

    Raises:
        TrainingError: there is none, or its record cannot be read.
    """
    record = read_json(folder / "run.json", TrainingError)
    if not isinstance(record, dict) or record.get("schema") != SCHEMA or not set(record) >= _RECORD_KEYS:
        raise TrainingError(f"{folder / 'run.json'} is not a record of this version (schema {SCHEMA}). Train it again.")
    return Run(folder, Recipe.from_json(record.get("recipe", {})), record)


def record_finished(run: Run, stage: Stage, entry: dict[str, Any]) -> Run:
    """Write that a stage is finished, and drop its backup."""
    record = {**run.record, "stages": {**run.record["stages"], stage: entry}}
    write_json(run.folder / "run.json", record)
    shutil.rmtree(run.stage_folder(stage) / "backup", ignore_errors=True)
    return replace(run, record=record)


def discard(folder: Path) -> None:
    """Remove a run's folder, and only a run's.

    Raises:
        TrainingError: the folder holds something else.
    """
    if folder.exists():
        if folder.is_file() or (not (folder / "run.json").exists() and any(folder.iterdir())):
            raise TrainingError(f"{folder} is not a run; it is left alone. Choose another --out.")
        shutil.rmtree(folder)


def read_history(path: Path) -> pd.DataFrame:
    """Read an epoch log; `epoch` counts from 1.

    An interrupted epoch that was logged but not backed up is repeated, so an epoch may stand twice: the later row counts.

    Raises:
        TrainingError: the file is missing or empty.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as cause:
        raise TrainingError(f"{path} cannot be read: {cause}.") from cause
    table["epoch"] += 1
    return table.drop_duplicates("epoch", keep="last").reset_index(drop=True)
