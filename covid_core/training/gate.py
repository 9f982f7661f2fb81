"""Fits the gate of a finished bundle; how good it is measures `covid_core.training.gate_figures`.

The images of the cohort are turned and inverted; lateral images come from the collection, where it is at hand. The limits come
from images judged by stand-ins that knew no image of their patient:

- distance: the 99th percentile over the cohort;
- or, if that is more, the 98th percentile of any other hospital, its images judged without any image of it;
- P(upright): the 1st percentile, and 0.5 at most. Where the poses are distinguished well, as by the default model, all but a few
  images lie far above 0.5, and a limit up there would refuse the images of other hospitals for nothing: 3% of 300 images of
  the NIH and 19% of 400 images of children. At 0.5 it is one of the NIH's, which does stand on its head.

What was chosen was chosen on the default model with the auxiliary and the pretraining collection, never with the external ones:
signed square roots (98% of the upside-down images are beyond the limit of the distance alone; 81% by plain features, and
standardised ones let 97% of the CT slices pass), the whole feature map, and the grid and cost of the pose model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from covid_core.dataset.collections import read_collections
from covid_core.dataset.metadata import read_metadata, safe_image_path
from covid_core.dataset.prepare import RECORD_NAME, read_split, split_image_paths
from covid_core.errors import BundleError, TrainingError
from covid_core.evaluation.summary import OUT_OF_FOLD
from covid_core.files import sha256_of_file
from covid_core.images.orientation import QUARTERS_LEFT, Repair
from covid_core.images.preprocess import prepare_files
from covid_core.inference.bundle import Bundle
from covid_core.inference.gate import GRID, NEIGHBOURS, FloatArray, Gate, repaired_input, signature, unit
from covid_core.inference.network import Network
from covid_core.inference.prediction import Pose
from covid_core.labels import COVID, NON_COVID
from covid_core.paths import IMAGES_NAME, METADATA_NAME

MIN_IMAGES = 20
FOLDS = 5
"""Of patients, for what judges the images that a gate is fitted on; a gate needs at least so many patients."""
MIN_LATERALS = 10
"""With fewer lateral images, or of fewer than `FOLDS` patients, the gate knows no lateral pose."""
REFUSED_SHARE = 0.01  # of the cohort's images, by each of the two checks
REFUSED_ELSEWHERE = 0.02  # of the images of any other hospital, by the distance
HIGHEST_UPRIGHT_LIMIT = 0.5
PER_HOSPITAL = 40
CHILDREN = 600
ADULT_AGE = 18
WARNED_SHARE = 0.01
LEAST_CHILD_LIMIT = 0.5
COST = 0.01
"""C of the logistic regression, on standardised features. Between 0.001 and 0.01 nothing changes for the default model; of the
features of MobileNetV2's last layer 0.01 recognises more lateral images (96% against 91%)."""

POSED: dict[Pose, tuple[Repair, ...]] = {
    "upright": (),
    "upside_down": ("turn_around",),
    "turned_left": ("turn_left",),
    "turned_right": ("turn_right",),
    "negative": ("invert",),
}
"""What brings an upright image into each pose."""
_TURNS: tuple[tuple[Repair, ...], ...] = ((), ("turn_left",), ("turn_around",), ("turn_right",))

Say = Callable[[str], None]
Texts = NDArray[np.str_]
Linear = tuple[FloatArray, FloatArray]  # kernel and bias


def silent(_line: str) -> None:
    """Says nothing."""


class Signatures:
    """The signatures of images, as they are and after repairs; each is computed once.

    Args:
        network: of the bundle.
        images: uint8 (n, size, size).
    """

    def __init__(self, network: Network, images: NDArray[np.uint8]) -> None:
        self._network, self._images = network, images
        self._known: dict[tuple[int, int, bool], tuple[FloatArray, float]] = {}

    def __len__(self) -> int:
        return len(self._images)

    def of(self, index: int, repairs: Sequence[Repair] = ()) -> FloatArray:
        """The signature of an image after repairs, float32 (1 + grid * grid, c)."""
        return self._look(index, repairs)[0]

    def probability(self, index: int) -> float:
        """P(covid) before calibration of an image as it is."""
        return self._look(index, ())[1]

    def _look(self, index: int, repairs: Sequence[Repair]) -> tuple[FloatArray, float]:
        quarters = sum(QUARTERS_LEFT.get(repair, 0) for repair in repairs) % 4
        inverted = repairs.count("invert") % 2 == 1
        key = (index, quarters, inverted)
        if key not in self._known:
            image = repaired_input(self._images[index], (*_TURNS[quarters], *(("invert",) if inverted else ())))
            given = self._network.invoke(image)
            known = signature(given.features, min(GRID, *given.features.shape[:2]))
            self._known[key] = known, given.probability
        return self._known[key]


