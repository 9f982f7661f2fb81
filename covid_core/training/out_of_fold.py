"""Who is judged by which model, never by one that saw them.

- An image of the dataset: by heads that saw no image of its fold, behind a network that saw no image of the dataset at all.
  Its lung map comes from a model that saw no mask of its fold: most masks belong to COVID-19, and a map that were sharper where
  a mask was seen would give the label away.
- An image of a collection: by a network and heads that saw nothing of its hospital group or collection.
"""

from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from covid_core.dataset.lung_masks import LungMasks
from covid_core.dataset.split import assign_folds
from covid_core.evaluation import metrics
from covid_core.evaluation.calibration import Calibration, fit_platt
from covid_core.evaluation.evaluate import MIN_SOURCE_FILMS
from covid_core.evaluation.hospitals import NEGATIVE, TYPICAL
from covid_core.evaluation.operating_point import choose_operating_point
from covid_core.labels import CLASSES, COVID, PREVALENCE, THRESHOLD
from covid_core.training.chest_heads import Heads, Seen, averaged_cells, fit_ensemble, fit_heads, fit_lungs, see
from covid_core.training.chest_network import Cells, ChestNetwork
from covid_core.training.chest_recipe import COHORT, LeftOut
from covid_core.training.pretraining import ChestRun

SEEDS = (0, 1, 2)
"""Of the folds; 0 are the committed ones."""
REPETITIONS = 20
_ORIGINAL_VIEWS = ("PA", "AP")
_LEAST_TO_SPLIT = 10
_CHUNK = 1024  # images whose cells are in memory at a time, 288 kB each

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Cohort:
    """The images of a prepared dataset, and all that the heads learn from besides.

    Attributes:
        table: rows of `split.csv`, with `fold` of the committed folds; n images.
        labels: bool (n,), true for covid.
        run: of `pretrain`; the first n rows of its table are these images.
        seen: every image of the run as the served network sees it; the first n with lung maps of their fold.
        lungs: fold -> lung model that saw no mask of it.
    """

    table: pd.DataFrame
    labels: Bools
    run: ChestRun
    seen: Seen
    lungs: dict[int, keras.Model]

    @property
    def folds(self) -> Ints:
        """The committed folds, (n,)."""
        return self.table["fold"].to_numpy(np.int64)

    def heads(self, rows: Bools) -> Heads:
        """Heads fitted on some images of the dataset, bool (n,), and on every collection."""
        return fit_heads(self.seen.pooled, self.run.images, self._with_collections(rows), self.run.recipe)

    def ensemble(self, rows: Bools) -> list[Heads]:
        """The same on other draws of the patients."""
        return fit_ensemble(self.seen.pooled, self.run.images, self._with_collections(rows), self.run.recipe)

    def answer(self, heads: Heads, rows: Bools | slice = slice(None)) -> Floats:
        """P(COVID-19) before calibration of some images of the dataset."""
        return heads.answer(self.seen.pooled[: len(self.table)][rows])

    def _with_collections(self, rows: Bools) -> Bools:
        return np.append(rows, np.ones(len(self.run.images) - len(rows), np.bool_))


def cells_of_cohort(run: ChestRun, network: ChestNetwork) -> tuple[Cells, Cells]:
    """Cells and opacity maps of the dataset's images, which come first."""
    n = int((run.images["source"] == COHORT).sum())
    return averaged_cells(network, run.array("lower-plain")[:n], run.array("lower-mirrored")[:n])


def see_all(run: ChestRun, network: ChestNetwork, lungs: keras.Model, rows: Ints | None = None) -> Seen:
    """What a network makes of images of a run, all or some."""
    chosen = np.arange(len(run.images)) if rows is None else rows
    plain, mirrored = run.array("lower-plain"), run.array("lower-mirrored")
    parts = []
    for start in range(0, len(chosen), _CHUNK):
        part = chosen[start : start + _CHUNK]
        parts.append(see(*averaged_cells(network, plain[part], mirrored[part]), lungs))
    return Seen(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("pooled", "opacities", "lungs")))


