"""Coinbase Advanced Trade: one sequence a connection, books, trades, labels."""

from __future__ import annotations

import json

import pytest

from core.model.market import FeedState
from tests.core.feeds.wire import (
    MS,
    T0,
    S,
    best,
    channel,
    coinbase,
    l2,
    market_trades,
    reconnects,
    sent,
    state,
    states,
    trades,
)

LEVELS = [("bid", "100.5", "1"), ("bid", "99", "2"), ("offer", "101", "1.5")]


def live(*names, **feed):
    """Return a protocol whose books are live; its sequence stands at the last name's number."""
    names = names or ("BTC-USD",)
    protocol = coinbase(*names, **feed)
    for number, name in enumerate(names):
        protocol.receive(l2(number, "snapshot", LEVELS, name), T0)
    return protocol


def test_snapshot_makes_book_live_and_updates_are_absolute():
    protocol = live()
    assert best(protocol) == ("100.5", "101")
    protocol.receive(l2(1, "update", [("bid", "100.5", "0"), ("offer", "101", "3")], "BTC-USD"), T0)
    assert best(protocol) == ("99", "101")
    assert protocol.instruments[0].book.best_ask == (10_100, 300_000_000)


def test_removal_of_an_unknown_level_is_normal():
    protocol = live()
    protocol.receive(l2(1, "update", [("bid", "50", "0")], "BTC-USD"), T0)
    assert state(protocol) is FeedState.LIVE


def test_empty_update_keeps_the_book():
    protocol = live()
    protocol.receive(l2(1, "update", [], "BTC-USD"), T0)
    assert best(protocol) == ("100.5", "101")


def test_each_channel_is_subscribed_by_its_own_message():
    outputs = coinbase("BTC-USD", "ETH-USD").on_open(T0)
    assert [each["channel"] for each in sent(outputs)] == ["level2", "market_trades", "heartbeats"]
    assert all(each["product_ids"] == ["BTC-USD", "ETH-USD"] for each in sent(outputs))


def test_sequence_is_one_over_all_channels_and_products():
    protocol = live("BTC-USD", "ETH-USD")
    protocol.receive(channel(2, "heartbeats", [{"heartbeat_counter": 1}]), T0)
    protocol.receive(channel(3, "subscriptions", []), T0)
    protocol.receive(l2(4, "update", [], "ETH-USD"), T0)
    assert protocol.counters.gaps == 0


def test_sequence_gap_makes_every_book_resync_and_asks_for_one_new_connection():
    protocol = live("BTC-USD", "ETH-USD")
    outputs = protocol.receive(channel(3, "heartbeats", []), T0)
    outputs += protocol.receive(channel(9, "heartbeats", []), T0)
    assert [state(protocol, n) for n in (0, 1)] == [FeedState.RESYNCING] * 2
    assert (best(protocol, 0), best(protocol, 1)) == (None, None)
    assert protocol.counters.gaps == 2
    assert reconnects(outputs) == ["frames 2 to 2 were lost"]


def test_book_heals_by_a_snapshot_on_the_same_connection():
    protocol = live()
    protocol.receive(channel(5, "heartbeats", []), T0)
    protocol.receive(l2(6, "update", [("bid", "100.6", "1")], "BTC-USD"), T0)
    assert best(protocol) is None
    protocol.receive(l2(7, "snapshot", LEVELS, "BTC-USD"), T0)
    assert best(protocol) == ("100.5", "101")
    assert (protocol.counters.gaps, protocol.counters.resyncs) == (1, 1)


@pytest.mark.parametrize("number", [0, 1])
def test_repeated_or_lower_sequence_is_ignored_and_counted(number):
    protocol = live()
    protocol.receive(channel(1, "heartbeats", []), T0)
    protocol.receive(l2(number, "update", [("bid", "100.9", "1")], "BTC-USD"), T0)
    assert best(protocol) == ("100.5", "101")
    assert (protocol.counters.ignored, protocol.counters.gaps) == (1, 0)


