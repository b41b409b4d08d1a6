"""One run as the ledger holds it: manifest, events, what entered it, decision points."""

from __future__ import annotations

import calendar
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from core.clock import NS_PER_S
from core.errors import Failed, UserError, ValueRefused
from core.model.event import (
    DecisionsTaken,
    FileRecorded,
    InputTaken,
    LedgerEvent,
    RunEnded,
    RunStarted,
)
from ledger import payloads
from ledger.envelope import Envelope, Tail, tail_of, unseal
from ledger.payload_check import is_removed, removals
from ledger.store import reading

PREFIX_CHARS_MIN = 4


class Kept(NamedTuple):
    """One event of the run as stored."""

    seq: int
    hash: bytes
    body: bytes
    type: str


class RecordedRun(msgspec.Struct, frozen=True):
    """A run, read and checked against its schema."""

    started: RunStarted
    start_ns: int
    """Ledger time of the start."""
    end_ns: int
    """Ledger time of the last event."""
    events: tuple[Kept, ...]
    """All of them, RUN_STARTED first."""
    inputs: tuple[InputTaken, ...]
    files: tuple[FileRecorded, ...]
    ended: RunEnded | None
    """None: the process was killed, or still runs."""
    points: tuple[tuple[int, bytes | None], ...]
    """Seq of the DECISIONS event and the line, of each decision point in order; no line where a
    rule on disk space removed the payload."""
    removed: dict[int, str]
    """Digest of each payload that a rule removed, by the DECISIONS event that names it."""
    faults: tuple[str, ...]
    """Payloads that are missing or altered."""

    @property
    def start_seq(self) -> int:
        return self.events[0].seq


class _Found(NamedTuple):
    run_id: str
    seq: int
    until: int
    """Seq after the last event of the run."""


def read_run(state_dir: Path, key: str) -> RecordedRun:
    """Return the run that ``key`` names: an id or its beginning, or ``last``.

    Errors: ``UserError`` if no run or several are called that, ``Failed`` if it cannot be read.
    """
    with reading(state_dir) as connection:
        found = _find(_runs(connection), key)
        rows = connection.execute(
            "SELECT seq, hash, body FROM events WHERE seq >= ? AND seq < ? ORDER BY seq",
            (found.seq, found.until),
        ).fetchall()
        gone = removals(connection)
    return _read(state_dir, rows, gone)


def _runs(connection: sqlite3.Connection) -> list[_Found]:
    starts: list[tuple[str, int]] = []
    last = 0
    for seq, body in connection.execute("SELECT seq, body FROM events ORDER BY seq"):
        last = seq
        tail = tail_of(body)
        if tail is not None and tail.type == b"RUN_STARTED":
            starts.append((_run_of(tail), seq))
    ends = [seq for _, seq in starts[1:]] + [last + 1]
    return [_Found(run, seq, end) for (run, seq), end in zip(starts, ends, strict=True)]


def _run_of(tail: Tail) -> str:
    return str(msgspec.json.decode(b'"' + tail.run + b'"'))


def _find(runs: list[_Found], key: str) -> _Found:
    if key == "last" and runs:
        return runs[-1]
    if len(key) < PREFIX_CHARS_MIN:
        raise UserError(f"run {key!r:.40}: give at least {PREFIX_CHARS_MIN} characters, or 'last'")
    fitting = [run for run in runs if run.run_id.startswith(key)]
    if not fitting:
        raise UserError(f"no run in this ledger is called {key!r:.40}")
    if len(fitting) > 1:
        raise UserError(f"{len(fitting)} runs begin with {key!r:.40}: give more of the id")
    return fitting[0]


def _read(
    state_dir: Path, rows: list[tuple[int, bytes, bytes]], gone: dict[str, int]
) -> RecordedRun:
    kept: list[Kept] = []
    inputs: list[InputTaken] = []
    files: list[FileRecorded] = []
    points: list[tuple[int, bytes | None]] = []
    removed: dict[int, str] = {}
    faults: list[str] = []
    opened = [_open(seq, body) for seq, _, body in rows]
    started, ended = opened[0][1], opened[-1][1]
    assert isinstance(started, RunStarted)
    for (seq, stored_hash, body), (envelope, event) in zip(rows, opened, strict=True):
        kept.append(Kept(seq, stored_hash, body, envelope.type))
        match event:
            case InputTaken():
                inputs.append(event)
            case FileRecorded():
                files.append(event)
            case RunEnded():
                ended = event
            case DecisionsTaken():
                try:
                    lines = payloads.get(state_dir, event.digest).splitlines(keepends=True)
                    points += [(seq, line) for line in lines]
                except Failed as error:
                    if is_removed(seq, gone.get(event.digest, 0)):
                        removed[seq] = event.digest
                        points += [(seq, None)] * event.count
                    else:
                        faults.append(f"seq {seq}: {error}")
            case _:
                pass
    return RecordedRun(
        started=started,
        start_ns=ns_of(opened[0][0].ts),
        end_ns=ns_of(opened[-1][0].ts),
        events=tuple(kept),
        inputs=tuple(inputs),
        files=tuple(files),
        ended=ended if isinstance(ended, RunEnded) else None,
        points=tuple(points),
        removed=removed,
        faults=tuple(faults),
    )


def _open(seq: int, body: bytes) -> tuple[Envelope, LedgerEvent]:
    try:
        return unseal(body)
    except ValueRefused as error:
        raise Failed(f"seq {seq}: {error}") from error


def ns_of(ts: str) -> int:
    """Return Unix nanoseconds of a ledger time."""
    seconds = calendar.timegm(time.strptime(ts[:19], "%Y-%m-%dT%H:%M:%S"))
    return seconds * NS_PER_S + int(ts[20:29])
