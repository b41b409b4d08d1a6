"""The protocol of the simulated venue: books equal the market's, and doubt is said aloud."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config import Settings
from core.feeds.protocol import FeedProtocol
from core.feeds.sim import SimProtocol
from core.model.market import BookMoved, FeedState, FeedStateChanged, Reconnect, TradePrint
from core.sim.market import SimMarket, sim_instrument
from core.sim.venue import SimVenue

START_NS = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


def opened() -> SimProtocol:
    protocol = SimProtocol([sim_instrument()], Settings())
    protocol.on_open(START_NS)
    return protocol


def frame(kind: str = "update", seq: int = 1, **changes: Any) -> bytes:
    told: dict[str, Any] = {
        "type": kind,
        "seq": seq,
        "ts": START_NS,
        "instrument": "SIM-USD",
        "bids": [],
        "asks": [],
        "trades": [],
    }
    return json.dumps(told | changes).encode()


def snapshot(seq: int = 1) -> bytes:
    return frame("snapshot", seq, bids=[["99.99", "1.5"]], asks=[["100.01", "2"]])


def live() -> SimProtocol:
    protocol = opened()
    protocol.receive(snapshot(), START_NS)
    return protocol


def test_it_is_a_feed_protocol() -> None:
    protocol: FeedProtocol = opened()
    assert protocol.venue == "sim"
    assert protocol.url()
    assert protocol.on_http("", b"", START_NS) == []
    assert protocol.on_http_failed("", "", START_NS) == []


def test_book_and_volumes_equal_those_of_the_market() -> None:
    market = SimMarket(sim_instrument(), 7, start_ns=START_NS)
    venue = SimVenue([market])
    protocol = opened()
    venue.connect(START_NS)
    told = 0
    for ns, data in venue.run_until(START_NS + 30 * SECOND):
        told += len(json.loads(data)["trades"])
        protocol.receive(data, ns)
    feed = protocol.instruments[0]
    assert feed.state is FeedState.LIVE
    for side in (0, 1):
        assert feed.book.levels(side) == {lvl.ticks: lvl.lots for lvl in market.levels(side)}
    assert feed.trades == told > 0
    assert feed.buy_lots > 0
    assert feed.sell_lots > 0
    assert feed.unknown_lots == 0
    assert protocol.counters.refused == protocol.counters.gaps == feed.crossed == 0


def test_snapshot_makes_the_book_live_and_trades_carry_their_aggressor() -> None:
    protocol = opened()
    assert protocol.instruments[0].state is FeedState.BUFFERING
    out = protocol.receive(snapshot(), START_NS)
    assert [type(each) for each in out] == [FeedStateChanged, BookMoved]
    out = protocol.receive(
        frame(seq=2, asks=[["100.01", "1"]], trades=[["100.01", "1", "buy", "5"]]), START_NS + 9
    )
    assert out == [
        TradePrint(0, 10_001, 1_000, 1, "5", START_NS, START_NS + 9),
        BookMoved(0, START_NS, START_NS + 9),
    ]
    feed = protocol.instruments[0]
    assert feed.book.best_ask == (10_001, 1_000)
    assert (feed.buy_lots, feed.sell_lots, feed.last_trade_ticks) == (1_000, 0, 10_001)


def test_gap_makes_book_resync_until_the_next_snapshot() -> None:
    protocol = live()
    out = protocol.receive(frame(seq=3, bids=[["99.98", "1"]]), START_NS)
    feed = protocol.instruments[0]
    assert feed.state is FeedState.RESYNCING
    assert any(isinstance(each, Reconnect) for each in out)
    assert feed.book.best_bid is None
    assert protocol.receive(frame(seq=4, bids=[["99.98", "1"]]), START_NS) == []
    protocol.receive(snapshot(9), START_NS)
    assert feed.state is FeedState.LIVE
    assert (protocol.counters.gaps, protocol.counters.resyncs) == (1, 1)
    protocol.receive(frame(seq=10, bids=[["99.98", "1"]]), START_NS)
    assert feed.book.lots_at(0, 9_998) == 1_000


def test_frame_sent_twice_is_a_gap_not_a_second_helping() -> None:
    protocol = live()
    again = frame(seq=2, trades=[["100.01", "1", "buy", "5"]])
    protocol.receive(again, START_NS)
    protocol.receive(again, START_NS)
    assert protocol.instruments[0].trades == 1
    assert protocol.instruments[0].state is FeedState.RESYNCING


@pytest.mark.parametrize(
    "bad",
    [
        {"bids": [["99.985", "1"]]},
        {"bids": [["99.98", "-1"]]},
        {"asks": [["1e2", "1"]]},
        {"asks": [[100, 1]]},
        {"trades": [["99.985", "1", "buy", "5"]]},
        {"trades": [["99.98", "0", "buy", "5"]]},
    ],
)
def test_frame_with_a_value_off_the_grid_changes_nothing_and_resyncs(bad: dict[str, Any]) -> None:
    protocol = live()
    protocol.receive(frame(seq=2, **({"bids": [["99.97", "1"]]} | bad)), START_NS)
    feed = protocol.instruments[0]
    assert feed.state is FeedState.RESYNCING
    assert feed.trades == 0
    assert protocol.counters.refused == 1
    protocol.receive(snapshot(3), START_NS)
    assert protocol.counters.resyncs == 1


@pytest.mark.parametrize(
    "bad",
    [b"", b"{", b"\xff\xfe", b"[]", frame(instrument="ELSE-USD"), frame(seq="1"),
     frame(trades=[["1", "1", "seller", "5"]])],
)  # fmt: skip
def test_bytes_that_are_no_frame_are_counted_and_shown_as_a_gap_next(bad: bytes) -> None:
    protocol = live()
    assert protocol.receive(bad, START_NS) == []
    assert protocol.counters.refused == 1
    assert protocol.instruments[0].state is FeedState.LIVE
    protocol.receive(frame(seq=3), START_NS)
    assert protocol.instruments[0].state is FeedState.RESYNCING


def test_frame_of_another_kind_is_ignored() -> None:
    protocol = live()
    assert protocol.receive(frame("heartbeat"), START_NS) == []
    assert protocol.counters.ignored == 1


def test_silence_makes_the_book_stale_and_the_next_frame_live_again() -> None:
    protocol = live()
    late_ns = START_NS + 6 * SECOND
    assert protocol.on_time(START_NS + 4 * SECOND) == []
    out = protocol.on_time(late_ns)
    assert [each.state for each in out if isinstance(each, FeedStateChanged)] == [FeedState.STALE]
    assert protocol.on_time(late_ns + 1) == []
    protocol.receive(frame(seq=2, bids=[["99.98", "1"]]), late_ns)
    assert protocol.instruments[0].state is FeedState.LIVE
    assert protocol.counters.resyncs == 0


def test_closed_connection_leaves_no_book_to_believe() -> None:
    protocol = live()
    protocol.on_close("venue went away", START_NS)
    assert protocol.instruments[0].state is FeedState.CONNECTING
    assert protocol.instruments[0].reason == "venue went away"
    assert protocol.receive(frame(seq=2), START_NS) == []
    protocol.on_open(START_NS)
    protocol.receive(snapshot(1), START_NS)
    assert protocol.counters.resyncs == 1


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutated_frames_raise_nothing(data: st.DataObject) -> None:
    protocol = live()
    good = bytearray(frame(seq=2, bids=[["99.98", "1"]], trades=[["99.98", "1.25", "sell", "7"]]))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(good) - 1))
        good[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    protocol.receive(bytes(good), START_NS)
    assert protocol.instruments[0].state in {FeedState.LIVE, FeedState.RESYNCING}
