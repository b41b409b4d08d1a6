"""Coinbase Exchange: books without a sequence, matches by the maker's side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.feeds.capture import read_capture
from core.feeds.coinbase_exchange import CoinbaseExchangeProtocol
from core.feeds.replaying import give, without_last_close
from core.model.market import FeedCause, FeedState
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
    assert asked["channels"] == ["level2_batch", "matches", "ticker", "heartbeat"]


# --- cross-checks


def update(price="99", name="BTC-USD"):
    return frame("l2update", name, changes=[["buy", price, "3"]])


def beat(last_trade_id, name="BTC-USD"):
    return frame("heartbeat", name, sequence=90_000, last_trade_id=last_trade_id)


def ticker(trade_id, bid, ask, **fields):
    return frame("ticker", trade_id=trade_id, best_bid=bid, best_ask=ask, **fields)


def counts(protocol):
    counters = protocol.counters
    return counters.gaps, counters.trades_lost, counters.checks, counters.checks_failed


def test_trade_ids_that_jump_make_that_book_suspect_and_bring_its_channels_anew():
    protocol = live()
    for trade_id in (7, 8, 11):
        outputs = protocol.receive(match(trade_id, "buy"), T0)
    assert [state(protocol, n) for n in (0, 1)] == [FeedState.SUSPECT, FeedState.LIVE]
    assert counts(protocol) == (1, 2, 0, 0)
    assert len(trades(outputs)) == 1
    assert best(protocol) == ("100", "101")
    asked = sent(protocol.on_time(T0 + 100 * MS))
    assert [(each["type"], each["product_ids"]) for each in asked] == [
        ("unsubscribe", ["BTC-USD"]),
        ("subscribe", ["BTC-USD"]),
    ]
    assert asked[0]["channels"] == ["level2_batch", "matches", "ticker", "heartbeat"]
    protocol.receive(match(12, "buy", "last_match"), T0 + 200 * MS)
    protocol.receive(snapshot(), T0 + 200 * MS)
    assert state(protocol) is FeedState.LIVE
    assert protocol.counters.resyncs == 0


def snapshot(name="BTC-USD"):
    return frame("snapshot", name, bids=[["100", "1"]], asks=[["101", "1.5"]])


def test_heartbeat_tells_of_trades_that_never_came_one_beat_later():
    protocol = live()
    protocol.receive(match(7, "buy"), T0)
    protocol.receive(beat(9), T0 + S)
    assert state(protocol) is FeedState.LIVE
    protocol.receive(beat(9), T0 + 2 * S)
    assert state(protocol) is FeedState.SUSPECT
    assert counts(protocol)[:2] == (1, 2)
    assert protocol.instruments[0].reason == "trades that never came: 2"


def test_last_match_that_repeats_a_trade_and_the_first_trade_after_it_are_no_gap():
    protocol = live()
    protocol.receive(match(7, "buy", "last_match"), T0)
    protocol.receive(match(7, "buy"), T0)
    protocol.receive(match(8, "buy"), T0)
    assert counts(protocol)[:2] == (0, 0)
    assert state(protocol) is FeedState.LIVE


def test_ids_begin_anew_with_each_connection():
    protocol = live()
    protocol.receive(match(7, "buy"), T0)
    protocol.on_close("cut", T0)
    protocol.on_open(T0 + S)
    protocol.receive(snapshot(), T0 + S)
    protocol.receive(match(50, "buy"), T0 + S)
    assert counts(protocol)[:2] == (0, 0)


def test_first_ticker_is_history_and_may_lack_its_time():
    protocol = live()
    protocol.receive(ticker(7, "50", "60"), T0)
    protocol.receive(ticker(7, "50", "60"), T0)
    protocol.on_time(T0 + S)
    assert counts(protocol) == (0, 0, 0, 0)


def test_ticker_is_compared_and_passes_at_once_where_it_is_equal():
    protocol = live()
    protocol.receive(ticker(7, "50", "60"), T0)
    protocol.receive(ticker(8, "100.00", "101.00"), T0)
    assert counts(protocol) == (0, 0, 1, 0)


def test_tickers_that_contradict_the_book_make_it_suspect_then_cost_it():
    protocol = live()
    protocol.receive(ticker(7, "50", "60"), T0)
    seen = []
    for n in range(1, 4):
        protocol.receive(ticker(7 + n, "99", "101"), T0 + n * S)
        protocol.on_time(T0 + n * S + 500 * MS)
        seen.append(state(protocol))
    assert seen == [FeedState.LIVE, FeedState.SUSPECT, FeedState.RESYNCING]
    assert counts(protocol) == (0, 0, 3, 3)
    asked = sent(protocol.on_time(T0 + 30 * S))
    assert [each["channels"] for each in asked] == [["level2_batch"]] * 2


def test_ticker_that_agrees_again_ends_the_doubt():
    protocol = live()
    protocol.receive(ticker(7, "50", "60"), T0)
    for n in (1, 2):
        protocol.receive(ticker(7 + n, "99", "101"), T0 + n * S)
        protocol.on_time(T0 + n * S + 500 * MS)
    assert state(protocol) is FeedState.SUSPECT
    protocol.receive(ticker(10, "100", "101"), T0 + 3 * S)
    assert state(protocol) is FeedState.LIVE
    assert protocol.instruments[0].transitions[FeedCause.CHECK_PASSED] == 1


def test_ticker_from_before_a_snapshot_is_not_compared_with_it():
    protocol = live()
    protocol.receive(ticker(7, "50", "60"), T0)
    protocol.receive(ticker(8, "99", "101"), T0)
    protocol.receive(snapshot(), T0)
    protocol.on_time(T0 + S)
    assert counts(protocol) == (0, 0, 0, 0)


def test_agreeing_ticker_does_not_bring_lost_trades_back():
    protocol = live()
    protocol.receive(ticker(7, "50", "60"), T0)
    protocol.receive(match(7, "buy"), T0)
    protocol.receive(match(9, "buy"), T0)
    protocol.receive(ticker(9, "100", "101"), T0)
    assert state(protocol) is FeedState.SUSPECT


@pytest.mark.parametrize("fields", [{}, {"best_bid": "100.001", "best_ask": "101"},
                                    {"best_bid": "0", "best_ask": "101"}])  # fmt: skip
def test_ticker_without_usable_best_prices_is_no_comparison_and_refuses_nothing(fields):
    protocol = live()
    for trade_id in (7, 8):
        protocol.receive(frame("ticker", trade_id=trade_id, **fields), T0)
    protocol.on_time(T0 + S)
    assert counts(protocol) == (0, 0, 0, 0)
    assert protocol.counters.refused == 0


def test_book_that_stands_still_while_it_trades_is_suspect_then_lost():
    protocol = live()
    for n in range(3):
        protocol.receive(match(7 + n, "buy"), T0)
    seen = []
    for wait_s in (1, 3, 5, 6):
        protocol.receive(beat(9), T0 + wait_s * S)
        seen.append(state(protocol))
    assert seen == [
        FeedState.LIVE, FeedState.SUSPECT, FeedState.SUSPECT, FeedState.RESYNCING
    ]  # fmt: skip


def test_book_that_moves_again_has_caught_up():
    protocol = live()
    for n in range(3):
        protocol.receive(match(7 + n, "buy"), T0)
    protocol.on_time(T0 + 3 * S)
    assert state(protocol) is FeedState.SUSPECT
    protocol.receive(update(), T0 + 3 * S)
    assert state(protocol) is FeedState.LIVE


def test_product_whose_heartbeats_stop_is_stale_and_then_subscribed_anew_alone():
    protocol = live()
    for n in range(1, 30):
        protocol.receive(beat(0, "ETH-USD"), T0 + n * S)
        if n < 4:
            protocol.receive(beat(0), T0 + n * S)
        asked = sent(protocol.on_time(T0 + n * S))
        assert state(protocol, 1) is FeedState.LIVE
        if n == 8:
            assert state(protocol) is FeedState.LIVE
        elif n == 9:
            assert state(protocol) is FeedState.STALE
        elif n == 19:
            assert state(protocol) is FeedState.RESYNCING
        if asked:
            assert {name for each in asked for name in each["product_ids"]} == {"BTC-USD"}
    assert protocol.instruments[0].transitions[FeedCause.SILENT] == 2


def test_product_without_heartbeats_of_its_own_is_quiet_and_not_stale():
    protocol = live()
    for n in range(1, 30):
        protocol.receive(beat(0, "ETH-USD"), T0 + n * S)
        protocol.on_time(T0 + n * S)
    assert state(protocol) is FeedState.LIVE


def test_heartbeats_that_come_again_make_the_product_live_again():
    protocol = live()
    for n in range(1, 12):
        protocol.receive(beat(0, "ETH-USD"), T0 + n * S)
        if n < 3:
            protocol.receive(beat(0), T0 + n * S)
        protocol.on_time(T0 + n * S)
    assert state(protocol) is FeedState.STALE
    protocol.receive(beat(0), T0 + 12 * S)
    assert state(protocol) is FeedState.LIVE


def test_checks_of_products_that_are_not_watched_are_ignored():
    protocol = live()
    protocol.receive(beat(7, "DOGE-USD"), T0)
    assert (protocol.counters.ignored, protocol.counters.refused) == (1, 0)


CAPTURE = Path(__file__).resolve().parents[3] / ".." / "shared" / "captures"
CAPTURE /= "coinbase-exchange_2021-04-17.jsonl.gz"


@pytest.mark.captures
@pytest.mark.slow
def test_checks_raise_no_false_alarm_on_a_recording():
    if not CAPTURE.exists():
        pytest.skip(f"no capture at {CAPTURE}")
    reader = read_capture(CAPTURE)
    protocol = CoinbaseExchangeProtocol(reader.meta.instruments, settings())
    for record in without_last_close(reader):
        give(protocol, record)
        protocol.on_time(record.ns)
    assert counts(protocol) == (0, 0, 97, 0)
    causes = {cause for feed in protocol.instruments for cause in feed.transitions}
    assert causes == {FeedCause.OPENED, FeedCause.SNAPSHOT}
