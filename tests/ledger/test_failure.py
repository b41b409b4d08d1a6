"""Why a ledger failed: what happened and what to do, in one line."""

from __future__ import annotations

import errno
import os
import sqlite3

import pytest

from core.errors import Failed
from ledger.failure import failure_text

ACKNOWLEDGED = "what was acknowledged is on the disk"


def os_error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def sqlite_error(code: int, text: str) -> sqlite3.Error:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (os_error(errno.ENOSPC), "the disk is full: free some space and start again"),
        (os_error(errno.EDQUOT), "the disk is full"),
        (os_error(errno.EROFS), "the ledger may not be written"),
        (os_error(errno.EIO), "the disk did not write or read"),
        (sqlite_error(sqlite3.SQLITE_FULL, "database or disk is full"), "the disk is full"),
        (sqlite_error(sqlite3.SQLITE_IOERR_FSYNC, "disk I/O error"), "the disk did not write"),
        (sqlite_error(sqlite3.SQLITE_BUSY, "database is locked"), "another program holds the"),
    ],
)
def test_failure_of_the_world_says_what_to_do_and_that_nothing_acknowledged_is_lost(
    error: Exception, says: str
) -> None:
    text = failure_text(error)
    assert text.startswith(says)
    assert ACKNOWLEDGED in text
    assert text.endswith(f"({type(error).__name__}: {error})")
    assert "\n" not in text


def test_damaged_file_promises_nothing() -> None:
    text = failure_text(sqlite_error(sqlite3.SQLITE_CORRUPT_INDEX, "malformed"))
    assert text.startswith("the file is damaged: run: tapewright ledger verify")
    assert ACKNOWLEDGED not in text


def test_what_is_ours_already_is_said_as_it_is_and_a_mistake_of_ours_by_its_name() -> None:
    assert failure_text(Failed("the ledger does not verify: seq 3")) == (
        "the ledger does not verify: seq 3"
    )
    assert failure_text(ValueError("x")) == "ValueError: x"
