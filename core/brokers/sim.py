"""Sim broker: our orders act on the simulated market itself, and its frames show the effect.

Our trades move the price and feed the market's memory of flow; a resting order stands in the
book with the lots ahead of it counted. ``docs/fills.md`` sets it beside the paper broker.
"""

from __future__ import annotations

from typing_extensions import override

from core.brokers.delayed import DelayedBroker
from core.brokers.meeting import Ticket
from core.config import Settings
from core.model.instrument import Instrument
from core.model.market import TradePrint
from core.model.order import Order, OrderReport, ReportKind, Side
from core.sim.market import PostRefused
from core.sim.venue import SimVenue


class SimBroker(DelayedBroker):
    """Sends orders into ``venue``; see ``core.ports.Broker``. Latency is in market time."""

    name = "sim"

    def __init__(self, venue: SimVenue, settings: Settings) -> None:
        super().__init__(settings.paper)
        self._venue = venue
        self._instruments = {each.name: each for each in venue.instruments}
        self._resting_id_of: dict[str, int] = {}
        self._ticket_of: dict[int, Ticket] = {}

    @override
    def advance(self, now_ns: int) -> None:
        due_ns = self._out.next_due_ns
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
    def _would_take(self, order: Order) -> bool:
        bid, ask = self._venue.best(order.instrument)
        best = ask if order.side is Side.BUY else bid
        return (order.limit_ticks - best) * order.side.sign >= 0

    @override
    def _why_not_whole(self, ticket: Ticket, own: Ticket | None) -> str:
        return "the simulated market takes no such orders"

    @override
    def _take(self, ticket: Ticket, own: Ticket | None, now_ns: int) -> list[tuple[int, int]]:
        order = ticket.order
        limit_ticks = order.limit_ticks
        if own is not None:
            # Who stands before our own order at its price is left alone: we cannot take in part.
            limit_ticks = own.order.limit_ticks - order.side.sign
        return self._venue.take(
            order.instrument, order.side.sign, ticket.rest_lots, limit_ticks, now_ns
        )

    @override
    def _rest(self, ticket: Ticket, now_ns: int) -> str:
        order = ticket.order
        self._forget(order.client_order_id)
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
        self._forget(ticket.order.client_order_id)

    def _forget(self, client_order_id: str) -> None:
        resting_id = self._resting_id_of.pop(client_order_id, None)
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
