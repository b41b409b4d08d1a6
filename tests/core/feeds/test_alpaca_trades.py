"""Alpaca's tape: conditions by tape, repeats, corrections, cancels, refills, minute bars."""

from __future__ import annotations

import json

import pytest

from core.feeds import alpaca_prints
from core.feeds.alpaca_conditions import counts_volume, makes_last
from tests.core.feeds.test_alpaca import AUTHENTICATED, CONNECTED, SUBSCRIPTION, subscribed
from tests.core.feeds.wire import T0, S, fetches, trades

AT = "2023-11-14T22:13:20Z"
TRADES_URL = "https://anywhere.example/v2/stocks/trades?symbols=IBM"


def row(number, price=181.9, size=100, conditions=("@",), tape="C", at=AT, **more):
    return {
        "T": "t", "S": "IBM", "i": number, "x": "V", "p": price, "s": size,
        "c": list(conditions), "z": tape, "t": at, **more,
    }  # fmt: skip


def tell(protocol, *rows, now_ns=T0):
    return protocol.receive(json.dumps(rows).encode(), now_ns)


def tape_of(protocol):
    """Return prints, volume and last price of the instrument."""
    feed = protocol.instruments[0]
    return feed.trades, feed.unknown_lots, feed.last_trade_ticks


@pytest.mark.parametrize(
    ("tape", "conditions", "is_last"),
    [
        ("A", ["@"], True),
        ("A", [" ", "F", "T", "E"], True),
        ("C", ["@", "O", "X"], True),
        ("C", ["@", "6", "5", "9"], True),
        ("C", ["@", "B"], True),  # bunched on UTP's tape
        ("A", ["@", "B"], False),  # average price on CTA's
        ("", ["@", "B"], False),
        ("C", ["@", "W"], False),  # average price
        ("A", ["@", "I"], False),  # odd lot
        ("C", ["@", "T", "I"], False),
        ("B", ["Z"], False),  # out of sequence
        ("C", ["U"], False),
        ("C", ["L"], False),  # late
        ("A", ["P"], False),  # prior reference price
        ("C", ["4"], False),  # derived price
        ("C", ["7"], False),  # contingent
        ("C", ["C"], False),  # cash settlement
        ("C", ["N"], False),
        ("C", ["R"], False),
        ("C", ["H"], False),
        ("A", ["V"], False),
        ("C", ["M"], False),  # official close
        ("C", ["?"], False),
        ("A", [], True),
    ],
)
def test_last_price_follows_the_conditions_of_the_tape(tape, conditions, is_last):
    assert makes_last(tape, conditions) is is_last


def test_official_prices_repeat_volume_that_was_printed():
    assert [counts_volume([code]) for code in "@IZMQ9"] == [True, True, True, False, False, False]


def test_odd_lot_counts_volume_and_leaves_the_last_price():
    protocol, _ = subscribed()
    tell(protocol, row(1))
    (told,) = trades(tell(protocol, row(2, 190.0, 5, ["@", "I"])))
    assert told.makes_last is False
    assert tape_of(protocol) == (2, 105, 18_190)


def test_official_close_moves_neither_volume_nor_last_price():
    protocol, _ = subscribed()
    assert trades(tell(protocol, row(1), row(2, 190.0, 5000, ["@", "M"])))[0].trade_id == "1"
    assert tape_of(protocol) == (2, 100, 18_190)


def test_corrected_close_moves_the_last_price_and_no_volume():
    protocol, _ = subscribed()
    tell(protocol, row(1), row(2, 182.0, 5000, ["@", "9"]))
    assert tape_of(protocol) == (2, 100, 18_200)


@pytest.mark.parametrize("price", [181.905, 181.9000001])
def test_print_between_ticks_counts_volume_and_leaves_the_last_price(price):
    # Mid-point prints at half a cent are a large share of what IEX prints.
    protocol, _ = subscribed()
    assert len(trades(tell(protocol, row(1), row(2, price)))) == 1
    assert tape_of(protocol) == (2, 200, 18_190)
    assert protocol.counters.refused == 0


def test_fraction_of_a_share_counts_whole_shares():
    protocol, _ = subscribed()
    tell(protocol, row(1, size=10.75), row(2, size=0.5))
    assert tape_of(protocol) == (1, 10, 18_190)
    assert protocol.counters.ignored == 1


def test_print_told_twice_counts_once_and_its_id_may_come_again_at_another_time():
    protocol, _ = subscribed()
    tell(protocol, row(1), row(1))
    assert (tape_of(protocol)[0], protocol.counters.ignored) == (1, 1)
    tell(protocol, row(1, at="2023-11-15T22:13:20Z"), row(1, x="Q"))
    assert tape_of(protocol)[0] == 3


def test_cancel_takes_volume_and_last_price_back():
    protocol, _ = subscribed()
    tell(protocol, row(1, 181.8), row(2, 181.9, 50))
    tell(protocol, {"T": "x", "S": "IBM", "i": 2, "x": "V", "p": 181.9, "s": 50, "a": "C"})
    assert tape_of(protocol) == (1, 100, 18_180)
    tell(protocol, {"T": "x", "S": "IBM", "i": 1, "x": "V", "p": 181.8, "s": 100, "a": "E"})
    assert tape_of(protocol) == (0, 0, None)


def test_cancel_of_an_older_print_leaves_the_last_price():
    protocol, _ = subscribed()
    tell(protocol, row(1, 181.8), row(2, 181.9, 50))
    tell(protocol, {"T": "x", "S": "IBM", "i": 1, "x": "V", "a": "C"})
    assert tape_of(protocol) == (1, 50, 18_190)