@dataclass(frozen=True)
class FittedGate:
    """A gate, and what is needed to judge the images it was fitted on by gates that did not know them.

    Attributes:
        groups: text (n,), the patient (or patients with the same picture) of each image that the gate knows; `images` are in
            the same order. `laterals` and `lateral_groups` are those of the lateral images it was fitted on.
        folds, heads: group -> fold, and for each fold a pose model fitted on the other folds.
        cohort: how many of the images are of the dataset; they come first.
        children: names of the files that it learned from what children look like.
    """

    gate: Gate
    groups: Texts
    images: Signatures
    laterals: Signatures
    lateral_groups: Texts
    folds: Mapping[str, int]
    heads: Sequence[Linear] = field(repr=False)
    cohort: int
    children: frozenset[str]

    def stand_in(self, group: str) -> Gate:
        """The gate without anything it learned from a group of images; its limits are those of the whole one."""
        others = self.groups != group
        kernel, bias = self.heads[self.folds[group]]
        per_image = ("references", "filenames", "patientids", "labels", "sources", "fitted")
        kept = {name: getattr(self.gate, name)[others] for name in per_image}
        return replace(self.gate, **kept, pose_kernel=kernel, pose_bias=bias)


def fit_gate(
    bundle: Bundle,
    dataset: Path,
    collection: Path | None = None,
    say: Say = silent,
    *,
    elsewhere: Path | None = None,
) -> FittedGate:
    """Fit a gate.

    Args:
        bundle: whose network gives the features.
        dataset: the prepared dataset that it was trained on.
        collection: the folder with `metadata.csv` and `images/` that the dataset was prepared from, for its lateral images;
            without it the gate knows no lateral pose.
        say: called with a line for each step, as it begins.
        elsewhere: folder of collections (`covid_core.dataset.collections`) that some adults of each hospital and children come
            from; without it the gate knows the dataset alone, and no children.

    Raises:
        TrainingError: the dataset is another one, or too small for a gate, or there are no adults elsewhere.
        DatasetError: the dataset, the collection or one elsewhere cannot be read.
        BundleError: the bundle's network or predictions cannot be read.
        ImageRefusedError: an image cannot be decoded.
    """
    network = Network(bundle.file("model.tflite"))
    children: list[Path] = []
    table = _known_images(bundle, dataset).assign(hospital="")
    cohort, known = len(table), split_image_paths(dataset)
    _check_size(_as_text(table["group"]))
    if elsewhere is not None:
        adults, children = _from_collections(elsewhere)
        table = pd.concat([table, adults], ignore_index=True)
        known += [Path(path) for path in adults["path"]]
    groups = _as_text(table["group"])
    say(f"features of {len(table)} images in {len(POSED)} poses")
    images = Signatures(network, prepare_files(known, bundle.preparation))
    pooled = _pooled(images)
    references = pooled.astype(np.float16).astype(np.float32)  # as they are kept
    paths, lateral_groups = _laterals(collection, table)
    laterals = Signatures(network, prepare_files(paths, bundle.preparation))
    features, poses, owners = _posed(images, groups, laterals, lateral_groups)
    say("how an image lies")
    folds = _folds(owners)
    fold = np.array([folds[owner] for owner in owners])
    names: list[Pose] = [*POSED] if len(laterals) == 0 else [*POSED, "lateral"]
    heads = [_fit_poses(features[fold != left_out], poses[fold != left_out], names) for left_out in range(FOLDS)]
    upright = _upright_across(features[:cohort], heads, fold[:cohort])
    limit = _limit(pooled, references, table, groups, cohort)
    lateral_limit = 0.0
    if len(laterals):
        distances = _distances(_pooled(laterals), lateral_groups, references, groups)
        lateral_limit = max(float(np.quantile(distances, 1 - REFUSED_SHARE)), limit)
    pose_kernel, pose_bias = _fit_poses(features, poses, names)
    say(f"{len(children)} children")
    child = _child_model(
        features[: len(images)], table, Signatures(network, prepare_files(children, bundle.preparation))
    )
    gate = Gate(
        references=references,
        filenames=_as_text(table["filename"]),
        patientids=_as_text(table["patientid"]),
        labels=_as_text(table["label"]),
        sources=_as_text(table["source"].fillna("")),
        fitted=table["fitted"].to_numpy(np.bool_),
        limit=_one(max(limit, 1e-6)),
        pose_kernel=pose_kernel,
        pose_bias=pose_bias,
        poses=np.array(names),
        upright_limit=_one(min(float(np.quantile(upright, REFUSED_SHARE)), HIGHEST_UPRIGHT_LIMIT)),
        lateral_limit=_one(lateral_limit),
        child_kernel=child[0],
        child_bias=child[1],
        child_limit=child[2],
    )
    learned = frozenset(path.name for path in children)
    return FittedGate(gate, groups, images, laterals, lateral_groups, folds, heads, cohort, learned)


