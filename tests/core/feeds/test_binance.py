"""Binance: stitching, gaps, refusals, tickers and trades."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.feeds.stitch import MAX_EVENTS
from core.kernels import block as at
from core.model.market import BookMoved, FeedState, Renew
from tests.core.feeds.wire import (
    MS,
    T0,
    S,
    best,
    binance,
    depth,
    depth_url,
    fetches,
    reconnects,
    snapshot,
    state,
    states,
    stream,
    ticker,
    trade,
    trades,
)

BIDS = [["100.00", "1.00000000"], ["99.99", "2.00000000"]]
ASKS = [["100.01", "1.50000000"], ["100.02", "2.00000000"]]


def live(*names, last_id=100, **feed):
    """Return a protocol whose books are live at ``last_id``."""
    protocol = binance(*names, **feed)
    for name in names or ("BTCUSDT",):
        protocol.on_http(depth_url(name), snapshot(last_id, BIDS, ASKS), T0)
    return protocol


def test_first_event_at_snapshot_id_plus_one_is_stitched():
    # The documented wording rejects this start; nine of ten recorded starts have it.
    protocol = binance()
    protocol.receive(depth(101, 105, bids=[["100.00", "3.00000000"]]), T0)
    protocol.on_http(depth_url(), snapshot(100, BIDS, ASKS), T0)
    assert state(protocol) is FeedState.LIVE
    assert protocol.instruments[0].book.best_bid == (10_000, 300_000)


def test_old_buffered_events_are_dropped_and_the_overlapping_one_applied():
    protocol = binance()
    protocol.receive(depth(90, 95, bids=[["100.00", "9.00000000"]]), T0)
    protocol.receive(depth(96, 102, asks=[["100.01", "0.00000000"]]), T0)
    protocol.on_http(depth_url(), snapshot(100, BIDS, ASKS), T0)
    assert best(protocol) == ("100", "100.02")
    assert protocol.instruments[0].book.best_bid == (10_000, 100_000)


def test_snapshot_served_late_is_stitched_to_what_came_meanwhile():
    protocol = binance()
    for first in range(101, 151):
        protocol.receive(depth(first, first, bids=[["100.00", f"{first}.00000000"]]), T0)
    protocol.on_http(depth_url(), snapshot(120, BIDS, ASKS), T0)
    assert protocol.instruments[0].book.best_bid == (10_000, 150 * 100_000)
    assert protocol.counters.gaps == 0


def test_snapshot_ahead_of_the_stream_skips_what_it_holds():
    protocol = binance()
    protocol.receive(depth(90, 95), T0)
    protocol.on_http(depth_url(), snapshot(100, BIDS, ASKS), T0)
    protocol.receive(depth(96, 99, bids=[["100.00", "9.00000000"]]), T0)
    assert protocol.instruments[0].book.best_bid == (10_000, 100_000)
    protocol.receive(depth(100, 103, bids=[["100.00", "4.00000000"]]), T0)
    assert protocol.instruments[0].book.best_bid == (10_000, 400_000)
    assert protocol.counters.gaps == 0


def test_gap_makes_book_resync_and_empties_it():
    protocol = live()
    outputs = protocol.receive(depth(102, 103), T0)
    assert states(outputs) == [FeedState.RESYNCING]
    assert protocol.instruments[0].reason == "update ids 101 to 101 were lost"
    assert best(protocol) is None
    assert protocol.counters.gaps == 1
    assert len(fetches(outputs)) == 1


def test_gap_is_healed_by_a_snapshot_and_counted_as_one_resync():
    protocol = live()
    protocol.receive(depth(105, 106), T0)
    protocol.receive(depth(107, 108, bids=[["100.00", "7.00000000"]]), T0)
    outputs = protocol.on_http(depth_url(), snapshot(106, BIDS, ASKS), T0)
    assert states(outputs) == [FeedState.LIVE]
    assert (protocol.counters.gaps, protocol.counters.resyncs) == (1, 1)
    assert protocol.instruments[0].book.best_bid == (10_000, 700_000)


def test_event_behind_the_gap_is_the_first_of_the_new_chain():
    protocol = live()
    protocol.receive(depth(105, 106, bids=[["100.00", "7.00000000"]]), T0)
    protocol.on_http(depth_url(), snapshot(104, BIDS, ASKS), T0)
    assert state(protocol) is FeedState.LIVE
    assert protocol.instruments[0].book.best_bid == (10_000, 700_000)


def test_repeated_event_is_ignored():
    protocol = live()
    for _ in range(2):
        protocol.receive(depth(101, 102, bids=[["100.00", "5.00000000"]]), T0)
    assert state(protocol) is FeedState.LIVE
    assert (protocol.counters.ignored, protocol.counters.gaps) == (1, 0)


def test_old_event_changes_nothing():
    protocol = live()
    outputs = protocol.receive(depth(50, 60, bids=[["100.00", "9.00000000"]]), T0)
    assert not [each for each in outputs if isinstance(each, BookMoved)]
    assert protocol.instruments[0].book.best_bid == (10_000, 100_000)


@pytest.mark.parametrize(
    "level",
    [["100.005", "1.0"], ["-1.00", "1.0"], ["0.00", "1.0"], ["1e2", "1.0"], ["100.00", "NaN"]],
)
def test_refused_level_applies_nothing_and_makes_book_resync(level):
    protocol = live()
    outputs = protocol.receive(depth(101, 101, bids=[["99.98", "1.0"], level]), T0)
    assert state(protocol) is FeedState.RESYNCING
    assert protocol.instruments[0].book.size() == (0, 0)
    assert (protocol.counters.refused, protocol.counters.gaps) == (1, 0)
    assert len(fetches(outputs)) == 1


def test_snapshot_from_before_a_refused_event_does_not_start_the_book():
    protocol = live()
    protocol.receive(depth(101, 101, bids=[["100.005", "1.0"]]), T0)
    protocol.receive(depth(102, 102), T0)
    protocol.on_http(depth_url(), snapshot(100, BIDS, ASKS), T0)
    assert state(protocol) is FeedState.RESYNCING
    protocol.on_http(depth_url(), snapshot(101, BIDS, ASKS), T0)
    assert state(protocol) is FeedState.LIVE


def test_quantity_off_the_lot_grid_costs_the_level_its_dust_and_not_the_book():
    # Real: old orders far from the market, as 25.42618900 at a lot of 0.00001.
    protocol = live()
    protocol.receive(depth(101, 101, asks=[["200000.00", "25.42618900"]]), T0)
    assert state(protocol) is FeedState.LIVE
    assert protocol.instruments[0].book.lots_at(1, 20_000_000) == 2_542_618


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{",
        b"[1]",
        b'{"stream":7}',
        b'{"stream":"btcusdt@depth@100ms","data":{"s":"BTCUSDT"}}',
        b'{"stream":"ethusdt@depth@100ms","data":{}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_bad_frame_is_counted_and_never_raised(frame):
    protocol = live()
    protocol.receive(frame, T0)
    assert protocol.counters.refused == 1


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("btcusdt@kline_1m", {"e": "kline", "k": {}}),
        ("btcusdt@blockTrade", {"e": "blockTrade"}),
        ("btcusdt@depth20@100ms", {"lastUpdateId": 7, "bids": [], "asks": []}),
        ("!ticker@arr", {"e": "24hrTicker"}),
    ],
)
def test_unknown_event_type_is_ignored(name, data):
    protocol = live()
    assert protocol.receive(stream(name, data), T0) == []
    assert (protocol.counters.ignored, protocol.counters.refused) == (1, 0)
    assert state(protocol) is FeedState.LIVE


def test_bare_payloads_of_a_raw_stream_are_read_too():
    protocol = live()
    frame = depth(101, 101, bids=[["100.00", "0.00000000"]])
    protocol.receive(frame[frame.index(b'"data":') + 7 : -1], T0)
    assert best(protocol) == ("99.99", "100.01")


def test_announced_shutdown_asks_for_another_connection_and_keeps_the_book():
    protocol = live()
    for frame in (b'{"e":"serverShutdown","E":1}', stream("", {"e": "serverShutdown"})):
        assert protocol.receive(frame, T0) == [Renew("the venue announced a shutdown")]
    assert state(protocol) is FeedState.LIVE


def test_error_reply_is_shown_as_the_reason_without_its_control_characters():
    protocol = binance()
    protocol.receive(b'{"code":2,"msg":"Invalid \\u001b]52;c;x\\u0007[b]request"}', T0)
    assert protocol.instruments[0].reason == "the venue said: Invalid ?)52;c;x?(b)request"


def test_failed_snapshot_request_is_asked_again():
    protocol = binance()
    outputs = protocol.on_http_failed(depth_url(), "HTTP 503", T0)
    assert len(fetches(outputs)) == 1
    assert "HTTP 503" in protocol.instruments[0].reason


def test_bad_snapshot_body_is_refused_and_asked_again():
    protocol = binance()
    outputs = protocol.on_http(depth_url(), b'{"code":-1003,"msg":"too much"}', T0)
    assert protocol.counters.refused == 1
    assert len(fetches(outputs)) == 1
    assert state(protocol) is FeedState.BUFFERING


def test_reply_for_another_address_is_ignored():
    protocol = binance()
    assert protocol.on_http("https://x/api/v3/time?symbol=BTCUSDT", b"{}", T0) == []
    assert protocol.on_http(depth_url("ETHUSDT"), snapshot(1, BIDS, ASKS), T0) == []
    assert protocol.counters.ignored == 2


def test_refresh_ahead_of_the_stream_waits_for_it():
    protocol = live()
    protocol.on_http(depth_url(), snapshot(105, [["98.00", "1.0"]], ASKS), T0)
    assert best(protocol) == ("100", "100.01")
    protocol.receive(depth(101, 104), T0)
    assert best(protocol) == ("100", "100.01")
    protocol.receive(depth(105, 107, asks=[["100.01", "0.0"]]), T0)
    assert best(protocol) == ("98", "100.02")


def test_refresh_older_than_the_events_kept_leaves_the_book_alone():
    protocol = live()
    protocol.on_http(depth_url(), snapshot(90, [["98.00", "1.0"]], ASKS), T0)
    assert best(protocol) == ("100", "100.01")
    assert state(protocol) is FeedState.LIVE


def test_refresh_from_before_ids_that_only_a_snapshot_covered_is_dropped():
    protocol = binance()
    protocol.receive(depth(90, 95), T0)
    protocol.on_http(depth_url(), snapshot(100, BIDS, ASKS), T0)
    protocol.receive(depth(101, 110), T0)
    # Ids 98 to 100 are in no event: this one cannot be stitched.
    protocol.on_http(depth_url(), snapshot(97, [["98.00", "1.0"]], ASKS), T0)
    assert best(protocol) == ("100", "100.01")


def test_market_that_walks_past_most_of_the_snapshot_asks_for_another():
    bids = [[f"{100 - n / 100:.2f}", "1.0"] for n in range(100)]
    asks = [[f"{100 + (n + 1) / 100:.2f}", "1.0"] for n in range(100)]
    protocol = binance(snapshot_levels=100)
    protocol.on_http(depth_url(), snapshot(100, bids, asks), T0)
    gone = [[price, "0.0"] for price, _ in bids[:80]]
    outputs = protocol.receive(depth(101, 101, bids=gone), T0)
    for n in range(102, 102 + 64):
        outputs += protocol.receive(depth(n, n), T0)
    assert len(fetches(outputs)) == 1
    assert state(protocol) is FeedState.LIVE


def test_events_kept_while_waiting_are_bounded_and_the_oldest_goes_first():
    protocol = binance()
    for n in range(1, MAX_EVENTS + 11):
        protocol.receive(depth(n, n), T0)
    protocol.on_http(depth_url(), snapshot(5, BIDS, ASKS), T0)
    assert state(protocol) is FeedState.BUFFERING
    protocol.on_http(depth_url(), snapshot(10, BIDS, ASKS), T0)
    assert state(protocol) is FeedState.LIVE


def test_ticker_is_compared_at_the_same_update_id_in_either_order():
    protocol = live()
    protocol.receive(ticker(101, ["100.00", "1.0"], ["100.01", "1.5"]), T0)
    protocol.receive(ticker(103, ["100.00", "4.0"], ["100.01", "1.5"]), T0)
    protocol.receive(depth(101, 103, bids=[["100.00", "4.0"]]), T0)
    assert (protocol.counters.checks, protocol.counters.checks_failed) == (1, 0)
    protocol.receive(ticker(103, ["100.00", "4.0"], ["100.01", "1.5"]), T0)
    assert (protocol.counters.checks, protocol.counters.checks_failed) == (2, 0)


def test_ticker_that_differs_is_counted_as_failed_check():
    protocol = live()
    protocol.receive(ticker(100, ["100.00", "1.00001"], ["100.01", "1.5"]), T0)
    assert (protocol.counters.checks, protocol.counters.checks_failed) == (1, 1)


def test_ticker_of_an_empty_side_is_no_comparison():
    protocol = live()
    protocol.receive(ticker(100, ["100.00", "1.0"], ["0.00000000", "0.0"]), T0)
    assert (protocol.counters.checks, protocol.counters.refused) == (0, 0)


@pytest.mark.parametrize("kind", ["depth@100ms", "trade"])
def test_payload_of_another_symbol_than_its_stream_is_refused(kind):
    data = {"e": "x", "s": "ETHUSDT", "U": 101, "u": 101, "b": [["99.00", "1.0"]], "a": []}
    data |= {"p": "100.00", "q": "1.0", "m": True, "t": 1}
    protocol = live()
    protocol.receive(stream(f"btcusdt@{kind}", data), T0)
    assert protocol.counters.refused == 1
    assert protocol.instruments[0].trades == 0


def test_book_that_would_outgrow_its_bound_is_refused_and_resyncs(monkeypatch):
    protocol = live()
    monkeypatch.setattr("core.book.MAX_LEVELS", 4)
    protocol.instruments[0].book.block[at.ROOM] = 0
    protocol.receive(depth(101, 101, bids=[[f"{n}.00", "1.0"] for n in range(1, 9)]), T0)
    assert state(protocol) is FeedState.RESYNCING
    assert "allowed are 4" in protocol.instruments[0].reason
    assert protocol.counters.refused == 1


def test_a_ticker_told_twice_does_not_stay_ahead_of_the_book():
    protocol = live()
    for _ in range(2):
        protocol.receive(ticker(101, ["100.00", "1.0"], ["100.01", "1.5"]), T0)
    protocol.receive(depth(101, 101, [], []), T0)
    assert protocol.counters.checks == 1
    assert protocol.instruments[0].book.block[at.N_TICKERS] == 0


def test_tickers_ahead_of_the_book_are_bounded():
    protocol = live()
    for n in range(101, 101 + 2 * at.MAX_TICKERS):
        protocol.receive(ticker(n, ["100.00", "1.0"], ["100.01", "1.5"]), T0)
    assert protocol.instruments[0].book.block[at.N_TICKERS] == at.MAX_TICKERS


def test_buyer_as_maker_means_that_the_seller_took():
    protocol = live()
    outputs = protocol.receive(trade(1, "100.00", "0.5", seller_took=True), T0)
    outputs += protocol.receive(trade(2, "100.01", "0.25", seller_took=False), T0)
    assert [each.aggressor for each in trades(outputs)] == [-1, 1]
    feed = protocol.instruments[0]
    assert (feed.sell_lots, feed.buy_lots, feed.trades) == (50_000, 25_000, 2)


def test_trade_stream_is_preferred_to_aggregates_of_the_same_trades():
    protocol = live()
    for n in (1, 2, 3):
        protocol.receive(trade(n, "100.00", "1.0", seller_took=True), T0)
        protocol.receive(trade(n, "100.00", "1.0", seller_took=True, kind="aggTrade"), T0)
    assert (protocol.instruments[0].trades, protocol.instruments[0].sell_lots) == (3, 300_000)


def test_aggregates_alone_are_counted():
    protocol = live()
    protocol.receive(trade(5, "100.00", "1.0", seller_took=False, kind="aggTrade"), T0)
    assert protocol.instruments[0].buy_lots == 100_000


def test_repeated_trade_id_is_counted_once():
    protocol = live()
    for _ in range(2):
        protocol.receive(trade(9, "100.00", "1.0", seller_took=True), T0)
    assert protocol.instruments[0].trades == 1


@pytest.mark.parametrize(("price", "qty"), [("100.005", "1.0"), ("100.00", "0.0"), ("0.0", "1.0")])
def test_refused_trade_leaves_the_book_alone(price, qty):
    protocol = live()
    outputs = protocol.receive(trade(9, price, qty, seller_took=True), T0)
    assert not trades(outputs)
    assert protocol.counters.refused == 1
    assert state(protocol) is FeedState.LIVE


def test_trades_are_printed_while_the_book_waits():
    protocol = binance()
    outputs = protocol.receive(trade(9, "100.00", "1.0", seller_took=True), T0)
    assert len(trades(outputs)) == 1


def test_crossed_book_is_counted_and_stays_for_the_gate_to_judge():
    protocol = live()
    protocol.receive(depth(101, 101, bids=[["100.01", "1.0"]]), T0)
    assert protocol.instruments[0].crossed == 1
    assert protocol.instruments[0].book.is_crossed
    assert state(protocol) is FeedState.LIVE


def test_silence_makes_stale_and_any_frame_of_the_connection_heals_it():
    protocol = live("BTCUSDT", "ETHUSDT", stale_after_ms=1_000)
    assert states(protocol.on_time(T0 + 1_000 * MS)) == []
    outputs = protocol.on_time(T0 + 1_001 * MS)
    assert states(outputs) == [FeedState.STALE, FeedState.STALE]
    assert best(protocol) == ("100", "100.01")
    outputs = protocol.receive(depth(101, 101, name="ETHUSDT"), T0 + 2 * S)
    assert states(outputs) == [FeedState.LIVE, FeedState.LIVE]
    assert protocol.counters.resyncs == 0


def test_silence_that_hid_a_loss_ends_in_resync_and_not_in_live():
    protocol = live(stale_after_ms=1_000)
    protocol.on_time(T0 + 2 * S)
    protocol.receive(depth(105, 105), T0 + 2 * S)
    assert state(protocol) is FeedState.RESYNCING


def test_long_silence_asks_for_one_new_connection():
    protocol = live(stale_after_ms=1_000)
    outputs = [each for n in range(10) for each in protocol.on_time(T0 + n * S)]
    assert len(reconnects(outputs)) == 1


def test_closed_connection_empties_books_and_reopening_counts_a_resync():
    protocol = live()
    assert states(protocol.on_close("code 1006", T0)) == [FeedState.CONNECTING]
    assert best(protocol) is None
    outputs = protocol.on_open(T0 + S)
    assert states(outputs) == [FeedState.BUFFERING]
    assert len(fetches(outputs)) == 1
    protocol.on_http(depth_url(), snapshot(500, BIDS, ASKS), T0 + S)
    assert state(protocol) is FeedState.LIVE
    assert protocol.counters.resyncs == 1


def test_url_names_every_stream_in_lower_case():
    url = binance("BTCUSDT", "ETHUSDT").url()
    assert url.startswith("wss://data-stream.binance.vision/stream?streams=btcusdt@depth@100ms/")
    assert "/ethusdt@bookTicker/" in url


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=30),
    order=st.data(),
)
def test_book_after_any_interleaving_of_the_snapshot_equals_the_plain_replay(sizes, order):
    """Events of random widths; the snapshot is taken at any id and served at any later point."""
    events, levels, truth, at = [], {}, {0: {}}, 0
    for n, size in enumerate(sizes):
        price, qty = 9_000 + n % 5, n % 3
        first, at = at + 1, at + size
        levels = {**levels, price: qty} if qty else {p: q for p, q in levels.items() if p != price}
        events.append((first, at, price, qty))
        truth[at] = levels
    taken = order.draw(st.sampled_from(sorted(truth)))
    served = order.draw(st.integers(0, len(events)))
    protocol = binance()
    for n, (first, last, price, qty) in enumerate(events):
        if n == served:
            serve(protocol, taken, truth[taken])
        protocol.receive(depth(first, last, bids=[[f"{price / 100:.2f}", f"{qty}.0"]]), T0)
    if served == len(events):
        serve(protocol, taken, truth[taken])
    assert state(protocol) is FeedState.LIVE
    assert protocol.counters.gaps == 0
    want = {price: qty * 100_000 for price, qty in truth[max(truth)].items()}
    assert protocol.instruments[0].book.levels(0) == want


def serve(protocol, last_id, levels):
    bids = [[f"{price / 100:.2f}", f"{qty}.0"] for price, qty in levels.items()]
    protocol.on_http(depth_url(), snapshot(last_id, bids, []), T0)
