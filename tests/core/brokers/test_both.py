"""What both brokers promise: one suite, run against the paper broker and the sim broker."""

from __future__ import annotations

from collections import Counter
from decimal import ROUND_HALF_EVEN, Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.brokers.paper import PaperBroker
from core.errors import InvariantError
from core.model.order import OrderStatus, ReportKind, Side, TimeInForce
from core.ports import Broker
from core.sim.market import sim_instrument
from tests.core.brokers.rig import LATENCY_MS, MS, SETTINGS, START_NS, Rig, make_order

BUY, SELL = Side.BUY, Side.SELL
IOC, GTC = TimeInForce.IOC, TimeInForce.GTC
ACCEPTED, REJECTED, FILLED = ReportKind.ACCEPTED, ReportKind.REJECTED, ReportKind.FILLED
CANCELED, EXPIRED = ReportKind.CANCELED, ReportKind.EXPIRED
KINDS = ("paper", "sim")


@pytest.fixture(params=KINDS)
def rig(request: pytest.FixtureRequest) -> Rig:
    return Rig(request.param)


def touch(rig: Rig, side: Side) -> tuple[int, int]:
    """Best (ticks, lots) that an order of ``side`` would take."""
    best: tuple[int, int] = rig.book.best_ask if side is BUY else rig.book.best_bid
    return best


def test_both_are_brokers(rig: Rig) -> None:
    broker: Broker = rig.broker
    assert broker.name in KINDS
    assert broker.next_due_ns() is None
    assert broker.take_reports() == []


def test_order_arrives_after_its_latency_and_not_before(rig: Rig) -> None:
    rig.send("o1", BUY, 10, 20_000)
    assert rig.broker.next_due_ns() == START_NS + LATENCY_MS * MS
    rig.run_ms(LATENCY_MS - 1)
    assert rig.reports == []
    rig.run_ms(1)
    assert rig.kinds("o1") == [ACCEPTED, FILLED]
    assert {report.ts_ns for report in rig.reports} == {START_NS + LATENCY_MS * MS}
    assert rig.broker.next_due_ns() is None


@pytest.mark.parametrize("side", list(Side))
def test_order_walks_the_book_shown_at_arrival_best_price_first(rig: Rig, side: Side) -> None:
    rig.run_ms(LATENCY_MS)
    rig.venue.run_until(rig.now_ns)
    levels = (rig.book.asks(5) if side is BUY else rig.book.bids(5)).tolist()
    total = sum(lots for _, lots in levels)
    rig.broker.submit(
        make_order("o1", side, total, levels[-1][0], IOC), rig.now_ns - LATENCY_MS * MS
    )
    rig.run_ms(0)
    assert [[fill.price_ticks, fill.qty_lots] for fill in rig.fills] == levels
    assert all(not fill.is_maker and fill.side is side for fill in rig.fills)


def test_order_never_fills_past_its_limit(rig: Rig) -> None:
    best, _ = touch(rig, BUY)
    rig.send("o1", BUY, 10**7, best + 2)
    rig.run_ms(LATENCY_MS)
    assert rig.fills
    assert max(fill.price_ticks for fill in rig.fills) <= best + 2
    assert rig.kinds("o1")[-1] is EXPIRED
    assert "lots found nothing" in rig.of("o1")[-1].reason


def test_order_far_below_the_market_expires_without_a_fill(rig: Rig) -> None:
    rig.send("o1", BUY, 10, touch(rig, SELL)[0] - 50)
    rig.run_ms(LATENCY_MS)
    assert rig.kinds("o1") == [ACCEPTED, EXPIRED]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"instrument": "ELSE-USD"}, "ELSE-USD does not trade here"),
        ({"qty_lots": 0}, "quantity was 0 lots"),
        ({"qty_lots": -5}, "quantity was -5 lots"),
        ({"limit_ticks": 0}, "limit was 0 ticks"),
        ({"limit_ticks": -1}, "limit was -1 ticks"),
    ],
)
def test_impossible_order_is_rejected_with_its_reason(
    rig: Rig, change: dict[str, object], why: str
) -> None:
    order = msgspec.structs.replace(make_order("o1", BUY, 10, 20_000), **change)
    rig.broker.submit(order, rig.now_ns)
    rig.run_ms(LATENCY_MS)
    assert rig.kinds("o1") == [REJECTED]
    assert why in rig.of("o1")[0].reason


