"""The numbers of a support vector machine with a radial basis kernel, as `head.npz` holds them between training and serving.

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
