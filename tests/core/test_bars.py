"""One-second bars of the mid in a book's block, against a plain reading of the same events."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from core.book import Book
from core.clock import NS_PER_S
from core.kernels import block as at
from core.model.instrument import Instrument
from core.model.market import TradePrint

BTC = Instrument("binance", "BTCUSDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"))


def book() -> Book:
    return Book(BTC, window=64)


def set_touch(one: Book, bid: int, ask: int, now_ns: int, *, is_live: bool = True) -> None:
    old = [(side, ticks, 0) for side in (0, 1) for ticks in one.levels(side)]
    one.apply(np.array([*old, (0, bid, 5), (1, ask, 5)], np.int64))
    one.moved(now_ns, now_ns, is_live=is_live)


def trade(lots: int, now_ns: int) -> TradePrint:
    return TradePrint(0, 100, lots, 1, "1", now_ns, now_ns)


def test_bars_are_what_a_plain_reading_of_the_same_events_makes():
    random = np.random.default_rng(5)
    one, now_ns = book(), 10**18
    bars: list[list[int]] = []
    mid2 = 0
    for _ in range(3000):
        now_ns += int(random.integers(0, NS_PER_S))
        lots = 0
        if bars and random.random() < 0.4:
            lots = int(random.integers(1, 50))
            one.traded(trade(lots, now_ns))
        else:
            bid = int(random.integers(90, 110))
            mid2 = 2 * bid + 1
            set_touch(one, bid, bid + 1, now_ns)
        end_s = now_ns // NS_PER_S + 1
        if not bars or bars[-1][0] != end_s:
            bars.append([end_s, mid2, mid2, mid2, mid2, 0])
        last = bars[-1]
        bars[-1] = [end_s, last[1], max(last[2], mid2), min(last[3], mid2), mid2, last[5] + lots]
    assert len(bars) > at.MAX_BARS
    assert one.bars(7).tolist() == bars[-7:]
    assert one.bars(10_000).tolist() == bars[-at.MAX_BARS :]


@pytest.mark.parametrize(("bid", "ask", "is_live"), [(101, 100, True), (100, 101, False)])
def test_book_that_is_not_believed_makes_no_bar(bid: int, ask: int, is_live: bool):
    one = book()
    set_touch(one, bid, ask, NS_PER_S, is_live=is_live)
    one.traded(trade(3, NS_PER_S))
    assert one.bars(10).shape == (0, at.BAR_SIZE)


def test_book_that_takes_over_goes_on_with_the_bars():
    old, new = book(), book()
    set_touch(old, 100, 101, NS_PER_S)
    new.go_on_from(old)
    set_touch(new, 102, 103, NS_PER_S + 1)
    assert new.bars(5).tolist() == [[2, 201, 205, 201, 205, 0]]
