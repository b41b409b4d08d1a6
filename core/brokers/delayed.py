"""What the two paper brokers share: latency, checks on arrival, reports, fees, idempotency.

An order or a cancel arrives ``latency_ms`` after it was sent and is only then looked at; both
travel one road, so a cancel never overtakes its order. Where an order meets a book is left to
the subclass: ``core.brokers.paper`` (the visible book) and ``core.brokers.sim`` (the market).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from core.brokers.fees import fee_of
from core.clock import NS_PER_MS
from core.errors import InvariantError
from core.model.instrument import Instrument
from core.model.market import TradePrint
from core.model.order import Fill, Order, OrderReport, ReportKind, Side, TimeInForce

CLOSED_KEPT = 1_000
"""Closed orders remembered for repeated submits and late cancels."""


class Ticket(msgspec.Struct):
    """One order as the broker knows it; only the broker writes it."""

    order: Order
    rest_lots: int
    fills: int = 0
    closed: str = ""
    """How it ended; empty while it lives."""


class _Arrival(msgspec.Struct, frozen=True):
    due_ns: int
    ticket: Ticket | None
    """None for a cancel."""
    client_order_id: str


class DelayedBroker(ABC):
    """A broker without a venue behind it; see ``core.ports.Broker``.

    Args: ``fee_bps`` of the notional, on every fill, in the instrument's quote currency;
    ``fees_by_venue`` has those of venues that charge another one.
    """

    name = "delayed"

    def __init__(
        self, latency_ms: int, fee_bps: Decimal, fees_by_venue: Mapping[str, Decimal] | None = None
    ) -> None:
        self._fees_by_venue = dict(fees_by_venue or {})
        if min([fee_bps, *self._fees_by_venue.values()]) < 0:
            raise InvariantError(f"fee was {fee_bps} bps, allowed is zero and more")
        self._latency_ns = latency_ms * NS_PER_MS
        self._fee_bps = fee_bps
        self._arrivals: deque[_Arrival] = deque()
        self._tickets: dict[str, Ticket] = {}
        self._rested: dict[str, Ticket] = {}
        self._closed: deque[str] = deque()
        self._reports: list[OrderReport] = []

    # --- the port -------------------------------------------------------------------------------

    def submit(self, order: Order, now_ns: int) -> None:
        """Send an order; a client order id that is known already is not sent again."""
        if order.client_order_id in self._tickets:
            return
        ticket = Ticket(order, order.qty_lots)
        self._tickets[order.client_order_id] = ticket
        self._arrivals.append(_Arrival(self._due_ns(now_ns), ticket, order.client_order_id))

    def cancel(self, client_order_id: str, now_ns: int) -> None:
        """Send a cancel; a report always follows, CANCEL_REJECTED with the reason if too late."""
        self._arrivals.append(_Arrival(self._due_ns(now_ns), None, client_order_id))

    def next_due_ns(self) -> int | None:
        """Return when the next order or cancel arrives."""
        return self._arrivals[0].due_ns if self._arrivals else None

    def advance(self, now_ns: int) -> None:
        """Let arrive what is due, against the book as it is now."""
        while self._arrivals and self._arrivals[0].due_ns <= now_ns:
            arrival = self._arrivals.popleft()
            if arrival.ticket is None:
                self._cancel_arrived(arrival.client_order_id, now_ns)
            else:
                self._order_arrived(arrival.ticket, now_ns)

    @abstractmethod
    def on_market(self, instrument: int, now_ns: int) -> None:
        """The book of ``instrument`` changed."""

    @abstractmethod
    def on_trade(self, trade: TradePrint) -> None:
        """A public trade happened."""

    def take_reports(self) -> list[OrderReport]:
        """Return and forget the reports made since the last call."""
        reports, self._reports = self._reports, []
        return reports

    # --- what a subclass answers ----------------------------------------------------------------

    @abstractmethod
    def _find_instrument(self, name: str) -> Instrument | None:
        """Return the instrument of an order, or None if it does not trade here."""

    @abstractmethod
    def _why_closed(self, order: Order) -> str:
        """Return why no order can trade in this instrument now; empty if one can."""

    @abstractmethod
    def _take(self, ticket: Ticket, now_ns: int) -> list[tuple[int, int]]:
        """Walk the book for a fresh order; return (ticks, lots) of each level taken."""

    @abstractmethod
    def _rest(self, ticket: Ticket, now_ns: int) -> str:
        """Put what is left into the book; return why not, empty if it rests."""

    @abstractmethod
    def _unrest(self, ticket: Ticket, now_ns: int) -> None:
        """Take a resting order out of the book; it may turn out to be filled."""

    # --- arrivals -------------------------------------------------------------------------------

    def _due_ns(self, now_ns: int) -> int:
        # Time never goes back, but a caller's may stand still: arrivals stay in order.
        last_ns = self._arrivals[-1].due_ns if self._arrivals else 0
        return max(last_ns, now_ns + self._latency_ns)

    def _order_arrived(self, ticket: Ticket, now_ns: int) -> None:
        why = self._why_refused(ticket.order)
        if why:
            self._close(ticket, ReportKind.REJECTED, why, now_ns)
            return
        self._report(ticket, ReportKind.ACCEPTED, "", now_ns)
        for ticks, lots in self._take(ticket, now_ns):
            self._fill(ticket, ticks, lots, now_ns, is_maker=False)
        if ticket.closed:
            return
        if ticket.order.tif is TimeInForce.IOC:
            why = f"{ticket.rest_lots} of {ticket.order.qty_lots} lots found nothing in the limit"
            self._close(ticket, ReportKind.EXPIRED, why, now_ns)
            return
        why = self._rest(ticket, now_ns)
        if why:
            self._close(ticket, ReportKind.EXPIRED, why, now_ns)
            return
        self._rested[ticket.order.client_order_id] = ticket

    def _cancel_arrived(self, client_order_id: str, now_ns: int) -> None:
        ticket = self._tickets.get(client_order_id)
        if ticket is not None and not ticket.closed:
            self._unrest(ticket, now_ns)
        if ticket is not None and not ticket.closed:
            self._close(ticket, ReportKind.CANCELED, "canceled as asked", now_ns)
            return
        what = f"the order was {ticket.closed} already" if ticket else "no such order is known"
        why = f"nothing to cancel: {what}"
        self._reports.append(OrderReport(ReportKind.CANCEL_REJECTED, client_order_id, now_ns, why))

    def _why_refused(self, order: Order) -> str:
        instrument = self._find_instrument(order.instrument)
        if instrument is None:
            return f"instrument {order.instrument} does not trade here"
        if order.qty_lots <= 0:
            return f"quantity was {order.qty_lots} lots, allowed is above zero"
        if order.limit_ticks <= 0:
            return f"limit was {order.limit_ticks} ticks, allowed is above zero"
        notional = instrument.notional(order.limit_ticks, order.qty_lots)
        if notional < instrument.min_notional:
            return f"notional was {notional}, the least is {instrument.min_notional}"
        return self._why_closed(order) or self._why_own(order)

    def _why_own(self, order: Order) -> str:
        for other in self._resting(order.instrument, order.side.opposite):
            if (order.limit_ticks - other.order.limit_ticks) * order.side.sign >= 0:
                return f"it would trade with our own order {other.order.client_order_id}"
        return ""

    def _resting(self, name: str, side: Side) -> list[Ticket]:
        """Return our resting orders of one side, best price first, then the oldest."""
        found = [
            ticket
            for ticket in self._rested.values()
            if ticket.order.instrument == name and ticket.order.side is side
        ]
        # The sort is stable and the orders are kept as they came to rest.
        return sorted(found, key=lambda ticket: -ticket.order.limit_ticks * side.sign)

    # --- reports --------------------------------------------------------------------------------

    def _fill(self, ticket: Ticket, ticks: int, lots: int, now_ns: int, *, is_maker: bool) -> None:
        order = ticket.order
        if not 0 < lots <= ticket.rest_lots or ticket.closed:
            raise InvariantError(f"{order.client_order_id}: fill of {lots} of {ticket.rest_lots}")
        instrument = self._find_instrument(order.instrument)
        assert instrument is not None
        ticket.rest_lots -= lots
        ticket.fills += 1
        fill = Fill(
            fill_id=f"{order.client_order_id}-{ticket.fills}",
            client_order_id=order.client_order_id,
            instrument=order.instrument,
            side=order.side,
            price_ticks=ticks,
            qty_lots=lots,
            fee=fee_of(
                instrument,
                ticks,
                lots,
                self._fees_by_venue.get(instrument.venue, self._fee_bps),
            ),
            fee_currency=instrument.quote,
            is_maker=is_maker,
            ts_ns=now_ns,
        )
        self._reports.append(
            OrderReport(ReportKind.FILLED, order.client_order_id, now_ns, "", fill)
        )
        if ticket.rest_lots == 0:
            self._retire(ticket, "filled")

    def _close(self, ticket: Ticket, kind: ReportKind, reason: str, now_ns: int) -> None:
        self._report(ticket, kind, reason, now_ns)
        self._retire(ticket, kind.value)

    def _report(self, ticket: Ticket, kind: ReportKind, reason: str, now_ns: int) -> None:
        self._reports.append(OrderReport(kind, ticket.order.client_order_id, now_ns, reason))

    def _retire(self, ticket: Ticket, how: str) -> None:
        ticket.closed = how
        self._rested.pop(ticket.order.client_order_id, None)
        self._closed.append(ticket.order.client_order_id)
        if len(self._closed) > CLOSED_KEPT:
            del self._tickets[self._closed.popleft()]
