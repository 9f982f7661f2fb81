"""The numbers of support vector machines with a radial basis kernel, as a bundle holds them between training and serving.

decision(p) = sum_i a_i exp(-gamma |x - s_i|^2) + b  with the standardised features  x = (p - mean) / scale
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class KernelArrays:
    """A fitted machine.

    Attributes:
        support_vectors: the s_i, standardised, float32 (s, c).
        coefficients: the dual coefficients a_i, positive for support vectors of class covid, float32 (s,).
        intercept: b, float32 (1,).
        gamma: of the radial basis function, above 0, float32 (1,).
        mean: of the pooled features, float32 (c,).
        scale: their standard deviation, above 0, float32 (c,).
    """

    support_vectors: NDArray[np.float32]
    coefficients: NDArray[np.float32]
    intercept: NDArray[np.float32]
    gamma: NDArray[np.float32]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]


@dataclass(frozen=True)
class EnsembleArrays:
    """Further machines on the kernel of a fitted one: the same standardisation and gamma, other coefficients.

    Attributes:
        further_vectors: support vectors that the fitted machine has not, standardised as its own, float32 (e, c).
        coefficients: of each member on the fitted machine's s support vectors, then on the further ones, float32 (m, s + e).
        intercepts: float32 (m,).
    """

    further_vectors: NDArray[np.float32]
    coefficients: NDArray[np.float32]
    intercepts: NDArray[np.float32]
