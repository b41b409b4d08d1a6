"""Comparisons that stand in for a sequence: trade ids, tickers, trades without a book."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.feeds.crosscheck import (
    LAG_NS,
    MAX_LOST,
    MAX_TOUCHES,
    SETTLE_NS,
    BookLag,
    TickerCheck,
    TradeIds,
)
from tests.core.feeds.wire import MS, T0

# --- trade ids


def test_ids_that_rise_by_one_lose_nothing():
    ids = TradeIds()
    ids.begin_at(6)
    assert [ids.follow(each) for each in (7, 8, 9)] == [0, 0, 0]


def test_jump_tells_how_many_never_came():
    ids = TradeIds()
    assert [ids.follow(each) for each in (7, 10, 11)] == [0, 2, 0]


def test_first_trade_of_a_connection_is_no_jump():
    assert TradeIds().follow(900) == 0


def test_last_match_is_where_the_ids_begin_and_never_leads_back():
    ids = TradeIds()
    ids.begin_at(6)
    ids.begin_at(4)
    assert [ids.follow(each) for each in (8, 9)] == [1, 0]


def test_heartbeat_is_judged_at_the_next_one_since_it_may_overtake_its_trades():
    ids = TradeIds()
    ids.follow(7)
    assert ids.compare(9) == 0
    assert [ids.follow(each) for each in (8, 9)] == [0, 0]
    assert ids.compare(9) == 0


def test_heartbeat_shows_trades_that_never_came_once():
    ids = TradeIds()
    ids.follow(7)
    assert [ids.compare(each) for each in (9, 9, 9, 10)] == [0, 2, 0, 0]
    assert ids.compare(10) == 1


def test_heartbeat_before_any_trade_is_where_the_ids_begin():
    ids = TradeIds()
    assert [ids.compare(each) for each in (7, 7)] == [0, 0]
    assert ids.follow(8) == 0


@pytest.mark.parametrize("strange", [3, 8 + MAX_LOST + 1, 2**63 - 1])
def test_numbering_from_elsewhere_is_no_count_of_trades(strange):
    ids = TradeIds()
    ids.follow(7)
    assert [ids.follow(strange), ids.follow(strange + 1)] == [0, 0]


def test_heartbeat_with_a_damaged_id_is_no_count_of_trades():
    ids = TradeIds()
    ids.follow(7)
    ids.compare(2**62)
    assert ids.compare(7) == 0


@given(st.lists(st.integers(1, 5), max_size=30))
def test_lost_trades_are_exactly_the_ids_left_out(steps):
    ids, newest, lost = TradeIds(), 100, 0
    ids.begin_at(newest)
    for step in steps:
        newest += step
        lost += ids.follow(newest)
    assert lost == newest - 100 - len(steps)


# --- tickers


def touch(bid, ask):
    return bid, 1, ask, 1, 1, 1


def check(*moves):
    """Return a check that saw the book at (time, bid, ask)."""
    ticker = TickerCheck()
    for at_ms, bid, ask in moves:
        ticker.moved(touch(bid, ask), T0 + at_ms * MS)
    return ticker


def test_equal_ticker_agrees_at_once():
    ticker = check((0, 100, 101))
    ticker.told(100, 101, T0)
    assert ticker.verdict(T0) is True
    assert ticker.verdict(T0) is None


def test_ticker_that_runs_ahead_agrees_when_the_book_follows():
    ticker = check((0, 100, 101))
    ticker.told(102, 103, T0)
    assert ticker.verdict(T0 + 10 * MS) is None
    ticker.moved(touch(102, 103), T0 + 60 * MS)
    assert ticker.verdict(T0 + 60 * MS) is True


def test_ticker_that_runs_behind_agrees_with_where_the_book_was():
    ticker = check((0, 100, 101), (300, 105, 106))
    ticker.told(100, 101, T0 + 400 * MS)
    assert ticker.verdict(T0 + 400 * MS) is None
    assert ticker.verdict(T0 + 400 * MS + SETTLE_NS) is True


def test_ticker_between_two_prices_of_one_flush_agrees():
    ticker = check((0, 100, 101), (50, 104, 105))
    ticker.told(102, 103, T0 + 40 * MS)
    assert ticker.verdict(T0 + SETTLE_NS + 40 * MS) is True


@pytest.mark.parametrize(("bid", "ask"), [(99, 101), (101, 101), (100, 100), (100, 102)])
def test_price_that_the_book_never_had_disagrees_after_settling(bid, ask):
    # A level that should be gone holds the best price; one that is missing leaves it short.
    ticker = check((0, 100, 101))
    ticker.told(bid, ask, T0)
    assert ticker.verdict(T0 + SETTLE_NS - 1) is None
    assert ticker.verdict(T0 + SETTLE_NS) is False
    assert ticker.verdict(T0 + SETTLE_NS) is None


def test_prices_from_before_the_settling_time_do_not_count():
    ticker = check((0, 90, 91), (100, 100, 101))
    ticker.told(95, 96, T0 + 2_000 * MS)
    assert ticker.verdict(T0 + 3_000 * MS) is False


def test_book_that_begins_anew_leaves_nothing_to_judge():
    ticker = check((0, 100, 101))
    ticker.told(90, 91, T0)
    ticker.forget()
    assert ticker.verdict(T0 + 10 * SETTLE_NS) is None
    ticker.told(90, 91, T0)
    assert ticker.verdict(T0 + 10 * SETTLE_NS) is None


def test_tickers_that_come_while_one_waits_are_not_kept():
    ticker = check((0, 100, 101))
    ticker.told(90, 91, T0)
    ticker.told(80, 81, T0 + MS)
    assert ticker.verdict(T0 + SETTLE_NS) is False
    assert ticker.verdict(T0 + 2 * SETTLE_NS) is None


def test_book_that_moves_below_its_best_prices_pushes_none_of_them_out():
    ticker = check((0, 90, 91), *((100, 100, 101) for _ in range(2 * MAX_TOUCHES)))
    ticker.told(95, 96, T0 + 200 * MS)
    assert ticker.verdict(T0 + 200 * MS + SETTLE_NS) is True


def test_best_prices_kept_are_bounded():
    ticker = check(*((n, 100 + n, 10_000) for n in range(3 * MAX_TOUCHES)))
    assert len(ticker._touches) == MAX_TOUCHES


# --- trades without a book


def test_book_lags_after_three_trades_and_two_seconds():
    lag = BookLag()
    for n in range(3):
        assert lag.lasted_ns(T0 + 10 * LAG_NS) == 0
        lag.traded(T0 + n)
    assert lag.lasted_ns(T0 + LAG_NS) == 0
    assert lag.lasted_ns(T0 + LAG_NS + 1) == LAG_NS + 1
    lag.moved()
    assert lag.lasted_ns(T0 + 10 * LAG_NS) == 0
