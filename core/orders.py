"""Our orders: the one queue to the broker, and the state of everything that was sent.

Cancels overtake new orders; an order canceled before it left never leaves. Fills are idempotent
by fill id; a report on a closed order moves nothing but a fill still counts.
"""

from __future__ import annotations

from collections import deque

import msgspec

from core.clock import NS_PER_S
from core.errors import InvariantError
from core.model.order import (
    Fill,
    Order,
    OrderReport,
    OrderStatus,
    ReportKind,
    Side,
    TimeInForce,
    next_status,
)

QUEUE_BOUND = 64
CLOSED_KEPT = 200
_STATUS_OF = {
    ReportKind.ACCEPTED: OrderStatus.ACCEPTED,
    ReportKind.REJECTED: OrderStatus.REJECTED,
    ReportKind.CANCELED: OrderStatus.CANCELED,
    ReportKind.EXPIRED: OrderStatus.EXPIRED,
}


class Submit(msgspec.Struct, frozen=True):
    """Send this order; its intent is already in the ledger."""

    order: Order
    intent_seq: int


class Cancel(msgspec.Struct, frozen=True):
    client_order_id: str


class OrderState(msgspec.Struct):
    """One order of ours and how far it is; only ``Orders`` writes it."""

    order: Order
    status: OrderStatus = OrderStatus.INITIALIZED
    filled_lots: int = 0
    reason: str = ""
    intent_seq: int = 0
    has_left: bool = False
    """It was handed to the broker."""
    heard_ns: int = 0
    """When we last asked or heard something about it."""

    @property
    def open_lots(self) -> int:
        """Lots that may still fill."""
        return 0 if self.status.is_closed else self.order.qty_lots - self.filled_lots

    @property
    def owes_answer(self) -> bool:
        """True if the venue must say something soon: only a resting order may keep silent."""
        if self.status.is_closed or self.status is OrderStatus.UNKNOWN or not self.has_left:
            return False
        waits = {OrderStatus.SUBMITTED, OrderStatus.PENDING_CANCEL}
        return self.order.tif is TimeInForce.IOC or self.status in waits


