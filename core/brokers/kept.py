"""The memory of a paper venue: what it was sent, what it filled, what it holds for us.

The brokers that make fills (``core.brokers.paper``, ``core.brokers.sim``) are roads without a
memory. ``KeptBroker`` stands before one, writes down every order, fill and end on the venue's
side, and answers what a start asks (``core.ports.Broker``). It counts for itself and knows nothing
of the ledger, so comparing the two means something. With a ``PaperMemory`` it survives ``kill -9``
and power loss: a fill is on disk before we are told of it. Orders do not survive: the venue ends
with its process and cancels what is open, as venues do that cancel on disconnect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from core.brokers.memory import OrderLine, PaperMemory
from core.model.instrument import Instrument
from core.model.market import TradePrint
from core.model.order import BrokerOrder, Fill, Order, OrderReport, ReportKind
from core.model.transfer import Transfer
from core.ports import OrderRoad

ORDERS_KEPT = 1_000
"""Closed orders that can still be asked about."""
ENDED_WITH_PROCESS = "the paper venue ended with its process and canceled what was open"
_ENDS = frozenset({ReportKind.REJECTED, ReportKind.CANCELED, ReportKind.EXPIRED})


class KeptOrder(msgspec.Struct):
    """One order as the venue remembers it."""

    order: Order
    has_arrived: bool = False
    filled_lots: int = 0
    fills: list[Fill] = []
    end: OrderReport | None = None

    @property
    def is_open(self) -> bool:
        return self.end is None and self.filled_lots < self.order.qty_lots


class KeptBroker:
    """A paper venue with a memory; see the module docstring and ``core.ports.Broker``."""

    def __init__(
        self,
        road: OrderRoad,
        instruments: Iterable[Instrument],
        opening: Mapping[str, int],
        memory: PaperMemory | None = None,
        transfers: Iterable[Transfer] = (),
    ) -> None:
        """``opening``: lots held by instrument where there is no memory yet, transfers left out.

        ``transfers``: those of the ledger; what the memory lacks of them is taken now.

        Errors: ``Failed`` for a memory that cannot be read.
        """
        self.name = road.name
        self._road = road
        self._instruments = {each.name: each for each in instruments}
        self._orders: dict[str, KeptOrder] = {}
        self._positions = dict(opening)
        self._told: list[OrderReport] = []
        self._memory = memory
        if memory is not None:
            self._remember(memory)
        for transfer in transfers:
            if memory is None or transfer.transfer_id not in memory.moves:
                self.move(transfer)

    def _remember(self, memory: PaperMemory) -> None:
        """Take over what the memory of an earlier process holds; open a new one with ours."""
        mine = self._instruments.values()
        if memory.is_new:
            memory.begin(mine, self._positions)
        self._positions = memory.positions(mine)
        for line in memory.orders:
            if self._is_mine(line):
                kept = self._orders[line.order.client_order_id] = KeptOrder(line.order, True)
                kept.fills = list(line.fills)
                kept.filled_lots = sum(fill.qty_lots for fill in line.fills)
                kept.end = line.end
        memory.end_open(ENDED_WITH_PROCESS)
        for kept in self._orders.values():
            if kept.is_open:
                kept.end = OrderReport(
                    ReportKind.CANCELED, kept.order.client_order_id, 0, ENDED_WITH_PROCESS
                )

    def _is_mine(self, line: OrderLine) -> bool:
        one = self._instruments.get(line.order.instrument)
        return one is not None and line.is_of(one)

    # --- the road -------------------------------------------------------------------------------

    def submit(self, order: Order, now_ns: int) -> None:
        if order.client_order_id not in self._orders:
            self._orders[order.client_order_id] = KeptOrder(order)
            self._forget_old()
            if self._memory is not None:
                self._memory.sent(order, self._instruments.get(order.instrument))
        self._road.submit(order, now_ns)

    def cancel(self, client_order_id: str, now_ns: int) -> None:
        self._road.cancel(client_order_id, now_ns)

    def next_due_ns(self) -> int | None:
        return self._road.next_due_ns()

    def advance(self, now_ns: int) -> None:
        self._road.advance(now_ns)

    def on_market(self, instrument: int, now_ns: int) -> None:
        self._road.on_market(instrument, now_ns)

    def on_trade(self, trade: TradePrint) -> None:
        self._road.on_trade(trade)

    def take_reports(self) -> list[OrderReport]:
        """Return what is new, each with the quantity filled so far; fills are on disk first."""
        found = self._road.take_reports()
        if not found and not self._told:
            return found
        reports = [self._note(report) for report in found]
        if self._memory is not None and reports:
            self._memory.sync()
        told, self._told = self._told, []
        return told + reports

    def _note(self, report: OrderReport) -> OrderReport:
        kept = self._orders.get(report.client_order_id)
        if kept is None:
            return report
        if report.kind is not ReportKind.CANCEL_REJECTED:
            kept.has_arrived = True
        if report.fill is not None:
            self._fill(kept, report.fill)
        elif report.kind in _ENDS:
            kept.end = report
            if self._memory is not None:
                self._memory.ended(report)
        return msgspec.structs.replace(report, filled_lots=kept.filled_lots)

    def _fill(self, kept: KeptOrder, fill: Fill) -> None:
        kept.fills = [*kept.fills, fill]
        kept.filled_lots += fill.qty_lots
        held = self._positions.get(fill.instrument, 0)
        self._positions[fill.instrument] = held + fill.side.sign * fill.qty_lots
        if self._memory is not None:
            self._memory.filled(fill, self._instruments[fill.instrument])

    def _forget_old(self) -> None:
        if len(self._orders) > 2 * ORDERS_KEPT:
            for key in [k for k, o in self._orders.items() if not o.is_open][:-ORDERS_KEPT]:
                del self._orders[key]

    def move(self, transfer: Transfer) -> None:
        """Take that coins were moved: a paper venue has no wallets but by the trader's word."""
        name = transfer.instrument
        self._positions[name] = self._positions.get(name, 0) + transfer.change_lots
        if self._memory is not None:
            self._memory.moved(transfer, self._instruments[name])

    # --- what it is asked -----------------------------------------------------------------------

    def ask(self, client_order_id: str, now_ns: int) -> None:
        """Tell an order again: its fills, then how it stands. On its way it is not known yet."""
        kept = self._orders.get(client_order_id)
        if kept is None or not kept.has_arrived:
            why = "no such order is known"
            self._told.append(OrderReport(ReportKind.NOT_FOUND, client_order_id, now_ns, why))
            return
        self._told += [
            OrderReport(ReportKind.FILLED, client_order_id, now_ns, "", fill, kept.filled_lots)
            for fill in kept.fills
        ]
        if kept.end is not None:
            end = msgspec.structs.replace(kept.end, ts_ns=now_ns, filled_lots=kept.filled_lots)
            self._told.append(end)
        elif kept.is_open:
            self._told.append(OrderReport(
                ReportKind.ACCEPTED, client_order_id, now_ns, "", None, kept.filled_lots
            ))  # fmt: skip

    def open_orders(self) -> list[BrokerOrder]:
        return [
            BrokerOrder(kept.order, kept.filled_lots)
            for kept in self._orders.values()
            if kept.has_arrived and kept.is_open
        ]

    def positions(self) -> dict[str, int]:
        return {name: lots for name, lots in self._positions.items() if lots}

    def fills_since(self, ts_ns: int) -> list[Fill]:
        found = [fill for kept in self._orders.values() for fill in kept.fills]
        return sorted((fill for fill in found if fill.ts_ns >= ts_ns), key=lambda f: f.ts_ns)

    def trouble(self) -> str:
        return "" if self._memory is None else self._memory.failure
