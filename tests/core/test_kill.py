"""The kill switch by scope: what it stops, what it leaves, how it opens, what a start does."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from core import scopes
from core.control import Ack, Kill, KillAll, Rearm
from core.engine import Engine, EngineSetup
from core.metrics import Metrics
from core.model import event as ev
from core.model.decision import Mode, Verdict
from core.model.difference import Difference, DifferenceKind
from core.model.halt import PastHalt
from core.model.market import FeedState
from core.model.order import OrderStatus, ReportKind, Side, TimeInForce
from core.scopes import ALL, STRATEGY
from tests.core.test_engine import ASKS, BIDS, Bench
from tests.core.test_strategy import FORECAST
from tests.properties.stage import Stage

BTC = "BTCUSDT"
TRADER = "human:trader"
MINE = scopes.of_instrument(BTC)


def holding(mode: Mode = Mode.AUTO) -> Bench:
    """Return an engine that holds a position it opened itself."""
    bench = Bench(mode=mode)
    bench.see()
    bench.pass_ms(250)
    bench.fill_all()
    assert bench.engine.account.position(BTC) > 0
    return bench


def working(bench: Bench) -> str:
    """Leave an order of the strategy working; return its id."""
    bench.see()
    bench.pass_ms(250)
    return bench.broker.submitted[-1].client_order_id


def two() -> Stage:
    stage = Stage()
    stage.start(Mode.AUTO)
    return stage


def enter(stage: Stage, index: int) -> None:
    desk = stage.engine.desks[index]
    desk.forecasts = (msgspec.structs.replace(FORECAST, p_up=0.7),)
    stage.pass_ms(300)


# --- all ----------------------------------------------------------------------------------------


def test_the_ledger_is_told_last_and_the_gate_is_closed_first() -> None:
    bench = holding()
    seen: list[tuple[str, bool]] = []
    trip, write = bench.latch.trip, bench.sink.append

    def tripped(*given: object, **named: object) -> bool:
        seen.append(("latch", bool(bench.engine.context.halted)))
        return trip(*given, **named)  # type: ignore[arg-type]

    def written(event: ev.LedgerEvent, *given: object) -> int:
        seen.append((type(event).__name__, BTC in bench.engine.execution.closing))
        return write(event, *given)  # type: ignore[arg-type]

    bench.latch.trip = tripped  # type: ignore[method-assign]
    bench.sink.append = written  # type: ignore[method-assign]
    bench.engine.kill_all(TRADER, "F12")
    assert seen == [("latch", True), ("KillTripped", True)]


def test_a_kill_of_all_latches_that_it_closes_positions() -> None:
    bench = holding()
    bench.engine.kill_all(TRADER, "F12")
    assert bench.latch.flattens


def test_closing_the_gate_alone_halts_and_latches_and_touches_nothing_else() -> None:
    bench = holding()
    events = len(bench.sink.events)
    assert bench.engine.kills.close_gate("system", "signal SIGUSR1")
    assert bench.engine.context.halted == "signal SIGUSR1"
    assert bench.latch.reason == "signal SIGUSR1 by system"
    assert len(bench.sink.events) == events
    assert not bench.engine.execution.closing


# --- one instrument -----------------------------------------------------------------------------


def test_an_instrument_is_halted_and_flattened_and_the_other_one_trades_on() -> None:
    stage = two()
    enter(stage, 0)
    stage.settle_venue()
    assert stage.engine.account.position(BTC) > 0
    reply = stage.command(Kill(MINE, "odd prints"))
    assert reply.ok
    assert "BTCUSDT HALTED" in reply.text
    for _ in range(6):
        stage.pass_ms(300)
        stage.settle_venue()
    assert stage.engine.account.position(BTC) == 0
    sent = len(stage.venue.tickets)
    enter(stage, 0)
    assert len(stage.venue.tickets) == sent, "the halted instrument is not entered"
    assert stage.engine.holds[BTC].code == "halted"
    enter(stage, 1)
    assert len(stage.venue.tickets) == sent + 1
    assert not stage.engine.context.halted
    stage.end()


def test_an_instrument_that_fills_late_after_its_kill_is_closed_too() -> None:
    bench = Bench(mode=Mode.AUTO)
    working(bench)
    bench.engine.kills.kill(MINE, TRADER, "odd prints")
    bench.take()
    bench.fill_all()
    assert BTC in bench.engine.execution.closing


def test_an_instrument_that_fills_after_all_seemed_over_is_closed_too() -> None:
    bench = Bench(mode=Mode.AUTO)
    working(bench)
    sent = bench.broker.submitted[0]
    bench.engine.kills.kill(MINE, TRADER, "odd prints")
    bench.broker.report(sent, ReportKind.CANCELED, bench.now_ns)
    bench.take()
    bench.pass_ms(500)
    assert not bench.engine.execution.closing
    bench.broker.fill(sent, sent.qty_lots, 6_000_001, bench.now_ns)
    bench.take()
    assert BTC in bench.engine.execution.closing


def test_an_instrument_halt_is_latched_in_its_own_scope_and_rearmed_there() -> None:
    bench = Bench(mode=Mode.AUTO)
    bench.engine.kills.kill(MINE, TRADER, "odd prints")
    assert bench.latch.reason == ""
    assert bench.latch.of(MINE).reason == "odd prints by human:trader"
    assert bench.engine.rearm(TRADER, "looked at it", MINE) == "re-armed BTCUSDT"
    assert bench.latch.of(MINE).reason == ""
    (told,) = bench.sink.of(ev.Rearmed)
    assert (told.scope, told.reason) == (MINE, "looked at it")
    bench.see()
    bench.pass_ms(250)
    assert bench.broker.submitted


def test_an_instrument_is_not_rearmed_while_it_is_being_closed() -> None:
    bench = holding()
    bench.engine.kills.kill(MINE, TRADER, "odd prints")
    with pytest.raises(ValueError, match="still working"):
        bench.engine.rearm(TRADER, "checked", MINE)


def test_rearming_all_leaves_an_instrument_halted_and_says_so() -> None:
    bench = Bench()
    bench.engine.kills.kill(MINE, TRADER, "odd prints")
    bench.engine.kill_all(TRADER, "F12")
    assert bench.engine.rearm(TRADER, "checked") == "re-armed; still halted: BTCUSDT"
    assert bench.engine.context.why_closed(BTC) == "odd prints"


def test_an_entry_by_hand_does_not_pass_the_gate_of_a_halted_instrument_and_an_exit_does() -> None:
    bench = holding()
    bench.engine.kills.kill(MINE, TRADER, "odd prints")
    execution = bench.engine.execution
    entry = execution.order(BTC, Side.BUY, 100, 6_000_001, reduces=False)
    verdict = execution.gate(entry)
    assert verdict.code == "kill_latch"
    assert "odd prints" in verdict.why
    leaving = execution.order(BTC, Side.SELL, 100, 5_999_999, reduces=True)
    assert execution.gate(leaving).allowed


# --- the strategy -------------------------------------------------------------------------------


def test_a_halted_strategy_opens_nothing_and_the_trader_still_may() -> None:
    bench = Bench(mode=Mode.AUTO)
    assert "strategy HALTED" in bench.engine.kills.kill(STRATEGY, TRADER, "out of its depth")
    bench.see()
    bench.pass_ms(250)
    assert bench.broker.submitted == []
    assert bench.engine.holds[BTC].text == "strategy halted: out of its depth"
    by_hand = bench.engine.execution.order(BTC, Side.BUY, 2_000, 6_000_001, reduces=False)
    assert bench.engine.execution.gate(by_hand).code != "kill_latch"


def test_a_halted_strategy_still_leaves_its_position() -> None:
    bench = holding()
    bench.engine.kills.kill(STRATEGY, TRADER, "out of its depth")
    bench.see(p_up=0.5)
    bench.pass_ms(60_000)
    assert bench.broker.submitted[-1].side is Side.SELL
    assert bench.broker.submitted[-1].reduces


def test_a_strategy_halt_cancels_its_entries_at_work_and_leaves_those_of_the_hand() -> None:
    bench = Bench(mode=Mode.AUTO)
    own = working(bench)
    hand = msgspec.structs.replace(
        bench.engine.execution.order(BTC, Side.BUY, 2_000, 5_999_000, reduces=False),
        client_order_id="hand-1", tif=TimeInForce.GTC,
    )  # fmt: skip
    bench.engine.execution.orders.put(hand, 1)
    bench.engine.kills.kill(STRATEGY, TRADER, "x")
    states = bench.engine.execution.orders.states
    assert states[own].status is OrderStatus.PENDING_CANCEL
    assert states["hand-1"].status is not OrderStatus.CANCELED


def test_a_strategy_entry_that_was_queued_before_its_halt_never_leaves() -> None:
    bench = Bench(mode=Mode.CONFIRM)
    bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, TRADER)
    bench.engine.kills.kill(STRATEGY, TRADER, "x")
    bench.take()
    assert bench.broker.submitted == []


def test_the_gate_itself_denies_what_a_halted_strategy_asks_for() -> None:
    bench = Bench()
    bench.engine.context.strategy_decisions.append("d-9")
    bench.engine.kills.kill(STRATEGY, TRADER, "out of its depth")
    hand = bench.engine.execution.order(BTC, Side.BUY, 2_000, 6_000_001, reduces=False)
    own = msgspec.structs.replace(hand, decision_id="d-9")
    assert bench.engine.execution.gate(own).code == "kill_latch"
    assert bench.engine.execution.gate(hand).code != "kill_latch"


def test_a_strategy_halt_withdraws_its_entries_that_wait_for_an_answer() -> None:
    bench = Bench()
    decision = bench.propose()
    bench.engine.kills.kill(STRATEGY, TRADER, "x")
    with pytest.raises(ValueError, match="does not wait"):
        bench.engine.proposals.answer(decision, Verdict.APPROVED, TRADER)


def test_the_strategy_is_rearmed_while_exits_are_at_work() -> None:
    bench = holding()
    bench.engine.kills.kill(STRATEGY, TRADER, "x")
    bench.engine.close_trade(BTC, TRADER, "closed by hand")
    assert bench.engine.rearm(TRADER, "looked", STRATEGY) == "re-armed the strategy"


# --- one order ----------------------------------------------------------------------------------


def test_an_order_is_killed_alone_and_nothing_is_halted_or_latched() -> None:
    bench = Bench(mode=Mode.AUTO)
    key = working(bench)
    assert bench.engine.kills.kill(scopes.of_order(key), TRADER, "x") == f"{key}: cancel on its way"
    assert bench.engine.context.why_closed(BTC) == ""
    assert bench.latch.scoped == {}
    (told,) = bench.sink.of(ev.KillTripped)
    assert told.scope == f"order:{key}"


@pytest.mark.parametrize(
    ("scope", "why"),
    [
        ("order:nope", "not open"),
        ("instrument:NOPE", "not traded"),
        ("bogus", "allowed is all"),
        ("instrument:", "allowed is all"),
    ],
)
def test_a_kill_of_what_is_not_there_is_refused_and_journaled(scope: str, why: str) -> None:
    stage = two()
    reply = stage.command(Kill(scope, "x"))
    assert not reply.ok
    assert why in reply.text
    (refused,) = stage.ledger.of(ev.CommandRefused)
    assert refused.command == "Kill"
    stage.end()


@pytest.mark.parametrize("scope", ["instrument:NOPE", "strategy", "order:x"])
def test_rearming_what_is_not_halted_is_refused(scope: str) -> None:
    stage = two()
    reply = stage.command(Rearm("checked", scope=scope))
    assert not reply.ok
    assert "is not halted" in reply.text
    stage.end()


def test_what_the_broker_says_otherwise_keeps_everything_halted() -> None:
    bench = Bench()
    bench.engine.kill_all(TRADER, "F12")
    differs = Difference(DifferenceKind.POSITION, BTC, BTC, ours="2", theirs="3")
    bench.engine.context.differences = (differs,)
    with pytest.raises(ValueError, match="we say 2, the broker says 3"):
        bench.engine.rearm(TRADER, "checked")


# --- no watchdog --------------------------------------------------------------------------------


def test_without_a_watchdog_nothing_new_is_opened_and_exits_go() -> None:
    bench = holding()
    bench.session.set_unguarded("no watchdog: it has ended")
    execution = bench.engine.execution
    entry = execution.order(BTC, Side.BUY, 100, 6_000_001, reduces=False)
    assert "no watchdog" in execution.gate(entry).why
    assert execution.gate(execution.order(BTC, Side.SELL, 9, 5_999_999, reduces=True)).allowed
    bench.session.set_unguarded("")
    assert execution.gate(entry).code != "kill_latch"
    noted = [event.text for event in bench.sink.of(ev.InputTaken) if event.kind == "watchdog"]
    assert noted == ["no watchdog: it has ended", ""]


# --- P&L that raises ----------------------------------------------------------------------------


def break_profit(bench: Bench | Stage) -> None:
    def broken(*_: object) -> Decimal:
        raise ArithmeticError("profit cannot be counted")

    for money in bench.engine.account.by_quote.values():
        money.today = broken  # type: ignore[method-assign]
        money.unrealized = broken  # type: ignore[method-assign]
        money.exposure = broken  # type: ignore[method-assign]
        money.sample_curve = broken  # type: ignore[method-assign]


def test_a_kill_closes_the_position_although_profit_cannot_be_counted() -> None:
    bench = holding()
    break_profit(bench)
    assert "1 closing" in bench.engine.kill_all(TRADER, "F12")
    bench.pass_ms(500)
    assert bench.broker.submitted[-1].side is Side.SELL
    bench.fill_all(ticks=5_999_999)
    bench.pass_ms(500)
    assert bench.engine.account.position(BTC) == 0
    assert not bench.engine.execution.closing


def test_profit_that_cannot_be_counted_kills_by_itself_once_and_cannot_be_rearmed() -> None:
    bench = holding()
    break_profit(bench)
    bench.pass_ms(2_000)
    assert bench.engine.context.halted == "P&L failed: ArithmeticError: profit cannot be counted"
    bench.fill_all(ticks=5_999_999)
    bench.pass_ms(2_000)
    assert bench.engine.account.position(BTC) == 0
    assert len(bench.sink.of(ev.KillTripped)) == 1
    with pytest.raises(ValueError, match="P&L failed"):
        bench.engine.rearm(TRADER, "checked")


def test_without_profit_no_entry_passes_the_gate() -> None:
    bench = Bench()
    break_profit(bench)
    entry = bench.engine.execution.order(BTC, Side.BUY, 2_000, 6_000_001, reduces=False)
    assert not bench.engine.execution.gate(entry).allowed


def test_a_screen_and_metrics_go_on_without_profit_and_show_the_lots() -> None:
    stage = two()
    enter(stage, 0)
    stage.settle_venue()
    break_profit(stage)
    stage.commands.snapshot()  # the first one meets the failure half way
    picture = stage.commands.snapshot()
    (held,) = picture.positions
    assert held.lots > 0
    assert (held.unrealized, held.realized) == (None, "NaN")
    assert (picture.pnl.total, picture.pnl.realized) == (None, "NaN")
    Metrics().update(picture, {})
    stage.pass_ms(1_500)
    assert stage.commands.snapshot().risk.is_halted
    stage.end()


# --- after a restart ----------------------------------------------------------------------------


def again(bench: Bench, *past: PastHalt, flattens: bool = True) -> Bench:
    """Return a second engine that starts with the fills of the first and finds ``past``."""
    fresh = Bench(mode=Mode.AUTO)
    settings = fresh.engine.settings
    risk = msgspec.structs.replace(settings.risk, kill_flattens=flattens)
    fills = tuple(event.fill for event in bench.sink.of(ev.Filled))
    fresh.engine = Engine(
        EngineSetup(
            protocol=fresh.feed, settings=msgspec.structs.replace(settings, risk=risk),
            mode=Mode.AUTO, sink=fresh.sink, latch=fresh.latch, run_id="beef4567" * 4,
            fee_bps=Decimal(10), fills=fills,
        )
    )  # fmt: skip
    fresh.engine.desks[0].think = lambda *_: None  # type: ignore[method-assign]
    fresh.session.engine = fresh.engine
    fresh.engine.context.move_to(fresh.now_ns)
    fresh.engine.kills.take_over(past)
    fresh.engine.kills.resume(past)
    fresh.take(fresh.feed.set_state(fresh.now_ns, FeedState.LIVE))
    fresh.book(BIDS, ASKS)
    return fresh


KILLED = PastHalt(ALL, "F12", TRADER, flattens=True)


def notices(bench: Bench) -> str:
    return " | ".join(notice.text for notice in bench.engine.context.notices)


def test_a_start_goes_on_with_the_closing_that_a_kill_began() -> None:
    bench = again(holding(), KILLED)
    assert "closing goes on: BTCUSDT" in notices(bench)
    bench.pass_ms(500)
    (order,) = bench.broker.submitted
    assert (order.side, order.reduces) == (Side.SELL, True)
    bench.fill_all(ticks=5_999_999)
    bench.pass_ms(500)
    assert bench.engine.account.position(BTC) == 0
    (told,) = bench.sink.of(ev.KillTripped)
    assert told.reason == "resumed after a restart: F12"
    assert bench.engine.rearm(TRADER, "flat") == "re-armed"


def test_nothing_is_closed_in_a_past_that_is_lived_through() -> None:
    bench = again(holding(), KILLED)
    assert bench.engine.can_trade(), "silence of the loop means something from here on"
    bench.engine.context.hold_back = "living through the market's past"
    assert not bench.engine.can_trade()
    bench.pass_ms(5_000)
    assert bench.broker.submitted == []
    bench.engine.context.hold_back = ""
    bench.pass_ms(500)
    assert len(bench.broker.submitted) == 1


@pytest.mark.parametrize(
    ("past", "flattens", "why"),
    [
        (KILLED, False, "kill_flattens is off"),
        (PastHalt(ALL, "KILL exists", is_readable=False), True, "cannot be read"),
        (PastHalt(ALL, "no ledger: disk is full", "system"), True, "not one that closes"),
    ],
)
def test_a_start_that_does_not_close_says_why_not(past: PastHalt, flattens: bool, why: str) -> None:
    bench = again(holding(), past, flattens=flattens)
    assert why in notices(bench)
    assert "still open: BTCUSDT" in notices(bench)
    bench.pass_ms(2_000)
    assert bench.broker.submitted == []
    assert bench.engine.context.halted == past.reason


def test_a_halted_instrument_is_closed_by_the_next_start_and_stays_halted() -> None:
    bench = again(holding(), PastHalt(MINE, "odd prints", TRADER, flattens=True))
    bench.pass_ms(500)
    bench.fill_all(ticks=5_999_999)
    bench.pass_ms(500)
    assert bench.engine.account.position(BTC) == 0
    assert bench.engine.context.why_closed(BTC) == "odd prints"
    assert not bench.engine.context.halted


def test_a_halted_strategy_stays_halted_after_a_restart_and_keeps_its_position() -> None:
    bench = again(holding(), PastHalt(STRATEGY, "out of its depth", TRADER))
    assert "strategy HALTED since before: out of its depth" in notices(bench)
    bench.pass_ms(2_000)
    assert bench.broker.submitted == []
    assert bench.engine.context.halts == {STRATEGY: "out of its depth"}


def test_the_halt_of_an_instrument_that_is_not_traded_now_is_kept_quiet() -> None:
    other = PastHalt(scopes.of_instrument("DOGE"), "x", TRADER, flattens=True)
    bench = again(holding(), other)
    bench.pass_ms(1_000)
    assert bench.broker.submitted == []


def test_scoped_kills_overtake_what_is_due() -> None:
    stage = two()
    stage.now_ns += 10_000_000_000
    stage.clock.move_to(stage.now_ns)
    seen: list[str] = []
    stage.engine.desks[0].think = lambda *_: seen.append("thought")  # type: ignore[method-assign]
    reply = stage.commands.carry_out(Kill(STRATEGY, "x"))
    assert isinstance(reply, Ack)
    assert reply.ok
    assert seen == []
    stage.commands.carry_out(KillAll())
    stage.end()
