"""``tapewright record``: a venue's frames into a capture, without an engine."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

import numpy as np

from cli.engine import first_error
from cli.options import RecordOptions
from cli.run_live import ask_instruments, keys_for, settings_at
from core.clock import SystemClock
from core.config import Settings, load_settings
from core.errors import UserError
from core.feeds.capture import CaptureMeta
from core.feeds.handover import renewal_for
from core.feeds.link import FeedLink
from core.feeds.protocol import FeedProtocol
from core.feeds.recorder import CaptureWriter
from core.feeds.registry import protocol_for
from core.feeds.socket import run_feed
from core.model.instrument import Instrument
from core.model.market import MarketEvent
from core.secrets import VenueKeys

PROGRESS_S = 5.0


def record_command(options: RecordOptions) -> int:
    """Record until interrupted or the time is over; return the exit code."""
    venue = options.venue.value
    if venue == "sim":
        raise UserError("the simulated market needs no recording; use: run --venue sim --record")
    settings, rest = settings_at(load_settings(options.config), options.endpoint)
    keys = keys_for(venue, options.endpoint)
    instruments = ask_instruments(venue, options.symbols, settings, rest, keys)
    names = tuple(instrument.name for instrument in instruments)
    protocol = protocol_for(venue, instruments, settings)
    with CaptureWriter(options.out, CaptureMeta(venue, names, tuple(instruments))) as recorder:
        body = _record(protocol, instruments, settings, recorder, options.duration_s, keys)
        try:
            asyncio.run(body)
        except BaseExceptionGroup as group:
            raise first_error(group) from group
    print(
        f"{recorder.written} records, {recorder.n_bytes / 1e6:.1f} MB in {options.out}"
        + (f"; {recorder.stopped}" if recorder.stopped else ""),
        file=sys.stderr,
    )
    return 1 if recorder.stopped else 0


async def _record(
    protocol: FeedProtocol,
    instruments: list[Instrument],
    settings: Settings,
    recorder: CaptureWriter,
    duration_s: float | None,
    keys: VenueKeys | None,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    link = FeedLink()

    def fresh() -> FeedProtocol:
        return protocol_for(protocol.venue, instruments, settings)

    async with asyncio.TaskGroup() as group:
        telling = group.create_task(_tell(recorder, link))
        feed = group.create_task(
            run_feed(
                protocol, _ignore, SystemClock(), settings,
                generator=np.random.default_rng(0), stop=stop, recorder=recorder, link=link,
                fill=keys.fill if keys else str,
                renewal=renewal_for(protocol.venue, settings, fresh),
            )
        )  # fmt: skip
        feed.add_done_callback(lambda _: stop.set())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), duration_s)
        stop.set()
        await feed
        telling.cancel()


def _ignore(events: list[MarketEvent], recv_ns: int) -> None:
    """Recording wants the frames; the books are kept only to ask for what they need."""


async def _tell(recorder: CaptureWriter, link: FeedLink) -> None:
    while True:
        await asyncio.sleep(PROGRESS_S)
        state = "connected" if link.is_connected else f"not connected: {link.last_error}"
        print(f"{recorder.written} records, {state}", file=sys.stderr)
