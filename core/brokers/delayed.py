"""What the two paper brokers share: latency both ways, checks on arrival, reports, fees, one life.

An order or a cancel arrives ``latency_ms`` after it was sent and is only then looked at; both
travel one road, so a cancel never overtakes its order. What was done is heard of here
``report_latency_ms`` later. Where an order meets a book is left to the subclass:
``core.brokers.paper`` (the visible book) and ``core.brokers.sim`` (the market).
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque

import msgspec

from core.brokers.day import NO_DAYS, StockDays, day_end_ns
from core.brokers.fees import fee_of, rates_of
from core.brokers.filters import why_refused
from core.brokers.meeting import Meeting, Ticket
from core.brokers.road import Road
from core.clock import NS_PER_MS, earliest
from core.config import PaperSettings
from core.errors import InvariantError
from core.model.market import TradePrint
from core.model.order import Fill, Order, OrderReport, ReportKind, Side, TimeInForce

CLOSED_KEPT = 1_000
"""Closed orders remembered for repeated submits and late cancels."""
OPEN_MAX = 200
"""Orders open at a time; Binance's MAX_NUM_ORDERS, a symbol (exchangeInfo, read 2026-11-23)."""


class _Arrival(msgspec.Struct, frozen=True):
    client_order_id: str
    ticket: Ticket | None
    """None for a cancel."""


