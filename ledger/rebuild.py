"""Making the tables anew on request, where no engine runs."""

from __future__ import annotations

from contextlib import closing

from core.errors import Failed
from core.state import EngineLock, StateDir
from ledger.reading import read_head
from ledger.store import open_for_writing
from ledger.tables import make_anew
from ledger.writer import LedgerWriter


def rebuild_tables(state: StateDir, now_ns: int) -> int:
    """Make every table but the events anew; return the events read.

    The ledger is checked as at a start first. Errors: ``TryAgain`` while an engine runs, ``Failed``
    for a ledger that is not in order (its tables stay as they are), ``UserError`` without one.
    """
    read_head(state.path)
    with EngineLock(state, venue="none", command="ledger rebuild", started_ns=now_ns):
        writer = LedgerWriter(state.path)
        writer.close()
        if writer.failure is not None:
            raise Failed(f"the ledger cannot be written: {writer.failure}")
        with closing(open_for_writing(state.path)) as connection:
            count = make_anew(connection)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return count
