"""The account: what it is worth, and when it does not know."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from core.account import DAY_NS, Account
from core.model.order import Fill, Side
from tests.core.test_lots import fill
from tests.fakes import BTC, START_NS, HandFeed


def account_at(bid: int, ask: int) -> tuple[Account, HandFeed]:
    feed = HandFeed()
    feed.set_book(START_NS, [(bid, 10)], [(ask, 10)])
    return Account(feed.instruments), feed


def test_a_flat_account_is_worth_nothing_and_knows_it() -> None:
    account, _ = account_at(100, 102)
    assert account.main.unrealized() == 0
    assert account.main.exposure() == 0


def test_a_position_is_marked_at_the_mid() -> None:
    account, _ = account_at(5_000, 5_003)
    account.apply(fill(1, Side.BUY, 100, 5_000))
    assert account.main.unrealized() == Decimal("0.0000001") * 100 * Decimal("1.5")


def test_a_held_instrument_without_any_mark_makes_the_total_unknown() -> None:
    account = Account(HandFeed().instruments, [fill(1, Side.BUY, 100, 5_000)])
    assert account.main.unrealized() is None
    assert account.main.today(START_NS) is None
    account.main.sample_curve()
    assert not account.main.curve


def test_a_crossed_book_does_not_move_the_mark() -> None:
    account, feed = account_at(5_000, 5_002)
    account.keep_marks()
    assert account.mark2("BTCUSDT") == 10_002
    feed.set_book(START_NS, [(6_000, 1)], [(5_000, 1)])
    assert account.mark2("BTCUSDT") == 10_002


def test_today_starts_anew_at_midnight_utc() -> None:
    account, _ = account_at(5_000, 5_002)
    day = 3 * DAY_NS
    account.apply(fill(1, Side.BUY, 100, 5_001, ts_ns=day - 5))
    account.apply(fill(2, Side.SELL, 100, 4_000, ts_ns=day - 4))
    lost = account.main.realized
    assert account.main.today(day - 1) == lost < 0
    assert account.main.today(day) == 0
    assert account.main.realized == lost


def test_history_is_rebuilt_from_fills_of_this_run_only() -> None:
    account = Account(HandFeed().instruments, [fill(1, Side.BUY, 100, 5_000)])
    assert account.position("BTCUSDT") == 100


def test_money_of_two_quote_currencies_is_never_added_up() -> None:
    dollar = msgspec.structs.replace(BTC, name="BTC-USD", quote="USD")
    feed = HandFeed(BTC, dollar)
    for index in (0, 1):
        feed.set_book(START_NS, [(5_000, 10)], [(5_002, 10)], index)
    account = Account(feed.instruments)
    account.apply(fill(1, Side.BUY, 100, 5_000))
    account.apply(msgspec.structs.replace(fill(2, Side.BUY, 100, 6_000), instrument="BTC-USD"))
    assert account.of("BTCUSDT").unrealized() == Decimal("0.00001")
    assert account.of("BTC-USD").unrealized() == Decimal("-0.00999")
    assert account.main.quote == "USDT"


def test_a_position_opened_just_before_the_book_is_gone_has_the_mark_of_that_moment() -> None:
    account, feed = account_at(5_000, 5_002)
    account.apply(fill(1, Side.BUY, 100, 5_002))
    feed.set_book(START_NS, [], [])
    assert account.mark2("BTCUSDT") == 10_002


def test_looking_at_a_mark_does_not_make_it_the_one_that_is_remembered() -> None:
    account, feed = account_at(5_000, 5_002)
    account.keep_marks()
    feed.set_book(START_NS, [(5_999, 9)], [(6_001, 9)])
    assert account.mark2("BTCUSDT") == 12_000
    feed.instruments[0].book.clear()
    assert account.mark2("BTCUSDT") == 10_002


# --- the day ------------------------------------------------------------------------------------

MIDNIGHT = (START_NS // DAY_NS + 1) * DAY_NS
ONE_BTC = 100_000


def one_lot_account(history: Iterable[Fill] = ()) -> tuple[Account, HandFeed]:
    feed = HandFeed()
    return Account(feed.instruments, history), feed


def buy(ticks: int, ts_ns: int) -> Fill:
    return fill(1, Side.BUY, ONE_BTC, ticks, ts_ns=ts_ns)


def sell(ticks: int, ts_ns: int) -> Fill:
    return fill(2, Side.SELL, ONE_BTC, ticks, ts_ns=ts_ns)


def set_mid(feed: HandFeed, ticks: int, ts_ns: int) -> None:
    feed.set_book(ts_ns, [(ticks - 1, 10)], [(ticks + 1, 10)])


def test_a_position_held_over_midnight_counts_from_its_worth_at_midnight() -> None:
    account, feed = one_lot_account()
    account.start_run(MIDNIGHT - 10, {})
    account.apply(buy(10_000, MIDNIGHT - 5))
    set_mid(feed, 10_300, MIDNIGHT - 4)
    assert account.main.today(MIDNIGHT - 1) == Decimal("3.00")
    assert account.take_midnight(MIDNIGHT) == {"USDT": "3"}
    assert account.take_midnight(MIDNIGHT) is None
    set_mid(feed, 10_250, MIDNIGHT + 5)
    assert account.main.today(MIDNIGHT + 6) == Decimal("-0.50")
    account.apply(sell(10_250, MIDNIGHT + 7))
    assert account.main.today(MIDNIGHT + 8) == Decimal("-0.50")


def test_a_restart_takes_the_marks_of_midnight_from_the_ledger() -> None:
    account, feed = one_lot_account([buy(10_000, MIDNIGHT - 5)])
    account.start_run(MIDNIGHT + 100, {"USDT": "3.00"})
    set_mid(feed, 10_250, MIDNIGHT + 101)
    assert account.main.today(MIDNIGHT + 102) == Decimal("-0.50")


def test_without_a_mark_of_midnight_a_position_counts_from_its_opening() -> None:
    account, feed = one_lot_account([buy(10_000, MIDNIGHT - 5)])
    account.start_run(MIDNIGHT + 100, {})
    set_mid(feed, 10_250, MIDNIGHT + 101)
    assert account.main.today(MIDNIGHT + 102) == Decimal("2.50")
    assert account.take_midnight(MIDNIGHT + 103) is None


def test_a_midnight_without_a_position_is_not_written_down() -> None:
    account, _ = one_lot_account()
    account.start_run(MIDNIGHT - 10, {})
    assert account.take_midnight(MIDNIGHT + 1) is None
