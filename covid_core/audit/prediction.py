"""How well the class can be predicted without a pixel; the models are `covid_core.evaluation.baselines`."""

from collections.abc import Iterator, Sequence

import pandas as pd

from covid_core.audit.checks import not_checked
from covid_core.audit.finding import Finding, Severity
from covid_core.errors import DatasetError

_PREDICTORS = {
    "source_predicts": ("Source", "source alone", ("source",)),
    "view_predicts": ("View", "view alone", ("view",)),
    "age_sex_predicts": ("Age and sex", "age and sex alone", ("age", "sex")),
    "all_predict": ("Source, view, age and sex", "source, view, age and sex", ("source", "view", "age", "sex")),
}
"""Check -> its title, what is known in words, and the columns."""
_FOLDS = 5
_CHANCE = 0.5
_MAX_RESAMPLES = 1000
_MAX_CELLS = 10_000_000  # resamples times images, so that a large table does not take minutes
_MAX_WITHIN = 5000  # images; an area within sources takes memory with the square of the images of a source


def prediction_findings(cohort: pd.DataFrame, pairs: Sequence[tuple[int, int]]) -> Iterator[Finding]:
    """Measure the ROC AUC of each of some columns, cross-validated with patients and duplicates kept together.

    The pairs are positions in the cohort, labelled images, of (almost) the same one. A finding counts the images if the lower
    limit of its interval is above chance, else none.
    """
    # scikit-learn and SciPy are slow to load, and whoever shows an audit need not wait for them.
    from covid_core.dataset.split import assign_folds, group_ids  # noqa: PLC0415
    from covid_core.evaluation.baselines import pixel_free_predictions  # noqa: PLC0415
    from covid_core.evaluation.external import paired_metrics  # noqa: PLC0415

    images = cohort.reset_index(drop=True).assign(group=group_ids(cohort["patientid"].tolist(), pairs))
    try:
        folds = assign_folds(images, _FOLDS)
    except DatasetError:
        why = f"each class needs images of at least {_FOLDS} patients to be predicted."
        yield from (not_checked(check, title, why) for check, (title, _, _) in _PREDICTORS.items())
        return
    resamples = max(100, min(_MAX_RESAMPLES, _MAX_CELLS // len(images)))
    for check, (title, known_words, columns) in _PREDICTORS.items():
        # A column given in one fold only cannot be learned where that fold is predicted.
        known = tuple(name for name in columns if len(set(folds[images[name].notna()])) > 1)
        if not known:
            yield not_checked(check, title, "the table does not give it.")
            continue
        # An image without a file name has no place in a table of predictions; its number stands in.
        predicted = images.assign(
            filename=images.index.astype("str"), probability_covid=pixel_free_predictions(images, folds, known)
        )
        # Within a source the source alone says nothing; what is left are differences between folds, against the label.
        within = columns != ("source",) and len(images) <= _MAX_WITHIN
        areas = paired_metrics(predicted if within else predicted.drop(columns="source"), n_resamples=resamples)
        area, within_area = areas["roc_auc"], areas["within_source_auc"] if within else None
        value, lower, upper = area["value"], area["lower"], area["upper"]
        if value is None:
            yield not_checked(check, title, "there are too few images of one class.")
            continue
        # Where every pair is in order no resample differs, so there is no interval.
        more, interval = (
            (value == 1, "") if lower is None else (lower > _CHANCE, f" (95% CI {lower:.2f} to {upper:.2f})")
        )
        verdict = "Judge a model by what it adds." if more else "This is no more than chance."
        nothing = not_checked(check, title, "").rows
        sentence = (
            f"The class of {len(images)} frontal X-rays, predicted from {known_words}: AUC {value:.2f}{interval}, "
            f"patient-grouped. {verdict}"
        )
        severity: Severity = "warning" if more else "notice"
        yield Finding(check, title, severity, len(images) if more else 0, sentence, nothing, True, area, within_area)
