"""Fits the gate of a finished bundle on the films of its dataset. How good it is measures `covid_core.training.gate_figures`.

Nothing is drawn or downloaded for it: the films of the cohort are turned and inverted, the lateral films of the collection, where
it is at hand, are the rest. The limits come from films judged by stand-ins that knew no film of their patient:

- distance: the 99th percentile over the cohort;
- or, if that is more, the 98th percentile of any other hospital, its films judged without any film of it;
- P(upright): the 1st percentile, and 0.5 at most. Where the poses are told apart well, as by the default model, all but a few
  films lie far above 0.5, and a limit up there would refuse the films of other hospitals for nothing: 3% of 300 films of the NIH
  and 19% of 400 films of children. At 0.5 it is one of the NIH's, which does stand on its head.

What was chosen was chosen on the default model with the auxiliary and the pretraining collection, never with the external ones:
signed square roots (98% of the upside-down films are beyond the limit of the distance alone; 81% by plain features, and
standardised ones let 97% of the CT slices pass), the whole feature map, and the grid and cost of the pose model.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
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

MIN_FILMS = 20
FOLDS = 5
"""Of patients, for what judges the films that a gate is fitted on; a gate needs at least so many patients."""
MIN_LATERALS = 10
"""With fewer lateral films, or of fewer than `FOLDS` patients, the gate knows no lateral pose."""
REFUSED_SHARE = 0.01
"""Of the cohort's films, by each of the two checks."""
REFUSED_ELSEWHERE = 0.02
"""Of the films of any other hospital, by the distance."""
HIGHEST_UPRIGHT_LIMIT = 0.5
PER_HOSPITAL = 40
CHILDREN = 600
ADULT_AGE = 18
WARNED_SHARE = 0.01
LEAST_CHILD_LIMIT = 0.5
COST = 0.01
"""C of the logistic regression, on standardised features. Between 0.001 and 0.01 nothing changes for the default model; of the
features of MobileNetV2's last layer 0.01 recognises more lateral films (96% against 91%)."""
LATERAL_VIEW = "L"

POSED: dict[Pose, tuple[Repair, ...]] = {
    "upright": (),
    "upside_down": ("turn_around",),
    "turned_left": ("turn_left",),
    "turned_right": ("turn_right",),
    "negative": ("invert",),
}
"""What brings an upright film into each pose."""
_TURNS: tuple[tuple[Repair, ...], ...] = ((), ("turn_left",), ("turn_around",), ("turn_right",))

Say = Callable[[str], None]
Texts = NDArray[np.str_]
Ints = NDArray[np.int64]


def silent(_line: str) -> None:
    """Says nothing."""


class Signatures:
    """The signatures of films, as they are and after repairs; each is computed once.

    Args:
        network: of the bundle.
        films: uint8 (n, size, size).
    """

    def __init__(self, network: Network, films: NDArray[np.uint8]) -> None:
        self._network, self._films = network, films
        self._known: dict[tuple[int, int, bool], FloatArray] = {}
        self._probability: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._films)

    def of(self, index: int, repairs: Sequence[Repair] = ()) -> FloatArray:
        """The signature of a film after repairs, float32 (1 + grid * grid, c)."""
        quarters = sum(QUARTERS_LEFT.get(repair, 0) for repair in repairs) % 4
        inverted = repairs.count("invert") % 2 == 1
        key = (index, quarters, inverted)
        if key not in self._known:
            film = repaired_input(self._films[index], (*_TURNS[quarters], *(("invert",) if inverted else ())))
            given = self._network.invoke(film)
            self._known[key] = signature(given.features, min(GRID, *given.features.shape[:2]))
            if not quarters and not inverted:
                self._probability[index] = given.probability
        return self._known[key]

    def probability(self, index: int) -> float:
        """P(covid) before calibration of a film as it is."""
        self.of(index)
        return self._probability[index]


