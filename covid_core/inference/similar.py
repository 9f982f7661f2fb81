"""The films that a model was fitted on and that look most like the one that is read.

Alike in the features of the served network, by the distance of `covid_core.inference.gate`; nothing here says that the patients
have the same disease.
"""

from typing import cast

import numpy as np

from covid_core.inference.gate import FloatArray, Gate, signature
from covid_core.inference.prediction import SimilarFilm
from covid_core.labels import Label

SHOWN = 5
COPY_DISTANCE = 0.1
"""A film nearer than this is the same picture, or can hardly be told from it. Measured on the cohort with the features of two
models: the same picture from two web sites is at most 0.074 away, a copy saved as JPEG of quality 90 at most 0.072; of the other
films of one patient the nearest is 0.12 away, of those of two patients 0.16. Copies that were made much smaller or were cropped
are often further away than this, and are not recognised."""


def similar_films(features: FloatArray, gate: Gate, count: int = SHOWN) -> tuple[SimilarFilm, ...]:
    """Find the nearest films that the model was fitted on.

    Args:
        features: float32 (h, w, c), what the network makes of the film.
        gate: knows the films.
        count: how many to find.

    Returns:
        The films, nearest first; fewer where the model was fitted on fewer.
    """
    distances = np.where(gate.fitted, gate.distances(signature(features, gate.grid)), np.inf)
    nearest = np.argsort(distances, kind="stable")[: min(count, int(gate.fitted.sum()))]
    return tuple(
        SimilarFilm(
            filename=str(gate.filenames[index]),
            patientid=str(gate.patientids[index]),
            label=cast(Label, str(gate.labels[index])),
            source=str(gate.sources[index]),
            distance=float(distances[index]),
        )
        for index in nearest
    )