def test_cancel_and_correction_of_a_print_that_was_not_counted_are_ignored():
    protocol, _ = subscribed()
    tell(protocol, row(1))
    tell(protocol, {"T": "x", "S": "IBM", "i": 9, "x": "V", "a": "C"})
    tell(protocol, {"T": "c", "S": "IBM", "x": "V", "oi": 9, "ci": 10, "cp": 1, "cs": 1})
    assert (tape_of(protocol), protocol.counters.ignored) == ((1, 100, 18_190), 2)


def correction(**new):
    known = {"T": "c", "S": "IBM", "x": "V", "oi": 2, "op": 181.9, "os": 50, "oc": ["@"], "z": "C"}
    return known | {"ci": 3, "cp": 181.7, "cs": 60, "cc": ["@"], "t": AT} | new


def test_correction_stands_in_the_place_of_the_print():
    protocol, _ = subscribed()
    tell(protocol, row(1, 181.8), row(2, 181.9, 50))
    tell(protocol, correction())
    assert tape_of(protocol) == (2, 160, 18_170)
    tell(protocol, {"T": "x", "S": "IBM", "i": 3, "x": "V", "a": "C"})
    assert tape_of(protocol) == (1, 100, 18_180)


def test_correction_to_a_price_that_is_no_last_price_gives_the_one_before_back():
    protocol, _ = subscribed()
    tell(protocol, row(1, 181.8), row(2, 181.9, 50))
    tell(protocol, correction(cc=["@", "W"]))
    assert tape_of(protocol) == (2, 160, 18_180)


def test_correction_that_cannot_be_read_changes_nothing():
    protocol, _ = subscribed()
    tell(protocol, row(1, 181.8), row(2, 181.9, 50))
    tell(protocol, correction(cp=None))
    assert (tape_of(protocol), protocol.counters.refused) == ((2, 150, 18_190), 1)


def test_memory_of_prints_is_bounded_and_what_it_forgot_is_not_counted_again(monkeypatch):
    monkeypatch.setattr(alpaca_prints, "KEPT", 8)
    protocol, _ = subscribed()
    rows = [row(n, at=f"2023-11-14T22:13:{20 + n}Z") for n in range(20)]
    tell(protocol, *rows)
    assert len(protocol._memory[0]) <= 8
    refill(protocol, rows)
    assert tape_of(protocol)[0] == 20


# --- what was missed


def refill(protocol, rows):
    body = {"trades": {"IBM": rows, "XYZ": rows, "ABC": None}, "next_page_token": None}
    return protocol.on_http(TRADES_URL, json.dumps(body).encode(), T0)


def test_missed_prints_are_counted_without_an_event_and_make_the_last_price_by_their_time():
    protocol, _ = subscribed()
    tell(protocol, row(1), row(2, at="2023-11-14T22:13:25Z"))
    rows = [row(1), row(3, 181.5, at="2023-11-14T22:13:22Z"), row(2, at="2023-11-14T22:13:25Z")]
    assert refill(protocol, rows) == []
    assert tape_of(protocol) == (3, 300, 18_190)
    refill(protocol, [row(4, 181.6, at="2023-11-14T22:13:26Z"), row(5, "x")])
    assert tape_of(protocol) == (4, 400, 18_160)
    assert protocol.counters.refused == 1


def test_prints_since_the_newest_one_are_asked_for_after_a_reconnect():
    protocol, first = subscribed()
    assert not [each for each in fetches(first) if "/stocks/trades" in each.url]
    tell(protocol, row(1))
    protocol.on_close("cut", T0)
    protocol.on_open(T0)
    asked = []
    for frame in (CONNECTED, AUTHENTICATED, SUBSCRIPTION):
        asked = fetches(protocol.receive(frame, T0))
    (request,) = [each for each in asked if "/stocks/trades" in each.url]
    assert request.url.endswith("&sort=asc&limit=10000&feed=iex")


def bar(volume, at="2023-11-14T22:14:00Z", kind="b"):
    return {"T": kind, "S": "IBM", "o": 1, "h": 1, "l": 1, "c": 1, "v": volume, "t": at}


def test_minute_bar_of_more_than_was_printed_asks_for_the_minute():
    protocol, _ = subscribed()
    inside = [row(1, at="2023-11-14T22:14:01Z"), row(2, at="2023-11-14T22:14:59Z")]
    after = row(3, at="2023-11-14T22:15:00Z")
    tell(protocol, *inside, after)
    assert fetches(tell(protocol, bar(200), now_ns=T0 + 101 * S)) == []
    assert (protocol.counters.checks, protocol.counters.checks_failed) == (1, 0)
    (request,) = fetches(tell(protocol, bar(300), now_ns=T0 + 102 * S))
    assert "start=2023-11-14T22%3A14%3A00" in request.url
    assert (protocol.counters.checks, protocol.counters.checks_failed) == (2, 1)


def test_bar_of_a_minute_that_began_before_the_subscription_says_nothing():
    protocol, _ = subscribed()
    assert fetches(tell(protocol, bar(9_999, "2023-11-14T22:13:00Z"))) == []
    assert protocol.counters.checks == 0


@pytest.mark.parametrize("kind", ["u", "d"])
def test_updated_and_daily_bars_are_counted_and_unused(kind):
    protocol, _ = subscribed()
    tell(protocol, bar(9_999, kind=kind))
    assert (protocol.counters.ignored, protocol.counters.checks) == (1, 0)
