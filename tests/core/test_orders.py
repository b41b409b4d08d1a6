"""Our orders: status table, queue order, reports in every awkward sequence."""

from __future__ import annotations

from decimal import Decimal

import pytest

from core.errors import InvariantError
from core.model.order import (
    TRANSITIONS,
    Fill,
    Order,
    OrderReport,
    OrderStatus,
    ReportKind,
    Side,
    TimeInForce,
    next_status,
)
from core.orders import QUEUE_BOUND, Orders


def order(key: str = "o1", lots: int = 10, side: Side = Side.BUY) -> Order:
    return Order(key, "d1", "BTCUSDT", side, lots, 100, TimeInForce.IOC,
                 reduces=False, decided_ns=1_000)  # fmt: skip


def fill_report(key: str, lots: int, fill_id: str) -> OrderReport:
    fill = Fill(fill_id, key, "BTCUSDT", Side.BUY, 100, lots, Decimal(0), "USDT",
                is_maker=False, ts_ns=1)  # fmt: skip
    return OrderReport(ReportKind.FILLED, key, 1, fill=fill)


def sent(orders: Orders, key: str = "o1", lots: int = 10) -> None:
    orders.put(order(key, lots), 1)
    submit = orders.pop_submit()
    assert submit is not None
    orders.states[key].has_left = True


def test_every_status_that_is_open_can_end_and_no_closed_one_moves() -> None:
    for status in OrderStatus:
        if status.is_closed:
            assert status not in TRANSITIONS
        else:
            assert any(after.is_closed for after in TRANSITIONS[status])


def test_a_transition_that_is_not_in_the_table_is_a_bug_of_ours() -> None:
    with pytest.raises(InvariantError):
        next_status(OrderStatus.FILLED, OrderStatus.ACCEPTED)


def test_an_order_id_is_used_once() -> None:
    orders = Orders()
    orders.put(order(), 1)
    with pytest.raises(InvariantError):
        orders.put(order(), 1)


def test_the_queue_has_a_bound() -> None:
    orders = Orders()
    for number in range(QUEUE_BOUND):
        orders.put(order(f"o{number}"), 1)
    with pytest.raises(InvariantError, match="full"):
        orders.put(order("one more"), 1)


def test_an_order_canceled_before_it_left_never_leaves() -> None:
    orders = Orders()
    orders.put(order(), 1)
    state = orders.put_cancel("o1")
    assert state is not None
    assert state.status is OrderStatus.CANCELED
    assert orders.pop_submit() is None
    assert orders.pop_cancel() is None


def test_a_cancel_of_an_order_that_left_waits_for_the_venue() -> None:
    orders = Orders()
    sent(orders)
    state = orders.put_cancel("o1")
    assert state is not None
    assert state.status is OrderStatus.PENDING_CANCEL
    assert orders.pop_cancel() is not None
    assert orders.put_cancel("nobody") is None


def test_a_fill_told_twice_counts_once() -> None:
    orders = Orders()
    sent(orders)
    assert orders.apply(fill_report("o1", 4, "f1"))[1] is not None
    assert orders.apply(fill_report("o1", 4, "f1"))[1] is None
    assert orders.states["o1"].filled_lots == 4
    assert orders.states["o1"].status is OrderStatus.PARTIALLY_FILLED


def test_a_fill_before_the_acknowledgement_is_taken() -> None:
    orders = Orders()
    sent(orders)
    orders.apply(fill_report("o1", 10, "f1"))
    state, _ = orders.apply(OrderReport(ReportKind.ACCEPTED, "o1", 2))
    assert state.status is OrderStatus.FILLED


def test_a_late_fill_of_a_canceled_order_still_counts() -> None:
    orders = Orders()
    sent(orders)
    orders.put_cancel("o1")
    orders.apply(OrderReport(ReportKind.CANCELED, "o1", 2))
    state, fill = orders.apply(fill_report("o1", 3, "f9"))
    assert fill is not None
    assert (state.status, state.filled_lots) == (OrderStatus.CANCELED, 3)


def test_a_fill_beyond_the_order_stops_us() -> None:
    orders = Orders()
    sent(orders)
    with pytest.raises(InvariantError, match="beyond"):
        orders.apply(fill_report("o1", 11, "f1"))


def test_a_report_on_an_order_of_nobody_stops_us() -> None:
    with pytest.raises(InvariantError, match="unknown order"):
        Orders().apply(OrderReport(ReportKind.ACCEPTED, "x", 1))


def test_working_lots_count_what_may_still_fill_on_one_side() -> None:
    orders = Orders()
    sent(orders, "o1", 10)
    orders.apply(fill_report("o1", 4, "f1"))
    assert orders.working_lots("BTCUSDT", Side.BUY) == 6
    assert orders.working_lots("BTCUSDT", Side.SELL) == 0


def test_orders_of_the_last_minute_are_counted_by_decision_time() -> None:
    orders = Orders()
    orders.put(order(), 1)
    assert orders.sent_last_minute(1_000 + 59 * 10**9) == 1
    assert orders.sent_last_minute(1_000 + 60 * 10**9) == 0


def test_old_closed_orders_are_forgotten_and_open_ones_never() -> None:
    orders = Orders()
    sent(orders, "keep")
    for number in range(400):
        orders.put(order(f"o{number}"), 1)
        orders.put_cancel(f"o{number}")
        orders.pop_submit()
    assert "keep" in orders.states
    assert len(orders.states) < 300
