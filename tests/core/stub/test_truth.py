"""The venue's own book: versions, undoing, texts."""

from __future__ import annotations

import numpy as np
import pytest

from core.stub.flow import RandomFlow, SimFlow
from core.stub.truth import ASK, BID, TrueBook
from tests.core.feeds.wire import MS, T0, S, instrument


def test_the_book_as_of_every_version_is_the_one_that_was() -> None:
    book = TrueBook(instrument("binance", "BTCUSDT"), 100)
    flow = RandomFlow(book, np.random.default_rng(3), 30)
    kept = {book.version: (book.sides[BID].copy(), book.sides[ASK].copy())}
    for step in range(60):
        before = book.version
        (changes,) = (flow.advance(T0 + step).changes,)
        assert book.version == before + len(changes)
        kept[book.version] = (book.sides[BID].copy(), book.sides[ASK].copy())
    for version, sides in kept.items():
        assert book.truth(version) == sides


def test_a_version_that_never_was_or_is_not_kept_has_no_truth() -> None:
    book = TrueBook(instrument("binance", "BTCUSDT"), 1, keep=2)
    for ticks in range(5):
        book.set(BID, 10 + ticks, 1, T0)
    assert book.version == 6
    assert book.truth(7) is None
    assert book.truth(3) is None
    assert book.truth(4) == ({10: 1, 11: 1, 12: 1}, {})
    assert book.truth(6) == ({10: 1, 11: 1, 12: 1, 13: 1, 14: 1}, {})


def test_numbering_anew_keeps_the_book_and_both_numbers() -> None:
    book = TrueBook(instrument("binance", "BTCUSDT"), 1_000)
    book.set(ASK, 10, 5, T0)
    book.renumber(1, T0 + S)
    book.set(ASK, 10, 0, T0 + 2 * S)
    assert (book.truth(1_001), book.truth(1)) == (({}, {10: 5}), ({}, {10: 5}))
    assert book.truth(2) == ({}, {})
    assert book.ceased_ns(1_001) == T0 + S
    assert book.ceased_ns(2) is None


@pytest.mark.parametrize(
    ("tick", "decimals", "text"),
    [("0.01", None, "123.45"), ("0.01", 8, "123.45000000"), ("1", None, "12345"),
     ("1", 2, "12345.00"), ("0.05", None, "617.25"), ("5", None, "61725")],
)  # fmt: skip
def test_prices_are_told_with_the_digits_of_their_grid(
    tick: str, decimals: int | None, text: str
) -> None:
    book = TrueBook(instrument("binance", "BTCUSDT", tick), decimals=decimals)
    assert book.price_text(12_345) == text


def test_rows_are_best_first() -> None:
    book = TrueBook(instrument("coinbase", "BTC-USD", lot="1"))
    for side, ticks in ((BID, 99), (BID, 100), (ASK, 102), (ASK, 101)):
        book.set(side, ticks, ticks, T0)
    assert book.rows(BID) == [("1.00", "100"), ("0.99", "99")]
    assert book.rows(ASK, 1) == [("1.01", "101")]


@pytest.mark.slow
def test_the_book_of_a_simulated_market_stays_the_markets_own() -> None:
    book = TrueBook(instrument("binance", "BTCUSDT"))
    flow = SimFlow(book, 7, T0, 6_000_000, speed=10)
    trades = 0
    for step in range(1, 200):
        trades += len(flow.advance(T0 + step * 500 * MS).trades)
    assert book.version > 1_000
    assert trades > 50
    assert book.trade_id == trades
    for side in (BID, ASK):
        near = {level.ticks: level.lots for level in flow.market.levels(side)}
        assert {t: q for t, q in book.sides[side].items() if t in near} == near
        assert book.best(side) == (flow.market.best_bid, flow.market.best_ask)[side][0]
