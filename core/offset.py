"""How far our clock stands from a venue's, and when that is too far for new risk.

One-way, so the way of the message is in it: receive time minus the venue's event time. Below zero
our clock is behind, as in three real recordings (16 ms, 45 ms and 1.27 s). Read from the times of
market data alone, at the engine's cadence, so that a replay finds what the live run found.
"""

from __future__ import annotations

from collections import deque
from statistics import median_low

from core.clock import NS_PER_MS
from core.config import RiskSettings

WINDOW = 5
"""Looks of which the median counts: two late messages move nothing, and a clock that was set shows
after three looks, which is within a second at the default cadence."""


class ClockOffset:
    """One instrument's offset; the engine gives it the newest message at each look."""

    def __init__(self, limits: RiskSettings) -> None:
        self.doubt = "no message has carried the venue's time yet"
        """Why the clock stands against new risk; empty if it does not."""
        self._limits = limits
        self._offsets_ns: deque[int] = deque(maxlen=WINDOW)
        self._newest_recv_ns = 0

    @property
    def offset_ms(self) -> float | None:
        """Our clock minus the venue's, ms; None until a message carried a time."""
        if not self._offsets_ns:
            return None
        return median_low(self._offsets_ns) / NS_PER_MS

    def look(self, event_ns: int, recv_ns: int) -> str:
        """Take the times of the newest message; a venue time of 0 says nothing.

        Returns what the trader must hear: that doubt begins or ends, else nothing.
        """
        if not event_ns or recv_ns <= self._newest_recv_ns:
            return ""
        was_in_doubt = bool(self.doubt and self._offsets_ns)
        self._newest_recv_ns = recv_ns
        self._offsets_ns.append(recv_ns - event_ns)
        self.doubt = self._judge()
        if bool(self.doubt) == was_in_doubt:
            return ""
        return f"no new risk: {self.doubt}" if self.doubt else "the clock is within its limits"

    def _judge(self) -> str:
        offset_ms = self.offset_ms
        assert offset_ms is not None
        ahead_ms, behind_ms = self._limits.max_clock_ahead_ms, self._limits.max_clock_behind_ms
        if offset_ms > ahead_ms:
            text = f"messages came {offset_ms:.0f} ms after their time: late, or our clock ahead"
            return f"{text} (limit {ahead_ms} ms)"
        if offset_ms < -behind_ms:
            return f"our clock is {-offset_ms:.0f} ms behind the venue's (limit {behind_ms} ms)"
        return ""
