"""A wired engine with what lives beside it: looked after while it runs, closed when it ends."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import msgspec

from core.clock_quality import ClockWatch
from core.errors import Failed, InvariantError
from core.model import event as ev
from core.picture import RunFacts
from core.ports import EventSink
from core.recordings import Recordings
from core.session import Session
from ledger.anchors_watch import AnchorWatch
from ledger.payload_bound import PayloadBound


class RunSink(EventSink, Protocol):
    """The way to the ledger as a run needs it; a replay for a receipt has one that compares."""

    def head(self) -> tuple[int, str]: ...

    def begin_run(self, run_id: str, wall_ns: int) -> None: ...

    def end_run(self, run_id: str, wall_ns: int) -> None: ...

    def close(self) -> None: ...

    @property
    def failure(self) -> str | None:
        """Why nothing can be written any more; None while all is well."""

    @property
    def start_text(self) -> str:
        """What the trader should know of how the ledger was opened; mostly nothing."""


class Rig(msgspec.Struct):
    """A wired engine and what must be closed after it."""

    session: Session
    writer: RunSink
    facts: RunFacts
    run_id: str
    recordings: Recordings | None = None
    clock_watch: ClockWatch = msgspec.field(default_factory=ClockWatch)
    anchors: AnchorWatch | None = None
    """Asks outsiders to attest checkpoints; None where nobody is to be asked."""
    payload_bound: PayloadBound | None = None
    """None where time is not the wall's: a replay keeps its own time, and the next run the bound.
    """

    def watch_clock(self, now_ns: int) -> None:
        """Journal what the system says of its clock, when that is due; in live runs alone."""
        read = self.clock_watch.look(now_ns)
        if read is not None:
            self.session.engine.context.journal(read)

    def watch_anchors(self, now_ns: int) -> None:
        """Journal what outsiders said of a checkpoint; never waits for them."""
        if self.anchors is None:
            return
        context = self.session.engine.context
        for outcome in self.anchors.look(now_ns):
            context.journal(outcome)
            if isinstance(outcome, ev.AnchorFailed):
                context.notify("warning", f"not anchored by {outcome.method}: {outcome.reason}")

    def keep_recordings(self, now_ns: int) -> None:
        """Let tape and capture write what waits and keep their bounds; tell what went."""
        if self.recordings is None:
            return
        context = self.session.engine.context
        gone = self.recordings.on_time(now_ns)
        if self.payload_bound is not None:
            gone += self.payload_bound.on_time(now_ns)
        for removed in gone:
            context.journal(removed)
            context.notify(
                "info",
                f"{len(removed.names)} {removed.kind} file(s) removed, the oldest, to keep "
                f"[storage] {removed.kind}s_max_mib",
            )

    def trouble(self) -> str:
        """Return why tape or recording has ended before the run, or nothing."""
        parts = [] if self.recordings is None else [self.recordings.trouble()]
        if self.payload_bound is not None:
            parts.append(self.payload_bound.failure)
        return "; ".join(part for part in parts if part)

    def close(self, reason: str, wall_ns: int) -> None:
        """Write the end of the run, make all durable, close the files."""
        counters = self.session.counters
        ended = ev.RunEnded(
            run_id=self.run_id,
            reason=reason,
            counters={
                "frames": counters.frames,
                "refused": counters.refused,
                "gaps": counters.gaps,
                "resyncs": counters.resyncs,
                **({"resume_refused": 1} if self.writer.start_text else {}),
            },
        )
        context = self.session.engine.context
        try:
            for behind in (self.payload_bound, self.anchors):
                if behind is not None:
                    behind.close()
            self.session.engine.points.flush()
            if self.recordings is not None:
                self.recordings.close()
                for path in self.recordings.capture_paths:
                    context.journal(_recorded_file("capture", path))
        finally:
            self._end_ledger(ended, wall_ns)

    def _end_ledger(self, ended: ev.RunEnded, wall_ns: int) -> None:
        """Write the end of the run and close. Errors: ``Failed`` for a ledger that failed."""
        try:
            # First the time: the checkpoint that is due with the event signs it too.
            self.writer.end_run(self.run_id, wall_ns)
            self.session.engine.context.journal(ended)
        except InvariantError:
            if self.writer.failure is None:
                raise
        finally:
            self.writer.close()
        if self.writer.failure is not None:
            raise Failed(f"the ledger failed, which halted the run: {self.writer.failure}")


def _recorded_file(kind: str, path: Path) -> ev.FileRecorded:
    """Return the event that puts a finished recording under the chain."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return ev.FileRecorded(kind, path.name, digest, path.stat().st_size)
    except OSError:
        return ev.FileRecorded(kind, path.name, "", 0)
