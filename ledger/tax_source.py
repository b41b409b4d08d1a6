"""What a tax file is made of: the closed lots and the fills of one year, as exact values.

Only paper and simulated runs are taken: a run of any other broker is refused, since the files
mark every row as paper.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from datetime import tzinfo
from decimal import Context, Decimal

from core.errors import Failed, UserError
from core.model.event import Filled, OrderIntended, RunStarted
from core.model.instrument import Instrument
from ledger.projections import EXACT_DIGITS
from ledger.reading import event_at
from ledger.references import instruments_of
from ledger.tax_values import TaxFill, TaxLot, TaxTransfer, Uncovered
from ledger.tax_year import moment, window

SIMULATED_BROKERS = frozenset({"paper", "sim", "delayed"})
"""Brokers that trade no money; what they fill is nobody's income."""

_LOTS = """
SELECT close_seq AS seq, lots.*, moved.seq IS NOT NULL AS is_moved,
  coalesce(opening.run, moved.run) AS open_run,
  coalesce(closing.run, moving.run) AS close_run,
  paid_in.quantity AS open_spent, paid_in.coin AS open_coin, paid_in.value AS open_value,
  paid.quantity AS close_spent, paid.coin AS close_coin, paid.value AS close_value
FROM lots LEFT JOIN fills AS opening ON opening.seq = open_seq
  LEFT JOIN transfers AS moved ON moved.seq = open_seq
  LEFT JOIN fills AS closing ON closing.seq = close_seq
  LEFT JOIN transfers AS moving ON moving.seq = close_seq
  LEFT JOIN spent AS paid_in ON paid_in.seq = opening.seq
  LEFT JOIN spent AS paid ON paid.seq = close_seq
WHERE closed_ts >= ? AND closed_ts < ? ORDER BY close_seq, open_seq, closed_by DESC
"""
_UNCOVERED = "SELECT * FROM spent WHERE ts >= ? AND ts < ? AND quantity <> covered ORDER BY seq"
_TRANSFERS = "SELECT * FROM transfers WHERE ts >= ? AND ts < ? ORDER BY seq"
_FILLS = "SELECT * FROM fills WHERE ts >= ? AND ts < ? ORDER BY seq"
_NUMBER = re.compile(r"-?\d{1,60}(\.\d{1,60})?", re.ASCII)
_EXACT = Context(prec=EXACT_DIGITS)


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
        found = self._instruments[run].get(name)
        if found is None:
            raise Failed(f"run {run} did not declare {name}; see: tapewright ledger verify")
        return found

    def _started(self, run: str) -> RunStarted:
        rows = self._connection.execute("SELECT seq FROM trail WHERE ref = ? ORDER BY seq", (run,))
        for (seq,) in rows.fetchall():
            event = event_at(self._connection, seq).event
            if isinstance(event, RunStarted):
                return event
        raise Failed(f"run {run} has no RUN_STARTED; see: tapewright ledger verify")