@dataclass(frozen=True)
class FittedGate:
    """A gate, and what is needed to judge the films it was fitted on by gates that did not know them.

    Attributes:
        gate: what serves.
        groups: text (n,), the patient (or patients with the same picture) of each film that the gate knows.
        films: of these films, in order.
        laterals: of the lateral films it was fitted on.
        lateral_groups: text (l,), their patients, of the same names.
        folds: group -> fold.
        heads: for each fold the kernel and bias of a pose model fitted on the other folds.
        cohort: how many of the films are of the dataset; they come first.
        children: names of the files that it learned from what children look like.
    """

    gate: Gate
    groups: Texts
    films: Signatures
    laterals: Signatures
    lateral_groups: Texts
    folds: Mapping[str, int]
    heads: Sequence[tuple[FloatArray, FloatArray]] = field(repr=False)
    cohort: int
    children: frozenset[str]

    def stand_in(self, group: str) -> Gate:
        """The gate without anything it learned from a group of films; its limits are those of the whole one."""
        others = self.groups != group
        kernel, bias = self.heads[self.folds[group]]
        per_film = ("references", "filenames", "patientids", "labels", "sources", "fitted")
        kept = {name: getattr(self.gate, name)[others] for name in per_film}
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
        bundle: the finished bundle, whose network gives the features.
        dataset: the prepared dataset that it was trained on.
        collection: the folder with `metadata.csv` and `images/` that the dataset was prepared from, for its lateral films;
            without it the gate knows no lateral pose.
        say: called with a line for each step, as it begins.
        elsewhere: folder of collections (`covid_core.dataset.collections`) that some adults of each hospital and children come
            from; without it the gate knows the dataset alone, and no children.

    Raises:
        TrainingError: the dataset is another one, or too small for a gate, or there are no adults elsewhere.
        DatasetError: the dataset, the collection or one elsewhere cannot be read.
        BundleError: the bundle's network or predictions cannot be read.
        ImageRefusedError: a film cannot be decoded.
    """
    children: list[Path] = []
    table = _known_films(bundle, dataset)
    cohort = len(table)
    _check_size(_as_text(table["group"]))
    paths_known = split_image_paths(dataset)
    if elsewhere is not None:
        adults, children = _from_collections(elsewhere)
        table = pd.concat([table.assign(hospital=""), adults], ignore_index=True)
        paths_known += [Path(path) for path in adults["path"]]
    groups = _as_text(table["group"])
    network = Network(bundle.file("model.tflite"))
    say(f"features of {len(table)} films in {len(POSED)} poses")
    films = Signatures(network, prepare_files(paths_known, bundle.preparation))
    pooled = np.stack([unit(films.of(index)[0]) for index in range(len(films))])
    references = pooled.astype(np.float16).astype(np.float32)  # as they are kept
    paths, lateral_groups = _laterals(collection, table)
    laterals = Signatures(network, prepare_files(paths, bundle.preparation))
    features, poses, owners = _posed(films, groups, laterals, lateral_groups)
    say("how a film lies")
    folds = _folds(owners)
    fold = np.array([folds[owner] for owner in owners])
    names: list[Pose] = [*POSED] if len(laterals) == 0 else [*POSED, "lateral"]
    heads = [_fit_poses(features[fold != left_out], poses[fold != left_out], names) for left_out in range(FOLDS)]
    upright = _upright_across(features[:cohort], heads, fold[:cohort])
    limit = _limit(pooled, references, table, groups, cohort)
    kernel, bias = _fit_poses(features, poses, names)
    say(f"{len(children)} children")
    child = _child_model(
        features[: len(films)], table, Signatures(network, prepare_files(children, bundle.preparation))
    )
    gate = Gate(
        references=references,
        filenames=_as_text(table["filename"]),
        patientids=_as_text(table["patientid"]),
        labels=_as_text(table["label"]),
        sources=_as_text(table["source"].fillna("")),
        fitted=table["fitted"].to_numpy(np.bool_),
        limit=_one(max(limit, 1e-6)),
        pose_kernel=kernel,
        pose_bias=bias,
        poses=np.array(names),
        upright_limit=_one(min(float(np.quantile(upright, REFUSED_SHARE)), HIGHEST_UPRIGHT_LIMIT)),
        lateral_limit=_one(_lateral_limit(laterals, lateral_groups, references, groups, limit)),
        child_kernel=child[0],
        child_bias=child[1],
        child_limit=child[2],
    )
    known_children = frozenset(path.name for path in children)
    return FittedGate(gate, groups, films, laterals, lateral_groups, folds, heads, cohort, known_children)


def other_films(collection: Path) -> dict[str, list[Path]]:
    """What is no chest film in the collection: the name of a kind -> its files.

    Raises:
        DatasetError: the collection cannot be read.
    """
    table = read_metadata(collection / METADATA_NAME)
    slices = table.loc[table["modality"].str.upper() == "CT", "filename"].drop_duplicates()
    return {"CT slice": _present(collection, slices)}


def _known_films(bundle: Bundle, dataset: Path) -> pd.DataFrame:
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
        raise BundleError(f"{path} cannot be read: {cause}. Export the bundle anew.") from cause
    return table.assign(fitted=True if parts == {OUT_OF_FOLD} else table["part"] == "train")


def _from_collections(folder: Path) -> tuple[pd.DataFrame, list[Path]]:
    """Adults of each hospital, as rows of the gate's table with `path` and `hospital`; and files of children."""
    images = read_collections(folder)
    hospital = images["source"] + np.where(images["site"] == "", "", " " + images["site"])
    label = np.select(
        [
            images["covid"].eq(1) & images["appearance"].isin(["typical", ""]),
            images["pattern"].eq(0) | images["covid"].eq(0),
        ],
        [COVID, NON_COVID],
        "",
    )
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
    """The distance beyond which a film is refused: few of the dataset, and few of any hospital that the references leave out."""
    distances = _distances(pooled[:cohort], groups[:cohort], references, groups)
    limits = [float(np.quantile(distances, 1 - REFUSED_SHARE))]
    if cohort < len(table):
        hospital = _as_text(table["hospital"])
        for name in np.unique(hospital[cohort:]):
            ours = hospital == name
            away = _distances(pooled[ours], hospital[ours], references, hospital)
            limits.append(float(np.quantile(away, 1 - REFUSED_ELSEWHERE)))
    return max(limits)


