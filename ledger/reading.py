"""Finding stored events by seq or by any id they speak of."""

from __future__ import annotations

import difflib
import json
import sqlite3
from pathlib import Path
from typing import NamedTuple

from core.errors import Failed, UserError, ValueRefused
from core.model.event import LedgerEvent
from ledger.chain import EMPTY_HEAD, Head
from ledger.envelope import Envelope, unseal
from ledger.store import reading

SEQ_DIGITS_MAX = 16
NEAR_MAX, NEAR_CHARS_MAX = 500, 60
"""Ids looked at, and how much of them, to name the nearest to one that is not there."""


class Stored(NamedTuple):
    """One event as found in the ledger."""

    envelope: Envelope
    event: LedgerEvent

    @property
    def seq(self) -> int:
        return self.envelope.seq


def read_head(state_dir: Path) -> Head:
    """Return seq and hash of the newest durable event.

    Errors: ``UserError`` without a ledger, ``Failed`` if it cannot be read.
    """
    with reading(state_dir) as connection:
        row = connection.execute(
            "SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1"
        ).fetchone()
    return Head(*row) if row is not None else EMPTY_HEAD


def seqs_of(connection: sqlite3.Connection, key: str) -> list[int]:
    """Return the seqs of the events that ``key`` names: a seq, or an id of any kind.

    Errors: ``UserError`` if nothing in the ledger is called that.
    """
    if key.isascii() and key.isdigit() and len(key) <= SEQ_DIGITS_MAX:
        rows = connection.execute("SELECT seq FROM events WHERE seq = ?", (int(key),))
    else:
        rows = connection.execute("SELECT seq FROM trail WHERE ref = ? ORDER BY seq", (key,))
    seqs = [seq for (seq,) in rows]
    if not seqs:
        raise UserError(
            f"nothing in this ledger is called {key[:80]!r}; {_nearest(connection, key)}; an ID is "
            "a seq, or a fill, order, decision or run id (list them: tapewright ledger export "
            "--table fills)"
        )
    return seqs


def _nearest(connection: sqlite3.Connection, key: str) -> str:
    """Return in words what there is that looks most like ``key``."""
    (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
    if not last:
        return "it is empty"
    if key.isascii() and key.isdigit():
        return f"its events are seq 1 to {last}"
    for length in range(min(len(key), NEAR_CHARS_MAX), -1, -1):
        start = key[:length]
        refs = [
            ref
            for (ref,) in connection.execute(
                "SELECT DISTINCT ref FROM trail WHERE ref >= ? AND substr(ref, 1, ?) = ? LIMIT ?",
                (start, length, start, NEAR_MAX),
            )
        ]
        near = difflib.get_close_matches(key[:NEAR_CHARS_MAX], refs, 3, 0.5)
        if near:
            return f"the nearest are {', '.join(near)}"
    return f"its events are seq 1 to {last}"


def event_at(connection: sqlite3.Connection, seq: int) -> Stored:
    """Return the event at ``seq``. Errors: ``Failed`` if it cannot be read."""
    row = connection.execute("SELECT body FROM events WHERE seq = ?", (seq,)).fetchone()
    if row is None:
        raise Failed(f"seq {seq}: the event is missing")
    try:
        return Stored(*unseal(row[0]))
    except ValueRefused as error:
        raise Failed(f"seq {seq}: {error}") from error


def show(state_dir: Path, key: str) -> list[str]:
    """Return the events that ``key`` names as JSON lines, in ASCII: safe on any terminal.

    Errors: ``UserError`` if there are none.
    """
    with reading(state_dir) as connection:
        lines = []
        for seq in seqs_of(connection, key):
            body = connection.execute("SELECT body FROM events WHERE seq = ?", (seq,)).fetchone()
            lines.append(_as_json(seq, body[0] if body else b""))
    return lines


def _as_json(seq: int, body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"))
    except ValueError as error:
        raise Failed(f"seq {seq}: the body is not JSON ({error})") from error
