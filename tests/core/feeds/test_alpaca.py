"""Alpaca: the handshake and what errors ask for; quotes of stocks, halts and bands; REST."""

from __future__ import annotations

import json

import pytest

from core.feeds.alpaca import FETCHES_MAX, AlpacaProtocol
from core.feeds.alpaca_rest import latest_quotes
from core.feeds.alpaca_trades import PAGES_MAX
from core.model.market import FeedState, FetchHttp, GiveUp, Reconnect
from core.secrets import KEY_ID, KEY_SECRET
from tests.core.feeds.wire import T0, S, best, fetches, instrument, sent, settings, state, trades

CONNECTED = b'[{"T":"success","msg":"connected"}]'
AUTHENTICATED = b'[{"T":"success","msg":"authenticated"}]'
SUBSCRIPTION = b'[{"T":"subscription","trades":["IBM"],"quotes":["IBM"]}]'
QUOTES_URL = latest_quotes(settings().feed, ["IBM"]).url


def opened(**feed):
    protocol = AlpacaProtocol([instrument("alpaca", "IBM", lot="1")], settings(**feed))
    protocol.on_open(T0)
    return protocol


def subscribed(**feed):
    """Return a protocol after the handshake, and what it asked for at the end of it."""
    protocol = opened(**feed)
    outputs = []
    for frame in (CONNECTED, AUTHENTICATED, SUBSCRIPTION):
        outputs = protocol.receive(frame, T0)
    return protocol, outputs


def status(code, reason="", tape="C", at="2023-11-14T22:13:20Z", **words):
    row = {"T": "s", "S": "IBM", "sc": code, "rc": reason, "z": tape, "t": at, **words}
    return json.dumps([row]).encode()


def said(code, message="no"):
    return json.dumps([{"T": "error", "code": code, "msg": message}]).encode()


def reason(protocol):
    return protocol.instruments[0].reason


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


@pytest.mark.parametrize("price", ["-1", "0", "1e400", "null", '"x"', "true", "[]"])
def test_what_is_no_price_is_refused_and_its_neighbours_taken(price):
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
    protocol.receive(b'[{"T":"success","msg":"connected"},{"T":"success","msg":"new"}]', T0)
    protocol.receive(b'[{"T":"zz"},{"T":"i","S":"IBM"},{"T":"u","S":"IBM"},{"T":"d"}]', T0)
    assert (protocol.counters.ignored, protocol.counters.refused) == (5, 0)


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


# --- the handshake


def test_login_waits_for_the_greeting_and_subscribes_when_the_keys_are_taken():
    protocol = AlpacaProtocol([instrument("alpaca", "IBM", lot="1")], settings())
    assert sent(protocol.on_open(T0)) == []
    (auth,) = sent(protocol.receive(CONNECTED, T0))
    assert auth == {"action": "auth", "key": KEY_ID, "secret": KEY_SECRET}
    (first,) = sent(protocol.receive(AUTHENTICATED, T0))
    assert first == {"action": "subscribe", "trades": ["IBM"], "quotes": ["IBM"]}
    assert state(protocol) is FeedState.BUFFERING


def test_what_is_only_wanted_is_asked_for_channel_by_channel_after_the_feed_is_there():
    _, outputs = subscribed()
    asked = [[key for key in each if key != "action"] for each in sent(outputs)]
    assert asked == [["statuses"], ["lulds"], ["bars"]]


def test_address_names_the_feed():
    assert opened().url() == "wss://stream.data.alpaca.markets/v2/iex"
    assert opened(alpaca_feed="test").url().endswith("/v2/test")


def test_symbol_that_the_venue_left_out_of_its_list_says_so():
    protocol = opened()
    for frame in (CONNECTED, AUTHENTICATED, b'[{"T":"subscription","trades":["IBM"]}]'):
        protocol.receive(frame, T0)
    assert reason(protocol) == "the venue said: no subscription to IBM"


def test_login_that_the_venue_does_not_finish_ends_in_a_new_connection():
    protocol = opened()
    protocol.receive(CONNECTED, T0)
    outputs = protocol.on_time(T0 + 16 * S)
    assert [each.reason for each in outputs if isinstance(each, Reconnect)] == [
        "the venue did not finish the login"
    ]


