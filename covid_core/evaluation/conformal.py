"""When a probability says covid, when non_covid, and when too little to decide: sets of classes with a stated coverage.

Class-conditional ("Mondrian") split-conformal prediction with the probability of the class as conformity score. Of each class the
images of a calibration set give a bound that a further image of it keeps with the asked probability, whatever the model: a class
stays in an image's set as long as the image keeps the bound of that class. That holds for images drawn as those of the
calibration set were, and for no others. NumPy only, as it also serves.

Sources: V. Vovk, A. Gammerman and G. Shafer, Algorithmic Learning in a Random World (2005), section 4.5; M. Sadinle, J. Lei and
L. Wasserman, JASA 114 (2019) 223, for the coverage by class; A. N. Angelopoulos and S. Bates, arXiv:2107.07511, for the
correction for a finite number of images.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from covid_core.errors import EvaluationError
from covid_core.evaluation import intervals
from covid_core.evaluation.checks import labels_and_probability, unit_interval
from covid_core.labels import COVID, NON_COVID

Decision = Literal["non_covid", "covid", "indeterminate"]

INDETERMINATE: Literal["indeterminate"] = "indeterminate"
DECISIONS: tuple[Decision, ...] = (COVID, INDETERMINATE, NON_COVID)
COVERAGE = 0.90
_ROUNDING = 1e-9  # (1 - 0.9) * 10 is 0.9999999999999998 in binary numbers; it means one image


@dataclass(frozen=True)
class ThreeWay:
    """A decision of three: non_covid below `lower`, covid above `upper`, indeterminate from `lower` to `upper`.

    `coverage` in (0, 1) is the share of the images of each class whose set shall hold that class; `n_covid`, `n_non_covid` and
    `fitted_on` say which images it was fitted on.
    """

    lower: float
    upper: float
    coverage: float
    n_covid: int
    n_non_covid: int
    fitted_on: str

    def __post_init__(self) -> None:
        if not 0 <= self.lower <= self.upper <= 1:
            raise EvaluationError(
                f"A three-way decision has 0 <= lower <= upper <= 1. Received: {self.lower}, {self.upper}"
            )
        if not 0 < self.coverage < 1:
            raise EvaluationError(f"A three-way decision has a coverage in (0, 1). Received: {self.coverage}")

    def decide(self, probability: float) -> Decision:
        """Decide on one image by its P(covid) in [0, 1]."""
        return cast(Decision, str(self.decide_all([probability])[0]))

    def decide_all(self, probability: ArrayLike) -> NDArray[np.str_]:
        """Decide on many images by their P(covid) in [0, 1]: str of the same shape, each a `Decision`."""
        values = unit_interval("probability", probability)
        return np.where(values < self.lower, NON_COVID, np.where(values > self.upper, COVID, INDETERMINATE))

    def holding(self, threshold: float) -> "ThreeWay":
        """The decision with its bounds moved apart as far as it takes to hold the threshold of the two-class call.

        Both come from the same images by different rules, so that the threshold may lie a hair outside. Then an image between the
        two would be called one class and decided to be the other. More indeterminate images never lower the coverage.
        """
        return replace(self, lower=min(self.lower, threshold), upper=max(self.upper, threshold))

    def to_json(self) -> dict[str, Any]:
        """The decision as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "ThreeWay":
        """Rebuild a decision from what `to_json` gave; further keys are left aside. EvaluationError where it is damaged."""
        try:
            return cls(
                lower=float(value["lower"]),
                upper=float(value["upper"]),
                coverage=float(value["coverage"]),
                n_covid=int(value["n_covid"]),
                n_non_covid=int(value["n_non_covid"]),
                fitted_on=str(value["fitted_on"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as cause:
            raise EvaluationError(f"A three-way decision is incomplete or damaged. Received: {value!r}") from cause


def fit_three_way(
    labels: ArrayLike, probability: ArrayLike, coverage: float = COVERAGE, *, fitted_on: str = "held-out images"
) -> ThreeWay:
    """Find from which to which probability an image is left undecided, on images that the model was not trained on.

    With t_covid the bound of the covid images and t_non that of the others (see `_bounds`), covid is in the set of an image with
    P >= t_covid, non_covid in that of an image with P <= t_non. Between the two lies a set of both classes where t_covid <=
    t_non, and an empty one where t_covid > t_non, which only a model that tells the classes apart better than the coverage
    asks for can have; either is indeterminate. Every image is, where a class has fewer images than the coverage needs (9 for
    0.90).
    """
    truth, values = labels_and_probability(labels, probability)
    covid, other = int(truth.sum()), int((~truth).sum())
    lower, upper = sorted(_bounds(truth, values, coverage))
    return ThreeWay(lower, upper, coverage, covid, other, fitted_on)


def cross_fitted_coverage(
    labels: ArrayLike,
    probability: ArrayLike,
    folds: ArrayLike,
    groups: ArrayLike,
    *,
    coverage: float = COVERAGE,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure what a three-way decision keeps of its promise on images (n,) that it was not fitted on.

    The images of each fold are decided by a decision fitted on the other folds. An image is covered when its set holds its
    class: a set of both classes covers, an empty one does not, though both are called indeterminate. Intervals come from
    resampling patients (`groups`, whose images must share a fold) with the decisions as they are.

    Returns:
        Plain values: `coverage`, as asked for; `covered` and `indeterminate`, the measured shares, {`overall`, `non_covid`,
        `covid`}; `decided`, the share that is not indeterminate; `sensitivity` and `specificity` among the decided; `answers`:
        {one of `DECISIONS`: {`in_covid`, `in_others`, the shares of the images of each class that get it, and
        `likelihood_ratio`, the first over the second}}. Each figure is an `Estimate` as plain values.
    """
    truth, values = labels_and_probability(labels, probability)
    fold, patients = np.asarray(folds), np.asarray(groups).astype(str)
    _check_folds(fold, patients, truth.size)
    covered, decisions = np.empty(truth.size, np.bool_), np.empty(truth.size, "<U13")
    for held_out in np.unique(fold):
        here = fold == held_out
        for_covid, for_other = _bounds(truth[~here], values[~here], coverage)
        covered[here] = np.where(truth[here], values[here] >= for_covid, values[here] <= for_other)
        decisions[here] = fit_three_way(truth[~here], values[~here], coverage).decide_all(values[here])
    undecided, right = decisions == INDETERMINATE, decisions == np.where(truth, COVID, NON_COVID)
    images = {"overall": np.ones_like(truth), NON_COVID: ~truth, COVID: truth}
    shares = partial(_measured_shares, patients=patients, n_resamples=n_resamples, seed=seed)
    return {
        "coverage": coverage,
        "covered": shares({name: (covered, chosen) for name, chosen in images.items()}),
        "indeterminate": shares({name: (undecided, chosen) for name, chosen in images.items()}),
        **shares(
            {
                "decided": (~undecided, images["overall"]),
                "sensitivity": (right, truth & ~undecided),
                "specificity": (right, ~truth & ~undecided),
            }
        ),
        "answers": {
            name: {
                **shares({"in_covid": (decisions == name, truth), "in_others": (decisions == name, ~truth)}),
                "likelihood_ratio": _likelihood_ratio(
                    truth, decisions == name, patients, n_resamples=n_resamples, seed=seed
                ),
            }
            for name in DECISIONS
        },
    }


def _bounds(truth: NDArray[np.bool_], values: NDArray[np.float64], coverage: float) -> tuple[float, float]:
    """The lowest P that keeps covid in the set, and the highest that keeps non_covid; (0, 1) with too few images.

    Of n images of a class, a further one scores below the k-th lowest with a probability of at most k / (n + 1): k is the
    largest that keeps this at 1 - coverage.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"`coverage` must be in (0, 1). Received: {coverage}")
    covid, other = np.sort(values[truth]), np.sort(values[~truth])
    rank_covid, rank_other = (int((1 - coverage) * (part.size + 1) + _ROUNDING) for part in (covid, other))
    if not rank_covid or not rank_other:
        return 0.0, 1.0
    return float(covid[rank_covid - 1]), float(other[-rank_other])


def _measured_shares(
    shares: Mapping[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]],
    patients: NDArray[np.str_],
    *,
    n_resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Of images (n,), the share that is something (n,): name -> estimate as plain values."""

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        with np.errstate(invalid="ignore"):  # NaN where no image of a resample counts
            return {name: (weights @ (hit & images)) / (weights @ images) for name, (hit, images) in shares.items()}

    estimates = intervals.cluster_bootstrap(statistics, patients, n_resamples=n_resamples, seed=seed)
    return {
        name: intervals.resting_on(
            estimates[name], int(images.sum()), np.unique(patients[images]).size, is_share=True
        ).to_json()
        for name, (_, images) in shares.items()
    }


def _likelihood_ratio(
    truth: NDArray[np.bool_], given: NDArray[np.bool_], patients: NDArray[np.str_], *, n_resamples: int, seed: int
) -> dict[str, Any]:
    """The share of the covid images that get an answer (n,) over that of the others, as plain values."""

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        with np.errstate(divide="ignore", invalid="ignore"):  # NaN or infinite where no other image gets the answer
            shares = (weights @ (given & of_class) / (weights @ of_class) for of_class in (truth, ~truth))
            return {"ratio": next(shares) / next(shares)}

    found = intervals.cluster_bootstrap(statistics, patients, n_resamples=n_resamples, seed=seed)["ratio"]
    fewer = min(np.unique(patients[of_class]).size for of_class in (truth, ~truth))
    found = intervals.resting_on(found, truth.size, fewer, is_share=False)
    if found.value is None:
        found = replace(
            found, note="No image without COVID-19 got this answer: how far it raises the odds is not known."
        )
    return found.to_json()


def _check_folds(fold: NDArray[Any], patients: NDArray[np.str_], n: int) -> None:
    if fold.shape != (n,) or patients.shape != (n,):
        raise ValueError(f"`folds` and `groups` must be ({n},) both. Received: {fold.shape}, {patients.shape}")
    torn = [patient for patient in np.unique(patients) if np.unique(fold[patients == patient]).size > 1]
    if torn:
        raise EvaluationError(
            f"The images of a patient must share a fold, or the coverage is flattered. Received: {len(torn)} patients with "
            f"images in several folds, the first is {torn[0]}"
        )
