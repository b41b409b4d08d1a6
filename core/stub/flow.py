"""What moves a venue's own book: seeded random changes, or the simulated market.

A flow applies its changes to the book and returns them; how a venue tells of them is not known
here. Time is passed in.
"""

from __future__ import annotations

from typing import Protocol

import msgspec
import numpy as np

from core.sim.market import SimMarket
from core.sim.params import SET_C
from core.stub.truth import ASK, BID, Change, Trade, TrueBook

MAX_EVENTS = 20_000
"""Events of the simulated market a step; a market that lags catches up with the next steps."""
_MIDDLE_TICKS = 100_000
_REACH = 12
"""Random changes lie this near to the best of their side, in levels, nine times in ten."""
_FULL_LOTS = 5_000


class Step(msgspec.Struct, gc=False):
    """What happened to one instrument in one step, in order."""

    changes: list[Change] = []
    trades: list[Trade] = []


class Flow(Protocol):
    """One instrument's source of events."""

    book: TrueBook

    def advance(self, now_ns: int) -> Step:
        """Let time pass until ``now_ns`` and change the book."""


class RandomFlow:
    """Seeded level changes without a market behind them: quick, and every kind of change occurs.

    ``quiet`` is the share of steps in which nothing happens.
    """

    def __init__(
        self, book: TrueBook, generator: np.random.Generator, n_levels: int, quiet: float = 0.0
    ) -> None:
        self.book = book
        self._draws = _Draws(generator)
        self._n_levels = n_levels
        self._quiet = quiet
        for away in range(1, n_levels + 1):
            self.book.sides[BID][_MIDDLE_TICKS - away] = 1 + self._draws.below(_FULL_LOTS)
            self.book.sides[ASK][_MIDDLE_TICKS + away] = 1 + self._draws.below(_FULL_LOTS)

    def advance(self, now_ns: int) -> Step:
        """Let up to four things happen."""
        if self._draws.chance(self._quiet):
            return Step()
        changes = [self._move(now_ns) for _ in range(1 + self._draws.below(4))]
        trades = []
        if self._draws.chance(0.2):
            side = self._draws.below(2)
            ticks = self.book.best(side)
            lots = self.book.sides[side][ticks]
            trades.append(self.book.traded(ticks, lots, 2 * side - 1, now_ns))
        return Step(changes, trades)

    def jump(self, levels: int, now_ns: int) -> list[Change]:
        """Take levels off the bids and put as many on the asks below: a fast market."""
        changes, book = [], self.book
        for _ in range(levels):
            ticks = book.best(BID)
            changes.append(book.set(BID, min(book.sides[BID]) - 1, 7, now_ns))
            changes.append(book.set(BID, ticks, 0, now_ns))
            changes.append(book.set(ASK, ticks + 1, 9, now_ns))
            changes.append(book.set(ASK, max(book.sides[ASK]), 0, now_ns))
        return changes

    def _move(self, now_ns: int) -> Change:
        draws, book = self._draws, self.book
        side = draws.below(2)
        best, away = book.best(side), -1 if side == BID else 1
        kind = draws.below(10)
        near = best + away * draws.below(_REACH)
        if kind == 0 and best - away != book.best(1 - side):
            # A level better than the best, where there is room for one.
            return book.set(side, best - away, 1 + draws.below(_FULL_LOTS), now_ns)
        if (
            0 < kind <= 3
            and near in book.sides[side]
            and len(book.sides[side]) > self._n_levels // 2
        ):
            return book.set(side, near, 0, now_ns)
        if kind == 4:
            # Old orders far out come and go, and some removals are of levels nobody holds.
            far = best + away * (1 + draws.below(2 * self._n_levels))
            return book.set(side, far, draws.below(3), now_ns)
        return book.set(side, near, 1 + draws.below(_FULL_LOTS), now_ns)


class SimFlow:
    """The simulated market as a venue's matching: its book, its trades, its pace.

    Args:
        book: Empty; filled with the market's levels.
        seed: Of the market.
        start_ns: Where market time begins.
        start_ticks: About where the price then is.
        unit_lots: Mean size of an order.
        speed: Market seconds a second.
    """

    def __init__(
        self,
        book: TrueBook,
        seed: int,
        start_ns: int,
        start_ticks: int,
        *,
        unit_lots: int = 1000,
        speed: float = 1.0,
    ) -> None:
        self.book = book
        self._start_ns = start_ns
        self._speed = speed
        params = msgspec.structs.replace(SET_C, unit_lots=unit_lots)
        self.market = SimMarket(book.instrument, seed, params, start_ns, start_ticks)
        for side in (BID, ASK):
            for level in self.market.levels(side):
                book.sides[side][level.ticks] = level.lots

    def advance(self, now_ns: int) -> Step:
        """Let every event happen that is due."""
        step = Step([], [])
        market_ns = self._start_ns + int((now_ns - self._start_ns) * self._speed)
        for _ in range(MAX_EVENTS):
            if self.market.next_ns > market_ns:
                break
            event = self.market.step()
            for level in event.levels:
                step.changes.append(self.book.set(level.side, level.ticks, level.lots, now_ns))
            for each in event.executions:
                trade = self.book.traded(each.ticks, each.lots, event.aggressor, now_ns)
                step.trades.append(trade)
        return step


class _Draws:
    """Uniform numbers of a generator, drawn by the thousand: one at a time costs 2 us each."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator
        self._left: list[float] = []

    def below(self, count: int) -> int:
        return int(self._next() * count)

    def chance(self, share: float) -> bool:
        return self._next() < share

    def _next(self) -> float:
        if not self._left:
            self._left = self._generator.random(1024).tolist()
        return self._left.pop()
