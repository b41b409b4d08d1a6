"""Stylised facts of an event log: what real markets show and a simulated one should.

Definitions are those of the measurements in docs/simulated-market.md, so that the numbers of a
recorded session and of the simulator stand beside each other.
"""

from __future__ import annotations

import numpy as np

from core.kernels import jit
from core.kernels import market as kernel
from core.kernels.rng import RNG_SIZE
from core.sim.params import SET_C, MarketParams, pack

SIGN_LAGS = np.array([2, 3, 5, 8, 10, 15, 20, 30, 50])


@jit
def _record(ints, reals, rng, queues, params, event, log):
    for i in range(log.shape[0]):
        kernel.step(ints, reals, rng, queues, params, event)
        for column in range(log.shape[1]):
            log[i, column] = event[column]


def record(seed: int, events: int, params: MarketParams = SET_C) -> np.ndarray:
    """Return the event headers of a run, int64[events, E_TRADES]."""
    ints = np.zeros(kernel.INTS_SIZE, np.int64)
    reals = np.zeros(kernel.REALS_SIZE, np.float64)
    rng = np.zeros(RNG_SIZE, np.uint64)
    queues = np.zeros((2, kernel.WINDOW), np.int64)
    packed = pack(params)
    kernel.init(ints, reals, rng, queues, packed, seed, 10_000)
    log = np.zeros((events, kernel.E_TRADES), np.int64)
    _record(ints, reals, rng, queues, packed, np.zeros(kernel.EVENT_SIZE, np.int64), log)
    return log


def acf(x: np.ndarray, lags: np.ndarray | list[int]) -> np.ndarray:
    """Return the autocorrelations of ``x`` at ``lags``."""
    x = x - x.mean()
    return np.array([(x[lag:] * x[:-lag]).mean() / x.var() for lag in lags])


def excess_kurtosis(x: np.ndarray) -> float:
    x = x - x.mean()
    return float((x**4).mean() / x.var() ** 2 - 3.0)


def auc(score: np.ndarray, is_up: np.ndarray) -> float:
    """Return the chance that an up scores above a down (Mann-Whitney; ties by first come)."""
    rank = np.empty(len(score))
    rank[np.argsort(score, kind="stable")] = np.arange(1, len(score) + 1)
    ups = int(is_up.sum())
    downs = len(score) - ups
    return float((rank[is_up].sum() - ups * (ups + 1) / 2) / (ups * downs))


def _order_flow(log: np.ndarray) -> np.ndarray:
    """Cont-Kukanov-Stoikov events, float64[events], summed."""
    bid, bid_lots = log[:, kernel.E_BID], log[:, kernel.E_BID_LOTS]
    ask, ask_lots = log[:, kernel.E_ASK], log[:, kernel.E_ASK_LOTS]
    flow = np.zeros(len(log))
    flow[1:] = (
        bid_lots[1:] * (bid[1:] >= bid[:-1])
        - bid_lots[:-1] * (bid[1:] <= bid[:-1])
        - ask_lots[1:] * (ask[1:] <= ask[:-1])
        + ask_lots[:-1] * (ask[1:] >= ask[:-1])
    )
    return np.cumsum(flow)


def facts(log: np.ndarray) -> dict[str, float]:
    """Return every fact of an event log of ``record`` by name."""
    time_s = log[:, kernel.E_T_NS] * 1e-9
    bid, ask = log[:, kernel.E_BID], log[:, kernel.E_ASK]
    mid = 0.5 * (bid + ask)
    seconds = np.arange(time_s[0] + 5.0, time_s[-1] - 1.0)
    at = np.searchsorted(time_s, seconds, "right") - 1
    span_s = float(time_s[-1] - time_s[0])
    found = {"events_per_s": len(log) / span_s, "spread_min": float((ask - bid).min())}
    found["spread_max"] = float((ask - bid).max())
    found["spread_one_tick_share"] = float((ask - bid == 1).mean())
    found |= _returns(mid[at])
    found |= _trades(log, time_s, mid, span_s)
    found |= _flow(log, time_s, seconds, mid)
    found |= _queue(log, mid)
    gaps = np.diff(time_s)
    found["event_gap_cv"] = float(gaps.std() / gaps.mean())
    return found


