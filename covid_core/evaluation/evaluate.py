"""Predictions to `evaluation.json`: the one record that the report page, the model card and the terminal read from.

The content, schema 3 (every number is finite; null where a
figure is undefined, with the reason beside it):

- `schema`: 3. `model`, `part`: names. `created`: UTC, ISO 8601.
- `classes`: the class order. `positive_class`: `covid`. `threshold`: an image is called covid at or above it.
- `counts`: `images`, `patients`, `prevalence` (share of covid images), `by_class` {class: {`images`, `patients`}}.
- `confusion_matrix`: rows reference standard, columns call, in class order: [[TN, FP], [FN, TP]].
- `classification_report`: {class: {`precision`, `recall`, `f1`, `support`}}, in class order.
- `metrics`: {name: metric} for the names in `METRICS`. A metric is {`value`, `lower`, `upper`, `method`, `n`,
  `undefined`, `note`}; bounds are 95 %. `method` is `patient bootstrap` (images of a patient are not independent, so
  patients are resampled), `Wilson, patients as the unit` for a share of exactly 0 or 1 (its resamples do not differ),
  or `none`. `n` is the number of images the figure rests on, `undefined` the number of resamples left out.
  AUCs of a cross-validation (predictions with a column `fold`) are over the pairs of one fold; `pooled_auc` is over all.
- `roc`: {`fpr`, `tpr`, `thresholds`} or null; the first threshold is null: none is so high.
- `reliability`: {`prevalence`, `ece`, `binning`, `bins` [{`low`, `high`, `predicted`, `observed`, `lower`, `upper`,
  `n`, `weight`}]}; `prevalence` is what the probabilities assume and classes were weighted to, null for as they are.
  It holds for the metrics `brier`, `calibration_intercept`, `calibration_slope` and `ece` and for `calibration` as well.
- `calibration`: {`before`, `after`}, each {`brier`, `ece`, `intercept`, `slope`}: of the raw output, read as if it were
  a probability, and of the calibrated one.
- `sources`: [{`source`, `films`, `covid`, `non_covid`, `pairs`, `roc_auc` metric}] of every source with at least
  `MIN_SOURCE_IMAGES` images that has both classes, the largest first; `pairs` are those of a covid and another image.
- `bootstrap`: {`unit`, `resamples`, `seed`, `level`}.
- `note`: a sentence on what limits the whole report, or null.

What follows (`FURTHER_BLOCKS`) is added by who measures it, and absent where nobody did; a reader must cope with that:

- `hospitals`, `strangers`, `robustness`, `opacity_map`: what a network makes of what it never saw, see
  `covid_core.evaluation.hospitals`, `robustness` and `opacity_map`.
- `former`: the same model's predecessor on the same images, as far as it was measured.
- `baselines`: {name: {`roc_auc` metric, `within_source_auc` metric where it means something}}: what is predicted through the
  same folds without a pixel (`covid_core.evaluation.baselines`).
- `seeds`: [{`seed`, `roc_auc`, `within_source_auc`, `sensitivity`, `specificity`, `balanced_accuracy`}], numbers, one
  entry a repetition of the cross-validation; `seed_means`: {name: {`mean`, `sd`, `lowest`, `highest`}} over them.
- `operating_point`: {`value`, `rule`, `method`, `across_folds`}; the last holds the metrics `sensitivity`, `specificity` and
  `balanced_accuracy` with the threshold for each fold chosen on the other folds.
- `left_out_sources`: {`within_source_auc`, `sensitivity`, `specificity` metrics, `sources` as above} of images judged by heads
  that saw no image of their source.
- `lungs`: {`films`, `patients`, `n_covid`, `n_non_covid`, and of the same images seen `whole`, `lungs_only` and
  `lungs_out`: {`roc_auc` metric, `within_source_auc` metric}} (`protocols.paired_metrics`).
- `external`: {name of a set: {`images`, `patients` or null, `by_finding`: {finding: {`n`, `called_covid`, and
  `specificity`, `sensitivity` where there are such images, metrics of method `Wilson`}}, `roc_auc` or null, `labelled` {class:
  images}, `copies_left_out`}} (`protocols.shares_by_finding`).
- `original_protocol`: {`repetitions`, `images`, `note`, and for `balanced_accuracy`, `sensitivity`, `specificity` and
  `roc_auc` {`mean`, `sd`, `lowest`, `highest`}} (`protocols.repeated_summary`).
- `three_way`: as of `conformal.cross_fitted_coverage`, with `lower` and `upper` of the decision that is in use.
- `gate`: what the gate refuses, of what it should and of what it should not (`covid_core.training.gate_figures`).
- `ensemble`: {`members`, `share`, `films`, `median_width`, `width_90th_percentile`, `holds_operating_point`}, of the spread of
  an ensemble on images that no member saw.
- `subgroups`: figures of parts of the images by sex, age, view, source, RT-PCR and severity (`covid_core.evaluation.subgroups`).
- `cohort`: the flow from the table to the images, what parts or folds share, and what they are made of
  (`covid_core.evaluation.cohort_figures`).
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from covid_core.errors import EvaluationError
from covid_core.evaluation import calibration, estimates, intervals, metrics
from covid_core.evaluation.conformal import ThreeWay, cross_fitted_coverage
from covid_core.evaluation.estimates import METRICS
from covid_core.evaluation.predictions import (
    PAIRED_COLUMNS,
    REQUIRED_COLUMNS,
    Predictions,
    checked_table,
    predictions_of,
)
from covid_core.evaluation.summary import part_in_words
from covid_core.files import read_json
from covid_core.labels import CLASSES, COVID, NON_COVID

SCHEMA = 3
FURTHER_BLOCKS = (
    *("hospitals", "strangers", "robustness", "opacity_map", "former", "operating_point", "baselines", "seeds"),
    *("seed_means", "left_out_sources", "lungs", "external", "original_protocol", "three_way", "ensemble", "gate"),
    *("subgroups", "cohort"),
)
"""The blocks that `evaluate` does not make."""
MIN_SOURCE_IMAGES = 10
"""A source with fewer images gets no figure of its own."""

_KEYS = (
    *("model", "part", "created", "classes", "positive_class", "threshold", "counts", "confusion_matrix"),
    *("classification_report", "metrics", "roc", "reliability", "calibration", "sources", "bootstrap"),
)
_AGAIN = "Evaluate the model again with `covid_core evaluate --model NAME`."


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
    """Turn the predictions on one part into the content of `evaluation.json`; see the module's docstring.

    The predictions have one row an image with `REQUIRED_COLUMNS`; `group` is what never crosses parts (a patient, or several
    linked by duplicate images) and is what the bootstrap resamples. Reliability and Brier score are weighted to the prevalence
    that `probability_covid` assumes (`Calibration.prevalence`); None takes the images as they are.

    Raises:
        EvaluationError: the threshold is not in [0, 1], or the predictions are not fit for it, as of `checked_table`.
    """
    if not 0 <= threshold <= 1:
        raise EvaluationError(f"The threshold must be in [0, 1]. Received: {threshold}")
    table = checked_table(predictions, part=part)
    images = predictions_of(table, threshold=threshold, prevalence=prevalence)
    matrix = metrics.confusion_matrix(images.truth, images.called)
    found = estimates.all_metrics(images, n_resamples=n_resamples, seed=seed)
    bins = calibration.reliability_bins(images.truth, images.probability, prevalence=prevalence)
    return {
        "schema": SCHEMA,
        "model": model,
        "part": part,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "classes": list(CLASSES),
        "positive_class": COVID,
        "threshold": float(threshold),
        "counts": _counts(images),
        "confusion_matrix": matrix.tolist(),
        "classification_report": _report_rows(matrix),
        "metrics": {name: estimate.to_json() for name, estimate in found.items()},
        "roc": _roc_points(images),
        "reliability": {
            "prevalence": prevalence,
            "ece": found["ece"].value,
            "binning": f"up to {calibration.N_BINS} bins of equally many images",
            "bins": [asdict(one) for one in bins],
        },
        "calibration": {
            "before": _calibration(images.truth, table["probability_raw"].to_numpy(np.float64), prevalence),
            "after": _calibration(images.truth, images.probability, prevalence),
        },
        "sources": _within_sources(images, n_resamples=n_resamples, seed=seed),
        "bootstrap": {"unit": "group", "resamples": n_resamples, "seed": seed, "level": intervals.LEVEL},
        "note": _note(images, part),
    }


def at_threshold(evaluation: Mapping[str, Any], predictions: pd.DataFrame, threshold: float) -> dict[str, Any]:
    """Take an evaluation of these predictions to another threshold in [0, 1].

    What follows from the calls is measured again, with the same resamples: at the threshold of `evaluation` nothing changes.
    """
    images = held_out_images(evaluation, predictions, threshold)
    matrix = metrics.confusion_matrix(images.truth, images.called)
    bootstrap = evaluation["bootstrap"]
    found = estimates.threshold_metrics(images, n_resamples=bootstrap["resamples"], seed=bootstrap["seed"])
    return {
        **evaluation,
        "threshold": float(threshold),
        "confusion_matrix": matrix.tolist(),
        "classification_report": _report_rows(matrix),
        "metrics": {**evaluation["metrics"], **{name: estimate.to_json() for name, estimate in found.items()}},
    }


def held_out_images(
    evaluation: Mapping[str, Any], predictions: pd.DataFrame, threshold: float | None = None
) -> Predictions:
    """The images that an evaluation of these predictions judged, called at its threshold or at another."""
    table = checked_table(predictions, REQUIRED_COLUMNS, part=evaluation["part"])
    return predictions_of(
        table,
        threshold=evaluation["threshold"] if threshold is None else threshold,
        prevalence=evaluation["reliability"]["prevalence"],
    )


def three_way_block(predictions: pd.DataFrame, three_way: ThreeWay) -> dict[str, Any]:
    """The block `three_way` of out-of-fold predictions with `label`, `probability_covid`, `fold` and `group`."""
    arrays = (predictions[name].to_numpy() for name in ("probability_covid", "fold", "group"))
    found = cross_fitted_coverage(predictions["label"] == COVID, *arrays, coverage=three_way.coverage)
    return {**found, "lower": three_way.lower, "upper": three_way.upper}


def source_table(predictions: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0) -> list[dict[str, Any]]:
    """The block `sources` of a table with `PAIRED_COLUMNS` and `source`, whatever its parts."""
    table = checked_table(predictions, (*PAIRED_COLUMNS, "source"), may_be_blank=("source",))
    return _within_sources(predictions_of(table), n_resamples=n_resamples, seed=seed)


def read_evaluation(path: Path) -> dict[str, Any]:
    """Read and check an `evaluation.json`; EvaluationError where it is missing, damaged, or of another schema or class order."""
    return validated(read_json(path, EvaluationError), str(path))


def validated(value: Any, name: str = "The evaluation") -> dict[str, Any]:
    """Give back `value` if it is an evaluation of this schema in this class order, else raise EvaluationError with its name."""
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        schema = value.get("schema") if isinstance(value, dict) else None
        raise EvaluationError(f"{name} has the schema {schema!r}; this version reads {SCHEMA}. {_AGAIN}")
    missing = [key for key in _KEYS if key not in value]
    missing += [f"metrics.{key}" for key in METRICS if not missing and key not in value["metrics"]]
    if missing:
        raise EvaluationError(f"{name} lacks {', '.join(missing)}. {_AGAIN}")
    if list(value["classes"]) != list(CLASSES) or value["positive_class"] != COVID:
        raise EvaluationError(
            f"{name} has the classes {value['classes']}, positive {value['positive_class']!r}; they must be "
            f"{list(CLASSES)}, positive {COVID!r}."
        )
    return value


def _counts(images: Predictions) -> dict[str, Any]:
    by_class = {name: images.truth if name == COVID else ~images.truth for name in CLASSES}
    return {
        "images": int(images.truth.size),
        "patients": int(np.unique(images.patients).size),
        "prevalence": float(images.truth.mean()),
        "by_class": {
            name: {"images": int(mask.sum()), "patients": int(np.unique(images.patients[mask]).size)}
            for name, mask in by_class.items()
        },
    }


def _report_rows(matrix: NDArray[np.int64]) -> dict[str, dict[str, Any]]:
    return {name: asdict(row) for name, row in metrics.classification_report(matrix).items()}


def _calibration(
    truth: NDArray[np.bool_], probability: NDArray[np.float64], prevalence: float | None
) -> dict[str, float | None]:
    line = calibration.calibration_line(truth, probability, prevalence=prevalence)
    bins = calibration.reliability_bins(truth, probability, prevalence=prevalence)
    return {
        "brier": calibration.brier_score(truth, probability, prevalence=prevalence),
        "ece": calibration.expected_calibration_error(bins),
        "intercept": line[0] if line else None,
        "slope": line[1] if line else None,
    }


def _within_sources(images: Predictions, *, n_resamples: int, seed: int) -> list[dict[str, Any]]:
    rows = []
    for source in images.paired_sources():
        of_source = images.of_source(source)
        if of_source.truth.size >= MIN_SOURCE_IMAGES:
            covid, other = int(of_source.truth.sum()), int((~of_source.truth).sum())
            area = estimates.area_metrics(of_source, n_resamples=n_resamples, seed=seed)["roc_auc"]
            counts = {"films": covid + other, "covid": covid, "non_covid": other, "pairs": covid * other}
            rows.append({"source": source, **counts, "roc_auc": area.to_json()})
    return sorted(rows, key=lambda row: (-row["films"], row["source"]))


def _roc_points(images: Predictions) -> dict[str, Any] | None:
    if not images.has_both_classes():
        return None
    from sklearn.metrics import roc_curve  # noqa: PLC0415  takes a second, which reading an evaluation should not wait for

    fpr, tpr, thresholds = roc_curve(images.truth, images.probability, drop_intermediate=False)
    return {"fpr": fpr.tolist(), "tpr": tpr.tolist(), "thresholds": [None, *thresholds[1:].tolist()]}


def _note(images: Predictions, part: str) -> str | None:
    if not images.has_both_classes():
        present, absent = (COVID, NON_COVID) if images.truth.all() else (NON_COVID, COVID)
        words = part_in_words(part)
        return f"The {words} images are only {present}: what compares the classes is undefined without {absent} images."
    scarce = [name for name, count in _counts(images)["by_class"].items() if count["patients"] < intervals.FEW_GROUPS]
    if scarce:
        each = " each" if len(scarce) > 1 else ""
        which = " and those ".join("with COVID-19" if name == COVID else "without COVID-19" for name in scarce)
        return f"The images {which} come from fewer than {intervals.FEW_GROUPS} patients{each}: every figure is rough."
    return None
