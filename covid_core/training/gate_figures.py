"""How good a gate is: the block `gate` of `evaluation.json`, and the bundle with both.

Every film that the gate was fitted on is judged by a stand-in that knew no film of its patient; other films by the gate itself.
One figure says how strange a film is (`Gate.strangeness`: at most 1 passes), so the two checks are judged together, as they are
used.

The block:

- `films`, `patients`: that the gate knows. `limit`, `upright_limit`: see `covid_core.training.gate`. `poses`: that it can tell.
- `kinds`: of what should be refused, [{`kind`, `n`, `unreadable`, `roc_auc`, `fpr95`, `refused`, `reasons`, `repair_offered`,
  `right_repair`}], the cohort's own films in other poses and its lateral films first.
- `hospitals`: of films that should pass, [{`name`, `n`, `unreadable`, `copies_left_out`, `refused`, `warned`, `called`,
  `called_silently`, `reasons`}]; the first is the cohort, and `sources` are those of it with at least `MIN_SOURCE_FILMS` films.
  `warned` is of a child, `called` COVID-19, and `called_silently` that without a refusal or a warning.

`roc_auc` and `fpr95` compare strangeness with that of the cohort's upright films. `fpr95` is the share of the kind that passes
where 95% of the upright films do, upright films being the positives (Liang et al. 2018, https://arxiv.org/abs/1706.02690; others,
such as Hendrycks et al. 2019, https://arxiv.org/abs/1812.04606, take the strange ones as the positives). `refused` is a share
with Wilson's interval, films taken as independent; `reasons` counts the refusals. `repair_offered` counts films that would pass
after the repair they are offered, `right_repair` those of them where it is the one that is needed, null for what none can mend.
`unreadable` files are refused before the gate and are not in `n`.
"""

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from covid_core.dataset.labelled_folder import LABELS_NAME
from covid_core.errors import BundleError, DatasetError, ImageRefusedError
from covid_core.evaluation.intervals import wilson
from covid_core.evaluation.metrics import roc_auc
from covid_core.files import read_json, write_json, write_text
from covid_core.images.decode import decode_file
from covid_core.images.orientation import Repair
from covid_core.images.preprocess import prepare
from covid_core.images.types import GreyImage
from covid_core.inference.bundle import Bundle, bundle_written_aside, load_bundle, write_manifest
from covid_core.inference.gate import REPAIRS, Gate, save_gate
from covid_core.inference.network import Network
from covid_core.inference.prediction import Pose, ScreenedOut
from covid_core.inference.similar import COPY_DISTANCE
from covid_core.report.model_card import model_card
from covid_core.training.gate import POSED, FittedGate, Say, Signatures, fit_gate, other_films, silent

MIN_SOURCE_FILMS = 20
POSITIVES_PASSED = 0.95
COHORT = "the dataset, patients apart"
PICTURES = (".png", ".jpg", ".jpeg", ".dcm")
_POSE_KINDS: dict[Pose, str] = {
    "upside_down": "upside down",
    "turned_left": "turned left",
    "turned_right": "turned right",
    "negative": "negative",
    "lateral": "lateral",
}

Picture = Path | GreyImage


@dataclass(frozen=True)
class _Verdict:
    """What became of a film: how strange it is, why it is refused, whether the gate knows it, and whether it may be a child."""

    strangeness: float
    refusal: ScreenedOut | None
    known: bool = False
    child: bool = False
    called: bool = False


@dataclass(frozen=True)
class _Verdicts:
    """Of some films, and how many could not be read."""

    films: Sequence[_Verdict]
    unreadable: int = 0


