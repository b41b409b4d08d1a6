"""The paper broker's rules for filling, each on a book made by hand."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from core.book import Book
from core.brokers.paper import FIRST_LEVELS, PaperBroker
from core.config import PaperSettings, Settings
from core.feeds.protocol import InstrumentFeed
from core.model.market import FeedState, TradePrint
from core.model.order import Fill, ReportKind, Side, TimeInForce
from core.sim.market import sim_instrument
from tests.core.brokers.rig import FEE_BPS, NAME, make_order

BUY, SELL = Side.BUY, Side.SELL
GTC = TimeInForce.GTC
AT_ONCE = Settings(paper=PaperSettings(latency_ms=0))


class Stage:
    """A paper broker without latency over one book: bids 100 99 98, asks 101 102 103."""

    def __init__(self) -> None:
        instrument = sim_instrument(NAME)
        self.feed = InstrumentFeed(instrument, Book(instrument), FeedState.LIVE)
        self.broker = PaperBroker([self.feed], AT_ONCE, FEE_BPS)
        self.now_ns = 1_000
        self.count = 0
        self.show(bids={100: 50, 99: 60, 98: 70}, asks={101: 50, 102: 60, 103: 70})

    def show(self, bids: dict[int, int] | None = None, asks: dict[int, int] | None = None) -> None:
        """Change levels and tell the broker."""
        rows = [[0, ticks, lots] for ticks, lots in (bids or {}).items()]
        rows += [[1, ticks, lots] for ticks, lots in (asks or {}).items()]
        self.feed.book.apply(np.array(rows, np.int64).reshape(-1, 3))
        self.broker.on_market(0, self.now_ns)

    def trade(self, ticks: int, lots: int, aggressor: int) -> None:
        self.now_ns += 1
        self.broker.on_trade(TradePrint(0, ticks, lots, aggressor, "t", 0, self.now_ns))

    def send(self, side: Side, lots: int, limit: int, tif: TimeInForce = TimeInForce.IOC) -> str:
        self.count += 1
        key = f"o{self.count}"
        self.broker.submit(make_order(key, side, lots, limit, tif), self.now_ns)
        self.broker.advance(self.now_ns)
        return key

    def fills(self, key: str | None = None) -> list[tuple[int, int]]:
        """(ticks, lots) of the fills reported since the last call."""
        return [
            (fill.price_ticks, fill.qty_lots)
            for fill in self.full_fills()
            if key in {None, fill.client_order_id}
        ]

    def full_fills(self) -> list[Fill]:
        return [each.fill for each in self.broker.take_reports() if each.fill is not None]

    def end(self) -> tuple[ReportKind, str]:
        """Kind and reason of the last report."""
        last = self.broker.take_reports()[-1]
        return last.kind, last.reason


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_same_lots_shown_are_not_filled_twice(stage: Stage) -> None:
    stage.send(BUY, 30, 101)
    stage.send(BUY, 30, 101)
    assert stage.fills() == [(101, 30), (101, 20)]
    stage.send(BUY, 30, 102)
    assert stage.fills() == [(102, 30)]


def test_level_that_changed_is_a_new_level(stage: Stage) -> None:
    stage.send(BUY, 50, 101)
    stage.fills()
    stage.show(asks={101: 40})
    stage.send(BUY, 100, 101)
    assert stage.fills() == [(101, 40)]


def test_change_of_another_level_does_not_refresh_what_was_taken(stage: Stage) -> None:
    stage.send(BUY, 50, 101)
    stage.fills()
    stage.show(asks={102: 5}, bids={100: 7})
    stage.send(BUY, 60, 102)
    assert stage.fills() == [(102, 5)]


def test_level_that_went_and_came_back_alike_is_new(stage: Stage) -> None:
    stage.send(SELL, 50, 100)
    stage.fills()
    stage.show(bids={100: 0})
    stage.show(bids={100: 50})
    stage.send(SELL, 50, 100)
    assert stage.fills() == [(100, 50)]


def test_walk_goes_deeper_than_the_first_levels_read(stage: Stage) -> None:
    deep = {200 + i: 1 for i in range(3 * FIRST_LEVELS)}
    stage.show(asks=deep)
    stage.send(BUY, 10_000, 1_000)
    got = stage.fills()
    assert got == [(101, 50), (102, 60), (103, 70), *deep.items()]


@pytest.mark.parametrize("state", [s for s in FeedState if s is not FeedState.LIVE])
def test_book_that_is_not_live_rejects_orders_and_fills_nothing(
    stage: Stage, state: FeedState
) -> None:
    stage.send(BUY, 10, 100, GTC)
    stage.broker.take_reports()
    stage.feed.state = state
    stage.trade(99, 100, -1)
    stage.show(asks={100: 10})
    assert stage.fills() == []
    stage.send(BUY, 10, 103)
    assert stage.end() == (ReportKind.REJECTED, f"the book was {state.value}")


def test_one_sided_and_crossed_books_reject_orders(stage: Stage) -> None:
    stage.show(bids={100: 0, 99: 0, 98: 0})
    stage.send(BUY, 10, 103)
    assert stage.end() == (ReportKind.REJECTED, "the book was one-sided or empty")
    stage.show(bids={102: 5})
    stage.send(BUY, 10, 103)
    assert stage.end() == (ReportKind.REJECTED, "the book was crossed")


def test_resting_order_waits_for_the_queue_shown_before_it(stage: Stage) -> None:
    key = stage.send(BUY, 30, 100, GTC)
    stage.trade(100, 50, -1)
    assert stage.fills() == []
    stage.trade(100, 20, -1)
    fills = stage.full_fills()
    assert [(f.price_ticks, f.qty_lots, f.is_maker, f.fill_id) for f in fills] == [
        (100, 20, True, f"{key}-1")
    ]
    stage.trade(100, 99, -1)
    assert stage.fills() == [(100, 10)]


def test_trade_told_before_or_after_the_book_counts_once(stage: Stage) -> None:
    stage.send(BUY, 30, 100, GTC)
    stage.show(bids={100: 10})  # the book shows 40 gone
    stage.trade(100, 40, -1)  # and the trade that took them is told later
    stage.trade(100, 10, -1)
    assert stage.fills() == []
    stage.show(bids={100: 0})
    stage.trade(100, 5, -1)
    assert stage.fills() == [(100, 5)]


def test_cancels_before_us_that_the_book_shows_move_us_up(stage: Stage) -> None:
    stage.send(SELL, 30, 101, GTC)
    stage.show(asks={101: 10})
    stage.trade(101, 40, 1)  # could be the 40 that are gone: not counted
    stage.trade(101, 25, 1)
    assert stage.fills() == [(101, 15)]


def test_more_lots_behind_us_do_not_move_us_back(stage: Stage) -> None:
    stage.send(BUY, 30, 100, GTC)
    stage.show(bids={100: 500})
    stage.trade(100, 60, -1)
    assert stage.fills() == [(100, 10)]


def test_trade_through_our_price_fills_no_more_than_it_traded(stage: Stage) -> None:
    stage.send(BUY, 30, 100, GTC)
    stage.trade(99, 12, -1)
    assert stage.fills() == [(100, 12)]


@pytest.mark.parametrize(("ticks", "aggressor", "expected"), [
    (100, 1, []),  # a buyer took: not from us
    (100, 0, []),  # at our price and nobody says who took
    (101, -1, []),  # above our bid
    (99, 0, [(100, 30)]),  # through us, whoever took
    (99, 1, []),  # a buyer at a lower ask: the book will say so
])  # fmt: skip
def test_only_trades_that_would_have_met_us_fill_us(
    stage: Stage, ticks: int, aggressor: int, expected: list[tuple[int, int]]
) -> None:
    stage.send(BUY, 30, 100, GTC)
    stage.trade(ticks, 500, aggressor)
    assert stage.fills() == expected


def test_one_trade_serves_our_better_price_first_then_our_older_order(stage: Stage) -> None:
    late = [stage.send(BUY, 10, 98, GTC)]
    older = stage.send(BUY, 10, 99, GTC)
    younger = stage.send(BUY, 10, 99, GTC)
    stage.trade(97, 25, -1)
    got = [(fill.client_order_id, fill.qty_lots) for fill in stage.full_fills()]
    assert got == [(older, 10), (younger, 10), (late[0], 5)]


def test_two_of_ours_at_one_price_share_what_passes_the_queue(stage: Stage) -> None:
    older, younger = (stage.send(BUY, 10, 100, GTC) for _ in range(2))
    stage.trade(100, 65, -1)
    got = [(fill.client_order_id, fill.qty_lots) for fill in stage.full_fills()]
    assert got == [(older, 10), (younger, 5)]


def test_book_that_comes_to_our_price_fills_us_at_it_with_what_it_shows(stage: Stage) -> None:
    stage.send(BUY, 30, 100, GTC)
    stage.show(bids={100: 0}, asks={100: 12})
    assert stage.fills() == [(100, 12)]
    stage.show(bids={99: 61})  # the ask at 100 still shows the same 12
    assert stage.fills() == []
    stage.show(asks={100: 13})
    assert stage.fills() == [(100, 13)]


def test_resting_order_partly_taken_rests_with_the_remainder(stage: Stage) -> None:
    key = stage.send(BUY, 80, 101, GTC)
    assert stage.fills(key) == [(101, 50)]
    stage.show(asks={101: 0})
    assert stage.fills() == []
    stage.trade(101, 5, -1)
    assert stage.fills() == [(101, 5)]
    stage.show(asks={101: 9})
    assert stage.fills() == [(101, 9)]


def test_closed_orders_are_forgotten_in_bounds(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.brokers.delayed.CLOSED_KEPT", 3)
    keys = [stage.send(BUY, 1, 50) for _ in range(5)]
    stage.broker.take_reports()
    for key in (keys[0], keys[-1]):
        stage.broker.cancel(key, stage.now_ns)
    stage.broker.advance(stage.now_ns)
    reasons = [report.reason for report in stage.broker.take_reports()]
    assert reasons == [
        "nothing to cancel: no such order is known",
        "nothing to cancel: the order was expired already",
    ]


def test_orders_of_two_instruments_do_not_mix() -> None:
    stage = Stage()
    other = msgspec.structs.replace(sim_instrument("DIM-USD"))
    feed = InstrumentFeed(other, Book(other), FeedState.LIVE)
    feed.book.apply(np.array([[0, 100, 5], [1, 101, 5]], np.int64))
    broker = PaperBroker([stage.feed, feed], AT_ONCE, FEE_BPS)
    broker.submit(make_order("a", BUY, 10, 100, GTC), 1)
    broker.submit(make_order("b", BUY, 10, 100, GTC, instrument="DIM-USD"), 1)
    broker.advance(1)
    broker.take_reports()
    broker.on_trade(TradePrint(1, 99, 50, -1, "t", 0, 2))
    assert [report.client_order_id for report in broker.take_reports()] == ["b"]


def test_fee_is_that_of_the_venue_where_it_has_its_own() -> None:
    fees = {}
    for name, by_venue in (("all", {}), ("own", {"sim": 3 * FEE_BPS}), ("other", {"binance": 1})):
        stage = Stage()
        stage.broker = PaperBroker([stage.feed], AT_ONCE, FEE_BPS, by_venue)
        stage.send(BUY, 10, 101)
        (fill,) = stage.full_fills()
        fees[name] = fill.fee
    assert fees["all"] > 0
    assert fees["own"] == 3 * fees["all"]
    assert fees["other"] == fees["all"]
