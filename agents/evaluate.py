"""Judge policies and rules on markets they were not made on: same seeds, costs paid, intervals.

All policies meet the same market seeds (common random numbers); the last decision of each market
is to be flat, so that no gain is left on paper. Runs on frozen weights, without torch.
"""

from __future__ import annotations

import math

import numpy as np

from agents import kernels
from agents.baselines import FLAT, Rule
from agents.card import Score
from agents.markets import NS_PER_S, Markets, Rules
from agents.policy import Weights, probabilities
from agents.seeds import TEST_SEEDS

LEAN_HORIZON = 5
"""Decisions ahead over which the lean is compared with what the mid did."""
EVALUATION_STEPS = 1_800
"""Decisions in one evaluation market: half an hour."""


class Agent:
    """A network that takes its most likely action, as a rule to be judged."""

    def __init__(self, name: str, weights: Weights) -> None:
        self.name = name
        self.weights = weights
        self.lean = np.zeros(0)
        """Probability of long less that of short at the last decision, float64[n]."""
        self._entropy_sum = 0.0
        self._n_decisions = 0

    def act(self, observations: np.ndarray) -> np.ndarray:
        chances = probabilities(self.weights, observations)
        logs = np.log(np.maximum(chances, 1e-300))
        self._entropy_sum += float(-(chances * logs).sum() / np.log(3.0))
        self._n_decisions += len(observations)
        self.lean = chances[:, 2] - chances[:, 0]
        action: np.ndarray = chances.argmax(axis=1).astype(np.int64)
        return action

    @property
    def entropy(self) -> float:
        """Mean entropy over ln 3 of all decisions so far."""
        return self._entropy_sum / max(1, self._n_decisions)


def start_evaluation(seeds: range, steps: int, rules: Rules | None = None) -> Markets:
    """Return markets at their first decision; the phase of each follows from its seed."""
    markets = Markets(len(seeds), rules)
    which = np.arange(len(seeds), dtype=np.int64)
    numbers = np.array(seeds, np.int64)
    phases_ns = np.random.default_rng(seeds.start).integers(0, NS_PER_S, len(seeds))
    markets.start(which, numbers, phases_ns, np.full(len(seeds), steps, np.int64))
    return markets


def evaluate(
    rule: Rule, seeds: range = TEST_SEEDS, steps: int = EVALUATION_STEPS, rules: Rules | None = None
) -> Score:
    """Return how ``rule`` did over one market a seed (two at least), ``steps`` decisions each."""
    markets = start_evaluation(seeds, steps, rules)
    gained = np.zeros(markets.n)
    leans, mids = [], []
    n_flat = 0
    for step in range(steps):
        action = rule.act(markets.observations)
        if step == steps - 1:
            action = np.full(markets.n, FLAT, np.int64)
        n_flat += int((action == FLAT).sum())
        if isinstance(rule, Agent):
            leans.append(rule.lean)
            mids.append(markets.mids)
        markets.step(action)
        gained += markets.gains
    hours = steps * markets.rules.cadence_ms / 3_600_000
    per_hour = gained / hours
    half = 1.96 * float(per_hour.std(ddof=1)) / math.sqrt(markets.n)
    mean = float(per_hour.mean())
    turnover = markets.account[:, kernels.TURNOVER_LOTS] / (markets.rules.cap_lots * hours)
    return Score(
        name=rule.name,
        n_markets=markets.n,
        hours=round(hours * markets.n, 3),
        pnl_bps_per_hour=_cut(mean),
        pnl_low=_cut(mean - half),
        pnl_high=_cut(mean + half),
        reward_per_step=round(float(gained.mean()) / steps, 6),
        turnover_per_hour=_cut(float(turnover.mean())),
        flat_share=round(n_flat / (steps * markets.n), 4),
        entropy=round(rule.entropy, 4) if isinstance(rule, Agent) else None,
        lean_correlation=_lean_correlation(leans, mids) if leans else None,
    )


def _lean_correlation(leans: list[np.ndarray], mids: list[np.ndarray]) -> float | None:
    """Return the correlation of lean and the mid's move over LEAN_HORIZON decisions."""
    if len(leans) <= LEAN_HORIZON:
        return None
    lean = np.stack(leans)[:-LEAN_HORIZON].ravel()
    seen = np.stack(mids)
    move = (seen[LEAN_HORIZON:] - seen[:-LEAN_HORIZON]).ravel()
    if lean.std() == 0.0 or move.std() == 0.0:
        return None
    return round(float(np.corrcoef(lean, move)[0, 1]), 4)


def _cut(value: float) -> float:
    """Three decimals are more than the intervals bear; the card stays readable."""
    return round(value, 3) + 0.0
