"""The simulated market: an order-flow model as a resumable state machine over plain arrays.

A zero-intelligence book (limit orders by distance, cancels by lots shown, market orders) with
five additions, each off when its parameter is zero: lognormal sizes, metaorders that split, a
self-exciting market-order clock, a slow volatility clock over all rates, and limit orders that
lean against recent flow. One market is ints, reals, rng and queues; a user's orders act on it.

The arrays' places are named in ``market_layout``, whose names this module hands on; the book
itself is ``market_book``.
Source: Cont, Stoikov, Talreja 2010 (Oper. Res. 58(3)) for the book; Lillo, Mike, Farmer 2005 for
metaorders; ``docs/simulated-market.md`` for the measured parameters and what they do not match.
"""

# ruff: noqa: F403, F405 (a layout is all its names, and callers find them as market.NAME)

from __future__ import annotations

import math

import numpy as np

from core.kernels import jit, jit_making
from core.kernels.market_book import (
    MASK,
    add,
    begin,
    finish,
    note_level,
    own_cancel_ahead,
    own_lots_at,
    own_trade,
    refill_far,
    settle_best,
    sum_side,
)
from core.kernels.market_layout import *
from core.kernels.rng import exponential, normal, pareto, seed_rng, uniform

_FLOW_RATES = (0.2, 0.05, 0.01)


# -- rates, flow memory, time ---------------------------------------------------------------------
@jit
def _cancel_rate(ints, queues, params, side):
    best_lots = queues[side, ints[BID + side] & MASK]
    lots = ints[NEAR_BID + side] + (BEST_CANCEL_WEIGHT - 1.0) * best_lots
    return params[CANCEL_RATE] * lots / params[UNIT_LOTS]


@jit
def _remember_flow(reals, params, side, weight):
    """Feed one market order of ``side`` (1 buy, -1 sell) to the excitation and the lean."""
    reals[EXCITATION] += weight * params[HAWKES_BRANCHING] * params[HAWKES_DECAY]
    lean = 0.0
    for i in range(3):
        rate = weight * _FLOW_RATES[i]
        reals[FLOW_FAST + i] += rate * (side - reals[FLOW_FAST + i])
        lean += params[TILT_FAST + i] * reals[FLOW_FAST + i]
    reals[LEAN_BID] = math.exp(-lean)
    reals[LEAN_ASK] = math.exp(lean)


@jit
def _draw_next_time(ints, reals, rng, queues, params):
    place = params[PLACE_TABLE + REACH - 1]
    total = place * (reals[LEAN_BID] + reals[LEAN_ASK])
    total += _cancel_rate(ints, queues, params, 0) + _cancel_rate(ints, queues, params, 1)
    total += 2.0 * params[MARKET_RATE] + reals[EXCITATION]
    reals[NEXT_S] = reals[NOW_S] + exponential(rng) / (total * reals[CLOCK])


@jit
def _move_clock(reals, rng, params):
    passed = reals[NOW_S] - reals[CLOCK_AT_S]
    if passed < CLOCK_STEP_S or params[CLOCK_VARIANCE] <= 0.0:
        return
    keep = math.exp(-passed / params[CLOCK_RELAX_S])
    spread = math.sqrt(params[CLOCK_VARIANCE] * (1.0 - keep * keep))
    reals[LOG_CLOCK] = reals[LOG_CLOCK] * keep + spread * normal(rng)
    reals[CLOCK] = math.exp(reals[LOG_CLOCK] - 0.5 * params[CLOCK_VARIANCE])
    reals[CLOCK_AT_S] = reals[NOW_S]


@jit
def _draw_lots(rng, params, scale):
    sigma = params[SIZE_SIGMA]
    size = scale * params[UNIT_LOTS] * math.exp(sigma * normal(rng) - 0.5 * sigma * sigma)
    return max(1, int(size + 0.5))


