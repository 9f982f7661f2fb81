"""How far a figure can be trusted: Wilson's interval for a share, and a bootstrap over patients for everything else.

What is estimated is a function of weights. Where no interval can be given, the bounds are None and a note says why.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Statistics = Callable[[FloatArray], Mapping[str, FloatArray]]
"""Figures of weighted observations: weights float64 (b, n) -> name -> float64 (b,), NaN where undefined."""

LEVEL = 0.95
"""Confidence of every interval."""
MIN_GROUPS = 5
"""With fewer patients, resampling them says next to nothing, and no interval is given."""
FEW_GROUPS = 20
"""With fewer patients a percentile interval covers less than it claims; the estimate says so."""
PATIENT_BOOTSTRAP = "patient bootstrap"
WILSON = "Wilson"
WILSON_PATIENTS = "Wilson, patients as the unit"
NO_INTERVAL = "none"

_CHUNK = 100  # resamples at a time: 100 x 700 weights, 0.6 MB, stay in the processor's cache
_KEPT = 2_000_000  # draws of so many counts are kept in memory (8 MB); 2000 resamples of up to 1000 patients


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval; None where it is undefined, or no interval can be given.

    `method` says how the interval came about, `n` is the number of images the figure rests on, `undefined` that of the resamples
    left out because the figure was undefined; `note` says why something is missing or to be taken with care.
    """

    value: float | None
    lower: float | None
    upper: float | None
    method: str
    n: int
    undefined: int = 0
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The estimate as plain values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Band:
    """A curve over a rising grid with pointwise bounds, float64 (g,) each; NaN where there is none."""

    x: FloatArray
    value: FloatArray
    lower: FloatArray
    upper: FloatArray


