"""What a model says of one film, and what became of a film that was given: plain data, shared by serving, exports and pages."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from covid_core.errors import Refusal
from covid_core.evaluation.conformal import Decision
from covid_core.images.orientation import Repair
from covid_core.images.preprocess import ModelInput
from covid_core.images.types import FileKind, FilmTags, GreyImage
from covid_core.labels import COVID, Label

RANGE_SHARE = 0.95
"""Of the members of an ensemble that lie within the range of a prediction."""
Pattern = Literal["none", "covid", "other"]
"""What the radiograph leans to: no pattern of pneumonia, that of COVID-19, or another one."""
Pose = Literal["upright", "upside_down", "turned_left", "turned_right", "negative", "lateral"]
"""How a film lies: `turned_left` was turned a quarter anticlockwise and wants to be turned clockwise."""


@dataclass(frozen=True)
class ScreenedOut(Refusal):
    """The gate refuses an image; it can be predicted anyway, or be repaired first.

    Attributes:
        repair: what would bring it right, if that is known.
    """

    repair: Repair | None = None


@dataclass(frozen=True)
class Screening:
    """What the gate says of a film: whether it is a frontal chest X-ray, and how it lies.

    Attributes:
        distance: from the films the gate knows, see `covid_core.inference.gate`.
        limit: beyond it a film is refused.
        pose: how the film lies, as far as the gate can tell.
        pose_probability: of that pose, in [0, 1].
        refusal: what the film is refused for; None for a film that passes.
        child: whether it looks like a child's chest.
    """

    distance: float
    limit: float
    pose: Pose
    pose_probability: float
    refusal: ScreenedOut | None = None
    child: bool = False


@dataclass(frozen=True)
class SimilarFilm:
    """A film that the model was fitted on and that looks like the one that is read.

    Attributes:
        filename: in the collection; its other fields are in the collection's own table, where that is installed.
        patientid: in the collection.
        label: its class.
        source: domain of the page it comes from.
        distance: of the L2-normalised features, in [0, 2]; 0 for the same picture.
    """

    filename: str
    patientid: str
    label: Label
    source: str
    distance: float


@dataclass(frozen=True)
class Prediction:
    """What a model says of one film.

    Attributes:
        label: the class it is called.
        probability_covid: calibrated P(covid), in [0, 1].
        threshold: P(covid) from which a film is called covid.
        heat: float32 (h, w) in [0, 1], see `covid_core.inference.explanation.grad_cam`.
        decision: the label, or `indeterminate`, by the bundle's three-way decision; None where it has none.
        spread: lower and upper end of the middle `RANGE_SHARE` of the bundle's ensemble, calibrated, in [0, 1]; None where it has
            none, and for a film that the gate refuses.
        pattern: what the radiograph leans to, in step with the label; None for a bundle that does not tell other patterns.
        probability_pattern: P(pattern of pneumonia), in [0, 1]; None likewise.
        opacities: float32 (h, w) in [0, 1], where radiologists would mark an opacity; None where the network gives none.
        affected: the share of the lungs that lies in cells with an opacity, in [0, 1]; None likewise.
        lungs: float32 (h, w) in [0, 1], the share of each cell of `heat` that is lung; None where the network gives none.
        screening: what the gate says; its `refusal` is set for a film that is predicted anyway. None without a gate.
        similar: the most similar films that the model was fitted on, nearest first.
    """

    label: Label
    probability_covid: float
    threshold: float
    heat: NDArray[np.float32]
    decision: Decision | None = None
    spread: tuple[float, float] | None = None
    pattern: Pattern | None = None
    probability_pattern: float | None = None
    opacities: NDArray[np.float32] | None = None
    affected: float | None = None
    lungs: NDArray[np.float32] | None = None
    screening: Screening | None = None
    similar: tuple[SimilarFilm, ...] = ()

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
        """What the film would have been refused for, had it not been asked to be predicted anyway."""
        return None if self.screening is None else self.screening.refusal


@dataclass(frozen=True)
class FilmResult:
    """One image and what became of it, with as little of its pixels as pages and exports need.

    Attributes:
        file: its name, as the user gave it.
        outcome: the prediction, or why the image is refused.
        kind: of the file; None for one that could not be read.
        tags: what the file says of the radiograph.
        warnings: sentences on what speaks against relying on the result: the file's own and the picture's quality.
        repairs: what was done to the radiograph before it was read, in order.
        thumbnail: uint8 (h, w), at most 96 pixels a side; None for what could not be read.
        picture: uint8 (h, w), repaired, at most 1024 pixels a side; None where it is not kept.
        model_input: uint8 (size, size), what the network was given; None where it is not kept.
    """

    file: str
    outcome: Prediction | Refusal
    kind: FileKind | None = None
    tags: FilmTags = field(default_factory=FilmTags)
    warnings: tuple[str, ...] = ()
    repairs: tuple[Repair, ...] = ()
    thumbnail: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)
    picture: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)
    model_input: ModelInput | None = field(default=None, repr=False, compare=False)

    @property
    def image(self) -> GreyImage | None:
        """The picture as float32 in [0, 1]."""
        return None if self.picture is None else self.picture.astype(np.float32) / np.float32(255)

    @property
    def kept_bytes(self) -> int:
        """The size of its picture and model input."""
        return sum(0 if one is None else one.nbytes for one in (self.picture, self.model_input))

    def without_pixels(self) -> "FilmResult":
        """The result with nothing but its thumbnail to be seen."""
        return replace(self, picture=None, model_input=None)