def test_greeting_in_the_middle_of_the_feed_costs_no_book():
    protocol, _ = subscribed()
    protocol.receive(quote(181.69, 200, 181.75, 100), T0)
    assert sent(protocol.receive(CONNECTED, T0)) == []
    assert state(protocol) is FeedState.LIVE


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (402, "tapewright secrets set alpaca"),
        (405, "watch fewer symbols"),
        (409, 'alpaca_feed = "iex"'),
        (410, "take another"),
        (411, "make new ones"),
    ],
)
def test_fatal_error_gives_up_in_one_line_that_says_what_to_do(code, remedy):
    protocol = opened()
    outputs = protocol.receive(said(code, "auth\nfailed"), T0)
    (stop,) = [each for each in outputs if isinstance(each, GiveUp)]
    assert remedy in stop.reason
    assert f"({code})" in stop.reason
    assert "\n" not in stop.reason


@pytest.mark.parametrize(
    ("code", "wait_s"), [(401, 10), (404, 10), (406, 30), (407, 10), (500, 10)]
)
def test_passing_error_reconnects_slowly_and_once(code, wait_s):
    protocol = opened()
    frame = said(code)
    outputs = protocol.receive(frame, T0) + protocol.receive(frame, T0)
    (again,) = [each for each in outputs if isinstance(each, Reconnect)]
    assert again.not_before_ns == T0 + wait_s * S
    assert reason(protocol) == f"the venue said: no ({code})"


@pytest.mark.parametrize("code", [400, 403, 999])
def test_error_that_asks_for_nothing_is_counted_and_shown(code):
    protocol = opened()
    outputs = protocol.receive(said(code), T0)
    assert not [each for each in outputs if isinstance(each, GiveUp | Reconnect)]
    assert (protocol.counters.refused, f"({code})" in reason(protocol)) == (1, True)


def test_channel_that_is_only_wanted_may_be_refused_and_the_live_book_says_so():
    protocol, _ = subscribed()
    outputs = protocol.receive(said(410, "invalid subscribe action for this feed"), T0)
    assert outputs == []
    protocol.receive(quote(181.69, 200, 181.75, 100), T0)
    assert state(protocol) is FeedState.LIVE
    assert reason(protocol).startswith("not on this feed: invalid subscribe action")


# --- after a connection


def test_book_is_not_live_after_a_reconnect_until_a_quote_came():
    protocol, _ = subscribed()
    protocol.receive(quote(181.69, 200, 181.75, 100), T0)
    protocol.on_close("cut", T0)
    assert state(protocol) is FeedState.CONNECTING
    protocol.on_open(T0)
    for frame in (CONNECTED, AUTHENTICATED, SUBSCRIPTION):
        protocol.receive(frame, T0)
        assert state(protocol) is FeedState.BUFFERING
    assert best(protocol) is None
    protocol.receive(quote(181.70, 200, 181.75, 100), T0)
    assert state(protocol) is FeedState.LIVE
    assert protocol.counters.resyncs == 1


def test_standing_quote_is_asked_for_with_marks_for_keys_and_makes_the_book():
    protocol, outputs = subscribed()
    (request,) = fetches(outputs)
    assert request.url == QUOTES_URL
    assert dict(request.headers) == {"APCA-API-KEY-ID": KEY_ID, "APCA-API-SECRET-KEY": KEY_SECRET}
    body = (
        b'{"quotes":{"IBM":{"bp":181.6,"bs":1,"ap":181.7,"as":2,"t":"2013-10-07T13:30:00Z"},'
        b'"XYZ":{"bp":1,"bs":1,"ap":2,"as":2}}}'
    )
    protocol.on_http(QUOTES_URL, body, T0)
    assert (state(protocol), best(protocol)) == (FeedState.LIVE, ("181.6", "181.7"))
    # When a standing quote was made says nothing of how late messages come.
    assert protocol.instruments[0].last_event_ns == 0


