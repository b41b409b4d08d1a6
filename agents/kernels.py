"""Agents' kernels: the observation, the decision, and many simulated markets stepped in one call.

The observation runs live, in replay and in training; a golden vector in the tests holds its
formulas. Market rows here are those of core.kernels.market, one market per leading index.
"""

from __future__ import annotations

import math

import numpy as np

from core.kernels import features as features_kernel
from core.kernels import jit, jit_making, market
from core.kernels import policy as network
from core.kernels.features import N_FEATURES

N_OBSERVATION = 16
SPREAD_BPS_FLOOR = 1e-3
VOLATILITY_BPS_FLOOR = 1e-2

# Bounds of the observation, in the order of agents.observe.OBSERVATION.
LOW = np.array([0, -1, -1, -1, -1, -1, -1, -1, -2, -2, -1, -1, -1, -1, -1, 0], np.float64)
HIGH = np.array([1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 1, 1, 1, 1, 1, 1], np.float64)


@jit_making
def observe(features, position_fraction, out):
    """Write the observation into ``out``, float32[N_OBSERVATION].

    features: float64[N_FEATURES] of core.kernels.features; position_fraction: position over
    the cap. Formulas and bounds: agents.observe. Returns False when an input was not finite.
    """
    finite = math.isfinite(position_fraction)
    for i in range(N_FEATURES):
        finite = finite and math.isfinite(features[i])
    if not finite:
        return False
    raw = np.empty(N_OBSERVATION, np.float64)
    raw[0] = math.log2(max(features[0], 1.0)) / 3.0
    for i in range(1, 8):
        raw[i] = features[i]
    raw[8] = 0.5 * features[8]
    raw[9] = 0.5 * features[9]
    raw[10] = features[10]
    raw[11] = 0.5 * features[11]
    raw[12] = 0.0
    raw[13] = 0.0
    volatility = features[12]
    if volatility > 0.0:
        volatility = max(volatility, VOLATILITY_BPS_FLOOR)
        spread = max(features[13], SPREAD_BPS_FLOOR)
        raw[12] = math.log2(volatility) / 4.0
        raw[13] = math.log2(spread / volatility) / 4.0
    raw[14] = position_fraction
    raw[15] = abs(position_fraction)
    for i in range(N_OBSERVATION):
        out[i] = min(HIGH[i], max(LOW[i], raw[i]))
    return True


@jit
def decide(features, position_fraction, observation, w1, b1, w2, b2, w3, b3, h1, h2, out):
    """Observe and run the network; return the entropy in [0, 1], or -1.0 on non-finite input.

    Shapes as in ``observe`` and core.kernels.policy.forward; ``out`` float64[3].
    """
    if not observe(features, position_fraction, observation):
        return -1.0
    return network.forward(observation, w1, b1, w2, b2, w3, b3, h1, h2, out)


@jit
def forward_all(observations, w1, b1, w2, b2, w3, b3, h1, h2, out):
    """Run the network on float32[n, N_OBSERVATION] into float64[n, 3]."""
    for i in range(observations.shape[0]):
        network.forward(observations[i], w1, b1, w2, b2, w3, b3, h1, h2, out[i])


# -- many simulated markets ----------------------------------------------------------------------
# account: int64[n, ACCOUNT_SIZE]; cash in ticks x lots, so that it adds up exactly
POSITION_LOTS, CASH, TURNOVER_LOTS, PHASE_NS, STEPS, STEPS_MAX, N_FILLS, ACCOUNT_SIZE = range(8)
# money: float64[n, MONEY_SIZE], in ticks x lots
FEES, EQUITY, START_MID, STEP_COST, MONEY_SIZE = range(5)
MAX_FILLS = 32
# Market rules, float64[RULES_SIZE]
CAP_LOTS, FEE_BPS, LATENCY_NS, CADENCE_NS, LIMIT_AWAY_TICKS, WARM_UP_NS, RULES_SIZE = range(7)


@jit
def _feed(event, clock, values, phase_ns):
    """Give one market event to the features: each trade first, then the book it left behind."""
    now_ns = event[market.E_T_NS] + phase_ns
    for i in range(event[market.E_N_TRADES]):
        row = market.E_TRADES + 2 * i
        features_kernel.on_trade(
            clock, values, now_ns, event[row], event[row + 1], event[market.E_SIDE]
        )
    if event[market.E_N_LEVELS] > 0:
        _feed_book(event, clock, values, now_ns)


@jit
def _feed_book(event, clock, values, now_ns):
    features_kernel.on_book(
        clock,
        values,
        now_ns,
        event[market.E_BID],
        event[market.E_BID_LOTS],
        event[market.E_ASK],
        event[market.E_ASK_LOTS],
        event[market.E_DEPTH_BID],
        event[market.E_DEPTH_ASK],
    )


@jit
def _run_to(ints, reals, rng, queues, params, event, clock, values, phase_ns, until_ns):
    while int(market.next_time(ints, reals) * 1e9) <= until_ns:
        market.step(ints, reals, rng, queues, params, event)
        _feed(event, clock, values, phase_ns)


@jit
def _book_now(ints, queues, event, t_ns):
    """Write the book as it stands into the header of ``event``."""
    event[market.E_BID] = ints[market.BID]
    event[market.E_ASK] = ints[market.ASK]
    event[market.E_BID_LOTS] = market.level_lots(ints, queues, 0, ints[market.BID])
    event[market.E_ASK_LOTS] = market.level_lots(ints, queues, 1, ints[market.ASK])
    event[market.E_DEPTH_BID] = ints[market.DEPTH_BID]
    event[market.E_DEPTH_ASK] = ints[market.DEPTH_ASK]
    event[market.E_T_NS] = t_ns


