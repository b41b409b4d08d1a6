"""One connection takes over from another: no book lost, no trade twice, none missing."""

from __future__ import annotations

import json

import pytest

from core.config import Settings
from core.feeds.coinbase_exchange import CoinbaseExchangeProtocol
from core.feeds.handover import (
    FRESH_WITHIN_NS,
    PRINTS_MAX,
    Handover,
    Renewal,
    renewal_for,
)
from core.feeds.held import HELD_BYTES_MAX, HeldRecords
from core.feeds.registry import protocol_for
from core.model.market import BookMoved, FeedCause, FeedState, FeedStateChanged, TradePrint
from tests.core.feeds import wire
from tests.core.feeds.test_connection import NAMES
from tests.core.feeds.wire import MS, T0, S, instrument

BOOK = [("bid", "99.00", "1"), ("offer", "100.01", "1.5")]
SETTLE_NS = 100 * MS


def coinbase_frames(first: int, trade_ids: list[int], bid: str = "99.00") -> list[bytes]:
    """Return a snapshot and one frame a trade, numbered by the connection from ``first`` on."""
    levels = [("bid", bid, "1"), *BOOK[1:]]
    frames = [wire.l2(first, "snapshot", levels, "BTC-USD")]
    return frames + [
        wire.market_trades(first + n, "update", [(str(i), "99.5", "0.5", "BUY")])
        for n, i in enumerate(trade_ids, 1)
    ]


class Two:
    """An old protocol and a handover to a new one, of Coinbase, fed by hand."""

    def __init__(self, old_ids: list[int], new_ids: list[int], new_bid: str = "99.00") -> None:
        self.old = wire.coinbase()
        self.handover = Handover(Renewal(0, wire.coinbase, settle_ns=SETTLE_NS))
        self.heir = self.handover.heir
        for frame in coinbase_frames(50, old_ids):
            self.old.receive(frame, T0)
        for frame in coinbase_frames(0, new_ids, new_bid):
            self.warm(frame)

    def warm(self, frame: bytes, now_ns: int = T0) -> None:
        outputs = self.heir.receive(frame, now_ns)
        self.handover.take([each for each in outputs if isinstance(each, EVENTS)], now_ns)

    def is_ready(self, now_ns: int) -> bool:
        return self.handover.is_ready(self.old, now_ns)


EVENTS = (BookMoved, TradePrint, FeedStateChanged)


def test_new_connection_must_be_live_for_a_while_before_it_takes_over():
    two = Two([7], [])
    assert not two.is_ready(T0)
    assert not two.is_ready(T0 + SETTLE_NS - 1)
    assert two.is_ready(T0 + SETTLE_NS)


def test_new_connection_without_every_live_book_does_not_take_over():
    old = wire.coinbase("BTC-USD", "ETH-USD")
    handover = Handover(Renewal(0, lambda: wire.coinbase("BTC-USD", "ETH-USD"), settle_ns=0))
    for protocol in (old, handover.heir):
        protocol.receive(wire.l2(0, "snapshot", BOOK, "BTC-USD"), T0)
    assert handover.is_ready(old, T0)
    old.receive(wire.l2(1, "snapshot", BOOK, "ETH-USD"), T0)
    assert not handover.is_ready(old, T0)
    handover.heir.receive(wire.l2(1, "snapshot", BOOK, "ETH-USD"), T0)
    assert handover.is_ready(old, T0)


def test_doubt_on_the_way_starts_the_while_anew():
    two = Two([7], [])
    assert not two.is_ready(T0)
    two.warm(wire.l2(5, "update", [], "BTC-USD"), T0 + MS)
    assert not two.is_ready(T0 + SETTLE_NS)
    two.warm(wire.l2(6, "snapshot", BOOK, "BTC-USD"), T0 + SETTLE_NS)
    assert not two.is_ready(T0 + SETTLE_NS)
    assert two.is_ready(T0 + 2 * SETTLE_NS)


def test_trades_between_the_two_connections_are_waited_for():
    two = Two([7], [10])
    two.is_ready(T0)
    assert not two.is_ready(T0 + SETTLE_NS)
    two.old.receive(wire.market_trades(52, "update", [("9", "99.5", "0.5", "BUY")]), T0)
    assert two.is_ready(T0 + SETTLE_NS)


