"""Blend kernels: ridge logistic regression in information form, and two small linear solvers.

State of the regression: ``precision`` float64[d, d] and ``eta`` float64[d] (precision times
mean). Plain loops and no BLAS: sums run in one order, so another machine gets the same bits.

Source: assumed-density filtering with the Laplace step and the probit moderation of MacKay 1992
("The evidence framework applied to classification networks", section 3); the forgetting is
the stabilised kind of Kulhavy and Zarrop 1993, geometric averaging with the prior.
"""

from __future__ import annotations

import math

from core.kernels import jit


@jit
def sigmoid(x):
    """Return 1 / (1 + exp(-x)) without overflow."""
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    e = math.exp(x)
    return e / (1.0 + e)


@jit
def factor(precision, eta, lower, weights):
    """Write the Cholesky factor of ``precision`` into ``lower`` and the mean into ``weights``.

    Shapes: float64[d, d], float64[d], float64[d, d], float64[d]. ``precision`` is positive
    definite because it never falls below the prior's.
    """
    d = eta.shape[0]
    for i in range(d):
        for j in range(i + 1):
            rest = precision[i, j]
            for k in range(j):
                rest -= lower[i, k] * lower[j, k]
            lower[i, j] = math.sqrt(rest) if i == j else rest / lower[j, j]
    for i in range(d):
        rest = eta[i]
        for k in range(i):
            rest -= lower[i, k] * weights[k]
        weights[i] = rest / lower[i, i]
    for i in range(d - 1, -1, -1):
        rest = weights[i]
        for k in range(i + 1, d):
            rest -= lower[k, i] * weights[k]
        weights[i] = rest / lower[i, i]


@jit
def predict(lower, weights, x, solved):
    """Return the log-odds of up and their variance for signals ``x``, float64[d - 1].

    The constant 1 is appended to ``x`` here; ``solved`` float64[d] is scratch.
    """
    d = weights.shape[0]
    log_odds = weights[d - 1]
    variance = 0.0
    for i in range(d):
        rest = 1.0
        if i < d - 1:
            rest = x[i]
            log_odds += rest * weights[i]
        for k in range(i):
            rest -= lower[i, k] * solved[k]
        solved[i] = rest / lower[i, i]
        variance += solved[i] * solved[i]
    return log_odds, variance


@jit
def learn(precision, eta, weights, x, y, step):
    """Take one label ``y`` (1.0 up, 0.0 down) for signals ``x`` with weight ``step``.

    Call ``factor`` afterwards.
    """
    d = eta.shape[0]
    log_odds = weights[d - 1]
    for i in range(d - 1):
        log_odds += x[i] * weights[i]
    p = sigmoid(log_odds)
    curvature = step * p * (1.0 - p)
    pull = curvature * log_odds + step * (y - p)
    for i in range(d):
        left = x[i] if i < d - 1 else 1.0
        eta[i] += left * pull
        for j in range(d):
            right = x[j] if j < d - 1 else 1.0
            precision[i, j] += curvature * left * right


@jit
def fade(precision, eta, keep, prior_precision):
    """Let the past count ``keep`` times as much; the prior fills what is given up.

    The variance grows, and never beyond the prior's.
    """
    d = eta.shape[0]
    for i in range(d):
        eta[i] *= keep
        for j in range(d):
            precision[i, j] *= keep
        precision[i, i] += (1.0 - keep) * prior_precision


@jit
def solve_dominant(matrix, right):
    """Solve ``matrix @ x = right`` in place for a diagonally dominant matrix; x is in ``right``.

    Gaussian elimination without pivoting, which is stable for such matrices.
    """
    n = right.shape[0]
    for i in range(n):
        for row in range(i + 1, n):
            ratio = matrix[row, i] / matrix[i, i]
            if ratio != 0.0:
                for k in range(i, n):
                    matrix[row, k] -= ratio * matrix[i, k]
                right[row] -= ratio * right[i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            right[i] -= matrix[i, k] * right[k]
        right[i] /= matrix[i, i]
