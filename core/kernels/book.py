"""Book kernel: every level of both sides, best levels in constant time near the market.

Asks are held by negated ticks, so on both sides the best level is the highest key. Each side
has a dense window of lots by key with a three-level occupancy bitmap, and a hash of the keys
outside it (open addressing, linear probing, no tombstones). After ``touch`` the best level of
a side that holds any lies in its window: when it does not, the window moves to it.
No level is ever dropped. The caller makes room in the hash before it sets levels.
"""

from __future__ import annotations

import numpy as np

from core.kernels import jit, jit_inline, jit_making
from core.kernels.machine import leading_zeros

# head: int64[2, HEAD_SIZE], one row a side
BASE, N_LEVELS, N_FAR, N_ABOVE, MOVES, HEAD_SIZE = range(6)
"""Key at window index 0; levels held; of these in the hash; of these above the window; how
often the window moved."""

BIDS, ASKS = 0, 1
TOUCH_SIZE = 6
"""Best bid ticks and lots, best ask ticks and lots, bid depth lots, ask depth lots."""

MIN_WINDOW, MAX_WINDOW = 64, 2**18
"""The bitmap has three levels of 64 branches, so 2**18 is all it can hold."""

MAX_STEPS = 2**53
"""Largest ticks or lots: float64 holds it exactly and 1000 levels sum in int64."""

_ONE = np.uint64(1)
_ALL = np.uint64(2**64 - 1)


def words(window: int) -> int:
    """Return how many 64-bit words the bitmap of one side takes."""
    return (window >> 6) + max(1, window >> 12) + 1


@jit_inline
def _top_bit(word):
    """Return the place of the highest set bit of a non-zero word."""
    return 63 - leading_zeros(word)


@jit_inline
def _next_lower(bits, window, side, index):
    """Return the highest occupied window index under ``index``, or -1."""
    found = np.int64(-1)
    if index > 0:
        middle = window >> 6
        upper = middle + max(1, window >> 12)
        last = index - 1
        word = last >> 6
        here = bits[side, word] & (_ALL >> np.uint64(63 - (last & 63)))
        if here == 0:
            group = word >> 6
            here = bits[side, middle + group] & ((_ONE << np.uint64(word & 63)) - _ONE)
            if here == 0:
                here = bits[side, upper] & ((_ONE << np.uint64(group)) - _ONE)
                if here != 0:
                    group = _top_bit(here)
                    here = bits[side, middle + group]
            if here != 0:
                word = (group << 6) + _top_bit(here)
                here = bits[side, word]
        if here != 0:
            found = (word << 6) + _top_bit(here)
    return found


@jit
def _slot(far, side, key):
    """Return where ``key`` is in the hash, or the free slot where it would go."""
    mask = far.shape[1] - 1
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    at = np.int64(mixed >> np.uint64(32)) & mask
    while far[side, at, 0] != 0 and far[side, at, 0] != key:
        at = (at + 1) & mask
    return at


@jit
def _far_remove(far, side, at):
    """Empty a slot and close the gap, so that no probe ends early."""
    mask = far.shape[1] - 1
    free = at
    probe = at
    while True:
        far[side, free, 0] = 0
        while True:
            probe = (probe + 1) & mask
            key = far[side, probe, 0]
            if key == 0:
                return
            mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
            home = np.int64(mixed >> np.uint64(32)) & mask
            # The entry may move back unless its home lies after the gap.
            if ((probe - home) & mask) >= ((probe - free) & mask):
                break
        far[side, free, 0] = key
        far[side, free, 1] = far[side, probe, 1]
        free = probe


@jit
def _far_set(head, far, window, side, key, lots):
    at = _slot(far, side, key)
    is_known = far[side, at, 0] != 0
    above = 1 if key >= head[side, BASE] + window else 0
    if lots != 0:
        far[side, at, 0] = key
        far[side, at, 1] = lots
        if not is_known:
            head[side, N_LEVELS] += 1
            head[side, N_FAR] += 1
            head[side, N_ABOVE] += above
    elif is_known:
        _far_remove(far, side, at)
        head[side, N_LEVELS] -= 1
        head[side, N_FAR] -= 1
        head[side, N_ABOVE] -= above