def test_book_does_not_go_back_in_time_unless_nothing_else_can_be_had():
    two = Two([7], [7])
    late = wire.channel(52, "l2_data", [{"type": "update", "product_id": "BTC-USD", "updates": []}])
    two.old.receive(late.replace(b"48.5Z", b"48.9Z"), T0)
    two.is_ready(T0)
    assert not two.is_ready(T0 + SETTLE_NS)
    assert not two.is_ready(T0 + SETTLE_NS + FRESH_WITHIN_NS)
    assert two.is_ready(T0 + SETTLE_NS + FRESH_WITHIN_NS + 1)


def test_taking_over_prints_exactly_the_trades_that_the_old_one_had_not():
    two = Two(old_ids=[7, 8, 9], new_ids=[8, 9, 10, 11])
    _, outputs = two.handover.replace(two.old, T0 + S)
    assert [each.trade_id for each in wire.trades(outputs)] == ["10", "11"]
    assert {each.ts_recv_ns for each in wire.trades(outputs)} == {T0 + S}
    assert two.old.instruments[0].trades == 5
    again = two.heir.receive(
        wire.market_trades(5, "update", [("11", "99.5", "0.5", "BUY")]), T0 + S
    )
    assert wire.trades(again) == []


def test_trades_that_only_the_old_one_was_quick_enough_to_print_are_not_printed_again():
    two = Two(old_ids=[7, 8, 9], new_ids=[7])
    two.handover.replace(two.old, T0 + S)
    late = [("9", "99.5", "0.5", "BUY"), ("8", "99.5", "0.5", "BUY")]
    assert wire.trades(two.heir.receive(wire.market_trades(2, "update", late), T0 + S)) == []
    new = two.heir.receive(wire.market_trades(3, "update", [("10", "99.5", "0.5", "BUY")]), T0 + S)
    assert [each.trade_id for each in wire.trades(new)] == ["10"]


def test_feeds_and_counters_stay_the_objects_that_others_hold():
    two = Two([7], [7], new_bid="99.50")
    feeds, feed, counters = two.old.instruments, two.old.instruments[0], two.old.counters
    frames = counters.frames + two.heir.counters.frames
    _, outputs = two.handover.replace(two.old, T0 + S)
    assert two.heir.instruments is feeds
    assert two.heir.instruments[0] is feed
    assert two.heir.counters is counters
    assert counters.frames == frames
    assert wire.best(two.heir) == ("99.5", "100.01")
    assert [type(each) for each in outputs] == [BookMoved]


def test_each_connection_keeps_its_own_sequence():
    # The old one was at 51 and the new one at 1: neither a gap nor a repeat.
    two = Two([7], [7])
    two.handover.replace(two.old, T0 + S)
    two.heir.receive(wire.l2(2, "update", [("bid", "99.90", "1")], "BTC-USD"), T0 + S)
    assert wire.best(two.old) == ("99.9", "100.01")
    assert (two.old.counters.gaps, two.old.counters.resyncs) == (0, 0)


def test_new_connection_that_is_not_live_yet_makes_doubt_visible_when_the_old_one_is_lost():
    two = Two([7], [])
    two.heir.on_open(T0)
    _, outputs = two.handover.replace(two.old, T0 + S)
    assert wire.states(outputs) == [FeedState.BUFFERING]
    assert two.old.instruments[0].book.size() == (0, 0)
    outputs = two.heir.receive(wire.l2(0, "snapshot", BOOK, "BTC-USD"), T0 + S)
    assert wire.states(outputs) == [FeedState.LIVE]
    assert two.old.counters.resyncs == 1


def test_live_book_takes_the_place_of_one_in_doubt_and_says_so():
    two = Two([7], [])
    two.old.receive(wire.l2(90, "update", [], "BTC-USD"), T0)
    assert wire.state(two.old) is FeedState.RESYNCING
    _, outputs = two.handover.replace(two.old, T0 + S)
    changes = [each for each in outputs if isinstance(each, FeedStateChanged)]
    assert [each.cause for each in changes] == [FeedCause.TAKEN_OVER]
    assert wire.state(two.old) is FeedState.LIVE


LIVE_FRAMES = {
    "coinbase": [wire.l2(0, "snapshot", BOOK, "BTC-USD")],
    "coinbase-exchange": [
        b'{"type":"snapshot","product_id":"BTC-USD",'
        b'"bids":[["99.00","1"]],"asks":[["100.01","1.5"]]}'
    ],
    "binance": [wire.depth(101, 101, bids=[["99.00", "1"]], asks=[["100.01", "1.5"]])],
}
NEXT_FRAMES = {
    "coinbase": wire.l2(1, "update", [("bid", "99.75", "2")], "BTC-USD"),
    "coinbase-exchange": b'{"type":"l2update","product_id":"BTC-USD",'
    b'"changes":[["buy","99.75","2"]]}',
    "binance": wire.depth(102, 102, bids=[["99.75", "2"]]),
}


