"""FIFO lots as little statements of account: before, fill, after."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.account import Account
from core.errors import InvariantError, ValueRefused
from core.lots import FifoBook
from core.model.lot import LotMethod
from core.model.order import Fill, Side
from tests.core.brokers.rig import make_order
from tests.fakes import BTC, HandFeed
from tests.lot_histories import History


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


@pytest.mark.parametrize("seed", range(60))
def test_random_histories_equal_a_second_keeper_of_lots_to_the_last_digit(seed: int) -> None:
    """More of them: ``python -m bench.lots_oracle``."""
    History(seed).play()


def test_fee_in_another_currency_enters_the_basis_at_the_value_told_with_it() -> None:
    book = FifoBook(BTC)
    paid = msgspec.structs.replace(
        fill(1, Side.BUY, 100, 5000, "0.002"), fee_currency="BNB", fee_value=Decimal("1.1"),
        fee_value_source="binance BNBUSDT mid",
    )  # fmt: skip
    book.apply(paid)
    closed = book.apply(fill(2, Side.SELL, 100, 5000, "0.5"))
    assert closed[0].open_fee == Decimal("1.1")
    assert book.realized == Decimal("-1.6")


def test_fee_in_another_currency_without_its_value_is_in_no_basis() -> None:
    """What nobody told is not invented: the line of the tax file says that it is missing."""
    book = FifoBook(BTC)
    paid = msgspec.structs.replace(fill(1, Side.BUY, 100, 5000, "0.002"), fee_currency="BNB")
    book.apply(paid)
    assert [lot.fee for lot in book.open_lots] == [Decimal(0)]
    assert book.fees == 0


def test_purchases_of_one_instant_stand_by_fill_id_whichever_report_came_first() -> None:
    """Fills 2, 10 and 1 of one instant, told in that order: a sale takes 1, then 2, then 10."""
    book = FifoBook(BTC)
    for number in (2, 10, 1):
        book.apply(fill(number, Side.BUY, 10, 5000 + number, ts_ns=7))
    closed = book.apply(fill(11, Side.SELL, 30, 6000, ts_ns=7))
    assert [lot.open_fill_id for lot in closed] == ["f1", "f2", "f10"]


def test_chosen_lots_are_closed_first_then_the_oldest() -> None:
    book = FifoBook(BTC)
    for number in (1, 2, 3):
        book.apply(fill(number, Side.BUY, 10, 5000 + number))
    sale = msgspec.structs.replace(fill(4, Side.SELL, 15, 6000), closes=("f3", "gone"))
    closed = book.apply(sale)
    assert [(lot.open_fill_id, lot.qty_lots) for lot in closed] == [("f3", 10), ("f1", 5)]
    assert [(lot.fill_id, lot.qty_lots) for lot in book.open_lots] == [("f1", 5), ("f2", 10)]


@pytest.mark.parametrize(
    ("method", "side", "picked"),
    [
        ("fifo", Side.BUY, ()),
        ("lifo", Side.BUY, ("f3", "f2")),
        ("hifo", Side.BUY, ("f1", "f3")),  # 7000, then 6000: the smallest gain
        ("hifo", Side.SELL, ("f2", "f3")),  # a short: the lowest proceeds
    ],
)
def test_a_method_picks_lots_for_an_order_to_choose(
    method: str, side: Side, picked: tuple[str, ...]
) -> None:
    book = FifoBook(BTC)
    for number, ticks in ((1, 7000), (2, 5000), (3, 6000)):
        book.apply(fill(number, side, 10, ticks))
    assert book.pick(LotMethod(method), 12) == picked


def test_a_transfer_takes_basis_and_date_along_and_realizes_nothing() -> None:
    """Buy 10 @ 5000 with a fee of 1 and 10 @ 6000; move 15 away and back: all is as it was."""
    here, there = FifoBook(BTC), FifoBook(BTC)
    here.apply(fill(1, Side.BUY, 10, 5000, "1", ts_ns=100))
    here.apply(fill(2, Side.BUY, 10, 6000, ts_ns=200))
    moved = here.give_out(15)
    assert [(lot.fill_id, lot.qty_lots, lot.fee) for lot in moved] == [("f1", 10, 1), ("f2", 5, 0)]
    assert (here.position_lots, here.realized, here.opened_ns) == (5, 0, 100)
    there.apply(fill(3, Side.BUY, 10, 9000, ts_ns=150))
    there.take_in(moved)
    assert [lot.ts_ns for lot in there.open_lots] == [100, 150, 200]
    closed = there.apply(fill(4, Side.SELL, 10, 8000, ts_ns=300))
    assert closed[0].realized == 10 * 3000 * unit() - 1
    assert closed[0].opened_ns == 100


@pytest.mark.parametrize(("held", "moved"), [(10, 11), (10, 0), (-10, 5)])
def test_a_transfer_of_what_is_not_held_is_refused(held: int, moved: int) -> None:
    book = FifoBook(BTC)
    book.apply(fill(1, Side.BUY if held > 0 else Side.SELL, abs(held), 5000))
    with pytest.raises(ValueRefused, match="was not within"):
        book.give_out(moved)
    assert book.position_lots == held


def test_lots_cannot_be_moved_into_a_short_position() -> None:
    book, other = FifoBook(BTC), FifoBook(BTC)
    other.apply(fill(1, Side.BUY, 10, 5000))
    book.apply(fill(2, Side.SELL, 10, 5000))
    with pytest.raises(ValueRefused, match="not into a short"):
        book.take_in(other.give_out(10))


def test_an_account_chooses_by_its_method_what_an_order_that_closes_will_close() -> None:
    bought = [fill(number, Side.BUY, 10, 5000 + number) for number in (1, 2)]
    sale = make_order("o", Side.SELL, 10, 5_000, instrument=BTC.name)
    feeds = HandFeed().instruments
    assert Account(feeds, bought).choose_lots(sale) == ()
    lifo = Account(feeds, bought, LotMethod.LIFO)
    assert lifo.choose_lots(sale) == ("f2",)
    assert lifo.choose_lots(msgspec.structs.replace(sale, side=Side.BUY)) == ()
    chosen = msgspec.structs.replace(fill(3, Side.SELL, 10, 5_500), closes=("f2",))
    realized, (closed,) = lifo.apply(chosen)
    assert closed.open_fill_id == "f2"
    assert realized == (5_500 - 5_002) * 10 * unit()