@jit
def start_market(
    ints, reals, rng, queues, params, event, clock, values, account, money, rules, seed, start_ticks
):
    """Begin an episode: a fresh market, warmed-up features, no position.

    account[PHASE_NS] and account[STEPS_MAX] are the caller's; the rest is overwritten. PHASE_NS
    shifts the features' whole seconds against the decisions, as they are live.
    """
    market.init(ints, reals, rng, queues, params, seed, start_ticks)
    features_kernel.reset(clock, values)
    account[POSITION_LOTS] = 0
    account[CASH] = 0
    account[TURNOVER_LOTS] = 0
    account[STEPS] = 0
    account[N_FILLS] = 0
    money[FEES] = 0.0
    money[EQUITY] = 0.0
    _book_now(ints, queues, event, 0)
    _feed_book(event, clock, values, account[PHASE_NS])
    until_ns = int(rules[WARM_UP_NS])
    _run_to(ints, reals, rng, queues, params, event, clock, values, account[PHASE_NS], until_ns)
    money[START_MID] = 0.5 * (ints[market.BID] + ints[market.ASK])


@jit
def _trade(
    ints, reals, queues, params, event, clock, values, account, money, rules, fills, target, now_ns
):
    """Take liquidity until the position is ``target`` lots or the visible book ends."""
    account[N_FILLS] = 0
    money[STEP_COST] = 0.0
    change = target - account[POSITION_LOTS]
    if change == 0:
        return
    side = 1 if change > 0 else -1
    best = ints[market.ASK] if side > 0 else ints[market.BID]
    mid = 0.5 * (ints[market.BID] + ints[market.ASK])
    limit_ticks = best + side * int(rules[LIMIT_AWAY_TICKS])
    n = market.take(ints, reals, queues, params, side, abs(change), limit_ticks, fills)
    account[N_FILLS] = n
    for i in range(n):
        ticks = fills[i, 0]
        lots = fills[i, 1]
        account[POSITION_LOTS] += side * lots
        account[CASH] -= side * lots * ticks
        account[TURNOVER_LOTS] += lots
        fee = 1e-4 * rules[FEE_BPS] * ticks * lots
        money[FEES] += fee
        money[STEP_COST] += fee + side * (ticks - mid) * lots
        features_kernel.on_trade(clock, values, now_ns + account[PHASE_NS], ticks, lots, side)
    if n > 0:
        _book_now(ints, queues, event, now_ns)
        _feed_book(event, clock, values, now_ns + account[PHASE_NS])


@jit
def step_market(
    ints, reals, rng, queues, params, event, clock, values, account, money, rules, fills, action
):
    """Play one decision: wait the latency, trade to the target, run to the next decision.

    Returns the gain of the step in bps of the cap at the episode's first mid, costs paid; what
    was paid against the mid of the moment, fee included, is in money[STEP_COST].
    """
    now_ns = int(rules[WARM_UP_NS]) + account[STEPS] * int(rules[CADENCE_NS])
    phase_ns = account[PHASE_NS]
    act_ns = now_ns + int(rules[LATENCY_NS])
    _run_to(ints, reals, rng, queues, params, event, clock, values, phase_ns, act_ns)
    target = (action - 1) * int(rules[CAP_LOTS])
    _trade(
        ints, reals, queues, params, event, clock, values, account, money, rules, fills,
        target, act_ns,
    )  # fmt: skip
    until_ns = now_ns + int(rules[CADENCE_NS])
    _run_to(ints, reals, rng, queues, params, event, clock, values, phase_ns, until_ns)
    account[STEPS] += 1
    mid = 0.5 * (ints[market.BID] + ints[market.ASK])
    equity = account[CASH] + account[POSITION_LOTS] * mid - money[FEES]
    gain = equity - money[EQUITY]
    money[EQUITY] = equity
    return 1e4 * gain / (rules[CAP_LOTS] * money[START_MID])


@jit
def look(clock, values, account, rules, vector, out):
    """Read the features at the time of the next decision and write the observation."""
    now_ns = int(rules[WARM_UP_NS]) + account[STEPS] * int(rules[CADENCE_NS])
    features_kernel.read(clock, values, now_ns + account[PHASE_NS], vector)
    return observe(vector, account[POSITION_LOTS] / rules[CAP_LOTS], out)


@jit_making
def start_all(
    ints, reals, rng, queues, params, clock, values, account, money, rules, which, seeds,
    start_ticks, vectors, out,
):  # fmt: skip
    """Start the markets whose index is in ``which``, int64[k], from ``seeds``, int64[k]."""
    event = np.zeros(market.EVENT_SIZE, np.int64)
    for k in range(which.size):
        i = which[k]
        start_market(
            ints[i], reals[i], rng[i], queues[i], params, event, clock[i], values[i], account[i],
            money[i], rules, seeds[k], start_ticks,
        )  # fmt: skip
        look(clock[i], values[i], account[i], rules, vectors[i], out[i])


@jit_making
def step_all(
    ints, reals, rng, queues, params, clock, values, account, money, rules, fills, actions,
    vectors, out, gains,
):  # fmt: skip
    """Play one decision in every market; fill observations float32[n, .] and gains float64[n]."""
    event = np.zeros(market.EVENT_SIZE, np.int64)
    for i in range(actions.size):
        gains[i] = step_market(
            ints[i], reals[i], rng[i], queues[i], params, event, clock[i], values[i], account[i],
            money[i], rules, fills[i], actions[i],
        )  # fmt: skip
        look(clock[i], values[i], account[i], rules, vectors[i], out[i])
