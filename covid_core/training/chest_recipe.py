"""The recipe of the chest-trained reader: every choice that is made before training."""

from dataclasses import asdict, dataclass, field
from typing import Any

from covid_core.images.preprocess import Preparation
from covid_core.training.recipe import Recipe

COHORT = "cohort"
"""Source of the images of the prepared dataset, among those of the collections."""
SERVED = "served"
"""Name of the network that sees every collection."""


@dataclass(frozen=True)
class LeftOut:
    """What one network never sees, so that it can be judged on it.

    Attributes:
        name: of the network.
        sites: hospital groups of SIIM; every image of their patients is left out.
        source: a collection, a key of `covid_core.dataset.collections.SOURCES`; empty for none.
    """

    name: str
    sites: tuple[str, ...] = ()
    source: str = ""


NETWORKS = (
    LeftOut(SERVED),
    LeftOut("without-S00", ("S00",), "guangzhou"),
    LeftOut("without-S01", ("S01",), "hannover"),
    LeftOut("without-S03-S08", ("S03", "S08"), "pakistan"),
    LeftOut("without-S04-S06", ("S04", "S06"), "nih"),
)
"""Each hospital group and each collection is left out of one network: together with another one, to save training time, which
makes the figures of both rather too low than too high."""


@dataclass(frozen=True)
class ChestRecipe:
    """Everything that is chosen before training; see docs/EXPERIMENTS.md for what was tried.

    Attributes:
        weights, weights_sha256: of the backbone, as in `Recipe`.
        seed, threads: see `covid_core.training.runtime.Runtime`.
        preparation: how a radiograph becomes the input. Nothing is cut off: training crops at random.
        copies: augmented copies of each image; an epoch uses one of them.
        epochs, batch_size, learning_rate, warmup_steps, weight_decay, dropout, momentum: of the network's training; the momentum
            is that of batch normalisation (Keras' own 0.99 and 0.999 do not follow in so few steps).
        average: momentum of the moving average of the weights, which is what is kept.
        source_weight: source -> what an image counts in the training of the network, one of SIIM being 1.
        lung_epochs, lung_learning_rate: training of the lung map.
        pattern_cost, covid_cost: inverse strength of the penalty on the two heads' weights.
        pattern_weight: source -> what an image counts in the head of the first question; `cohort` is the dataset.
        covid_weight: the same for the second question.
        prior_logit: added to the logit of the first question: the prevalence of a pattern of pneumonia among patients who are
            X-rayed for suspected COVID-19 is higher than among the images that it is learned from.
        members: heads fitted on other draws of the patients, for the range of a prediction.
    """

    weights: str = "imagenet"
    weights_sha256: str | None = None
    seed: int = 0
    threads: int = 2
    preparation: Preparation = field(default_factory=lambda: Preparation(border_crop=0.0))
    copies: int = 4
    epochs: int = 4
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    weight_decay: float = 1e-4
    dropout: float = 0.3
    momentum: float = 0.95
    average: float = 0.998
    source_weight: dict[str, float] = field(
        default_factory=lambda: {"siim": 1.0, "nih": 0.5, "pakistan": 0.5, "hannover": 0.5, "guangzhou": 0.3}
    )
    lung_epochs: int = 12
    lung_learning_rate: float = 1e-3
    pattern_cost: float = 3e-4
    covid_cost: float = 3e-3
    pattern_weight: dict[str, float] = field(
        default_factory=lambda: {"cohort": 1.0, "siim": 0.3, "nih": 0.3, "pakistan": 0.3, "guangzhou": 0.1}
    )
    covid_weight: dict[str, float] = field(
        default_factory=lambda: {"cohort": 1.0, "siim": 0.2, "nih": 0.2, "pakistan": 0.2}
    )
    prior_logit: float = 2.0
    members: int = 20

    def backbone(self) -> Recipe:
        """What the backbone is built from."""
        return Recipe(weights=self.weights, weights_sha256=self.weights_sha256, preparation=self.preparation)

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain values."""
        return {"backbone": self.backbone().backbone, **asdict(self)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ChestRecipe":
        """Read what `to_json` wrote; a setting that is missing or unknown raises KeyError, TypeError or ValueError."""
        settings = {name: value for name, value in values.items() if name != "backbone"}
        return cls(**{**settings, "preparation": Preparation(**values["preparation"])})
