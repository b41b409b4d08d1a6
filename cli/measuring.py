"""What ``tapewright bench`` measures, each by the product's own path."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import numpy as np

from cli.replay import replay_plan, replay_rig
from core.clock import NS_PER_MS, NS_PER_S, SystemClock
from core.config import Settings
from core.errors import CaptureError
from core.feeds.capture import CaptureMeta, CaptureReader, Record, read_capture
from core.feeds.recorder import CaptureWriter
from core.feeds.registry import protocol_for
from core.feeds.replaying import Player, give, without_last_close
from core.model.decision import Mode
from core.model.event import ModeChanged
from core.state import StateDir
from core.stub.registry import sim_venue
from core.stub.venue import Request
from ledger.rows import History
from ledger.writer import LedgerWriter

MADE_SECONDS = 600
"""Length of the market that is made where no capture is given."""
COMMITS = 200
EVENTS = 20_000
_GROUP = 1_000
"""Events between two looks at the disk, where events come in groups."""
_WARM_RECORDS = 2_000
_BESIDE_FRAMES = 20_000
"""Frames that ``json.loads`` reads beside ours."""
_START_NS = 1_700_000_000 * NS_PER_S
_SYMBOL = "BTCUSDT"


class Figures(msgspec.Struct, frozen=True):
    """What was measured; µs where the name says so."""

    source: str
    frames: int
    frame_us_p50: float
    frame_us_p99: float
    json_us_p50: float
    """``json.loads`` of the standard library over the same frames: the yardstick of the machine."""
    engine_frames_per_s: float
    decisions: int
    decision_us_p50: float | None
    decision_us_p99: float | None
    commit_us_p50: float
    commit_us_p99: float
    events_per_s: float
    rss_mib: float


def measure(path: Path, source: str, folder: Path, beside: Path) -> Figures:
    reader = read_capture(path)
    records = list(without_last_close(reader))
    if not any(record.kind == "recv" for record in records):
        raise CaptureError(f"{path}: holds no frame to measure")
    settings = Settings()
    _feed_us(reader.meta, records[:_WARM_RECORDS], settings)  # compiled, imported, warm
    feed_us = _feed_us(reader.meta, records, settings)
    json_us = _json_us(records)
    engine_s, decisions_us = _engine(reader, records, settings, folder / "engine")
    commits_us, events_per_s = _ledger(beside)
    p50, p99 = np.percentile(feed_us, [50, 99])
    thought = np.percentile(decisions_us, [50, 99]) if len(decisions_us) else (None, None)
    return Figures(
        source=source,
        frames=len(feed_us),
        frame_us_p50=float(p50),
        frame_us_p99=float(p99),
        json_us_p50=float(np.median(json_us)),
        engine_frames_per_s=len(feed_us) / engine_s,
        decisions=len(decisions_us),
        decision_us_p50=None if thought[0] is None else float(thought[0]),
        decision_us_p99=None if thought[1] is None else float(thought[1]),
        commit_us_p50=float(np.percentile(commits_us, 50)),
        commit_us_p99=float(np.percentile(commits_us, 99)),
        events_per_s=events_per_s,
        rss_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def _feed_us(meta: CaptureMeta, records: list[Record], settings: Settings) -> np.ndarray:
    """Return the microseconds of each frame in the venue's protocol."""
    protocol = protocol_for(meta.venue, list(meta.instruments), settings)
    took = []
    clock = time.perf_counter_ns
    for record in records:
        if record.kind != "recv":
            give(protocol, record)
            continue
        data = record.text.encode()
        start = clock()
        protocol.receive(data, record.ns)
        took.append(clock() - start)
    return np.array(took) / 1000


def _json_us(records: list[Record]) -> np.ndarray:
    """Return the microseconds of ``json.loads`` of each frame that is JSON."""
    took = []
    clock = time.perf_counter_ns
    for record in [each for each in records if each.kind == "recv"][:_BESIDE_FRAMES]:
        data = record.text.encode()
        start = clock()
        try:
            json.loads(data)
        except ValueError:
            continue
        took.append(clock() - start)
    return np.array(took or [0]) / 1000


def _engine(
    reader: CaptureReader, records: list[Record], settings: Settings, folder: Path
) -> tuple[float, np.ndarray]:
    """Return seconds of the whole replay in observe mode, and microseconds of each decision."""
    state = StateDir(folder).create()
    plan = replay_plan(reader, state, settings, mode=Mode.OBSERVE, seed=0)
    rig = replay_rig(plan, reader, LedgerWriter(state.path), History(), SystemClock().now_ns())
    try:
        advance, took = rig.session.engine.advance, []
        clock = time.perf_counter_ns

        def timed(now_ns: int) -> None:
            start = clock()
            advance(now_ns)
            took.append(clock() - start)

        rig.session.engine.advance = timed  # type: ignore[method-assign]
        player = Player(rig.session, reader.meta, settings)
        start = time.perf_counter()
        for record in records:
            player.give(record)
        player.finish()
        return time.perf_counter() - start, np.array(took) / 1000
    finally:
        rig.close("measured", SystemClock().now_ns())


def _ledger(folder: Path) -> tuple[np.ndarray, float]:
    """Return microseconds of durable commits, one event each, and events a second in groups."""
    writer = LedgerWriter(folder)
    event = ModeChanged(mode=Mode.OBSERVE, actor="bench")
    took = []
    try:
        for _ in range(COMMITS):
            start = time.perf_counter_ns()
            writer.append(event, _START_NS)
            writer.flush().result()
            took.append(time.perf_counter_ns() - start)
        start_s = time.perf_counter()
        for number in range(EVENTS):
            writer.append(event, _START_NS)
            if number % _GROUP == _GROUP - 1:
                writer.flush().result()
        return np.array(took) / 1000, EVENTS / (time.perf_counter() - start_s)
    finally:
        writer.close()


def make_capture(path: Path) -> Path:
    """Write a capture of a simulated market as Binance would tell it."""
    venue = sim_venue("binance", [_SYMBOL], 1, _START_NS)
    one = venue.books[0].instrument
    protocol = protocol_for("binance", [one], Settings())
    address = urlsplit(protocol.url())
    session = venue.connect(_START_NS, Request(f"{address.path}?{address.query}"))
    fetch = f"/api/v3/depth?symbol={_SYMBOL}&limit=1000"
    with CaptureWriter(path, CaptureMeta("binance", (_SYMBOL,), (one,))) as writer:
        writer.opened(_START_NS, protocol.url())
        for step in range(1, MADE_SECONDS * NS_PER_S // (venue.flush_ms * NS_PER_MS)):
            now_ns = _START_NS + step * venue.flush_ms * NS_PER_MS
            venue.advance(now_ns)
            for sent in session.flush():
                writer.received(now_ns, sent.data)
            if step == 2:
                answer = venue.answer(fetch)
                assert answer is not None
                writer.fetched(now_ns, f"{Settings().feed.binance_rest}{fetch}", answer.body)
    return path
