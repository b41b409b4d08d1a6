"""The writer: chains events as they come and commits them in groups from one thread.

``append`` costs the hash and a queue entry; durability is asked for by ``flush``. A group is
acknowledged when it is committed, then the witness is told (it costs more than the commit, and
may lag by one group). Any failure is sticky: the ledger that cannot write stops the trading.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from core.clock import iso_ns
from core.errors import InvariantError
from core.model.event import LedgerEvent, RunStarted
from ledger.audit import Audit
from ledger.chain import Head, leaf_hash
from ledger.commit import ClockRow, Committer, Entry, Item, NewKey, Payload, Signing
from ledger.envelope import actor_of, seal
from ledger.failure import failure_text
from ledger.keys import SigningKey
from ledger.lot_rows import Place
from ledger.payloads import why_not_kept
from ledger.rotation import rotate
from ledger.rows import Gathering
from ledger.store import RESUME_NAME, open_for_writing
from ledger.witness import GROUP_EVENTS_MAX

GROUP_EVENTS = 64
"""Events in one commit of live use; a replay may take more (up to ``GROUP_EVENTS_MAX``)."""
GROUP_AGE_S = 0.005
"""How long an event waits for others when nobody asks for a flush."""
QUEUE_EVENTS_MAX = 16_384
"""Events waiting for the disk. At the bound the ledger takes no more and says so for good; what
was accepted is still written."""
SIGN_AGE_S = 300.0
"""Newest events are signed at least this often, in wall time; a checkpoint stands outside them."""
LOOK_UP_S = 1.0
"""How long the thread sleeps at most."""


class LedgerWriter:
    """The ledger as an ``EventSink``: one producer, one writer thread, one connection."""

    def __init__(
        self,
        state_dir: Path,
        *,
        group_events: int = GROUP_EVENTS,
        sign_age_s: float = SIGN_AGE_S,
        connect: Callable[[Path], sqlite3.Connection] = open_for_writing,
        gathering: Gathering | None = None,
    ) -> None:
        """Open and check the ledger in ``state_dir``; ``gathering`` takes what a run wants to know.

        Errors: ``Failed`` if chain, witness, checkpoints or file are not in order; ``UserError``
        for a key that others can read.
        """
        if not 0 < group_events <= GROUP_EVENTS_MAX:
            raise InvariantError(f"group was {group_events}, allowed is 1 to {GROUP_EVENTS_MAX}")
        self._state_dir = state_dir
        self._group_events = group_events
        self._disk = Committer(state_dir, group_events, connect, gathering)
        self._head, self._run = self._disk.head, self._disk.run
        self._venue = self._disk.projector.venue
        self._wake = threading.Condition()
        self._queue: deque[Item] = deque()
        self._waiting: deque[tuple[int, Future[None]]] = deque()
        self._put_count = self._done_count = 0
        self._closing = False
        self._failure: str | None = None
        refused = self._disk.resume_refused
        self.start_text = (
            f"the start walked all {self._head.seq:,} events: {RESUME_NAME} was refused, {refused}"
            if refused
            else ""
        )
        """What the trader should know of how the ledger was opened; mostly nothing."""
        self._audit = None if self._disk.is_walked_whole else Audit(state_dir)
        self._sign_age_s = sign_age_s
        self._sign_by_s = time.monotonic() + sign_age_s
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
            self._put(Entry(place, event, self._head.hash, body))
            return seq

    def rotate_key(self, new: SigningKey, reason: str, ts_ns: int) -> int:
        """Have ``new`` sign from here on, with a rotation signed by it and the old key."""
        with self._wake:
            self._check_usable()
            seq, prev = self._head.seq + 1, self._head.hash.hex()
            event = rotate(seq, prev, self._disk.key, new, reason)
            self._put(NewKey(new))
            return self.append(event, ts_ns)

    def keep(self, data: bytes) -> str:
        """Keep ``data`` as a payload, durable before any event appended after this.

        Returns why it is not kept: a disk nearly full is left to the events.
        """
        no_room = why_not_kept(self._state_dir)
        with self._wake:
            self._check_usable()
            if not no_room:
                self._put(Payload(data))
        return no_room

    def begin_run(self, run_id: str, wall_ns: int) -> None:
        """Note when a run began by the wall clock, outside the hashed events."""
        with self._wake:
            self._check_usable()
            self._put(ClockRow(run_id, iso_ns(wall_ns), None))

    def end_run(self, run_id: str, wall_ns: int) -> None:
        """Note when a run ended by the wall clock."""
        with self._wake:
            self._check_usable()
            self._put(ClockRow(run_id, None, iso_ns(wall_ns)))

    def sign_head(self) -> None:
        """Ask for a checkpoint of the newest event, unless it has one; ``flush`` waits for it."""
        with self._wake:
            self._check_usable()
            self._put(Signing())

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

    def _put(self, entry: Item) -> None:
        self._queue.append(entry)
        self._put_count += 1
        if len(self._queue) == 1 or len(self._queue) == self._group_events:
            self._wake.notify()

    def _work(self) -> None:
        """Life of the writer thread."""
        try:
            while (group := self._take()) is not None:
                if group:
                    self._write(group)
                if self._audit is not None:
                    self._audit.check()
            self._disk.end()
        except Exception as error:  # noqa: BLE001 - a thread's border: silence here loses events
            self._fail(failure_text(error))
        finally:
            if self._audit is not None:
                self._audit.close()
            self._disk.close()

    def _write(self, group: list[Item]) -> None:
        """Commit a group, acknowledge it, then bring the files beside the database after it."""
        self._disk.commit(group)
        self._acknowledge(len(group))
        self._disk.follow_up(is_idle=not self._queue)

    def _take(self) -> list[Item] | None:
        """Return the next group, empty to look up in between; None when closing with none left.

        Where nothing was signed for long, a checkpoint is put into the group.
        """
        with self._wake:
            self._wake.wait_for(lambda: self._queue or self._closing, timeout=LOOK_UP_S)
            if self._queue:
                self._wake.wait_for(self._is_group_ready, timeout=GROUP_AGE_S)
            elif self._closing:
                return None
            if self._is_signing_due():
                self._sign_by_s = time.monotonic() + self._sign_age_s
                self._put(Signing())
            count = min(len(self._queue), self._group_events)
            return [self._queue.popleft() for _ in range(count)]

    def _is_signing_due(self) -> bool:
        return time.monotonic() >= self._sign_by_s

    def _is_group_ready(self) -> bool:
        is_full = len(self._queue) >= self._group_events
        return is_full or bool(self._waiting) or self._closing

    def _acknowledge(self, count: int) -> None:
        done: list[Future[None]] = []
        with self._wake:
            self._done_count += count
            while self._waiting and self._waiting[0][0] <= self._done_count:
                done.append(self._waiting.popleft()[1])
        for future in done:
            if future.set_running_or_notify_cancel():
                future.set_result(None)

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