def judge_gate(
    bundle: Bundle,
    fitted: FittedGate,
    negatives: Mapping[str, Sequence[Picture]] | None = None,
    hospitals: Mapping[str, Sequence[Picture]] | None = None,
    say: Say = silent,
) -> dict[str, Any]:
    """Measure a gate.

    Args:
        bundle: whose gate it is.
        fitted: the gate.
        negatives: what should be refused: the name of a kind -> its pictures, files or float32 (height, width) in [0, 1].
        hospitals: frontal chest films, upright, from elsewhere: the name of a collection -> its films. Copies of films that the
            gate knows are left out.
        say: called with a line for each step, as it begins.

    Returns:
        The block, see the module's docstring.

    Raises:
        BundleError: the bundle's network cannot be read.
    """
    network, gate = Network(bundle.file("model.tflite")), fitted.gate
    say("the gate's own films, patients apart")
    own = _own_films(fitted, bundle)
    upright = own["upright"].films
    kinds = [_kind(_POSE_KINDS[pose], own[pose], upright, REPAIRS.get(pose)) for pose in own if pose != "upright"]
    for kind, pictures in (negatives or {}).items():
        say(f"{kind}: {len(pictures)} pictures")
        kinds.append(_kind(kind, _strangers(pictures, bundle, network, gate), upright, None))
    elsewhere = []
    for name, pictures in (hospitals or {}).items():
        say(f"{name}: {len(pictures)} films")
        elsewhere.append(_hospital(name, _strangers(pictures, bundle, network, gate)))
    return {
        "films": len(gate.references),
        "patients": len(set(fitted.groups.tolist())),
        "child_limit": float(gate.child_limit[0]),
        "limit": float(gate.limit[0]),
        "upright_limit": float(gate.upright_limit[0]),
        "poses": gate.poses.tolist(),
        "kinds": kinds,
        "hospitals": [_hospital(COHORT, own["upright"]), *elsewhere],
        "sources": _sources(gate, upright),
    }


def write_gate(
    folder: Path,
    dataset: Path,
    collection: Path | None = None,
    *,
    negatives: Mapping[str, Sequence[Picture]] | None = None,
    hospitals: Mapping[str, Sequence[Picture]] | None = None,
    elsewhere: Path | None = None,
    say: Say = silent,
) -> dict[str, Any]:
    """Fit the gate of a bundle, measure it, and put both into the bundle; a former gate there is replaced.

    Args:
        folder: the bundle.
        dataset: the prepared dataset that it was trained on.
        collection: the folder that the dataset was prepared from, for its lateral films and CT slices.
        negatives: as in `judge_gate`, besides those CT slices.
        hospitals: likewise.
        elsewhere: as of `fit_gate`.
        say: called with a line for each step, as it begins.

    Returns:
        The block `gate` of `evaluation.json`.

    Raises:
        BundleError: there is no whole bundle.
        TrainingError: the dataset is another one than the bundle was trained on, or too small for a gate.
        DatasetError: the dataset or the collection cannot be read.
        ImageRefusedError: a film of the dataset or the collection cannot be decoded.
    """
    bundle = load_bundle(folder)
    evaluation = read_json(bundle.file("evaluation.json"), BundleError)
    fitted = fit_gate(bundle, dataset, collection, say, elsewhere=elsewhere)
    others: dict[str, Sequence[Picture]] = {} if collection is None else {**other_films(collection)}
    strange = {
        name: [one for one in pictures if not (isinstance(one, Path) and one.name in fitted.children)]
        for name, pictures in (hospitals or {}).items()
    }
    block = judge_gate(bundle, fitted, {**others, **(negatives or {})}, strange, say)
    with bundle_written_aside(folder) as fresh:
        shutil.copytree(folder, fresh, dirs_exist_ok=True)
        save_gate(fresh / "gate.npz", fitted.gate)
        evaluation["gate"] = block
        write_json(fresh / "evaluation.json", evaluation)
        manifest = {name: value for name, value in bundle.manifest.items() if name not in {"schema", "files"}}
        write_text(fresh / "MODEL_CARD.md", model_card(manifest, evaluation))
        write_manifest(fresh, manifest)
    return block


def pictures_by_kind(folder: Path) -> dict[str, list[Path]]:
    """The pictures of a folder; of a collection with a `labels.csv` by source, hospital group and finding, as far as it has them.

    Raises:
        DatasetError: there is none.
    """
    pictures, name = pictures_in(folder), folder.resolve().name
    if not (folder / LABELS_NAME).is_file():
        return {name: pictures}
    table = pd.read_csv(folder / LABELS_NAME, dtype="str", keep_default_na=False)
    if "filename" not in table.columns:
        return {name: pictures}
    columns = [one for one in ("source", "site", "finding") if one in table.columns]
    kinds = (
        table[columns].replace("", "not stated").agg(", ".join, axis=1)
        if columns
        else table["filename"].map(lambda _: "")
    )
    kind_of = dict(zip(table["filename"], kinds, strict=True))
    found: dict[str, list[Path]] = {}
    for path in pictures:
        found.setdefault(", ".join(filter(None, (name, kind_of.get(path.name, "not in the table")))), []).append(path)
    return dict(sorted(found.items()))


def pictures_in(folder: Path) -> list[Path]:
    """Every PNG, JPEG and DICOM file in a folder and those in it, by the extension.

    Raises:
        DatasetError: there is none.
    """
    found = [path for path in folder.rglob("*") if path.suffix.lower() in PICTURES] if folder.is_dir() else []
    if not found:
        raise DatasetError(f"{folder} holds no pictures ({', '.join(PICTURES)}).")
    return sorted(found)