class DelayedBroker(Meeting):
    """A broker without a venue behind it; see ``core.ports.Broker``.

    ``on_market``, ``on_trade``, ``submit`` and ``cancel`` may bring ``next_due_ns`` nearer.
    """

    name = "delayed"

    def __init__(self, paper: PaperSettings, days: StockDays = NO_DAYS) -> None:
        """``days``: days without a session, and short ones, beside the rules of the exchange."""
        self._paper = paper
        self._days = days
        self._out: Road[_Arrival] = Road(paper.latency_ms * NS_PER_MS)
        self._back: Road[OrderReport] = Road(paper.report_latency_ms * NS_PER_MS)
        self._tickets: dict[str, Ticket] = {}
        self._rested: dict[str, Ticket] = {}
        self._next_end_ns: int | None = None
        self._closed: deque[str] = deque()
        self._reports: list[OrderReport] = []
        """Reports that got here."""

    # --- the port -------------------------------------------------------------------------------

    def submit(self, order: Order, now_ns: int) -> None:
        """Send an order; a client order id that is known already is not sent again."""
        if order.client_order_id in self._tickets:
            return
        ticket = Ticket(order, order.qty_lots)
        self._tickets[order.client_order_id] = ticket
        self._out.send(_Arrival(order.client_order_id, ticket), now_ns)

    def cancel(self, client_order_id: str, now_ns: int) -> None:
        """Send a cancel; a report always follows, CANCEL_REJECTED with the reason if too late."""
        self._out.send(_Arrival(client_order_id, None), now_ns)

    def next_due_ns(self) -> int | None:
        """Return when the next thing arrives, there or here, or a day ends."""
        return earliest(self._next_end_ns, self._out.next_due_ns, self._back.next_due_ns)

    def advance(self, now_ns: int) -> None:
        """Let happen what is due, against the book as it is now."""
        self._end_days(now_ns)
        while (arrival := self._out.take(now_ns)) is not None:
            if arrival.ticket is None:
                self._cancel_arrived(arrival.client_order_id, now_ns)
            else:
                self._order_arrived(arrival.ticket, now_ns)
        while (report := self._back.take(now_ns)) is not None:
            self._reports.append(report)

    @abstractmethod
    def on_market(self, instrument: int, now_ns: int) -> None:
        """The book of ``instrument`` changed."""

    @abstractmethod
    def on_trade(self, trade: TradePrint) -> None:
        """A public trade happened."""

    def take_reports(self) -> list[OrderReport]:
        """Return and forget the reports that got here since the last call."""
        reports, self._reports = self._reports, []
        return reports

    # --- arrivals -------------------------------------------------------------------------------

    def _order_arrived(self, ticket: Ticket, now_ns: int) -> None:
        why = self._why_refused(ticket.order)
        if why:
            self._close(ticket, ReportKind.REJECTED, why, now_ns)
            return
        self._report(ticket, ReportKind.ACCEPTED, "", now_ns)
        if ticket.order.tif is TimeInForce.FOK:
            why = self._why_not_whole(ticket, self._in_the_way(ticket))
            if why:
                self._close(ticket, ReportKind.EXPIRED, f"fill or kill: {why}", now_ns)
                return
        self._trade_on_arrival(ticket, now_ns)
        if not ticket.closed:
            self._settle(ticket, now_ns)

    def _trade_on_arrival(self, ticket: Ticket, now_ns: int) -> None:
        """Take what is there; our own orders in the way are met by the self-trade mode."""
        while not ticket.closed:
            own = self._in_the_way(ticket)
            for ticks, lots in self._take(ticket, own, now_ns):
                self._fill(ticket, ticks, lots, now_ns, is_maker=False)
            if own is None:
                return
            if not ticket.closed:
                self._prevent(ticket, own, now_ns)

    def _settle(self, ticket: Ticket, now_ns: int) -> None:
        """Let what is left rest, or end it."""
        order = ticket.order
        rest, whole = (self._shown(order, lots) for lots in (ticket.rest_lots, order.qty_lots))
        why = f"{rest} of {whole} found nothing within the limit"
        if order.tif.may_rest:
            why = self._rest(ticket, now_ns)
        if why:
            self._close(ticket, ReportKind.EXPIRED, why, now_ns)
            return
        self._rested[order.client_order_id] = ticket
        if order.tif is TimeInForce.DAY:
            instrument = self._find_instrument(order.instrument)
            assert instrument is not None
            ticket.ends_ns = day_end_ns(instrument, now_ns, *self._days)
            self._note_ends()

    def _cancel_arrived(self, client_order_id: str, now_ns: int) -> None:
        ticket = self._tickets.get(client_order_id)
        if ticket is not None and not ticket.closed:
            self._unrest(ticket, now_ns)
        if ticket is not None and not ticket.closed:
            self._close(ticket, ReportKind.CANCELED, "canceled as asked", now_ns)
            return
        what = f"the order was {ticket.closed} already" if ticket else "no such order is known"
        why = f"nothing to cancel: {what}"
        self._say(ReportKind.CANCEL_REJECTED, client_order_id, why, now_ns)

    def _why_refused(self, order: Order) -> str:
        instrument = self._find_instrument(order.instrument)
        if instrument is None:
            return f"instrument {order.instrument} does not trade here"
        if len(self._rested) >= OPEN_MAX:
            return f"{OPEN_MAX} orders were open already, the most there may be"
        why = why_refused(order, instrument) or self._why_closed(order)
        if not why and order.post_only and self._would_take(order):
            why = "post-only: it would take"
        return why

    def _end_days(self, now_ns: int) -> None:
        if self._next_end_ns is None or now_ns < self._next_end_ns:
            return
        for ticket in list(self._rested.values()):
            if ticket.ends_ns is not None and ticket.ends_ns <= now_ns:
                self._unrest(ticket, now_ns)
                if not ticket.closed:
                    self._close(ticket, ReportKind.EXPIRED, "the trading day ended", now_ns)
        self._note_ends()

    def _note_ends(self) -> None:
        ends = (ticket.ends_ns for ticket in self._rested.values() if ticket.ends_ns is not None)
        self._next_end_ns = min(ends, default=None)

    # --- our own orders -------------------------------------------------------------------------

    def _resting(self, name: str, side: Side) -> list[Ticket]:
        """Return our resting orders of one side, best price first, then the oldest."""
        found = [
            ticket
            for ticket in self._rested.values()
            if ticket.order.instrument == name and ticket.order.side is side
        ]
        # The sort is stable and the orders are kept as they came to rest.
        return sorted(found, key=lambda ticket: -ticket.order.limit_ticks * side.sign)

    def _in_the_way(self, ticket: Ticket) -> Ticket | None:
        """Return our resting order that a fresh one would meet first, or None."""
        order = ticket.order
        others = self._resting(order.instrument, order.side.opposite)
        first = next(iter(others), None)
        if first is None or (order.limit_ticks - first.order.limit_ticks) * order.side.sign < 0:
            return None
        return first

    def _prevent(self, ticket: Ticket, own: Ticket, now_ns: int) -> None:
        """Keep a fresh order from trading with our own; at least one of them ends.

        Source: the modes are Binance's EXPIRE_TAKER, EXPIRE_MAKER, EXPIRE_BOTH and DECREMENT
        (developers.binance.com, Self Trade Prevention FAQ, read 2026-11-23).
        """
        mode = self._paper.self_trade
        why = f"self-trade prevention, {mode}: it would trade with our own order "
        if mode == "decrement":
            self._decrement(ticket, own, why, now_ns)
            return
        if mode in {"cancel_oldest", "cancel_both"}:
            self._unrest(own, now_ns)
            if not own.closed:
                self._close(own, ReportKind.CANCELED, why + ticket.order.client_order_id, now_ns)
        if mode in {"cancel_newest", "cancel_both"}:
            self._close(ticket, ReportKind.EXPIRED, why + own.order.client_order_id, now_ns)

    def _decrement(self, ticket: Ticket, own: Ticket, why: str, now_ns: int) -> None:
        self._unrest(own, now_ns)
        if own.closed:
            return
        lots = min(ticket.rest_lots, own.rest_lots)
        for one in (ticket, own):
            one.rest_lots -= lots
            one.prevented_lots += lots
        if not own.rest_lots:
            self._close(own, ReportKind.CANCELED, why + ticket.order.client_order_id, now_ns)
        elif refused := self._rest(own, now_ns):
            self._close(own, ReportKind.CANCELED, refused, now_ns)
        if not ticket.rest_lots:
            self._close(ticket, ReportKind.EXPIRED, why + own.order.client_order_id, now_ns)

    # --- reports --------------------------------------------------------------------------------

    def _shown(self, order: Order, lots: int) -> str:
        """Return a quantity of an order's instrument as the trader reads it."""
        instrument = self._find_instrument(order.instrument)
        return f"{lots} lots" if instrument is None else instrument.qty_text(lots)

    def _fill(self, ticket: Ticket, ticks: int, lots: int, now_ns: int, *, is_maker: bool) -> None:
        order = ticket.order
        if not 0 < lots <= ticket.rest_lots or ticket.closed:
            raise InvariantError(f"{order.client_order_id}: fill of {lots} of {ticket.rest_lots}")
        instrument = self._find_instrument(order.instrument)
        assert instrument is not None
        rates = rates_of(self._paper, instrument)
        ticket.rest_lots -= lots
        ticket.fills += 1
        fill = Fill(
            fill_id=f"{order.client_order_id}-{ticket.fills}",
            client_order_id=order.client_order_id,
            instrument=order.instrument,
            side=order.side,
            price_ticks=ticks,
            qty_lots=lots,
            fee=fee_of(instrument, ticks, lots, rates.maker_bps if is_maker else rates.taker_bps),
            fee_currency=instrument.quote,
            is_maker=is_maker,
            ts_ns=now_ns,
            closes=order.closes,
        )
        self._say(ReportKind.FILLED, order.client_order_id, "", now_ns, fill)
        if ticket.rest_lots:
            return
        if ticket.prevented_lots:
            # Less than ordered has filled: without a last word it would look open for ever.
            kept = self._shown(order, ticket.prevented_lots)
            why = f"{kept} was kept from trading with our own orders"
            self._close(ticket, ReportKind.CANCELED, why, now_ns)
        else:
            self._retire(ticket, "filled")

    def _close(self, ticket: Ticket, kind: ReportKind, reason: str, now_ns: int) -> None:
        self._report(ticket, kind, reason, now_ns)
        self._retire(ticket, kind.value)

    def _report(self, ticket: Ticket, kind: ReportKind, reason: str, now_ns: int) -> None:
        self._say(kind, ticket.order.client_order_id, reason, now_ns)

    def _say(
        self, kind: ReportKind, key: str, reason: str, now_ns: int, fill: Fill | None = None
    ) -> None:
        """Send a report on its way; it never overtakes another."""
        report = OrderReport(kind, key, self._back.due_ns(now_ns), reason, fill)
        if self._paper.report_latency_ms:
            self._back.send(report, now_ns)
        else:
            self._reports.append(report)

    def _retire(self, ticket: Ticket, how: str) -> None:
        ticket.closed = how
        rested = self._rested.pop(ticket.order.client_order_id, None)
        if rested is not None and rested.ends_ns is not None:
            self._note_ends()
        self._closed.append(ticket.order.client_order_id)
        if len(self._closed) > CLOSED_KEPT:
            del self._tickets[self._closed.popleft()]
