"""The images that a model was fitted on and that look most like the one that is read.

Alike in the features of the served network, by the distance of `covid_core.inference.gate`; nothing here says that the patients
have the same disease.
"""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from covid_core.inference.gate import FloatArray, Gate, signature
from covid_core.inference.prediction import SimilarImage
from covid_core.labels import Label

SHOWN = 5
COPY_DISTANCE = 0.1
"""An image nearer than this is the same picture, or can hardly be distinguished from it. Measured on the cohort with the
features of two models: the same picture from two web sites is at most 0.074 away, a copy saved as JPEG of quality 90 at most
0.072; of the other images of one patient the nearest is 0.12 away, of those of two patients 0.16. Copies that were made much
smaller or were cropped are often further away than this, and are not recognised."""


def similar_images(features: FloatArray, gate: Gate, count: int = SHOWN) -> tuple[SimilarImage, ...]:
    """Find the nearest images that the model was fitted on, nearest first, of features float32 (h, w, c) of the network.

    Fewer than `count` where the model was fitted on fewer.
    """
    return _nearest(gate.distances(signature(features, gate.grid)), gate.fitted, gate, count)


def similar_to_known(filename: str, patientid: str, gate: Gate, count: int = SHOWN) -> tuple[SimilarImage, ...] | None:
    """Find the images nearest to one that the gate knows itself, without it; no picture is read for it.

    The patient tells it from another image of the same name. None where the gate does not know the image.
    """
    itself = _known(filename, patientid, gate)
    if not itself.any():
        return None
    return _nearest(gate.distances_to(gate.references[itself.argmax()]), gate.fitted & ~itself, gate, count)


def was_fitted_on(filename: str, patientid: str, gate: Gate) -> bool | None:
    """Whether the model was fitted on an image; None where the gate does not know the image."""
    itself = _known(filename, patientid, gate)
    return bool(gate.fitted[itself].any()) if itself.any() else None


def _known(filename: str, patientid: str, gate: Gate) -> NDArray[np.bool_]:
    """Which of the gate's images this one is, bool (n,)."""
    itself: NDArray[np.bool_] = (gate.filenames == filename) & (gate.patientids == patientid)
    return itself


def _nearest(distances: FloatArray, searched: NDArray[np.bool_], gate: Gate, count: int) -> tuple[SimilarImage, ...]:
    """The nearest of the images that are searched, all (n,) as the gate's."""
    order = np.argsort(np.where(searched, distances, np.inf), kind="stable")
    nearest = order[: min(count, int(searched.sum()))]
    return tuple(
        SimilarImage(
            filename=str(gate.filenames[index]),
            patientid=str(gate.patientids[index]),
            label=cast(Label, str(gate.labels[index])),
            source=str(gate.sources[index]),
            distance=float(distances[index]),
        )
        for index in nearest
    )
