"""What a model's evaluation says of one image of the collection, in words; or why it says nothing.

Only a prediction that was made without having seen the patient is shown. What the served model would say of an image that it was
fitted on is no test of it.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from covid_core.dataset.image_record import X_RAY, ImageRecord
from covid_core.evaluation.metrics import is_called
from covid_core.evaluation.summary import OUT_OF_FOLD
from covid_core.labels import CLASS_TITLES, COVID, NON_COVID
from covid_core.report.record import Record

NO_PREDICTION = "no prediction of this image"


@dataclass(frozen=True)
class HeldOut:
    """What is said of an image, where that comes from, and what it means for the heat map (empty where it means nothing)."""

    headline: str
    origin: str
    heat: str


def held_out_words(past: Record, image: ImageRecord, fitted: bool | None) -> HeldOut:
    """Say what a model made of an image before it knew it.

    An image of another patient that has the same file name is another image. `fitted` says whether the served model was fitted
    on it; None where nobody knows.
    """
    rows = past.predictions
    rows = rows[(rows["filename"] == image.filename) & (rows["patientid"] == image.patientid)]
    if rows.empty:
        return HeldOut(NO_PREDICTION, *_why_none(image, fitted))
    row: dict[str, Any] = {str(name): value for name, value in rows.iloc[0].items()}
    threshold, probability = float(past.evaluation["threshold"]), float(row["probability_covid"])
    call = COVID if bool(is_called(probability, threshold)) else NON_COVID
    against = "" if call == row["label"] else f"; the reference standard says {CLASS_TITLES[row['label']]}"
    headline = f"{CLASS_TITLES[call]}, P(COVID-19) {probability:.2f}{against}"
    origin, heat = _origin(past.evaluation["part"], row)
    return HeldOut(headline, f"COVID-19 is called from {threshold:.2f} on. {origin}", heat)


def _origin(part: str, row: dict[str, Any]) -> tuple[str, str]:
    """Where a prediction comes from, and what that means for the heat map."""
    if part != OUT_OF_FOLD:
        return f"The image is of the {part} part of the split, which the model had not seen.", ""
    fold = row.get("fold")
    where = "a fold" if fold is None or pd.isna(fold) else f"fold {fold:.0f}"
    return (
        f"The image is of {where} of the cross-validation: a model said this that had not seen the patient.",
        "The heat map is that of the model as it is served, which was fitted on this image as well: it may look elsewhere.",
    )


def _why_none(image: ImageRecord, fitted: bool | None) -> tuple[str, str]:
    """Why there is no prediction, and what that means for the heat map."""
    if image.kind != X_RAY:
        return "The model reads frontal chest X-rays only.", ""
    if fitted:
        return (
            "The model was fitted on this image, so that nothing it says of it is a test.",
            "The heat map, too, is that of a model that knows the image.",
        )
    if fitted is not None:
        return "The image was used to set the model, not to test it, so that nothing it says of it is a test.", ""
    return (
        "The image is not among those that the model was fitted or tested on.",
        "The heat map is that of the model as it is served, if its gate lets the image pass.",
    )
