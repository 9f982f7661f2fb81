"""The evaluation protocol on invented cells: what is asked most is who was fitted on what."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

pytest.importorskip("tensorflow", reason="training needs requirements-train.txt")

from covid_core import lung_protocol as protocol
from covid_core.data.lungs import LungMasks
from covid_core.data.split import assign_folds
from covid_core.evaluation.calibration import fit_platt
from covid_core.images.preparation import Preparation
from covid_core.lung_protocol import Auxiliary, Cohort
from covid_core.training import lung_reader
from covid_core.training.lung_reader import LungRecipe
from tests.fake_bundle import THREADS, start_tensorflow

# Keras 3.15 reads its variables by a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RECIPE = LungRecipe(weights="none", threads=THREADS, preparation=Preparation(size=32, border_crop=0.0))
SOURCES = ("a.org", "b.org", "covid-only.org", "small.org", None)
VIEWS = ("PA", "AP", "AP Supine")
N, CHANNELS = 150, 5


@pytest.fixture(scope="module", autouse=True)
def _tensorflow_runs():
    start_tensorflow()


def table_of_films():
    """150 films of 75 patients: two sources with both classes, one with covid alone, a small one, and films of none.

    Group 0 has films of two sources: its first in `a.org`, its second in `b.org`.
    """
    patient = np.arange(N) // 2
    covid = patient % 2 == 0
    source = np.array(["a.org"] * 60 + ["b.org"] * 40 + ["covid-only.org"] * 30 + ["small.org"] * 8 + [None] * 12)
    source[1] = "b.org"
    covid |= source == "covid-only.org"
    return pd.DataFrame(
        {
            "filename": [f"film-{index}.png" for index in range(N)],
            "patientid": patient.astype(str),
            "group": patient.astype(str),
            "label": np.where(covid, "covid", "non_covid"),
            "source": source,
            "view": [VIEWS[index % 3] for index in range(N)],
            "fold": patient % 5,
        }
    )


def marked_cohort(auxiliary=None, spread=1.0):
    """A cohort whose first pooled value is the film's row, so that one sees which films a model is given."""
    table = table_of_films()
    labels = (table["label"] == "covid").to_numpy()
    pooled = np.random.default_rng(0).normal(size=(N, CHANNELS)) * spread + labels[:, None]
    pooled[:, 0] = np.arange(N)
    return Cohort(table, labels, pooled.astype(np.float32), dict.fromkeys(range(5)), auxiliary)


def marked_auxiliary():
    return Auxiliary(np.full((7, CHANNELS), -1.0, np.float32), np.arange(7) < 3)


@pytest.fixture
def fits(monkeypatch):
    """Every call of `fit_kernel` by the protocol: rows of the cohort, labels, auxiliary flags."""
    calls = []

    def recorded(pooled, labels, recipe, *, auxiliary=None):
        calls.append((pooled[:, 0].astype(int).tolist(), np.asarray(labels), auxiliary))
        return lung_reader.fit_kernel(pooled, labels, recipe, auxiliary=auxiliary)

    monkeypatch.setattr(protocol, "fit_kernel", recorded)
    return calls


class MarkedLungs:
    """A lung model that gives the same share everywhere."""

    def __init__(self, share):
        self.share = share

    def __call__(self, cells, training):
        assert not training
        return np.full((*cells.shape[:3], 1), self.share, np.float32)


@pytest.fixture
def masks():
    """Masks of every film but each third; the mask of film k has k + 1 pixels of lung."""
    covered = np.arange(N) % 3 > 0
    inside = np.arange(32 * 32) <= np.arange(N)[:, None]
    return LungMasks(inside.reshape(N, 32, 32) & covered[:, None, None], covered)