def test_sequence_starts_anew_with_each_connection():
    protocol = live()
    protocol.on_close("cut", T0)
    protocol.on_open(T0)
    protocol.receive(l2(0, "snapshot", LEVELS, "BTC-USD"), T0)
    assert state(protocol) is FeedState.LIVE
    assert (protocol.counters.gaps, protocol.counters.resyncs) == (0, 1)


@pytest.mark.parametrize(
    "level", [("bid", "100.001", "1"), ("bid", "100", "0.000000001"), ("ask", "100", "1")]
)
def test_refused_level_applies_nothing_and_resubscribes_that_book_alone(level):
    protocol = live("BTC-USD", "ETH-USD", backoff_first_ms=100)
    frame = l2(2, "update", [("bid", "100.7", "1"), level], "BTC-USD")
    assert sent(protocol.receive(frame, T0)) == []
    assert [state(protocol, n) for n in (0, 1)] == [FeedState.RESYNCING, FeedState.LIVE]
    assert protocol.counters.refused == 1
    assert sent(protocol.on_time(T0 + 99 * MS)) == []
    asked = sent(protocol.on_time(T0 + 100 * MS))
    assert [(each["type"], each["product_ids"]) for each in asked] == [
        ("unsubscribe", ["BTC-USD"]),
        ("subscribe", ["BTC-USD"]),
    ]
    assert sent(protocol.on_time(T0 + 200 * MS)) == []


def test_every_refusal_of_a_snapshot_waits_longer():
    protocol = coinbase(backoff_first_ms=100, backoff_max_ms=300)
    for number, wait_ms in enumerate([100, 200, 300, 300]):
        protocol.receive(l2(number, "snapshot", [("bid", "1.001", "1")], "BTC-USD"), T0)
        assert sent(protocol.on_time(T0 + (wait_ms - 1) * MS)) == []
        assert len(sent(protocol.on_time(T0 + wait_ms * MS))) == 2


def test_book_message_of_an_unknown_shape_makes_every_book_resync():
    # Its sequence number fits, so no gap would ever tell of the lost update.
    protocol = live("BTC-USD", "ETH-USD")
    protocol.receive(channel(2, "l2_data", [{"type": "update"}]), T0)
    assert [state(protocol, n) for n in (0, 1)] == [FeedState.RESYNCING] * 2
    assert protocol.counters.refused == 1


def test_frame_with_two_products_applies_to_both():
    protocol = live("BTC-USD", "ETH-USD")
    events = [
        json.loads(l2(None, "update", [("bid", price, "1")], name))["events"][0]
        for name, price in (("BTC-USD", "100.6"), ("ETH-USD", "100.7"))
    ]
    protocol.receive(channel(2, "l2_data", events), T0)
    assert (best(protocol, 0), best(protocol, 1)) == (("100.6", "101"), ("100.7", "101"))


def test_bad_json_shows_as_a_gap_at_the_next_frame():
    protocol = live()
    protocol.receive(b'{"channel":"l2_data","sequence_num":1,', T0)
    assert state(protocol) is FeedState.LIVE
    protocol.receive(channel(2, "heartbeats", []), T0)
    assert state(protocol) is FeedState.RESYNCING
    assert (protocol.counters.refused, protocol.counters.gaps) == (1, 1)


@pytest.mark.parametrize("name", ["candles", "status", "something_new"])
def test_unknown_channel_is_ignored(name):
    protocol = live()
    assert protocol.receive(channel(1, name, [{"type": "odd", "x": 1}]), T0) == []
    assert (protocol.counters.ignored, protocol.counters.refused) == (1, 0)


def test_unknown_event_type_is_ignored():
    protocol = live()
    protocol.receive(l2(1, "auction", [("bid", "100.9", "1")], "BTC-USD"), T0)
    protocol.receive(market_trades(2, "auction", [("1", "100", "1", "BUY")]), T0)
    assert protocol.counters.ignored == 2
    assert best(protocol) == ("100.5", "101")


def test_side_of_a_trade_is_the_makers_so_the_aggressor_is_the_other():
    protocol = live()
    outputs = protocol.receive(market_trades(1, "update", [("7", "100", "0.5", "BUY")]), T0)
    outputs += protocol.receive(market_trades(2, "update", [("8", "100", "0.25", "SELL")]), T0)
    assert [each.aggressor for each in trades(outputs)] == [-1, 1]
    feed = protocol.instruments[0]
    assert (feed.sell_lots, feed.buy_lots) == (50_000_000, 25_000_000)


