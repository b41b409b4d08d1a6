"""Frame kernels: the usual frames of a venue from their bytes to book, features and row, at once.

Only the exact bytes that venues send in the usual case are read, and only where they continue what
is there: the next update id, the next sequence number, a live book. Anything else gives SURPRISE
with nothing changed, and the venue's protocol takes the frame its own, slower way, which is the
one that decides what is wrong. So a kernel here accepts a subset, with the same result.
"""

from __future__ import annotations

import numpy as np

from core.kernels import block as at_
from core.kernels import jit, jit_inline
from core.kernels.levels import (
    N_FLOORED,
    PAIRS,
    SURPRISE,
    UPDATES,
    matches,
    parse_list,
    step_of,
    steps,
)
from core.kernels.machine import address_of, byte_at
from core.kernels.update import moved, set_levels, touch_of, traded

# flags of a frame that was taken; CROSSED is core.kernels.update's
CHECKED, CHECK_FAILED, LEFT_KNOWN, WALKED_FAR = 2, 4, 8, 16
"""A ticker was compared with the book; it did not agree; a best price lies past the depth of the
snapshot; little of that depth is left."""

STREAM_AT = len(b'{"stream":"')
"""Where the name of the stream begins in a frame of a combined stream."""
_DEPTH, _EACH_100_MS, _EACH_S = b"@depth", b"@100ms", b"@1000ms"
_DEPTH_DATA = b'","data":{"e":"depthUpdate","E":'
_TICKER = b'@bookTicker","data":{"u":'
_TRADE = b'@trade","data":{"e":"trade","E":'
_SYMBOL = b',"s":"'
_FIRST, _LAST, _BIDS, _ASKS, _END = b'","U":', b',"u":', b',"b":', b',"a":', b"}}"
_BID, _BID_QTY, _ASK, _ASK_QTY, _TICKER_END = (
    b'","b":"', b'","B":"', b'","a":"', b'","A":"', b'"}}',
)  # fmt: skip
_ID, _PRICE, _QTY, _TIME = b'","t":', b',"p":"', b'","q":"', b'","T":'
_MAKER_BUYS, _MAKER_SELLS = b',"m":true,"M":', b',"m":false,"M":'
_TRUE, _FALSE = b"true}}", b"false}}"

UPDATE_HEAD = b'{"channel":"l2_data","timestamp":"'
_SEQUENCE = b'","sequence_num":'
_EVENTS = b',"events":[{"type":"update","product_id":"'
UPDATES_OF, _UPDATES_END = b'","updates":', b"}]}"

_ZERO, _MINUS, _POINT, _COLON, _TEE, _ZED = 48, 45, 46, 58, 84, 90
_MICROSECONDS_FROM = 10**14
"""Stamps from here on are microseconds, below milliseconds: see ``core.feeds.times.epoch_ns``."""
_STAMP_MAX = 9 * 10**15
_LATE_MS = 9 * 10**12
"""Stamps past these two would not fit int64 as nanoseconds."""
_NS_PER_S = 10**9


@jit
def _whole(base, at, end):
    """Read a JSON integer of up to 18 digits: (value, place after) or (SURPRISE, at)."""
    first = at
    value = np.int64(0)
    while at < end:
        digit = np.int64(byte_at(base + at)) - _ZERO
        if digit < 0 or digit > 9:
            break
        value = value * 10 + digit
        at += 1
    length = at - first
    if length == 0 or length > 18 or (length > 1 and byte_at(base + first) == _ZERO):
        return np.int64(SURPRISE), first
    return value, at


@jit
def _event_ns(stamp):
    """Return the nanoseconds of a stamp that is possible, or SURPRISE."""
    if stamp < 0 or stamp > _STAMP_MAX or _LATE_MS < stamp < _MICROSECONDS_FROM:
        return np.int64(SURPRISE)
    return stamp * 1_000_000 if stamp < _MICROSECONDS_FROM else stamp * 1_000


@jit
def _symbol(base, at, end, name_end):
    """Read ``,"s":"`` and the stream's name in capitals; return the place after, or SURPRISE."""
    if not matches(base, at, end, _SYMBOL):
        return SURPRISE
    at += len(_SYMBOL)
    size = name_end - STREAM_AT
    if at + size > end:
        return SURPRISE
    for i in range(size):
        low = byte_at(base + STREAM_AT + i)
        if byte_at(base + at + i) != (low - 32 if 97 <= low <= 122 else low):
            return SURPRISE
    return at + size


