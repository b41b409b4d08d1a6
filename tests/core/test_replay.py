"""Replay at the pace of a clock that the test moves; no test here waits for real time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core import replay
from core.clock import NS_PER_S, ManualClock
from core.feeds.capture import CaptureMeta, CaptureReader
from core.replay import PAUSE_S_MAX, YIELD_EVERY, run_replay
from tests.core.test_engine import Bench
from tests.fakes import BTC, START_NS

TAPE_NS = START_NS + 1_000 * NS_PER_S


def tape(path: Path, offsets_s: list[float]) -> CaptureReader:
    """Write a capture of empty frames at these offsets."""
    lines = [CaptureMeta("binance", ("BTCUSDT",), (BTC,)).line()]
    for offset_s in offsets_s:
        record = {"k": "recv", "ns": TAPE_NS + round(offset_s * NS_PER_S), "d": "{}"}
        lines.append(msgspec.json.encode(record) + b"\n")
    path.write_bytes(b"".join(lines))
    return CaptureReader(path)


class Pace:
    """Stands in for the session: notes when, by the clock, each record and timer was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step_s: float = 0.0) -> None:
        self.bench = Bench()
        self.clock = ManualClock(START_NS)
        self.given: list[tuple[float, float]] = []
        self.timers: list[int] = []
        self.pauses: list[float] = []
        session = self.bench.session
        receive, run_timers = session.receive, session.run_timers

        def note_frame(data: bytes, recv_ns: int) -> Any:
            at_s = (self.clock.now_ns() - START_NS) / NS_PER_S
            self.given.append(((recv_ns - TAPE_NS) / NS_PER_S, at_s))
            return receive(data, recv_ns)

        def note_timers(now_ns: int) -> None:
            self.timers.append(now_ns)
            run_timers(now_ns)

        async def sleep(seconds: float) -> None:
            self.pauses.append(seconds)
            self.clock.move_to(self.clock.now_ns() + max(1, round((seconds + step_s) * NS_PER_S)))

        session.receive = note_frame  # type: ignore[method-assign]
        session.run_timers = note_timers  # type: ignore[method-assign]
        monkeypatch.setattr(replay, "asyncio", type("Clockwork", (), {"sleep": sleep}))


async def test_frames_come_when_their_time_has_come_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = Pace(monkeypatch)
    await run_replay(pace.bench.session, tape(tmp_path / "t", [0, 1, 1, 3]), pace.clock, 2.0)
    assert [offset for offset, _ in pace.given] == [0, 1, 1, 3]
    for offset_s, at_s in pace.given:
        assert offset_s / 2 <= at_s <= offset_s / 2 + 0.001
    assert max(pace.pauses) <= PAUSE_S_MAX


async def test_timers_run_at_the_pace_of_the_tape_and_never_beyond_the_next_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = Pace(monkeypatch, step_s=0.3)  # sleeps take longer than asked
    await run_replay(pace.bench.session, tape(tmp_path / "t", [0, 1, 2]), pace.clock, 1.0)
    assert pace.timers == sorted(pace.timers)
    assert max(pace.timers) == TAPE_NS + 2 * NS_PER_S
    assert len(pace.timers) >= 6


async def test_a_late_clock_is_caught_up_with_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = Pace(monkeypatch)
    reader = tape(tmp_path / "t", [0, 1, 2, 3])
    session = pace.bench.session
    first = session.receive

    def stalls(data: bytes, recv_ns: int) -> Any:
        pace.clock.move_to(START_NS + 10 * NS_PER_S)
        return first(data, recv_ns)

    session.receive = stalls  # type: ignore[method-assign]
    await run_replay(session, reader, pace.clock, 1.0)
    assert [offset for offset, _ in pace.given] == [0, 1, 2, 3]
    assert pace.clock.now_ns() == START_NS + 10 * NS_PER_S
    assert pace.pauses == [0]  # the one yield at the start


async def test_as_fast_as_it_goes_yields_to_commands_and_tells_its_progress(tmp_path: Path) -> None:
    bench, turns = Bench(), 0
    told: list[int] = []
    reader = tape(tmp_path / "t", [0.001 * n for n in range(2 * YIELD_EVERY + 1)])

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(other())
        await run_replay(bench.session, reader, ManualClock(START_NS), None, told.append)
        task.cancel()
    assert told == [0, YIELD_EVERY, 2 * YIELD_EVERY]
    assert turns >= 2


@pytest.mark.parametrize("silence_s", [119, 300])
async def test_the_same_timers_run_at_every_pace_however_long_the_feed_is_silent(
    silence_s: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silence of more than two minutes is stepped over, at full speed and at the tape's pace."""
    thoughts: dict[float | None, list[int]] = {}
    for speed in (None, 1.0, 7.0):
        pace = Pace(monkeypatch, step_s=0.013)
        pace.bench.see()
        kept: list[int] = []
        advance = pace.bench.engine.advance

        def note(now_ns: int, advance: Any = advance, kept: list[int] = kept) -> None:
            kept.append(now_ns)
            advance(now_ns)

        monkeypatch.setattr(pace.bench.engine, "advance", note)
        reader = tape(tmp_path / "t", [0, 1.3, 1.3 + silence_s, 2.9 + silence_s])
        await run_replay(pace.bench.session, reader, pace.clock, speed)
        thoughts[speed] = kept
    assert thoughts[1.0] == thoughts[7.0] == thoughts[None]
    assert (len(thoughts[None]) > silence_s) is (silence_s < 120)
