"""The broker's statement beside what we believe: positions, open orders, fills. Changes nothing.

``differences`` is what does not fit now, in words for the trader. ``evidence`` is the same as
single facts, each told apart from the next of its kind: a fact that stands at two looks is no
report on its way (``core.reconcile`` says what is done about either).
"""

from __future__ import annotations

from collections.abc import Hashable

from core.account import Account
from core.execution import Execution
from core.model.difference import Difference, DifferenceKind
from core.model.instrument import Instrument
from core.model.order import BrokerOrder, Fill, OrderStatus
from core.order_state import OrderState
from core.ports import Broker

FILLS_NAMED = 3
"""Fills that a difference names; of more it says how many."""
_KNOWN_TO_WORK = frozenset({OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED})


class Statement:
    """Reads what one broker says; see the module docstring."""

    def __init__(self, execution: Execution, account: Account, broker: Broker) -> None:
        self.kept: set[str] = set()
        """External orders that the trader leaves alone."""
        self.fills_since_ns = 0
        """Fills made before are not compared one by one: the positions hold their sum."""
        self._execution = execution
        self._account = account
        self._broker = broker

    def differences(self) -> tuple[Difference, ...]:
        """Return where the broker says other than we do now; empty if they agree."""
        trouble = self._broker.trouble()
        if trouble:
            return (Difference(DifferenceKind.BROKER, "broker", "", "ours", trouble),)
        return (*self._holdings(), *self._orders())

    def evidence(self) -> frozenset[Hashable]:
        """Return the facts that speak against our agreeing, each by a name of its own.

        Of a position what no untold fill explains; of an order none that is in doubt: the venue is
        being asked about it, and it counts as working.
        """
        trouble = self._broker.trouble()
        if trouble:
            return frozenset({trouble})
        untold = self.untold()
        facts: set[Hashable] = {(fill.instrument, fill.fill_id) for fill in untold}
        theirs = self._broker.positions()
        for name, book in self._account.books.items():
            told = sum(f.side.sign * f.qty_lots for f in untold if f.instrument == name)
            rest_lots = theirs.get(name, 0) - told - book.position_lots
            if rest_lots:
                facts.add((name, rest_lots))
        states = self._execution.orders.states
        for each in self._orders():
            state = states.get(each.key)
            if each.kind is DifferenceKind.EXTERNAL_ORDER or state is None or not state.is_in_doubt:
                facts.add((each.kind, each.key))
        return frozenset(facts)

    def untold(self) -> list[Fill]:
        """Return the broker's fills that are not booked here, oldest first."""
        return [
            fill
            for fill in self._broker.fills_since(self.fills_since_ns)
            if fill.instrument in self._account.books and not self._execution.has_booked(fill)
        ]

    def to_ask(self) -> list[str]:
        """Return the orders about which the broker can tell what is missing here."""
        if self._broker.trouble():
            return []
        missing = [d.key for d in self._orders() if d.kind is DifferenceKind.MISSING_ORDER]
        ours = [f.client_order_id for f in self.untold() if self._is_ours(f.client_order_id)]
        return list(dict.fromkeys([*missing, *ours]))

    def _is_ours(self, client_order_id: str) -> bool:
        state = self._execution.orders.states.get(client_order_id)
        if state is not None:
            return not state.is_external
        return self._execution.past_status(client_order_id) is not None

    def order(self, client_order_id: str) -> BrokerOrder | None:
        """Return what works at the broker under an id."""
        found = (
            o for o in self._broker.open_orders() if o.order.client_order_id == client_order_id
        )
        return next(found, None)

    def _holdings(self) -> list[Difference]:
        """Return where positions differ, or fills are missing that leave the position as it is."""
        theirs, untold = self._broker.positions(), self.untold()
        found = []
        for name, book in self._account.books.items():
            lots, text = theirs.get(name, 0), book.instrument.qty_text
            fills = [fill for fill in untold if fill.instrument == name]
            if lots != book.position_lots:
                ours = text(book.position_lots)
                found.append(Difference(DifferenceKind.POSITION, name, name, ours, text(lots)))
            elif fills:
                told = _in_words(book.instrument, fills)
                found.append(Difference(DifferenceKind.FILLS, name, name, "never told", told))
        return found

    def _shown(self, name: str, lots: int) -> str:
        """Return a quantity as the trader reads it; in lots where the instrument is not ours."""
        book = self._account.books.get(name)
        return f"{lots} lots" if book is None else book.instrument.qty_text(lots)

    def _orders(self) -> list[Difference]:
        theirs = {each.order.client_order_id: each for each in self._broker.open_orders()}
        orders = self._execution.orders
        found = []
        for key, each in theirs.items():
            state = orders.states.get(key)
            if key in self.kept or (state is not None and _is_ours_open(state)):
                continue
            name = each.order.instrument
            ours = "not sent by us" if state is None or state.is_external else state.status.value
            how = f"{each.order.side.value} {self._shown(name, each.order.qty_lots)} at work"
            found.append(Difference(DifferenceKind.EXTERNAL_ORDER, key, name, ours, how))
        for state in orders.open_states():
            order = state.order
            key = order.client_order_id
            # An order on its way is not expected there yet; its answer is waited for.
            must_be_there = state.status in _KNOWN_TO_WORK or state.is_in_doubt
            if must_be_there and key not in theirs:
                found.append(Difference(
                    DifferenceKind.MISSING_ORDER, key, order.instrument, state.status.value,
                    "not at work",
                ))  # fmt: skip
        return found


def _is_ours_open(state: OrderState) -> bool:
    return not state.status.is_closed and not state.is_external


def _in_words(instrument: Instrument, fills: list[Fill]) -> str:
    named = [
        f"{fill.side.value} {instrument.qty_text(fill.qty_lots)} at "
        f"{instrument.price_text(fill.price_ticks)} ({fill.fill_id})"
        for fill in fills[:FILLS_NAMED]
    ]
    more = len(fills) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
