"""Our orders: the one queue to the broker, and the state of everything that was sent.

Cancels overtake new orders; an order canceled before it left never leaves. What may happen to an
order is in ``core.model.lifecycle``, applied by ``Orders._step`` alone. Fills are idempotent by
fill id, the quantity that a venue adds up wins over the fills we have heard of, and an order whose
end was told before its fills stays open for as many lots. ``docs/orders.md`` tells the rules.
"""

from __future__ import annotations

from collections import deque

import msgspec

from core.clock import NS_PER_S
from core.errors import InvariantError
from core.model.lifecycle import Outcome, Trigger, after
from core.model.order import Fill, Order, OrderReport, OrderStatus, ReportKind, Side
from core.order_state import Applied, OrderState, QueueCounts

QUEUE_BOUND = 64
CLOSED_KEPT = 200
"""Closed orders remembered with their fill ids; an older one is looked up in the ledger."""
SETTLE_NS = 5 * NS_PER_S
"""A venue that says "not found" is asked again after so long before it is believed."""
_TRIGGER_OF = {
    ReportKind.REJECTED: Trigger.REJECTED,
    ReportKind.FILLED: Trigger.LAST_FILL,
    ReportKind.CANCELED: Trigger.CANCELED,
    ReportKind.EXPIRED: Trigger.EXPIRED,
    ReportKind.CANCEL_REJECTED: Trigger.CANCEL_REJECTED,
}
_ENDS = frozenset({Trigger.REJECTED, Trigger.LAST_FILL, Trigger.CANCELED, Trigger.EXPIRED})
_SAYS_NOTHING = frozenset({ReportKind.CANCEL_REJECTED, ReportKind.NOT_FOUND})


class Submit(msgspec.Struct, frozen=True):
    """Send this order; its intent is already in the ledger."""

    order: Order
    intent_seq: int


class Cancel(msgspec.Struct, frozen=True):
    client_order_id: str


