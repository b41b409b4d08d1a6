"""Crypto books are asked for anew at their age, and one that is not told is not believed long."""

from __future__ import annotations

import json

import pytest

from core.feeds.alpaca import AlpacaProtocol
from core.feeds.alpaca_renewal import ANSWER_NS, Renewals
from core.model.market import FeedCause, FeedState
from tests.core.feeds.wire import MS, T0, S, best, instrument, sent, settings, state, states

NAMES = ["BTC/USD", "ETH/USD"]
AGE_S = 60


def tell(protocol, *messages, now_ns=T0):
    return protocol.receive(json.dumps(messages).encode(), now_ns)


def subscription(*books):
    return {"T": "subscription", "trades": NAMES, "quotes": NAMES, "orderbooks": list(books)}


def book(name, bid, ask, *, r=True):
    sides = {"b": [{"p": bid, "s": 1}], "a": [{"p": ask, "s": 1}]}
    return {"T": "o", "S": name, "t": "2026-11-23T00:00:00Z", **sides, "r": r}


def asks_for(name):
    actions = ("unsubscribe", "subscribe")
    return [{"action": action, "orderbooks": [name]} for action in actions]


def crypto():
    """Return a protocol whose two books came whole at ``T0``."""
    listed = [instrument("alpaca", name) for name in NAMES]
    protocol = AlpacaProtocol(listed, settings(refresh_after_s=AGE_S))
    protocol.on_open(T0)
    for word in ("connected", "authenticated"):
        tell(protocol, {"T": "success", "msg": word})
    tell(protocol, subscription(*NAMES))
    for name in NAMES:
        tell(protocol, book(name, 100, 101))
    return protocol


def hear(protocol, now_ns):
    """Let time pass with a frame, so that the connection is not silent."""
    tell(protocol, {"T": "d", "S": NAMES[0]}, now_ns=now_ns)
    return protocol.on_time(now_ns)


def test_book_is_asked_for_anew_at_its_age_and_is_live_throughout():
    protocol = crypto()
    at_ns = T0 + AGE_S * S
    assert sent(hear(protocol, at_ns - MS)) == []
    assert sent(hear(protocol, at_ns)) == asks_for("BTC/USD")
    # The two answers to the question: without the book, and with it again.
    for listed in (NAMES[1:], NAMES):
        assert states(tell(protocol, subscription(*listed), now_ns=at_ns + 40 * MS)) == []
    assert states(tell(protocol, book("BTC/USD", 99, 102), now_ns=at_ns + 80 * MS)) == []
    assert (state(protocol), best(protocol)) == (FeedState.LIVE, ("99", "102"))
    assert protocol.counters.refused == 0
    # Long after, nothing of it is left to be doubted.
    outputs = [each for n in range(50) for each in hear(protocol, at_ns + 200 * MS + n * 100 * MS)]
    assert states(outputs) == []


def test_level_that_was_lost_unseen_is_there_again_after_the_age():
    protocol = crypto()
    # A message with a level of 90 never came; the one with 91 did.
    tell(protocol, book("BTC/USD", 91, 110, r=False))
    whole = book("BTC/USD", 100, 101)
    whole["b"] += [{"p": 91, "s": 1}, {"p": 90, "s": 1}]
    for n in range(AGE_S + 1):
        # The venue tells the whole book to whoever asks, and else nothing.
        if asks_for("BTC/USD")[1] in sent(hear(protocol, T0 + n * S)):
            tell(protocol, whole, now_ns=T0 + n * S)
    assert set(protocol.instruments[0].book.levels(0)) == {10_000, 9_100, 9_000}