def _child_model(
    adults: FloatArray, table: pd.DataFrame, children: Signatures
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Kernel, bias and limit of what tells children; nothing is told without any.

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
        kernel, bias = _logistic(features[hospital != name], child[hospital != name])
        scores = features[hospital == name] @ kernel + bias[0]
        warned.append(float(np.quantile(1 / (1 + np.exp(-scores)), 1 - WARNED_SHARE)))
    kernel, bias = _logistic(features, child)
    return kernel, bias, _one(max(warned))


def _logistic(features: FloatArray, truth: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    mean, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-7)
    model = LogisticRegression(C=COST, class_weight="balanced", max_iter=1000).fit((features - mean) / scale, truth)
    kernel = (model.coef_[0] / scale).astype(np.float32)
    return kernel, _one(float(model.intercept_[0] - mean @ kernel))


def _check_size(groups: Texts) -> None:
    sizes = np.unique(groups, return_counts=True)[1]
    if len(groups) < MIN_FILMS or len(sizes) < FOLDS or len(groups) - sizes.max() < NEIGHBOURS:
        raise TrainingError(
            f"A gate needs at least {MIN_FILMS} films of {FOLDS} patients, and {NEIGHBOURS} of other patients than any one. "
            f"Received: {len(groups)} films of {len(sizes)} patients. The bundle works without a gate."
        )


def _laterals(collection: Path | None, table: pd.DataFrame) -> tuple[list[Path], Texts]:
    """The lateral films of the collection and their groups; none where they are too few."""
    if collection is None:
        return [], np.array([], np.str_)
    rows = read_metadata(collection / METADATA_NAME)
    rows = rows[(rows["modality"].str.lower() == "x-ray") & (rows["view"] == LATERAL_VIEW)].drop_duplicates("filename")
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
    films: Signatures, groups: Texts, laterals: Signatures, lateral_groups: Texts
) -> tuple[FloatArray, Texts, Texts]:
    """What the pose model is fitted on: features (m, fields * c), poses (m,) and groups (m,), the upright films first."""

    def rows() -> Iterator[tuple[FloatArray, str, str]]:
        for pose, repairs in POSED.items():
            for index, group in enumerate(groups):
                yield films.of(index, repairs), pose, group
        for index, group in enumerate(lateral_groups):
            yield laterals.of(index), "lateral", group

    signatures, poses, owners = zip(*rows(), strict=True)
    return np.stack([unit(one[1:].ravel()) for one in signatures]), np.array(poses), np.array(owners)


