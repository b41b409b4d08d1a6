"""One file of a backtest: the engine that trades live over one capture, in whatever process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
from typing_extensions import override

from cli.replay import replay_plan, replay_rig
from cli.rig import Rig
from core.backtest import Collector
from core.backtest_report import BadFile, FileReport, Head
from core.clock import SystemClock
from core.config import Settings
from core.errors import CaptureError, Failed, UserError, ValueRefused
from core.feeds.capture import CaptureReader, read_capture
from core.feeds.replaying import Player, without_last_close
from core.model.decision import Mode
from core.model.event import LedgerEvent
from core.replay import YIELD_EVERY
from core.state import StateDir
from ledger.rows import History
from ledger.writer import LedgerWriter

ENDED = "the feed has ended"
"""The words of ``cli.engine``: the ledger of a backtest is that of the same replay."""
Tell = Callable[[int, int], None]
"""Takes the records done so far, and the bytes of the file that they lie in."""


class FileJob(msgspec.Struct, frozen=True):
    """What a process needs to know to run one file."""

    place: int
    """Place on the command line."""
    path: Path
    state: Path
    """State directory of this file alone; not there yet."""
    models: Path
    """Where the user's agents are."""
    settings: Settings
    mode: Mode
    seed: int


class WatchedWriter(LedgerWriter):
    """The real ledger, which also tells what it has taken."""

    on_event: Callable[[LedgerEvent], None] | None = None

    @override
    def append(self, event: LedgerEvent, ts_ns: int, cause: int | None = None) -> int:
        seq = super().append(event, ts_ns, cause)
        if self.on_event is not None:
            self.on_event(event)
        return seq


def run_file(job: FileJob, tell: Tell) -> FileReport | BadFile:
    """Run one capture to its end, or to where it can be read no further."""
    try:
        reader = read_capture(job.path)
        return _run(job, reader, tell)
    except (UserError, ValueRefused, Failed) as error:
        return BadFile(job.path.name, str(error))


def _run(job: FileJob, reader: CaptureReader, tell: Tell) -> FileReport | BadFile:
    clock = SystemClock()
    state = StateDir(job.state).create()
    plan = replay_plan(reader, state, job.settings, mode=job.mode, seed=job.seed)
    plan = msgspec.structs.replace(plan, models=job.models)
    writer = WatchedWriter(state.path)
    try:
        rig = replay_rig(plan, reader, writer, History(), clock.now_ns())
    except BaseException:
        writer.close()
        raise
    collector = Collector(rig.session.engine)
    writer.on_event = collector.on_event
    reason = "failed"
    try:
        problem = _feed(rig, reader, collector, tell)
        reason = ENDED
    finally:
        _end(rig, reason, clock)
    if writer.failure is not None:
        raise Failed(f"{job.path}: ledger failed: {writer.failure}")
    if problem and not reader.n_records:
        return BadFile(job.path.name, problem)
    digest = plan.source.removeprefix("sha256:")
    return collector.report(job.path.name, digest, Head(*writer.head()), problem)


def _feed(rig: Rig, reader: CaptureReader, collector: Collector, tell: Tell) -> str:
    """Give every record to the session; return why it ended early, empty if it did not."""
    player = Player(rig.session, reader.meta, rig.session.engine.settings)
    try:
        for count, record in enumerate(without_last_close(reader), 1):
            collector.before(record.ns)
            player.give(record)
            if count % YIELD_EVERY == 0:
                tell(count, reader.bytes_read)
        player.finish()
    except CaptureError as error:
        return str(error)
    finally:
        tell(reader.n_records, reader.bytes_read)
    return reader.cut_text() if reader.was_cut else ""


def _end(rig: Rig, reason: str, clock: SystemClock) -> None:
    """End the run as the engine's process would."""
    try:
        session = rig.session
        session.engine.execution.cancel_orders("system", f"the engine stops: {reason}")
        session.send_cancels()
    finally:
        rig.close(reason, clock.now_ns())
