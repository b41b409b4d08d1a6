"""The block: everything the hot path knows of one instrument, in one int64 array.

A kernel call costs by the number of its arrays, and a message by the cache lines it touches: one
array holds head and levels of the book, grid, features, newest row and what continuity needs. Only
the hash of far levels lies apart, because it grows. Real numbers are kept by their bits.
"""

from __future__ import annotations

import numpy as np

from core.kernels import jit_inline
from core.kernels.book import HEAD_SIZE, TOUCH_SIZE, words
from core.kernels.features import CLOCK_SIZE, VALUES_SIZE
from core.kernels.levels import GRID_SIZE

WINDOW, ROOM, INDEX = range(3)
"""Ticks of dense window; levels that may still come before room is made; place of the instrument
in the run."""

LAST_ID, NEWEST_NS, KNOWN_BID, KNOWN_ASK, FAR_BID, FAR_ASK = range(3, 9)
"""Continuity by update ids and the reach of the snapshot: see ``core.feeds.stitch``."""

FIRST_TICKER, N_TICKERS = range(9, 11)
"""The ring of tickers that are ahead of the book: number of the oldest, and how many."""

TRADE_ID, TRADE_NS = range(11, 13)
"""Id and venue time of the newest trade, -1 and 0 before the first."""

N_BARS = 13
"""Bars begun since the start: see ``core.kernels.bars``."""

NAME_SIZE, DEPTH_COUNT = range(14, 16)
"""Letters of the instrument's name; levels a side that the depth sums are of."""

NEVER_BELOW, NEVER_ABOVE = -1, 2**62
"""KNOWN and FAR prices of a side that is known to its end."""

HEAD = 16
TOUCH = HEAD + 2 * HEAD_SIZE
GRID = TOUCH + TOUCH_SIZE
CLOCK = GRID + GRID_SIZE
VALUES = CLOCK + CLOCK_SIZE
MAX_BARS = 600
BAR_SIZE = 6
"""``core.kernels.bars`` names the words of a bar."""
BARS = VALUES + VALUES_SIZE
ROW = BARS + MAX_BARS * BAR_SIZE
ROW_SIZE = 15
"""``core.model.market.MARKET_STATE`` in words; instrument and flags share one."""

MAX_TICKERS = 256
TICKER_SIZE = 5
"""Update id, bid ticks, bid lots, ask ticks, ask lots."""
TICKERS = ROW + ROW_SIZE
MAX_ROWS = 1024
"""Levels of one message that the hot path takes; more go the slow way."""
ROWS = TICKERS + MAX_TICKERS * TICKER_SIZE
BITS = ROWS + 3 * MAX_ROWS


def block_size(window: int) -> int:
    """Return how many words the block of a window of that many ticks takes."""
    return BITS + 2 * words(window) + 2 * window


@jit_inline
def book_of(block):
    """Return the views (head, near, bits) of the book."""
    window = block[WINDOW]
    size = (window >> 6) + max(1, window >> 12) + 1
    head = block[HEAD : HEAD + 2 * HEAD_SIZE].reshape((2, HEAD_SIZE))
    bits = block[BITS : BITS + 2 * size].view(np.uint64).reshape((2, size))
    near = block[BITS + 2 * size : BITS + 2 * size + 2 * window].reshape((2, window))
    return head, near, bits


@jit_inline
def values_of(block):
    """Return the view of the features' values, float64[VALUES_SIZE]."""
    return block[VALUES : VALUES + VALUES_SIZE].view(np.float64)
