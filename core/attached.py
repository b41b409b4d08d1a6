"""The exits attached to positions: made at the entry's fill, kept with it, acting by themselves.

They are synthetic: this engine watches the believed book and closes by ``Execution.close``, the one
way a position is closed. So one exit works at a time, and none can flip a position. On a book that
cannot be believed nothing acts; that is told within ``BLIND_NS`` (docs/positions.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import partial

import msgspec

from core.account import Account
from core.clock import NS_PER_S
from core.config import ExitSettings
from core.context import RunContext
from core.desk import Desk
from core.errors import ValueRefused
from core.execution import Execution
from core.exits import kind_due, mean_ticks, set_by_hand, touched
from core.held import Held, follow, follow_transfer, from_history, with_hand
from core.model import event as ev
from core.model.difference import DifferenceKind
from core.model.exits import ExitKind, Exits, Touch
from core.model.instrument import plain
from core.model.order import Fill
from core.model.transfer import Spent, Transfer
from core.transfers import spent_by

ACTOR = "algo:exits"
BLIND_NS = NS_PER_S
"""Exits that cannot see for so long are told; a book that crosses for a message is not."""
RETRY_NS = 5 * NS_PER_S
"""A close that gave up is started again after this, and one that does not end is told."""
_SECONDS = "[exits] stop_bps, take_profit_bps and time_stop_s are 0"


class AttachedExits:
    """The attached exits of one run; see the module docstring."""

    def __init__(
        self,
        context: RunContext,
        desks: Mapping[str, Desk],
        account: Account,
        execution: Execution,
        withdraw: Callable[[str, str], None],
        settings: ExitSettings,
    ) -> None:
        self.settings = settings
        self.held: dict[str, Held] = {}
        """The positions of the run, by instrument."""
        self._context = context
        self._desks = desks
        self._account = account
        self._execution = execution
        self._withdraw = withdraw

    def restore(
        self, history: Iterable[Fill | Transfer | Spent], past: Mapping[str, ev.ExitsSet]
    ) -> None:
        """Make the exits of what an earlier run left open, out of its history and the settings.

        ``past`` is the last EXITS of each open position: what the trader had set is kept.
        """
        by_name: dict[str, list[Fill | Transfer | Spent]] = {}
        for each in history:
            by_name.setdefault(each.instrument, []).append(each)
            spent = spent_by(each) if isinstance(each, Fill) else None
            if spent is not None and spent.instrument != each.instrument:
                by_name.setdefault(spent.instrument, []).append(spent)
        for name, of_name in by_name.items():
            if name not in self._desks:
                continue
            work = partial(from_history, self._desks[name].instrument, of_name, self.settings)
            held = self._account.counting.ask(work, None)
            if held is not None:
                held.is_restored = True
                self.held[name] = held
                self._take_over(name, held, past.get(name))
            elif self._account.counting.failure:
                self._keep(name, None)

    def _take_over(self, name: str, held: Held, past: ev.ExitsSet | None) -> None:
        if past is None or past.exits.sign != held.exits.sign:
            return
        try:
            held.exits = with_hand(held.exits, past, self._desks[name].instrument)
        except ValueRefused as error:
            text = f"{name}: exits set by hand are forgotten, [exits] counts again: {error}"
            self._context.notify("error", text)

    # --- fills ------------------------------------------------------------------------------------

    def after_fill(self, fill: Fill, cause: int | None) -> None:
        """Take a fill of ours that the account has taken, written as event ``cause``."""
        name = fill.instrument
        before, book = self.held.get(name), self._account.books[name]
        if before is not None and before.is_restored:
            self._tell_restored(name, before)
        counting = self._account.counting
        held = counting.ask(lambda: follow(before, book, fill, self.settings), None)
        if counting.failure:
            self._keep(name, before)
            return
        if held is None:
            self.held.pop(name, None)
            return
        self.held[name] = held
        if fill.side.sign == held.exits.sign:
            why = "entry filled" if held is not before else "added to: mean price is the new basis"
            self._journal(name, held, ACTOR, why, cause)
            if held is not before and held.exits.is_empty:
                self._context.notify("warning", f"{name}: no exit is attached: {_SECONDS}")

    def _keep(self, name: str, before: Held | None) -> None:
        """The mean price is not known any more: exits stay where they stood, new ones get none."""
        lots = self._account.position(name)
        if before is not None and lots * before.exits.sign > 0:
            before.lots = lots
            return
        self.held.pop(name, None)
        if lots:
            failure = self._account.counting.failure
            self._context.notify("error", f"{name}: no exit is attached: {failure}")

    def after_transfer(self, name: str, why: str, cause: int | None) -> None:
        """Take that coins were moved: the exits stand where they stood, for what is held now."""
        before = self.held.get(name)
        if before is None:
            return
        if before.is_restored:
            self._tell_restored(name, before)
        if follow_transfer(before, self._account.books[name]) is None:
            del self.held[name]
            return
        self._journal(name, before, ACTOR, why, cause)

    def _tell_restored(self, name: str, held: Held) -> None:
        held.is_restored = False
        now_ns = self._context.now_ns
        if held.opened_ns > now_ns:  # a faster clock opened it in what is now the future
            ahead_ns, held.opened_ns = held.opened_ns - now_ns, now_ns
            if held.exits.due_ns is not None:
                due_ns = held.exits.due_ns - ahead_ns
                held.exits = msgspec.structs.replace(held.exits, due_ns=due_ns)
        hand = ", ".join(held.exits.by_hand)
        why = "restored at start from the ledger's fills and [exits]"
        why += f"; set by hand before: {hand}" if hand else ""
        self._journal(name, held, ACTOR, why)

    def _journal(
        self, name: str, held: Held, actor: str, why: str, cause: int | None = None
    ) -> None:
        event = self._event(name, held, held.exits, actor, why)
        held.seq = self._context.journal(event, cause) or None

    def _event(self, name: str, held: Held, exits: Exits, actor: str, why: str) -> ev.ExitsSet:
        instrument = self._desks[name].instrument
        stop, target = exits.stop_ticks, exits.target_ticks
        return ev.ExitsSet(
            instrument=name,
            position_lots=held.lots,
            entry_price=self.entry_text(name),
            exits=exits,
            stop=None if stop is None else instrument.price_text(stop),
            target=None if target is None else instrument.price_text(target),
            actor=actor,
            why=why,
        )

    def entry_text(self, name: str) -> str:
        """Return the mean entry price to a hundredth of a tick; empty while flat."""
        price = self._account.books[name].average_price()
        if price is None:
            return ""
        step = (self._desks[name].instrument.tick_size / Decimal(100)).normalize()
        return plain(price.quantize(step))

    def entries(self, name: str) -> int:
        """Return how many entries the position is made of; 0 while flat."""
        held = self.held.get(name)
        return 0 if held is None else len(held.entries)

    # --- acting -----------------------------------------------------------------------------------

    def look(self, desk: Desk) -> None:
        """Act if an exit of the instrument is due; called whenever its book moved, and in time."""
        held = self.held.get(desk.instrument.name)
        if held is None:
            return
        bid, _, ask, *_ = desk.feed.book.touch()
        if kind_due(held.exits, bid, ask, self._context.now_ns) is None:
            return
        if desk.instrument.name in self._execution.closing or self.why_blind(desk):
            return
        if held.triggered_ns and self._context.now_ns - held.triggered_ns < RETRY_NS:
            return
        if held.is_restored:
            self._tell_restored(desk.instrument.name, held)
        now_ns, opened_ns = self._context.now_ns, held.opened_ns
        touch = touched(held.exits, desk.instrument, bid, ask, now_ns, opened_ns)
        if touch is not None:
            self._act(desk, held, touch)

    def why_blind(self, desk: Desk) -> str:
        """Return why no exit of the instrument can act now; empty when one can."""
        if self._context.hold_back:
            return self._context.hold_back
        if self._context.ledger_failure:
            return "no ledger, no order"
        if any(
            each.kind is DifferenceKind.POSITION and each.instrument == desk.instrument.name
            for each in self._context.differences
        ):
            return "the broker says another position"
        if desk.is_live:
            return ""
        state, reason = desk.feed.state.value, desk.feed.reason
        return f"feed {state}: {reason}" if state != "live" else "the book is crossed or one-sided"

    def _act(self, desk: Desk, held: Held, touch: Touch) -> None:
        name, words = desk.instrument.name, touch.words
        held.triggered_ns, held.is_stuck_told = self._context.now_ns, False
        cause = self._context.journal(
            ev.ExitTriggered(
                instrument=name,
                kind=touch.kind,
                level=touch.level,
                seen=touch.seen,
                position_lots=held.lots,
                rationale=words,
            ),
            held.seq,
        )
        side = "sell" if held.lots > 0 else "buy"
        qty = desk.instrument.qty_text(abs(held.lots))
        self._context.notify("warning", f"{name}: {words}; {side} {qty} to flat")
        # How far the price has drifted is said of a proposal that ends: a mark is asked.
        self._context.pnl.ask(lambda: self._withdraw(name, words), None)
        self._execution.cancel_orders(ACTOR, words, name)
        self._execution.close(name, ACTOR, words, cause or None)
        if name in self._execution.closing:
            self._execution.step_closing(name)

    def step(self) -> None:
        """Look at the time, tell of what cannot act; called at the strategy's cadence."""
        if self._context.hold_back:
            return
        for name, held in list(self.held.items()):
            desk = self._desks[name]
            if held.is_restored:
                self._tell_restored(name, held)
            self._tell_blindness(name, held, self.why_blind(desk))
            self._tell_stuck(name, held)
            self.look(desk)

    def _tell_blindness(self, name: str, held: Held, why: str) -> None:
        now_ns = self._context.now_ns
        if why:
            held.blind_ns = held.blind_ns or now_ns
            if held.is_blind_told or now_ns - held.blind_ns < BLIND_NS:
                return
            held.is_blind_told = True
            self._context.journal(ev.ExitsBlind(name, True, held.lots, why))
            self._context.notify("error", f"{name}: its exits cannot act: {why}")
            return
        held.blind_ns = 0
        if held.is_blind_told:
            held.is_blind_told = False
            self._context.journal(ev.ExitsBlind(name, False, held.lots, "the book is believed"))
            self._context.notify("info", f"{name}: its exits can act again")

    def _tell_stuck(self, name: str, held: Held) -> None:
        """Tell of a position that is still there some time after its exit was due."""
        since_ns = self._context.now_ns - held.triggered_ns
        if not held.triggered_ns or held.is_stuck_told or since_ns < RETRY_NS:
            return
        held.is_stuck_told = True
        keys = [
            f"{state.order.client_order_id} {state.status.value}"
            for state in self._execution.orders.open_states(name)
        ]
        why = f"waiting for {', '.join(keys)}" if keys else self._execution.last_denial
        text = f"{name}: still open {since_ns / NS_PER_S:.0f} s after its exit was due: {why}"
        self._context.notify("error", text)

    # --- the trader's word ------------------------------------------------------------------------

    def set_by_hand(self, name: str, kind: ExitKind, value: str, actor: str) -> str:
        """Move or cancel one exit; return what stands now.

        Errors: ``ValueError`` saying what stands against it; ``LedgerDown``.
        """
        held = self.held.get(name)
        if held is None:
            raise ValueError(f"{name}: no position, so no {kind.value} to set")
        if name in self._execution.closing:
            raise ValueError(f"{name}: the position is being closed")
        desk, now_ns = self._desks[name], self._context.now_ns
        mean = mean_ticks(self._account.books[name])
        exits = set_by_hand(
            held.exits, kind, value, desk.instrument, mean, self.settings, held.opened_ns, now_ns
        )
        if desk.is_live:
            bid, _, ask, *_ = desk.feed.book.touch()
            touch = touched(exits, desk.instrument, bid, ask, now_ns, held.opened_ns)
            if touch is not None and touch.kind is kind:
                raise ValueError(f"{name}: {touch.words} already; to close now, close it")
        why = f"{kind.value} set to {value.strip().lower()}"
        held.seq = self._context.write(self._event(name, held, exits, actor, why))
        held.exits, held.is_restored = exits, False
        return f"{name}: {self.words(name)}"

    def words(self, name: str) -> str:
        """Return the exits of a position as one line."""
        held, instrument = self.held[name], self._desks[name].instrument
        exits, left = held.exits, "off"
        if exits.due_ns is not None:
            left = f"{max(0, exits.due_ns - self._context.now_ns) / NS_PER_S:.0f} s left"
        stop = "off" if exits.stop_ticks is None else instrument.price_text(exits.stop_ticks)
        target = "off" if exits.target_ticks is None else instrument.price_text(exits.target_ticks)
        return f"stop {stop}, target {target}, time {left}"
