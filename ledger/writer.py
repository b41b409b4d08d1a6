"""The writer: chains events as they come and commits them in groups from one thread.

``append`` costs the hash and a queue entry; durability is asked for by ``flush``. A group is
acknowledged when it is committed, then the witness is told (it costs more than the commit, and
may lag by one group). Any failure is sticky: the ledger that cannot write stops the trading.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

from core.clock import iso_ns
from core.errors import InvariantError
from core.model.event import LedgerEvent, RunEnded, RunStarted
from ledger import witness
from ledger.chain import Head, leaf_hash
from ledger.envelope import actor_of, seal, unseal
from ledger.lot_rows import Place
from ledger.notary import open_notary
from ledger.projections import Projector
from ledger.recovery import recover
from ledger.store import open_for_writing
from ledger.witness import GROUP_EVENTS_MAX

GROUP_EVENTS = 64
"""Events in one commit of live use; a replay may take more (up to ``GROUP_EVENTS_MAX``)."""
GROUP_AGE_S = 0.005
"""How long an event waits for others when nobody asks for a flush."""
QUEUE_EVENTS_MAX = 16_384
"""Events waiting for the disk. At the bound the ledger takes no more and says so for good; what
was accepted is still written."""
CHECKPOINT_COMMITS = 128
"""Commits since the last checkpoint before an idle moment is used for the next. A commit is 8 to 60
pages of WAL, so this is 4 to 30 MiB."""
CHECKPOINT_COMMITS_MAX = 1024
"""The same, in a burst that leaves no idle moment."""


class _Entry(NamedTuple):
    """One event on its way to the disk."""

    place: Place
    event: LedgerEvent
    hash: bytes
    body: bytes


class _ClockRow(NamedTuple):
    """A wall-clock fact of a run; outside the hash, so outside determinism."""

    run_id: str
    started_wall: str | None
    ended_wall: str | None


class _Signing(NamedTuple):
    """A wish for a checkpoint of the newest event before it."""


class LedgerWriter:
    """The ledger as an ``EventSink``: one producer, one writer thread, one connection."""

    def __init__(
        self,
        state_dir: Path,
        *,
        group_events: int = GROUP_EVENTS,
        connect: Callable[[Path], sqlite3.Connection] = open_for_writing,
    ) -> None:
        """Open and check the ledger in ``state_dir``.

        Errors: ``Failed`` if chain, witness, checkpoints or file are not in order; ``UserError``
        for a key that others can read.
        """
        if not 0 < group_events <= GROUP_EVENTS_MAX:
            raise InvariantError(f"group was {group_events}, allowed is 1 to {GROUP_EVENTS_MAX}")
        self._state_dir = state_dir
        self._group_events = group_events
        self._connection = connect(state_dir)
        self._projector = Projector(self._connection)
        try:
            found = recover(self._connection, state_dir, self._projector)
            self._notary = open_notary(self._connection, state_dir, found)
        except BaseException:
            self._connection.close()
            raise
        self._head, self._run = found.head, found.run
        self._venue = self._projector.venue
        self._wake = threading.Condition()
        self._queue: deque[_Entry | _ClockRow | _Signing] = deque()
        self._waiting: deque[tuple[int, Future[None]]] = deque()
        self._put_count = self._done_count = 0
        self._closing = False
        self._failure: str | None = None
        self._commits_unchecked = 0
        self._thread = threading.Thread(target=self._work, name="ledger-writer", daemon=True)
        self._thread.start()

    def append(self, event: LedgerEvent, ts_ns: int, cause: int | None = None) -> int:
        """Chain and queue ``event`` as of engine time ``ts_ns``; return its seq.

        Errors: ``InvariantError`` after any failure, when the queue is full, and for an event
        without a canonical form (which leaves the chain as it was).
        """
        with self._wake:
            self._check_usable()
            run, venue = self._run, self._venue
            if isinstance(event, RunStarted):
                run, venue = event.run_id, event.venue
            seq = self._head.seq + 1
            body = seal(
                event,
                seq=seq,
                ts_ns=ts_ns,
                run=run,
                cause=cause,
                actor=actor_of(event, venue),
                prev=self._head.hash.hex(),
            )
            self._run, self._venue, self._head = run, venue, Head(seq, leaf_hash(body))
            place = Place(seq, iso_ns(ts_ns), run)
            self._put(_Entry(place, event, self._head.hash, body))
            return seq

    def begin_run(self, run_id: str, wall_ns: int) -> None:
        """Note when a run began by the wall clock, outside the hashed events."""
        with self._wake:
            self._check_usable()
            self._put(_ClockRow(run_id, iso_ns(wall_ns), None))

    def end_run(self, run_id: str, wall_ns: int) -> None:
        """Note when a run ended by the wall clock."""
        with self._wake:
            self._check_usable()
            self._put(_ClockRow(run_id, None, iso_ns(wall_ns)))

    def sign_head(self) -> None:
        """Ask for a checkpoint of the newest event, unless it has one; ``flush`` waits for it."""
        with self._wake:
            self._check_usable()
            self._put(_Signing())

    def flush(self) -> Future[None]:
        """Return a future that is done when everything appended so far is durable.

        Errors: ``InvariantError`` after a failure; the future holds it if it comes later.
        """
        future: Future[None] = Future()
        with self._wake:
            if self._failure is not None:
                raise InvariantError(f"ledger failed: {self._failure}")
            if self._done_count < self._put_count:
                self._waiting.append((self._put_count, future))
                self._wake.notify()
                return future
        future.set_result(None)
        return future

    def head(self) -> tuple[int, str]:
        """Return seq and hash (hex) of the newest event appended, durable or not."""
        with self._wake:
            return self._head.seq, self._head.hash.hex()

    @property
    def failure(self) -> str | None:
        """Why nothing can be written any more; None while all is well."""
        return self._failure

    @property
    def depth(self) -> int:
        """Events queued and not yet committed; at ``QUEUE_EVENTS_MAX`` the ledger fails."""
        return self._put_count - self._done_count

    def close(self) -> None:
        """Commit what is queued, checkpoint and close the file. ``failure`` says if it did not."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _check_usable(self) -> None:
        if self._failure is None and self._closing:
            raise InvariantError("ledger was closed")
        if self._failure is None and self.depth >= QUEUE_EVENTS_MAX:
            self._failure = f"queue was full at {QUEUE_EVENTS_MAX} events"
        if self._failure is not None:
            raise InvariantError(f"ledger failed: {self._failure}")

    def _put(self, entry: _Entry | _ClockRow | _Signing) -> None:
        self._queue.append(entry)
        self._put_count += 1
        if len(self._queue) == 1 or len(self._queue) == self._group_events:
            self._wake.notify()

    def _work(self) -> None:
        """Life of the writer thread."""
        try:
            while group := self._take():
                head = self._commit(group)
                self._acknowledge(len(group))
                if head is not None:
                    witness.write(self._state_dir, head)
                self._notary.publish()
                self._checkpoint_if_due()
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except Exception as error:  # noqa: BLE001 - a thread's border: silence here loses events
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            self._connection.close()

    def _take(self) -> list[_Entry | _ClockRow | _Signing]:
        """Return the next group; empty when closing with nothing left."""
        with self._wake:
            self._wake.wait_for(lambda: self._queue or self._closing)
            self._wake.wait_for(self._is_group_ready, timeout=GROUP_AGE_S)
            count = min(len(self._queue), self._group_events)
            return [self._queue.popleft() for _ in range(count)]

    def _is_group_ready(self) -> bool:
        is_full = len(self._queue) >= self._group_events
        return is_full or bool(self._waiting) or self._closing

    def _commit(self, group: list[_Entry | _ClockRow | _Signing]) -> Head | None:
        """Write one group as one transaction; return the head if it held an event."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        last: _Entry | None = None
        for entry in group:
            if isinstance(entry, _ClockRow):
                self._write_clock(entry)
                continue
            if isinstance(entry, _Signing):
                self._notary.sign_head()
                continue
            execute("INSERT INTO events VALUES(?, ?, ?)", (entry.place.seq, entry.hash, entry.body))
            # From the bytes, as a rebuild would: floats were cut on the way there.
            self._projector.apply(entry.place, unseal(entry.body)[1])
            is_boundary = isinstance(entry.event, (RunStarted, RunEnded))
            self._notary.take(entry.place.seq, entry.hash, is_boundary=is_boundary)
            last = entry
        execute("COMMIT")
        self._commits_unchecked += 1
        return Head(last.place.seq, last.hash) if last is not None else None

    def _write_clock(self, row: _ClockRow) -> None:
        """A run that died before its first event is begun again under the same id."""
        if row.started_wall is not None:
            self._connection.execute(
                "INSERT INTO run_clock VALUES(?, ?, NULL) ON CONFLICT(run_id)"
                " DO UPDATE SET started_wall = excluded.started_wall, ended_wall = NULL",
                (row.run_id, row.started_wall),
            )
        else:
            self._connection.execute(
                "UPDATE run_clock SET ended_wall = ? WHERE run_id = ?",
                (row.ended_wall, row.run_id),
            )

    def _acknowledge(self, count: int) -> None:
        done: list[Future[None]] = []
        with self._wake:
            self._done_count += count
            while self._waiting and self._waiting[0][0] <= self._done_count:
                done.append(self._waiting.popleft()[1])
        for future in done:
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    def _checkpoint_if_due(self) -> None:
        """Move the WAL into the database when nothing waits; readers are never waited for."""
        bound = CHECKPOINT_COMMITS_MAX if self._queue else CHECKPOINT_COMMITS
        if self._commits_unchecked >= bound:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._commits_unchecked = 0

    def _fail(self, why: str) -> None:
        """Latch the failure and tell everybody who waits. The open transaction is given up."""
        with self._wake:
            if self._failure is None:
                self._failure = why
            futures = [future for _, future in self._waiting]
            self._waiting.clear()
            self._queue.clear()
        for future in futures:
            if future.set_running_or_notify_cancel():
                future.set_exception(InvariantError(f"ledger failed: {self._failure}"))