def ct_slices(collection: Path) -> list[Path]:
    """The CT slices of the collection, which are no chest X-rays.

    Raises:
        DatasetError: the collection cannot be read.
    """
    table = read_metadata(collection / METADATA_NAME)
    return _present(collection, table.loc[table["modality"].str.upper() == "CT", "filename"].drop_duplicates())


def _known_images(bundle: Bundle, dataset: Path) -> pd.DataFrame:
    """The rows of `split.csv`, with `fitted` for those that the model was fitted on."""
    table = read_split(dataset)
    record = bundle.manifest["training"]["dataset"].get("split_sha256")
    if record != sha256_of_file(dataset / RECORD_NAME):
        raise TrainingError(
            f"{bundle.folder} was trained on another dataset than {dataset}. Name the one it was trained on."
        )
    path = bundle.file("predictions.csv")
    try:
        parts = set(pd.read_csv(path, usecols=["part"])["part"])
    except ValueError as cause:
        raise BundleError(f"{path} cannot be read: {cause}. Export the bundle again.") from cause
    return table.assign(fitted=True if parts == {OUT_OF_FOLD} else table["part"] == "train")


def _from_collections(folder: Path) -> tuple[pd.DataFrame, list[Path]]:
    """Adults of each hospital, as rows of the gate's table with `path` and `hospital`; and files of children."""
    images = read_collections(folder)
    hospital = images["source"] + np.where(images["site"] == "", "", " " + images["site"])
    covid = images["covid"].eq(1) & images["appearance"].isin(["typical", ""])
    label = np.select([covid, images["pattern"].eq(0) | images["covid"].eq(0)], [COVID, NON_COVID], "")
    clear = images.assign(hospital=hospital, label=label, filename=images["path"].map(lambda path: Path(path).name))
    adults = clear[~images["child"].astype(bool) & (label != "")]
    if adults.empty:
        raise TrainingError(f"{folder} holds no radiograph of an adult with a known class, to tell children from.")
    few = pd.concat(
        [rows.sample(min(len(rows), PER_HOSPITAL), random_state=0) for _, rows in adults.groupby("hospital")]
    )
    children = clear.loc[images["child"].astype(bool), "path"]
    few = few.assign(group="elsewhere " + few["group"], patientid=few["group"], source=few["hospital"], fitted=False)
    return few, [Path(path) for path in children.sample(min(len(children), CHILDREN), random_state=0)]


def _limit(pooled: FloatArray, references: FloatArray, table: pd.DataFrame, groups: Texts, cohort: int) -> float:
    """The distance beyond which an image is refused: few of the dataset, and few of any left-out hospital."""
    distances = _distances(pooled[:cohort], groups[:cohort], references, groups)
    limits = [float(np.quantile(distances, 1 - REFUSED_SHARE))]
    hospital = _as_text(table["hospital"])
    for name in np.unique(hospital[cohort:]):
        ours = hospital == name
        away = _distances(pooled[ours], hospital[ours], references, hospital)
        limits.append(float(np.quantile(away, 1 - REFUSED_ELSEWHERE)))
    return max(limits)


def _child_model(adults: FloatArray, table: pd.DataFrame, children: Signatures) -> tuple[FloatArray, ...]:
    """Kernel, bias and limit of what recognises children; nothing without any.

    All but `WARNED_SHARE` of the adults of each hospital are below the limit, judged by a model that saw none of them.
    """
    if len(children) == 0:
        return np.zeros(adults.shape[1], np.float32), _one(0.0), _one(2.0)
    theirs = np.stack([unit(children.of(index)[1:].ravel()) for index in range(len(children))])
    if "age" in table:  # of the dataset; a few are children
        grown = ~(pd.to_numeric(table["age"], errors="coerce") < ADULT_AGE).to_numpy()
        adults, table = adults[grown], table[grown]
    features = np.concatenate([adults, theirs])
    child = np.repeat([False, True], [len(adults), len(theirs)])
    hospital = np.append(_as_text(table["hospital"]), np.full(len(theirs), "children"))
    warned = [LEAST_CHILD_LIMIT]
    for name in np.unique(hospital[~child]):
        left_out = hospital == name
        _, kernel, bias = _logistic(features[~left_out], child[~left_out], class_weight="balanced")
        scores = expit(features[left_out] @ kernel[:, 0] + bias[0])
        warned.append(float(np.quantile(scores, 1 - WARNED_SHARE)))
    _, kernel, bias = _logistic(features, child, class_weight="balanced")
    return kernel[:, 0], bias, _one(max(warned))


