"""The file ``ledger.db``: opening it for the writer, and read-only for everybody else.

WAL with ``synchronous=FULL``: a commit that returned survives a power cut (measured over 2,000
crash images, ``NORMAL`` loses acknowledged commits in most of them). Checkpoints are the
writer's, between bursts, so no commit pays for one.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import Failed, UserError
from ledger import witness
from ledger.keys import DRAFT_NAME, KEY_NAME, PUBLIC_NAME
from ledger.schema import APPLICATION_ID, CHECKPOINTS, PROJECTIONS, SCHEMA_VERSION, TRUTH

DB_NAME = "ledger.db"
NOTES_NAME = "checkpoints.txt"
"""Every checkpoint in order, each followed by an empty line."""
RESUME_NAME = "ledger.resume"
HOLD_NAME = "payloads.hold"
OWN_FILES = (
    DB_NAME, f"{DB_NAME}-wal", f"{DB_NAME}-shm", witness.NAME, KEY_NAME, PUBLIC_NAME, NOTES_NAME,
    RESUME_NAME, DRAFT_NAME, HOLD_NAME,
)  # fmt: skip
"""What no export may replace."""
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged file raises; the second where the error text quotes the damage."""
BUSY_MS = 5_000
"""How long a statement waits for a reader's or a second writer's lock."""


def open_for_writing(state_dir: Path) -> sqlite3.Connection:
    """Return the writer's connection, making the ledger if there is none.

    Errors: ``Failed`` for a file that is no ledger, is newer than this program, or is missing
    although its witness remembers events.
    """
    path = state_dir / DB_NAME
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _prepare_new(state_dir, path)
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000
        )
    except OSError as error:
        raise Failed(f"{state_dir}: a ledger cannot be made here ({error.strerror})") from error
    except sqlite3.Error as error:
        raise Failed(f"{path}: cannot be opened ({error})") from error
    try:
        _make_or_check(connection, path)
    except UNREADABLE as error:
        connection.close()
        raise Failed(f"{path}: cannot be opened ({error})") from error
    except Failed:
        connection.close()
        raise
    return connection


def _prepare_new(state_dir: Path, path: Path) -> None:
    """Write the empty witness before the empty file, so that a missing witness means something."""
    seen = witness.read(state_dir)
    if seen is not None and seen.seq > 0:
        raise Failed(
            f"{path} is missing, but {witness.NAME} remembers seq {seen.seq}: put the ledger "
            f"back, or move {witness.NAME} away to begin a new one"
        )
    witness.write(state_dir, witness.EMPTY)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))


def _make_or_check(connection: sqlite3.Connection, path: Path) -> None:
    """Settle what the file is before anything is written to it."""
    _set(connection, "trusted_schema = OFF", "cell_size_check = ON", "foreign_keys = ON")
    is_empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if not is_empty:
        check_kind(connection, path)
    _set(connection, "journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 0")
    if is_empty:
        connection.executescript(
            f"BEGIN IMMEDIATE; {TRUTH} {CHECKPOINTS} {PROJECTIONS}"
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
            "COMMIT;"
        )


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema version that the file says it has."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def add_checkpoints(connection: sqlite3.Connection, first: tuple[int, str] | None) -> None:
    """Bring a ledger of schema 1 up to 2, with its first checkpoint, as one act."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in CHECKPOINTS.strip().split("\n\n"):
        connection.execute(statement)
    if first is not None:
        connection.execute("INSERT INTO checkpoints VALUES(?, ?)", first)
    connection.execute("PRAGMA user_version = 2")  # the tables follow: ledger.tables
    connection.execute("COMMIT")


def _set(connection: sqlite3.Connection, *settings: str) -> None:
    for setting in settings:
        connection.execute(f"PRAGMA {setting}")


def check_kind(connection: sqlite3.Connection, path: Path) -> None:
    """Errors: ``Failed`` unless the file is a ledger of a version this program reads."""
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise Failed(f"{path} is an SQLite file, but not a Tapewright ledger")
    version = version_of(connection)
    if version > SCHEMA_VERSION:
        raise Failed(
            f"{path} has schema {version}, this program reads up to {SCHEMA_VERSION}: a newer "
            "Tapewright wrote it; nothing was changed: use that one, or another --state DIR"
        )


@contextmanager
def reading(state_dir: Path) -> Iterator[sqlite3.Connection]:
    """Open the ledger read-only, in one transaction: one moment, also while an engine writes.

    Errors: ``UserError`` if there is no ledger, ``Failed`` if SQLite cannot read it.
    """
    path = state_dir / DB_NAME
    if not path.is_file():
        raise UserError(f"no ledger in {state_dir}: {DB_NAME} is missing")
    try:
        connection = _connect_readonly(path)
    except UNREADABLE as error:
        raise Failed(f"{path}: cannot be read ({error})") from error
    try:
        check_kind(connection, path)
        connection.execute("BEGIN")
        connection.execute("SELECT max(seq) FROM events").fetchone()  # fixes the moment
        yield connection
    except UNREADABLE as error:
        raise Failed(f"{path}: cannot be read ({error})") from error
    finally:
        connection.close()


def _connect_readonly(path: Path) -> sqlite3.Connection:
    uri = path.absolute().as_uri() + "?mode=ro"
    try:
        return _probe(uri)
    except sqlite3.OperationalError:
        # A WAL file cannot be opened in a folder that may not be written (evidence on a DVD);
        # without a -wal there is nothing but the main file to read.
        if path.with_name(path.name + "-wal").exists():
            raise
        return _probe(uri + "&immutable=1")


def _probe(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_MS / 1000)
    try:
        _set(connection, "trusted_schema = OFF", "cell_size_check = ON", "query_only = ON")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except UNREADABLE:
        connection.close()
        raise
    return connection
