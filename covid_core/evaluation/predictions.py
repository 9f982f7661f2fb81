"""A table of predictions as arrays, once it has been checked: what every figure of an evaluation starts from."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from covid_core.errors import EvaluationError
from covid_core.evaluation import metrics
from covid_core.labels import CLASSES, COVID

REQUIRED_COLUMNS = ("filename", "patientid", "group", "label", "part", "probability_raw", "probability_covid")
PAIRED_COLUMNS = ("filename", "patientid", "group", "label", "probability_covid")
"""What suffices where images are only ranked: no threshold, no calibration, no part."""
_PROBABILITIES = ("probability_raw", "probability_covid")


@dataclass(frozen=True)
class Predictions:
    """Images as arrays (n,): `truth` and `called` are true for covid, `probability` is P(covid) in [0, 1].

    `groups` are what never crosses parts (a patient, or several linked by duplicate images); `sources` are empty where not known.
    `prevalence` is what `probability` assumes, None for the images' own. `folds` are those of a cross-validation, whose models'
    scores are not compared with each other; None where one model judged all.
    """

    truth: NDArray[np.bool_]
    called: NDArray[np.bool_]
    probability: NDArray[np.float64]
    groups: NDArray[np.str_]
    patients: NDArray[np.str_]
    sources: NDArray[np.str_]
    prevalence: float | None
    folds: NDArray[np.str_] | None = None

    @property
    def source_strata(self) -> NDArray[np.str_]:
        """Source and fold: the images that are compared within a source; empty where the source is not known."""
        if self.folds is None:
            return self.sources
        joined: NDArray[np.str_] = np.where(self.sources == "", "", self.folds + np.str_(" ") + self.sources)
        return joined

    def has_both_classes(self) -> bool:
        """Tell whether there are covid images and others."""
        return bool(self.truth.any()) and not bool(self.truth.all())

    def assumed_prevalence(self) -> float:
        """The share of covid images that `probability` assumes."""
        return float(self.truth.mean()) if self.prevalence is None else self.prevalence

    def paired_sources(self) -> list[str]:
        """The sources that have images of both classes."""
        return sorted((set(self.sources[self.truth].tolist()) & set(self.sources[~self.truth].tolist())) - {""})

    def of_source(self, source: str) -> "Predictions":
        """The images of one source."""
        here: NDArray[np.bool_] = self.sources == source
        names = ("truth", "called", "probability", "groups", "patients", "sources")
        kept = {name: getattr(self, name)[here] for name in names}
        return replace(self, **kept, folds=None if self.folds is None else self.folds[here])


def checked_table(
    predictions: pd.DataFrame,
    columns: tuple[str, ...] = REQUIRED_COLUMNS,
    *,
    part: str | None = None,
    may_be_blank: tuple[str, ...] = (),
) -> pd.DataFrame:
    """Give back the rows of a part of the predictions, or all, if they have the columns and figures can be made of them.

    `filename`, `label` and `probability_covid` are always among the columns.

    Raises:
        EvaluationError: columns, the part or values are missing or wrong, or an image occurs twice.
    """
    missing = [name for name in columns if name not in predictions.columns]
    if missing:
        raise EvaluationError(
            f"The predictions lack the columns {', '.join(missing)}. Received: {', '.join(map(str, predictions.columns))}"
        )
    table = predictions if part is None else predictions[predictions["part"] == part]
    if part is not None and table.empty:
        parts = sorted(predictions["part"].dropna().astype(str).unique())
        raise EvaluationError(f"The predictions have no image of part {part!r}. Parts: {', '.join(parts) or 'none'}.")
    if table.empty:
        raise EvaluationError("The predictions have no image. Received: an empty table")
    for name in columns:
        if name not in may_be_blank and table[name].isna().any():
            raise EvaluationError(f"Column {name} of the predictions has {int(table[name].isna().sum())} empty values.")
    unknown = sorted(set(table["label"].dropna()) - set(CLASSES))
    if unknown:
        raise EvaluationError(f"Labels must be among {', '.join(CLASSES)}. Received: {', '.join(map(repr, unknown))}")
    repeated = table.loc[table["filename"].duplicated(), "filename"]
    if not repeated.empty:
        raise EvaluationError(f"{len(repeated)} images occur more than once, the first is {repeated.iloc[0]}.")
    for name in _PROBABILITIES:
        if name in columns and not table[name].between(0, 1).all():
            raise EvaluationError(f"Column {name} of the predictions has values outside [0, 1].")
    return table


def predictions_of(table: pd.DataFrame, *, threshold: float = 0.5, prevalence: float | None = None) -> Predictions:
    """Take the images out of a checked table with `patientid` and `group`; column `source` may be missing.

    What needs no call may leave the threshold as it is.
    """
    probability = table["probability_covid"].to_numpy(np.float64)
    return Predictions(
        truth=(table["label"] == COVID).to_numpy(np.bool_),
        called=metrics.is_called(probability, threshold),
        probability=probability,
        groups=np.asarray(table["group"].astype(str), dtype=np.str_),
        patients=np.asarray(table["patientid"].astype(str), dtype=np.str_),
        sources=_sources(table),
        prevalence=prevalence,
        folds=np.asarray(table["fold"].astype(str), dtype=np.str_) if "fold" in table.columns else None,
    )


def _sources(table: pd.DataFrame) -> NDArray[np.str_]:
    if "source" not in table.columns:
        return np.full(len(table), "")
    return np.asarray(table["source"].astype("str").where(table["source"].notna(), ""), dtype=np.str_)
