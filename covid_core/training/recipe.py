"""The recipe of a run: every choice that is made before training, as one frozen value that is saved with the run."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from covid_core.errors import TrainingError
from covid_core.files import sha256_of_file
from covid_core.images.preprocess import Preparation

Stage = Literal["initial", "finetune"]
STAGES: tuple[Stage, Stage] = ("initial", "finetune")


@dataclass(frozen=True)
class Augmentation:
    """Random changes of each training picture. Each amount is the largest change to either side.

    Attributes:
        rotation: share of a full turn (0.03 is 11 degrees: images are hung by hand).
        shift: share of the height and width.
        zoom: share of the size.
        brightness: share of the grey range.
        flip: mirror left and right, half of the time.
    """

    rotation: float = 0.03
    shift: float = 0.06
    zoom: float = 0.10
    brightness: float = 0.10
    flip: bool = True


@dataclass(frozen=True)
class StageSettings:
    """How long and how fast one stage trains.

    Attributes:
        max_epochs, learning_rate: the most, and Adam's at the start.
        stop_patience: epochs without a lower validation loss before the stage ends.
        reduce_patience: epochs without one before the learning rate is halved.
    """

    max_epochs: int
    learning_rate: float
    stop_patience: int = 5
    reduce_patience: int = 2


@dataclass(frozen=True)
class Recipe:
    """Everything that is chosen before training.

    Attributes:
        backbone: a name in `covid_core.training.backbones.BACKBONES`.
        weights: `imagenet`, `none`, or the name of a weights file.
        weights_sha256: hash of that file; None for the other two.
        seed, threads: see `covid_core.training.runtime.Runtime`.
        hidden_units, dropout: the head, Dense -> Dropout -> sigmoid.
        frozen_share: share of the backbone's layers, from the input, that the initial training leaves as they are.
    """

    backbone: str = "mobilenetv2"
    weights: str = "imagenet"
    weights_sha256: str | None = None
    seed: int = 0
    threads: int = 2
    batch_size: int = 32
    hidden_units: int = 128
    dropout: float = 0.3
    frozen_share: float = 2 / 3
    preparation: Preparation = field(default_factory=Preparation)
    augmentation: Augmentation = field(default_factory=Augmentation)
    initial: StageSettings = field(default_factory=lambda: StageSettings(max_epochs=15, learning_rate=1e-4))
    finetune: StageSettings = field(default_factory=lambda: StageSettings(max_epochs=15, learning_rate=1e-5))

    def stage(self, stage: Stage) -> StageSettings:
        """The settings of one stage."""
        return self.initial if stage == "initial" else self.finetune

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Recipe":
        """Read what `to_json` wrote.

        Raises:
            TrainingError: a setting is missing, unknown or out of range.
        """
        try:
            parts = {name: kind(**values[name]) for name, kind in _PARTS.items()}
            return cls(**{**values, **parts})
        except (KeyError, TypeError, ValueError) as cause:
            raise TrainingError(f"The recipe of this run cannot be read: {cause}. Train it again.") from cause


_PARTS = {"preparation": Preparation, "augmentation": Augmentation, "initial": StageSettings, "finetune": StageSettings}


def named_weights(choice: str) -> tuple[str, str | None, Path | None]:
    """What `imagenet`, `none` or a path means: for a recipe `weights` and `weights_sha256`, and the file where it is one.

    Raises:
        TrainingError: there is no such file.
    """
    if choice in {"imagenet", "none"}:
        return choice, None, None
    path = Path(choice)
    if not path.is_file():
        raise TrainingError(f"--weights must be imagenet, none or a file. There is no file {choice}.")
    return path.name, sha256_of_file(path), path
