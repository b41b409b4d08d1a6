"""A live venue: its socket feeds the session; orders go to the paper broker."""

from __future__ import annotations

import asyncio

import msgspec
import numpy as np

from cli.engine import EngineProcess, run_process
from cli.wiring import RunPlan, fee_bps, make_recorder, make_tape, open_ledger, wire
from core.brokers.paper import PaperBroker
from core.clock import Clock
from core.config import FeedSettings, Settings
from core.errors import UserError
from core.feeds.recorder import CaptureWriter
from core.feeds.registry import default_symbols, fetch_instruments, protocol_for, require_live
from core.feeds.socket import run_feed
from core.model.decision import Mode
from core.model.instrument import Instrument
from core.model.market import MarketEvent
from core.session import Session
from core.state import StateDir


def settings_at(settings: Settings, endpoint: str | None) -> tuple[Settings, str]:
    """Return the settings with every address at ``endpoint``, and its HTTP address.

    A test bed serves socket and HTTP on one port. Errors: ``UserError`` for another scheme.
    """
    if endpoint is None:
        return settings, ""
    scheme, _, host = endpoint.rstrip("/").partition("://")
    if scheme not in {"ws", "wss"} or not host:
        raise UserError(f"--endpoint was {endpoint!r}, allowed is ws://HOST:PORT or wss://HOST")
    rest = ("http://" if scheme == "ws" else "https://") + host
    feed = msgspec.structs.replace(
        settings.feed,
        binance_stream=endpoint.rstrip("/"),
        binance_rest=rest,
        coinbase_stream=endpoint.rstrip("/"),
    )
    assert isinstance(feed, FeedSettings)
    return msgspec.structs.replace(settings, feed=feed), rest


def ask_instruments(
    venue: str, symbols: tuple[str, ...], settings: Settings, rest: str
) -> list[Instrument]:
    """Return the instruments as the venue lists them now.

    Errors: ``UserError`` for a venue or symbol that cannot be had live; ``TryAgain`` when the
    venue cannot be reached.
    """
    require_live(venue)
    wanted = symbols or default_symbols(venue, settings)
    return asyncio.run(fetch_instruments(venue, wanted, settings, rest=rest))


def start_live(
    settings: Settings,
    state: StateDir,
    clock: Clock,
    duration_s: float | None,
    endpoint: str | None,
) -> None:
    """Run on a live venue until asked to stop. Errors: as ``ask_instruments``."""
    venue = settings.run.venue
    settings, rest = settings_at(settings, endpoint)
    instruments = ask_instruments(venue, settings.run.symbols, settings, rest)
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
    rig.recorder = recorder
    process = EngineProcess(rig, state, clock, settings.metrics.port)
    feed = _feed(rig.session, settings, clock, recorder)
    body = process.run(feed, duration_s=duration_s, ends_with_feed=False, is_live=True)
    run_process(process, body, clock)


async def _feed(
    session: Session, settings: Settings, clock: Clock, recorder: CaptureWriter | None
) -> None:
    session.clock = clock
    await run_feed(
        session,
        nothing_left,
        clock,
        settings,
        generator=np.random.default_rng(settings.run.seed),
        stop=asyncio.Event(),
        recorder=recorder,
    )


def nothing_left(events: list[MarketEvent], recv_ns: int) -> None:
    """Take what a session leaves over: nothing, for it takes every event as it comes."""
    assert not events, f"{len(events)} events were left at {recv_ns}"
