"""Engine and session against an ill-behaved venue, feed, ledger and trader, in any order.

Whatever happens, the invariants at the end of this file hold after every step. The session is the
live one: orders wait for a ledger that is as slow as the machine wants. The process may die at any
step; venue and the durable part of the ledger live on, and the next start must find its way. They
are the invariants I1 to I7 of fault injection: no acknowledged event missing, no fill twice,
position = sum of fills, exposure never understated, no new order in doubt, the trader told within
5 s, the chain verifies. And whatever the broker holds that we do not, ours or a stranger's, told or
not, is a difference on the screen in time. ``docs/orders.md`` says how many runs were made and what
they found.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from typing_extensions import override

from core.clock import NS_PER_S
from core.config import Settings, StrategySettings
from core.context import NOTICES_KEPT
from core.control import (
    CancelOrder,
    CloseTrade,
    Confirm,
    KillAll,
    Rearm,
    Reject,
    ResolveDifference,
    SetMode,
)
from core.model import event as ev
from core.model.decision import Mode, Verdict
from core.model.difference import REMEDIES, DifferenceKind, Remedy
from core.model.lifecycle import moves
from core.model.lot import ClosedLot
from core.model.market import FeedState
from core.model.order import Fill, Order, OrderStatus, Side, TimeInForce
from core.orders import SETTLE_NS
from ledger.chain import ChainWalk, leaf_hash
from ledger.envelope import actor_of, seal, unseal
from tests.core.test_strategy import FORECAST
from tests.fakes import MemoryLatch
from tests.properties.stage import MID, ModelLedger, Stage
from tests.properties.venue_model import Ticket

TOLD_WITHIN_NS = 5 * NS_PER_S
DIFFERS_WITHIN_NS = int(Settings().risk.compare_every_s * NS_PER_S) + SETTLE_NS + NS_PER_S
"""Two looks at the broker's statement, and the cadence of the timers that look."""
PLACE = st.integers(0, 10)
PAUSES_MS = st.sampled_from([1, 250, 250, 500, 1_000, 5_000, 11_000, 31_000])


def _reachable() -> dict[OrderStatus, set[OrderStatus]]:
    """Return what can be reached from each status by the table, in any number of moves."""
    reach = {status: {end for start, end in moves() if start is status} for status in OrderStatus}
    for _ in OrderStatus:
        for ends in reach.values():
            ends |= {far for near in set(ends) for far in reach[near]}
    return reach


REACHABLE = _reachable()


