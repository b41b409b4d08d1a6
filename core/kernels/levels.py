"""Level kernel: the text of a venue's level lists to exact integer rows, nothing applied.

Only the exact bytes that venues send are read here: no white space, no escapes, this key order.
Anything else gives ``SURPRISE`` and the caller asks the slow typed reader (``core.levels``),
so this kernel accepts a subset of what the slow one accepts, with the same values.

Trick: the usual number has 1 to 7 digits, a point and 1 to 8 digits. Eight of its bytes are made
into a value by three multiplications (``digits``) instead of one step a digit; every other number
goes digit by digit. Both give the same, and the tests hold them against each other.
"""

from __future__ import annotations

import numpy as np

from core.kernels import jit, jit_inline
from core.kernels.book import MAX_STEPS
from core.kernels.machine import HIGHS, ONES, address_of, byte_at, trailing_zeros, word_at

SURPRISE = -1
"""Code of a text this kernel does not read."""

PAIRS, CHANGES, UPDATES = range(3)
"""``[["p","q"],..]``; ``[["buy"|"sell","p","q"],..]``; Coinbase Advanced ``updates``."""

# grid: int64[GRID_SIZE]; what makes text into ticks and lots
(PRICE_DECIMALS, TICK_UNITS, QTY_DECIMALS, LOT_UNITS, FLOORS, N_FLOORED, TICK_PARTS, LOT_PARTS,
 GRID_SIZE) = range(9)  # fmt: skip
"""FLOORS: 1 takes a quantity off the lot grid down to whole lots, at least one, and counts it in
N_FLOORED; 0 leaves it to the slow reader, which refuses it. TICK_PARTS and LOT_PARTS: tick and
lot in parts of 1e-8, or 0 where they are no whole number of them."""

PARTS_DECIMALS = 8

_MAX_DIGITS = 18
_QUOTE, _COMMA, _POINT, _ZERO, _OPEN, _CLOSE, _UNBRACE = 34, 44, 46, 48, 91, 93, 125
_BACKSLASH, _SPACE, _TILDE = 92, 32, 126
_POINTS, _QUOTES, _ZEROS = (np.uint64(0x0101010101010101 * byte) for byte in (46, 34, 48))
_ABOVE_NINE = np.uint64(0x7676767676767676)
_NUMBER_ROOM = 18
"""Bytes that the quick way may look at from the first digit on."""

_BUY, _SELL = b'["buy","', b'["sell","'
_BID, _OFFER = b'{"side":"bid","event_time":"', b'{"side":"offer","event_time":"'
_BEFORE_PRICE = b'","price_level":"'
_BEFORE_QTY = b'","new_quantity":"'


@jit
def matches(base, at, end, word):
    """Return whether the text from ``at`` on is ``word``; base is the address of the text."""
    size = len(word)
    if at + size > end:
        return False
    place = base + at
    other = address_of(word)
    i = 0
    while i + 8 <= size:
        if word_at(place + i) != word_at(other + i):
            return False
        i += 8
    while i < size:
        if byte_at(place + i) != byte_at(other + i):
            return False
        i += 1
    return True


@jit_inline
def digits(word):
    """Return the value of eight bytes of 0 to 9, the lowest byte the highest digit."""
    pairs = word * np.uint64(10) + (word >> np.uint64(8))
    low = (pairs & np.uint64(0x000000FF000000FF)) * np.uint64(0x000F424000000064)
    high = ((pairs >> np.uint64(16)) & np.uint64(0x000000FF000000FF)) * np.uint64(
        0x0000271000000001
    )
    return np.int64((low + high) >> np.uint64(32))


@jit_inline
def _first(word, pattern):
    """Return where in a word (0 to 7) the pattern's byte comes first, or 8."""
    other = word ^ pattern
    hits = (other - ONES) & ~other & HIGHS
    return trailing_zeros(hits) >> 3 if hits != 0 else 8