# -- the three kinds of event ----------------------------------------------------------------------
@jit
def _limit_order(ints, rng, queues, params, event, side):
    wanted = uniform(rng) * params[PLACE_TABLE + REACH - 1]
    low = 0
    high = REACH - 1
    while low < high:
        middle = (low + high) // 2
        if params[PLACE_TABLE + middle] > wanted:
            high = middle
        else:
            low = middle + 1
    ticks = ints[ASK - side] + (2 * side - 1) * (low + 1)
    lots = _draw_lots(rng, params, 1.0)
    event[E_KIND] = LIMIT
    event[E_SIDE] = 1 - 2 * side
    event[E_TICKS] = ticks
    event[E_LOTS] = lots
    add(ints, queues, event, side, ticks, lots)


@jit
def _cancel_order(ints, rng, queues, params, event, side):
    outward = 2 * side - 1
    best = ints[BID + side]
    best_lots = queues[side, best & MASK]
    wanted = uniform(rng) * (ints[NEAR_BID + side] + (BEST_CANCEL_WEIGHT - 1.0) * best_lots)
    ticks = best
    wanted -= BEST_CANCEL_WEIGHT * best_lots
    while wanted >= 0.0 and (ticks - best) * outward < REACH - 1:
        ticks += outward
        wanted -= queues[side, ticks & MASK]
    lots = _draw_lots(rng, params, 1.0)
    others = queues[side, ticks & MASK]
    if ints[N_OWN] > 0:
        others -= own_lots_at(ints, side, ticks)
    lots = min(lots, others)
    if lots == 0 or (side == 0 and best <= FLOOR_TICKS):
        return
    if ints[N_OWN] > 0:
        own_cancel_ahead(ints, side, ticks, others, lots)
    queues[side, ticks & MASK] -= lots
    event[E_KIND] = CANCEL
    event[E_SIDE] = 1 - 2 * side
    event[E_TICKS] = ticks
    event[E_LOTS] = lots
    note_level(event, side, ticks, queues[side, ticks & MASK])


@jit
def _draw_sign(ints, reals, rng, params):
    """Return the side of the next market order: a child of one of the live metaorders."""
    pool = int(params[META_POOL])
    if pool == 0:
        return 1 if uniform(rng) < 0.5 else -1
    member = int(uniform(rng) * pool)
    sign = ints[POOL_SIGN + member]
    reals[POOL_LEFT + member] -= 1.0
    if reals[POOL_LEFT + member] <= 0.0:
        ints[POOL_SIGN + member] = 1 if uniform(rng) < 0.5 else -1
        reals[POOL_LEFT + member] = pareto(rng, params[META_TAIL])
    return sign


@jit
def _market_order(ints, reals, rng, queues, params, event):
    sign = _draw_sign(ints, reals, rng, params)
    side = 1 if sign > 0 else 0
    outward = sign
    start = ints[BID + side]
    rest = _draw_lots(rng, params, params[MARKET_SIZE])
    # Most takers look before they take: they want no more than the best queue.
    if uniform(rng) < params[CAP_PROBABILITY]:
        rest = min(rest, queues[side, start & MASK])
    event[E_KIND] = MARKET
    event[E_SIDE] = sign
    event[E_TICKS] = start
    if side == 0 and start <= FLOOR_TICKS:
        rest = 0
    ticks = start
    while rest > 0 and (ticks - start) * outward < REACH - FAR:
        here = min(rest, queues[side, ticks & MASK])
        if here > 0:
            queues[side, ticks & MASK] -= here
            rest -= here
            row = E_TRADES + 2 * event[E_N_TRADES]
            event[row] = ticks
            event[row + 1] = here
            event[E_N_TRADES] += 1
            event[E_TRADED_LOTS] += here
            event[E_TICKS] = ticks
            note_level(event, side, ticks, queues[side, ticks & MASK])
            if ints[N_OWN] > 0:
                own_trade(ints, event, side, ticks, here)
        ticks += outward
    event[E_LOTS] = event[E_TRADED_LOTS]
    _remember_flow(reals, params, sign, 1.0)


# -- the face ------------------------------------------------------------------------------------
@jit
def level_lots(ints, queues, side, ticks):
    """Return the lots shown at a price; 0 outside the window."""
    away = (ticks - ints[BID + side]) * (2 * side - 1)
    if away < 0 or away >= WINDOW:
        return 0
    return queues[side, ticks & MASK]


