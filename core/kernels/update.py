"""Update kernel: levels or a trade into a block, then touch, features and newest row.

Every venue's messages end here: the hot path inside its own kernel call, the others through
``core.book`` and ``core.feeds.protocol``. So a row means the same wherever it came from.
"""

from __future__ import annotations

import numpy as np

from core.kernels import bars, features, jit, jit_inline
from core.kernels import block as at
from core.kernels.book import TOUCH_SIZE, is_sound, set_all, touch

CROSSED = 1
"""Flag of ``moved``: best bid at or above best ask."""

NO_BID, NO_ASK, ROW_CROSSED, NOT_LIVE = 1, 2, 4, 8
"""Row flags, as ``core.model.market`` names them."""

APPLIED, UNSOUND = 0, -1


@jit_inline
def touch_of(block):
    """Return the view of the touch, int64[TOUCH_SIZE]."""
    return block[at.TOUCH : at.TOUCH + TOUCH_SIZE]


@jit
def set_levels(levels, block, far, count):
    """Set levels known to be sound, in order, and leave the touch behind."""
    head, near, bits = at.book_of(block)
    set_all(levels, head, near, bits, far)
    touch(head, near, bits, far, count, touch_of(block))
    block[at.ROOM] -= levels.shape[0]


@jit
def apply(levels, block, far, count):
    """Set levels int64[n, 3] of side, ticks, lots; UNSOUND, and nothing set, if one is no level."""
    if not is_sound(levels):
        return UNSOUND
    set_levels(levels, block, far, count)
    return APPLIED


@jit
def settle(block, far, count, out):
    """Write bests and depth sums of ``count`` levels to out, int64[TOUCH_SIZE]."""
    head, near, bits = at.book_of(block)
    touch(head, near, bits, far, count, out)


@jit
def _balance(plus, minus):
    total = plus + minus
    return (plus - minus) / total if total > 1e-9 else 0.0


@jit
def _fill_row(block, event_ns, recv_ns, flags):
    """Write the MARKET_STATE row; sources of the formulas: ``core.kernels.features``."""
    row = block[at.ROW : at.ROW + at.ROW_SIZE]
    seen = touch_of(block)
    values = at.values_of(block)
    row[0] = event_ns
    row[1] = recv_ns
    row[2] = block[at.INDEX] | (flags << 32)
    row[3] = seen[0]
    row[4] = seen[2]
    row[5] = seen[1]
    row[6] = seen[3]
    row[7] = seen[4]
    row[8] = seen[5]
    real = row.view(np.float64)
    bid_lots, ask_lots = np.float64(seen[1]), np.float64(seen[3])
    real[9] = 0.0
    if seen[0] > 0 and seen[2] > 0:
        real[9] = (seen[0] * ask_lots + seen[2] * bid_lots) / (bid_lots + ask_lots)
    real[10] = _balance(bid_lots, ask_lots)
    real[11] = _balance(np.float64(seen[4]), np.float64(seen[5]))
    real[12] = values[features.OFI_1S] / max(values[features.DEPTH_MEAN], 1e-9)
    real[13] = _balance(values[features.BUY_5S], values[features.SELL_5S])
    clock = block[at.CLOCK : at.CLOCK + features.CLOCK_SIZE]
    real[14] = features.volatility_bps(clock, values)


@jit
def moved(block, event_ns, recv_ns, is_live):
    """Take the touch into the features, if it may be believed, and write the row.

    is_live says whether the feed was live when the message came.

    Returns CROSSED for a crossed book, else 0.
    """
    seen = touch_of(block)
    bid, ask = seen[0], seen[2]
    flags = 0
    if bid == 0:
        flags |= NO_BID
    if ask == 0:
        flags |= NO_ASK
    if bid >= ask > 0:
        flags |= ROW_CROSSED
    if not is_live:
        flags |= NOT_LIVE
    if flags == 0:
        clock = block[at.CLOCK : at.CLOCK + features.CLOCK_SIZE]
        features.on_book(
            clock, at.values_of(block), recv_ns, bid, seen[1], ask, seen[3], seen[4], seen[5]
        )
        bars.add(block, recv_ns, bid + ask, 0)
    _fill_row(block, event_ns, recv_ns, flags)
    return CROSSED if flags & ROW_CROSSED else 0


@jit
def traded(block, recv_ns, ticks, lots, aggressor):
    """Take a public trade into the features, and its volume into the bars once there are any."""
    clock = block[at.CLOCK : at.CLOCK + features.CLOCK_SIZE]
    values = at.values_of(block)
    features.on_trade(clock, values, recv_ns, ticks, lots, aggressor)
    if block[at.N_BARS] > 0:
        bars.add(block, recv_ns, np.int64(2.0 * values[features.MID]), lots)
