"""What a tax file is made of: the closed lots and the fills of one year, as exact values.

Only paper and simulated runs are taken: a run of any other broker is refused, since the files
mark every row as paper.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import tzinfo
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

from core.errors import Failed, UserError, ValueRefused
from core.model.event import RunStarted
from core.model.instrument import Instrument, parse_decimal
from ledger.projections import EXACT_DIGITS
from ledger.reading import event_at
from ledger.references import instruments_of
from ledger.tax_year import moment, window

SIMULATED_BROKERS = frozenset({"paper", "sim", "delayed"})
"""Brokers that trade no money; what they fill is nobody's income."""

_LOTS = """
SELECT lots.open_seq, lots.close_seq, lots.opened_ts, lots.closed_ts, lots.side = 'LONG',
  lots.quantity, lots.open_price, lots.close_price, lots.open_fee, lots.close_fee,
  lots.realized_pnl, opening.run, opening.fee_currency, closing.run, closing.fee_currency,
  lots.instrument
FROM lots JOIN fills AS opening ON opening.seq = open_seq
  JOIN fills AS closing ON closing.seq = close_seq
WHERE closed_ts >= ? AND closed_ts < ? ORDER BY close_seq, open_seq
"""
_FILLS = """
SELECT seq, ts, side = 'BUY', quantity, notional, fee, position, fee_currency, fill_id, run,
  instrument
FROM fills WHERE ts >= ? AND ts < ? ORDER BY seq
"""


class TaxLot(NamedTuple):
    """A parcel that was closed: bought and sold, or sold short and bought back."""

    open_seq: int
    close_seq: int
    opened_ts: str
    closed_ts: str
    is_long: bool
    quantity: Decimal
    open_price: Decimal
    close_price: Decimal
    open_fee: Decimal
    close_fee: Decimal
    realized: Decimal
    instrument: Instrument
    fee_currencies: frozenset[str]

    @property
    def proceeds(self) -> Decimal:
        """What the sale brought, less its fee; quote currency, exact."""
        if self.is_long:
            return _exact(self.quantity, self.close_price, -self.close_fee)
        return _exact(self.quantity, self.open_price, -self.open_fee)

    @property
    def basis(self) -> Decimal:
        """What the purchase cost, its fee included; quote currency, exact."""
        if self.is_long:
            return _exact(self.quantity, self.open_price, self.open_fee)
        return _exact(self.quantity, self.close_price, self.close_fee)


class TaxFill(NamedTuple):
    """A fill, as the importers of others ask for it."""

    seq: int
    ts: str
    is_buy: bool
    quantity: Decimal
    notional: Decimal
    fee: Decimal
    position: Decimal
    """Base currency, signed, after it."""
    fee_currency: str
    fill_id: str
    instrument: Instrument


class _Runs:
    """Says what the instruments of a run were; refuses a run that traded money."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._instruments: dict[str, dict[str, Instrument]] = {}

    def instrument(self, run: str, name: str) -> Instrument:
        if run not in self._instruments:
            started = self._started(run)
            if started.broker not in SIMULATED_BROKERS:
                raise UserError(
                    f"run {run} traded by the broker {started.broker!r}: tax files mark every row "
                    "as paper, so they are only made of paper and simulated runs"
                )
            self._instruments[run] = instruments_of(started)
        return self._instruments[run][name]

    def _started(self, run: str) -> RunStarted:
        rows = self._connection.execute("SELECT seq FROM trail WHERE ref = ? ORDER BY seq", (run,))
        for (seq,) in rows.fetchall():
            event = event_at(self._connection, seq).event
            if isinstance(event, RunStarted):
                return event
        raise Failed(f"run {run} has no RUN_STARTED; see: tapewright ledger verify")


def closed_lots(connection: sqlite3.Connection, year: int, zone: tzinfo) -> Iterator[TaxLot]:
    """Yield the lots closed in a year of ``zone``, by the seqs of close and opening.

    Errors: ``UserError`` for a run that traded money, ``Failed`` for a lot that does not add up.
    """
    runs = _Runs(connection)
    for row in connection.execute(_LOTS, window(year)):
        if moment(row[3], zone).year != year:
            continue
        open_run, open_currency, close_run, close_currency, name = row[11:]
        runs.instrument(open_run, name)
        lot = TaxLot(
            *row[:4],
            bool(row[4]),
            *_decimals(row[1], row[5:11]),
            runs.instrument(close_run, name),
            frozenset({open_currency, close_currency}),
        )
        if _exact(lot.proceeds, Decimal(1), -lot.basis) != lot.realized:
            raise Failed(
                f"seq {lot.close_seq}: the lot opened by {lot.open_seq} does not add up to its "
                "realized P&L; see: tapewright ledger verify"
            )
        yield lot


def fills(connection: sqlite3.Connection, year: int, zone: tzinfo) -> Iterator[TaxFill]:
    """Yield the fills of a year of ``zone`` in order.

    Errors: ``UserError`` for a run that traded money, ``Failed`` for a number that is none.
    """
    runs = _Runs(connection)
    for row in connection.execute(_FILLS, window(year)):
        if moment(row[1], zone).year == year:
            instrument = runs.instrument(row[9], row[10])
            numbers = _decimals(row[0], row[3:7])
            yield TaxFill(row[0], row[1], bool(row[2]), *numbers, row[7], row[8], instrument)


def _exact(factor: Decimal, other: Decimal, term: Decimal) -> Decimal:
    with localcontext() as context:
        context.prec = EXACT_DIGITS
        return factor * other + term


def _decimals(seq: int, texts: tuple[Any, ...]) -> list[Decimal]:
    try:
        return [parse_decimal(text) for text in texts]
    except ValueRefused as error:
        raise Failed(f"seq {seq}: {error}") from error
