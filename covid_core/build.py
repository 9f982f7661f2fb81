"""The model that the app uses by default, from a prepared dataset to a bundle, in one go.

    python -m covid_core build --dataset dataset --weights FILE --out models/mobilenetv2-lungs

The trunk runs once over every film; all that is fitted behind it takes seconds, so the whole evaluation protocol
(`covid_core.lung_protocol`) is part of the build and no bundle can be without its figures.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from covid_core import lung_protocol as protocol
from covid_core.data.duplicates import fingerprint_files
from covid_core.data.folds import make_folds, read_folds, write_folds
from covid_core.data.labelled import LabelledFolder, read_labelled_folder, select, without_copies
from covid_core.data.lungs import LungMasks, read_lung_masks
from covid_core.data.prepare import read_split, split_image_paths
from covid_core.errors import TrainingError
from covid_core.evaluation.calibration import Calibration
from covid_core.evaluation.conformal import ThreeWay, cross_fitted_coverage, fit_three_way
from covid_core.evaluation.operating_point import OperatingPoint, choose_operating_point
from covid_core.evaluation.protocols import paired_metrics, repeated_summary
from covid_core.evaluation.report import evaluate, source_table
from covid_core.evaluation.summary import OUT_OF_FOLD
from covid_core.images.preparation import prepare_files
from covid_core.inference.bundle import KERNEL_STAGE, Bundle, check_target, load_bundle
from covid_core.inference.ensemble import SHARE
from covid_core.labels import CLASSES, COVID
from covid_core.lung_protocol import Auxiliary, Cohort
from covid_core.pixel_free import pixel_free_baselines
from covid_core.storage import sha256_of_file
from covid_core.training import runtime
from covid_core.training.backbones import starting_weights
from covid_core.training.export import predict_films
from covid_core.training.lung_reader import (
    Kernel,
    LungRecipe,
    build_reader,
    build_trunk,
    cells_of,
    fit_lungs,
    lung_map,
    pool,
)
from covid_core.whom import whom_blocks
from covid_core.workflows import (
    PREDICTION_COLUMNS,
    THRESHOLD,
    BundleContent,
    evaluate_bundle,
    read_external,
    write_bundle,
)

PARITY_FILMS = 100
_ORIGINAL_NOTE = (
    "The protocol of the system this one reimplements, for comparison only: PA and AP films split at random by image, so films "
    "of one patient stand on both sides and the figures are too good."
)

MASK_LICENCE = "annotations of the COVID-19 Image Data Collection; those of lungVAE are CC BY-SA"
KNOWN_LICENCES = {
    "NIH ChestX-ray8": "public domain",
    "COVID-19 Chest X-Ray Image Repository (figshare 12580328)": "CC BY 4.0",
}
"""Collections that an auxiliary folder may name as its sources -> their licence."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Materials:
    """Where everything is that a build reads.

    Attributes:
        dataset: a prepared dataset.
        annotations: folder with the lung masks.
        folds: the folds; made, with seed 0, if the file is not there yet.
        weights: file of the backbone's weights; None where the recipe needs none.
        auxiliary: a folder of labelled films that are fitted on at a small weight; None for none.
        external: folders of labelled films that the finished model is tested on; nothing is chosen by them.
        collection: folder with the metadata.csv that the dataset was prepared from; None where it is not at hand.
    """

    dataset: Path
    annotations: Path
    folds: Path
    weights: Path | None = None
    auxiliary: Path | None = None
    external: Sequence[Path] = field(default=())
    collection: Path | None = None


@dataclass(frozen=True)
class _Seen:
    """The films of the dataset and what the trunk made of them."""

    table: pd.DataFrame
    films: NDArray[np.uint8]
    masks: LungMasks
    trunk: keras.Model
    cohort: Cohort
    lungs: keras.Model
    lung_losses: list[float]


@dataclass(frozen=True)
class _Chosen:
    """The out-of-fold predictions, the models that made them (fold -> model), and what was chosen on them."""

    kernels: dict[int, Kernel]
    raw: NDArray[np.float64]
    probability: NDArray[np.float64]
    calibration: Calibration
    point: OperatingPoint
    three_way: ThreeWay


