"""Transfers and fees paid in coins: what they do to lots, each as a little statement."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest

from core.account import Account
from core.config import ExitSettings, RiskSettings
from core.errors import ValueRefused
from core.exits import mean_ticks
from core.feeds.protocol import InstrumentFeed
from core.held import from_history
from core.losses import LossWatch
from core.lots import FifoBook
from core.model.lot import LotMethod
from core.model.order import Fill, Side
from core.model.transfer import Spent, Transfer, TransferWay
from core.transfers import cost_of, move, moved_lots, peek, with_carried
from tests.core.test_lots import fill
from tests.fakes import BTC, START_NS, HandFeed

UNIT = BTC.notional(1, 1)
"""Quote currency of one tick times one lot."""


def transfer(way: TransferWay, lots: int, name: str = "t-1", **changes: object) -> Transfer:
    made = Transfer(name, BTC.name, way, lots, "cold", START_NS)
    if way is TransferWay.IN:
        made = msgspec.structs.replace(made, acquired_ns=1, basis=Decimal(0))
    return msgspec.structs.replace(made, **changes)


def coming(lots: int, basis: str, acquired_ns: int = 1, name: str = "t-1") -> Transfer:
    return transfer(
        TransferWay.IN, lots, name, basis=Decimal(basis), acquired_ns=acquired_ns
    )  # fmt: skip


def names(book: FifoBook) -> list[tuple[str, int]]:
    return [(lot.venue_fill_id, lot.qty_lots) for lot in book.open_lots]


def test_coins_that_come_keep_their_basis_to_the_last_digit() -> None:
    book = FifoBook(BTC)
    move(book, coming(7, "1.000000001"))
    (lot,) = book.open_lots
    assert cost_of(book, lot) == Decimal("1.000000001")
    assert lot.price_ticks * 7 * UNIT <= Decimal("1.000000001") < (lot.price_ticks + 1) * 7 * UNIT
    closed = book.apply(fill(1, Side.SELL, 7, 10**7, ts_ns=START_NS + 1))
    assert closed[0].realized == 7 * 10**7 * UNIT - Decimal("1.000000001")
    assert closed[0].opened_ns == 1


def test_coins_that_come_stand_by_when_they_were_bought_and_are_sold_first() -> None:
    book = FifoBook(BTC)
    book.apply(fill(1, Side.BUY, 5, 100, ts_ns=50))
    move(book, coming(3, "1", acquired_ns=10))
    move(book, coming(2, "1", acquired_ns=60, name="t-2"))
    assert [lots for _, lots in names(book)] == [3, 5, 2]
    closed = book.apply(fill(2, Side.SELL, 4, 100, ts_ns=70))
    assert [lot.qty_lots for lot in closed] == [3, 1]
    assert closed[0].open_fill_id == "t-1"


def test_coins_that_came_can_be_chosen_by_the_name_of_their_transfer() -> None:
    book = FifoBook(BTC)
    move(book, coming(3, "1"))
    move(book, coming(3, "900", name="t-2"))
    assert book.pick(LotMethod.HIFO, 2) == ("t-2",)


def test_coins_that_go_take_basis_and_date_along_and_realize_nothing() -> None:
    book = FifoBook(BTC)
    book.apply(fill(1, Side.BUY, 5, 100, "0.5", ts_ns=50))
    book.apply(fill(2, Side.BUY, 5, 200, "1", ts_ns=60))
    moved = move(book, transfer(TransferWay.OUT, 7))
    told = moved_lots(book, moved.given)
    assert [(lot.quantity, lot.acquired_ns) for lot in told] == [("0.00005", 50), ("0.00002", 60)]
    assert [Decimal(lot.basis) for lot in told] == [
        5 * 100 * UNIT + Decimal("0.5"), 2 * 200 * UNIT + Decimal("0.4"),
    ]  # fmt: skip
    assert (book.realized, book.position_lots) == (0, 3)


@pytest.mark.parametrize("lots", [6, 100])
def test_more_than_is_held_cannot_go_and_a_look_changes_nothing(lots: int) -> None:
    book = FifoBook(BTC)
    book.apply(fill(1, Side.BUY, 5, 100))
    before = list(book.open_lots)
    with pytest.raises(ValueRefused):
        move(book, transfer(TransferWay.OUT, lots))
    assert list(book.open_lots) == before
    after, _ = peek(book, transfer(TransferWay.OUT, 2, fee_lots=1, fee_value=Decimal(1)))
    assert (after.position_lots, book.position_lots, list(book.open_lots)) == (2, 5, before)
    assert (book.realized, book.spent) == (0, 0)


def test_coins_cannot_come_into_a_short_position_not_even_a_part_of_a_lot() -> None:
    book = FifoBook(BTC)
    book.apply(fill(1, Side.BUY, 1, 100))
    book.spend("x", BTC.lot_size / 2, None, START_NS)
    book.apply(fill(2, Side.SELL, 1, 100, ts_ns=START_NS + 1))
    assert (book.position_lots, book.held) == (0, Fraction(-1, 2))
    with pytest.raises(ValueRefused, match="short"):
        move(book, coming(1, "1"))


def test_the_fee_of_a_transfer_is_a_sale_of_its_coins_and_costs_what_they_were_worth() -> None:
    """Bought at 100 ticks; 2 of 5 lots pay a fee when they are worth 3 in all."""
    book = FifoBook(BTC)
    book.apply(fill(1, Side.BUY, 5, 100))
    moved = move(book, transfer(TransferWay.OUT, 3, fee_lots=2, fee_value=Decimal(3)))
    (lot,) = moved.spent
    assert lot.realized == Decimal(3) - 2 * 100 * UNIT
    assert (lot.close_ticks, lot.close_fee) == (0, Decimal(-3))
    assert (book.realized - book.spent, book.position_lots) == (-2 * 100 * UNIT, 0)
    assert book.opened_ns == 0


def test_a_fee_in_coins_takes_parts_of_a_lot_and_the_rest_can_be_sold() -> None:
    book = FifoBook(BTC)
    book.apply(fill(1, Side.BUY, 2, 1_000, "0.000000001"))
    (spent,) = book.spend("x", BTC.lot_size * Decimal("0.75"), Decimal("0.3"), START_NS)
    assert (book.position_lots, book.held) == (1, Fraction(5, 4))
    assert spent.open_fee == Decimal("0.000000000375").quantize(Decimal("1e-12"))
    assert spent.realized == Decimal("0.3") - 750 * UNIT - spent.open_fee
    (sold,) = book.apply(fill(2, Side.SELL, 1, 1_000, ts_ns=START_NS + 1))
    assert (book.position_lots, book.held) == (0, Fraction(1, 4))
    assert sold.realized == -sold.open_fee
    assert book.average_price() == BTC.price(1_000)
    assert book.unrealized(2_000) == -book.open_lots[0].fee


def test_what_is_not_held_is_not_spent_and_neither_is_its_share_of_the_value() -> None:
    book = FifoBook(BTC)
    assert book.spend("x", BTC.lot_size, Decimal(1), START_NS) == []
    book.apply(fill(1, Side.BUY, 1, 100))
    (spent,) = book.spend("y", BTC.lot_size * 4, Decimal(1), START_NS)
    assert -spent.close_fee == Decimal("0.25")
    assert book.position_lots == 0


# --- the account --------------------------------------------------------------------------------


def coins(name: str, base: str, quote: str = "USDT", venue: str = BTC.venue) -> HandFeed:
    feed = HandFeed()
    feed.instruments[0].instrument = msgspec.structs.replace(
        BTC, name=name, base=base, quote=quote, venue=venue
    )
    return feed


def account(**books: str) -> tuple[Account, Mapping[str, InstrumentFeed]]:
    """Return an account of instruments (name, base), each with a book at 1000 and 1002 ticks."""
    feeds: dict[str, InstrumentFeed] = {}
    for name, base in books.items():
        made = coins(name, base)
        made.set_book(START_NS, [(1_000, 10)], [(1_002, 10)])
        feeds[name] = made.instruments[0]
    return Account(list(feeds.values())), feeds


def paid(number: int, currency: str, fee: str, name: str = "BTCUSDT", **changes: object) -> Fill:
    made = msgspec.structs.replace(
        fill(number, Side.BUY, 100, 1_000, fee), instrument=name, fee_currency=currency
    )
    return msgspec.structs.replace(made, **changes)


def test_a_fee_in_a_third_coin_is_valued_at_its_mark_and_says_whose_lots_paid() -> None:
    books, _ = account(BTCUSDT="BTC", BNBUSDT="BNB")
    told = books.with_fee_facts(paid(1, "BNB", "0.002"))
    assert told.fee_from == "BNBUSDT"
    assert told.fee_value == Decimal("0.002") * 1_001 * BTC.tick_size
    assert told.fee_value_source == f"{BTC.venue} BNBUSDT mid"
    kept = books.with_fee_facts(paid(2, "BNB", "0.002", fee_value=Decimal(7)))
    assert (kept.fee_value, kept.fee_value_source) == (7, "")


def test_without_a_price_the_value_stays_unknown_and_without_lots_nobody_paid() -> None:
    books, _ = account(BTCUSDT="BTC")
    told = books.with_fee_facts(paid(1, "BNB", "0.002"))
    assert (told.fee_value, told.fee_from) == (None, "")
    usual = paid(2, "USDT", "0.002")
    assert books.with_fee_facts(usual) == usual
    rebate = paid(3, "BNB", "-0.002")
    assert books.with_fee_facts(rebate) == rebate


def test_a_fee_in_the_coins_themselves_makes_the_position_smaller() -> None:
    books, _ = account(BTCUSDT="BTC")
    bought = books.with_fee_facts(paid(1, "BTC", "0.00000150"))
    assert bought.fee_from == "BTCUSDT"
    realized, _ = books.apply(bought)
    assert books.books["BTCUSDT"].held == 100 - Fraction("0.15")
    assert books.position("BTCUSDT") == 99
    assert realized == books.books["BTCUSDT"].realized


def test_the_third_coin_realizes_in_its_own_instrument() -> None:
    books, _ = account(BTCUSDT="BTC", BNBUSDT="BNB")
    books.apply(paid(1, "USDT", "0", "BNBUSDT"))
    realized, _ = books.apply(books.with_fee_facts(paid(2, "BNB", "0.0005")))
    assert realized == 0
    gain = Decimal("0.0005") * (Decimal(1001) - 1_000) * BTC.tick_size
    assert books.books["BNBUSDT"].realized == gain
    assert books.main.realized_today(paid(2, "BNB", "1").ts_ns) == gain


def test_a_transfer_of_coins_with_a_gain_is_no_profit_of_today_and_no_loss_when_they_go() -> None:
    books, _ = account(BTCUSDT="BTC")
    books.start_run(START_NS, {})
    watch = LossWatch(books, RiskSettings())
    book = books.books["BTCUSDT"]
    come = with_carried(book, coming(100, "0"), 2_002)
    assert come.carried == 100 * 1_001 * UNIT
    books.move(come)
    assert books.main.unrealized() == come.carried
    assert books.main.today(START_NS) == 0
    assert watch.look(books.main, START_NS) == ""
    assert watch.facts(books.main, START_NS).session == 0
    go = with_carried(book, transfer(TransferWay.OUT, 100), 2_002)
    assert go.carried == -come.carried
    books.move(go)
    assert (books.main.today(START_NS), books.main.unrealized()) == (0, 0)
    assert watch.facts(books.main, START_NS).drawdown == 0


def test_coins_that_come_with_a_loss_and_are_sold_at_once_halt_nothing() -> None:
    """What they lost years ago is not lost today, though it is realized today."""
    limits = RiskSettings(
        max_daily_loss=Decimal(1), max_session_loss=Decimal(1), max_drawdown=Decimal(1)
    )
    books, _ = account(BTCUSDT="BTC")
    books.start_run(START_NS, {})
    watch = LossWatch(books, limits)
    books.move(with_carried(books.books["BTCUSDT"], coming(100, "50"), 2_002))
    books.apply(msgspec.structs.replace(fill(1, Side.SELL, 100, 1_001), fee=Decimal(0)))
    assert books.main.realized < -49
    assert watch.realized_reached(books.main, START_NS) == ""
    assert books.main.today(START_NS) == 0
    books.apply(fill(2, Side.BUY, 100, 1_001, "2"))
    books.apply(fill(3, Side.SELL, 100, 1_001))
    assert "daily loss" in watch.realized_reached(books.main, START_NS)


def test_an_account_out_of_history_is_the_one_that_lived() -> None:
    live, feeds = account(BTCUSDT="BTC", BNBUSDT="BNB")
    past: list[Fill | Transfer | Spent] = [
        coming(100, "40"),
        paid(1, "USDT", "0", "BNBUSDT"),
        live.with_fee_facts(paid(2, "BNB", "0.000123")),
        transfer(TransferWay.OUT, 30, "t-2", fee_lots=1, fee_value=Decimal("0.01")),
    ]
    for each in past:
        live._live_through(each)
    again = Account(list(feeds.values()), past)
    for name, book in live.books.items():
        twin = again.books[name]
        assert list(twin.open_lots) == list(book.open_lots)
        assert (twin.realized, twin.spent, twin.held) == (book.realized, book.spent, book.held)
    alone = Account(
        [feeds["BNBUSDT"]],
        [paid(1, "USDT", "0", "BNBUSDT"), Spent("2", "BNBUSDT", Decimal("0.000123"), None, 1)],
    )
    assert alone.books["BNBUSDT"].held == live.books["BNBUSDT"].held


# --- exits --------------------------------------------------------------------------------------

EXITS = ExitSettings(stop_bps=30, take_profit_bps=40, time_stop_s=120)


def test_coins_from_another_wallet_have_no_exits_and_move_none() -> None:
    """Stop and target lie around what was traded here, not around a price of years ago."""
    book = FifoBook(BTC)
    move(book, coming(100, "0"))
    assert from_history(BTC, [coming(100, "0")], EXITS) is None
    bought = fill(1, Side.BUY, 10, 10_000, ts_ns=START_NS + 5)
    book.apply(bought)
    assert mean_ticks(book) == 10_000
    held = from_history(BTC, [coming(100, "0"), bought], EXITS)
    assert held is not None
    assert (held.lots, held.opened_ns) == (110, START_NS + 5)
    assert held.exits.stop_ticks == 9_970
    assert held.exits.due_ns == START_NS + 5 + 120 * 10**9


def test_the_rest_of_coins_from_another_wallet_has_no_exits_after_some_are_sold() -> None:
    """Their basis of years ago would put the target far below the price: it would sell the rest."""
    sold = fill(1, Side.SELL, 50, 10_000, ts_ns=START_NS + 5)
    assert from_history(BTC, [coming(100, "0"), sold], EXITS) is None
    bought = fill(2, Side.BUY, 10, 10_000, ts_ns=START_NS + 6)
    held = from_history(BTC, [coming(100, "0"), sold, bought], EXITS)
    assert held is not None
    assert (held.lots, held.exits.target_ticks) == (60, 10_040)


def test_exits_stand_while_coins_come_and_end_when_all_go() -> None:
    bought = fill(1, Side.BUY, 10, 10_000)
    alone = from_history(BTC, [bought], EXITS)
    more = from_history(BTC, [bought, coming(5, "0", name="t-2")], EXITS)
    assert alone is not None
    assert more is not None
    assert (more.exits, more.lots) == (alone.exits, 15)
    assert from_history(BTC, [bought, transfer(TransferWay.OUT, 10)], EXITS) is None
    part = Spent("x", BTC.name, BTC.lot_size / 2, None, START_NS)
    left = from_history(BTC, [bought, part], EXITS)
    assert left is not None
    assert (left.exits, left.lots) == (alone.exits, 9)
