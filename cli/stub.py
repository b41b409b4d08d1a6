"""``tapewright stub``: a venue on the loopback, told by a recording or a simulated market."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

from cli.options import StubOptions, Venue
from core.clock import Clock, SystemClock
from core.errors import TryAgain, UserError, ValueRefused
from core.feeds.capture import CaptureReader
from core.feeds.registry import default_symbols
from core.stub.captured import CapturedModel
from core.stub.faults import read_fault
from core.stub.registry import MODELS, sim_venue
from core.stub.server import StubServer
from core.stub.venue import VenueModel

_MAX_SPEED = 1000.0


def stub_command(options: StubOptions) -> int:
    """Serve until interrupted, the time is over or a recording has ended; return the exit code.

    Errors: ``UserError`` for options that do not fit; ``CaptureError``; ``TryAgain`` where the
    port is taken.
    """
    clock = SystemClock()
    speed = _speed(options.speed)
    try:
        venue = _venue(options, clock, speed)
        faults = [read_fault(text, venue.venue) for text in options.faults]
    except ValueRefused as error:
        raise UserError(f"stub: {error}") from error
    server = StubServer(
        venue, clock, port=options.port, faults=faults, seed=options.seed,
        is_paced=speed is not None,
    )  # fmt: skip
    asyncio.run(_serve(server, options))
    return 0


async def _serve(server: StubServer, options: StubOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await server.start()
    except OSError as error:
        raise TryAgain(f"stub: port {options.port} cannot be had ({error.strerror})") from error
    async with server:
        _tell(server, options)
        ended = asyncio.ensure_future(server.ended())
        ended.add_done_callback(lambda _: stop.set())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), options.duration_s)
        ended.cancel()
    print(f"stub: {server.venue.n_connections} connections served", file=sys.stderr)


def _tell(server: StubServer, options: StubOptions) -> None:
    venue = server.venue
    source = f"capture {options.capture}" if options.capture else "a simulated market"
    print(server.address, flush=True)
    book = server.address.replace("ws://", "http://") + f"/stub/book?symbol={venue.names[0]}"
    print(
        f"stub: {venue.venue}, {', '.join(venue.names)}, from {source}, speed {options.speed}"
        + (f", faults {', '.join(options.faults)}, seed {options.seed}" if options.faults else "")
        + f"\nstub: its own book: curl '{book}'"
        + f"\nstub: tapewright run --venue {venue.venue} --symbol {venue.names[0]} "
        f"--endpoint {server.address}",
        file=sys.stderr,
        flush=True,
    )


def _venue(options: StubOptions, clock: Clock, speed: float | None) -> VenueModel:
    now_ns = clock.now_ns()
    if options.capture is None:
        if options.venue is None or options.venue is Venue.SIM:
            raise UserError(f"stub: --venue must be one of {', '.join(MODELS)}, or --capture FILE")
        if options.loop:
            raise UserError("stub: --loop is for --capture; a simulated market has no end")
        name = options.venue.value
        symbols = options.symbols or default_symbols(name)
        return sim_venue(name, symbols, options.seed, now_ns, speed or 1.0)
    meta = CaptureReader(options.capture).meta
    if meta.venue not in MODELS:
        raise UserError(f"stub: the capture is of {meta.venue!r}, which has no socket")
    if options.venue is not None and options.venue.value != meta.venue:
        raise UserError(f"stub: the capture is of {meta.venue}, not of {options.venue.value}")
    if options.symbols:
        raise UserError("stub: --symbol is for a simulated market; a capture has its own")
    return CapturedModel(options.capture, now_ns, speed=speed, loops=options.loop)


def _speed(text: str) -> float | None:
    """Return the multiple of real time, None for as fast as it goes. Errors: ``UserError``."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= _MAX_SPEED:
        raise UserError(f"--speed was {text[:20]!r}, allowed is above 0 to {_MAX_SPEED:g}, or max")
    return speed
