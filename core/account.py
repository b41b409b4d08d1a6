"""The account: FIFO books of every instrument, marks, and the money in each quote currency, exact.

Built from the ledger's fills at start, then fed every fill. It reads books, never changes them.
Money of different quote currencies is never added up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import TypeVar

import msgspec

from core.border import Border
from core.clock import NS_PER_S
from core.feeds.protocol import InstrumentFeed
from core.lots import FifoBook
from core.model.instrument import plain
from core.model.lot import ClosedLot, LotMethod
from core.model.order import Fill, Order
from core.model.transfer import Spent, Transfer
from core.transfers import Moved, move, spent_by

T = TypeVar("T")
CURVE_POINTS = 600
NOT_COUNTED = Decimal("NaN")
"""What a fill realized whose lots could not be counted."""
DAY_NS = 86_400 * NS_PER_S


class QuoteAccount:
    """P&L of all instruments that are quoted in one currency."""

    def __init__(self, quote: str, mark2: Callable[[str], int | None]) -> None:
        self.quote = quote
        self.books: dict[str, FifoBook] = {}
        self.curve: deque[float] = deque(maxlen=CURVE_POINTS)
        self._mark2 = mark2
        self._day = 0
        self._is_running = False
        self.has_rolled = False
        """A midnight passed that nobody has written down yet."""
        self._realized_day = Decimal(0)
        self._opening: Decimal | None = None
        """Open gain when the day began; None: not known, then the day counts from the opening."""
        self.carried = Decimal(0)
        """Unrealized gain that came with coins moved here, less what went: it was not made here."""

    def take_realized(self, realized: Decimal, now_ns: int) -> None:
        """Count what a fill realized towards its day; ``roll_day`` comes before the fill."""
        self.roll_day(now_ns)
        self._realized_day += realized

    def roll_day(self, now_ns: int) -> None:
        """Begin a new day if ``now_ns`` is in one; while running, at the marks of this moment."""
        day = now_ns // DAY_NS
        if day <= self._day:
            return
        self._day, self._realized_day = day, Decimal(0)
        self._opening = self.open_gain() if self._is_running else None
        self.has_rolled = self._is_running

    def start_run(self, now_ns: int, opening: Decimal | None) -> None:
        """Go on in the day of ``now_ns``; ``opening`` is what the ledger has of its midnight."""
        self.roll_day(now_ns)
        self._is_running = True
        if opening is not None:
            self._opening = opening

    @property
    def opening(self) -> Decimal | None:
        """Open gain when the day began, None where no mark of that moment is known."""
        return self._opening

    @property
    def realized(self) -> Decimal:
        """Gains of closed lots less what transfers cost."""
        return sum((book.realized - book.spent for book in self.books.values()), Decimal(0))

    @property
    def fees(self) -> Decimal:
        return sum((book.fees + book.spent for book in self.books.values()), Decimal(0))

    def unrealized(self) -> Decimal | None:
        """Return the open gain at the marks, or None if a held instrument has no mark."""
        total = Decimal(0)
        for name, book in self.books.items():
            if book.position_lots:
                mark2 = self._mark2(name)
                if mark2 is None:
                    return None
                total += book.unrealized(mark2)
        return total

    def open_gain(self) -> Decimal | None:
        """Return ``unrealized`` without what came with transfers: what a limit on losses counts."""
        unrealized = self.unrealized()
        return None if unrealized is None else unrealized - self.carried

    def exposure(self) -> Decimal | None:
        """Return the sum of absolute position values at the marks, or None without a mark."""
        total = Decimal(0)
        for name, book in self.books.items():
            if book.position_lots:
                mark2 = self._mark2(name)
                if mark2 is None:
                    return None
                total += book.instrument.notional(1, 1) * abs(book.position_lots) * mark2 / 2
        return total

    def today(self, now_ns: int) -> Decimal | None:
        """Return what was won or lost since 00:00 UTC, or None without a mark.

        Where no mark of midnight is known (nothing ran then), a position that was held over it
        counts from its opening: the loss of it is not overlooked, and a gain is not hidden.
        """
        gain = self.open_gain()
        if gain is None:
            return None
        return self.realized_today(now_ns) + gain - (self._opening or 0)

    def realized_today(self, now_ns: int) -> Decimal:
        """Return what was realized since 00:00 UTC."""
        self.roll_day(now_ns)
        return self._realized_day

    def sample_curve(self) -> None:
        """Append the total to the curve; call once a second."""
        gain = self.open_gain()
        if gain is not None:
            self.curve.append(float(self.realized + gain))


class Account:
    """Positions and marks of one run's instruments, and the money by quote currency."""

    def __init__(
        self,
        feeds: list[InstrumentFeed],
        history: Iterable[Fill | Transfer | Spent] = (),
        lot_method: LotMethod = LotMethod.FIFO,
    ) -> None:
        self._lot_method = lot_method
        self.feeds = {feed.instrument.name: feed for feed in feeds}
        self.books = {name: FifoBook(feed.instrument) for name, feed in self.feeds.items()}
        self.by_quote: dict[str, QuoteAccount] = {}
        for name, book in self.books.items():
            quote = book.instrument.quote
            self.by_quote.setdefault(quote, QuoteAccount(quote, self.mark2)).books[name] = book
        self._marks2: dict[str, int] = {}
        self.counting = Border("counting lots")
        """Around all that makes lots out of fills; positions are right beyond it too."""
        for each in history:
            if each.instrument in self.books:
                self._live_through(each)

    def _live_through(self, each: Fill | Transfer | Spent) -> None:
        match each:
            case Fill():
                self.take(each)
            case Transfer():
                self._count({each.instrument: Fraction(each.change_lots)}, lambda: self.move(each))
            case Spent():
                self._count(self._taken_by(each), lambda: self.spend(each))

    def start_run(self, now_ns: int, openings: Mapping[str, str]) -> None:
        """Go on in the day of ``now_ns``; ``openings`` by quote, from the ledger's midnight."""
        for quote, money in self.by_quote.items():
            opening = openings.get(quote)
            money.start_run(now_ns, None if opening is None else Decimal(opening))

    def take_midnight(self, now_ns: int) -> dict[str, str] | None:
        """Return what was unrealized at a midnight that has passed, by quote, once; else None."""
        rolled = False
        for money in self.by_quote.values():
            money.roll_day(now_ns)
            rolled, money.has_rolled = rolled or money.has_rolled, False
        if not rolled or not any(book.position_lots for book in self.books.values()):
            return None
        return {
            quote: plain(money.opening)
            for quote, money in self.by_quote.items()
            if money.opening is not None
        }

    def of(self, name: str) -> QuoteAccount:
        """Return the money in the quote currency of an instrument."""
        return self.by_quote[self.books[name].instrument.quote]

    @property
    def main(self) -> QuoteAccount:
        """The money in the quote currency of the run's first instrument."""
        return next(iter(self.by_quote.values()))

    def take(self, fill: Fill) -> Decimal:
        """Take a fill, come what may: the position moves even where its lots cannot be counted.

        Returns what it realized, ``NOT_COUNTED`` once ``counting`` has failed, here or before.
        """
        changes = {fill.instrument: Fraction(fill.side.sign * fill.qty_lots)}
        spent = spent_by(fill)
        for name, lots in self._taken_by(spent).items() if spent is not None else ():
            changes[name] = changes.get(name, Fraction(0)) + lots
        found = self._count(changes, lambda: self.apply(fill)[0])
        return NOT_COUNTED if found is None else found

    def _taken_by(self, spent: Spent) -> dict[str, Fraction]:
        """Return what coins that paid a fee take out of the positions, in lots."""
        book = self.books.get(spent.instrument)
        if book is None:
            return {}
        return {spent.instrument: -Fraction(spent.quantity) / Fraction(book.instrument.lot_size)}

    def _count(self, changes: Mapping[str, Fraction], work: Callable[[], T]) -> T | None:
        """Do what counts lots; where it fails or has failed, let positions alone change."""
        before = {name: self.books[name].held for name in changes}
        found = self.counting.ask(work, None)
        if self.counting.failure:
            for name, lots in changes.items():
                self.books[name].hold(before[name] + lots)
        return found

    def apply(self, fill: Fill) -> tuple[Decimal, list[ClosedLot]]:
        """Count a fill into lots; return what it realized and the lots it closed."""
        self._keep_mark(fill.instrument)  # should the book be gone with the next message
        self.of(fill.instrument).roll_day(fill.ts_ns)  # before the fill changes what is held
        closed = self.books[fill.instrument].apply(fill)
        realized = sum((lot.realized for lot in closed), Decimal(0))
        self.of(fill.instrument).take_realized(realized, fill.ts_ns)
        spent = spent_by(fill)
        if spent is not None and spent.instrument in self.books:
            gain = self.spend(spent)
            return realized + (gain if spent.instrument == fill.instrument else 0), closed
        return realized, closed

    def spend(self, spent: Spent) -> Decimal:
        """Take coins out that paid a fee; return what that realized in their instrument."""
        book, money = self.books[spent.instrument], self.of(spent.instrument)
        money.roll_day(spent.ts_ns)
        lots = book.spend(spent.fill_id, spent.quantity, spent.value, spent.ts_ns)
        realized = sum((lot.realized for lot in lots), Decimal(0))
        money.take_realized(realized, spent.ts_ns)
        return realized

    def move(self, transfer: Transfer) -> Moved:
        """Take a transfer; return what went and what its fee disposed of.

        Errors: ``ValueRefused`` for more than is held.
        """
        self._keep_mark(transfer.instrument)
        money = self.of(transfer.instrument)
        money.roll_day(transfer.ts_ns)
        moved = move(self.books[transfer.instrument], transfer)
        money.carried += transfer.carried
        money.take_realized(moved.realized - moved.cost, transfer.ts_ns)
        return moved

    def with_fee_facts(self, fill: Fill) -> Fill:
        """Return a fill whose fee in coins says what it was worth and whose lots paid it.

        The value is the mark of the coins' instrument, of this run and venue and in the same quote
        currency; without one it stays unknown. What the broker has told is kept.
        """
        of = self.books[fill.instrument].instrument
        if fill.fee <= 0 or fill.fee_currency == of.quote:
            return fill
        wanted = (of.venue, fill.fee_currency, of.quote)
        found = [
            name
            for name, book in self.books.items()
            if (book.instrument.venue, book.instrument.base, book.instrument.quote) == wanted
        ]
        name = of.name if of.name in found else next(iter(found), "")
        fill = msgspec.structs.replace(fill, fee_from=fill.fee_from or name)
        mark2 = self.mark2(name) if name and fill.fee_value is None else None
        if mark2 is None:
            return fill
        with localcontext() as context:
            context.prec = 60
            value = self.books[name].instrument.tick_size * mark2 / 2 * fill.fee
        source = f"{of.venue} {name} mid"
        return msgspec.structs.replace(fill, fee_value=value, fee_value_source=source)

    def choose_lots(self, order: Order) -> tuple[str, ...]:
        """Return the lots an order shall close, by the method in force; empty: the oldest."""
        book = self.books[order.instrument]
        if book.position_lots * order.side.sign >= 0:
            return ()
        return book.pick(self._lot_method, order.qty_lots)

    def position(self, name: str) -> int:
        """Return the signed position in lots."""
        return self.books[name].position_lots

    def mark2(self, name: str) -> int | None:
        """Return the mark (last good mid) in half ticks, or None if there never was one.

        Looking changes nothing: a screen that looks must not decide what is remembered.
        """
        book = self.feeds[name].book
        bid, ask = book.best_bid, book.best_ask
        if bid is not None and ask is not None and bid[0] < ask[0]:
            return bid[0] + ask[0]
        return self._marks2.get(name)

    def keep_marks(self) -> None:
        """Remember the marks of now; the engine calls it at its cadence."""
        for name in self.feeds:
            self._keep_mark(name)

    def _keep_mark(self, name: str) -> None:
        mark2 = self.mark2(name)
        if mark2 is not None:
            self._marks2[name] = mark2
