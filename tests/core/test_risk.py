"""The gate: each control alone, at its edge."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from core.config import RiskSettings
from core.model.market import FeedState
from core.model.order import Order, Side, TimeInForce
from core.risk import GateView, check
from tests.fakes import BTC

LIMITS = RiskSettings()
MID = 6_000_000  # 60,000.00
LOTS = 1_500  # 0.015 BTC, 900 USDT


def order(**changes: object) -> Order:
    base = Order("o1", "d1", "BTCUSDT", Side.BUY, LOTS, MID + 1, TimeInForce.IOC,
                 reduces=False, decided_ns=1)  # fmt: skip
    return msgspec.structs.replace(base, **changes)


def view(**changes: object) -> GateView:
    base = GateView(
        instrument=BTC,
        feed_state=FeedState.LIVE,
        bid_ticks=MID - 1,
        ask_ticks=MID + 1,
        position_lots=0,
        working_buy_lots=0,
        working_sell_lots=0,
        own_ticks=None,
        clock_offset_ms=3.0,
        open_orders=0,
        orders_last_minute=0,
        today=Decimal(0),
        is_halted=False,
        halt_reason="",
    )
    return msgspec.structs.replace(base, **changes)


def test_an_order_within_all_limits_passes_and_every_control_is_recorded() -> None:
    verdict = check(order(), view(), LIMITS)
    assert verdict.allowed
    assert verdict.code == ""
    assert {c.control for c in verdict.checks} >= {
        "feed_state", "book_sides", "book_crossed", "price_collar_bps", "kill_latch",
        "max_order_notional", "max_position_notional", "max_daily_loss", "max_open_orders",
        "max_orders_per_minute", "max_spread_bps", "min_notional", "own_orders", "clock_offset_ms",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"feed_state": FeedState.STALE}, "feed_state"),
        ({"feed_state": FeedState.RESYNCING}, "feed_state"),
        ({"bid_ticks": None}, "book_sides"),
        ({"bid_ticks": None, "ask_ticks": None}, "book_sides"),
        ({"bid_ticks": MID + 1}, "book_crossed"),
        ({"is_halted": True, "halt_reason": "F12"}, "kill_latch"),
        ({"today": Decimal(-200)}, "max_daily_loss"),
        ({"today": None}, "max_daily_loss"),
        ({"open_orders": 5}, "max_open_orders"),
        ({"orders_last_minute": 60}, "max_orders_per_minute"),
        ({"position_lots": 7_500}, "max_position_notional"),
        ({"working_buy_lots": 7_500}, "max_position_notional"),
        ({"bid_ticks": MID - 60_000}, "price_collar_bps"),
        ({"own_ticks": MID + 1}, "own_orders"),
        ({"clock_offset_ms": None}, "clock_offset_ms"),
        ({"clock_offset_ms": 1_000.1}, "clock_offset_ms"),
        ({"clock_offset_ms": -5_000.1}, "clock_offset_ms"),
    ],
)
def test_each_doubt_or_limit_refuses_an_entry(changes: dict, code: str) -> None:
    verdict = check(order(), view(**changes), LIMITS)
    assert not verdict.allowed
    assert verdict.code == code
    assert code in verdict.why


def test_the_daily_loss_limit_bites_exactly_at_the_limit() -> None:
    assert check(order(), view(today=Decimal("-199.99")), LIMITS).allowed
    assert not check(order(), view(today=Decimal(-200)), LIMITS).allowed


def test_an_order_of_exactly_the_greatest_notional_passes_and_one_lot_more_does_not() -> None:
    exact = int(LIMITS.max_order_notional / BTC.notional(MID + 1, 1))
    assert check(order(qty_lots=exact), view(), LIMITS).allowed
    assert check(order(qty_lots=exact + 1), view(), LIMITS).code == "max_order_notional"


def test_a_price_far_from_the_mid_is_refused_on_both_sides() -> None:
    for ticks in (MID + MID // 100, MID - MID // 100, 0, -5):
        assert check(order(limit_ticks=ticks), view(), LIMITS).code == "price_collar_bps"


def test_an_exit_passes_when_halted_and_over_the_daily_loss() -> None:
    closing = order(side=Side.SELL, limit_ticks=MID - 1, reduces=True)
    doubt = view(position_lots=LOTS, is_halted=True, today=Decimal(-999), orders_last_minute=999)
    assert check(closing, doubt, LIMITS).allowed


def test_an_exit_can_never_be_larger_than_what_is_left_of_the_position() -> None:
    closing = order(side=Side.SELL, limit_ticks=MID - 1, reduces=True)
    assert check(closing, view(position_lots=LOTS - 1), LIMITS).code == "reduces_only"
    working = view(position_lots=LOTS, working_sell_lots=1)
    assert check(closing, working, LIMITS).code == "reduces_only"
    assert check(closing, view(position_lots=-LOTS), LIMITS).code == "reduces_only"


def test_an_exit_is_not_priced_from_a_stale_book() -> None:
    closing = order(side=Side.SELL, limit_ticks=MID - 1, reduces=True)
    stale = view(position_lots=LOTS, feed_state=FeedState.STALE)
    assert check(closing, stale, LIMITS).code == "feed_state"


def test_an_exit_is_held_against_what_the_other_side_shows() -> None:
    wide = view(position_lots=LOTS, bid_ticks=MID - 60_000, ask_ticks=MID + 60_000)
    closing = order(side=Side.SELL, limit_ticks=MID - 61_000, reduces=True)
    assert check(closing, wide, LIMITS).allowed
    fat = order(side=Side.SELL, limit_ticks=MID - 600_000, reduces=True)
    assert check(fat, wide, LIMITS).code == "price_collar_bps"


def test_below_the_venues_least_notional_is_refused() -> None:
    instrument = msgspec.structs.replace(BTC, min_notional=Decimal(1000))
    assert check(order(), view(instrument=instrument), LIMITS).code == "min_notional"


def test_an_order_may_come_near_our_own_on_the_other_side_and_never_meet_it() -> None:
    buy = order(limit_ticks=MID + 1)
    assert check(buy, view(own_ticks=MID + 2), LIMITS).allowed
    met = check(buy, view(own_ticks=MID + 1), LIMITS)
    assert met.why == "own_orders was 60000.01, limit below our sell at 60000.01"
    sell = order(side=Side.SELL, limit_ticks=MID - 1)
    assert check(sell, view(own_ticks=MID - 2), LIMITS).allowed
    assert check(sell, view(own_ticks=MID - 1), LIMITS).code == "own_orders"


def test_an_exit_does_not_trade_with_our_own_order_either() -> None:
    closing = order(side=Side.SELL, limit_ticks=MID - 1, reduces=True)
    assert check(closing, view(position_lots=LOTS, own_ticks=MID - 2), LIMITS).allowed
    assert check(closing, view(position_lots=LOTS, own_ticks=MID), LIMITS).code == "own_orders"


def test_clock_in_doubt_holds_back_entries_and_no_exit() -> None:
    for offset in (None, 60_000.0, -60_000.0):
        closing = order(side=Side.SELL, limit_ticks=MID - 1, reduces=True)
        assert check(closing, view(position_lots=LOTS, clock_offset_ms=offset), LIMITS).allowed
    for offset in (1_000.0, 0.0, -1_272.0, -5_000.0):
        assert check(order(), view(clock_offset_ms=offset), LIMITS).allowed


def test_the_page_on_the_gate_names_every_control_and_no_other() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "risk.md").read_text("utf-8")
    documented = {
        name: (bool(entry.strip()), bool(leaving.strip()))
        for name, entry, leaving in re.findall(
            r"^\| `(\w+)` \|.*\|(.*)\|(.*)\|$", page, re.MULTILINE
        )
    }
    closing = order(side=Side.SELL, limit_ticks=MID - 1, reduces=True)
    entries = {c.control for c in check(order(), view(), LIMITS).checks}
    exits = {c.control for c in check(closing, view(position_lots=LOTS), LIMITS).checks}
    assert documented == {name: (name in entries, name in exits) for name in entries | exits}
