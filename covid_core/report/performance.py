"""The chapters on how well a model does: the operating point, telling the classes apart, calibration, and what it is worth."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from covid_core.errors import EvaluationError
from covid_core.evaluation import post_test, post_test_words
from covid_core.evaluation.bands import band_note, pr_band, roc_band
from covid_core.evaluation.calibration import ReliabilityBin, reliability_bins
from covid_core.evaluation.comparison import Comparison, compare
from covid_core.evaluation.decision_curve import decision_curve, shifted_by, useful_range
from covid_core.evaluation.evaluate import at_threshold
from covid_core.evaluation.intervals import Band, Estimate
from covid_core.evaluation.predictions import Predictions
from covid_core.evaluation.summary import described
from covid_core.figures import usefulness
from covid_core.figures.discrimination import precision_recall, roc, roc_overlay, score_histogram
from covid_core.figures.evaluation import confusion, reliability
from covid_core.figures.post_test import people_bars
from covid_core.labels import CLASS_TITLES, CLASSES, COVID, NON_COVID
from covid_core.report import tables
from covid_core.report.document import Item, Table, Words
from covid_core.report.record import Record
from covid_core.report.words import chart

DECISION_RESAMPLES = 500
_SHORTEST_RANGE = 0.02
"""Of threshold probabilities; where the curves cross back and forth, shorter ones come and go."""


def operating_point(record: Record, threshold: float) -> tuple[Item, ...]:
    """The calls at a threshold, and how often they are right."""
    here = _at(record, threshold)
    images, ((tn, fp), (fn, tp)) = record.images(), here["confusion_matrix"]
    items: list[Item] = [
        Words(_where(record, threshold)),
        chart("confusion-matrix", confusion(here["confusion_matrix"]), tn=tn, fp=fp, fn=fn, tp=tp),
        chart(
            "probabilities",
            score_histogram(images.probability, images.truth, threshold, record.evaluation["threshold"]),
            images=len(images.truth),
            threshold=threshold,
        ),
        tables.confusion_table(here),
        tables.call_table(here),
        tables.class_table(here),
    ]
    if threshold == record.evaluation["threshold"]:
        items += tables.measured(record.evaluation, "operating_point")
    return tuple(items)


def discrimination(record: Record, others: Sequence[Record]) -> tuple[Item, ...]:
    """How well the two classes are separated, alone and beside other models."""
    evaluation, images, resampling = record.evaluation, record.images(), _resampling(record)
    roc_bounds, pr_bounds = roc_band(images, **resampling), pr_band(images, **resampling)
    items: list[Item] = [
        *_one_class(record),
        chart(
            "roc",
            roc(evaluation, roc_bounds),
            area=described(evaluation["metrics"]["pooled_auc"]),
            band=_band_in_words(roc_bounds, images),
        ),
        chart(
            "precision-recall",
            precision_recall(evaluation, pr_bounds),
            area=described(evaluation["metrics"]["pr_auc"]),
            band=_band_in_words(pr_bounds, images),
        ),
        tables.area_table(evaluation),
    ]
    if others:
        everyone = [record, *others]
        curves = [(one.name, one.evaluation["roc"], one.evaluation["metrics"]["pooled_auc"]) for one in everyone]
        items.append(chart("roc-of-all-models", roc_overlay(curves)))
        for place, other in enumerate(others, start=1):
            slug = "-".join(["compared-with", str(place), *re.findall(r"[a-z0-9]+", other.name.lower())])
            items += _compared(record, other, slug)
    return tuple(items)


def calibration(record: Record) -> tuple[Item, ...]:
    """Whether a probability can be taken at its word."""
    evaluation = record.evaluation
    share, bins = evaluation["reliability"]["prevalence"], tables.bins_table(evaluation)
    where = "" if share is None else f"Where {share:.0%} of all images are COVID-19 (to which these are weighted): "
    return (
        *_one_class(record),
        chart("reliability", reliability(evaluation, _bins_before(record)), where=where),
        *tables.measured(evaluation, "calibration"),
        tables.calibration_table(evaluation),
        *([] if bins.table.empty else [bins]),
    )


def in_your_clinic(record: Record, threshold: float, prevalence: float) -> tuple[Item, ...]:
    """What a call means, and what acting on it is worth, where COVID-19 is as common as the reader says."""
    called = Words(f"Images are called COVID-19 from a probability of {threshold:.3f} on.", "remark")
    return (
        called,
        *_predictive_values(_at(record, threshold), prevalence),
        *_decision_curve(record, threshold, prevalence),
    )


def _at(record: Record, threshold: float) -> Mapping[str, Any]:
    """The evaluation at a threshold."""
    if threshold == record.evaluation["threshold"]:
        return record.evaluation
    return at_threshold(record.evaluation, record.predictions, threshold)


def _decision_curve(record: Record, threshold: float, prevalence: float) -> tuple[Item, ...]:
    images = record.images()
    seed = record.evaluation["bootstrap"]["seed"]
    found = decision_curve(images, prevalence=prevalence, n_resamples=DECISION_RESAMPLES, seed=seed)
    if found is None:
        return _one_class(record)
    ranges = [(low, high) for low, high in useful_range(found) if high - low >= _SHORTEST_RANGE]
    where = " and ".join(f"{low:.0%} to {high:.0%}" for low, high in ranges)
    best = (
        "cannot be shown to do good or harm: the images come from too few patients."
        if bool(np.isnan(found.curve.lower).all())
        else f"does more good than acting on everyone or on no one for a reader who would act at a probability of {where}. "
        "Where the curves lie close that may be chance."
        if ranges
        else "does more good than acting on everyone or on no one at no probability."
    )
    sentence = f"Where COVID-19 has a share of {post_test_words.percent(prevalence)}, acting on the model {best}"
    figure = usefulness.decision_curve(
        found.curve,
        found.treat_all,
        prevalence=prevalence,
        threshold=float(shifted_by(threshold, images.assumed_prevalence(), prevalence)),
        n=len(images.truth),
    )
    return Words(sentence), chart("decision-curve", figure, sentence=sentence, resamples=DECISION_RESAMPLES)


def _band_in_words(band: Band | None, images: Predictions) -> str:
    """What is to be known of a band: how it was made, where it was drawn, and what limits it."""
    drawn = band is not None and not np.isnan(band.lower).all()
    made = "The band is pointwise, 95%, from resampling whole patients." if drawn else ""
    return f"{made} {band_note(images) or ''}".strip()


def _where(record: Record, threshold: float) -> str:
    shipped, method = record.evaluation["threshold"], record.manifest["threshold"]["method"]
    if threshold == shipped:
        return f"An image is called COVID-19 from a probability of {shipped:.3f} on, the operating point of the model: {method}."
    return (
        f"At a threshold of {threshold:.3f}. The model itself calls from {shipped:.3f} on; a threshold that is picked "
        "because these figures look good on these images will look worse on others."
    )


def _predictive_values(evaluation: Mapping[str, Any], prevalence: float) -> list[Item]:
    try:
        answers = post_test.answers_of(evaluation, three_way=False)
    except EvaluationError as error:
        return [Words(str(error), "caution")]
    readings = [post_test.read(answers, label, prevalence) for label in (COVID, NON_COVID)]
    sentences = [
        *post_test_words.natural_frequency_sentences(readings[0]),
        post_test_words.natural_frequency_sentences(readings[1])[1],
        f"In figures: COVID-19 in {post_test_words.probability_in_words(readings[0])} of those who are called COVID-19, and in "
        f"{post_test_words.probability_in_words(readings[1])} of the others.",
        *dict.fromkeys(reading.probability.note for reading in readings if reading.probability.note),
    ]
    positive, after_negative = (reading.probability.value for reading in readings)
    negative = None if after_negative is None else 1 - after_negative
    ppv, miss = (post_test.curve(answer, through=prevalence) for answer in answers)
    npv = Band(miss.x, 1 - miss.value, 1 - miss.upper, 1 - miss.lower)
    return [
        Words(" ".join(sentences)),
        chart(
            "predictive-values",
            usefulness.predictive_values(ppv, npv, chosen=prevalence, n=evaluation["counts"]["images"]),
            ppv=_share_in_words("positive predictive value", positive),
            npv=_share_in_words("negative predictive value", negative),
            prevalence=post_test_words.percent(prevalence),
        ),
        chart("people", people_bars(readings[0]), people=post_test_words.people_words(readings[0])),
    ]


def _share_in_words(title: str, share: float | None) -> str:
    return f"{title} is not known" if share is None else f"{title} {post_test_words.percent(share)}"


def _bins_before(record: Record) -> list[ReliabilityBin]:
    """The bins of the output before it was calibrated; none where it never was."""
    images, raw = record.images(), record.predictions["probability_raw"].to_numpy(np.float64)
    if np.array_equal(raw, images.probability):
        return []
    return reliability_bins(images.truth, raw, prevalence=images.prevalence)


def _compared(record: Record, other: Record, name: str) -> list[Item]:
    """Two models on the images that both were judged on, as a table of that name."""
    try:
        found = compare(record.predictions, other.predictions, **_resampling(record))
    except EvaluationError as error:
        return [Words(f"{record.name} and {other.name} cannot be compared: {error}", "remark")]
    if found.auc_first is None:
        return [Words(f"{record.name} and {other.name} cannot be compared on images of one class.", "remark")]
    note = (
        f"On the {found.images} images of {found.patients} patients that both were judged on and neither was trained on "
        f"({found.n_covid} with COVID-19). The difference has an interval from resampling patients, and DeLong's test with "
        "patients as clusters (Obuchowski 1997). P-values are not adjusted for the number of comparisons."
    )
    title = f"{record.name} against {other.name}"
    return [Table(name, title, _comparison_table(found, record.name, other.name), note)]


def _comparison_table(found: Comparison, first: str, second: str) -> pd.DataFrame:
    rows = [
        {"": f"ROC AUC, {name}", "Value": described(metric.to_json()), "P": ""}
        for name, metric in ((first, found.auc_first), (second, found.auc_second))
        if metric is not None
    ]
    for title, difference in (
        ("Difference of ROC AUC", found.auc_difference),
        ("Difference of ROC AUC within a source", found.within_source_difference),
    ):
        if difference is not None:
            rows.append({"": title, "Value": _signed(difference), "P": ""})
    if (test := found.delong) is not None:
        value = "undefined" if test.z is None else f"z = {test.z:.2f}"
        p = "undefined" if test.p is None else "< 0.001" if test.p < 0.001 else f"{test.p:.3f}"  # noqa: PLR2004
        rows.append({"": "DeLong, patients as clusters", "Value": value, "P": p})
    return pd.DataFrame(rows)


def _signed(estimate: Estimate) -> str:
    if estimate.value is None:
        return f"undefined. {estimate.note or ''}".strip()
    if estimate.lower is None:
        return f"{estimate.value:+.2f}. {estimate.note or ''}".strip()
    return f"{estimate.value:+.2f} (95% CI {estimate.lower:+.2f} to {estimate.upper:+.2f})"


def _resampling(record: Record) -> dict[str, int]:
    bootstrap = record.evaluation["bootstrap"]
    return {"n_resamples": bootstrap["resamples"], "seed": bootstrap["seed"]}


def _one_class(record: Record) -> tuple[Item, ...]:
    """A sentence where the images are of one class, and what compares the classes is undefined; else nothing."""
    present = [name for name in CLASSES if record.evaluation["counts"]["by_class"][name]["images"]]
    if len(present) == len(CLASSES):
        return ()
    said = f"Not defined: the images that this model was judged on are only {CLASS_TITLES[present[0]]}."
    return (Words(f"{said} Evaluate it on images of both classes.", "caution"),)
