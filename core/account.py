"""The account: FIFO books of every instrument, marks, and the money in each quote currency, exact.

Built from the ledger's fills at start, then fed every fill. It reads books, never changes them.
Money of different quote currencies is never added up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from core.clock import NS_PER_S
from core.feeds.protocol import InstrumentFeed
from core.lots import ClosedLot, FifoBook, LotMethod
from core.model.instrument import plain
from core.model.order import Fill, Order

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
        self._is_running = False
        self.has_rolled = False
        """A midnight passed that nobody has written down yet."""
        self._realized_day = Decimal(0)
        self._opening: Decimal | None = None
        """Unrealized when the day began; None: not known, then the day counts from the opening."""

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
        self._opening = self.unrealized() if self._is_running else None
        self.has_rolled = self._is_running

    def start_run(self, now_ns: int, opening: Decimal | None) -> None:
        """Go on in the day of ``now_ns``; ``opening`` is what the ledger has of its midnight."""
        self.roll_day(now_ns)
        self._is_running = True
        if opening is not None:
            self._opening = opening

    @property
    def opening(self) -> Decimal | None:
        """Unrealized when the day began, None where no mark of that moment is known."""
        return self._opening

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
        """Return what was won or lost since 00:00 UTC, or None without a mark.

        Where no mark of midnight is known (nothing ran then), a position that was held over it
        counts from its opening: the loss of it is not overlooked, and a gain is not hidden.
        """
        unrealized = self.unrealized()
        if unrealized is None:
            return None
        return self.realized_today(now_ns) + unrealized - (self._opening or 0)

    def realized_today(self, now_ns: int) -> Decimal:
        """Return what was realized since 00:00 UTC."""
        self.roll_day(now_ns)
        return self._realized_day

    def sample_curve(self) -> None:
        """Append the total to the curve; call once a second."""
        unrealized = self.unrealized()
        if unrealized is not None:
            self.curve.append(float(self.realized + unrealized))


class Account:
    """Positions and marks of one run's instruments, and the money by quote currency."""

    def __init__(
        self,
        feeds: list[InstrumentFeed],
        history: Iterable[Fill] = (),
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
        for fill in history:
            if fill.instrument in self.books:
                self.apply(fill)

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

    def apply(self, fill: Fill) -> tuple[Decimal, list[ClosedLot]]:
        """Take a fill; return what it realized and the lots it closed."""
        self._keep_mark(fill.instrument)  # should the book be gone with the next message
        self.of(fill.instrument).roll_day(fill.ts_ns)  # before the fill changes what is held
        closed = self.books[fill.instrument].apply(fill)
        realized = sum((lot.realized for lot in closed), Decimal(0))
        self.of(fill.instrument).take_realized(realized, fill.ts_ns)
        return realized, closed

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