def test_books_are_asked_for_one_at_a_time():
    protocol = crypto()
    at_ns = T0 + AGE_S * S
    assert sent(hear(protocol, at_ns)) == asks_for("BTC/USD")
    assert sent(hear(protocol, at_ns + 50 * MS)) == []
    tell(protocol, book("BTC/USD", 100, 101), now_ns=at_ns + 60 * MS)
    assert sent(hear(protocol, at_ns + 100 * MS)) == asks_for("ETH/USD")
    tell(protocol, book("ETH/USD", 100, 101), now_ns=at_ns + 150 * MS)
    assert sent(hear(protocol, at_ns + 200 * MS)) == []
    assert sent(hear(protocol, at_ns + 60 * MS + AGE_S * S)) == asks_for("BTC/USD")


def test_book_that_the_venue_stopped_telling_is_suspect_and_asked_for():
    protocol = crypto()
    tell(protocol, subscription("ETH/USD"), now_ns=T0)
    assert states(hear(protocol, T0 + 2 * S)) == []
    assert states(hear(protocol, T0 + 2 * S + MS)) == [FeedState.SUSPECT]
    assert protocol.instruments[0].cause is FeedCause.LAGGED
    assert (state(protocol, 0), state(protocol, 1)) == (FeedState.SUSPECT, FeedState.LIVE)
    assert sent(hear(protocol, T0 + 3 * S)) == asks_for("BTC/USD")
    tell(protocol, book("BTC/USD", 100, 101), now_ns=T0 + 3 * S)
    assert state(protocol) is FeedState.LIVE


def test_book_that_stays_untold_is_lost():
    protocol = crypto()
    for n in range(3):
        tell(protocol, subscription("ETH/USD"), now_ns=T0 + 3 * n * S)
        hear(protocol, T0 + 3 * n * S + 2 * S + MS)
    assert state(protocol) is FeedState.RESYNCING
    assert "no subscription to BTC/USD" in protocol.instruments[0].reason


def test_replay_of_a_capture_in_which_nobody_answers_doubts_nothing():
    protocol = crypto()
    outputs = [each for n in range(10 * AGE_S) for each in hear(protocol, T0 + n * S)]
    assert states(outputs) == []
    assert {state(protocol, 0), state(protocol, 1)} == {FeedState.LIVE}


def test_fresh_connection_begins_to_count_anew():
    protocol = crypto()
    protocol.on_close("gone", T0 + S)
    assert sent(protocol.on_time(T0 + 2 * AGE_S * S)) == []
    protocol.on_open(T0 + 2 * AGE_S * S)
    assert sent(protocol.on_time(T0 + 2 * AGE_S * S)) == []


def test_stocks_are_never_asked_for_anew():
    protocol = AlpacaProtocol([instrument("alpaca", "IBM")], settings(refresh_after_s=AGE_S))
    protocol.on_open(T0)
    for word in ("connected", "authenticated"):
        tell(protocol, {"T": "success", "msg": word})
    tell(protocol, {"T": "subscription", "quotes": ["IBM"]})
    quote = {"T": "q", "S": "IBM", "bp": 1, "bs": 1, "ap": 2, "as": 1}
    for n in range(2 * AGE_S):
        tell(protocol, quote, now_ns=T0 + n * S)
        assert sent(protocol.on_time(T0 + n * S)) == []


@pytest.mark.parametrize("n_books", [1, 3])
def test_book_that_does_not_come_is_asked_for_later_each_time(n_books):
    renewals = Renewals(n_books, AGE_S * S)
    for index in range(n_books):
        renewals.came_whole(index, 0)
    live, asked = list(range(n_books)), []
    for now_ns in range(0, 4 * AGE_S * S, 50 * MS):
        index = renewals.due(live, now_ns)
        if index is not None:
            asked.append((now_ns - AGE_S * S, index))
            if index:
                renewals.came_whole(index, now_ns)
    first = [at_ns // S for at_ns, index in asked if not index]
    assert first == [0, 2, 6, 14, 30, 62, 122]
    # One that never answers keeps the others waiting for one answer's time, not for ever.
    for other in range(1, n_books):
        assert next(at_ns for at_ns, index in asked if index == other) < 2 * ANSWER_NS
