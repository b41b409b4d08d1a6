"""The observation: what an agent sees, made by one kernel live, in replay and in training.

Everything is scale-free and clipped, so that a policy trained on the simulated market (tick of
1 bp) is never out of its range on a venue with a tick of 0.002 bp; there it sees the bound.
"""

from __future__ import annotations

import hashlib

import msgspec
import numpy as np

from agents import kernels
from core.kernels.features import FEATURE_NAMES, N_FEATURES

FORMULA_VERSION = 1
"""Raise it with any change of a formula in ``agents.kernels.observe`` or in the features kernel."""


class ObservationRow(msgspec.Struct, frozen=True):
    """One entry of the observation vector."""

    name: str
    formula: str
    """In terms of the feature names of core.kernels.features."""
    low: float
    high: float


_FORMULAS = (
    ("spread_log", "log2(max(spread_ticks, 1)) / 3"),
    ("imbalance_l1", "imbalance_l1"),
    ("imbalance_l10", "imbalance_l10"),
    ("order_flow_1s", "order_flow_1s"),
    ("order_flow_5s", "order_flow_5s"),
    ("pressure_1s", "pressure_1s"),
    ("pressure_5s", "pressure_5s"),
    ("pressure_30s", "pressure_30s"),
    ("return_1s", "return_1s / 2"),
    ("return_5s", "return_5s / 2"),
    ("ema_cross", "ema_cross"),
    ("breakout", "breakout / 2"),
    ("volatility_log", "log2(max(volatility_bps, 0.01)) / 4; 0 while volatility_bps is 0"),
    (
        "cost_log",
        "log2(max(spread_bps, 0.001) / max(volatility_bps, 0.01)) / 4; 0 while volatility_bps is 0",
    ),
    ("position", "position / cap"),
    ("exposure", "abs(position) / cap"),
)

OBSERVATION = tuple(
    ObservationRow(name, formula, float(low), float(high))
    for (name, formula), low, high in zip(_FORMULAS, kernels.LOW, kernels.HIGH, strict=True)
)
N_OBSERVATION = len(OBSERVATION)
OBSERVATION_NAMES = tuple(row.name for row in OBSERVATION)
POSITION = OBSERVATION_NAMES.index("position")
EXPOSURE = OBSERVATION_NAMES.index("exposure")

ACTION_NAMES = ("short cap", "flat", "long cap")
"""Action k asks for a position of (k - 1) times the cap."""


def _schema_hash() -> str:
    schema = (FORMULA_VERSION, OBSERVATION, FEATURE_NAMES, ACTION_NAMES)
    return hashlib.sha256(msgspec.json.encode(schema)).hexdigest()


SCHEMA_HASH = _schema_hash()
"""sha256 over formula version, rows, feature names and action meaning; a model names it."""


def observe(
    features: np.ndarray, position_fraction: float, out: np.ndarray | None = None
) -> np.ndarray:
    """Return the observation, float32[N_OBSERVATION], of one feature vector and position.

    features: float64[N_FEATURES]; position_fraction: position over cap, clipped to [-1, 1].
    Errors: ``ValueError`` for a wrong shape or a value that is not finite.
    """
    check_features(features)
    observation = np.empty(N_OBSERVATION, np.float32) if out is None else out
    if not kernels.observe(features, float(position_fraction), observation):
        raise ValueError(f"features or position were not finite: {features}, {position_fraction}")
    return observation


def check_features(features: np.ndarray) -> None:
    """Refuse what is not float64[N_FEATURES] with ``ValueError``."""
    if features.shape != (N_FEATURES,) or features.dtype != np.float64:
        raise ValueError(
            f"features were {features.dtype}{list(features.shape)}, "
            f"allowed is float64[{N_FEATURES}]"
        )
