"""Features kernel: book changes and trades in, one feature vector out.

One ``FeatureState`` (two arrays) per instrument. The same functions run live, in replay and in
training, on the same scalars, so an observation is the same bit for bit everywhere.
Times are integer nanoseconds, prices ticks, quantities lots; everything derived is float64.

Source: order-flow imbalance after Cont, Kukanov, Stoikov 2014 (arXiv:1011.6402) section 2;
the rest are exponential averages in wall time.
"""

from __future__ import annotations

import math

import numpy as np

from core.kernels import jit

# The clock array, int64[CLOCK_SIZE]
LAST_NS, NEXT_SECOND_NS, SECONDS, HAS_BOOK, N_TRADES, CLOCK_SIZE = range(6)

# values: float64[VALUES_SIZE]; the first N_STATE are state, FEATURES follow, then the ring
(BID, BID_LOTS, ASK, ASK_LOTS, DEPTH_BID, DEPTH_ASK, MID, OFI_1S, OFI_5S,
 BUY_1S, SELL_1S, BUY_5S, SELL_5S, BUY_30S, SELL_30S, EMA_FAST, EMA_SLOW, VARIANCE,
 DEPTH_MEAN, LAST_PRICE) = range(20)  # fmt: skip
RING = 20
RING_SIZE = 60
VALUES_SIZE = RING + RING_SIZE

# out of ``read``: float64[N_FEATURES]
FEATURE_NAMES = (
    "spread_ticks",  # best ask - best bid
    "imbalance_l1",  # [-1, 1]
    "imbalance_l10",  # [-1, 1]
    "order_flow_1s",  # decayed sum of OFI events in mean best depths, squashed by tanh
    "order_flow_5s",
    "pressure_1s",  # (buy - sell) / (buy + sell) of aggressor volume, [-1, 1]
    "pressure_5s",
    "pressure_30s",
    "return_1s",  # mid now against the last whole second before now, in 1 s standard deviations
    "return_5s",  # mid now against five whole seconds ago, in sqrt(5) standard deviations
    "ema_cross",  # (fast - slow) in standard deviations of the slow window, squashed by tanh
    "breakout",  # place in the 60 s range, -1 low to 1 high, beyond when broken, [-2, 2]
    "volatility_bps",  # standard deviation of 1 s mid returns
    "spread_bps",
)
N_FEATURES = len(FEATURE_NAMES)

TAU_FAST_S = 5.0
TAU_SLOW_S = 30.0
TAU_VARIANCE_S = 60.0
TAU_DEPTH_S = 30.0
SECOND_NS = 1_000_000_000
MAX_CATCH_UP_S = 120
MIN_SECONDS = 10
"""Whole seconds of book needed before returns and volatility mean anything."""


def new_clock() -> np.ndarray:
    """Return an empty clock array, int64[CLOCK_SIZE]."""
    return np.zeros(CLOCK_SIZE, np.int64)


def new_values() -> np.ndarray:
    """Return an empty value array, float64[VALUES_SIZE]."""
    return np.zeros(VALUES_SIZE, np.float64)


@jit
def reset(clock, values):
    """Forget everything; after a gap the past is not evidence."""
    clock[:] = 0
    values[:] = 0.0


@jit
def _sample_second(clock, values):
    mid = values[MID]
    seconds = clock[SECONDS]
    if seconds > 0:
        last = values[RING + (seconds - 1) % RING_SIZE]
        step_bps = 1e4 * math.log(mid / last)
        weight = 1.0 - math.exp(-1.0 / TAU_VARIANCE_S)
        if seconds < TAU_VARIANCE_S:
            weight = 1.0 / seconds
        values[VARIANCE] += weight * (step_bps * step_bps - values[VARIANCE])
    values[RING + seconds % RING_SIZE] = mid
    clock[SECONDS] = seconds + 1


