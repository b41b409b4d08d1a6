"""Exporting a table of the ledger to a file or a stream, in one moment of the ledger."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from core.errors import Failed, UserError, ValueRefused
from ledger.export.formats import TEXT_FORMATS, Columns, Row, path_for_draft, write_parquet
from ledger.export.kinds import Period
from ledger.export.tables import TABLES, count_of, rows_of
from ledger.store import OWN_FILES, reading

FORMATS = (*TEXT_FORMATS, "parquet")
TELL_EVERY = 10_000
"""Rows between two words about how far it is."""

Tell = Callable[[int, int], None]
"""Takes the rows so far, and how many the table has, filters left out."""


class _Counted:
    """Rows that are counted as they pass, and told now and then."""

    def __init__(self, rows: Iterator[Row], total: int, tell: Tell | None) -> None:
        self._rows, self._total, self._tell = rows, total, tell
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        tell, next_told = self._tell, TELL_EVERY
        for row in self._rows:
            self.count += 1
            if tell is not None and self.count == next_told:
                tell(self.count, self._total)
                next_told += TELL_EVERY
            yield row


def export(
    state_dir: Path,
    *,
    table: str,
    file_format: str,
    out: Path | IO[bytes],
    period: Period = Period(),  # noqa: B008 - an immutable value
    tell: Tell | None = None,
) -> int:
    """Write ``table`` and return its rows. A file appears whole or stays what it was.

    Memory does not grow with the rows. Errors: ``UserError`` for an unknown table or format, or a
    place that cannot be written; ``Failed`` for a ledger that cannot be read.
    """
    if table not in TABLES:
        raise UserError(f"table was {table!r}; there are {', '.join(TABLES)}")
    if file_format not in FORMATS:
        raise UserError(f"format was {file_format!r}; there are {', '.join(FORMATS)}")
    if not isinstance(out, Path):
        return _write(state_dir, table, file_format, out, period, tell)
    if out.resolve() in {(state_dir / name).resolve() for name in OWN_FILES}:
        raise UserError(f"{out} is the ledger itself; choose another file")
    draft = path_for_draft(out)
    try:
        with draft.open("wb") as file:
            count = _write(state_dir, table, file_format, file, period, tell)
        draft.replace(out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from error
    finally:
        draft.unlink(missing_ok=True)
    return count


def _write(
    state_dir: Path,
    table: str,
    file_format: str,
    file: IO[bytes],
    period: Period,
    tell: Tell | None,
) -> int:
    columns = TABLES[table].columns
    with reading(state_dir) as connection:
        total = 0 if tell is None else count_of(connection, table)
        counted = _Counted(rows_of(connection, table, period), total, tell)
        try:
            if file_format == "parquet":
                write_parquet(file, columns, counted)
            else:
                _write_text(file, file_format, columns, counted)
        except ValueRefused as error:
            raise Failed(f"seq {counted.count + 1} or later: {error}") from error
    return counted.count


def _write_text(file: IO[bytes], file_format: str, columns: Columns, rows: _Counted) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        TEXT_FORMATS[file_format](text, columns, rows)
    finally:
        text.detach()  # writes what is left; the stream is the caller's to close
