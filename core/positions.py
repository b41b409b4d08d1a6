"""What the trader does with a position beside closing it: halve it, turn it over, close them all.

Nothing here has a way of its own to the venue: orders leave through ``Execution.send`` and the
gate, positions are closed by ``Execution.close``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import msgspec

from core.account import Account
from core.clock import NS_PER_S
from core.config import Settings
from core.context import RunContext
from core.desk import Desk
from core.errors import LedgerDown
from core.execution import Execution
from core.model.decision import Mode
from core.model.order import Side
from core.proposals import Proposals
from core.slippage import depth_lots, entry_limit
from core.strategy import limit_for

REVERSAL_NS = 10 * NS_PER_S
"""How long the trader's word to reverse holds: what has not turned by then stays flat."""
LEVELS_SEEN = 20


class Reversal(msgspec.Struct, frozen=True):
    """A position being turned over: first it is closed, then the opposite is entered."""

    side: Side
    lots: int
    until_ns: int
    actor: str


class Positions:
    """The trader's commands on positions; see the module docstring."""

    def __init__(
        self,
        context: RunContext,
        desks: Mapping[str, Desk],
        account: Account,
        execution: Execution,
        proposals: Proposals,
        settings: Settings,
    ) -> None:
        self.reversing: dict[str, Reversal] = {}
        self._context = context
        self._desks = desks
        self._account = account
        self._execution = execution
        self._proposals = proposals
        self._settings = settings

    # --- commands ---------------------------------------------------------------------------------

    def reduce(self, name: str, actor: str, seen_lots: int | None) -> str:
        """Close half of a position, the smaller half of an odd one, with one order.

        ``seen_lots`` is the position the trader saw. Errors: ``ValueError`` saying what stands
        against it; ``LedgerDown``.
        """
        lots, desk = self._held(name, seen_lots)
        half = abs(lots) // 2
        if not half:
            raise ValueError(f"{name}: one lot has no half; close it")
        if not _can_be_sold(desk, half):
            raise ValueError(f"{name}: half of it is less than the venue takes; close it")
        if self._execution.orders.open_states(name):
            raise ValueError(f"{name}: an order is working; cancel it first")
        self._proposals.withdraw(name, "reduced by hand")
        side = Side.SELL if lots > 0 else Side.BUY
        book = desk.feed.book
        # The cap of a close: see Execution.step_closing.
        cap_bps = self._settings.risk.price_collar_bps / 2
        limit = limit_for(book.bids(1), book.asks(1), side, cap_bps)
        decision_id = self._context.new_id("c")
        self._execution.remember(decision_id, f"Half closed by {actor}.")
        order = self._execution.order(name, side, half, limit, reduces=True)
        return f"{name}: {self._execution.send(order, decision_id, None)}"

    def reverse(self, name: str, actor: str, seen_lots: int | None, mode: Mode) -> str:
        """Close a position, then enter the opposite one through the gate.

        Errors: ``ValueError`` saying what stands against it.
        """
        lots, desk = self._held(name, seen_lots)
        stands = self._why_no_entry(name, mode)
        if stands:
            raise ValueError(f"{name}: not reversed, no entry may leave: {stands}")
        side = Side.SELL if lots > 0 else Side.BUY
        self._proposals.withdraw(name, "reversed by hand")
        self._execution.cancel_orders(actor, "reversed by hand", name)
        self._execution.close(name, actor, "to reverse it")
        until_ns = self._context.now_ns + REVERSAL_NS
        self.reversing[name] = Reversal(side, abs(lots), until_ns, actor)
        self._execution.step_closing(name)
        qty = desk.instrument.qty_text(abs(lots))
        return f"{name}: closing, then {side.value} {qty} through the gate"

    def _held(self, name: str, seen_lots: int | None) -> tuple[int, Desk]:
        """Return position and desk of what may be traded now. Errors: ``ValueError``."""
        if name not in self._desks:
            raise ValueError(f"{name} is not traded in this run")
        lots, desk = self._account.position(name), self._desks[name]
        if not lots:
            raise ValueError(f"{name}: no position")
        if seen_lots not in {None, lots}:
            now = desk.instrument.qty_text(lots)
            raise ValueError(f"{name}: the position is {now} by now; look, then say it again")
        if name in self._execution.closing:
            raise ValueError(f"{name}: the position is being closed")
        if not desk.is_live:
            reason = f"feed {desk.feed.state.value}: {desk.feed.reason}"
            raise ValueError(f"{name}: the book cannot be believed ({reason})")
        return lots, desk

    def _why_no_entry(self, name: str, mode: Mode) -> str:
        if mode is Mode.OBSERVE:
            return "observe mode"
        context = self._context
        return context.why_closed(name) or context.hold_back or context.ledger_failure

    def forget(self, name: str) -> None:
        """Enter nothing any more: the trader or a halt closes the position for good."""
        self.reversing.pop(name, None)

    # --- going on ---------------------------------------------------------------------------------

    def step(self, mode: Mode) -> None:
        """Enter the opposite of what is flat by now; called at the strategy's cadence."""
        for name, reversal in list(self.reversing.items()):
            why = self._why_dropped(name, reversal, mode)
            if why:
                del self.reversing[name]
                self._context.notify("warning", f"{name}: not reversed: {why}")
            elif self._is_ready(name):
                del self.reversing[name]
                with contextlib.suppress(LedgerDown):  # the context has told the trader
                    self._enter(name, reversal)

    def _why_dropped(self, name: str, reversal: Reversal, mode: Mode) -> str:
        stands = self._why_no_entry(name, mode)
        if stands:
            return stands
        is_closing = name in self._execution.closing
        if not is_closing and self._account.position(name):
            return "the position could not be closed"
        if self._context.now_ns < reversal.until_ns:
            return ""
        return f"not done within {REVERSAL_NS // NS_PER_S} s"

    def _is_ready(self, name: str) -> bool:
        is_busy = name in self._execution.closing or self._execution.orders.open_states(name)
        return not is_busy and self._desks[name].is_live

    def _enter(self, name: str, reversal: Reversal) -> None:
        """Send the entry: priced, and cut to what the book shows, like one of the strategy."""
        desk, side = self._desks[name], reversal.side
        bids, asks = desk.feed.book.bids(LEVELS_SEEN), desk.feed.book.asks(LEVELS_SEEN)
        cap_bps = self._settings.strategy.slippage_bps
        limit = entry_limit(bids, asks, side, cap_bps)
        if limit is None:
            text = f"{name}: closed, not reversed: nothing trades within {cap_bps:g} bps of the mid"
            self._context.notify("warning", text)
            return
        lots = min(reversal.lots, depth_lots(asks if side is Side.BUY else bids, side, limit))
        decision_id = self._context.new_id("c")
        self._execution.remember(decision_id, f"Reversed by {reversal.actor}.")
        order = self._execution.order(name, side, lots, limit, reduces=False)
        told = self._execution.send(order, decision_id, None)
        self._context.notify("info", f"{name}: reversing: {told}")


def _can_be_sold(desk: Desk, lots: int) -> bool:
    """Tell whether an order of so many lots is one that the venue takes; so is the larger half."""
    instrument = desk.instrument
    bid, *_ = desk.feed.book.touch()
    is_enough = instrument.qty(lots) >= instrument.min_qty
    return is_enough and instrument.notional(bid, lots) >= instrument.min_notional
