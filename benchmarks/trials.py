"""The search that led to the reader that looks at the lungs: every trial, measured alike. Needs the training environment.

python -m covid_core prepare --dataset data/covid-chestxray-dataset --out dataset
python benchmarks/trials.py --dataset dataset --weights FILE --annotations DIR [--auxiliary DIR --external DIR...]

Each trial is a cross-validation on the committed folds and on two more patient-grouped assignments, calibrated as the shipped
model is; `seconds` are those of its fits, the trunk having run. The lung map of a film comes from a model that saw no mask of its
committed fold, but for the one trial that is about this. Writes docs/experiments/trials.json, from which docs/EXPERIMENTS.md gets
its tables.

A trial is a line of `TRIALS` or `AUXILIARY_TRIALS`: what it changes in `Setting`. This module does not know how a film is pooled
or a kernel machine fitted (`covid_core.training.lung_reader`), nor how it is judged (`covid_core.lung_protocol`).
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from covid_core.training import runtime  # noqa: E402  (its room sets what TensorFlow reads from the environment: first)

# isort: split
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from covid_core import lung_protocol as protocol  # noqa: E402
from covid_core.build import auxiliary_films  # noqa: E402
from covid_core.data.folds import read_folds  # noqa: E402
from covid_core.data.lungs import LungMasks, read_lung_masks  # noqa: E402
from covid_core.data.prepare import read_split, split_image_path  # noqa: E402
from covid_core.data.split import assign_folds  # noqa: E402
from covid_core.evaluation import metrics  # noqa: E402
from covid_core.evaluation.intervals import wilson  # noqa: E402
from covid_core.evaluation.logistic import logistic, logit  # noqa: E402
from covid_core.evaluation.protocols import paired_metrics, repeated_summary  # noqa: E402
from covid_core.evaluation.report import source_table  # noqa: E402
from covid_core.images.preparation import Preparation, prepare_files  # noqa: E402
from covid_core.labels import CLASSES, COVID, NON_COVID  # noqa: E402
from covid_core.lung_protocol import Auxiliary, Bools, Cohort, Floats  # noqa: E402
from covid_core.storage import write_json  # noqa: E402
from covid_core.training.lung_reader import (  # noqa: E402
    Cells,
    LungRecipe,
    build_trunk,
    cells_of,
    fit_lungs,
    lung_map,
    pool,
)
from covid_core.training.recipe import named_weights  # noqa: E402

RESULT = PROJECT / "docs" / "experiments" / "trials.json"
RESAMPLES = 1000
LEFT_OUT = ("radiopaedia.org", "www.eurorad.org")
NORMAL = "No Finding"
WANTED_SENSITIVITY = 0.8
"""Of the out-of-fold covid films, at the threshold that the specificity on auxiliary films is given for."""
KEPT = LungRecipe()
LAST_LAYER = "out_relu"
WIDTHS = (64, 96, 576)
"""Channels of `KEPT.taps`."""

Blocks = dict[tuple[str, str], NDArray[np.float32]]
"""(layer, where its cells were averaged) -> the averages, float32 (n, c)."""


@dataclass(frozen=True)
class Setting:
    """What a trial may change; the defaults are what is kept, without auxiliary films.

    Attributes:
        preparations: of the films; with several, the mean of the standardised scores of as many models.
        layers: whose cells are averaged.
        over: where: the `film`, the `lungs`, their `upper` and `lower` part, the `lungs, own mask seen`.
        cost: C of the support vector machine.
        logistic: C of a logistic regression instead; None for the support vector machine.
        weight: what an auxiliary film counts; 0 for none.
        auxiliary: the classes of the auxiliary films that are fitted on.
    """

    preparations: tuple[Preparation, ...] = (KEPT.preparation,)
    layers: tuple[str, ...] = KEPT.taps
    over: tuple[str, ...] = ("lungs", "film")
    cost: float = KEPT.cost
    logistic: float | None = None
    weight: float = 0.0
    auxiliary: tuple[str, ...] = CLASSES


@dataclass(frozen=True)
class Trial:
    """One line of a table: its group, its name there, what was done, and whether the shipped model does it."""

    group: str
    name: str
    what: str
    setting: Setting = field(default_factory=Setting)
    kept: bool = False


def _sized(*sides: int, border_crop: float = 0.0) -> Setting:
    return Setting(tuple(replace(KEPT.preparation, size=side, border_crop=border_crop) for side in sides))


_WHERE, _HEAD, _FILM, _MAP = "where to look", "head", "preparation", "lung map"
_FURTHER = "auxiliary films"
_B9, _B12, _B13 = ((layer,) for layer in KEPT.taps)
_SVM, _LOGISTIC = "support vector machine, C =", "logistic regression, C ="
_RBF, _BALANCED = "radial basis kernel, gamma 1 / features", "standardised, classes balanced"

TRIALS = (
    Trial(
        _WHERE, "last layer, film", f"{LAST_LAYER}, mean over the film", Setting(layers=(LAST_LAYER,), over=("film",))
    ),
    Trial(_WHERE, "block 13, film", "block_13_expand_relu, mean over the film", Setting(layers=_B13, over=("film",))),
    Trial(_WHERE, "block 12, film", "block_12_add, mean over the film", Setting(layers=_B12, over=("film",))),
    Trial(_WHERE, "block 9, film", "block_9_add, mean over the film", Setting(layers=_B9, over=("film",))),
    Trial(
        _WHERE, "block 13, lungs", "block_13_expand_relu, mean over the lungs", Setting(layers=_B13, over=("lungs",))
    ),
    Trial(_WHERE, "block 13, lungs and film", "block_13_expand_relu, both means", Setting(layers=_B13)),
    Trial(_WHERE, "all three, film", "the three layers, mean over the film", Setting(over=("film",))),
    Trial(_WHERE, "all three, lungs", "the three layers, mean over the lungs", Setting(over=("lungs",))),
    Trial(_WHERE, "all three, lungs and film", "the three layers, both means", kept=True),
    Trial(
        _WHERE,
        "all three, halves of the lungs and film",
        "means over the lungs above their centre, below it, and over the film",
        Setting(over=("upper", "lower", "film")),
    ),
    Trial(_HEAD, f"{_SVM} 0.3", _RBF, Setting(cost=0.3)),
    Trial(_HEAD, f"{_SVM} 1", _RBF, Setting(cost=1.0)),
    Trial(_HEAD, f"{_SVM} 3", _RBF, kept=True),
    Trial(_HEAD, f"{_SVM} 10", _RBF, Setting(cost=10.0)),
    Trial(_HEAD, f"{_LOGISTIC} 0.01", _BALANCED, Setting(logistic=0.01)),
    Trial(_HEAD, f"{_LOGISTIC} 0.001", _BALANCED, Setting(logistic=0.001)),
    Trial(_FILM, "192 pixels", "side of the input", _sized(192)),
    Trial(_FILM, "224 pixels", "side of the input", kept=True),
    Trial(_FILM, "256 pixels", "side of the input", _sized(256)),
    Trial(_FILM, "288 pixels", "side of the input", _sized(288)),
    Trial(_FILM, "320 pixels", "side of the input", _sized(320)),
    Trial(_FILM, "224 pixels, borders cut off", "6% at each side", _sized(224, border_crop=0.06)),
    Trial(_FILM, "192 and 288 pixels", "mean of the standardised scores of two models", _sized(192, 288)),
    Trial(_FILM, "192, 224 and 288 pixels", "mean of the standardised scores of three models", _sized(192, 224, 288)),
    Trial(_MAP, "from masks of the other folds", "the map of a film saw no mask of its fold", kept=True),
    Trial(_MAP, "from all masks", "the film's own mask too: a leak", Setting(over=("lungs, own mask seen", "film"))),
)
AUXILIARY_TRIALS = (
    Trial(_FURTHER, "none", "films of the dataset alone"),
    Trial(_FURTHER, "weight 0.01", "both classes; a film of the dataset counts 1", Setting(weight=0.01)),
    Trial(_FURTHER, "weight 0.03", "both classes", Setting(weight=0.03), kept=True),
    Trial(_FURTHER, "weight 0.1", "both classes", Setting(weight=0.1)),
    Trial(_FURTHER, "weight 0.3", "both classes", Setting(weight=0.3)),
    Trial(_FURTHER, "weight 0.03, non_covid alone", "no covid films", Setting(weight=0.03, auxiliary=(NON_COVID,))),
)


@dataclass(frozen=True)
class Seen:
    """What the trunk made of the films.

    Attributes:
        table: rows of `split.csv` with `fold`.
        blocks: of these films, for each preparation.
        further: rows of the auxiliary `labels.csv`; empty without such films.
        further_blocks: of the auxiliary films, prepared as is kept.
    """

    table: pd.DataFrame
    blocks: dict[Preparation, Blocks]
    further: pd.DataFrame
    further_blocks: Blocks

    def cohort(self, setting: Setting, preparation: Preparation, *, further: Bools | bool = True) -> Cohort:
        """The films as a trial wants them, with its auxiliary films; `further` leaves some of these out."""
        labels, auxiliary = (self.table["label"] == COVID).to_numpy(), None
        if setting.weight:
            chosen = self.further["label"].isin(setting.auxiliary).to_numpy() & further
            pooled = selected(self.further_blocks, setting)
            auxiliary = Auxiliary(pooled[chosen], (self.further["label"] == COVID).to_numpy()[chosen])
        return Cohort(self.table, labels, selected(self.blocks[preparation], setting), {}, auxiliary)


def selected(blocks: Blocks, setting: Setting) -> NDArray[np.float32]:
    """The layers and places that a trial wants, of all that were averaged: float32 (n, c)."""
    return np.concatenate([blocks[layer, place] for place in setting.over for layer in setting.layers], axis=1)


def see(options: argparse.Namespace, recipe: LungRecipe, weights_file: Path | None) -> Seen:
    """Run the trunk over every film in every preparation that a trial asks for, and average its cells."""
    table = read_split(options.dataset).merge(
        read_folds(options.folds, options.dataset), on="filename", how="left", validate="one_to_one"
    )
    paths = [split_image_path(options.dataset, row) for _, row in table.iterrows()]

    def cells(how: LungRecipe, files: Sequence[Path]) -> Cells:
        say(f"trunk over {len(files)} films, {how.preparation}")
        return cells_of(build_trunk(how, weights_file), prepare_files(files, how.preparation))

    blocks = {}
    for preparation in {one: None for trial in TRIALS for one in trial.setting.preparations}:
        how = replace(recipe, preparation=preparation)
        masks, found = masks_seen(options.annotations, table, preparation), cells(how, paths)
        cohort = protocol.build_cohort(table, found, masks, how, None)
        blocks[preparation] = in_blocks(cohort.pooled, "lungs")
        if preparation == KEPT.preparation:
            lungs, _ = fit_lungs(found[masks.covered], masks.inside[masks.covered], how)
            blocks[preparation] |= in_blocks(pool(found, lung_map(lungs, found)), "lungs, own mask seen")
            blocks[preparation] |= halves(cohort, found)
    last = cells(replace(recipe, taps=(LAST_LAYER,)), paths)
    blocks[KEPT.preparation][LAST_LAYER, "film"] = last.mean(axis=(1, 2), dtype=np.float32)
    if options.auxiliary is None:
        return Seen(table, blocks, pd.DataFrame({"label": []}), {})
    folder = auxiliary_films(options.dataset, options.auxiliary, options.external)
    further = cells(recipe, folder.paths)
    return Seen(table, blocks, folder.table, in_blocks(pool(further, lung_map(lungs, further)), "lungs"))


def masks_seen(annotations: Path, table: pd.DataFrame, preparation: Preparation) -> LungMasks:
    """The lung masks as the model sees the films: where borders are cut off, so are those of the masks."""
    side = preparation.size
    masks = read_lung_masks(annotations, table["filename"].tolist(), side)
    left, _, right, _ = preparation.crop_box(side, side)  # of a square, top and bottom are alike
    shown = (left + (np.arange(side) + 0.5) * (right - left) / side).astype(int)
    return replace(masks, inside=masks.inside[:, shown[:, None], shown])


def in_blocks(pooled: NDArray[np.float32], place: str) -> Blocks:
    """Films pooled from `KEPT.taps` by `pool`, float32 (n, 2c), as blocks of a place and of the film."""
    parts = np.split(pooled, np.cumsum(WIDTHS * 2)[:-1], axis=1)
    return dict(zip([(layer, where) for where in (place, "film") for layer in KEPT.taps], parts, strict=True))


def halves(cohort: Cohort, cells: Cells) -> Blocks:
    """Averages over the lungs above their centre of mass and below it."""
    maps = np.empty((*cells.shape[:3], 1), np.float32)
    for fold, lungs in cohort.lungs.items():
        maps[cohort.folds == fold] = lung_map(lungs, cells[cohort.folds == fold])
    rows = np.arange(cells.shape[1], dtype=np.float32)[:, None, None]
    centre = (maps * rows).sum(axis=(1, 2, 3), keepdims=True) / maps.sum(axis=(1, 2, 3), keepdims=True)
    return in_blocks(pool(cells, maps * (rows < centre)), "upper") | in_blocks(
        pool(cells, maps * (rows >= centre)), "lower"
    )


def measured(seen: Seen, setting: Setting, recipe: LungRecipe) -> dict[str, Any]:
    """Cross-validate a setting with each seed: its figures as `trials.json` holds them."""
    cohorts = [seen.cohort(setting, preparation) for preparation in setting.preparations]
    labels, sources = cohorts[0].labels, seen.table["source"].fillna("").to_numpy(np.str_)
    even, rows, found = np.ones((1, len(labels))), [], {}
    for seed in protocol.SEEDS:
        folds = cohorts[0].folds
        if seed:
            folds = np.asarray(assign_folds(seen.table, len(np.unique(folds)), seed), np.int64)
        raw = averaged([out_of_fold(cohort, folds, setting, recipe) for cohort in cohorts])
        probability = protocol.calibrated_across(raw, labels, folds)
        within = metrics.weighted_within_source_auc(labels, probability, sources, even)
        rows.append({"roc_auc": metrics.roc_auc(labels, probability), "within_source_auc": float(within[0])})
        if seed == protocol.SEEDS[0]:
            found = paired_metrics(seen.table.assign(probability_covid=probability), n_resamples=RESAMPLES)
    return {**found, "seed_means": repeated_summary(rows)}


def out_of_fold(cohort: Cohort, folds: NDArray[np.int64], setting: Setting, recipe: LungRecipe) -> Floats:
    """Every film judged by a model that never saw its fold: P before calibration (n,)."""
    if setting.logistic is None:
        return protocol.out_of_fold(cohort, folds, recipe)[0]
    raw = np.empty(len(folds))
    for fold in np.unique(folds):
        held_out = folds == fold
        head = LogisticRegression(C=setting.logistic, class_weight="balanced", max_iter=1000)
        model = make_pipeline(StandardScaler(), head).fit(cohort.pooled[~held_out], cohort.labels[~held_out])
        raw[held_out] = model.predict_proba(cohort.pooled[held_out])[:, 1]
    return raw


def averaged(raw: Sequence[Floats]) -> Floats:
    """The mean of the standardised scores of several models, as P; of one model, its P as it is."""
    if len(raw) == 1:
        return raw[0]
    scores = logit(np.array(raw))
    return logistic(((scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True)).mean(axis=0))


def with_auxiliary(seen: Seen, setting: Setting, recipe: LungRecipe) -> dict[str, Any]:
    """What auxiliary films change beside the dataset's own figures: on sources never seen, and on normal films never seen.

    `auxiliary_specificity` is that on auxiliary films without finding, of a random half that is left out of the fit, where the
    other half counts twice as much; judged by the mean of the folds' models, at the threshold that finds `WANTED_SENSITIVITY` of
    the out-of-fold covid films. Both halves come from the same source, so it is no test on a new one.
    """
    cohort = seen.cohort(setting, KEPT.preparation)
    left_out = protocol.left_out_sources(cohort, recipe)
    sources = source_table(left_out.assign(probability_covid=left_out["probability_raw"]), n_resamples=RESAMPLES)
    shown = np.random.default_rng(0).random(len(seen.further)) < 0.5  # noqa: PLR2004
    half = seen.cohort(setting, KEPT.preparation, further=shown)
    raw, kernels = protocol.out_of_fold(half, half.folds, replace(recipe, auxiliary_weight=2 * setting.weight))
    threshold = float(np.quantile(raw[half.labels], 1 - WANTED_SENSITIVITY))
    normal = selected(seen.further_blocks, setting)[~shown & (seen.further["finding"] == NORMAL).to_numpy()]
    judged = np.mean([kernel.predict(normal) for kernel in kernels.values()], axis=0)
    spared = int((~metrics.is_called(judged, threshold)).sum())
    return {
        "left_out_sources": {row["source"]: row["roc_auc"] for row in sources if row["source"] in LEFT_OUT},
        "auxiliary_specificity": wilson(spared, len(judged)).to_json(),
    }


def say(line: str) -> None:
    """Tell the terminal what is going on."""
    print(f"[{time.perf_counter() - _STARTED:4.0f} s] {line}", file=sys.stderr, flush=True)


def main() -> None:
    """Run every trial and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=PROJECT / "dataset", help="a folder written by `prepare`")
    parser.add_argument("--folds", type=Path, default=PROJECT / "models" / "folds.csv", help="those of the first seed")
    parser.add_argument("--weights", default="imagenet", help="of the trunk: FILE, none or imagenet")
    parser.add_argument("--annotations", type=Path, required=True, help="folder with the lung masks")
    parser.add_argument("--external", type=Path, nargs="*", default=(), help="copies of these are no auxiliary films")
    parser.add_argument("--auxiliary", type=Path, default=None, help="labels.csv and images/; without, no such trials")
    options = parser.parse_args()
    weights, sha256, weights_file = named_weights(options.weights)
    kept = replace(KEPT, weights=weights, weights_sha256=sha256)
    runtime.configure(kept.seed, kept.threads)
    seen = see(options, kept, weights_file)
    done: dict[Setting, dict[str, Any]] = {}
    rows = []
    for trial in (*TRIALS, *(AUXILIARY_TRIALS if options.auxiliary else ())):
        setting = trial.setting
        recipe = replace(kept, cost=setting.cost, auxiliary_weight=setting.weight)
        started = time.perf_counter()
        if setting not in done:
            done[setting] = measured(seen, setting, recipe)
            done[setting]["seconds"] = round(time.perf_counter() - started, 1)
        further = with_auxiliary(seen, setting, recipe) if trial.group == _FURTHER else {}
        row = {"group": trial.group, "name": trial.name, "what": trial.what, "kept": trial.kept}
        rows.append({**row, **done[setting], **further})
        means = {name: round(spread["mean"], 4) for name, spread in done[setting]["seed_means"].items()}
        say(f"{trial.group}: {trial.name}: {means}")
    write_json(RESULT, {**circumstances(seen, weights), "trials": rows})


def circumstances(seen: Seen, weights: str) -> dict[str, Any]:
    """What all trials have in common."""
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": runtime.package_versions(),
        "weights": weights,
        "images": len(seen.table),
        "patients": int(seen.table["patientid"].nunique()),
        "auxiliary_images": len(seen.further),
        "folds": int(seen.table["fold"].nunique()),
        "seeds": list(protocol.SEEDS),
        "resamples": RESAMPLES,
        "seconds": round(time.perf_counter() - _STARTED),
    }


_STARTED = time.perf_counter()

if __name__ == "__main__":
    main()
