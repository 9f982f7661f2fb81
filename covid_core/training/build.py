"""The model that the app uses by default, from a run of `pretrain` to a bundle with all its figures.

    python -m covid_core pretrain --collections DATA --dataset dataset --weights FILE --out runs/chest
    python -m covid_core build --run runs/chest --dataset dataset --out models/mobilenetv2-chest

Read, see, judge what was left out, choose, measure, export: in this order below.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from covid_core.dataset.collections import LICENCES, SOURCES
from covid_core.dataset.folds import make_folds, read_folds, write_folds
from covid_core.dataset.lung_masks import LungMasks, read_lung_masks
from covid_core.dataset.prepare import read_split, split_image_paths
from covid_core.errors import TrainingError
from covid_core.evaluation.calibration import Calibration, fit_platt
from covid_core.evaluation.conformal import ThreeWay, fit_three_way
from covid_core.evaluation.evaluate import evaluate, source_table, three_way_block
from covid_core.evaluation.external import paired_metrics, repeated_summary
from covid_core.evaluation.hospitals import TYPICAL, called_block, hospital_block
from covid_core.evaluation.metadata_blocks import whom_blocks
from covid_core.evaluation.opacity_map import choose_threshold, opacity_map_block
from covid_core.evaluation.operating_point import OperatingPoint, choose_operating_point
from covid_core.evaluation.robustness import CHANGES, robustness_block
from covid_core.evaluation.shortcuts import pixel_free_baselines
from covid_core.evaluation.summary import OUT_OF_FOLD
from covid_core.files import read_json, sha256_of_file
from covid_core.images.decode import decode_file
from covid_core.images.preprocess import prepare
from covid_core.inference.bundle import CHEST_STAGE, Bundle, check_target, load_bundle
from covid_core.inference.prediction import RANGE_SHARE
from covid_core.labels import CLASSES, PREVALENCE, THRESHOLD
from covid_core.training import out_of_fold as protocol
from covid_core.training import runtime
from covid_core.training.backbones import starting_weights
from covid_core.training.chest_heads import Heads, build_reader, fit_lungs
from covid_core.training.chest_network import ChestNetwork
from covid_core.training.chest_recipe import COHORT, NETWORKS, ChestRecipe
from covid_core.training.export import predict_films
from covid_core.training.out_of_fold import Cohort
from covid_core.training.pretraining import ChestRun, load_network, open_run
from covid_core.training.workflows import (
    PREDICTION_COLUMNS,
    BundleContent,
    evaluate_bundle,
    read_external,
    write_bundle,
    write_predictions,
)

PARITY_FILMS = 100
LEAST_SPECIFICITY = 0.80
"""Left by the operating point; a second reader that cries wolf more often is not read."""
ROBUSTNESS_IMAGES = 60
"""Of each class and network that harmless changes are tried on."""
MASK_LICENCE = "annotations of the COVID-19 Image Data Collection; those of lungVAE are CC BY-SA"
MODEL_LICENCE = (
    "non-commercial research only, as the SIIM-FISABIO-RSNA images that the network learned from allow no more; the code is "
    "Apache-2.0"
)
_ORIGINAL_NOTE = (
    "The protocol of the system this one reimplements, for comparison only: PA and AP images split at random by image, so images "
    "of one patient stand on both sides and the figures are too good."
)
_FITTED_ON = (
    "out-of-fold predictions of the dataset and as many images of each class from hospital groups that no network judging "
    "them has seen"
)
_KINDS = {
    ("nih", "Normal"): "NIH, verified normal",
    ("nih", "No Finding"): "NIH, No Finding",
    ("nih", "Pneumonia"): "NIH, pneumonia",
    ("pakistan", "Normal"): "Pakistan, normal",
    ("pakistan", "Tuberculosis"): "Pakistan, tuberculosis",
    ("hannover", "COVID-19"): "Hannover, COVID-19",
    ("guangzhou", "No Finding"): "children, normal",
    ("guangzhou", "Pneumonia"): "children, pneumonia",
}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Materials:
    """Where everything is that a build reads.

    Attributes:
        run: a finished run of `pretrain`.
        dataset: the prepared dataset it was given.
        annotations: folder with the lung masks.
        folds: the folds; made, with seed 0, if the file is not there yet.
        weights: file of the backbone's weights; None where the recipe needs none.
        external: folders of labelled images that the finished model is tested on; nothing is chosen by them.
        collection: folder with the metadata.csv that the dataset was prepared from; None where it is not at hand.
        former: folder with `predictions.jsonl`, what `predict --json` printed of another model on the collections, and its
            `evaluation.json`, to compare with; None for none.
    """

    run: Path
    dataset: Path
    annotations: Path
    folds: Path
    weights: Path | None = None
    external: Sequence[Path] = field(default=())
    collection: Path | None = None
    former: Path | None = None


@dataclass(frozen=True)
class _LeftOut:
    """What networks make of images they never saw, all networks together.

    Attributes:
        table: one row an image, see `out_of_fold.judge_left_out`.
        opacities, boxes, lungs: maps of SIIM's images with boxes, float32 (m, h, w).
        groups: their patients, (m,).
        changed: name of a change -> P before calibration of the images of `changed_rows`.
        changed_rows: labels of the table whose images were changed.
    """

    table: pd.DataFrame
    opacities: NDArray[np.float32]
    boxes: NDArray[np.float32]
    lungs: NDArray[np.float32]
    groups: NDArray[np.str_]
    changed: dict[str, NDArray[np.float64]]
    changed_rows: NDArray[np.int64]


@dataclass(frozen=True)
class _Chosen:
    """What was chosen on predictions by models that never saw the image."""

    heads: dict[int, Heads]
    raw: NDArray[np.float64]
    calibration: Calibration
    point: OperatingPoint
    three_way: ThreeWay
    pattern: float
    opacity: float

    def probability(self, raw: Any) -> NDArray[np.float64]:
        """Calibrated."""
        return self.calibration.apply(np.asarray(raw, np.float64))


def build(materials: Materials, out: Path, say: Say) -> Bundle:
    """Fit the heads of a pretrained network, evaluate and export it.

    The predictions also go to `predictions.csv` of the run's folder, before anything further is measured.

    Args:
        materials: what it is made from.
        out: the bundle's folder; a former bundle there is replaced.
        say: called with a line for each step, as it begins.

    Raises:
        DatasetError: the dataset is not prepared, the folds do not fit, or masks are missing.
        TrainingError: the run is not finished or of another dataset, no image has a mask, the former model cannot be read, or
            LiteRT and Keras do not agree.
        BundleError: `out` holds something else.
    """
    started = time.monotonic()
    check_target(out)
    read_external(materials.external)
    former = None if materials.former is None else _read_former(materials.former / "predictions.jsonl")
    former_figures = None if materials.former is None else _former_figures(materials.former / "evaluation.json")
    run = open_run(materials.run)
    recipe = run.recipe
    state = runtime.configure(recipe.seed, recipe.threads, deterministic=False)
    table, masks = read_dataset(materials, run)
    network = load_network(run, NETWORKS[0], materials.weights)
    say("lung map")
    lungs, losses = fit_lung_map(run, network, masks)
    say(f"{len(run.images)} images as the network sees them")
    cohort = protocol.build_cohort(table, run, network, masks, lungs)
    left_out = _judge_left_out(run, masks, materials, say)
    say("cross-validation on the committed folds")
    chosen = _choose(cohort, left_out)
    predictions = table[[*PREDICTION_COLUMNS, "fold"]].assign(
        part=OUT_OF_FOLD, probability_raw=chosen.raw, probability_covid=chosen.probability(chosen.raw)
    )
    write_predictions(run.folder, predictions)  # kept whatever becomes of the extras
    evaluation = evaluate(
        predictions, model=out.name, threshold=chosen.point.value, part=OUT_OF_FOLD, prevalence=PREVALENCE
    )
    evaluation |= _measured(materials, cohort, network, masks, chosen, say=say)
    evaluation |= _measured_elsewhere(left_out, chosen, former)
    if former_figures is not None:
        evaluation["former"] = former_figures
    evaluation |= whom_blocks(predictions, evaluation, materials.dataset, materials.collection)
    say("heads on all images, and their ensemble")
    everyone = np.ones(len(table), np.bool_)
    reader = build_reader(network, lungs, cohort.heads(everyone), cohort.ensemble(everyone))
    manifest = _manifest(materials, run, cohort, masks, chosen)
    manifest["opacity_error"] = evaluation["opacity_map"]["share_error"]["value"]
    manifest["training"]["runtime"] = vars(state)
    manifest["training"]["stages"] = {CHEST_STAGE: {"seconds": round(time.monotonic() - started, 1)}}
    say("export")
    inputs = np.asarray(run.array("inputs")[: min(PARITY_FILMS, len(table))])
    history = pd.read_csv(run.folder / NETWORKS[0].name / "history.csv").assign(stage="pretraining")
    lung_history = pd.DataFrame({"stage": "lungs", "epoch": range(len(losses)), "loss": losses})
    bundle = write_bundle(
        out,
        BundleContent(
            model=reader,
            films=inputs,
            raw_by_keras=predict_films(reader, inputs),
            evaluation=evaluation,
            predictions=predictions,
            history=pd.concat([history, lung_history])
            .assign(epoch=lambda rows: rows["epoch"] + 1)
            .dropna(axis=1, how="all"),
            manifest=manifest,
            licences=_licences(run),
        ),
    )
    if not materials.external:
        return bundle
    say("external images, as they are served")
    evaluate_bundle(out, materials.external, materials.dataset, collection=materials.collection)
    return load_bundle(out)


def read_dataset(materials: Materials, run: ChestRun) -> tuple[pd.DataFrame, LungMasks]:
    """The table of the dataset with its folds, in the order of the run, and the lung masks."""
    if not materials.folds.exists():
        write_folds(make_folds(materials.dataset), materials.folds)
    table = read_split(materials.dataset).merge(
        read_folds(materials.folds, materials.dataset), on="filename", how="left", validate="one_to_one"
    )
    ours = run.images.loc[run.images["source"] == COHORT, "path"].map(lambda path: Path(path).name)
    if ours.tolist() != [path.name for path in split_image_paths(materials.dataset)]:
        raise TrainingError(f"{materials.run} was trained beside another dataset than {materials.dataset}.")
    masks = read_lung_masks(materials.annotations, table["filename"].tolist(), run.recipe.preparation.size)
    if not masks.covered.any():
        raise TrainingError(
            f"None of the masks in {materials.annotations} is named as one of the {len(table)} images. Name the "
            "annotations of this dataset."
        )
    for fold, covered in pd.Series(masks.covered).groupby(table["fold"].to_numpy()):
        if covered.sum() == masks.covered.sum():
            raise TrainingError(f"All images with a lung mask are in fold {fold}. Received: {masks}")
    return table, masks


def fit_lung_map(run: ChestRun, network: ChestNetwork, masks: LungMasks) -> tuple[keras.Model, list[float]]:
    """The lung map of a network, from every mask, and its losses."""
    cells, _ = protocol.cells_of_cohort(run, network)
    return fit_lungs(cells[masks.covered], masks.inside[masks.covered], run.recipe)


def _judge_left_out(run: ChestRun, masks: LungMasks, materials: Materials, say: Say) -> _LeftOut:
    """Judge each hospital group and collection by the network that never saw it, as it is and with harmless changes."""
    tables, opacities, lung_maps, changed, rows = [], [], [], [], []
    for left_out in NETWORKS[1:]:
        say(f"network {left_out.name}: what it never saw, and harmless changes of it")
        network = load_network(run, left_out, materials.weights)
        lungs, _ = fit_lung_map(run, network, masks)
        judged, heads = protocol.judge_left_out(run, left_out, network, lungs)
        tables.append(judged)
        opacities.append(judged.attrs.pop("opacities"))
        lung_maps.append(judged.attrs.pop("lungs"))
        few = _few_of_each(protocol.comparable(judged), run.recipe)
        reader = build_reader(network, lungs, heads, [])
        changed.append(_changed(few["path"].tolist(), reader, run.recipe))
        rows.append(few["row"].to_numpy(np.int64))
    table = pd.concat(tables)
    boxed = ((table["source"] == "siim") & (table["opacities"] != "")).to_numpy()
    boxes = np.asarray(run.array("opacities-plain")[table["row"].to_numpy()[boxed]], np.float32)
    return _LeftOut(
        table.reset_index(drop=True),
        np.concatenate(opacities)[boxed],
        boxes,
        np.concatenate(lung_maps)[boxed],
        table["group"].to_numpy(np.str_)[boxed],
        {name: np.concatenate([one[name] for one in changed]) for name in changed[0]},
        np.concatenate(rows),
    )


def _few_of_each(judged: pd.DataFrame, recipe: ChestRecipe) -> pd.DataFrame:
    parts = [
        part.sample(min(len(part), ROBUSTNESS_IMAGES), random_state=recipe.seed)
        for _, part in judged.groupby("appearance")
    ]
    return pd.concat(parts)


def _changed(paths: list[str], reader: keras.Model, recipe: ChestRecipe) -> dict[str, NDArray[np.float64]]:
    """P before calibration of images after each change; under the name '' as they are."""
    originals = [np.rint(decode_file(Path(path)) * 255).astype(np.uint8) for path in paths]
    inputs = []
    for change in (lambda image, _: image, *CHANGES.values()):
        rng = np.random.default_rng(recipe.seed)
        shown = ((change(image, rng) / np.float32(255)).astype(np.float32) for image in originals)
        inputs += [prepare(image, recipe.preparation) for image in shown]
    raw = predict_films(reader, np.stack(inputs)).reshape(-1, len(originals))
    return dict(zip(("", *CHANGES), raw, strict=True))


def _choose(cohort: Cohort, left_out: _LeftOut) -> _Chosen:
    """Calibration, operating point and three-way decision, on the dataset and on left-out hospitals alike."""
    raw, heads = protocol.out_of_fold(cohort, cohort.folds)
    judged = protocol.comparable(left_out.table)
    values, labels = protocol.choosing_sample(raw, cohort.labels, judged, cohort.run.recipe.seed)
    calibration = fit_platt(values, labels, prevalence=PREVALENCE, fitted_on=_FITTED_ON)
    probability = calibration.apply(values)
    point = choose_operating_point(labels, probability, least_specificity=LEAST_SPECIFICITY)
    three_way = fit_three_way(labels, probability, fitted_on=_FITTED_ON).holding(point.value)
    read = left_out.table[left_out.table["appearance"] != ""]
    pattern = choose_operating_point(read["appearance"] != "negative", read["pattern_raw"])
    return _Chosen(
        heads, raw, calibration, point, three_way, pattern.value, choose_threshold(left_out.opacities, left_out.boxes)
    )


def _measured(
    materials: Materials, cohort: Cohort, network: ChestNetwork, masks: LungMasks, chosen: _Chosen, *, say: Say
) -> dict[str, Any]:
    """What the protocol adds to the evaluation of the dataset."""
    table = cohort.table
    say(f"{len(protocol.SEEDS)} repetitions, publishers left out, the original protocol")
    seeds = protocol.repeated_folds(cohort, chosen.calibration, chosen.point.value)
    images, repetitions = protocol.original_protocol(cohort)
    probability = chosen.probability(chosen.raw)
    say("ensembles on other draws of the patients")
    ends = protocol.spreads(cohort, chosen.calibration, RANGE_SHARE)
    say("images without lungs, and lungs alone")
    return {
        "baselines": pixel_free_baselines(materials.dataset, table[["filename", "fold"]]),
        "seeds": seeds,
        "seed_means": repeated_summary([{k: v for k, v in row.items() if k != "seed"} for row in seeds]),
        "operating_point": _operating_point(cohort, chosen),
        "left_out_sources": _left_out_sources(cohort, chosen),
        "lungs": _without_lungs(cohort, network, masks, chosen),
        "original_protocol": {
            "repetitions": len(repetitions),
            "images": images,
            "note": _ORIGINAL_NOTE,
            **repeated_summary(repetitions),
        }
        if repetitions
        else None,
        "three_way": three_way_block(table.assign(probability_covid=probability), chosen.three_way),
        "ensemble": _ensemble(ends, chosen.point.value, cohort.run.recipe),
    }


def _measured_elsewhere(left_out: _LeftOut, chosen: _Chosen, former: pd.DataFrame | None) -> dict[str, Any]:
    """Figures on what the network never saw, and those of a former model beside them."""
    judged = protocol.comparable(left_out.table)
    judged = judged.assign(
        probability_covid=chosen.probability(judged["probability_raw"]), file=judged["path"].map(_name_of)
    )
    kinds = left_out.table[left_out.table["source"] != "siim"]
    kinds = kinds.assign(
        kind=[_KINDS.get(key, ", ".join(key)) for key in zip(kinds["source"], kinds["finding"], strict=True)],
        file=kinds["path"].map(_name_of),
        probability_covid=chosen.probability(kinds["probability_raw"]),
    )
    if former is not None:
        judged, kinds = judged.join(former, on="file"), kinds.join(former, on="file")
    truth = left_out.table.set_index("row").loc[left_out.changed_rows, "appearance"] == TYPICAL
    changed = {name: chosen.probability(raw) for name, raw in left_out.changed.items()}
    return {
        "hospitals": hospital_block(judged, chosen.point.value),
        "strangers": called_block(kinds, chosen.point.value),
        "robustness": robustness_block(truth.to_numpy(), changed.pop(""), changed, chosen.point.value),
        "opacity_map": opacity_map_block(
            left_out.opacities, left_out.boxes, left_out.lungs, left_out.groups, chosen.opacity
        ),
    }


def _name_of(path: str) -> str:
    return Path(path).name


def _former_figures(path: Path) -> dict[str, Any]:
    """What an evaluation of another model, of whatever version, says of the dataset and of external images."""
    found = read_json(path, TrainingError)
    try:
        return {
            "model": found["model"],
            "roc_auc": found["metrics"]["roc_auc"],
            "within_source_auc": found["metrics"]["within_source_auc"],
            "ece": found["metrics"]["ece"],
            "left_out_sources": found["left_out_sources"]["within_source_auc"],
            "external": {name: block["by_finding"] for name, block in found["external"].items()},
        }
    except (KeyError, TypeError) as cause:
        raise TrainingError(f"{path} is no evaluation of a model to compare with: {cause!r} is missing.") from cause


def _read_former(path: Path) -> pd.DataFrame:
    """What `predict --json` printed: `former` and `former_threshold` by the name of the file."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        rows = [
            (_name_of(one["file"]), one["probability_covid"], one["threshold"])
            for one in lines
            if one["status"] == "ok"
        ]
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise TrainingError(f"{path} does not hold what `predict --json` prints: {cause!r}.") from cause
    return pd.DataFrame(rows, columns=["file", "former", "former_threshold"]).set_index("file")


