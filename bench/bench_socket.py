"""Socket to features on the loopback: messages a second through the real ``run_feed``.

    python bench/bench_socket.py CAPTURE [--count 200000] [--runs 3] [--depth-only] [--profile]
        [--at-least MESSAGES] [--json FILE]

``--count`` is rounded up to a message that brings an event, a few more at most.

Another process sends the messages of a Binance capture, round after round, as quickly as they are
read. Three rows, each on a new connection: ``websockets`` alone (receive and drop), our socket
code with a protocol that does nothing, and the whole way: socket code and protocol, which brings
book, features and row. Wall and processor time of this process a message; the medians of the
runs. With ``--at-least`` the exit code is 1 where the whole way is slower.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from websockets.asyncio.client import connect

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.rounds import Rounds
from bench.sender import SenderProcess
from core.clock import SystemClock
from core.config import Settings
from core.feeds.protocol import FeedCounters, FeedProtocol, InstrumentFeed
from core.feeds.registry import protocol_for
from core.feeds.socket import run_feed
from core.model.instrument import Instrument
from core.model.market import (
    FeedOutput,
    FeedState,
    FetchHttp,
    MarketEvent,
)

WARM_UP = 5000
"""Messages of a run before all others, which compiles what is not compiled yet."""


class Run(NamedTuple):
    """One connection's worth."""

    wall_s: float
    cpu_s: float


class Nothing:
    """A protocol that asks for the snapshot and then counts frames."""

    venue = "binance"

    def __init__(
        self, rest: str, instrument: Instrument, count: int, stop: asyncio.Event, meter: Meter
    ) -> None:
        self.instruments: list[InstrumentFeed] = []
        self.counters = FeedCounters()
        self._snapshot_url = f"{rest}/api/v3/depth?symbol={instrument.name}"
        self._left = count
        self._stop = stop
        self._meter = meter

    def url(self) -> str:
        return ""

    def on_open(self, now_ns: int) -> list[FeedOutput]:
        del now_ns
        return [FetchHttp(self._snapshot_url)]

    def receive(self, data: bytes, recv_ns: int) -> list[FeedOutput]:
        del data, recv_ns
        self._left -= 1
        if not self._left:
            self._stop.set()
        return []

    def on_http(self, url: str, body: bytes, recv_ns: int) -> list[FeedOutput]:
        del url, body, recv_ns
        self._meter.begin()
        return []

    def on_http_failed(self, url: str, reason: str, now_ns: int) -> list[FeedOutput]:
        raise RuntimeError(f"{url} at {now_ns}: {reason}")

    def on_close(self, reason: str, now_ns: int) -> list[FeedOutput]:
        raise RuntimeError(f"closed at {now_ns}: {reason}")

    def on_time(self, now_ns: int) -> list[FeedOutput]:
        del now_ns
        return []


class Meter:
    """Wall and processor time since the sender began."""

    def __init__(self, sender: SenderProcess) -> None:
        self._sender = sender
        self._cpu_s = time.process_time()

    def begin(self) -> None:
        """Forget the connecting; to be called just before the first message."""
        self._cpu_s = time.process_time()

    def end(self) -> Run:
        end_ns, cpu_s = time.perf_counter_ns(), time.process_time() - self._cpu_s
        return Run((end_ns - self._sender.times()["first_ns"]) / 1e9, cpu_s)


async def library_alone(sender: SenderProcess, rounds: Rounds, count: int) -> Run:
    meter = Meter(sender)
    async with connect(
        sender.socket_address, max_size=None, compression=None, proxy=None, ping_interval=None
    ) as socket:
        await _ask_snapshot(sender, rounds)
        meter.begin()
        receive = socket.recv
        for _ in range(count):
            await receive(decode=False)
        return meter.end()


async def _ask_snapshot(sender: SenderProcess, rounds: Rounds) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", sender.port)
    writer.write(f"GET /api/v3/depth?symbol={rounds.symbols[0]} HTTP/1.1\r\n\r\n".encode())
    await reader.read()
    writer.close()


async def socket_code(sender: SenderProcess, rounds: Rounds, count: int) -> Run:
    stop = asyncio.Event()
    meter = Meter(sender)
    protocol = Nothing(sender.rest_address, rounds.instrument, count, stop, meter)
    await _run_feed(protocol, _none, sender, stop)
    return meter.end()


