"""Verification: one pass over the events that finds everything wrong with a ledger.

It checks form, schema, chain and witness of every event, makes the tables anew beside the file
and compares, and adds up fills and lots. Read-only: it never repairs, and an engine may be
writing meanwhile. What it cannot see without a checkpoint kept elsewhere: a rewrite by somebody
who has the key, or who replaced it together with everything else.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from core.errors import Failed
from ledger import witness
from ledger.anchors_check import Judged, judge_anchors
from ledger.anchors_rfc3161 import read_roots
from ledger.chain import Head
from ledger.coverage import Problem, Stored, older_problems, stored_notes
from ledger.event_pass import Asked, checking
from ledger.recovery import witness_problem
from ledger.run_clock import clock_problems
from ledger.seals import read_older, read_seals, seal_problems, signed_text
from ledger.store import UNREADABLE, reading, version_of
from ledger.table_pass import TablePass

FINDINGS_MAX = 100
"""Findings kept; a ledger with more is wrong enough."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong; ``seq`` is None for what concerns no single event."""

    seq: int | None
    what: str

    @property
    def text(self) -> str:
        return self.what if self.seq is None else f"seq {self.seq}: {self.what}"


class Report(msgspec.Struct, frozen=True):
    """What a verification saw and found; in order when there are no findings."""

    head: Head
    runs: int
    fills: int
    findings: tuple[Finding, ...]
    """First bad seq first."""
    signed_text: str = ""
    """What the checkpoints add, in words."""
    payloads_removed: int = 0
    """By a rule, as events say."""
    anchors: tuple[str, ...] = ()
    """What each outsider attests and until when that can be checked, newest first."""

    @property
    def is_only_tables(self) -> bool:
        """The events are in order, the tables made from them are not: they can be made anew."""
        return bool(self.findings) and all(
            finding.what.startswith("table ") for finding in self.findings
        )

    @property
    def ok_text(self) -> str:
        gone = self.payloads_removed
        return (
            f"ok seq {self.head.seq} hash {self.head.hash.hex()} runs {self.runs} fills "
            f"{self.fills}: form, chain, witness, tables and sums hold"
            + (f"; {gone} payload(s) removed by rule, as events say" if gone else "")
        )


def verify(state_dir: Path, against: Path | None = None, ca: Path | None = None) -> Report:
    """Return what is wrong with the ledger in ``state_dir``.

    ``against`` is a file of older checkpoints that it must extend, ``ca`` a PEM file of the CA that
    time stamps must lead to. Errors: ``UserError`` if there is no ledger, or no checkpoint or CA in
    that file, ``Failed`` if SQLite cannot open the ledger.
    """
    older = read_older(against) if against is not None else None
    roots = read_roots(ca) if ca is not None else b""
    # The files first: while an engine writes, the database may only be ahead of them.
    seals = read_seals(state_dir)
    problems: list[Problem] = []
    seen: Head | None = None
    try:
        seen = witness.read(state_dir)
        is_witness_readable = True
    except Failed as error:
        problems.append((None, str(error)))
        is_witness_readable = False
    with reading(state_dir) as connection:
        stored, version = _stored_notes(connection, problems), version_of(connection)
        sizes = {seq for seq, _ in stored} | (older.sizes if older is not None else set())
        asked = Asked(_last_seq(connection), frozenset(sizes), seen.seq if seen else None)
        with checking(connection, state_dir, asked) as events_seen:
            tables = TablePass(connection)
            try:
                tables.run(asked.last_seq)
            except UNREADABLE as error:
                tables.problems.append((None, f"SQLite cannot read the tables: {error}"))
            finally:
                tables.close()
            problems += _clock_problems(connection, stored)
            anchors = _judged_anchors(connection, state_dir, stored, roots)
            found = events_seen()
    problems += found.problems
    problems += _meant(tables.problems, found.problems)
    if is_witness_readable:
        lag = witness_problem(seen, found.at_witness, found.head)
        problems += [lag] if lag is not None else []
    problems += seal_problems(seals, version, stored, found.coverage)
    if older is not None:
        judged = older.judged_by(seals.key, found.coverage.turns)
        problems += older_problems(older.name, judged, found.coverage)
    problems += anchors.problems
    findings = [Finding(*problem) for problem in problems[:FINDINGS_MAX]]
    findings.sort(key=lambda finding: (finding.seq is None, finding.seq or 0))
    signed = signed_text(seals, version, stored, found.head.seq, older)
    return Report(
        found.head,
        found.runs,
        tables.fills,
        tuple(findings),
        signed,
        found.payloads_removed,
        anchors.lines,
    )


def _clock_problems(connection: sqlite3.Connection, stored: list[Stored]) -> list[Problem]:
    try:
        return list(clock_problems(connection, stored))
    except UNREADABLE as error:
        return [(None, f"run_clock cannot be read: {error}")]


def _judged_anchors(
    connection: sqlite3.Connection, state_dir: Path, stored: list[Stored], roots: bytes
) -> Judged:
    try:
        return judge_anchors(connection, state_dir, stored, roots)
    except UNREADABLE as error:
        return Judged([(None, f"the anchors cannot be read: {error}")], ())


def _meant(of_tables: list[Problem], of_events: list[Problem]) -> list[Problem]:
    """Return the problems of the tables that stand before the first bad event.

    What was made from bad events says nothing.
    """
    bad = [seq for seq, _ in of_events if seq is not None]
    if not bad:
        return of_tables
    return [problem for problem in of_tables if problem[0] is not None and problem[0] < min(bad)]


def _last_seq(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])


def _stored_notes(connection: sqlite3.Connection, problems: list[Problem]) -> list[Stored]:
    try:
        return stored_notes(connection)
    except Failed as error:
        problems.append((None, str(error)))
        return []
