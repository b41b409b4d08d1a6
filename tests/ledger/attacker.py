"""Somebody with SQLite, this program's own code and no respect for triggers."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from ledger import witness
from ledger.coverage import Stored, file_text, stored_notes
from ledger.keys import KEY_NAME, PUBLIC_NAME
from ledger.store import DB_NAME, NOTES_NAME
from tests.ledger import factory


def run_sql(state_dir: Path, *acts: str | tuple[str, tuple[object, ...]]) -> None:
    """Change a closed ledger; the triggers are put back, so that only the data shows it."""
    with closing(sqlite3.connect(state_dir / DB_NAME, isolation_level=None)) as connection:
        triggers = connection.execute(
            "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'trigger'"
        ).fetchall()
        for name, _, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for act in acts:
            connection.execute(act) if isinstance(act, str) else connection.execute(*act)
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        for _, table, sql in triggers:
            if table in there:
                connection.execute(sql)


def rows(state_dir: Path) -> list[Stored]:
    with closing(sqlite3.connect(state_dir / DB_NAME)) as connection:
        return stored_notes(connection)


def put_rows(state_dir: Path, stored: list[Stored]) -> None:
    """Give the ledger these checkpoints, in the table and in ``checkpoints.txt``."""
    run_sql(
        state_dir,
        "DELETE FROM checkpoints",
        *(("INSERT INTO checkpoints VALUES(?, ?)", tuple(row)) for row in stored),
    )
    (state_dir / NOTES_NAME).write_bytes(file_text(stored))


def two_days(reason: str) -> list[factory.Dated]:
    """Return two runs; ``reason`` is what the second event says."""
    events = [*factory.day("run-1"), *factory.day("run-2")]
    changed = msgspec.structs.replace(events[1].event, reason=reason)
    events[1] = events[1]._replace(event=changed)
    return events


def forge(state_dir: Path, *, with_key: bool) -> None:
    """Write history anew with this program: right in itself, from events to witness.

    With the ledger's key everything is signed as well; without it, by a key of the attacker's,
    whose files are put in place of the ledger's.
    """
    forged = state_dir.parent / "forged"
    forged.mkdir()
    if with_key:
        shutil.copy2(state_dir / KEY_NAME, forged)
    factory.write(forged, two_days("other book"))
    for name in (DB_NAME, witness.NAME, NOTES_NAME, KEY_NAME, PUBLIC_NAME):
        shutil.copy2(forged / name, state_dir)


def call_it_unsigned(state_dir: Path) -> None:
    """Make it look as if the ledger were older than checkpoints."""
    run_sql(
        state_dir,
        "DROP TABLE checkpoints",
        "DROP TABLE projected",
        "PRAGMA user_version = 1",
    )
