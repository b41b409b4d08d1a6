"""Cost of the ledger: append, durable commit, groups, opening and verifying.

Run: python bench/bench_ledger.py [EVENTS]
Each figure is of this machine and this moment; ``raw_sync_us`` beside them says what the disk alone
cost. Prints one JSON object on stdout.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from core.config import AnchorSettings
from core.lots import FifoBook
from core.model.event import LedgerEvent
from core.model.order import Side
from ledger.anchors_watch import AnchorWatch
from ledger.verify import verify
from ledger.writer import GROUP_EVENTS, QUEUE_EVENTS_MAX, LedgerWriter
from tests.ledger import factory

COMMITS, ANCHORS = 500, 20


def trading(n_events: int) -> list[LedgerEvent]:
    """Return whole round trips, 16 events each, after a run start."""
    book = FifoBook(factory.INSTRUMENT)
    events: list[LedgerEvent] = [factory.run_started()]
    number = 0
    while len(events) < n_events:
        number += 1
        buy = ((10_002, 4_000), (10_003, 6_000))
        events += factory.trade(book, f"{number}-in", Side.BUY, 20_003, buy)
        events += factory.trade(book, f"{number}-out", Side.SELL, 20_021, ((10_009, 10_000),))
    return events


def commit_us(state: Path, events: list[LedgerEvent]) -> dict[str, float]:
    """Return percentiles of append plus flush, one event at a time."""
    writer = LedgerWriter(state)
    took = []
    for event in events[:COMMITS]:
        start = time.perf_counter_ns()
        writer.append(event, factory.START_NS)
        writer.flush().result()
        took.append(time.perf_counter_ns() - start)
        time.sleep(0.003)  # an order comes alone: the witness of the one before is written
    writer.close()
    return _percentiles_us(took)


def raw_sync_us(folder: Path) -> dict[str, float]:
    """Return percentiles of a bare 8 KiB append and fdatasync: what the disk itself costs now."""
    took = []
    file = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT)
    for _ in range(COMMITS):
        start = time.perf_counter_ns()
        os.write(file, bytes(8192))
        os.fdatasync(file)
        took.append(time.perf_counter_ns() - start)
        time.sleep(0.003)
    os.close(file)
    return _percentiles_us(took)


def _percentiles_us(took_ns: list[int]) -> dict[str, float]:
    p50, p99 = np.percentile(took_ns, [50, 99]) / 1000
    return {"p50": round(float(p50)), "p99": round(float(p99))}


def bulk(state: Path, events: list[LedgerEvent], group: int) -> dict[str, float]:
    """Return append cost and events a second, appended and committed in groups."""
    writer = LedgerWriter(state, group_events=group)
    took = []
    start = time.perf_counter()
    for event in events:
        before = time.perf_counter_ns()
        writer.append(event, factory.START_NS)
        took.append(time.perf_counter_ns() - before)
        if writer.depth > QUEUE_EVENTS_MAX // 2:
            writer.flush().result()
    writer.flush().result()
    seconds = time.perf_counter() - start
    writer.close()
    return {
        "events_a_s": round(len(events) / seconds),
        "append_us_p50": round(float(np.percentile(took, 50)) / 1000, 1),
    }


def anchor_us(state: Path) -> dict[str, dict[str, float]]:
    """Return percentiles of what anchoring costs the engine's loop: starting a process, a look."""
    settings = AnchorSettings(ots_calendars=("http://127.0.0.1:9",))  # nobody answers there
    starts, looks = [], []
    for _ in range(ANCHORS):
        watch = AnchorWatch(state, settings)
        for number in range(100):
            start = time.perf_counter_ns()
            watch.look(factory.START_NS)
            (looks if number else starts).append(time.perf_counter_ns() - start)
        watch.close()
    return {"start": _percentiles_us(starts), "look": _percentiles_us(looks)}


def main() -> None:
    n_events = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    events = trading(n_events)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        found = {
            "events": len(events),
            "raw_sync_us": raw_sync_us(root),
            "commit_us": commit_us(root / "commit", events),
            f"groups_of_{GROUP_EVENTS}": bulk(root / "live", events, GROUP_EVENTS),
            "groups_of_1024": bulk(root / "replay", events, 1024),
        }
        start = time.perf_counter()
        LedgerWriter(root / "live").close()
        found["open_events_a_s"] = round(len(events) / (time.perf_counter() - start))
        start = time.perf_counter()
        report = verify(root / "live")
        found["verify_events_a_s"] = round(len(events) / (time.perf_counter() - start))
        assert report.findings == (), report.findings[:3]
        found["anchor_us"] = anchor_us(root / "live")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
