"""One MarketState row: what the book and the features say, and the flags of doubt."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from core.book import Book
from core.model.instrument import Instrument
from core.model.market import (
    FLAG_CROSSED,
    FLAG_NO_ASK,
    FLAG_NO_BID,
    FLAG_NOT_LIVE,
)

BTC = Instrument("binance", "BTCUSDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"))
S = 1_000_000_000


def book_of(*levels: tuple[int, int, int]) -> Book:
    book = Book(BTC, window=64)
    book.place = 3
    book.apply(np.array(levels, np.int64).reshape(-1, 3))
    return book


def row_of(*levels: tuple[int, int, int], is_live: bool = True) -> np.ndarray:
    book = book_of(*levels)
    book.moved(11, 22, is_live=is_live)
    return book.row


def test_row_holds_both_times_bests_and_depths_of_ten() -> None:
    bids = [(0, 1000 - i, 10 + i) for i in range(12)]
    row = row_of(*bids, (1, 1002, 30), (1, 1005, 5))
    assert (row["ts_event_ns"], row["ts_recv_ns"], row["instrument"]) == (11, 22, 3)
    assert (row["bid_ticks"], row["bid_lots"]) == (1000, 10)
    assert (row["ask_ticks"], row["ask_lots"]) == (1002, 30)
    assert (row["depth_bid_lots"], row["depth_ask_lots"]) == (sum(range(10, 20)), 35)
    assert row["flags"] == 0


def test_weighted_mid_leans_to_the_side_with_less_behind_it() -> None:
    row = row_of((0, 1000, 10), (1, 1002, 30))
    assert row["weighted_mid_ticks"] == (1000 * 30 + 1002 * 10) / 40
    assert row["imbalance_l1"] == -0.5
    assert row["imbalance_l10"] == -0.5


def test_features_of_the_row_are_those_of_the_formulas() -> None:
    book = book_of((0, 1000, 10), (1, 1002, 30))
    book.moved(S, S, is_live=True)
    book.features.on_trade(2 * S, 1002, 3, 1)
    book.features.on_trade(2 * S, 1000, 1, -1)
    book.apply(np.array([(0, 1000, 14)], np.int64))
    book.moved(2 * S, 2 * S, is_live=True)
    row, features = book.row, book.features
    assert row["order_flow_imbalance"] == pytest.approx(4 / 20)
    assert row["trade_pressure"] == pytest.approx(0.5)
    assert row["volatility_bps"] == features.volatility_bps


@pytest.mark.parametrize(
    ("levels", "is_live", "flags"),
    [
        ([], True, FLAG_NO_BID | FLAG_NO_ASK),
        ([(0, 1000, 1)], True, FLAG_NO_ASK),
        ([(1, 1000, 1)], False, FLAG_NO_BID | FLAG_NOT_LIVE),
        ([(0, 1000, 1), (1, 1000, 1)], True, FLAG_CROSSED),
        ([(0, 1000, 1), (1, 1001, 1)], False, FLAG_NOT_LIVE),
    ],
)
def test_every_doubt_has_its_flag(
    levels: list[tuple[int, int, int]], is_live: bool, flags: int
) -> None:
    assert row_of(*levels, is_live=is_live)["flags"] == flags


def test_one_sided_book_has_no_weighted_mid_and_no_ask() -> None:
    row = row_of((0, 1000, 7))
    assert (row["ask_ticks"], row["ask_lots"], row["weighted_mid_ticks"]) == (0, 0, 0.0)
    assert np.isfinite(row["imbalance_l1"])