def wilson(successes: int, n: int) -> Estimate:
    """Wilson's score interval for a share of `n` independent observations, without continuity correction.

    Source: E. B. Wilson, JASA 22 (1927) 209; method 3 of R. G. Newcombe, Statistics in Medicine 17 (1998) 857.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"`successes` must be in [0, n]. Received: {successes} of {n}")
    if n == 0:
        return Estimate(None, None, None, NO_INTERVAL, 0, note="There is no observation.")
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # At 0 and at n the bound is exact; rounding would leave 1e-17 of it.
    lower = 0.0 if successes == 0 else float(centre - half)
    upper = 1.0 if successes == n else float(centre + half)
    return Estimate(share, lower, upper, WILSON, n)


def cluster_bootstrap(
    statistics: Statistics, groups: ArrayLike, *, n_resamples: int = 2000, seed: int = 0
) -> dict[str, Estimate]:
    """Percentile intervals from resampling whole groups (n,) (patients) with replacement.

    Images of one patient resemble each other; resampling images would treat them as independent and give intervals that
    are too narrow. Source: C. M. Field and A. H. Welsh, J. R. Statist. Soc. B 69 (2007) 369; percentile interval as
    in Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13. A resample is the weighting of the
    observations by how often each group was drawn; the same seed gives the same intervals.

    Returns:
        name -> estimate, for every name that `statistics` returns. Bounds are None, with the reason in `note`, where
        there are fewer than `MIN_GROUPS` groups, where the figure is undefined, is undefined in more than half of the
        resamples, or is the same in all of them.
    """
    names, membership = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    resamples = group_draws(len(names), n_resamples=n_resamples, seed=seed)
    values = {name: float(value[0]) for name, value in statistics(np.ones((1, membership.size))).items()}
    if len(names) < MIN_GROUPS:
        return {
            name: _without_interval(value, membership.size, few_groups(len(names))) for name, value in values.items()
        }
    draws: dict[str, list[FloatArray]] = {name: [] for name in values}
    for times in resamples:
        for name, drawn in statistics(times[:, membership].astype(np.float64)).items():
            draws[name].append(drawn)
    return {
        name: _percentile_estimate(value, np.concatenate(draws[name]), membership.size, caution(len(names)))
        for name, value in values.items()
    }


def group_draws(n_groups: int, *, n_resamples: int, seed: int) -> Iterable[NDArray[np.int32]]:
    """Draw as many groups as there are, with replacement, again and again.

    Whoever asks with the same numbers gets the same draws, so that figures from different calls belong together. Draws of
    a usual size are kept: drawing them takes longer than most figures do.

    Returns:
        Blocks of resamples, int32 (b, n_groups), read only: how often each group, in the order of `np.unique`, was drawn.
    """
    if n_resamples < 1:
        raise ValueError(f"`n_resamples` must be at least 1. Received: {n_resamples}")
    draw = _kept_draws if n_groups * n_resamples <= _KEPT else _fresh_draws
    return draw(n_groups, n_resamples, seed)


def totals_by_group(groups: ArrayLike, values: ArrayLike) -> tuple[NDArray[np.str_], FloatArray]:
    """Add up the rows (n, k) of each group, so that a resample of groups need not go back to the images.

    The names of the groups (g,) come in the order of `group_draws`, with float64 (g, k).
    """
    names, membership = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    rows = np.asarray(values, np.float64)
    order = np.argsort(membership, kind="stable")
    return names, np.add.reduceat(rows[order], np.searchsorted(membership[order], np.arange(len(names))), axis=0)


def resting_on(estimate: Estimate, n: int, patients: int, *, is_share: bool) -> Estimate:
    """Hold an estimate of `cluster_bootstrap` to the images it rests on, where these are not all that were resampled.

    `patients` are those the figure rests on; where it compares the classes, those of the class that has fewer. Below
    `MIN_GROUPS` of them the interval is withheld. Of a share of 0 or 1 no resample differs, so it gets Wilson's interval
    with patients as the unit.
    """
    estimate = replace(estimate, n=n)
    if estimate.value is None:
        return estimate
    if patients < MIN_GROUPS:
        return replace(estimate, lower=None, upper=None, method=NO_INTERVAL, note=few_groups(patients))
    if is_share and estimate.value in {0.0, 1.0}:
        by_patient = wilson(patients if estimate.value else 0, patients)
        return replace(
            estimate,
            lower=by_patient.lower,
            upper=by_patient.upper,
            method=WILSON_PATIENTS,
            note=f"All images agree; the interval is that of {patients} independent patients.",
        )
    return replace(estimate, note=estimate.note or caution(patients))


def few_groups(count: int) -> str:
    """The sentence on why there is no interval from `count` patients."""
    return (
        f"No interval: it rests on {count} {'patient' if count == 1 else 'patients'}, at least {MIN_GROUPS} are needed."
    )


def caution(count: int) -> str | None:
    """The sentence that goes with an interval from few patients; None for enough of them."""
    if count >= FEW_GROUPS:
        return None
    return f"It rests on only {count} patients: the interval is likely too narrow."


def _fresh_draws(n_groups: int, n_resamples: int, seed: int) -> Iterator[NDArray[np.int32]]:
    rng = np.random.default_rng(seed)
    for start in range(0, n_resamples, _CHUNK):
        size = min(_CHUNK, n_resamples - start)
        times = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=size).astype(np.int32)
        times.setflags(write=False)
        yield times


@lru_cache(maxsize=4)
def _kept_draws(n_groups: int, n_resamples: int, seed: int) -> tuple[NDArray[np.int32], ...]:
    return tuple(_fresh_draws(n_groups, n_resamples, seed))


def _percentile_estimate(value: float, draws: FloatArray, n: int, note: str | None) -> Estimate:
    defined = draws[np.isfinite(draws)]
    undefined = int(draws.size - defined.size)
    if not np.isfinite(value):
        return _without_interval(value, n, "It is not defined for these images.", undefined)
    if 2 * undefined > draws.size:
        reason = f"No interval: the figure is undefined in {undefined} of {draws.size} resamples."
        return _without_interval(value, n, reason, undefined)
    lower, upper = (float(bound) for bound in np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    if upper - lower < 1e-12:  # noqa: PLR2004
        return _without_interval(value, n, "No interval: the resamples do not differ.", undefined)
    return Estimate(value, lower, upper, PATIENT_BOOTSTRAP, n, undefined, note)


def _without_interval(value: float, n: int, note: str, undefined: int = 0) -> Estimate:
    return Estimate(value if np.isfinite(value) else None, None, None, NO_INTERVAL, n, undefined, note)
