"""How firm P(covid) is: kernel machines fitted on other draws of the patients, and how far they disagree on a film.

All members share the kernel of the bundle's own head (its standardisation and gamma) and most of its support vectors, so a member
is a row of coefficients, and fifty of them cost one more matrix product. Knows nothing of how they were fitted
(`covid_core.training.lung_reader.fit_ensemble`).
"""

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from covid_core.errors import BundleError
from covid_core.inference.explanation import KernelHead
from covid_core.kernel import EnsembleArrays

SHARE = 0.95
"""Of the members that lie within the spread."""


class Ensemble(EnsembleArrays):
    """The members of an ensemble, in use."""

    def probabilities(self, pooled: NDArray[np.float32], head: KernelHead) -> NDArray[np.float64]:
        """What each member says of a film, not calibrated.

        Args:
            pooled: features of the film, float32 (c,).
            head: of the bundle.

        Returns:
            float64 (m,) in [0, 1].
        """
        kernel = np.concatenate([head.kernel(pooled), head.kernel(pooled, self.further_vectors)])
        logits = (self.coefficients @ kernel + self.intercepts).astype(np.float64)
        return np.asarray(1 / (1 + np.exp(-logits)))


def spread_of(probabilities: NDArray[np.float64]) -> tuple[float, float]:
    """The lower and upper end of the middle `SHARE` of probabilities (m,)."""
    low, high = np.quantile(probabilities, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)


def load_ensemble(path: Path, head: KernelHead) -> Ensemble:
    """Read `ensemble.npz` of a bundle; its arrays are those of `EnsembleArrays`.

    Raises:
        BundleError: the file is not one, or does not fit the head.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            ensemble = Ensemble(**{name: archive[name] for name in archive.files})
            members, vectors = ensemble.coefficients.shape
            further, channels = ensemble.further_vectors.shape
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as cause:
        raise BundleError(f"{path} does not hold an ensemble: {cause}.") from cause
    fits = channels == head.channels and vectors == len(head.support_vectors) + further
    arrays = (ensemble.further_vectors, ensemble.coefficients, ensemble.intercepts)
    if not fits or ensemble.intercepts.shape != (members,) or members == 0:
        raise BundleError(f"{path} does not fit the head of its bundle. Export it anew.")
    if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in arrays):
        raise BundleError(f"{path} must hold finite float32 numbers. Export it anew.")
    return ensemble
