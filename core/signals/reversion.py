"""Reversion: how far the mid has strayed from its mean, counted only while it does come back.

A random walk strays too, and a plain z-score would call that an opportunity. So an AR(1) is
fitted to the mids of whole seconds with exponential weights, and there is no score unless its
Dickey-Fuller t statistic rejects the random walk at 5 %.

Source: Dickey and Fuller 1979 for the test; the critical value for these weights is ours, by
simulation (``tests/core/signals/test_reversion.py`` repeats it).
"""

from __future__ import annotations

import math

from core.clock import NS_PER_S

NAMES = ("reversion",)
START_SCALES = (1.0,)

WINDOW_S = 120.0
"""Age in seconds at which a mid counts 1/e."""
MIN_SECONDS = 240
CRITICAL_T = -2.2
"""5 % of random walks have a t below this, fitted with these weights."""
Z_MAX = 3.0
_GAP_NS = 3 * NS_PER_S


class Reversion:
    """Running AR(1) of one instrument's mid at whole seconds; O(1) time and memory."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything; after a gap the past is not evidence."""
        self._anchor_ticks = 0.0
        self._last_ns = 0
        self._second = -1
        self._previous: float | None = None
        self._n_seconds = 0
        self._weight = self._weight_2 = self._x = self._y = self._xx = self._xy = self._yy = 0.0
        self.t_statistic = 0.0

    def read(self, now_ns: int, mid_ticks: float) -> float | None:
        """Take the mid in force at ``now_ns``; return the score in [-3, 3].

        In standard deviations; plus when the mid is below its mean and is expected up. None
        while the random walk is not rejected.
        """
        if self._last_ns and not 0 <= now_ns - self._last_ns <= _GAP_NS:
            self.reset()
        self._last_ns = now_ns
        if self._previous is None:
            self._anchor_ticks = mid_ticks
        mid = mid_ticks - self._anchor_ticks
        second = now_ns // NS_PER_S
        if second > self._second:
            self._take(mid)
            self._second = second
        if self._n_seconds < MIN_SECONDS or self.t_statistic > CRITICAL_T:
            return None
        mean = self._y / self._weight
        variance = self._yy / self._weight - mean * mean
        if variance <= 0.0:
            return None
        return max(-Z_MAX, min(Z_MAX, (mean - mid) / math.sqrt(variance)))

    def _take(self, mid: float) -> None:
        """Take the mid (ticks from the anchor) of one whole second."""
        if self._previous is not None:
            keep = math.exp(-1.0 / WINDOW_S)
            x, y = self._previous, mid
            self._weight = keep * self._weight + 1.0
            self._weight_2 = keep * keep * self._weight_2 + 1.0
            self._x = keep * self._x + x
            self._y = keep * self._y + y
            self._xx = keep * self._xx + x * x
            self._xy = keep * self._xy + x * y
            self._yy = keep * self._yy + y * y
            self._n_seconds += 1
            self.t_statistic = self._dickey_fuller()
        self._previous = mid

    def _dickey_fuller(self) -> float:
        """Return the t statistic of slope - 1; 0 when the mid has hardly moved."""
        n = self._weight
        xx = self._xx - self._x * self._x / n
        xy = self._xy - self._x * self._y / n
        yy = self._yy - self._y * self._y / n
        if xx <= 1e-9:
            return 0.0
        slope = xy / xx
        residual = max(yy - slope * xy, 0.0) / n
        # weights w spread the slope by sum(w^2 x^2) / sum(w x^2)^2, not by 1 / sum(w x^2)
        spread = math.sqrt(residual * self._weight_2 / n / xx)
        return (slope - 1.0) / spread if spread > 0.0 else 0.0