def test_standing_quote_that_comes_after_a_quote_of_the_stream_is_history():
    protocol, _ = subscribed()
    protocol.receive(quote(181.69, 200, 181.75, 100), T0)
    protocol.on_http(
        QUOTES_URL,
        b'{"quotes":{"IBM":{"bp":1,"bs":1,"ap":2,"as":2,"t":"2099-01-01T00:00:00Z"}}}',
        T0,
    )
    assert best(protocol) == ("181.69", "181.75")


def test_standing_quote_older_than_one_seen_before_the_reconnect_makes_no_book():
    protocol, _ = subscribed()
    protocol.receive(quote(181.69, 200, 181.75, 100), T0)
    protocol.on_close("cut", T0)
    protocol.on_open(T0)
    body = b'{"quotes":{"IBM":{"bp":1,"bs":1,"ap":2,"as":2,"t":"2013-10-07T13:29:59Z"}}}'
    protocol.on_http(QUOTES_URL, body, T0)
    assert state(protocol) is FeedState.BUFFERING


def test_test_feed_has_no_history_to_ask_for():
    assert fetches(subscribed(alpaca_feed="test")[1]) == []


def test_request_that_failed_is_made_again_later_and_later_and_then_given_up():
    protocol, _ = subscribed()
    waits = []
    for _ in range(FETCHES_MAX):
        (again,) = protocol.on_http_failed(QUOTES_URL, "ReadTimeout", T0)
        assert isinstance(again, FetchHttp)
        waits.append(again.not_before_ns - T0)
    assert waits == sorted(set(waits))
    assert protocol.on_http_failed(QUOTES_URL, "ReadTimeout", T0) == []


def test_request_that_is_refused_for_good_is_not_made_again():
    protocol, _ = subscribed()
    assert protocol.on_http_failed(QUOTES_URL, "HTTP 403", T0) == []


def test_body_that_cannot_be_read_is_counted_and_asked_for_again():
    protocol, _ = subscribed()
    assert len(fetches(protocol.on_http(QUOTES_URL, b"<html>", T0))) == 1
    assert protocol.counters.refused == 1


def test_quiet_market_is_stale_and_not_a_dead_connection():
    # The venue has no heartbeat, and a thin stock at night has no message for hours.
    protocol, _ = subscribed()
    protocol.receive(quote(181.69, 200, 181.75, 100), T0)
    outputs = protocol.on_time(T0 + 6 * S) + protocol.on_time(T0 + 600 * S)
    assert state(protocol) is FeedState.STALE
    assert not [each for each in outputs if isinstance(each, Reconnect)]


# --- halts and bands


def test_halt_empties_the_book_with_the_venues_words_and_quotes_do_not_end_it():
    protocol, _ = subscribed()
    protocol.receive(quote(181.69, 200, 181.75, 100), T0)
    protocol.receive(status("H", "T1", sm="Trading Halt", rm="Halt News Pending"), T0)
    assert (state(protocol), reason(protocol)) == (
        FeedState.HALTED,
        "Trading Halt: Halt News Pending (T1)",
    )
    assert best(protocol) is None
    protocol.receive(quote(181.69, 200, 181.75, 100), T0)
    protocol.receive(status("Q", "T3"), T0)
    assert state(protocol) is FeedState.HALTED
    assert reason(protocol) == "Quotation Resumption: News and Resumption Times (T3)"
    protocol.receive(status("T"), T0)
    assert state(protocol) is FeedState.BUFFERING
    protocol.receive(quote(181.69, 200, 181.75, 100), T0)
    assert state(protocol) is FeedState.LIVE


