"""Alpaca stocks: quotes replace quotes, prices are exact, every message stands alone."""

from __future__ import annotations

import pytest

from core.errors import UserError
from core.feeds.alpaca import AlpacaProtocol
from core.model.market import FeedState
from tests.core.feeds.wire import T0, best, instrument, settings, state, trades


def opened():
    protocol = AlpacaProtocol([instrument("alpaca", "IBM", lot="1")], settings())
    protocol.on_open(T0)
    return protocol


def quote(bid, bid_size, ask, ask_size):
    return (
        f'[{{"T":"q","S":"IBM","bp":{bid},"bs":{bid_size},"ap":{ask},"as":{ask_size},'
        f'"t":"2013-10-07T13:30:00.072Z"}}]'
    ).encode()


def test_quote_replaces_the_one_before():
    protocol = opened()
    protocol.receive(quote(181.69, 200, 181.75, 100), T0)
    assert state(protocol) is FeedState.LIVE
    protocol.receive(quote(181.70, 300, 181.74, 400), T0)
    book = protocol.instruments[0].book
    assert (book.best_bid, book.best_ask) == ((18_170, 300), (18_174, 400))
    assert book.size() == (1, 1)
    assert protocol.instruments[0].last_event_ns == 1_381_152_600_072_000_000


def test_quote_that_takes_the_price_of_the_other_side_leaves_one_level_a_side():
    protocol = opened()
    protocol.receive(quote("181.70", 1, "181.71", 1), T0)
    protocol.receive(quote("181.71", 1, "181.72", 1), T0)
    assert protocol.instruments[0].book.size() == (1, 1)
    assert best(protocol) == ("181.71", "181.72")


def test_price_zero_means_no_quote_on_that_side():
    protocol = opened()
    protocol.receive(quote(181.69, 200, 181.75, 100), T0)
    protocol.receive(quote(0, 0, 181.75, 100), T0)
    book = protocol.instruments[0].book
    assert (book.best_bid, book.best_ask) == (None, (18_175, 100))
    protocol.receive(quote(181.69, 200, 181.75, 100), T0)
    assert best(protocol) == ("181.69", "181.75")


def test_locked_quote_is_counted():
    protocol = opened()
    protocol.receive(quote(181.75, 200, 181.75, 100), T0)
    assert protocol.instruments[0].crossed == 1


def test_trade_has_no_aggressor():
    protocol = opened()
    frame = b'[{"T":"t","S":"IBM","i":159,"p":181.9,"s":200,"t":"2013-10-07T13:30:00.072Z"}]'
    (one,) = trades(protocol.receive(frame, T0))
    assert (one.price_ticks, one.qty_lots, one.aggressor, one.trade_id) == (18_190, 200, 0, "159")
    assert protocol.instruments[0].unknown_lots == 200


@pytest.mark.parametrize("price", ["181.905", "181.9000001", "-1", "0", "1e400", "null", '"x"'])
def test_price_off_the_grid_is_refused_and_its_neighbours_taken(price):
    # 0.1 + 0.2 style binary prices would be off the grid everywhere; the text never is.
    protocol = opened()
    rows = ",".join(f'{{"T":"t","S":"IBM","i":1,"p":{each},"s":1}}' for each in (price, "181.91"))
    assert len(trades(protocol.receive(f"[{rows}]".encode(), T0))) == 1
    assert protocol.counters.refused == 1


def test_exponent_within_reason_is_read_exactly():
    protocol = opened()
    frame = b'[{"T":"t","S":"IBM","i":1,"p":1.819e2,"s":1E2}]'
    (one,) = trades(protocol.receive(frame, T0))
    assert (one.price_ticks, one.qty_lots) == (18_190, 100)


def test_refused_quote_leaves_no_book_until_the_next_quote():
    # The quote before it is no longer the market's, and nothing else would say so.
    protocol = opened()
    protocol.receive(quote(181.69, 200, 181.75, 100), T0)
    protocol.receive(quote(181.695, 200, 181.75, 100), T0)
    assert state(protocol) is FeedState.RESYNCING
    assert best(protocol) is None
    assert protocol.counters.refused == 1
    protocol.receive(quote(181.70, 200, 181.75, 100), T0)
    assert state(protocol) is FeedState.LIVE
    assert best(protocol) == ("181.7", "181.75")


def test_unknown_kinds_are_ignored_and_control_messages_are_quiet():
    protocol = opened()
    protocol.receive(b'[{"T":"success","msg":"connected"},{"T":"subscription"}]', T0)
    protocol.receive(b'[{"T":"zz"},{"T":"l","S":"IBM"}]', T0)
    assert (protocol.counters.ignored, protocol.counters.refused) == (2, 0)


@pytest.mark.parametrize(
    "data", [b"{}", b"[1]", b'[{"T":"q","S":"XYZ"}]', b'[{"T":"q","S":"IBM"}]']
)
def test_bad_frame_is_counted_and_never_raised(data):
    protocol = opened()
    protocol.receive(data, T0)
    assert protocol.counters.refused == 1


def test_error_message_is_the_reason():
    protocol = opened()
    protocol.receive(b'[{"T":"error","code":402,"msg":"auth failed"}]', T0)
    assert protocol.instruments[0].reason == "the venue said: auth failed (402)"


def test_live_address_is_refused_with_the_remedy():
    with pytest.raises(UserError, match="not built yet; replay works"):
        opened().url()
