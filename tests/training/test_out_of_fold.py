"""The evaluation protocol on made-up features: most of all, who was fitted on what."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from covid_core.dataset.lung_masks import LungMasks
from covid_core.dataset.split import assign_folds
from covid_core.evaluation.calibration import fit_platt
from covid_core.evaluation.operating_point import choose_operating_point
from covid_core.images.preprocess import Preparation
from covid_core.training import chest_heads
from covid_core.training import out_of_fold as protocol
from covid_core.training.chest_heads import Seen
from covid_core.training.chest_network import ChestNetwork
from covid_core.training.chest_recipe import LeftOut
from covid_core.training.out_of_fold import Cohort
from covid_core.training.pretraining import ChestRun
from tests.training.chest import RECIPE as TINY

# Keras 3.15 reads its variables by a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RECIPE = replace(TINY, preparation=Preparation(size=32, border_crop=0.0), pattern_cost=0.1, covid_cost=0.1, members=8)
VIEWS = ("PA", "AP", "AP Supine")
N, OTHERS, CHANNELS = 150, 40, 5
SITES = ("S00", "S01", "")


def table_of_images() -> pd.DataFrame:
    """150 images of 75 patients: two sources with both classes, one with covid alone, a small one, and images of none.

    Group 0 has images of two sources: its first in `a.org`, its second in `b.org`.
    """
    patient = np.arange(N) // 2
    covid = patient % 2 == 0
    source = np.array(["a.org"] * 60 + ["b.org"] * 40 + ["covid-only.org"] * 30 + ["small.org"] * 8 + [None] * 12)
    source[1] = "b.org"
    covid |= source == "covid-only.org"
    return pd.DataFrame(
        {
            "filename": [f"image-{index}.png" for index in range(N)],
            "patientid": patient.astype(str),
            "group": patient.astype(str),
            "label": np.where(covid, "covid", "non_covid"),
            "source": source,
            "view": [VIEWS[index % 3] for index in range(N)],
            "fold": patient % 5,
        }
    )


def run_beside(table: pd.DataFrame) -> ChestRun:
    """The run's table: the dataset's images first, then 40 of two collections; SIIM has two images a patient."""
    number = np.arange(OTHERS)
    siim = number < 30
    appearance = np.where(siim, np.array(["typical", "negative", "atypical"])[number % 3], "")
    covid = np.select([appearance == "typical", appearance == "atypical", ~siim], [1.0, 0.0, 0.0], np.nan)
    cohort = pd.DataFrame(
        {
            "source": "cohort",
            "group": "cohort " + table["group"],
            "site": "",
            "appearance": "",
            "finding": np.where(
                table["label"] == "covid", "COVID-19", np.where(np.arange(N) % 3, "Pneumonia", "No Finding")
            ),
            "covid": (table["label"] == "covid").astype(float),
            "pattern": np.nan,
            "known_positive": False,
        }
    )
    others = pd.DataFrame(
        {
            "source": np.where(siim, "siim", "nih"),
            "group": [f"p{index // 2}" if index < 30 else f"n{index}" for index in number],
            "site": np.where(siim, np.array(SITES)[(number // 4) % 3], ""),
            "appearance": appearance,
            "finding": "Pneumonia",
            "covid": covid,
            "pattern": np.where(appearance == "negative", 0.0, 1.0),
            "known_positive": (appearance == "negative") & (number % 2 == 0),
        }
    )
    return ChestRun(Path("nowhere"), pd.concat([cohort, others], ignore_index=True), RECIPE)


def marked_cohort(spread: float = 1.0, table: pd.DataFrame | None = None) -> Cohort:
    """A cohort whose first pooled value is the image's row in the run, so that one sees which images a model is given."""
    table = table_of_images() if table is None else table
    labels = (table["label"] == "covid").to_numpy()
    pooled = np.random.default_rng(0).normal(size=(N + OTHERS, CHANNELS)) * spread
    pooled[:N] += 0.5 * labels[:, None]
    pooled[:, 0] = np.arange(N + OTHERS)
    maps = np.zeros((N + OTHERS, 2, 2), np.float32)
    return Cohort(
        table, labels, run_beside(table), Seen(pooled.astype(np.float32), maps, maps), dict.fromkeys(range(5))
    )


@pytest.fixture
def fits(monkeypatch):
    """Every call of `fit_heads` by the protocol: the rows of the run's table that it may learn from."""
    calls = []

    def recorded(pooled, images, rows, recipe, draw=None):
        assert np.rint(pooled[:, 0]).tolist() == list(range(len(images)))  # each image stands beside its own features
        assert recipe is RECIPE
        calls.append(np.flatnonzero(rows).tolist())
        return chest_heads.fit_heads(pooled, images, rows, recipe, draw)

    monkeypatch.setattr(protocol, "fit_heads", recorded)
    return calls


