"""The events alone, checked in order: hash, chain, form, schema, run, tree, payloads they name.

It needs no table, so a long ledger has it done by a second process beside ``ledger.table_pass``.
"""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from core.errors import Failed, ValueRefused
from core.model.event import DecisionsTaken, FilesRemoved, KeyRotated, RunStarted
from ledger import canonical, form
from ledger.chain import EMPTY_HEAD, ChainWalk, Head
from ledger.coverage import Coverage, Problem, is_boundary
from ledger.envelope import Tail, unseal
from ledger.file_check import file_problems
from ledger.payload_check import PayloadCheck
from ledger.store import UNREADABLE, reading

PROBLEMS_MAX = 100
"""Problems kept; a ledger with more is wrong enough."""
APART_EVENTS = 20_000
"""From this many events on, a second process pays for its start."""

_LOOKED_INTO = frozenset({"RUN_STARTED", "DECISIONS", "FILES_REMOVED", "KEY_ROTATED"})
"""Types that say more than their form: the run in force, a payload, whose key signs."""


class Asked(NamedTuple):
    """What is to be checked."""

    last_seq: int
    """Newest event of the moment that is verified; an engine may be adding more."""
    sizes: frozenset[int]
    """Tree sizes whose roots are wanted."""
    witness_seq: int | None


class EventsSeen(NamedTuple):
    """What the events say."""

    head: Head
    runs: int
    problems: list[Problem]
    at_witness: Head | None
    """The event at the seq of the witness."""
    coverage: Coverage
    payloads_removed: int = 0
    """That events name and that went by a rule, as later events say."""


class _EventPass:
    """Walks the events once."""

    def __init__(self, state_dir: Path, asked: Asked) -> None:
        self.problems: list[Problem] = []
        self.walk = ChainWalk()
        self.coverage = Coverage(asked.sizes)
        self.payloads = PayloadCheck(state_dir)
        self.runs = 0
        self._witness_seq = asked.witness_seq
        self._at_witness = EMPTY_HEAD if asked.witness_seq == 0 else None
        self._run = b""
        """The run in force, as it stands in a body."""

    def find(self, seq: int | None, what: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append((seq, what))

    def take(self, seq: int, stored_hash: bytes, body: bytes) -> None:
        problem = self.walk.step(seq, stored_hash, body)
        if type(stored_hash) is not bytes or type(body) is not bytes:
            self.find(seq, problem[1] if problem else "")
            return
        tail = self.walk.tail
        self.coverage.take(seq, stored_hash, is_boundary=is_boundary(tail))
        if seq == self._witness_seq:
            self._at_witness = self.walk.head
        if problem is not None:
            self.find(*problem)
        try:
            self._check_form(seq, body, tail)
        except ValueRefused as error:
            self.find(seq, str(error))
            return
        if tail is not None and tail.run != self._run:
            self.find(seq, f"run is {_text(tail.run)}, in force was {_text(self._run)}")

    def _check_form(self, seq: int, body: bytes, tail: Tail | None) -> None:
        """Errors: ``ValueRefused``, also for its payload. A RUN_STARTED puts its run in force."""
        kind = "" if tail is None else tail.type.decode()
        if kind and form.is_in_form(body, kind):
            if kind not in _LOOKED_INTO:
                return
            event = form.event_of(body, kind)
        else:
            event = unseal(body)[1]
        match event:
            case DecisionsTaken():
                wrong = self.payloads.take(seq, event)
                if wrong:
                    raise ValueRefused(wrong)
            case FilesRemoved():
                self.payloads.take_removal(seq, event)
            case KeyRotated() if tail is not None:
                self.coverage.turns.take(int(tail.seq), tail.prev.decode(), event)
            case RunStarted():
                self._run = canonical.encode(event.run_id)[1:-1]
                self.runs += 1
            case _:
                pass

    def seen(self) -> EventsSeen:
        return EventsSeen(
            self.walk.head, self.runs, self.problems, self._at_witness, self.coverage,
            self.payloads.removed,
        )  # fmt: skip


def _text(run: bytes) -> str:
    return repr(run.decode(errors="replace"))[:60]


def check_events(connection: sqlite3.Connection, state_dir: Path, asked: Asked) -> EventsSeen:
    """Return what the events up to ``asked.last_seq`` and the file that holds them say."""
    taken = _EventPass(state_dir, asked)
    try:
        for problem in file_problems(connection, state_dir):
            taken.find(*problem)
        for row in connection.execute(
            "SELECT seq, hash, body FROM events WHERE seq <= ? ORDER BY seq", (asked.last_seq,)
        ):
            taken.take(*row)
        for problem in taken.payloads.end(asked.last_seq):
            taken.find(*problem)
    except (Failed, ValueRefused, *UNREADABLE) as error:
        taken.find(None, f"SQLite cannot read on: {error}")
    return taken.seen()


def _check_apart(state_dir: Path, asked: Asked) -> EventsSeen:
    """What the second process does: the same, over its own connection."""
    with reading(state_dir) as connection:
        return check_events(connection, state_dir, asked)


@contextmanager
def checking(
    connection: sqlite3.Connection, state_dir: Path, asked: Asked
) -> Iterator[Callable[[], EventsSeen]]:
    """Check the events beside what the caller does; the function given waits for the result.

    Events are only ever added, so the second process sees the same ones up to ``last_seq``.
    """
    if asked.last_seq < APART_EVENTS:
        seen = check_events(connection, state_dir, asked)
        yield lambda: seen
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        future = pool.submit(_check_apart, state_dir, asked)

        def wait() -> EventsSeen:
            try:
                return future.result()
            except (OSError, BrokenExecutor) as error:  # it was killed, or there is no memory
                raise Failed(f"the second process of the verification died: {error}") from error

        yield wait
