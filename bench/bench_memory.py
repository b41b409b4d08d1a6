"""Whether memory stays flat: resident bytes over a million messages of twenty symbols.

    python bench/bench_memory.py CAPTURE [--mode protocol|engine] [--messages 1000000]
        [--symbols 20] [--rate 8000] [--at-most-mib 16] [--json FILE]

``protocol``: the protocol in this process, as quickly as they go, engine time 10 ms a
message. ``engine``: the product's headless engine on a loopback venue at ``--rate`` messages a
second, with ledger, tape and recording. The messages are a piece of a Binance capture in rounds
(bench/rounds.py): after each round every book is what it was, so what grows is ours. Resident
memory (VmRSS) is taken twenty times a run; bounded stores fill in the first two thirds (at least
a minute of the engine). Exit 1 if it grew by more than ``--at-most-mib`` after that.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.rounds import Rounds
from bench.sender import SenderProcess
from core.config import Settings
from core.control import GetSnapshot, Picture, request
from core.errors import TryAgain
from core.feeds.registry import protocol_for
from core.model.market import FeedState

ROOT = Path(__file__).resolve().parents[1]
ROUND = 5000
"""Messages of the capture in a round: with 20 symbols ten rounds make the million."""
STEP_NS = 10_000_000
SAMPLES = 20
WARM_UP = 0.65
"""Until here bounded stores fill: 2,048 depth events (620,000 messages of 20 symbols), 600 bars."""
WARM_UP_S = 60.0
START_NS = 1_700_000_000 * 1_000_000_000


class Sample(NamedTuple):
    """Resident memory at a point of a run."""

    messages: int
    seconds: float
    mib: float


def resident_mib(process_id: int | str) -> float:
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    (kib,) = [int(line.split()[1]) for line in lines if line.startswith("VmRSS:")]
    return kib / 1024


def names(count: int) -> list[str]:
    return [f"C{number:02d}USDT" for number in range(count)]


def run_protocol(options: argparse.Namespace) -> list[Sample]:
    """Feed protocol in this process; the generator's own memory is in the figures."""
    symbols = names(options.symbols)
    rounds = Rounds(options.capture, symbols, length=ROUND)
    instruments = [msgspec.structs.replace(rounds.instrument, name=name) for name in symbols]
    protocol = protocol_for("binance", instruments, Settings())
    protocol.on_open(START_NS)
    for name in symbols:
        url = f"https://venue/api/v3/depth?symbol={name}&limit=1000"
        protocol.on_http(url, rounds.snapshot(), START_NS)
    samples: list[Sample] = []
    began = time.monotonic()
    every = options.messages // SAMPLES
    for number, frame in enumerate(rounds.frames(options.messages), 1):
        protocol.receive(frame, START_NS + number * STEP_NS)
        if number % every == 0:
            samples.append(Sample(number, time.monotonic() - began, resident_mib("self")))
    assert all(one.state is FeedState.LIVE for one in protocol.instruments)
    assert protocol.counters.refused == protocol.counters.gaps == 0, protocol.counters
    return samples


def run_engine(options: argparse.Namespace, folder: Path) -> list[Sample]:
    """Run the product's engine against the loopback venue and look at it from outside."""
    symbols = names(options.symbols)
    state = folder / "state"
    samples: list[Sample] = []
    seconds = options.messages / options.rate
    with SenderProcess(
        options.capture, options.messages, rate=options.rate, symbols=symbols, length=ROUND
    ) as sender:
        words = ["run", "--headless", "--venue", "binance", "--endpoint", sender.socket_address]
        words += ["--state", str(state)]
        for name in symbols:
            words += ["--symbol", name]
        engine = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *words], cwd=ROOT, start_new_session=True
        )
        try:
            _wait_until_live(state, engine)
            began = time.monotonic()
            for number in range(1, SAMPLES + 1):
                time.sleep(max(0.0, began + seconds * number / SAMPLES - time.monotonic()))
                sample_s = time.monotonic() - began
                samples.append(
                    Sample(int(sample_s * options.rate), sample_s, resident_mib(engine.pid))
                )
            feeds = [one.feed for one in _picture(state).snapshot.instruments]
            assert all(one.state == "live" for one in feeds), feeds
        finally:
            engine.send_signal(signal.SIGTERM)
            engine.wait(60)
    return samples


def _picture(state: Path) -> Picture:
    reply = request(state, GetSnapshot())
    assert isinstance(reply, Picture)
    return reply


def _wait_until_live(state: Path, engine: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if engine.poll() is not None:
            raise SystemExit(f"the engine ended with {engine.returncode}")
        try:
            feeds = [one.feed for one in _picture(state).snapshot.instruments]
        except TryAgain:
            feeds = []
        if feeds and all(one.state == "live" for one in feeds):
            return
        time.sleep(0.1)
    raise SystemExit("the books were not live within a minute")


def growth_mib(samples: Sequence[Sample], warm_up_s: float) -> tuple[Sample, Sample]:
    """Return the sample that ends the warm-up, and the highest one after it."""
    last = samples[-1]
    warm = [
        one
        for one in samples
        if one.messages >= WARM_UP * last.messages and one.seconds >= min(warm_up_s, last.seconds)
    ]
    return warm[0], max(warm, key=_mib)


def _mib(sample: Sample) -> float:
    return sample.mib


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("capture", type=Path)
    parser.add_argument("--mode", choices=("protocol", "engine"), default="protocol")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--rate", type=float, default=8000, help="of the engine, a second")
    parser.add_argument("--at-most-mib", type=float, default=16)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.mode == "protocol":
        samples = run_protocol(options)
        warm, highest = growth_mib(samples, 0.0)
    else:
        with tempfile.TemporaryDirectory() as folder:
            samples = run_engine(options, Path(folder))
        warm, highest = growth_mib(samples, WARM_UP_S)
    for one in samples:
        print(f"{one.messages:>9,} messages  {one.seconds:7.1f} s  {one.mib:7.1f} MiB")
    grew = highest.mib - warm.mib
    print(
        f"{options.mode}: {warm.mib:.1f} MiB after {warm.messages:,} messages, at most "
        f"{highest.mib:.1f} MiB after that: grew by {grew:.1f} MiB, allowed is "
        f"{options.at_most_mib:g}"
    )
    if options.json:
        found = {"mode": options.mode, "grew_mib": round(grew, 2), "samples": samples}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return int(grew > options.at_most_mib)


if __name__ == "__main__":
    sys.exit(main())
