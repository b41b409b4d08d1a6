"""The shipped agent: whole, made for this program, and described by its own numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.evaluate import Agent, evaluate
from agents.markets import Rules, market_digest
from agents.registry import SHIPPED, list_models, load_model
from agents.seeds import TEST_SEEDS
from core.config import PaperSettings
from tests.agents import made

PAGE = Path(__file__).resolve().parents[2] / "docs" / "agents" / "ppo-sim.md"


def test_every_shipped_model_can_be_used() -> None:
    entries = list_models()
    assert [entry.agent_id for entry in entries] == ["ppo-sim"]
    assert [entry.problem for entry in entries] == [""]


def test_it_was_trained_on_the_market_and_the_costs_in_force() -> None:
    card = load_model(SHIPPED / "ppo-sim").card
    assert card.market["market_sha256"] == market_digest()
    assert card.market["fee_bps"] == PaperSettings().sim_fee_bps
    assert card.market["latency_ms"] == PaperSettings().latency_ms


def test_the_kept_seed_is_the_best_on_validation_and_no_worse_than_flat() -> None:
    card = load_model(SHIPPED / "ppo-sim").card
    assert len(card.seeds) >= 3
    best = max(result.validation.pnl_bps_per_hour for result in card.seeds)
    kept = next(result for result in card.seeds if result.seed == card.seed)
    assert kept.validation.pnl_bps_per_hour == best
    assert card.test.pnl_high >= 0.0
    names = [score.name for score in card.baselines]
    assert {"flat", "random", "sign of imbalance_l1"} <= set(names)


def test_its_summary_claims_no_more_than_the_interval_allows() -> None:
    card = load_model(SHIPPED / "ppo-sim").card
    beats = card.test.pnl_low > 0
    assert ("does not beat" in card.summary) == (not beats)
    assert f"{card.test.pnl_bps_per_hour:+.2f} bps" in card.summary


def test_its_view_is_a_set_of_probabilities_on_any_features() -> None:
    policy = load_model(SHIPPED / "ppo-sim")
    for seed in range(100):
        view = policy.decide(0, made.features(seed), 0.0)
        assert sum(view.probabilities) == pytest.approx(1.0)
        assert 0.0 <= view.entropy <= 1.0


def test_the_page_reports_the_card() -> None:
    card = load_model(SHIPPED / "ppo-sim").card
    text = PAGE.read_text(encoding="utf-8")
    assert card.summary in text
    for score in (*(result.test for result in card.seeds), *card.baselines):
        interval = f"[{score.pnl_low:+.2f}, {score.pnl_high:+.2f}]"
        row = f"| {score.name} | {score.pnl_bps_per_hour:+.2f} | {interval} |"
        assert row in text, row


@pytest.mark.slow
def test_the_card_repeats_itself_on_the_test_markets() -> None:
    """Run the whole judgement again: the same markets, decisions and money."""
    policy = load_model(SHIPPED / "ppo-sim")
    kept = policy.card.test
    again = evaluate(Agent(kept.name, policy.weights), TEST_SEEDS, rules=Rules())
    assert again.turnover_per_hour == pytest.approx(kept.turnover_per_hour, abs=0.5)
    assert again.pnl_bps_per_hour == pytest.approx(kept.pnl_bps_per_hour, abs=0.5)
