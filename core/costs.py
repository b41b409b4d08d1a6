"""What our orders cost: expected and realized slippage, and where the mid went after each fill.

Kept per order and journalled: SLIPPAGE when an order ends, MARKOUT at fixed times after each fill.
The times are engine timers, so a replay finds the same. Bad ones in a row pause the instrument.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

import msgspec

from core.clock import NS_PER_MS, NS_PER_S, earliest
from core.config import SlippageSettings
from core.context import RunContext
from core.desk import Desk
from core.model import event as ev
from core.model.instrument import plain
from core.model.order import Fill, Order
from core.model.slippage import Arrival
from core.pauses import Stops
from core.slippage import arrival, cost, markout_bps, markout_money, realized_bps

MARKOUT_HORIZONS_S = (1, 10)
LATE_NS = 100 * NS_PER_MS
"""A timer that runs later than this (after a silence of the feed) has missed its moment."""
WAITING_MAX = 4_096
"""Markouts that may wait, a horizon; beyond it the oldest is told as not known."""
ORDERS_KEPT = 500
LEVELS_SEEN = 20


class OrderCost(msgspec.Struct):
    """What one order met and paid; only ``Costs`` writes it."""

    order: Order
    arrival: Arrival | None
    fills: list[Fill] = []
    realized_bps: float | None = None
    """Mean of its fills against the mid on arrival; None until it has ended with a fill."""
    cost: Decimal | None = None
    """The same in quote currency."""
    is_bad: bool = False
    markouts_bps: dict[tuple[str, int], float | None] = {}
    """By fill id and horizon in seconds; None where there was no believable mid."""


class _Waiting(msgspec.Struct, frozen=True):
    due_ns: int
    fill: Fill
    seq: int
    """Of the FILL in the ledger."""


class Costs:
    """The costs of one run's orders; see the module docstring."""

    def __init__(
        self,
        context: RunContext,
        desks: dict[str, Desk],
        settings: SlippageSettings,
        stops: Stops,
    ) -> None:
        self.orders: dict[str, OrderCost] = {}
        """The newest orders that passed the gate, by client order id, oldest first."""
        self.bad_in_a_row: dict[str, int] = {}
        self._context = context
        self._desks = desks
        self._settings = settings
        self._stops = stops
        self._waiting: dict[int, deque[_Waiting]] = {h: deque() for h in MARKOUT_HORIZONS_S}

    @property
    def bad_count(self) -> int:
        """Bad orders in a row that pause an instrument."""
        return self._settings.bad_count

    def arrive(self, order: Order) -> Arrival | None:
        """Note what an order finds as it is sent."""
        book = self._desks[order.instrument].feed.book
        found = arrival(
            book.bids(LEVELS_SEEN), book.asks(LEVELS_SEEN),
            order.side, order.qty_lots, order.limit_ticks,
        )  # fmt: skip
        self.orders[order.client_order_id] = OrderCost(order, found)
        if len(self.orders) > ORDERS_KEPT:
            del self.orders[next(iter(self.orders))]
        return found

    def take_fill(self, fill: Fill, seq: int) -> None:
        """Take a fill of ours, written as event ``seq``, and set its timers."""
        known = self.orders.get(fill.client_order_id)
        if known is not None:
            known.fills.append(fill)
        for horizon_s, waiting in self._waiting.items():
            if len(waiting) >= WAITING_MAX:
                self._mark(waiting.popleft(), horizon_s, None)
            due_ns = self._context.now_ns + horizon_s * NS_PER_S
            waiting.append(_Waiting(due_ns, fill, seq))

    def end(self, client_order_id: str, cause: int | None) -> None:
        """An order has ended, or filled once more after that: tell what it cost in all."""
        known = self.orders.get(client_order_id)
        if known is None or known.arrival is None or not known.fills:
            return
        instrument = self._desks[known.order.instrument].instrument
        met = known.arrival
        is_first, was_bad = known.realized_bps is None, known.is_bad
        known.realized_bps = realized_bps(known.fills, met.mid2_ticks)
        known.cost = cost(known.fills, met.mid2_ticks, instrument)
        known.is_bad = known.realized_bps - met.expected_bps > self._settings.bad_bps
        # A late fill that leaves the order as good or as bad as it was says nothing new.
        if is_first or known.is_bad > was_bad:
            self._count(known.order.instrument, is_bad=known.is_bad)
        self._context.journal(
            ev.SlippageMeasured(
                client_order_id=client_order_id,
                decision_id=known.order.decision_id,
                instrument=known.order.instrument,
                filled_lots=sum(fill.qty_lots for fill in known.fills),
                arrival_mid=plain(instrument.tick_size * met.mid2_ticks / 2),
                expected_bps=met.expected_bps,
                realized_bps=known.realized_bps,
                cost=plain(known.cost),
                currency=instrument.quote,
                is_bad=known.is_bad,
                bad_in_a_row=self.bad_in_a_row[known.order.instrument],
            ),
            cause,
        )

    def _count(self, name: str, *, is_bad: bool) -> None:
        row = self.bad_in_a_row.get(name, 0) + 1 if is_bad else 0
        self.bad_in_a_row[name] = row
        if row and row % self._settings.bad_count == 0:
            why = (
                f"slippage: {row} orders in a row filled more than {self._settings.bad_bps:g} bps "
                "worse than expected"
            )
            pause_ns = int(self._settings.pause_s * NS_PER_S)
            self._stops.stop(name, self._context.now_ns + pause_ns, why)
            text = f"{name}: no entry for {self._settings.pause_s:g} s, {why}"
            self._context.notify("error", text)

    # --- markouts -------------------------------------------------------------------------------

    def next_due_ns(self) -> int | None:
        """Return when ``advance`` has something to do, or None."""
        found: int | None = None
        for waiting in self._waiting.values():
            if waiting:
                found = earliest(found, waiting[0].due_ns)
        return found

    def advance(self) -> None:
        """Read the mids that are due."""
        now_ns = self._context.now_ns
        for horizon_s, waiting in self._waiting.items():
            while waiting and waiting[0].due_ns <= now_ns:
                each = waiting.popleft()
                is_late = now_ns - each.due_ns > LATE_NS
                self._mark(each, horizon_s, None if is_late else self._mid2(each.fill.instrument))

    def _mid2(self, name: str) -> int | None:
        """Return the mid in half ticks, or None while the book cannot be believed."""
        desk = self._desks[name]
        if not desk.is_live:
            return None
        bid, _, ask, *_ = desk.feed.book.touch()
        return bid + ask

    def _mark(self, waiting: _Waiting, horizon_s: int, mid2: int | None) -> None:
        fill = waiting.fill
        instrument = self._desks[fill.instrument].instrument
        moved = None if mid2 is None else markout_bps(fill, mid2)
        known = self.orders.get(fill.client_order_id)
        if known is not None:
            known.markouts_bps[fill.fill_id, horizon_s] = moved
        self._context.journal(
            ev.MarkedOut(
                fill_id=fill.fill_id,
                client_order_id=fill.client_order_id,
                instrument=fill.instrument,
                horizon_s=horizon_s,
                mid=None if mid2 is None else plain(instrument.tick_size * mid2 / 2),
                markout_bps=moved,
                gain=None if mid2 is None else plain(markout_money(fill, mid2, instrument)),
                currency=instrument.quote,
            ),
            waiting.seq or None,
        )
