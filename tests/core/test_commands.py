"""Commands: each is answered in words, and a refusal is in the ledger with its reason."""

from __future__ import annotations

import msgspec
import pytest

from core.clock import ManualClock
from core.commands import TRADER, Commands
from core.config import RunSettings
from core.control import (
    Ack,
    AnyCommand,
    CancelOrder,
    CloseTrade,
    Confirm,
    GetSnapshot,
    KillAll,
    Picture,
    Rearm,
    Reject,
    SetMode,
    Stop,
)
from core.model import event as ev
from core.model.decision import Mode, Verdict
from core.picture import RunFacts
from tests.core.test_engine import Bench
from tests.fakes import START_NS

FACTS = RunFacts(account="PAPER", source="test", version="1", started_ns=START_NS, agent_note="")


class Desk:
    """A bench with a trader at it."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.stopped: list[str] = []
        clock = ManualClock(self.bench.now_ns)
        self.commands = Commands(
            self.bench.session, FACTS, clock, lambda: (7, "abcdef0123456789"), self.stopped.append
        )

    def say(self, command: AnyCommand) -> Ack:
        reply = self.commands.carry_out(command)
        assert isinstance(reply, Ack)
        return reply

    def refused(self) -> list[ev.CommandRefused]:
        return self.bench.sink.of(ev.CommandRefused)


def test_confirm_sends_the_order_within_the_command_and_says_what_left() -> None:
    desk = Desk()
    reply = desk.say(Confirm(desk.bench.propose()))
    assert reply == Ack(ok=True, text="BUY 0.01666 BTCUSDT limit 60018 on its way")
    assert len(desk.bench.broker.submitted) == 1
    (answer,) = desk.bench.sink.of(ev.Answered)
    assert (answer.verdict, answer.actor) == (Verdict.APPROVED, TRADER)


def test_reject_keeps_the_reason_of_the_trader() -> None:
    desk = Desk()
    key = desk.bench.propose()
    assert desk.say(Reject(key, "too wide")) == Ack(ok=True, text=f"{key} rejected: too wide")
    assert desk.bench.sink.of(ev.Answered)[0].note == "too wide"


def test_cancel_kill_rearm_and_mode_are_acknowledged_in_words() -> None:
    desk = Desk()
    desk.say(Confirm(desk.bench.propose()))
    key = desk.bench.broker.submitted[0].client_order_id
    assert desk.say(CancelOrder(key)).text == f"{key}: cancel on its way"
    assert desk.bench.broker.canceled == [key]
    killed = desk.say(KillAll("F12"))
    assert killed == Ack(ok=True, text="KILLED by human:trader (F12): 1 orders canceled, 0 closing")
    desk.bench.fill_all()
    desk.bench.pass_ms(500)
    desk.bench.fill_all(5_999_999)
    desk.bench.pass_ms(500)
    assert desk.say(Rearm("checked")) == Ack(ok=True, text="re-armed")
    assert desk.say(SetMode(Mode.AUTO)) == Ack(ok=True, text="mode is auto")
    assert desk.refused() == []


def test_closing_a_trade_names_what_it_did() -> None:
    desk = Desk()
    nothing = desk.say(CloseTrade("BTCUSDT"))
    assert nothing.text == "BTCUSDT: 0 orders canceled, no position to close"
    desk.bench.open_position()
    closing = desk.say(CloseTrade("BTCUSDT"))
    assert closing.text == "BTCUSDT: 0 orders canceled, closing the position"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (Confirm("d9"), "d9 does not wait for an answer (any more)"),
        (Reject("d9"), "d9 does not wait for an answer (any more)"),
        (CancelOrder("o9"), "o9 is not open"),
        (CloseTrade("DOGE"), "DOGE is not traded in this run"),
        (Rearm("why not"), "nothing is halted"),
    ],
)
def test_what_cannot_be_done_is_refused_and_the_refusal_is_in_the_ledger(
    command: AnyCommand, why: str
) -> None:
    desk = Desk()
    assert desk.say(command) == Ack(ok=False, text=why)
    (refusal,) = desk.refused()
    assert refusal == ev.CommandRefused(command=type(command).__name__, actor=TRADER, reason=why)


def test_confirming_without_a_ledger_is_refused_and_nothing_leaves() -> None:
    desk = Desk()
    key = desk.bench.propose()
    desk.bench.sink.is_broken = True
    assert desk.say(Confirm(key)) == Ack(ok=False, text="disk is full")
    assert desk.bench.broker.submitted == []
    assert desk.bench.engine.context.halted == "no ledger: disk is full"


def test_an_order_whose_flush_fails_stays_in_and_the_engine_goes_on() -> None:
    desk = Desk()
    key = desk.bench.propose()
    append, sink = desk.bench.sink.append, desk.bench.sink

    def breaks_after_the_intent(event: ev.LedgerEvent, ts_ns: int, cause: int | None = None) -> int:
        seq = append(event, ts_ns, cause)
        sink.is_broken = isinstance(event, ev.OrderIntended)
        return seq

    sink.append = breaks_after_the_intent  # type: ignore[method-assign]
    desk.say(Confirm(key))
    assert desk.bench.broker.submitted == []
    assert desk.bench.engine.context.halted == "no ledger: disk is full"
    assert desk.bench.engine.execution.orders.open_states() == []


def test_a_proposal_that_expired_by_the_clock_cannot_be_confirmed() -> None:
    desk = Desk()
    key = desk.bench.propose()
    desk.bench.session.clock = ManualClock(desk.bench.now_ns + 20 * 10**9)
    assert not desk.say(Confirm(key)).ok
    assert desk.bench.sink.of(ev.Answered)[0].verdict is Verdict.EXPIRED


def test_a_kill_waits_for_no_timer_that_is_due() -> None:
    desk = Desk()
    desk.bench.see()
    desk.bench.session.clock = ManualClock(desk.bench.now_ns + 60 * 10**9)
    seen: list[str] = []
    desk.bench.engine.desks[0].think = (  # type: ignore[method-assign]
        lambda *_: seen.append(desk.bench.engine.context.halted)
    )
    assert desk.say(KillAll("F12")).ok
    desk.bench.session.catch_up()
    assert seen
    assert set(seen) == {"F12"}


def test_stop_asks_the_process_and_pictures_are_numbered() -> None:
    desk = Desk()
    assert desk.say(Stop("done")) == Ack(ok=True, text="stopping")
    assert desk.stopped == ["done"]
    numbers = []
    for _ in range(2):
        reply = desk.commands.carry_out(GetSnapshot())
        assert isinstance(reply, Picture)
        assert (reply.snapshot.health.ledger_seq, reply.snapshot.health.ledger_hash) == (
            7, "abcdef012345",
        )  # fmt: skip
        numbers.append(reply.snapshot.number)
    assert numbers == [1, 2]


@pytest.mark.parametrize(
    ("policy", "cancels", "closes"),
    [("hold", 0, False), ("cancel", 1, False), ("flatten", 1, True)],
)
def test_the_last_screen_gone_is_handled_as_the_user_chose(
    policy: str, cancels: int, closes: bool
) -> None:
    desk = Desk()
    bench = desk.bench
    bench.engine.settings = msgspec.structs.replace(
        bench.engine.settings,
        run=RunSettings(on_screen_lost=policy),  # type: ignore[arg-type]
    )
    desk.say(Confirm(bench.propose()))
    sent = bench.broker.submitted[0]
    bench.broker.fill(sent, 100, 6_000_001, bench.now_ns)
    bench.take()
    desk.commands.on_screen_lost()
    assert len(bench.broker.canceled) == cancels
    assert bool(bench.engine.execution.closing) is closes


def test_flat_because_the_screen_is_gone_stays_flat() -> None:
    """In auto mode the strategy would otherwise go in again a moment later, unseen."""
    desk = Desk()
    bench = desk.bench
    desk.say(SetMode(Mode.AUTO))
    bench.engine.settings = msgspec.structs.replace(
        bench.engine.settings, run=RunSettings(on_screen_lost="flatten")
    )
    bench.see()
    bench.pass_ms(250)
    bench.fill_all()
    desk.commands.on_screen_lost()
    bench.pass_ms(250)
    bench.fill_all(5_999_999)
    bench.pass_ms(60_000)
    assert bench.engine.account.position("BTCUSDT") == 0
    assert len(bench.broker.submitted) == 2
    assert bench.engine.mode is Mode.OBSERVE
