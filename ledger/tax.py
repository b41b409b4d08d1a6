"""Tax files of one year: rows for Form 8949, or fills for the importers of others.

A draft for whoever does the taxes, not tax advice. All trading so far is paper or simulated, so
every row says ``PAPER`` and nothing in these files is taxable. See ``docs/tax.md``.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable
from datetime import tzinfo
from decimal import Decimal, localcontext
from pathlib import Path
from typing import NamedTuple

from core.errors import Failed
from core.model.instrument import plain
from ledger.export.formats import Columns, Row, write_csv
from ledger.projections import EXACT_DIGITS
from ledger.store import reading
from ledger.tax_form import (
    COLUMNS,
    EQUITY_VENUES,
    STABLECOINS,
    FormLine,
    form_line,
    uncovered_line,
)
from ledger.tax_imports import (
    COINTRACKER,
    KOINLY,
    cointracker_row,
    cointracker_transfer,
    koinly_row,
    koinly_transfer,
    opens_short,
)
from ledger.tax_source import closed_lots, fills, transfers, uncovered
from ledger.tax_values import TaxFill, TaxLot, TaxTransfer

NOT_TAXABLE = (
    "PAPER: every row comes from paper or simulated trading; none of it is taxable, and none of "
    "this is tax advice"
)

_IMPORTS: dict[str, tuple[Columns, Callable[[TaxFill], Row], Callable[[TaxTransfer], Row]]] = {
    "koinly": (KOINLY, koinly_row, koinly_transfer),
    "cointracker": (COINTRACKER, cointracker_row, cointracker_transfer),
}


class TaxFile(NamedTuple):
    """A tax file and what has to be said about it."""

    text: str
    """RFC 4180 with CRLF."""
    rows: int
    notes: tuple[str, ...]
    """One line each, for the narration."""


def tax_file(state_dir: Path, *, year: int, file_format: str, zone: tzinfo) -> TaxFile:
    """Return the file of a calendar year in ``zone``: ``8949``, ``koinly`` or ``cointracker``.

    A closed lot belongs to the year of its close, a fill to that of its time.
    Errors: ``UserError`` without a ledger, for a run that traded money, or for what Form 8949
    cannot say; ``Failed`` for a ledger that cannot be read or does not add up.
    """
    if file_format == "8949":
        return _form_file(state_dir, year, zone)
    columns, row_of, row_of_transfer = _IMPORTS[file_format]
    with reading(state_dir) as connection:
        taken = list(fills(connection, year, zone))
        moved = list(transfers(connection, year, zone))
    notes = [NOT_TAXABLE]
    short = sum(map(opens_short, taken))
    if short:
        notes.append(
            f"{short} fills sold more than was held: importers know no short sales and will miss "
            "a purchase"
        )
    if moved:
        notes.append(
            f"{len(moved)} transfers: an importer matches each with the other wallet's own file"
        )
    if not taken and not moved:
        notes.append(f"no fills in {year} ({zone}): the file has only its header")
    rows = [(fill.seq, row_of(fill)) for fill in taken]
    rows += [(transfer.seq, row_of_transfer(transfer)) for transfer in moved]
    return _file(columns, [row for _, row in sorted(rows, key=lambda pair: pair[0])], notes)


def _form_file(state_dir: Path, year: int, zone: tzinfo) -> TaxFile:
    with reading(state_dir) as connection:
        lots = list(closed_lots(connection, year, zone))
        missing = list(uncovered(connection, year, zone))
    lines = [form_line(lot, zone) for lot in lots]
    lines += [uncovered_line(spent, zone) for spent in missing]
    lines.sort(key=lambda line: line.seq)  # stable: the lots of one sale keep their order
    notes = [NOT_TAXABLE, *_lot_notes(lots), *_refusals(lines)]
    if lines:
        notes.append(_total_line(lines))
    else:
        notes.append(f"no lots were closed in {year} ({zone}): the file has only its header")
    return _file(COLUMNS, [line.row for line in lines], notes)


def _refusals(lines: list[FormLine]) -> list[str]:
    """Return a note for each line without numbers: whoever files it has to find them."""
    return [
        f"seq {line.seq}: a line has no numbers: {line.refused}" for line in lines if line.refused
    ]


def _file(columns: Columns, rows: list[Row], notes: list[str]) -> TaxFile:
    out = io.StringIO(newline="")
    write_csv(out, columns, rows)
    return TaxFile(out.getvalue(), len(rows), tuple(notes))


def _lot_notes(lots: list[TaxLot]) -> list[str]:
    """Return what the lines leave out or take for granted, where it matters for these lots."""
    notes = []
    chosen = sum(lot.is_chosen for lot in lots)
    if chosen:
        notes.append(
            f"{chosen} of {len(lots)} lines close lots that were chosen before their order left; "
            "the others are first in, first out"
        )
    moved = sum(lot.is_moved for lot in lots)
    if moved:
        notes.append(f"{moved} of {len(lots)} lines have basis and date as told with a transfer")
    coins = sorted({lot.instrument.quote for lot in lots} & STABLECOINS)
    if coins:
        notes.append(f"{', '.join(coins)} counted as USD, one to one")
    names = defaultdict(set)
    for lot in lots:
        names[lot.instrument.venue, lot.instrument.base].add(lot.instrument.name)
    for (venue, base), several in sorted(names.items()):
        if len(several) > 1:
            notes.append(
                f"{base} on {venue} was traded as {', '.join(sorted(several))}: the ledger's FIFO "
                "is by instrument, and the tax rule takes the oldest of the whole wallet"
            )
    if any(lot.instrument.venue in EQUITY_VENUES for lot in lots):
        notes.append("stocks: wash sales are not looked for; Code and Adjustment are empty")
    return notes


def _total_line(lines: list[FormLine]) -> str:
    lines = [line for line in lines if not line.refused]
    zero = Decimal("0.00")
    proceeds = sum((line.proceeds for line in lines), zero)
    basis = sum((line.basis for line in lines), zero)
    long_term = sum((line.gain for line in lines if line.is_long_term), zero)
    gain = proceeds - basis
    with localcontext() as context:
        context.prec = EXACT_DIGITS
        exact = sum((line.realized for line in lines), Decimal(0))
        if abs(gain - exact) > Decimal("0.01") * len(lines):
            raise Failed(f"the lines add up to {gain}, the ledger's lots to {plain(exact)}")
    return (
        f"total: proceeds {proceeds:f}, cost basis {basis:f}, gain {gain:f} USD, of it "
        f"{gain - long_term:f} short-term and {long_term:f} long-term; exactly {plain(exact)}"
    )
