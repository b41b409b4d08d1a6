"""The feed's part of the picture: rates, and levels only as far as the book knows them."""

from __future__ import annotations

import numpy as np
import pytest

from core.book import Book
from core.clock import NS_PER_S
from core.feeds.protocol import InstrumentFeed
from core.kernels import block as at
from core.picture import _known
from core.picture_feed import FrameRate, known_prices
from tests.core.tape.made import BTC


class _Desk:
    def __init__(self) -> None:
        self.feed = InstrumentFeed(BTC, Book(BTC))
        self.instrument = BTC


def test_rate_is_not_known_before_two_looks_and_then_counts_the_last_seconds() -> None:
    rate = FrameRate()
    assert rate.look(0, 1_000) is None
    assert rate.look(NS_PER_S, 1_100) == pytest.approx(100)
    for second in range(2, 60):
        last = rate.look(second * NS_PER_S, 1_100 + 7 * (second - 1))
    assert last == pytest.approx(7)


def test_a_look_a_moment_later_does_not_make_the_rate_jump() -> None:
    rate = FrameRate()
    rate.look(0, 0)
    assert rate.look(2 * NS_PER_S, 200) == pytest.approx(100)
    assert rate.look(2 * NS_PER_S + 1_000, 201) == pytest.approx(100, rel=0.02)


@pytest.mark.parametrize(
    ("bid", "ask", "known"),
    [
        (0, 0, (None, None)),
        (at.NEVER_BELOW, at.NEVER_ABOVE, (None, None)),
        (90, 110, (90, 110)),
        (90, at.NEVER_ABOVE, (90, None)),
    ],
)
def test_reach_of_the_snapshot_is_the_books(
    bid: int, ask: int, known: tuple[int | None, int | None]
) -> None:
    desk = _Desk()
    desk.feed.book.block[at.KNOWN_BID] = bid
    desk.feed.book.block[at.KNOWN_ASK] = ask
    assert known_prices(desk) == known  # type: ignore[arg-type]


def test_levels_past_the_reach_are_not_shown() -> None:
    bids = np.array([[100, 5], [99, 5], [80, 1]], np.int64)
    asks = np.array([[101, 5], [140, 1]], np.int64)
    assert _known(bids, 90, is_bid=True)[:, 0].tolist() == [100, 99]
    assert _known(asks, 120, is_bid=False)[:, 0].tolist() == [101]
    assert len(_known(bids, None, is_bid=True)) == 3