def test_no_lung_map_comes_from_a_model_that_saw_a_mask_of_its_fold(masks, monkeypatch):
    table = table_of_films().sample(frac=1, random_state=1).reset_index(drop=True)
    rng = np.random.default_rng(2)
    cells = rng.random((N, 2, 2, 3)).astype(np.float16)
    cells[:, 0, 0, 0] = np.arange(N)
    seen = []

    def recorded(cells, inside, recipe):
        films = (inside.sum(axis=(1, 2)) - 1).tolist()
        assert films == cells[:, 0, 0, 0].astype(int).tolist()  # each film stands beside its own mask
        assert recipe is RECIPE
        seen.append(films)
        return MarkedLungs(len(seen)), [0.0]

    judged = {}

    def noted(lungs, cells):
        for film in cells[:, 0, 0, 0].astype(int):
            assert film not in judged
            judged[film] = lungs.share
        return lung_reader.lung_map(lungs, cells)

    monkeypatch.setattr(protocol, "fit_lungs", recorded)
    monkeypatch.setattr(protocol, "lung_map", noted)
    cohort = protocol.build_cohort(table, cells, masks, RECIPE, None)
    folds = table["fold"].to_numpy()
    for fold, films in enumerate(seen):
        assert films == [film for film in range(N) if film % 3 and folds[film] != fold]
    assert judged == {film: folds[film] + 1 for film in range(N)}
    assert {fold: lungs.share for fold, lungs in cohort.lungs.items()} == {fold: fold + 1 for fold in range(5)}


def test_pooled_films_stand_in_the_order_of_the_table(masks, monkeypatch):
    table = table_of_films().sample(frac=1, random_state=3).reset_index(drop=True)
    cells = np.random.default_rng(4).random((N, 2, 2, 3)).astype(np.float16)
    monkeypatch.setattr(protocol, "fit_lungs", lambda *_: (MarkedLungs(0.5), [0.0]))
    further = marked_auxiliary()
    cohort = protocol.build_cohort(table, cells, masks, RECIPE, further)
    mean = cells.astype(np.float64).mean(axis=(1, 2))
    np.testing.assert_allclose(cohort.pooled, np.concatenate([mean, mean], axis=1), atol=1e-3)
    np.testing.assert_array_equal(cohort.labels, table["label"] == "covid")
    np.testing.assert_array_equal(cohort.folds, table["fold"])
    assert cohort.auxiliary is further


def test_every_film_is_judged_by_a_model_that_was_not_fitted_on_its_fold(fits):
    cohort = marked_cohort()
    raw, kernels = protocol.out_of_fold(cohort, cohort.folds, RECIPE)
    assert sorted(kernels) == [0, 1, 2, 3, 4]
    for fold, (rows, labels, auxiliary) in enumerate(fits):
        assert rows == np.flatnonzero(cohort.folds != fold).tolist()
        np.testing.assert_array_equal(labels, cohort.labels[rows])
        assert not np.any(auxiliary)
        here = cohort.folds == fold
        np.testing.assert_array_equal(raw[here], kernels[fold].predict(cohort.pooled[here]))


def test_auxiliary_films_come_after_those_of_the_cohort_and_are_marked(fits):
    further = marked_auxiliary()
    protocol.fit_on(marked_cohort(further), np.arange(N) % 2 == 0, RECIPE)
    ((rows, labels, auxiliary),) = fits
    assert rows == [*range(0, N, 2), *[-1] * 7]
    assert auxiliary.tolist() == [False] * 75 + [True] * 7
    assert labels[-7:].tolist() == [True] * 3 + [False] * 4


def scores_of(labels, seed=5):
    return 1 / (1 + np.exp(-np.random.default_rng(seed).normal(np.where(labels, 0.7, -0.4))))


def test_films_are_calibrated_by_the_other_folds_alone():
    cohort = marked_cohort()
    labels, folds, raw = cohort.labels, cohort.folds, scores_of(cohort.labels)
    found = protocol.calibrated_across(raw, labels, folds)
    for fold in range(5):
        here = folds == fold
        expected = fit_platt(raw[~here], labels[~here], prevalence=0.5, fitted_on="").apply(raw[here])
        np.testing.assert_allclose(found[here], expected)
        turned = labels ^ here  # whatever the films of a fold are, their own calibration does not learn it
        np.testing.assert_array_equal(protocol.calibrated_across(raw, turned, folds)[here], found[here])
        assert not np.array_equal(protocol.calibrated_across(raw, turned, folds)[~here], found[~here])


def test_the_shipped_calibration_assumes_classes_equally_common_and_says_what_it_was_fitted_on():
    cohort = marked_cohort()
    calibration = protocol.final_calibration(scores_of(cohort.labels), cohort.labels)
    assert (calibration.method, calibration.prevalence, calibration.n) == ("platt", 0.5, N)
    assert "out-of-fold" in calibration.fitted_on


