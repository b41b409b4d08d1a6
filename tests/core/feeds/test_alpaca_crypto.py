"""Alpaca crypto: books with a reset, takers, and quotes as a check of the book."""

from __future__ import annotations

import json

from core.feeds.alpaca import AlpacaProtocol
from core.model.market import FeedState
from tests.core.feeds.wire import T0, S, best, instrument, sent, settings, state, states, trades

AT = "2024-03-12T10:38:50.79613221Z"


def crypto():
    one = instrument("alpaca", "BTC/USD", "0.001", "0.000000001")
    protocol = AlpacaProtocol([one], settings())
    protocol.on_open(T0)
    subscription = {"T": "subscription", "trades": ["BTC/USD"], "orderbooks": ["BTC/USD"]}
    for frame in (
        [{"T": "success", "msg": "connected"}],
        [{"T": "success", "msg": "authenticated"}],
        [subscription],
    ):
        tell(protocol, *frame)
    return protocol


def tell(protocol, *messages, now_ns=T0):
    return protocol.receive(json.dumps(messages).encode(), now_ns)


def book(bids, asks, **more):
    sides = [[{"p": p, "s": s} for p, s in side] for side in (bids, asks)]
    return {"T": "o", "S": "BTC/USD", "t": AT, "b": sides[0], "a": sides[1], **more}


WHOLE = book([(71859.53, 0.27), (71849.4, 1e-09)], [(71939.7, 0.83), (71940, 1)], r=True)


def test_address_and_channels_are_those_of_crypto():
    protocol = AlpacaProtocol([instrument("alpaca", "BTC/USD")], settings())
    assert protocol.url() == "wss://stream.data.alpaca.markets/v1beta3/crypto/us"
    protocol.on_open(T0)
    tell(protocol, {"T": "success", "msg": "connected"})
    (first,) = sent(tell(protocol, {"T": "success", "msg": "authenticated"}))
    assert [key for key in first if key != "action"] == ["trades", "quotes", "orderbooks"]


def test_book_is_believed_from_a_reset_on_and_changes_are_absolute():
    protocol = crypto()
    tell(protocol, book([(71859.53, 1)], []))
    assert (state(protocol), protocol.counters.ignored) == (FeedState.BUFFERING, 1)
    tell(protocol, WHOLE)
    assert (state(protocol), best(protocol)) == (FeedState.LIVE, ("71859.53", "71939.7"))
    tell(protocol, book([(71859.53, 0)], [(71939.7, 2.5)]))
    feed = protocol.instruments[0]
    assert feed.book.best_bid == (71_849_400, 1)
    assert feed.book.best_ask == (71_939_700, 2_500_000_000)
    assert feed.last_event_ns == 1_710_239_930_796_132_210


def test_reset_throws_the_book_away():
    protocol = crypto()
    tell(protocol, WHOLE)
    tell(protocol, book([(70_000, 1)], [], r=True))
    assert protocol.instruments[0].book.size() == (1, 0)


def test_sides_may_be_missing_or_null():
    protocol = crypto()
    tell(protocol, WHOLE)
    tell(protocol, {"T": "o", "S": "BTC/USD", "t": AT, "b": None})
    assert (state(protocol), protocol.counters.refused) == (FeedState.LIVE, 0)


def test_refused_book_message_subscribes_the_book_anew():
    protocol = crypto()
    tell(protocol, WHOLE)
    tell(protocol, book([(71859.5301, 1)], []))
    assert (state(protocol), best(protocol)) == (FeedState.RESYNCING, None)
    asked = sent(protocol.on_time(T0 + 2 * S))
    assert asked == [
        {"action": action, "orderbooks": ["BTC/USD"]} for action in ("unsubscribe", "subscribe")
    ]
    tell(protocol, WHOLE, now_ns=T0 + 2 * S)
    assert state(protocol) is FeedState.LIVE


def test_taker_side_is_the_aggressor_and_an_unknown_one_is_unknown():
    protocol = crypto()
    rows = [
        {"T": "t", "S": "BTC/USD", "p": 71_900.5, "s": 0.5, "i": n, "t": AT, "tks": side}
        for n, side in enumerate(("B", "S", "?"))
    ]
    told = trades(tell(protocol, *rows))
    assert [each.aggressor for each in told] == [1, -1, 0]
    feed = protocol.instruments[0]
    assert (feed.buy_lots, feed.sell_lots, feed.unknown_lots) == (500_000_000,) * 3
    assert feed.last_trade_ticks == 71_900_500


def quote(bid, ask):
    return {"T": "q", "S": "BTC/USD", "bp": bid, "bs": 1, "ap": ask, "as": 1, "t": AT}


def test_quotes_that_differ_from_the_book_for_long_make_it_suspect_and_then_cost_it():
    protocol = crypto()
    tell(protocol, quote(1, 2), WHOLE)
    assert protocol.counters.checks == 0
    tell(protocol, quote(71859.53, 71939.7))
    assert (protocol.counters.checks, protocol.counters.checks_failed) == (1, 0)
    tell(protocol, quote(71860, 71939.7), now_ns=T0 + S)
    assert state(protocol) is FeedState.LIVE
    outputs = tell(protocol, quote(71860, 71939.7), now_ns=T0 + 3 * S)
    assert states(outputs) == [FeedState.SUSPECT]
    outputs = tell(protocol, quote(71860, 71939.7), now_ns=T0 + 5 * S)
    assert states(outputs) == [FeedState.RESYNCING]


def test_quote_that_agrees_again_relieves_the_book():
    protocol = crypto()
    tell(protocol, WHOLE)
    tell(protocol, quote(71860, 71939.7), now_ns=T0)
    tell(protocol, quote(71860, 71939.7), now_ns=T0 + 3 * S)
    outputs = tell(protocol, quote(71859.53, 71939.7), now_ns=T0 + 4 * S)
    assert states(outputs) == [FeedState.LIVE]


def test_quote_of_crypto_makes_no_book():
    protocol = crypto()
    tell(protocol, quote(71859.53, 71939.7), {"T": "q", "S": "BTC/USD"})
    assert state(protocol) is FeedState.BUFFERING
    assert protocol.counters.refused == 1
