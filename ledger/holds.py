"""``payloads.hold``: times whose decision points are never removed to keep the disk bound.

One line a time: ``FROM UNTIL why``, dates or times in UTC as ``ledger export`` takes them, UNTIL
not included. The trader writes it (a dispute, a tax audit), and so does every binder that is made.
A line that cannot be read holds everything: no evidence goes for a slip of the pen.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from core.errors import Failed, UserError
from ledger.export.kinds import Period
from ledger.export.tables import parse_time
from ledger.store import HOLD_NAME

NAME = HOLD_NAME
_LINES_MAX = 1_000


class Hold(NamedTuple):
    """From ``since`` up to, not including, ``until``; ISO text with nanoseconds, UTC."""

    since: str
    until: str

    def holds(self, ts: str) -> bool:
        return self.since <= ts < self.until


def read(state_dir: Path) -> list[Hold]:
    """Return the holds, none without the file. Errors: ``Failed`` naming the bad line."""
    path = state_dir / NAME
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"{path}: cannot be read ({error}); no decision points are removed") from error
    return [
        _hold(path, number, line)
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#")
    ]


def _hold(path: Path, number: int, line: str) -> Hold:
    words = line.split(maxsplit=2)
    try:
        since, until = (parse_time(word, "the time") for word in words[:2])
        if since < until:
            return Hold(since, until)
        wrong = "FROM is not before UNTIL"
    except UserError as error:
        wrong = str(error)
    except ValueError:
        wrong = "it is not FROM UNTIL why"
    raise Failed(f"{path} line {number}: {wrong}; until it is put right no decision points go")


def add(state_dir: Path, period: Period, why: str) -> None:
    """Hold a period, unless the same line is there or the folder cannot be written.

    Nothing can be removed from a folder that cannot be written either.
    """
    line = f"{period.since or '1970-01-01'} {_until(period)} {why}"
    path = state_dir / NAME
    try:
        told = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        if line in told or len(told) >= _LINES_MAX:
            return
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
    except (OSError, UnicodeDecodeError):
        return


def _until(period: Period) -> str:
    return "9999-12-31" if period.until == Period().until else period.until