@jit
def next_time(ints, reals):  # noqa: ARG001 (one shape for all calls on a market)
    """Return when the next event comes, in seconds of market time; it is drawn already."""
    return reals[NEXT_S]


@jit
def step(ints, reals, rng, queues, params, event):
    """Apply the next event and draw the time of the one after.

    Args: ``event``, int64[EVENT_SIZE], is overwritten; kind NOTHING if nothing could happen.
    A user's order in between changes what happens next, not when: that time was drawn.
    """
    begin(event)
    passed = reals[NEXT_S] - reals[NOW_S]
    reals[NOW_S] = reals[NEXT_S]
    place = params[PLACE_TABLE + REACH - 1]
    place_bid = place * reals[LEAN_BID]
    place_ask = place * reals[LEAN_ASK]
    cancel_bid = _cancel_rate(ints, queues, params, 0)
    cancel_ask = _cancel_rate(ints, queues, params, 1)
    market = 2.0 * params[MARKET_RATE] + reals[EXCITATION]
    chosen = uniform(rng) * (place_bid + place_ask + cancel_bid + cancel_ask + market)
    reals[EXCITATION] *= math.exp(-params[HAWKES_DECAY] * passed * reals[CLOCK])
    _move_clock(reals, rng, params)
    if chosen < place_bid + place_ask:
        _limit_order(ints, rng, queues, params, event, 0 if chosen < place_bid else 1)
    elif chosen < place_bid + place_ask + cancel_bid + cancel_ask:
        side = 0 if chosen < place_bid + place_ask + cancel_bid else 1
        _cancel_order(ints, rng, queues, params, event, side)
    else:
        _market_order(ints, reals, rng, queues, params, event)
    for side in range(2):
        if settle_best(ints, queues, params, side):
            note_level(event, side, ints[BID + side], int(params[UNIT_LOTS]))
        refill_far(ints, rng, queues, params, event, side)
        sum_side(ints, queues, side)
    ints[N_EVENTS] += 1
    _draw_next_time(ints, reals, rng, queues, params)
    finish(ints, reals, queues, event)


@jit_making
def init(ints, reals, rng, queues, params, seed, start_ticks):
    """Start a market near ``start_ticks`` and let it settle; market time is 0 afterwards.

    Args: ints int64[INTS_SIZE], reals float64[REALS_SIZE], rng uint64[RNG_SIZE], queues
        int64[2, WINDOW], params float64[PARAMS_SIZE]; all but params are overwritten.
    The price wanders a few ticks during the WARM_UP_EVENTS before time 0.
    """
    ints[:] = 0
    reals[:] = 0.0
    queues[:] = 0
    seed_rng(rng, seed)
    for side in range(2):
        ints[BID + side] = start_ticks + side
        for i in range(2 * REACH):
            lots = max(1, int(3.0 * params[UNIT_LOTS] * math.exp(0.5 * normal(rng))))
            queues[side, (start_ticks + side + (2 * side - 1) * i) & MASK] = lots
        sum_side(ints, queues, side)
    for member in range(int(params[META_POOL])):
        ints[POOL_SIGN + member] = 1 if uniform(rng) < 0.5 else -1
        reals[POOL_LEFT + member] = pareto(rng, params[META_TAIL])
    reals[LOG_CLOCK] = math.sqrt(params[CLOCK_VARIANCE]) * normal(rng)
    reals[CLOCK] = math.exp(reals[LOG_CLOCK] - 0.5 * params[CLOCK_VARIANCE])
    reals[LEAN_BID] = 1.0
    reals[LEAN_ASK] = 1.0
    _draw_next_time(ints, reals, rng, queues, params)
    event = np.zeros(EVENT_SIZE, np.int64)
    for _ in range(WARM_UP_EVENTS):
        step(ints, reals, rng, queues, params, event)
    reals[NEXT_S] -= reals[NOW_S]
    reals[CLOCK_AT_S] -= reals[NOW_S]
    reals[NOW_S] = 0.0
    ints[N_EVENTS] = 0