@jit
def set_all(levels, head, near, bits, far):
    """Set rows of side, ticks, lots in order: the only writer of a level.

    The window's part is written out in the loop: a call costs as much as the level.
    """
    window = near.shape[1]
    middle = window >> 6
    upper = middle + max(1, window >> 12)
    for i in range(levels.shape[0]):
        side = levels[i, 0]
        lots = levels[i, 2]
        key = levels[i, 1] if side == BIDS else -levels[i, 1]
        if head[side, N_LEVELS] == 0 and lots != 0:
            head[side, BASE] = key - (window >> 1)
        index = key - head[side, BASE]
        if index < 0 or index >= window:
            _far_set(head, far, window, side, key, lots)
            continue
        before = near[side, index]
        near[side, index] = lots
        word = index >> 6
        group = word >> 6
        if before == 0 and lots != 0:
            bits[side, word] |= _ONE << np.uint64(index & 63)
            bits[side, middle + group] |= _ONE << np.uint64(word & 63)
            bits[side, upper] |= _ONE << np.uint64(group)
            head[side, N_LEVELS] += 1
        elif before != 0 and lots == 0:
            head[side, N_LEVELS] -= 1
            bits[side, word] &= ~(_ONE << np.uint64(index & 63))
            if bits[side, word] == 0:
                bits[side, middle + group] &= ~(_ONE << np.uint64(word & 63))
                if bits[side, middle + group] == 0:
                    bits[side, upper] &= ~(_ONE << np.uint64(group))


@jit
def clear_side(head, near, bits, far, side):
    """Forget the levels of one side, touching only the window places that are occupied."""
    window = near.shape[1]
    index = _next_lower(bits, window, side, window)
    while index >= 0:
        near[side, index] = 0
        index = _next_lower(bits, window, side, index)
    bits[side, :] = 0
    if head[side, N_FAR] > 0:
        far[side, :, 0] = 0
    head[side, N_LEVELS] = 0
    head[side, N_FAR] = 0
    head[side, N_ABOVE] = 0


@jit_making
def dump(head, near, bits, far, side):
    """Return all levels of one side in no order, int64[n, 3] of side, ticks, lots."""
    window = near.shape[1]
    sign = 1 if side == BIDS else -1
    out = np.empty((head[side, N_LEVELS], 3), np.int64)
    out[:, 0] = side
    count = 0
    index = _next_lower(bits, window, side, window)
    while index >= 0:
        out[count, 1] = sign * (head[side, BASE] + index)
        out[count, 2] = near[side, index]
        count += 1
        index = _next_lower(bits, window, side, index)
    if head[side, N_FAR] > 0:
        for at in range(far.shape[1]):
            if far[side, at, 0] != 0:
                out[count, 1] = sign * far[side, at, 0]
                out[count, 2] = far[side, at, 1]
                count += 1
    return out


@jit_inline
def _settle(head, near, bits, far, side):
    """Return the window index of the best level, or -1; move the window where it must be.

    It moves when the best lies outside or in the lowest eighth, where the next levels down
    would soon all be in the hash.
    """
    best = np.int64(-1)
    if head[side, N_LEVELS] > 0:
        window = near.shape[1]
        best = _next_lower(bits, window, side, window)
        far_below = head[side, N_FAR] - head[side, N_ABOVE]
        is_high = best >= window >> 3 or (best >= 0 and far_below == 0)
        if head[side, N_ABOVE] > 0 or not is_high:
            _move_window(head, near, bits, far, side)
            best = window >> 1
    return best


@jit_making
def _move_window(head, near, bits, far, side):
    """Put the window of a side that holds levels around its best one."""
    levels = dump(head, near, bits, far, side)
    highest = 0
    for i in range(1, levels.shape[0]):
        is_better = levels[i, 1] > levels[highest, 1]
        if is_better == (side == BIDS):
            highest = i
    clear_side(head, near, bits, far, side)
    head[side, MOVES] += 1
    # The first level set on an empty side gives the window its place; setting it twice is harmless.
    set_all(levels[highest : highest + 1], head, near, bits, far)
    set_all(levels, head, near, bits, far)


