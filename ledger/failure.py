"""Why the ledger takes nothing more, in one line that a trader can act on."""

from __future__ import annotations

import errno
import sqlite3

from core.errors import TapewrightError

_KEPT = "; what was acknowledged is on the disk"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_CLOSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_BY_SQLITE = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space and start again" + _KEPT,
    sqlite3.SQLITE_IOERR: "the disk did not write or read: look after it before the next start"
    + _KEPT,
    sqlite3.SQLITE_READONLY: "the ledger may not be written: give the folder and its files back"
    + _KEPT,
    sqlite3.SQLITE_CORRUPT: "the file is damaged: run: tapewright ledger verify",
    sqlite3.SQLITE_BUSY: "another program holds the ledger: end it and start again" + _KEPT,
    sqlite3.SQLITE_CONSTRAINT: "something else wrote to it: run: tapewright ledger verify",
}
"""What to do, by the primary result code."""


def failure_text(error: Exception) -> str:
    """Return what went wrong, what to do, and what the system called it."""
    if isinstance(error, TapewrightError):
        return str(error)
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, sqlite3.Error):
        # Extended codes have the primary one in the low byte.
        advice = _BY_SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    elif isinstance(error, OSError):
        advice = _by_system(error.errno)
    else:
        advice = None
    return said if advice is None else f"{advice} ({said})"


def _by_system(code: int | None) -> str:
    if code in _FULL:
        return _BY_SQLITE[sqlite3.SQLITE_FULL]
    if code in _CLOSED:
        return _BY_SQLITE[sqlite3.SQLITE_READONLY]
    return _BY_SQLITE[sqlite3.SQLITE_IOERR]
