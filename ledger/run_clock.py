"""The wall-clock facts of runs, signed: they stand outside the events, but not outside evidence.

A row of ``run_clock`` differs between two equal replays, so no event holds it. Each fact is a line
in the next checkpoint instead, such as ``started 2026-03-01T09:00:00.000000000Z run-1``.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator

from core.errors import ValueRefused
from ledger.checkpoint import parse_note, parse_text
from ledger.coverage import Problem, Stored

_LINE = re.compile(r"(started|ended) (\S{1,40}) (\S{1,200})")


def started_line(run_id: str, wall: str) -> str:
    return f"started {wall} {run_id}"


def ended_line(run_id: str, wall: str) -> str:
    return f"ended {wall} {run_id}"


def _signed(stored: Iterable[Stored]) -> dict[tuple[str, str], str]:
    """Return the wall times that checkpoints sign, by run and word; a later one counts.

    A run that died before its first event is begun again under its id.
    """
    found: dict[tuple[str, str], str] = {}
    for _, note in stored:
        try:
            extensions = parse_text(parse_note(note).text).extensions
        except ValueRefused:
            continue  # told elsewhere
        for line in extensions:
            match = _LINE.fullmatch(line)
            if match is not None:
                word, wall, run_id = match.groups()
                found[run_id, word] = wall
    return found


def _stored(connection: sqlite3.Connection) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for run_id, started, ended in connection.execute("SELECT * FROM run_clock"):
        found[run_id, "started"] = started
        if ended is not None:
            found[run_id, "ended"] = ended
    return found


def clock_problems(connection: sqlite3.Connection, stored: Iterable[Stored]) -> Iterator[Problem]:
    """Yield where the table is not what the checkpoints sign.

    A row that no checkpoint has covered yet is no problem: the next one will.
    """
    held = _stored(connection)
    for (run_id, word), wall in _signed(stored).items():
        if held.get((run_id, word)) != wall:
            said = held.get((run_id, word), "nothing")
            yield None, f"run_clock: {run_id:.40} {word} says {said!s:.40}, signed was {wall:.40}"


def unsigned_lines(connection: sqlite3.Connection, stored: Iterable[Stored]) -> list[str]:
    """Return the lines that no checkpoint holds yet: of an older ledger, or after a kill."""
    signed = _signed(stored)
    lines = {"started": started_line, "ended": ended_line}
    return [
        lines[word](run_id, wall)
        for (run_id, word), wall in _stored(connection).items()
        if (run_id, word) not in signed
    ]
