"""Face over the book kernel: one ``Book`` per instrument.

Every call that changes the book is one kernel call that also leaves the bests and the depth of
``DEPTH_LEVELS`` behind, so what each message needs is read without another.
"""

from __future__ import annotations

import numpy as np

from core.errors import InvariantError, ValueRefused
from core.kernels import book as kernel
from core.model.instrument import Instrument
from core.model.market import DEPTH_LEVELS

Touch = tuple[int, int, int, int, int, int]
"""Best bid ticks, its lots, best ask ticks, its lots, bid depth lots, ask depth lots.

Ticks 0 (with lots and depth 0) mean that the side is empty: no level lies at zero ticks.
"""

DEFAULT_WINDOW = 2**18
"""Ticks of dense window a side; 2**18 is 2 % either way at 65,000.00 in cents, which takes
95 % of Binance's and 85 % of Coinbase's level changes (measured on BTC captures)."""

MAX_LEVELS = 2**20
"""Levels a side; the fullest book seen (Coinbase BTC-USD) has 46,000 on both."""

_FIRST_SLOTS = 4096
_EMPTY: Touch = (0, 0, 0, 0, 0, 0)


class Book:
    """All levels of one instrument, both sides; prices in ticks, quantities in lots.

    Quantities are absolute and 0 removes; removing an unknown level is normal.

    Memory: 16 bytes a window tick (4 MiB by default, of which the system backs only pages that
    held a level) and 32 bytes a hash slot, 128 KiB at first, doubled as levels outside the
    window come (4 MiB for a full Coinbase BTC-USD book).
    """

    def __init__(self, instrument: Instrument, window: int = DEFAULT_WINDOW) -> None:
        if window & (window - 1) or not kernel.MIN_WINDOW <= window <= kernel.MAX_WINDOW:
            raise InvariantError(f"window was {window}, allowed is a power of 2 from 64 to 2**18")
        self.instrument = instrument
        self._head = np.zeros((2, kernel.HEAD_SIZE), np.int64)
        self._near = np.zeros((2, window), np.int64)
        self._bits = np.zeros((2, kernel.words(window)), np.uint64)
        self._far = np.zeros((2, _FIRST_SLOTS, 2), np.int64)
        self._room = _FIRST_SLOTS // 2
        self._touch: Touch = _EMPTY

    def clear(self) -> None:
        """Forget every level."""
        for side in (kernel.BIDS, kernel.ASKS):
            kernel.clear_side(self._head, self._near, self._bits, self._far, side)
        self._room = min(self._far.shape[1] // 2, MAX_LEVELS)
        self._touch = _EMPTY

    def apply(self, levels: np.ndarray) -> None:
        """Set levels, int64[n, 3] rows of side (0 bid, 1 ask), ticks, lots, in order.

        All or nothing. Errors: ``ValueRefused`` above ``MAX_LEVELS``; ``InvariantError`` for a
        row that no reader of ours makes (side not 0 or 1, ticks below 1, negative lots).
        """
        count = len(levels)
        if count > self._room:
            self._make_room(count)
        self._room -= count
        touch = kernel.apply(levels, self._head, self._near, self._bits, self._far, DEPTH_LEVELS)
        if touch[0] < 0:
            raise InvariantError(f"levels of {self.instrument.name} held a row that is no level")
        self._touch = touch

    def touch(self, count: int = DEPTH_LEVELS) -> Touch:
        """Return both bests and the depth sums of ``count`` levels; see ``Touch``.

        For ``DEPTH_LEVELS`` the answer was made by the last ``apply`` and costs nothing.
        """
        if count == DEPTH_LEVELS:
            return self._touch
        touch: Touch = kernel.touch(self._head, self._near, self._bits, self._far, count)
        return touch

    @property
    def best_bid(self) -> tuple[int, int] | None:
        """Highest buy level as (ticks, lots), or None."""
        touch = self._touch
        return (touch[0], touch[1]) if touch[0] else None

    @property
    def best_ask(self) -> tuple[int, int] | None:
        """Lowest sell level as (ticks, lots), or None."""
        touch = self._touch
        return (touch[2], touch[3]) if touch[2] else None

    def bids(self, count: int) -> np.ndarray:
        """Return up to ``count`` best bids, best first, int64[k, 2] of ticks, lots."""
        return self._top(kernel.BIDS, count)

    def asks(self, count: int) -> np.ndarray:
        """Return up to ``count`` best asks, best first, int64[k, 2] of ticks, lots."""
        return self._top(kernel.ASKS, count)

    def depth(self, count: int) -> tuple[int, int]:
        """Return the lots of the best ``count`` levels: (bids, asks)."""
        touch = self.touch(count)
        return touch[4], touch[5]

    @property
    def is_crossed(self) -> bool:
        """True if the best bid is at or above the best ask."""
        touch = self._touch
        return touch[0] >= touch[2] > 0

    def size(self) -> tuple[int, int]:
        """Return how many levels are held: (bids, asks)."""
        counts = self._head[:, kernel.N_LEVELS]
        return int(counts[kernel.BIDS]), int(counts[kernel.ASKS])

    def lots_at(self, side: int, ticks: int) -> int:
        """Return the lots at one price of one side (0 bid, 1 ask), 0 for none."""
        return int(kernel.lots_at(self._head, self._near, self._far, side, ticks))

    def levels(self, side: int) -> dict[int, int]:
        """Return every level of one side (0 bid, 1 ask) as ticks to lots."""
        rows = kernel.dump(self._head, self._near, self._bits, self._far, side)
        return {ticks: lots for _, ticks, lots in rows.tolist()}

    @property
    def far_levels(self) -> int:
        """Levels held outside the windows, both sides."""
        return int(self._head[:, kernel.N_FAR].sum())

    @property
    def window_moves(self) -> int:
        """How often a window moved to follow the market; each costs time by the book's size."""
        return int(self._head[:, kernel.MOVES].sum())

    @property
    def memory_bytes(self) -> int:
        """Bytes of the arrays, backed by the system or not."""
        return sum(a.nbytes for a in (self._head, self._near, self._bits, self._far))

    def _top(self, side: int, count: int) -> np.ndarray:
        rows = np.empty((max(0, min(count, self.size()[side])), 2), np.int64)
        found = kernel.top(self._head, self._near, self._bits, self._far, side, rows)
        return rows[:found]

    def _make_room(self, count: int) -> None:
        """Grow the hash until all levels of a side and ``count`` more fill half of it.

        All of a side, not only those outside: a moving window can turn the one into the other.
        """
        held = max(self.size())
        if held + count > MAX_LEVELS:
            raise ValueRefused(
                f"book of {self.instrument.name} would hold {held + count} levels a side, "
                f"allowed are {MAX_LEVELS}"
            )
        slots = self._far.shape[1]
        # An eighth is kept spare, so that the levels are not counted again at every message.
        while held + count > slots * 3 // 8:
            slots *= 2
        if slots > self._far.shape[1]:
            grown = np.zeros((2, slots, 2), np.int64)
            kernel.rehash(self._far, grown)
            self._far = grown
        self._room = min(slots // 2, MAX_LEVELS) - held
