"""How well the class is told without a pixel, as an audit reports it. The models are `covid_core.evaluation.baselines`.

Image size and file type are not among what is tried: the table does not tell them. scikit-learn and SciPy are loaded when the
first figure is asked for: whoever shows an audit need not wait for them.
"""

from collections.abc import Iterator, Sequence

import pandas as pd

from covid_core.data.audit_finding import Finding, Metric, Say, not_checked, rows_of
from covid_core.errors import DatasetError

PREDICTORS: dict[str, tuple[str, tuple[str, ...]]] = {
    "source_predicts": ("From the source alone", ("source",)),
    "view_predicts": ("From the view alone", ("view",)),
    "age_sex_predicts": ("From age and sex alone", ("age", "sex")),
    "all_predict": ("From source, view, age and sex together", ("source", "view", "age", "sex")),
}
"""Check -> what is known, in words, and the columns."""
N_FOLDS = 5
CHANCE = 0.5
"""The area under the ROC curve of a guess."""
_MOST_RESAMPLES = 1000
_MOST_CELLS = 10_000_000  # resamples times films, so that a large table does not take minutes
_MOST_WITHIN = 5000  # films; an area within sources takes memory with the square of the films of a source


def prediction_findings(
    cohort: pd.DataFrame, pairs: Sequence[tuple[int, int]], say: Say = lambda _: None
) -> Iterator[Finding]:
    """ROC AUC, cross-validated with patients and duplicates kept together, of what each of `PREDICTORS` tells of the class.

    A finding counts the films if it tells more than chance, else none.

    Args:
        cohort: labelled films with `filename`, `patientid`, `label`, `source`, `view`, `age`, `sex`.
        pairs: positions in it of (almost) the same picture.
        say: called before each prediction.
    """
    say("Grouping the films by patient")
    from covid_core.data.split import assign_folds, group_ids  # noqa: PLC0415
    from covid_core.evaluation.baselines import pixel_free_predictions  # noqa: PLC0415
    from covid_core.evaluation.protocols import paired_metrics  # noqa: PLC0415

    films = cohort.reset_index(drop=True).assign(group=group_ids(cohort["patientid"].tolist(), pairs))
    try:
        folds = assign_folds(films, N_FOLDS)
    except DatasetError:
        why = f"each class needs films of at least {N_FOLDS} patients to be predicted."
        yield from (not_checked(check, why) for check in PREDICTORS)
        return
    resamples = max(100, min(_MOST_RESAMPLES, _MOST_CELLS // len(films)))
    for check, (words, columns) in PREDICTORS.items():
        say(f"Telling the class without a pixel: {words[:1].lower()}{words[1:]}")
        # What is given in one fold at most cannot be learned where that fold is told.
        known = tuple(name for name in columns if len(set(folds[films[name].notna()])) > 1)
        if not known:
            yield not_checked(check, "the table does not give it.")
            continue
        # A film without a name has no place in a figure's table; its number stands in.
        guessed = films.assign(
            filename=films.index.astype("str"), probability_covid=pixel_free_predictions(films, folds, known)
        )
        # Within a source, knowing it alone tells nothing; what is left are differences between folds, against the label.
        told_within = columns != ("source",) and len(films) <= _MOST_WITHIN
        areas = paired_metrics(guessed if told_within else guessed.drop(columns="source"), n_resamples=resamples)
        yield _told(check, words, areas["roc_auc"], areas["within_source_auc"] if told_within else None, len(films))


def _told(check: str, words: str, area: Metric, within: Metric | None, films: int) -> Finding:
    value, lower, upper = area["value"], area["lower"], area["upper"]
    if value is None:
        return not_checked(check, "there are too few films of one class.")
    if lower is None or upper is None:
        interval, more = "", value == 1  # where every pair is right no resample differs, so there is no interval
        chance = "too few patients to tell it from chance"
    else:
        interval, more = f" (95% interval {lower:.2f} to {upper:.2f})", lower > CHANCE
        chance = "no more than chance"
    verdict = "more than chance; a model is worth only what it adds" if more else chance
    nothing = pd.DataFrame({"filename": [], "patientid": []}, dtype="str")
    return Finding(
        check,
        "warning" if more else "notice",
        films if more else 0,
        f"{words} the class of {films} frontal films is told with an AUC of {value:.2f}{interval}, patients kept apart: "
        f"{verdict}.",
        rows_of(nothing, ()),
        roc_auc=area,
        within_source_auc=within,
    )
