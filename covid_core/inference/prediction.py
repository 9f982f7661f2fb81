"""What a model says of one film, and what became of a film that was given: plain data, shared by serving, exports and pages."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from covid_core.errors import Refusal
from covid_core.evaluation.conformal import Decision
from covid_core.images.film import FileKind, FilmTags
from covid_core.images.repair import Repair
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
    """One film and what became of it.

    Attributes:
        file: its name, as the user gave it.
        outcome: the prediction, or why the film is refused.
        kind: of the file; None for one that could not be read.
        tags: what the file says of the film.
        warnings: sentences on what speaks against relying on the result: the file's own and the picture's quality.
        repairs: what was done to the film before it was read, in order.
        thumbnail: the film in small, uint8 (h, w); None for one that could not be read.
    """

    file: str
    outcome: Prediction | Refusal
    kind: FileKind | None = None
    tags: FilmTags = field(default_factory=FilmTags)
    warnings: tuple[str, ...] = ()
    repairs: tuple[Repair, ...] = ()
    thumbnail: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)