def build(materials: Materials, out: Path, recipe: LungRecipe, say: Say) -> Bundle:
    """Train, evaluate and export the reader that looks at the lungs.

    Args:
        materials: what it is made from.
        out: the bundle's folder; a former bundle there is replaced.
        recipe: every choice made before training.
        say: called with a line for each step, as it begins.

    Raises:
        DatasetError: the dataset is not prepared, the folds do not fit, masks or labelled films are missing.
        TrainingError: weights cannot be had, no film has a mask, or LiteRT and Keras do not agree.
        BundleError: `out` holds something else.
    """
    started = time.monotonic()
    check_target(out)
    read_external(materials.external)
    state = runtime.configure(recipe.seed, recipe.threads)
    seen = _see(materials, recipe, say)
    cohort = seen.cohort
    say("cross-validation on the committed folds")
    raw, kernels = protocol.out_of_fold(cohort, cohort.folds, recipe)
    chosen = _choose(cohort, raw, kernels)
    predictions = cohort.table[[*PREDICTION_COLUMNS, "fold"]].assign(
        part=OUT_OF_FOLD, probability_raw=raw, probability_covid=chosen.probability
    )
    kernel = protocol.fit_on(cohort, np.ones(len(raw), np.bool_), recipe)
    reader = build_reader(seen.trunk, seen.lungs, kernel)
    evaluation = evaluate(
        predictions,
        model=out.name,
        threshold=chosen.point.value,
        part=OUT_OF_FOLD,
        prevalence=chosen.calibration.prevalence,
    )
    evaluation |= _measured(materials, recipe, seen, chosen, say)
    evaluation |= whom_blocks(predictions, evaluation, materials.dataset, materials.collection)
    say("export")
    manifest = _manifest(materials, recipe, seen, chosen, kernel)
    manifest["training"]["runtime"] = vars(state)
    manifest["training"]["stages"] = {KERNEL_STAGE: {"seconds": round(time.monotonic() - started, 1)}}
    bundle = write_bundle(
        out,
        BundleContent(
            model=reader,
            films=seen.films[:PARITY_FILMS],
            raw_by_keras=predict_films(reader, seen.films[:PARITY_FILMS]),
            evaluation=evaluation,
            predictions=predictions,
            history=pd.DataFrame(
                {"stage": "lungs", "epoch": range(1, len(seen.lung_losses) + 1), "loss": seen.lung_losses}
            ),
            manifest=manifest,
            licences=_licences(seen.cohort.auxiliary),
            ensemble=protocol.ensemble_on(cohort, np.ones(len(raw), np.bool_), recipe),
        ),
    )
    if not materials.external:
        return bundle
    say("external films, as they are served")
    evaluate_bundle(out, materials.external, materials.dataset, collection=materials.collection)
    return load_bundle(out)


def _see(materials: Materials, recipe: LungRecipe, say: Say) -> _Seen:
    """Everything up to pooled films: decode, trunk, lung maps."""
    if not materials.folds.exists():
        write_folds(make_folds(materials.dataset), materials.folds)
    table = read_split(materials.dataset).merge(
        read_folds(materials.folds, materials.dataset), on="filename", how="left", validate="one_to_one"
    )
    masks = read_lung_masks(materials.annotations, table["filename"].tolist(), recipe.preparation.size)
    if not masks.covered.any():
        raise TrainingError(
            f"None of the masks in {materials.annotations} is named as one of the {len(table)} films. Name the "
            "annotations of this dataset."
        )
    for fold, covered in pd.Series(masks.covered).groupby(table["fold"].to_numpy()):
        if covered.sum() == masks.covered.sum():
            raise TrainingError(f"All films with a lung mask are in fold {fold}. Received: {masks}")
    further = None
    if materials.auxiliary is not None:
        say("comparing the auxiliary films with those that are judged")
        further = auxiliary_films(materials.dataset, materials.auxiliary, materials.external)
    say(f"decoding {len(table)} films")
    films = prepare_files(split_image_paths(materials.dataset), recipe.preparation)
    trunk = build_trunk(recipe, materials.weights)
    say(f"frozen trunk over {len(table)} films")
    cells = cells_of(trunk, films)
    say(f"lung map, trained on {int(masks.covered.sum())} masks")
    lungs, losses = fit_lungs(cells[masks.covered], masks.inside[masks.covered], recipe)
    auxiliary = _auxiliary(further, recipe, trunk, lungs, say)
    say("lung maps for each fold, from the masks of the others")
    cohort = protocol.build_cohort(table, cells, masks, recipe, auxiliary)
    return _Seen(table, films, masks, trunk, cohort, lungs, losses)


