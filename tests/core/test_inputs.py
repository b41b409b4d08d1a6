"""What enters a run beside its market data is journaled, and where: it can be given again."""

from __future__ import annotations

import asyncio

import msgspec

from core.clock import ManualClock
from core.control import AnyCommand, GetSnapshot, KillAll, SetMode
from core.model import event as ev
from core.model.decision import Mode, Verdict
from core.model.order import OrderStatus
from tests.core.test_commands import Desk
from tests.core.test_session import live_bench, until_idle

_command = msgspec.json.Decoder(AnyCommand)


def inputs(of: Desk) -> list[ev.InputTaken]:
    return of.bench.sink.of(ev.InputTaken)


def test_a_command_is_kept_word_for_word_with_who_said_it_and_where() -> None:
    desk = Desk()
    desk.bench.session.run_timers(desk.bench.now_ns + 5)
    said = SetMode(Mode.AUTO)
    desk.say(said)
    (entered,) = inputs(desk)
    assert (entered.kind, entered.actor) == ("command", "human:trader")
    assert _command.decode(entered.text) == said
    assert entered.brought_ns == desk.bench.now_ns + 5
    assert entered.frames == desk.bench.session.counters.frames
    # Before what it did: the replay gives it at this place, and the rest follows.
    assert desk.bench.sink.types()[-2:] == ["InputTaken", "ModeChanged"]


def test_a_kill_is_journaled_after_its_cancels_for_nothing_may_come_before_them() -> None:
    desk = Desk()
    desk.say(KillAll("enough"))
    types = desk.bench.sink.types()
    assert types.index("KillTripped") < types.index("InputTaken")


def test_a_refused_command_is_an_input_too_and_a_picture_is_none() -> None:
    desk = Desk()
    desk.say(KillAll("once"))
    desk.commands.carry_out(GetSnapshot())
    assert [entered.kind for entered in inputs(desk)] == ["command"]


def test_a_command_of_a_live_run_comes_at_the_wall_clock() -> None:
    desk = Desk()
    clock = desk.bench.session.clock = ManualClock(desk.bench.now_ns + 77)
    desk.say(SetMode(Mode.OBSERVE))
    assert inputs(desk)[0].brought_ns == clock.now_ns()
    assert desk.bench.engine.context.now_ns == clock.now_ns()


async def test_the_instant_an_order_leaves_is_journaled_and_until_then_it_is_queued() -> None:
    bench, sink = live_bench()
    async with asyncio.TaskGroup() as group:
        settling = group.create_task(bench.session.settle_forever())
        bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
        bench.session.hand_over()
        await until_idle()
        assert bench.engine.execution.orders.waiting == 1
        assert not bench.sink.of(ev.InputTaken)
        sink.waiting[0].set_result(None)
        await until_idle()
        settling.cancel()
    (entered,) = bench.sink.of(ev.InputTaken)
    (order,) = bench.broker.submitted
    assert (entered.kind, entered.text) == ("sent", order.client_order_id)
    assert bench.engine.execution.orders.waiting == 0


async def test_an_order_canceled_while_it_waits_counts_no_more_and_does_not_leave() -> None:
    bench, sink = live_bench()
    async with asyncio.TaskGroup() as group:
        settling = group.create_task(bench.session.settle_forever())
        bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
        bench.session.hand_over()
        await until_idle()
        bench.engine.execution.cancel_orders("human:trader", "changed my mind")
        assert bench.engine.execution.orders.waiting == 0
        sink.waiting[0].set_result(None)
        await until_idle()
        settling.cancel()
    assert not bench.broker.submitted
    assert not bench.sink.of(ev.InputTaken)
    (state,) = bench.engine.execution.orders.states.values()
    assert state.status is OrderStatus.CANCELED
