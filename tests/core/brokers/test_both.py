"""What both brokers promise: one suite, run against the paper broker and the sim broker."""

from __future__ import annotations

import re
from collections import Counter
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.brokers.fees import FeeRates, rates_of
from core.config import PaperSettings, Settings
from core.errors import InvariantError, OffLotQuantity, OffTickPrice
from core.model.order import OrderStatus, ReportKind, Side, TimeInForce
from core.ports import OrderRoad
from core.sim.market import sim_instrument
from tests.core.brokers.rig import LATENCY_MS, MS, START_NS, Rig, make_order

BUY, SELL = Side.BUY, Side.SELL
IOC, GTC = TimeInForce.IOC, TimeInForce.GTC
ACCEPTED, REJECTED, FILLED = ReportKind.ACCEPTED, ReportKind.REJECTED, ReportKind.FILLED
CANCELED, EXPIRED = ReportKind.CANCELED, ReportKind.EXPIRED
KINDS = ("paper", "sim")
MODES = ("cancel_newest", "cancel_oldest", "cancel_both", "decrement")
DAY_NS = 86_400_000 * MS


@pytest.fixture(params=KINDS)
def rig(request: pytest.FixtureRequest) -> Rig:
    return Rig(request.param)


def touch(rig: Rig, side: Side) -> tuple[int, int]:
    """Best (ticks, lots) that an order of ``side`` would take."""
    best: tuple[int, int] = rig.book.best_ask if side is BUY else rig.book.best_bid
    return best


def test_both_are_brokers(rig: Rig) -> None:
    broker: OrderRoad = rig.broker
    assert broker.name in KINDS
    assert broker.next_due_ns() is None
    assert broker.take_reports() == []


def test_r1_order_arrives_after_its_latency_and_not_before(rig: Rig) -> None:
    rig.send("o1", BUY, 10, 20_000)
    assert rig.broker.next_due_ns() == START_NS + LATENCY_MS * MS
    rig.run_ms(LATENCY_MS - 1)
    assert rig.reports == []
    rig.run_ms(1)
    assert rig.kinds("o1") == [ACCEPTED, FILLED]
    assert {report.ts_ns for report in rig.reports} == {START_NS + LATENCY_MS * MS}
    assert rig.broker.next_due_ns() is None


@pytest.mark.parametrize("side", list(Side))
def test_r10_order_walks_the_book_shown_at_arrival_best_price_first(rig: Rig, side: Side) -> None:
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


def test_r10_order_never_fills_past_its_limit(rig: Rig) -> None:
    best, _ = touch(rig, BUY)
    rig.send("o1", BUY, 10**7, best + 2)
    rig.run_ms(LATENCY_MS)
    assert rig.fills
    assert max(fill.price_ticks for fill in rig.fills) <= best + 2
    assert rig.kinds("o1")[-1] is EXPIRED
    assert "found nothing within the limit" in rig.of("o1")[-1].reason


def test_r12_order_far_below_the_market_expires_without_a_fill(rig: Rig) -> None:
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
def test_r5_impossible_order_is_rejected_with_its_reason(
    rig: Rig, change: dict[str, object], why: str
) -> None:
    order = msgspec.structs.replace(make_order("o1", BUY, 10, 20_000), **change)
    rig.broker.submit(order, rig.now_ns)
    rig.run_ms(LATENCY_MS)
    assert rig.kinds("o1") == [REJECTED]
    assert why in rig.of("o1")[0].reason


@pytest.mark.parametrize("kind", KINDS)
def test_r6_order_below_min_notional_is_rejected_and_one_at_it_is_not(kind: str) -> None:
    least = msgspec.structs.replace(sim_instrument(), min_notional=Decimal(10))
    rig = Rig(kind, instrument=least)
    rig.send("o1", BUY, 99, 10_000)  # 100.00 * 0.099 = 9.90
    rig.send("o2", BUY, 100, 10_000)
    rig.run_ms(LATENCY_MS)
    assert rig.kinds("o1") == [REJECTED]
    assert "notional was 9.9" in rig.of("o1")[0].reason
    assert rig.kinds("o2")[0] is ACCEPTED


