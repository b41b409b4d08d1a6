"""The engine process: one loop that serves commands, settles orders and runs a feed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Coroutine
from typing import Any

from cli.exit import tell
from cli.guard import Guard
from cli.rig import Rig
from cli.screen import SCREEN_EXPECTED
from core.clock import NS_PER_S, Clock
from core.commands import Commands
from core.control import SOCKET_NAME, KillAll
from core.latch import KillLatch
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
        self.guard: Guard | None = None
        """Of a live run: its heartbeat and its watchdog."""
        self._stopped = asyncio.Event()
        self._unguarded = ""
        """What was last said about the watchdog."""

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
        if is_live:
            self.guard = Guard(self.state.path, session.engine.settings.watchdog)
            self.guard.start()
        try:
            await self._serve(server, feed, duration_s, ends_with_feed=ends_with_feed)
        finally:
            if self.guard is not None:
                self.guard.end(in_order=bool(self.reason))

    async def _serve(
        self,
        server: ControlServer,
        feed: Coroutine[Any, Any, None],
        duration_s: float | None,
        *,
        ends_with_feed: bool,
    ) -> None:
        session = self.rig.session
        async with server, asyncio.TaskGroup() as group:
            self._obey_signals()
            tasks = [group.create_task(server.watch())]
            if self.guard is not None:
                session.wake = asyncio.Event()
                tasks.append(group.create_task(session.settle_forever()))
                tasks.append(group.create_task(self._tick(self.guard)))
            tasks.append(group.create_task(self._metrics()))
            end = server if ends_with_feed else None
            tasks.append(group.create_task(self._feed(feed, end)))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), duration_s)
            self.reason = self.reason or f"{duration_s:g} s are over"
            if not session.finished:  # a feed that ended says so in every replay
                session.note_input("stop", self.reason)
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
        # Not the loop's own handler: this one runs while the loop is blocked too.
        signal.signal(signal.SIGUSR1, lambda *_: self._close_gate_now(loop))

    def _close_gate_now(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the gate between two steps of whatever runs; the rest of the kill in its turn."""
        kill = self._kill_on_disk() or KillAll(reason="signal SIGUSR1", actor="system")
        self.rig.session.engine.kills.close_gate(kill.actor, kill.reason)
        if self.guard is not None:
            self.guard.tell_closed()
        if not loop.is_closed():
            loop.call_soon_threadsafe(self.commands.carry_out, kill)

    def _kill_on_disk(self) -> KillAll | None:
        """Return the kill that the latch asks for: of a watchdog, a trader or a hand."""
        state = KillLatch(self.state.path).read()
        if not state.is_halted:
            return None
        return KillAll(reason=state.reason or "the file KILL appeared", actor=state.actor or "file")

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

    def _look_around(self, guard: Guard) -> None:
        """Obey the kill file, look after the watchdog; ten times a second."""
        session = self.rig.session
        engine = session.engine
        context, settings = engine.context, engine.settings.watchdog
        if not context.halted and guard.is_latched():
            self.commands.carry_out(self._kill_on_disk() or KillAll("the file KILL was there"))
        if (trouble := guard.trouble()) != self._unguarded:
            self._unguarded = trouble
            is_alarm = trouble and not guard.is_awaited
            context.notify("error" if is_alarm else "info", trouble or "a watchdog guards the run")
            session.set_unguarded(trouble if settings.required else "")

    async def _tick(self, guard: Guard) -> None:
        told, told_ledger = "", ""
        while True:
            engine = self.rig.session.engine
            if (failure := self.rig.writer.failure) is not None:
                engine.context.lose_ledger(failure)  # found by its audit: nothing was written since
            if engine.context.ledger_failure != told_ledger:
                told_ledger = engine.context.ledger_failure
                with contextlib.suppress(OSError):  # stderr may lie on the very disk that is full
                    tell(f"HALTED by the ledger: {told_ledger}")
            is_closed, is_trading = bool(engine.context.halted), engine.can_trade()
            if guard.turn(time.monotonic_ns(), is_closed=is_closed, is_trading=is_trading):
                self._look_around(guard)
            if (trouble := self.rig.trouble()) != told:
                told = trouble
                self.rig.session.engine.context.notify("warning", trouble)
            self.rig.session.pass_time()
            self.rig.session.hand_over()
            self.rig.keep_recordings(self.clock.now_ns())
            self.rig.watch_clock(self.clock.now_ns())
            self.rig.watch_anchors(self.clock.now_ns())
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
        try:
            process.rig.close(process.reason or "ended", clock.now_ns())
        finally:
            if process.guard is not None:
                process.guard.close()


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first leaf of an exception group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
