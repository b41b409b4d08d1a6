"""Opening a ledger: the whole chain is walked, and the witness must agree, or it is refused.

Never repairs an event. The only thing put right is a witness that lags by the last group, which
is what a kill between a commit and the witness leaves behind.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

from core.errors import Failed, ValueRefused
from ledger import witness
from ledger.chain import EMPTY_HEAD, ChainWalk, Head
from ledger.coverage import Coverage, Stored, is_boundary, stored_notes
from ledger.envelope import unseal
from ledger.projections import WARMING, Projector
from ledger.witness import GROUP_EVENTS_MAX


class Recovered(NamedTuple):
    """Where a ledger stands after it was opened."""

    head: Head
    run: str
    """Run id of the last event, empty in a new ledger."""
    stored: list[Stored]
    """The checkpoints, not checked yet."""
    coverage: Coverage


def recover(connection: sqlite3.Connection, state_dir: Path, projector: Projector) -> Recovered:
    """Check the chain and the witness, and bring the projector's memory up to the head.

    Errors: ``Failed`` naming the first bad seq, or what the witness remembers and the file lost.
    """
    seen = witness.read(state_dir)
    walk = ChainWalk()
    stored = stored_notes(connection)
    coverage = Coverage(seq for seq, _ in stored)
    at_witness = EMPTY_HEAD if seen is not None and seen.seq == 0 else None
    for seq, stored_hash, body in connection.execute(
        "SELECT seq, hash, body FROM events ORDER BY seq"
    ):
        problem = walk.step(seq, stored_hash, body)
        if problem is not None:
            raise refusal(problem)
        coverage.take(seq, stored_hash, is_boundary=is_boundary(walk.tail))
        if seen is not None and seq == seen.seq:
            at_witness = walk.head
        if walk.tail is not None and walk.tail.type in WARMING:
            _warm(projector, seq, body)
    lag = witness_problem(seen, at_witness, walk.head)
    if lag is not None:
        raise refusal(lag)
    if seen != walk.head:
        witness.write(state_dir, walk.head)
    run = walk.tail.run.decode() if walk.tail is not None else ""
    return Recovered(walk.head, run, stored, coverage)


def _warm(projector: Projector, seq: int, body: bytes) -> None:
    try:
        projector.warm(seq, unseal(body)[1])
    except ValueRefused as error:
        raise Failed(f"ledger refused: seq {seq}: {error}") from error


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


def refusal(problem: tuple[int | None, str]) -> Failed:
    """Return the error that keeps a ledger shut."""
    seq, what = problem
    return Failed(
        f"ledger refused: {what}" if seq is None else f"ledger refused: seq {seq}: {what}"
    )