def test_r4_order_sent_twice_is_one_order(rig: Rig) -> None:
    for _ in range(2):
        rig.send("o1", BUY, 10, 20_000)
    rig.run_ms(LATENCY_MS)
    rig.send("o1", BUY, 10, 20_000)
    rig.run_ms(2 * LATENCY_MS)
    assert rig.kinds("o1") == [ACCEPTED, FILLED]


def test_r22_fee_is_exact_and_in_the_quote_currency(rig: Rig) -> None:
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


def test_r23_resting_order_is_canceled_when_asked(rig: Rig) -> None:
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


def test_r2_cancel_never_overtakes_its_order(rig: Rig) -> None:
    rig.send("o1", SELL, 500, touch(rig, BUY)[0] + 40, GTC)
    rig.broker.cancel("o1", rig.now_ns)
    rig.run_ms(LATENCY_MS)
    assert rig.kinds("o1") == [ACCEPTED, CANCELED]


def test_r23_cancel_that_finds_nothing_is_answered_with_the_reason(rig: Rig) -> None:
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
def test_r19_resting_order_fills_as_maker_at_its_price_and_no_more_than_traded(
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


def test_r2_orders_arrive_in_the_order_they_were_sent(rig: Rig) -> None:
    for count in range(5):
        rig.send(f"o{count}", BUY, 10, 20_000)
    rig.run_ms(LATENCY_MS)
    accepted = [r.client_order_id for r in rig.reports if r.kind is ACCEPTED]
    assert accepted == [f"o{count}" for count in range(5)]


def with_paper(**changes: object) -> Settings:
    return Settings(paper=PaperSettings(latency_ms=LATENCY_MS, **changes))


@pytest.mark.parametrize("kind", KINDS)
def test_r3_a_report_is_heard_later_than_what_it_tells_of(kind: str) -> None:
    rig = Rig(kind, settings=with_paper(report_latency_ms=30))
    rig.send("o1", BUY, 10, 20_000)
    rig.run_ms(LATENCY_MS + 29)
    assert rig.reports == []
    assert rig.broker.next_due_ns() == START_NS + (LATENCY_MS + 30) * MS
    rig.run_ms(1)
    assert rig.kinds("o1") == [ACCEPTED, FILLED]
    assert {report.ts_ns for report in rig.reports} == {START_NS + (LATENCY_MS + 30) * MS}
    assert [fill.ts_ns for fill in rig.fills] == [START_NS + LATENCY_MS * MS]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("filters", "lots", "why"),
    [
        ({"min_qty": Decimal("0.1")}, 99, "quantity was 0.099, the least is 0.1"),
        ({"max_qty": Decimal("0.1")}, 101, "quantity was 0.101, the most is 0.1"),
        ({"max_notional": Decimal(10)}, 101, "notional was 10.1, the most is 10"),
    ],
)
def test_r6_order_beyond_the_filters_of_the_venue_is_rejected_and_one_at_them_is_not(
    kind: str, filters: dict[str, Decimal], lots: int, why: str
) -> None:
    rig = Rig(kind, instrument=msgspec.structs.replace(sim_instrument(), **filters))
    rig.send("beyond", BUY, lots, 10_000)
    rig.send("at", BUY, 100, 10_000)
    rig.run_ms(LATENCY_MS)
    assert [(report.kind, report.reason) for report in rig.of("beyond")] == [(REJECTED, why)]
    assert rig.kinds("at")[0] is ACCEPTED


def test_r6_price_or_quantity_off_the_grid_never_becomes_an_order() -> None:
    instrument = sim_instrument()
    with pytest.raises(OffTickPrice, match=r"price 100\.005 was off the 0\.01 tick"):
        instrument.ticks("100.005")
    with pytest.raises(OffLotQuantity, match=r"quantity 0\.0005 was off the 0\.001 lot"):
        instrument.lots("0.0005")


