"""A venue that does to our orders what venues do: late, twice, out of order, or never told.

It is the truth: what it filled is filled. Messages to it and reports from it travel until the
test lets them arrive, in any order. Any report may be lost; what it did is told again when asked.
An order arrives within the settling time or never.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from core.clock import NS_PER_S
from core.model.market import TradePrint
from core.model.order import BrokerOrder, Fill, Order, OrderReport, ReportKind
from core.model.transfer import Transfer

ARRIVES_WITHIN_NS = 5 * NS_PER_S
"""An order that has not arrived by then never will; ``core.orders.SETTLE_NS`` relies on it."""
ENDS = frozenset({ReportKind.REJECTED, ReportKind.CANCELED, ReportKind.EXPIRED})


class Ticket(msgspec.Struct):
    """One order as the venue knows it."""

    order: Order
    rest_lots: int
    has_arrived: bool = False
    is_lost: bool = False
    """Lost on the way: it will never arrive."""
    is_closed: bool = False
    sent_ns: int = 0
    is_strange: bool = False
    """Not sent by us."""
    end: OrderReport | None = None

    @property
    def may_fill_lots(self) -> int:
        """Lots that may still fill, the worst case."""
        return 0 if self.is_closed or self.is_lost else self.rest_lots

    @property
    def key(self) -> str:
        return self.order.client_order_id


class VenueModel:
    """A broker (``core.ports.Broker``) whose every step the test decides."""

    name = "model"

    def __init__(self, on_submit: Callable[[Order], None] | None = None) -> None:
        self.tells_quantity = True
        """Reports say how many lots are filled so far; a venue that does not is less sure."""
        self.made: list[Fill] = []
        """Every fill that happened, told or not."""
        self.quotes: dict[str, str] = {}
        self.left_over: set[str] = set()
        """Orders that a start found in the ledger; they may never have left."""
        self.told_ends: set[str] = set()
        """Orders whose end, other than by fills, was told to us."""
        self.failure = ""
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
        self.now_ns = max(self.now_ns, now_ns)
        assert order.client_order_id not in self.tickets, "an order left twice"
        if self._on_submit is not None:
            self._on_submit(order)
        self.tickets[order.client_order_id] = Ticket(order, order.qty_lots, sent_ns=now_ns)
        self.heard_ns[order.client_order_id] = now_ns

    def cancel(self, client_order_id: str, now_ns: int) -> None:
        self.now_ns = max(self.now_ns, now_ns)
        is_known = client_order_id in self.tickets or client_order_id in self.left_over
        assert is_known, "a cancel overtook its order out of the door"
        self.cancels.append(client_order_id)
        self.heard_ns[client_order_id] = now_ns

    def next_due_ns(self) -> int | None:
        return None

    def advance(self, now_ns: int) -> None:
        self.now_ns = max(self.now_ns, now_ns)

    def on_market(self, instrument: int, now_ns: int) -> None:
        self.now_ns = max(self.now_ns, now_ns)

    def on_trade(self, trade: TradePrint) -> None: ...

    def take_reports(self) -> list[OrderReport]:
        reports, self._inbox = self._inbox, []
        return reports

    def ask(self, client_order_id: str, now_ns: int) -> None:
        """Answer; the answer travels like any report."""
        self.now_ns = max(self.now_ns, now_ns)
        ticket = self.tickets.get(client_order_id)
        if (
            ticket is not None
            and not ticket.has_arrived
            and now_ns - ticket.sent_ns >= ARRIVES_WITHIN_NS
        ):
            self.lose(ticket)  # an order arrives within the settling time or never
        if ticket is None or not ticket.has_arrived:
            self._report_to(client_order_id, ReportKind.NOT_FOUND, "no such order")
            return
        self.outbox += [
            self._told(fill) for fill in self.made if fill.client_order_id == client_order_id
        ]
        if ticket.end is not None:
            end = msgspec.structs.replace(ticket.end, ts_ns=now_ns, filled_lots=self._sum(ticket))
            self.outbox.append(end)
        elif not ticket.is_closed:
            self._report(ticket, ReportKind.ACCEPTED)

    def open_orders(self) -> list[BrokerOrder]:
        return [BrokerOrder(t.order, t.order.qty_lots - t.rest_lots) for t in self.working]

    def positions(self) -> dict[str, int]:
        held: dict[str, int] = {}
        for fill in self.made:
            held[fill.instrument] = held.get(fill.instrument, 0) + fill.side.sign * fill.qty_lots
        return {name: lots for name, lots in held.items() if lots}

    def fills_since(self, ts_ns: int) -> list[Fill]:
        found = [fill for fill in self.made if fill.ts_ns >= ts_ns]
        self.heard_ns |= {fill.client_order_id: self.now_ns for fill in found}
        return found

    def move(self, transfer: Transfer) -> None:
        raise NotImplementedError("no script of this model moves coins")

    def trouble(self) -> str:
        return self.failure

    # --- what is there to happen ----------------------------------------------------------------

    @property
    def traveling(self) -> list[Ticket]:
        return [
            t
            for t in self.tickets.values()
            if not t.has_arrived and not t.is_lost and self.now_ns - t.sent_ns < ARRIVES_WITHIN_NS
        ]

    @property
    def working(self) -> list[Ticket]:
        return [t for t in self.tickets.values() if t.has_arrived and not t.is_closed]

    # --- what happens ---------------------------------------------------------------------------

    def arrive(self, ticket: Ticket, *, refused: bool = False) -> None:
        ticket.has_arrived = True
        if refused:
            self._end(ticket, ReportKind.REJECTED, "not today")
        else:
            self._report(ticket, ReportKind.ACCEPTED)

    def cancel_arrives(self, place: int) -> None:
        key = self.cancels.pop(place)
        ticket = self.tickets.get(key)
        if ticket is not None and ticket.has_arrived and not ticket.is_closed:
            self._end(ticket, ReportKind.CANCELED, "as asked")
        else:
            lots = None if ticket is None else self._sum(ticket)
            self._report_to(key, ReportKind.CANCEL_REJECTED, "nothing to cancel", lots)

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
            fee_currency=self.quotes.get(order.instrument, "USDT"),
            is_maker=False,
            ts_ns=self.now_ns,
        )
        self.made.append(fill)
        self.outbox.append(self._told(fill))
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
        if report.kind in ENDS:
            self.told_ends.add(report.client_order_id)

    def lose_report(self, place: int) -> None:
        """Lose any report: what it told is in the statement (``positions``, ``fills_since``)."""
        self.outbox.pop(place)
        self.lost += 1

    def appear(self, order: Order) -> None:
        """Somebody else sends an order from our account."""
        self.tickets[order.client_order_id] = Ticket(
            order, order.qty_lots, has_arrived=True, is_strange=True
        )
        self._report(self.tickets[order.client_order_id], ReportKind.ACCEPTED)

    def lose_connection(self) -> None:
        """Our process is gone: nothing that was on its way is heard by the next one."""
        self.outbox.clear()
        self._inbox.clear()
        self.cancels.clear()
        self.heard_ns.clear()

    def _sum(self, ticket: Ticket) -> int | None:
        return ticket.order.qty_lots - ticket.rest_lots if self.tells_quantity else None

    def _told(self, fill: Fill) -> OrderReport:
        key = fill.client_order_id
        return OrderReport(
            ReportKind.FILLED, key, self.now_ns, "", fill, self._sum(self.tickets[key])
        )

    def _end(self, ticket: Ticket, kind: ReportKind, reason: str) -> None:
        ticket.is_closed = True
        self._report(ticket, kind, reason)
        ticket.end = self.outbox[-1]

    def _report(self, ticket: Ticket, kind: ReportKind, reason: str = "") -> None:
        self._report_to(ticket.order.client_order_id, kind, reason, self._sum(ticket))

    def _report_to(
        self, key: str, kind: ReportKind, reason: str, filled_lots: int | None = None
    ) -> None:
        self.outbox.append(OrderReport(kind, key, self.now_ns, reason, None, filled_lots))
