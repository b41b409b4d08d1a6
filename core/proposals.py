"""Proposals: from an idea that passed the gate to its answer. One waits per instrument.

Each is in the ledger before anybody sees it, and ends exactly once: approved, rejected, expired or
withdrawn. An approved one becomes an order through the gate.
"""

from __future__ import annotations

import msgspec

from core.account import Account
from core.clock import NS_PER_S
from core.config import StrategySettings
from core.context import RunContext
from core.desk import Desk
from core.execution import Execution
from core.model import event as ev
from core.model.decision import Action, LimitCheck, Mode, Proposal, Verdict
from core.pauses import Pauses
from core.strategy import Hold, Idea

NO_TRADE_EVERY_NS = 60 * NS_PER_S


class Pending(msgspec.Struct, frozen=True):
    """A proposal waiting for an answer, and its sequence number in the ledger."""

    proposal: Proposal
    seq: int


class Proposals:
    """The proposals of one run; see the module docstring."""

    def __init__(
        self,
        context: RunContext,
        execution: Execution,
        account: Account,
        pauses: Pauses,
        settings: StrategySettings,
    ) -> None:
        self.pending: dict[str, Pending] = {}
        self._context = context
        self._execution = execution
        self._account = account
        self._pauses = pauses
        self._life_ns = int(settings.proposal_life_s * NS_PER_S)
        self._no_trade: dict[str, tuple[str, int]] = {}

    def next_expiry_ns(self) -> int | None:
        """Return when the next proposal lapses, or None when none waits."""
        if not self.pending:
            return None
        return min((each.proposal.expires_ns for each in self.pending.values()), default=None)

    def expire(self) -> None:
        """End what was not answered in time."""
        for pending in list(self.pending.values()):
            if pending.proposal.expires_ns <= self._context.now_ns:
                self._answer(pending, Verdict.EXPIRED, "system", "not answered in time")

    def note_no_trade(self, desk: Desk, hold: Hold) -> None:
        """Record a wanted trade that a rule refused, when the reason is new or a minute old."""
        name, forecast = desk.instrument.name, desk.forecast
        code, since = self._no_trade.get(name, ("", 0))
        is_old = self._context.now_ns - since >= NO_TRADE_EVERY_NS
        if not hold.is_wanted or forecast is None or (hold.code == code and not is_old):
            return
        self._no_trade[name] = (hold.code, self._context.now_ns)
        self._context.journal(
            ev.NotDecided(
                instrument=name,
                reason=f"{hold.code}: {hold.text}",
                p_up=forecast.p_up,
                horizon_s=forecast.horizon_s,
                edge_bps=hold.edge_bps,
                cost_bps=hold.cost_bps,
            )
        )

    def propose(self, desk: Desk, idea: Idea, mode: Mode) -> Hold | None:
        """Propose ``idea``, or return why the gate refused it. Errors: ``LedgerDown``."""
        name = desk.instrument.name
        order = self._execution.order(
            name, idea.side, idea.qty_lots, idea.limit_ticks, reduces=idea.action is Action.EXIT
        )
        verdict = self._execution.gate(order)
        if not verdict.allowed:
            return Hold(verdict.code, verdict.why, True, idea.edge_bps, idea.cost_bps)
        proposal = self._proposal(desk, idea, verdict.checks)
        self._context.strategy_decisions.append(proposal.decision_id)
        seq = self._context.write(ev.Decided(proposal=proposal, mode=mode))
        self._execution.remember(proposal.decision_id, proposal.rationale)
        self.pending[name] = Pending(proposal, seq)
        if mode is Mode.AUTO:
            self._answer(self.pending[name], Verdict.APPROVED, "mode:auto")
        return None

    def _proposal(self, desk: Desk, idea: Idea, checks: tuple[LimitCheck, ...]) -> Proposal:
        bid, ask, forecast = desk.feed.book.best_bid, desk.feed.book.best_ask, desk.forecast
        assert bid is not None
        assert ask is not None
        assert forecast is not None
        now_ns = self._context.now_ns
        return Proposal(
            decision_id=self._context.new_id("d"),
            instrument=desk.instrument.name,
            action=idea.action,
            side=idea.side,
            qty_lots=idea.qty_lots,
            limit_ticks=idea.limit_ticks,
            mid2_ticks=bid[0] + ask[0],
            forecast=forecast,
            agent=desk.agent,
            edge_bps=idea.edge_bps,
            cost_bps=idea.cost_bps,
            checks=checks,
            made_ns=now_ns,
            expires_ns=now_ns + self._life_ns,
            rationale=idea.rationale,
        )

    def drift_ticks(self, proposal: Proposal) -> float:
        """Return the mid now minus the mid at the decision; positive is against the proposal."""
        mark2 = self._account.mark2(proposal.instrument)
        if mark2 is None:
            return 0.0
        return proposal.side.sign * (mark2 - proposal.mid2_ticks) / 2

    def _answer(self, pending: Pending, verdict: Verdict, actor: str, note: str = "") -> str:
        """End a proposal; an approved one goes to the gate. Return what happened in words."""
        proposal = pending.proposal
        del self.pending[proposal.instrument]
        answered = ev.Answered(
            decision_id=proposal.decision_id,
            verdict=verdict,
            actor=actor,
            waited_ns=self._context.now_ns - proposal.made_ns,
            drift_ticks=self.drift_ticks(proposal),
            note=note,
        )
        if verdict is not Verdict.APPROVED:
            self._pauses.after_refusal(proposal.instrument, self._context.now_ns)
            self._context.journal(answered, pending.seq)
            return f"{proposal.decision_id} {verdict.value}" + (f": {note}" if note else "")
        seq = self._context.write(answered, pending.seq)
        order = self._execution.order(
            proposal.instrument, proposal.side, proposal.qty_lots, proposal.limit_ticks,
            reduces=proposal.action is Action.EXIT,
        )  # fmt: skip
        return self._execution.send(order, proposal.decision_id, seq)

    def withdraw(self, name: str, why: str) -> None:
        """Take back what waits for an instrument, if anything does."""
        pending = self.pending.get(name)
        if pending is not None:
            self._answer(pending, Verdict.WITHDRAWN, "system", why)

    def answer(self, decision_id: str, verdict: Verdict, actor: str, note: str = "") -> str:
        """Answer a waiting proposal.

        Errors: ``ValueError`` if it does not wait any more; ``LedgerDown``.
        """
        for pending in self.pending.values():
            if pending.proposal.decision_id == decision_id:
                return self._answer(pending, verdict, actor, note)
        raise ValueError(f"{decision_id} does not wait for an answer (any more)")
