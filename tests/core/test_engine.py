"""The engine by its effects: ledger events out, orders in the queue, what the trader is told."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from core.config import Settings, StrategySettings
from core.engine import Engine, EngineSetup
from core.model import event as ev
from core.model.decision import Mode, Verdict
from core.model.market import FeedState
from core.model.order import OrderStatus, ReportKind, Side
from core.session import Session
from tests.core.test_strategy import FORECAST
from tests.fakes import START_NS, HandBroker, HandFeed, MemoryLatch, MemorySink

MS = 1_000_000
BIDS, ASKS = [(5_999_999, 90_000)], [(6_000_001, 90_000)]


class Bench:
    """An engine on a hand-made feed, with everything around it remembered."""

    def __init__(self, mode: Mode = Mode.CONFIRM, **strategy: object) -> None:
        self.feed = HandFeed()
        self.sink, self.latch, self.broker = MemorySink(), MemoryLatch(), HandBroker()
        settings = Settings(strategy=StrategySettings(**strategy))  # type: ignore[arg-type]
        self.engine = Engine(
            EngineSetup(
                protocol=self.feed,
                settings=settings,
                mode=mode,
                sink=self.sink,
                latch=self.latch,
                run_id="cafe0123" * 4,
                fee_bps=Decimal(10),
            )
        )
        # What the desk believes is set by the test (``see``), not learnt.
        self.engine.desks[0].think = lambda *_: None  # type: ignore[method-assign]
        self.session = Session(self.engine, self.broker, self.sink)
        self.now_ns = START_NS
        self.take(self.feed.set_state(self.now_ns, FeedState.LIVE))
        self.book(BIDS, ASKS)

    def take(self, *outputs: object) -> None:
        self.session._take(outputs)

    def book(self, bids: list, asks: list) -> None:
        self.take(self.feed.set_book(self.now_ns, bids, asks))

    def see(self, **forecast: object) -> None:
        """Make the desk believe a forecast."""
        self.engine.desks[0].forecasts = (msgspec.structs.replace(FORECAST, **forecast),)

    def pass_ms(self, milliseconds: int) -> None:
        self.now_ns += milliseconds * MS
        self.session.run_timers(self.now_ns)

    def propose(self, **forecast: object) -> str:
        self.see(**forecast)
        self.pass_ms(250)
        (pending,) = self.engine.proposals.pending.values()
        return pending.proposal.decision_id

    def fill_all(self, ticks: int = 6_000_001) -> None:
        sent = self.broker.submitted[-1]
        self.broker.fill(sent, sent.qty_lots, ticks, self.now_ns)
        self.take()

    def status(self, place: int = -1) -> OrderStatus:
        key = self.broker.submitted[place].client_order_id
        return self.engine.execution.orders.states[key].status

    def open_position(self) -> None:
        self.engine.proposals.answer(self.propose(), Verdict.APPROVED, "human:trader")
        self.take()
        self.fill_all()


def test_a_good_forecast_becomes_one_proposal_with_its_rationale_in_the_ledger() -> None:
    bench = Bench()
    decision_id = bench.propose()
    bench.pass_ms(1_000)
    (decided,) = bench.sink.of(ev.Decided)
    assert decided.proposal.decision_id == decision_id
    assert decided.proposal.rationale
    assert all(check.passed for check in decided.proposal.checks)
    assert bench.broker.submitted == []


def test_a_confirmed_proposal_leaves_as_one_order_after_its_intent_is_durable() -> None:
    bench = Bench()
    bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
    assert bench.sink.flushes == 0
    bench.take()
    assert len(bench.broker.submitted) == 1
    assert bench.sink.flushes == 1
    assert bench.sink.types()[-4:] == ["Decided", "Answered", "RiskChecked", "OrderIntended"]


def test_a_proposal_not_answered_in_time_is_rejected_at_its_deadline() -> None:
    bench = Bench()
    bench.propose()
    bench.pass_ms(10_000)
    (answer,) = bench.sink.of(ev.Answered)
    assert answer.verdict is Verdict.EXPIRED
    assert answer.waited_ns == 10_000 * MS
    assert bench.broker.submitted == []


def test_a_rejected_proposal_sends_nothing_and_the_strategy_pauses() -> None:
    bench = Bench()
    bench.engine.proposals.answer(bench.propose(), Verdict.REJECTED, "human:trader")
    bench.pass_ms(250)
    assert not bench.engine.proposals.pending
    assert bench.engine.holds["BTCUSDT"].code == "pause"
    bench.pass_ms(5_000)
    assert bench.engine.proposals.pending


def test_an_answer_to_a_proposal_that_is_gone_is_refused() -> None:
    bench = Bench()
    with pytest.raises(ValueError, match="does not wait"):
        bench.engine.proposals.answer("cafe0123-d99", Verdict.APPROVED, "human:trader")


def test_drift_against_the_proposal_is_positive() -> None:
    bench = Bench()
    bench.propose()
    bench.book([(6_000_009, 10)], [(6_000_011, 10)])
    (pending,) = bench.engine.proposals.pending.values()
    assert bench.engine.proposals.drift_ticks(pending.proposal) == 10.0


def test_auto_mode_trades_without_asking_and_says_who_approved() -> None:
    bench = Bench(Mode.AUTO)
    bench.see()
    bench.pass_ms(250)
    assert len(bench.broker.submitted) == 1
    (answer,) = bench.sink.of(ev.Answered)
    assert (answer.verdict, answer.actor) == (Verdict.APPROVED, "mode:auto")


def test_observe_mode_proposes_nothing() -> None:
    bench = Bench(Mode.OBSERVE)
    bench.see()
    bench.pass_ms(1_000)
    assert not bench.engine.proposals.pending
    assert bench.engine.holds["BTCUSDT"].code == "observe"


def test_nothing_is_proposed_while_something_holds_back() -> None:
    bench = Bench()
    bench.engine.context.hold_back = "living through the past"
    bench.see()
    bench.pass_ms(1_000)
    assert not bench.engine.proposals.pending
    assert bench.engine.holds["BTCUSDT"].text == "living through the past"
    bench.engine.context.hold_back = ""
    bench.pass_ms(250)
    assert bench.engine.proposals.pending


def test_a_fill_is_written_with_its_rationale_and_moves_the_position() -> None:
    bench = Bench()
    bench.open_position()
    (filled,) = bench.sink.of(ev.Filled)
    assert filled.rationale.startswith("BUY: P(up) 0.620")
    assert filled.position_lots == bench.engine.account.position("BTCUSDT") == 1666
    assert bench.engine.execution.fills[0].rationale == filled.rationale
    assert bench.status() is OrderStatus.FILLED


def test_a_position_is_proposed_for_exit_when_its_time_is_up() -> None:
    bench = Bench()
    bench.open_position()
    bench.pass_ms(30_500)
    (pending,) = bench.engine.proposals.pending.values()
    assert (pending.proposal.side, pending.proposal.qty_lots) == (Side.SELL, 1666)


def test_an_exit_that_was_turned_down_is_not_asked_again_at_once() -> None:
    bench = Bench()
    bench.open_position()
    bench.pass_ms(30_500)
    (pending,) = bench.engine.proposals.pending.values()
    bench.engine.proposals.answer(pending.proposal.decision_id, Verdict.REJECTED, "human:trader")
    bench.pass_ms(4_500)
    assert not bench.engine.proposals.pending
    bench.pass_ms(1_000)
    assert bench.engine.proposals.pending


def test_feed_doubt_withdraws_the_proposal_and_stops_new_ones() -> None:
    bench = Bench()
    bench.propose()
    bench.take(bench.feed.set_state(bench.now_ns, FeedState.RESYNCING, "gap"))
    (answer,) = bench.sink.of(ev.Answered)
    assert answer.verdict is Verdict.WITHDRAWN
    assert "gap" in answer.note
    bench.pass_ms(20_000)
    assert not bench.engine.proposals.pending


def test_a_wanted_trade_that_a_rule_refused_is_recorded_once_a_minute() -> None:
    bench = Bench()
    bench.see(skill=-0.1)
    bench.pass_ms(5_000)
    assert len(bench.sink.of(ev.NotDecided)) == 1
    bench.pass_ms(60_000)
    assert len(bench.sink.of(ev.NotDecided)) == 2


def test_a_limit_refuses_before_a_proposal_is_shown() -> None:
    bench = Bench(order_notional=Decimal(2_001))
    bench.see()
    bench.pass_ms(250)
    assert not bench.engine.proposals.pending
    assert bench.engine.holds["BTCUSDT"].code == "max_order_notional"


def test_kill_closes_the_gate_latches_cancels_and_closes_positions() -> None:
    bench = Bench()
    bench.open_position()
    bench.pass_ms(35_500)  # an exit proposal waits
    bench.engine.kill_all("human:trader", "F12")
    bench.take()
    assert bench.latch.reason == "F12 by human:trader"
    assert not bench.engine.proposals.pending
    bench.pass_ms(500)
    closing = bench.broker.submitted[-1]
    assert (closing.side, closing.qty_lots, closing.reduces) == (Side.SELL, 1666, True)
    bench.fill_all(5_999_999)
    bench.pass_ms(500)
    assert bench.engine.account.position("BTCUSDT") == 0
    assert not bench.engine.execution.closing
    assert bench.engine.context.halted == "F12"


def test_no_entry_leaves_after_the_kill_even_if_it_was_queued_before() -> None:
    bench = Bench()
    bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
    bench.engine.kill_all("human:trader", "F12")
    bench.take()
    assert bench.broker.submitted == []
    states = [state.status for state in bench.engine.execution.orders.states.values()]
    assert states == [OrderStatus.CANCELED]


def test_a_kill_works_while_the_ledger_is_broken() -> None:
    bench = Bench()
    bench.open_position()
    bench.sink.is_broken = True
    text = bench.engine.kill_all("human:trader", "F12")
    assert bench.engine.context.halted == "F12"
    assert "KILLED" in text
    assert any("ledger" in notice.text for notice in bench.engine.context.notices)


def test_a_broken_ledger_halts_latches_and_cancels_but_the_engine_goes_on() -> None:
    bench = Bench(Mode.AUTO)
    bench.see()
    bench.pass_ms(250)
    assert len(bench.broker.submitted) == 1
    bench.sink.is_broken = True
    bench.take(bench.feed.set_state(bench.now_ns, FeedState.RESYNCING, "gap"))
    bench.pass_ms(250)
    assert bench.engine.context.halted == "no ledger: disk is full"
    assert bench.latch.reason == "no ledger: disk is full by system"
    assert len(bench.broker.canceled) == 1
    bench.pass_ms(60_000)
    assert len(bench.broker.submitted) == 1
    with pytest.raises(ValueError, match="restart"):
        bench.engine.rearm("human:trader", "all is well")


def test_a_fill_counts_even_when_the_ledger_cannot_take_it() -> None:
    bench = Bench()
    bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
    bench.take()
    bench.sink.is_broken = True
    bench.fill_all()
    assert bench.engine.account.position("BTCUSDT") == 1666
    assert bench.engine.context.unwritten == 4  # the fill, its exits, the status, the slippage


def test_a_kill_that_cannot_be_latched_on_disk_says_so() -> None:
    bench = Bench()
    bench.latch.is_durable = False
    assert "could NOT" in bench.engine.kill_all("human:trader", "F12")


def test_rearming_needs_a_reason_and_nothing_working() -> None:
    bench = Bench()
    with pytest.raises(ValueError, match="nothing is halted"):
        bench.engine.rearm("human:trader", "why not")
    bench.open_position()
    bench.engine.kill_all("human:trader", "F12")
    with pytest.raises(ValueError, match="reason"):
        bench.engine.rearm("human:trader", "  ")
    with pytest.raises(ValueError, match="working"):
        bench.engine.rearm("human:trader", "all is well")
    bench.pass_ms(500)
    bench.fill_all(5_999_999)
    bench.pass_ms(500)
    bench.engine.rearm("human:trader", "all is well")
    assert bench.engine.context.halted == ""
    assert bench.latch.reason == ""
    assert len(bench.sink.of(ev.Rearmed)) == 1


def test_closing_one_trade_leaves_the_gate_open_and_retries_until_flat() -> None:
    bench = Bench()
    bench.open_position()
    bench.engine.close_trade("BTCUSDT", "human:trader", "closed by hand")
    bench.pass_ms(250)
    first = bench.broker.submitted[-1]
    bench.broker.fill(first, 1_000, 5_999_999, bench.now_ns)
    bench.broker.report(first, ReportKind.EXPIRED, bench.now_ns, "rest of IOC")
    bench.take()
    bench.pass_ms(500)
    assert bench.broker.submitted[-1].qty_lots == 666
    bench.fill_all(5_999_999)
    bench.pass_ms(250)
    assert bench.engine.account.position("BTCUSDT") == 0
    assert bench.engine.context.halted == ""


def test_a_realized_loss_at_the_daily_limit_kills_at_once() -> None:
    bench = Bench()
    bench.open_position()
    bench.engine.close_trade("BTCUSDT", "human:trader", "closed by hand")
    bench.pass_ms(250)
    bench.fill_all(5_999_999 - 1_300_000)  # 1666 lots fall by 13,000.00: a loss of 216
    bench.pass_ms(1_000)
    assert bench.engine.context.halted.startswith("daily loss -216")
    assert bench.latch.reason.endswith("by system")
    bench.engine.rearm("human:trader", "I know better")
    bench.pass_ms(2_000)
    assert bench.engine.context.halted, "re-armed with the loss still there, it kills again"


def test_a_loss_on_marks_must_stand_three_looks() -> None:
    bench = Bench()
    bench.open_position()
    low = [(4_699_999, 90_000)], [(4_700_001, 90_000)]
    bench.book(*low)
    bench.pass_ms(1_000)
    bench.book(BIDS, ASKS)
    bench.pass_ms(1_000)
    assert not bench.engine.context.halted
    bench.book(*low)
    bench.pass_ms(4_000)
    assert bench.engine.context.halted.startswith("daily loss")


def test_a_position_can_be_closed_however_wide_the_spread_has_become() -> None:
    bench = Bench()
    bench.open_position()
    bench.book([(5_900_000, 90_000)], [(6_100_000, 90_000)])
    bench.engine.kill_all("human:trader", "F12")
    bench.pass_ms(500)
    closing = bench.broker.submitted[-1]
    assert (closing.side, closing.reduces) == (Side.SELL, True)
    assert closing.limit_ticks < 5_900_000


def test_a_latch_that_cannot_be_removed_keeps_everything_halted() -> None:
    bench = Bench()
    bench.engine.kill_all("human:trader", "F12")

    def refuse() -> None:
        raise OSError(30, "Read-only file system")

    bench.latch.rearm = refuse  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="Read-only"):
        bench.engine.rearm("human:trader", "all is well")
    assert bench.engine.context.halted == "F12"


def test_the_ledgers_time_never_goes_back_while_a_past_is_lived_through() -> None:
    bench = Bench()
    bench.engine.context.floor_ns = bench.now_ns + 10**12
    bench.take(bench.feed.set_state(bench.now_ns, FeedState.STALE))
    assert bench.sink.events[-1][0] == bench.now_ns + 10**12


def test_closing_waits_while_the_book_is_in_doubt() -> None:
    bench = Bench()
    bench.open_position()
    bench.take(bench.feed.set_state(bench.now_ns, FeedState.STALE))
    bench.engine.close_trade("BTCUSDT", "human:trader", "closed by hand")
    bench.pass_ms(5_000)
    assert len(bench.broker.submitted) == 1
    bench.take(bench.feed.set_state(bench.now_ns, FeedState.LIVE))
    bench.pass_ms(500)
    assert len(bench.broker.submitted) == 2


def test_changing_the_mode_withdraws_what_waits() -> None:
    bench = Bench()
    bench.propose()
    bench.engine.set_mode(Mode.OBSERVE, "human:trader")
    assert bench.sink.of(ev.Answered)[0].verdict is Verdict.WITHDRAWN
    assert bench.sink.of(ev.ModeChanged)[0].mode is Mode.OBSERVE


def test_a_halt_from_before_the_start_is_in_force() -> None:
    bench = Bench(Mode.AUTO)
    bench.engine.context.halted = "F12 yesterday"
    bench.see()
    bench.pass_ms(1_000)
    assert bench.broker.submitted == []
    assert bench.engine.holds["BTCUSDT"].code == "halted"


def test_a_long_silence_is_not_lived_through_timer_by_timer() -> None:
    bench = Bench()
    bench.see(p_up=0.5)
    thoughts = 0

    def count(*_: object) -> None:
        nonlocal thoughts
        thoughts += 1

    bench.engine.desks[0].think = count  # type: ignore[method-assign]
    bench.pass_ms(10_000_000)
    assert thoughts < 5