@jit
def _sample_seconds(clock, values, now_ns):
    """Sample the mid in force at each whole second up to ``now_ns``."""
    if now_ns - clock[NEXT_SECOND_NS] > MAX_CATCH_UP_S * SECOND_NS:
        clock[NEXT_SECOND_NS] = (now_ns // SECOND_NS - MAX_CATCH_UP_S + 1) * SECOND_NS
    while clock[NEXT_SECOND_NS] <= now_ns:
        _sample_second(clock, values)
        clock[NEXT_SECOND_NS] += SECOND_NS


@jit
def advance(clock, values, now_ns):
    """Move to the event at ``now_ns``: decay the sums, move the averages, sample the seconds."""
    if clock[HAS_BOOK] == 0 or now_ns <= clock[LAST_NS]:
        return
    dt = (now_ns - clock[LAST_NS]) * 1e-9
    clock[LAST_NS] = now_ns
    _sample_seconds(clock, values, now_ns)
    keep_1s = math.exp(-dt)
    keep_5s = math.exp(-dt / 5.0)
    keep_30s = math.exp(-dt / 30.0)
    values[OFI_1S] *= keep_1s
    values[OFI_5S] *= keep_5s
    values[BUY_1S] *= keep_1s
    values[SELL_1S] *= keep_1s
    values[BUY_5S] *= keep_5s
    values[SELL_5S] *= keep_5s
    values[BUY_30S] *= keep_30s
    values[SELL_30S] *= keep_30s
    mid = values[MID]
    values[EMA_FAST] = mid + (values[EMA_FAST] - mid) * keep_5s
    values[EMA_SLOW] = mid + (values[EMA_SLOW] - mid) * keep_30s
    best = 0.5 * (values[BID_LOTS] + values[ASK_LOTS])
    values[DEPTH_MEAN] = best + (values[DEPTH_MEAN] - best) * keep_30s


@jit
def on_book(clock, values, now_ns, bid, bid_lots, ask, ask_lots, depth_bid, depth_ask):
    """Take the book after a message: both bests (ticks, lots) and depth sums (lots).

    Call only for a two-sided, uncrossed, live book.
    """
    mid = 0.5 * (bid + ask)
    if clock[HAS_BOOK] == 0:
        clock[HAS_BOOK] = 1
        clock[LAST_NS] = now_ns
        clock[NEXT_SECOND_NS] = (now_ns // SECOND_NS + 1) * SECOND_NS
        values[EMA_FAST] = mid
        values[EMA_SLOW] = mid
        values[DEPTH_MEAN] = 0.5 * (bid_lots + ask_lots)
    else:
        advance(clock, values, now_ns)
        event = 0.0
        if bid >= values[BID]:
            event += bid_lots
        if bid <= values[BID]:
            event -= values[BID_LOTS]
        if ask <= values[ASK]:
            event -= ask_lots
        if ask >= values[ASK]:
            event += values[ASK_LOTS]
        values[OFI_1S] += event
        values[OFI_5S] += event
    values[BID] = bid
    values[ASK] = ask
    values[BID_LOTS] = bid_lots
    values[ASK_LOTS] = ask_lots
    values[DEPTH_BID] = depth_bid
    values[DEPTH_ASK] = depth_ask
    values[MID] = mid


@jit
def on_trade(clock, values, now_ns, price, lots, aggressor):
    """Take one public trade; aggressor 1 buyer, -1 seller, 0 unknown (moves no pressure).

    Before the first book nothing ages, so a trade then moves no pressure either.
    """
    clock[N_TRADES] += 1
    values[LAST_PRICE] = price
    if clock[HAS_BOOK] == 0:
        return
    advance(clock, values, now_ns)
    if aggressor > 0:
        values[BUY_1S] += lots
        values[BUY_5S] += lots
        values[BUY_30S] += lots
    elif aggressor < 0:
        values[SELL_1S] += lots
        values[SELL_5S] += lots
        values[SELL_30S] += lots


@jit
def _balance(plus, minus):
    total = plus + minus
    if total <= 1e-9:
        return 0.0
    return (plus - minus) / total


@jit
def volatility_bps(clock, values):
    """Return the standard deviation of 1 s mid returns in bps; 0 while unknown."""
    if clock[SECONDS] < MIN_SECONDS:
        return 0.0
    return math.sqrt(values[VARIANCE])


@jit
def _move(clock, values, now_ns, seconds_back, sd_ticks):
    # On a whole second the newest sample is this very instant: look one further back.
    back = seconds_back
    if clock[NEXT_SECOND_NS] - now_ns == SECOND_NS:
        back += 1
    have = clock[SECONDS]
    if have < max(MIN_SECONDS, back) or sd_ticks <= 0.0:
        return 0.0
    past = values[RING + (have - back) % RING_SIZE]
    return (values[MID] - past) / (sd_ticks * math.sqrt(seconds_back))


@jit
def _breakout(clock, values):
    have = min(clock[SECONDS], RING_SIZE)
    if have < MIN_SECONDS:
        return 0.0
    low = values[RING]
    high = values[RING]
    for i in range(1, have):
        low = min(low, values[RING + i])
        high = max(high, values[RING + i])
    if high <= low:
        return 0.0
    place = (values[MID] - 0.5 * (high + low)) / (0.5 * (high - low))
    return min(2.0, max(-2.0, place))


@jit
def read(clock, values, now_ns, out):
    """Write the feature vector as of ``now_ns`` into ``out``, float64[N_FEATURES].

    Reading leaves no trace in the sums and averages: how often and when one looks never changes
    what is seen later. Returns True when the vector means something (book seen, MIN_SECONDS whole
    seconds).
    """
    if clock[HAS_BOOK] == 0:
        return False
    _sample_seconds(clock, values, now_ns)
    dt = max(0, now_ns - clock[LAST_NS]) * 1e-9
    keep_1s = math.exp(-dt)
    keep_5s = math.exp(-dt / 5.0)
    keep_30s = math.exp(-dt / 30.0)
    mid = values[MID]
    spread = values[ASK] - values[BID]
    volatility = volatility_bps(clock, values)
    sd_ticks = volatility * 1e-4 * mid
    best = 0.5 * (values[BID_LOTS] + values[ASK_LOTS])
    depth = max(best + (values[DEPTH_MEAN] - best) * keep_30s, 1e-9)
    out[0] = spread
    out[1] = _balance(values[BID_LOTS], values[ASK_LOTS])
    out[2] = _balance(values[DEPTH_BID], values[DEPTH_ASK])
    out[3] = math.tanh(values[OFI_1S] * keep_1s / depth / 2.0)
    out[4] = math.tanh(values[OFI_5S] * keep_5s / depth / 4.0)
    out[5] = _balance(values[BUY_1S] * keep_1s, values[SELL_1S] * keep_1s)
    out[6] = _balance(values[BUY_5S] * keep_5s, values[SELL_5S] * keep_5s)
    out[7] = _balance(values[BUY_30S] * keep_30s, values[SELL_30S] * keep_30s)
    out[8] = _move(clock, values, now_ns, 1, sd_ticks)
    out[9] = _move(clock, values, now_ns, 5, sd_ticks)
    out[10] = 0.0
    if sd_ticks > 0.0:
        gap = (values[EMA_FAST] - mid) * keep_5s - (values[EMA_SLOW] - mid) * keep_30s
        out[10] = math.tanh(gap / (sd_ticks * math.sqrt(TAU_SLOW_S)))
    out[11] = _breakout(clock, values)
    out[12] = volatility
    out[13] = 1e4 * spread / mid
    return clock[SECONDS] >= MIN_SECONDS