@pytest.mark.parametrize(
    ("code", "tape", "halts", "words"),
    [
        ("2", "A", True, "Trading Halt: News Pending (P)"),
        ("2", "B", True, "Trading Halt: News Pending (P)"),
        ("H", "C", True, "Trading Halt (P)"),
        ("P", "C", True, "Volatility Trading Pause (P)"),
        ("P", "O", True, "Volatility Trading Pause (P)"),
        ("H", "", True, "Trading Halt (P)"),
        ("5", "A", False, ""),
        ("E", "A", False, ""),
        ("F", "B", False, ""),
        ("H", "A", False, ""),
        ("2", "C", False, ""),
    ],
)
def test_status_codes_are_read_by_the_plan_of_the_tape(code, tape, halts, words):
    protocol, _ = subscribed()
    protocol.receive(quote(181.69, 200, 181.75, 100), T0)
    protocol.receive(status(code, "P", tape), T0)
    assert (state(protocol) is FeedState.HALTED) is halts
    if halts:
        assert reason(protocol) == words


def test_status_code_that_is_not_known_is_counted_and_changes_nothing():
    protocol, _ = subscribed()
    protocol.receive(quote(181.69, 200, 181.75, 100), T0)
    protocol.receive(status("7", tape="C"), T0)
    assert (protocol.counters.ignored, state(protocol)) == (1, FeedState.LIVE)


def test_halt_outlasts_the_connection_and_ends_by_an_ordinary_print():
    protocol, _ = subscribed()
    protocol.receive(status("H", "T1"), T0)
    protocol.on_close("cut", T0)
    protocol.on_open(T0)
    protocol.receive(quote(181.69, 200, 181.75, 100), T0)
    assert state(protocol) is FeedState.HALTED
    row = '[{"T":"t","S":"IBM","i":%d,"p":181.7,"s":100,"c":["@"],"t":"2023-11-14T22:13:%dZ"}]'
    protocol.receive((row % (1, 19)).encode(), T0)
    assert state(protocol) is FeedState.HALTED
    protocol.receive((row % (2, 21)).encode(), T0)
    assert state(protocol) is FeedState.BUFFERING


def test_quote_outside_the_price_bands_is_shown_as_the_reason():
    protocol, _ = subscribed()
    protocol.receive(b'[{"T":"l","S":"IBM","u":182.004,"d":181.5,"i":"B"}]', T0)
    protocol.receive(quote(182.0, 200, 182.1, 100), T0)
    assert reason(protocol) == ""
    protocol.receive(quote(182.01, 200, 182.1, 100), T0)
    assert (state(protocol), reason(protocol)) == (
        FeedState.LIVE,
        "the best bid is above the limit-up price 182",
    )
    protocol.receive(quote(181.0, 200, 181.49, 100), T0)
    assert reason(protocol) == "the best ask is below the limit-down price 181.5"
    protocol.receive(b'[{"T":"l","S":"IBM","u":190,"d":170}]', T0)
    assert reason(protocol) == ""
    protocol.receive(b'[{"T":"l","S":"IBM","u":170,"d":160}]', T0)
    assert "limit-up price 170" in reason(protocol)
    protocol.receive(b'[{"T":"l","S":"IBM","u":0,"d":0}]', T0)
    assert reason(protocol) == ""


def test_refused_quote_asks_for_the_standing_one():
    protocol, _ = subscribed()
    (again,) = fetches(protocol.receive(quote(181.695, 200, 181.75, 100), T0))
    assert (again.url, again.not_before_ns > T0) == (QUOTES_URL, True)


def test_pages_of_missed_prints_are_bounded():
    protocol, _ = subscribed()
    row = b'[{"T":"t","S":"IBM","i":7,"x":"V","p":181.7,"s":100,"t":"2023-11-14T22:13:20Z"}]'
    protocol.receive(row, T0)
    protocol.on_close("cut", T0)
    protocol.on_open(T0)
    asked = []
    for frame in (CONNECTED, AUTHENTICATED, SUBSCRIPTION):
        asked = fetches(protocol.receive(frame, T0))
    (request,) = [each for each in asked if "/trades" in each.url]
    assert "start=2023-11-14T22%3A13%3A20.000000000Z" in request.url
    for page in range(1, PAGES_MAX):
        (request,) = protocol.on_http(request.url, b'{"trades":{},"next_page_token":"a b"}', T0)
        assert request.url.endswith("&page_token=a%20b"), page
    assert protocol.on_http(request.url, b'{"trades":{},"next_page_token":"c"}', T0) == []
    assert protocol.counters.gaps == 1
