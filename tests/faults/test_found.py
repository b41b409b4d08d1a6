"""What the fault runs and the fuzzer found, each as the shortest story that shows it."""

from __future__ import annotations

import json

import msgspec
import pytest

from core.config import Settings
from core.feeds.alpaca import AlpacaProtocol
from core.feeds.coinbase_exchange import CoinbaseExchangeProtocol
from core.feeds.sim import SimProtocol
from core.model.market import FeedState
from tests.core.feeds.wire import (
    MS,
    T0,
    S,
    best,
    binance,
    coinbase,
    depth,
    depth_url,
    fetches,
    instrument,
    l2,
    market_trades,
    reconnects,
    sent,
    settings,
    snapshot,
    state,
    stream,
    ticker,
    trades,
)

LEVELS = [("bid", "100", "1"), ("offer", "101", "1")]
ROWS = ([["100.00", "1.0"]], [["101.00", "1.0"]])


def live_binance(rows=ROWS, **feed):
    protocol = binance(**feed)
    protocol.on_http(depth_url(), snapshot(100, *rows), T0)
    return protocol


def event(first, last, at_ms, bids=()):
    """Return a depth event that the venue stamps ``at_ms`` after a fixed time."""
    data = json.loads(depth(first, last, [list(each) for each in bids]))
    data["data"]["E"] = 1_700_000_000_000 + at_ms
    return json.dumps(data).encode()


def beat():
    return stream("btcusdt@miniTicker", {"e": "24hrMiniTicker", "s": "BTCUSDT"})


@pytest.mark.parametrize("venue", ["binance", "coinbase"])
def test_frames_that_cannot_be_read_are_no_sign_of_life(venue):
    # Found by only_garbage: a book 10 s old was live because rubbish kept arriving.
    protocol = live_binance() if venue == "binance" else coinbase()
    if venue == "coinbase":
        protocol.receive(l2(0, "snapshot", LEVELS, "BTC-USD"), T0)
    for n in range(1, 21):
        protocol.receive(b"\x00\xff rubbish", T0 + n * S)
        asked = reconnects(protocol.on_time(T0 + n * S))
        assert (state(protocol) is FeedState.STALE) == (n > 5)
        assert (asked == [f"no frame for {n} s"]) == (n == 16)


def test_connection_that_paused_and_lost_nothing_is_not_taken_for_a_silent_depth_stream():
    protocol = live_binance()
    protocol.receive(ticker(101, ["100.00", "2.0"], ["101.00", "1.0"]), T0)
    for n in range(1, 20):
        # All of it arrives in one go, in the order in which it was sent.
        protocol.receive(depth(100 + n, 100 + n, bids=[["100.00", "2.0"]]), T0 + 60 * S)
        protocol.receive(ticker(101 + n, ["100.00", "2.0"], ["101.00", "1.0"]), T0 + 60 * S)
        assert reconnects(protocol.receive(beat(), T0 + 60 * S)) == []
    assert state(protocol) is FeedState.LIVE


def test_quiet_symbol_is_live_however_many_heartbeats_pass():
    protocol = live_binance()
    for n in range(100):
        protocol.receive(beat(), T0 + n * S)
    assert state(protocol) is FeedState.LIVE


def test_old_id_with_a_new_time_costs_the_book():
    # Found by ids_go_back: every event of the new numbering was skipped as old, for ever.
    protocol = live_binance()
    protocol.receive(event(101, 105, 0), T0)
    protocol.receive(event(101, 105, 0), T0)
    assert state(protocol) is FeedState.LIVE
    protocol.receive(event(1, 5, 100, [("100.00", "7.0")]), T0)
    assert state(protocol) is FeedState.RESYNCING
    assert protocol.counters.gaps == 1
    protocol.on_http(depth_url(), snapshot(0, *ROWS), T0)
    assert protocol.instruments[0].book.best_bid == (10_000, 700_000)


def test_damaged_last_id_costs_the_book_at_the_next_event():
    # Found by id_too_high.
    protocol = live_binance()
    protocol.receive(event(101, 9_000_105, 0), T0)
    protocol.receive(event(106, 107, 100), T0)
    assert state(protocol) is FeedState.RESYNCING


def test_events_behind_a_snapshot_that_ran_ahead_are_old_and_no_contradiction():
    protocol = live_binance()
    for n in range(50):
        protocol.receive(event(n, n, n * 1000), T0)
    assert state(protocol) is FeedState.LIVE
    protocol.receive(event(51, 51, 200_000), T0)
    assert state(protocol) is FeedState.RESYNCING