def _ensemble(ends: NDArray[np.float64], threshold: float, recipe: ChestRecipe) -> dict[str, Any]:
    """How wide the range of an ensemble is, and how often it holds the operating point: ends (n, 2), out of fold."""
    low, high = ends.T
    width = high - low
    return {
        "members": recipe.members,
        "share": RANGE_SHARE,
        "films": len(ends),
        "median_width": float(np.median(width)),
        "width_90th_percentile": float(np.quantile(width, 0.9)),
        "holds_operating_point": float(np.mean((low <= threshold) & (threshold <= high))),
    }


def _operating_point(cohort: Cohort, chosen: _Chosen) -> dict[str, Any]:
    """The operating point, and what choosing it on the other folds gives: free of the choice on the images it is judged on."""
    called = protocol.called_across(cohort.labels, chosen.probability(chosen.raw), cohort.folds)
    across = _figures(cohort.table.assign(probability_covid=called.astype(float)), THRESHOLD)
    return {
        **asdict(chosen.point),
        "across_folds": {name: across[name] for name in ("sensitivity", "specificity", "balanced_accuracy")},
    }


def _left_out_sources(cohort: Cohort, chosen: _Chosen) -> dict[str, Any] | None:
    films = protocol.left_out_sources(cohort)
    if films.empty:
        return None
    films = films.assign(probability_covid=chosen.probability(films["probability_raw"]))
    found = _figures(films.drop(columns="fold"), chosen.point.value)
    names = ("within_source_auc", "sensitivity", "specificity")
    return {**{name: found[name] for name in names}, "sources": source_table(films.drop(columns="fold"))}


