"""The gate: each control alone on both sides of its limit, and what holds for any order."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import RiskSettings
from core.limits.loss import unset_limits
from core.limits.view import GateView
from core.model.market import FeedState
from core.model.order import Order, Side
from core.risk import CONTROLS, check, table
from tests.core.gate_cases import LIMITS, LOTS, MID, closing, limits, order, view
from tests.fakes import BTC

PAGE = Path(__file__).resolve().parents[2] / "docs" / "risk.md"
STOCK = msgspec.structs.replace(BTC, venue="alpaca", name="IBM")
MONDAY_NOON_NS = 1_794_848_400 * 10**9  # 2026-11-16 12:00 in New York
"""A trading day."""


def refusal(code: str, of: Order, seen: GateView, under: RiskSettings = LIMITS) -> str:
    """Return value and limit as told by the one control that refuses."""
    verdict = check(of, seen, under)
    failed = [each for each in verdict.checks if not each.passed]
    assert [each.control for each in failed] == [code]
    assert not verdict.allowed
    assert verdict.code == code
    assert verdict.why == f"{code} was {failed[0].value}, limit {failed[0].limit}"
    return f"{failed[0].value} | {failed[0].limit}"


def test_an_order_within_all_limits_passes_and_every_control_is_recorded_in_order() -> None:
    entry, leaving = check(order(), view(), LIMITS), check(closing(), held(), LIMITS)
    assert entry.allowed
    assert leaving.allowed
    assert entry.code == entry.why == ""
    assert [c.control for c in entry.checks] == [c.code for c in CONTROLS if c.of_entries]
    assert [c.control for c in leaving.checks] == [c.code for c in CONTROLS if c.of_exits]
    assert all(c.value and c.limit for c in (*entry.checks, *leaving.checks))


def held(**changes: object) -> GateView:
    return view(**{"position_lots": LOTS} | changes)


def test_no_two_controls_share_a_code() -> None:
    codes = [control.code for control in CONTROLS]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    ("code", "passing", "refused", "told"),
    [
        ("book_crossed", {"bid_ticks": MID, "ask_ticks": MID + 1}, {"bid_ticks": MID + 1},
         "crossed | open"),
        ("pause", {}, {"pause": "slippage, 9 s left"}, "slippage, 9 s left | none"),
        ("kill_latch", {}, {"is_halted": True, "halt_reason": "F12"}, "F12 | armed"),
        ("last_trade_collar_bps", {"last_trade_ticks": 5_941_000},
         {"last_trade_ticks": 5_940_000}, "101.012 | 100"),
        ("last_trade_collar_bps", {"last_trade_ticks": None}, {"last_trade_ticks": 6_061_000},
         "100.642 | 100"),
        ("max_position_notional", {"position_lots": 6_800}, {"position_lots": 6_900},
         "5040.00084 | 5000"),
        ("max_position_notional", {"working_buy_lots": 6_800}, {"working_buy_lots": 6_900},
         "5040.00084 | 5000"),
        ("max_gross_exposure", {"other_exposure": Decimal("9099.99")},
         {"other_exposure": Decimal(9_100)}, "10000.00015 | 10000"),
        ("max_gross_exposure", {}, {"other_exposure": None}, "unknown | 10000"),
        ("volatility_notional", {"volatility_bucket": "lively"},
         {"volatility_bucket": "wild"}, "900.00015 in wild | 600"),
        ("max_daily_loss", {"today": Decimal("-199.99")}, {"today": Decimal(-200)},
         "-200 | -200"),
        ("max_daily_loss", {}, {"today": None}, "unknown | -200"),
        ("max_session_loss", {"session": Decimal("-149.99")}, {"session": Decimal(-150)},
         "-150 | -150"),
        ("max_session_loss", {}, {"session": None}, "unknown | -150"),
        ("max_drawdown", {"drawdown": Decimal("99.99")}, {"drawdown": Decimal(100)}, "100 | 100"),
        ("max_drawdown", {}, {"drawdown": None}, "unknown | 100"),
        ("max_consecutive_losses", {"losses_in_a_row": 19}, {"losses_in_a_row": 20}, "20 | 20"),
        ("max_open_orders", {"open_orders": 4}, {"open_orders": 5}, "5 | 5"),
        ("max_orders_per_second", {"orders_last_second": 4}, {"orders_last_second": 5}, "5 | 5"),
        ("max_orders_per_minute", {"orders_last_minute": 59}, {"orders_last_minute": 60},
         "60 | 60"),
        ("max_messages_per_second", {"messages_last_second": 15}, {"messages_last_second": 16},
         "16 | 16"),
        ("max_repeated_fills", {"repeated_fills": 9}, {"repeated_fills": 10}, "10 | 10"),
        ("duplicate_window_ms", {"same_order_age_ms": 1_000.0}, {"same_order_age_ms": 999.5},
         "999.5 ms ago | 1000 ms"),
        ("clock_offset_ms", {"clock_offset_ms": 1_000.0}, {"clock_offset_ms": 1_000.1},
         "1000.1 | -5000 to 1000"),
        ("clock_offset_ms", {"clock_offset_ms": -5_000.0}, {"clock_offset_ms": -5_000.1},
         "-5000.1 | -5000 to 1000"),
        ("clock_offset_ms", {}, {"clock_offset_ms": None}, "unknown | -5000 to 1000"),
        ("own_orders", {"own_ticks": MID + 2}, {"own_ticks": MID + 1},
         "60000.01 | below our sell at 60000.01"),
    ],
)  # fmt: skip
def test_a_control_passes_an_entry_on_one_side_of_its_limit_and_refuses_it_on_the_other(
    code: str, passing: dict, refused: dict, told: str
) -> None:
    under = limits(max_session_loss=Decimal(150), max_drawdown=Decimal(100), wild_size_share=0.3)
    assert check(order(), view(**passing), under).allowed
    assert refusal(code, order(), view(**refused), under) == told


@pytest.mark.parametrize(
    ("code", "passing", "refused", "told"),
    [
        ("max_order_notional", {"qty_lots": 3_333}, {"qty_lots": 3_334},
         "2000.4003334 | 2000"),
        ("order_lots", {"qty_lots": 1}, {"qty_lots": 0}, "0 | above 0"),
        ("price_collar_bps", {"limit_ticks": MID + 15_000}, {"limit_ticks": MID + 15_001},
         "25.002 | 25"),
        ("price_collar_bps", {"side": Side.SELL, "limit_ticks": MID - 15_000},
         {"side": Side.SELL, "limit_ticks": MID - 15_001}, "25.002 | 25"),
    ],
)  # fmt: skip
def test_a_control_of_the_order_passes_on_one_side_of_its_limit_and_refuses_on_the_other(
    code: str, passing: dict, refused: dict, told: str
) -> None:
    assert check(order(**passing), view(), LIMITS).allowed
    assert refusal(code, order(**refused), view()) == told


@pytest.mark.parametrize("state", [state for state in FeedState if state is not FeedState.LIVE])
def test_nothing_leaves_on_a_feed_in_any_doubt(state: FeedState) -> None:
    assert refusal("feed_state", order(), view(feed_state=state)) == f"{state.value} | live"
    assert refusal("feed_state", closing(), held(feed_state=state)) == f"{state.value} | live"


def test_nothing_leaves_on_a_book_without_one_of_its_sides() -> None:
    told = refusal("book_sides", order(), view(bid_ticks=None))
    assert told == "one-sided | two-sided"
    told = refusal("book_sides", order(), view(bid_ticks=None, ask_ticks=None))
    assert told == "empty | two-sided"
    assert refusal("book_sides", closing(), held(ask_ticks=None)) == "one-sided | two-sided"


def test_a_quantity_is_limited_even_where_a_wrong_price_makes_it_cheap() -> None:
    cheap = {"bid_ticks": 99, "ask_ticks": 101, "last_trade_ticks": 100}
    wide = limits(max_spread_bps=1_000.0, price_collar_bps=1_000.0, last_trade_collar_bps=1_000.0)
    most = 1_000 * 100_000  # 1000 BTC
    assert check(order(limit_ticks=101, qty_lots=most), view(**cheap), wide).allowed
    told = refusal("max_order_qty", order(limit_ticks=101, qty_lots=most + 1), view(**cheap), wide)
    assert told == "1000.00001 | 1000"


def test_the_spread_may_be_as_wide_as_its_limit_and_no_wider() -> None:
    edge = {"bid_ticks": MID - 12_000, "ask_ticks": MID + 12_000}
    under = limits(max_spread_bps=40.0)
    assert check(order(limit_ticks=MID), view(**edge), under).allowed
    edge["ask_ticks"] += 1
    assert refusal("max_spread_bps", order(limit_ticks=MID), view(**edge), under) == "40.002 | 40"


def test_below_the_venues_least_notional_is_refused() -> None:
    dear = view(instrument=msgspec.structs.replace(BTC, min_notional=Decimal("900.0002")))
    assert refusal("min_notional", order(), dear) == "900.00015 | 900.0002"
    exact = view(instrument=msgspec.structs.replace(BTC, min_notional=Decimal("900.00015")))
    assert check(order(), exact, LIMITS).allowed


def test_a_position_is_counted_with_every_order_that_may_still_fill() -> None:
    both = view(position_lots=3_000, working_buy_lots=3_900)
    assert refusal("max_position_notional", order(), both) == "5040.00084 | 5000"
    # Sells that have not filled make no room for a buy.
    assert not check(
        order(), msgspec.structs.replace(both, working_sell_lots=9_000), LIMITS
    ).allowed


def test_a_wild_market_takes_half_the_size_or_none() -> None:
    wild = view(volatility_bucket="wild")
    assert check(order(), wild, LIMITS).allowed  # 900 of 1000
    told = refusal("volatility_notional", order(), wild, limits(wild_size_share=0.0))
    assert told == "900.00015 in wild | 0"
    assert check(order(), view(volatility_bucket=None), limits(wild_size_share=0.0)).allowed


@pytest.mark.parametrize(
    ("listed", "is_allowed"),
    [
        (("*",), True), (("BTCUSDT",), True), (("binance:*",), True),
        (("ETHUSDT", "binance:BTCUSDT"), True), (("ETHUSDT",), False), (("coinbase:*",), False),
        (("coinbase:BTCUSDT",), False), ((), False),
    ],
)  # fmt: skip
def test_only_listed_instruments_are_entered(listed: tuple[str, ...], is_allowed: bool) -> None:
    under = limits(instruments=listed)
    if is_allowed:
        assert check(order(), view(), under).allowed
    else:
        told = refusal("instruments", order(), view(), under)
        assert told == f"binance:BTCUSDT | {', '.join(listed) or 'none'}"
    assert check(closing(), held(), under).allowed


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        (0, ""),
        (-2.51, "Mon 2026-11-16 09:29 New York | 09:30 to 16:00"),
        (-2.5, ""),
        (3.99, ""),
        (4, "Mon 2026-11-16 16:00 New York | 09:30 to 16:00"),
        (-24, "Sun 2026-11-15 12:00 New York | no session at the weekend"),
        (24 * 10, "Thu 2026-11-26 12:00 New York | no session on a holiday"),
        (24 * 11, ""),
        (24 * 11 + 1, "Fri 2026-11-27 13:00 New York | 09:30 to 13:00"),
        (24 * 777, "Mon 2029-01-01 12:00 New York | no session on a holiday"),
        (24 * 778, ""),  # no list of years ends
        (-24 * 4_788, ""),  # a recording of 2013
    ],
)  # fmt: skip
def test_a_stock_is_entered_in_its_session_alone(hours: float, told: str) -> None:
    # limits and collars are in money and bps: the instrument's venue and name alone matter here
    seen = view(instrument=STOCK, now_ns=MONDAY_NOON_NS + int(hours * 3_600) * 10**9)
    if told:
        assert refusal("trading_hours", order(), seen) == told
    else:
        assert check(order(), seen, LIMITS).allowed
    assert check(closing(), msgspec.structs.replace(seen, position_lots=LOTS), LIMITS).allowed


def test_days_that_follow_no_rule_are_told_by_the_settings() -> None:
    seen = view(instrument=STOCK, now_ns=MONDAY_NOON_NS + 2 * 3_600 * 10**9)
    mourning = limits(stock_holidays=("2026-11-16",))
    assert refusal("trading_hours", order(), seen, mourning).endswith("| no session on a holiday")
    short = limits(stock_early_closes=("2026-11-16",))
    assert refusal("trading_hours", order(), seen, short).endswith("| 09:30 to 13:00")
    assert check(order(), seen, LIMITS).allowed


def test_the_session_follows_new_york_through_its_change_of_clocks() -> None:
    # 14:00 UTC is 10:00 in New York in summer, 9:00 in winter.
    summer_ns, winter_ns = 1_784_556_000 * 10**9, 1_794_837_600 * 10**9
    assert check(order(), view(instrument=STOCK, now_ns=summer_ns), LIMITS).allowed
    told = refusal("trading_hours", order(), view(instrument=STOCK, now_ns=winter_ns))
    assert told.startswith("Mon 2026-11-16 09:00 New York")


def test_coins_trade_at_all_hours_wherever_they_are_listed() -> None:
    sunday_ns = MONDAY_NOON_NS - 86_400 * 10**9
    for name in ("BTC/USD", "FAKEPACA"):
        coin = msgspec.structs.replace(STOCK, name=name)
        assert check(order(), view(instrument=coin, now_ns=sunday_ns), LIMITS).allowed


# --- exits --------------------------------------------------------------------------------------


def test_an_exit_passes_everything_that_limits_new_risk() -> None:
    doubt = held(
        is_halted=True, halt_reason="F12", today=Decimal(-999), session=None,
        drawdown=Decimal(999), losses_in_a_row=99, pause="slippage", open_orders=64,
        orders_last_second=999, orders_last_minute=999, repeated_fills=99, same_order_age_ms=0.0,
        clock_offset_ms=None, last_trade_ticks=1, other_exposure=None, volatility_bucket="wild",
    )  # fmt: skip
    assert check(closing(), doubt, limits(instruments=(), wild_size_share=0.0)).allowed


def test_exits_have_the_last_fifth_of_the_messages_to_themselves() -> None:
    assert not check(order(), view(messages_last_second=16), LIMITS).allowed
    assert check(closing(), held(messages_last_second=19), LIMITS).allowed
    told = refusal("max_messages_per_second", closing(), held(messages_last_second=20))
    assert told == "20 | 20"


def test_an_exit_can_never_be_larger_than_what_is_left_of_the_position() -> None:
    assert refusal("reduces_only", closing(), held(position_lots=LOTS - 1)) == "1500 | at most 1499"
    assert refusal("reduces_only", closing(), held(working_sell_lots=1)) == "1500 | at most 1499"
    assert refusal("reduces_only", closing(), held(position_lots=-LOTS)) == "1500 | at most 0"
    assert refusal("reduces_only", closing(qty_lots=0), held()) == "0 | at most 1500"


def test_an_exit_is_held_against_what_the_other_side_shows() -> None:
    wide = held(bid_ticks=MID - 60_000, ask_ticks=MID + 60_000)
    assert check(closing(limit_ticks=MID - 61_000), wide, LIMITS).allowed
    told = refusal("price_collar_bps", closing(limit_ticks=MID - 600_000), wide)
    assert told == "909.091 | 25"


def test_an_exit_does_not_trade_with_our_own_order_either() -> None:
    assert check(closing(), held(own_ticks=MID - 2), LIMITS).allowed
    told = refusal("own_orders", closing(), held(own_ticks=MID))
    assert told == "59999.99 | above our buy at 60000"


# --- limits that are none -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [None, 0, -1, Decimal(0), Decimal("-0.01"), Decimal("NaN"), float("nan"), float("inf")]
)
def test_a_limit_that_is_none_stops_everything_and_is_named(value: object) -> None:
    numbers = [
        name
        for name, each in msgspec.structs.asdict(LIMITS).items()
        if isinstance(each, int | float | Decimal) and not isinstance(each, bool)
    ]
    assert len(numbers) > 20
    for name in numbers:
        if name == "wild_size_share" and value in {0, Decimal(0)}:
            continue  # a share of nothing is a limit: no entry at all
        broken = limits(**{name: value})
        assert unset_limits(broken) == (name,)
        assert refusal("limits_set", order(), view(), broken) == f"{name} | all"
        assert refusal("limits_set", closing(), held(), broken) == f"{name} | all"


# --- any order ----------------------------------------------------------------------------------

_lots = st.integers(-2_000, 9_000)
_ticks = st.none() | st.integers(MID - 20_000, MID + 20_000) | st.just(1)
_money = st.none() | st.decimals(-300, 300, places=2)
_views = st.builds(
    view,
    feed_state=st.sampled_from([FeedState.LIVE] * 9 + list(FeedState)),
    bid_ticks=_ticks,
    ask_ticks=_ticks,
    last_trade_ticks=_ticks,
    volatility_bucket=st.sampled_from([None, "calm", "wild"]),
    clock_offset_ms=st.none() | st.floats(-9_000, 2_000),
    position_lots=st.integers(-9_000, 9_000),
    working_buy_lots=st.integers(0, 3_000),
    working_sell_lots=st.integers(0, 3_000),
    own_ticks=_ticks,
    other_exposure=st.none() | st.decimals(0, 12_000, places=2),
    open_orders=st.integers(0, 6),
    orders_last_second=st.integers(0, 6),
    orders_last_minute=st.integers(0, 70),
    messages_last_second=st.integers(0, 25),
    repeated_fills=st.integers(0, 12),
    same_order_age_ms=st.none() | st.floats(0, 2_000),
    today=_money,
    session=_money,
    drawdown=st.none() | st.decimals(0, 300, places=2),
    losses_in_a_row=st.integers(0, 25),
    pause=st.sampled_from(["", "", "slippage"]),
    is_halted=st.booleans(),
)
_orders = st.builds(
    order,
    side=st.sampled_from(Side),
    qty_lots=_lots,
    limit_ticks=st.integers(-5, MID + 40_000) | st.integers(MID - 16_000, MID + 16_000),
    reduces=st.booleans(),
)


@given(of=_orders, seen=_views)
def test_a_verdict_is_what_its_controls_say_and_nothing_applies_unrecorded(
    of: Order, seen: GateView
) -> None:
    verdict = check(of, seen, LIMITS)
    failed = [each.control for each in verdict.checks if not each.passed]
    assert verdict.allowed is (not failed)
    assert verdict.code == (failed[0] if failed else "")
    applying = [c.code for c in CONTROLS if (c.of_exits if of.reduces else c.of_entries)]
    recorded = [each.control for each in verdict.checks]
    missing = [code for code in applying if code not in recorded]
    assert recorded == [code for code in applying if code in recorded]
    # Only what a book without two sides cannot tell is left out, and the book is refused for it.
    assert set(missing) <= {"book_crossed", "price_collar_bps", "max_spread_bps"}
    assert not missing or "book_sides" in failed
    assert check(of, seen, LIMITS) == verdict


@given(of=_orders, seen=_views)
def test_an_entry_that_passes_keeps_every_limit_by_a_reckoning_of_its_own(
    of: Order, seen: GateView
) -> None:
    of = msgspec.structs.replace(of, reduces=False)
    if not check(of, seen, LIMITS).allowed:
        return
    assert seen.bid_ticks is not None
    assert seen.ask_ticks is not None
    dearest = Decimal(max(of.limit_ticks, seen.ask_ticks, seen.bid_ticks)) / 100
    worth = dearest * of.qty_lots / 100_000
    assert seen.feed_state is FeedState.LIVE
    assert seen.bid_ticks < seen.ask_ticks
    assert not seen.is_halted
    assert 0 < worth <= 2_000
    assert worth <= 1_000 or seen.volatility_bucket != "wild"
    if of.side is Side.BUY:
        worst = abs(seen.position_lots + seen.working_buy_lots + of.qty_lots)
    else:
        worst = abs(seen.position_lots - seen.working_sell_lots - of.qty_lots)
    assert dearest * worst / 100_000 <= 5_000
    assert seen.other_exposure is not None
    assert seen.other_exposure + dearest * worst / 100_000 <= 10_000
    mid = Decimal(seen.bid_ticks + seen.ask_ticks) / 2
    assert abs(of.limit_ticks - mid) / mid <= Decimal("0.0025001")
    assert min(m for m in (seen.today, seen.session) if m is not None) > -200


@given(of=_orders, seen=_views)
def test_an_exit_that_passes_can_never_flip_the_position_whatever_else_fills(
    of: Order, seen: GateView
) -> None:
    of = msgspec.structs.replace(of, reduces=True)
    if not check(of, seen, LIMITS).allowed:
        return
    working = seen.working_buy_lots if of.side is Side.BUY else seen.working_sell_lots
    after = seen.position_lots + of.side.sign * (of.qty_lots + working)
    assert seen.position_lots * after >= 0
    assert abs(after) < abs(seen.position_lots)


@given(of=_orders, seen=_views, more=st.integers(1, 5_000))
def test_a_larger_entry_never_passes_where_a_smaller_one_was_too_large(
    of: Order, seen: GateView, more: int
) -> None:
    sizes = {"max_order_qty", "max_order_notional", "volatility_notional"}
    of = msgspec.structs.replace(of, reduces=False)
    larger = msgspec.structs.replace(of, qty_lots=of.qty_lots + more)
    too_large = {c.control for c in check(of, seen, LIMITS).checks if not c.passed} & sizes
    assert too_large <= {c.control for c in check(larger, seen, LIMITS).checks if not c.passed}


def test_the_page_on_the_gate_has_the_table_that_the_code_has() -> None:
    assert table() in PAGE.read_text("utf-8")
