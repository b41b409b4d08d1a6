"""Execution: from an approved trade through the gate and the queue to fills; closing by command.

Every order of every kind leaves through ``send``: gate, verdict written, intent written, queued.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec

from core.account import Account
from core.clock import NS_PER_MS
from core.config import RiskSettings, SlippageSettings
from core.context import RunContext
from core.costs import Costs
from core.desk import Desk
from core.doubt import ask_again, step_silence
from core.errors import InvariantError, LedgerDown
from core.gate import Gate
from core.model import event as ev
from core.model.instrument import plain
from core.model.order import BrokerOrder, Fill, Order, OrderReport, OrderStatus, Side, TimeInForce
from core.order_state import OrderState
from core.orders import Orders
from core.risk import GateVerdict
from core.strategy import limit_for

FILLS_KEPT = 50
RATIONALES_KEPT = 500
BOOKED_KEPT = 4_096
"""Fills known without asking the ledger."""
CLOSE_TRIES_MAX = 40
CLOSE_RETRY_NS = 250 * NS_PER_MS


class Closing(msgspec.Struct):
    """A position being closed by command: one capped order at a time until flat."""

    actor: str
    why: str
    due_ns: int
    tries: int = 0
    cause: int | None = None
    """Sequence number of what led to it in the ledger."""


class FilledRow(msgspec.Struct, frozen=True):
    """A fill as the screen shows it."""

    seq: int
    fill: Fill
    realized: Decimal
    rationale: str


class Execution:
    """Owner of our orders, of the queue to the broker and of positions being closed."""

    def __init__(
        self,
        context: RunContext,
        desks: dict[str, Desk],
        account: Account,
        limits: RiskSettings,
        slippage: SlippageSettings,
    ) -> None:
        self.context = context
        self.desks = desks
        self.account = account
        self.orders = Orders()
        self.guard = Gate(context, desks, account, self.orders, limits)
        self.costs = Costs(context, desks, slippage, self.guard.stops)
        self.closing: dict[str, Closing] = {}
        self.fills: deque[FilledRow] = deque(maxlen=FILLS_KEPT)
        self.last_denial = ""
        self.keeps_flat: tuple[str, str] | None = None
        """Who killed and why, while whatever fills late must be closed too."""
        self.flat_names: dict[str, tuple[str, str]] = {}
        """The same of single instruments."""
        self.on_booked: Callable[[Fill, int], None] = lambda *_: None
        """Told of every fill that was taken, with its sequence number: for the attached exits."""
        self.failed_exits: dict[str, int] = {}
        """Exit orders in a row that ended without a fill, by instrument."""
        self.knows_fill: Callable[[Fill], bool] = lambda _: False
        """Whether the ledger has a fill; asked about those that are forgotten here."""
        self.find_order: Callable[[str], BrokerOrder | None] = lambda _: None
        """What works at the broker under an id; set where there is a broker to ask."""
        self.past_status: Callable[[str], OrderStatus | None] = lambda _: None
        """The status in which the ledger has an order; None if it was never intended."""
        self.must_compare = False
        """Something was said that does not fit: compare with the broker before new risk."""
        self._rationales: dict[str, str] = {}
        self._booked: dict[tuple[str, str], None] = {}
        """The newest fills in the ledger, by instrument and fill id."""

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
        return self.guard.ask(order)

    def send(self, order: Order, decision_id: str, cause: int | None) -> str:
        """Pass the gate, write the intent, queue the order; return what happened in words.

        Errors: ``LedgerDown``: no ledger, no order.
        """
        order = msgspec.structs.replace(
            order,
            client_order_id=self.context.new_id("o"),
            decision_id=decision_id,
            closes=self.account.choose_lots(order),
        )
        verdict = self.gate(order)
        checked = ev.RiskChecked(
            client_order_id=order.client_order_id,
            decision_id=decision_id,
            allowed=verdict.allowed,
            code=verdict.code,
            checks=verdict.checks,
            order=None if verdict.allowed else order,
        )
        seq = self.context.write(checked, cause)
        if not verdict.allowed:
            self.orders.queue.refused += verdict.code == "queue_room"
            self.last_denial = f"{order.client_order_id} denied: {verdict.why}"
            self.context.notify("warning", self.last_denial)
            return self.last_denial
        order = self.guard.stamp(order, verdict)
        arrival = self.costs.arrive(order)
        intent = self.context.write(ev.OrderIntended(order=order, arrival=arrival), seq)
        self.orders.put(order, intent)
        instrument = self.desks[order.instrument].instrument
        return (
            f"{order.side.value} {instrument.qty_text(order.qty_lots)} {order.instrument} "
            f"limit {instrument.price_text(order.limit_ticks)} on its way"
        )

    def leave(self, order: Order) -> bool:
        """Last word before the broker, after the intent is durable: may this order leave now?

        Errors: ``InvariantError`` for an order that is not the one the gate has stamped.
        """
        state = self.orders.states[order.client_order_id]
        if not self.guard.spend_stamp(order):
            raise InvariantError(f"order {order.client_order_id} had no stamp of the gate")
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
        self.orders.leave(order.client_order_id, self.context.now_ns)
        return True

    def refuse(self, order: Order, why: str) -> None:
        """Close an order that must not leave, unless a cancel has closed it already."""
        if self.orders.states[order.client_order_id].status.is_closed:
            return
        state = self.orders.deny(order.client_order_id, why)
        self.context.journal(self._change_of(state))
        self.context.notify("warning", f"{order.client_order_id} did not leave: {why}")

    def cancel_orders(
        self, actor: str, why: str, name: str | None = None, *, externals: bool = False
    ) -> int:
        """Cancel every open order (of one instrument), with ``externals`` those of others too."""
        keys = [
            state.order.client_order_id
            for state in self.orders.open_states(name, ours_only=not externals)
        ]
        return sum(self.cancel_order(key, actor, why) for key in keys)

    def cancel_order(self, client_order_id: str, actor: str, why: str) -> bool:
        """Cancel one order; False if it is closed or unknown. Journalled even if late."""
        state = self.orders.put_cancel(client_order_id)
        if state is None:
            return False
        state.heard_ns = self.context.now_ns
        self.guard.pace.note_cancel(self.context.now_ns)
        intent = ev.CancelIntended(client_order_id=client_order_id, actor=actor, reason=why)
        self.context.journal(intent)
        if not state.has_left:
            self.context.journal(self._change_of(state))
        return True

    # --- in -------------------------------------------------------------------------------------

    def on_report(self, report: OrderReport) -> OrderState | None:
        """Take what the venue said about an order; return how it stands now.

        None for a report that is of no order known here and tells of no fill: it moves nothing.
        """
        self.context.move_to(report.ts_ns)
        key = report.client_order_id
        if key not in self.orders.states and not self._take_in(report):
            return None
        was = self.orders.states[key].status
        applied = self.orders.apply(report)
        state, fill = applied.state, applied.fill
        if fill is not None and not state.intent_seq and self.has_booked(fill):
            fill = None  # an order that an earlier run met too: this fill was booked then
        state.heard_ns = self.context.now_ns
        if fill is not None:
            self._on_fill(state, fill)
        if applied.alarm:
            self.context.notify("error", applied.alarm)
            self.must_compare = True
        if state.status is not was:
            self.changed(state)
            self._count_exit(state)
        if state.status.is_closed and (fill is not None or state.status is not was):
            self.costs.end(key, state.intent_seq or None)
        dead = state.status in {OrderStatus.REJECTED, OrderStatus.EXPIRED}
        if dead and not state.filled_lots:
            self.context.notify("warning", f"order {key} {state.status.value}: {report.reason}")
        return state

    def _take_in(self, report: OrderReport) -> bool:
        """Make room for a report on an order that is not known here; False if there is no need.

        It is of an order of ours that closed long ago, or of one that somebody else sent. A fill
        counts, whoever sent the order: the position is the account's.
        """
        fill = report.fill
        is_ours = self.context.is_own_id(report.client_order_id)
        if fill is None or fill.instrument not in self.desks or self.has_booked(fill):
            self.orders.queue.late_reports += 1
            self.must_compare = self.must_compare or not is_ours
            return False
        found = self.find_order(fill.client_order_id)
        if found is not None:
            self.find(found)
        else:
            order = self.order(
                fill.instrument, fill.side, fill.qty_lots, fill.price_ticks, reduces=False
            )
            order = msgspec.structs.replace(order, client_order_id=fill.client_order_id)
            past = self.past_status(fill.client_order_id)
            self.orders.take_in(order, past, self.context.now_ns)
            whose = "EXTERNAL: not sent by us" if past is None else f"{past.value} before"
            self.context.notify("error", f"a fill of order {fill.client_order_id}, {whose}, counts")
        self.must_compare = True
        return True

    def _count_exit(self, state: OrderState) -> None:
        """Count the exits in a row that closed nothing."""
        if state.order.reduces and state.status.is_closed:
            name = state.order.instrument
            failed = 0 if state.filled_lots else self.failed_exits.get(name, 0) + 1
            self.failed_exits[name] = failed

    def step_silence(self) -> None:
        """Call UNKNOWN what the venue owes an answer on for too long, and ask how it stands."""
        step_silence(self.context, self.orders, self.changed)
        ask_again(self.orders, self.context.now_ns)

    def changed(self, state: OrderState) -> None:
        """Journal the status of an order."""
        self.context.journal(self._change_of(state), state.intent_seq or None)

    def _change_of(self, state: OrderState) -> ev.OrderChanged:
        return ev.OrderChanged(
            client_order_id=state.order.client_order_id,
            status=state.status.value,
            reason=state.reason,
            filled_lots=state.filled_lots,
        )

    def find(self, found: BrokerOrder) -> None:
        """Take in an order that works at the broker and that we do not think open."""
        self.changed(self.orders.find(found.order, found.filled_lots, self.context.now_ns))

    def mark_ended(self, client_order_id: str, why: str) -> None:
        """Close an order that nobody knows any more, on the trader's word."""
        state = self.orders.states[client_order_id]
        if state.status is not OrderStatus.UNKNOWN:
            self.orders.lose_sight(state, why)
        self.changed(self.orders.mark_ended(client_order_id, why))

    def note_booked(self, fills: Iterable[Fill]) -> None:
        """Remember the newest fills that are in the ledger."""
        for fill in fills:
            self._booked[fill.instrument, fill.fill_id] = None
            if len(self._booked) > BOOKED_KEPT:
                del self._booked[next(iter(self._booked))]

    def has_booked(self, fill: Fill) -> bool:
        """Tell whether a fill has been booked, in this run or before."""
        return (fill.instrument, fill.fill_id) in self._booked or self.knows_fill(fill)

    def book(self, fill: Fill, decision_id: str, rationale: str, cause: int | None) -> Decimal:
        """Take a fill into the account and the ledger; return what it realized.

        Called for fills of orders, and for a position that is adopted from the broker. Where its
        lots cannot be counted, position and ledger have it all the same.
        """
        instrument = self.desks[fill.instrument].instrument
        bare, counting = fill, self.account.counting
        fill = counting.ask(lambda: self.account.with_fee_facts(bare), bare)
        realized = self.account.take(fill)
        if counting.failure:
            self.context.pnl.fail(counting)
            text = f"fill {fill.fill_id} is in the position, its profit is not known"
            self.context.notify("error", f"{text}: {counting.failure}")
        event = ev.Filled(
            fill=fill,
            decision_id=decision_id,
            price=instrument.price_text(fill.price_ticks),
            quantity=instrument.qty_text(fill.qty_lots),
            notional=plain(instrument.notional(fill.price_ticks, fill.qty_lots)),
            realized_pnl=plain(realized),
            position_lots=self.account.position(fill.instrument),
            rationale=rationale,
        )
        seq = self.context.journal(event, cause)
        self.note_booked((fill,))
        self.fills.appendleft(FilledRow(seq, fill, realized, rationale))
        self.on_booked(fill, seq)
        return realized

    def _on_fill(self, state: OrderState, fill: Fill) -> None:
        order = state.order
        rationale = self._rationales.get(order.decision_id, "")
        realized = self.book(fill, order.decision_id, rationale, state.intent_seq or None)
        self.costs.take_fill(fill, self.fills[0].seq)
        told = self.context.pnl.ask(lambda: self.guard.take_fill(order, fill, realized), "")
        if told:
            self.context.notify("error", told)
        flat = self.keeps_flat or self.flat_names.get(order.instrument)
        if flat is not None and order.instrument not in self.closing:
            self.close(order.instrument, *flat)

    def remember(self, decision_id: str, rationale: str) -> None:
        """Keep the words of a decision for its fills."""
        self._rationales[decision_id] = rationale
        if len(self._rationales) > RATIONALES_KEPT:
            del self._rationales[next(iter(self._rationales))]

    # --- closing --------------------------------------------------------------------------------

    def close(self, name: str, actor: str, why: str, cause: int | None = None) -> bool:
        """Start closing a position, whatever it takes; False if there is none.

        An order that still works may yet make one: it is waited for.
        """
        lots = self.account.position(name)
        if lots or self.orders.open_states(name, ours_only=True):
            self.closing[name] = Closing(actor, why, self.context.now_ns, cause=cause)
        return bool(lots)

    def step_closing(self, name: str) -> None:
        """Send the next closing order when the last one is done and the book can be believed."""
        closing = self.closing[name]
        lots = self.account.position(name)
        now_ns = self.context.now_ns
        if self.orders.open_states(name, ours_only=True):
            return
        if not lots:
            del self.closing[name]
            self.context.notify("info", f"{name} is flat: {closing.why}")
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
        limit = limit_for(book.bids(1), book.asks(1), side, self.guard.limits.price_collar_bps / 2)
        decision_id = self.context.new_id("c")
        self.remember(decision_id, f"Closed by {closing.actor}: {closing.why}.")
        with contextlib.suppress(LedgerDown):  # the context has told the trader
            order = self.order(name, side, abs(lots), limit, reduces=True)
            self.send(order, decision_id, closing.cause)