@pytest.mark.parametrize("kind", KINDS)
def test_order_below_min_notional_is_rejected_and_one_at_it_is_not(kind: str) -> None:
    least = msgspec.structs.replace(sim_instrument(), min_notional=Decimal(10))
    rig = Rig(kind, instrument=least)
    rig.send("o1", BUY, 99, 10_000)  # 100.00 * 0.099 = 9.90
    rig.send("o2", BUY, 100, 10_000)
    rig.run_ms(LATENCY_MS)
    assert rig.kinds("o1") == [REJECTED]
    assert "notional was 9.9" in rig.of("o1")[0].reason
    assert rig.kinds("o2")[0] is ACCEPTED


def test_order_sent_twice_is_one_order(rig: Rig) -> None:
    for _ in range(2):
        rig.send("o1", BUY, 10, 20_000)
    rig.run_ms(LATENCY_MS)
    rig.send("o1", BUY, 10, 20_000)
    rig.run_ms(2 * LATENCY_MS)
    assert rig.kinds("o1") == [ACCEPTED, FILLED]


def test_fee_is_exact_and_in_the_quote_currency(rig: Rig) -> None:
    rig.send("o1", BUY, 1_234, 20_000)
    rig.run_ms(LATENCY_MS)
    assert sum(fill.qty_lots for fill in rig.fills) == 1_234
    for fill in rig.fills:
        notional = Decimal(fill.price_ticks) / 100 * fill.qty_lots / 1_000
        exact = notional * Decimal("0.00001")
        assert fill.fee == exact.quantize(Decimal("1e-8"), ROUND_HALF_EVEN)
        assert fill.fee_currency == "USD"


def test_fill_ids_are_made_of_the_order_id_and_a_count(rig: Rig) -> None:
    rig.send("o1", BUY, 10**7, touch(rig, BUY)[0] + 3)
    rig.run_ms(LATENCY_MS)
    assert len(rig.fills) > 1
    assert [fill.fill_id for fill in rig.fills] == [
        f"o1-{count}" for count in range(1, len(rig.fills) + 1)
    ]


def test_resting_order_is_canceled_when_asked(rig: Rig) -> None:
    rig.send("o1", BUY, 500, touch(rig, SELL)[0] - 40, GTC)
    rig.run_ms(LATENCY_MS)
    assert rig.kinds("o1") == [ACCEPTED]
    rig.broker.cancel("o1", rig.now_ns)
    rig.run_ms(LATENCY_MS - 1)
    assert rig.kinds("o1") == [ACCEPTED]
    rig.run_ms(1)
    assert rig.kinds("o1") == [ACCEPTED, CANCELED]
    rig.run_ms(5_000)
    assert rig.kinds("o1") == [ACCEPTED, CANCELED]


def test_cancel_never_overtakes_its_order(rig: Rig) -> None:
    rig.send("o1", SELL, 500, touch(rig, BUY)[0] + 40, GTC)
    rig.broker.cancel("o1", rig.now_ns)
    rig.run_ms(LATENCY_MS)
    assert rig.kinds("o1") == [ACCEPTED, CANCELED]


def test_cancel_that_finds_nothing_is_answered_with_the_reason(rig: Rig) -> None:
    rig.send("o1", BUY, 10, 20_000)
    rig.run_ms(LATENCY_MS)
    rig.broker.cancel("o1", rig.now_ns)
    rig.broker.cancel("never-sent", rig.now_ns)
    rig.run_ms(LATENCY_MS)
    assert rig.kinds("o1") == [ACCEPTED, FILLED, ReportKind.CANCEL_REJECTED]
    assert "filled already" in rig.of("o1")[-1].reason
    assert rig.kinds("never-sent") == [ReportKind.CANCEL_REJECTED]
    assert "no such order" in rig.of("never-sent")[0].reason


