"""What holds for every venue whatever the wire brings."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.feeds.connection import BELIEVED
from core.feeds.registry import protocol_for
from core.model.market import BookMoved, FeedState
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
