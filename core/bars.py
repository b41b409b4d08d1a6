"""One-second bars of the mid, for drawing: the last few closed ones and the open one."""

from __future__ import annotations

from collections import deque

from core.clock import NS_PER_S
from core.snapshot import Bar

BARS_KEPT = 600


class Bars:
    """Bars of one instrument, oldest first."""

    def __init__(self) -> None:
        self._closed: deque[Bar] = deque(maxlen=BARS_KEPT)
        self._end_s = 0
        # The open bar changes with every message: numbers until somebody looks.
        self._open = self._high = self._low = self._close = self._volume = 0.0

    def __bool__(self) -> bool:
        return self._end_s > 0

    def add(self, now_ns: int, price: float, volume: float) -> None:
        """Take a price and the volume traded with it; a new second closes the open bar."""
        end_s = now_ns // NS_PER_S + 1
        if end_s != self._end_s:
            if self._end_s:
                self._closed.append(self._newest())
            self._end_s = end_s
            self._open = self._high = self._low = self._close = price
            self._volume = volume
            return
        self._close = price
        self._volume += volume
        if price > self._high:
            self._high = price
        elif price < self._low:
            self._low = price

    def newest(self, count: int) -> tuple[Bar, ...]:
        """Return up to ``count`` newest bars, the open one last."""
        bars = (*self._closed, self._newest()) if self._end_s else ()
        return bars[-count:]

    def _newest(self) -> Bar:
        return Bar(self._end_s, self._open, self._high, self._low, self._close, self._volume)