def _returns(mid_1s: np.ndarray) -> dict[str, float]:
    step = np.diff(np.log(mid_1s))
    found = {"sd_1s_bps": float(step.std() * 1e4), "acf_return_1s": float(acf(step, [1])[0])}
    for horizon in (1, 10, 60):
        found[f"kurtosis_{horizon}s"] = excess_kurtosis(np.diff(np.log(mid_1s[::horizon])))
    for lag, value in zip((1, 10, 60), acf(np.abs(step), [1, 10, 60]), strict=True):
        found[f"acf_abs_return_{lag}s"] = float(value)
    minute = mid_1s[60:] - mid_1s[:-60]
    found["variance_ratio_60s"] = float(minute.var() / (60 * np.diff(mid_1s).var()))
    return found


def _trades(
    log: np.ndarray, time_s: np.ndarray, mid: np.ndarray, span_s: float
) -> dict[str, float]:
    rows = np.nonzero(log[:, kernel.E_KIND] == kernel.MARKET)[0]
    rows = rows[rows > 0]
    sign = log[rows, kernel.E_SIDE].astype(float)
    gaps = np.diff(time_s[rows])
    found = {"trades_per_s": len(rows) / span_s, "trade_gap_cv": float(gaps.std() / gaps.mean())}
    for lag, value in zip((1, 5, 20), acf(sign, [1, 5, 20]), strict=True):
        found[f"sign_acf_{lag}"] = float(value)
    memory = acf(sign, SIGN_LAGS)
    shown = memory > 0.005
    found["sign_gamma"] = np.nan
    if shown.sum() > 3:
        slope = np.polyfit(np.log(SIGN_LAGS[shown]), np.log(memory[shown]), 1)[0]
        found["sign_gamma"] = float(-slope)
    before = mid[rows - 1]
    half_spread = 0.5 * float((log[:, kernel.E_ASK] - log[:, kernel.E_BID]).mean())
    for lag in (1, 10, 50):
        response = ((before[lag:] - before[:-lag]) * sign[:-lag]).mean()
        found[f"response_{lag}"] = float(response / half_spread)
    return found


def _flow(
    log: np.ndarray, time_s: np.ndarray, seconds: np.ndarray, mid: np.ndarray
) -> dict[str, float]:
    flow = _order_flow(log)
    traded = np.cumsum(log[:, kernel.E_SIDE] * log[:, kernel.E_TRADED_LOTS])
    found = {}
    for horizon in (1, 10):
        at = np.searchsorted(time_s, seconds[::horizon], "right") - 1
        move = np.diff(mid[at])
        flow_step = np.diff(flow[at])
        found[f"flow_r2_{horizon}s"] = float(np.corrcoef(flow_step, move)[0, 1] ** 2)
        ahead = float(np.corrcoef(flow_step[:-1], move[1:])[0, 1])
        found[f"flow_next_r2_{horizon}s"] = ahead * abs(ahead)
        found[f"trade_r2_{horizon}s"] = float(np.corrcoef(np.diff(traded[at]), move)[0, 1] ** 2)
    return found


def _queue(log: np.ndarray, mid: np.ndarray) -> dict[str, float]:
    """Queue imbalance at a random event before each mid move against the move's direction."""
    bid_lots, ask_lots = log[:, kernel.E_BID_LOTS], log[:, kernel.E_ASK_LOTS]
    imbalance = (bid_lots - ask_lots) / (bid_lots + ask_lots)
    moves = np.nonzero(np.diff(mid) != 0)[0]
    up = np.diff(mid)[moves] > 0
    chance = np.random.default_rng(0)
    start = np.concatenate([[0], moves[:-1] + 1])
    chosen = chance.integers(start, moves + 1)
    return {
        "queue_auc": auc(imbalance[chosen], up),
        "mid_reversal": float((up[1:] != up[:-1]).mean()),
    }


if __name__ == "__main__":
    runs = [facts(record(seed, 1_000_000)) for seed in (1, 2, 3, 4, 5, 6)]
    for name in runs[0]:
        values = np.array([run[name] for run in runs])
        print(f"{name:22s} {np.median(values):9.3f}  {values.min():9.3f} {values.max():9.3f}")  # noqa: T201 (a table for the docs)