class _Choices:
    """Says whether a fill closed chosen lots; a choice counts only if the order left with it.

    Specific identification has to be in the books no later than the sale (Reg. 1.1012-1(j)), so
    what a fill closes must be what its durable intent named.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._last = (0, False)

    def is_chosen(self, close_seq: int) -> bool:
        """Errors: ``Failed`` for a choice that the intent, before the fill, does not hold."""
        if self._last[0] != close_seq:
            self._last = (close_seq, self._look(close_seq))
        return self._last[1]

    def _look(self, close_seq: int) -> bool:
        event = event_at(self._connection, close_seq).event
        if not isinstance(event, Filled) or not event.fill.closes:
            return False
        row = self._connection.execute(
            "SELECT seq FROM orders WHERE client_order_id = ? AND seq < ?",
            (event.fill.client_order_id, close_seq),
        ).fetchone()
        intent = None if row is None else event_at(self._connection, row[0]).event
        if not isinstance(intent, OrderIntended) or intent.order.closes != event.fill.closes:
            raise Failed(
                f"seq {close_seq}: the lots that it closes were not chosen in the intent of its "
                "order, before it left; see: tapewright ledger verify"
            )
        return True


def closed_lots(connection: sqlite3.Connection, year: int, zone: tzinfo) -> Iterator[TaxLot]:
    """Yield the lots closed in a year of ``zone``, by the seqs of close and opening.

    Errors: ``UserError`` for a run that traded money, ``Failed`` for a lot that does not add up.
    """
    runs, choices = _Runs(connection), _Choices(connection)
    for row in _rows(connection, _LOTS, year):
        if moment(row["closed_ts"], zone).year != year:
            continue
        opened = runs.instrument(row["open_run"], row["instrument"])
        is_fee = row["closed_by"] == "FEE"
        lot = TaxLot(
            open_seq=row["open_seq"],
            close_seq=row["close_seq"],
            opened_ts=row["opened_ts"],
            closed_ts=row["closed_ts"],
            is_long=row["side"] == "LONG",
            quantity=_number(row, "quantity"),
            open_price=_number(row, "open_price"),
            close_price=_number(row, "close_price"),
            open_fee=_number(row, "open_fee"),
            close_fee=_number(row, "close_fee"),
            realized=_number(row, "realized_pnl"),
            # A fee may be paid in coins that its own run did not trade.
            instrument=opened if is_fee else runs.instrument(row["close_run"], row["instrument"]),
            is_fee=is_fee,
            is_moved=bool(row["is_moved"]),
            unknown=_unknown(row, is_fee=is_fee),
            is_chosen=not is_fee and choices.is_chosen(row["close_seq"]),
        )
        if lot.gain != lot.realized:
            raise Failed(
                f"seq {lot.close_seq}: the lot opened by {lot.open_seq} does not add up to its "
                "realized P&L; see: tapewright ledger verify"
            )
        yield lot


def _unknown(row: sqlite3.Row, *, is_fee: bool) -> str:
    """Return which number of a closed lot nobody knows, in words; empty if all are known."""
    if row["close_coin"] is not None and row["close_value"] is None:
        if is_fee:
            return "this coin had no price when it was paid"
        fee = f"{row['close_spent']} {row['close_coin']}"
        return f"the fee of the close, {fee}, had no price when it was paid"
    if row["open_coin"] is not None and row["open_value"] is None:
        fee = f"{row['open_spent']} {row['open_coin']}"
        return f"the fee of the opening, {fee}, had no price when it was paid"
    return ""


def uncovered(connection: sqlite3.Connection, year: int, zone: tzinfo) -> Iterator[Uncovered]:
    """Yield the coins that paid fees in a year and that no lot covers, in order."""
    runs = _Runs(connection)
    for row in _rows(connection, _UNCOVERED, year):
        if moment(row["ts"], zone).year != year:
            continue
        seq = row["seq"]
        event = event_at(connection, seq).event
        assert isinstance(event, Filled), "a transfer pays with what it has"
        instrument = runs.instrument(row["run"], event.fill.instrument)
        quantity = _number(row, "quantity") - _number(row, "covered")
        yield Uncovered(seq, row["ts"], quantity, row["coin"], instrument)


def transfers(connection: sqlite3.Connection, year: int, zone: tzinfo) -> Iterator[TaxTransfer]:
    """Yield the transfers of a year of ``zone`` in order. Errors: as ``fills``."""
    runs = _Runs(connection)
    for row in _rows(connection, _TRANSFERS, year):
        if moment(row["ts"], zone).year != year:
            continue
        yield TaxTransfer(
            seq=row["seq"],
            ts=row["ts"],
            is_in=row["way"] == "IN",
            quantity=_number(row, "quantity"),
            basis=_number(row, "basis"),
            acquired_ts=row["acquired_ts"],
            wallet=row["wallet"],
            fee=_number(row, "fee"),
            instrument=runs.instrument(row["run"], row["instrument"]),
        )


def fills(connection: sqlite3.Connection, year: int, zone: tzinfo) -> Iterator[TaxFill]:
    """Yield the fills of a year of ``zone`` in order.

    Errors: ``UserError`` for a run that traded money, ``Failed`` for a number that is none.
    """
    runs = _Runs(connection)
    for row in _rows(connection, _FILLS, year):
        if moment(row["ts"], zone).year != year:
            continue
        yield TaxFill(
            seq=row["seq"],
            ts=row["ts"],
            is_buy=row["side"] == "BUY",
            quantity=_number(row, "quantity"),
            notional=_number(row, "notional"),
            fee=_number(row, "fee"),
            position=_number(row, "position"),
            fee_currency=row["fee_currency"],
            fill_id=row["fill_id"],
            instrument=runs.instrument(row["run"], row["instrument"]),
        )


def _rows(connection: sqlite3.Connection, sql: str, year: int) -> Iterator[sqlite3.Row]:
    """Yield the rows that may lie in the year, by column name."""
    cursor = connection.cursor()
    cursor.row_factory = sqlite3.Row
    yield from cursor.execute(sql, window(year))


def _number(row: sqlite3.Row, name: str) -> Decimal:
    text = row[name]
    if not _NUMBER.fullmatch(text):
        raise Failed(f"seq {row['seq']}: {name} was {text[:40]!r}; see: tapewright ledger verify")
    return Decimal(text)
