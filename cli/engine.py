"""The engine process: one loop that serves commands, settles orders and runs a feed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine
from typing import Any

from cli.screen import SCREEN_EXPECTED
from cli.wiring import Rig
from core.clock import NS_PER_S, Clock
from core.commands import Commands
from core.control import SOCKET_NAME, KillAll
from core.metrics import Metrics, start_metrics
from core.server import ControlServer
from core.state import StateDir

TICK_S = 0.02
"""How often time is brought to a live engine between frames."""
METRICS_S = 1.0
SCREEN_BACK_S = 3.0
"""A screen that lost its connection for less than this is not lost."""
LOOK_S = 0.1
"""How often a feed that has ended looks whether a screen still shows it."""
SCREEN_WAIT_S_MAX = 60.0
"""How long a feed that has ended waits for that screen."""


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
            self.state.path / SOCKET_NAME,
            self.commands.carry_out,
            lambda: self._wait_for_screen(server),
        )
        self.commands.clients = server.counters.view
        async with server, asyncio.TaskGroup() as group:
            self._obey_signals()
            tasks = [group.create_task(server.watch())]
            if is_live:
                session.wake = asyncio.Event()
                tasks.append(group.create_task(session.settle_forever()))
                tasks.append(group.create_task(self._tick()))
            tasks.append(group.create_task(self._metrics()))
            end = server if ends_with_feed else None
            tasks.append(group.create_task(self._feed(feed, end)))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), duration_s)
            self.reason = self.reason or f"{duration_s:g} s are over"
            session.engine.execution.cancel_orders("system", f"the engine stops: {self.reason}")
            session.send_cancels()
            for task in tasks:
                task.cancel()

    def _wait_for_screen(self, server: ControlServer) -> None:
        """The last screen is gone: give it a moment to come back, then follow the setting."""

        def look() -> None:
            if not server.n_screens:
                self.commands.on_screen_lost()

        asyncio.get_running_loop().call_later(SCREEN_BACK_S, look)

    def _obey_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop, f"signal {number.name}")
        kill = KillAll(reason="signal SIGUSR1", actor="system")
        loop.add_signal_handler(signal.SIGUSR1, self.commands.carry_out, kill)

    async def _feed(self, feed: Coroutine[Any, Any, None], end: ControlServer | None) -> None:
        """Run the feed; with ``end``, stop after it, when no screen of that server looks."""
        await feed
        session = self.rig.session
        session.finished = session.finished or "the feed has ended"
        session.engine.context.notify("info", session.finished)
        if end is not None:
            await self._until_nobody_looks(end)
            self.stop(session.finished)

    async def _until_nobody_looks(self, server: ControlServer) -> None:
        waits_ns = int(SCREEN_WAIT_S_MAX * NS_PER_S) if SCREEN_EXPECTED in os.environ else 0
        give_up_ns = self.clock.now_ns() + waits_ns
        has_looked = False
        while server.n_screens or (not has_looked and self.clock.now_ns() < give_up_ns):
            has_looked = has_looked or server.n_screens > 0
            await asyncio.sleep(LOOK_S)

    async def _tick(self) -> None:
        told = ""
        while True:
            if (trouble := self.rig.trouble()) != told:
                told = trouble
                self.rig.session.engine.context.notify("warning", trouble)
            self.rig.session.catch_up()
            self.rig.session.hand_over()
            self.rig.keep_recordings(self.clock.now_ns())
            self.commands.look()
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
