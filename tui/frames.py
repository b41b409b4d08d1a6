"""Pace of drawing: wanted frames a second, what a frame costs, backing off when it costs much."""

from __future__ import annotations

from collections.abc import Callable

from core.clock import NS_PER_MS

MAX_DIVISOR = 8
_MEMORY = 0.2
"""Weight of the newest frame in the running cost."""


def next_divisor(divisor: int, cost_ms: float, period_ms: float) -> int:
    """Return by how much to divide the wanted rate.

    Halves the rate when a frame costs more than half of the period in force, doubles it again
    when it would cost less than a quarter; between the two it holds, so it cannot flutter.
    """
    if cost_ms > 0.5 * period_ms * divisor:
        return min(MAX_DIVISOR, divisor * 2)
    if divisor > 1 and cost_ms < 0.25 * period_ms * (divisor // 2):
        return divisor // 2
    return divisor


class FramePacer:
    """Says at which timer ticks to draw; told the processor time through ``stopwatch``."""

    def __init__(self, wanted_hz: int, stopwatch: Callable[[], int]) -> None:
        self._wanted_hz = wanted_hz
        self._stopwatch = stopwatch
        self._started_ns = stopwatch()
        self._ticks = 0
        self.divisor = 1
        self.cost_ms = 0.0

    @property
    def hz(self) -> int:
        """Frames a second in force, at least 1."""
        return max(1, self._wanted_hz // self.divisor)

    def tick(self) -> bool:
        """Count one timer tick; return True when a frame is due.

        The cost of a frame is all processor time of this process since the last one: building,
        composing, writing to the terminal.
        """
        self._ticks += 1
        if self._ticks % self.divisor:
            return False
        now_ns = self._stopwatch()
        spent_ms = (now_ns - self._started_ns) / NS_PER_MS
        self._started_ns = now_ns
        self.cost_ms += _MEMORY * (spent_ms - self.cost_ms)
        self.divisor = next_divisor(self.divisor, self.cost_ms, 1000 / self._wanted_hz)
        return True
