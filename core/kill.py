"""The kill switch of a run: every scope, how it is latched, how it opens again.

The order of work is fixed: close the gate, latch on disk, cancel, begin to close positions, and
only then tell the ledger. Nothing before the cancels can fail, and no P&L is asked on the way.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from core import scopes
from core.context import RunContext
from core.errors import LedgerDown
from core.execution import Execution
from core.model import event as ev
from core.model.decision import Action
from core.model.halt import PastHalt
from core.ports import Latch
from core.proposals import Proposals


class KillSwitch:
    """See the module docstring."""

    def __init__(
        self,
        context: RunContext,
        execution: Execution,
        proposals: Proposals,
        latch: Latch,
        *,
        flattens: bool,
    ) -> None:
        self._context = context
        self._execution = execution
        self._proposals = proposals
        self._latch = latch
        self._flattens = flattens
        """``[risk] kill_flattens``."""

    # --- closing the gate -----------------------------------------------------------------------

    def close_gate(self, actor: str, why: str) -> bool:
        """Let no new risk leave from now on, and latch; return whether that is durable.

        All that a signal handler may do: it takes no part in the engine's other state.
        """
        self._context.halted = why or "killed"
        self._context.halted_since_ns = self._context.stamp_ns
        return self._latch.trip(
            self._context.halted, actor, self._context.stamp_ns, flattens=self._flattens
        )

    def kill(self, scope: str, actor: str, why: str) -> str:
        """Kill ``scope`` and return what was done, in words.

        Errors: ``ValueError`` for a scope, instrument or order that is not there.
        """
        taken = scopes.parse(scope)
        why = why or "killed"
        match taken.kind:
            case scopes.ALL:
                return self._kill_all(actor, why)
            case scopes.STRATEGY:
                return self._kill_strategy(actor, why)
            case "instrument":
                return self._kill_instrument(taken.name, actor, why)
            case _:
                return self._kill_order(taken.name, actor, why)

    def _kill_all(self, actor: str, why: str) -> str:
        is_durable = self.close_gate(actor, why)
        canceled = self._execution.cancel_orders(actor, why, externals=True)
        self._execution.keeps_flat = (actor, why) if self._flattens else None
        closing = self.flatten(actor, why) if self._flattens else 0
        self._tell(scopes.ALL, actor, why)
        self._withdraw(list(self._proposals.pending), why)
        text = f"KILLED by {actor} ({why}): {canceled} orders canceled, {closing} closing"
        return self._said(text, is_durable=is_durable)

    def _kill_instrument(self, name: str, actor: str, why: str) -> str:
        if name not in self._execution.desks:
            raise ValueError(f"{name} is not traded in this run")
        scope = scopes.of_instrument(name)
        is_durable = self._halt(scope, actor, why, flattens=self._flattens)
        canceled = self._execution.cancel_orders(actor, why, name)
        is_closing = False
        if self._flattens:
            self._execution.flat_names[name] = (actor, why)
            is_closing = self._execution.close(name, actor, why)
        self._tell(scope, actor, why)
        self._withdraw([name], why)
        end = "closing the position" if is_closing else "no position is being closed"
        text = f"{name} HALTED by {actor} ({why}): {canceled} orders canceled, {end}"
        return self._said(text, is_durable=is_durable)

    def _kill_strategy(self, actor: str, why: str) -> str:
        """Stop what the strategy opens; positions keep their exits, the trader keeps his hands."""
        is_durable = self._halt(scopes.STRATEGY, actor, why, flattens=False)
        orders = [state.order for state in self._execution.orders.open_states()]
        canceled = sum(
            self._execution.cancel_order(order.client_order_id, actor, why)
            for order in orders
            if not order.reduces and order.decision_id in self._context.strategy_decisions
        )
        self._tell(scopes.STRATEGY, actor, why)
        entries = [
            name
            for name, pending in self._proposals.pending.items()
            if pending.proposal.action is not Action.EXIT
        ]
        self._withdraw(entries, why)
        text = f"strategy HALTED by {actor} ({why}): {canceled} entries canceled, exits go on"
        return self._said(text, is_durable=is_durable)

    def _kill_order(self, client_order_id: str, actor: str, why: str) -> str:
        if not self._execution.cancel_order(client_order_id, actor, why):
            raise ValueError(f"{client_order_id} is not open")
        self._tell(scopes.of_order(client_order_id), actor, why)
        return f"{client_order_id}: cancel on its way"

    def _halt(self, scope: str, actor: str, why: str, *, flattens: bool) -> bool:
        self._context.halts[scope] = why
        stamp_ns = self._context.stamp_ns
        return self._latch.of(scope).trip(why, actor, stamp_ns, flattens=flattens)

    def _tell(self, scope: str, actor: str, why: str) -> None:
        self._context.journal(ev.KillTripped(scope=scope, actor=actor, reason=why))

    def _withdraw(self, names: list[str], why: str) -> None:
        for name in names:
            # How far the price has drifted is said of a proposal that ends: a mark is asked.
            self._context.pnl.ask(partial(self._proposals.withdraw, name, why), None)

    def _said(self, text: str, *, is_durable: bool) -> str:
        text += self.if_no_ledger()
        if not is_durable:
            text += "; the latch could NOT be written to disk"
        self._context.notify("error", text)
        return text

    def flatten(self, actor: str, why: str) -> int:
        """Start closing every position; return how many."""
        return sum(self._execution.close(name, actor, why) for name in self._execution.desks)

    def if_no_ledger(self) -> str:
        """Return the warning that positions stay: closing is trading, and needs a ledger."""
        return "; NO LEDGER: positions stay open" if self._context.ledger_failure else ""

    def latch_without_ledger(self) -> None:
        """The ledger is gone: latch, cancel; positions stay, for closing them needs a ledger."""
        context = self._context
        self._latch.trip(context.halted, "system", context.stamp_ns)
        self._execution.cancel_orders("system", "no ledger")
        self._withdraw(list(self._proposals.pending), "no ledger")

    # --- opening it again -----------------------------------------------------------------------

    def rearm(self, actor: str, reason: str, scope: str = scopes.ALL) -> str:
        """Open the gate of ``scope`` again.

        Errors: ``ValueError`` saying what stands against it; ``LedgerDown``.
        """
        taken = scopes.parse(scope)
        against = self._why_not_rearm(taken, reason.strip())
        if against:
            raise ValueError(against)
        self._context.write(ev.Rearmed(actor=actor, reason=reason.strip(), scope=scope))
        latch = self._latch if scope == scopes.ALL else self._latch.of(scope)
        try:
            latch.rearm()
        except OSError as error:
            raise ValueError(f"the latch cannot be removed: {error.strerror}") from error
        self._open(taken, scope)
        what = "" if scope == scopes.ALL else f" {scopes.words(scope)}"
        self._context.notify("warning", f"re-armed{what} by {actor}: {reason.strip()}")
        return f"re-armed{what}{self._still_halted()}"

    def _why_not_rearm(self, scope: scopes.Scope, reason: str) -> str:
        context, name = self._context, scope.name if scope.kind == "instrument" else None
        is_all = scope.kind == scopes.ALL
        is_halted = bool(context.halted) if is_all else _key(scope) in context.halts
        orders, closing = self._execution.orders, self._execution.closing
        is_working = bool(orders.open_states(name)) or bool(
            closing if name is None else name in closing
        )
        differs = "; ".join(each.text for each in context.differences)
        against = (
            (bool(context.ledger_failure), "the ledger is down; restart the engine"),
            (bool(context.pnl.failure), f"{context.pnl.failure}; restart the engine"),
            (not reason, "re-arming needs a reason"),
            (not is_halted, "nothing is halted" if is_all else f"{_key(scope)} is not halted"),
            # The strategy's own entries were canceled; exits may well be working.
            (is_working and scope.kind != scopes.STRATEGY, "orders or closes are still working"),
            (bool(differs), f"we and the broker differ: {differs}"),
        )
        return next((text for applies, text in against if applies), "")

    def _open(self, taken: scopes.Scope, scope: str) -> None:
        if taken.kind == scopes.ALL:
            self._context.halted = ""
            self._context.halted_since_ns = 0
            self._execution.keeps_flat = None
            return
        del self._context.halts[scope]
        self._execution.flat_names.pop(taken.name, None)

    def _still_halted(self) -> str:
        left = [scopes.words(scope) for scope in self._context.halts]
        if self._context.halted:
            left.insert(0, scopes.words(scopes.ALL))
        return f"; still halted: {', '.join(left)}" if left else ""

    # --- after a restart ------------------------------------------------------------------------

    def take_over(self, past: Iterable[PastHalt]) -> None:
        """Put in force what the latches on disk say; at start, before anything is traded."""
        for halt in past:
            if halt.scope == scopes.ALL:
                self._context.halted = halt.reason or "halted"
            else:
                self._context.halts[halt.scope] = halt.reason or "halted"

    def resume(self, past: Iterable[PastHalt]) -> None:
        """Go on with the closing that a kill before this start began, or say why not.

        Orders come first: those of a paper venue died with its process, and what a venue still
        holds is canceled here before anything is sent.
        """
        held = [name for name in self._execution.desks if self._execution.account.position(name)]
        for halt in past:
            scope = scopes.parse(halt.scope)
            if scope.kind == scopes.STRATEGY:
                self._context.notify("error", f"strategy HALTED since before: {halt.reason}")
                continue
            name = scope.name or None
            names = held if name is None else [each for each in held if each == name]
            if name is not None and name not in self._execution.desks:
                continue  # another run's instrument; it stays latched
            what = scopes.words(halt.scope)
            text = f"{what} HALTED since before this start: {halt.reason}"
            why_not = self._why_not_resume(halt)
            if why_not:
                left = f"; still open: {', '.join(names)} ({why_not}; k closes it)" if names else ""
                self._context.notify("error", text + left)
                continue
            self._resume_one(halt, name, names, text)

    def _why_not_resume(self, halt: PastHalt) -> str:
        if not self._flattens:
            return "[risk] kill_flattens is off"
        if not halt.is_readable:
            return "the latch cannot be read, so nobody knows that closing was asked for"
        return "" if halt.flattens else "the halt was not one that closes positions"

    def _resume_one(self, halt: PastHalt, name: str | None, names: list[str], text: str) -> None:
        actor, why = halt.actor or "system", f"resumed after a restart: {halt.reason}"
        self._execution.cancel_orders(actor, why, name, externals=name is None)
        if name is None:
            self._execution.keeps_flat = (actor, why)
        else:
            self._execution.flat_names[name] = (actor, why)
        closing = sum(self._execution.close(each, actor, why) for each in names)
        if closing:
            try:
                self._context.write(ev.KillTripped(scope=halt.scope, actor=actor, reason=why))
            except LedgerDown:
                return  # the context has told the trader; positions stay
            text += f"; closing goes on: {', '.join(names)}"
        self._context.notify("error", text)


def _key(scope: scopes.Scope) -> str:
    return f"{scope.kind}:{scope.name}" if scope.name else scope.kind