def _folds(owners: Texts) -> dict[str, int]:
    """Groups dealt to folds of about equally many films."""
    split = GroupKFold(FOLDS).split(owners, groups=owners)
    return {str(owner): fold for fold, (_, held_out) in enumerate(split) for owner in owners[held_out]}


def _fit_poses(features: FloatArray, poses: Texts, names: Sequence[Pose]) -> tuple[FloatArray, FloatArray]:
    """A multinomial logistic regression on standardised features, with the standardisation worked into kernel and bias.

    A pose that no film is in gets a probability of nothing.
    """
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-7] = 1  # noqa: PLR2004  a channel that is silent on all films
    model = LogisticRegression(C=COST, max_iter=1000).fit((features - mean) / scale, poses)
    kernel = np.zeros((features.shape[1], len(names)), np.float32)
    bias = np.full(len(names), -1e6, np.float32)
    for known, pose in enumerate(model.classes_):
        column = names.index(pose)
        kernel[:, column] = model.coef_[known] / scale
        bias[column] = model.intercept_[known] - mean @ kernel[:, column]
    return kernel, bias


def _upright_across(features: FloatArray, heads: Sequence[tuple[FloatArray, FloatArray]], fold: Ints) -> FloatArray:
    """P(upright) of films by the pose models that did not know their patients, float32 (n,)."""
    upright = np.empty(len(features), np.float32)
    for number, (kernel, bias) in enumerate(heads):
        scores = features[fold == number] @ kernel + bias
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        upright[fold == number] = odds[:, 0] / odds.sum(axis=1)
    return upright


def _distances(films: FloatArray, groups: Texts, references: FloatArray, known_groups: Texts) -> FloatArray:
    """The distance of films (m, c) of length 1 from the nearest references of other groups, float32 (m,)."""
    away = np.sqrt(np.maximum(2 - 2 * films @ references.T, 0))
    away[groups[:, None] == known_groups] = np.inf
    distances: FloatArray = np.partition(away, NEIGHBOURS - 1)[:, :NEIGHBOURS].mean(axis=1)
    return distances


def _lateral_limit(
    laterals: Signatures, lateral_groups: Texts, references: FloatArray, groups: Texts, limit: float
) -> float:
    if len(laterals) == 0:
        return 0.0
    pooled = np.stack([unit(laterals.of(index)[0]) for index in range(len(laterals))])
    distances = _distances(pooled, lateral_groups, references, groups)
    return max(float(np.quantile(distances, 1 - REFUSED_SHARE)), limit)


def _one(value: float) -> FloatArray:
    return np.array([value], np.float32)


def _as_text(column: "pd.Series[str]") -> Texts:
    return np.array(column.astype(str).tolist())
