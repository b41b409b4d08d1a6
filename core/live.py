"""The simulated market in real time. Market data never runs ahead of what is due."""

from __future__ import annotations

import asyncio

from core.clock import NS_PER_S, Clock
from core.feeds.recorder import CaptureWriter
from core.session import Session
from core.sim.venue import SimVenue

SIM_STEP_S = 0.02
"""How often the simulated market is moved to the present."""
CATCH_UP_NS = 60 * NS_PER_S
"""Market time lived through between two looks at commands."""


def run_sim_until(
    session: Session, venue: SimVenue, now_ns: int, recorder: CaptureWriter | None = None
) -> None:
    """Move the simulated market to ``now_ns``, stopping at everything that is due on the way."""
    while True:
        due_ns = session.next_due_ns()
        step_ns = now_ns if due_ns is None else min(now_ns, due_ns)
        for frame_ns, frame in venue.run_until(step_ns):
            if recorder is not None:
                recorder.received(frame_ns, frame)
            session.receive(frame, frame_ns)
        session.run_timers(step_ns)
        if step_ns >= now_ns:
            return


async def run_sim(
    session: Session, venue: SimVenue, clock: Clock, recorder: CaptureWriter | None
) -> None:
    """Keep the simulated market at the clock's present until canceled.

    After a long stop (a suspended machine) it catches up in steps, and commands come in between.
    """
    market_ns = clock.now_ns()
    while True:
        now_ns = clock.now_ns()
        market_ns = min(now_ns, market_ns + CATCH_UP_NS)
        run_sim_until(session, venue, market_ns, recorder)
        await asyncio.sleep(SIM_STEP_S if market_ns == now_ns else 0)
