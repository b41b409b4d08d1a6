"""The FIFO lots for reading: as dictionaries for machines, as aligned columns for people."""

from __future__ import annotations

from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

from core.model.instrument import plain
from ledger.explain import safe
from ledger.export.tables import TABLES
from ledger.projections import EXACT_DIGITS
from ledger.store import reading

_NUMBERS = frozenset({"open_seq", "close_seq", "quantity", "open_price", "close_price", "open_fee",
                      "close_fee", "realized_pnl"})  # fmt: skip


def read_lots(state_dir: Path, *, closed: bool) -> list[dict[str, Any]]:
    """Return the closed or the open lots, oldest first, decimals as text.

    Errors: ``UserError`` without a ledger, ``Failed`` if it cannot be read.
    """
    names = list(TABLES["lots"].columns)
    condition = "IS NOT NULL" if closed else "IS NULL"
    sql = (
        f"SELECT {', '.join(names)} FROM lots WHERE close_seq {condition}"  # noqa: S608 - our own names
        " ORDER BY open_seq, close_seq"
    )
    with reading(state_dir) as connection:
        return [dict(zip(names, row, strict=True)) for row in connection.execute(sql)]


def lots_table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lots as lines of aligned columns, with the sum realized under closed ones."""
    if not rows:
        return ["no lots"]
    names = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    cells = [names] + [[safe(str(row[name])) for name in names] for row in rows]
    widths = [max(len(line[place]) for line in cells) for place in range(len(names))]
    lines = []
    for line in cells:
        padded = [
            cell.rjust(width) if name in _NUMBERS else cell.ljust(width)
            for name, cell, width in zip(names, line, widths, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    if "realized_pnl" in names:
        with localcontext() as context:
            context.prec = EXACT_DIGITS
            total = sum((Decimal(row["realized_pnl"]) for row in rows), Decimal(0))
        lines.append(f"realized in all: {plain(total)}")
    return lines
