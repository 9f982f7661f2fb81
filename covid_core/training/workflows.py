"""What needs several subpackages at once: a run is evaluated, and exported as a bundle. The command line calls these."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from covid_core.dataset.duplicates import fingerprint_files
from covid_core.dataset.labelled_folder import LabelledFolder, read_labelled_folder, without_copies
from covid_core.dataset.prepare import split_image_paths
from covid_core.errors import BundleError, DatasetError, ImageRefusedError, Refusal, TrainingError
from covid_core.evaluation.calibration import Calibration, fit_platt
from covid_core.evaluation.evaluate import FURTHER_BLOCKS, evaluate, three_way_block
from covid_core.evaluation.external import shares_by_finding
from covid_core.evaluation.metadata_blocks import whom_blocks
from covid_core.evaluation.metrics import roc_auc
from covid_core.files import read_json, sha256_of_file, write_json, write_text, written_aside
from covid_core.inference.batch import given_path, read_all
from covid_core.inference.bundle import Bundle, bundle_written_aside, load_bundle, write_manifest
from covid_core.inference.network import Network
from covid_core.inference.predictor import Predictor
from covid_core.labels import CLASS_INDICES, COVID, PREVALENCE, THRESHOLD
from covid_core.report.model_card import model_card
from covid_core.training.backbones import starting_weights
from covid_core.training.export import head_weights, load_trained, predict_images, write_litert
from covid_core.training.recipe import Stage
from covid_core.training.run import Run, open_run
from covid_core.training.stages import PartImages, check_dataset, load_images

if TYPE_CHECKING:
    import keras

Progress = Callable[[int, int], None]

THRESHOLD_METHOD = (
    "0.5 on the scale calibrated to classes that are equally common, where it maximises sensitivity plus specificity as far "
    "as the calibration holds; nothing was tuned on the test part"
)
PARITY_LIMIT = 1e-4
PREDICTION_COLUMNS = ("filename", "patientid", "label", "part", "group", "source")
"""Of `split.csv`, what predictions.csv repeats: no more of the metadata than the figures need, as it has its own licence."""
LICENCES = {
    "model": (
        "Apache-2.0 as far as it is ours to give; whether the licences of the training images reach a model trained on them "
        "is not settled, so treat commercial use as not permitted"
    ),
    "training images": (
        "COVID-19 Image Data Collection (Cohen et al. 2020): one licence per image, column `license` of its metadata.csv; "
        "many are CC BY-NC-SA, about a third are not stated"
    ),
    "training metadata": "CC BY-NC-SA 4.0",
}


@dataclass(frozen=True)
class EvaluatedRun:
    """A stage of a run, and what was measured of its best model.

    Attributes:
        test: the images of the test part.
        calibration: fitted on the validation part.
        predictions: one row per image of the validation and test parts.
        evaluation: the content of `evaluation.json`.
    """

    run: Run
    stage: Stage
    model: "keras.Model"
    test: PartImages
    calibration: Calibration
    predictions: pd.DataFrame
    evaluation: dict[str, Any]


@dataclass(frozen=True)
class BundleContent:
    """What a bundle is written from.

    Attributes:
        model: the Keras model, as `covid_core.training.export` takes it.
        images: uint8 (n, size, size), on which the served model is held against Keras.
        raw_by_keras: float64 (n,), what the Keras model says of them.
        evaluation: the content of `evaluation.json`, but for the model's name.
        predictions, history: the content of the tables of these names.
        manifest: of `bundle.json` what the model's maker knows: backbone, stage, architecture, preparation, threshold,
            calibration, starting_weights, training and, where there is one, three_way.
        licences: of what it was trained on besides the dataset: what -> which.
    """

    model: "keras.Model"
    images: NDArray[np.uint8]
    raw_by_keras: NDArray[np.float64]
    evaluation: dict[str, Any]
    predictions: pd.DataFrame
    history: pd.DataFrame
    manifest: dict[str, Any]
    licences: dict[str, str] = field(default_factory=dict)


def evaluate_run(
    folder: Path, stage: Stage | None = None, progress: Progress | None = None, *, collection: Path | None = None
) -> EvaluatedRun:
    """Evaluate a trained run: calibrate on the validation part, then report on the test part.

    Writes `evaluation.json` and `predictions.csv` into the stage's folder.

    Args:
        folder: the run.
        stage: which stage's model; the last finished one by default.
        progress: called with (done, total) while images are decoded.
        collection: folder with the metadata.csv that the dataset was prepared from, which knows more of the images.

    Raises:
        TrainingError: the stage is not finished, or the dataset has changed since.
    """
    run = open_run(folder)
    stage = stage or run.latest_stage()
    run.require(stage)
    check_dataset(run)
    images = load_images(run.dataset, ("val", "test"), run.recipe.preparation, progress)
    model = load_trained(run.best_model(stage))
    raw = {part: predict_images(model, images[part].pixels) for part in images}
    calibration = fit_platt(raw["val"], images["val"].labels, prevalence=PREVALENCE, fitted_on="validation part")
    table = pd.concat([images[part].table[list(PREDICTION_COLUMNS)] for part in images], ignore_index=True)
    probability = np.concatenate([*raw.values()])
    predictions = table.assign(probability_raw=probability, probability_covid=calibration.apply(probability))
    name = f"{run.name} ({stage})"
    evaluation = evaluate(predictions, model=name, threshold=THRESHOLD, part="test", prevalence=calibration.prevalence)
    evaluation |= whom_blocks(predictions, evaluation, run.dataset, collection)
    evaluated = EvaluatedRun(run, stage, model, images["test"], calibration, predictions, evaluation)
    write_figures(run.stage_folder(stage), evaluation, predictions)
    return evaluated


def export_run(
    folder: Path,
    out: Path,
    stage: Stage | None = None,
    progress: Progress | None = None,
    *,
    collection: Path | None = None,
) -> Bundle:
    """Evaluate a run and write it as a model bundle, which is read back and verified.

    Args:
        folder: the run.
        out: the bundle's folder; its name becomes the model's name. A former bundle there is replaced.
        stage: as of `evaluate_run`.
        progress: likewise.
        collection: likewise.

    Raises:
        TrainingError: as `evaluate_run`, or LiteRT and Keras do not agree.
        BundleError: `out` holds something else.
    """
    evaluated = evaluate_run(folder, stage, progress, collection=collection)
    run, predictions, calibration = evaluated.run, evaluated.predictions, evaluated.calibration
    method = THRESHOLD_METHOD
    if calibration.method == "none":
        method = f"{THRESHOLD:g} on the model's own output; {calibration.note or 'it is not calibrated'}"
    content = BundleContent(
        model=evaluated.model,
        images=evaluated.test.pixels,
        raw_by_keras=predictions.loc[predictions["part"] == "test", "probability_raw"].to_numpy(),
        evaluation=evaluated.evaluation,
        predictions=predictions,
        history=run.history(evaluated.stage),
        manifest={
            "backbone": run.recipe.backbone,
            "stage": evaluated.stage,
            "architecture": (
                f"global average pooling, Dense {run.recipe.hidden_units}, Dropout {run.recipe.dropout:g}, one sigmoid"
            ),
            "preparation": run.recipe.preparation.to_json(),
            "threshold": {"value": THRESHOLD, "method": method},
            "calibration": calibration.to_json(),
            "starting_weights": starting_weights(run.recipe),
            "training": {
                "recipe": run.recipe.to_json(),
                "dataset": {key: value for key, value in run.record["dataset"].items() if key != "folder"},
                **{key: run.record[key] for key in ("runtime", "versions", "commit")},
                "stages": {stage: run.record["stages"][stage] for stage in run.stages_until(evaluated.stage)},
            },
        },
    )
    return write_bundle(out, content)


def write_bundle(out: Path, content: BundleContent) -> Bundle:
    """Write a model as a bundle, checked against Keras; a former bundle there is replaced.

    Raises:
        TrainingError: LiteRT and Keras do not agree.
        BundleError: `out` holds something else.
    """
    evaluation = {**content.evaluation, "model": out.name}
    with bundle_written_aside(out) as fresh:
        write_figures(fresh, evaluation, content.predictions)
        with written_aside(fresh / "history.csv") as aside:
            content.history.to_csv(aside, index=False, float_format="%.6g", lineterminator="\n")
        content.model.save(fresh / "model.keras")  # loaded without its optimizer, so saved without it
        served = fresh / "model.tflite"
        write_litert(content.model, served)
        np.savez(fresh / "head.npz", **head_weights(content.model))  # type: ignore[arg-type]
        write_json(fresh / "class_indices.json", CLASS_INDICES)
        today = datetime.now(UTC)
        manifest = {
            "name": out.name,
            "version": f"{today:%Y-%m-%d}-{sha256_of_file(served)[:8]}",
            "created": today.isoformat(timespec="seconds"),
            **content.manifest,
            "parity": _parity(content, served),
            "licences": LICENCES | content.licences,
        }
        write_text(fresh / "MODEL_CARD.md", model_card(manifest, evaluation))
        write_manifest(fresh, manifest)
    return load_bundle(out)


def evaluate_bundle(
    folder: Path,
    external: Sequence[Path] = (),
    dataset: Path | None = None,
    progress: Progress | None = None,
    *,
    collection: Path | None = None,
) -> dict[str, Any]:
    """Evaluate a bundle again from its `predictions.csv`, and write its evaluation and card again; the model stays as it is.

    What other measurements added to the evaluation (`FURTHER_BLOCKS`) is kept.

    Args:
        folder: the bundle.
        external: folders of labelled images (`covid_core.dataset.labelled_folder`) that the served model is tested on besides;
            they take the place of former ones.
        dataset: the prepared dataset that the model was trained on: external images that are copies of its images are left out,
            and the images of its cohort are described and counted. None where it is not at hand; copies then stay in, and of the
            cohort stays what was known.
        progress: called with (images done, images) of each folder.
        collection: as of `evaluate_run`.

    Returns:
        The content of `evaluation.json`.

    Raises:
        BundleError: there is no whole bundle.
        EvaluationError: its predictions cannot be evaluated.
        DatasetError: an external folder is not one, or two have the same name; the dataset or the collection cannot be read.
        ImageRefusedError: an external image cannot be decoded.
    """
    bundle = load_bundle(folder)
    folders = read_external(external)
    record, table = bundle.file("evaluation.json"), bundle.file("predictions.csv")
    former = read_json(record, BundleError)
    if not isinstance(former, dict) or "part" not in former:
        raise BundleError(f"{record} does not say which part it is of. Export the bundle again.")
    try:
        predictions = pd.read_csv(table, dtype={"patientid": "str", "group": "str"})
    except ValueError as cause:
        raise BundleError(f"{table} cannot be read: {cause}. Export the bundle again.") from cause
    prevalence = bundle.calibration.prevalence
    evaluation = evaluate(
        predictions, model=bundle.name, threshold=bundle.threshold, part=former["part"], prevalence=prevalence
    )
    evaluation |= {name: former[name] for name in FURTHER_BLOCKS if name in former}
    if bundle.three_way is not None and "fold" in predictions.columns:
        evaluation["three_way"] = three_way_block(predictions, bundle.three_way)
    evaluation |= whom_blocks(predictions, evaluation, dataset, collection)
    if folders:
        known = fingerprint_files(split_image_paths(dataset)) if dataset is not None else []
        predictor = Predictor(bundle)
        evaluation["external"] = {
            images.name: _external(predictor, without_copies(images, known), progress) for images in folders
        }
    with bundle_written_aside(folder) as fresh:
        shutil.copytree(folder, fresh, dirs_exist_ok=True)
        write_json(fresh / "evaluation.json", evaluation)
        manifest = {name: value for name, value in bundle.manifest.items() if name not in {"schema", "files"}}
        write_text(fresh / "MODEL_CARD.md", model_card(manifest, evaluation))
        write_manifest(fresh, manifest)
    return evaluation


def read_external(folders: Sequence[Path]) -> list[LabelledFolder]:
    """Read folders of external images, whose names become those of the sets.

    Raises:
        DatasetError: a folder is not one, or two have the same name.
    """
    read = [read_labelled_folder(folder) for folder in folders]
    names = [images.name for images in read]
    if len(set(names)) < len(names):
        raise DatasetError(f"External folders must have different names. Received: {', '.join(names)}")
    return read


def _external(predictor: Predictor, images: LabelledFolder, progress: Progress | None) -> dict[str, Any]:
    probability = []
    # What the gate thinks of the images is measured by itself; here every image counts.
    given = [replace(one, anyway=True) for path in images.paths for one in given_path(path)]
    for index, result in enumerate(read_all(predictor, given), start=1):
        if isinstance(result.outcome, Refusal):
            refusal = result.outcome
            raise ImageRefusedError(refusal.reason, f"{result.file}: {refusal.message}", refusal.next_step)
        probability.append(result.outcome.probability_covid)
        if progress:
            progress(index, len(images.paths))
    table = images.table.assign(probability_covid=probability)
    scored = table[table["label"] != ""]
    return {
        "images": len(table),
        "patients": None,
        "copies_left_out": images.copies,
        "roc_auc": roc_auc(scored["label"] == COVID, scored["probability_covid"]),
        "labelled": {label: int((table["label"] == label).sum()) for label in CLASS_INDICES},
        "by_finding": shares_by_finding(table, predictor.bundle.threshold),
    }


def write_figures(folder: Path, evaluation: dict[str, Any], predictions: pd.DataFrame) -> None:
    """Write `evaluation.json` and the `predictions.csv` it was made from into a folder."""
    write_json(folder / "evaluation.json", evaluation)
    write_predictions(folder, predictions)


def write_predictions(folder: Path, predictions: pd.DataFrame) -> None:
    """Write `predictions.csv` into a folder."""
    with written_aside(folder / "predictions.csv") as aside:
        predictions.to_csv(aside, index=False, float_format="%.8g", lineterminator="\n")


def _parity(content: BundleContent, served: Path) -> dict[str, Any]:
    network = Network(served)
    litert = np.array([network.invoke(image).probability for image in content.images])
    difference = float(np.abs(litert - content.raw_by_keras).max())
    if difference > PARITY_LIMIT:
        raise TrainingError(
            f"The exported model differs from the trained one by {difference:.2g} (limit {PARITY_LIMIT:g}); it is not kept."
        )
    return {"films": len(litert), "max_abs_difference": difference, "limit": PARITY_LIMIT}