@pytest.mark.parametrize("venue", LIVE_FRAMES)
def test_every_venue_goes_on_in_the_feeds_it_took_over(venue):
    def live():
        protocol = protocol_for(venue, [instrument(venue, NAMES[venue])], wire.settings())
        protocol.on_open(T0)
        if venue == "binance":
            protocol.on_http(wire.depth_url(), wire.snapshot(100, [], []), T0)
        for frame in LIVE_FRAMES[venue]:
            protocol.receive(frame, T0)
        assert wire.state(protocol) is FeedState.LIVE
        return protocol

    old = live()
    handover = Handover(Renewal(0, live))
    held = old.instruments[0]
    handover.replace(old, T0 + S)
    handover.heir.receive(NEXT_FRAMES[venue], T0 + S)
    assert held.book.best_bid == (9_975, held.instrument.lots("2"))
    assert held.last_recv_ns == T0 + S
    frames = old.counters.frames
    handover.heir.on_close("gone", T0 + 2 * S)
    assert held.state is FeedState.CONNECTING
    assert held.book.size() == (0, 0)
    assert frames == 3


def age_of(venue: str, **ages_s: int) -> int | None:
    renewal = renewal_for(venue, wire.settings(**ages_s), wire.coinbase)
    assert renewal is not None
    return renewal.after_ns


def test_connections_are_renewed_at_the_age_that_is_set_where_there_is_a_reason():
    assert age_of("binance", renew_after_s=60) == 60 * S
    assert age_of("coinbase-exchange", refresh_after_s=70) == 70 * S
    assert age_of("coinbase", renew_after_s=60, refresh_after_s=70) is None
    assert renewal_for("alpaca", Settings(), wire.coinbase) is None


def test_book_that_is_wrong_unseen_is_right_again_behind_a_new_connection():
    def exchange() -> CoinbaseExchangeProtocol:
        return CoinbaseExchangeProtocol([instrument("coinbase-exchange", "BTC-USD")], Settings())

    old = exchange()
    handover = Handover(Renewal(None, exchange, settle_ns=0))
    levels = [["99.00", "1"], ["90.00", "2"]]
    for protocol, bids in ((old, levels), (handover.heir, levels[:1])):
        text = {"type": "snapshot", "product_id": "BTC-USD", "bids": bids, "asks": [["100", "1"]]}
        protocol.on_open(T0)
        protocol.receive(json.dumps(text).encode(), T0)
    # The level at 90 was removed by a message that never came; no trade and no best price shows it.
    (feed,) = old.instruments
    assert (feed.state, feed.book.size()) == (FeedState.LIVE, (2, 1))
    assert handover.is_ready(old, T0)
    new, outputs = handover.replace(old, T0)
    assert (feed.state, feed.book.size()) == (FeedState.LIVE, (1, 1))
    assert new.instruments[0] is feed
    assert [each for each in outputs if isinstance(each, FeedStateChanged)] == []


def test_what_outgrows_its_bounds_never_takes_over():
    two = Two([7], [7])
    assert two.handover.trouble() == ""
    two.handover.prints *= PRINTS_MAX + 1
    assert "trades" in two.handover.trouble()
    two.handover.records.received(T0, bytes(HELD_BYTES_MAX + 1))
    assert "frames" in two.handover.trouble()


def test_held_records_are_told_in_order_as_of_the_handover():
    told = []

    class Recorder:
        def __getattr__(self, name):
            return lambda *values: told.append((name, *values))

    records = HeldRecords()
    records.opened(1, "ws://venue")
    records.sent(2, "subscribe")
    records.received(3, b"frame")
    records.fetched(4, "http://venue", b"body")
    records.closed(5, "over")
    records.tell(Recorder(), 9)
    assert told == [
        ("opened", 9, "ws://venue"),
        ("sent", 9, "subscribe"),
        ("received", 9, b"frame"),
        ("fetched", 9, "http://venue", b"body"),
        ("closed", 9, "over"),
    ]
    records.tell(Recorder(), 9)
    assert len(told) == 5
