"""A broker on a simulated market, driven in time as a session drives it."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from core.brokers.delayed import DelayedBroker
from core.brokers.paper import PaperBroker
from core.brokers.sim import SimBroker
from core.config import PaperSettings, Settings
from core.feeds.sim import SimProtocol
from core.model.instrument import Instrument
from core.model.lifecycle import Trigger, after
from core.model.market import BookMoved, TradePrint
from core.model.order import (
    Fill,
    Order,
    OrderReport,
    OrderStatus,
    ReportKind,
    Side,
    TimeInForce,
)
from core.sim.market import SimMarket, sim_instrument
from core.sim.venue import SimVenue

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
LATENCY_MS = 20
SETTINGS = Settings(paper=PaperSettings(latency_ms=LATENCY_MS, report_latency_ms=0))
NAME = "SIM-USD"
_TRIGGER = {
    ReportKind.ACCEPTED: Trigger.ACCEPTED,
    ReportKind.REJECTED: Trigger.REJECTED,
    ReportKind.CANCELED: Trigger.CANCELED,
    ReportKind.EXPIRED: Trigger.EXPIRED,
}


def make_order(
    key: str,
    side: Side,
    qty_lots: int,
    limit_ticks: int,
    tif: TimeInForce = TimeInForce.IOC,
    **changes: Any,
) -> Order:
    order = Order(
        client_order_id=key,
        decision_id="d1",
        instrument=NAME,
        side=side,
        qty_lots=qty_lots,
        limit_ticks=limit_ticks,
        tif=tif,
        reduces=False,
        decided_ns=START_NS,
    )
    return msgspec.structs.replace(order, **changes)


class Rig:
    """One market, one protocol, one broker; ``reports`` keeps all that was said."""

    def __init__(
        self,
        kind: str,
        seed: int = 7,
        instrument: Instrument | None = None,
        settings: Settings = SETTINGS,
    ) -> None:
        instrument = instrument or sim_instrument()
        self.venue = SimVenue([SimMarket(instrument, seed, start_ns=START_NS)])
        self.protocol = SimProtocol([instrument], SETTINGS)
        self.broker: DelayedBroker
        if kind == "paper":
            self.broker = PaperBroker(self.protocol.instruments, settings)
        else:
            self.broker = SimBroker(self.venue, settings)
        self.now_ns = START_NS
        self.reports: list[OrderReport] = []
        self.prints: list[TradePrint] = []
        self.protocol.on_open(START_NS)
        self.venue.connect(START_NS)
        self.run_ms(0)

    @property
    def book(self) -> Any:
        return self.protocol.instruments[0].book

    @property
    def fills(self) -> list[Fill]:
        return [report.fill for report in self.reports if report.fill is not None]

    def run_ms(self, duration_ms: int) -> None:
        """Move to the future, stopping at all that is due to the broker on the way."""
        until_ns = self.now_ns + duration_ms * MS
        while True:
            due_ns = self.broker.next_due_ns()
            step_ns = until_ns if due_ns is None else min(due_ns, until_ns)
            self._deliver(step_ns)
            self.broker.advance(step_ns)
            self._deliver(step_ns)
            self.reports += self.broker.take_reports()
            self.now_ns = step_ns
            if step_ns == until_ns and (due_ns is None or due_ns > until_ns):
                return

    def _deliver(self, now_ns: int) -> None:
        for ns, data in self.venue.run_until(now_ns):
            for event in self.protocol.receive(data, ns):
                if isinstance(event, TradePrint):
                    self.prints.append(event)
                    self.broker.on_trade(event)
                elif isinstance(event, BookMoved):
                    self.broker.on_market(event.instrument, ns)

    def send(
        self,
        key: str,
        side: Side,
        qty_lots: int,
        limit_ticks: int,
        tif: TimeInForce = TimeInForce.IOC,
        **changes: Any,
    ) -> None:
        order = make_order(key, side, qty_lots, limit_ticks, tif, **changes)
        self.broker.submit(order, self.now_ns)

    def of(self, key: str) -> list[OrderReport]:
        return [report for report in self.reports if report.client_order_id == key]

    def kinds(self, key: str) -> list[ReportKind]:
        return [report.kind for report in self.of(key)]

    def status(self, order: Order) -> OrderStatus:
        """Walk the one status table with the reports of an order, as the engine does."""
        status, filled = OrderStatus.SUBMITTED, 0
        for report in self.of(order.client_order_id):
            if report.kind is ReportKind.CANCEL_REJECTED:
                continue
            trigger = _TRIGGER.get(report.kind)
            if report.fill is not None:
                filled += report.fill.qty_lots
                assert filled <= order.qty_lots
                done = filled == order.qty_lots
                trigger = Trigger.LAST_FILL if done else Trigger.PART_FILL
            assert trigger is not None
            moved = after(status, trigger)
            assert isinstance(moved, OrderStatus), f"{status}: {trigger} was {moved}"
            status = moved
        return status

    def encoded(self) -> bytes:
        """All reports as bytes, to compare runs."""
        return json.dumps([repr(report) for report in self.reports]).encode()
