import numpy as np
import pytest
from sklearn import metrics as reference

from covid_core.evaluation.bands import band_note, pr_band, roc_band
from covid_core.evaluation.intervals import Band
from covid_core.evaluation.predictions import Predictions
from tests.evaluation.made_up import images_from


def random_images(seed: int, n: int = 200, patients: int = 120) -> Predictions:
    """Images with many ties (two decimals)."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.6
    scores = np.round(np.clip(rng.normal(0.4 + 0.2 * labels, 0.25), 0, 1), 2)
    return images_from(labels, scores, rng.integers(0, patients, n))


def roc_of(images: Predictions) -> Band:
    band = roc_band(images, n_resamples=400, seed=1)
    assert band is not None
    return band


def pr_of(images: Predictions) -> Band:
    band = pr_band(images, n_resamples=400, seed=1)
    assert band is not None
    return band


def test_the_roc_curve_of_a_few_images_is_the_one_drawn_by_hand() -> None:
    # Falling: covid, other, covid + other tied, other, other; so (0, 1/2), (1/4, 1/2), (2/4, 1), (3/4, 1), (1, 1).
    band = roc_of(images_from(np.array([1, 0, 1, 0, 0, 0]), np.array([0.9, 0.8, 0.5, 0.5, 0.2, 0.1])))
    at = dict(zip(np.round(band.x, 2).tolist(), band.value.tolist(), strict=True))
    assert [at[x] for x in (0.0, 0.1, 0.25, 0.5, 0.8, 1.0)] == pytest.approx([0.5, 0.5, 0.5, 1, 1, 1])
    assert at[0.35] == pytest.approx(0.5 + 0.5 * 0.1 / 0.25)
    assert (band.x[0], band.x[-1], band.x.size) == (0, 1, 101)


@pytest.mark.parametrize("seed", range(4))
def test_the_roc_curve_runs_through_the_points_of_scikit_learn(seed: int) -> None:
    images = random_images(seed)
    fpr, tpr, _ = reference.roc_curve(images.truth, images.probability, drop_intermediate=False)
    band = roc_of(images)
    for x, value in zip(band.x, band.value, strict=True):
        here = np.isclose(fpr, x)
        if here.any():
            assert value == pytest.approx(tpr[here].max())
        else:
            assert value == pytest.approx(np.interp(x, fpr, tpr))


@pytest.mark.parametrize("seed", range(4))
def test_precision_agrees_with_scikit_learn(seed: int) -> None:
    images = random_images(seed)
    precision, recall, _ = reference.precision_recall_curve(images.truth, images.probability)
    precision, recall = precision[:-1], recall[:-1]  # the last point is scikit-learn's convention, not a threshold
    band = pr_of(images)
    for x, value in zip(band.x, band.value, strict=True):
        reached = recall >= x - 1e-9
        first = reached & np.isclose(recall, recall[reached].min())
        assert value == pytest.approx(precision[first].max())


@pytest.mark.parametrize("band_of", [roc_of, pr_of])
def test_the_bounds_enclose_the_curve_and_stay_within_shares(band_of) -> None:
    band = band_of(random_images(0))
    assert (band.lower <= band.value + 1e-9).all()
    assert (band.value <= band.upper + 1e-9).all()
    assert band.lower.min() >= 0
    assert band.upper.max() <= 1


def test_the_bounds_are_those_of_resampling_whole_patients_with_scikit_learn() -> None:
    images = random_images(2, n=80, patients=30)
    names, membership = np.unique(images.groups, return_inverse=True)
    draws = np.random.default_rng(1).multinomial(len(names), np.full(len(names), 1 / len(names)), size=400)
    at_half = []
    for times in draws[:, membership]:
        fpr, tpr, _ = reference.roc_curve(np.repeat(images.truth, times), np.repeat(images.probability, times))
        at_half.append(tpr[np.isclose(fpr, 0.53)].max() if np.isclose(fpr, 0.53).any() else np.interp(0.53, fpr, tpr))
    band = roc_of(images)
    assert [band.lower[53], band.upper[53]] == pytest.approx(np.quantile(at_half, [0.025, 0.975]).tolist())


@pytest.mark.parametrize("label", [0, 1])
def test_there_is_no_curve_of_one_class(label: int) -> None:
    images = images_from(np.full(20, label), np.linspace(0, 1, 20))
    assert roc_band(images, n_resamples=100, seed=0) is None
    assert pr_band(images, n_resamples=100, seed=0) is None


@pytest.mark.parametrize("band_of", [roc_of, pr_of])
def test_four_patients_of_a_class_give_a_curve_without_bounds_and_the_reason(band_of) -> None:
    labels = np.repeat([True, False], [30, 10])
    images = images_from(labels, np.random.default_rng(0).random(40), np.append(np.arange(30), 30 + np.arange(10) % 4))
    band = band_of(images)
    assert np.isfinite(band.value).all()
    assert np.isnan(band.lower).all()
    assert np.isnan(band.upper).all()
    assert "4 patients" in (band_note(images) or "")


def test_a_model_that_is_always_right_gets_no_bounds_of_no_width() -> None:
    labels = np.repeat([True, False], [20, 20])
    band = roc_of(images_from(labels, labels * 0.9))
    assert (band.value == 1).all()
    assert np.isnan(band.lower).all()


def test_equal_scores_give_the_line_of_chance() -> None:
    labels = np.repeat([True, False], [30, 10])
    images = images_from(labels, np.full(40, 0.5))
    np.testing.assert_allclose(roc_of(images).value, np.linspace(0, 1, 101))
    np.testing.assert_allclose(pr_of(images).value, 0.75)


def test_enough_patients_need_no_word_and_few_get_one() -> None:
    assert band_note(random_images(0)) is None
    few = images_from(np.repeat([True, False], [30, 10]), np.random.default_rng(0).random(40))
    assert "10 patients" in (band_note(few) or "")
