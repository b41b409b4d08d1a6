"""A live venue: its socket feeds the session; orders go to the paper broker."""

from __future__ import annotations

import asyncio

import numpy as np

from cli.engine import EngineProcess, run_process
from cli.wiring import RunPlan, fee_bps, make_recorder, make_tape, open_ledger, wire
from core.brokers.paper import PaperBroker
from core.clock import Clock
from core.config import Settings
from core.feeds.registry import default_symbols, fetch_instruments, protocol_for, require_live
from core.feeds.socket import run_feed
from core.model.decision import Mode
from core.session import Session
from core.state import StateDir


def start_live(
    settings: Settings,
    state: StateDir,
    clock: Clock,
    duration_s: float | None,
    endpoint: str | None,
) -> None:
    """Run on a live venue until asked to stop.

    Errors: ``UserError`` for a venue or symbol that cannot be traded live, ``TryAgain`` when the
    venue cannot be reached for its product list.
    """
    venue = settings.run.venue
    require_live(venue)
    symbols = settings.run.symbols or default_symbols(venue, settings)
    instruments = asyncio.run(fetch_instruments(venue, symbols, settings, rest=_rest_of(endpoint)))
    protocol = protocol_for(venue, instruments, settings)
    writer, history = open_ledger(state)
    broker = PaperBroker(protocol.instruments, settings, fee_bps(settings, venue))
    now_ns = clock.now_ns()
    recorder = make_recorder(settings, state, instruments, now_ns)
    plan = RunPlan(
        state=state,
        settings=settings,
        mode=Mode(settings.run.mode),
        seed=settings.run.seed,
        source="live",
        source_name=f"live {venue}",
    )
    tape = make_tape(state, instruments, now_ns)
    rig = wire(plan, protocol, broker, writer, history, now_ns, now_ns, tape)
    process = EngineProcess(rig, state, clock, settings.metrics.port)
    feed = _feed(rig.session, settings, clock)
    try:
        body = process.run(feed, duration_s=duration_s, ends_with_feed=False, is_live=True)
        run_process(process, body, clock)
    finally:
        if recorder is not None:
            recorder.finish()
