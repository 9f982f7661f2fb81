"""What a model says of one image, or why it was refused: plain data, shared by serving, exports and pages."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from covid_core.errors import Refusal
from covid_core.evaluation.conformal import Decision
from covid_core.images.orientation import Repair
from covid_core.images.preprocess import ModelInput
from covid_core.images.types import FileKind, GreyImage, Tags
from covid_core.labels import COVID, Label

RANGE_SHARE = 0.95
"""Of the members of an ensemble that lie within the range of a prediction."""
Pattern = Literal["none", "covid", "other"]
"""What the radiograph leans to: no pattern of pneumonia, that of COVID-19, or another one."""
Pose = Literal["upright", "upside_down", "turned_left", "turned_right", "negative", "lateral"]
"""How an image lies: `turned_left` was turned a quarter anticlockwise and wants to be turned clockwise."""


@dataclass(frozen=True)
class ScreenedOut(Refusal):
    """The gate refuses an image; it can be predicted anyway, or be repaired first where the repair is known."""

    repair: Repair | None = None


@dataclass(frozen=True)
class Screening:
    """What the gate says of an image: whether it is a frontal chest X-ray, and how it lies."""

    distance: float
    """From the images the gate knows, see `covid_core.inference.gate`; beyond the limit an image is refused."""
    limit: float
    pose: Pose  # the most probable one, with its probability in [0, 1]
    pose_probability: float
    refusal: ScreenedOut | None = None
    child: bool = False  # whether it looks like a child's chest


@dataclass(frozen=True)
class SimilarImage:
    """An image that the model was fitted on and that looks like the one that is read; the names are the collection's."""

    filename: str
    patientid: str
    label: Label
    source: str  # domain of the page it comes from
    distance: float  # of the L2-normalised features, in [0, 2]; 0 for the same picture


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image; None for what it does not say."""

    label: Label
    probability_covid: float  # calibrated, in [0, 1]
    threshold: float  # P(covid) from which an image is called covid
    heat: NDArray[np.float32]  # (h, w) in [0, 1], see `covid_core.inference.explanation.grad_cam`
    decision: Decision | None = None  # the label, or `indeterminate`, by the bundle's three-way decision
    spread: tuple[float, float] | None = None
    """The ends of the middle `RANGE_SHARE` of the bundle's ensemble, calibrated, in [0, 1]; None where the gate refuses too."""
    pattern: Pattern | None = None  # what the radiograph leans to, in step with the label
    probability_pattern: float | None = None  # P(pattern of pneumonia), in [0, 1]
    opacities: NDArray[np.float32] | None = None  # (h, w) in [0, 1], where radiologists would mark an opacity
    affected: float | None = None  # the share of the lungs that lies in cells with an opacity, in [0, 1]
    lungs: NDArray[np.float32] | None = None  # (h, w) in [0, 1], the share of each cell of `heat` that is lung
    screening: Screening | None = None  # its `refusal` is set for an image that is predicted anyway
    similar: tuple[SimilarImage, ...] = ()  # the most similar images that the model was fitted on, nearest first

    @property
    def confidence(self) -> float:
        """The probability of the class it is called, in [0, 1]."""
        return self.probability_covid if self.label == COVID else 1 - self.probability_covid

    @property
    def heat_in_lungs(self) -> float | None:
        """The share of the heat that lies in the lungs, in [0, 1]; None without a lung map or without heat."""
        total = float(self.heat.sum())
        return None if self.lungs is None or total == 0 else float((self.heat * self.lungs).sum()) / total

    @property
    def anyway(self) -> ScreenedOut | None:
        """What the image would have been refused for, had it not been asked to be predicted anyway."""
        return None if self.screening is None else self.screening.refusal


@dataclass(frozen=True)
class Reading:
    """One image and what became of it, with as little of its pixels as pages and exports need."""

    file: str  # its name, as the user gave it
    outcome: Prediction | Refusal
    kind: FileKind | None = None  # None for a file that could not be read
    tags: Tags = field(default_factory=Tags)
    warnings: tuple[str, ...] = ()
    """What speaks against relying on the result: the file's own warnings and the picture's quality."""
    repairs: tuple[Repair, ...] = ()  # what was done to the radiograph before it was read, in order
    thumbnail: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)
    """(h, w), at most 96 pixels a side."""
    picture: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)
    """(h, w), repaired, at most 1024 pixels a side; None where it is not kept."""
    model_input: ModelInput | None = field(default=None, repr=False, compare=False)
    """(size, size), what the network was given; None where it is not kept."""

    @property
    def image(self) -> GreyImage | None:
        """The picture as float32 in [0, 1]."""
        return None if self.picture is None else self.picture.astype(np.float32) / np.float32(255)

    @property
    def kept_bytes(self) -> int:
        """The size of its picture and model input."""
        return sum(0 if one is None else one.nbytes for one in (self.picture, self.model_input))

    def without_pixels(self) -> "Reading":
        """The result with nothing but its thumbnail to be seen."""
        return replace(self, picture=None, model_input=None)
