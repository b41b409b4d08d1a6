"""The engine: one owner of all trading state, one event at a time, no waiting inside.

Market events, time, venue reports and commands come in; ledger events go to the sink and orders
into the execution queue. It reads no clock and does no I/O: the session around it does.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from core.account import Account, QuoteAccount
from core.clock import NS_PER_MS, NS_PER_S
from core.config import Settings
from core.context import RunContext
from core.desk import Desk
from core.errors import LedgerDown
from core.execution import Execution
from core.feeds.protocol import FeedProtocol
from core.model import event as ev
from core.model.decision import Action, LimitCheck, Mode, Proposal, Verdict
from core.model.instrument import plain
from core.model.market import BookMoved, FeedStateChanged, MarketEvent, TradePrint
from core.model.order import Fill, OrderReport
from core.orders import OrderState
from core.ports import EventSink, Latch, Policy
from core.strategy import Hold, Idea, Sight, consider

LEVELS_SEEN = 20
NO_TRADE_EVERY_NS = 60 * NS_PER_S
FAILED_EXITS_MAX = 3
"""Exit orders without a fill that are followed by the next one at once; then it pauses."""
LOSS_LOOKS = 3
"""Looks at the marks, a second apart, that must all be over the daily loss limit."""


class EngineSetup(msgspec.Struct, frozen=True):
    """Everything an engine is made of; built in the composition root."""

    protocol: FeedProtocol
    settings: Settings
    mode: Mode
    sink: EventSink
    latch: Latch
    run_id: str
    fee_bps: Decimal
    """Taker fee of the venue."""
    policy: Policy | None = None
    fills: tuple[Fill, ...] = ()
    """Fills of this venue from the ledger, oldest first."""
    halted: str = ""
    """Why the latch is set at start; empty when it is not."""


class Pending(msgspec.Struct, frozen=True):
    """A proposal waiting for an answer, and its sequence number in the ledger."""

    proposal: Proposal
    seq: int


class Engine:
    """Deterministic core of a run; see the module docstring."""

    def __init__(self, setup: EngineSetup) -> None:
        self.settings = setup.settings
        self.mode = setup.mode
        self.fee_bps = setup.fee_bps
        self.protocol = setup.protocol
        self.latch = setup.latch
        feeds = setup.protocol.instruments
        self.context = RunContext(setup.run_id, setup.sink, setup.halted)
        self.desks = [Desk(i, feed, setup.settings, setup.policy) for i, feed in enumerate(feeds)]
        self.by_name = {desk.instrument.name: desk for desk in self.desks}
        self.account = Account(feeds, setup.fills)
        self.execution = Execution(self.context, self.by_name, self.account, setup.settings.risk)
        self.pending: dict[str, Pending] = {}
        self.holds: dict[str, Hold] = {}
        """Why there is no proposal now, by instrument."""
        self._cadence_ns = setup.settings.strategy.cadence_ms * NS_PER_MS
        self._cooldown_ns = int(setup.settings.strategy.cooldown_s * NS_PER_S)
        self._next_cadence_ns: int | None = None
        self._next_curve_ns = 0
        self._has_latched = False
        self._looks_over: dict[str, int] = {}
        self._started_ns = 0
        self._no_entry_until: dict[str, int] = {}
        self._no_exit_until: dict[str, int] = {}
        self._no_proposal_until: dict[str, int] = {}
        self._no_trade: dict[str, tuple[str, int]] = {}

    # --- time -----------------------------------------------------------------------------------

    def next_due_ns(self) -> int | None:
        """Return when ``advance`` has something to do next, or None before the first event."""
        if self._next_cadence_ns is None:
            return None
        times = [self._next_cadence_ns]
        times += [pending.proposal.expires_ns for pending in self.pending.values()]
        return min(times)

    def start_clock(self, now_ns: int) -> None:
        """Set engine time without thinking about what lies between; at start and after silence."""
        self.context.move_to(now_ns)
        self._started_ns = self._started_ns or self.context.now_ns
        self._next_cadence_ns = (self.context.now_ns // self._cadence_ns + 1) * self._cadence_ns

    def advance(self, now_ns: int) -> None:
        """Do what is due at ``now_ns``: expire proposals, go on closing, think."""
        self.context.move_to(now_ns)
        now_ns = self.context.now_ns
        if self.context.ledger_failure and not self._has_latched:
            self._latch_without_ledger()
        for pending in list(self.pending.values()):
            if pending.proposal.expires_ns <= now_ns:
                self._answer(pending, Verdict.EXPIRED, "system", "not answered in time")
        if self._next_cadence_ns is None or now_ns < self._next_cadence_ns:
            return
        self._next_cadence_ns += self._cadence_ns
        self.execution.step_silence()
        for name in list(self.execution.closing):
            self.execution.step_closing(name)
        for desk in self.desks:
            self._think(desk)
        if now_ns >= self._next_curve_ns and not self.context.hold_back:
            self._next_curve_ns = now_ns + NS_PER_S
            for money in self.account.by_quote.values():
                money.sample_curve()
                self._watch_losses(money)

    def _watch_losses(self, money: QuoteAccount) -> None:
        """Kill when the day's loss in one currency reached its limit; once a second.

        What is realized counts at once; a mark must stand ``LOSS_LOOKS`` looks, for one bad quote
        is not a loss. Re-armed on the same day with the loss still there, it kills again.
        """
        limit = -self.settings.risk.max_daily_loss
        today = money.today(self.context.now_ns)
        is_over = today is not None and today <= limit
        looks = self._looks_over.get(money.quote, 0) + 1 if is_over else 0
        self._looks_over[money.quote] = looks
        realized = money.realized_today(self.context.now_ns)
        if not self.context.halted and (realized <= limit or looks >= LOSS_LOOKS):
            lost = f"{plain(realized if today is None else today)} {money.quote}"
            self.kill_all("system", f"daily loss {lost} reached its limit {plain(limit)}")

    def _latch_without_ledger(self) -> None:
        """The ledger is gone: latch, cancel; positions stay, for closing them needs a ledger."""
        self._has_latched = True
        self.latch.trip(self.context.halted, "system", self.context.stamp_ns)
        self.execution.cancel_orders("system", "no ledger")
        for name in self.by_name:
            self._withdraw(name, "no ledger")

    # --- in -------------------------------------------------------------------------------------

    def on_market(self, event: MarketEvent) -> None:
        """Take one market event; books are already current."""
        self.context.move_to(event.ts_recv_ns)
        if self._next_cadence_ns is None:
            self.start_clock(event.ts_recv_ns)
        desk = self.desks[event.instrument]
        match event:
            case BookMoved():
                desk.on_book(event)
            case TradePrint():
                desk.on_trade(event)
            case FeedStateChanged():
                self._on_feed_state(desk, event)

    def _on_feed_state(self, desk: Desk, event: FeedStateChanged) -> None:
        name = desk.instrument.name
        self.context.journal(
            ev.FeedChanged(instrument=name, state=event.state, reason=event.reason)
        )
        if not desk.is_live:
            desk.on_doubt()
            self._withdraw(name, f"feed {event.state.value}: {event.reason}")

    def on_report(self, report: OrderReport) -> None:
        """Take what the venue said about one of our orders."""
        known = self.execution.orders.states.get(report.client_order_id)
        was_open = known is not None and not known.status.is_closed
        self.execution.on_report(report)
        state = self.execution.orders.states[report.client_order_id]
        if was_open or report.fill is not None:
            self._pause_after(state)

    def _pause_after(self, state: OrderState) -> None:
        """Hold back the next entry, and exits that fail again and again."""
        name, now_ns = state.order.instrument, self.context.now_ns
        self._no_entry_until[name] = now_ns + self._cooldown_ns
        failed = self.execution.failed_exits.get(name, 0)
        if not state.order.reduces or not state.status.is_closed or failed < FAILED_EXITS_MAX:
            return
        self._no_exit_until[name] = now_ns + max(self._cooldown_ns, NS_PER_S)
        if failed == FAILED_EXITS_MAX:
            text = f"{name}: {failed} exits in a row found no fill: {state.reason}"
            self.context.notify("error", text)

    # --- thinking -------------------------------------------------------------------------------

    def _think(self, desk: Desk) -> None:
        desk.think(self.context.now_ns, self._position_fraction(desk))
        hold = self._stand_aside(desk)
        if hold is None:
            seen = consider(self._sight(desk), self.settings.strategy)
            try:
                hold = seen if isinstance(seen, Hold) else self._propose(desk, seen)
            except LedgerDown as error:
                hold = Hold("ledger", f"no ledger: {error}")
        if hold is None:
            self.holds.pop(desk.instrument.name, None)
        else:
            self.holds[desk.instrument.name] = hold
            self._note_no_trade(desk, hold)

    def _stand_aside(self, desk: Desk) -> Hold | None:
        """Return why the strategy is not even asked, or None."""
        name = desk.instrument.name
        pause_ns = self._pause_ns(name)
        reasons = (
            (self.mode is Mode.OBSERVE, "observe", "observe mode: no proposals"),
            (bool(self.context.halted), "halted", f"halted: {self.context.halted}"),
            (bool(self.context.hold_back), "hold_back", self.context.hold_back),
            (not desk.is_live, "feed", f"feed {desk.feed.state.value}: {desk.feed.reason}"),
            (desk.forecast is None, "warming", "warming up: too few seconds of book yet"),
            (name in self.pending, "pending", ""),
            (name in self.execution.closing, "closing", "closing the position"),
            (bool(self.execution.orders.open_states(name)), "working", "an order is working"),
            (pause_ns > 0, "pause", f"pausing {pause_ns / NS_PER_S:.0f} s after the last one"),
        )
        return next((Hold(code, text) for applies, code, text in reasons if applies), None)

    def _pause_ns(self, name: str) -> int:
        """Return how long no proposal is made; what was turned down is not asked again at once.

        Exits are never slower than entries: a trade holds back new risk only. Exits that fail
        again and again are not sent without end.
        """
        held = self.account.position(name) != 0
        pauses = self._no_exit_until if held else self._no_entry_until
        until_ns = max(self._no_proposal_until.get(name, 0), pauses.get(name, 0))
        return until_ns - self.context.now_ns

    def _held_ns(self, opened_ns: int) -> int:
        """Return how long a position is held.

        One that a faster clock opened in what is now the future is as old as this run.
        """
        now_ns = self.context.now_ns
        if not opened_ns:
            return 0
        return now_ns - (opened_ns if opened_ns <= now_ns else self._started_ns)

    def _sight(self, desk: Desk) -> Sight:
        book = self.account.books[desk.instrument.name]
        forecast = desk.forecast
        assert forecast is not None
        return Sight(
            instrument=desk.instrument,
            bids=desk.feed.book.bids(LEVELS_SEEN),
            asks=desk.feed.book.asks(LEVELS_SEEN),
            forecast=forecast,
            agent=desk.agent,
            volatility_bucket=desk.bucket,
            position_lots=book.position_lots,
            held_ns=self._held_ns(book.opened_ns),
            fee_bps=float(self.fee_bps),
        )

    def _position_fraction(self, desk: Desk) -> float:
        """Return the position over one order's notional, in [-1, 1]: what the agent was taught."""
        name = desk.instrument.name
        lots = self.account.position(name)
        mark2 = self.account.mark2(name) if lots else None
        if mark2 is None:
            return 0.0
        value = float(desk.instrument.notional(mark2, lots)) / 2
        return max(-1.0, min(1.0, value / float(self.settings.strategy.order_notional)))

    def _note_no_trade(self, desk: Desk, hold: Hold) -> None:
        """Record a wanted trade that a rule refused, when the reason is new or a minute old."""
        name, forecast = desk.instrument.name, desk.forecast
        code, since = self._no_trade.get(name, ("", 0))
        is_old = self.context.now_ns - since >= NO_TRADE_EVERY_NS
        if not hold.is_wanted or forecast is None or (hold.code == code and not is_old):
            return
        self._no_trade[name] = (hold.code, self.context.now_ns)
        self.context.journal(
            ev.NotDecided(
                instrument=name,
                reason=f"{hold.code}: {hold.text}",
                p_up=forecast.p_up,
                horizon_s=forecast.horizon_s,
                edge_bps=hold.edge_bps,
                cost_bps=hold.cost_bps,
            )
        )

    # --- proposals ------------------------------------------------------------------------------

    def _propose(self, desk: Desk, idea: Idea) -> Hold | None:
        name = desk.instrument.name
        order = self.execution.order(
            name, idea.side, idea.qty_lots, idea.limit_ticks, reduces=idea.action is Action.EXIT
        )
        verdict = self.execution.gate(order)
        if not verdict.allowed:
            return Hold(verdict.code, verdict.why, True, idea.edge_bps, idea.cost_bps)
        proposal = self._proposal(desk, idea, verdict.checks)
        seq = self.context.write(ev.Decided(proposal=proposal, mode=self.mode))
        self.execution.remember(proposal.decision_id, proposal.rationale)
        self.pending[name] = Pending(proposal, seq)
        if self.mode is Mode.AUTO:
            self._answer(self.pending[name], Verdict.APPROVED, "mode:auto")
        return None

    def _proposal(self, desk: Desk, idea: Idea, checks: tuple[LimitCheck, ...]) -> Proposal:
        bid, ask, forecast = desk.feed.book.best_bid, desk.feed.book.best_ask, desk.forecast
        assert bid is not None
        assert ask is not None
        assert forecast is not None
        now_ns = self.context.now_ns
        return Proposal(
            decision_id=self.context.new_id("d"),
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
            expires_ns=now_ns + int(self.settings.strategy.proposal_life_s * NS_PER_S),
            rationale=idea.rationale,
        )

    def drift_ticks(self, proposal: Proposal) -> float:
        """Return the mid now minus the mid at the decision; positive is against the proposal."""
        mark2 = self.account.mark2(proposal.instrument)
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
            waited_ns=self.context.now_ns - proposal.made_ns,
            drift_ticks=self.drift_ticks(proposal),
            note=note,
        )
        if verdict is not Verdict.APPROVED:
            until_ns = self.context.now_ns + self._cooldown_ns
            self._no_proposal_until[proposal.instrument] = until_ns
            self.context.journal(answered, pending.seq)
            return f"{proposal.decision_id} {verdict.value}" + (f": {note}" if note else "")
        seq = self.context.write(answered, pending.seq)
        order = self.execution.order(
            proposal.instrument, proposal.side, proposal.qty_lots, proposal.limit_ticks,
            reduces=proposal.action is Action.EXIT,
        )  # fmt: skip
        return self.execution.send(order, proposal.decision_id, seq)

    def _withdraw(self, name: str, why: str) -> None:
        pending = self.pending.get(name)
        if pending is not None:
            self._answer(pending, Verdict.WITHDRAWN, "system", why)

    # --- the trader's words ---------------------------------------------------------------------

    def answer(self, decision_id: str, verdict: Verdict, actor: str, note: str = "") -> str:
        """Answer a waiting proposal.

        Errors: ``ValueError`` if it does not wait any more; ``LedgerDown``.
        """
        for pending in self.pending.values():
            if pending.proposal.decision_id == decision_id:
                return self._answer(pending, verdict, actor, note)
        raise ValueError(f"{decision_id} does not wait for an answer (any more)")

    def cancel_order(self, client_order_id: str, actor: str) -> str:
        """Cancel one open order. Errors: ``ValueError`` if it is not open."""
        if not self.execution.cancel_order(client_order_id, actor, "canceled by hand"):
            raise ValueError(f"{client_order_id} is not open")
        return f"{client_order_id}: cancel on its way"

    def close_trade(self, name: str, actor: str, why: str) -> str:
        """Withdraw the proposal, cancel the orders and close the position of one instrument.

        Errors: ``ValueError`` for an unknown instrument.
        """
        if name not in self.by_name:
            raise ValueError(f"{name} is not traded in this run")
        self._withdraw(name, why)
        self.context.journal(ev.KillTripped(scope=name, actor=actor, reason=why))
        canceled = self.execution.cancel_orders(actor, why, name)
        closing = self.execution.close(name, actor, why)
        end = "closing the position" if closing else "no position to close"
        return f"{name}: {canceled} orders canceled, {end}{self._if_no_ledger()}"

    def kill_all(self, actor: str, why: str) -> str:
        """Close the gate, latch it on disk, cancel every order, close every position.

        Nothing before the cancels can fail: the ledger is told after them.
        """
        self.context.halted = why or "killed"
        self.context.halted_since_ns = self.context.stamp_ns
        durable = self.latch.trip(self.context.halted, actor, self.context.stamp_ns)
        canceled = self.execution.cancel_orders(actor, why)
        self.context.journal(ev.KillTripped(scope="all", actor=actor, reason=why))
        for name in self.by_name:
            self._withdraw(name, why)
        flattens = self.settings.risk.kill_flattens
        self.execution.keeps_flat = (actor, why) if flattens else None
        closing = self.flatten(actor, why) if flattens else 0
        text = f"KILLED by {actor} ({why}): {canceled} orders canceled, {closing} closing"
        text += self._if_no_ledger()
        if not durable:
            text += "; the latch could NOT be written to disk"
        self.context.notify("error", text)
        return text

    def flatten(self, actor: str, why: str) -> int:
        """Start closing every position; return how many."""
        return sum(self.execution.close(name, actor, why) for name in self.by_name)

    def _if_no_ledger(self) -> str:
        """Return the warning that positions stay: closing is trading, and needs a ledger."""
        return "; NO LEDGER: positions stay open" if self.context.ledger_failure else ""

    def rearm(self, actor: str, reason: str) -> str:
        """Open the gate again. Errors: ``ValueError`` saying what stands against it."""
        if self.context.ledger_failure:
            raise ValueError("the ledger is down; restart the engine")
        if not reason.strip():
            raise ValueError("re-arming needs a reason")
        if not self.context.halted:
            raise ValueError("nothing is halted")
        if self.execution.orders.open_states() or self.execution.closing:
            raise ValueError("orders or closes are still working")
        self.context.write(ev.Rearmed(actor=actor, reason=reason.strip()))
        try:
            self.latch.rearm()
        except OSError as error:
            raise ValueError(f"the latch cannot be removed: {error.strerror}") from error
        self.context.halted = ""
        self.context.halted_since_ns = 0
        self.execution.keeps_flat = None
        self.context.notify("warning", f"re-armed by {actor}: {reason.strip()}")
        return "re-armed"

    def set_mode(self, mode: Mode, actor: str) -> str:
        """Change the mode; open proposals are withdrawn."""
        for name in list(self.pending):
            self._withdraw(name, f"mode changed to {mode.value}")
        self.mode = mode
        self.context.journal(ev.ModeChanged(mode=mode, actor=actor))
        return f"mode is {mode.value}"