COLLECTIONS = list(range(N, N + OTHERS))


def scores_of(labels, seed=5):
    return 1 / (1 + np.exp(-np.random.default_rng(seed).normal(np.where(labels, 0.7, -0.4))))


def test_every_image_is_judged_by_heads_that_saw_none_of_its_fold_and_every_collection(fits) -> None:
    cohort = marked_cohort()
    raw, heads = protocol.out_of_fold(cohort, cohort.folds)
    assert sorted(heads) == [0, 1, 2, 3, 4]
    for fold, rows in enumerate(fits):
        assert rows == np.flatnonzero(cohort.folds != fold).tolist() + COLLECTIONS
        here = np.flatnonzero(cohort.folds == fold)
        pooled = cohort.seen.pooled[here].astype(float)
        questions = 1 / (1 + np.exp(-(pooled @ heads[fold].kernel.astype(float) + heads[fold].bias)))
        np.testing.assert_allclose(raw[here], questions[:, 0] * questions[:, 1], atol=1e-9)


def test_the_label_of_an_image_does_not_reach_its_own_judgement() -> None:
    cohort = marked_cohort()
    raw, _ = protocol.out_of_fold(cohort, cohort.folds)
    turned = table_of_images()
    here = cohort.folds == 2
    turned.loc[here, "label"] = turned.loc[here, "label"].map({"covid": "non_covid", "non_covid": "covid"})
    other = replace(cohort, run=run_beside(turned))
    again, _ = protocol.out_of_fold(other, cohort.folds)
    np.testing.assert_allclose(again[here], raw[here], atol=1e-6)
    assert np.abs(again[~here] - raw[~here]).max() > 1e-3


class MarkedLungs:
    """A lung model that gives the same share everywhere."""

    def __init__(self, share: float) -> None:
        self.share = share

    def __call__(self, cells, training):
        assert not training
        return np.full((*cells.shape[:3], 1), self.share, np.float32)


@pytest.fixture
def masks() -> LungMasks:
    """Masks of every image but each third; the mask of image k has k + 1 pixels of lung."""
    covered = np.arange(N) % 3 > 0
    inside = np.arange(32 * 32) <= np.arange(N)[:, None]
    return LungMasks(inside.reshape(N, 32, 32) & covered[:, None, None], covered)


@pytest.fixture
def cells(monkeypatch) -> np.ndarray:
    """Made-up cells (N + OTHERS, 2, 2, 3), whose first channel is the image's row; they stand for what a network gives."""
    made = np.random.default_rng(2).random((N + OTHERS, 2, 2, 3)).astype(np.float16)
    made[..., 0] = np.arange(N + OTHERS)[:, None, None]
    monkeypatch.setattr(ChestRun, "array", lambda _, name: made if name == "lower-plain" else made[:, :, ::-1])
    monkeypatch.setattr(protocol, "averaged_cells", lambda _, plain, __: (plain, plain[..., :1] / 256))
    return made


def test_no_lung_map_comes_from_a_model_that_saw_a_mask_of_its_fold(masks, cells, monkeypatch) -> None:
    table = table_of_images().sample(frac=1, random_state=1).reset_index(drop=True)
    fitted = []

    def recorded(given, inside, recipe):
        images = (inside.sum(axis=(1, 2)) - 1).tolist()
        assert images == given[:, 0, 0, 0].astype(int).tolist()  # each image stands beside its own mask
        assert recipe is RECIPE
        fitted.append(images)
        return MarkedLungs((len(fitted)) / 10), [0.0]

    monkeypatch.setattr(protocol, "fit_lungs", recorded)
    cohort = protocol.build_cohort(table, run_beside(table), None, masks, MarkedLungs(0.9))
    folds = table["fold"].to_numpy()
    for fold, images in enumerate(fitted):
        assert images == [image for image in range(N) if image % 3 and folds[image] != fold]
    np.testing.assert_allclose(cohort.seen.lungs[:N, 0, 0], (folds + 1) / 10, atol=1e-6)
    np.testing.assert_allclose(cohort.seen.lungs[N:], 0.9, atol=1e-6)
    assert {fold: round(lungs.share * 10) for fold, lungs in cohort.lungs.items()} == {
        fold: fold + 1 for fold in range(5)
    }
    mean = cells.astype(np.float64).mean(axis=(1, 2))
    np.testing.assert_allclose(cohort.seen.pooled, np.concatenate([mean, mean], axis=1), atol=1e-2)
    np.testing.assert_array_equal(cohort.labels, table["label"] == "covid")


