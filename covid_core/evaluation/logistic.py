"""Logistic regression with weights by Newton's method, for many weightings of the same images at once.

A resample of the bootstrap is a weighting, so one call fits them all.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_CLIP = 1e-6  # a float32 sigmoid saturates at 1 - 6e-8; beyond this a logit carries no information
_MAX_STEPS = 100
_MAX_HALVINGS = 30
_GRADIENT = 1e-9  # for each unit of weight: the fit is done
_ROUNDING = 1e-12  # of a sum over images
_RIDGE = 1e-12  # keeps the Hessian of a saturated fit solvable


def logit(probability: FloatArray) -> FloatArray:
    """The log odds of probabilities in [0, 1], these kept 1e-6 away from both ends."""
    clipped = np.clip(probability, _CLIP, 1 - _CLIP)
    return np.log(clipped) - np.log1p(-clipped)


def logistic(scores: FloatArray) -> FloatArray:
    """The probability of log odds."""
    return 0.5 * (1 + np.tanh(scores / 2))


def fit_logistic(design: FloatArray, targets: FloatArray, weights: FloatArray, offset: FloatArray) -> FloatArray:
    """Minimise the weighted cross entropy of logistic(design @ parameters + offset) against targets in [0, 1].

    Newton's method with halved steps, as in Lin, Lin and Weng, Machine Learning 68 (2007) 267. Where no minimum exists
    (separated classes) the parameters are large and mean nothing; the caller keeps such weightings away.

    The design is float64 (n, k), targets and offset are (n,), the weights (b, n) not negative; the parameters are (b, k).
    """
    n, k = design.shape
    products = (design[:, :, None] * design[:, None, :]).reshape(n, k * k)
    parameters = np.zeros((len(weights), k))
    going = np.arange(len(weights))  # the weightings whose fit is not done
    for _ in range(_MAX_STEPS):
        fitted = logistic(parameters[going] @ design.T + offset)
        gradient = (weights[going] * (fitted - targets)) @ design
        unfinished = np.abs(gradient).max(axis=1) >= _GRADIENT * weights[going].sum(axis=1)
        if not unfinished.any():
            break
        going, fitted, gradient = going[unfinished], fitted[unfinished], gradient[unfinished]
        hessian = ((weights[going] * fitted * (1 - fitted)) @ products).reshape(-1, k, k) + _RIDGE * np.eye(k)
        steps = np.linalg.solve(hessian, gradient[:, :, None])[..., 0]
        before = _cross_entropy(parameters[going] @ design.T + offset, targets, weights[going])
        length = np.ones((len(going), 1))
        for _ in range(_MAX_HALVINGS):
            scores = (parameters[going] - length * steps) @ design.T + offset
            too_long = _cross_entropy(scores, targets, weights[going]) > before * (1 + _ROUNDING)
            if not too_long.any():
                break
            length[too_long] /= 2
        parameters[going] -= length * steps
    return parameters


def _cross_entropy(scores: FloatArray, targets: FloatArray, weights: FloatArray) -> FloatArray:
    """The loss of each weighting (b, n) of the scores (b, n): (b,)."""
    softplus = np.maximum(scores, 0) + np.log(1 + np.exp(-np.abs(scores)))  # np.logaddexp(0, scores), but fast
    loss: FloatArray = np.einsum("bn,bn->b", weights, softplus - targets * scores)
    return loss