def build_cohort(
    table: pd.DataFrame, run: ChestRun, network: ChestNetwork, masks: LungMasks, lungs: keras.Model
) -> Cohort:
    """See every image, those of the dataset with the lung maps of their fold."""
    cells, opacities = cells_of_cohort(run, network)
    seen = see_all(run, network, lungs)
    models = {}
    folds = table["fold"].to_numpy(np.int64)
    for fold in np.unique(folds).tolist():
        learned, rows = masks.covered & (folds != fold), np.flatnonzero(folds == fold)
        models[fold], _ = fit_lungs(cells[learned], masks.inside[learned], run.recipe)
        ours = see(cells[rows], opacities[rows], models[fold])
        seen.pooled[rows], seen.lungs[rows] = ours.pooled, ours.lungs
    return Cohort(table, (table["label"] == COVID).to_numpy(), run, seen, models)


def out_of_fold(cohort: Cohort, folds: Ints) -> tuple[Floats, dict[int, Heads]]:
    """Every image of the dataset judged by heads that never saw its fold: P before calibration (n,), and the heads."""
    raw = np.empty(len(folds))
    models = {}
    for fold in np.unique(folds):
        models[int(fold)] = cohort.heads(folds != fold)
        raw[folds == fold] = cohort.answer(models[int(fold)], folds == fold)
    return raw, models


def spreads(cohort: Cohort, calibration: Calibration, share: float) -> Floats:
    """The ends of the range of each image by ensembles that never saw its fold: float64 (n, 2)."""
    ends = np.empty((len(cohort.table), 2))
    for fold in np.unique(cohort.folds):
        held = cohort.folds == fold
        members = np.stack([calibration.apply(cohort.answer(one, held)) for one in cohort.ensemble(~held)])
        ends[held] = np.quantile(members, [(1 - share) / 2, (1 + share) / 2], axis=0).T
    return ends


def judge_left_out(
    run: ChestRun, left_out: LeftOut, network: ChestNetwork, lungs: keras.Model
) -> tuple[pd.DataFrame, Heads]:
    """Judge the images that a network and heads beside it never saw.

    Returns:
        Rows of the run's table that were left out, each once and with `probability_raw`, `pattern_raw`, `seen` (its row in the
        arrays `opacities` and `lungs` of what was seen) and `network`; and the heads.
    """
    images = run.images
    held = np.flatnonzero((images["site"].isin(left_out.sites) | (images["source"] == left_out.source)).to_numpy())
    rows = run.seen_by(left_out) | (images["source"] == COHORT).to_numpy()
    seen = see_all(run, network, lungs)
    heads = fit_heads(seen.pooled, images, rows, run.recipe)
    questions = heads.questions(seen.pooled[held])
    judged = images.iloc[held].assign(
        probability_raw=questions.prod(axis=1), pattern_raw=questions[:, 0], row=held, network=left_out.name
    )
    judged.attrs["opacities"], judged.attrs["lungs"] = seen.opacities[held], seen.lungs[held]
    return judged, heads


def comparable(judged: pd.DataFrame) -> pd.DataFrame:
    """Typical appearance, and negative images of patients not known to have COVID-19: radiologists tell them apart."""
    clear = (judged["appearance"] == NEGATIVE) & ~judged["known_positive"].astype(bool)
    return judged[(judged["source"] == "siim") & (clear | (judged["appearance"] == TYPICAL))]


def choosing_sample(raw: Floats, labels: Bools, judged: pd.DataFrame, seed: int) -> tuple[Floats, Bools]:
    """What calibration and operating point are chosen on: the dataset, and as many images of each class of left-out hospitals.

    Returns:
        P before calibration and labels, of the dataset first.
    """
    rng = np.random.default_rng(seed)
    truth = (judged["appearance"] == TYPICAL).to_numpy()
    chosen = [
        rng.choice(
            np.flatnonzero(truth == label),
            min(int((labels == label).sum()), int((truth == label).sum())),
            replace=False,
        )
        for label in (True, False)
    ]
    rows = np.sort(np.concatenate(chosen))
    return np.append(raw, judged["probability_raw"].to_numpy(float)[rows]), np.append(labels, truth[rows])


def called_across(labels: Bools, probability: Floats, folds: Ints) -> Bools:
    """Call the images of each fold at the operating point that the other folds would have chosen: bool (n,)."""
    called = np.empty(len(probability), np.bool_)
    for fold in np.unique(folds):
        others = folds != fold
        point = choose_operating_point(labels[others], probability[others])
        called[~others] = metrics.is_called(probability[~others], point.value)
    return called


