"""Execution: from an approved trade through the gate and the queue to fills; closing by command.

Every order of every kind leaves through ``send``: gate, verdict written, intent written, queued.
"""

from __future__ import annotations

import contextlib
from collections import deque
from decimal import Decimal

import msgspec

from core.account import Account
from core.clock import NS_PER_MS, NS_PER_S
from core.config import RiskSettings
from core.context import RunContext
from core.desk import Desk
from core.errors import LedgerDown
from core.model import event as ev
from core.model.instrument import plain
from core.model.order import Fill, Order, OrderReport, OrderStatus, Side, TimeInForce
from core.orders import Orders, OrderState
from core.risk import GateVerdict, GateView, check
from core.strategy import limit_for

FILLS_KEPT = 50
RATIONALES_KEPT = 500
CLOSE_TRIES_MAX = 40
CLOSE_RETRY_NS = 250 * NS_PER_MS
SILENT_NS = 4_000 * NS_PER_MS
"""An order whose end the venue owes us for so long is UNKNOWN; the trader is told within 5 s."""


class Closing(msgspec.Struct):
    """A position being closed by command: one capped order at a time until flat."""

    actor: str
    why: str
    due_ns: int
    tries: int = 0


class FilledRow(msgspec.Struct, frozen=True):
    """A fill as the screen shows it."""

    seq: int
    fill: Fill
    realized: Decimal
    rationale: str


