"""Find the threshold rules worth beating: a wide grid on recorded markets, without impact.

The screen replays each rule over recorded observations and prices, charging half-spread and fee
but not impact; the best of each family is then judged on the real thing like everybody else.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from agents.baselines import (
    DIRECTIONAL,
    FLAT,
    Flat,
    Random,
    Rule,
    Threshold,
    fit_linear,
    grid_of,
    one_feature,
    sign_of_imbalance,
)
from agents.card import Score
from agents.evaluate import EVALUATION_STEPS, evaluate, start_evaluation
from agents.markets import Rules
from agents.observe import EXPOSURE, POSITION
from agents.seeds import FIT_SEEDS, TEST_SEEDS, VALIDATION_SEEDS
from core.kernels.market import ASK, BID

HORIZONS = (5, 20, 60)
FEATURE_ENTERS = (0.3, 0.5, 0.7, 0.9, 0.97)
LINEAR_ENTERS_BPS = (0.3, 0.5, 0.7, 0.9, 1.1, 1.4)


class Recording(msgspec.Struct, frozen=True):
    """Markets in which nobody of ours traded, one row a decision and a column a market."""

    observations: np.ndarray
    """float32[steps, n, N_OBSERVATION]"""
    mids: np.ndarray
    """float64[steps, n] in ticks"""
    half_spreads: np.ndarray
    """float64[steps, n] in ticks"""


def record(seeds: range, rules: Rules, steps: int = EVALUATION_STEPS) -> Recording:
    """Return what there was to see in the markets of ``seeds``."""
    markets = start_evaluation(seeds, steps, rules)
    stay = np.full(markets.n, FLAT, np.int64)
    observations, mids, half_spreads = [], [], []
    for _ in range(steps):
        observations.append(markets.observations.copy())
        mids.append(markets.mids)
        half_spreads.append(0.5 * (markets.ints[:, ASK] - markets.ints[:, BID]))
        markets.step(stay)
    return Recording(np.stack(observations), np.stack(mids), np.stack(half_spreads))


def screen(rule: Rule, recording: Recording, fee_bps: float) -> float:
    """Return the mean gain per decision in bps of the cap, half-spread and fee paid, no impact."""
    held = np.zeros(recording.mids.shape[1])
    gained = 0.0
    last = len(recording.mids) - 1
    for step in range(last):
        seen = recording.observations[step].copy()
        seen[:, POSITION] = held
        seen[:, EXPOSURE] = np.abs(held)
        wanted = rule.act(seen) - 1.0
        mids = recording.mids[step]
        cost_bps = 1e4 * recording.half_spreads[step] / mids + fee_bps
        moves_bps = 1e4 * (recording.mids[step + 1] - mids) / mids
        gained += float((wanted * moves_bps - np.abs(wanted - held) * cost_bps).mean())
        held = wanted
    return gained / last


def candidates(fit: Recording) -> dict[str, list[Threshold]]:
    """Return the families of rules: thresholds on one entry, on linear forecasts."""
    families: dict[str, list[Threshold]] = {"one feature": [], "linear forecast": []}
    for name in DIRECTIONAL:
        for sign, mark in ((1.0, ""), (-1.0, "-")):
            weights = one_feature(name, sign)
            families["one feature"] += grid_of(f"{mark}{name}", weights, FEATURE_ENTERS)
    for horizon in HORIZONS:
        before = fit.observations[:-horizon]
        moves = 1e4 * (fit.mids[horizon:] / fit.mids[:-horizon] - 1.0)
        weights = fit_linear(before.reshape(-1, before.shape[-1]), moves.reshape(-1))
        name = f"linear {horizon} s forecast, bps"
        families["linear forecast"] += grid_of(name, weights, LINEAR_ENTERS_BPS)
    return families


def find_baselines(rules: Rules, tell: Callable[[str], None]) -> tuple[Score, ...]:
    """Return the scores, on the test markets, of flat, random, sign and the best of each grid.

    A rule that would never trade is flat under another name, so the grids skip it.
    """
    fit = record(FIT_SEEDS, rules)
    validation = record(VALIDATION_SEEDS, rules)
    chosen: list[Rule] = [Flat(), Random(seed=1), sign_of_imbalance()]
    for family, members in candidates(fit).items():
        tell(f"  {len(members)} rules of the family {family}")
        gains = [screen(rule, validation, rules.fee_bps) for rule in members]
        trading = [(gain, i) for i, gain in enumerate(gains) if gain != 0.0]
        chosen.append(members[max(trading)[1]])
    scores = []
    for rule in chosen:
        scores.append(evaluate(rule, TEST_SEEDS, rules=rules))
        tell(f"  {rule.name}: {scores[-1].pnl_bps_per_hour:+.2f} bps/h on test")
    return tuple(scores)
