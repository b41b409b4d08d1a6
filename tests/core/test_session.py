"""The session: time before data, durability before orders, cancels before everything."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

from core.errors import InvariantError
from core.model.decision import Verdict
from core.model.order import OrderStatus
from core.session import Timings
from tests.core.test_engine import Bench
from tests.fakes import MemorySink


class SlowSink(MemorySink):
    """A ledger whose flush is done when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Future[None]] = []

    def flush(self) -> Future[None]:
        future: Future[None] = Future()
        self.waiting.append(future)
        return future


def live_bench() -> tuple[Bench, SlowSink]:
    bench = Bench()
    sink = SlowSink()
    bench.session.sink = sink
    bench.session.wake = asyncio.Event()
    return bench, sink


async def until_idle() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_live_order_waits_for_the_ledger_and_leaves_when_it_is_durable() -> None:
    bench, sink = live_bench()
    async with asyncio.TaskGroup() as group:
        settling = group.create_task(bench.session.settle_forever())
        bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
        bench.session.hand_over()
        await until_idle()
        assert bench.broker.submitted == []
        sink.waiting[0].set_result(None)
        await until_idle()
        assert len(bench.broker.submitted) == 1
        settling.cancel()


async def test_a_kill_while_the_ledger_writes_keeps_the_entry_in() -> None:
    bench, sink = live_bench()
    async with asyncio.TaskGroup() as group:
        settling = group.create_task(bench.session.settle_forever())
        bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
        bench.session.hand_over()
        await until_idle()
        bench.engine.kill_all("human:trader", "F12")
        bench.session.hand_over()
        sink.waiting[0].set_result(None)
        await until_idle()
        assert bench.broker.submitted == []
        settling.cancel()


async def test_no_ledger_no_order_and_the_trader_is_told() -> None:
    bench, sink = live_bench()
    async with asyncio.TaskGroup() as group:
        settling = group.create_task(bench.session.settle_forever())
        bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
        bench.session.hand_over()
        await until_idle()
        sink.waiting[0].set_exception(InvariantError("disk is full"))
        await until_idle()
        settling.cancel()
    assert bench.broker.submitted == []
    (state,) = bench.engine.execution.orders.states.values()
    assert state.status is OrderStatus.DENIED
    assert "disk is full" in bench.engine.context.notices[-1].text


async def test_a_cancel_does_not_wait_for_the_ledger() -> None:
    bench = Bench()
    bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
    bench.take()
    sink = SlowSink()
    bench.session.sink, bench.session.wake = sink, asyncio.Event()
    bench.engine.kill_all("human:trader", "F12")
    bench.session.hand_over()
    assert bench.broker.canceled == [bench.broker.submitted[0].client_order_id]


def test_what_was_due_before_a_frame_has_run_when_the_frame_is_taken() -> None:
    bench = Bench()
    bench.see()
    bench.session.receive(b"", bench.now_ns + 300_000_000)
    (pending,) = bench.engine.proposals.pending.values()
    assert pending.proposal.made_ns % 250_000_000 == 0


def test_percentiles_are_unknown_before_the_first_timing() -> None:
    timings = Timings()
    assert timings.percentile_us(99) is None
    timings.add(2_000)
    assert timings.percentile_us(50) == 2.0
