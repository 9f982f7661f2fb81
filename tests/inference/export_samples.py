"""What the tests of the exports have in common: a bundle without a network, an evaluation, and results of films."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np

from covid_core.evaluation.calibration import Calibration
from covid_core.evaluation.conformal import ThreeWay
from covid_core.images.preprocess import Preparation
from covid_core.images.types import FilmTags
from covid_core.inference.bundle import Bundle
from covid_core.inference.prediction import FilmResult, Prediction, ScreenedOut, Screening, SimilarFilm

CREATED = datetime(2026, 11, 23, 21, 30, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))
LATER = datetime(2026, 11, 24, 0, 0, 0, tzinfo=UTC)
DIGEST = "0123456789abcdef" * 4
CARD = "# Card\n\n## Limitations\n\n- It was taught by the published.\n- It knows no child.\n\n## Licences\n\n- none\n"
THREE_WAY = ThreeWay(0.31, 0.68, coverage=0.9, n_covid=20, n_non_covid=20, fitted_on="by hand")
CALIBRATION = Calibration("platt", slope=1.0, intercept=0.0, prevalence=0.5, fitted_on="validation part", n=40)


def sample_bundle(folder: Path) -> Bundle:
    """A bundle with a model card and nothing else in its folder."""
    (folder / "MODEL_CARD.md").write_text(CARD, encoding="utf-8")
    manifest: dict[str, Any] = {"files": {"model.tflite": DIGEST}}
    return Bundle(
        folder, "net-a", "2026-11-23-0123", Preparation(), 0.4, "chosen by hand", CALIBRATION, manifest, THREE_WAY
    )


def evaluation() -> dict[str, Any]:
    """As much of an evaluation as a report shows."""
    return {
        "part": "test",
        "counts": {"images": 105, "patients": 62},
        "metrics": {
            "sensitivity": {"value": 0.7, "lower": 0.43, "upper": 0.89, "n": 10, "note": None},
            "specificity": {"value": 0.84, "lower": 0.75, "upper": 0.91, "n": 95, "note": None},
        },
    }


def heat() -> np.ndarray:
    """Warm in one half."""
    values = np.zeros((8, 8), np.float32)
    values[:, 4:] = 1
    return values


INDETERMINATE = Prediction(
    label="covid",
    probability_covid=0.62,
    threshold=0.4,
    heat=heat(),
    decision="indeterminate",
    spread=(0.5, 0.8),
    lungs=np.full((8, 8), 0.25, np.float32),
    screening=Screening(distance=0.2, limit=0.5, pose="upright", pose_probability=0.9),
    similar=(
        SimilarFilm("secret-name.png", "p1", "covid", "radiopaedia.org", 0.31),
        SimilarFilm("other.png", "p2", "non_covid", "", 0.42),
    ),
)
COVID = replace(
    INDETERMINATE, probability_covid=0.9, decision="covid", spread=None, lungs=None, screening=None, similar=()
)
OTHER = replace(COVID, label="non_covid", probability_covid=0.1, decision="non_covid")
NOT_A_CHEST = ScreenedOut("not_a_chest_xray", "This is unlike the frontal chest X-rays that the model knows.")
COPY = replace(INDETERMINATE, similar=(SimilarFilm("secret-name.png", "p1", "covid", "", 0.0),))
REFUSED = FilmResult("leg.png", NOT_A_CHEST)
ANYWAY = replace(INDETERMINATE, spread=None, screening=Screening(0.9, 0.5, "upright", 0.9, NOT_A_CHEST))
CHILD_SEEN = Screening(distance=0.2, limit=0.5, pose="upright", pose_probability=0.9, child=True)
OPAQUE = replace(
    COVID,
    pattern="covid",
    probability_pattern=0.97,
    affected=0.236,
    opacities=np.full((8, 8), 0.5, np.float32),
    screening=CHILD_SEEN,
)
"""What a chest reader says of a child's radiograph with opacities."""
FULL = FilmResult(
    "film.png",
    INDETERMINATE,
    kind="PNG",
    tags=FilmTags("PA", "F", "60-69", "CR", "ACME"),
    warnings=("The film is dark.",),
    repairs=("turn_right", "invert"),
)
