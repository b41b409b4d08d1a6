"""Execution: what is kept in, what an order's silence means, how a close goes on and gives up."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from core.execution import CLOSE_TRIES_MAX
from core.model import event as ev
from core.model.decision import Mode, Verdict
from core.model.market import FeedState
from core.model.order import Order, OrderStatus, ReportKind, Side, TimeInForce
from tests.core.test_engine import ASKS, BIDS, Bench
from tests.fakes import START_NS

BTCUSDT = "BTCUSDT"


def queued() -> tuple[Bench, Order]:
    """Return a bench with an approved entry that has not left: its intent is being written."""
    bench = Bench()
    bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
    (state,) = bench.engine.execution.orders.open_states()
    return bench, state.order


def sent(mode: Mode = Mode.CONFIRM) -> tuple[Bench, Order]:
    bench = Bench(mode)
    bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
    bench.take()
    return bench, bench.broker.submitted[-1]


def told(bench: Bench, text: str) -> list[str]:
    return [n.severity for n in bench.engine.context.notices if text in n.text]


# --- the last look before an order leaves -------------------------------------------------------


@pytest.mark.parametrize("state", [FeedState.STALE, FeedState.RESYNCING, FeedState.CONNECTING])
def test_an_order_stays_in_when_the_feed_fell_into_doubt_while_its_intent_was_written(
    state: FeedState,
) -> None:
    bench, order = queued()
    bench.feed.instruments[0].state = state
    bench.take()
    assert bench.broker.submitted == []
    assert bench.engine.execution.orders.states[order.client_order_id].status.is_closed
    assert told(bench, f"feed_state was {state.value}") == ["warning"]


def test_an_order_stays_in_when_the_market_ran_away_from_its_limit_meanwhile() -> None:
    bench, _ = queued()
    bench.feed.set_book(bench.now_ns, [(6_100_000, 10)], [(6_100_002, 10)])
    bench.take()
    assert bench.broker.submitted == []
    assert told(bench, "price_collar_bps") == ["warning"]


def test_the_last_look_does_not_count_the_order_itself_against_its_limits() -> None:
    bench = Bench()
    guard = bench.engine.execution.guard
    guard.limits = msgspec.structs.replace(
        guard.limits, max_position_notional=Decimal(1_500), max_open_orders=1,
        max_orders_per_minute=1,
    )  # fmt: skip
    bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
    bench.take()
    assert len(bench.broker.submitted) == 1


def test_an_exit_stays_in_when_a_late_fill_made_the_position_smaller() -> None:
    bench, first = sent()
    bench.broker.report(first, ReportKind.EXPIRED, bench.now_ns)
    bench.broker.fill(first, 100, 6_000_001, bench.now_ns)
    bench.take()
    execution = bench.engine.execution
    exit_order = execution.order(BTCUSDT, Side.SELL, 100, 5_999_999, reduces=True)
    execution.send(exit_order, "cafe0123-c1", None)
    bench.engine.account.books[BTCUSDT].position_lots = 60
    bench.take()
    assert len(bench.broker.submitted) == 1
    assert told(bench, "reduces_only was 100, limit at most 60") == ["warning"]


def test_refusing_an_order_that_a_kill_canceled_already_changes_nothing() -> None:
    bench, order = queued()
    bench.engine.kill_all("human:trader", "F12")
    bench.engine.execution.refuse(order, "no ledger")
    state = bench.engine.execution.orders.states[order.client_order_id]
    assert state.status is OrderStatus.CANCELED


def test_no_two_orders_share_an_id_whatever_asks_for_them() -> None:
    bench = Bench(Mode.AUTO, cooldown_s=0)
    for _ in range(5):
        bench.see()
        bench.pass_ms(250)
        bench.fill_all()
        bench.engine.close_trade(BTCUSDT, "human:trader", "by hand")
        bench.pass_ms(500)
        bench.fill_all(5_999_999)
        bench.pass_ms(500)
    keys = [order.client_order_id for order in bench.broker.submitted]
    assert len(keys) == len(set(keys)) >= 10
    assert all(key.startswith("cafe0123cafe0123-o") for key in keys)


# --- silence, refusals and late words of the venue ----------------------------------------------


def test_an_order_whose_end_is_lost_is_unknown_within_five_seconds_and_counts_as_working() -> None:
    bench, order = sent()
    bench.broker.report(order, ReportKind.ACCEPTED, bench.now_ns)
    bench.take()
    bench.pass_ms(5_000)
    assert bench.status() is OrderStatus.UNKNOWN
    assert bench.engine.execution.orders.working_lots(BTCUSDT, Side.BUY) == order.qty_lots
    assert told(bench, "is UNKNOWN: nothing heard for 4 s") == ["error"]
    assert bench.sink.of(ev.OrderChanged)[-1].status == "UNKNOWN"
    bench.pass_ms(60_000)
    assert len(bench.broker.submitted) == 1
    with pytest.raises(ValueError, match="nothing is halted"):
        bench.engine.rearm("human:trader", "all is well")


def test_an_unknown_order_is_known_again_as_soon_as_the_venue_speaks() -> None:
    bench, order = sent()
    bench.pass_ms(5_000)
    bench.broker.fill(order, 100, 6_000_001, bench.now_ns)
    bench.broker.report(order, ReportKind.EXPIRED, bench.now_ns)
    bench.take()
    assert bench.status() is OrderStatus.EXPIRED
    assert bench.engine.account.position(BTCUSDT) == 100


def test_a_cancel_that_is_asked_for_again_is_sent_again() -> None:
    bench, order = sent()
    for _ in range(2):
        bench.engine.cancel_order(order.client_order_id, "human:trader")
        bench.take()
    assert bench.broker.canceled == [order.client_order_id] * 2


def test_a_refused_cancel_does_not_close_the_order() -> None:
    bench, order = sent()
    bench.engine.cancel_order(order.client_order_id, "human:trader")
    bench.broker.report(order, ReportKind.CANCEL_REJECTED, bench.now_ns, "no such order")
    bench.take()
    assert bench.status() is OrderStatus.UNKNOWN
    assert bench.engine.execution.orders.working_lots(BTCUSDT, Side.BUY) == order.qty_lots


@pytest.mark.parametrize("twice", [ReportKind.ACCEPTED, ReportKind.EXPIRED, ReportKind.REJECTED])
def test_a_report_told_twice_moves_nothing_the_second_time(twice: ReportKind) -> None:
    bench, order = sent()
    bench.broker.report(order, twice, bench.now_ns)
    bench.broker.report(order, twice, bench.now_ns)
    bench.take()
    assert len(bench.sink.of(ev.OrderChanged)) == 1


def test_an_acknowledgement_after_a_partial_fill_moves_nothing() -> None:
    bench, order = sent()
    bench.broker.fill(order, 10, 6_000_001, bench.now_ns)
    bench.broker.report(order, ReportKind.ACCEPTED, bench.now_ns)
    bench.take()
    assert bench.status() is OrderStatus.PARTIALLY_FILLED


def test_a_refusal_after_the_acknowledgement_ends_the_order() -> None:
    bench, order = sent()
    bench.broker.report(order, ReportKind.ACCEPTED, bench.now_ns)
    bench.broker.report(order, ReportKind.REJECTED, bench.now_ns, "margin")
    bench.take()
    assert bench.status() is OrderStatus.CANCELED
    assert bench.sink.of(ev.OrderChanged)[-1].reason == "margin"


def test_a_fill_of_an_order_that_was_over_is_told_as_an_error() -> None:
    bench, order = sent()
    bench.broker.report(order, ReportKind.EXPIRED, bench.now_ns)
    bench.broker.fill(order, 10, 6_000_001, bench.now_ns)
    bench.take()
    assert told(bench, "was EXPIRED and filled all the same") == ["error"]
    assert bench.engine.account.position(BTCUSDT) == 10


# --- kills that cross fills ---------------------------------------------------------------------


def test_an_entry_that_fills_while_its_cancel_travels_is_closed_by_the_kill() -> None:
    bench, order = sent()
    bench.engine.kill_all("human:trader", "F12")
    bench.take()
    bench.fill_all()
    bench.pass_ms(500)
    last = bench.broker.submitted[-1]
    assert (last.side, last.qty_lots, last.reduces) == (Side.SELL, order.qty_lots, True)


def test_a_fill_that_comes_after_the_end_of_a_killed_order_is_closed_too() -> None:
    bench, order = sent()
    bench.engine.kill_all("human:trader", "F12")
    bench.broker.report(order, ReportKind.CANCELED, bench.now_ns)
    bench.take()
    bench.pass_ms(10_000)
    bench.broker.fill(order, 77, 6_000_001, bench.now_ns)
    bench.take()
    bench.pass_ms(500)
    last = bench.broker.submitted[-1]
    assert (last.side, last.qty_lots, last.reduces) == (Side.SELL, 77, True)


def test_closing_one_trade_waits_for_the_entry_that_still_works() -> None:
    bench, order = sent()
    bench.engine.close_trade(BTCUSDT, "human:trader", "by hand")
    bench.take()
    bench.pass_ms(500)
    assert BTCUSDT in bench.engine.execution.closing
    bench.broker.report(order, ReportKind.CANCELED, bench.now_ns)
    bench.take()
    bench.pass_ms(500)
    assert not bench.engine.execution.closing
    assert len(bench.broker.submitted) == 1


def test_after_rearming_a_late_fill_is_the_strategys_again() -> None:
    bench, order = sent()
    bench.engine.kill_all("human:trader", "F12")
    bench.broker.report(order, ReportKind.CANCELED, bench.now_ns)
    bench.take()
    bench.pass_ms(500)
    bench.engine.rearm("human:trader", "all is well")
    bench.broker.fill(order, 77, 6_000_001, bench.now_ns)
    bench.take()
    bench.pass_ms(1_000)
    assert len(bench.broker.submitted) == 1
    assert bench.engine.context.halted_since_ns == 0


# --- closing ------------------------------------------------------------------------------------


def test_a_close_gives_up_after_its_tries_and_says_so() -> None:
    bench = Bench()
    bench.open_position()
    bench.engine.close_trade(BTCUSDT, "human:trader", "by hand")
    for _ in range(CLOSE_TRIES_MAX + 5):
        bench.pass_ms(250)
        last = bench.broker.submitted[-1]
        if last.reduces:
            bench.broker.report(last, ReportKind.EXPIRED, bench.now_ns, "nothing there")
            bench.take()
    assert sum(order.reduces for order in bench.broker.submitted) == CLOSE_TRIES_MAX
    assert told(bench, "gave up after 40 orders") == ["error"]
    assert not bench.engine.execution.closing


def test_a_close_without_a_ledger_says_that_positions_stay() -> None:
    bench = Bench()
    bench.open_position()
    bench.sink.is_broken = True
    text = bench.engine.close_trade(BTCUSDT, "human:trader", "by hand")
    assert "NO LEDGER: positions stay open" in text
    bench.pass_ms(2_000)
    assert len(bench.broker.submitted) == 1


def test_nothing_is_left_to_close_without_position_and_orders() -> None:
    bench = Bench()
    assert not bench.engine.execution.close(BTCUSDT, "human:trader", "by hand")
    assert not bench.engine.execution.closing


# --- exits by the strategy ----------------------------------------------------------------------


def exits_in(bench: Bench, milliseconds: int) -> int:
    """Let every exit expire unfilled for so long; return how many were sent."""
    before = len(bench.broker.submitted)
    for _ in range(milliseconds // 250):
        bench.pass_ms(250)
        bench.broker.report(bench.broker.submitted[-1], ReportKind.EXPIRED, bench.now_ns, "thin")
        bench.take()
    return len(bench.broker.submitted) - before


def test_exits_that_find_no_fill_pause_after_three_and_the_trader_is_told_once() -> None:
    bench = Bench(Mode.AUTO, hold_s=1)
    bench.see()
    bench.pass_ms(250)
    bench.fill_all()
    bench.pass_ms(750)
    assert exits_in(bench, 1_500) == 3
    assert told(bench, "3 exits in a row found no fill: thin") == ["error"]
    assert 5 <= exits_in(bench, 30_000) <= 6  # one in five seconds, the cooldown of entries


def test_an_exit_that_fills_in_part_is_followed_by_the_next_at_once() -> None:
    bench = Bench(Mode.AUTO, hold_s=1)
    bench.see()
    bench.pass_ms(250)
    bench.fill_all()
    bench.pass_ms(1_000)
    for _ in range(6):
        last = bench.broker.submitted[-1]
        assert last.reduces
        bench.broker.fill(last, 10, 5_999_999, bench.now_ns)
        bench.broker.report(last, ReportKind.EXPIRED, bench.now_ns, "thin")
        bench.take()
        bench.pass_ms(250)
    assert len(bench.broker.submitted) == 8


def test_a_position_that_a_faster_clock_opened_in_the_future_is_as_old_as_the_run() -> None:
    bench = Bench(hold_s=10)
    bench.open_position()
    book = bench.engine.account.books[BTCUSDT]
    book.opened_ns = START_NS + 3_600 * 10**9
    bench.pass_ms(9_000)
    assert not bench.engine.proposals.pending
    bench.pass_ms(2_000)
    (pending,) = bench.engine.proposals.pending.values()
    assert pending.proposal.side is Side.SELL


def test_books_at_rest_do_not_matter_to_orders_at_rest() -> None:
    """A GTC order may rest for long without a word; its silence is not alarming."""
    bench, order = sent()
    state = bench.engine.execution.orders.states[order.client_order_id]
    state.order = msgspec.structs.replace(order, tif=TimeInForce.GTC)
    bench.broker.report(order, ReportKind.ACCEPTED, bench.now_ns)
    bench.take()
    bench.book(BIDS, ASKS)
    bench.pass_ms(60_000)
    assert bench.status() is OrderStatus.ACCEPTED