def test_r7_more_than_the_most_open_orders_are_rejected(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.brokers.delayed.OPEN_MAX", 2)
    for count in range(3):
        rig.send(f"o{count}", BUY, 10, touch(rig, SELL)[0] - 40, GTC)
    rig.run_ms(LATENCY_MS)
    assert rig.kinds("o1") == [ACCEPTED]
    assert "2 orders were open already" in rig.of("o2")[0].reason
    rig.broker.cancel("o0", rig.now_ns)
    rig.send("o3", BUY, 10, touch(rig, SELL)[0] - 40, GTC)
    rig.run_ms(LATENCY_MS)
    assert rig.kinds("o3") == [ACCEPTED]


@pytest.mark.parametrize("side", list(Side))
def test_r9_post_only_order_that_would_take_is_rejected_and_one_that_rests_is_not(
    rig: Rig, side: Side
) -> None:
    ask, _ = touch(rig, side)
    rig.send("takes", side, 10, ask, GTC, post_only=True)
    rig.send("rests", side, 10, ask - side.sign * 40, GTC, post_only=True)
    rig.send("cannot", side, 10, ask, IOC, post_only=True)
    rig.run_ms(LATENCY_MS)
    assert rig.kinds("takes") == rig.kinds("cannot") == [REJECTED]
    assert rig.of("takes")[0].reason == "post-only: it would take"
    assert "may not rest" in rig.of("cannot")[0].reason
    assert rig.kinds("rests") == [ACCEPTED]
    assert rig.fills == []


@pytest.mark.slow
def test_r14_day_order_rests_and_ends_with_the_day_that_it_came_in(rig: Rig) -> None:
    """The rig starts at 22:13:20 UTC; the simulated market's day ends at 00:00 UTC."""
    rig.send("day", BUY, 10, touch(rig, SELL)[0] - 300, TimeInForce.DAY)
    rig.send("gtc", BUY, 10, touch(rig, SELL)[0] - 300, GTC)
    rig.run_ms(LATENCY_MS)
    assert rig.kinds("day") == [ACCEPTED]
    midnight_ns = (START_NS // DAY_NS + 1) * DAY_NS
    assert rig.broker.next_due_ns() == midnight_ns
    rig.broker.advance(midnight_ns - 1)
    assert rig.broker.take_reports() == []
    rig.broker.advance(midnight_ns)
    (end,) = [one for one in rig.broker.take_reports() if one.client_order_id == "day"]
    assert (end.kind, end.reason) == (EXPIRED, "the trading day ended")


def alone(rig: Rig) -> int:
    """Wait for a wide spread; return a bid inside it, where nobody stands before us."""
    for _ in range(2_000):
        if rig.book.best_ask[0] - rig.book.best_bid[0] >= 3:
            break
        rig.run_ms(LATENCY_MS)
    return int(rig.book.best_bid[0]) + 1


OWN = [
    # mode, lots resting, lots sent, ends of the resting one, ends of the fresh one
    ("cancel_newest", 300, 500, [], [EXPIRED]),
    ("cancel_oldest", 300, 500, [CANCELED], []),
    ("cancel_both", 300, 500, [CANCELED], [EXPIRED]),
    ("decrement", 300, 500, [CANCELED], []),
    ("decrement", 500, 300, [], [EXPIRED]),
    ("decrement", 300, 300, [CANCELED], [EXPIRED]),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("mode", "rests", "sent", "old", "new"), OWN)
def test_r21_orders_of_ours_never_trade_with_each_other(
    kind: str, mode: str, rests: int, sent: int, old: list[ReportKind], new: list[ReportKind]
) -> None:
    rig = Rig(kind, settings=with_paper(report_latency_ms=0, self_trade=mode))
    own = alone(rig)
    rig.send("old", BUY, rests, own, GTC)
    rig.run_ms(LATENCY_MS)
    rig.broker.submit(make_order("new", SELL, sent, own, GTC), rig.now_ns - LATENCY_MS * MS)
    rig.run_ms(0)
    assert rig.kinds("old") == [ACCEPTED, *old]
    assert [kind for kind in rig.kinds("new") if kind is not FILLED] == [ACCEPTED, *new]
    traded = {fill.client_order_id for fill in rig.fills}
    assert "old" not in traded
    for report in rig.of("old")[1:] + [one for one in rig.of("new") if one.kind is EXPIRED]:
        assert f"self-trade prevention, {mode}" in report.reason


@pytest.mark.parametrize("kind", KINDS)
def test_r21_order_cut_by_decrement_has_a_last_word_when_the_rest_of_it_filled(kind: str) -> None:
    rig = Rig(kind, settings=with_paper(report_latency_ms=0, self_trade="decrement"))
    bid = alone(rig)
    old = make_order("old", BUY, 800, bid, GTC)
    rig.broker.submit(old, rig.now_ns - LATENCY_MS * MS)
    rig.broker.submit(make_order("new", SELL, 300, bid, GTC), rig.now_ns - LATENCY_MS * MS)
    rig.run_ms(180_000)
    filled = sum(fill.qty_lots for fill in rig.fills if fill.client_order_id == "old")
    assert rig.kinds("old")[-1] is CANCELED
    kept = sim_instrument().qty_text(300)
    assert f"{kept} was kept from trading" in rig.of("old")[-1].reason
    assert filled == 500
    assert rig.status(old) is OrderStatus.CANCELED


def test_r22_makers_and_takers_pay_the_rates_of_their_venue() -> None:
    paper = PaperSettings(
        binance_fee_bps=7.5, binance_maker_fee_bps=5.0, alpaca_crypto_maker_fee_bps=12.0
    )
    stock = msgspec.structs.replace(sim_instrument(), venue="alpaca", name="IBM")
    coin = msgspec.structs.replace(stock, name="BTC/USD")
    binance = msgspec.structs.replace(stock, venue="binance")
    assert rates_of(paper, binance) == FeeRates(Decimal("5.0"), Decimal("7.5"))
    assert rates_of(paper, stock) == FeeRates(Decimal(0), Decimal(0))
    assert rates_of(paper, coin) == FeeRates(Decimal(12), Decimal(25))
    with pytest.raises(InvariantError, match="no fee is known for venue mars"):
        rates_of(paper, msgspec.structs.replace(stock, venue="mars"))


ORDERS = st.lists(
    st.tuples(
        st.sampled_from(list(Side)),
        st.integers(1, 15_000),
        st.integers(-6, 12),
        st.sampled_from(list(TimeInForce)),
        st.integers(0, 400),
        st.booleans(),
    ),
    max_size=12,
)


def play(kind: str, seed: int, mode: str, acts: list) -> tuple[Rig, list]:
    rig = Rig(kind, seed, settings=with_paper(self_trade=mode))
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
@given(seed=st.integers(0, 1_000), mode=st.sampled_from(MODES), acts=ORDERS)
def test_whatever_is_sent_orders_end_properly_and_fills_are_earned(
    kind: str, seed: int, mode: str, acts: list
) -> None:
    rig, orders = play(kind, seed, mode, acts)
    assert rig.encoded() == play(kind, seed, mode, acts)[0].encoded()
    for order in orders:
        status = rig.status(order)  # every step is in the status table
        filled = [r.fill for r in rig.of(order.client_order_id) if r.fill is not None]
        assert sum(fill.qty_lots for fill in filled) <= order.qty_lots
        assert status is not OrderStatus.SUBMITTED
        if not order.tif.may_rest:
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


def test_every_rule_in_the_document_has_a_test_and_every_test_a_rule() -> None:
    folder = Path(__file__).parent
    document = (folder.parents[2] / "docs" / "fills.md").read_text("utf-8")
    written = {int(number) for number in re.findall(r"\*\*R(\d+)\b", document)}
    tests = "".join(path.read_text("utf-8") for path in folder.glob("test_*.py"))
    tested = {int(number) for number in re.findall(r"def test_r(\d+)_", tests)}
    assert written == tested == set(range(1, 24))