class EngineMachine(Stage, RuleBasedStateMachine):
    """See the module docstring."""

    latch: MemoryLatch  # type: ignore[mutable-override]  # never another one here

    @initialize(mode=st.sampled_from([Mode.CONFIRM, Mode.AUTO]), flattens=st.booleans(),
                tells=st.sampled_from([True, True, False]))  # fmt: skip
    def begin(self, mode: Mode, flattens: bool, tells: bool) -> None:
        base = Settings(strategy=StrategySettings(hold_s=10.0))
        risk = msgspec.structs.replace(base.risk, kill_flattens=flattens)
        self.settings = msgspec.structs.replace(base, risk=risk)
        self.acked: list[object] = []
        """What was durable when the process last died."""
        self.strangers = 0
        self.start(mode)
        self.venue.tells_quantity = tells

    @override
    def check_departure(self, order: Order) -> None:
        super().check_departure(order)
        doubts = self.engine.context.differences
        if not order.reduces:
            assert not doubts, f"I5: an entry left while the broker differs: {doubts}"

    @override
    def teardown(self) -> None:
        try:
            if self.task is not None:
                self.calm_down()
                self.chain_verifies()
        finally:
            self.end()

    # --- rules: the market ----------------------------------------------------------------------

    @rule(index=st.integers(0, 1), move=st.integers(-3_000, 3_000), half=st.sampled_from([1, 9]))
    def market_moves(self, index: int, move: int, half: int) -> None:
        self.take(self.book(index, MID + move, half))
        self.idle()

    @rule(index=st.integers(0, 1), shape=st.sampled_from(["empty", "bids", "asks", "crossed"]))
    def book_breaks(self, index: int, shape: str) -> None:
        bids = [] if shape in {"empty", "asks"} else [(MID + 5 * (shape == "crossed"), 10)]
        asks = [] if shape in {"empty", "bids"} else [(MID + 1, 10)]
        self.take(self.feed.set_book(self.now_ns, bids, asks, index))
        self.idle()

    @rule(index=st.integers(0, 1), state=st.sampled_from(list(FeedState)), dice=st.integers(0, 2))
    def feed_changes(self, index: int, state: FeedState, dice: int) -> None:
        self.take(self.feed.set_state(self.now_ns, state, index=index))
        self.idle()
        if dice:
            self.feed_recovers(index)

    @rule(index=st.integers(0, 1))
    def feed_comes_back(self, index: int) -> None:
        self.feed_recovers(index)

    @rule(index=st.integers(0, 1), p_up=st.sampled_from([0.62, 0.38, 0.5]), pause_ms=PAUSES_MS)
    def desk_believes(self, index: int, p_up: float, pause_ms: int) -> None:
        believed = (msgspec.structs.replace(FORECAST, p_up=p_up),)
        self.engine.desks[index].forecasts = believed
        self.pass_ms(min(pause_ms, 500))

    @precondition(lambda self: not self.engine.context.halted)
    @rule(index=st.integers(0, 1), p_up=st.sampled_from([0.62, 0.38]))
    def order_leaves(self, index: int, p_up: float) -> None:
        self.trade(index, p_up, settles=False)

    @precondition(lambda self: not self.engine.context.halted)
    @rule(index=st.integers(0, 1), p_up=st.sampled_from([0.62, 0.38]))
    def trade_is_made(self, index: int, p_up: float) -> None:
        self.trade(index, p_up, settles=True)

    def trade(self, index: int, p_up: float, *, settles: bool) -> None:
        """Go the whole way from a belief to an order, and to its fills if it ``settles``."""
        self.feed_recovers(index)
        self.pass_ms(6_000)
        self.desk_believes(index, p_up, 250)
        for pending in list(self.engine.proposals.pending.values()):
            self.command(Confirm(pending.proposal.decision_id))
        if settles:
            self.settle_venue(twice=True)

    @rule(pause_ms=PAUSES_MS)
    def time_passes(self, pause_ms: int) -> None:
        self.pass_ms(pause_ms)

    # --- rules: the trader ----------------------------------------------------------------------

    @precondition(lambda self: self.engine.proposals.pending)
    @rule(place=PLACE, approve=st.sampled_from([True, True, False]), pause_ms=st.integers(0, 50))
    def answer(self, place: int, approve: bool, pause_ms: int) -> None:
        waiting = list(self.engine.proposals.pending.values())
        key = waiting[place % len(waiting)].proposal.decision_id
        self.pass_ms(pause_ms)
        self.command(Confirm(key) if approve else Reject(key))

    @rule(index=st.integers(0, 1))
    def close_trade(self, index: int) -> None:
        self.command(CloseTrade(self.engine.desks[index].instrument.name))

    @precondition(lambda self: self.engine.execution.orders.states)
    @rule(place=PLACE)
    def cancel_order(self, place: int) -> None:
        keys = list(self.engine.execution.orders.states)
        self.command(CancelOrder(keys[place % len(keys)]))

    @rule(dice=st.integers(0, 2))
    def kill_by_dice(self, dice: int) -> None:
        if not dice:
            self.kill_all()

    def kill_all(self) -> None:
        assert self.command(KillAll()).ok
        assert self.engine.context.halted
        self.killed = True

    @rule()
    def rearm(self) -> None:
        if self.command(Rearm("all is well")).ok:
            self.killed = False

    @rule(mode=st.sampled_from([Mode.CONFIRM, Mode.AUTO, Mode.AUTO, Mode.OBSERVE]))
    def change_mode(self, mode: Mode) -> None:
        self.command(SetMode(mode))

    # --- rules: the venue -----------------------------------------------------------------------

    @precondition(lambda self: self.venue.traveling)
    @rule(place=PLACE, end=st.sampled_from(["accept", "accept", "accept", "refuse", "lose"]))
    def order_arrives(self, place: int, end: str) -> None:
        waiting = self.venue.traveling
        ticket = waiting[place % len(waiting)]
        if end == "lose":
            self.venue.lose(ticket)
        else:
            self.venue.arrive(ticket, refused=end == "refuse")

    @precondition(lambda self: self.venue.cancels)
    @rule(place=PLACE)
    def cancel_arrives(self, place: int) -> None:
        self.venue.cancel_arrives(place % len(self.venue.cancels))

    @precondition(lambda self: self.venue.working)
    @rule(place=PLACE, lots=st.sampled_from([1, 700, 10**6]), off=st.integers(-50, 50))
    def order_fills(self, place: int, lots: int, off: int) -> None:
        working = self.venue.working
        self.venue.fill(working[place % len(working)], lots, MID + off, Decimal("0.01234567"))

    @precondition(lambda self: self.venue.working)
    @rule(place=PLACE)
    def order_expires(self, place: int) -> None:
        working = self.venue.working
        self.venue.expire(working[place % len(working)])

    @precondition(lambda self: self.venue.outbox)
    @rule(place=PLACE, twice=st.booleans())
    def report_arrives(self, place: int, twice: bool) -> None:
        self.venue.deliver(place % len(self.venue.outbox), twice=twice)
        self.take()
        self.idle()

    @precondition(lambda self: self.venue.outbox)
    @rule(place=PLACE)
    def report_is_lost(self, place: int) -> None:
        self.venue.lose_report(place % len(self.venue.outbox))

    @precondition(lambda self: self.venue.traveling or self.venue.working)
    @rule(twice=st.booleans())
    def all_goes_well(self, twice: bool) -> None:
        """Everything on its way arrives, every order fills."""
        self.settle_venue(twice=twice)

    @precondition(lambda self: self.venue.traveling or self.venue.working)
    @rule(lots=st.sampled_from([0, 1, 700]), ends=st.booleans(), twice=st.booleans())
    def reports_overtake_each_other(self, lots: int, ends: bool, twice: bool) -> None:
        """Orders arrive and fill in part; the newest report comes first, or each comes twice."""
        venue = self.venue
        for ticket in venue.traveling:
            venue.arrive(ticket)
        if lots:
            for ticket in venue.working:
                venue.fill(ticket, lots, MID, Decimal("0.02"))
        while venue.cancels:
            venue.cancel_arrives(0)
        if ends:
            for ticket in venue.working:
                venue.expire(ticket)
        while venue.outbox:
            if twice:
                venue.deliver(-1, twice=True)
            venue.deliver(-1)
            self.take()
        self.idle()

    @precondition(lambda self: self.venue.traveling or self.venue.working)
    @rule(lots=st.sampled_from([1, 700]), pause_ms=PAUSES_MS)
    def kill_races_fills(self, lots: int, pause_ms: int) -> None:
        """Orders fill in part and are killed; their ends are told long before their fills."""
        venue = self.venue
        for ticket in venue.traveling:
            venue.arrive(ticket)
        for ticket in venue.working:
            venue.fill(ticket, lots, MID, Decimal("0.02"))
        self.kill_all()
        while venue.cancels:
            venue.cancel_arrives(0)
        for place in reversed(range(len(venue.outbox))):
            if venue.outbox[place].fill is None:
                venue.deliver(place)
        self.take()
        self.pass_ms(pause_ms)

    @rule(index=st.integers(0, 1), side=st.sampled_from(Side), dice=st.integers(0, 5))
    def stranger_trades(self, index: int, side: Side, dice: int) -> None:
        """Somebody else sends an order from the same account."""
        if not dice:
            self.stranger_sends(index, side)

    @rule(index=st.integers(0, 1), side=st.sampled_from(Side), turns=st.booleans(),
          dice=st.integers(0, 3), pause_ms=PAUSES_MS)  # fmt: skip
    def stranger_fills_unseen(
        self, index: int, side: Side, turns: bool, dice: int, pause_ms: int
    ) -> None:
        """Somebody else's orders fill, and back again if it ``turns``; no report reaches us."""
        if dice:
            return
        for each in (side, side.opposite) if turns else (side,):
            ticket = self.stranger_sends(index, each)
            self.venue.fill(ticket, ticket.rest_lots, MID, Decimal("0.01"))
            for place in reversed(range(len(self.venue.outbox))):
                if self.venue.outbox[place].client_order_id == ticket.key:
                    self.venue.lose_report(place)
        self.pass_ms(pause_ms)

    def stranger_sends(self, index: int, side: Side) -> Ticket:
        self.strangers += 1
        name = self.engine.desks[index].instrument.name
        key = f"stranger-{self.strangers}"
        self.venue.appear(Order(
            key, "", name, side, 500, MID, TimeInForce.GTC,
            reduces=False, decided_ns=self.now_ns,
        ))  # fmt: skip
        return self.venue.tickets[key]

    @precondition(lambda self: self.engine.context.differences)
    @rule(place=PLACE, choice=PLACE)
    def difference_is_resolved(self, place: int, choice: int) -> None:
        """The trader says something about a difference, and tells no lies."""
        found = self.engine.context.differences
        difference = found[place % len(found)]
        remedies = REMEDIES[difference.kind]
        if not remedies:
            return
        remedy = remedies[choice % len(remedies)]
        if remedy is Remedy.MARK:
            ticket = self.venue.tickets.get(difference.key)
            if ticket is not None and (ticket.may_fill_lots or self.untold_lots(ticket.key)):
                return
        self.command(ResolveDifference(difference.key, remedy, "looked at it"))

    # --- rules: the ledger and the process ------------------------------------------------------

    @rule(is_slow=st.booleans())
    def ledger_pace_changes(self, is_slow: bool) -> None:
        self.ledger.is_slow = is_slow
        if not is_slow:
            self.ledger.settle()
            self.idle()

    @rule(dice=st.integers(0, 9))
    def ledger_breaks(self, dice: int) -> None:
        if not dice:
            self.ledger.fail()
            self.idle()

    @rule(index=st.integers(0, 1), dice=st.integers(0, 9))
    def counting_breaks(self, index: int, dice: int) -> None:
        """From now on no fill of an instrument can be counted into lots, until the next start."""
        if dice:
            return
        book = self.engine.account.books[self.engine.desks[index].instrument.name]

        def broken(*_: object) -> list[ClosedLot]:
            book.open_lots.clear()
            raise ArithmeticError("a lot without a price")

        book.apply = broken  # type: ignore[method-assign]

    @rule(mode=st.sampled_from([Mode.CONFIRM, Mode.AUTO]), kept=PLACE, dice=st.integers(0, 2))
    def crash_and_restart(self, mode: Mode, kept: int, dice: int) -> None:
        """The process dies; of what was not durable any part may be left. The venue lives on."""
        if dice:
            return
        self.stop_task()
        self.acked = self.ledger.events[: self.ledger.durable]
        self.venue.lose_connection()
        count = min(len(self.ledger.events), self.ledger.durable + kept)
        old, self.ledger = self.ledger, ModelLedger()
        self.ledger.events = old.events[:count]
        self.ledger.durable = count
        # Of an order that is not ours only the broker's position is sure to tell.
        left = {fill.fill_id for fill in self.ledger.fills()}
        self.venue.fills = [
            fill for fill in self.venue.fills
            if fill.fill_id in left or not self.venue.tickets[fill.client_order_id].is_strange
        ]  # fmt: skip
        self.halted = self.latch.reason
        self.start(mode)
        assert self.ledger.events[: len(self.acked)] == self.acked, "I1"
        if not self.engine.context.differences:
            held = {n: b.position_lots for n, b in self.engine.account.books.items()}
            assert {n: lots for n, lots in held.items() if lots} == self.venue.positions()

    # --- the end --------------------------------------------------------------------------------

    def calm_down(self) -> None:
        """With a kill that flattens and a venue that answers, the end is flat and quiet."""
        if self.ledger.is_broken or self.engine.context.ledger_failure:
            return
        if not self.settings.risk.kill_flattens:
            return
        gave_up = any("gave up" in notice.text for notice in self.engine.context.notices)
        if not self.killed or gave_up or len(self.engine.context.notices) == NOTICES_KEPT:
            self.kill_all()
        self.ledger_pace_changes(is_slow=False)
        for _ in range(14):
            for index in range(2):
                self.feed_recovers(index)
            self.settle_venue()
            # Longer than the longest pause between two questions, in the end.
            for _ in range(10):
                self.pass_ms(300)
            for difference in self.engine.context.differences:
                if difference.kind in {DifferenceKind.POSITION, DifferenceKind.FILLS}:
                    self.command(ResolveDifference(difference.key, Remedy.ADOPT, "at the end"))
        positions = {name: self.engine.account.position(name) for name in self.engine.by_name}
        assert not any(positions.values()), f"after a kill: {positions}"
        assert not self.venue.positions(), f"at the venue, after a kill: {self.venue.positions()}"
        assert not self.engine.execution.orders.open_states()
        assert not self.engine.context.differences
        self.pass_ms(250)
        assert not self.engine.execution.closing

    # --- invariants -----------------------------------------------------------------------------

    @invariant()
    def position_is_the_sum_of_fills(self) -> None:
        """I1, I2, I3."""
        written = self.written_fills()
        ids = {fill.fill_id for fill in written}
        assert len(ids) == len(written), "I2: a fill counted twice"
        assert {fill.fill_id for fill in self.venue.fills} <= ids, "I1: a fill told is missing"
        made = {fill.fill_id: fill for fill in self.venue.made}
        for fill in written:
            if "-a" not in fill.client_order_id:
                assert made[fill.fill_id] == fill, "I1: a fill that nobody made"
        for name, book in self.engine.account.books.items():
            mine = [fill for fill in written if fill.instrument == name]
            assert sum(f.side.sign * f.qty_lots for f in mine) == book.position_lots
            if self.engine.account.counting.failure:
                assert self.engine.context.pnl.failure, "lots are not counted, and nobody knows"
                continue
            unit = book.instrument.notional(1, 1)
            cash = sum((-f.side.sign * f.qty_lots * f.price_ticks * unit - f.fee for f in mine),
                       Decimal(0))  # fmt: skip
            stock = sum((o.sign * o.qty_lots * o.price_ticks * unit + o.fee
                         for o in book.open_lots), Decimal(0))  # fmt: skip
            assert book.realized == cash + stock
            assert book.fees == sum((f.fee for f in mine), Decimal(0))

    @invariant()
    def what_the_broker_holds_besides_is_a_difference_in_time(self) -> None:
        """No fill stays unknown to us, whoever sent the order and whatever became of its report."""
        if self.engine.context.differences:
            return
        written = {fill.fill_id for fill in self.written_fills()}
        since_ns, until_ns = self.started_ns, self.now_ns - DIFFERS_WITHIN_NS
        for fill in self.venue.made:
            is_old = since_ns <= fill.ts_ns <= until_ns
            assert fill.fill_id in written or not is_old, f"nobody was told of {fill}"
        if all(fill.ts_ns <= until_ns for fill in self.venue.made) and since_ns <= until_ns:
            held = {name: self.engine.account.position(name) for name in self.engine.by_name}
            assert {n: lots for n, lots in held.items() if lots} == self.venue.positions()

    def written_fills(self) -> list[Fill]:
        lost = [event for event in self.ledger.unwritten if isinstance(event, ev.Filled)]
        return [event.fill for event in [*self.ledger.of(ev.Filled), *lost]]

    @invariant()
    def exposure_is_never_understated(self) -> None:
        """I4: what may fill or has and was not told counts; told quantities are believed."""
        states = self.engine.execution.orders.states
        may = {(name, side): 0 for name in self.engine.by_name for side in Side}
        for key, ticket in self.venue.tickets.items():
            if ticket.is_strange:
                continue
            owed = ticket.may_fill_lots
            if owed or self.venue.tells_quantity:
                owed += self.untold_lots(key)
            if owed:
                assert states[key].open_lots >= owed, f"{key} {states[key].status}"
            may[ticket.order.instrument, ticket.order.side] += owed
        for (name, side), owed in may.items():
            assert self.engine.execution.orders.working_lots(name, side) >= owed

    def untold_lots(self, client_order_id: str) -> int:
        """Return the lots filled of an order that we have not counted."""
        written = {fill.fill_id for fill in self.written_fills()}
        return sum(
            fill.qty_lots
            for fill in self.venue.made
            if fill.client_order_id == client_order_id and fill.fill_id not in written
        )

    @invariant()
    def statuses_move_by_the_table(self) -> None:
        """By the table, in one step or several: not each of them is written."""
        last: dict[str, OrderStatus] = {}
        for _, event, _ in self.ledger.events:
            if isinstance(event, ev.OrderIntended):
                last[event.order.client_order_id] = OrderStatus.INITIALIZED
            elif isinstance(event, ev.CancelIntended):
                continue  # the status of it may be told by a crash only
            elif isinstance(event, ev.OrderChanged):
                was = last.get(event.client_order_id, OrderStatus.INITIALIZED)
                now = OrderStatus(event.status)
                is_back = "works at the venue" in event.reason
                assert now in REACHABLE[was] or is_back, f"{was} -> {now}"
                last[event.client_order_id] = now

    @invariant()
    def every_proposal_is_decided_once_and_answered_at_most_once(self) -> None:
        decided = [event.proposal.decision_id for event in self.ledger.of(ev.Decided)]
        answered = [event.decision_id for event in self.ledger.of(ev.Answered)]
        assert len(set(decided)) == len(decided)
        assert len(set(answered)) == len(answered)
        assert set(answered) <= set(decided)
        waiting = {p.proposal.decision_id for p in self.engine.proposals.pending.values()}
        assert not waiting & set(answered)
        assert waiting <= set(decided)
        if not self.ledger.is_broken:
            mine = {key for key in decided if key.startswith(self.engine.context.run_id[:8])}
            assert mine - set(answered) == waiting
        approved = {event.decision_id for event in self.ledger.of(ev.Answered)
                    if event.verdict is Verdict.APPROVED}  # fmt: skip
        for intent in self.ledger.of(ev.OrderIntended):
            if not intent.order.reduces:
                assert intent.order.decision_id in approved

    @invariant()
    def halted_by_kill_means_latched(self) -> None:
        if self.engine.context.halted and not self.engine.context.ledger_failure:
            assert self.latch.reason
        if self.killed:
            assert self.engine.context.halted
            assert self.latch.reason
            assert not self.engine.proposals.pending, "a proposal outlived the kill"

    @invariant()
    def silence_of_the_venue_is_told_in_time(self) -> None:
        """I6."""
        for key, state in self.engine.execution.orders.states.items():
            silent_ns = self.now_ns - self.venue.heard_ns.get(key, self.now_ns)
            if state.is_external and state.status is not OrderStatus.PENDING_CANCEL:
                continue  # it rests: a venue may keep silent about it
            if silent_ns >= TOLD_WITHIN_NS and not state.status.is_closed:
                assert state.status is OrderStatus.UNKNOWN, f"{key} {state.status}"

    def chain_verifies(self) -> None:
        """I7: what was written can be sealed, chained and read again."""
        walk = ChainWalk()
        for seq, (ts_ns, event, cause) in enumerate(self.ledger.events, 1):
            body = seal(event, seq=seq, ts_ns=ts_ns, run="0" * 32, cause=cause,
                        actor=actor_of(event, "binance"), prev=walk.head.hash.hex())  # fmt: skip
            assert walk.step(seq, leaf_hash(body), body) is None
            unseal(body)  # refuses what would not be written the same again

    @invariant()
    def the_picture_can_be_made(self) -> None:
        picture = self.commands.snapshot()
        shown = {order.client_order_id for order in picture.orders}
        assert shown == {s.order.client_order_id
                         for s in self.engine.execution.orders.open_states()}  # fmt: skip


def run(runs: int, steps: int, *, seed: int | None = None, shrinks: bool = True) -> None:
    """Run the machine; also called by ``bench/fuzz.py`` and ``bench/kill_trials.py``.

    Without a ``seed`` the same runs are made each time.
    """
    phases = [Phase.generate, Phase.shrink] if shrinks else [Phase.generate]
    machine = type("Machine", (EngineMachine,), {})
    run_state_machine_as_test(
        machine if seed is None else seeded(seed)(machine),
        settings=settings(
            max_examples=runs,
            phases=phases,
            stateful_step_count=steps,
            derandomize=seed is None,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )


@pytest.mark.slow
def test_no_order_of_events_breaks_an_invariant() -> None:
    run(70, 50)
