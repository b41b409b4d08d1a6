"""Judging: the same markets for all, exact for what is known, and honest about a lucky rule."""

from __future__ import annotations

import numpy as np
import pytest

from agents import search
from agents.baselines import (
    FLAT,
    LONG,
    SHORT,
    Flat,
    Random,
    Threshold,
    fit_linear,
    one_feature,
    sign_of_imbalance,
)
from agents.evaluate import Agent, evaluate
from agents.markets import Rules
from agents.observe import N_OBSERVATION, OBSERVATION_NAMES, POSITION
from agents.seeds import FIT_SEEDS, TEST_SEEDS, TRAINING_SEEDS_FROM, VALIDATION_SEEDS
from tests.agents import made

FEW = range(2_000_000, 2_000_004)
RULES = Rules(warm_up_s=12)


def seen(score: float, held: float) -> np.ndarray:
    row = np.zeros((1, N_OBSERVATION), np.float32)
    row[0, OBSERVATION_NAMES.index("imbalance_l1")] = score
    row[0, POSITION] = held
    return row


@pytest.mark.parametrize(
    ("score", "held", "action"),
    [
        (0.9, 0, LONG),
        (-0.9, 0, SHORT),
        (0.3, 0, FLAT),
        (0.3, 1, LONG),
        (-0.1, 1, FLAT),
        (0.1, -1, FLAT),
        (-0.3, -1, SHORT),
        (0.9, -1, LONG),
    ],
)
def test_threshold_enters_stays_and_leaves(score: float, held: float, action: int) -> None:
    rule = Threshold("t", one_feature("imbalance_l1"), enter=0.5, leave=0.0)
    assert rule.act(seen(score, held)).tolist() == [action]


def test_linear_fit_finds_the_weights_it_was_made_from() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (5000, N_OBSERVATION)).astype(np.float32)
    move = 0.8 * x[:, 1] - 0.4 * x[:, 5] + rng.normal(0, 0.01, 5000)
    weights = fit_linear(x, move)
    assert weights[1] == pytest.approx(0.8, abs=0.01)
    assert weights[5] == pytest.approx(-0.4, abs=0.01)
    assert weights[[0, 12, 13, 14, 15]].tolist() == [0, 0, 0, 0, 0]


def test_market_sets_do_not_overlap() -> None:
    sets = (FIT_SEEDS, VALIDATION_SEEDS, TEST_SEEDS)
    numbers = [number for seeds in sets for number in seeds]
    assert len(set(numbers)) == len(numbers)
    assert max(numbers) < TRAINING_SEEDS_FROM


def test_flat_scores_exactly_zero() -> None:
    score = evaluate(Flat(), FEW, 30, RULES)
    assert (score.pnl_bps_per_hour, score.pnl_low, score.pnl_high) == (0.0, 0.0, 0.0)
    assert score.turnover_per_hour == 0.0
    assert score.flat_share == 1.0
    assert score.entropy is None


def test_trading_without_reason_loses_beyond_doubt() -> None:
    score = evaluate(Random(seed=1), range(2_000_000, 2_000_016), 120, RULES)
    assert score.pnl_high < 0
    assert score.turnover_per_hour > 1000


def test_the_same_rule_scores_the_same_again() -> None:
    agent = Agent("made", made.weights())
    one = evaluate(agent, FEW, 40, RULES)
    assert evaluate(Agent("made", made.weights()), FEW, 40, RULES) == one
    assert one.entropy is not None
    assert 0.0 < one.entropy < 1.0
    assert one.lean_correlation is not None


def test_everything_is_sold_at_the_end() -> None:
    class Buy:
        name = "buy"

        def act(self, observations: np.ndarray) -> np.ndarray:
            return np.full(len(observations), LONG)

    score = evaluate(Buy(), FEW, 20, RULES)
    assert score.turnover_per_hour == pytest.approx(2 * 3600 / 20)


def test_screen_without_impact_is_close_to_the_real_thing() -> None:
    """A small order has little impact, so the quick screen must agree on what a rule costs."""
    rules = Rules(cap_lots=50, warm_up_s=12, latency_ms=0)
    seeds = range(3_000_000, 3_000_032)
    recording = search.record(seeds, rules, 120)
    rule = sign_of_imbalance()
    real = evaluate(rule, seeds, 120, rules).reward_per_step
    assert search.screen(rule, recording, rules.fee_bps) == pytest.approx(real, rel=0.25)
    assert search.screen(Flat(), recording, rules.fee_bps) == 0.0
