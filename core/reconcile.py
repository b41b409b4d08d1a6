"""Reconciliation: what is done where the broker says other than we (``core.statement``).

``compare`` is called at a start, after something contradictory, on the trader's word, once a
second while there is a difference, and by ``step`` every ``[risk] compare_every_s``: there what
does not fit is looked at again ``SETTLE_NS`` later, for it may be a report on its way. Until there
is no difference the gate lets no new risk pass (``core.limits.agree``). Nothing is put right by
guessing: reports that the broker has for us are taken like any others, what then still differs is
the trader's to resolve, with a typed reason.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from decimal import Decimal

import msgspec

from core.account import Account
from core.clock import NS_PER_S
from core.context import RunContext
from core.execution import Execution
from core.model import event as ev
from core.model.difference import REMEDIES, Difference, DifferenceKind, Remedy
from core.model.order import Fill, Order, OrderReport, OrderStatus, ReportKind, Side
from core.orders import SETTLE_NS
from core.ports import Broker
from core.statement import Statement

AGAIN_NS = NS_PER_S
"""How often a difference is looked at again."""
LOOK_BACK_NS = 60 * NS_PER_S
"""Fills are compared from so long before the last agreement: a venue may list one late."""


class LeftOrder(msgspec.Struct, frozen=True):
    """An order that the ledger has without an end when a run starts."""

    order: Order
    intent_seq: int
    fills: list[Fill]


def hear(
    broker: Broker,
    left: Iterable[LeftOrder],
    past: Iterable[Fill],
    past_status: Callable[[str], OrderStatus | None],
    now_ns: int,
) -> tuple[OrderReport, ...]:
    """Ask the broker about the orders ``left`` without an end, and for fills the ledger lacks.

    ``past`` are the fills in the ledger. One that is not among them is taken if the ledger has the
    intent of its order; any other stays a difference, for the trader to resolve.
    """
    for each in left:
        if sum(fill.qty_lots for fill in each.fills) < each.order.qty_lots:
            broker.ask(each.order.client_order_id, now_ns)
    told = broker.take_reports()
    known = {(fill.instrument, fill.fill_id) for fill in past}
    known |= {(r.fill.instrument, r.fill.fill_id) for r in told if r.fill is not None}
    missing = [
        OrderReport(ReportKind.FILLED, fill.client_order_id, now_ns, "", fill)
        for fill in broker.fills_since(0)
        if (fill.instrument, fill.fill_id) not in known
        and past_status(fill.client_order_id) is not None
    ]
    return (*told, *missing)


class Reconciler:
    """Compares one engine with its broker; see the module docstring."""

    def __init__(
        self, context: RunContext, execution: Execution, account: Account, broker: Broker
    ) -> None:
        self._context = context
        self._execution = execution
        self._orders = execution.orders
        self._account = account
        self._broker = broker
        self._statement = Statement(execution, account, broker)
        self._every_ns = int(execution.guard.limits.compare_every_s * NS_PER_S)
        self._started_ns = 0
        self._due_ns = 0
        self._suspected: frozenset[Hashable] = frozenset()
        """What did not fit at the last look, and may be a report on its way."""
        execution.find_order = self._statement.order

    # --- acting ---------------------------------------------------------------------------------

    def start(
        self, left: Iterable[LeftOrder], told: tuple[OrderReport, ...]
    ) -> tuple[Difference, ...]:
        """Take over what the ledger left open, take what the broker told (``hear``), compare."""
        self._started_ns = self._statement.fills_since_ns = self._context.now_ns
        for each in left:
            state = self._orders.recover(
                each.order, each.intent_seq, each.fills, self._context.now_ns
            )
            self._execution.changed(state)
        for report in told:
            self._execution.on_report(report)
        return self.compare(len(told), is_told=bool(told or self._broker.positions()))

    def step(self) -> None:
        """Compare when something does not fit, again while it does not, and now and then."""
        is_due = self._context.now_ns >= self._due_ns
        if self._execution.must_compare or (is_due and self._context.differences):
            self.compare()
        elif is_due:
            self._look_round()

    def _look_round(self) -> None:
        """Look whether the two agree; what stood at the last look too is a difference.

        At the first look it may be a report on its way: the broker is asked to tell again.
        """
        found = self._statement.evidence()
        if found & self._suspected:
            self.compare()
            return
        self._suspected = found
        self._due_ns = self._context.now_ns + (SETTLE_NS if found else self._every_ns)
        if found:
            self._ask()
        else:
            self._note_agreement()

    def _ask(self) -> None:
        for key in self._statement.to_ask():
            self._orders.put_ask(key)

    def _note_agreement(self) -> None:
        """All fills up to now are booked: older ones need not be looked at again."""
        since_ns = self._context.now_ns - LOOK_BACK_NS
        self._statement.fills_since_ns = max(self._started_ns, since_ns)

    def compare(self, told: int = 0, *, is_told: bool = False) -> tuple[Difference, ...]:
        """Look, take in external orders, journal what is new and hold new risk back if need be."""
        self._execution.must_compare = False
        was, found = self._context.differences, self._statement.differences()
        if self._take_in(found):
            found = self._statement.differences()
        self._context.differences = found
        self._suspected = frozenset()
        self._due_ns = self._context.now_ns + (AGAIN_NS if found else self._every_ns)
        if found != was or is_told:
            self._context.journal(ev.Reconciled(
                broker=self._broker.name,
                positions=self._broker.positions(),
                open_orders=tuple(o.order.client_order_id for o in self._broker.open_orders()),
                told=told,
                differences=found,
            ))  # fmt: skip
            for each in found:
                if each not in was:
                    self._context.notify("error", f"DIFFERENCE, nothing new is traded: {each.text}")
            if was and not found:
                self._context.notify("info", "we and the broker agree again")
        if found:
            self._ask()
        else:
            self._note_agreement()
        return found

    def _take_in(self, found: tuple[Difference, ...]) -> bool:
        """Make the orders of others states of ours, so that they count in the exposure."""
        news = {each.key for each in found if each.kind is DifferenceKind.EXTERNAL_ORDER}
        news -= {state.order.client_order_id for state in self._orders.open_states()}
        for each in self._broker.open_orders():
            if each.order.client_order_id in news:
                self._execution.find(each)
        return bool(news)

    # --- the trader's word ----------------------------------------------------------------------

    def resolve(self, key: str, remedy: Remedy, actor: str, reason: str) -> str:
        """Do what the trader says about the difference named ``key``; return it in words.

        Errors: ``ValueError`` saying what stands against it; ``LedgerDown``.
        """
        # What the trader saw may be over by now.
        found = next((each for each in self.compare() if each.key == key), None)
        if found is None:
            raise ValueError(f"there is no difference {key}")
        if remedy not in REMEDIES[found.kind]:
            can = " or ".join(each.value for each in REMEDIES[found.kind]) or "a restart alone"
            raise ValueError(f"{key}: {remedy.value} does not resolve it, {can} does")
        if not reason.strip():
            raise ValueError("resolving a difference needs a reason")
        if remedy is Remedy.ADOPT and self._account.mark2(key) is None:
            raise ValueError(f"{key} has no price yet: what no fill tells is adopted at the mark")
        seq = self._context.write(ev.DifferenceResolved(
            difference=found, remedy=remedy, actor=actor, reason=reason.strip()
        ))  # fmt: skip
        match remedy:
            case Remedy.ADOPT:
                self._adopt(key, f"Adopted from the broker by {actor}: {reason.strip()}", seq)
            case Remedy.CANCEL:
                self._execution.cancel_order(key, actor, reason)
            case Remedy.KEEP:
                self._statement.kept.add(key)
            case Remedy.MARK:
                self._execution.mark_ended(key, f"marked as ended by {actor}: {reason}")
        left = self.compare()
        return f"{key}: {remedy.value}" + (f"; {len(left)} left" if left else "; all agree")

    def _adopt(self, name: str, why: str, cause: int) -> None:
        """Make our position the broker's: by its fills that we lack, then at the mark."""
        for fill in self._broker.fills_since(0):
            if fill.instrument == name:
                self._execution.on_report(OrderReport(
                    ReportKind.FILLED, fill.client_order_id, self._context.now_ns, "", fill
                ))  # fmt: skip
        mark2 = self._account.mark2(name)
        lots = self._broker.positions().get(name, 0) - self._account.position(name)
        if not lots or mark2 is None:
            return
        key = self._context.new_id("a")
        fill = Fill(
            fill_id=key,
            client_order_id=key,
            instrument=name,
            side=Side.BUY if lots > 0 else Side.SELL,
            price_ticks=mark2 // 2,
            qty_lots=abs(lots),
            fee=Decimal(0),
            fee_currency=self._account.books[name].instrument.quote,
            is_maker=False,
            ts_ns=self._context.now_ns,
        )
        self._execution.book(fill, key, f"{why}; the price is the mark.", cause)