@pytest.mark.slow
@pytest.mark.parametrize("side", list(Side))
def test_resting_order_fills_as_maker_at_its_price_and_no_more_than_traded(
    rig: Rig, side: Side
) -> None:
    limit, _ = touch(rig, side.opposite)  # join our own side of the book
    rig.send("o1", side, 800, limit, GTC)
    rig.run_ms(120_000)
    assert sum(fill.qty_lots for fill in rig.fills) == 800
    for fill in rig.fills:
        assert fill.is_maker
        assert fill.price_ticks == limit
    assert rig.status(make_order("o1", side, 800, limit, GTC)) is OrderStatus.FILLED
    first_ns = rig.fills[0].ts_ns
    through = [
        print_
        for print_ in rig.prints
        if START_NS + LATENCY_MS * MS <= print_.ts_event_ns <= rig.fills[-1].ts_ns
        and (limit - print_.price_ticks) * side.sign >= 0
        and print_.aggressor == -side.sign
    ]
    assert first_ns > START_NS + LATENCY_MS * MS
    if rig.broker.name == "sim":
        assert sum(print_.qty_lots for print_ in through) >= 800


def test_order_that_would_trade_with_our_own_is_rejected(rig: Rig) -> None:
    bid, _ = touch(rig, SELL)
    rig.send("rest", BUY, 300, bid - 5, GTC)
    rig.run_ms(LATENCY_MS)
    rig.send("cross", SELL, 300, bid - 5)
    rig.send("clear", SELL, 10, bid - 4)
    rig.run_ms(LATENCY_MS)
    assert rig.kinds("cross") == [REJECTED]
    assert "our own order rest" in rig.of("cross")[0].reason
    assert rig.kinds("clear")[0] is ACCEPTED


def test_orders_arrive_in_the_order_they_were_sent(rig: Rig) -> None:
    for count in range(5):
        rig.send(f"o{count}", BUY, 10, 20_000)
    rig.run_ms(LATENCY_MS)
    accepted = [r.client_order_id for r in rig.reports if r.kind is ACCEPTED]
    assert accepted == [f"o{count}" for count in range(5)]


def test_negative_fee_is_refused() -> None:
    with pytest.raises(InvariantError, match="fee was -1"):
        PaperBroker([], SETTINGS, Decimal(-1))


ORDERS = st.lists(
    st.tuples(
        st.sampled_from(list(Side)),
        st.integers(1, 15_000),
        st.integers(-6, 12),
        st.sampled_from([IOC, GTC]),
        st.integers(0, 400),
        st.booleans(),
    ),
    max_size=12,
)


def play(kind: str, seed: int, acts: list) -> tuple[Rig, list]:
    rig = Rig(kind, seed)
    orders = []
    for count, (side, lots, away, tif, wait_ms, cancels) in enumerate(acts):
        limit = touch(rig, side)[0] + side.sign * away
        order = make_order(f"o{count}", side, lots, limit, tif)
        orders.append(order)
        rig.broker.submit(order, rig.now_ns)
        if cancels:
            rig.broker.cancel(f"o{count // 2}", rig.now_ns)
        rig.run_ms(wait_ms)
    rig.run_ms(2_000)
    return rig, orders


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1_000), acts=ORDERS)
def test_whatever_is_sent_orders_end_properly_and_fills_are_earned(
    kind: str, seed: int, acts: list
) -> None:
    rig, orders = play(kind, seed, acts)
    assert rig.encoded() == play(kind, seed, acts)[0].encoded()
    for order in orders:
        status = rig.status(order)  # every step is in the status table
        filled = [r.fill for r in rig.of(order.client_order_id) if r.fill is not None]
        assert sum(fill.qty_lots for fill in filled) <= order.qty_lots
        assert status is not OrderStatus.SUBMITTED
        if order.tif is IOC:
            assert status.is_closed
        for fill in filled:
            assert (order.limit_ticks - fill.price_ticks) * order.side.sign >= 0
    ids = [fill.fill_id for fill in rig.fills]
    assert len(ids) == len(set(ids))
    if kind == "sim":
        # Every lot of ours was printed for all to see: what we got, somebody gave.
        printed = Counter[tuple[int, int]]()
        for trade in rig.prints:
            printed[trade.ts_event_ns, trade.price_ticks] += trade.qty_lots
        for fill in rig.fills:
            printed[fill.ts_ns, fill.price_ticks] -= fill.qty_lots
        assert min(printed.values(), default=0) >= 0
