"""Tapes out of our own format: Parquet, CSV or JSON Lines, in bounded memory, whole or not at all.

Columns are those of MARKET_STATE with ``instrument`` as its name; every number is what the tape
holds, bit for bit. Parquet carries run and instruments in its metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from core.errors import InvariantError, UserError
from core.model.market import MARKET_STATE
from core.tape.format import TapeError, TapeInfo
from core.tape.reader import OnDamage, TapeReader

FORMATS = ("parquet", "csv", "jsonl")
BATCH_ROWS = 65_536
"""Rows gathered before they are written: 8 MiB."""
METADATA = "tapewright"
"""Prefix of the keys in the metadata of a Parquet file."""
_DTYPES = {"<i4": pl.Int32(), "<i8": pl.Int64(), "<u4": pl.UInt32(), "<f8": pl.Float64()}


class Wanted(msgspec.Struct, frozen=True):
    """Which rows are exported."""

    since_ns: int = -(2**63)
    """Received at or after."""
    until_ns: int = 2**63 - 1
    """Received before."""
    instrument: str = ""
    """Name; empty for all."""


def export(
    paths: list[Path], out: Path, file_format: str, wanted: Wanted, on_damage: OnDamage | None
) -> int:
    """Write the rows of one run's files, in order, to ``out``; return how many.

    An existing file is replaced when all is written. Errors: ``TapeError`` for damage (unless
    ``on_damage`` takes it), another run's file or an instrument that the run has not;
    ``UserError`` when ``out`` cannot be written.
    """
    source = _Source([TapeReader(path) for path in paths], wanted, on_damage)
    draft = out.with_name(f"{out.name}.part")
    try:
        _WRITERS[file_format](source, draft)
        draft.replace(out)
    except (OSError, pl.exceptions.PolarsError) as error:
        if source.error is not None:
            raise source.error from error
        raise UserError(f"{out}: cannot be written ({error})") from error
    finally:
        draft.unlink(missing_ok=True)
    return source.count


class _Source:
    """The rows as data frames, counted as they pass."""

    def __init__(
        self, readers: list[TapeReader], wanted: Wanted, on_damage: OnDamage | None
    ) -> None:
        self.info = _one_run(readers)
        self.count = 0
        self.error: TapeError | None = None
        """What stopped the reading, for the caller of a library that wraps errors."""
        names = [each.name for each in self.info.instruments]
        self._readers = readers
        self._on_damage = on_damage
        self._wanted = wanted
        self._index = None
        if wanted.instrument:
            if wanted.instrument not in names:
                raise TapeError(
                    f"{readers[0].path}: has no instrument {wanted.instrument!r}, "
                    f"it has {', '.join(names)}"
                )
            self._index = names.index(wanted.instrument)
        self.schema = {
            name: pl.Enum(names) if name == "instrument" else _DTYPES[MARKET_STATE[name].str]
            for name in MARKET_STATE.names or ()
        }
        self._names = pl.Series(names, dtype=pl.Enum(names))

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield the wanted rows, at most ``BATCH_ROWS`` and a chunk at a time."""
        waiting: list[np.ndarray] = []
        size = 0
        try:
            for rows in self._rows():
                waiting.append(rows)
                size += len(rows)
                if size >= BATCH_ROWS:
                    yield self._frame(np.concatenate(waiting))
                    waiting, size = [], 0
        except TapeError as error:
            self.error = error
            raise
        if waiting:
            yield self._frame(np.concatenate(waiting))

    def _rows(self) -> Iterator[np.ndarray]:
        for reader in self._readers:
            for rows in reader.chunks(self._on_damage):
                received = rows["ts_recv_ns"]
                keep = (received >= self._wanted.since_ns) & (received < self._wanted.until_ns)
                if self._index is not None:
                    keep &= rows["instrument"] == self._index
                if rows["instrument"].max() >= len(self._names) or rows["instrument"].min() < 0:
                    raise TapeError(f"{reader.path}: a row names an instrument that it has not")
                if keep.any():
                    yield rows[keep]

    def _frame(self, rows: np.ndarray) -> pl.DataFrame:
        self.count += len(rows)
        columns = {name: np.ascontiguousarray(rows[name]) for name in MARKET_STATE.names or ()}
        series = [
            self._names.gather(column).alias(name)
            if name == "instrument"
            else pl.Series(name, column, self.schema[name])
            for name, column in columns.items()
        ]
        return pl.DataFrame(series)


def _one_run(readers: list[TapeReader]) -> TapeInfo:
    """Return what the header of the first file says, if the others are of the same run."""
    if not readers:
        raise InvariantError("an export was asked for without a file")
    first = readers[0].info
    for reader in readers[1:]:
        if (reader.info.run_id, reader.info.instruments) != (first.run_id, first.instruments):
            raise TapeError(f"{reader.path}: is of another run than {readers[0].path}")
    return first


def _to_parquet(source: _Source, draft: Path) -> None:
    def frames(
        columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, size: int | None
    ) -> Iterator[pl.DataFrame]:
        del columns, predicate, n_rows, size  # the sink asks for everything
        return source.frames()

    lazy = register_io_source(frames, schema=source.schema)
    instruments = msgspec.json.encode(source.info.instruments).decode()
    lazy.sink_parquet(
        draft,
        compression="zstd",
        metadata={
            f"{METADATA}.run_id": source.info.run_id,
            f"{METADATA}.instruments": instruments,
        },
    )


def _to_csv(source: _Source, draft: Path) -> None:
    _to_text(source, draft, lambda frame, file, first: frame.write_csv(file, include_header=first))


def _to_jsonl(source: _Source, draft: Path) -> None:
    _to_text(source, draft, lambda frame, file, _first: frame.write_ndjson(file))


def _to_text(
    source: _Source, draft: Path, write: Callable[[pl.DataFrame, BinaryIO, bool], object]
) -> None:
    with draft.open("wb") as file:
        is_first = True
        for frame in source.frames():
            write(frame, file, is_first)
            is_first = False
        if is_first:  # a header without rows
            write(pl.DataFrame(schema=source.schema), file, is_first)


_WRITERS = {"parquet": _to_parquet, "csv": _to_csv, "jsonl": _to_jsonl}
