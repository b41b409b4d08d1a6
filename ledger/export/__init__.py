"""Exporting a table of the ledger to a file or a stream, in one moment of the ledger."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from core.errors import Failed, UserError, ValueRefused
from ledger.export.formats import TEXT_FORMATS, Row, path_for_draft, write_parquet
from ledger.export.tables import TABLES, Period, rows_of
from ledger.store import OWN_FILES, reading

FORMATS = (*TEXT_FORMATS, "parquet")


class _Counted:
    """Rows that are counted as they pass."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.count += 1
            yield row


def export(
    state_dir: Path,
    *,
    table: str,
    file_format: str,
    out: Path | IO[bytes],
    period: Period = Period(),  # noqa: B008 - an immutable value
) -> int:
    """Write ``table`` and return its rows. A file appears whole or stays what it was.

    Errors: ``UserError`` for an unknown table or format, or a place that cannot be written;
    ``Failed`` for a ledger that cannot be read.
    """
    if table not in TABLES:
        raise UserError(f"table was {table!r}; there are {', '.join(TABLES)}")
    if file_format not in FORMATS:
        raise UserError(f"format was {file_format!r}; there are {', '.join(FORMATS)}")
    if not isinstance(out, Path):
        return _write(state_dir, table, file_format, out, period)
    if out.resolve() in {(state_dir / name).resolve() for name in OWN_FILES}:
        raise UserError(f"{out} is the ledger itself; choose another file")
    draft = path_for_draft(out)
    try:
        with draft.open("wb") as file:
            count = _write(state_dir, table, file_format, file, period)
        draft.replace(out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from error
    finally:
        draft.unlink(missing_ok=True)
    return count


def _write(state_dir: Path, table: str, file_format: str, file: IO[bytes], period: Period) -> int:
    columns = TABLES[table].columns
    with reading(state_dir) as connection:
        counted = _Counted(rows_of(connection, table, period))
        try:
            if file_format == "parquet":
                write_parquet(file, columns, counted)
            else:
                text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
                TEXT_FORMATS[file_format](text, columns, counted)
                text.flush()
                text.detach()  # the stream is the caller's to close
        except ValueRefused as error:
            raise Failed(f"seq {counted.count + 1} or later: {error}") from error
    return counted.count
