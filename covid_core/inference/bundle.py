"""A model bundle: a folder that holds a trained model with everything needed to serve it, to judge it and to go on training it.

    bundle.json          what this is (schema below), with the SHA-256 of every other file
    model.tflite         what serves: float32; P(covid) and the feature map before pooling, and what else the network answers
    head.npz             what stands behind the pooling, for the exact Grad-CAM: two dense layers or two linear questions
    model.keras          to go on training from
    class_indices.json   the class order
    gate.npz             where there is one: what tells a frontal chest X-ray from other pictures, and finds similar images
    evaluation.json, predictions.csv, history.csv, MODEL_CARD.md

A bundle is read only when every hash matches and the class order is ours. The keys of `bundle.json`: schema, name, version,
created, backbone, stage, preparation, threshold {value, method}, calibration, parity, training {recipe, dataset, runtime,
versions, commit, stages}, starting_weights, licences, files; and only where they were fitted three_way, pattern_threshold,
opacity_threshold and opacity_error.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from covid_core.errors import BundleError, EvaluationError
from covid_core.evaluation.calibration import Calibration
from covid_core.evaluation.conformal import ThreeWay
from covid_core.files import read_json, sha256_of_file, write_json
from covid_core.images.preprocess import Preparation
from covid_core.labels import CLASS_INDICES
from covid_core.paths import model_names, models_dir

SCHEMA = 1
CHEST_STAGE = "chest"
"""`stage` of a bundle whose network was trained on several collections and whose heads were fitted behind it."""
MANIFEST = "bundle.json"
FILES = (
    *("model.tflite", "head.npz", "model.keras", "class_indices.json"),
    *("evaluation.json", "predictions.csv", "history.csv", "MODEL_CARD.md"),
)
OPTIONAL_FILES = ("gate.npz",)


@dataclass(frozen=True)
class Bundle:
    """A verified bundle."""

    folder: Path
    name: str  # that of its folder when it was exported
    version: str  # date of the export and the beginning of the served model's hash
    preparation: Preparation
    threshold: float  # P(covid) from which an image is called covid, on the calibrated scale, in [0, 1]
    threshold_method: str  # how it was chosen, one sentence
    calibration: Calibration
    manifest: dict[str, Any]  # the whole content of `bundle.json`
    three_way: ThreeWay | None = None
    """Between which probabilities an image is indeterminate; it always holds the threshold, see `ThreeWay.holding`."""
    pattern_threshold: float | None = None  # P(pattern) from which a pattern of pneumonia is reported
    opacity_threshold: float | None = None  # of the opacity map, from which a cell counts as affected
    opacity_error: float | None = None  # mean absolute error of the share of the lungs with opacities, in [0, 1]

    def file(self, name: str) -> Path:
        """The path of one of the bundle's files."""
        return self.folder / name

    def optional_file(self, name: str) -> Path | None:
        """The path of one of `OPTIONAL_FILES`; None where the bundle has none that was verified."""
        return self.folder / name if name in self.manifest["files"] else None


def load_bundle(folder: Path) -> Bundle:
    """Read and verify a bundle.

    Raises:
        BundleError: it is missing, incomplete, altered, of another schema, or its classes are in another order.
    """
    if not (folder / MANIFEST).is_file():
        known = ", ".join(model_names()) or "none"
        raise BundleError(f"There is no model bundle in {folder}. Bundles in {models_dir()}: {known}.")
    manifest = read_json(folder / MANIFEST, BundleError)
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise BundleError(f"{folder / MANIFEST} is not a bundle of this version (schema {SCHEMA}). Export it again.")
    _verify_files(folder, manifest)
    order = read_json(folder / "class_indices.json", BundleError)
    if order != CLASS_INDICES:
        raise BundleError(f"{folder} has the classes in the order {order}; this program needs {CLASS_INDICES}.")
    try:
        threshold = _share(manifest["threshold"]["value"])
        band = manifest.get("three_way")
        return Bundle(
            folder=folder,
            name=str(manifest["name"]),
            version=str(manifest["version"]),
            preparation=Preparation(**manifest["preparation"]),
            threshold=threshold,
            threshold_method=str(manifest["threshold"]["method"]),
            calibration=Calibration.from_json(manifest["calibration"]),
            manifest=manifest,
            three_way=ThreeWay.from_json(band).holding(threshold) if band is not None else None,
            pattern_threshold=_share_or_none(manifest.get("pattern_threshold")),
            opacity_threshold=_share_or_none(manifest.get("opacity_threshold")),
            opacity_error=_share_or_none(manifest.get("opacity_error")),
        )
    except (KeyError, TypeError, ValueError, EvaluationError) as cause:
        raise BundleError(
            f"{folder / MANIFEST} lacks a setting or has a wrong one: {cause}. Export it again."
        ) from cause


def check_target(folder: Path) -> None:
    """Raise `BundleError` where `folder` exists and is not a bundle, so that it must not be written to."""
    if folder.exists() and not (folder / MANIFEST).is_file() and (folder.is_file() or any(folder.iterdir())):
        raise BundleError(f"{folder} exists and is not a model bundle; it is left alone. Choose another --out.")


@contextmanager
def bundle_written_aside(folder: Path) -> Iterator[Path]:
    """Give a folder to fill with a bundle's files; it replaces `folder` when the block ends well. See `check_target`."""
    check_target(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", suffix=".partial") as scratch:
        fresh, former = Path(scratch) / "fresh", Path(scratch) / "former"
        fresh.mkdir()
        yield fresh
        if folder.exists():
            folder.rename(former)
        try:
            fresh.rename(folder)
        except OSError:
            if former.exists():
                shutil.move(former, folder)
            raise


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write `bundle.json` over the files of `folder`, whose hashes it adds; `BundleError` where one is missing."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise BundleError(f"A bundle needs {', '.join(missing)}.")
    present = [*FILES, *(name for name in OPTIONAL_FILES if (folder / name).is_file())]
    hashes = {name: sha256_of_file(folder / name) for name in present}
    write_json(folder / MANIFEST, {"schema": SCHEMA, **manifest, "files": hashes})


def _share(value: Any) -> float:
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError(f"the threshold must be in [0, 1]. Received: {share}")
    return share


def _share_or_none(value: Any) -> float | None:
    return None if value is None else _share(value)


def _verify_files(folder: Path, manifest: dict[str, Any]) -> None:
    hashes = manifest.get("files")
    if not isinstance(hashes, dict) or not set(FILES) <= set(hashes) <= {*FILES, *OPTIONAL_FILES}:
        raise BundleError(f"{folder / MANIFEST} does not name the files of a bundle. Export it again.")
    for name, expected in hashes.items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{path} is missing. Export the bundle again, or restore it from the repository.")
        if sha256_of_file(path) != expected:
            raise BundleError(
                f"{path} was altered after the export; the bundle is refused. Restore it from the repository."
            )
