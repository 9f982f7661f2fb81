"""Images that nobody took, as tables of predictions and as arrays."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from covid_core.evaluation.predictions import Predictions


def predictions(
    labels: ArrayLike, probability: ArrayLike, patients: ArrayLike | None = None, **columns: Any
) -> pd.DataFrame:
    """A table of the test part; each image is of a patient of its own where none are given."""
    truth = np.asarray(labels, bool)
    names = np.asarray(np.arange(truth.size) if patients is None else patients).astype(str)
    table = pd.DataFrame(
        {
            "filename": [f"{number}.png" for number in range(truth.size)],
            "patientid": names,
            "group": names,
            "label": np.where(truth, "covid", "non_covid"),
            "part": "test",
            "probability_raw": probability,
            "probability_covid": probability,
        }
    )
    return table.assign(**columns)


def images_from(
    labels: ArrayLike, scores: ArrayLike, patients: ArrayLike | None = None, prevalence: float | None = None
) -> Predictions:
    """Arrays of images of no known source, called from 0.5 on."""
    truth, probability = np.asarray(labels, bool), np.asarray(scores, float)
    groups = np.asarray(np.arange(truth.size) if patients is None else patients).astype(str)
    return Predictions(truth, probability >= 0.5, probability, groups, groups, np.full(truth.size, ""), prevalence)


def described_predictions(n: int = 400, patients: int = 250, seed: int = 0) -> pd.DataFrame:
    """Images of patients of one class each, with every column that a grouping reads, a tenth of them blank."""
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, n)
    covid = (rng.random(patients) < 0.6)[patient]
    score = rng.normal(size=n) + 1.2 * (covid - 0.5)
    table = predictions(
        covid,
        1 / (1 + np.exp(-score)),
        patient,
        sex=rng.choice(["F", "M"], patients)[patient],
        age=rng.integers(18, 95, patients)[patient].astype(float),
        view=rng.choice(["PA", "AP", "AP Supine"], n),
        source=rng.choice(["a.org", "b.org", "small.org"], n, p=[0.6, 0.37, 0.03]),
        rt_pcr=pd.Series(rng.choice(["Y", None], n), dtype="str"),
        severity=np.where(rng.random(n) < 0.4, rng.uniform(0, 8, n), np.nan),
    )
    for name in ("sex", "age", "view", "source"):
        table.loc[rng.random(n) < 0.1, name] = None
    return table
