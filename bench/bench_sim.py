"""Speed of the simulated market: events in the kernel, frames of the venue, orders of a user.

Run: ``python -m bench.bench_sim``. Best of five after a warm-up; one core. The machine's noise is
shown by the spread between best and worst.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from core.kernels import jit
from core.kernels import market as kernel
from core.kernels.rng import RNG_SIZE
from core.sim.market import SimMarket, sim_instrument
from core.sim.params import market_params_c
from core.sim.venue import SimVenue

ROUNDS = 5
EVENTS = 500_000
FRAMES_S = 120
MARKETS = 64


@jit
def _steps(ints, reals, rng, queues, params, event, count):
    for _ in range(count):
        kernel.step(ints, reals, rng, queues, params, event)


@jit
def _steps_all(ints, reals, rng, queues, params, event, count):
    for row in range(ints.shape[0]):
        for _ in range(count):
            kernel.step(ints[row], reals[row], rng[row], queues[row], params, event)


@jit
def _takes(ints, reals, rng, queues, params, event, fills, count):
    """Every other event is a purchase or a sale of half a unit by the user."""
    for i in range(count):
        kernel.step(ints, reals, rng, queues, params, event)
        side = 1 if i % 2 else -1
        kernel.take(ints, reals, queues, params, side, 500, side * 1_000_000, fills)


def _arrays(count: int) -> tuple[np.ndarray, ...]:
    ints = np.zeros((count, kernel.INTS_SIZE), np.int64)
    reals = np.zeros((count, kernel.REALS_SIZE), np.float64)
    rng = np.zeros((count, RNG_SIZE), np.uint64)
    queues = np.zeros((count, 2, kernel.WINDOW), np.int64)
    for row in range(count):
        kernel.init(ints[row], reals[row], rng[row], queues[row], market_params_c(), row, 10_000)
    return ints, reals, rng, queues


def _report(what: str, unit: str, count: int, run: Callable[[], object]) -> None:
    run()
    rates = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run()
        rates.append(count / (time.perf_counter() - start))
    best, worst = max(rates), min(rates)
    print(f"{what:44s} {best:12,.0f} {unit}/s  {1e9 / best:9.0f} ns each  (worst {worst:,.0f})")


def _frames(seed: int) -> int:
    venue = SimVenue([SimMarket(sim_instrument(), seed)])
    return len(venue.run_until(FRAMES_S * 1_000_000_000))


def main() -> None:
    """Measure and print one line each."""
    params = market_params_c()
    event = np.zeros(kernel.EVENT_SIZE, np.int64)
    fills = np.zeros((kernel.MAX_TRADES, 2), np.int64)
    one = [array[0] for array in _arrays(1)]
    many = _arrays(MARKETS)
    _report("kernel step, one market", "events", EVENTS,
            lambda: _steps(*one, params, event, EVENTS))  # fmt: skip
    _report(f"kernel step, {MARKETS} markets in turn", "events", EVENTS,
            lambda: _steps_all(*many, params, event, EVENTS // MARKETS))  # fmt: skip
    _report("kernel step and take", "pairs", EVENTS,
            lambda: _takes(*one, params, event, fills, EVENTS))  # fmt: skip
    _report("kernel init (5,000 events of warm-up)", "markets", MARKETS, lambda: _arrays(MARKETS))
    _report("venue frames (JSON text)", "frames", _frames(7), lambda: _frames(7))


if __name__ == "__main__":
    main()
