"""Logistic regression with weights by Newton's method, for many weightings of the same images at once.

A resample of the bootstrap is a weighting, so one call fits them all.
"""

from dataclasses import dataclass, replace

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
    parameters = np.zeros((len(weights), design.shape[1]))
    going = np.arange(len(weights))  # the weightings whose fit is not done
    for _ in range(_MAX_STEPS):
        problem = _Problem(design, targets, weights[going], offset)
        gradient, hessian = problem.derivatives(parameters[going])
        unfinished = np.abs(gradient).max(axis=1) >= _GRADIENT * problem.weights.sum(axis=1)
        if not unfinished.any():
            break
        going, problem = going[unfinished], replace(problem, weights=problem.weights[unfinished])
        steps = np.linalg.solve(hessian[unfinished], gradient[unfinished, :, None])[..., 0]
        parameters[going] -= problem.lengths(parameters[going], steps)[:, None] * steps
    return parameters


@dataclass(frozen=True)
class _Problem:
    """The arguments of `fit_logistic`; `parameters` is float64 (b, k) throughout."""

    design: FloatArray
    targets: FloatArray
    weights: FloatArray
    offset: FloatArray

    def derivatives(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradient (b, k) and Hessian (b, k, k) of the cross entropy."""
        n, k = self.design.shape
        fitted = logistic(parameters @ self.design.T + self.offset)
        products = (self.design[:, :, None] * self.design[:, None, :]).reshape(n, k * k)
        hessian = ((self.weights * fitted * (1 - fitted)) @ products).reshape(-1, k, k)
        return (self.weights * (fitted - self.targets)) @ self.design, hessian + _RIDGE * np.eye(k)

    def lengths(self, parameters: FloatArray, steps: FloatArray) -> FloatArray:
        """How much of each step (b, k) to take: all of it, halved until the cross entropy does not grow; (b,)."""
        before = self.cross_entropy(parameters)
        length = np.ones(len(parameters))
        for _ in range(_MAX_HALVINGS):
            too_long = self.cross_entropy(parameters - length[:, None] * steps) > before * (1 + _ROUNDING)
            if not too_long.any():
                break
            length[too_long] /= 2
        return length

    def cross_entropy(self, parameters: FloatArray) -> FloatArray:
        """The loss of each weighting, (b,)."""
        scores = parameters @ self.design.T + self.offset
        softplus = np.maximum(scores, 0) + np.log(1 + np.exp(-np.abs(scores)))  # np.logaddexp(0, scores), but fast
        loss: FloatArray = np.einsum("bn,bn->b", self.weights, softplus - self.targets * scores)
        return loss