def test_what_was_left_out_is_judged_by_heads_without_it_and_without_its_patients(fits, cells) -> None:
    run = run_beside(table_of_images())
    left_out = LeftOut("without", ("S00",), "nih")
    judged, heads = protocol.judge_left_out(run, left_out, None, MarkedLungs(0.5))
    images = run.images
    held = np.flatnonzero((images["site"] == "S00") | (images["source"] == "nih"))
    patients = set(images["group"].iloc[held])
    (rows,) = fits
    assert rows == [row for row in range(N + OTHERS) if images["group"].iloc[row] not in patients]
    assert set(range(N)) < set(rows)
    assert judged["row"].tolist() == held.tolist()
    assert set(judged["network"]) == {"without"}
    pooled = np.concatenate([cells[held].astype(float).mean(axis=(1, 2))] * 2, axis=1)
    questions = 1 / (1 + np.exp(-(pooled @ heads.kernel.astype(float) + heads.bias)))
    np.testing.assert_allclose(judged["probability_raw"], questions[:, 0] * questions[:, 1], atol=1e-2)
    np.testing.assert_allclose(judged["pattern_raw"], questions[:, 0], atol=1e-2)
    np.testing.assert_allclose(judged.attrs["opacities"][:, 0, 0], held / 256, atol=1e-2)
    assert judged.attrs["lungs"].shape == (len(held), 2, 2)


def test_only_what_radiologists_tell_apart_is_compared() -> None:
    images = run_beside(table_of_images()).images
    found = protocol.comparable(images)
    expected = [
        row.Index
        for row in images.itertuples()
        if row.source == "siim"
        and (row.appearance == "typical" or (row.appearance == "negative" and not row.known_positive))
    ]
    assert found.index.tolist() == expected
    assert set(found["appearance"]) == {"typical", "negative"}


def test_calibration_sees_the_dataset_and_as_many_images_of_each_class_from_elsewhere() -> None:
    labels = np.arange(30) % 3 == 0  # 10 and 20
    raw = scores_of(labels)
    judged = pd.DataFrame(
        {"appearance": ["typical"] * 40 + ["negative"] * 12, "probability_raw": np.arange(52) / 1000 + 0.9}
    )
    values, truth = protocol.choosing_sample(raw, labels, judged, seed=3)
    np.testing.assert_array_equal(values[:30], raw)
    np.testing.assert_array_equal(truth[:30], labels)
    assert truth[30:].sum() == 10
    assert (~truth[30:]).sum() == 12
    rows = np.rint((values[30:] - 0.9) * 1000).astype(int)
    assert len(set(rows)) == 22
    np.testing.assert_array_equal(truth[30:], rows < 40)
    again, _ = protocol.choosing_sample(raw, labels, judged, seed=3)
    other, _ = protocol.choosing_sample(raw, labels, judged, seed=4)
    np.testing.assert_array_equal(again, values)
    assert not np.array_equal(other, values)


def test_images_are_called_at_the_operating_point_of_the_other_folds_alone() -> None:
    cohort = marked_cohort()
    labels, folds, probability = cohort.labels, cohort.folds, scores_of(cohort.labels)
    found = protocol.called_across(labels, probability, folds)
    for fold in range(5):
        here = folds == fold
        point = choose_operating_point(labels[~here], probability[~here])
        np.testing.assert_array_equal(found[here], probability[here] >= point.value)
        turned = protocol.called_across(labels ^ here, probability, folds)
        np.testing.assert_array_equal(turned[here], found[here])


def test_the_range_of_an_image_comes_from_members_that_saw_none_of_its_fold(monkeypatch) -> None:
    cohort = marked_cohort()
    calibration = fit_platt(scores_of(cohort.labels), cohort.labels, prevalence=0.5, fitted_on="")
    calls = []

    def recorded(pooled, images, rows, recipe):
        members = chest_heads.fit_ensemble(pooled, images, rows, recipe)
        calls.append((np.flatnonzero(rows).tolist(), members))
        return members

    monkeypatch.setattr(protocol, "fit_ensemble", recorded)
    ends = protocol.spreads(cohort, calibration, 0.5)
    for fold, (rows, members) in enumerate(calls):
        assert rows == np.flatnonzero(cohort.folds != fold).tolist() + COLLECTIONS
        here = np.flatnonzero(cohort.folds == fold)
        answers = np.stack([member.answer(cohort.seen.pooled[here]) for member in members])
        shown = 1 / (1 + np.exp(-(calibration.slope * np.log(answers / (1 - answers)) + calibration.intercept)))
        np.testing.assert_allclose(ends[here], np.quantile(shown, [0.25, 0.75], axis=0).T, atol=1e-6)
    assert (ends[:, 0] < ends[:, 1]).all()


