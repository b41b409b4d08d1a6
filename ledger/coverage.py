"""What of a ledger is signed: follows the events and judges the checkpoints over them.

A checkpoint is due at every RUN_STARTED, every RUN_ENDED and every 256th event, in the same
commit, so a missing one is as telling as a wrong one. Only the newest events, fewer than 256 and
no boundary of a run among them, may be unsigned.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from core.errors import Failed, ValueRefused
from ledger.checkpoint import ADOPTED, Checkpoint, open_note, parse_note
from ledger.envelope import Tail
from ledger.keys import PublicKey
from ledger.rotation import Turns
from ledger.schema import UNSIGNED_VERSION
from ledger.store import NOTES_NAME, UNREADABLE, version_of
from ledger.tree import EMPTY_ROOT, Frontier
from ledger.witness import GROUP_EVENTS_MAX

SIGN_EVERY = 256
"""Events between two checkpoints at most."""
REMAKE = "sqlite3 ledger.db 'SELECT note FROM checkpoints ORDER BY seq' > checkpoints.txt"
"""What makes ``checkpoints.txt`` again, byte for byte."""
_BOUNDARIES = frozenset({b"RUN_STARTED", b"RUN_ENDED", b"KEY_ROTATED"})

Problem = tuple[int | None, str]
"""The seq it concerns, and what is wrong."""


class Stored(NamedTuple):
    """A row of ``checkpoints``."""

    seq: int
    note: str


def stored_notes(connection: sqlite3.Connection) -> list[Stored]:
    """Return the stored checkpoints, oldest first; none in a ledger older than them.

    Errors: ``Failed`` if SQLite cannot read them.
    """
    if version_of(connection) == UNSIGNED_VERSION:
        return []
    try:
        rows = connection.execute("SELECT seq, note FROM checkpoints ORDER BY seq").fetchall()
    except UNREADABLE as error:
        raise Failed(f"the checkpoints cannot be read ({error})") from error
    return [Stored(*row) for row in rows]


def file_text(stored: Iterable[Stored]) -> bytes:
    """Return what ``checkpoints.txt`` holds when it holds these."""
    return "".join(f"{note}\n" for _, note in stored).encode()


def is_due(seq: int, *, is_boundary: bool) -> bool:
    """Tell whether the event at ``seq`` is committed with a checkpoint."""
    return is_boundary or seq % SIGN_EVERY == 0


def is_boundary(tail: Tail | None) -> bool:
    """Tell whether an event begins or ends a run, by the end of its body."""
    return tail is not None and tail.type in _BOUNDARIES


class Coverage:
    """Walks the leaf hashes and keeps the roots at the sizes asked for."""

    def __init__(self, wanted: Iterable[int] = (), tree: Frontier | None = None) -> None:
        """Begin at ``tree``: what is signed up to its size was looked at elsewhere."""
        self.tree = tree or Frontier()
        self.begun_at = self.tree.size
        self.roots = {0: EMPTY_ROOT}
        """Root by size, for the sizes asked for."""
        self.due: list[int] = []
        self.turns = Turns()
        """Whose key signs which part; whoever reads the events tells it of rotations."""
        self.head_seq = self.begun_at
        self._wanted = frozenset(wanted)

    def take(self, seq: int, leaf: bytes, *, is_boundary: bool) -> None:
        """Take the next event: its seq and leaf hash."""
        self.tree.push(leaf)
        self.head_seq = seq
        if seq in self._wanted:
            self.roots[seq] = self.tree.root()
        if is_due(seq, is_boundary=is_boundary):
            self.due.append(seq)


def problems(key: PublicKey, stored: list[Stored], coverage: Coverage) -> Iterator[Problem]:
    """Yield what is wrong with the stored checkpoints of a ledger whose key is ``key``."""
    yield from coverage.turns.problems(key)
    sound_to = adopted_to = coverage.begun_at
    is_rewritten = False  # said once: all later roots follow from the first wrong one
    for seq, note in stored:
        if seq <= coverage.begun_at:
            continue
        try:
            checkpoint = _open_row(seq, note, coverage.turns.key_at(seq, key))
        except ValueRefused as error:
            yield seq, f"its checkpoint is not in order: {error}"
            continue
        if seq == stored[0].seq and ADOPTED in checkpoint.extensions:
            adopted_to = seq
        if seq not in coverage.roots:
            yield seq, f"it was signed, but the ledger ends at seq {coverage.head_seq}"
        elif coverage.roots[seq] == checkpoint.root:
            sound_to = seq
        elif not is_rewritten:
            is_rewritten = True
            yield seq, _rewritten("its checkpoint", sound_to + 1, seq)
    there = {seq for seq, _ in stored}
    missing = [seq for seq in coverage.due if seq > adopted_to and seq not in there]
    if missing:
        rest = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        yield missing[0], f"the checkpoint that was written with this event is missing{rest}"


def _open_row(seq: int, note: str, key: PublicKey) -> Checkpoint:
    checkpoint = open_note(note, key)
    if len(parse_note(note).signatures) != 1:
        raise ValueRefused("a signature was added to it")
    if checkpoint.size != seq:
        raise ValueRefused(f"it covers {checkpoint.size} events")
    return checkpoint


def _rewritten(what: str, first: int, last: int) -> str:
    return (
        f"history was rewritten: {what} signs other events, the first of them in seq "
        f"{first} to {last}"
    )


def file_problem(held: bytes | None, stored: list[Stored], head_seq: int) -> Problem | None:
    """Return what is wrong between ``checkpoints.txt`` and the table, or None.

    The file may lag behind the table by the checkpoints of one commit group, torn or not: that is
    what a kill between the commit and the file leaves.
    """
    whole, held = file_text(stored), held or b""
    if held == whole:
        return None
    if held.startswith(whole):
        last = stored[-1].seq if stored else 0
        return last + 1, (
            f"{NOTES_NAME} remembers checkpoints after seq {last} that the ledger does not have: "
            "an older copy was put back, or text was added to the file"
        )
    seq = _first_difference(held, stored)
    if whole.startswith(held) and seq > head_seq - GROUP_EVENTS_MAX:
        return None
    return seq, (
        f"{NOTES_NAME} does not hold its checkpoint as the ledger does; if the file alone was lost "
        f"or spoilt, make it again: {REMAKE}"
    )


def whole_part(held: bytes, stored: list[Stored], head_seq: int) -> bytes | None:
    """Return what ``checkpoints.txt`` holds whole, if the rest may be an append that was cut short.

    A power cut can leave any bytes where the checkpoints of the last commit group were to stand.
    """
    whole = file_text(stored)
    seq = _first_difference(held, stored) if stored else 0
    if len(held) > len(whole) or seq <= head_seq - GROUP_EVENTS_MAX:
        return None
    return file_text(row for row in stored if row.seq < seq)


def _first_difference(held: bytes, stored: list[Stored]) -> int:
    place = 0
    for row in stored:
        text = file_text([row])
        if held[place : place + len(text)] != text:
            break
        place += len(text)
    return row.seq


def older_problems(
    name: str, older: list[tuple[Checkpoint, str | None]], coverage: Coverage
) -> Iterator[Problem]:
    """Yield where the ledger does not extend checkpoints kept elsewhere, in a file ``name``.

    ``older`` pairs each, smallest first, with what is wrong with its signature, or None.
    ``coverage`` was asked for their sizes.
    """
    sound_to, head_seq = 0, coverage.head_seq
    for checkpoint, fault in older:
        size = checkpoint.size
        if fault is not None:
            yield None, f"{name}, checkpoint over seq 1 to {size}: {fault}"
        if size not in coverage.roots:
            lost = f"{name} signs seq 1 to {size}, the ledger ends at seq {head_seq}"
            yield head_seq + 1, f"the events up to seq {size} are lost: {lost}"
            return
        if coverage.roots[size] != checkpoint.root:
            yield size, _rewritten(name, sound_to + 1, size)
            return
        sound_to = size
