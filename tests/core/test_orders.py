"""Our orders: the queue to the broker, and reports in every awkward sequence."""

from __future__ import annotations

from decimal import Decimal

import pytest

from core.clock import NS_PER_S
from core.errors import InvariantError
from core.model.order import (
    Fill,
    Order,
    OrderReport,
    OrderStatus,
    ReportKind,
    Side,
    TimeInForce,
)
from core.order_state import Applied, OrderState
from core.orders import QUEUE_BOUND, SETTLE_NS, Orders

NAME = "BTCUSDT"


def order(key: str = "o1", lots: int = 10, side: Side = Side.BUY) -> Order:
    return Order(key, "d1", NAME, side, lots, 100, TimeInForce.IOC,
                 reduces=False, decided_ns=1_000)  # fmt: skip


def fill_of(key: str, lots: int, fill_id: str) -> Fill:
    return Fill(fill_id, key, NAME, Side.BUY, 100, lots, Decimal(0), "USDT",
                is_maker=False, ts_ns=1)  # fmt: skip


class Bench:
    """Orders with one that has left, and a venue that says what the test says."""

    def __init__(self, lots: int = 10) -> None:
        self.orders = Orders()
        self.orders.put(order(lots=lots), 1)
        assert self.orders.pop_submit() is not None
        self.orders.leave("o1", 2_000)

    @property
    def state(self) -> OrderState:
        return self.orders.states["o1"]

    def say(self, kind: ReportKind, filled_lots: int | None = None, ts_ns: int = 9) -> Applied:
        return self.orders.apply(OrderReport(kind, "o1", ts_ns, "so", None, filled_lots))

    def fill(self, lots: int, fill_id: str = "f1", filled_lots: int | None = None) -> Applied:
        fill = fill_of("o1", lots, fill_id)
        return self.orders.apply(OrderReport(ReportKind.FILLED, "o1", 9, "", fill, filled_lots))


# --- the queue ----------------------------------------------------------------------------------


def test_an_order_id_is_used_once() -> None:
    orders = Orders()
    orders.put(order(), 1)
    with pytest.raises(InvariantError):
        orders.put(order(), 1)


def test_the_queue_has_a_bound_and_says_when_it_is_reached() -> None:
    orders = Orders()
    for number in range(QUEUE_BOUND):
        orders.put(order(f"o{number}"), 1)
    assert orders.waiting == QUEUE_BOUND
    with pytest.raises(InvariantError, match="full"):
        orders.put(order("one more"), 1)
    assert orders.queue.deepest == QUEUE_BOUND


def test_an_order_canceled_before_it_left_never_leaves() -> None:
    orders = Orders()
    orders.put(order(), 1)
    state = orders.put_cancel("o1")
    assert state is not None
    assert state.status is OrderStatus.CANCELED
    assert orders.pop_submit() is None
    assert orders.pop_cancel() is None


def test_a_cancel_overtakes_the_orders_that_wait_and_is_counted() -> None:
    bench = Bench()
    bench.orders.put(order("o2"), 1)
    bench.orders.put_cancel("o1")
    assert bench.orders.queue_depth == 2
    assert bench.orders.pop_cancel() is not None
    assert bench.orders.queue.overtaken == 1
    assert bench.state.status is OrderStatus.PENDING_CANCEL
    assert bench.orders.put_cancel("nobody") is None


def test_the_age_of_the_queue_is_that_of_its_oldest_order() -> None:
    orders = Orders()
    assert orders.waiting_ns(5_000) == 0
    orders.put(order("o1"), 1)
    orders.put(order("o2"), 1)
    assert orders.waiting_ns(5_000) == 4_000
    orders.pop_submit()
    orders.leave("o1", 6_000)
    assert orders.queue.longest_wait_ns == 5_000


def test_a_question_is_queued_once() -> None:
    bench = Bench()
    bench.orders.put_ask("o1")
    bench.orders.put_ask("o1")
    assert [bench.orders.pop_ask(), bench.orders.pop_ask()] == ["o1", None]


