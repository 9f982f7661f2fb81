"""The evaluation protocol of the reader that looks at the lungs: who is judged by which model, never by one that saw them.

The trunk is frozen and runs once for each film; what is fitted behind it is fitted anew wherever films are held out. The lung map
of a film comes from a model that saw the mask of no film of its fold: most masks belong to covid films, and a map that were
sharper where a mask was seen would give the label away.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from covid_core.data.lungs import LungMasks
from covid_core.data.split import assign_folds
from covid_core.evaluation import metrics
from covid_core.evaluation.calibration import Calibration, fit_platt
from covid_core.evaluation.operating_point import choose_operating_point
from covid_core.evaluation.report import MIN_SOURCE_FILMS
from covid_core.inference.ensemble import Ensemble, spread_of
from covid_core.inference.explanation import KernelHead
from covid_core.kernel import EnsembleArrays
from covid_core.labels import CLASSES, COVID
from covid_core.training.lung_reader import (
    Cells,
    Kernel,
    LungRecipe,
    cells_of,
    fit_ensemble,
    fit_kernel,
    fit_lungs,
    lung_map,
    pool,
)
from covid_core.workflows import PREVALENCE, THRESHOLD

SEEDS = (0, 1, 2)
"""Of the folds; 0 are the committed ones."""
REPETITIONS = 20
_ORIGINAL_VIEWS = ("PA", "AP")
_LEAST_TO_SPLIT = 10

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Auxiliary:
    """Pooled films from elsewhere that every model is fitted on too, at a small weight.

    Attributes:
        pooled: float32 (m, c).
        labels: bool (m,), true for covid.
        sources: the collections they come from.
        copies: how many were left out as copies of films that are judged.
    """

    pooled: NDArray[np.float32]
    labels: Bools
    sources: tuple[str, ...] = ()
    copies: int = 0


@dataclass(frozen=True)
class Cohort:
    """The films of a prepared dataset as the models behind the trunk see them.

    Attributes:
        table: rows of `split.csv`, with `fold` of the committed folds.
        labels: bool (n,), true for covid.
        pooled: float32 (n, c), with lung maps of models that saw no mask of the film's fold.
        lungs: fold -> the lung model of that fold.
        auxiliary: what is fitted on besides; None for nothing.
    """

    table: pd.DataFrame
    labels: Bools
    pooled: NDArray[np.float32]
    lungs: dict[int, keras.Model]
    auxiliary: Auxiliary | None

    @property
    def folds(self) -> NDArray[np.int64]:
        """The committed fold of each film, (n,)."""
        return self.table["fold"].to_numpy(np.int64)


def build_cohort(
    table: pd.DataFrame, cells: Cells, masks: LungMasks, recipe: LungRecipe, auxiliary: Auxiliary | None
) -> Cohort:
    """Fit a lung model for each fold on the masks outside of it, and pool every film by that of its own fold.

    Args:
        table: rows of `split.csv` with `fold`.
        cells: of the films, row by row.
        masks: likewise.
        recipe: how the lung models are trained.
        auxiliary: goes along.
    """
    folds = table["fold"].to_numpy(np.int64)
    pooled: list[NDArray[np.float32]] = []
    lungs = {}
    rows = []
    for fold in np.unique(folds):
        known = masks.covered & (folds != fold)
        lungs[int(fold)], _ = fit_lungs(cells[known], masks.inside[known], recipe)
        held_out = np.flatnonzero(folds == fold)
        pooled.append(pool(cells[held_out], lung_map(lungs[int(fold)], cells[held_out])))
        rows.append(held_out)
    in_order = np.argsort(np.concatenate(rows))
    return Cohort(table, (table["label"] == COVID).to_numpy(), np.concatenate(pooled)[in_order], lungs, auxiliary)


def fit_on(cohort: Cohort, rows: Bools, recipe: LungRecipe) -> Kernel:
    """Fit the kernel machine on some films of the cohort, bool (n,), and on the auxiliary ones."""
    pooled, labels, auxiliary = _with_auxiliary(cohort, rows)
    return fit_kernel(pooled, labels, recipe, auxiliary=auxiliary)


def ensemble_on(cohort: Cohort, rows: Bools, recipe: LungRecipe) -> EnsembleArrays:
    """Fit the ensemble on the films that `fit_on` takes; each auxiliary film counts as a patient of its own."""
    pooled, labels, auxiliary = _with_auxiliary(cohort, rows)
    alone = [f"auxiliary {index}" for index in range(int(auxiliary.sum()))]
    groups = np.concatenate([cohort.table.loc[rows, "group"].astype(str), alone])
    return fit_ensemble(pooled, labels, groups, recipe, auxiliary=auxiliary)


def _with_auxiliary(cohort: Cohort, rows: Bools) -> tuple[NDArray[np.float32], Bools, Bools]:
    """Some films of the cohort and then all auxiliary ones: pooled (k, c), labels (k,), and which are auxiliary (k,)."""
    pooled, labels, further = cohort.pooled[rows], cohort.labels[rows], cohort.auxiliary
    if further is None:
        return pooled, labels, np.zeros(len(labels), np.bool_)
    return (
        np.concatenate([pooled, further.pooled]),
        np.concatenate([labels, further.labels]),
        np.arange(len(labels) + len(further.labels)) >= len(labels),
    )


def spreads(cohort: Cohort, kernels: dict[int, Kernel], recipe: LungRecipe, calibration: Calibration) -> Floats:
    """How far an ensemble disagrees on films that none of its members saw: lower and upper ends, calibrated, (n, 2)."""
    ends = np.empty((len(cohort.labels), 2))
    for fold, kernel in kernels.items():
        head, members = KernelHead(**vars(kernel)), Ensemble(**vars(ensemble_on(cohort, cohort.folds != fold, recipe)))
        for film in np.flatnonzero(cohort.folds == fold):
            ends[film] = spread_of(calibration.apply(members.probabilities(cohort.pooled[film], head)))
    return ends


def out_of_fold(cohort: Cohort, folds: NDArray[np.int64], recipe: LungRecipe) -> tuple[Floats, dict[int, Kernel]]:
    """Every film judged by the model that never saw its fold: P before calibration (n,), and the models."""
    raw = np.empty(len(folds))
    kernels = {}
    for fold in np.unique(folds):
        kernels[int(fold)] = fit_on(cohort, folds != fold, recipe)
        raw[folds == fold] = kernels[int(fold)].predict(cohort.pooled[folds == fold])
    return raw, kernels


def called_across(labels: Bools, probability: Floats, folds: NDArray[np.int64]) -> Bools:
    """Call the films of each fold at the operating point that the other folds would have chosen: bool (n,)."""
    called = np.empty(len(probability), np.bool_)
    for fold in np.unique(folds):
        others = folds != fold
        point = choose_operating_point(labels[others], probability[others])
        called[~others] = metrics.is_called(probability[~others], point.value)
    return called


def calibrated_across(raw: Floats, labels: Bools, folds: NDArray[np.int64]) -> Floats:
    """Calibrate the films of each fold by the out-of-fold outputs of the other folds: P(covid) (n,)."""
    probability = np.empty(len(raw))
    for fold in np.unique(folds):
        others = folds != fold
        probability[~others] = _platt(raw[others], labels[others], "other folds").apply(raw[~others])
    return probability


def final_calibration(raw: Floats, labels: Bools) -> Calibration:
    """The calibration that is shipped, fitted on the out-of-fold outputs of all films."""
    return _platt(raw, labels, "out-of-fold predictions of the whole cohort")


def repeated_folds(cohort: Cohort, recipe: LungRecipe, threshold: float) -> list[dict[str, float | None]]:
    """The cross-validation with other folds: one row a seed of `SEEDS`, the first being the committed ones."""
    rows: list[dict[str, float | None]] = []
    sources = cohort.table["source"].fillna("").to_numpy(np.str_)
    for seed in SEEDS:
        folds = cohort.folds
        if seed:
            folds = np.asarray(assign_folds(cohort.table, len(cohort.lungs), seed), np.int64)
        raw, _ = out_of_fold(cohort, folds, recipe)
        probability = calibrated_across(raw, cohort.labels, folds)
        within = metrics.weighted_within_source_auc(cohort.labels, probability, sources, np.ones((1, len(raw))))
        rows.append(
            {
                "seed": seed,
                "within_source_auc": metrics.defined(within[0]),
                **_at(threshold, cohort.labels, probability),
            }
        )
    return rows


def left_out_sources(cohort: Cohort, recipe: LungRecipe) -> pd.DataFrame:
    """Each source with both classes judged by a kernel machine that saw none of its films or patients: nearest to a new hospital.

    The lung map and the calibration, which tell no class apart, may have seen other films of the source.

    Returns:
        The cohort's rows of these sources with `probability_raw`; empty if none has `MIN_SOURCE_FILMS` films and both classes.
    """
    table = cohort.table
    found = []
    for source, films in table.groupby("source"):
        kept = ~table["group"].isin(films["group"]).to_numpy()
        both = len(CLASSES)
        if (
            len(films) < MIN_SOURCE_FILMS
            or films["label"].nunique() < both
            or table.loc[kept, "label"].nunique() < both
        ):
            continue
        inside = (table["source"] == source).to_numpy()
        raw = fit_on(cohort, kept, recipe).predict(cohort.pooled[inside])
        found.append(films.assign(probability_raw=raw))
    return pd.concat(found) if found else table.iloc[:0].assign(probability_raw=0.0)


def original_protocol(cohort: Cohort, recipe: LungRecipe) -> tuple[int, list[dict[str, float | None]]]:
    """The protocol of the system this one reimplements: PA and AP films, split at random *by image*, so patients on both sides.

    10% of the films are the test part, 20% of the others calibrate; a film is called covid from 0.5 on. No auxiliary films.

    Returns:
        How many films, and one row a repetition; no row where a class has too few films to be in all three parts.
    """
    films = np.flatnonzero(cohort.table["view"].isin(_ORIGINAL_VIEWS))
    pooled, labels = cohort.pooled[films], cohort.labels[films]
    rows: list[dict[str, float | None]] = []
    if min(labels.sum(), (~labels).sum()) < _LEAST_TO_SPLIT:
        return len(films), rows
    for seed in range(REPETITIONS):
        rest, test = train_test_split(np.arange(len(films)), test_size=0.1, stratify=labels, random_state=seed)
        train, val = train_test_split(rest, test_size=0.2, stratify=labels[rest], random_state=seed)
        kernel = fit_kernel(pooled[train], labels[train], recipe)
        calibration = _platt(kernel.predict(pooled[val]), labels[val], "validation part")
        rows.append(_at(THRESHOLD, labels[test], calibration.apply(kernel.predict(pooled[test]))))
    return len(films), rows


def without_lungs(
    cohort: Cohort, trunk: keras.Model, films: NDArray[np.uint8], masks: LungMasks, kernels: dict[int, Kernel]
) -> dict[str, Floats]:
    """What is left when the lungs are blacked out, or everything else is; each film judged by the model that never saw its fold.

    Args:
        cohort: all films.
        trunk: the frozen part.
        films: uint8 (n, size, size).
        masks: of all films; those covered are judged.
        kernels: fold -> model, of `out_of_fold` with the committed folds.

    Returns:
        `lungs_only` and `lungs_out`: P before calibration of the covered films, in their order.
    """
    covered = masks.covered
    found = {}
    for name, shown in (("lungs_only", masks.inside[covered]), ("lungs_out", ~masks.inside[covered])):
        cells = cells_of(trunk, films[covered] * shown)
        raw = np.empty(len(cells))
        for fold, rows in _by_fold(cohort.folds[covered]):
            pooled = pool(cells[rows], lung_map(cohort.lungs[fold], cells[rows]))
            raw[rows] = kernels[fold].predict(pooled)
        found[name] = raw
    return found


def _platt(raw: Floats, labels: Bools, fitted_on: str) -> Calibration:
    return fit_platt(raw, labels, prevalence=PREVALENCE, fitted_on=fitted_on)


def _at(threshold: float, labels: Bools, probability: Floats) -> dict[str, float | None]:
    rates = metrics.rates(metrics.confusion_matrix(labels, metrics.is_called(probability, threshold)))
    names = ("sensitivity", "specificity", "balanced_accuracy")
    return {"roc_auc": metrics.roc_auc(labels, probability), **{name: metrics.defined(rates[name]) for name in names}}


def _by_fold(folds: NDArray[np.int64]) -> Iterator[tuple[int, Any]]:
    for fold in np.unique(folds):
        yield int(fold), np.flatnonzero(folds == fold)
