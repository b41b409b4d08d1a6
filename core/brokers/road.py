"""A road that takes time: what is sent first arrives first, and nothing overtakes."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Road(Generic[T]):
    """Things on their way, each due ``latency_ns`` after it was sent.

    Bound: none of its own; a broker's open orders, which are bounded, put things on it.
    """

    def __init__(self, latency_ns: int) -> None:
        self._latency_ns = latency_ns
        self._things: deque[tuple[int, T]] = deque()
        self._last_due_ns = 0

    @property
    def next_due_ns(self) -> int | None:
        """When the first thing arrives, or None on an empty road."""
        return self._things[0][0] if self._things else None

    def due_ns(self, now_ns: int) -> int:
        """Return when something sent at ``now_ns`` would arrive: not before what is ahead."""
        # Time never goes back, but a caller's may stand still: arrivals stay in order.
        return max(self._last_due_ns, now_ns + self._latency_ns)

    def send(self, thing: T, now_ns: int) -> None:
        self._last_due_ns = self.due_ns(now_ns)
        self._things.append((self._last_due_ns, thing))

    def take(self, now_ns: int) -> T | None:
        """Return the next thing that has arrived by ``now_ns``, or None."""
        if self._things and self._things[0][0] <= now_ns:
            return self._things.popleft()[1]
        return None
