"""Writing exported rows: CSV, JSON, JSON Lines, Parquet.

Exact values stay exact in all of them. In CSV a text that a spreadsheet would run as a formula
gets a ``'`` before it; numbers are left alone, or every loss would become text.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, assert_never

from core.errors import Failed
from ledger import canonical
from ledger.export.kinds import Kind

if TYPE_CHECKING:
    import polars as pl

BATCH_ROWS = 50_000
"""Rows of a Parquet file in memory at once."""
_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?"
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
    """Write RFC 4180 with CRLF; what is not known is empty.

    Errors: ``Failed`` for a number that is none: it would be a text that nobody guarded.
    """
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(columns)
    kinds = list(columns.values())
    texts = [place for place, kind in enumerate(kinds) if kind is Kind.TEXT]
    trees = [place for place, kind in enumerate(kinds) if kind is Kind.JSON]
    numbers = [place for place, kind in enumerate(kinds) if kind not in {Kind.TEXT, Kind.JSON}]
    # One look at all numbers of a row together, in place of one look at each: 1.0 us, not 3.
    are_numbers = re.compile(rf"(?:{_NUMBER})?(?:,(?:{_NUMBER})?)*", re.ASCII).fullmatch
    for row in rows:
        cells = list(row)
        for place in texts:
            text = cells[place]
            if text and text[0] in FORMULA_STARTS:
                cells[place] = guard(text)
        for place in trees:
            cells[place] = canonical.encode(cells[place]).decode()
        if not are_numbers(
            ",".join(["" if cells[place] is None else str(cells[place]) for place in numbers])
        ):
            raise Failed(
                f"a number was none in the row {str(row)[:120]}; see: tapewright ledger verify"
            )
        writer.writerow(cells)


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

    More rows than one batch go through files of their own, so that memory holds one batch.
    Errors: ``Failed`` for a decimal that needs more digits than Parquet has.
    """
    import polars as pl  # a third of a second; only this format pays it

    rows = iter(rows)
    first = _frame(columns, list(islice(rows, BATCH_ROWS)))
    batch = list(islice(rows, BATCH_ROWS))
    if not batch:
        buffer = io.BytesIO()
        first.write_parquet(buffer)
        file.write(buffer.getbuffer())
        return
    with tempfile.TemporaryDirectory(prefix="tapewright-") as folder:
        parts = [Path(folder) / "0.parquet"]
        first.write_parquet(parts[0], compression="lz4")
        while batch:
            parts.append(Path(folder) / f"{len(parts)}.parquet")
            _frame(columns, batch).write_parquet(parts[-1], compression="lz4")
            batch = list(islice(rows, BATCH_ROWS))
        pl.scan_parquet(parts).sink_parquet(file)


def _frame(columns: Columns, rows: list[Row]) -> pl.DataFrame:
    """Return rows as a frame of the columns' types."""
    import polars as pl

    series = []
    for place, (name, kind) in enumerate(columns.items()):
        values = [row[place] for row in rows]
        if kind is Kind.JSON:
            values = [canonical.encode(value).decode() for value in values]
        match kind:
            case Kind.INTEGER:
                series.append(pl.Series(name, values, dtype=pl.Int64()))
            case Kind.TEXT | Kind.JSON:
                series.append(pl.Series(name, values, dtype=pl.String()))
            case Kind.FLOAT:
                series.append(pl.Series(name, values, dtype=pl.String()).cast(pl.Float64()))
            case Kind.DECIMAL:
                series.append(_decimals(pl.Series(name, values, dtype=pl.String())))
            case _:
                assert_never(kind)
    return pl.DataFrame(series)


def _decimals(texts: pl.Series) -> pl.Series:
    """Return exact decimals, or refuse: Parquet would round what is longer."""
    import polars as pl

    whole, after = PARQUET_DIGITS - PARQUET_SCALE, PARQUET_SCALE
    fits = texts.str.contains(rf"^-?[0-9]{{1,{whole}}}(\.[0-9]{{1,{after}}})?$")
    if not fits.all():  # what is not known counts as fitting
        longest = texts.filter(~fits)[0]
        raise Failed(
            f"{texts.name} {longest} has more digits than a Parquet decimal; export csv or json"
        )
    return texts.cast(pl.Decimal(PARQUET_DIGITS, PARQUET_SCALE))


def path_for_draft(path: Path) -> Path:
    """Return where a file is written before it takes the place of ``path``."""
    return path.with_name(f".{path.name}.new")
