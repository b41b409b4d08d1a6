"""Rules to beat: flat, random, sign of imbalance, thresholds on one feature or a linear forecast.

Each sees the same observation as the agent. Thresholds are found by grid on the validation
markets, never on the test markets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from agents.observe import N_OBSERVATION, OBSERVATION_NAMES, POSITION

SHORT, FLAT, LONG = 0, 1, 2


class Rule(Protocol):
    """Anything that chooses actions from observations; rules and agents alike."""

    @property
    def name(self) -> str: ...

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Return actions int64[n] of 0 short, 1 flat, 2 long for float32[n, N_OBSERVATION]."""


class Flat:
    """Never trades: the rule that no cost can hurt."""

    name = "flat"

    def act(self, observations: np.ndarray) -> np.ndarray:
        return np.full(len(observations), FLAT, np.int64)


class Random:
    """Draws each action; shows what trading without reason costs."""

    name = "random"

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def act(self, observations: np.ndarray) -> np.ndarray:
        return self._rng.integers(0, 3, len(observations), dtype=np.int64)


class Threshold:
    """Enter on a score beyond ``enter``, leave when it falls back past ``leave``, else stay.

    score: ``weights`` float64[N_OBSERVATION] times the observation; leave = -enter means hold
    until the opposite entry.
    """

    def __init__(self, name: str, weights: np.ndarray, enter: float, leave: float) -> None:
        self.name = name
        self.weights = weights
        self.enter = enter
        self.leave = leave

    def act(self, observations: np.ndarray) -> np.ndarray:
        score = observations @ self.weights
        held = np.rint(observations[:, POSITION]).astype(np.int64)
        action: np.ndarray = held + 1
        action[(held > 0) & (score < self.leave)] = FLAT
        action[(held < 0) & (score > -self.leave)] = FLAT
        action[score > self.enter] = LONG
        action[score < -self.enter] = SHORT
        return action


def sign_of_imbalance() -> Threshold:
    """Return the rule that follows the queue imbalance at the best prices, always invested."""
    return Threshold("sign of imbalance_l1", one_feature("imbalance_l1"), 0.0, 0.0)


def one_feature(name: str, sign: float = 1.0) -> np.ndarray:
    """Return the weights, float64[N_OBSERVATION], that score by one entry alone."""
    weights = np.zeros(N_OBSERVATION)
    weights[OBSERVATION_NAMES.index(name)] = sign
    return weights


def fit_linear(observations: np.ndarray, moves_bps: np.ndarray) -> np.ndarray:
    """Return the weights that forecast the coming move in bps from the directional entries.

    Shapes: float32[n, N_OBSERVATION], float64[n] to float64[N_OBSERVATION]. No intercept and only
    entries that change sign with the market, so that the rule treats both sides alike; a ridge
    of one thousandth keeps it steady.
    """
    columns = [OBSERVATION_NAMES.index(name) for name in DIRECTIONAL]
    x = observations[:, columns].astype(np.float64)
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] *= 1.001
    weights = np.zeros(N_OBSERVATION)
    weights[columns] = np.linalg.solve(gram, x.T @ moves_bps)
    return weights


DIRECTIONAL = (
    "imbalance_l1",
    "imbalance_l10",
    "order_flow_1s",
    "order_flow_5s",
    "pressure_1s",
    "pressure_5s",
    "pressure_30s",
    "return_1s",
    "return_5s",
    "ema_cross",
    "breakout",
)
"""Entries that change sign when the market is seen upside down."""


def grid_of(name: str, weights: np.ndarray, enters: Sequence[float]) -> list[Threshold]:
    """Return a rule for each entry level and way to leave: at half, at zero, when reversed."""
    return [
        Threshold(f"{name} > {enter:g}, leave < {leave:g}", weights, enter, leave)
        for enter in enters
        for leave in (0.5 * enter, 0.0, -enter)
    ]
