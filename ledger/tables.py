"""Bringing the tables up to date at a start, and making them anew on request."""

from __future__ import annotations

import sqlite3

from core.errors import Failed, TapewrightError
from ledger.chain import Head
from ledger.projections import are_tables_current, rebuild
from ledger.schema import SCHEMA_VERSION
from ledger.store import version_of


def bring_up_to_date(connection: sqlite3.Connection, head: Head) -> bool:
    """Make the tables anew if they are of another version or of other events; tell whether.

    They are derived: nothing is lost. Errors: ``Failed`` for an event that they cannot take.
    """
    if version_of(connection) == SCHEMA_VERSION and are_tables_current(connection, head):
        return False
    make_anew(connection)
    return True


def make_anew(connection: sqlite3.Connection) -> int:
    """Make all tables anew from the events, as one act; return the events read.

    Errors: ``Failed``; the tables are then as they were.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        count = rebuild(connection)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except (TapewrightError, ArithmeticError, sqlite3.Error) as error:
        connection.execute("ROLLBACK")
        raise Failed(f"the tables cannot be made anew: {error}") from error
    return count
