"""What the writer's thread does to the disk: one group, one transaction, then the files beside it.

Everything that is durable when a group is acknowledged is in its commit. Witness,
``checkpoints.txt`` and ``ledger.resume`` follow it, in this order, and may lag.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from core.errors import ValueRefused
from core.model.event import FilesRemoved, KeyRotated, LedgerEvent, RunEnded, RunStarted
from ledger import form, payloads, witness
from ledger.book_state import states_of
from ledger.chain import Head
from ledger.envelope import type_of
from ledger.keys import SigningKey
from ledger.lot_rows import Place
from ledger.notary import open_notary
from ledger.payload_check import KIND as REMOVED_KIND
from ledger.projections import Projector, place_tables
from ledger.recovery import recover
from ledger.resume import CARRIED, RESUME_EVENTS, RESUME_EVENTS_MIN
from ledger.rows import Gathering
from ledger.run_clock import ended_line, started_line
from ledger.tables import bring_up_to_date
from ledger.witness import GROUP_EVENTS_MAX

CHECKPOINT_COMMITS = 128
"""Commits since the last checkpoint before an idle moment is used for the next. A commit is 8 to 60
pages of WAL, so this is 4 to 30 MiB."""
CHECKPOINT_COMMITS_MAX = 1024
"""The same, in a burst that leaves no idle moment."""


class Entry(NamedTuple):
    """One event on its way to the disk."""

    place: Place
    event: LedgerEvent
    hash: bytes
    body: bytes


class ClockRow(NamedTuple):
    """A wall-clock fact of a run; outside the hash, so outside determinism."""

    run_id: str
    started_wall: str | None
    ended_wall: str | None


class NewKey(NamedTuple):
    """The key that signs from the next event on, which is its KEY_ROTATED."""

    key: SigningKey


class Payload(NamedTuple):
    """Bytes that the next event names by their digest."""

    data: bytes


class Signing(NamedTuple):
    """A wish for a checkpoint of the newest event before it."""


Item = Entry | NewKey | ClockRow | Payload | Signing


class Committer:
    """One connection and what belongs to it; once open, the writer's thread alone uses it."""

    def __init__(
        self,
        state_dir: Path,
        group_events: int,
        connect: Callable[[Path], sqlite3.Connection],
        gathering: Gathering | None = None,
    ) -> None:
        """Open and check the ledger; no group will be larger than ``group_events``.

        Errors: as ``LedgerWriter``.
        """
        self._state_dir, self._group_events = state_dir, group_events
        self._connection = connect(state_dir)
        self.projector = Projector(self._connection)
        try:
            found = recover(self._connection, state_dir, self.projector, gathering)
            self._notary = open_notary(self._connection, state_dir, found)
            bring_up_to_date(self._connection, found.head)
        except BaseException:
            self._connection.close()
            raise
        self.head, self.run = found.head, found.run
        """Newest event committed, and its run."""
        self.is_walked_whole = found.walked_from == 1
        self.resume_refused = found.resume_refused
        """Why a long ledger was walked whole, in words; empty where it was not, or is short."""
        self._carried = found.carried
        self._resume_seq = found.walked_from - 1
        """Newest event when ``ledger.resume`` was written; 0 if it is not known to be right."""
        self._witness_seq = self._lasting_seq = found.head.seq
        """Newest event in the witness, and in the one that a power cut leaves."""
        self._commits_unchecked = 0
        self._payloads_gone: list[str] = []
        """Digests that a durable event says went, and that are still to go."""

    @property
    def key(self) -> SigningKey:
        """What signs now."""
        return self._notary.key

    def commit(self, group: list[Item]) -> None:
        """Write one group as one transaction."""
        for item in group:
            if isinstance(item, Payload):
                payloads.put(self._state_dir, item.data)
        self._connection.execute("BEGIN IMMEDIATE")
        head, run = self.head, self.run
        for item in group:
            if isinstance(item, Entry):
                self._write_event(item)
                head, run = Head(item.place.seq, item.hash), item.place.run
            else:
                self._do(item)
        if head != self.head:
            place_tables(self._connection, head)
        self._connection.execute("COMMIT")
        self._commits_unchecked += 1
        self.head, self.run = head, run

    def _write_event(self, entry: Entry) -> None:
        self._connection.execute(
            "INSERT INTO events VALUES(?, ?, ?)", (entry.place.seq, entry.hash, entry.body)
        )
        # From the bytes, as a rebuild would: floats were cut on the way there.
        kind = type_of(entry.event)
        self.projector.apply(entry.place, form.event_of(entry.body, kind))
        if kind in CARRIED:
            self._carried.take(entry.hash)
        if isinstance(entry.event, FilesRemoved) and entry.event.kind == REMOVED_KIND:
            self._payloads_gone += entry.event.names
        is_boundary = isinstance(entry.event, (RunStarted, RunEnded, KeyRotated))
        self._notary.take(entry.place.seq, entry.hash, is_boundary=is_boundary)

    def _do(self, item: NewKey | ClockRow | Payload | Signing) -> None:
        match item:
            case ClockRow():
                self._write_clock(item)
            case NewKey(key):
                self._notary.change_key(key)
            case Signing():
                self._notary.sign_head()
            case Payload():
                pass  # it is on the disk already

    def _write_clock(self, row: ClockRow) -> None:
        """A run that died before its first event is begun again under the same id."""
        if row.started_wall is not None:
            self._connection.execute(
                "INSERT INTO run_clock VALUES(?, ?, NULL) ON CONFLICT(run_id)"
                " DO UPDATE SET started_wall = excluded.started_wall, ended_wall = NULL",
                (row.run_id, row.started_wall),
            )
            self._notary.note(started_line(row.run_id, row.started_wall))
        else:
            self._connection.execute(
                "UPDATE run_clock SET ended_wall = ? WHERE run_id = ?",
                (row.ended_wall, row.run_id),
            )
            self._notary.note(ended_line(row.run_id, row.ended_wall or ""))

    def follow_up(self, *, is_idle: bool) -> None:
        """Bring witness, ``checkpoints.txt`` and, when due, WAL and ``ledger.resume`` after it."""
        if self._witness_seq != self.head.seq:
            self._tell_witness()
        self._notary.publish()
        if self._payloads_gone:
            self._remove_payloads()
        bound = CHECKPOINT_COMMITS if is_idle else CHECKPOINT_COMMITS_MAX
        if self._commits_unchecked >= bound:
            # Readers are never waited for.
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._commits_unchecked = 0
        if self.head.seq - self._resume_seq >= RESUME_EVENTS:
            self._write_resume()

    def _remove_payloads(self) -> None:
        """Remove what the events just committed say went; the next look tells what cannot go."""
        for digest in self._payloads_gone:
            with suppress(OSError, ValueRefused):
                payloads.remove(self._state_dir, digest)
        self._payloads_gone.clear()

    def _tell_witness(self) -> None:
        """Write the witness; make it lasting before it could fall a group too far behind."""
        is_lasting = self.head.seq + self._group_events - self._lasting_seq > GROUP_EVENTS_MAX
        witness.write(self._state_dir, self.head, is_lasting=is_lasting)
        self._witness_seq = self.head.seq
        if is_lasting:
            self._lasting_seq = self.head.seq

    def _write_resume(self) -> None:
        """Say where the next start may go on."""
        if self.head.seq >= RESUME_EVENTS_MIN:
            lots = self.projector.lots
            books = None if lots.counting.failure else states_of(lots.books())
            self._notary.write_resume(self.head, self.run, self._carried, books)
            self._resume_seq = self.head.seq

    def end(self) -> None:
        """Leave nothing in the WAL, and the next start a short way."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if self._resume_seq != self.head.seq:
            self._write_resume()

    def close(self) -> None:
        self._connection.close()
