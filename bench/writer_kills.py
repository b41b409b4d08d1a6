"""SIGKILL the ledger's writer at random moments; every acknowledged event must be there.

python bench/writer_kills.py [KILLS] [SEED]. A process of its own opens the ledger, streams events
and says each acknowledged seq through a pipe; it is killed while it opens, commits, signs,
checkpoints or closes. Exit code 1 at the first loss.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

import ledger.commit
from core.model.event import Filled, LedgerEvent
from ledger.verify import verify
from ledger.writer import LedgerWriter
from tests.ledger import factory

LIFE_MS_MAX = 60.0
"""A life is killed after at most this."""
OPENING_SHARE = 0.2
"""Lives counted from their fork; the others from when the ledger is open."""
EVENTS_MAX = 1_500
"""A ledger this long is put away for a new one, so that verifying stays quick."""


class Killed(NamedTuple):
    """One life of the writer."""

    acknowledged: int
    """Newest seq that it said was durable; 0 if it died before."""
    phase: str
    """What it was doing, as far as it had said."""


def live_and_die(
    state: Path, name: str, per_flush: int, life_ms: float, *, from_fork: bool
) -> Killed:
    """Fork a process that only writes, kill it after ``life_ms``, and return what it had said."""
    reading, saying = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _live(state, name, per_flush, saying)
    os.close(saying)
    first = b"" if from_fork else os.read(reading, 1)
    _wait(life_ms)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        words = (first + pipe.read()).split(b"\n")[:-1]
    numbers = [int(word) for word in words if word.isdigit()]
    phase = words[-1].decode() if words and not words[-1].isdigit() else "streaming"
    return Killed(max(numbers, default=0), phase if words else "opening")


def _wait(life_ms: float) -> None:
    """Let it live; nobody reads the pipe meanwhile, so it must not fill (64 KiB hold a life)."""
    end = time.perf_counter() + life_ms / 1000
    while (left := end - time.perf_counter()) > 0:
        select.select([], [], [], left)


def _live(state: Path, name: str, per_flush: int, saying: int) -> None:
    """What the child does, until it is killed; it never returns."""
    ledger.commit.CHECKPOINT_COMMITS = ledger.commit.CHECKPOINT_COMMITS_MAX = 16
    try:
        writer = LedgerWriter(state)
        os.write(saying, b"opened\n")
        for round_number in range(1_000_000):
            for number, (event, ts_ns) in enumerate(_day(f"{name}-{round_number}")):
                seq = writer.append(event, ts_ns)
                if number % per_flush == 0:
                    writer.flush().result()
                    os.write(saying, b"%d\n" % seq)
            if round_number % 4 == 3:
                os.write(saying, b"closing\n")
                writer.close()
                os.write(saying, b"%d\n" % seq)
                writer = LedgerWriter(state)
    except BaseException as error:  # noqa: BLE001 - a child's border: it must say why it died
        os.write(saying, f"died of {error!r}\n".encode())
    finally:
        os._exit(1)


def _day(name: str) -> list[tuple[LedgerEvent, int]]:
    """Return a day without its fills: one cut short would leave a position to the next."""
    return [
        (dated.event, dated.ts_ns) for dated in factory.day(name)
        if not isinstance(dated.event, Filled)
    ]  # fmt: skip


def kill(kills: int, seed: int, folder: Path) -> tuple[Counter[str], str]:
    """Kill the writer ``kills`` times; return how often in what phase, and the first loss."""
    chance, phases = np.random.default_rng(seed), Counter[str]()
    state, acknowledged = folder / "state", 0
    for number in range(kills):
        died = live_and_die(
            state, f"life-{number}", int(chance.integers(1, 20)),
            float(chance.uniform(0, LIFE_MS_MAX)), from_fork=bool(chance.random() < OPENING_SHARE),
        )  # fmt: skip
        phases[died.phase] += 1
        if died.phase.startswith("died of"):
            return phases, f"kill {number}: the writer {died.phase}"
        acknowledged = max(acknowledged, died.acknowledged)
        what = _fault(state, acknowledged)
        if what:
            return phases, f"kill {number}, {died.phase}: {what}"
        if acknowledged > EVENTS_MAX:
            shutil.rmtree(state)
            acknowledged = 0
    return phases, ""


def _fault(state: Path, acknowledged: int) -> str:
    """Reopen, close, verify; return what is wrong, or nothing."""
    writer = LedgerWriter(state)
    seq = writer.head()[0]
    writer.close()
    if writer.failure is not None:
        return f"the writer failed: {writer.failure}"
    if seq < acknowledged:
        return f"seq {acknowledged} was acknowledged, the ledger ends at {seq}"
    findings = verify(state).findings
    return findings[0].text if findings else ""


def main(kills: int, seed: int) -> int:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        phases, loss = kill(kills, seed, Path(folder))
    seconds = time.perf_counter() - began
    told = ", ".join(f"{count} {phase}" for phase, count in phases.most_common())
    print(f"{sum(phases.values())} kills in {seconds:.0f} s while {told}")
    print(loss or "every acknowledged event was there, and every ledger verified")
    return 1 if loss else 0


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*(numbers + [1000, 1][len(numbers) :])))