def repeated_folds(cohort: Cohort, calibration: Calibration, threshold: float) -> list[dict[str, float | None]]:
    """The cross-validation with other folds: one row a seed of `SEEDS`, the first being the committed ones."""
    rows: list[dict[str, float | None]] = []
    sources = cohort.table["source"].fillna("").to_numpy(np.str_)
    for seed in SEEDS:
        folds = cohort.folds
        if seed:
            folds = np.asarray(assign_folds(cohort.table, len(cohort.lungs), seed), np.int64)
        probability = calibration.apply(out_of_fold(cohort, folds)[0])
        once = np.ones((1, len(folds)))
        strata = np.where(sources == "", "", np.char.add(folds.astype(np.str_), np.char.add(" ", sources)))
        areas = {
            "roc_auc": metrics.weighted_within_source_auc(cohort.labels, probability, folds.astype(np.str_), once),
            "within_source_auc": metrics.weighted_within_source_auc(cohort.labels, probability, strata, once),
        }
        row = {"seed": seed, **_at(threshold, cohort.labels, probability)}
        rows.append(row | {name: metrics.defined(area[0]) for name, area in areas.items()})
    return rows


def left_out_sources(cohort: Cohort) -> pd.DataFrame:
    """Each publisher with both classes judged by heads that saw none of its images or patients.

    Returns:
        The cohort's rows of these sources with `probability_raw`; empty if none has `MIN_SOURCE_FILMS` images and both classes.
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
        raw = cohort.answer(cohort.heads(kept), (table["source"] == source).to_numpy())
        found.append(films.assign(probability_raw=raw))
    return pd.concat(found) if found else table.iloc[:0].assign(probability_raw=0.0)


def original_protocol(cohort: Cohort) -> tuple[int, list[dict[str, float | None]]]:
    """The protocol of the system this one reimplements: PA and AP images, split at random *by image*, so patients on both sides.

    10% of the images are the test part, 20% of the others calibrate; an image is called covid from 0.5 on.

    Returns:
        How many images, and one row a repetition; no row where a class has too few images to be in all three parts.
    """
    films = np.flatnonzero(cohort.table["view"].isin(_ORIGINAL_VIEWS))
    labels = cohort.labels[films]
    rows: list[dict[str, float | None]] = []
    if min(labels.sum(), (~labels).sum()) < _LEAST_TO_SPLIT:
        return len(films), rows
    for seed in range(REPETITIONS):
        rest, test = train_test_split(np.arange(len(films)), test_size=0.1, stratify=labels, random_state=seed)
        train, val = train_test_split(rest, test_size=0.2, stratify=labels[rest], random_state=seed)
        learned = np.zeros(len(cohort.table), np.bool_)
        learned[films[train]] = True
        raw = cohort.answer(cohort.heads(learned))[films]
        calibration = fit_platt(raw[val], labels[val], prevalence=PREVALENCE, fitted_on="validation part")
        rows.append(_at(THRESHOLD, labels[test], calibration.apply(raw[test])))
    return len(films), rows


def without_lungs(
    cohort: Cohort, network: ChestNetwork, inputs: NDArray[np.uint8], masks: LungMasks, heads: dict[int, Heads]
) -> dict[str, Floats]:
    """What is left when the lungs are blacked out, or everything else is; each image judged by heads that never saw its fold.

    Args:
        cohort: all images.
        network: the one that serves.
        inputs: uint8 (n, size, size).
        masks: of all images; those covered are judged.
        heads: fold -> heads, of `out_of_fold` with the committed folds.

    Returns:
        `lungs_only` and `lungs_out`: P before calibration of the covered images, in their order.
    """
    covered = masks.covered
    folds = cohort.folds[covered]
    found = {}
    for name, shown in (("lungs_only", masks.inside[covered]), ("lungs_out", ~masks.inside[covered])):
        pictures = (inputs[covered] * shown)[..., None].astype(np.float32)
        lower = [
            np.asarray(network.lower.predict(one, verbose=0), np.float16) for one in (pictures, pictures[:, :, ::-1])
        ]
        cells, opacities = averaged_cells(network, *lower)
        raw = np.empty(len(cells))
        for fold in np.unique(folds):
            rows = folds == fold
            raw[rows] = heads[int(fold)].answer(see(cells[rows], opacities[rows], cohort.lungs[int(fold)]).pooled)
        found[name] = raw
    return found


def _at(threshold: float, labels: Bools, probability: Floats) -> dict[str, float | None]:
    rates = metrics.rates(metrics.confusion_matrix(labels, metrics.is_called(probability, threshold)))
    names = ("sensitivity", "specificity", "balanced_accuracy")
    return {"roc_auc": metrics.roc_auc(labels, probability), **{name: metrics.defined(rates[name]) for name in names}}
