"""Sim broker: our orders act on the simulated market itself, and its frames show the effect.

Our trades move the price and feed the market's memory of flow; a resting order stands in the
book with the lots ahead of it counted. ``docs/fills.md`` sets it beside the paper broker.
"""

from __future__ import annotations

from decimal import Decimal

from typing_extensions import override

from core.brokers.delayed import DelayedBroker, Ticket
from core.config import Settings
from core.model.instrument import Instrument
from core.model.market import TradePrint
from core.model.order import Order, OrderReport, ReportKind
from core.sim.market import PostRefused
from core.sim.venue import SimVenue


class SimBroker(DelayedBroker):
    """Sends orders into ``venue``; see ``core.ports.Broker``. Latency is in market time."""

    name = "sim"

    def __init__(self, venue: SimVenue, settings: Settings, fee_bps: Decimal) -> None:
        super().__init__(settings.paper.latency_ms, fee_bps)
        self._venue = venue
        self._instruments = {each.name: each for each in venue.instruments}
        self._resting_id_of: dict[str, int] = {}
        self._ticket_of: dict[int, Ticket] = {}

    @override
    def advance(self, now_ns: int) -> None:
        due_ns = self.next_due_ns()
        if due_ns is not None and due_ns <= now_ns:
            # What the market did to our resting orders until then comes first.
            self._venue.catch_up(now_ns)
        self._read_own_fills()
        super().advance(now_ns)

    @override
    def on_market(self, instrument: int, now_ns: int) -> None:
        self._read_own_fills()

    @override
    def on_trade(self, trade: TradePrint) -> None:
        self._read_own_fills()

    @override
    def take_reports(self) -> list[OrderReport]:
        self._read_own_fills()
        return super().take_reports()

    @override
    def _find_instrument(self, name: str) -> Instrument | None:
        return self._instruments.get(name)

    @override
    def _why_closed(self, order: Order) -> str:
        return ""

    @override
    def _take(self, ticket: Ticket, now_ns: int) -> list[tuple[int, int]]:
        order = ticket.order
        return self._venue.take(
            order.instrument, order.side.sign, ticket.rest_lots, order.limit_ticks, now_ns
        )

    @override
    def _rest(self, ticket: Ticket, now_ns: int) -> str:
        order = ticket.order
        try:
            resting_id = self._venue.post(
                order.instrument, order.side.sign, order.limit_ticks, ticket.rest_lots, now_ns
            )
        except PostRefused as error:
            return str(error)
        self._resting_id_of[order.client_order_id] = resting_id
        self._ticket_of[resting_id] = ticket
        return ""

    @override
    def _unrest(self, ticket: Ticket, now_ns: int) -> None:
        self._venue.unpost(self._resting_id_of[ticket.order.client_order_id], now_ns)
        self._read_own_fills()

    @override
    def _retire(self, ticket: Ticket, how: str) -> None:
        super()._retire(ticket, how)
        resting_id = self._resting_id_of.pop(ticket.order.client_order_id, None)
        if resting_id is not None:
            del self._ticket_of[resting_id]

    def _read_own_fills(self) -> None:
        for fill in self._venue.take_own_fills():
            ticket = self._ticket_of[fill.resting_id]
            if fill.lots:
                self._fill(ticket, fill.ticks, fill.lots, fill.ts_ns, is_maker=True)
            else:
                why = "the price went too far away for the simulated market"
                self._close(ticket, ReportKind.CANCELED, why, fill.ts_ns)