def test_book_that_two_tickers_in_a_row_contradict_is_not_believed():
    # Found by wrong_quantity: the comparison was counted and nothing came of it.
    protocol = live_binance()
    protocol.receive(ticker(100, ["100.00", "9.0"], ["101.00", "1.0"]), T0)
    assert state(protocol) is FeedState.SUSPECT
    outputs = protocol.receive(ticker(100, ["100.00", "9.0"], ["101.00", "1.0"]), T0)
    assert state(protocol) is FeedState.RESYNCING
    assert len(fetches(outputs)) == 1


def test_two_failed_comparisons_that_are_not_in_a_row_cost_nothing():
    protocol = live_binance()
    for lots in ("9.0", "1.0", "9.0", "1.0"):
        protocol.receive(ticker(100, ["100.00", lots], ["101.00", "1.0"]), T0)
    assert protocol.counters.checks_failed == 2
    assert state(protocol) is FeedState.LIVE


def deep():
    bids = [[f"{100 - n / 100:.2f}", "1.0"] for n in range(100)]
    return bids, [[f"{101 + n / 100:.2f}", "1.0"] for n in range(100)]


def test_market_that_leaves_the_depth_of_the_snapshot_is_asked_for_at_once():
    # Found by walk: the best bid was one that happened to be known, with better ones unknown.
    protocol = live_binance(deep(), snapshot_levels=100)
    gone = [[price, "0.0"] for price, _ in deep()[0]]
    outputs = protocol.receive(depth(101, 101, bids=[*gone, ["50.00", "1.0"]]), T0)
    assert len(fetches(outputs)) == 1
    assert state(protocol) is FeedState.LIVE
    # Out there one ticker that disagrees is enough.
    protocol.receive(ticker(101, ["98.99", "1.0"], ["101.00", "1.0"]), T0)
    assert state(protocol) is FeedState.RESYNCING


def test_market_out_of_reach_of_a_snapshot_does_not_start_a_book():
    protocol = binance(snapshot_levels=100)
    gone = [[price, "0.0"] for price, _ in deep()[0]]
    protocol.receive(depth(101, 101, bids=gone), T0)
    protocol.on_http(depth_url(), snapshot(100, *deep()), T0)
    assert state(protocol) is FeedState.BUFFERING
    assert protocol.instruments[0].book.size() == (0, 0)


def test_reason_holds_no_markup_of_a_refused_level():
    # Found by the fuzzer: the refused text is the venue's, and it was shown as it came.
    protocol = live_binance()
    protocol.receive(depth(101, 101, bids=[["[red]\u0661\u202e", "1.0"]]), T0)
    reason = protocol.instruments[0].reason
    assert reason.isascii()
    assert "[" not in reason


def test_reply_that_comes_after_the_connection_ended_makes_no_book_live():
    protocol = binance()
    protocol.on_close("cut", T0)
    protocol.on_http(depth_url(), snapshot(100, *ROWS), T0)
    assert state(protocol) is FeedState.CONNECTING
    assert best(protocol) is None


def test_snapshot_that_never_comes_is_subscribed_anew_later_each_time():
    # Found by lost_snapshot: frames lost before the first one seen leave no gap.
    protocol = coinbase("BTC-USD", "ETH-USD")
    protocol.receive(l2(7, "snapshot", LEVELS, "ETH-USD"), T0)
    asked = []
    for n in range(1, 1_000):
        protocol.receive(b'{"channel":"heartbeats"}', T0 + n * 100 * MS)
        asked += [(n, each) for each in sent(protocol.on_time(T0 + n * 100 * MS))]
    assert {tuple(each["product_ids"]) for _, each in asked} == {("BTC-USD",)}
    assert [n for n, each in asked if each["type"] == "subscribe"] == [156, 312, 473, 644, 835]
    assert state(protocol, 1) is FeedState.LIVE
    protocol.receive(l2(8, "snapshot", LEVELS, "BTC-USD"), T0 + 200 * S)
    assert state(protocol) is FeedState.LIVE


@pytest.mark.parametrize("n_books", [3, 4])
def test_many_books_that_need_a_snapshot_get_a_connection_and_not_a_burst_of_messages(n_books):
    names = [f"A{n}-USD" for n in range(n_books)]
    protocol = coinbase(*names)
    for number, name in enumerate(names):
        protocol.receive(l2(number, "snapshot", LEVELS, name), T0)
    protocol.receive(b'{"channel":"l2_data","events":[{"type":7}]}', T0)
    outputs = protocol.on_time(T0 + S)
    assert len(sent(outputs)) == (6 if n_books == 3 else 0)
    assert len(reconnects(outputs)) == (n_books == 4)


