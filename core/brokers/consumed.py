"""What we took of shown levels: the book does not know, so it is remembered until it shows it.

Lots that we took stay taken while the level stands. When it shows fewer lots, those that are left
are taken to be ours first; what is added to it is new. A level that has gone has forgotten us.
"""

from __future__ import annotations

from collections.abc import Callable

LEVELS_MAX = 4_096
"""Levels remembered of one instrument; the oldest is forgotten beyond."""

_Level = tuple[int, int]
"""Book side (0 bid, 1 ask) and ticks."""


class Consumed:
    """The lots taken of every level, by instrument index."""

    def __init__(self) -> None:
        self._taken: dict[int, dict[_Level, int]] = {}

    def left_lots(self, index: int, level: _Level, shown_lots: int) -> int:
        """Return what is left for us of the first ``shown_lots`` that stand at a level."""
        return max(0, shown_lots - self._taken.get(index, {}).get(level, 0))

    def take(self, index: int, level: _Level, lots: int) -> None:
        """Remember that we took ``lots`` of a level."""
        levels = self._taken.setdefault(index, {})
        levels[level] = levels.get(level, 0) + lots
        if len(levels) > LEVELS_MAX:
            del levels[next(iter(levels))]

    def look(self, index: int, lots_at: Callable[[int, int], int]) -> None:
        """Look at the book after each change: of a level that shrank no more is taken than shown.

        ``lots_at`` takes side and ticks and returns the lots shown there.
        """
        levels = self._taken.get(index)
        if not levels:
            return
        for (side, ticks), taken_lots in list(levels.items()):
            shown_lots = lots_at(side, ticks)
            if not shown_lots:
                del levels[side, ticks]
            elif shown_lots < taken_lots:
                levels[side, ticks] = shown_lots