@jit_inline
def _grid_of(block):
    return block[at_.GRID : at_.CLOCK]


@jit_inline
def _rows_of(block):
    return block[at_.ROWS : at_.BITS].reshape((at_.MAX_ROWS, 3))


# --- Binance: tickers ------------------------------------------------------------------------


@jit
def _compare(block, bid, bid_lots, ask, ask_lots):
    """Return CHECKED, and CHECK_FAILED too if these are not the bests of the book."""
    seen = touch_of(block)
    if seen[0] == bid and seen[1] == bid_lots and seen[2] == ask and seen[3] == ask_lots:
        return CHECKED
    return CHECKED | CHECK_FAILED


@jit
def note_ticker(block, update_id, bid, bid_lots, ask, ask_lots):
    """Compare a ticker with the book at its update id, or keep it until the book is there.

    The oldest is dropped when the ring is full. Returns CHECKED and CHECK_FAILED, or 0.
    """
    if update_id == block[at_.LAST_ID]:
        return _compare(block, bid, bid_lots, ask, ask_lots)
    if update_id < block[at_.LAST_ID]:
        return 0
    ring = block[at_.TICKERS : at_.ROWS].reshape((at_.MAX_TICKERS, at_.TICKER_SIZE))
    if block[at_.N_TICKERS] == at_.MAX_TICKERS:
        block[at_.FIRST_TICKER] += 1
        block[at_.N_TICKERS] -= 1
    place = (block[at_.FIRST_TICKER] + block[at_.N_TICKERS]) % at_.MAX_TICKERS
    block[at_.N_TICKERS] += 1
    ring[place, 0] = update_id
    ring[place, 1] = bid
    ring[place, 2] = bid_lots
    ring[place, 3] = ask
    ring[place, 4] = ask_lots
    return 0


@jit
def reach_tickers(block, update_id):
    """The book is at ``update_id``: drop the tickers up to it and compare one of this very id."""
    flags = 0
    ring = block[at_.TICKERS : at_.ROWS].reshape((at_.MAX_TICKERS, at_.TICKER_SIZE))
    while block[at_.N_TICKERS] > 0:
        place = block[at_.FIRST_TICKER] % at_.MAX_TICKERS
        if ring[place, 0] > update_id:
            break
        block[at_.FIRST_TICKER] += 1
        block[at_.N_TICKERS] -= 1
        if ring[place, 0] == update_id and flags == 0:
            flags = _compare(block, ring[place, 1], ring[place, 2], ring[place, 3], ring[place, 4])
    return flags


@jit
def take_ticker(text, block):
    """Take a ``bookTicker`` frame; return flags as ``note_ticker``, or SURPRISE."""
    base, end = address_of(text), len(text)
    name_end = STREAM_AT + block[at_.NAME_SIZE]
    if not matches(base, name_end, end, _TICKER):
        return SURPRISE
    update_id, at = _whole(base, name_end + len(_TICKER), end)
    if update_id < 0:
        return SURPRISE
    at = _symbol(base, at, end, name_end)
    grid = _grid_of(block)
    tick_step, lot_step = step_of(grid, 0), step_of(grid, 1)
    if at < 0 or not matches(base, at, end, _BID):
        return SURPRISE
    bid, at, _ = steps(base, at + len(_BID), end, grid, 0, tick_step)
    if bid <= 0 or not matches(base, at, end, _BID_QTY):
        return SURPRISE
    bid_lots, at, floored = steps(base, at + len(_BID_QTY), end, grid, 1, lot_step)
    if bid_lots < 0 or floored or not matches(base, at, end, _ASK):
        return SURPRISE
    ask, at, _ = steps(base, at + len(_ASK), end, grid, 0, tick_step)
    if ask <= 0 or not matches(base, at, end, _ASK_QTY):
        return SURPRISE
    ask_lots, at, floored = steps(base, at + len(_ASK_QTY), end, grid, 1, lot_step)
    if ask_lots < 0 or floored or not matches(base, at, end, _TICKER_END):
        return SURPRISE
    if at + len(_TICKER_END) != end:
        return SURPRISE
    return note_ticker(block, update_id, bid, bid_lots, ask, ask_lots)


# --- Binance: depth and trades ---------------------------------------------------------------


