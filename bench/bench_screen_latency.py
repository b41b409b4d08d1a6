"""What a market message waits for in a real engine with a screen on it.

    python bench/bench_screen_latency.py CAPTURE [--seconds 60] [--rate 1000] [--size 120x40]
        [--no-screen] [--at-most MICROSECONDS] [--json FILE]

A loopback venue in a process of its own sends a Binance capture at an even rate; the engine is
the product's (``tapewright run --headless``: ledger, tape, recording, agent, paper broker), the
screen the product's in a pseudo-terminal of that size at the configured rate. Exact percentiles
over every frame after the first seconds, in microseconds:

    received -> features   from the receive time to book, features, row and engine done
    sent -> features       from the moment the venue sent it: socket and waiting included

With ``--at-most`` the exit code is 1 where p99 of the first is above.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.rounds import Rounds
from bench.sender import SenderProcess
from core.control import GetSnapshot, Picture, request
from core.errors import TryAgain
from core.state import StateDir

ROOT = Path(__file__).resolve().parents[1]
SETTLE_S = 5.0
"""First seconds left out: the screen starts, the engine's caches fill."""
LIVE_WITHIN_S = 60.0
PERCENTILES = (50, 99, 99.9, 100)


class Screen:
    """The product's screen in a pseudo-terminal; what it draws is read and counted."""

    def __init__(self, state: Path, width: int, height: int) -> None:
        self.drawn_bytes = 0
        self._main, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "attach", "--state", str(state)],
            stdin=child,
            stdout=child,
            stderr=child,
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(child)
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        try:
            while data := os.read(self._main, 65536):
                self.drawn_bytes += len(data)
        except OSError:
            return

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        os.close(self._main)


def cpu_s(process_id: int) -> float:
    """Return the processor seconds of a process and of what it waited for."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until_live(state: StateDir, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LIVE_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the engine ended with {process.returncode}")
        try:
            reply = request(state.path, GetSnapshot())
        except TryAgain:
            reply = None
        if isinstance(reply, Picture) and reply.snapshot.instruments[0].feed.state == "live":
            return
        time.sleep(0.1)
    raise SystemExit(f"the book was not live within {LIVE_WITHIN_S:g} s")


def measure(options: argparse.Namespace, folder: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Run venue, engine and screen; return the engine's times and what the run cost."""
    width, height = map(int, options.size.split("x"))
    state = StateDir(folder / "state")
    out = folder / "times.npz"
    symbol = Rounds(options.capture).symbols[0]
    count = int(options.seconds * options.rate)
    facts: dict[str, float] = {}
    with SenderProcess(options.capture, count, rate=options.rate, stamp=True) as sender:
        words = ["run", "--headless", "--venue", "binance", "--symbol", symbol]
        words += ["--endpoint", sender.socket_address, "--state", str(state.path)]
        engine = subprocess.Popen(
            [sys.executable, str(ROOT / "bench" / "measured_engine.py"), str(out), *words],
            cwd=ROOT,
            start_new_session=True,
        )
        screen = None
        try:
            wait_until_live(state, engine)
            if not options.no_screen:
                screen = Screen(state.path, width, height)
            engine_s, began = cpu_s(engine.pid), time.monotonic()
            sender.times()
            took = time.monotonic() - began
            facts["engine_cpu_percent"] = round(100 * (cpu_s(engine.pid) - engine_s) / took, 1)
            if screen is not None:
                if screen.process.poll() is not None:
                    raise SystemExit("the screen ended early")
                facts["screen_cpu_percent"] = round(100 * cpu_s(screen.process.pid) / took, 1)
                facts["screen_kib_a_s"] = round(screen.drawn_bytes / took / 1024, 1)
        finally:
            if screen is not None:
                screen.close()
            engine.send_signal(signal.SIGTERM)
            engine.wait(60)
    with np.load(out) as times:
        return {name: times[name] for name in times.files}, facts


def percentiles(took_ns: np.ndarray) -> dict[str, float]:
    names = ("p50", "p99", "p99.9", "max")
    points = np.percentile(took_ns, PERCENTILES) / 1000
    return {name: round(float(point), 1) for name, point in zip(names, points, strict=True)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("capture", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=1000, help="messages a second")
    parser.add_argument("--size", default="120x40", help="of the terminal")
    parser.add_argument("--no-screen", action="store_true")
    parser.add_argument("--at-most", type=float, help="p99 in us, received -> features")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times, facts = measure(options, Path(folder))
    counts = times["received"] > times["received"][0] + SETTLE_S * 1e9
    stamped = counts & (times["sent"] > 0)
    found = {
        "received -> features": percentiles((times["done"] - times["received"])[counts]),
        "sent -> received": percentiles((times["received"] - times["sent"])[stamped]),
        "sent -> features": percentiles((times["done"] - times["sent"])[stamped]),
    }
    screen = "no screen" if options.no_screen else f"screen {options.size}"
    print(
        f"{options.capture.name}: {int(counts.sum())} frames, {int(stamped.sum())} of them "
        f"stamped, {options.rate:g} a second, {screen}, load {os.getloadavg()[0]:.2f}"
    )
    print("  ".join(f"{name} {value}" for name, value in facts.items()))
    print(f"{'us':22s} {'p50':>9s} {'p99':>9s} {'p99.9':>9s} {'max':>9s}")
    for name, points in found.items():
        print(f"{name:22s} " + " ".join(f"{value:9.1f}" for value in points.values()))
    if options.json:
        options.json.write_text(json.dumps({**facts, **found}, indent=1) + "\n")
    p99 = found["received -> features"]["p99"]
    if options.at_most is not None and p99 > options.at_most:
        print(f"p99 was {p99:.1f} us, allowed is {options.at_most:g}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
