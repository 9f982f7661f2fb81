"""How good a gate is: the block `gate` of `evaluation.json`, and the bundle with both.

Every image that the gate was fitted on is judged by a stand-in that knew no image of its patient; other images by the gate
itself. One figure says how strange an image is (`Gate.strangeness`: at most 1 passes), so the two checks are judged together,
as they are used.

The block:

- `films`, `patients`: that the gate knows. `limit`, `upright_limit`: see `covid_core.training.gate`. `poses`: that it can tell.
- `kinds`: of what should be refused, [{`kind`, `n`, `unreadable`, `roc_auc`, `fpr95`, `refused`, `reasons`, `repair_offered`,
  `right_repair`}], the cohort's own images in other poses and its lateral images first.
- `hospitals`: of images that should pass, [{`name`, `n`, `unreadable`, `copies_left_out`, `refused`, `warned`, `called`,
  `called_silently`, `reasons`}]; the first is the cohort, and `sources` are those of it with at least `MIN_SOURCE_IMAGES` images.
  `warned` is of a child, `called` COVID-19, and `called_silently` that without a refusal or a warning.

`roc_auc` and `fpr95` compare strangeness with that of the cohort's upright images. `fpr95` is the share of the kind that passes
where 95% of the upright images do, upright images being the positives (Liang et al. 2018, https://arxiv.org/abs/1706.02690;
others, such as Hendrycks et al. 2019, https://arxiv.org/abs/1812.04606, take the strange ones as the positives). `refused` is
a share with Wilson's interval, images taken as independent; `reasons` counts the refusals. `repair_offered` counts images that
would pass after the repair they are offered, `right_repair` those of them where it is the one that is needed, null for what
none can mend. `unreadable` files are refused before the gate and are not in `n`.
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
from covid_core.training.gate import POSED, FittedGate, Say, Signatures, ct_slices, fit_gate, silent

MIN_SOURCE_IMAGES = 20
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
    """What became of an image: how strange it is, why it is refused, whether the gate knows it, and whether it may be a child."""

    strangeness: float
    refusal: ScreenedOut | None
    known: bool
    child: bool
    called: bool


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
        hospitals: frontal chest X-rays, upright, from elsewhere: the name of a collection -> its images. Copies of images that
            the gate knows are left out.
        say: called with a line for each step, as it begins.

    Returns:
        The block, see the module's docstring.

    Raises:
        BundleError: the bundle's network cannot be read.
    """
    network, gate = Network(bundle.file("model.tflite")), fitted.gate
    say("the gate's own images, patients apart")
    own = _own_images(fitted, bundle)
    upright = own.pop("upright")
    kinds = [_kind(_POSE_KINDS[pose], images, upright, REPAIRS.get(pose)) for pose, images in own.items()]
    places = [_hospital(COHORT, upright)]
    for kind, pictures in (negatives or {}).items():
        say(f"{kind}: {len(pictures)} pictures")
        images, unreadable = _strangers(pictures, bundle, network, gate)
        kinds.append(_kind(kind, images, upright, None, unreadable))
    for name, pictures in (hospitals or {}).items():
        say(f"{name}: {len(pictures)} images")
        places.append(_hospital(name, *_strangers(pictures, bundle, network, gate)))
    return {
        "films": len(gate.references),
        "patients": len(set(fitted.groups.tolist())),
        "child_limit": float(gate.child_limit[0]),
        "limit": float(gate.limit[0]),
        "upright_limit": float(gate.upright_limit[0]),
        "poses": gate.poses.tolist(),
        "kinds": kinds,
        "hospitals": places,
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
        collection: the folder that the dataset was prepared from, for its lateral images and CT slices.
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
        ImageRefusedError: an image of the dataset or the collection cannot be decoded.
    """
    bundle = load_bundle(folder)
    evaluation = read_json(bundle.file("evaluation.json"), BundleError)
    fitted = fit_gate(bundle, dataset, collection, say, elsewhere=elsewhere)
    others = {} if collection is None else {"CT slice": ct_slices(collection)}
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
    """Every PNG, JPEG and DICOM file, by the extension, in a folder and those in it: a kind -> its files.

    Of a collection with a `labels.csv` a kind is a source, hospital group and finding, as far as the table has them.

    Raises:
        DatasetError: there is none.
    """
    pictures = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    if not pictures:
        raise DatasetError(f"{folder} holds no pictures ({', '.join(PICTURES)}).")
    name, labels = folder.resolve().name, folder / LABELS_NAME
    table = pd.read_csv(labels, dtype="str", keep_default_na=False) if labels.is_file() else pd.DataFrame()
    if "filename" not in table:
        return {name: pictures}
    columns = [one for one in ("source", "site", "finding") if one in table]
    kind_of = {
        row["filename"]: ", ".join([name, *(row[column] or "not stated" for column in columns)])
        for row in table.to_dict("records")
    }
    found: dict[str, list[Path]] = {}
    for path in pictures:
        found.setdefault(kind_of.get(path.name, f"{name}, not in the table"), []).append(path)
    return dict(sorted(found.items()))


def _own_images(fitted: FittedGate, bundle: Bundle) -> dict[Pose, list[_Verdict]]:
    """The images that the gate was fitted on in every pose, each judged by a gate that did not know its patient."""
    cohort = fitted.groups[: fitted.cohort].tolist()
    stand_ins = {group: fitted.stand_in(group) for group in {*cohort, *fitted.lateral_groups.tolist()}}
    own: dict[Pose, list[_Verdict]] = {
        pose: [_verdict(stand_ins[group], fitted.images, index, bundle, repairs) for index, group in enumerate(cohort)]
        for pose, repairs in POSED.items()
    }
    if len(fitted.laterals):
        own["lateral"] = [
            _verdict(stand_ins[group], fitted.laterals, index, bundle)
            for index, group in enumerate(fitted.lateral_groups.tolist())
        ]
    return own


def _strangers(pictures: Iterable[Picture], bundle: Bundle, network: Network, gate: Gate) -> tuple[list[_Verdict], int]:
    """Verdicts on pictures, and how many of them could not be read."""
    verdicts, unreadable = [], 0
    for picture in pictures:
        try:
            image = decode_file(picture) if isinstance(picture, Path) else picture
        except ImageRefusedError:
            unreadable += 1
            continue
        verdicts.append(_verdict(gate, Signatures(network, prepare(image, bundle.preparation)[None]), 0, bundle))
    return verdicts, unreadable


def _verdict(gate: Gate, images: Signatures, index: int, bundle: Bundle, repairs: tuple[Repair, ...] = ()) -> _Verdict:
    given = images.of(index, repairs)
    screening = gate.screen_signature(given, lambda further: images.of(index, (*repairs, *further)))
    known = bool(gate.distances(given).min() <= COPY_DISTANCE)
    called = bool(bundle.calibration.apply(images.probability(index)) >= bundle.threshold)
    return _Verdict(gate.strangeness(given), screening.refusal, known, screening.child, called)


def _kind(
    kind: str, images: Sequence[_Verdict], upright: Sequence[_Verdict], repair: Repair | None, unreadable: int = 0
) -> dict[str, Any]:
    strange = np.array([image.strangeness for image in images])
    positives = np.array([image.strangeness for image in upright])
    threshold = np.quantile(positives, POSITIVES_PASSED, method="higher")
    offered = [
        image.refusal.repair for image in images if image.refusal is not None and image.refusal.repair is not None
    ]
    labels = np.repeat([False, True], [len(positives), len(strange)])
    return {
        "kind": kind,
        "n": len(images),
        "unreadable": unreadable,
        "roc_auc": roc_auc(labels, np.concatenate([positives, strange])) if images else None,
        "fpr95": float(np.mean(strange <= threshold)) if images else None,
        **_shares(images),
        "repair_offered": len(offered),
        "right_repair": None if repair is None else offered.count(repair),
    }


def _hospital(name: str, judged: Sequence[_Verdict], unreadable: int = 0) -> dict[str, Any]:
    """Of a collection from elsewhere; images of the cohort are never `known`, as their stand-ins do not know them."""
    images = [image for image in judged if not image.known]
    return {
        "name": name,
        "n": len(images),
        "unreadable": unreadable,
        "copies_left_out": len(judged) - len(images),
        **_shares(images),
    }


def _shares(images: Sequence[_Verdict]) -> dict[str, Any]:
    reasons = Counter(image.refusal.reason for image in images if image.refusal is not None)
    counts = {
        "refused": reasons.total(),
        "warned": sum(image.child for image in images),
        "called": sum(image.called for image in images),
        "called_silently": sum(image.called and image.refusal is None and not image.child for image in images),
    }
    shares = {name: wilson(count, len(images)).to_json() for name, count in counts.items()}
    return {**shares, "reasons": dict(reasons.most_common())}


def _sources(gate: Gate, upright: Sequence[_Verdict]) -> list[dict[str, Any]]:
    """The sources of the cohort with enough images, the largest first."""
    sources = gate.sources.tolist()[: len(upright)]
    counts = Counter(source for source in sources if source)
    return [
        _hospital(name, [image for image, source in zip(upright, sources, strict=True) if source == name])
        for name, count in counts.most_common()
        if count >= MIN_SOURCE_IMAGES
    ]