def within_sources(table, probability):
    """The share of ordered pairs of a covid and another image of one source and fold that are ranked right."""
    right = pairs = 0.0
    for _, images in table.groupby(["source", "fold"]):
        covid = (images["label"] == "covid").to_numpy()
        mine = probability[images.index]
        differences = mine[covid][:, None] - mine[~covid][None]
        right, pairs = right + (differences > 0).sum() + 0.5 * (differences == 0).sum(), pairs + differences.size
    return right / pairs


def within_folds(labels, probability, folds):
    areas = [reference.roc_auc_score(labels[folds == fold], probability[folds == fold]) for fold in np.unique(folds)]
    pairs = [labels[folds == fold].sum() * (~labels[folds == fold]).sum() for fold in np.unique(folds)]
    return np.average(areas, weights=pairs)


def test_the_first_repetition_is_the_cross_validation_on_the_committed_folds() -> None:
    cohort = marked_cohort(spread=2.0)
    raw, _ = protocol.out_of_fold(cohort, cohort.folds)
    labels = cohort.labels
    calibration = fit_platt(raw, labels, prevalence=0.5, fitted_on="")
    probability = 1 / (1 + np.exp(-(calibration.slope * np.log(raw / (1 - raw)) + calibration.intercept)))
    first, *others = protocol.repeated_folds(cohort, calibration, threshold=0.45)
    called = probability >= 0.45
    assert first == pytest.approx(
        {
            "seed": 0,
            "roc_auc": within_folds(labels, probability, cohort.folds),
            "within_source_auc": within_sources(cohort.table, probability),
            "sensitivity": reference.recall_score(labels, called),
            "specificity": reference.recall_score(~labels, ~called),
            "balanced_accuracy": reference.balanced_accuracy_score(labels, called),
        }
    )
    assert [row["seed"] for row in others] == [1, 2]
    assert len({row["roc_auc"] for row in (first, *others)}) == 3


def some_calibration():
    return fit_platt(scores_of(marked_cohort().labels), marked_cohort().labels, prevalence=0.5, fitted_on="")


def test_repetitions_without_a_source_of_both_classes_can_be_written_as_json() -> None:
    cohort = marked_cohort()
    cohort.table["source"] = np.where(cohort.labels, "covid-only.org", "others.org")
    rows = protocol.repeated_folds(cohort, some_calibration(), threshold=0.5)
    json.dumps(rows, allow_nan=False)  # as the figures of an evaluation are written: null, not NaN


def test_the_other_repetitions_divide_patients_differently_and_never_tear_one(fits) -> None:
    cohort = marked_cohort()
    protocol.repeated_folds(cohort, some_calibration(), threshold=0.5)
    assert len(fits) == 15
    groups = cohort.table["group"].to_numpy()
    for rows in fits:
        ours = [row for row in rows if row < N]
        assert not set(groups[ours]) & set(groups[np.setdiff1d(np.arange(N), ours)])
    for seed in (1, 2):
        folds = np.asarray(assign_folds(cohort.table, 5, seed))
        assert fits[5 * seed : 5 * seed + 5] == [
            np.flatnonzero(folds != fold).tolist() + COLLECTIONS for fold in range(5)
        ]


def test_a_source_left_out_is_judged_by_heads_without_its_images_and_its_patients(fits) -> None:
    cohort = marked_cohort()
    found = protocol.left_out_sources(cohort)
    table = cohort.table
    of_a, of_b = (np.flatnonzero(table["source"] == name) for name in ("a.org", "b.org"))
    assert (len(of_a), len(of_b)) == (59, 41)
    first, second = fits
    # Image 1 is of b.org, but of the patient of image 0 of a.org; and the other way round.
    assert first == [row for row in range(N) if row not in {*of_a, 1}] + COLLECTIONS
    assert second == [row for row in range(N) if row not in {*of_b, 0}] + COLLECTIONS
    assert found.index.tolist() == [*of_a, *of_b]
    assert found["source"].tolist() == ["a.org"] * 59 + ["b.org"] * 41
    chosen = np.isin(np.arange(N + OTHERS), first)
    heads = chest_heads.fit_heads(cohort.seen.pooled, cohort.run.images, chosen, RECIPE)
    np.testing.assert_allclose(found["probability_raw"][:59], heads.answer(cohort.seen.pooled[of_a]))


