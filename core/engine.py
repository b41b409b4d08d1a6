"""The engine: one owner of all trading state, one event at a time, no waiting inside.

Market events, time, venue reports and commands come in; ledger events go to the sink and orders
into the execution queue. It reads no clock and does no I/O: the session around it does.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from core import scopes
from core.account import DAY_NS, Account
from core.attached import AttachedExits
from core.clock import NS_PER_MS, NS_PER_S, earliest
from core.config import Settings
from core.context import RunContext
from core.desk import Desk
from core.errors import LedgerDown
from core.execution import Execution
from core.feeds.protocol import FeedProtocol
from core.kill import KillSwitch
from core.limits.size import size_share
from core.model import event as ev
from core.model.decision import Action, Mode
from core.model.lot import LotMethod
from core.model.market import FeedStateChanged, MarketEvent, TradePrint
from core.model.order import Fill, OrderReport
from core.model.transfer import Spent, Transfer
from core.order_state import OrderState
from core.pauses import FAILED_EXITS_MAX, Pauses
from core.points import DecisionPoints, Weighed
from core.ports import EventSink, Latch, Policy
from core.positions import Positions
from core.proposals import Proposals
from core.reconcile import Reconciler
from core.strategy import Hold, Idea, Sight, consider

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
    fills: tuple[Fill | Transfer | Spent, ...] = ()
    """Fills of this venue from the ledger, oldest first, with the transfers between them."""
    exits: dict[str, ev.ExitsSet] = {}
    """The last EXITS of each open position in the ledger, by instrument."""
    day_marked: ev.DayMarked | None = None
    """The last midnight in the ledger."""
    halted: str = ""
    """Why the latch is set at start; empty when it is not."""
    records_points: bool = False
    """Whether every decision point goes to the ledger; a backtest keeps its own account."""


class Engine:
    """Deterministic core of a run; see the module docstring."""

    def __init__(self, setup: EngineSetup) -> None:
        self.settings = setup.settings
        self.mode = setup.mode
        self.fee_bps = setup.fee_bps
        self.fees_by_venue = setup.fees_by_venue
        self.protocol = setup.protocol
        feeds = setup.protocol.instruments
        self.context = RunContext(setup.run_id, setup.sink, setup.halted)
        self.desks = [Desk(i, feed, setup.settings, setup.policy) for i, feed in enumerate(feeds)]
        self.by_name = {desk.instrument.name: desk for desk in self.desks}
        lot_method = LotMethod(setup.settings.tax.lot_method)
        self.account = Account(feeds, setup.fills, lot_method)
        self.execution = Execution(
            self.context, self.by_name, self.account, setup.settings.risk, setup.settings.slippage
        )
        self.execution.note_booked(each for each in setup.fills if isinstance(each, Fill))
        self.pauses = Pauses(int(setup.settings.strategy.cooldown_s * NS_PER_S))
        self.proposals = Proposals(
            self.context, self.execution, self.account, self.pauses, setup.settings.strategy
        )
        self.kills = KillSwitch(
            self.context, self.execution, self.proposals, setup.latch,
            flattens=setup.settings.risk.kill_flattens,
        )  # fmt: skip
        self.exits = AttachedExits(
            self.context, self.by_name, self.account, self.execution,
            self.proposals.withdraw, setup.settings.exits,
        )  # fmt: skip
        self.exits.restore(setup.fills, setup.exits)
        self.execution.on_booked = self.exits.after_fill
        self.positions = Positions(
            self.context, self.by_name, self.account, self.execution,
            self.proposals, setup.settings,
        )  # fmt: skip
        self.holds: dict[str, Hold] = {}
        """Why there is no proposal now, by instrument."""
        self.points = DecisionPoints(self.context, self.execution, setup.settings.strategy)
        self._records_points = setup.records_points
        self._cadence_ns = setup.settings.strategy.cadence_ms * NS_PER_MS
        self._next_cadence_ns: int | None = None
        self._next_curve_ns = 0
        self.reconciler: Reconciler | None = None
        """Compares us with the broker; set by the session, which has one."""
        self._has_latched = False
        self._has_lost_money = False
        self._started_ns = 0
        self._day_marked = setup.day_marked

    # --- time -----------------------------------------------------------------------------------

    def next_due_ns(self) -> int | None:
        """Return when ``advance`` has something to do next, or None before the first event."""
        cadence_ns = self._next_cadence_ns
        if cadence_ns is None:
            return None
        costs_ns = self.execution.costs.next_due_ns()
        return earliest(cadence_ns, self.proposals.next_expiry_ns(), costs_ns)

    def start_clock(self, now_ns: int) -> None:
        """Set engine time without thinking about what lies between; at start and after silence."""
        self.context.move_to(now_ns)
        if not self._started_ns:
            self._started_ns = self.context.now_ns
            marked = self._day_marked
            is_ours = marked is not None and (
                (marked.day, marked.instruments)
                == (self._started_ns // DAY_NS, self._instruments())
            )
            self.account.start_run(
                self._started_ns, marked.unrealized if marked and is_ours else {}
            )
        self._next_cadence_ns = (self.context.now_ns // self._cadence_ns + 1) * self._cadence_ns

    def advance(self, now_ns: int) -> None:
        """Do what is due at ``now_ns``: mark out, expire proposals, go on closing, think."""
        self.context.move_to(now_ns)
        now_ns = self.context.now_ns
        if self.context.ledger_failure and not self._has_latched:
            self._has_latched = True
            self.kills.latch_without_ledger()
        self.execution.costs.advance()
        self.proposals.expire()
        if self._next_cadence_ns is None or now_ns < self._next_cadence_ns:
            return
        self._next_cadence_ns += self._cadence_ns
        self.account.keep_marks()
        self.context.pnl.ask(self._mark_midnight, None)
        self.execution.step_silence()
        if self.reconciler is not None:
            self.reconciler.step()
        self._halt_without_money()
        for name in list(self.execution.closing) if not self.context.hold_back else ():
            self.execution.step_closing(name)
        self.exits.step()
        self.positions.step(self.mode)
        for desk in self.desks:
            self._think(desk)
        if now_ns >= self._next_curve_ns and not self.context.hold_back:
            self._next_curve_ns = now_ns + NS_PER_S
            why = self.context.pnl.ask(self._watch_money, "")
            if why and not self.context.halted:
                self.kill_all("system", why)

    def _mark_midnight(self) -> None:
        """Write down what open positions are worth as a day begins: the day counts from there."""
        unrealized = self.account.take_midnight(self.context.now_ns)
        if unrealized is not None:
            day = self.context.now_ns // DAY_NS
            self.context.journal(ev.DayMarked(day, self._instruments(), unrealized))

    def _instruments(self) -> tuple[str, ...]:
        return tuple(f"{desk.instrument.venue}:{name}" for name, desk in self.by_name.items())

    def _watch_money(self) -> str:
        """Sample the curves; return which loss limit is reached, if any."""
        reached = ""
        for money in self.account.by_quote.values():
            money.sample_curve()
            reached = reached or self.execution.guard.losses.look(money, self.context.now_ns)
        return reached

    def _halt_without_money(self) -> None:
        """Profit cannot be counted any more: nothing new, and what is open is closed."""
        if self.account.counting.failure:
            self.context.pnl.fail(self.account.counting)
        if self.context.pnl.failure and not self._has_lost_money:
            self._has_lost_money = True
            self.kill_all("system", self.context.pnl.failure)

    def can_trade(self) -> bool:
        """Return whether an order could leave: before, silence of the loop means nothing."""
        if self.context.hold_back:
            return False
        orders, closing = self.execution.orders.states, self.execution.closing
        return bool(orders or closing) or any(desk.forecast is not None for desk in self.desks)

    # --- in -------------------------------------------------------------------------------------

    def on_market(self, event: MarketEvent) -> None:
        """Take one market event; books are already current."""
        self.context.move_to(event.ts_recv_ns)
        if self._next_cadence_ns is None:
            self.start_clock(event.ts_recv_ns)
        if isinstance(event, FeedStateChanged):
            self._on_feed_state(self.desks[event.instrument], event)
        if self.exits.held and not isinstance(event, TradePrint):
            self.exits.look(self.desks[event.instrument])

    def _on_feed_state(self, desk: Desk, event: FeedStateChanged) -> None:
        name = desk.instrument.name
        self.context.journal(
            ev.FeedChanged(name, event.state, event.reason, cause_code=event.cause)
        )
        if not desk.is_live:
            desk.on_doubt()
            self.proposals.withdraw(name, f"feed {event.state.value}: {event.reason}")

    def on_report(self, report: OrderReport) -> None:
        """Take what the venue said about one of our orders."""
        known = self.execution.orders.states.get(report.client_order_id)
        was_open = known is not None and not known.status.is_closed
        state = self.execution.on_report(report)
        self._halt_without_money()
        if report.fill is not None and not self.context.halted:
            name = report.fill.instrument
            why = self.context.pnl.ask(lambda: self.execution.guard.tripped(name), "")
            if why:
                self.kill_all("system", why)
        if state is None:
            return
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
        records = self._records_points and self.points.is_due(self.mode)
        weighed: Weighed | None = None
        if hold is None:
            sight = self._sight(desk)
            seen = self._unless_halted(consider(sight, self.settings.strategy))
            weighed = self.points.weigh(sight) if records else None
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
        if records:
            self.points.take(desk, self.mode, weighed, hold)

    def _unless_halted(self, seen: Idea | Hold) -> Idea | Hold:
        """Hold back what a halted strategy would open; what makes a position smaller goes on."""
        why = self.context.halts.get(scopes.STRATEGY, "")
        if not why or isinstance(seen, Hold) or seen.action is Action.EXIT:
            return seen
        return Hold("halted", f"strategy halted: {why}", True, seen.edge_bps, seen.cost_bps)

    def _stand_aside(self, desk: Desk) -> Hold | None:
        """Return why the strategy is not even asked, or None."""
        name = desk.instrument.name
        is_held = self.account.position(name) != 0
        pause_ns = self.pauses.left_ns(name, self.context.now_ns, is_held=is_held)
        context, own = self.context, scopes.of_instrument(name)
        halted = context.halted or context.halts.get(own, "")
        reasons = (
            (self.mode is Mode.OBSERVE, "observe", "observe mode: no proposals"),
            (bool(halted), "halted", f"halted: {halted}"),
            (bool(self.context.hold_back), "hold_back", self.context.hold_back),
            (bool(self.context.differences), "broker_agrees", self.execution.guard.differences()),
            (not desk.is_live, "feed", f"feed {desk.feed.state.value}: {desk.feed.reason}"),
            (bool(desk.clock.doubt) and not is_held, "clock", desk.clock.doubt),
            (desk.forecast is None, "warming", "warming up: too few seconds of book yet"),
            (name in self.proposals.pending, "pending", ""),
            (name in self.execution.closing, "closing", "closing the position"),
            (name in self.positions.reversing, "closing", "reversing the position"),
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
            entries=self.exits.entries(desk.instrument.name),
            may_add=not desk.clock.doubt
            and self.pauses.left_ns(desk.instrument.name, self.context.now_ns, is_held=False) <= 0,
            size_share=size_share(desk.bucket, self.settings.risk),
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
        self.positions.forget(name)
        self.proposals.withdraw(name, why)
        self.context.journal(ev.KillTripped(scope=name, actor=actor, reason=why))
        canceled = self.execution.cancel_orders(actor, why, name)
        closing = self.execution.close(name, actor, why)
        end = "closing the position" if closing else "no position to close"
        return f"{name}: {canceled} orders canceled, {end}{self.kills.if_no_ledger()}"

    def close_all(self, actor: str, why: str) -> str:
        """Withdraw all proposals, cancel all orders and close all positions; trading goes on."""
        orders, pending = self.execution.orders, self.proposals.pending
        told = [
            self.close_trade(name, actor, why)
            for name in self.by_name
            if self.account.position(name) or orders.open_states(name) or name in pending
        ]
        goes_on = f"; {self.mode.value} mode goes on" if self.mode is not Mode.OBSERVE else ""
        return "; ".join(told) + goes_on if told else f"nothing is open{goes_on}"

    def kill_all(self, actor: str, why: str) -> str:
        """Kill everything and return what was done, in words; see ``core.kill``."""
        return self.kills.kill(scopes.ALL, actor, why)

    def flatten(self, actor: str, why: str) -> int:
        """Start closing every position; return how many."""
        return self.kills.flatten(actor, why)

    def rearm(self, actor: str, reason: str, scope: str = scopes.ALL) -> str:
        """Open the gate again. Errors: ``ValueError`` saying what stands against it."""
        return self.kills.rearm(actor, reason, scope)

    def set_mode(self, mode: Mode, actor: str) -> str:
        """Change the mode; open proposals are withdrawn."""
        for name in list(self.proposals.pending):
            self.proposals.withdraw(name, f"mode changed to {mode.value}")
        self.mode = mode
        self.context.journal(ev.ModeChanged(mode=mode, actor=actor))
        return f"mode is {mode.value}"