class Orders:
    """All orders of a run, the queue to the broker, and the counts the gate asks for."""

    def __init__(self) -> None:
        self.states: dict[str, OrderState] = {}
        self._submits: deque[Submit] = deque()
        self._cancels: deque[Cancel] = deque()
        self._sent_ns: deque[int] = deque()
        self._seen_fills: set[str] = set()
        self.counts: dict[str, int] = {}

    def put(self, order: Order, intent_seq: int) -> None:
        """Queue a new order. Errors: ``InvariantError`` for a repeated id or a full queue."""
        if order.client_order_id in self.states:
            raise InvariantError(f"order id {order.client_order_id} was used twice")
        if len(self._submits) >= QUEUE_BOUND:
            raise InvariantError(f"execution queue was full at {QUEUE_BOUND}")
        state = OrderState(order, next_status(OrderStatus.INITIALIZED, OrderStatus.SUBMITTED))
        state.intent_seq = intent_seq
        self.states[order.client_order_id] = state
        self._submits.append(Submit(order, intent_seq))
        self._sent_ns.append(order.decided_ns)
        self._forget_old()

    def put_cancel(self, client_order_id: str) -> OrderState | None:
        """Cancel: at once if it has not left, else queue a cancel. None if closed or unknown."""
        state = self.states.get(client_order_id)
        if state is None or state.status.is_closed:
            return None
        if not state.has_left:
            self._move(state, OrderStatus.CANCELED)
            state.reason = "canceled before it left"
        else:
            state.status = next_status(state.status, OrderStatus.PENDING_CANCEL)
            # Asked again, it is sent again: the first one may be lost.
            if Cancel(client_order_id) not in self._cancels:
                self._cancels.append(Cancel(client_order_id))
        return state

    def pop_cancel(self) -> Cancel | None:
        """Return the next cancel to send."""
        return self._cancels.popleft() if self._cancels else None

    def pop_submit(self) -> Submit | None:
        """Return the next order to send, still open; it has not left yet."""
        while self._submits:
            action = self._submits.popleft()
            if not self.states[action.order.client_order_id].status.is_closed:
                return action
        return None

    @property
    def queue_depth(self) -> int:
        return len(self._submits) + len(self._cancels)

    def apply(self, report: OrderReport) -> tuple[OrderState, Fill | None]:
        """Take a venue report; return the state and the fill if it is a new one.

        Errors: ``InvariantError`` for a report on an order we never sent, or an overfill.
        """
        state = self.states.get(report.client_order_id)
        if state is None:
            raise InvariantError(f"report for unknown order {report.client_order_id}")
        if report.fill is not None:
            return state, self._apply_fill(state, report.fill)
        if not state.status.is_closed:
            state.reason = report.reason
            status = _status_after(state, report.kind)
            if status is not None:
                self._move(state, status)
        return state, None

    def lose_sight(self, state: OrderState, reason: str) -> None:
        """Nobody says how it stands with an order: it is UNKNOWN and counts as working."""
        self._move(state, OrderStatus.UNKNOWN)
        state.reason = reason

    def _apply_fill(self, state: OrderState, fill: Fill) -> Fill | None:
        if fill.fill_id in self._seen_fills:
            return None
        self._seen_fills.add(fill.fill_id)
        state.filled_lots += fill.qty_lots
        if state.filled_lots > state.order.qty_lots:
            raise InvariantError(f"order {fill.client_order_id} was filled beyond its quantity")
        done = state.filled_lots == state.order.qty_lots
        if not state.status.is_closed:
            self._move(state, OrderStatus.FILLED if done else OrderStatus.PARTIALLY_FILLED)
        return fill

    def _move(self, state: OrderState, status: OrderStatus) -> None:
        state.status = next_status(state.status, status)
        self.counts[status.value] = self.counts.get(status.value, 0) + 1

    def deny(self, client_order_id: str, reason: str) -> OrderState:
        """Close an order that was queued but must not leave."""
        state = self.states[client_order_id]
        assert not state.has_left
        self._move(state, OrderStatus.REJECTED)
        state.reason = reason
        return state

    def open_states(self, instrument: str | None = None) -> list[OrderState]:
        return [
            state
            for state in self.states.values()
            if not state.status.is_closed and instrument in {None, state.order.instrument}
        ]

    def working_lots(self, instrument: str, side: Side, besides: str = "") -> int:
        """Return the lots of our open orders on one side, ``besides`` one, that may still fill."""
        return sum(
            s.open_lots
            for s in self.open_states(instrument)
            if s.order.side is side and s.order.client_order_id != besides
        )

    def nearest_limit(self, instrument: str, side: Side, besides: str = "") -> int | None:
        """Return the limit of our open orders on one side that the other side meets first."""
        limits = [
            s.order.limit_ticks
            for s in self.open_states(instrument)
            if s.order.side is side and s.order.client_order_id != besides
        ]
        return (max if side is Side.BUY else min)(limits, default=None)

    def sent_last_minute(self, now_ns: int) -> int:
        while self._sent_ns and self._sent_ns[0] <= now_ns - 60 * NS_PER_S:
            self._sent_ns.popleft()
        return len(self._sent_ns)

    def _forget_old(self) -> None:
        if len(self.states) > CLOSED_KEPT + QUEUE_BOUND:
            for key in [k for k, s in self.states.items() if s.status.is_closed][:-CLOSED_KEPT]:
                del self.states[key]


def _status_after(state: OrderState, kind: ReportKind) -> OrderStatus | None:
    """Return where a report moves an open order; None if it moves nothing.

    Reports come late, twice and out of order: an acknowledgement moves nothing that is further
    on, and a refusal of an order that was taken before is its end.
    """
    status = state.status
    if kind is ReportKind.CANCEL_REJECTED:
        return OrderStatus.UNKNOWN if status is OrderStatus.PENDING_CANCEL else None
    if kind is ReportKind.ACCEPTED:
        if status not in {OrderStatus.SUBMITTED, OrderStatus.UNKNOWN}:
            return None
        return OrderStatus.PARTIALLY_FILLED if state.filled_lots else OrderStatus.ACCEPTED
    if kind is ReportKind.REJECTED and status in {
        OrderStatus.ACCEPTED,
        OrderStatus.PARTIALLY_FILLED,
    }:
        return OrderStatus.CANCELED
    return _STATUS_OF[kind]