def test_without_a_source_of_both_classes_nothing_is_left_out(fits) -> None:
    cohort = marked_cohort()
    cohort.table["source"] = np.where(cohort.labels, "covid-only.org", "others.org")
    found = protocol.left_out_sources(cohort)
    assert found.empty
    assert fits == []
    assert {"filename", "probability_raw"} <= set(found.columns)


def test_the_original_protocol_divides_images_of_two_views_at_random(fits) -> None:
    cohort = marked_cohort()
    images, rows = protocol.original_protocol(cohort)
    erect = np.flatnonzero(cohort.table["view"] != "AP Supine")
    assert images == len(erect) == 100
    assert len(rows) == len(fits) == 20
    share = cohort.labels[erect].mean()
    groups = cohort.table["group"].to_numpy()
    for fitted in fits:
        ours = [row for row in fitted if row < N]
        # 10 of 100 images are tested, 18 of the other 90 calibrate.
        assert len(ours) == len(set(ours)) == 72
        assert set(ours) <= set(erect)
        assert fitted[72:] == COLLECTIONS
        assert cohort.labels[ours].mean() == pytest.approx(share, abs=0.02)
        assert set(groups[ours]) & set(
            groups[np.setdiff1d(erect, ours)]
        )  # by image, not by patient: that is what it is
    assert len({tuple(sorted(fitted)) for fitted in fits}) == 20


def test_the_original_protocol_calibrates_and_tests_on_images_it_was_not_fitted_on(monkeypatch) -> None:
    cohort = marked_cohort()
    calibrated = []

    def noted(raw, labels, **settings):
        calibrated.append(len(raw))
        return fit_platt(raw, labels, **settings)

    monkeypatch.setattr(protocol, "fit_platt", noted)
    _, rows = protocol.original_protocol(cohort)
    assert calibrated == [18] * 20
    erect = np.flatnonzero(cohort.table["view"] != "AP Supine")
    covid = round(10 * cohort.labels[erect].mean())
    for row in rows:
        assert list(row) == ["roc_auc", "sensitivity", "specificity", "balanced_accuracy"]
        found, spared = row["sensitivity"] * covid, row["specificity"] * (10 - covid)
        assert (found, spared) == pytest.approx((round(found), round(spared)))
        assert row["balanced_accuracy"] == pytest.approx((row["sensitivity"] + row["specificity"]) / 2)
    assert len({row["roc_auc"] for row in rows}) > 1
    assert protocol.original_protocol(cohort)[1] == rows


class MarkedHeads:
    """Heads that give their fold and how bright the image is."""

    def __init__(self, fold: int) -> None:
        self.fold = fold

    def answer(self, pooled):
        return 100 * self.fold + pooled[:, 0]


class Brightness:
    """Frozen blocks that give the mean of each quarter of the image."""

    def predict(self, pictures, verbose):
        assert verbose == 0
        n, size = pictures.shape[:2]
        return pictures.reshape(n, 2, size // 2, 2, size // 2).mean(axis=(2, 4))[..., None] / 256


def test_images_without_lungs_are_judged_by_the_models_of_their_fold(masks, monkeypatch) -> None:
    cohort = marked_cohort()
    for fold in range(5):
        cohort.lungs[fold] = MarkedLungs(0.5 + fold / 10)
    inputs = np.random.default_rng(6).integers(1, 256, (N, 32, 32), np.uint8)
    judged, turned = [], []

    def noted(cells, opacities, lungs):
        judged.append((round(10 * lungs.share - 5), len(cells)))
        return chest_heads.see(cells, opacities, lungs)

    def averaged(_, plain, mirrored):
        turned.append(np.array_equal(plain[:, :, ::-1], mirrored))
        return plain, plain

    monkeypatch.setattr(protocol, "see", noted)
    monkeypatch.setattr(protocol, "averaged_cells", averaged)
    heads = {fold: MarkedHeads(fold) for fold in range(5)}
    found = protocol.without_lungs(cohort, ChestNetwork(Brightness(), None, None), inputs, masks, heads)
    covered = np.arange(N) % 3 > 0
    assert list(found) == ["lungs_only", "lungs_out"]
    for name, values in found.items():
        inside = masks.inside[covered] if name == "lungs_only" else ~masks.inside[covered]
        brightness = np.where(inside, inputs[covered], 0).mean(axis=(1, 2)) / 256
        np.testing.assert_allclose(values, 100 * cohort.folds[covered] + brightness, atol=2e-3)
    sizes = np.bincount(cohort.folds[covered]).tolist()
    assert judged == [(fold, sizes[fold]) for fold in range(5)] * 2
    assert turned == [True, True]