def test_the_first_repetition_is_the_cross_validation_on_the_committed_folds():
    cohort = marked_cohort(spread=2.0)
    raw, _ = protocol.out_of_fold(cohort, cohort.folds, RECIPE)
    probability, labels = protocol.calibrated_across(raw, cohort.labels, cohort.folds), cohort.labels
    first, *others = protocol.repeated_folds(cohort, RECIPE, threshold=0.45)
    called = probability >= 0.45
    recall = reference.recall_score(labels, called), reference.recall_score(~labels, ~called)
    assert first == pytest.approx(
        {
            "seed": 0,
            "roc_auc": reference.roc_auc_score(labels, probability),
            "within_source_auc": within_sources(cohort.table, probability),
            "sensitivity": recall[0],
            "specificity": recall[1],
            "balanced_accuracy": reference.balanced_accuracy_score(labels, called),
        }
    )
    assert [row["seed"] for row in others] == [1, 2]
    assert len({row["roc_auc"] for row in (first, *others)}) == 3


def test_repetitions_without_a_source_of_both_classes_can_be_written_as_json():
    cohort = marked_cohort()
    cohort.table["source"] = np.where(cohort.labels, "covid-only.org", "others.org")
    rows = protocol.repeated_folds(cohort, RECIPE, threshold=0.5)
    json.dumps(rows, allow_nan=False)  # as the figures of an evaluation are written: null, not NaN


def within_sources(table, probability):
    """The share of ordered pairs of a covid and another film of one source that are ranked right."""
    right = pairs = 0.0
    for _, films in table.groupby("source"):
        covid = (films["label"] == "covid").to_numpy()
        mine = probability[films.index]
        differences = mine[covid][:, None] - mine[~covid][None]
        right, pairs = right + (differences > 0).sum() + 0.5 * (differences == 0).sum(), pairs + differences.size
    return right / pairs


def test_the_other_repetitions_divide_patients_anew_and_never_tear_one(fits):
    cohort = marked_cohort()
    protocol.repeated_folds(cohort, RECIPE, threshold=0.5)
    assert len(fits) == 15
    groups = cohort.table["group"].to_numpy()
    for rows, *_ in fits:
        held_out = np.setdiff1d(np.arange(N), rows)
        assert not set(groups[rows]) & set(groups[held_out])
    for seed in (1, 2):
        folds = np.asarray(assign_folds(cohort.table, 5, seed))
        assert [rows for rows, *_ in fits[5 * seed : 5 * seed + 5]] == [
            np.flatnonzero(folds != fold).tolist() for fold in range(5)
        ]


def test_a_source_left_out_is_judged_by_a_model_without_its_films_and_its_patients(fits):
    cohort = marked_cohort(marked_auxiliary())
    found = protocol.left_out_sources(cohort, RECIPE)
    table = cohort.table
    of_a, of_b = (np.flatnonzero(table["source"] == name) for name in ("a.org", "b.org"))
    assert (len(of_a), len(of_b)) == (59, 41)
    first, second = ([row for row in rows if row >= 0] for rows, *_ in fits)
    # Film 1 is of b.org, but of the patient of film 0 of a.org; and the other way round.
    assert first == [row for row in range(N) if row not in {*of_a, 1}]
    assert second == [row for row in range(N) if row not in {*of_b, 0}]
    assert found.index.tolist() == [*of_a, *of_b]
    assert found["source"].tolist() == ["a.org"] * 59 + ["b.org"] * 41
    kernel = lung_reader.fit_kernel(
        np.concatenate([cohort.pooled[first], cohort.auxiliary.pooled]),
        np.concatenate([cohort.labels[first], cohort.auxiliary.labels]),
        RECIPE,
        auxiliary=np.arange(len(first) + 7) >= len(first),
    )
    np.testing.assert_allclose(found["probability_raw"][:59], kernel.predict(cohort.pooled[of_a]))


def test_without_a_source_of_both_classes_nothing_is_left_out(fits):
    cohort = marked_cohort()
    cohort.table["source"] = np.where(cohort.labels, "covid-only.org", "others.org")
    found = protocol.left_out_sources(cohort, RECIPE)
    assert found.empty
    assert fits == []
    assert {"filename", "probability_raw"} <= set(found.columns)


