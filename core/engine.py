"""The engine: one owner of all trading state, one event at a time, no waiting inside.

Market events, time, venue reports and commands come in; ledger events go to the sink and orders
into the execution queue. It reads no clock and does no I/O: the session around it does.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from core.account import Account
from core.clock import NS_PER_MS, NS_PER_S
from core.config import Settings
from core.context import RunContext
from core.desk import Desk
from core.errors import LedgerDown
from core.execution import Execution
from core.feeds.protocol import FeedProtocol
from core.losses import LossWatch
from core.model import event as ev
from core.model.decision import Mode
from core.model.market import FeedStateChanged, MarketEvent
from core.model.order import Fill, OrderReport
from core.orders import OrderState
from core.pauses import FAILED_EXITS_MAX, Pauses
from core.ports import EventSink, Latch, Policy
from core.proposals import Proposals
from core.strategy import Hold, Sight, consider

LEVELS_SEEN = 20


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
    fees_by_venue: dict[str, Decimal] = {}
    """Of a run on several venues: the taker fee of each."""
    policy: Policy | None = None
    fills: tuple[Fill, ...] = ()
    """Fills of this venue from the ledger, oldest first."""
    halted: str = ""
    """Why the latch is set at start; empty when it is not."""


class Engine:
    """Deterministic core of a run; see the module docstring."""

    def __init__(self, setup: EngineSetup) -> None:
        self.settings = setup.settings
        self.mode = setup.mode
        self.fee_bps = setup.fee_bps
        self.fees_by_venue = setup.fees_by_venue
        self.protocol = setup.protocol
        self.latch = setup.latch
        feeds = setup.protocol.instruments
        self.context = RunContext(setup.run_id, setup.sink, setup.halted)
        self.desks = [Desk(i, feed, setup.settings, setup.policy) for i, feed in enumerate(feeds)]
        self.by_name = {desk.instrument.name: desk for desk in self.desks}
        self.account = Account(feeds, setup.fills)
        self.execution = Execution(self.context, self.by_name, self.account, setup.settings.risk)
        self.pauses = Pauses(int(setup.settings.strategy.cooldown_s * NS_PER_S))
        self.proposals = Proposals(
            self.context, self.execution, self.account, self.pauses, setup.settings.strategy
        )
        self.holds: dict[str, Hold] = {}
        """Why there is no proposal now, by instrument."""
        self._cadence_ns = setup.settings.strategy.cadence_ms * NS_PER_MS
        self._next_cadence_ns: int | None = None
        self._next_curve_ns = 0
        self._has_latched = False
        self._losses = LossWatch(setup.settings.risk.max_daily_loss)
        self._started_ns = 0

    # --- time -----------------------------------------------------------------------------------

    def next_due_ns(self) -> int | None:
        """Return when ``advance`` has something to do next, or None before the first event."""
        if self._next_cadence_ns is None:
            return None
        expiry_ns = self.proposals.next_expiry_ns()
        return self._next_cadence_ns if expiry_ns is None else min(self._next_cadence_ns, expiry_ns)

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
        self.proposals.expire()
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
                why = self._losses.look(money, now_ns)
                if why and not self.context.halted:
                    self.kill_all("system", why)

    def _latch_without_ledger(self) -> None:
        """The ledger is gone: latch, cancel; positions stay, for closing them needs a ledger."""
        self._has_latched = True
        self.latch.trip(self.context.halted, "system", self.context.stamp_ns)
        self.execution.cancel_orders("system", "no ledger")
        for name in self.by_name:
            self.proposals.withdraw(name, "no ledger")

    # --- in -------------------------------------------------------------------------------------

    def on_market(self, event: MarketEvent) -> None:
        """Take one market event; books are already current."""
        self.context.move_to(event.ts_recv_ns)
        if self._next_cadence_ns is None:
            self.start_clock(event.ts_recv_ns)
        if isinstance(event, FeedStateChanged):
            self._on_feed_state(self.desks[event.instrument], event)

    def _on_feed_state(self, desk: Desk, event: FeedStateChanged) -> None:
        name = desk.instrument.name
        self.context.journal(
            ev.FeedChanged(instrument=name, state=event.state, reason=event.reason)
        )
        if not desk.is_live:
            desk.on_doubt()
            self.proposals.withdraw(name, f"feed {event.state.value}: {event.reason}")

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
        self.pauses.after_trade(name, now_ns)
        failed = self.execution.failed_exits.get(name, 0)
        if not state.order.reduces or not state.status.is_closed or failed < FAILED_EXITS_MAX:
            return
        self.pauses.after_failed_exit(name, now_ns)
        if failed == FAILED_EXITS_MAX:
            text = f"{name}: {failed} exits in a row found no fill: {state.reason}"
            self.context.notify("error", text)

    # --- thinking -------------------------------------------------------------------------------

    def _think(self, desk: Desk) -> None:
        turn = desk.clock.look(int(desk.row["ts_event_ns"]), int(desk.row["ts_recv_ns"]))
        if turn:
            self.context.notify("warning", f"{desk.instrument.name}: {turn}")
        desk.think(self.context.now_ns, self._position_fraction(desk))
        hold = self._stand_aside(desk)
        if hold is None:
            seen = consider(self._sight(desk), self.settings.strategy)
            try:
                hold = (
                    seen
                    if isinstance(seen, Hold)
                    else self.proposals.propose(desk, seen, self.mode)
                )
            except LedgerDown as error:
                hold = Hold("ledger", f"no ledger: {error}")
        if hold is None:
            self.holds.pop(desk.instrument.name, None)
        else:
            self.holds[desk.instrument.name] = hold
            self.proposals.note_no_trade(desk, hold)

    def _stand_aside(self, desk: Desk) -> Hold | None:
        """Return why the strategy is not even asked, or None."""
        name = desk.instrument.name
        is_held = self.account.position(name) != 0
        pause_ns = self.pauses.left_ns(name, self.context.now_ns, is_held=is_held)
        reasons = (
            (self.mode is Mode.OBSERVE, "observe", "observe mode: no proposals"),
            (bool(self.context.halted), "halted", f"halted: {self.context.halted}"),
            (bool(self.context.hold_back), "hold_back", self.context.hold_back),
            (not desk.is_live, "feed", f"feed {desk.feed.state.value}: {desk.feed.reason}"),
            (bool(desk.clock.doubt) and not is_held, "clock", desk.clock.doubt),
            (desk.forecast is None, "warming", "warming up: too few seconds of book yet"),
            (name in self.proposals.pending, "pending", ""),
            (name in self.execution.closing, "closing", "closing the position"),
            (bool(self.execution.orders.open_states(name)), "working", "an order is working"),
            (pause_ns > 0, "pause", f"pausing {pause_ns / NS_PER_S:.0f} s after the last one"),
        )
        return next((Hold(code, text) for applies, code, text in reasons if applies), None)

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
            fee_bps=float(self.fees_by_venue.get(desk.instrument.venue, self.fee_bps)),
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

    # --- the trader's words ---------------------------------------------------------------------

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
        self.proposals.withdraw(name, why)
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
            self.proposals.withdraw(name, why)
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
        for name in list(self.proposals.pending):
            self.proposals.withdraw(name, f"mode changed to {mode.value}")
        self.mode = mode
        self.context.journal(ev.ModeChanged(mode=mode, actor=actor))
        return f"mode is {mode.value}"