def test_product_that_another_one_stands_for_is_not_asked_for_again():
    protocol = coinbase("BTC-USD", "BTC-USDC")
    protocol.receive(l2(0, "snapshot", LEVELS, "BTC-USD"), T0)
    for n in range(1, 100):
        protocol.receive(b'{"channel":"heartbeats"}', T0 + n * S)
        assert sent(protocol.on_time(T0 + n * S)) == []


def test_wait_after_a_refusal_begins_small_again_once_the_book_was_live_for_long():
    protocol = coinbase()
    at_ns = T0
    for number in range(0, 20, 2):
        protocol.receive(l2(number, "snapshot", LEVELS, "BTC-USD"), at_ns)
        at_ns += 60 * S
        protocol.receive(l2(number + 1, "update", [("bid", "1.005", "1")], "BTC-USD"), at_ns)
        assert len(sent(protocol.on_time(at_ns + 500 * MS))) == 2


def test_unreadable_frame_leaves_no_quote_until_each_instrument_has_its_next():
    # Found by garbage: it may have held a quote, and Alpaca numbers nothing.
    protocol = AlpacaProtocol(
        [instrument("alpaca", name, lot="1") for name in ("IBM", "SPY")], settings()
    )
    protocol.on_open(T0)
    quotes = [
        f'[{{"T":"q","S":"{name}","bp":1.5,"bs":1,"ap":1.75,"as":2}}]'.encode()
        for name in ("IBM", "SPY")
    ]
    for frame in quotes:
        protocol.receive(frame, T0)
    protocol.receive(quotes[0][:-7], T0)
    assert [state(protocol, n) for n in (0, 1)] == [FeedState.RESYNCING] * 2
    protocol.receive(quotes[1], T0)
    assert [state(protocol, n) for n in (0, 1)] == [FeedState.RESYNCING, FeedState.LIVE]


@pytest.mark.parametrize("message", [b'{"T":"q","S":5}', b'{"T":"q","S":"IBM","t":"\xb9"}', b"1"])
def test_unreadable_message_among_good_ones_leaves_no_quote_until_the_next(message):
    protocol = AlpacaProtocol([instrument("alpaca", "IBM", lot="1")], settings())
    protocol.on_open(T0)
    quote = b'{"T":"q","S":"IBM","bp":1.5,"bs":1,"ap":1.75,"as":2}'
    protocol.receive(b"[" + quote + b"," + message + b"]", T0)
    assert state(protocol) is FeedState.RESYNCING
    protocol.receive(b"[" + message + b"," + quote + b"]", T0)
    assert state(protocol) is FeedState.LIVE


@pytest.mark.parametrize("word", ["sNaN", "NaN", "-NaN", "Infinity"])
def test_number_that_is_none_is_refused_and_never_raised(word):
    protocol = AlpacaProtocol([instrument("alpaca", "IBM", lot="1")], settings())
    protocol.on_open(T0)
    frame = f'[{{"T":"q","S":"IBM","bp":"{word}","bs":1,"ap":1.75,"as":"{word}"}}]'
    protocol.receive(frame.encode(), T0)
    protocol.receive(f'[{{"T":"t","S":"IBM","p":"{word}","s":"{word}"}}]'.encode(), T0)
    assert protocol.counters.refused == 2


def test_unreadable_frame_of_a_venue_without_numbers_costs_its_books_and_heals():
    names = ("BTC-USD", "ETH-USD")
    protocol = exchange(*names)
    fresh = [
        f'{{"type":"snapshot","product_id":"{n}","bids":[["1","1"]],"asks":[]}}'.encode()
        for n in names
    ]
    for frame in fresh:
        protocol.receive(frame, T0)
    protocol.receive(fresh[0][:50], T0)
    assert [state(protocol, n) for n in (0, 1)] == [FeedState.RESYNCING] * 2
    assert len(sent(protocol.on_time(T0 + S))) == 4
    protocol.receive(fresh[0], T0 + S)
    assert state(protocol) is FeedState.LIVE


