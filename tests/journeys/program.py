"""The program as a user starts it: a subprocess, its exit code and what it printed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from core.clock import NS_PER_S
from core.control import AnyCommand, GetSnapshot, Picture, Reply, request
from core.errors import TryAgain
from core.feeds.capture import CaptureMeta
from core.feeds.recorder import CaptureWriter
from core.sim.market import SimMarket, sim_instrument
from core.sim.venue import SimVenue
from core.snapshot import Snapshot

CAPTURES = Path(__file__).resolve().parents[3] / "shared" / "captures"
START_NS = 1_700_000_000 * NS_PER_S
PRACTICE = """[agent]
enabled = false

[strategy]
threshold = 0.02
min_edge_bps = -1000
min_skill = -1
hold_s = 5
cooldown_s = 1
"""


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "cli.main", *map(str, words)]


def tapewright(*words: str | Path, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        command(*words), capture_output=True, text=True, timeout=timeout_s, check=False
    )


def start(*words: str | Path) -> subprocess.Popen[str]:
    """Start the program and leave it running."""
    return subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env=os.environ,
    )  # fmt: skip


def ask(state: Path, question: AnyCommand) -> Reply:
    return request(state, question, timeout_s=10)


def snapshot(state: Path) -> Snapshot:
    reply = ask(state, GetSnapshot())
    assert isinstance(reply, Picture)
    return reply.snapshot


def wait_for(state: Path, process: subprocess.Popen[str], seen, timeout_s: float = 90) -> Snapshot:
    """Ask for snapshots until ``seen(snapshot)``; fail with what the program said."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode}: {process.communicate()}")
        try:
            picture = snapshot(state)
        except TryAgain:
            picture = None
        if picture is not None and seen(picture):
            return picture
        time.sleep(0.05)
    raise AssertionError(f"not seen within {timeout_s} s")


def sim_capture(path: Path, seconds: int, seed: int = 3) -> Path:
    """Write a capture of the simulated market."""
    instrument = sim_instrument("SIM-USD")
    venue = SimVenue([SimMarket(instrument, seed, start_ns=START_NS)])
    meta = CaptureMeta("sim", (instrument.name,), (instrument,))
    with CaptureWriter(path, meta) as writer:
        writer.opened(START_NS, "sim://")
        venue.connect(START_NS)
        for frame_ns, frame in venue.run_until(START_NS + seconds * NS_PER_S):
            writer.received(frame_ns, frame)
    return path


def practice(folder: Path) -> Path:
    """Write the practice settings, which trade without an edge."""
    path = folder / "practice.toml"
    path.write_text(PRACTICE, encoding="utf-8")
    return path
