"""What only the sim broker does: its orders stand in the market and move it."""

from __future__ import annotations

import pytest

from core.config import PaperSettings, Settings
from core.kernels.market import MAX_OWN, WINDOW
from core.model.order import ReportKind, Side, TimeInForce
from tests.core.brokers.rig import LATENCY_MS, MS, NAME, Rig, make_order

BUY, SELL = Side.BUY, Side.SELL
GTC = TimeInForce.GTC


@pytest.fixture
def rig() -> Rig:
    return Rig("sim")


def test_our_purchase_is_printed_and_lifts_the_ask(rig: Rig) -> None:
    rig.run_ms(LATENCY_MS)
    before, _ = rig.book.best_ask
    rig.send("o1", BUY, 20_000, 20_000)
    rig.run_ms(LATENCY_MS)
    ours = [print_ for print_ in rig.prints if print_.ts_event_ns == rig.fills[0].ts_ns]
    assert [(p.price_ticks, p.qty_lots, p.aggressor) for p in ours] == [
        (fill.price_ticks, fill.qty_lots, 1) for fill in rig.fills
    ]
    assert rig.book.best_ask[0] > before


def test_our_resting_order_is_shown_in_the_book(rig: Rig) -> None:
    price = rig.book.best_bid[0] - 1
    rig.run_ms(0)
    rig.send("o1", BUY, 123_456, price, GTC)
    rig.run_ms(LATENCY_MS)
    assert rig.book.lots_at(0, price) >= 123_456
    rig.broker.cancel("o1", rig.now_ns)
    rig.run_ms(LATENCY_MS)
    assert rig.book.lots_at(0, price) < 123_456


def test_order_inside_the_spread_becomes_the_best_price() -> None:
    rig = Rig("sim", settings=Settings(paper=PaperSettings(latency_ms=0, report_latency_ms=0)))
    for _ in range(2_000):
        if rig.book.best_ask[0] - rig.book.best_bid[0] >= 3:
            break
        rig.run_ms(20)
    bid = rig.book.best_bid[0]
    rig.send("o1", BUY, 777, bid + 1, GTC)
    rig.run_ms(0)
    assert rig.book.best_bid == (bid + 1, 777)


def test_order_beyond_what_is_shown_ends_instead_of_crossing(rig: Rig) -> None:
    rig.send("o1", BUY, 10**9, 10**6, GTC)
    rig.run_ms(LATENCY_MS)
    last = rig.of("o1")[-1]
    assert rig.fills
    assert (last.kind, last.reason) == (
        ReportKind.EXPIRED,
        "the price would have crossed the book",
    )


def test_market_takes_a_bounded_number_of_resting_orders(rig: Rig) -> None:
    price = rig.book.best_bid[0] - 100
    for count in range(MAX_OWN + 1):
        rig.send(f"o{count}", BUY, 10, price, GTC)
    rig.run_ms(LATENCY_MS)
    last = rig.of(f"o{MAX_OWN}")[-1]
    assert last.kind is ReportKind.EXPIRED
    assert f"{MAX_OWN} resting orders" in last.reason
    assert all(rig.kinds(f"o{count}") == [ReportKind.ACCEPTED] for count in range(MAX_OWN))


def test_order_far_from_the_market_ends_with_the_reason(rig: Rig) -> None:
    rig.send("o1", BUY, 10, rig.book.best_bid[0] - WINDOW, GTC)
    rig.run_ms(LATENCY_MS)
    assert rig.kinds("o1") == [ReportKind.ACCEPTED, ReportKind.EXPIRED]
    assert "512 ticks" in rig.of("o1")[-1].reason


def test_order_dropped_by_the_market_is_reported_canceled(rig: Rig) -> None:
    rig.send("o1", BUY, 10, rig.book.best_bid[0] - 500, GTC)
    rig.run_ms(LATENCY_MS)
    count = 0
    while rig.kinds("o1") == [ReportKind.ACCEPTED] and count < 100:
        count += 1
        # Lift the asks and bid up behind them until the bids' window has slid away.
        rig.send(f"lift{count}", BUY, 10**9, 10**6)
        rig.run_ms(LATENCY_MS)
        rig.send(f"chase{count}", BUY, 10, rig.venue.best(NAME)[1] - 1, GTC)
        rig.run_ms(LATENCY_MS)
        rig.broker.cancel(f"chase{count}", rig.now_ns)
        rig.run_ms(LATENCY_MS)
    assert rig.kinds("o1") == [ReportKind.ACCEPTED, ReportKind.CANCELED]
    assert "too far away" in rig.of("o1")[-1].reason


def test_what_the_market_did_before_an_arrival_is_known_and_told_first(rig: Rig) -> None:
    rig.send("rest", BUY, 2_000, rig.book.best_bid[0], GTC)
    rig.run_ms(LATENCY_MS)
    rig.broker.submit(make_order("late", SELL, 10, 9_000), rig.now_ns + 60_000 * MS)
    rig.broker.advance(rig.now_ns + 61_000 * MS)
    reports = rig.broker.take_reports()
    assert [report.client_order_id for report in reports][-2:] == ["late", "late"]
    assert {report.client_order_id for report in reports[:-2]} == {"rest"}
    assert sum(report.fill.qty_lots for report in reports[:-2] if report.fill) == 2_000
    assert [report.ts_ns for report in reports] == sorted(report.ts_ns for report in reports)