class Orders:
    """All orders of a run, the queue to the broker, and the counts the gate asks for."""

    def __init__(self) -> None:
        self.states: dict[str, OrderState] = {}
        self.counts: dict[str, int] = {}
        self.queue = QueueCounts()
        self._submits: deque[Submit] = deque()
        self._cancels: deque[Cancel] = deque()
        self._asks: deque[str] = deque()

    # --- the queue ------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Orders in the queue; the gate refuses one more at ``QUEUE_BOUND``.

        One that was canceled there counts no more, whenever it is taken out.
        """
        return sum(not self._is_closed(submit) for submit in self._submits)

    def put(self, order: Order, intent_seq: int) -> None:
        """Queue a new order. Errors: ``InvariantError`` for a repeated id or a full queue."""
        if order.client_order_id in self.states:
            raise InvariantError(f"order id {order.client_order_id} was used twice")
        if self.waiting >= QUEUE_BOUND:
            raise InvariantError(f"execution queue was full at {QUEUE_BOUND}")
        self.states[order.client_order_id] = OrderState(order, intent_seq=intent_seq)
        self._submits.append(Submit(order, intent_seq))
        self.queue.deepest = max(self.queue.deepest, self.queue_depth)
        self._forget_old()

    def put_cancel(self, client_order_id: str) -> OrderState | None:
        """Cancel: at once if it has not left, else queue a cancel. None if closed or unknown."""
        state = self.states.get(client_order_id)
        if state is None or state.status.is_closed:
            return None
        self._step(state, Trigger.ASK_CANCEL)
        if not state.has_left:
            state.reason = "canceled before it left"
        # Asked again, it is sent again: the first one may be lost.
        elif Cancel(client_order_id) not in self._cancels:
            self._cancels.append(Cancel(client_order_id))
        return state

    def put_ask(self, client_order_id: str) -> None:
        """Queue the question how an order stands."""
        if client_order_id not in self._asks:
            self._asks.append(client_order_id)

    def pop_cancel(self) -> Cancel | None:
        """Return the next cancel to send; it waits for no order."""
        if not self._cancels:
            return None
        self.queue.overtaken += bool(self._submits)
        return self._cancels.popleft()

    def pop_ask(self) -> str | None:
        """Return the id of the next order to ask about."""
        return self._asks.popleft() if self._asks else None

    def next_submit(self) -> Submit | None:
        """Return the next order to send, still open, and leave it in the queue."""
        while self._submits and self._is_closed(self._submits[0]):
            self._submits.popleft()
        return self._submits[0] if self._submits else None

    def pop_submit(self) -> Submit | None:
        """Return the next order to send, still open; it has not left yet."""
        submit = self.next_submit()
        if submit is not None:
            self._submits.popleft()
        return submit

    def _is_closed(self, submit: Submit) -> bool:
        return self.states[submit.order.client_order_id].status.is_closed

    @property
    def queue_depth(self) -> int:
        return len(self._submits) + len(self._cancels) + len(self._asks)

    def waiting_ns(self, now_ns: int) -> int:
        """Return how long the oldest order in the queue has waited; 0 for none."""
        return max(0, now_ns - self._submits[0].order.decided_ns) if self._submits else 0

    # --- what we do -----------------------------------------------------------------------------

    def leave(self, client_order_id: str, now_ns: int) -> None:
        """Note that an order goes to the broker now."""
        state = self.states[client_order_id]
        self._step(state, Trigger.LEAVE)
        state.has_left = True
        state.heard_ns = now_ns
        waited_ns = now_ns - state.order.decided_ns
        self.queue.longest_wait_ns = max(self.queue.longest_wait_ns, waited_ns)

    def deny(self, client_order_id: str, reason: str) -> OrderState:
        """Close an order that was queued but must not leave."""
        state = self.states[client_order_id]
        self._step(state, Trigger.DENY)
        state.reason = reason
        return state

    def lose_sight(self, state: OrderState, reason: str) -> None:
        """Nobody says how it stands with an order: it is UNKNOWN and counts as working."""
        self._step(state, Trigger.LOSE_SIGHT)
        state.reason = reason

    def recover(self, order: Order, intent_seq: int, fills: list[Fill], now_ns: int) -> OrderState:
        """Take over an order that the ledger has without an end; whether it left is not known."""
        state = OrderState(order, intent_seq=intent_seq, has_left=True, heard_ns=now_ns)
        self._step(state, Trigger.RECOVER)
        state.reason = "open when the last process ended"
        state.fill_ids = {fill.fill_id for fill in fills}
        state.filled_lots = state.venue_lots = sum(fill.qty_lots for fill in fills)
        if state.filled_lots >= order.qty_lots:
            # The process died between the last fill and its status; no more will be told.
            self._step(state, Trigger.LAST_FILL)
            state.reason = "all of it was filled when the last process ended"
        self.states[order.client_order_id] = state
        return state

    def take_in(self, order: Order, past: OrderStatus | None, now_ns: int) -> None:
        """Make room for a fill of an order that is not here and works nowhere.

        ``past`` is how the ledger has it, closed; None: somebody else's, known by this fill alone.
        """
        state = OrderState(order, has_left=True, heard_ns=now_ns, is_size_known=False)
        if past is None:
            self._step(state, Trigger.FIND)
            state.is_external, state.reason = True, "EXTERNAL: not sent by us"
        else:
            state.status = past
        self.states[order.client_order_id] = state

    def find(self, order: Order, venue_lots: int, now_ns: int) -> OrderState:
        """Take in an order that works at the broker and that we did not send, or took for gone.

        Of the ``venue_lots`` filled we count those that we were told of.
        """
        known = self.states.get(order.client_order_id)
        state = OrderState(order, has_left=True, heard_ns=now_ns, is_external=True, was_heard=True)
        self._step(state, Trigger.FIND)
        state.reason = "EXTERNAL: not sent by us"
        state.venue_lots = venue_lots
        if known is not None:
            state.fill_ids, state.filled_lots = known.fill_ids, known.filled_lots
            state.intent_seq = known.intent_seq
        self.states[order.client_order_id] = state
        return state

    def mark_ended(self, client_order_id: str, reason: str) -> OrderState:
        """Close an UNKNOWN order on the trader's word."""
        state = self.states[client_order_id]
        self._step(state, Trigger.MARK)
        state.reason = reason
        return state

    # --- what the venue says --------------------------------------------------------------------

    def apply(self, report: OrderReport) -> Applied:
        """Take a venue report on an order that is known here. Errors: ``KeyError`` for another."""
        state = self.states[report.client_order_id]
        if report.kind not in _SAYS_NOTHING:
            state.was_heard = True
            state.missing_ns = state.asks = 0
        if report.filled_lots is not None:
            state.venue_lots = max(state.venue_lots, report.filled_lots)
        if report.fill is not None:
            return self._apply_fill(state, report.fill)
        trigger = _trigger_of(state, report)
        if trigger is None:
            return Applied(state)
        if trigger in _ENDS and _lacks_fills(state, trigger) and not state.status.is_closed:
            state.end, state.reason = trigger, report.reason
            state.ask_due_ns = 0
            return Applied(state)
        outcome = self._step(state, trigger)
        if outcome is Outcome.ALARM:
            return self._contradicted(state, report, trigger)
        if outcome is not Outcome.KEPT:
            state.reason = report.reason
        return Applied(state)

    def _apply_fill(self, state: OrderState, fill: Fill) -> Applied:
        if fill.fill_id in state.fill_ids:
            self.queue.repeated_fills += 1
            return Applied(state)
        state.fill_ids = state.fill_ids | {fill.fill_id}
        state.filled_lots += fill.qty_lots
        state.venue_lots = max(state.venue_lots, state.filled_lots)
        if not state.is_size_known:
            state.order = msgspec.structs.replace(state.order, qty_lots=state.filled_lots)
        over_lots = state.filled_lots - state.order.qty_lots
        was = state.status
        outcome = self._step(state, Trigger.LAST_FILL if over_lots >= 0 else Trigger.PART_FILL)
        alarm = ""
        if outcome is Outcome.ALARM and not (state.is_external and not state.is_size_known):
            alarm = f"order {fill.client_order_id} was {was} and filled all the same"
        if over_lots > 0:
            alarm = f"order {fill.client_order_id} was filled {over_lots} lots beyond its quantity"
        if state.end is not None and not state.status.is_closed and not state.open_lots:
            self._step(state, state.end)
        return Applied(state, fill, alarm)

    def _contradicted(self, state: OrderState, report: OrderReport, trigger: Trigger) -> Applied:
        """Nothing moves, unless what we took for gone is alive: then it works, and counts."""
        key = state.order.client_order_id
        if trigger not in {Trigger.ACCEPTED, Trigger.WORKING}:
            return Applied(state, None, f"order {key} is {state.status}, and then: {trigger}")
        back = self.find(state.order, state.venue_lots, report.ts_ns)
        back.reason = f"it was {state.status.value} and works at the venue"
        return Applied(back, None, f"order {key}: {back.reason}")

    def _step(self, state: OrderState, trigger: Trigger) -> OrderStatus | Outcome:
        """Do what the table says; the one place where a status changes."""
        found = after(state.status, trigger)
        if isinstance(found, OrderStatus):
            state.status = found
            self.counts[found.value] = self.counts.get(found.value, 0) + 1
        return found

    # --- what others ask ------------------------------------------------------------------------

    def open_states(
        self, instrument: str | None = None, *, ours_only: bool = False
    ) -> list[OrderState]:
        return [
            state
            for state in self.states.values()
            if not state.status.is_closed
            and instrument in {None, state.order.instrument}
            and not (ours_only and state.is_external)
        ]

    def working_lots(self, instrument: str, side: Side, besides: str = "") -> int:
        """Return the lots of open orders on one side, ``besides`` one, that may still fill."""
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

    def _forget_old(self) -> None:
        if len(self.states) > CLOSED_KEPT + QUEUE_BOUND:
            for key in [k for k, s in self.states.items() if s.status.is_closed][:-CLOSED_KEPT]:
                del self.states[key]


def _trigger_of(state: OrderState, report: OrderReport) -> Trigger | None:
    """Return what a report without a fill means for an order; None if it means nothing yet."""
    if report.kind is ReportKind.ACCEPTED:
        return Trigger.WORKING if state.filled_lots else Trigger.ACCEPTED
    if report.kind is not ReportKind.NOT_FOUND:
        return _TRIGGER_OF[report.kind]
    if state.was_heard:
        # It had the order once: that it forgot is no end.
        return None if state.status is OrderStatus.UNKNOWN else Trigger.NOT_FOUND
    if not state.missing_ns:
        # The second question comes when its answer can be believed, not later.
        state.missing_ns, state.asks = report.ts_ns, 0
        state.ask_due_ns = report.ts_ns + SETTLE_NS
    return Trigger.NOT_FOUND if report.ts_ns - state.missing_ns >= SETTLE_NS else None


def _lacks_fills(state: OrderState, trigger: Trigger) -> bool:
    """True if the venue counts more lots as filled than we have heard of."""
    if trigger is Trigger.LAST_FILL:
        state.venue_lots = max(state.venue_lots, state.order.qty_lots)
    return state.venue_lots > state.filled_lots
