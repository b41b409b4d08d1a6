"""FIFO lots as little statements of account: before, fill, after."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvariantError
from core.lots import FifoBook
from core.model.order import Fill, Side
from tests.fakes import BTC


def fill(number: int, side: Side, lots: int, ticks: int, fee: str = "0", ts_ns: int = 0) -> Fill:
    return Fill(f"f{number}", f"o{number}", "BTCUSDT", side, ticks, lots, Decimal(fee), "USDT",
                is_maker=False, ts_ns=ts_ns or number)  # fmt: skip


def unit() -> Decimal:
    return BTC.tick_size * BTC.lot_size


def test_a_first_buy_opens_a_lot_and_realizes_nothing() -> None:
    book = FifoBook(BTC)
    assert book.apply(fill(1, Side.BUY, 100, 5000, "0.3")) == []
    assert (book.position_lots, book.realized, book.fees) == (100, 0, Decimal("0.3"))


def test_a_sale_takes_the_oldest_lot_first() -> None:
    """Buy 100 @ 5000, buy 100 @ 6000, sell 150 @ 7000: gains 100 x 2000 and 50 x 1000."""
    book = FifoBook(BTC)
    book.apply(fill(1, Side.BUY, 100, 5000))
    book.apply(fill(2, Side.BUY, 100, 6000))
    closed = book.apply(fill(3, Side.SELL, 150, 7000))
    assert [(c.open_fill_id, c.qty_lots) for c in closed] == [("f1", 100), ("f2", 50)]
    assert book.realized == (100 * 2000 + 50 * 1000) * unit()
    assert book.position_lots == 50


def test_fees_of_both_legs_are_in_the_realized_gain() -> None:
    book = FifoBook(BTC)
    book.apply(fill(1, Side.BUY, 100, 5000, "0.5"))
    closed = book.apply(fill(2, Side.SELL, 100, 5000, "0.7"))
    assert closed[0].realized == book.realized == Decimal("-1.2")


def test_a_third_of_a_fee_is_cut_and_the_last_part_takes_the_rest() -> None:
    book = FifoBook(BTC)
    book.apply(fill(1, Side.BUY, 3, 5000, "0.1"))
    fees = [book.apply(fill(n, Side.SELL, 1, 5000))[0].open_fee for n in (2, 3, 4)]
    assert fees[0] == Decimal("0.033333333333")
    assert sum(fees) == Decimal("0.1")


def test_a_sale_beyond_the_position_opens_a_short_lot() -> None:
    """Long 100; sell 250 closes 100 and opens short 150; the fee is split in proportion."""
    book = FifoBook(BTC)
    book.apply(fill(1, Side.BUY, 100, 5000))
    closed = book.apply(fill(2, Side.SELL, 250, 5100, "0.5"))
    assert [c.qty_lots for c in closed] == [100]
    assert book.position_lots == -150
    assert book.open_lots[0].sign == -1
    assert book.open_lots[0].fee == Decimal("0.3")


def test_a_short_gains_when_the_price_falls() -> None:
    book = FifoBook(BTC)
    book.apply(fill(1, Side.SELL, 10, 5000))
    book.apply(fill(2, Side.BUY, 10, 4000))
    assert book.realized == 10 * 1000 * unit()
    assert book.opened_ns == 0


def test_unrealized_is_the_move_from_the_lots_to_the_mark_less_opening_fees() -> None:
    book = FifoBook(BTC)
    book.apply(fill(1, Side.BUY, 10, 5000, "0.25"))
    assert book.unrealized(2 * 5000 + 1) == 10 * unit() / 2 - Decimal("0.25")


def test_a_fill_of_another_instrument_is_a_bug_of_ours() -> None:
    other = Fill("f", "o", "ETHUSDT", Side.BUY, 1, 1, Decimal(0), "USDT", is_maker=False, ts_ns=1)
    with pytest.raises(InvariantError):
        FifoBook(BTC).apply(other)


trades = st.lists(
    st.tuples(
        st.sampled_from(list(Side)),
        st.integers(1, 10**6),
        st.integers(1, 10**9),
        st.decimals("0", "10", places=8),
    ),
    min_size=1,
    max_size=40,
)


@given(trades)
def test_cash_flows_equal_realized_plus_unrealized_at_any_mark(rows: list[tuple]) -> None:
    """realized + unrealized = sells - buys - fees + position at the mark, to the last digit."""
    book = FifoBook(BTC)
    cash = Decimal(0)
    for number, (side, lots, ticks, fee) in enumerate(rows):
        book.apply(fill(number, side, lots, ticks, str(fee)))
        cash -= side.sign * lots * ticks * unit() + fee
        assert sum(lot.sign * lot.qty_lots for lot in book.open_lots) == book.position_lots
        assert len({lot.sign for lot in book.open_lots}) <= 1
    mark2 = 123_457
    assert book.realized + book.unrealized(mark2) == cash + book.position_lots * mark2 * unit() / 2
