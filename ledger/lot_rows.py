"""The lots table: every parcel of position, FIFO, from the fills alone.

The lots are those of ``core.lots``, the same code the engine trades by. Books go on across runs,
by venue and instrument; when a venue changes a grid, open lots move onto it exactly or not at all.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

import msgspec

from core.lots import ClosedLot, FifoBook, OpenLot
from core.model.instrument import Instrument
from core.model.order import Fill
from ledger.canonical import decimal_text


class Place(NamedTuple):
    """Where an event stands: what the tables take from its envelope."""

    seq: int
    ts: str
    run: str


class LotTable:
    """Keeps the FIFO books and writes what they do. Fill ids in the books are seqs.

    A venue may use a fill id again in a later run; a seq is used once.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._books: dict[tuple[str, str], FifoBook] = {}

    def begin_run(self, instruments: dict[str, Instrument]) -> None:
        """Move the books of the run's instruments onto the grids it declares.

        Errors: ``ValueRefused`` if an open lot does not lie on the new grid.
        """
        for instrument in instruments.values():
            book = self._books.get((instrument.venue, instrument.name))
            if book is not None and book.instrument != instrument:
                self._books[instrument.venue, instrument.name] = regrid(book, instrument)

    def book(self, instrument: Instrument) -> FifoBook:
        """Return the book of an instrument, new if nothing was ever traded."""
        return self._books.setdefault((instrument.venue, instrument.name), FifoBook(instrument))

    def books(self) -> list[FifoBook]:
        return list(self._books.values())

    def warm(self, seq: int, instrument: Instrument, fill: Fill) -> list[ClosedLot]:
        """Take a fill into memory only."""
        return self.book(instrument).apply(fill, str(seq))

    def write(self, place: Place, instrument: Instrument, fill: Fill) -> None:
        """Take a fill and write what it closed and opened; its row in ``fills`` is there."""
        for lot in self.warm(place.seq, instrument, fill):
            self._write_rest(lot, instrument)
            self._write_closed(lot, place, instrument)
        self._write_opened(place, instrument)

    def _write_rest(self, lot: ClosedLot, instrument: Instrument) -> None:
        """Make the open row what is left of the parcel."""
        rest = self._open_lot(instrument, lot.open_fill_id)
        if rest is not None:
            self._connection.execute(
                "UPDATE lots SET quantity = ?, open_fee = ?"
                " WHERE open_seq = ? AND close_seq IS NULL",
                (
                    instrument.qty_text(rest.qty_lots),
                    decimal_text(rest.fee),
                    int(lot.open_fill_id),
                ),
            )
        else:
            self._connection.execute(
                "DELETE FROM lots WHERE open_seq = ? AND close_seq IS NULL",
                (int(lot.open_fill_id),),
            )

    def _open_lot(self, instrument: Instrument, name: str) -> OpenLot | None:
        lots = self.book(instrument).open_lots
        return next((lot for lot in lots if lot.fill_id == name), None)

    def _write_closed(self, lot: ClosedLot, place: Place, instrument: Instrument) -> None:
        self._connection.execute(
            "INSERT INTO lots SELECT seq, ?, ts, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
            " FROM fills WHERE seq = ?",
            (
                place.seq,
                place.ts,
                instrument.venue,
                instrument.name,
                side_text(lot.sign),
                instrument.qty_text(lot.qty_lots),
                instrument.price_text(lot.open_ticks),
                instrument.price_text(lot.close_ticks),
                decimal_text(lot.open_fee),
                decimal_text(lot.close_fee),
                decimal_text(lot.realized),
                int(lot.open_fill_id),
            ),
        )

    def _write_opened(self, place: Place, instrument: Instrument) -> None:
        lot = self._open_lot(instrument, str(place.seq))
        if lot is None:
            return
        self._connection.execute(
            "INSERT INTO lots(open_seq, opened_ts, venue, instrument, side, quantity, open_price,"
            " open_fee) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
            (
                place.seq,
                place.ts,
                instrument.venue,
                instrument.name,
                side_text(lot.sign),
                instrument.qty_text(lot.qty_lots),
                instrument.price_text(lot.price_ticks),
                decimal_text(lot.fee),
            ),
        )


def side_text(sign: int) -> str:
    """Return LONG for 1 and SHORT for -1."""
    return "LONG" if sign > 0 else "SHORT"


def regrid(book: FifoBook, instrument: Instrument) -> FifoBook:
    """Return the book's open lots on a changed tick and lot grid, exactly.

    Errors: ``ValueRefused`` if an open lot does not lie on the new grid.
    """
    new, old = FifoBook(instrument), book.instrument
    for lot in book.open_lots:
        new.open_lots.append(
            msgspec.structs.replace(
                lot,
                qty_lots=instrument.lots(old.qty(lot.qty_lots)),
                price_ticks=instrument.ticks(old.price(lot.price_ticks)),
            )
        )
    new.position_lots = sum(lot.sign * lot.qty_lots for lot in new.open_lots)
    new.realized, new.fees, new.opened_ns = book.realized, book.fees, book.opened_ns
    return new
