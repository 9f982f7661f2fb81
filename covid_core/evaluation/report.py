"""Predictions to `evaluation.json`: the one record that the report page, the model card and the terminal read from.

Knows the predictions table, not the model behind it. The content, schema 1 (every number is finite; null where a
figure is undefined, with the reason beside it):

- `schema`: 1. `model`, `part`: names. `created`: UTC, ISO 8601.
- `classes`: the class order. `positive_class`: `covid`. `threshold`: a film is called covid at or above it.
- `counts`: `images`, `patients`, `prevalence` (share of covid films), `by_class` {class: {`images`, `patients`}}.
- `confusion_matrix`: rows reference standard, columns call, in class order: [[TN, FP], [FN, TP]].
- `classification_report`: {class: {`precision`, `recall`, `f1`, `support`}}, in class order.
- `metrics`: {name: {`value`, `lower`, `upper`, `method`, `n`, `undefined`, `note`}} for the names in `METRICS`;
  bounds are 95 %. `method` is `patient bootstrap` (films of a patient are not independent, so patients are
  resampled), `Wilson, patients as the unit` for a share of exactly 0 or 1 (its resamples do not differ), or `none`.
  `n` is the number of films the figure rests on, `undefined` the number of resamples left out.
- `roc`: {`fpr`, `tpr`, `thresholds`} or null; the first threshold is null: none is so high.
- `reliability`: {`prevalence`, `ece`, `binning`, `bins` [{`low`, `high`, `predicted`, `observed`, `lower`, `upper`,
  `n`, `weight`}]}; `prevalence` is what the probabilities assume and classes were weighted to, null for as they are.
  It holds for metric `brier` as well.
- `bootstrap`: {`unit`, `resamples`, `seed`, `level`}.
- `note`: a sentence on what limits the whole report, or null.
"""

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from covid_core.errors import EvaluationError
from covid_core.evaluation import calibration, intervals, metrics
from covid_core.evaluation.intervals import Estimate
from covid_core.evaluation.summary import summary_lines, verdict
from covid_core.labels import CLASSES, COVID, NON_COVID
from covid_core.storage import read_json

__all__ = [
    "METRICS",
    "REQUIRED_COLUMNS",
    "SCHEMA",
    "evaluate",
    "read_evaluation",
    "summary_lines",
    "validated",
    "verdict",
]

SCHEMA = 1
LEVEL = 0.95
METRICS = (
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "accuracy",
    "balanced_accuracy",
    "f1_covid",
    "f1_non_covid",
    "lr_positive",
    "lr_negative",
    "roc_auc",
    "within_source_auc",
    "pr_auc",
    "brier",
)
"""The names in `metrics` of an evaluation, in the order they are shown."""

REQUIRED_COLUMNS = ("filename", "patientid", "group", "label", "part", "probability_raw", "probability_covid")
_KEYS = (
    "model",
    "part",
    "created",
    "classes",
    "positive_class",
    "threshold",
    "counts",
    "confusion_matrix",
    "classification_report",
    "metrics",
    "roc",
    "reliability",
    "bootstrap",
)
_ONE_CLASS = frozenset({"sensitivity", "specificity", "accuracy", "brier"})
_SHARES = frozenset({"sensitivity", "specificity", "ppv", "npv", "accuracy"})


@dataclass(frozen=True)
class _Films:
    """The films of one part as arrays (n,)."""

    truth: NDArray[np.bool_]
    called: NDArray[np.bool_]
    probability: NDArray[np.float64]
    groups: NDArray[np.str_]
    patients: NDArray[np.str_]
    sources: NDArray[np.str_]
    prevalence: float | None