@jit
def _top_far(far, side, out, have):
    """Fill ``out`` from row ``have`` with the best levels of the hash, in one pass over it."""
    count = out.shape[0]
    filled = have
    for at in range(far.shape[1]):
        key = far[side, at, 0]
        if key == 0 or (filled == count and key < out[count - 1, 0]):
            continue
        place = min(filled, count - 1)
        while place > have and out[place - 1, 0] < key:
            out[place, 0] = out[place - 1, 0]
            out[place, 1] = out[place - 1, 1]
            place -= 1
        out[place, 0] = key
        out[place, 1] = far[side, at, 1]
        filled = min(filled + 1, count)
    return filled


@jit
def top(head, near, bits, far, side, out):
    """Write the best levels into ``out``, int64[n, 2] of ticks, lots; return how many."""
    window = near.shape[1]
    count = out.shape[0]
    have = 0
    index = _next_lower(bits, window, side, window)
    while index >= 0 and have < count:
        out[have, 0] = head[side, BASE] + index
        out[have, 1] = near[side, index]
        have += 1
        index = _next_lower(bits, window, side, index)
    if have < count and head[side, N_FAR] > 0:
        have = _top_far(far, side, out, have)
    if side == ASKS:
        for i in range(have):
            out[i, 0] = -out[i, 0]
    return have


@jit_making
def _depth_beyond(head, near, bits, far, side, count):
    """Return the lots of the best ``count`` levels where some of them lie in the hash."""
    rows = np.zeros((min(count, head[side, N_LEVELS]), 2), np.int64)
    found = top(head, near, bits, far, side, rows)
    total = 0
    for i in range(found):
        total += rows[i, 1]
    return total


@jit_inline
def _depth(head, near, bits, far, side, best, count):
    """Return the lots of the best ``count`` levels, down from window index ``best``."""
    total = np.int64(0)
    left = count if best >= 0 else 0
    index = best
    window = near.shape[1]
    while index >= 0 and left > 0:
        word = index >> 6
        here = bits[side, word] & (_ALL >> np.uint64(63 - (index & 63)))
        while here != 0 and left > 0:
            place = _top_bit(here)
            here ^= _ONE << np.uint64(place)
            total += near[side, (word << 6) + place]
            left -= 1
        if left > 0:
            index = _next_lower(bits, window, side, word << 6)
    if left > 0 and best >= 0 and head[side, N_FAR] > 0:
        total = _depth_beyond(head, near, bits, far, side, count)
    return total


@jit
def touch(head, near, bits, far, count, out):
    """Write both bests and the depth sums of ``count`` levels to out, int64[TOUCH_SIZE]; 0 is none.

    A window that must follow the market is moved first.
    """
    for side in range(2):
        best = _settle(head, near, bits, far, side)
        ticks, lots = np.int64(0), np.int64(0)
        if best >= 0:
            key = head[side, BASE] + best
            ticks = key if side == BIDS else -key
            lots = near[side, best]
        out[2 * side] = ticks
        out[2 * side + 1] = lots
        out[4 + side] = _depth(head, near, bits, far, side, best, count)


@jit
def is_sound(levels):
    """Return whether every row is a level: a bad side would write outside the arrays."""
    for i in range(levels.shape[0]):
        side, ticks, lots = levels[i, 0], levels[i, 1], levels[i, 2]
        if side < 0 or side > 1 or ticks < 1 or ticks > MAX_STEPS or lots < 0 or lots > MAX_STEPS:
            return False
    return True


@jit
def lots_at(head, near, far, side, ticks):
    """Return the lots at one price, 0 for none."""
    key = ticks if side == BIDS else -ticks
    index = key - head[side, BASE]
    if index < 0 or index >= near.shape[1]:
        at = _slot(far, side, key)
        return far[side, at, 1] if far[side, at, 0] != 0 else 0
    return near[side, index]


@jit
def rehash(old, new):
    """Move both sides of a hash into a larger empty one."""
    for side in range(2):
        for at in range(old.shape[1]):
            if old[side, at, 0] != 0:
                to = _slot(new, side, old[side, at, 0])
                new[side, to, 0] = old[side, at, 0]
                new[side, to, 1] = old[side, at, 1]