def trade_at(venue, trade_id, at_s):
    if venue == "binance":
        data = {"e": "trade", "s": "BTCUSDT", "p": "1.00", "q": "1.0", "m": True, "t": trade_id}
        return stream("btcusdt@trade", {**data, "T": 1_700_000_000_000 + at_s * 1_000})
    time = f"2026-08-09T21:05:{at_s:02d}Z"
    row = {"product_id": "BTC-USD", "price": "1.00", "size": "1", "time": time}
    if venue == "coinbase":
        trades = [{**row, "trade_id": str(trade_id), "side": "BUY"}]
        events = [{"type": "update", "trades": trades}]
        return json.dumps({"channel": "market_trades", "events": events}).encode()
    return json.dumps({**row, "type": "match", "trade_id": trade_id, "side": "buy"}).encode()


@pytest.mark.parametrize("venue", ["binance", "coinbase", "coinbase-exchange"])
def test_trades_go_on_printing_after_the_venue_numbered_anew(venue):
    # A test network is wiped every month; one damaged id did the same: no trade ever again.
    made = {"binance": binance, "coinbase": coinbase}
    protocol = made[venue]() if venue in made else exchange("BTC-USD")
    feed = protocol.instruments[0]
    for trade_id, at_s, printed in ((900, 1, 1), (900, 1, 1), (899, 1, 1), (3, 9, 2), (4, 9, 3)):
        protocol.receive(trade_at(venue, trade_id, at_s), T0)
        assert feed.trades == printed


def exchange(*names):
    listed = [instrument("coinbase-exchange", name) for name in names]
    protocol = CoinbaseExchangeProtocol(listed, settings())
    protocol.on_open(T0)
    return protocol


def test_book_message_that_names_no_product_costs_every_book():
    protocol = exchange("BTC-USD")
    protocol.receive(b'{"type":"snapshot","product_id":"BTC-USD","bids":[["1","1"]],"asks":[]}', T0)
    protocol.receive(b'{"type":"l2update","changes":[["buy","1","2"]]}', T0)
    assert state(protocol) is FeedState.RESYNCING


def sim_frame(kind, seq, ts=T0, trade_id="1"):
    return json.dumps(
        {"type": kind, "seq": seq, "ts": ts, "instrument": "SIM-USD", "bids": [["1.00", "1"]],
         "asks": [["2.00", "1"]], "trades": [["1.00", "1", "buy", trade_id]]}
    ).encode()  # fmt: skip


def sim():
    protocol = SimProtocol([instrument("sim", "SIM-USD")], Settings())
    protocol.on_open(T0)
    return protocol


def test_closed_simulated_venue_leaves_no_levels():
    # Found by cut: the book of a closed connection was kept.
    protocol = sim()
    protocol.receive(sim_frame("snapshot", 1), T0)
    protocol.on_close("cut", T0)
    assert protocol.instruments[0].book.size() == (0, 0)


def test_update_before_the_snapshot_asks_the_simulated_venue_for_a_new_connection():
    # Found by lost_snapshot: it waited for ever.
    protocol = sim()
    assert len(reconnects(protocol.receive(sim_frame("update", 2), T0))) == 1
    assert reconnects(protocol.receive(sim_frame("update", 3), T0)) == []
    assert state(protocol) is FeedState.RESYNCING


@pytest.mark.parametrize(
    "frame",
    [
        sim_frame("snapshot", 1, ts=2**63),
        sim_frame("snapshot", 1, ts=-1),
        sim_frame("snapshot", -1),
        sim_frame("snapshot", 1, trade_id="x\x1b[2J"),
        sim_frame("snapshot", 1, trade_id="7" * 41),
    ],
)
def test_value_that_no_row_could_hold_is_refused(frame):
    # Found by the fuzzer: a time beyond 64 bits would have stopped the engine at the tape.
    protocol = sim()
    protocol.receive(frame, T0)
    assert protocol.counters.refused == 1
    assert protocol.instruments[0].book.size() == (0, 0)


# --- found by damaged bytes (bench/fuzz.py frames)

BEYOND = 2**63


@pytest.mark.parametrize("number", [BEYOND - 1, BEYOND, 10**40])
def test_sequence_number_that_no_int64_holds_is_refused_and_the_next_frame_shows_it(number):
    # The typed path took it, and the kernel stopped the feed at the next frame.
    protocol = coinbase()
    protocol.receive(l2(0, "snapshot", LEVELS, "BTC-USD"), T0)
    protocol.receive(l2(number, "update", LEVELS[:1], "BTC-USD"), T0)
    assert (protocol.counters.refused, state(protocol)) == (1, FeedState.LIVE)
    protocol.receive(l2(2, "update", LEVELS[:1], "BTC-USD"), T0)
    assert (protocol.counters.gaps, state(protocol)) == (1, FeedState.RESYNCING)


