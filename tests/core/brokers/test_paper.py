"""The paper broker's rules for filling, each on a book made by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.book import Book
from core.brokers.paper import FIRST_LEVELS, PaperBroker
from core.brokers.queue import TOLD_WITHIN_NS
from core.config import PaperSettings, Settings
from core.feeds.protocol import InstrumentFeed
from core.model.market import FeedState, TradePrint
from core.model.order import Fill, Order, ReportKind, Side, TimeInForce
from core.sim.market import sim_instrument
from tests.core.brokers.rig import NAME, make_order

BUY, SELL = Side.BUY, Side.SELL
GTC, FOK = TimeInForce.GTC, TimeInForce.FOK
AT_ONCE = Settings(paper=PaperSettings(latency_ms=0, report_latency_ms=0))


class Stage:
    """A paper broker without latency over one book: bids 100 99 98, asks 101 102 103."""

    def __init__(self, **paper: Any) -> None:
        instrument = sim_instrument(NAME)
        self.feed = InstrumentFeed(instrument, Book(instrument), FeedState.LIVE)
        settings = PaperSettings(latency_ms=0, report_latency_ms=0, **paper)
        self.broker = PaperBroker([self.feed], Settings(paper=settings))
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

    def send(
        self,
        side: Side,
        lots: int,
        limit: int,
        tif: TimeInForce = TimeInForce.IOC,
        **changes: Any,
    ) -> str:
        self.count += 1
        key = f"o{self.count}"
        self.broker.submit(make_order(key, side, lots, limit, tif, **changes), self.now_ns)
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


def test_r11_same_lots_shown_are_not_filled_twice(stage: Stage) -> None:
    stage.send(BUY, 30, 101)
    stage.send(BUY, 30, 101)
    assert stage.fills() == [(101, 30), (101, 20)]
    stage.send(BUY, 30, 102)
    assert stage.fills() == [(102, 30)]


@pytest.mark.parametrize(("shown", "left"), [
    (40, 0),  # ten gone: those left are the ones we took
    (50, 0),
    (53, 3),  # three were added: they are new
])  # fmt: skip
def test_r11_what_we_took_stays_taken_and_only_what_is_added_is_new(
    stage: Stage, shown: int, left: int
) -> None:
    stage.send(BUY, 50, 101)
    stage.fills()
    stage.show(asks={101: shown})
    stage.send(BUY, 100, 101)
    assert stage.fills() == ([(101, left)] if left else [])


def test_r11_a_level_that_shrank_below_what_we_took_has_only_what_came_after(
    stage: Stage,
) -> None:
    stage.send(BUY, 30, 101)
    stage.show(asks={101: 10})
    stage.show(asks={101: 45})
    stage.fills()
    stage.send(BUY, 100, 101)
    assert stage.fills() == [(101, 35)]


def test_r11_change_of_another_level_does_not_refresh_what_was_taken(stage: Stage) -> None:
    stage.send(BUY, 50, 101)
    stage.fills()
    stage.show(asks={102: 5}, bids={100: 7})
    stage.send(BUY, 60, 102)
    assert stage.fills() == [(102, 5)]


def test_r11_level_that_went_and_came_back_alike_is_new(stage: Stage) -> None:
    stage.send(SELL, 50, 100)
    stage.fills()
    stage.show(bids={100: 0})
    stage.show(bids={100: 50})
    stage.send(SELL, 50, 100)
    assert stage.fills() == [(100, 50)]


def test_r10_walk_goes_deeper_than_the_first_levels_read(stage: Stage) -> None:
    deep = {200 + i: 1 for i in range(3 * FIRST_LEVELS)}
    stage.show(asks=deep)
    stage.send(BUY, 10_000, 1_000)
    got = stage.fills()
    assert got == [(101, 50), (102, 60), (103, 70), *deep.items()]


@pytest.mark.parametrize("state", [s for s in FeedState if s is not FeedState.LIVE])
def test_r8_book_that_is_not_live_rejects_orders_and_fills_nothing(
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


def test_r8_one_sided_and_crossed_books_reject_orders(stage: Stage) -> None:
    stage.show(bids={100: 0, 99: 0, 98: 0})
    stage.send(BUY, 10, 103)
    assert stage.end() == (ReportKind.REJECTED, "the book was one-sided or empty")
    stage.show(bids={102: 5})
    stage.send(BUY, 10, 103)
    assert stage.end() == (ReportKind.REJECTED, "the book was crossed")


def test_r15_resting_order_waits_for_the_queue_shown_before_it(stage: Stage) -> None:
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


def test_r18_trade_told_before_or_after_the_book_counts_once(stage: Stage) -> None:
    stage.send(BUY, 30, 100, GTC)
    stage.show(bids={100: 10})  # the book shows 40 gone
    stage.trade(100, 40, -1)  # and the trade that took them is told later
    stage.trade(100, 10, -1)
    assert stage.fills() == []
    stage.show(bids={100: 0})
    stage.trade(100, 5, -1)
    assert stage.fills() == [(100, 5)]


def test_r17_cancels_shrink_the_queue_before_us_in_proportion(stage: Stage) -> None:
    """50 before us, 50 come behind; 20 of the 100 are canceled: 10 of them stood before us."""
    stage.send(BUY, 30, 100, GTC)
    stage.show(bids={100: 100})
    stage.show(bids={100: 80})
    stage.now_ns += TOLD_WITHIN_NS + 1
    stage.trade(100, 40, -1)
    assert stage.fills() == []
    stage.trade(100, 1, -1)
    assert stage.fills() == [(100, 1)]


def test_r17_a_share_is_rounded_against_us(stage: Stage) -> None:
    """50 before us of 101; one canceled: 50/101 of it, which is none."""
    stage.send(BUY, 30, 100, GTC)
    stage.show(bids={100: 101})
    stage.show(bids={100: 100})
    stage.now_ns += TOLD_WITHIN_NS + 1
    stage.trade(100, 50, -1)
    assert stage.fills() == []


def test_r17_no_more_can_stand_before_us_than_the_level_shows(stage: Stage) -> None:
    stage.send(SELL, 30, 101, GTC)
    stage.show(asks={101: 10})
    stage.trade(101, 40, 1)  # could be the 40 that are gone: not counted
    stage.trade(101, 25, 1)
    assert stage.fills() == [(101, 15)]


def test_r18_lots_gone_longer_ago_than_a_second_were_no_trade(stage: Stage) -> None:
    stage.send(BUY, 30, 100, GTC)
    stage.show(bids={100: 10})
    stage.now_ns += TOLD_WITHIN_NS + 1
    stage.trade(100, 15, -1)
    assert stage.fills() == [(100, 5)]


def test_r18_a_trade_told_first_explains_what_the_book_shows_next(stage: Stage) -> None:
    """50 before us and 50 behind; 40 trade, the book shows 60: nobody has canceled."""
    stage.send(BUY, 30, 100, GTC)
    stage.show(bids={100: 100})
    stage.trade(100, 40, -1)
    stage.show(bids={100: 60})
    stage.trade(100, 10, -1)
    assert stage.fills() == []
    stage.trade(100, 5, -1)
    assert stage.fills() == [(100, 5)]


def test_r17_more_lots_behind_us_do_not_move_us_back(stage: Stage) -> None:
    stage.send(BUY, 30, 100, GTC)
    stage.show(bids={100: 500})
    stage.trade(100, 60, -1)
    assert stage.fills() == [(100, 10)]


def test_r19_trade_through_our_price_fills_no_more_than_it_traded(stage: Stage) -> None:
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
def test_r16_only_trades_that_would_have_met_us_fill_us(
    stage: Stage, ticks: int, aggressor: int, expected: list[tuple[int, int]]
) -> None:
    stage.send(BUY, 30, 100, GTC)
    stage.trade(ticks, 500, aggressor)
    assert stage.fills() == expected


def test_r19_one_trade_serves_our_better_price_first_then_our_older_order(stage: Stage) -> None:
    late = [stage.send(BUY, 10, 98, GTC)]
    older = stage.send(BUY, 10, 99, GTC)
    younger = stage.send(BUY, 10, 99, GTC)
    stage.trade(97, 25, -1)
    got = [(fill.client_order_id, fill.qty_lots) for fill in stage.full_fills()]
    assert got == [(older, 10), (younger, 10), (late[0], 5)]


def test_r19_two_of_ours_at_one_price_share_what_passes_the_queue(stage: Stage) -> None:
    older, younger = (stage.send(BUY, 10, 100, GTC) for _ in range(2))
    stage.trade(100, 65, -1)
    got = [(fill.client_order_id, fill.qty_lots) for fill in stage.full_fills()]
    assert got == [(older, 10), (younger, 5)]


def test_r20_book_that_comes_to_our_price_fills_us_at_it_with_what_it_shows(stage: Stage) -> None:
    stage.send(BUY, 30, 100, GTC)
    stage.show(bids={100: 0}, asks={100: 12})
    assert stage.fills() == [(100, 12)]
    stage.show(bids={99: 61})  # the ask at 100 still shows the same 12
    assert stage.fills() == []
    stage.show(asks={100: 13})
    assert stage.fills() == [(100, 1)]
    stage.show(asks={100: 0})
    stage.show(asks={100: 90})
    assert stage.fills() == [(100, 17)]


def test_r14_resting_order_partly_taken_rests_with_the_remainder(stage: Stage) -> None:
    key = stage.send(BUY, 80, 101, GTC)
    assert stage.fills(key) == [(101, 50)]
    stage.show(asks={101: 0})
    assert stage.fills() == []
    stage.trade(101, 5, -1)
    assert stage.fills() == [(101, 5)]
    stage.show(asks={101: 9})
    assert stage.fills() == [(101, 9)]


@pytest.mark.parametrize(("lots", "filled"), [(110, [(101, 50), (102, 60)]), (111, [])])
def test_r13_fill_or_kill_trades_whole_or_not_at_all(
    stage: Stage, lots: int, filled: list[tuple[int, int]]
) -> None:
    stage.send(BUY, lots, 102, FOK)
    reports = stage.broker.take_reports()
    assert [(r.fill.price_ticks, r.fill.qty_lots) for r in reports if r.fill] == filled
    if not filled:
        assert reports[-1].kind is ReportKind.EXPIRED
        assert reports[-1].reason == "fill or kill: 0.11 of 0.111 was within the limit"


def test_r13_fill_or_kill_counts_only_what_nobody_of_us_has_taken(stage: Stage) -> None:
    stage.send(BUY, 20, 101)
    stage.fills()
    stage.send(BUY, 31, 101, FOK)
    assert "0.03 of 0.031" in stage.end()[1]


def test_r13_fill_or_kill_that_would_meet_our_own_order_ends(stage: Stage) -> None:
    stage.send(SELL, 10, 101, GTC)
    stage.send(BUY, 50, 101, FOK)
    assert stage.fills() == [(101, 50)]
    stage.show(asks={101: 80})
    stage.send(BUY, 20, 101, FOK)
    assert "before our own order o1" in stage.end()[1]


def test_r21_what_stands_before_our_own_order_is_taken_first(stage: Stage) -> None:
    """Ours joins 50 at 101 and 20 come behind it: 50 trade, then ours is in the way."""
    stage.send(SELL, 30, 101, GTC)
    stage.show(asks={101: 70})
    key = stage.send(BUY, 100, 103)
    reports = [r for r in stage.broker.take_reports() if r.client_order_id == key]
    assert [(r.fill.price_ticks, r.fill.qty_lots) for r in reports if r.fill] == [(101, 50)]
    assert "it would trade with our own order o1" in reports[-1].reason


def test_r21_with_our_own_order_canceled_the_walk_goes_on() -> None:
    stage = Stage(self_trade="cancel_oldest")
    stage.send(SELL, 30, 101, GTC)
    stage.show(asks={101: 70})
    key = stage.send(BUY, 100, 103)
    assert stage.fills(key) == [(101, 50), (101, 20), (102, 30)]


def test_r21_decrement_keeps_the_place_in_the_queue() -> None:
    stage = Stage(self_trade="decrement")
    stage.send(SELL, 80, 101, GTC)
    stage.send(BUY, 60, 101)  # 50 stand before ours; 10 are taken off both
    assert stage.fills() == [(101, 50)]
    stage.trade(101, 50, 1)
    stage.trade(101, 70, 1)
    assert stage.fills() == [(101, 70)]


def test_r9_post_only_order_that_would_meet_our_own_is_rejected(stage: Stage) -> None:
    stage.show(bids={100: 0, 99: 0})
    stage.send(SELL, 10, 100, GTC)
    stage.broker.take_reports()
    stage.send(BUY, 10, 100, GTC, post_only=True)
    assert stage.end() == (ReportKind.REJECTED, "post-only: it would take")


def test_r22_a_resting_order_pays_the_maker_fee_and_a_taking_one_the_taker_fee() -> None:
    stage = Stage(sim_fee_bps=4.0, sim_maker_fee_bps=1.0)
    stage.send(BUY, 60, 101, GTC)
    stage.show(asks={101: 0})
    stage.trade(101, 10, -1)
    taken, rested = stage.full_fills()
    assert (taken.is_maker, taken.fee) == (False, Decimal("1.01") * Decimal("0.050") / 2500)
    assert (rested.is_maker, rested.fee) == (True, Decimal("1.01") * Decimal("0.010") / 10_000)


def test_a_fill_names_the_lots_that_its_order_had_chosen(stage: Stage) -> None:
    stage.send(SELL, 10, 100, closes=("f2", "f1"))
    assert [fill.closes for fill in stage.full_fills()] == [("f2", "f1")]


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
    broker = PaperBroker([stage.feed, feed], AT_ONCE)
    broker.submit(make_order("a", BUY, 10, 100, GTC), 1)
    broker.submit(make_order("b", BUY, 10, 100, GTC, instrument="DIM-USD"), 1)
    broker.advance(1)
    broker.take_reports()
    broker.on_trade(TradePrint(1, 99, 50, -1, "t", 0, 2))
    assert [report.client_order_id for report in broker.take_reports()] == ["b"]


class Pools:
    """What may yet be taken of each level, counted from what was shown alone."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._shown: dict[tuple[int, int], int] = {}
        self.left: dict[tuple[int, int], int] = {}
        self.look()

    def look(self) -> None:
        now = {(0, int(ticks)): int(lots) for ticks, lots in self._book.bids(99)}
        now |= {(1, int(ticks)): int(lots) for ticks, lots in self._book.asks(99)}
        for key in {*now, *self._shown}:
            more = now.get(key, 0) - self._shown.get(key, 0)
            self.left[key] = max(0, self.left.get(key, 0) + more)
        self._shown = now


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("show"), st.integers(0, 1), st.integers(95, 106), st.integers(0, 60)),
        st.tuples(st.just("trade"), st.integers(-1, 1), st.integers(95, 106), st.integers(1, 60)),
        st.tuples(st.sampled_from(list(TimeInForce)), st.sampled_from(list(Side)),
                  st.integers(95, 106), st.integers(1, 90)),
        st.tuples(st.just("cancel"), st.integers(1, 9), st.just(0), st.just(0)),
        st.tuples(st.just("wait"), st.just(0), st.just(0), st.integers(1, 2 * TOLD_WITHIN_NS)),
    ),
    max_size=40,
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(acts=ACTS, mode=st.sampled_from(["cancel_newest", "cancel_oldest", "decrement"]))
def test_over_all_our_orders_no_more_fills_than_was_shown_or_traded_and_at_no_better_price(
    acts: list[tuple], mode: str
) -> None:
    stage = Stage(self_trade=mode)
    pools = Pools(stage.feed.book)
    orders: dict[str, Order] = {}
    for kind, what, ticks, lots in acts:
        best = {BUY: stage.feed.book.best_ask, SELL: stage.feed.book.best_bid}
        if kind == "wait":
            stage.now_ns += lots
        elif kind == "show":
            rows = {ticks: lots}
            stage.feed.book.apply(np.array([[what, ticks, lots]], np.int64))
            pools.look()
            stage.show(**({"asks": rows} if what else {"bids": rows}))
        elif kind == "trade":
            stage.trade(ticks, lots, what)
        elif kind == "cancel":
            stage.broker.cancel(f"o{what}", stage.now_ns)
            stage.broker.advance(stage.now_ns)
        else:
            orders[f"o{stage.count + 1}"] = make_order("", what, lots, ticks, kind)
            stage.send(what, lots, ticks, kind)
        by_trade = 0
        for fill in stage.full_fills():
            order = orders[fill.client_order_id]
            sign = order.side.sign
            assert (order.limit_ticks - fill.price_ticks) * sign >= 0
            if kind == "trade":
                by_trade += fill.qty_lots
                assert fill.is_maker
                assert (fill.price_ticks - ticks) * sign >= 0
                continue
            if fill.is_maker:
                assert fill.price_ticks == order.limit_ticks
            else:
                # Never better than the best that was shown when the order came in.
                assert (fill.price_ticks - best[order.side][0]) * sign >= 0
            took_from_book(pools, fill)
        assert by_trade <= (lots if kind == "trade" else 0)


def took_from_book(pools: Pools, fill: Fill) -> None:
    """Take a fill out of what was shown; a maker's lots may stand at any price that meets it."""
    side = 1 if fill.side is BUY else 0
    left = fill.qty_lots
    within = [
        key for key, lots in pools.left.items()
        if lots and key[0] == side and (fill.price_ticks - key[1]) * fill.side.sign >= 0
    ]  # fmt: skip
    for key in sorted(within, key=lambda key: key[1] * fill.side.sign):
        if not fill.is_maker and key[1] != fill.price_ticks:
            continue
        lots = min(left, pools.left[key])
        pools.left[key] -= lots
        left -= lots
    assert left == 0