def auxiliary_films(dataset: Path, auxiliary: Path, external: Sequence[Path]) -> LabelledFolder:
    """The auxiliary films with a label, but for copies of films that the model is judged on: of the dataset and external ones."""
    folder = read_labelled_folder(auxiliary)
    judged = split_image_paths(dataset)
    for films in read_external(external):
        judged += films.paths
    return without_copies(select(folder, folder.table["label"] != ""), fingerprint_files(judged))


def _auxiliary(
    films: LabelledFolder | None, recipe: LungRecipe, trunk: keras.Model, lungs: keras.Model, say: Say
) -> Auxiliary | None:
    if films is None:
        return None
    say(f"frozen trunk over {len(films.paths)} auxiliary films ({films.copies} copies left out)")
    cells = cells_of(trunk, prepare_files(films.paths, recipe.preparation))
    labels = (films.table["label"] == COVID).to_numpy()
    return Auxiliary(pool(cells, lung_map(lungs, cells)), labels, films.sources, films.copies)


def _choose(cohort: Cohort, raw: NDArray[np.float64], kernels: dict[int, Kernel]) -> _Chosen:
    """Calibration, operating point and three-way decision, all on out-of-fold predictions, on the scale that is served."""
    calibration = protocol.final_calibration(raw, cohort.labels)
    served = calibration.apply(raw)
    point = choose_operating_point(cohort.labels, served)
    three_way = fit_three_way(cohort.labels, served, fitted_on=calibration.fitted_on).holding(point.value)
    probability = protocol.calibrated_across(raw, cohort.labels, cohort.folds)
    return _Chosen(kernels, raw, probability, calibration, point, three_way)


def _measured(materials: Materials, recipe: LungRecipe, seen: _Seen, chosen: _Chosen, say: Say) -> dict[str, Any]:
    """What the protocol adds to the evaluation; external films are judged by the finished bundle."""
    cohort, table = seen.cohort, seen.cohort.table
    say(f"{len(protocol.SEEDS)} repetitions, sources left out, the original protocol")
    seeds = protocol.repeated_folds(cohort, recipe, chosen.point.value)
    images, repetitions = protocol.original_protocol(cohort, recipe)
    coverage = cross_fitted_coverage(
        cohort.labels, chosen.probability, cohort.folds, table["group"].astype(str).to_numpy()
    )
    say("ensembles on other draws of the patients")
    ends = protocol.spreads(cohort, chosen.kernels, recipe, chosen.calibration)
    say("films without lungs, and lungs alone")
    return {
        "baselines": pixel_free_baselines(materials.dataset, table[["filename", "fold"]]),
        "seeds": seeds,
        "seed_means": repeated_summary([{k: v for k, v in row.items() if k != "seed"} for row in seeds]),
        "operating_point": _operating_point(cohort, chosen),
        "left_out_sources": _left_out(cohort, recipe, chosen),
        "lungs": _lungs(seen, chosen),
        "original_protocol": {
            "repetitions": len(repetitions),
            "images": images,
            "note": _ORIGINAL_NOTE,
            **repeated_summary(repetitions),
        }
        if repetitions
        else None,
        "three_way": {**coverage, "lower": chosen.three_way.lower, "upper": chosen.three_way.upper},
        "ensemble": _ensemble(ends, chosen.point.value, recipe),
    }


def _ensemble(ends: NDArray[np.float64], threshold: float, recipe: LungRecipe) -> dict[str, Any]:
    """How wide the spread of an ensemble is, and how often it holds the operating point: ends (n, 2), out of fold."""
    low, high = ends.T
    width = high - low
    return {
        "members": recipe.ensemble_members,
        "share": SHARE,
        "films": len(ends),
        "median_width": float(np.median(width)),
        "width_90th_percentile": float(np.quantile(width, 0.9)),
        "holds_operating_point": float(np.mean((low <= threshold) & (threshold <= high))),
    }


