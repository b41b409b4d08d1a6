"""The simulated market's book: levels on a ring, the user's resting orders, the event's rows.

Trick: a side's queues are a ring over the price, ``ticks & MASK``, reaching from the best price
WINDOW ticks outwards, so the price may wander for ever and nothing is ever moved.
"""

from __future__ import annotations

from core.kernels import jit
from core.kernels.market_layout import (
    ASK,
    BID,
    DEPTH,
    DEPTH_ASK,
    DEPTH_BID,
    E_ASK,
    E_ASK_LOTS,
    E_BID,
    E_BID_LOTS,
    E_DEPTH_ASK,
    E_DEPTH_BID,
    E_LEVELS,
    E_N_LEVELS,
    E_N_OWN,
    E_OWN,
    E_T_NS,
    E_TRADES,
    FAR,
    MAX_OWN,
    N_OWN,
    NEAR_BID,
    NOW_S,
    OWN,
    OWN_AHEAD,
    OWN_FIELDS,
    OWN_LOTS,
    OWN_SIDE,
    OWN_STAMP,
    OWN_TICKS,
    REACH,
    UNIT_LOTS,
    WINDOW,
)
from core.kernels.rng import uniform

MASK = WINDOW - 1


# -- writing the event -------------------------------------------------------------------------
@jit
def begin(event):
    for i in range(E_TRADES):
        event[i] = 0


@jit
def note_level(event, side, ticks, lots):
    row = E_LEVELS + 3 * event[E_N_LEVELS]
    event[row] = side
    event[row + 1] = ticks
    event[row + 2] = lots
    event[E_N_LEVELS] += 1


@jit
def _note_own(event, slot, ticks, lots):
    row = E_OWN + 3 * event[E_N_OWN]
    event[row] = slot
    event[row + 1] = ticks
    event[row + 2] = lots
    event[E_N_OWN] += 1


@jit
def finish(ints, reals, queues, event):
    bid = ints[BID]
    ask = ints[ASK]
    event[E_BID] = bid
    event[E_BID_LOTS] = queues[0, bid & MASK]
    event[E_ASK] = ask
    event[E_ASK_LOTS] = queues[1, ask & MASK]
    event[E_DEPTH_BID] = ints[DEPTH_BID]
    event[E_DEPTH_ASK] = ints[DEPTH_ASK]
    event[E_T_NS] = int(reals[NOW_S] * 1e9)


# -- the user's resting orders -----------------------------------------------------------------
@jit
def own_lots_at(ints, side, ticks):
    total = 0
    for slot in range(MAX_OWN):
        at = OWN + slot * OWN_FIELDS
        if (
            ints[at + OWN_LOTS] > 0
            and ints[at + OWN_SIDE] == side
            and ints[at + OWN_TICKS] == ticks
        ):
            total += ints[at + OWN_LOTS]
    return total


@jit
def own_trade(ints, event, side, ticks, lots):
    """Give ``lots`` traded at a level to our orders there whose queue ahead they reach past."""
    for slot in range(MAX_OWN):
        at = OWN + slot * OWN_FIELDS
        rest = ints[at + OWN_LOTS]
        if rest == 0 or ints[at + OWN_SIDE] != side or ints[at + OWN_TICKS] != ticks:
            continue
        ahead = ints[at + OWN_AHEAD]
        filled = min(rest, max(0, lots - ahead))
        ints[at + OWN_AHEAD] = max(0, ahead - lots)
        if filled > 0:
            ints[at + OWN_LOTS] = rest - filled
            if rest == filled:
                ints[N_OWN] -= 1
            _note_own(event, slot, ticks, filled)


@jit
def own_cancel_ahead(ints, side, ticks, others, canceled):
    """Move our orders up the queue: the canceled lots stood anywhere in it, so in proportion."""
    for slot in range(MAX_OWN):
        at = OWN + slot * OWN_FIELDS
        if ints[at + OWN_LOTS] == 0 or ints[at + OWN_SIDE] != side:
            continue
        if ints[at + OWN_TICKS] != ticks:
            continue
        others_ahead = ints[at + OWN_AHEAD]
        for earlier in range(MAX_OWN):
            by = OWN + earlier * OWN_FIELDS
            if (
                ints[by + OWN_LOTS] > 0
                and ints[by + OWN_SIDE] == side
                and ints[by + OWN_TICKS] == ticks
                and ints[by + OWN_STAMP] < ints[at + OWN_STAMP]
            ):
                others_ahead -= ints[by + OWN_LOTS]
        ints[at + OWN_AHEAD] -= canceled * others_ahead // others


@jit
def _own_drop(ints, event, side, ticks):
    for slot in range(MAX_OWN):
        at = OWN + slot * OWN_FIELDS
        if (
            ints[at + OWN_LOTS] > 0
            and ints[at + OWN_SIDE] == side
            and ints[at + OWN_TICKS] == ticks
        ):
            ints[at + OWN_LOTS] = 0
            ints[N_OWN] -= 1
            _note_own(event, slot, ticks, 0)


# -- the book ------------------------------------------------------------------------------------
@jit
def add(ints, queues, event, side, ticks, lots):
    """Add lots to a level; a better price slides the window and forgets what falls out of it."""
    outward = 2 * side - 1
    best = ints[BID + side]
    while (ticks - best) * outward < 0:
        best -= outward
        lost = best + outward * WINDOW
        if queues[side, best & MASK] > 0:
            queues[side, best & MASK] = 0
            note_level(event, side, lost, 0)
            if ints[N_OWN] > 0:
                _own_drop(ints, event, side, lost)
    ints[BID + side] = best
    queues[side, ticks & MASK] += lots
    note_level(event, side, ticks, queues[side, ticks & MASK])


@jit
def settle_best(ints, queues, params, side):
    """Move the best price outwards to the first level with lots; return whether one was made.

    Only a user who took every level shown leaves none: a far trader then steps in.
    """
    outward = 2 * side - 1
    best = ints[BID + side]
    start = best
    while queues[side, best & MASK] == 0:
        best += outward
        if (best - start) * outward >= WINDOW:
            best = start + outward * (REACH + 1)
            queues[side, best & MASK] = int(params[UNIT_LOTS])
            ints[BID + side] = best
            return True
    ints[BID + side] = best
    return False


@jit
def refill_far(ints, rng, queues, params, event, side):
    outward = 2 * side - 1
    for i in range(REACH - FAR, REACH + 1):
        ticks = ints[BID + side] + outward * i
        if queues[side, ticks & MASK] == 0:
            lots = max(1, int(params[UNIT_LOTS] * (0.5 + uniform(rng))))
            queues[side, ticks & MASK] = lots
            note_level(event, side, ticks, lots)


@jit
def sum_side(ints, queues, side):
    """Store the lots within reach (what can be canceled) and those of the best DEPTH levels."""
    outward = 2 * side - 1
    best = ints[BID + side]
    low = (best if side == 1 else best - REACH + 1) & MASK
    near = 0
    if low + REACH <= WINDOW:
        # The plain sum over neighbours is what the compiler makes fast.
        for i in range(low, low + REACH):
            near += queues[side, i]
    else:
        for i in range(REACH):
            near += queues[side, (low + i) & MASK]
    depth = 0
    levels = 0
    i = 0
    while levels < DEPTH and i < WINDOW:
        lots = queues[side, (best + outward * i) & MASK]
        if lots > 0:
            depth += lots
            levels += 1
        i += 1
    ints[NEAR_BID + side] = near
    ints[DEPTH_BID + side] = depth