def test_trades_of_a_message_are_printed_oldest_first():
    rows = [("9", "102", "1", "BUY"), ("8", "101", "1", "BUY"), ("7", "100", "1", "BUY")]
    protocol = live()
    outputs = protocol.receive(market_trades(1, "update", rows), T0)
    assert [each.trade_id for each in trades(outputs)] == ["7", "8", "9"]
    assert protocol.instruments[0].last_trade_ticks == 10_200
    assert trades(outputs)[0].ts_event_ns == 1_786_309_548_167_634_000


def test_trades_of_the_first_snapshot_are_history_and_not_prints():
    protocol = live()
    assert (
        trades(protocol.receive(market_trades(1, "snapshot", [("7", "1", "1", "BUY")]), T0)) == []
    )
    assert protocol.instruments[0].trades == 0


@pytest.mark.parametrize(
    "row",
    [
        ("7", "100.001", "1", "BUY"),
        ("7", "100", "0", "BUY"),
        ("7", "100", "1", "UNKNOWN"),
        ("\x1b[2J", "100", "1", "BUY"),
    ],
)
def test_refused_trade_costs_neither_its_neighbours_nor_the_book(row):
    protocol = live()
    rows = [("9", "102", "1", "BUY"), row]
    outputs = protocol.receive(market_trades(1, "update", rows), T0)
    assert [each.trade_id for each in trades(outputs)] == ["9"]
    assert protocol.counters.refused == 1
    assert state(protocol) is FeedState.LIVE


def test_trade_seen_before_is_not_printed_again():
    protocol = live()
    protocol.receive(market_trades(1, "update", [("7", "100", "1", "BUY")]), T0)
    protocol.receive(
        market_trades(2, "update", [("8", "1", "1", "BUY"), ("7", "1", "1", "BUY")]), T0
    )
    assert protocol.instruments[0].trades == 2


def test_usdc_product_takes_the_data_labelled_usd():
    protocol = coinbase("BTC-USDC")
    protocol.receive(l2(0, "snapshot", LEVELS, "BTC-USD"), T0)
    outputs = protocol.receive(market_trades(1, "update", [("7", "100", "1", "BUY")]), T0)
    assert best(protocol) == ("100.5", "101")
    assert len(trades(outputs)) == 1


def test_product_nobody_watches_is_refused():
    protocol = live()
    protocol.receive(l2(1, "update", LEVELS, "DOGE-USD"), T0)
    assert protocol.counters.refused == 1
    assert state(protocol) is FeedState.LIVE


def test_error_frame_is_the_reason_of_what_is_not_live():
    protocol = live("BTC-USD", "ETH-USD")
    protocol.receive(l2(2, "update", [("bid", "1.001", "1")], "ETH-USD"), T0)
    protocol.receive(b'{"type":"error","message":"failure to subscribe"}', T0)
    assert protocol.instruments[1].reason == "the venue said: failure to subscribe"
    assert protocol.instruments[0].reason == ""


def test_no_frame_for_five_seconds_is_stale_and_frames_heal_it():
    protocol = live()
    assert states(protocol.on_time(T0 + 5 * S + 1)) == [FeedState.STALE]
    assert protocol.instruments[0].reason == "no frame for 5 s"
    outputs = protocol.receive(channel(1, "heartbeats", []), T0 + 6 * S)
    assert states(outputs) == [FeedState.LIVE]


def test_keys_in_any_order_and_unknown_keys_are_read():
    protocol = coinbase()
    frame = (
        b'{"events":[{"updates":[{"new_quantity":"1","extra":[1],"price_level":"100.5",'
        b'"event_time":"x","side":"bid"}],"product_id":"BTC-USD","new":null,"type":"snapshot"}],'
        b'"client_id":"","sequence_num":0,"timestamp":"","channel":"l2_data"}'
    )
    protocol.receive(frame, T0)
    assert protocol.instruments[0].book.best_bid == (10_050, 100_000_000)
