"""Is it a frontal chest X-ray that lies as it should? Read from the feature map that the served network gives anyhow.

`covid_core.training.gate` fits a gate. Two checks, each with a limit of its own:

- whether it is a frontal chest film at all: the mean distance to the `NEIGHBOURS` nearest of the films the gate knows (Sun et al.
  2022, https://arxiv.org/abs/2204.06507), of features averaged over the film, their signed square roots taken and scaled to
  length 1 (Perronnin et al. 2010, https://doi.org/10.1007/978-3-642-15561-1_11);
- how it lies: a multinomial logistic regression on the same features averaged over the fields of a grid, as a mean over the whole
  film does not tell left from right.

A third look, by a logistic regression on the same features, tells whether it may be a child's chest: that is no reason to refuse,
but the user is warned, as the model is made for adults.

A film that is refused for its pose is looked at once more as it would be after the repair, and the repair is offered only if the
film then passes: so a photograph is not told to turn round.
"""

import io
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from math import isqrt
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from covid_core.errors import BundleError
from covid_core.images.orientation import QUARTERS_LEFT, Repair
from covid_core.images.preprocess import ModelInput
from covid_core.inference.prediction import Pose, ScreenedOut, Screening
from covid_core.labels import CLASSES

FloatArray = NDArray[np.float32]
TextArray = NDArray[np.str_]
Look = Callable[[tuple[Repair, ...]], FloatArray]
"""Gives what the network makes of the film after repairs: a feature map, float32 (h, w, c)."""

GRID = 3
"""Fields along a side. With 2, 7% of the lateral films passed the last layer of MobileNetV2, with 3 it was 4%."""
NEIGHBOURS = 5
MAX_REPAIRS = 2
"""A film may be a negative that lies on its side; each of the two repairs is offered in its turn."""
POSES: tuple[Pose, ...] = get_args(Pose)

REPAIRS: dict[Pose, Repair] = {
    "upside_down": "turn_around",
    "turned_left": "turn_right",
    "turned_right": "turn_left",
    "negative": "invert",
}
"""What brings a film right that lies in this pose."""

_NOT_A_CHEST = "This is unlike the frontal chest X-rays that the model knows."
_REASONS: dict[Pose, str] = {"negative": "negative", "lateral": "lateral"}  # of the others: not_upright
_SENTENCES: dict[Pose, str] = {
    "upside_down": "The film stands upside down.",
    "turned_left": "The film lies on its side.",
    "turned_right": "The film lies on its side.",
    "negative": "The film is a negative: air is white and bone is black.",
    "lateral": "This looks like a lateral film.",
}
_DOUBTFUL_SENTENCES: dict[Pose, str] = {
    "negative": "The film may be a negative, with air white and bone black.",
    "lateral": "This may be a lateral film.",
}
_DOUBTFUL_SENTENCE = "It is not clear which way up the film is."
_AXES = {
    "references": "nc",
    "filenames": "n",
    "patientids": "n",
    "labels": "n",
    "sources": "n",
    "fitted": "n",
    "limit": "1",
    "pose_kernel": "fp",
    "pose_bias": "p",
    "poses": "p",
    "upright_limit": "1",
    "lateral_limit": "1",
    "child_kernel": "f",
    "child_bias": "1",
    "child_limit": "1",
}
_TEXTS = ("filenames", "patientids", "labels", "sources", "poses")