# --- fills --------------------------------------------------------------------------------------


def test_a_fill_told_twice_counts_once() -> None:
    bench = Bench()
    assert bench.fill(4).fill is not None
    assert bench.fill(4).fill is None
    assert bench.state.filled_lots == 4
    assert bench.state.status is OrderStatus.PARTIALLY_FILLED
    assert bench.orders.queue.repeated_fills == 1


def test_a_fill_before_the_acknowledgement_is_taken() -> None:
    bench = Bench()
    bench.fill(10)
    assert bench.say(ReportKind.ACCEPTED).state.status is OrderStatus.FILLED


def test_an_acknowledgement_after_a_part_fill_keeps_the_fill_in_the_status() -> None:
    bench = Bench()
    bench.orders.lose_sight(bench.state, "silence")
    bench.fill(4)
    bench.orders.lose_sight(bench.state, "silence")
    assert bench.say(ReportKind.ACCEPTED).state.status is OrderStatus.PARTIALLY_FILLED


def test_a_late_fill_of_a_canceled_order_counts_and_is_told() -> None:
    bench = Bench()
    bench.orders.put_cancel("o1")
    bench.say(ReportKind.CANCELED)
    applied = bench.fill(3)
    assert applied.fill is not None
    assert "was CANCELED and filled all the same" in applied.alarm
    assert (bench.state.status, bench.state.filled_lots) == (OrderStatus.CANCELED, 3)


def test_a_fill_beyond_the_order_counts_and_is_told() -> None:
    bench = Bench()
    applied = bench.fill(11)
    assert applied.fill is not None
    assert "1 lots beyond its quantity" in applied.alarm
    assert (bench.state.status, bench.state.open_lots) == (OrderStatus.FILLED, 0)


def test_a_part_fill_does_not_make_a_cancel_forgotten() -> None:
    bench = Bench()
    bench.orders.put_cancel("o1")
    bench.fill(4)
    assert bench.state.status is OrderStatus.PENDING_CANCEL
    assert bench.state.owes_answer


# --- the venue's own sum ------------------------------------------------------------------------


def test_an_end_told_before_its_fills_waits_for_them_and_they_count_as_open() -> None:
    bench = Bench()
    bench.say(ReportKind.CANCELED, filled_lots=7)
    assert not bench.state.status.is_closed
    assert bench.state.open_lots == 7
    assert bench.state.is_in_doubt
    bench.fill(4, "f1")
    assert bench.state.open_lots == 3
    bench.fill(3, "f2")
    assert (bench.state.status, bench.state.open_lots) == (OrderStatus.CANCELED, 0)


def test_a_sum_wins_over_the_fills_we_heard_of_whatever_the_order() -> None:
    bench = Bench()
    bench.fill(4, "f2", filled_lots=6)
    bench.say(ReportKind.EXPIRED, filled_lots=4)  # an older sum, told late
    assert not bench.state.status.is_closed
    bench.fill(2, "f1", filled_lots=2)
    assert bench.state.status is OrderStatus.EXPIRED


def test_filled_without_a_fill_waits_for_the_fills() -> None:
    bench = Bench()
    bench.say(ReportKind.FILLED)
    assert not bench.state.status.is_closed
    assert bench.state.open_lots == 10
    bench.fill(10)
    assert bench.state.status is OrderStatus.FILLED


def test_a_refusal_of_an_order_that_was_taken_before_is_its_cancel() -> None:
    bench = Bench()
    bench.say(ReportKind.ACCEPTED)
    assert bench.say(ReportKind.REJECTED).state.status is OrderStatus.CANCELED


def test_two_ends_that_contradict_each_other_move_nothing_and_are_told() -> None:
    bench = Bench()
    bench.say(ReportKind.EXPIRED)
    assert bench.say(ReportKind.EXPIRED).alarm == ""
    applied = bench.say(ReportKind.CANCELED)
    assert applied.state.status is OrderStatus.EXPIRED
    assert "is EXPIRED, and then: canceled" in applied.alarm