def _operating_point(cohort: Cohort, chosen: _Chosen) -> dict[str, Any]:
    """The operating point, and what choosing it on the other folds gives: free of the choice on the films it is judged on."""
    called = protocol.called_across(cohort.labels, chosen.probability, cohort.folds)
    across = _figures(cohort.table.assign(probability_covid=called.astype(float)), THRESHOLD)
    return {
        **asdict(chosen.point),
        "across_folds": {name: across[name] for name in ("sensitivity", "specificity", "balanced_accuracy")},
    }


def _left_out(cohort: Cohort, recipe: LungRecipe, chosen: _Chosen) -> dict[str, Any] | None:
    films = protocol.left_out_sources(cohort, recipe)
    if films.empty:
        return None
    films = films.assign(probability_covid=chosen.calibration.apply(films["probability_raw"]))
    found = _figures(films, chosen.point.value)
    names = ("within_source_auc", "sensitivity", "specificity")
    return {**{name: found[name] for name in names}, "sources": source_table(films)}


def _figures(films: pd.DataFrame, threshold: float) -> dict[str, Any]:
    """The metrics of some films at a threshold."""
    films = films.assign(part=OUT_OF_FOLD, probability_raw=films["probability_covid"])
    metrics: dict[str, Any] = evaluate(films, model="", threshold=threshold, part=OUT_OF_FOLD)["metrics"]
    return metrics


def _lungs(seen: _Seen, chosen: _Chosen) -> dict[str, Any]:
    covered, cohort = seen.masks.covered, seen.cohort
    table, labels = cohort.table[covered], cohort.labels[covered]
    seen_as = {
        "whole": chosen.raw[covered],
        **protocol.without_lungs(cohort, seen.trunk, seen.films, seen.masks, chosen.kernels),
    }
    return {
        "films": len(table),
        "patients": int(table["patientid"].nunique()),
        "n_covid": int(labels.sum()),
        "n_non_covid": int((~labels).sum()),
        **{name: paired_metrics(table.assign(probability_covid=raw)) for name, raw in seen_as.items()},
    }


def _manifest(materials: Materials, recipe: LungRecipe, seen: _Seen, chosen: _Chosen, kernel: Kernel) -> dict[str, Any]:
    further = seen.cohort.auxiliary
    return {
        "backbone": recipe.backbone().backbone,
        "stage": KERNEL_STAGE,
        "architecture": (
            f"frozen layers {', '.join(recipe.taps)}, seen as is and mirrored, a lung map, global average pooling over "
            f"the lungs and over the film, a support vector machine with a radial basis kernel "
            f"({len(kernel.coefficients)} vectors)"
        ),
        "preparation": recipe.preparation.to_json(),
        "threshold": {"value": chosen.point.value, "method": chosen.point.method},
        "calibration": chosen.calibration.to_json(),
        "three_way": chosen.three_way.to_json(),
        "starting_weights": starting_weights(recipe.backbone()),
        "training": {
            "recipe": recipe.to_json(),
            "dataset": {
                "split_sha256": sha256_of_file(materials.dataset / "split.csv"),
                "folds_sha256": sha256_of_file(materials.folds),
                "counts": _counts(seen.table),
                "lung_masks": int(seen.masks.covered.sum()),
                "auxiliary": None
                if further is None
                else {
                    "films": len(further.labels),
                    "covid": int(further.labels.sum()),
                    "sources": list(further.sources),
                    "copies_left_out": further.copies,
                },
            },
            "versions": runtime.package_versions(),
            "commit": runtime.source_commit(),
        },
    }


def _licences(auxiliary: Auxiliary | None) -> dict[str, str]:
    """Of what the recipe is trained on besides the dataset: what -> which licence."""
    sources = auxiliary.sources if auxiliary is not None else ()
    return {"lung masks": MASK_LICENCE, **{name: KNOWN_LICENCES.get(name, "not recorded") for name in sources}}


def _counts(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Images and patients of each class, as `covid_core.data.split.count_parts` gives them for a dataset in parts."""
    chosen = {label: table[table["label"] == label] for label in CLASSES}
    return [
        {"part": "all", "label": label, "images": len(films), "patients": int(films["patientid"].nunique())}
        for label, films in chosen.items()
    ]
