"""Coinbase Exchange: books without a sequence, matches by the maker's side."""

from __future__ import annotations

import json

import pytest

from core.feeds.coinbase_exchange import CoinbaseExchangeProtocol
from core.model.market import FeedState
from tests.core.feeds.wire import MS, T0, S, best, instrument, sent, settings, state, trades


def opened(**feed):
    protocol = CoinbaseExchangeProtocol(
        [instrument("coinbase-exchange", name) for name in ("BTC-USD", "ETH-USD")], settings(**feed)
    )
    protocol.on_open(T0)
    return protocol


def frame(kind, name="BTC-USD", **fields):
    return json.dumps({"type": kind, "product_id": name, **fields}).encode()


def live():
    protocol = opened(backoff_first_ms=100)
    for name in ("BTC-USD", "ETH-USD"):
        book = {"bids": [["100", "1"], ["99.5", "2"]], "asks": [["101", "1.5"]]}
        protocol.receive(frame("snapshot", name, **book), T0)
    return protocol


def match(trade_id, side, kind="match"):
    return frame(kind, trade_id=trade_id, side=side, size="0.5", price="100.5", time="bad")


def test_snapshot_then_updates_make_the_book():
    protocol = live()
    changes = [["buy", "100", "0.00000000"], ["sell", "100.9", "1"]]
    protocol.receive(frame("l2update", changes=changes, time="2021-04-17T16:43:37Z"), T0)
    assert best(protocol) == ("99.5", "100.9")
    assert protocol.instruments[0].last_event_ns == 1_618_677_817_000_000_000


def test_update_before_the_snapshot_is_ignored():
    protocol = opened()
    protocol.receive(frame("l2update", changes=[["buy", "100", "1"]]), T0)
    assert state(protocol) is FeedState.BUFFERING
    assert protocol.counters.ignored == 1


def test_side_of_a_match_is_the_makers():
    protocol = live()
    outputs = protocol.receive(match(1, "sell"), T0) + protocol.receive(match(2, "buy"), T0)
    assert [each.aggressor for each in trades(outputs)] == [1, -1]


def test_last_match_is_not_a_live_print():
    protocol = live()
    assert trades(protocol.receive(match(1, "sell", "last_match"), T0)) == []
    assert protocol.instruments[0].trades == 0


def test_repeated_match_is_counted_once():
    protocol = live()
    for _ in range(2):
        protocol.receive(match(1, "sell"), T0)
    assert protocol.instruments[0].trades == 1


@pytest.mark.parametrize("change", [["buy", "100.001", "1"], ["hold", "100", "1"], ["buy", "1"]])
def test_refused_change_applies_nothing_and_resubscribes_that_book_alone(change):
    protocol = live()
    protocol.receive(frame("l2update", changes=[["buy", "100.5", "1"], change]), T0)
    assert [state(protocol, n) for n in (0, 1)] == [FeedState.RESYNCING, FeedState.LIVE]
    assert protocol.counters.refused == 1
    asked = sent(protocol.on_time(T0 + 100 * MS))
    assert [(each["type"], each["product_ids"]) for each in asked] == [
        ("unsubscribe", ["BTC-USD"]),
        ("subscribe", ["BTC-USD"]),
    ]


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff", b""])
def test_frame_that_cannot_be_read_costs_every_book(data):
    # It may have been of any book, and there is no number to show that one is missing.
    protocol = live()
    protocol.receive(data, T0)
    assert protocol.counters.refused == 1
    assert [state(protocol, n) for n in (0, 1)] == [FeedState.RESYNCING] * 2
    assert len(sent(protocol.on_time(T0 + 30 * S))) == 4


@pytest.mark.parametrize("data", [b'{"type":"match","product_id":"BTC-USD"}', match(1, "none")])
def test_bad_frame_is_counted_and_never_raised(data):
    protocol = live()
    protocol.receive(data, T0)
    assert protocol.counters.refused == 1
    assert state(protocol) is FeedState.LIVE


def test_unknown_type_is_ignored_and_other_products_are_refused():
    protocol = live()
    protocol.receive(frame("auction"), T0)
    protocol.receive(frame("l2update", "DOGE-USD", changes=[]), T0)
    assert (protocol.counters.ignored, protocol.counters.refused) == (1, 1)


def test_error_frame_is_the_reason_of_what_is_not_live():
    protocol = opened()
    protocol.receive(b'{"type":"error","message":"Failed","reason":"no auth"}', T0)
    assert protocol.instruments[0].reason == "the venue said: Failed no auth"


def test_subscription_needs_no_key():
    (asked,) = sent(opened().on_open(T0))
    assert asked["channels"] == ["level2_batch", "matches", "heartbeat"]
