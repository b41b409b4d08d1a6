"""Writing exported rows: CSV, JSON, JSON Lines, Parquet.

Exact values stay exact in all of them. In CSV a text that a spreadsheet would run as a formula
gets a ``'`` before it; numbers are left alone, or every loss would become text.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from core.errors import Failed
from ledger import canonical
from ledger.export.tables import Kind

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet take a cell for a formula (CWE-1236)."""
PARQUET_DIGITS, PARQUET_SCALE = 38, 18
"""Parquet decimals: 20 digits before the point, 18 after; the lots' smallest step is 1e-12."""

Row = tuple[Any, ...]
Columns = dict[str, Kind]


def guard(text: str) -> str:
    """Return ``text`` so that no spreadsheet runs it."""
    return "'" + text if text.startswith(FORMULA_STARTS) else text


def write_csv(file: IO[str], columns: Columns, rows: Iterable[Row]) -> None:
    """Write RFC 4180 with CRLF; what is not known is empty."""
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(columns)
    kinds = list(columns.values())
    for row in rows:
        writer.writerow([_cell(kind, value) for kind, value in zip(kinds, row, strict=True)])


def _cell(kind: Kind, value: Any) -> str:
    if value is None:
        return ""
    if kind is Kind.JSON:
        return canonical.encode(value).decode()
    return guard(value) if kind is Kind.TEXT else str(value)


def write_json(file: IO[str], columns: Columns, rows: Iterable[Row]) -> None:
    """Write one array of objects."""
    between = "[\n"
    for line in _json_lines(columns, rows):
        file.write(between + line)
        between = ",\n"
    file.write("[]\n" if between == "[\n" else "\n]\n")


def write_jsonl(file: IO[str], columns: Columns, rows: Iterable[Row]) -> None:
    """Write one object a line."""
    for line in _json_lines(columns, rows):
        file.write(line + "\n")


def _json_lines(columns: Columns, rows: Iterable[Row]) -> Iterator[str]:
    """Yield objects in ASCII. Decimals are text, since JSON readers make floats of numbers."""
    for row in rows:
        values = (
            float(value) if kind is Kind.FLOAT and value is not None else value
            for kind, value in zip(columns.values(), row, strict=True)
        )
        yield json.dumps(dict(zip(columns, values, strict=True)), separators=(",", ":"))


TEXT_FORMATS: dict[str, Callable[[IO[str], Columns, Iterable[Row]], None]] = {
    "csv": write_csv,
    "json": write_json,
    "jsonl": write_jsonl,
}


def write_parquet(file: IO[bytes], columns: Columns, rows: Iterable[Row]) -> None:
    """Write Parquet: decimals exact, measurements float64, times and JSON as text.

    Errors: ``Failed`` for a decimal that needs more digits than Parquet has.
    """
    import polars as pl  # a third of a second; only this format pays it

    types = {
        Kind.TEXT: pl.String(),
        Kind.INTEGER: pl.Int64(),
        Kind.DECIMAL: pl.Decimal(PARQUET_DIGITS, PARQUET_SCALE),
        Kind.FLOAT: pl.Float64(),
        Kind.JSON: pl.String(),
    }
    listed = list(rows)
    series = [
        pl.Series(name, [_typed(name, kind, row[place]) for row in listed], dtype=types[kind])
        for place, (name, kind) in enumerate(columns.items())
    ]
    buffer = io.BytesIO()
    pl.DataFrame(series).write_parquet(buffer)
    file.write(buffer.getbuffer())


def _typed(name: str, kind: Kind, value: Any) -> Any:
    if value is None or kind in {Kind.TEXT, Kind.INTEGER}:
        return value
    if kind is Kind.FLOAT:
        return float(value)
    if kind is Kind.JSON:
        return canonical.encode(value).decode()
    number = Decimal(value)
    digits_after = -int(number.as_tuple().exponent)
    if digits_after > PARQUET_SCALE or number.adjusted() >= PARQUET_DIGITS - PARQUET_SCALE:
        raise Failed(f"{name} {value} has more digits than a Parquet decimal; export csv or json")
    return number


def path_for_draft(path: Path) -> Path:
    """Return where a file is written before it takes the place of ``path``."""
    return path.with_name(f".{path.name}.new")
