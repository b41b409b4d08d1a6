"""Replay of a capture: the tape's clock moves the engine, as fast as asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from core.clock import NS_PER_S, Clock
from core.feeds.capture import CaptureReader
from core.feeds.replaying import Player, without_last_close
from core.session import SILENCE_NS, Session

YIELD_EVERY = 512
"""Records between two looks at commands when a replay runs as fast as it goes."""
PAUSE_S_MAX = 0.05
HEARD = frozenset({"recv", "http", "open", "close"})
"""Kinds of records that bring time to the session; nothing is waited for before the others."""


async def run_replay(
    session: Session,
    reader: CaptureReader,
    clock: Clock,
    speed: float | None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Feed a capture to the session; ``speed`` None is as fast as it goes.

    Errors: ``CaptureError`` at the line that cannot be read; what came before has been taken.
    """
    start_ns = clock.now_ns()
    first_ns: int | None = None
    player = Player(session, reader.meta, session.engine.settings)
    for count, record in enumerate(without_last_close(reader)):
        if first_ns is None:
            first_ns = record.ns
        if count % YIELD_EVERY == 0:
            await asyncio.sleep(0)
            if progress is not None:
                progress(count)
        if speed is not None and record.kind in HEARD:
            await _wait_for(session, clock, start_ns, first_ns, record.ns, speed)
        player.give(record)
    player.finish()


async def _wait_for(
    session: Session, clock: Clock, start_ns: int, first_ns: int, tape_ns: int, speed: float
) -> None:
    """Wait until the tape's time has come; timers run meanwhile at the tape's pace.

    Whatever the pace, the same timers run: a silence that a replay at full speed steps over is
    not lived through here.
    """
    due_ns = start_ns + int((tape_ns - first_ns) / speed)
    timer_ns = session.next_due_ns()
    is_silence = timer_ns is not None and tape_ns - timer_ns > SILENCE_NS
    while (ahead_ns := due_ns - clock.now_ns()) > 0:
        await asyncio.sleep(min(PAUSE_S_MAX, ahead_ns / NS_PER_S))
        if not is_silence:
            session.run_timers(min(tape_ns, first_ns + int((clock.now_ns() - start_ns) * speed)))
