"""Are the payloads that events name there and right, or did a later event say that they went?

A payload may go by a rule alone (``ledger.payload_bound``): FILES_REMOVED names it, after the event
that named it first, and is durable before the file goes. What no such event names is missing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from core.errors import Failed
from core.model.event import DecisionsTaken, FilesRemoved
from ledger.coverage import Problem
from ledger.envelope import unseal
from ledger.payloads import get, is_digest, is_there, payload_problem
from ledger.store import reading

KIND = "payload"
"""Of FILES_REMOVED."""


def removals(connection: sqlite3.Connection, after_seq: int = 0) -> dict[str, int]:
    """Return the seq of the newest event that says it went, by digest, of events after one.

    Errors: ``ValueRefused`` for an event that cannot be read.
    """
    found: dict[str, int] = {}
    for seq, body in connection.execute(
        "SELECT seq, body FROM events WHERE seq > ? AND instr(body, CAST(? AS BLOB)) ORDER BY seq",
        (after_seq, '"type":"FILES_REMOVED","v":'),
    ):
        event = unseal(body)[1]
        if isinstance(event, FilesRemoved) and event.kind == KIND:
            found.update(dict.fromkeys(event.names, seq))
    return found


def is_removed(named_at: int, removed_at: int) -> bool:
    """Tell whether a removal is of what an event named, and not of an equal payload before it.

    One that a full disk did not take is told right before or right after that event.
    """
    return removed_at >= named_at - 1


def find_removal(state_dir: Path, named_at: int, digest: str) -> int:
    """Return the seq of the event that says a payload went by a rule, 0 where none does.

    Errors: ``Failed`` or ``UserError`` as ``ledger.store.reading``.
    """
    with reading(state_dir) as now:
        seq = removals(now).get(digest, 0)
    return seq if is_removed(named_at, seq) else 0


def get_named(state_dir: Path, named_at: int, digest: str) -> bytes:
    """Return the payload that the event at ``named_at`` names.

    Errors: ``Failed`` as ``ledger.payloads.get``, saying also if it went by a rule.
    """
    try:
        return get(state_dir, digest)
    except Failed as error:
        seq = find_removal(state_dir, named_at, digest)
        if not seq:
            raise
        raise Failed(f"payload {digest} was removed by rule, see seq {seq}") from error


class PayloadCheck:
    """Takes the events that speak of payloads, in order."""

    def __init__(self, state_dir: Path) -> None:
        self.kept = 0
        self.removed = 0
        self._state_dir = state_dir
        self._missing: list[tuple[int, str]] = []
        """Where it was named, and its digest."""
        self._removals: dict[str, int] = {}

    def take(self, seq: int, event: DecisionsTaken) -> str:
        """Return what is wrong with a payload that is there; one that is not waits for ``end``."""
        problem = payload_problem(self._state_dir, event)
        if problem and is_digest(event.digest) and not is_there(self._state_dir, event.digest):
            self._missing.append((seq, event.digest))
            return ""
        self.kept += not problem
        return problem

    def take_removal(self, seq: int, event: FilesRemoved) -> None:
        if event.kind == KIND:
            self._removals.update(dict.fromkeys(event.names, seq))

    def end(self, last_seq: int) -> Iterator[Problem]:
        """Yield what is missing without a word.

        An engine may have removed one since the moment that is verified: events after ``last_seq``
        are looked at too.
        """
        if any(digest not in self._removals for _, digest in self._missing):
            with reading(self._state_dir) as now:
                self._removals.update(removals(now, last_seq))
        for seq, digest in self._missing:
            removed_at = self._removals.get(digest, 0)
            if removed_at and is_removed(seq, removed_at):
                self.removed += 1
            else:
                yield seq, f"payload {digest} is missing"
