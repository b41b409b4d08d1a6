"""Level kernel: the text of a venue's level lists to exact integer rows, nothing applied.

Only the exact bytes that venues send are read here: no white space, no escapes, this key order.
Anything else gives ``SURPRISE`` and the caller asks the slow typed reader (``core.levels``),
so this kernel accepts a subset of what the slow one accepts, with the same values.
"""

from __future__ import annotations

from core.kernels import jit
from core.kernels.book import MAX_STEPS

SURPRISE = -1
"""Code of a text this kernel does not read."""

PAIRS, CHANGES, UPDATES = range(3)
"""``[["p","q"],..]``; ``[["buy"|"sell","p","q"],..]``; Coinbase Advanced ``updates``."""

# grid: int64[GRID_SIZE]; the first four make text into ticks and lots
PRICE_DECIMALS, TICK_UNITS, QTY_DECIMALS, LOT_UNITS, FLOORS, N_FLOORED, GRID_SIZE = range(7)
"""FLOORS: 1 takes a quantity off the lot grid down to whole lots, at least one, and counts it in
N_FLOORED; 0 leaves it to the slow reader, which refuses it."""

_MAX_DIGITS = 18
_QUOTE, _COMMA, _POINT, _ZERO, _OPEN, _CLOSE, _UNBRACE = 34, 44, 46, 48, 91, 93, 125
_BACKSLASH, _SPACE, _TILDE = 92, 32, 126

_BUY, _SELL = b'["buy","', b'["sell","'
_BID, _OFFER = b'{"side":"bid","event_time":"', b'{"side":"offer","event_time":"'
_BEFORE_PRICE = b'","price_level":"'
_BEFORE_QTY = b'","new_quantity":"'


@jit
def _matches(text, at, word):
    if at + len(word) > len(text):
        return False
    for i in range(len(word)):  # noqa: SIM110 (numba compiles no generator inside all())
        if text[at + i] != word[i]:
            return False
    return True


@jit
def _change_head(text, at):
    """Read the side of a change: (side, place of the price) or (0, SURPRISE)."""
    if _matches(text, at, _BUY):
        return 0, at + len(_BUY)
    if _matches(text, at, _SELL):
        return 1, at + len(_SELL)
    return 0, SURPRISE


@jit
def _update_head(text, at):
    """Read side and time of an update: (side, place of the price) or (0, SURPRISE)."""
    if _matches(text, at, _BID):
        side, at = 0, at + len(_BID)
    elif _matches(text, at, _OFFER):
        side, at = 1, at + len(_OFFER)
    else:
        return 0, SURPRISE
    while at < len(text) and text[at] != _QUOTE:
        byte = text[at]
        if byte < _SPACE or byte > _TILDE or byte == _BACKSLASH:
            return 0, SURPRISE
        at += 1
    if not _matches(text, at, _BEFORE_PRICE):
        return 0, SURPRISE
    return side, at + len(_BEFORE_PRICE)


@jit
def parse(text, kind, side, grid, rows, row):  # noqa: PLR0911 (each refusal leaves at once)
    """Read one level list into ``rows`` from ``row``; return the row after, or SURPRISE.

    text bytes; kind PAIRS, CHANGES or UPDATES; side that of PAIRS; grid int64[GRID_SIZE], in
    which only N_FLOORED is written, and only for a list read whole; rows int64[m, 3] of side,
    ticks, lots.
    The number's loop stands here and not in a function: see ``core.kernels.book._set_all``.
    """
    size = len(text)
    if size < 2 or text[0] != _OPEN or text[size - 1] != _CLOSE:
        return SURPRISE
    if size == 2:
        return row
    closing = _UNBRACE if kind == UPDATES else _CLOSE
    last = size - 1
    at = 1
    floored = 0
    while True:
        if row >= rows.shape[0] or at + 2 > last:
            return SURPRISE
        if kind == PAIRS:
            if text[at] != _OPEN or text[at + 1] != _QUOTE:
                return SURPRISE
            at += 2
        elif kind == CHANGES:
            side, at = _change_head(text, at)
        else:
            side, at = _update_head(text, at)
        if at < 0:
            return SURPRISE
        rows[row, 0] = side
        for column in range(1, 3):
            missing = grid[2 * column - 2]
            units = grid[2 * column - 1]
            is_off_grid = False
            value = 0
            first = at
            # The last byte is a bracket, which ends every run of digits inside the text.
            while at < last:
                digit = text[at] - _ZERO
                if digit < 0 or digit > 9:
                    break
                value = value * 10 + digit
                at += 1
            whole = at - first
            # More than 18 digits could overflow; what they made of ``value`` is thrown away here.
            if whole == 0 or whole + missing > _MAX_DIGITS:
                return SURPRISE
            if whole > 1 and text[first] == _ZERO:
                return SURPRISE
            if text[at] == _POINT:
                at += 1
                first = at
                while at < last:
                    digit = text[at] - _ZERO
                    if digit < 0 or digit > 9:
                        break
                    if missing > 0:
                        value = value * 10 + digit
                        missing -= 1
                    elif digit != 0:
                        is_off_grid = True
                    at += 1
                if at == first or at - first > _MAX_DIGITS:
                    return SURPRISE
            while missing > 0:
                value *= 10
                missing -= 1
            if units != 1:
                is_off_grid |= value % units != 0
                value //= units
            if is_off_grid:
                if column == 1 or grid[FLOORS] == 0:
                    return SURPRISE
                value = max(value, 1)
                floored += 1
            if value > MAX_STEPS or (column == 1 and value == 0):
                return SURPRISE
            rows[row, column] = value
            if column == 2:
                break
            if kind == UPDATES:
                if not _matches(text, at, _BEFORE_QTY):
                    return SURPRISE
                at += len(_BEFORE_QTY)
            else:
                if at + 3 > last or text[at] != _QUOTE:
                    return SURPRISE
                if text[at + 1] != _COMMA or text[at + 2] != _QUOTE:
                    return SURPRISE
                at += 3
        if at + 2 > last or text[at] != _QUOTE or text[at + 1] != closing:
            return SURPRISE
        at += 2
        row += 1
        if text[at] == _COMMA:
            at += 1
        elif at == last:
            grid[N_FLOORED] += floored
            return row
        else:
            return SURPRISE


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