@jit
def take(ints, reals, queues, params, side, lots, limit_ticks, fills):
    """Let a user's marketable order walk the book shown, best price first.

    Args: ``side`` 1 buys, -1 sells; ``fills``, int64[n, 2], receives rows of ticks, lots.
    Returns how many rows: at most ``len(fills)`` levels, none past ``limit_ticks``, none past
        REACH ticks from the best, none that holds an order of ours (no trade with oneself).
    The market remembers it like one of its own market orders; below one unit, in proportion.
    """
    book_side = 1 if side > 0 else 0
    start = ints[BID + book_side]
    ticks = start
    rest = lots
    n = 0
    while rest > 0 and n < fills.shape[0]:
        away = (ticks - start) * side
        if away > REACH or (limit_ticks - ticks) * side < 0 or ticks < FLOOR_TICKS:
            break
        here = min(rest, queues[book_side, ticks & MASK])
        if here > 0:
            if ints[N_OWN] > 0 and own_lots_at(ints, book_side, ticks) > 0:
                break
            queues[book_side, ticks & MASK] -= here
            rest -= here
            fills[n, 0] = ticks
            fills[n, 1] = here
            n += 1
        ticks += side
    if n > 0:
        settle_best(ints, queues, params, book_side)
        sum_side(ints, queues, book_side)
        _remember_flow(reals, params, side, min(1.0, (lots - rest) / params[UNIT_LOTS]))
    return n


@jit
def post(ints, reals, queues, event, side, ticks, lots):
    """Rest a user's order (``side`` 1 bid, -1 ask) behind what is shown at its price.

    Returns its slot, or POST_FULL, POST_CROSSES, POST_TOO_FAR (more than half the window away).
    ``event`` receives the level changed; fills come out of ``step`` as rows of slot, ticks, lots.
    """
    begin(event)
    book_side = 0 if side > 0 else 1
    if (ticks - ints[ASK - book_side]) * side >= 0:
        return POST_CROSSES
    if (ints[BID + book_side] - ticks) * side > WINDOW // 2:
        return POST_TOO_FAR
    slot = 0
    while slot < MAX_OWN and ints[OWN + slot * OWN_FIELDS + OWN_LOTS] > 0:
        slot += 1
    if slot == MAX_OWN:
        return POST_FULL
    at = OWN + slot * OWN_FIELDS
    ints[at + OWN_AHEAD] = level_lots(ints, queues, book_side, ticks)
    add(ints, queues, event, book_side, ticks, lots)
    ints[at + OWN_SIDE] = book_side
    ints[at + OWN_TICKS] = ticks
    ints[at + OWN_LOTS] = lots
    ints[at + OWN_STAMP] = ints[STAMP]
    ints[STAMP] += 1
    ints[N_OWN] += 1
    sum_side(ints, queues, book_side)
    finish(ints, reals, queues, event)
    return slot


@jit
def unpost(ints, reals, queues, params, event, slot):
    """Take a resting order of the user out of the book; return the lots it still had."""
    begin(event)
    at = OWN + slot * OWN_FIELDS
    lots = ints[at + OWN_LOTS]
    if lots == 0:
        return 0
    side = ints[at + OWN_SIDE]
    ticks = ints[at + OWN_TICKS]
    ints[at + OWN_LOTS] = 0
    ints[N_OWN] -= 1
    for later in range(MAX_OWN):
        by = OWN + later * OWN_FIELDS
        if (
            ints[by + OWN_LOTS] > 0
            and ints[by + OWN_SIDE] == side
            and ints[by + OWN_TICKS] == ticks
            and ints[by + OWN_STAMP] > ints[at + OWN_STAMP]
        ):
            ints[by + OWN_AHEAD] -= lots
    queues[side, ticks & MASK] -= lots
    note_level(event, side, ticks, queues[side, ticks & MASK])
    if settle_best(ints, queues, params, side):
        note_level(event, side, ints[BID + side], int(params[UNIT_LOTS]))
    sum_side(ints, queues, side)
    finish(ints, reals, queues, event)
    return lots
