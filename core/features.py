"""Face over the features kernel: one ``Features`` per instrument."""

from __future__ import annotations

import numpy as np

from core.kernels import features as kernel


class Features:
    """Running features of one instrument; see ``core.kernels.features`` for the formulas."""

    def __init__(self, clock: np.ndarray | None = None, values: np.ndarray | None = None) -> None:
        """``clock`` and ``values`` hold the state, int64[CLOCK_SIZE] and float64[VALUES_SIZE]."""
        self.clock = kernel.new_clock() if clock is None else clock
        self.values = kernel.new_values() if values is None else values
        self.vector = np.zeros(kernel.N_FEATURES, np.float64)
        """Last vector read, float64[N_FEATURES], order of ``FEATURE_NAMES``."""
        self.is_ready = False
        """True when ``vector`` means something."""

    def reset(self) -> None:
        """Forget the past, as after a gap."""
        kernel.reset(self.clock, self.values)
        self.is_ready = False

    def on_book(
        self, now_ns: int, bid: tuple[int, int], ask: tuple[int, int], depth: tuple[int, int]
    ) -> None:
        """Take bests as (ticks, lots) and depth sums (bid lots, ask lots)."""
        kernel.on_book(self.clock, self.values, now_ns, *bid, *ask, *depth)

    def on_trade(self, now_ns: int, price_ticks: int, qty_lots: int, aggressor: int) -> None:
        kernel.on_trade(self.clock, self.values, now_ns, price_ticks, qty_lots, aggressor)

    def read(self, now_ns: int) -> np.ndarray:
        """Return the vector as of ``now_ns`` (the same array each time)."""
        self.is_ready = bool(kernel.read(self.clock, self.values, now_ns, self.vector))
        return self.vector

    @property
    def mid_ticks(self) -> float:
        """Mid of the last book taken, in ticks; 0 while none was."""
        return float(self.values[kernel.MID])

    @property
    def volatility_bps(self) -> float:
        return float(kernel.volatility_bps(self.clock, self.values))
