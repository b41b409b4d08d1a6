"""Robust scales: one per signal, the 80th percentile of |x| over the last quarter hour.

Signals are antisymmetric (a market turned upside down turns their sign), so they are centred on
zero and not on a measured median: a share then has the sign that the trader sees.
"""

from __future__ import annotations

import numpy as np

from core.clock import NS_PER_S

HISTORY_S = 900
"""Samples kept a signal, at most one a second."""
MIN_HISTORY = 60
"""Samples of a signal before its measured scale replaces the fixed one."""
QUANTILE = 0.80
SCALE_MIN = 0.2
"""A measured scale never falls below this share of the fixed one: silence is not evidence."""


class RobustScales:
    """Running scales from past samples only.

    Bounded: a ring of 900 samples a signal. One signal is remeasured a second, in turn, so no
    call pays for all of them.
    """

    def __init__(self, start: tuple[float, ...]) -> None:
        self.values = np.array(start, np.float64)
        """Scales in force, float64[n_signals], from samples before the present one."""
        self._floor = SCALE_MIN * self.values
        self._ring = np.zeros((len(start), HISTORY_S), np.float64)
        self._counts = [0] * len(start)
        self._second = -1
        self._turn = 0

    def take(self, now_ns: int, raw: list[float | None]) -> None:
        """Sample the raw values, once a whole second; None (not present) is no sample."""
        second = now_ns // NS_PER_S
        if second <= self._second:
            return
        self._second = second
        for signal, value in enumerate(raw):
            if value is not None:
                self._ring[signal, self._counts[signal] % HISTORY_S] = abs(value)
                self._counts[signal] += 1
        self._measure(self._turn)
        self._turn = (self._turn + 1) % len(raw)

    def _measure(self, signal: int) -> None:
        held = min(self._counts[signal], HISTORY_S)
        if held >= MIN_HISTORY:
            place = int(QUANTILE * (held - 1))
            measured = np.partition(self._ring[signal, :held], place)[place]
            self.values[signal] = max(float(measured), float(self._floor[signal]))
