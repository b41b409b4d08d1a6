"""The true book of an instrument, moved by seeded random flow; every version of it is kept."""

from __future__ import annotations

import numpy as np

from core.model.instrument import Instrument

BID, ASK = 0, 1
Sides = tuple[dict[int, int], dict[int, int]]
"""Bids and asks, ticks to lots."""
Change = tuple[int, int, int]
"""Side, ticks, lots (0 removes)."""

_MIDDLE_TICKS = 100_000
_REACH = 12
"""Changes lie this near to the best of their side, in levels, nine times in ten."""


class TrueMarket:
    """One instrument at the venue. A version is a count of level changes; truth is by version."""

    def __init__(
        self, instrument: Instrument, generator: np.random.Generator, n_levels: int, start: int = 1
    ) -> None:
        self.instrument = instrument
        self.sides: Sides = ({}, {})
        self.version = start
        self.n_levels = n_levels
        self._draws = _Draws(generator)
        for step in range(1, n_levels + 1):
            self.sides[BID][_MIDDLE_TICKS - step] = 1 + self._draws.below(5_000)
            self.sides[ASK][_MIDDLE_TICKS + step] = 1 + self._draws.below(5_000)
        self.history: dict[int, Sides] = {}
        self.until_ns: dict[int, int] = {}
        """When each version ceased to be the newest."""
        self._keep()

    def best(self, side: int) -> int:
        return max(self.sides[BID]) if side == BID else min(self.sides[ASK])

    def move(self, now_ns: int) -> list[Change]:
        """Let one thing happen and return its level changes, one version each."""
        side = self._draws.below(2)
        best, away = self.best(side), -1 if side == BID else 1
        kind = self._draws.below(10)
        near = best + away * self._draws.below(_REACH)
        if kind == 0:
            # A level better than the best, where there is room for one.
            better = best - away
            if better != self.best(1 - side):
                return [self.set(side, better, 1 + self._draws.below(5_000), now_ns)]
        if kind <= 3 and near in self.sides[side] and len(self.sides[side]) > self.n_levels // 2:
            return [self.set(side, near, 0, now_ns)]
        if kind == 4:
            # Old orders far out come and go, and some removals are of levels nobody holds.
            far = best + away * self._draws.below(2 * self.n_levels)
            return [self.set(side, far, self._draws.below(3), now_ns)]
        return [self.set(side, near, 1 + self._draws.below(5_000), now_ns)]

    def set(self, side: int, ticks: int, lots: int, now_ns: int) -> Change:
        if lots or len(self.sides[side]) == 1:
            lots = max(lots, 1)
            self.sides[side][ticks] = lots
        else:
            self.sides[side].pop(ticks, None)
        self.until_ns[self.version] = now_ns
        self.version += 1
        self._keep()
        return side, ticks, lots

    def jump(self, steps: int, now_ns: int) -> list[Change]:
        """Take ``steps`` levels off the bids and put as many on the asks below: a fast market."""
        changes = []
        for _ in range(steps):
            ticks = self.best(BID)
            changes.append(self.set(BID, ticks, 0, now_ns))
            far = min(self.sides[BID], default=ticks) - 1
            changes.append(self.set(BID, far, 7, now_ns))
            changes.append(self.set(ASK, ticks + 1, 9, now_ns))
            changes.append(self.set(ASK, max(self.sides[ASK]), 0, now_ns))
        return changes

    def shift_versions(self, by: int, now_ns: int) -> None:
        """Number on from another place, as a matching engine does that was started anew."""
        self.until_ns[self.version] = now_ns
        self.version = max(1, self.version + by)
        self._keep()

    def rows(self, side: int, count: int) -> list[list[str]]:
        """Return the best levels as text, best first."""
        ticks = sorted(self.sides[side], reverse=side == BID)[:count]
        return [self.text(each, self.sides[side][each]) for each in ticks]

    def text(self, ticks: int, lots: int) -> list[str]:
        return [f"{ticks / 100:.2f}", f"{lots / 100_000:.5f}"]

    def _keep(self) -> None:
        self.history[self.version] = (self.sides[BID].copy(), self.sides[ASK].copy())


class _Draws:
    """Uniform integers of a generator, drawn by the thousand: one at a time costs 2 us each."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator
        self._left: list[float] = []

    def below(self, count: int) -> int:
        if not self._left:
            self._left = self._generator.random(1024).tolist()
        return int(self._left.pop() * count)
