"""Volatility bucket: is this market calm, normal, lively or wild by its own last hour.

It moves no forecast: it is what the trader reads before sizing. The edges are the rolling 50, 80
and 95 % quantiles, so a bucket says how unusual the present is, not how many basis points it has.
Source: volatility scaling after Harvey et al. 2018, "The impact of volatility targeting", as
risk control; the four buckets, the hysteresis and the dwell are ours.
"""

from __future__ import annotations

import numpy as np

from core.clock import NS_PER_S

BUCKETS = ("calm", "normal", "lively", "wild")
QUANTILES = (0.50, 0.80, 0.95)
HISTORY_S = 3600
"""Seconds of history kept, one sample each."""
MIN_HISTORY_S = 300
"""Seconds of history before there is a bucket."""
HYSTERESIS = 0.10
"""A bucket is left downwards only when volatility is this share below its lower edge."""
DWELL_S = 30
"""Least seconds in a bucket before it changes again."""
_REFRESH_S = 10


class VolatilityBucket:
    """Rolling quantiles of one instrument's volatility and the bucket it is in."""

    def __init__(self) -> None:
        self._ring = np.zeros(HISTORY_S, np.float64)
        self._n_samples = 0
        self._second = -1
        self._edges: tuple[float, ...] | None = None
        self._index: int | None = None
        self._since_ns = 0

    def update(self, now_ns: int, volatility_bps: float) -> str | None:
        """Take the volatility in force; return the bucket, or None while it is not known.

        A volatility of 0 means not known (see the features kernel), and so is its bucket.
        """
        if volatility_bps <= 0.0:
            self._index = None
            return None
        self._choose(now_ns, volatility_bps)
        second = now_ns // NS_PER_S
        if second > self._second:
            self._second = second
            self._ring[self._n_samples % HISTORY_S] = volatility_bps
            self._n_samples += 1
            if self._n_samples >= MIN_HISTORY_S and self._n_samples % _REFRESH_S == 0:
                self._refresh()
        return self.bucket

    @property
    def bucket(self) -> str | None:
        """Bucket as of the last update; None while it is not known."""
        return None if self._index is None else BUCKETS[self._index]

    @property
    def edges_bps(self) -> tuple[float, ...] | None:
        """The three edges in force, in bps, or None before there is a history."""
        return self._edges

    def _refresh(self) -> None:
        held = min(self._n_samples, HISTORY_S)
        places = [int(share * (held - 1)) for share in QUANTILES]
        ordered = np.partition(self._ring[:held], places)
        self._edges = tuple(float(ordered[place]) for place in places)

    def _choose(self, now_ns: int, volatility_bps: float) -> None:
        if self._edges is None:
            return
        if self._index is None:
            self._index = sum(volatility_bps > edge for edge in self._edges)
            self._since_ns = now_ns
            return
        if now_ns - self._since_ns < DWELL_S * NS_PER_S:
            return
        index = self._index
        while index < len(self._edges) and volatility_bps > self._edges[index]:
            index += 1
        while index > 0 and volatility_bps < (1.0 - HYSTERESIS) * self._edges[index - 1]:
            index -= 1
        if index != self._index:
            self._index = index
            self._since_ns = now_ns
