"""Is it a frontal chest X-ray that lies as it should? Read from the feature map that the served network gives anyhow.

`covid_core.training.gate` fits a gate. Two checks, each with a limit of its own:

- whether it is a frontal chest X-ray at all: the mean distance to the `NEIGHBOURS` nearest of the images the gate knows (Sun
  et al. 2022, https://arxiv.org/abs/2204.06507), of features averaged over the image, their signed square roots taken and
  scaled to length 1 (Perronnin et al. 2010, https://doi.org/10.1007/978-3-642-15561-1_11);
- how it lies: a multinomial logistic regression on the same features averaged over the fields of a grid, as a mean over the whole
  image does not tell left from right.

A third look, by a logistic regression on the same features, tells whether it may be a child's chest: that is no reason to refuse,
but the user is warned, as the model is made for adults.

An image that is refused for its pose is looked at once more as it would be after the repair, and the repair is offered only if
the image then passes: so nobody is advised to turn a photograph.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from covid_core.errors import BundleError
from covid_core.files import read_npz
from covid_core.images.orientation import QUARTERS_LEFT, Repair
from covid_core.images.preprocess import ModelInput
from covid_core.inference.prediction import Pose, ScreenedOut, Screening
from covid_core.labels import CLASSES

FloatArray = NDArray[np.float32]
TextArray = NDArray[np.str_]
Look = Callable[[tuple[Repair, ...]], FloatArray]
"""Gives what the network makes of the image after repairs: a feature map, float32 (h, w, c)."""

GRID = 3
"""Fields along a side. With 2, 7% of the lateral images passed the last layer of MobileNetV2, with 3 it was 4%."""
NEIGHBOURS = 5
MAX_REPAIRS = 2
"""An image may be a negative that lies on its side; each of the two repairs is offered in its turn."""
POSES: tuple[Pose, ...] = get_args(Pose)

REPAIRS: dict[Pose, Repair] = {
    "upside_down": "turn_around",
    "turned_left": "turn_right",
    "turned_right": "turn_left",
    "negative": "invert",
}
"""What brings an image right that lies in this pose."""

_NOT_A_CHEST = "This is unlike the frontal chest X-rays that the model knows."
_REASONS: dict[Pose, str] = {"negative": "negative", "lateral": "lateral"}  # of the others: not_upright
_SENTENCES: dict[Pose, str] = {
    "upside_down": "The image stands upside down.",
    "turned_left": "The image lies on its side.",
    "turned_right": "The image lies on its side.",
    "negative": "The image is a negative: air is white and bone is black.",
    "lateral": "This looks like a lateral image.",
}
_DOUBTFUL_SENTENCES: dict[Pose, str] = {
    "negative": "The image may be a negative, with air white and bone black.",
    "lateral": "This may be a lateral image.",
}
_DOUBTFUL_SENTENCE = "It is not clear which way up the image is."
# As `read_npz` takes them: n images, c channels, f features (fields * channels), p poses.
_AXES = {
    **{"references": "fnc", "filenames": "Un", "patientids": "Un", "labels": "Un", "sources": "Un", "fitted": "bn"},
    **{
        "limit": "f1",
        "pose_kernel": "ffp",
        "pose_bias": "fp",
        "poses": "Up",
        "upright_limit": "f1",
        "lateral_limit": "f1",
    },
    **{"child_kernel": "ff", "child_bias": "f1", "child_limit": "f1"},
}


@dataclass(frozen=True)
class Gate:
    """A fitted gate; its attributes are the arrays of `gate.npz`. Limits and biases of one value are float32 (1,).

    Attributes:
        references: the images it knows, pooled: float32 (n, c), each of length 1. The file has them in half precision.
        filenames, patientids, labels, sources: text (n,), of these images; a source is a domain, or empty.
        fitted: bool (n,), the images that the model was fitted on.
        limit: distance beyond which an image is no frontal chest X-ray.
        pose_kernel, pose_bias: float32 (fields * c, p), fields being the square of the grid, and (p,).
        poses: text (p,), `upright` first.
        upright_limit: P(upright) below which an image is refused.
        lateral_limit: distance up to which an image can be a lateral chest X-ray; 0 where the gate knows none.
        child_kernel, child_bias: of the logistic regression that tells children, float32 (fields * c,) and (1,).
        child_limit: P(child) from which the user is warned; above 1 where the gate knows no children.

    Raises:
        ValueError: the arrays contradict each other.
    """

    references: FloatArray
    filenames: TextArray
    patientids: TextArray
    labels: TextArray
    sources: TextArray
    fitted: NDArray[np.bool_]
    limit: FloatArray
    pose_kernel: FloatArray
    pose_bias: FloatArray
    poses: TextArray
    upright_limit: FloatArray
    lateral_limit: FloatArray
    child_kernel: FloatArray
    child_bias: FloatArray
    child_limit: FloatArray

    def __post_init__(self) -> None:
        if self.references.shape[0] < NEIGHBOURS:
            raise ValueError(f"at least {NEIGHBOURS} images are needed. Received: {len(self.references)}")
        if self.poses[0] != "upright" or len(set(self.poses)) < len(self.poses) or not set(self.poses) <= set(POSES):
            raise ValueError(
                f"`poses` must begin with upright and name each pose once. Received: {self.poses.tolist()}"
            )
        if not set(self.labels) <= set(CLASSES):
            raise ValueError(f"`labels` must be {', '.join(CLASSES)}. Received: {sorted(set(self.labels.tolist()))}")
        if self.grid**2 * self.channels != len(self.pose_kernel):
            raise ValueError(f"`pose_kernel` does not fit {self.channels} channels. Received: {self.pose_kernel.shape}")

    @property
    def channels(self) -> int:
        """Of the feature maps it judges."""
        return int(self.references.shape[1])

    @property
    def grid(self) -> int:
        """Fields along a side."""
        return isqrt(len(self.pose_kernel) // self.channels)

    def screen(self, features: FloatArray, look: Look) -> Screening:
        """Judge an image by its feature map, float32 (h, w, c), and by `look`, which is called at most `MAX_REPAIRS` times.

        Returns:
            The screening, with the refusal set for an image that is refused; it names the repair that would let the image pass.
        """
        return self.screen_signature(
            signature(features, self.grid), lambda repairs: signature(look(repairs), self.grid)
        )

    def screen_signature(self, image: FloatArray, look: Look) -> Screening:
        """As `screen`, of `signature`s."""
        seen = self._read(image)
        if self._passes(seen):
            return seen.screening
        refusal = self._refused_for_pose(seen, look) if seen.upright < self.upright_limit[0] else None
        if refusal is None:
            refusal = ScreenedOut("not_a_chest_xray", _NOT_A_CHEST)
        return replace(seen.screening, refusal=refusal)

    def strangeness(self, image: FloatArray) -> float:
        """How far a `signature` is from passing, whatever for: at least 0, and above 1 where the image is refused."""
        seen = self._read(image)
        lying = (1 - seen.upright) / (1 - float(self.upright_limit[0]))
        return max(seen.screening.distance / float(self.limit[0]), lying)

    def distances(self, image: FloatArray) -> FloatArray:
        """From a `signature` to each image that the gate knows: float32 (n,) in [0, 2]."""
        return self.distances_to(unit(image[0]))

    def distances_to(self, pooled: FloatArray) -> FloatArray:
        """As `distances`, from pooled features of length 1."""
        # Not `@`: with other work on both cores its threads waited 10 ms for each other, where this takes below 1.
        alike = np.einsum("nc,c->n", self.references, pooled)
        away: FloatArray = np.sqrt(np.maximum(2 - 2 * alike, 0))
        return away

    def probability_child(self, image: FloatArray) -> float:
        """P(a child's chest) of a `signature`, in [0, 1]."""
        return float(1 / (1 + np.exp(-(unit(image[1:].ravel()) @ self.child_kernel + self.child_bias[0]))))

    def _read(self, image: FloatArray) -> "_Seen":
        nearest = np.partition(self.distances(image), NEIGHBOURS - 1)[:NEIGHBOURS]
        scores = unit(image[1:].ravel()) @ self.pose_kernel + self.pose_bias
        odds = np.exp(scores - scores.max())
        probabilities = cast(
            dict[Pose, float], dict(zip(self.poses.tolist(), (odds / odds.sum()).tolist(), strict=True))
        )
        pose = max(probabilities, key=probabilities.__getitem__)
        child = bool(self.probability_child(image) >= self.child_limit[0])
        distance, limit = float(nearest.mean()), float(self.limit[0])
        return _Seen(probabilities, Screening(distance, limit, pose, probabilities[pose], child=child))

    def _passes(self, seen: "_Seen") -> bool:
        # In the arrays' own precision: the limits are among the very values that they are compared with.
        return bool(seen.screening.distance <= self.limit[0] and seen.upright >= self.upright_limit[0])

    def _refused_for_pose(self, seen: "_Seen", look: Look) -> ScreenedOut | None:
        """Why an image that may not be upright is refused; None for what is no chest X-ray."""
        pose, screening = seen.other_pose, seen.screening
        reason, repair = _REASONS.get(pose, "not_upright"), REPAIRS.get(pose)
        if repair is not None and self._passes_after(repair, look):
            return ScreenedOut(reason, _SENTENCES[pose], repair=repair)
        if pose == "lateral" and screening.distance <= self.lateral_limit[0]:
            return ScreenedOut(reason, _SENTENCES[pose])
        if screening.distance <= self.limit[0]:
            return ScreenedOut(reason, _DOUBTFUL_SENTENCES.get(pose, _DOUBTFUL_SENTENCE))
        return None

    def _passes_after(self, repair: Repair, look: Look) -> bool:
        repairs: tuple[Repair, ...] = (repair,)
        while True:
            seen = self._read(look(repairs))
            if self._passes(seen):
                return True
            following = REPAIRS.get(seen.other_pose)
            if following is None or seen.upright >= self.upright_limit[0] or len(repairs) == MAX_REPAIRS:
                return False
            repairs = (*repairs, following)


@dataclass(frozen=True)
class _Seen:
    """What the two checks give of an image."""

    probabilities: dict[Pose, float]
    screening: Screening

    @property
    def upright(self) -> float:
        return self.probabilities["upright"]

    @property
    def other_pose(self) -> Pose:
        """The most probable pose that is not upright."""
        return max((pose for pose in self.probabilities if pose != "upright"), key=self.probabilities.__getitem__)


def signature(features: FloatArray, grid: int = GRID) -> FloatArray:
    """What a gate keeps of a feature map: its mean, then the means of the fields of a grid, row by row.

    Args:
        features: float32 (h, w, c), h and w at least `grid`.
        grid: fields along a side.

    Returns:
        float32 (1 + grid * grid, c).
    """
    height, width, _ = features.shape
    if min(height, width) < grid:
        raise ValueError(f"`features` must have at least {grid} cells a side. Received: {features.shape}")
    rows, columns = (np.rint(np.linspace(0, side, grid + 1)).astype(int) for side in (height, width))
    sums = np.add.reduceat(np.add.reduceat(features, rows[:-1], axis=0), columns[:-1], axis=1)
    means = sums / np.outer(np.diff(rows), np.diff(columns))[..., None]
    parts = np.concatenate([features.mean(axis=(0, 1))[None], means.reshape(grid * grid, -1)])
    return parts.astype(np.float32)


def unit(values: FloatArray) -> FloatArray:
    """The signed square root of each value, scaled to length 1 together: float32 (c,); all zero stays so."""
    rooted = np.sign(values) * np.sqrt(np.abs(values))
    scaled: FloatArray = (rooted / max(float(np.linalg.norm(rooted)), 1e-12)).astype(np.float32)
    return scaled


def repaired_input(image: ModelInput, repairs: Sequence[Repair]) -> ModelInput:
    """Repair an image that is prepared already, uint8 (size, size).

    The preparation treats all sides alike and stretches black as it does white, so this is what the repaired picture would have
    become, to within one grey level (measured on 200 images).
    """
    for repair in repairs:
        image = 255 - image if repair == "invert" else np.rot90(image, QUARTERS_LEFT[repair])
    return np.ascontiguousarray(image)


def save_gate(path: Path, gate: Gate) -> None:
    """Write `gate.npz`; the same gate gives the same bytes."""
    arrays = {name: getattr(gate, name) for name in _AXES}
    np.savez(path, **(arrays | {"references": gate.references.astype(np.float16)}))


def load_gate(path: Path) -> Gate:
    """Read `gate.npz` of a bundle.

    Raises:
        BundleError: the file is not one, or its arrays do not fit each other.
    """
    arrays = read_npz(path, (_AXES,), BundleError)
    try:
        return Gate(**arrays)
    except ValueError as cause:
        raise BundleError(f"{path} does not hold a gate: {cause}.") from cause
