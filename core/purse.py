"""The money of one quote currency in a backtest: books, marks, curve, round trips, attribution.

It is told of every fill and looks at the marks when asked to; it changes nothing of the engine.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from core.attribution import SignalPart, split
from core.backtest_report import ZERO, Baseline, Result, RoundTrip, SignalPnl
from core.brokers.fees import fee_of
from core.curve import Curve, CurvePoint
from core.desk import Desk
from core.errors import InvariantError
from core.lots import FifoBook
from core.model.event import Filled, MarkedOut, SlippageMeasured
from core.model.instrument import plain
from core.model.lot import ClosedLot
from core.model.order import Fill, Side
from core.quality import QualityTally


class EntryFacts(msgspec.Struct, frozen=True):
    """What is kept of a decision until its round trip is over."""

    mid2_ticks: int
    parts: tuple[SignalPart, ...]


class _Trip(msgspec.Struct):
    """A round trip on its way."""

    side: str
    opened_ns: int
    decision_id: str
    lots: int = 0
    realized: Decimal = ZERO


class Purse:
    """Everything counted in one quote currency."""

    def __init__(
        self, currency: str, desks: Iterable[Desk], fee_bps: Decimal, order_notional: Decimal
    ) -> None:
        self.currency = currency
        self._desks = {desk.instrument.name: desk for desk in desks}
        self._books = {name: FifoBook(d.instrument) for name, d in self._desks.items()}
        self._fee_bps = fee_bps
        self._order_notional = order_notional
        self._marks2: dict[str, int] = {}
        self._held: dict[str, FifoBook] = {}
        """The books of buy and hold."""
        self._hold_turnover = ZERO
        self._curve = Curve()
        self._open_trips: dict[str, _Trip] = {}
        self.trips: list[RoundTrip] = []
        self._parts_of: dict[str, tuple[SignalPart, ...]] = {}
        """By fill id, of the fills whose lots may still be open."""
        self._signals: dict[str, SignalPnl] = {}
        self._quality = QualityTally()
        self._turnover = self._slippage = self._decided = ZERO
        self._fills = 0
        self._begin_ns = self._last_ns = 0
        self._in_market_since_ns: int | None = None
        self._in_market_ns = 0
        self._exposure = self._exposure_max = self._exposure_ns = ZERO

    def has(self, instrument: str) -> bool:
        """Return whether the instrument is quoted in this currency."""
        return instrument in self._desks

    # --- in -------------------------------------------------------------------------------------

    def sample(self, now_ns: int) -> None:
        """Look at the marks as of ``now_ns``; times never go back."""
        for name, desk in self._desks.items():
            self._mark(name, desk)
            if desk.is_live and name not in self._held:
                self._buy_and_hold(name, desk, now_ns)
        self._begin_ns = self._begin_ns or now_ns
        self._exposure_ns += self._exposure * (now_ns - (self._last_ns or now_ns))
        self._last_ns = now_ns
        self._exposure = sum(map(self._exposure_of, self._books), ZERO)
        self._exposure_max = max(self._exposure_max, self._exposure)
        self._curve.take(now_ns, self._pnl(self._books), self._pnl(self._held), self._fees)

    def take(self, event: Filled, decision: EntryFacts | None) -> None:
        """Take a fill and the decision that asked for it (None: a command did).

        Errors: ``InvariantError`` if the ledger says another realized P&L than the lots.
        """
        fill = event.fill
        book = self._books[fill.instrument]
        was_lots = book.position_lots
        closed = book.apply(fill)
        realized = sum((lot.realized for lot in closed), ZERO)
        if plain(realized) != event.realized_pnl:
            raise InvariantError(
                f"{fill.fill_id}: realized was {event.realized_pnl}, lots {realized}"
            )
        self._count(fill, decision)
        for lot in closed:
            self._attribute(lot)
        self._follow_trip(event, was_lots, closed)
        self._parts_of[fill.fill_id] = decision.parts if decision else ()
        if not book.position_lots:
            self._forget(fill.instrument)
        self._follow_market(fill.ts_ns)

    def measure(self, event: SlippageMeasured | MarkedOut) -> None:
        """Take what an order cost, or where the mid went after a fill."""
        if isinstance(event, MarkedOut):
            self._quality.take_markout(event)
        else:
            self._quality.take_slippage(event, self._desks[event.instrument].instrument)

    def _mark(self, name: str, desk: Desk) -> None:
        bid, ask = desk.feed.book.best_bid, desk.feed.book.best_ask
        if bid is not None and ask is not None and bid[0] < ask[0]:
            self._marks2[name] = bid[0] + ask[0]

    def _buy_and_hold(self, name: str, desk: Desk, now_ns: int) -> None:
        """Buy one order's notional at the best ask, sized as the strategy sizes."""
        instrument, ask = desk.instrument, desk.feed.book.best_ask
        assert ask is not None
        mid = instrument.price(self._marks2[name]) / 2
        lots = int(self._order_notional / (mid * instrument.lot_size))
        book = self._held[name] = FifoBook(instrument)
        if not lots:
            return
        fee = fee_of(instrument, ask[0], lots, self._fee_bps)
        book.apply(
            Fill("hold", "", name, Side.BUY, ask[0], lots, fee, instrument.quote, False, now_ns)
        )
        self._hold_turnover += instrument.notional(ask[0], lots)

    def _count(self, fill: Fill, decision: EntryFacts | None) -> None:
        instrument = self._desks[fill.instrument].instrument
        self._fills += 1
        self._turnover += instrument.notional(fill.price_ticks, fill.qty_lots)
        if decision is not None:
            mid2 = decision.mid2_ticks
            half_lots = instrument.notional(1, fill.qty_lots) / 2
            self._slippage += half_lots * (2 * fill.price_ticks - mid2) * fill.side.sign
            self._decided += half_lots * mid2

    def _attribute(self, lot: ClosedLot) -> None:
        for name, part in split(lot.realized, self._parts_of[lot.open_fill_id]):
            old = self._signals.get(name, SignalPnl(name, ZERO, 0))
            self._signals[name] = SignalPnl(name, old.realized + part, old.closed_lots + 1)

    def _follow_trip(self, event: Filled, was_lots: int, closed: list[ClosedLot]) -> None:
        fill, name = event.fill, event.fill.instrument
        now_lots = self._books[name].position_lots
        trip = self._open_trips.get(name)
        if trip is not None:
            trip.lots += sum(lot.qty_lots for lot in closed)
            trip.realized += sum((lot.realized for lot in closed), ZERO)
            if was_lots * now_lots <= 0:
                del self._open_trips[name]
                qty = self._desks[name].instrument.qty(trip.lots)
                self.trips.append(
                    RoundTrip(
                        name, trip.side, trip.opened_ns, fill.ts_ns, qty, trip.realized,
                        trip.decision_id,
                    )
                )  # fmt: skip
        if now_lots and was_lots * now_lots <= 0:
            side = "LONG" if now_lots > 0 else "SHORT"
            self._open_trips[name] = _Trip(side, fill.ts_ns, event.decision_id)

    def _forget(self, name: str) -> None:
        """Drop what was kept for the open lots of an instrument that is flat."""
        kept = {lot.fill_id for book in self._books.values() for lot in book.open_lots}
        assert not self._books[name].open_lots
        self._parts_of = {key: parts for key, parts in self._parts_of.items() if key in kept}

    def _follow_market(self, now_ns: int) -> None:
        has_position = any(book.position_lots for book in self._books.values())
        if has_position and self._in_market_since_ns is None:
            self._in_market_since_ns = now_ns
        elif not has_position and self._in_market_since_ns is not None:
            self._in_market_ns += now_ns - self._in_market_since_ns
            self._in_market_since_ns = None

    # --- out ------------------------------------------------------------------------------------

    @property
    def points(self) -> tuple[CurvePoint, ...]:
        """The curve, thinned."""
        return self._curve.points

    def result(self) -> Result:
        """Return what came out as of the last sample."""
        realized = sum((book.realized for book in self._books.values()), ZERO)
        unrealized = self._unrealized(self._books)
        in_market_ns = self._in_market_ns
        if self._in_market_since_ns is not None:
            in_market_ns += self._last_ns - self._in_market_since_ns
        return Result(
            currency=self.currency,
            instruments=tuple(self._desks),
            pnl=realized + unrealized,
            realized=realized,
            unrealized=unrealized,
            fees=self._fees,
            max_drawdown=self._curve.reach.drawdown,
            turnover=self._turnover,
            fills=self._fills,
            round_trips=len(self.trips),
            wins=sum(trip.realized > 0 for trip in self.trips),
            slippage=self._slippage,
            decided_notional=self._decided,
            span_ns=self._last_ns - self._begin_ns,
            in_market_ns=in_market_ns,
            exposure_max=self._exposure_max,
            exposure_ns=self._exposure_ns,
            open_positions=self._open_positions(),
            buy_and_hold=self._hold_baseline(),
            signals=tuple(sorted(self._signals.values(), key=lambda s: (-s.realized, s.name))),
            quality=self._quality.result(),
            reach=self._curve.reach,
        )

    @property
    def _fees(self) -> Decimal:
        return sum((book.fees for book in self._books.values()), ZERO)

    def _open_positions(self) -> dict[str, str]:
        return {
            name: book.instrument.qty_text(book.position_lots)
            for name, book in self._books.items()
            if book.position_lots
        }

    def _hold_baseline(self) -> Baseline:
        fees = sum((book.fees for book in self._held.values()), ZERO)
        return Baseline(self._pnl(self._held), fees, self._hold_turnover)

    def _exposure_of(self, name: str) -> Decimal:
        book = self._books[name]
        if not book.position_lots:
            return ZERO
        return book.instrument.notional(1, abs(book.position_lots)) * self._mark_of(book) / 2

    def _mark_of(self, book: FifoBook) -> int:
        """Return the mark in half ticks; a fill needs a book, so what is held has one."""
        return self._marks2[book.instrument.name]

    def _unrealized(self, books: dict[str, FifoBook]) -> Decimal:
        held = (book for book in books.values() if book.position_lots)
        return sum((book.unrealized(self._mark_of(book)) for book in held), ZERO)

    def _pnl(self, books: dict[str, FifoBook]) -> Decimal:
        return sum((book.realized for book in books.values()), ZERO) + self._unrealized(books)