async def whole_way(sender: SenderProcess, rounds: Rounds, count: int) -> Run:
    stop = asyncio.Event()
    meter = Meter(sender)
    feed = msgspec.structs.replace(
        Settings().feed, binance_rest=sender.rest_address, binance_stream=sender.socket_address
    )
    settings = msgspec.structs.replace(Settings(), feed=feed)
    protocol = protocol_for("binance", [rounds.instrument], settings)
    counters = protocol.counters

    def deliver(events: list[MarketEvent], now_ns: int) -> None:
        del events, now_ns
        if not counters.frames:
            meter.begin()
        if counters.frames >= count:
            stop.set()

    await _run_feed(protocol, deliver, sender, stop, settings)
    run = meter.end()
    (seen,) = protocol.instruments
    assert seen.state is FeedState.LIVE, f"the book is not live: {seen.reason}"
    assert (counters.refused, counters.gaps, counters.checks_failed) == (0, 0, 0), counters
    return run


def _none(events: list[MarketEvent], now_ns: int) -> None:
    raise RuntimeError(f"no event was expected at {now_ns}: {events}")


async def _run_feed(
    protocol: FeedProtocol,
    deliver: Callable[[list[MarketEvent], int], None],
    sender: SenderProcess,
    stop: asyncio.Event,
    settings: Settings | None = None,
) -> None:
    await run_feed(
        protocol,
        deliver,
        SystemClock(),
        settings or Settings(),
        generator=np.random.default_rng(7),
        stop=stop,
        endpoint=sender.socket_address,
    )


Way = Callable[[SenderProcess, Rounds, int], Awaitable[Run]]
WAYS: dict[str, Way] = {
    "websockets alone": library_alone,
    "and our socket code": socket_code,
    "and protocol and features": whole_way,
}


def run(way: Way, options: argparse.Namespace, rounds: Rounds, count: int) -> Run:
    """Run one connection in a fresh loop with a fresh sender."""
    with SenderProcess(options.capture, count, depth_only=options.depth_only) as sender:

        async def body() -> Run:
            return await way(sender, rounds, count)

        return asyncio.run(body())


def profile(options: argparse.Namespace, rounds: Rounds) -> None:
    """Print where the whole way's time goes; the profiler makes calls dearer than work."""
    profiler = cProfile.Profile()
    profiler.enable()
    run(whole_way, options, rounds, options.count)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(28)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("capture", type=Path)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--depth-only", action="store_true", help="no trades, no tickers")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--at-least", type=float, default=0, help="messages a second")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rounds = Rounds(options.capture, depth_only=options.depth_only)
    options.count = rounds.ending_in_event(options.count)
    run(whole_way, options, rounds, rounds.ending_in_event(WARM_UP))
    if options.profile:
        profile(options, rounds)
        return 0
    sizes = [len(frame) for frame in rounds.frames(rounds.n_messages)]
    print(
        f"{options.capture.name}: {options.count} messages of {sum(sizes) / len(sizes):.0f} bytes, "
        f"{options.runs} runs, load {os.getloadavg()[0]:.2f}"
    )
    rates: dict[str, float] = {}
    found: dict[str, dict[str, float]] = {}
    print(f"{'':28s} {'messages/s':>12s} {'us wall':>9s} {'us cpu':>9s} {'cpu':>6s}")
    for name, way in WAYS.items():
        runs = [run(way, options, rounds, options.count) for _ in range(options.runs)]
        wall_s = statistics.median(one.wall_s for one in runs)
        cpu_s = statistics.median(one.cpu_s for one in runs)
        rates[name] = options.count / wall_s
        found[name] = {
            "messages_a_s": round(rates[name]),
            "wall_us": round(wall_s / options.count * 1e6, 3),
            "cpu_us": round(cpu_s / options.count * 1e6, 3),
        }
        print(
            f"{name:28s} {rates[name]:12,.0f} {wall_s / options.count * 1e6:9.2f} "
            f"{cpu_s / options.count * 1e6:9.2f} {cpu_s / wall_s:6.0%}"
        )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if rates["and protocol and features"] < options.at_least:
        print(f"slower than {options.at_least:,.0f} messages a second", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
