"""Policy kernel: the forward pass of a small tanh network with a three-way softmax on top.

Weights are float32, laid out [in, out], so that the inner loops run along memory and are
vectorised without reordering a sum: the same bits on every CPU but for the maths library's tanh.
"""

from __future__ import annotations

import math

import numpy as np

from core.kernels import jit, jit_making

N_ACTIONS = 3
"""Short cap, flat, long cap."""


@jit
def _layer(x, weight, bias, out):
    for j in range(bias.size):
        out[j] = bias[j]
    for i in range(x.size):
        for j in range(bias.size):
            out[j] += x[i] * weight[i, j]


@jit
def _tanh(x):
    for j in range(x.size):
        x[j] = math.tanh(x[j])


@jit_making
def forward(x, w1, b1, w2, b2, w3, b3, h1, h2, probabilities):
    """Fill ``probabilities``, float64[N_ACTIONS], and return their entropy over ln N_ACTIONS.

    Shapes: x float32[n_in]; w1 float32[n_in, n_hidden], w2 float32[n_hidden, n_hidden],
    w3 float32[n_hidden, N_ACTIONS], biases alike; h1, h2 float32[n_hidden] are scratch.
    """
    _layer(x, w1, b1, h1)
    _tanh(h1)
    _layer(h1, w2, b2, h2)
    _tanh(h2)
    logits = np.empty(N_ACTIONS, np.float32)
    _layer(h2, w3, b3, logits)
    high = float(logits[0])
    for k in range(1, N_ACTIONS):
        high = max(high, float(logits[k]))
    total = 0.0
    for k in range(N_ACTIONS):
        probabilities[k] = math.exp(float(logits[k]) - high)
        total += probabilities[k]
    entropy = 0.0
    for k in range(N_ACTIONS):
        probabilities[k] /= total
        if probabilities[k] > 0.0:
            entropy -= probabilities[k] * math.log(probabilities[k])
    return entropy / math.log(N_ACTIONS)