def evaluate(
    predictions: pd.DataFrame,
    *,
    model: str,
    threshold: float,
    part: str = "test",
    prevalence: float | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Turn the predictions on one part into an evaluation.

    Args:
        predictions: one row a film with `REQUIRED_COLUMNS`; `group` is what never crosses parts (a patient, or several
            linked by duplicate films) and is what the bootstrap resamples.
        model: name of the model.
        threshold: in [0, 1].
        part: the value of column `part` to report on.
        prevalence: the prevalence that `probability_covid` assumes (`Calibration.prevalence`): reliability and Brier
            score are weighted to it. None takes the films as they are.
        n_resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        The content of `evaluation.json`; see the module's docstring.

    Raises:
        EvaluationError: columns, the part or values are missing or wrong, or a film occurs twice.
    """
    if not 0 <= threshold <= 1:
        raise EvaluationError(f"The threshold must be in [0, 1]. Received: {threshold}")
    films = _films(_checked(predictions, part), threshold, prevalence)
    matrix = metrics.confusion_matrix(films.truth, films.called)
    report = metrics.classification_report(matrix)
    estimates = _estimates(films, n_resamples=n_resamples, seed=seed)
    bins = calibration.reliability_bins(films.truth, films.probability, prevalence=prevalence)
    return {
        "schema": SCHEMA,
        "model": model,
        "part": part,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "classes": list(CLASSES),
        "positive_class": COVID,
        "threshold": float(threshold),
        "counts": _counts(films),
        "confusion_matrix": matrix.tolist(),
        "classification_report": {name: asdict(row) for name, row in report.items()},
        "metrics": {name: estimates[name].to_json() for name in METRICS},
        "roc": _roc_points(films),
        "reliability": {
            "prevalence": prevalence,
            "ece": calibration.expected_calibration_error(bins),
            "binning": f"up to {calibration.N_BINS} bins of equally many films",
            "bins": [asdict(one) for one in bins],
        },
        "bootstrap": {"unit": "group", "resamples": n_resamples, "seed": seed, "level": LEVEL},
        "note": _note(films, part),
    }


def read_evaluation(path: Path) -> dict[str, Any]:
    """Read and check an `evaluation.json`.

    Raises:
        EvaluationError: it is missing, is not JSON, or is not an evaluation of schema 1 in this class order.
    """
    return validated(read_json(path, EvaluationError), str(path))


def validated(value: Any, name: str = "The evaluation") -> dict[str, Any]:
    """Give back `value` if it is an evaluation of schema 1 in this class order.

    Raises:
        EvaluationError: it is not; `name` says in the sentence what it is.
    """
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        schema = value.get("schema") if isinstance(value, dict) else None
        raise EvaluationError(
            f"{name} has the schema {schema!r}; this version reads {SCHEMA}. "
            "Evaluate the model again with `covid_core evaluate`."
        )
    missing = [key for key in _KEYS if key not in value]
    missing += [f"metrics.{key}" for key in METRICS if not missing and key not in value["metrics"]]
    if missing:
        raise EvaluationError(
            f"{name} lacks {', '.join(missing)}. Evaluate the model again with `covid_core evaluate`."
        )
    if list(value["classes"]) != list(CLASSES) or value["positive_class"] != COVID:
        raise EvaluationError(
            f"{name} has the classes {value['classes']}, positive {value['positive_class']!r}; they must be "
            f"{list(CLASSES)}, positive {COVID!r}."
        )
    return value


def _checked(predictions: pd.DataFrame, part: str) -> pd.DataFrame:
    missing = [name for name in REQUIRED_COLUMNS if name not in predictions.columns]
    if missing:
        raise EvaluationError(f"The predictions lack the columns {', '.join(missing)}.")
    table = predictions[predictions["part"] == part]
    if table.empty:
        parts = sorted(predictions["part"].dropna().astype(str).unique())
        raise EvaluationError(f"The predictions have no film of part {part!r}. Parts: {', '.join(parts) or 'none'}.")
    for name in REQUIRED_COLUMNS:
        if table[name].isna().any():
            raise EvaluationError(f"Column {name} of the predictions has {int(table[name].isna().sum())} empty values.")
    unknown = sorted(set(table["label"]) - set(CLASSES))
    if unknown:
        raise EvaluationError(f"Labels must be among {', '.join(CLASSES)}. Received: {', '.join(map(repr, unknown))}")
    repeated = table.loc[table["filename"].duplicated(), "filename"]
    if not repeated.empty:
        raise EvaluationError(f"{len(repeated)} films occur more than once, the first is {repeated.iloc[0]}.")
    if not table["probability_covid"].between(0, 1).all():
        raise EvaluationError("Column probability_covid of the predictions has values outside [0, 1].")
    return table


def _films(table: pd.DataFrame, threshold: float, prevalence: float | None) -> _Films:
    probability = table["probability_covid"].to_numpy(np.float64)
    return _Films(
        truth=(table["label"] == COVID).to_numpy(np.bool_),
        called=metrics.is_called(probability, threshold),
        probability=probability,
        groups=np.asarray(table["group"].astype(str), dtype=np.str_),
        patients=np.asarray(table["patientid"].astype(str), dtype=np.str_),
        sources=_sources(table),
        prevalence=prevalence,
    )


def _sources(table: pd.DataFrame) -> NDArray[np.str_]:
    """Where each film comes from; empty where the predictions do not say."""
    if "source" not in table.columns:
        return np.full(len(table), "")
    return np.asarray(table["source"].astype("str").where(table["source"].notna(), ""), dtype=np.str_)


def _weighted_metrics(films: _Films, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Every metric for weights (b, n): name -> (b,), NaN where undefined.

    What compares the classes is undefined where one of them has no weight: a PPV of 1 without negatives is no merit.
    """
    values = metrics.rates(metrics.weighted_confusion(films.truth, films.called, weights))
    values["roc_auc"] = metrics.weighted_roc_auc(films.truth, films.probability, weights)
    values["within_source_auc"] = metrics.weighted_within_source_auc(
        films.truth, films.probability, films.sources, weights
    )
    values["pr_auc"] = metrics.weighted_average_precision(films.truth, films.probability, weights)
    values["brier"] = _weighted_brier(films, weights)
    both = (weights @ films.truth > 0) & (weights @ ~films.truth > 0)
    return {name: value if name in _ONE_CLASS else np.where(both, value, np.nan) for name, value in values.items()}


def _weighted_brier(films: _Films, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    errors = (films.probability - films.truth) ** 2
    if films.prevalence is None:
        return np.asarray((weights @ errors) / weights.sum(axis=1), np.float64)
    with np.errstate(invalid="ignore"):
        covid = (weights @ (errors * films.truth)) / (weights @ films.truth)
        other = (weights @ (errors * ~films.truth)) / (weights @ ~films.truth)
    return np.asarray(films.prevalence * covid + (1 - films.prevalence) * other, np.float64)


def _estimates(films: _Films, *, n_resamples: int, seed: int) -> dict[str, Estimate]:
    estimates = intervals.cluster_bootstrap(
        lambda weights: _weighted_metrics(films, weights), films.groups, n_resamples=n_resamples, seed=seed, level=LEVEL
    )
    return {name: _honest(name, estimate, films) for name, estimate in estimates.items()}


def _honest(name: str, estimate: Estimate, films: _Films) -> Estimate:
    """Withhold an interval that rests on too few patients; give the share of 0 or 1 the one the bootstrap cannot."""
    bases = _bases(name, films)
    estimate = replace(estimate, n=int(np.any(bases, axis=0).sum()))
    if estimate.value is None:
        return replace(estimate, note=_undefined_note(films, estimate))
    patients = min(np.unique(films.groups[base]).size for base in bases)
    if patients < intervals.MIN_GROUPS:
        return replace(
            estimate, lower=None, upper=None, method=intervals.NO_INTERVAL, note=intervals.few_groups(patients)
        )
    if name in _SHARES and estimate.value in {0.0, 1.0}:
        by_patient = intervals.wilson(patients if estimate.value else 0, patients, LEVEL)
        return replace(
            estimate,
            lower=by_patient.lower,
            upper=by_patient.upper,
            method=intervals.WILSON_PATIENTS,
            note=f"All films agree; the interval is that of {patients} independent patients.",
        )
    return replace(estimate, note=estimate.note or intervals.caution(patients))


def _bases(name: str, films: _Films) -> list[NDArray[np.bool_]]:
    """The films a metric rests on: one mask (n,), or one for each class where it compares them."""
    single = {
        "sensitivity": films.truth,
        "specificity": ~films.truth,
        "ppv": films.called,
        "npv": ~films.called,
        "accuracy": np.ones_like(films.truth),
    }
    if name in single:
        return [single[name]]
    if name == "brier" and films.prevalence is None:
        return [np.ones_like(films.truth)]
    if name == "within_source_auc":
        paired = np.isin(films.sources, _paired_sources(films))
        return [films.truth & paired, ~films.truth & paired]
    return [films.truth, ~films.truth]


def _paired_sources(films: _Films) -> list[str]:
    """The sources that have films of both classes."""
    return sorted((set(films.sources[films.truth]) & set(films.sources[~films.truth])) - {""})


def _undefined_note(films: _Films, estimate: Estimate) -> str | None:
    if films.truth.all() or not films.truth.any():
        return f"Not defined: there is no {NON_COVID if films.truth.all() else COVID} film."
    if not _paired_sources(films):
        return "Not defined: no source has films of both classes."
    return estimate.note


def _counts(films: _Films) -> dict[str, Any]:
    by_class = {name: films.truth if name == COVID else ~films.truth for name in CLASSES}
    return {
        "images": int(films.truth.size),
        "patients": int(np.unique(films.patients).size),
        "prevalence": float(films.truth.mean()),
        "by_class": {
            name: {"images": int(mask.sum()), "patients": int(np.unique(films.patients[mask]).size)}
            for name, mask in by_class.items()
        },
    }


def _roc_points(films: _Films) -> dict[str, Any] | None:
    curve = metrics.roc_curve(films.truth, films.probability)
    if curve is None:
        return None
    return {"fpr": curve.x.tolist(), "tpr": curve.y.tolist(), "thresholds": [None, *curve.thresholds[1:].tolist()]}


def _note(films: _Films, part: str) -> str | None:
    if films.truth.all() or not films.truth.any():
        present, absent = (COVID, NON_COVID) if films.truth.all() else (NON_COVID, COVID)
        return f"Part {part} has only {present} films: what compares the classes is undefined without {absent} films."
    scarce = [name for name, count in _counts(films)["by_class"].items() if count["patients"] < intervals.FEW_GROUPS]
    if scarce:
        each = " each" if len(scarce) > 1 else ""
        which = " and those ".join("with COVID-19" if name == COVID else "without COVID-19" for name in scarce)
        return f"The films {which} come from fewer than {intervals.FEW_GROUPS} patients{each}: every figure is rough."
    return None