@jit
def reach(block):
    """Return LEFT_KNOWN and WALKED_FAR as the touch stands to the snapshot's depth."""
    seen = touch_of(block)
    flags = 0
    if seen[0] < block[at_.KNOWN_BID] or seen[2] > block[at_.KNOWN_ASK]:
        flags |= LEFT_KNOWN
    if seen[2] == 0 and block[at_.KNOWN_ASK] != at_.NEVER_ABOVE:
        flags |= LEFT_KNOWN
    if seen[0] < block[at_.FAR_BID] or seen[2] > block[at_.FAR_ASK]:
        flags |= WALKED_FAR
    return flags


@jit
def take_depth(text, block, far, recv_ns):
    """Take a ``depthUpdate`` frame of a diff stream that continues a live book.

    Returns (flags, venue time in ns), or (SURPRISE, 0) with nothing changed.
    """
    refusal = (SURPRISE, np.int64(0))
    base, end = address_of(text), len(text)
    name_end = STREAM_AT + block[at_.NAME_SIZE]
    at = name_end + len(_DEPTH)
    if not matches(base, name_end, end, _DEPTH):
        return refusal
    if matches(base, at, end, _EACH_100_MS):
        at += len(_EACH_100_MS)
    elif matches(base, at, end, _EACH_S):
        at += len(_EACH_S)
    if not matches(base, at, end, _DEPTH_DATA):
        return refusal
    stamp, at = _whole(base, at + len(_DEPTH_DATA), end)
    event_ns = _event_ns(stamp)
    at = _symbol(base, at, end, name_end)
    if event_ns < 0 or at < 0 or not matches(base, at, end, _FIRST):
        return refusal
    first, at = _whole(base, at + len(_FIRST), end)
    if first != block[at_.LAST_ID] + 1 or not matches(base, at, end, _LAST):
        return refusal
    last, at = _whole(base, at + len(_LAST), end)
    if last < first or not matches(base, at, end, _BIDS):
        return refusal
    grid, rows = _grid_of(block), _rows_of(block)
    row, at, floored = parse_list(base, at + len(_BIDS), end, PAIRS, 0, grid, rows, 0)
    if row < 0 or not matches(base, at, end, _ASKS):
        return refusal
    row, at, more = parse_list(base, at + len(_ASKS), end, PAIRS, 1, grid, rows, row)
    if row < 0 or not matches(base, at, end, _END) or at + len(_END) != end:
        return refusal
    if row > block[at_.ROOM]:
        return refusal
    grid[N_FLOORED] += floored + more
    set_levels(rows[:row], block, far, block[at_.DEPTH_COUNT])
    block[at_.LAST_ID] = last
    block[at_.NEWEST_NS] = event_ns
    flags = moved(block, event_ns, recv_ns, True) | reach_tickers(block, last) | reach(block)
    return flags, event_ns


@jit
def take_trade(text, block, recv_ns):
    """Take a ``trade`` frame newer than every trade before.

    Returns (id, ticks, lots, aggressor, venue time in ns), or SURPRISE as id.
    """
    refusal = (np.int64(SURPRISE), np.int64(0), np.int64(0), np.int64(0), np.int64(0))
    base, end = address_of(text), len(text)
    name_end = STREAM_AT + block[at_.NAME_SIZE]
    if not matches(base, name_end, end, _TRADE):
        return refusal
    stamp, at = _whole(base, name_end + len(_TRADE), end)
    at = _symbol(base, at, end, name_end)
    if stamp < 0 or at < 0 or not matches(base, at, end, _ID):
        return refusal
    trade_id, at = _whole(base, at + len(_ID), end)
    if trade_id <= block[at_.TRADE_ID] or not matches(base, at, end, _PRICE):
        return refusal
    grid = _grid_of(block)
    ticks, at, _ = steps(base, at + len(_PRICE), end, grid, 0, step_of(grid, 0))
    if ticks <= 0 or not matches(base, at, end, _QTY):
        return refusal
    lots, at, floored = steps(base, at + len(_QTY), end, grid, 1, step_of(grid, 1))
    if lots <= 0 or floored or not matches(base, at, end, _TIME):
        return refusal
    stamp, at = _whole(base, at + len(_TIME), end)
    event_ns = _event_ns(stamp)
    if matches(base, at, end, _MAKER_BUYS):
        aggressor, at = np.int64(-1), at + len(_MAKER_BUYS)
    elif matches(base, at, end, _MAKER_SELLS):
        aggressor, at = np.int64(1), at + len(_MAKER_SELLS)
    else:
        return refusal
    is_true = matches(base, at, end, _TRUE) and at + len(_TRUE) == end
    is_false = matches(base, at, end, _FALSE) and at + len(_FALSE) == end
    if event_ns < 0 or not (is_true or is_false):
        return refusal
    block[at_.TRADE_ID] = trade_id
    block[at_.TRADE_NS] = event_ns
    traded(block, recv_ns, ticks, lots, aggressor)
    return trade_id, ticks, lots, aggressor, event_ns