class Execution:
    """Owner of our orders, of the queue to the broker and of positions being closed."""

    def __init__(
        self, context: RunContext, desks: dict[str, Desk], account: Account, limits: RiskSettings
    ) -> None:
        self.context = context
        self.desks = desks
        self.account = account
        self.limits = limits
        self.orders = Orders()
        self.closing: dict[str, Closing] = {}
        self.fills: deque[FilledRow] = deque(maxlen=FILLS_KEPT)
        self.last_denial = ""
        self.keeps_flat: tuple[str, str] | None = None
        """Who killed and why, while whatever fills late must be closed too."""
        self.failed_exits: dict[str, int] = {}
        """Exit orders in a row that ended without a fill, by instrument."""
        self._rationales: dict[str, str] = {}

    # --- out ------------------------------------------------------------------------------------

    def order(self, name: str, side: Side, lots: int, limit_ticks: int, *, reduces: bool) -> Order:
        """Return an immediate-or-cancel order without identity, to ask the gate about."""
        return Order(
            client_order_id="",
            decision_id="",
            instrument=name,
            side=side,
            qty_lots=lots,
            limit_ticks=limit_ticks,
            tif=TimeInForce.IOC,
            reduces=reduces,
            decided_ns=self.context.now_ns,
        )

    def gate(self, order: Order) -> GateVerdict:
        """Ask the one gate about ``order`` as things stand now, as if it were not sent yet."""
        desk = self.desks[order.instrument]
        book = desk.feed.book
        bid, ask = book.best_bid, book.best_ask
        name, key = order.instrument, order.client_order_id
        is_queued = key in self.orders.states
        view = GateView(
            instrument=desk.instrument,
            feed_state=desk.feed.state,
            bid_ticks=bid[0] if bid else None,
            ask_ticks=ask[0] if ask else None,
            position_lots=self.account.position(name),
            working_buy_lots=self.orders.working_lots(name, Side.BUY, besides=key),
            working_sell_lots=self.orders.working_lots(name, Side.SELL, besides=key),
            own_ticks=self.orders.nearest_limit(name, order.side.opposite, besides=key),
            clock_offset_ms=desk.clock.offset_ms,
            open_orders=len(self.orders.open_states()) - is_queued,
            orders_last_minute=self.orders.sent_last_minute(self.context.now_ns) - is_queued,
            today=self.account.of(order.instrument).today(self.context.now_ns),
            is_halted=bool(self.context.halted),
            halt_reason=self.context.halted,
        )
        return check(order, view, self.limits)

    def send(self, order: Order, decision_id: str, cause: int | None) -> str:
        """Pass the gate, write the intent, queue the order; return what happened in words.

        Errors: ``LedgerDown``: no ledger, no order.
        """
        order = msgspec.structs.replace(
            order, client_order_id=self.context.new_id("o"), decision_id=decision_id
        )
        verdict = self.gate(order)
        checked = ev.RiskChecked(
            client_order_id=order.client_order_id,
            decision_id=decision_id,
            allowed=verdict.allowed,
            code=verdict.code,
            checks=verdict.checks,
        )
        seq = self.context.write(checked, cause)
        if not verdict.allowed:
            self.last_denial = f"{order.client_order_id} denied: {verdict.why}"
            self.context.notify("warning", self.last_denial)
            return self.last_denial
        intent = self.context.write(ev.OrderIntended(order=order), seq)
        self.orders.put(order, intent)
        instrument = self.desks[order.instrument].instrument
        return (
            f"{order.side.value} {instrument.qty_text(order.qty_lots)} {order.instrument} "
            f"limit {instrument.price_text(order.limit_ticks)} on its way"
        )

    def leave(self, order: Order) -> bool:
        """Last word before the broker, after the intent is durable: may this order leave now?"""
        state = self.orders.states[order.client_order_id]
        if state.status.is_closed:
            return False
        if self.context.halted and not order.reduces:
            self.refuse(order, f"halted: {self.context.halted}")
            return False
        # Feed, price and position may have moved while the intent was being written.
        verdict = self.gate(order)
        if not verdict.allowed:
            self.refuse(order, verdict.why)
            return False
        state.has_left = True
        state.heard_ns = self.context.now_ns
        return True

    def refuse(self, order: Order, why: str) -> None:
        """Close an order that must not leave, unless a cancel has closed it already."""
        if self.orders.states[order.client_order_id].status.is_closed:
            return
        state = self.orders.deny(order.client_order_id, why)
        self.context.journal(self._change_of(state))
        self.context.notify("warning", f"{order.client_order_id} did not leave: {why}")

    def cancel_orders(self, actor: str, why: str, name: str | None = None) -> int:
        """Cancel every open order (of one instrument); return how many."""
        keys = [state.order.client_order_id for state in self.orders.open_states(name)]
        return sum(self.cancel_order(key, actor, why) for key in keys)

    def cancel_order(self, client_order_id: str, actor: str, why: str) -> bool:
        """Cancel one order; False if it is closed or unknown. Journalled even if late."""
        state = self.orders.put_cancel(client_order_id)
        if state is None:
            return False
        state.heard_ns = self.context.now_ns
        intent = ev.CancelIntended(client_order_id=client_order_id, actor=actor, reason=why)
        self.context.journal(intent)
        if not state.has_left:
            self.context.journal(self._change_of(state))
        return True

    # --- in -------------------------------------------------------------------------------------

    def on_report(self, report: OrderReport) -> None:
        """Take what the venue said about one of our orders."""
        self.context.move_to(report.ts_ns)
        known = self.orders.states.get(report.client_order_id)
        was = known.status if known else None
        state, fill = self.orders.apply(report)
        state.heard_ns = self.context.now_ns
        if fill is not None:
            self._on_fill(state, fill)
            if was is not None and was.is_closed:
                text = f"order {report.client_order_id} was {was.value} and filled all the same"
                self.context.notify("error", text)
        if state.status is not was:
            self.context.journal(self._change_of(state), state.intent_seq)
            self._count_exit(state)
        dead = state.status in {OrderStatus.REJECTED, OrderStatus.EXPIRED}
        if dead and not state.filled_lots:
            self.context.notify(
                "warning",
                f"order {report.client_order_id} {state.status.value}: {report.reason}",
            )

    def _count_exit(self, state: OrderState) -> None:
        """Count the exits in a row that closed nothing."""
        if state.order.reduces and state.status.is_closed:
            name = state.order.instrument
            failed = 0 if state.filled_lots else self.failed_exits.get(name, 0) + 1
            self.failed_exits[name] = failed

    def step_silence(self) -> None:
        """Call UNKNOWN what the venue has owed an answer on for too long, and say so."""
        now_ns = self.context.now_ns
        for state in self.orders.open_states():
            if not state.owes_answer or now_ns - state.heard_ns < SILENT_NS:
                continue
            key = state.order.client_order_id
            why = f"nothing heard for {(now_ns - state.heard_ns) / NS_PER_S:.0f} s"
            self.orders.lose_sight(state, why)
            self.context.journal(self._change_of(state), state.intent_seq)
            text = f"order {key} is UNKNOWN: {why}; it counts as working, cancel asks again"
            self.context.notify("error", text)

    def _change_of(self, state: OrderState) -> ev.OrderChanged:
        return ev.OrderChanged(
            client_order_id=state.order.client_order_id,
            status=state.status.value,
            reason=state.reason,
            filled_lots=state.filled_lots,
        )

    def _on_fill(self, state: OrderState, fill: Fill) -> None:
        order = state.order
        instrument = self.desks[order.instrument].instrument
        realized, _ = self.account.apply(fill)
        rationale = self._rationales.get(order.decision_id, "")
        event = ev.Filled(
            fill=fill,
            decision_id=order.decision_id,
            price=instrument.price_text(fill.price_ticks),
            quantity=instrument.qty_text(fill.qty_lots),
            notional=plain(instrument.notional(fill.price_ticks, fill.qty_lots)),
            realized_pnl=plain(realized),
            position_lots=self.account.position(order.instrument),
            rationale=rationale,
        )
        seq = self.context.journal(event, state.intent_seq)
        self.fills.appendleft(FilledRow(seq, fill, realized, rationale))
        if self.keeps_flat is not None and order.instrument not in self.closing:
            self.close(order.instrument, *self.keeps_flat)

    def remember(self, decision_id: str, rationale: str) -> None:
        """Keep the words of a decision for its fills."""
        self._rationales[decision_id] = rationale
        if len(self._rationales) > RATIONALES_KEPT:
            del self._rationales[next(iter(self._rationales))]

    # --- closing --------------------------------------------------------------------------------

    def close(self, name: str, actor: str, why: str) -> bool:
        """Start closing a position, whatever it takes; False if there is none.

        An order that still works may yet make one: it is waited for.
        """
        lots = self.account.position(name)
        if lots or self.orders.open_states(name):
            self.closing[name] = Closing(actor, why, self.context.now_ns)
        return bool(lots)

    def step_closing(self, name: str) -> None:
        """Send the next closing order when the last one is done and the book can be believed."""
        closing = self.closing[name]
        lots = self.account.position(name)
        now_ns = self.context.now_ns
        if self.orders.open_states(name):
            return
        if not lots:
            del self.closing[name]
            self.context.notify("info", f"{name} is flat")
            return
        if now_ns < closing.due_ns:
            return
        closing.due_ns = now_ns + CLOSE_RETRY_NS
        desk = self.desks[name]
        if not desk.is_live or self.context.ledger_failure:
            return
        closing.tries += 1
        if closing.tries > CLOSE_TRIES_MAX:
            del self.closing[name]
            self.context.notify("error", f"{name}: close gave up after {CLOSE_TRIES_MAX} orders")
            return
        side = Side.SELL if lots > 0 else Side.BUY
        book = desk.feed.book
        # Half the collar: the mid may move before the order is checked again.
        limit = limit_for(book.bids(1), book.asks(1), side, self.limits.price_collar_bps / 2)
        decision_id = self.context.new_id("c")
        self.remember(decision_id, f"Closed by {closing.actor}: {closing.why}.")
        with contextlib.suppress(LedgerDown):  # the context has told the trader
            self.send(self.order(name, side, abs(lots), limit, reduces=True), decision_id, None)