def _own_films(fitted: FittedGate, bundle: Bundle) -> dict[Pose, _Verdicts]:
    """The films that the gate was fitted on in every pose, each judged by a gate that did not know its patient."""
    verdicts: dict[Pose, dict[int, _Verdict]] = {pose: {} for pose in POSED}
    cohort = fitted.groups[: fitted.cohort]
    for group in np.unique(cohort).tolist():
        gate = fitted.stand_in(group)
        for index in np.flatnonzero(cohort == group).tolist():
            for pose, repairs in POSED.items():
                verdicts[pose][index] = _verdict(gate, fitted.films, index, bundle, repairs)
    laterals = [
        _verdict(fitted.stand_in(group), fitted.laterals, index, bundle)
        for index, group in enumerate(fitted.lateral_groups.tolist())
    ]
    own = {pose: _Verdicts([films[index] for index in sorted(films)]) for pose, films in verdicts.items()}
    return {**own, "lateral": _Verdicts(laterals)} if laterals else own


def _strangers(pictures: Iterable[Picture], bundle: Bundle, network: Network, gate: Gate) -> _Verdicts:
    films, unreadable = [], 0
    for picture in pictures:
        try:
            image = decode_file(picture) if isinstance(picture, Path) else picture
        except ImageRefusedError:
            unreadable += 1
            continue
        films.append(_verdict(gate, Signatures(network, prepare(image, bundle.preparation)[None]), 0, bundle))
    return _Verdicts(films, unreadable)


def _verdict(gate: Gate, films: Signatures, index: int, bundle: Bundle, repairs: tuple[Repair, ...] = ()) -> _Verdict:
    film = films.of(index, repairs)
    screening = gate.screen_signature(film, lambda further: films.of(index, (*repairs, *further)))
    known = bool(gate.distances(film).min() <= COPY_DISTANCE)
    probability = bundle.calibration.apply(films.probability(index))
    called = bool(probability >= bundle.threshold)
    return _Verdict(gate.strangeness(film), screening.refusal, known, screening.child, called)


def _kind(kind: str, judged: _Verdicts, upright: Sequence[_Verdict], repair: Repair | None) -> dict[str, Any]:
    films = judged.films
    strange = np.array([film.strangeness for film in films])
    positives = np.array([film.strangeness for film in upright])
    threshold = np.quantile(positives, POSITIVES_PASSED, method="higher")
    offered = [film.refusal.repair for film in films if film.refusal is not None and film.refusal.repair is not None]
    labels = np.repeat([False, True], [len(positives), len(strange)])
    return {
        "kind": kind,
        "n": len(films),
        "unreadable": judged.unreadable,
        "roc_auc": roc_auc(labels, np.concatenate([positives, strange])) if len(films) else None,
        "fpr95": float(np.mean(strange <= threshold)) if len(films) else None,
        **_refused(films),
        "repair_offered": len(offered),
        "right_repair": None if repair is None else offered.count(repair),
    }


def _hospital(name: str, judged: _Verdicts) -> dict[str, Any]:
    """Of a collection from elsewhere; films of the cohort are never `known`, as their stand-ins do not know them."""
    films = [film for film in judged.films if not film.known]
    return {
        "name": name,
        "n": len(films),
        "unreadable": judged.unreadable,
        "copies_left_out": len(judged.films) - len(films),
        **_refused(films),
    }


def _refused(films: Sequence[_Verdict]) -> dict[str, Any]:
    reasons = Counter(film.refusal.reason for film in films if film.refusal is not None)
    return {
        "refused": wilson(reasons.total(), len(films)).to_json(),
        "warned": wilson(sum(film.child for film in films), len(films)).to_json(),
        "called": wilson(sum(film.called for film in films), len(films)).to_json(),
        "called_silently": wilson(
            sum(film.called and film.refusal is None and not film.child for film in films), len(films)
        ).to_json(),
        "reasons": dict(reasons.most_common()),
    }


def _sources(gate: Gate, upright: Sequence[_Verdict]) -> list[dict[str, Any]]:
    """The sources of the cohort with enough films, the largest first."""
    counts = Counter(source for source in gate.sources.tolist()[: len(upright)] if source)
    return [
        _hospital(
            name, _Verdicts([film for film, source in zip(upright, gate.sources, strict=False) if source == name])
        )
        for name, count in counts.most_common()
        if count >= MIN_SOURCE_FILMS
    ]
