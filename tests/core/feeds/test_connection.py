"""What holds for every venue whatever the wire brings."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config import Settings
from core.desk import Desk
from core.feeds.registry import protocol_for
from core.feeds.states import BELIEVED
from core.model.market import BookMoved, FeedCause, FeedState
from tests.core.feeds import wire
from tests.core.feeds.wire import MS, T0, S, instrument

LEVELS = [("bid", "100.5", "1"), ("offer", "101", "1.5")]
NAMES = {
    "binance": "BTCUSDT",
    "coinbase": "BTC-USD",
    "coinbase-exchange": "BTC-USD",
    "alpaca": "IBM",
}
FRAMES = {
    "binance": [
        wire.depth(101, 101, bids=[["100.00", "1.0"]], asks=[["101.00", "1.0"]]),
        wire.depth(102, 103, bids=[["100.00", "0.0"]]),
        wire.trade(7, "100.00", "1.0", seller_took=True),
        wire.ticker(103, ["100.00", "1.0"], ["101.00", "1.0"]),
    ],
    "coinbase": [
        wire.l2(0, "snapshot", LEVELS, "BTC-USD"),
        wire.l2(1, "update", LEVELS, "BTC-USD"),
        wire.market_trades(2, "update", [("7", "100", "1", "BUY")]),
    ],
    "coinbase-exchange": [
        b'{"type":"snapshot","product_id":"BTC-USD","bids":[["100","1"]],"asks":[["101","1"]]}',
        b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","100.5","1"]]}',
        b'{"type":"match","product_id":"BTC-USD","trade_id":7,"side":"buy","size":"1","price":"1"}',
    ],
    "alpaca": [
        b'[{"T":"q","S":"IBM","bp":1.5,"bs":1,"ap":1.75,"as":2},'
        b'{"T":"t","S":"IBM","i":1,"p":1.5,"s":1}]',
    ],
}


def opened(venue):
    protocol = protocol_for(venue, [instrument(venue, NAMES[venue])], wire.settings())
    protocol.on_open(T0)
    return protocol


@pytest.mark.slow
@pytest.mark.parametrize("venue", FRAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_mutated_frames_never_raise_and_never_leave_levels_nobody_believes(venue, data):
    protocol = opened(venue)
    snapshot = wire.snapshot(100, [["99.00", "1.0"]], [["101.00", "1.0"]])
    bodies = [*FRAMES[venue], snapshot]
    n_frames = data.draw(st.integers(1, 8))
    for n in range(n_frames):
        body = bytearray(data.draw(st.sampled_from(bodies)))
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(0, len(body) - 1))
            body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
            body = body or bytearray(b" ")
        if data.draw(st.booleans()):
            outputs = protocol.receive(bytes(body), T0 + n)
        else:
            outputs = protocol.on_http(wire.depth_url(), bytes(body), T0 + n)
        feed = protocol.instruments[0]
        moved = [each for each in outputs if isinstance(each, BookMoved)]
        assert not moved or feed.state in BELIEVED
        assert feed.state in BELIEVED or feed.book.size() == (0, 0)
        assert -(2**63) <= feed.last_event_ns < 2**63


@pytest.mark.parametrize("venue", FRAMES)
def test_every_venue_follows_the_same_life(venue):
    protocol = protocol_for(venue, [instrument(venue, NAMES[venue])], wire.settings())
    feed = protocol.instruments[0]
    assert feed.state is FeedState.CONNECTING
    assert protocol.on_time(T0) == []
    protocol.on_open(T0)
    assert feed.state is FeedState.BUFFERING
    if venue == "binance":
        protocol.on_http(wire.depth_url(), wire.snapshot(100, [], []), T0)
    protocol.receive(FRAMES[venue][0], T0)
    assert feed.state is FeedState.LIVE
    assert feed.last_recv_ns == T0
    protocol.on_time(T0 + 5 * S + MS)
    assert feed.state is FeedState.STALE
    protocol.receive(b"[]" if venue == "alpaca" else b"{}", T0 + 6 * S)
    assert feed.state is FeedState.LIVE
    protocol.on_close("cut", T0 + 7 * S)
    assert (feed.state, feed.reason) == (FeedState.CONNECTING, "disconnected: cut")
    assert feed.book.size() == (0, 0)
    assert protocol.on_time(T0 + 60 * S) == []


@pytest.mark.parametrize("venue", FRAMES)
def test_same_frames_give_the_same_events(venue):
    first, second = opened(venue), opened(venue)
    for n, frame in enumerate(FRAMES[venue]):
        assert first.receive(frame, T0 + n) == second.receive(frame, T0 + n)


# --- doubt, as every venue knows it


def live_coinbase(*levels):
    protocol = wire.coinbase(crossed_after_ms=1_000)
    protocol.receive(wire.l2(0, "snapshot", list(levels or LEVELS), "BTC-USD"), T0)
    return protocol


def crossing(number, lots="1"):
    return wire.l2(number, "update", [("bid", "101", lots)], "BTC-USD")


def told_at(protocol, ms, number=None, name="subscriptions"):
    return protocol.receive(wire.channel(number, name, []), T0 + ms * MS)


def test_crossed_book_is_not_doubted_while_nothing_comes():
    # Silence is another fault, with a remedy of its own.
    protocol = live_coinbase()
    protocol.receive(crossing(1), T0)
    protocol.on_time(T0 + 4 * S)
    assert protocol.instruments[0].state is FeedState.LIVE


def test_book_that_uncrosses_is_live_again_and_the_next_crossing_starts_at_zero():
    protocol = live_coinbase()
    feed = protocol.instruments[0]
    protocol.receive(crossing(1), T0)
    told_at(protocol, 1_500, 2)
    assert feed.state is FeedState.SUSPECT
    protocol.receive(crossing(3, "0"), T0 + 1_600 * MS)
    assert feed.state is FeedState.LIVE
    protocol.receive(crossing(4), T0 + 1_700 * MS)
    told_at(protocol, 2_600, 5)
    assert feed.state is FeedState.LIVE


def test_book_that_comes_crossed_in_its_snapshot_is_suspect_and_not_asked_for_again():
    protocol = live_coinbase(("bid", "101", "1"), ("offer", "101", "1"))
    for n in range(1, 60):
        told_at(protocol, n * 1_000, n)
        assert wire.sent(protocol.on_time(T0 + n * S)) == []
    feed = protocol.instruments[0]
    assert feed.state is FeedState.SUSPECT
    protocol.receive(crossing(60, "0"), T0 + 60 * S)
    assert feed.state is FeedState.LIVE


def test_doubt_that_nothing_settles_is_settled_by_a_snapshot():
    protocol = live_coinbase()
    feed = protocol.instruments[0]
    protocol._doubt([], 0, FeedCause.CHECK_FAILED, "doubt", T0)
    for n in range(1, 16):
        told_at(protocol, n * 1_000, n)
        protocol.on_time(T0 + n * S)
        assert feed.state is FeedState.SUSPECT
    told_at(protocol, 16_000, 16)
    protocol.on_time(T0 + 16 * S)
    assert feed.state is FeedState.RESYNCING
    assert feed.reason == "doubt, for too long"
    assert len(wire.sent(protocol.on_time(T0 + 17 * S))) == 2


def test_relief_from_another_doubt_changes_nothing():
    protocol = live_coinbase()
    protocol._doubt([], 0, FeedCause.CROSSED, "doubt", T0)
    protocol._relieve([], 0, FeedCause.CHECK_FAILED, FeedCause.CHECK_PASSED, T0)
    assert protocol.instruments[0].state is FeedState.SUSPECT


def test_suspect_book_keeps_its_levels_and_lets_nothing_new_be_risked():
    protocol = live_coinbase()
    protocol._doubt([], 0, FeedCause.CROSSED, "doubt", T0)
    desk = Desk(0, protocol.instruments[0], Settings(), None)
    assert protocol.instruments[0].book.size() == (1, 1)
    assert not desk.is_live


@pytest.mark.parametrize(("counters", "lost"), [((1, 2, 3), 0), ((1, 5), 3), ((5, 1, 2), 0)])
def test_heartbeats_that_the_connection_lost_are_counted(counters, lost):
    protocol = wire.coinbase()
    for n, counter in enumerate(counters):
        events = [{"current_time": "2026-08-09", "heartbeat_counter": counter}]
        protocol.receive(wire.channel(n, "heartbeats", events), T0)
    assert protocol.counters.heartbeats_lost == lost
    protocol.on_open(T0)
    events = [{"heartbeat_counter": "90"}]
    protocol.receive(wire.channel(0, "heartbeats", events), T0)
    assert protocol.counters.heartbeats_lost == lost
    assert protocol.counters.refused == 0
