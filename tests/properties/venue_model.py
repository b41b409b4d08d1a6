"""A venue that does to our orders what venues do: late, twice, out of order, or never told.

It is the truth: what it filled is filled. Messages to it and reports from it travel until the
test lets them arrive, in any order; acknowledgements and endings may be lost, fills only delayed.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from core.model.market import TradePrint
from core.model.order import Fill, Order, OrderReport, ReportKind


class Ticket(msgspec.Struct):
    """One order as the venue knows it."""

    order: Order
    rest_lots: int
    has_arrived: bool = False
    is_lost: bool = False
    """Lost on the way: it will never arrive."""
    is_closed: bool = False

    @property
    def may_fill_lots(self) -> int:
        """Lots that may still fill, the worst case."""
        return 0 if self.is_closed or self.is_lost else self.rest_lots


class VenueModel:
    """A broker (``core.ports.Broker``) whose every step the test decides."""

    name = "model"

    def __init__(self, on_submit: Callable[[Order], None] | None = None) -> None:
        self.tickets: dict[str, Ticket] = {}
        self.cancels: list[str] = []
        """Cancels on their way."""
        self.outbox: list[OrderReport] = []
        """Reports on their way to us."""
        self.fills: list[Fill] = []
        """Every fill that we have been told, once each."""
        self.lost = 0
        self._on_submit = on_submit
        self._inbox: list[OrderReport] = []
        self.now_ns = 0
        self.heard_ns: dict[str, int] = {}
        """When we last asked or were told something about an order."""

    # --- the port -------------------------------------------------------------------------------

    def submit(self, order: Order, now_ns: int) -> None:
        self.now_ns = now_ns
        assert order.client_order_id not in self.tickets, "an order left twice"
        if self._on_submit is not None:
            self._on_submit(order)
        self.tickets[order.client_order_id] = Ticket(order, order.qty_lots)
        self.heard_ns[order.client_order_id] = now_ns

    def cancel(self, client_order_id: str, now_ns: int) -> None:
        self.now_ns = now_ns
        assert client_order_id in self.tickets, "a cancel overtook its order out of the door"
        self.cancels.append(client_order_id)
        self.heard_ns[client_order_id] = now_ns

    def next_due_ns(self) -> int | None:
        return None

    def advance(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def on_market(self, instrument: int, now_ns: int) -> None:
        self.now_ns = now_ns

    def on_trade(self, trade: TradePrint) -> None: ...

    def take_reports(self) -> list[OrderReport]:
        reports, self._inbox = self._inbox, []
        return reports

    # --- what is there to happen ----------------------------------------------------------------

    @property
    def traveling(self) -> list[Ticket]:
        return [t for t in self.tickets.values() if not t.has_arrived and not t.is_lost]

    @property
    def working(self) -> list[Ticket]:
        return [t for t in self.tickets.values() if t.has_arrived and not t.is_closed]

    def unreported_lots(self, client_order_id: str) -> int:
        """Return the lots filled of an order that no report has told us."""
        told = {fill.fill_id for fill in self.fills}
        fills = {r.fill.fill_id: r.fill for r in self.outbox if r.fill is not None}
        return sum(
            f.qty_lots
            for key, f in fills.items()
            if f.client_order_id == client_order_id and key not in told
        )

    # --- what happens ---------------------------------------------------------------------------

    def arrive(self, ticket: Ticket, *, refused: bool = False) -> None:
        ticket.has_arrived = True
        if refused:
            self._end(ticket, ReportKind.REJECTED, "not today")
        else:
            self._report(ticket, ReportKind.ACCEPTED)

    def cancel_arrives(self, place: int) -> None:
        key = self.cancels.pop(place)
        ticket = self.tickets[key]
        if ticket.has_arrived and not ticket.is_closed:
            self._end(ticket, ReportKind.CANCELED, "as asked")
        else:
            self._report(ticket, ReportKind.CANCEL_REJECTED, "nothing to cancel")

    def fill(self, ticket: Ticket, lots: int, ticks: int, fee: Decimal) -> None:
        lots = min(lots, ticket.rest_lots)
        ticket.rest_lots -= lots
        order = ticket.order
        fill = Fill(
            fill_id=f"{order.client_order_id}-{ticket.rest_lots}",
            client_order_id=order.client_order_id,
            instrument=order.instrument,
            side=order.side,
            price_ticks=ticks,
            qty_lots=lots,
            fee=fee,
            fee_currency="USDT",
            is_maker=False,
            ts_ns=self.now_ns,
        )
        self.outbox.append(
            OrderReport(ReportKind.FILLED, order.client_order_id, self.now_ns, fill=fill)
        )
        ticket.is_closed = ticket.rest_lots == 0

    def expire(self, ticket: Ticket) -> None:
        self._end(ticket, ReportKind.EXPIRED, "rest of the order")

    def lose(self, ticket: Ticket) -> None:
        """The order never reaches the venue and nobody says so."""
        ticket.is_lost = True
        self.lost += 1

    def deliver(self, place: int, *, twice: bool = False) -> None:
        report = self.outbox[place] if twice else self.outbox.pop(place)
        self._inbox.append(report)
        self.heard_ns[report.client_order_id] = self.now_ns
        if report.fill is not None and report.fill not in self.fills:
            self.fills.append(report.fill)

    def lose_report(self, place: int) -> None:
        """Lose a report, unless it is a fill: those are only late."""
        if self.outbox[place].fill is None:
            self.outbox.pop(place)
            self.lost += 1

    def _end(self, ticket: Ticket, kind: ReportKind, reason: str) -> None:
        ticket.is_closed = True
        self._report(ticket, kind, reason)

    def _report(self, ticket: Ticket, kind: ReportKind, reason: str = "") -> None:
        self.outbox.append(OrderReport(kind, ticket.order.client_order_id, self.now_ns, reason))