@jit_inline
def _parts(base, at):
    """Read the usual number: its value in 1e-8 times 32 plus its length, or SURPRISE."""
    result = np.int64(SURPRISE)
    text = word_at(base + at)
    whole = _first(text, _POINTS)
    if 0 < whole < 8 and (whole == 1 or byte_at(base + at) != _ZERO):
        shift = np.uint64(64 - 8 * whole)
        upper = (text << shift) ^ (_ZEROS << shift)
        lower = word_at(base + at + whole + 1) ^ _ZEROS
        length = _first(lower, _QUOTES ^ _ZEROS)
        if length == 8:
            is_ended = byte_at(base + at + whole + 9) == _QUOTE
        else:
            is_ended = length > 0
            lower &= (np.uint64(1) << np.uint64(8 * length)) - np.uint64(1)
        wrong = (upper + _ABOVE_NINE) | upper | (lower + _ABOVE_NINE) | lower
        if is_ended and (wrong & HIGHS) == 0:
            value = digits(upper) * 100_000_000 + digits(lower)
            result = value * 32 + whole + 1 + length
    return result


@jit
def _slow_steps(base, at, end, missing, units, floors):
    """Read any number digit by digit: (steps, place after it, 1 if floored) or SURPRISE first.

    Text counts up to ``end``, whose last byte is no digit.
    """
    refusal = (np.int64(SURPRISE), at, np.int64(0))
    last = end - 1
    value = np.int64(0)
    is_off_grid = False
    first = at
    while at < last:
        digit = np.int64(byte_at(base + at)) - _ZERO
        if digit < 0 or digit > 9:
            break
        value = value * 10 + digit
        at += 1
    whole = at - first
    # More than 18 digits could overflow; what they made of ``value`` is thrown away here.
    if whole == 0 or whole + missing > _MAX_DIGITS:
        return refusal
    if whole > 1 and byte_at(base + first) == _ZERO:
        return refusal
    if byte_at(base + at) == _POINT:
        at += 1
        first = at
        while at < last:
            digit = np.int64(byte_at(base + at)) - _ZERO
            if digit < 0 or digit > 9:
                break
            if missing > 0:
                value = value * 10 + digit
                missing -= 1
            elif digit != 0:
                is_off_grid = True
            at += 1
        if at == first or at - first > _MAX_DIGITS:
            return refusal
    while missing > 0:
        value *= 10
        missing -= 1
    if units != 1:
        is_off_grid |= value % units != 0
        value //= units
    if is_off_grid:
        if floors == 0:
            return refusal
        value = max(value, np.int64(1))
    if value > MAX_STEPS:
        return refusal
    return value, at, np.int64(is_off_grid)


@jit_inline
def steps(base, at, end, grid, column, step):
    """Read the price (column 0) or quantity (1) at ``at``: (steps, place after, 1 if floored).

    ``step`` is 1 / TICK_PARTS or 1 / LOT_PARTS, 0.0 where these are 0. SURPRISE comes as steps.
    """
    value = np.int64(SURPRISE)
    after = at
    floored = np.int64(0)
    if step > 0.0 and at + _NUMBER_ROOM <= end:
        read = _parts(base, at)
        if read >= 0:
            parts = read >> 5
            # A product of rounded numbers, checked exactly.
            nearest = np.int64(np.float64(parts) * step + 0.5)
            if nearest * grid[TICK_PARTS + column] == parts:
                value = nearest
                after = at + (read & 31)
    if value < 0:
        floors = grid[FLOORS] if column == 1 else np.int64(0)
        value, after, floored = _slow_steps(
            base, at, end, grid[2 * column], grid[2 * column + 1], floors
        )
    return value, after, floored


@jit_inline
def step_of(grid, column):
    """Return what ``steps`` multiplies by: 1 / TICK_PARTS or 1 / LOT_PARTS, or 0.0."""
    parts = grid[TICK_PARTS + column]
    return 1.0 / np.float64(parts) if parts > 0 else 0.0


@jit
def _change_head(base, at, end):
    """Read the side of a change: (side, place of the price) or (0, SURPRISE)."""
    if matches(base, at, end, _BUY):
        return 0, at + len(_BUY)
    if matches(base, at, end, _SELL):
        return 1, at + len(_SELL)
    return 0, SURPRISE


