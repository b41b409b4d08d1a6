"""The Clock port: the only place that reads wall time.

The program takes ``SystemClock``; engine time comes with the events. Tests take ``ManualClock``.
"""

from __future__ import annotations

import time
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Clock(Protocol):
    """Source of time for everything that trades."""

    def now_ns(self) -> int:
        """Return Unix time in integer nanoseconds, UTC, never going back."""


class SystemClock:
    """Wall clock that never goes back: a step backwards holds the last value."""

    def __init__(self) -> None:
        self._last_ns = 0

    def now_ns(self) -> int:
        self._last_ns = max(self._last_ns, time.time_ns())
        return self._last_ns


class ScaledClock:
    """A clock that runs ``speed`` times as fast as another from ``start_ns`` on."""

    def __init__(self, clock: Clock, start_ns: int, speed: float) -> None:
        self._clock = clock
        self._start_ns = start_ns
        self._speed = speed

    def now_ns(self) -> int:
        return self._start_ns + int((self._clock.now_ns() - self._start_ns) * self._speed)


class ManualClock:
    """Clock that stands still until a test moves it."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        return self._now_ns

    def move_to(self, now_ns: int) -> None:
        """Move forward to ``now_ns``; a time before the present is ignored."""
        self._now_ns = max(self._now_ns, now_ns)


def short_time(ms: float) -> str:
    """Return a duration in the unit a trader reads at a glance: ``12 ms``, ``3.2 s``, ``4 min``."""
    if ms < 1000:
        return f"{ms:.0f} ms"
    if ms < 100_000:
        return f"{ms / 1000:.1f} s"
    if ms < 6_000_000:
        return f"{ms / 60_000:.0f} min"
    return f"{ms / 3_600_000:.1f} h"


def iso_ns(ns: int) -> str:
    """Return ``YYYY-MM-DDThh:mm:ss.nnnnnnnnnZ`` for Unix nanoseconds."""
    seconds, rest = divmod(ns, NS_PER_S)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


def earliest(*dues_ns: int | None) -> int | None:
    """Return the first of some instants, or None where there is none."""
    found: int | None = None
    for due_ns in dues_ns:
        if due_ns is not None and (found is None or due_ns < found):
            found = due_ns
    return found