@pytest.mark.parametrize("number", [BEYOND - 1, BEYOND, 10**40])
def test_update_id_that_no_int64_holds_is_refused(number):
    protocol = live_binance()
    protocol.receive(depth(101, number), T0)
    assert (protocol.counters.refused, state(protocol)) == (1, FeedState.RESYNCING)
    protocol.on_http(depth_url(), snapshot(number, *ROWS), T0)
    assert (protocol.counters.refused, state(protocol)) == (2, FeedState.RESYNCING)
    protocol.on_http(depth_url(), snapshot(200, *ROWS), T0)
    protocol.receive(ticker(number, ["100.00", "1.0"], ["101.00", "1.0"]), T0)
    assert (protocol.counters.refused, state(protocol)) == (3, FeedState.LIVE)


def test_trade_id_of_more_digits_than_a_number_has_is_a_name():
    protocol = coinbase()
    rows = [("9" * 40, "100", "1", "BUY"), ("9" * 19, "100", "1", "BUY")]
    outputs = protocol.receive(market_trades(0, "update", rows), T0)
    assert [each.trade_id for each in trades(outputs)] == ["9" * 19, "9" * 40]


@pytest.mark.parametrize("uses_kernel", [True, False])
def test_frame_is_what_its_keys_say_and_not_what_stands_in_their_place(uses_kernel):
    # The kernel looked for the stream's name at its place, whatever the key before it was.
    protocol = live_binance()
    protocol.uses_kernel = uses_kernel
    frame = depth(101, 101, [["100.50", "1.0"]]).replace(b'{"stream":', b'{"straem":')
    protocol.receive(frame, T0)
    assert best(protocol) == ("100", "101")
    assert (protocol.counters.ignored, protocol.counters.gaps) == (1, 0)


@pytest.mark.parametrize("uses_kernel", [True, False])
@pytest.mark.parametrize("stamp", [9_300_000_000_000, 99_999_999_999_999, 10**16])
def test_stamp_that_is_beyond_int64_in_nanoseconds_is_no_time(uses_kernel, stamp):
    protocol = live_binance()
    protocol.uses_kernel = uses_kernel
    data = json.loads(depth(101, 101, [["100.50", "1.0"]]))
    data["data"]["E"] = stamp
    (moved,) = protocol.receive(json.dumps(data, separators=(",", ":")).encode(), T0)
    assert (moved.ts_event_ns, best(protocol)) == (0, ("100.5", "101"))


@pytest.mark.parametrize("price", ["999999999999999999", "90071992547409.93"])
def test_trade_of_the_simulated_venue_at_a_price_that_no_kernel_holds_is_refused(price):
    protocol = sim()
    protocol.receive(sim_frame("snapshot", 1), T0)
    frame = json.loads(sim_frame("update", 2))
    frame["trades"] = [[price, "1", "buy", "7"]]
    protocol.receive(json.dumps(frame).encode(), T0)
    assert protocol.counters.refused == 1


def test_number_that_is_not_finite_is_no_missing_side_of_a_book():
    # Packed infinity became JSON null, which says that a side did not change.
    protocol = AlpacaProtocol([instrument("alpaca", "BTC/USD")], settings())
    protocol.on_open(T0)
    message = {"T": "o", "S": "BTC/USD", "t": "2026-08-09T21:05:48Z", "r": True}
    message |= {"b": float("inf"), "a": [{"p": 101.0, "s": 1.0}]}
    protocol.receive(msgspec.msgpack.encode([message]), T0)
    assert protocol.counters.refused == 1
    assert protocol.instruments[0].book.size() == (0, 0)


def test_levels_of_a_stock_are_no_book():
    protocol = AlpacaProtocol([instrument("alpaca", "IBM", lot="1")], settings())
    protocol.on_open(T0)
    head = {"S": "IBM", "t": "2026-08-09T21:05:48Z"}
    quote = {"T": "q", **head, "bp": 100.0, "bs": 1, "ap": 101.0, "as": 1}
    levels = {"T": "o", **head, "b": [{"p": 100.5, "s": 1}], "a": []}
    assert protocol.receive(json.dumps([quote]).encode(), T0)
    assert protocol.receive(json.dumps([levels]).encode(), T0) == []
    assert (best(protocol), protocol.counters.ignored) == (("100", "101"), 1)
