"""The signal board: all signals of one instrument, scaled for the blend, readable for the screen.

Called at the strategy's cadence; the microprice counts what it sees between calls.
"""

from __future__ import annotations

import math

import numpy as np

from core.kernels.features import FEATURE_NAMES
from core.model.decision import AgentView
from core.signals import microprice, pressure, reversion, trend
from core.signals.scale import RobustScales
from core.signals.volatility import VolatilityBucket

AGENT_NAMES = ("agent lean", "agent conviction")
"""Conviction is the lean times one minus the entropy: an undecided agent counts less."""
SIGNAL_NAMES = (
    *pressure.NAMES,
    *microprice.NAMES,
    *trend.NAMES,
    *reversion.NAMES,
    *AGENT_NAMES,
)
N_SIGNALS = len(SIGNAL_NAMES)
START_SCALES = (
    *pressure.START_SCALES,
    *microprice.START_SCALES,
    *trend.START_SCALES,
    *reversion.START_SCALES,
    0.5,
    0.3,
)
CLIP = 3.0
"""Scaled signals are cut here: one wild value must not own a forecast."""

_SPREAD = FEATURE_NAMES.index("spread_ticks")
_IMBALANCE = FEATURE_NAMES.index("imbalance_l1")
_VOLATILITY = FEATURE_NAMES.index("volatility_bps")
_MICROPRICE = SIGNAL_NAMES.index("microprice")
_TANH = frozenset(SIGNAL_NAMES.index(name) for name in ("return 1s", "return 5s", "reversion"))
_BREAKOUT = SIGNAL_NAMES.index("breakout")


class SignalBoard:
    """Running signals of one instrument. Deterministic: same calls, same numbers."""

    def __init__(self) -> None:
        self.microprice = microprice.Microprice()
        self.reversion = reversion.Reversion()
        self.volatility = VolatilityBucket()
        self._scales = RobustScales(START_SCALES)
        self._raw: list[float | None] = [None] * N_SIGNALS
        self._half_spread_ticks = 0.5
        self._scaled = np.zeros(N_SIGNALS, np.float64)

    def reset(self) -> None:
        """The feed was in doubt: link nothing to the past. Scales and counts stay."""
        self.microprice.reset_chain()
        self.reversion.reset()
        self._raw = [None] * N_SIGNALS
        self._scaled[:] = 0.0

    def read(
        self, now_ns: int, vector: np.ndarray, mid_ticks: float, agent: AgentView | None
    ) -> np.ndarray:
        """Return the scaled signals, float64[N_SIGNALS], in [-3, 3]; plus leans up.

        ``vector`` is float64[N_FEATURES] as of ``now_ns`` and ready. Scales come from earlier
        calls only. A signal that is not present (no agent, no microprice yet) is 0. The same
        array is returned each time.
        """
        features: list[float] = vector.tolist()
        spread_ticks, imbalance = features[_SPREAD], features[_IMBALANCE]
        self._half_spread_ticks = 0.5 * max(spread_ticks, 1.0)
        offset_ticks = self.microprice.offset_ticks(imbalance, spread_ticks)
        self.microprice.observe(now_ns, imbalance, spread_ticks, mid_ticks)
        self.volatility.update(now_ns, features[_VOLATILITY])
        self._raw = [
            *pressure.pressure(features),
            offset_ticks,
            *trend.trend(features),
            self.reversion.read(now_ns, mid_ticks),
            None if agent is None else agent.lean,
            None if agent is None else agent.lean * (1.0 - agent.entropy),
        ]
        self._scaled[:] = [0.0 if value is None else value for value in self._raw]
        self._scaled /= self._scales.values
        np.clip(self._scaled, -CLIP, CLIP, out=self._scaled)
        self._scales.take(now_ns, self._raw)
        return self._scaled

    def display(self) -> tuple[tuple[str, float | None], ...]:
        """Return (name, value) of each signal in its own unit brought to [-1, 1].

        None where it is not present. The microprice is in half spreads, cut at 1; returns and
        reversion are in standard deviations x as tanh(x / 2); breakout is halved.
        """
        return tuple(
            (name, None if value is None else self._presentable(place, value))
            for place, (name, value) in enumerate(zip(SIGNAL_NAMES, self._raw, strict=True))
        )

    @property
    def volatility_bucket(self) -> str | None:
        """``calm``, ``normal``, ``lively`` or ``wild``; None until there is a history."""
        return self.volatility.bucket

    def _presentable(self, place: int, value: float) -> float:
        if place in _TANH:
            return math.tanh(0.5 * value)
        if place == _MICROPRICE:
            value /= self._half_spread_ticks
        elif place == _BREAKOUT:
            value *= 0.5
        return max(-1.0, min(1.0, value))
