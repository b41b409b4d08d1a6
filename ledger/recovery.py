"""Opening a ledger: the chain is walked, and the witness must agree, or it is refused.

A long ledger that ended in order is walked from the place that its key signed
(``ledger.resume``); any other from its first event. Never repairs an event. The only thing put
right is a witness that lags by the last group, which is what a kill between a commit and the
witness leaves behind.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

from core.errors import Failed, ValueRefused
from core.model.event import KeyRotated
from ledger import form, witness
from ledger.book_state import book_of
from ledger.chain import ChainWalk, Head
from ledger.coverage import Coverage, Stored, is_boundary, stored_notes
from ledger.envelope import KINDS, unseal
from ledger.projections import WARMING, Projector
from ledger.resume import CARRIED, RESUME_EVENTS_MIN, Carried, Refused, Start, find_start
from ledger.rows import WANTED, Gathering
from ledger.tree import Frontier
from ledger.witness import GROUP_EVENTS_MAX


class Recovered(NamedTuple):
    """Where a ledger stands after it was opened."""

    head: Head
    run: str
    """Run id of the last event, empty in a new ledger."""
    stored: list[Stored]
    """The checkpoints, not checked yet."""
    coverage: Coverage
    carried: Carried
    walked_from: int = 1
    """First event of which hash and chain were checked, besides the carried ones."""
    resume_refused: str = ""
    """Why a long ledger was walked whole all the same."""


def recover(
    connection: sqlite3.Connection,
    state_dir: Path,
    projector: Projector,
    gathering: Gathering | None = None,
) -> Recovered:
    """Check the chain and the witness, and bring the projector's memory up to the head.

    ``gathering`` takes what a new run wants to know, so that no event is read twice.

    Errors: ``Failed`` naming the first bad seq, or what the witness remembers and the file lost.
    """
    seen = witness.read(state_dir)
    stored = stored_notes(connection)
    start, refused = None, ""
    try:
        start = find_start(connection, state_dir, stored, seen.seq if seen else None)
    except Refused as error:
        refused = str(error)
    opening = _Opening(projector, gathering, stored, start, seen.seq if seen else None)
    for row in connection.execute(
        "SELECT seq, hash, body FROM events WHERE seq > ? ORDER BY seq",
        (opening.coverage.begun_at,),
    ):
        opening.take(*row)
    head = opening.walk.head
    if gathering is not None:
        gathering.head = head
    lag = witness_problem(seen, opening.at_witness, head)
    if lag is not None:
        raise refusal(lag)
    if seen != head:
        witness.write(state_dir, head)
    if head.seq < RESUME_EVENTS_MIN:
        refused = ""  # none is written for a ledger as short as this
    return Recovered(
        head, opening.run, stored, opening.coverage, opening.carried,
        opening.coverage.begun_at + 1, refused,
    )  # fmt: skip


class _Opening:
    """Takes the events in order and keeps what a writer goes on from."""

    def __init__(
        self,
        projector: Projector,
        gathering: Gathering | None,
        stored: list[Stored],
        start: Start | None,
        seen_seq: int | None,
    ) -> None:
        self._projector, self._gathering, self._seen_seq = projector, gathering, seen_seq
        self.walk, self.carried, self.run = ChainWalk(), Carried(), ""
        tree = Frontier()
        if start is not None:
            resume = start.resume
            self.walk, self.run, tree = ChainWalk(resume.head), resume.run, resume.tree
            self.carried = Carried(resume.carried_count, bytes.fromhex(resume.carried))
        self.coverage = Coverage((seq for seq, _ in stored), tree)
        self.at_witness = self.walk.head if seen_seq == self.coverage.begun_at else None
        """The event at the seq of the witness."""
        self._books = None if start is None else start.resume.books
        """The lots where it goes on; until then no fill is counted."""
        for seq, _, body in start.rows if start is not None else ():
            kind = form.kind_of(body)
            if kind == "KEY_ROTATED":
                _follow_keys(self.coverage, seq, body)
            self._read(seq, body, kind)
        if self._books is not None:
            projector.lots.restore(map(book_of, self._books))
            self._books = None

    def take(self, seq: int, stored_hash: bytes, body: bytes) -> None:
        """Check and take an event. Errors: ``Failed`` naming the first bad seq."""
        problem = self.walk.step(seq, stored_hash, body)
        if problem is not None:
            raise refusal(problem)
        tail = self.walk.tail
        assert tail is not None, "step refuses a body without an end"
        self.run = tail.run.decode()
        self.coverage.take(seq, stored_hash, is_boundary=is_boundary(tail))
        if seq == self._seen_seq:
            self.at_witness = self.walk.head
        if tail.type.decode() in CARRIED:
            self.carried.take(stored_hash)
            if tail.type == b"KEY_ROTATED":
                _follow_keys(self.coverage, seq, body)
        self._read(seq, body, tail.type.decode())

    def _read(self, seq: int, body: bytes, kind: str) -> None:
        """Give an event to whom it concerns. Errors: ``Failed`` for one that cannot be read."""
        is_wanted = self._gathering is not None and (kind in WANTED or kind not in KINDS)
        warms = kind == "RUN_STARTED" or (kind in WARMING and self._books is None)
        if not is_wanted and not warms:
            return
        try:
            event = form.event_of(body, kind)
            if warms:
                self._projector.warm(seq, event)
            if is_wanted and self._gathering is not None:
                self._gathering.take(seq, event)
        except ValueRefused as error:
            raise Failed(f"ledger refused: seq {seq}: {error}") from error


def _follow_keys(coverage: Coverage, seq: int, body: bytes) -> None:
    """Tell the coverage of a rotation."""
    try:
        envelope, event = unseal(body)
    except ValueRefused as error:
        raise Failed(f"ledger refused: seq {seq}: {error}") from error
    assert isinstance(event, KeyRotated)
    coverage.turns.take(seq, envelope.prev, event)


def witness_problem(
    seen: Head | None, at_witness: Head | None, head: Head
) -> tuple[int | None, str] | None:
    """Return the first bad seq and what is wrong between witness and database, or None.

    ``at_witness`` is the database's event at the witness's seq, None if it has none.
    """
    if seen is None:
        if head.seq == 0:
            return None
        return None, (
            f"the witness {witness.NAME} is missing, so a lost tail cannot be ruled out; put it "
            f"back, or write {witness.head_json(head)} into it to accept the ledger as it is"
        )
    if seen.seq > head.seq:
        return head.seq + 1, (
            f"the events up to seq {seen.seq} are lost: {witness.NAME} remembers them, the "
            f"database ends at seq {head.seq} (an older copy, or a WAL cut short or missing)"
        )
    if at_witness is None or at_witness.hash != seen.hash:
        return seen.seq, f"this is not the event that {witness.NAME} remembers"
    if head.seq - seen.seq > GROUP_EVENTS_MAX:
        return seen.seq + 1, (
            f"the events up to seq {head.seq} are unknown to {witness.NAME}: more than one commit "
            "group, so they were not all added by the writer"
        )
    return None


REMEDY = (
    "nothing was changed: look at it with tapewright ledger verify, put a copy back that verifies,"
    " or begin a new ledger with --state DIR"
)
"""What to do about a ledger that is refused."""


def refusal(problem: tuple[int | None, str]) -> Failed:
    """Return the error that keeps a ledger shut; it says what to do."""
    seq, what = problem
    place = "" if seq is None else f"seq {seq}: "
    return Failed(f"ledger refused: {place}{what} ({REMEDY})")
