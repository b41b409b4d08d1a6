"""The account: FIFO books of every instrument, marks, and the money in each quote currency, exact.

Built from the ledger's fills at start, then fed every fill. It reads books, never changes them.
Money of different quote currencies is never added up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal

from core.clock import NS_PER_S
from core.feeds.protocol import InstrumentFeed
from core.lots import ClosedLot, FifoBook
from core.model.order import Fill

CURVE_POINTS = 600
DAY_NS = 86_400 * NS_PER_S


class QuoteAccount:
    """P&L of all instruments that are quoted in one currency."""

    def __init__(self, quote: str, mark2: Callable[[str], int | None]) -> None:
        self.quote = quote
        self.books: dict[str, FifoBook] = {}
        self.curve: deque[float] = deque(maxlen=CURVE_POINTS)
        self._mark2 = mark2
        self._day = 0
        self._realized_day = Decimal(0)

    def take_realized(self, realized: Decimal, now_ns: int) -> None:
        """Count what a fill realized towards its day."""
        self._roll_day(now_ns)
        self._realized_day += realized

    def _roll_day(self, now_ns: int) -> None:
        day = now_ns // DAY_NS
        if day > self._day:
            self._day = day
            self._realized_day = Decimal(0)

    @property
    def realized(self) -> Decimal:
        return sum((book.realized for book in self.books.values()), Decimal(0))

    @property
    def fees(self) -> Decimal:
        return sum((book.fees for book in self.books.values()), Decimal(0))

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
        """Return realized since 00:00 UTC plus unrealized, or None without a mark."""
        unrealized = self.unrealized()
        return None if unrealized is None else self.realized_today(now_ns) + unrealized

    def realized_today(self, now_ns: int) -> Decimal:
        """Return what was realized since 00:00 UTC."""
        self._roll_day(now_ns)
        return self._realized_day

    def sample_curve(self) -> None:
        """Append the total to the curve; call once a second."""
        unrealized = self.unrealized()
        if unrealized is not None:
            self.curve.append(float(self.realized + unrealized))


class Account:
    """Positions and marks of one run's instruments, and the money by quote currency."""

    def __init__(self, feeds: list[InstrumentFeed], history: Iterable[Fill] = ()) -> None:
        self.feeds = {feed.instrument.name: feed for feed in feeds}
        self.books = {name: FifoBook(feed.instrument) for name, feed in self.feeds.items()}
        self.by_quote: dict[str, QuoteAccount] = {}
        for name, book in self.books.items():
            quote = book.instrument.quote
            self.by_quote.setdefault(quote, QuoteAccount(quote, self.mark2)).books[name] = book
        self._marks2: dict[str, int] = {}
        for fill in history:
            if fill.instrument in self.books:
                self.apply(fill)

    def of(self, name: str) -> QuoteAccount:
        """Return the money in the quote currency of an instrument."""
        return self.by_quote[self.books[name].instrument.quote]

    @property
    def main(self) -> QuoteAccount:
        """The money in the quote currency of the run's first instrument."""
        return next(iter(self.by_quote.values()))

    def apply(self, fill: Fill) -> tuple[Decimal, list[ClosedLot]]:
        """Take a fill; return what it realized and the lots it closed."""
        self.mark2(fill.instrument)  # kept, should the book be gone with the next message
        closed = self.books[fill.instrument].apply(fill)
        realized = sum((lot.realized for lot in closed), Decimal(0))
        self.of(fill.instrument).take_realized(realized, fill.ts_ns)
        return realized, closed

    def position(self, name: str) -> int:
        """Return the signed position in lots."""
        return self.books[name].position_lots

    def mark2(self, name: str) -> int | None:
        """Return the mark (last good mid) in half ticks, or None if there never was one."""
        book = self.feeds[name].book
        bid, ask = book.best_bid, book.best_ask
        if bid is not None and ask is not None and bid[0] < ask[0]:
            self._marks2[name] = bid[0] + ask[0]
        return self._marks2.get(name)