def _figures(films: pd.DataFrame, threshold: float) -> dict[str, Any]:
    """The metrics of some images at a threshold."""
    films = films.assign(part=OUT_OF_FOLD, probability_raw=films["probability_covid"])
    metrics: dict[str, Any] = evaluate(films, model="", threshold=threshold, part=OUT_OF_FOLD)["metrics"]
    return metrics


def _without_lungs(cohort: Cohort, network: ChestNetwork, masks: LungMasks, chosen: _Chosen) -> dict[str, Any]:
    covered = masks.covered
    table, labels = cohort.table[covered], cohort.labels[covered]
    inputs = np.asarray(cohort.run.array("inputs")[: len(cohort.table)])
    seen_as = {
        "whole": chosen.raw[covered],
        **protocol.without_lungs(cohort, network, inputs, masks, chosen.heads),
    }
    return {
        "films": len(table),
        "patients": int(table["patientid"].nunique()),
        "n_covid": int(labels.sum()),
        "n_non_covid": int((~labels).sum()),
        **{name: paired_metrics(table.assign(probability_covid=raw)) for name, raw in seen_as.items()},
    }


def _manifest(materials: Materials, run: ChestRun, cohort: Cohort, masks: LungMasks, chosen: _Chosen) -> dict[str, Any]:
    recipe = run.recipe
    collections = run.images[run.images["source"] != COHORT]
    return {
        "backbone": recipe.backbone().backbone,
        "stage": CHEST_STAGE,
        "architecture": (
            "blocks 0 to 5 frozen, 6 to 16 trained on chest radiographs, seen as is and mirrored, a lung map, global average "
            "pooling of three middle layers over the lungs and over the image, two linear questions whose product is P(covid)"
        ),
        "preparation": recipe.preparation.to_json(),
        "threshold": {"value": chosen.point.value, "method": chosen.point.method},
        "pattern_threshold": chosen.pattern,
        "opacity_threshold": chosen.opacity,
        "calibration": chosen.calibration.to_json(),
        "three_way": chosen.three_way.to_json(),
        "starting_weights": starting_weights(recipe.backbone()),
        "training": {
            "recipe": recipe.to_json(),
            "dataset": {
                "split_sha256": sha256_of_file(materials.dataset / "split.csv"),
                "folds_sha256": sha256_of_file(materials.folds),
                "counts": _counts(cohort.table),
                "lung_masks": int(masks.covered.sum()),
                "collections": [
                    {"source": SOURCES[str(source)], "images": len(rows), "groups": int(rows["group"].nunique())}
                    for source, rows in collections.groupby("source")
                ],
            },
            "networks": [asdict(one) | {"images": int(run.seen_by(one).sum())} for one in NETWORKS],
            "versions": runtime.package_versions(),
            "commit": runtime.source_commit(),
        },
    }


def _licences(run: ChestRun) -> dict[str, str]:
    """Of what the recipe is trained on besides the dataset: what -> which licence."""
    used = sorted(set(run.images["source"].astype(str)) - {COHORT})
    return {
        "model": MODEL_LICENCE,
        "lung masks": MASK_LICENCE,
        **{SOURCES[source]: LICENCES[source] for source in used},
    }


def _counts(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Images and patients of each class, as `covid_core.dataset.split.count_parts` gives them for a dataset in parts."""
    chosen = {label: table[table["label"] == label] for label in CLASSES}
    return [
        {"part": "all", "label": label, "images": len(films), "patients": int(films["patientid"].nunique())}
        for label, films in chosen.items()
    ]
