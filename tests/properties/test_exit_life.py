"""The life of a position, at random: entries, moves, partial fills, commands, restarts.

Held after every step: at most one exit works, none can flip the position, and a position always has
its exits or somebody was told why not.
"""

from __future__ import annotations

import contextlib
import os

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.config import ExitSettings
from core.exits import touched
from core.held import from_history
from core.model import event as ev
from core.model.decision import Mode
from core.model.exits import ExitKind
from core.model.market import FeedState
from core.model.order import Order, ReportKind
from tests.core.test_attached import MID, NAME, Watched

RUNS = int(os.environ.get("TAPEWRIGHT_EXIT_RUNS", "40"))
EXITS = ExitSettings(stop_bps=10, take_profit_bps=15, time_stop_s=8)
OFF = ExitSettings(stop_bps=0, take_profit_bps=0, time_stop_s=0)


class ExitLife(RuleBasedStateMachine):
    """See the module docstring."""

    @initialize(exits=st.sampled_from((EXITS, OFF)), mode=st.sampled_from(list(Mode)))
    def begin(self, exits: ExitSettings, mode: Mode) -> None:
        self.bench = Watched(mode=mode, exits=exits, max_entries=3, cooldown_s=0)
        self.bench.hold_still()
        self.settings = exits
        self.events: list[ev.LedgerEvent] = []
        """Of the runs before this one."""
        self.answered: set[str] = set()
        self.mid = MID
        self.before = 0

    @property
    def open_orders(self) -> list[Order]:
        states = self.bench.engine.execution.orders.open_states(NAME)
        return [state.order for state in states]

    # --- the market and the venue -----------------------------------------------------------------

    @rule(ticks=st.integers(-12_000, 12_000))
    def the_market_moves(self, ticks: int) -> None:
        self.mid += ticks
        self.bench.mid(self.mid)

    @rule()
    def the_book_crosses(self) -> None:
        self.bench.book([(self.mid + 9_000, 5)], [(self.mid - 9_000, 5)])

    @rule(state=st.sampled_from((FeedState.LIVE, FeedState.STALE)))
    def the_feed_changes(self, state: FeedState) -> None:
        self.bench.take(self.bench.feed.set_state(self.bench.now_ns, state))

    @rule(ms=st.sampled_from((250, 1_000, 4_000)))
    def time_passes(self, ms: int) -> None:
        self.bench.pass_ms(ms)

    @precondition(lambda self: self.open_orders)
    @rule(share=st.floats(0.1, 1), ends=st.booleans())
    def the_venue_fills(self, share: float, ends: bool) -> None:
        order = self.open_orders[0]
        if order not in self.bench.broker.submitted:
            return
        state = self.bench.engine.execution.orders.states[order.client_order_id]
        lots = max(1, int(state.open_lots * share))
        held = self.bench.position
        self.bench.now_ns += 1
        self.bench.broker.fill(order, lots, self.mid, self.bench.now_ns)
        if ends and lots < state.open_lots:
            self.bench.broker.report(order, ReportKind.EXPIRED, self.bench.now_ns, "rest")
        self.bench.take()
        if order.reduces:
            assert held * self.bench.position >= 0, "an exit flipped the position"
            assert abs(self.bench.position) < abs(held)

    @precondition(lambda self: self.open_orders)
    @rule()
    def the_venue_ends_an_order(self) -> None:
        order = self.open_orders[0]
        if order in self.bench.broker.submitted:
            self.bench.broker.report(order, ReportKind.EXPIRED, self.bench.now_ns, "none")
            self.bench.take()

    # --- the strategy and the trader --------------------------------------------------------------

    @rule(p_up=st.sampled_from((0.3, 0.7)))
    def the_strategy_wants_something(self, p_up: float) -> None:
        self.bench.see(p_up=p_up)
        self.bench.pass_ms(250)
        for pending in list(self.bench.engine.proposals.pending.values()):
            key = pending.proposal.decision_id
            self.bench.engine.proposals.answer(key, ev.Verdict.APPROVED, "human:trader")
        self.bench.take()
        self.bench.hold_still()

    @rule(what=st.sampled_from(("close", "reduce", "reverse", "all")))
    def the_trader_acts(self, what: str) -> None:
        engine = self.bench.engine
        try:
            if what == "close":
                engine.close_trade(NAME, "human:trader", "closed by hand")
            elif what == "reduce":
                engine.positions.reduce(NAME, "human:trader", None)
            elif what == "reverse":
                engine.positions.reverse(NAME, "human:trader", None, engine.mode)
            else:
                engine.close_all("human:trader", "all closed by hand")
        except ValueError:
            return  # told in words
        self.bench.take()

    @rule(kind=st.sampled_from(list(ExitKind)), bps=st.integers(-30, 30), word=st.integers(0, 3))
    def the_trader_moves_an_exit(self, kind: ExitKind, bps: int, word: int) -> None:
        price = f"{(self.mid + bps * 600) / 100:.2f}" if kind is not ExitKind.TIME else "3"
        value = (price, "off", "auto", "even")[word]
        with contextlib.suppress(ValueError):  # told in words
            self.bench.engine.exits.set_by_hand(NAME, kind, value, "human:trader")

    @precondition(lambda self: not self.open_orders)
    @rule()
    def the_engine_starts_again(self) -> None:
        old = self.bench
        self.events += [event for _, event, _ in old.sink.events]
        fills = tuple(event.fill for event in self.events if isinstance(event, ev.Filled))
        past: dict[str, ev.ExitsSet] = {}
        for event in self.events:
            if isinstance(event, ev.ExitsSet):
                past[event.instrument] = event
            elif isinstance(event, ev.Filled) and not event.position_lots:
                past.pop(event.fill.instrument, None)
        exits = old.engine.exits.held.get(NAME)
        self.bench = Watched(
            mode=old.engine.mode, exits=self.settings, fills=fills, past=past,
            start_ns=old.now_ns, max_entries=3, cooldown_s=0,
        )  # fmt: skip
        self.bench.broker.held = dict(old.broker.held)
        self.bench.engine.context.run_id = f"{len(self.events):032x}"
        self.bench.hold_still()
        assert self.bench.position == old.position
        held = self.bench.engine.exits.held.get(NAME)
        if exits is not None and held is not None:
            assert held.exits == exits.exits
            assert held.lots == exits.lots
        self.bench.mid(self.mid)

    # --- what holds -------------------------------------------------------------------------------

    @invariant()
    def at_most_one_exit_works_and_none_can_flip(self) -> None:
        exits = [order for order in self.open_orders if order.reduces]
        assert len(exits) <= 1
        states = self.bench.engine.execution.orders.states
        for order in exits:
            left = states[order.client_order_id].open_lots
            held = self.bench.position
            assert order.side.sign * held < 0
            assert left <= abs(held)

    @invariant()
    def a_position_has_its_exits_or_a_told_reason(self) -> None:
        bench = self.bench
        held = bench.engine.exits.held.get(NAME)
        assert (held is not None) == (bench.position != 0)
        if held is None:
            return
        assert held.lots == bench.position
        told = [*self.events, *bench.sink.of(ev.ExitsSet)]
        assert any(isinstance(event, ev.ExitsSet) for event in told)
        if held.exits.is_empty:
            by_hand = set(held.exits.by_hand) == set(ExitKind)
            assert by_hand or self.settings == OFF

    @invariant()
    def what_is_due_on_a_believed_book_acts(self) -> None:
        engine = self.bench.engine
        held, desk = engine.exits.held.get(NAME), engine.desks[0]
        if held is None or engine.exits.why_blind(desk) or NAME in engine.execution.closing:
            return
        if held.triggered_ns and engine.context.now_ns - held.triggered_ns < 5_000_000_000:
            return
        bid, _, ask, *_ = desk.feed.book.touch()
        now_ns = engine.context.now_ns
        touch = touched(held.exits, desk.instrument, bid, ask, now_ns, held.opened_ns)
        # Time is looked at with the strategy's cadence, prices with every move of the book.
        assert touch is None or touch.kind is ExitKind.TIME

    def teardown(self) -> None:
        """The exits follow from the fills and the trader's words alone."""
        if not hasattr(self, "bench"):
            return
        events = [*self.events, *(event for _, event, _ in self.bench.sink.events)]
        fills = [event.fill for event in events if isinstance(event, ev.Filled)]
        held = self.bench.engine.exits.held.get(NAME)
        again = from_history(self.bench.engine.desks[0].instrument, fills, self.settings)
        assert (again is None) == (held is None)
        if held is not None and again is not None and not held.exits.by_hand:
            assert msgspec.structs.replace(again.exits, due_ns=held.exits.due_ns) == held.exits


ExitLife.TestCase.settings = settings(
    max_examples=RUNS, stateful_step_count=40, deadline=None, derandomize=RUNS <= 40
)
TestExitLife = pytest.mark.slow(ExitLife.TestCase)
