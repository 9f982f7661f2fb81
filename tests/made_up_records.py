"""Records of models that nobody trained: an evaluation of made-up predictions, as of a user with forty films."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from covid_core.evaluation.evaluate import evaluate
from covid_core.report.record import Record

HOSTILE = "<b>=1+1</b> [x](javascript:alert(1)) **a**|`b` $x$ 胸部"
MANIFEST: Mapping[str, Any] = {
    "version": "2000-01-01-00000000",
    "architecture": "one layer",
    "threshold": {"value": 0.5, "method": "chosen for a test"},
    "starting_weights": {"name": "none", "sha256": None, "origin": "none: fixed numbers"},
    "training": {
        "recipe": {"backbone": "tiny", "resumed": None, "layers": [3, None, 5]},
        "dataset": {"split_sha256": "0123456789abcdef", "counts": []},
        "commit": None,
        "stages": {"initial": {"epochs": 3, "seconds": 7.5}},
    },
}


def forty_films(films_of_a_patient: int = 2, **columns: Any) -> pd.DataFrame:
    """Predictions of 20 films of each class, by turns two of each, that overlap; `columns` replace or add some."""
    number = np.arange(40)
    covid = number % 4 < 2
    raw = 1 / (1 + np.exp(-np.random.default_rng(3).normal(np.where(covid, 1.0, -1.0), 1.2)))
    patient = [f"patient{index // films_of_a_patient:02d}" for index in number]
    table = pd.DataFrame(
        {
            "filename": [f"film{index:02d}.png" for index in number],
            "patientid": patient,
            "label": np.where(covid, "covid", "non_covid"),
            "part": "test",
            "group": patient,
            "source": np.where(number % 3 == 0, "radiopaedia.org", "www.eurorad.org"),
            "probability_raw": raw,
            "probability_covid": raw,
        }
    )
    return table.assign(**columns)


def scored(probability: Any) -> pd.DataFrame:
    """The forty films with this P(covid): a number, or one a film."""
    return forty_films(probability_raw=probability, probability_covid=probability)


def record_of(
    predictions: pd.DataFrame | None = None, *, name: str = "own", manifest: Mapping[str, Any] = MANIFEST, **blocks: Any
) -> Record:
    """The record of a model with these predictions, called at 0.5, and with these further blocks alone."""
    table = forty_films() if predictions is None else predictions
    evaluation = evaluate(table, model=name, threshold=0.5, n_resamples=40)
    return Record(
        name=name,
        version="1",
        manifest=dict(manifest),
        evaluation={**evaluation, **blocks},
        predictions=table,
        history=None,
        history_problem=None,
        card={},
    )
