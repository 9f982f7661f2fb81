"""What happens after each epoch: time, checkpoint, patience, log, backup, and a line for the person who waits."""

import sys
import time
from pathlib import Path
from typing import Any

import keras
from tqdm import tqdm

from covid_core.training.recipe import StageSettings
from covid_core.training.run import read_history

MONITOR = "val_loss"


def stage_callbacks(folder: Path, settings: StageSettings, *, title: str) -> list[keras.callbacks.Callback]:
    """The callbacks of one stage, in the order they must be called.

    The clock and the learning rate come before the log, which writes what they add. The backup comes last: an epoch
    that is backed up is an epoch that is logged and whose best weights are kept.

    Args:
        folder: the stage's folder; its former log, if any, is continued.
        settings: bounds and patience.
        title: begins the progress line.
    """
    aside, log, best = folder / "best.partial.keras", folder / "history.csv", None
    if log.exists() and log.stat().st_size:  # of an interrupted stage: a worse epoch must not replace its best
        best = float(read_history(log)[MONITOR].min())
    return [
        EpochClock(),
        keras.callbacks.ModelCheckpoint(aside, monitor=MONITOR, save_best_only=True, initial_value_threshold=best),
        PutInPlace(aside, folder / "best.keras"),
        keras.callbacks.EarlyStopping(monitor=MONITOR, patience=settings.stop_patience, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau(monitor=MONITOR, factor=0.5, patience=settings.reduce_patience),
        keras.callbacks.CSVLogger(log, append=True),
        ProgressBar(title, settings.max_epochs),
        keras.callbacks.BackupAndRestore(folder / "backup", double_checkpoint=True, delete_checkpoint=False),
    ]


class PutInPlace(keras.callbacks.Callback):
    """Moves a checkpoint that was written whole to its place: Keras writes it bit by bit, and may be killed meanwhile."""

    def __init__(self, aside: Path, final: Path) -> None:
        super().__init__()
        self._aside, self._final = aside, final

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002, D102
        self._aside.unlink(missing_ok=True)  # half written by a run that was killed

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002, D102
        if self._aside.exists():
            self._aside.replace(self._final)


class EpochClock(keras.callbacks.Callback):
    """Adds `seconds`, the epoch's wall time, to what is logged."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002, D102
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002, D102
        if logs is not None:
            logs["seconds"] = round(time.perf_counter() - self._start, 2)


class ProgressBar(keras.callbacks.Callback):
    """A bar over the batches of the running epoch (on a terminal), and one line for each epoch that is done."""

    def __init__(self, title: str, max_epochs: int) -> None:
        super().__init__()
        self._title, self._max_epochs = title, max_epochs

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002, D102
        self._bar = tqdm(
            total=self.params["steps"],
            desc=f"{self._title} epoch {epoch + 1}/{self._max_epochs}",
            unit="batch",
            leave=False,
            disable=None,
        )

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002, D102
        logs = logs or {}
        self._bar.set_postfix(loss=f"{logs['loss']:.3f}", AUC=f"{logs['auc']:.3f}", refresh=False)
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: D102
        logs = logs or {}
        self._bar.close()
        tqdm.write(
            f"{self._title} epoch {epoch + 1:2d}/{self._max_epochs}"
            f"  loss {logs['loss']:.3f}  AUC {logs['auc']:.3f}"
            f"  validation loss {logs['val_loss']:.3f}  AUC {logs['val_auc']:.3f}  {logs['seconds']:.0f} s"
        )
        sys.stdout.flush()  # into a log, too, each epoch shows when it is done
