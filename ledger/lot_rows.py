"""The lots table: every parcel of position, FIFO, from fills and transfers.

The lots are those of ``core.lots``, the same code the engine trades by. Books go on across runs,
by venue and instrument; when a venue changes a grid, open lots move onto it exactly or not at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

import msgspec

from core.border import Border
from core.clock import iso_ns
from core.lots import FifoBook
from core.model.event import Transferred
from core.model.instrument import Instrument, plain
from core.model.lot import ClosedLot, OpenLot
from core.model.order import Fill
from core.model.transfer import Transfer, TransferWay
from core.transfers import Moved, cost_of, move, spent_by
from ledger.canonical import decimal_text


class Place(NamedTuple):
    """Where an event stands: what the tables take from its envelope."""

    seq: int
    ts: str
    run: str


@cache
def insert_sql(table: str, columns: tuple[str, ...]) -> str:
    """Return the statement that inserts a row of these columns."""
    return f"INSERT INTO {table}({', '.join(columns)}) VALUES({', '.join('?' * len(columns))})"


class LotTable:
    """Keeps the FIFO books and writes what they do. Fill ids in the books are seqs.

    A venue may use a fill id again in a later run; a seq is used once.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._books: dict[tuple[str, str], FifoBook] = {}
        self.counting = Border("counting lots")
        """Around fills that the engine could not count either; they stand without lots."""

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
        key = (instrument.venue, instrument.name)
        book = self._books.get(key)
        if book is None:
            book = self._books[key] = FifoBook(instrument)
        return book

    def books(self) -> list[FifoBook]:
        return list(self._books.values())

    def restore(self, books: Iterable[FifoBook]) -> None:
        """Go on from books as they stood at an event; nothing was taken before."""
        self._books = {(book.instrument.venue, book.instrument.name): book for book in books}

    def warm(self, seq: int, instrument: Instrument, fill: Fill) -> list[ClosedLot]:
        """Take a fill into memory only."""
        closed = self.book(instrument).apply(fill, str(seq))
        self._spend(seq, instrument, fill)
        return closed

    def warm_transfer(self, seq: int, instrument: Instrument, transfer: Transfer) -> Moved:
        """Take a transfer into memory only."""
        return move(self.book(instrument), transfer, str(seq))

    def _spend(self, seq: int, instrument: Instrument, fill: Fill) -> list[ClosedLot]:
        """Take out the coins that paid a fee."""
        spent, book = spent_by(fill), self._paying(instrument, fill)
        if spent is None or book is None:
            return []
        return book.spend(str(seq), spent.quantity, spent.value, spent.ts_ns)

    def _paying(self, instrument: Instrument, fill: Fill) -> FifoBook | None:
        """Return the book out of which a fee in coins was paid, if there is one."""
        return self._books.get((instrument.venue, fill.fee_from))

    def write(self, place: Place, instrument: Instrument, fill: Fill) -> None:
        """Take a fill and write what it closed and opened; its row in ``fills`` is there."""
        book = self.book(instrument)
        for lot in book.apply(fill, str(place.seq)):
            self._write_closed(book, lot, place, "FILL")
        self._write_opened(place.seq, place.ts, book)
        if fill.fee_currency != instrument.quote and fill.fee > 0:
            self._write_fee(place, instrument, fill)

    def _write_fee(self, place: Place, instrument: Instrument, fill: Fill) -> None:
        """Write the disposal of the coins that paid the fee of a fill."""
        lots, paying = self._spend(place.seq, instrument, fill), self._paying(instrument, fill)
        covered = Decimal(0)
        if paying is not None:
            covered = paying.grid.qty(sum(lot.qty_lots for lot in lots))
            self._write_spent_lots(paying, lots, place)
        self._insert(
            "spent",
            **place._asdict(),
            venue=instrument.venue,
            instrument=fill.fee_from if paying is not None else "",
            coin=fill.fee_currency,
            quantity=decimal_text(fill.fee),
            covered=decimal_text(covered),
            value=None if fill.fee_value is None else decimal_text(fill.fee_value),
            currency=instrument.quote,
            value_source=fill.fee_value_source,
        )

    def write_transfer(self, place: Place, instrument: Instrument, event: Transferred) -> None:
        """Take a transfer and write what came or went, and what paid its fee."""
        transfer, book = event.transfer, self.book(instrument)
        moved = move(book, transfer, str(place.seq))
        for gone in moved.given:
            self._write_rest(book, gone.fill_id)
        is_in = transfer.way is TransferWay.IN
        if is_in:
            self._write_opened(place.seq, iso_ns(transfer.acquired_ns), book)
        basis = sum((cost_of(book, lot) for lot in moved.given), transfer.basis or Decimal(0))
        self._insert(
            "transfers",
            **place._asdict(),
            transfer_id=transfer.transfer_id,
            venue=instrument.venue,
            instrument=instrument.name,
            way=transfer.way.value,
            quantity=event.quantity,
            basis=decimal_text(basis),
            acquired_ts=iso_ns(transfer.acquired_ns) if is_in else None,
            wallet=transfer.wallet,
            fee=event.fee_quantity,
            position=instrument.qty_text(event.position_lots),
            actor=event.actor,
            note=event.note,
        )
        if not transfer.fee_lots:
            return
        self._write_spent_lots(book, moved.spent, place)
        value = transfer.fee_value
        self._insert(
            "spent",
            **place._asdict(),
            venue=instrument.venue,
            instrument=instrument.name,
            coin=instrument.base,
            quantity=event.fee_quantity,
            covered=plain(book.grid.qty(sum(lot.qty_lots for lot in moved.spent))),
            value=None if value is None else decimal_text(value),
            currency=instrument.quote,
            value_source=transfer.fee_value_source,
        )

    def _write_spent_lots(self, book: FifoBook, lots: Sequence[ClosedLot], place: Place) -> None:
        for lot in lots:
            self._write_closed(book, lot, place, "FEE")

    def _insert(self, table: str, **row: Any) -> None:
        self._connection.execute(insert_sql(table, tuple(row)), tuple(row.values()))

    def _write_rest(self, book: FifoBook, name: str) -> None:
        """Make the open row what is left of the parcel."""
        rest = _open_lot(book, name)
        if rest is not None:
            self._connection.execute(
                "UPDATE lots SET quantity = ?, open_fee = ?"
                " WHERE open_seq = ? AND close_seq IS NULL",
                (book.grid.qty_text(rest.qty_lots), decimal_text(rest.fee), int(name)),
            )
        else:
            self._connection.execute(
                "DELETE FROM lots WHERE open_seq = ? AND close_seq IS NULL", (int(name),)
            )

    def _write_closed(self, book: FifoBook, lot: ClosedLot, place: Place, closed_by: str) -> None:
        self._write_rest(book, lot.open_fill_id)
        # A fill opened it when its event says, a lot that was moved here when it was bought.
        self._connection.execute(
            "INSERT INTO lots VALUES(?1, ?2, coalesce((SELECT ts FROM fills WHERE seq = ?1), ?3),"
            " ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            (
                int(lot.open_fill_id),
                place.seq,
                iso_ns(lot.opened_ns),
                place.ts,
                book.instrument.venue,
                book.instrument.name,
                side_text(lot.sign),
                book.grid.qty_text(lot.qty_lots),
                book.grid.price_text(lot.open_ticks),
                book.grid.price_text(lot.close_ticks),
                decimal_text(lot.open_fee),
                decimal_text(lot.close_fee),
                decimal_text(lot.realized),
                closed_by,
            ),
        )

    def _write_opened(self, seq: int, opened_ts: str, book: FifoBook) -> None:
        lot = _open_lot(book, str(seq))
        if lot is None:
            return
        self._insert(
            "lots",
            open_seq=seq,
            opened_ts=opened_ts,
            venue=book.instrument.venue,
            instrument=book.instrument.name,
            side=side_text(lot.sign),
            quantity=book.grid.qty_text(lot.qty_lots),
            open_price=book.grid.price_text(lot.price_ticks),
            open_fee=decimal_text(lot.fee),
        )


def _open_lot(book: FifoBook, name: str) -> OpenLot | None:
    return next((lot for lot in book.open_lots if lot.fill_id == name), None)


def side_text(sign: int) -> str:
    """Return LONG for 1 and SHORT for -1."""
    return "LONG" if sign > 0 else "SHORT"


def regrid(book: FifoBook, instrument: Instrument) -> FifoBook:
    """Return the book's open lots on a changed tick and lot grid, exactly.

    Errors: ``ValueRefused`` if an open lot does not lie on the new grid.
    """
    new, old = FifoBook(instrument), book.grid
    for lot in book.open_lots:
        new.refine(old.qty(lot.qty_lots) if book.parts > 1 else instrument.lot_size)
    for lot in book.open_lots:
        new.open_lots.append(
            msgspec.structs.replace(
                lot,
                qty_lots=new.grid.lots(old.qty(lot.qty_lots)),
                price_ticks=instrument.ticks(old.price(lot.price_ticks)),
            )
        )
    new.count()
    new.realized, new.fees, new.opened_ns = book.realized, book.fees, book.opened_ns
    new.spent = book.spent
    return new