@dataclass(frozen=True)
class Gate:
    """A fitted gate; its attributes are the arrays of `gate.npz`.

    Attributes:
        references: the films it knows, pooled: float32 (n, c), each of length 1. The file has them in half precision.
        filenames, patientids, labels, sources: text (n,), of these films; a source is a domain, or empty.
        fitted: bool (n,), the films that the model was fitted on.
        limit: distance beyond which a film is no frontal chest film, float32 (1,).
        pose_kernel: float32 (fields * c, p), fields being the square of the grid.
        pose_bias: float32 (p,).
        poses: text (p,), `upright` first.
        upright_limit: P(upright) below which a film is refused, float32 (1,).
        lateral_limit: distance up to which a film can be a lateral chest film, float32 (1,); 0 where the gate knows none.
        child_kernel, child_bias: of the logistic regression that tells children, float32 (fields * c,) and (1,).
        child_limit: P(child) from which the user is warned, float32 (1,); above 1 where the gate knows no children.

    Raises:
        ValueError: the arrays do not fit each other.
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
        _check_arrays(self)
        if self.references.shape[0] < NEIGHBOURS:
            raise ValueError(f"at least {NEIGHBOURS} films are needed. Received: {len(self.references)}")
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
        """Judge a film.

        Args:
            features: float32 (h, w, c), what the network makes of it.
            look: likewise of the film after repairs; called for a film that seems to lie wrong only, at most `MAX_REPAIRS` times.

        Returns:
            The screening, with the refusal set for a film that is refused; it names the repair that would let the film pass.
        """
        return self.screen_signature(
            signature(features, self.grid), lambda repairs: signature(look(repairs), self.grid)
        )

    def screen_signature(self, film: FloatArray, look: Look) -> Screening:
        """As `screen`, of `signature`s."""
        seen = self._read(film)
        if self._passes(seen):
            return seen.screening
        refusal = self._refused_for_pose(seen, look) if seen.upright < self.upright_limit[0] else None
        if refusal is None:
            refusal = ScreenedOut("not_a_chest_xray", _NOT_A_CHEST)
        return replace(seen.screening, refusal=refusal)

    def strangeness(self, film: FloatArray) -> float:
        """How far a `signature` is from passing, whatever for: at least 0, and above 1 where the film is refused."""
        seen = self._read(film)
        lying = (1 - seen.upright) / (1 - float(self.upright_limit[0]))
        return max(seen.screening.distance / float(self.limit[0]), lying)

    def distances(self, film: FloatArray) -> FloatArray:
        """From a `signature` to each film that the gate knows: float32 (n,) in [0, 2]."""
        # Not `@`: with other work on both cores its threads waited 10 ms for each other, where this takes below 1.
        alike = np.einsum("nc,c->n", self.references, unit(film[0]))
        away: FloatArray = np.sqrt(np.maximum(2 - 2 * alike, 0))
        return away

    def probability_child(self, film: FloatArray) -> float:
        """P(a child's chest) of a `signature`, in [0, 1]."""
        return float(1 / (1 + np.exp(-(unit(film[1:].ravel()) @ self.child_kernel + self.child_bias[0]))))

    def _read(self, film: FloatArray) -> "_Seen":
        nearest = np.partition(self.distances(film), NEIGHBOURS - 1)[:NEIGHBOURS]
        scores = unit(film[1:].ravel()) @ self.pose_kernel + self.pose_bias
        odds = np.exp(scores - scores.max())
        probabilities = dict(zip(self.poses.tolist(), (odds / odds.sum()).tolist(), strict=True))
        child = bool(self.probability_child(film) >= self.child_limit[0])
        return _Seen(cast(dict[Pose, float], probabilities), float(nearest.mean()), float(self.limit[0]), child)

    def _passes(self, seen: "_Seen") -> bool:
        # In the arrays' own precision: the limits are among the very values that they are compared with.
        return bool(seen.screening.distance <= self.limit[0] and seen.upright >= self.upright_limit[0])

    def _refused_for_pose(self, seen: "_Seen", look: Look) -> ScreenedOut | None:
        """Why a film that may not be upright is refused; None for what is no chest film."""
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
    """What the two checks give of a film: the probability of each pose, and its distance beside the limit."""

    probabilities: dict[Pose, float]
    distance: float
    limit: float
    child: bool

    @property
    def upright(self) -> float:
        return self.probabilities["upright"]

    @property
    def other_pose(self) -> Pose:
        """The most probable pose that is not upright."""
        return max((pose for pose in self.probabilities if pose != "upright"), key=self.probabilities.__getitem__)

    @property
    def screening(self) -> Screening:
        pose = max(self.probabilities, key=self.probabilities.__getitem__)
        return Screening(self.distance, self.limit, pose, self.probabilities[pose], child=self.child)


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


def repaired_input(film: ModelInput, repairs: Sequence[Repair]) -> ModelInput:
    """Repair a film that is prepared already, uint8 (size, size).

    The preparation treats all sides alike and stretches black as it does white, so this is what the repaired picture would have
    become, to within one grey level (measured on 200 films).
    """
    for repair in repairs:
        film = 255 - film if repair == "invert" else np.rot90(film, QUARTERS_LEFT[repair])
    return np.ascontiguousarray(film)


def save_gate(path: Path, gate: Gate) -> None:
    """Write `gate.npz`; the same gate gives the same bytes."""
    arrays = {name: getattr(gate, name) for name in _AXES}
    np.savez(path, **(arrays | {"references": gate.references.astype(np.float16)}))


def load_gate(path: Path) -> Gate:
    """Read `gate.npz` of a bundle.

    Raises:
        BundleError: the file is not one, or its arrays do not fit each other.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            return _gate_of({name: archive[name] for name in archive.files})
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as cause:
        raise BundleError(f"{path} does not hold a gate: {cause}.") from cause


def _gate_of(arrays: dict[str, Any]) -> Gate:
    if set(arrays) != {field.name for field in fields(Gate)}:
        raise ValueError(f"the arrays are not those of a gate. Received: {', '.join(sorted(arrays)) or 'none'}")
    return Gate(**(arrays | {"references": arrays["references"].astype(np.float32)}))


def _check_arrays(gate: Gate) -> None:
    """Compare each array with its axes, a letter each: the same letter is the same length, and `1` is one."""
    lengths = {"1": 1}
    for name, letters in _AXES.items():
        array: NDArray[np.generic] = getattr(gate, name)
        kind = "U" if name in _TEXTS else "b" if name == "fitted" else "f"
        if array.dtype.kind != kind or (kind == "f" and not np.isfinite(cast(FloatArray, array)).all()):
            raise ValueError(f"`{name}` must be finite numbers, text or truth values. Received: {array.dtype}")
        fits = array.ndim == len(letters) and array.size > 0
        if not fits or any(lengths.setdefault(*axis) != axis[1] for axis in zip(letters, array.shape, strict=True)):
            wanted = ", ".join(str(lengths.get(letter, letter)) for letter in letters)
            raise ValueError(f"`{name}` must be of the shape ({wanted}). Received: {array.shape}")