def test_the_original_protocol_divides_images_of_two_views_and_ignores_auxiliary_films(fits):
    cohort = marked_cohort(marked_auxiliary())
    images, rows = protocol.original_protocol(cohort, RECIPE)
    erect = np.flatnonzero(cohort.table["view"] != "AP Supine")
    assert images == len(erect) == 100
    assert len(rows) == len(fits) == 20
    share = cohort.labels[erect].mean()
    for films, labels, auxiliary in fits:
        # 10 of 100 films are tested, 18 of the other 90 calibrate.
        assert len(films) == len(set(films)) == 72
        assert set(films) <= set(erect)
        assert auxiliary is None
        np.testing.assert_array_equal(labels, cohort.labels[films])
        assert labels.mean() == pytest.approx(share, abs=0.02)
    groups = cohort.table["group"].to_numpy()
    torn = [set(groups[films]) & set(groups[np.setdiff1d(erect, films)]) for films, *_ in fits]
    assert all(torn)  # by image, not by patient: that is what it is
    assert len({tuple(sorted(films)) for films, *_ in fits}) == 20


def test_the_original_protocol_calibrates_and_tests_on_films_it_was_not_fitted_on(fits, monkeypatch):
    cohort = marked_cohort()
    judged = []

    def noted(kernel, pooled):
        judged.append(pooled[:, 0].astype(int).tolist())
        return honest(kernel, pooled)

    honest = lung_reader.Kernel.predict
    monkeypatch.setattr(lung_reader.Kernel, "predict", noted)
    protocol.original_protocol(cohort, RECIPE)
    erect = np.flatnonzero(cohort.table["view"] != "AP Supine").tolist()
    calibrated, tested = judged[::2], judged[1::2]
    for (fitted, *_), val, test in zip(fits, calibrated, tested, strict=True):
        assert (len(val), len(test)) == (18, 10)
        assert sorted([*fitted, *val, *test]) == erect
    assert len({tuple(sorted(test)) for test in tested}) == 20  # each repetition draws others


def test_the_original_protocol_gives_the_same_figures_again_in_steps_of_the_films_tested():
    cohort = marked_cohort(spread=2.0)
    images, rows = protocol.original_protocol(cohort, RECIPE)
    assert (images, rows) == protocol.original_protocol(cohort, RECIPE)
    erect = cohort.table["view"] != "AP Supine"
    covid = round(10 * cohort.labels[erect].mean())
    for row in rows:
        assert list(row) == ["roc_auc", "sensitivity", "specificity", "balanced_accuracy"]
        found, spared = row["sensitivity"] * covid, row["specificity"] * (10 - covid)
        assert (found, spared) == pytest.approx((round(found), round(spared)))
        assert row["balanced_accuracy"] == pytest.approx((row["sensitivity"] + row["specificity"]) / 2)
    assert len({row["roc_auc"] for row in rows}) > 1


class MarkedKernel:
    """A model that says its fold and the share of its lung model, and how bright the film is."""

    def __init__(self, fold):
        self.fold = fold

    def predict(self, pooled):
        return 100 * self.fold + pooled[:, 0]


def test_films_without_lungs_are_judged_by_the_models_of_their_fold(masks, monkeypatch):
    cohort = marked_cohort()
    for fold in range(5):
        cohort.lungs[fold] = MarkedLungs(fold / 10)
    films = np.random.default_rng(6).integers(1, 256, (N, 32, 32), np.uint8)
    shown, asked = [], []

    def cells_of(_trunk, pictures):
        shown.append(pictures)
        cells = np.zeros((len(pictures), 2, 2, 1), np.float16)
        cells[..., 0] = pictures.mean(axis=(1, 2))[:, None, None] / 256
        return cells

    def noted(lungs, cells):
        asked.append((lungs.share, len(cells)))
        return lung_reader.lung_map(lungs, cells)

    monkeypatch.setattr(protocol, "cells_of", cells_of)
    monkeypatch.setattr(protocol, "lung_map", noted)
    kernels = {fold: MarkedKernel(fold) for fold in range(5)}
    found = protocol.without_lungs(cohort, None, films, masks, kernels)

    covered = np.arange(N) % 3 > 0
    assert list(found) == ["lungs_only", "lungs_out"]
    for name, pictures in zip(found, shown, strict=True):
        inside = masks.inside[covered] if name == "lungs_only" else ~masks.inside[covered]
        assert pictures.dtype == np.uint8
        np.testing.assert_array_equal(pictures, np.where(inside, films[covered], 0))
        brightness = pictures.mean(axis=(1, 2)) / 256
        np.testing.assert_allclose(found[name], 100 * cohort.folds[covered] + brightness, atol=1e-3)
    sizes = np.bincount(cohort.folds[covered]).tolist()
    assert asked == [(fold / 10, sizes[fold]) for fold in range(5)] * 2