def _logistic(features: FloatArray, truth: NDArray[Any], **settings: Any) -> tuple[list[Any], FloatArray, FloatArray]:
    """A logistic regression on standardised features, with the standardisation worked into kernel (f, k) and bias (k,).

    Returns:
        The classes, and kernel and bias: a column for each, or one column for the second of two.
    """
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-7] = 1  # noqa: PLR2004  a channel that is silent on all images
    model = LogisticRegression(C=COST, max_iter=1000, **settings).fit((features - mean) / scale, truth)
    kernel = (model.coef_.T / scale[:, None]).astype(np.float32)
    return model.classes_.tolist(), kernel, (model.intercept_ - mean @ kernel).astype(np.float32)


def _check_size(groups: Texts) -> None:
    sizes = np.unique(groups, return_counts=True)[1]
    if len(groups) < MIN_IMAGES or len(sizes) < FOLDS or len(groups) - sizes.max() < NEIGHBOURS:
        raise TrainingError(
            f"A gate needs at least {MIN_IMAGES} images of {FOLDS} patients, and {NEIGHBOURS} of other patients than any one. "
            f"Received: {len(groups)} images of {len(sizes)} patients. The bundle works without a gate."
        )


def _laterals(collection: Path | None, table: pd.DataFrame) -> tuple[list[Path], Texts]:
    """The lateral images of the collection and their groups; none where they are too few."""
    if collection is None:
        return [], np.array([], np.str_)
    rows = read_metadata(collection / METADATA_NAME)
    rows = rows[(rows["modality"].str.lower() == "x-ray") & (rows["view"] == "L")].drop_duplicates("filename")
    group_of = dict(zip(table["patientid"], table["group"], strict=True))
    paths = _present(collection, rows["filename"])
    patients = rows.set_index("filename")["patientid"]
    groups = [str(group_of.get(patients[path.name], f"patient {patients[path.name]}")) for path in paths]
    if len(paths) < MIN_LATERALS or len(set(groups)) < FOLDS:
        return [], np.array([], np.str_)
    return paths, np.array(groups)


def _present(collection: Path, names: "pd.Series[str]") -> list[Path]:
    paths = [safe_image_path(collection / IMAGES_NAME, name) for name in names.dropna()]
    return [path for path in paths if path.is_file()]


def _posed(
    images: Signatures, groups: Texts, laterals: Signatures, lateral_groups: Texts
) -> tuple[FloatArray, Texts, Texts]:
    """What the pose model is fitted on: features (m, fields * c), poses (m,) and groups (m,), the upright images first."""
    rows: list[tuple[FloatArray, str, str]] = []
    for pose, repairs in POSED.items():
        rows += [(images.of(index, repairs), pose, group) for index, group in enumerate(groups)]
    rows += [(laterals.of(index), "lateral", group) for index, group in enumerate(lateral_groups)]
    signatures, poses, owners = zip(*rows, strict=True)
    return np.stack([unit(one[1:].ravel()) for one in signatures]), np.array(poses), np.array(owners)


def _folds(owners: Texts) -> dict[str, int]:
    """Groups dealt to folds of about equally many images."""
    split = GroupKFold(FOLDS).split(owners, groups=owners)
    return {str(owner): fold for fold, (_, held_out) in enumerate(split) for owner in owners[held_out]}


def _fit_poses(features: FloatArray, poses: Texts, names: Sequence[Pose]) -> Linear:
    """A multinomial logistic regression; a pose that no image is in gets a probability of nothing."""
    known, columns, offsets = _logistic(features, poses)
    kernel = np.zeros((features.shape[1], len(names)), np.float32)
    bias = np.full(len(names), -1e6, np.float32)
    places = [names.index(pose) for pose in known]
    kernel[:, places], bias[places] = columns, offsets
    return kernel, bias


def _upright_across(features: FloatArray, heads: Sequence[Linear], fold: NDArray[np.int64]) -> FloatArray:
    """P(upright) of images by the pose models that did not know their patients, float32 (n,)."""
    upright = np.empty(len(features), np.float32)
    for number, (kernel, bias) in enumerate(heads):
        upright[fold == number] = softmax(features[fold == number] @ kernel + bias, axis=1)[:, 0]
    return upright


def _pooled(images: Signatures) -> FloatArray:
    return np.stack([unit(images.of(index)[0]) for index in range(len(images))])


def _distances(images: FloatArray, groups: Texts, references: FloatArray, known_groups: Texts) -> FloatArray:
    """The distance of images (m, c) of length 1 from the nearest references of other groups, float32 (m,)."""
    away = np.sqrt(np.maximum(2 - 2 * images @ references.T, 0))
    away[groups[:, None] == known_groups] = np.inf
    distances: FloatArray = np.partition(away, NEIGHBOURS - 1)[:, :NEIGHBOURS].mean(axis=1)
    return distances


def _one(value: float) -> FloatArray:
    return np.array([value], np.float32)


def _as_text(column: "pd.Series[str]") -> Texts:
    return np.array(column.astype(str).tolist())