# --- orders in doubt ----------------------------------------------------------------------------


def test_not_found_is_believed_when_it_is_said_again_after_the_settling_time() -> None:
    bench = Bench()
    bench.orders.lose_sight(bench.state, "silence")
    bench.state.ask_due_ns = 60 * NS_PER_S
    bench.say(ReportKind.NOT_FOUND, ts_ns=NS_PER_S)
    assert bench.state.ask_due_ns == NS_PER_S + SETTLE_NS
    bench.say(ReportKind.NOT_FOUND, ts_ns=NS_PER_S + SETTLE_NS - 1)
    assert bench.state.status is OrderStatus.UNKNOWN
    assert bench.state.open_lots == 10
    bench.say(ReportKind.NOT_FOUND, ts_ns=NS_PER_S + SETTLE_NS)
    assert bench.state.status is OrderStatus.REJECTED


def test_a_venue_that_had_an_order_and_forgot_it_does_not_end_it() -> None:
    bench = Bench()
    bench.say(ReportKind.ACCEPTED)
    bench.say(ReportKind.NOT_FOUND, ts_ns=NS_PER_S)
    assert bench.state.status is OrderStatus.UNKNOWN
    bench.say(ReportKind.NOT_FOUND, ts_ns=NS_PER_S + 2 * SETTLE_NS)
    assert bench.state.status is OrderStatus.UNKNOWN


def test_an_order_taken_for_gone_that_works_is_open_again_and_is_told() -> None:
    bench = Bench()
    bench.orders.lose_sight(bench.state, "silence")
    bench.say(ReportKind.NOT_FOUND, ts_ns=NS_PER_S)
    bench.say(ReportKind.NOT_FOUND, ts_ns=NS_PER_S + SETTLE_NS)
    applied = bench.say(ReportKind.ACCEPTED)
    assert "works at the venue" in applied.alarm
    assert (bench.state.status, bench.state.open_lots) == (OrderStatus.ACCEPTED, 10)


def test_an_order_of_somebody_else_counts_as_working() -> None:
    orders = Orders()
    state = orders.find(order("theirs"), 4, 5)
    assert state.is_external
    assert orders.working_lots(NAME, Side.BUY) == 10
    assert orders.open_states(NAME, ours_only=True) == []


def test_an_order_left_open_by_the_last_run_is_unknown_and_remembers_its_fills() -> None:
    orders = Orders()
    state = orders.recover(order(), 7, [fill_of("o1", 4, "f1")], 5)
    assert (state.status, state.open_lots) == (OrderStatus.UNKNOWN, 6)
    fill = OrderReport(ReportKind.FILLED, "o1", 1, fill=fill_of("o1", 4, "f1"))
    assert orders.apply(fill).fill is None


def test_an_order_whose_last_fill_was_written_and_its_status_was_not_is_filled() -> None:
    state = Orders().recover(order(), 7, [fill_of("o1", 10, "f1")], 5)
    assert (state.status, state.open_lots) == (OrderStatus.FILLED, 0)


# --- what others ask ----------------------------------------------------------------------------


def test_working_lots_count_what_may_still_fill_on_one_side() -> None:
    bench = Bench()
    bench.fill(4)
    assert bench.orders.working_lots(NAME, Side.BUY) == 6
    assert bench.orders.working_lots(NAME, Side.SELL) == 0


def test_old_closed_orders_are_forgotten_with_their_fill_ids_and_open_ones_never() -> None:
    bench = Bench()
    for number in range(2, 400):
        bench.orders.put(order(f"o{number}"), 1)
        bench.orders.put_cancel(f"o{number}")
        bench.orders.pop_submit()
    assert "o1" in bench.orders.states
    assert len(bench.orders.states) < 300
