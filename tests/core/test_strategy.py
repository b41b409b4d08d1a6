"""The strategy as a function: what it sees, what it says."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from core.config import StrategySettings
from core.model.decision import Action, AgentView, Forecast, SignalShare
from core.model.order import Side
from core.strategy import Hold, Idea, Sight, consider, limit_for
from tests.fakes import BTC

SETTINGS = StrategySettings()
FORECAST = Forecast(
    horizon_s=5,
    p_up=0.62,
    base_rate=0.5,
    skill=0.02,
    n_resolved=400,
    moved_share=0.9,
    mean_move_ticks=300_000.0,  # 5 % of 60,000.00: an edge that pays any fee
    bias_share=0.0,
    shares=(SignalShare("queue imbalance", 0.8, 0.3), SignalShare("reversion", -0.2, -0.1)),
)


def sight(**changes: object) -> Sight:
    base = Sight(
        instrument=BTC,
        bids=np.array([[5_999_999, 2_000], [5_999_998, 50_000]], np.int64),
        asks=np.array([[6_000_001, 2_000], [6_000_002, 50_000]], np.int64),
        forecast=FORECAST,
        agent=None,
        volatility_bucket="calm",
        position_lots=0,
        held_ns=0,
        fee_bps=10.0,
    )
    return msgspec.structs.replace(base, **changes)


def forecast(**changes: object) -> Forecast:
    return msgspec.structs.replace(FORECAST, **changes)


def test_a_probability_far_from_one_half_that_pays_becomes_an_entry() -> None:
    idea = consider(sight(), SETTINGS)
    assert isinstance(idea, Idea)
    assert (idea.action, idea.side) == (Action.ENTER_LONG, Side.BUY)
    assert idea.qty_lots == 1666  # 1000 USDT at 60,000 in lots of 0.00001
    assert idea.limit_ticks == 6_000_000 + 1_800  # three basis points from the mid
    assert idea.edge_bps == pytest.approx(2 * 0.12 * 500)
    assert "queue imbalance" in idea.rationale


def test_the_other_way_round_it_sells_short() -> None:
    idea = consider(sight(forecast=forecast(p_up=0.4)), SETTINGS)
    assert isinstance(idea, Idea)
    assert (idea.action, idea.side) == (Action.ENTER_SHORT, Side.SELL)
    assert idea.limit_ticks == 5_999_999 - 1_799


@pytest.mark.parametrize(
    ("changes", "code", "is_wanted"),
    [
        ({"p_up": 0.549}, "no_signal", False),
        ({"skill": None}, "unproven", True),
        ({"skill": -0.001}, "no_skill", True),
        ({"mean_move_ticks": 30.0}, "no_edge", True),
    ],
)
def test_each_reason_not_to_enter_has_its_name(changes: dict, code: str, is_wanted: bool) -> None:
    hold = consider(sight(forecast=forecast(**changes)), SETTINGS)
    assert isinstance(hold, Hold)
    assert (hold.code, hold.is_wanted) == (code, is_wanted)
    assert hold.text


def test_practice_settings_enter_without_proof_or_edge() -> None:
    practice = StrategySettings(threshold=0.02, min_edge_bps=-1000, min_skill=-1)
    seen = sight(forecast=forecast(p_up=0.53, skill=None, mean_move_ticks=1.0))
    assert isinstance(consider(seen, practice), Idea)


def test_a_cost_counts_both_fees_the_whole_spread_and_the_walk_through_the_book() -> None:
    thin = np.array([[6_000_001, 666], [6_000_601, 50_000]], np.int64)
    idea = consider(sight(asks=thin), SETTINGS)
    assert isinstance(idea, Idea)
    walk_bps = 1000 / 1666 * 600 / 6_000_000 * 10_000
    assert idea.cost_bps == pytest.approx(20 + 2 / 600 + 2 * walk_bps, rel=1e-4)


def test_a_position_is_left_when_its_time_is_up() -> None:
    held = sight(position_lots=500, held_ns=31 * 10**9)
    idea = consider(held, SETTINGS)
    assert isinstance(idea, Idea)
    assert (idea.action, idea.side, idea.qty_lots) == (Action.EXIT, Side.SELL, 500)


def test_a_position_is_left_when_the_probability_turns_and_never_flipped() -> None:
    short = sight(position_lots=-500, held_ns=1)
    idea = consider(short, SETTINGS)
    assert isinstance(idea, Idea)
    assert (idea.action, idea.side, idea.qty_lots) == (Action.EXIT, Side.BUY, 500)


def test_a_position_with_the_probability_on_its_side_is_held() -> None:
    hold = consider(sight(position_lots=500, held_ns=1), SETTINGS)
    assert isinstance(hold, Hold)
    assert hold.code == "holding"


def test_the_agents_view_is_in_the_rationale() -> None:
    agent = AgentView("ppo-sim", (0.1, 0.2, 0.7), 0.73)
    idea = consider(sight(agent=agent), SETTINGS)
    assert isinstance(idea, Idea)
    assert "long 70%" in idea.rationale


def test_a_sell_limit_never_falls_below_one_tick() -> None:
    bids = np.array([[1, 5]], np.int64)
    asks = np.array([[2, 5]], np.int64)
    assert limit_for(bids, asks, Side.SELL, 10_000) == 1


def test_adding_is_judged_like_a_first_entry_and_only_on_the_side_of_the_position() -> None:
    several = StrategySettings(max_entries=3)
    held = sight(position_lots=1_666, held_ns=0, entries=2)
    idea = consider(held, several)
    assert isinstance(idea, Idea)
    assert (idea.action, idea.side) == (Action.ENTER_LONG, Side.BUY)
    assert idea.rationale.startswith("Adds to the position, entry 3 of at most 3. BUY: P(up)")
    for changes in (
        {"entries": 3},
        {"may_add": False},
        {"forecast": forecast(p_up=0.53)},
        {"forecast": forecast(skill=-0.1)},
        {"position_lots": -1_666, "forecast": forecast(p_up=0.52)},
    ):
        hold = consider(msgspec.structs.replace(held, **changes), several)
        assert isinstance(hold, Hold), changes
        assert hold.code == "holding", changes


def test_an_exit_comes_before_adding() -> None:
    held = sight(position_lots=1_666, held_ns=31 * 10**9, entries=1)
    idea = consider(held, StrategySettings(max_entries=3))
    assert isinstance(idea, Idea)
    assert idea.action is Action.EXIT
