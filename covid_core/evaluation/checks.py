"""The checks that every figure makes of its arrays first."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def flags(name: str, values: ArrayLike) -> NDArray[np.bool_]:
    """Give back bool or 0/1 (n,) as bool, else raise ValueError; `name` says in the sentence which argument it is."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.dtype != np.bool_ and not np.isin(array, (0, 1)).all()):
        raise ValueError(f"`{name}` must be one-dimensional and hold only 0 and 1. Received: {array!r}")
    return array.astype(np.bool_)


def unit_interval(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Give back numbers in [0, 1], of any shape, as float64, else (for NaN too) raise ValueError with the argument's name."""
    array = np.asarray(values, np.float64)
    if not ((array >= 0) & (array <= 1)).all():  # false for NaN too
        raise ValueError(f"`{name}` must be in [0, 1]. Received: {array!r}")
    return array


def labels_and_probability(
    labels: ArrayLike, probability: ArrayLike, name: str = "probability"
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Give back labels as bool (n,) and probabilities as float64 (n,) in [0, 1], else raise ValueError."""
    truth, values = flags("labels", labels), unit_interval(name, probability)
    if values.shape != truth.shape:
        raise ValueError(f"`{name}` and `labels` must be (n,) both. Received: {values.shape}, {truth.shape}")
    return truth, values
