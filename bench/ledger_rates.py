"""Rates of a long ledger: writing, starting, verifying, exporting.

python bench/ledger_rates.py [EVENTS] [MIX] [FOLDER]. MIX is ``day`` (one round trip among 84 events
that decided nothing: 3 % fills), ``trading`` (nothing but round trips: 19 % fills) or ``fills``
(nothing else). FOLDER keeps the ledger, and takes one that is there. Start, verification and export
run in processes of their own, as the program does. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.bench_ledger import commit_us, raw_sync_us
from core.lots import FifoBook
from core.model.event import LedgerEvent, NotDecided
from core.model.order import Side
from ledger.store import DB_NAME, RESUME_NAME
from ledger.writer import GROUP_EVENTS, QUEUE_EVENTS_MAX, LedgerWriter
from tests.ledger import factory

QUIET_EVENTS = 84
START = """
import sys, time
from pathlib import Path
began = time.perf_counter()
from ledger.rows import Gathering
from ledger.writer import LedgerWriter
imported = time.perf_counter()
import ledger.writer as module
module.Audit.__init__ = lambda self, state: setattr(self, "_process", None)  # measured by itself
gathering = Gathering()
writer = LedgerWriter(Path(sys.argv[1]), gathering=gathering)
opened = time.perf_counter()
history = gathering.history()
ended = time.perf_counter()
print(imported - began, opened - imported, ended - opened, writer.head()[0], len(history.fills))
writer.close()
assert writer.failure is None, writer.failure
"""


def events_of(mix: str, count: int) -> Iterator[LedgerEvent]:
    """Yield about ``count`` events of a mix, after a run start."""
    book = FifoBook(factory.INSTRUMENT)
    yield factory.run_started()
    made, number = 1, 0
    while made < count:
        number += 1
        for event in _round(book, mix, number):
            made += 1
            yield event


def _round(book: FifoBook, mix: str, number: int) -> Iterator[LedgerEvent]:
    if mix == "fills":
        for name, side, ticks in (("in", Side.BUY, 10_002), ("out", Side.SELL, 10_009)):
            ref = f"{number}-{name}"
            yield factory.filled(book, f"f-{ref}", f"o-{ref}", f"d-{ref}", side, ticks, 10_000)
        return
    yield from factory.trade(
        book, f"{number}-in", Side.BUY, 20_003, ((10_002, 4_000), (10_003, 6_000))
    )
    yield from factory.trade(book, f"{number}-out", Side.SELL, 20_021, ((10_009, 10_000),))
    for quiet in range(QUIET_EVENTS if mix == "day" else 0):
        reason = f"edge 0.{quiet:02d} bps does not pay"
        yield NotDecided("SIM-USD", reason, 0.51, 5, quiet / 100, 0.8)


def write(state: Path, mix: str, count: int, group: int) -> float:
    """Write a ledger; return events a second, durable, in groups of ``group``."""
    writer = LedgerWriter(state, group_events=group)
    began, made = time.perf_counter(), 0
    for event in events_of(mix, count):
        writer.append(event, factory.START_NS)
        made += 1
        if writer.depth > QUEUE_EVENTS_MAX // 2:
            writer.flush().result()
    writer.flush().result()
    rate = made / (time.perf_counter() - began)
    writer.close()
    assert writer.failure is None, writer.failure
    return rate


class Ran(NamedTuple):
    """One program run to its end."""

    wall_s: float
    cpu_s: float
    """Of all its processes: what the wall time would be without other work on the machine."""
    said: str
    rss_mib: int
    """Largest of any child so far."""

    @property
    def seconds(self) -> dict[str, float]:
        return {"wall_s": round(self.wall_s, 2), "cpu_s": round(self.cpu_s, 2)}


def run(*words: str | Path) -> Ran:
    """Run a Python program. Errors: ``CalledProcessError``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *map(str, words)], check=True, capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ran(seconds, cpu_s, done.stdout, after.ru_maxrss // 1024)


def starts(state: Path) -> dict[str, dict[str, float]]:
    """Return seconds from process to history, with ``ledger.resume`` and without it."""
    found: dict[str, dict[str, float]] = {}
    resume = state / RESUME_NAME
    kept = resume.read_bytes() if resume.exists() else None
    for name in ("from_resume", "walked") if kept is not None else ("walked",):
        if name == "walked":
            resume.unlink(missing_ok=True)
        ran = run("-c", START, state)
        parts = zip(("import_s", "open_s", "history_s"), ran.said.split(), strict=False)
        found[name] = ran.seconds | {part: round(float(text), 2) for part, text in parts}
    return found


def exports(state: Path, folder: Path) -> dict[str, dict[str, float]]:
    """Return seconds and RSS of exporting all fills."""
    found: dict[str, dict[str, float]] = {}
    for file_format in ("parquet", "csv"):
        out = folder / f"fills.{file_format}"
        ran = run("-m", "cli.main", "ledger", "export", "--table", "fills",
                  "--format", file_format, "--out", out, "--state", state)  # fmt: skip
        size_mib = round(out.stat().st_size / 2**20, 1)
        found[file_format] = ran.seconds | {"file_mib": size_mib, "rss_mib_at_most": ran.rss_mib}
        out.unlink()
    return found


def main(words: list[str]) -> int:
    count = int(words[0]) if words else 1_000_000
    mix = words[1] if len(words) > 1 else "day"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        state = Path(words[2]) if len(words) > 2 else root / "state"
        found: dict[str, object] = {"events": count, "mix": mix}
        if not (state / DB_NAME).exists():
            found["raw_sync_us"] = raw_sync_us(root)
            found["commit_us"] = commit_us(root / "commit", list(events_of("trading", 600)))
            live = write(root / "live", mix, min(count, 50_000), GROUP_EVENTS)
            found[f"written_a_s_in_groups_of_{GROUP_EVENTS}"] = round(live)
            shutil.rmtree(root / "live")
            found["written_a_s_in_groups_of_1024"] = round(write(state, mix, count, 1024))
        found["database_mib"] = round((state / DB_NAME).stat().st_size / 2**20)
        found["export"] = exports(state, root)  # first: RSS of children is a maximum so far
        ran = run("-m", "cli.main", "ledger", "verify", "--state", state)
        assert ran.said.startswith("ok "), ran.said
        rate = round(int(ran.said.split()[2]) / ran.wall_s)
        found["verify"] = ran.seconds | {"events_a_s": rate, "rss_mib_at_most": ran.rss_mib}
        found["start"] = starts(state)
        found["load_average"] = os.getloadavg()
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
