"""When a request may be made: how often in any window of time, and how far from the others.

Back-off makes each next wait longer and begins anew with each connection; these two do not. No
clock: times are passed in.
"""

from __future__ import annotations

from collections import deque


class Budget:
    """At most ``count`` requests of one thing in any ``within_ns``, whatever asks for them.

    A request is counted when it is known to have been made: at its answer, its failure or the end
    of its connection. That is never before it was made, so the ceiling holds for the venue too.
    """

    def __init__(self, count: int, within_ns: int) -> None:
        self._within_ns = within_ns
        self._known_ns: deque[int] = deque(maxlen=count)

    def spend(self, now_ns: int) -> None:
        """A request was made, at ``now_ns`` or before."""
        self._known_ns.append(now_ns)

    @property
    def free_ns(self) -> int:
        """When another may be made; 0 for at once."""
        is_spent = len(self._known_ns) == self._known_ns.maxlen
        return self._known_ns[0] + self._within_ns if is_spent else 0


class Spacing:
    """Times at least ``gap_ns`` apart; one that waits for later keeps nobody else waiting."""

    def __init__(self, gap_ns: int) -> None:
        self._gap_ns = gap_ns
        self._taken_ns: list[int] = []
        """Ascending; those that no later time can come too near to are dropped."""

    def take(self, not_before_ns: int, now_ns: int) -> int:
        """Return the first free time from ``not_before_ns`` on, which is then taken."""
        self._taken_ns = [each for each in self._taken_ns if each > now_ns - self._gap_ns]
        at_ns = not_before_ns
        for each in self._taken_ns:
            if each - at_ns >= self._gap_ns:
                break
            at_ns = max(at_ns, each + self._gap_ns)
        self._taken_ns.append(at_ns)
        self._taken_ns.sort()
        return at_ns

    def give_back(self, now_ns: int) -> None:
        """Whatever was to be made later never will be."""
        self._taken_ns = [each for each in self._taken_ns if each <= now_ns]
