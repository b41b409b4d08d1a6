"""Face over the book kernel: one ``Book`` per instrument.

Every call that changes the book is one kernel call that also leaves the bests and the depth of
``DEPTH_LEVELS`` behind, so what each message needs is read without another.
"""

from __future__ import annotations

import numpy as np

from core.errors import InvariantError, ValueRefused
from core.features import Features
from core.kernels import block as at
from core.kernels import book as kernel
from core.kernels import levels, update
from core.model.instrument import Instrument
from core.model.market import DEPTH_LEVELS, MARKET_STATE, TradePrint

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
        self.block = np.zeros(at.block_size(window), np.int64)
        """All of the book but its far levels, its features and its newest row: see the kernel."""
        self.far = np.zeros((2, _FIRST_SLOTS, 2), np.int64)
        """Levels outside the windows."""
        self.known_touch: Touch | None = _EMPTY
        """The touch as last read; None when the block has a newer one."""
        self.block[at.WINDOW] = window
        self.block[at.ROOM] = _FIRST_SLOTS // 2
        self.block[at.NAME_SIZE] = len(instrument.name)
        self.block[at.DEPTH_COUNT] = DEPTH_LEVELS
        self.block[at.TRADE_ID] = self.block[at.LAST_ID] = -1
        self._head, self._near, self._bits = _views(self.block, window)
        self.features = Features(
            self.block[at.CLOCK : at.VALUES], self.block[at.VALUES : at.BARS].view(np.float64)
        )
        self.row = self.block[at.ROW : at.TICKERS].view(MARKET_STATE).reshape(())
        """The newest row, MARKET_STATE[()]; written by ``moved``."""

    def clear(self) -> None:
        """Forget every level."""
        for side in (kernel.BIDS, kernel.ASKS):
            kernel.clear_side(self._head, self._near, self._bits, self.far, side)
        self.block[at.ROOM] = min(self.far.shape[1] // 2, MAX_LEVELS)
        self.block[at.TOUCH : at.GRID] = 0
        self.known_touch = _EMPTY

    def apply(self, levels: np.ndarray) -> None:
        """Set levels, int64[n, 3] rows of side (0 bid, 1 ask), ticks, lots, in order.

        All or nothing. Errors: ``ValueRefused`` above ``MAX_LEVELS``; ``InvariantError`` for a
        row that no reader of ours makes (side not 0 or 1, ticks below 1, negative lots).
        """
        count = len(levels)
        if count > self.block[at.ROOM]:
            self._make_room(count)
        if update.apply(levels, self.block, self.far, DEPTH_LEVELS) != update.APPLIED:
            raise InvariantError(f"levels of {self.instrument.name} held a row that is no level")
        self.known_touch = None

    def moved(self, event_ns: int, recv_ns: int, *, is_live: bool) -> None:
        """Take the book as it is now into the row, and into the features if it is believed."""
        update.moved(self.block, event_ns, recv_ns, is_live)

    def traded(self, trade: TradePrint) -> None:
        """Take a trade into features and bars."""
        update.traded(
            self.block, trade.ts_recv_ns, trade.price_ticks, trade.qty_lots, trade.aggressor
        )

    def bars(self, count: int) -> np.ndarray:
        """Return up to ``count`` newest one-second bars of the mid, the open one last.

        int64[k, 6]: second at which it closes, then open, high, low and close as bid plus ask in
        ticks (twice the mid), then the lots traded.
        """
        begun = int(self.block[at.N_BARS])
        count = min(count, begun, at.MAX_BARS)
        ring = self.block[at.BARS : at.ROW].reshape(at.MAX_BARS, at.BAR_SIZE)
        return ring[np.arange(begun - count, begun) % at.MAX_BARS]

    def go_on_from(self, other: Book) -> None:
        """Take place, features, bars and newest trade of the book that this one replaces."""
        taken = ((at.INDEX, at.INDEX + 1), (at.TRADE_ID, at.NAME_SIZE), (at.CLOCK, at.ROW))
        for first, end in taken:
            self.block[first:end] = other.block[first:end]

    @property
    def place(self) -> int:
        """Index of the instrument in the run, as its rows name it."""
        return int(self.block[at.INDEX])

    @place.setter
    def place(self, index: int) -> None:
        self.block[at.INDEX] = index

    @property
    def newest_trade(self) -> tuple[int, int]:
        """Id and venue time in ns of the newest trade; -1 and 0 before the first."""
        return int(self.block[at.TRADE_ID]), int(self.block[at.TRADE_NS])

    @newest_trade.setter
    def newest_trade(self, trade: tuple[int, int]) -> None:
        self.block[at.TRADE_ID : at.TRADE_NS + 1] = trade

    def touch(self, count: int = DEPTH_LEVELS) -> Touch:
        """Return both bests and the depth sums of ``count`` levels; see ``Touch``.

        For ``DEPTH_LEVELS`` the answer was made by the last ``apply``.
        """
        touch = self.known_touch
        if count != DEPTH_LEVELS:
            out = np.zeros(kernel.TOUCH_SIZE, np.int64)
            update.settle(self.block, self.far, count, out)
            touch = _touch(out)
        elif touch is None:
            touch = self.known_touch = _touch(self.block[at.TOUCH : at.GRID])
        return touch

    @property
    def best_bid(self) -> tuple[int, int] | None:
        """Highest buy level as (ticks, lots), or None."""
        touch = self.touch()
        return (touch[0], touch[1]) if touch[0] else None

    @property
    def best_ask(self) -> tuple[int, int] | None:
        """Lowest sell level as (ticks, lots), or None."""
        touch = self.touch()
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
        touch = self.touch()
        return touch[0] >= touch[2] > 0

    def size(self) -> tuple[int, int]:
        """Return how many levels are held: (bids, asks)."""
        counts = self._head[:, kernel.N_LEVELS]
        return int(counts[kernel.BIDS]), int(counts[kernel.ASKS])

    def lots_at(self, side: int, ticks: int) -> int:
        """Return the lots at one price of one side (0 bid, 1 ask), 0 for none."""
        return int(kernel.lots_at(self._head, self._near, self.far, side, ticks))

    def levels(self, side: int) -> dict[int, int]:
        """Return every level of one side (0 bid, 1 ask) as ticks to lots."""
        rows = kernel.dump(self._head, self._near, self._bits, self.far, side)
        return {ticks: lots for _, ticks, lots in rows.tolist()}

    @property
    def floored(self) -> int:
        """Quantities off the lot grid that were taken down to whole lots, of this connection."""
        return int(self.block[at.GRID + levels.N_FLOORED])

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
        return self.block.nbytes + self.far.nbytes

    def _top(self, side: int, count: int) -> np.ndarray:
        rows = np.empty((max(0, min(count, self.size()[side])), 2), np.int64)
        found = kernel.top(self._head, self._near, self._bits, self.far, side, rows)
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
        slots = self.far.shape[1]
        # An eighth is kept spare, so that the levels are not counted again at every message.
        while held + count > slots * 3 // 8:
            slots *= 2
        if slots > self.far.shape[1]:
            grown = np.zeros((2, slots, 2), np.int64)
            kernel.rehash(self.far, grown)
            self.far = grown
        self.block[at.ROOM] = min(slots // 2, MAX_LEVELS) - held


def _views(block: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return head, near and bits of a block; see ``core.kernels.block.book_of``."""
    size = kernel.words(window)
    near_at = at.BITS + 2 * size
    return (
        block[at.HEAD : at.TOUCH].reshape(2, kernel.HEAD_SIZE),
        block[near_at : near_at + 2 * window].reshape(2, window),
        block[at.BITS : near_at].view(np.uint64).reshape(2, size),
    )


def _touch(found: np.ndarray) -> Touch:
    bid, bid_lots, ask, ask_lots, depth_bid, depth_ask = found.tolist()
    return bid, bid_lots, ask, ask_lots, depth_bid, depth_ask