@jit
def _update_head(base, at, end):
    """Read side and time of an update: (side, place of the price) or (0, SURPRISE)."""
    if matches(base, at, end, _BID):
        side, at = 0, at + len(_BID)
    elif matches(base, at, end, _OFFER):
        side, at = 1, at + len(_OFFER)
    else:
        return 0, SURPRISE
    while at < end and byte_at(base + at) != _QUOTE:
        byte = byte_at(base + at)
        if byte < _SPACE or byte > _TILDE or byte == _BACKSLASH:
            return 0, SURPRISE
        at += 1
    if not matches(base, at, end, _BEFORE_PRICE):
        return 0, SURPRISE
    return side, at + len(_BEFORE_PRICE)


@jit
def parse_list(base, at, end, kind, side, grid, rows, row):  # noqa: PLR0911 (each refusal leaves)
    """Read the level list that begins at ``at`` into ``rows`` from ``row``.

    base address of the text, end its length; kind PAIRS, CHANGES or UPDATES; side that of PAIRS;
    grid int64[GRID_SIZE]; rows int64[m, 3] of side, ticks, lots.
    Returns (row after, place after the list, levels floored), or SURPRISE first.
    """
    refusal = (np.int64(SURPRISE), at, np.int64(0))
    if at + 2 > end or byte_at(base + at) != _OPEN:
        return refusal
    at += 1
    if byte_at(base + at) == _CLOSE:
        return row, at + 1, np.int64(0)
    closing = _UNBRACE if kind == UPDATES else _CLOSE
    tick_step, lot_step = step_of(grid, 0), step_of(grid, 1)
    floored = np.int64(0)
    while True:
        if row >= rows.shape[0] or at + 2 > end:
            return refusal
        if kind == PAIRS:
            if byte_at(base + at) != _OPEN or byte_at(base + at + 1) != _QUOTE:
                return refusal
            at += 2
        elif kind == CHANGES:
            side, at = _change_head(base, at, end)
        else:
            side, at = _update_head(base, at, end)
        if at < 0:
            return refusal
        ticks, at, _ = steps(base, at, end, grid, 0, tick_step)
        if ticks <= 0:
            return refusal
        if kind == UPDATES:
            if not matches(base, at, end, _BEFORE_QTY):
                return refusal
            at += len(_BEFORE_QTY)
        else:
            if at + 3 > end or byte_at(base + at) != _QUOTE:
                return refusal
            if byte_at(base + at + 1) != _COMMA or byte_at(base + at + 2) != _QUOTE:
                return refusal
            at += 3
        lots, at, is_floored = steps(base, at, end, grid, 1, lot_step)
        # A quote, a bracket, then a comma or the bracket that ends the list.
        if lots < 0 or at + 3 > end:
            return refusal
        if byte_at(base + at) != _QUOTE or byte_at(base + at + 1) != closing:
            return refusal
        floored += is_floored
        rows[row, 0] = side
        rows[row, 1] = ticks
        rows[row, 2] = lots
        row += 1
        at += 3
        after = byte_at(base + at - 1)
        if after != _COMMA:
            return (row, at, floored) if after == _CLOSE else refusal


@jit
def parse(text, kind, side, grid, rows, row):
    """Read a text that is one level list; return the row after, or SURPRISE.

    As ``parse_list``; in ``grid`` only N_FLOORED is written, and only for a list read whole.
    """
    end = len(text)
    row, at, floored = parse_list(address_of(text), 0, end, kind, side, grid, rows, row)
    if row < 0 or at != end:
        return SURPRISE
    grid[N_FLOORED] += floored
    return row


@jit
def parse_depth(bids, asks, grid, rows):
    """Read both pair lists of one message into one run of rows, bids first."""
    floored = grid[N_FLOORED]
    row = parse(bids, PAIRS, 0, grid, rows, 0)
    if row >= 0:
        row = parse(asks, PAIRS, 1, grid, rows, row)
    if row < 0:
        grid[N_FLOORED] = floored
    return row