# --- Coinbase Advanced -----------------------------------------------------------------------


@jit
def _two(base, at):
    """Return the value of two digits, or a number below 0."""
    tens = np.int64(byte_at(base + at)) - _ZERO
    ones = np.int64(byte_at(base + at + 1)) - _ZERO
    if tens < 0 or tens > 9 or ones < 0 or ones > 9:
        return np.int64(-1000)
    return 10 * tens + ones


@jit
def _day(year, month, day):
    """Return the days since 1970-01-01, or a negative number for a date that is none from there.

    Source: H. Hinnant, "chrono-compatible low-level date algorithms", days_from_civil.
    """
    # Odd months up to July and even ones from August have 31.
    length = 30 + ((month + (month >> 3)) & 1)
    if month == 2:
        is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        length = 29 if is_leap else 28
    if month < 1 or month > 12 or day < 1 or day > length or year < 1970 or year > 2260:
        return np.int64(-1)
    shifted = year - 1 if month <= 2 else year
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


@jit
def _moment(base, at, end):
    """Read ``2026-08-09T21:05:48.483587501Z``, 0 to 9 fraction digits: (ns, place after)."""
    refusal = (np.int64(SURPRISE), at)
    if at + 21 > end:
        return refusal
    if byte_at(base + at + 4) != _MINUS or byte_at(base + at + 7) != _MINUS:
        return refusal
    if byte_at(base + at + 10) != _TEE:
        return refusal
    if byte_at(base + at + 13) != _COLON or byte_at(base + at + 16) != _COLON:
        return refusal
    year = 100 * _two(base, at) + _two(base, at + 2)
    day = _day(year, _two(base, at + 5), _two(base, at + 8))
    hour, minute, second = _two(base, at + 11), _two(base, at + 14), _two(base, at + 17)
    if day < 0 or not 0 <= hour <= 23 or not 0 <= minute <= 59 or not 0 <= second <= 59:
        return refusal
    at += 19
    nanos, unit = np.int64(0), np.int64(_NS_PER_S)
    if byte_at(base + at) == _POINT:
        at += 1
        while at < end and unit > 1:
            digit = np.int64(byte_at(base + at)) - _ZERO
            if digit < 0 or digit > 9:
                break
            unit //= 10
            nanos += digit * unit
            at += 1
        if unit == _NS_PER_S:
            return refusal
    if at >= end or byte_at(base + at) != _ZED:
        return refusal
    seconds = ((day * 24 + hour) * 60 + minute) * 60 + second
    return seconds * _NS_PER_S + nanos, at + 1


@jit
def take_update(text, block, far, name_at, name_end, sequence, recv_ns):
    """Take an ``l2_data`` frame with one update of a live book.

    The product's name stands from ``name_at`` to ``name_end``; ``sequence`` is the number that the
    frame must have. Returns (flags, venue time in ns), or (SURPRISE, 0) with nothing changed.
    """
    refusal = (SURPRISE, np.int64(0))
    base, end = address_of(text), len(text)
    if not matches(base, 0, end, UPDATE_HEAD):
        return refusal
    event_ns, at = _moment(base, len(UPDATE_HEAD), end)
    if event_ns < 0 or not matches(base, at, end, _SEQUENCE):
        return refusal
    number, at = _whole(base, at + len(_SEQUENCE), end)
    if number != sequence or not matches(base, at, end, _EVENTS):
        return refusal
    at += len(_EVENTS)
    if at != name_at or not matches(base, name_end, end, UPDATES_OF):
        return refusal
    grid, rows = _grid_of(block), _rows_of(block)
    at = name_end + len(UPDATES_OF)
    row, at, floored = parse_list(base, at, end, UPDATES, 0, grid, rows, 0)
    if row < 0 or floored or not matches(base, at, end, _UPDATES_END):
        return refusal
    if at + len(_UPDATES_END) != end or row > block[at_.ROOM]:
        return refusal
    set_levels(rows[:row], block, far, block[at_.DEPTH_COUNT])
    return moved(block, event_ns, recv_ns, True), event_ns
