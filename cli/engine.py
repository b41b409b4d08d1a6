"""The engine process: one loop that serves commands, settles orders and runs a feed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any

from cli.wiring import Rig
from core.clock import Clock
from core.commands import Commands
from core.control import SOCKET_NAME, KillAll
from core.metrics import Metrics, start_metrics
from core.server import ControlServer
from core.state import StateDir

TICK_S = 0.02
"""How often time is brought to a live engine between frames."""
METRICS_S = 1.0


class EngineProcess:
    """One engine, its feed task and its control socket, until something asks it to stop."""

    def __init__(self, rig: Rig, state: StateDir, clock: Clock, metrics_port: int) -> None:
        self.rig = rig
        self.state = state
        self.clock = clock
        self.reason = ""
        """Why it stopped; empty while it runs."""
        self.commands = Commands(rig.session, rig.facts, clock, rig.writer.head, self.stop)
        self.metrics_port = metrics_port
        self._stopped = asyncio.Event()

    def stop(self, reason: str) -> None:
        """Ask the process to end in order."""
        self.reason = self.reason or reason
        self._stopped.set()

    async def run(
        self,
        feed: Coroutine[Any, Any, None],
        *,
        duration_s: float | None = None,
        ends_with_feed: bool,
        is_live: bool,
    ) -> None:
        """Run until stopped, ``duration_s`` is over, or the feed ends and nobody looks.

        Errors: whatever broke; the ledger is closed by the caller.
        """
        session = self.rig.session
        server = ControlServer(
            self.state.path / SOCKET_NAME, self.commands.carry_out, self.commands.on_screen_lost
        )
        async with server, asyncio.TaskGroup() as group:
            self._obey_signals()
            tasks = [group.create_task(server.watch())]
            if is_live:
                session.wake = asyncio.Event()
                tasks.append(group.create_task(session.settle_forever()))
                tasks.append(group.create_task(self._tick()))
            tasks.append(group.create_task(self._metrics()))
            tasks.append(group.create_task(self._feed(feed, ends_with_feed=ends_with_feed)))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), duration_s)
            self.reason = self.reason or f"{duration_s:g} s are over"
            session.engine.execution.cancel_orders("system", f"the engine stops: {self.reason}")
            session.send_cancels()
            for task in tasks:
                task.cancel()

    def _obey_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop, f"signal {number.name}")
        kill = KillAll(reason="signal SIGUSR1", actor="system")
        loop.add_signal_handler(signal.SIGUSR1, self.commands.carry_out, kill)

    async def _feed(self, feed: Coroutine[Any, Any, None], *, ends_with_feed: bool) -> None:
        await feed
        session = self.rig.session
        session.finished = session.finished or "the feed has ended"
        session.engine.context.notify("info", session.finished)
        if ends_with_feed:
            self.stop(session.finished)

    async def _tick(self) -> None:
        while True:
            self.rig.session.catch_up()
            self.rig.session.hand_over()
            await asyncio.sleep(TICK_S)

    async def _metrics(self) -> None:
        if not self.metrics_port:
            return
        metrics = Metrics()
        with start_metrics(metrics, self.metrics_port):
            while True:
                counts = self.rig.session.engine.execution.orders.counts
                metrics.update(self.commands.snapshot(), counts)
                await asyncio.sleep(METRICS_S)


def run_process(process: EngineProcess, body: Coroutine[Any, Any, None], clock: Clock) -> None:
    """Run ``body`` to its end and close the rig, whatever happened.

    Errors: the one that ended it, taken out of its task group.
    """
    try:
        asyncio.run(body)
    except BaseExceptionGroup as group:
        error = first_error(group)
        process.reason = f"failed: {error}"
        raise error from group
    finally:
        process.rig.close(process.reason or "ended", clock.now_ns())


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first leaf of an exception group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
