"""The simulated market as a venue: a past lived through at once, then real time."""

from __future__ import annotations

import asyncio

import msgspec

from cli.engine import EngineProcess, run_process
from cli.recordings import make_recordings
from cli.rig import Rig, RunSink
from cli.wiring import RunPlan, open_ledger, wire
from core.brokers.sim import SimBroker
from core.clock import NS_PER_S, Clock, ScaledClock
from core.config import Settings
from core.feeds.recorder import CaptureWriter
from core.feeds.sim import SimProtocol
from core.live import run_sim, run_sim_until
from core.model.decision import Mode
from core.model.event import RunStarted
from core.model.instrument import Instrument
from core.recordings import Recordings
from core.session import Session
from core.sim.market import SimMarket, sim_instrument
from core.sim.params import SET_C
from core.sim.venue import SimVenue
from core.state import StateDir
from ledger.rows import History

PAST_STEP_NS = 10 * NS_PER_S
"""Market time lived through between two looks at commands."""
PRESENT_NS = NS_PER_S // 20
"""Closer than this to the clock, the past is over."""


def start_sim(settings: Settings, state: StateDir, clock: Clock, duration_s: float | None) -> None:
    """Run the simulated market until asked to stop."""
    writer, history = open_ledger(state)
    now_ns = clock.now_ns()
    instrument = sim_instrument(settings.sim.instrument)
    recordings = make_recordings(settings, state, [instrument], now_ns)
    plan = RunPlan(
        state=state,
        settings=settings,
        mode=Mode(settings.run.mode),
        seed=settings.run.seed,
        source="sim",
        source_name="simulated market",
    )
    rig, venue = sim_rig(plan, writer, history, now_ns, recordings)
    process = EngineProcess(rig, state, clock, settings.metrics.port)
    start_ns = past_of(settings, now_ns)
    feed = _feed(rig, venue, clock, settings, start_ns, recordings.captures.get("sim"))
    body = process.run(feed, duration_s=duration_s, ends_with_feed=False, is_live=True)
    run_process(process, body, clock)


def sim_rig(
    plan: RunPlan,
    writer: RunSink,
    history: History,
    now_ns: int,
    recordings: Recordings | None = None,
    recorded: RunStarted | None = None,
) -> tuple[Rig, SimVenue]:
    """Wire the engine to a simulated market that begins ``[sim] history_s`` before ``now_ns``."""
    settings = plan.settings
    start_ns = past_of(settings, now_ns)
    instrument = sim_instrument(settings.sim.instrument)
    market = SimMarket(
        instrument,
        plan.seed,
        msgspec.structs.replace(SET_C, unit_lots=settings.sim.unit_lots),
        start_ns=start_ns,
        start_ticks=_start_ticks(instrument, settings, history),
    )
    venue = SimVenue([market])
    broker = SimBroker(venue, settings)
    protocol = SimProtocol([instrument], settings)
    rig = wire(
        plan, protocol, broker, writer, history, start_ns, now_ns, recordings, recorded=recorded
    )
    return rig, venue


def past_of(settings: Settings, now_ns: int) -> int:
    """Return when the simulated market begins, for a run that begins at ``now_ns``."""
    return now_ns - settings.sim.history_s * NS_PER_S


def begin_past(session: Session, venue: SimVenue, start_ns: int) -> None:
    """Open the market; what follows is a past, in which nothing is proposed."""
    session.on_open(start_ns)
    venue.connect(start_ns)
    session.engine.context.hold_back = "living through the market's past"


def end_past(session: Session, venue: SimVenue, past_ns: int) -> None:
    """The past has reached the present: trade from here on."""
    session.note_input("past_over")
    session.engine.context.hold_back = ""
    # A recording begins with a whole book.
    venue.connect(past_ns)


def _start_ticks(instrument: Instrument, settings: Settings, history: History) -> int:
    """Open where the last fill of an earlier run left off: a kept position keeps its price."""
    fills = history.fills_of([instrument])
    return fills[-1].price_ticks if fills else instrument.ticks(settings.sim.start_price)


async def _feed(
    rig: Rig,
    venue: SimVenue,
    clock: Clock,
    settings: Settings,
    start_ns: int,
    recorder: CaptureWriter | None,
) -> None:
    """Live through the market's past without trading, then run with the clock.

    The past gives the screen its chart and the forecasts their labels before the first proposal.
    """
    session = rig.session
    begin_past(session, venue, start_ns)
    past_ns = start_ns
    # Living through the past takes time too: go on until the present is reached.
    while (behind_ns := clock.now_ns() - past_ns) > PRESENT_NS:
        past_ns += min(behind_ns, PAST_STEP_NS)
        run_sim_until(session, venue, past_ns)
        await asyncio.sleep(0)
    end_past(session, venue, past_ns)
    # No clock for the session: engine time is market time, never ahead of it.
    await run_sim(session, venue, ScaledClock(clock, past_ns, settings.sim.speed), recorder)
