"""The gate at work: what it sees of a run, its verdict, and the stamp without which nothing leaves.

``core.risk.check`` judges; this gathers what it judges by. ``Gate.stamp`` is the one place where a
stamp is made (``tests/core/test_gate.py`` reads the source of the program for another).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from core.account import Account
from core.clock import NS_PER_S
from core.config import RiskSettings
from core.context import RunContext
from core.desk import Desk
from core.limits.view import GateView
from core.losses import NO_FACTS, LossWatch
from core.model.decision import LimitCheck
from core.model.difference import DifferenceKind
from core.model.order import Fill, Order, Side
from core.orders import Orders
from core.pace import MINUTE_NS, Pace
from core.pauses import Stops
from core.risk import GateVerdict, check

ZERO = Decimal(0)
STAMPS_KEPT = 4_096
"""Stamps that wait to be spent; more than the queue to the broker can hold."""
_encode = msgspec.json.Encoder(order="sorted").encode


class Gate:
    """The gate of one run; see the module docstring."""

    def __init__(
        self,
        context: RunContext,
        desks: Mapping[str, Desk],
        account: Account,
        orders: Orders,
        limits: RiskSettings,
    ) -> None:
        self.limits = limits
        self.pace = Pace(limits)
        self.stops = Stops()
        self.losses = LossWatch(account, limits)
        self._context = context
        self._desks = desks
        self._account = account
        self._orders = orders
        self._stamped: dict[str, Order] = {}
        """Orders that passed and have not left, by id."""

    def ask(self, order: Order) -> GateVerdict:
        """Judge ``order`` as things stand now, as if it were not sent yet."""
        return check(order, self.view(order), self.limits)

    def stamp(self, order: Order, verdict: GateVerdict) -> Order:
        """Return ``order`` with the stamp of its passing, and count it.

        Errors: ``ValueError`` for a verdict that refuses: there is no stamp for that.
        """
        if not verdict.allowed:
            raise ValueError(f"order {order.client_order_id} was refused: {verdict.why}")
        self.pace.note_order(order, self._context.now_ns)
        order = msgspec.structs.replace(order, stamp=stamp_of(order, verdict.checks))
        self._stamped[order.client_order_id] = order
        if len(self._stamped) > STAMPS_KEPT:  # of orders canceled before they left
            del self._stamped[next(iter(self._stamped))]
        return order

    def spend_stamp(self, order: Order) -> bool:
        """Tell whether ``order`` is, field by field, one that was stamped; once for each."""
        return self._stamped.pop(order.client_order_id, None) == order

    def take_fill(self, order: Order, fill: Fill, realized: Decimal) -> str:
        """Count a fill of ours; return what the trader must know, or nothing."""
        now_ns = self._context.now_ns
        self.pace.note_fill(order, now_ns)
        return self.losses.note_fill(fill, realized, now_ns)

    def tripped(self, name: str) -> str:
        """Return why everything must stop after a fill in ``name``, or nothing."""
        now_ns, most = self._context.now_ns, self.limits.max_repeated_fills
        for side in Side:
            count = self.pace.repeated_fills(name, side, now_ns)
            if count >= most:
                window_s = self.limits.repeated_window_s
                return (
                    f"repeated execution: {count} {side.value} orders in {name} filled within "
                    f"{window_s:g} s and none on the other side, limit {most}"
                )
        return self.losses.realized_reached(self._account.of(name), now_ns)

    def view(self, order: Order) -> GateView:
        """Return what the gate knows; ``order`` itself, if it was sent already, is in no count."""
        name, key, now_ns = order.instrument, order.client_order_id, self._context.now_ns
        desk, orders = self._desks[name], self._orders
        bid, ask = desk.feed.book.best_bid, desk.feed.book.best_ask
        closed = self._context.why_closed(name, order.decision_id)
        pnl = self._context.pnl  # not known where it fails, which refuses entries and no exit
        losses = pnl.ask(lambda: self.losses.facts(self._account.of(name), now_ns), NO_FACTS)
        return GateView(
            now_ns=now_ns,
            instrument=desk.instrument,
            feed_state=desk.feed.state,
            bid_ticks=bid[0] if bid else None,
            ask_ticks=ask[0] if ask else None,
            last_trade_ticks=desk.feed.last_trade_ticks,
            volatility_bucket=desk.bucket,
            clock_offset_ms=desk.clock.offset_ms,
            position_lots=self._account.position(name),
            working_buy_lots=orders.working_lots(name, Side.BUY, besides=key),
            working_sell_lots=orders.working_lots(name, Side.SELL, besides=key),
            own_ticks=orders.nearest_limit(name, order.side.opposite, besides=key),
            other_exposure=pnl.ask(lambda: self._other_exposure(name), None),
            open_orders=len(orders.open_states()) - (key in orders.states),
            orders_last_second=self.pace.orders_within(NS_PER_S, now_ns, key),
            orders_last_minute=self.pace.orders_within(MINUTE_NS, now_ns, key),
            messages_last_second=self.pace.messages_last_second(now_ns, key),
            repeated_fills=self.pace.repeated_fills(name, order.side, now_ns),
            same_order_age_ms=self.pace.same_order_age_ms(order, now_ns),
            today=losses.today,
            session=losses.session,
            drawdown=losses.drawdown,
            losses_in_a_row=losses.in_a_row,
            pause=self.stops.why(name, now_ns),
            is_halted=bool(closed),
            halt_reason=closed,
            queue_waiting=orders.waiting,
            differences=self.differences(),
            position_doubt=self.differences(name),
        )

    def differences(self, name: str = "") -> str:
        """Return where the broker says other than we, or about the position in ``name`` alone."""
        found = self._context.differences
        if name:
            position = DifferenceKind.POSITION
            found = tuple(d for d in found if d.kind is position and d.instrument == name)
        return "; ".join(each.text for each in found)

    def _other_exposure(self, name: str) -> Decimal | None:
        """Return the worst value of the other instruments in the same currency, added up."""
        total = ZERO
        for other, book in self._account.of(name).books.items():
            if other == name:
                continue
            buys = self._orders.working_lots(other, Side.BUY)
            sells = self._orders.working_lots(other, Side.SELL)
            held = book.position_lots
            worst_lots = max(abs(held + buys), abs(held - sells), abs(held))
            if not worst_lots:
                continue
            mark2 = self._account.mark2(other)
            if mark2 is None:
                return None
            total += book.instrument.notional(mark2, worst_lots) / 2
        return total


def stamp_of(order: Order, checks: tuple[LimitCheck, ...]) -> str:
    """Return the stamp of an order that passed ``checks``: sha256 in hex of both.

    The ledger holds both as well (ORDER_INTENT, RISK_CHECK), so that anybody can work it out.
    """
    bare = msgspec.structs.replace(order, stamp="")
    return hashlib.sha256(_encode([bare, checks])).hexdigest()
