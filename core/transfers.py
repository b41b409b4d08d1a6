"""Transfers as rules: what a movement of coins does to the lots, and what a trader may move.

Nothing is bought or sold by a transfer: lots keep basis and date. The coins that paid its fee are
disposed of at what they were worth (docs/lots.md, rules 8 to 10). Pure, the same live, in the
ledger's tables and out of its events.
"""

from __future__ import annotations

import copy
from decimal import Decimal, localcontext

import msgspec

from core.lots import FifoBook
from core.model.event import MovedLot
from core.model.instrument import Instrument, plain
from core.model.lot import ClosedLot, OpenLot
from core.model.order import Fill
from core.model.transfer import Spent, Transfer, TransferWay

EXACT_DIGITS = 60
ZERO = Decimal(0)


class Moved(msgspec.Struct, frozen=True):
    """What a transfer did to a book."""

    given: tuple[OpenLot, ...] = ()
    """OUT: the lots that went."""
    spent: tuple[ClosedLot, ...] = ()
    """What paid the fee."""
    cost: Decimal = ZERO
    """Worth of the fee, quote currency; it is in no lot."""

    @property
    def realized(self) -> Decimal:
        """What paying the fee realized: its worth less its basis."""
        return sum((lot.realized for lot in self.spent), ZERO)


def move(book: FifoBook, transfer: Transfer, lot_id: str = "") -> Moved:
    """Do to ``book`` what a transfer did; ``lot_id`` names the lot in it, else the transfer's id.

    Errors: ``ValueRefused`` for more than is held, or into a short position.
    """
    name = lot_id or transfer.transfer_id
    given: tuple[OpenLot, ...] = ()
    if transfer.way is TransferWay.IN:
        lot = lot_of(transfer, book.instrument, name)
        lot = msgspec.structs.replace(lot, qty_lots=lot.qty_lots * book.parts)
        book.take_in([lot], transfer.ts_ns)
    else:
        given = tuple(book.give_out(transfer.qty_lots))
    if not transfer.fee_lots:
        return Moved(given)
    quantity = book.instrument.qty(transfer.fee_lots)
    spent = tuple(book.spend(name, quantity, transfer.fee_value, transfer.ts_ns))
    cost = transfer.fee_value or ZERO
    book.spent += cost
    return Moved(given, spent, cost)


def peek(book: FifoBook, transfer: Transfer) -> tuple[FifoBook, Moved]:
    """Return the book as it would be after a transfer, and what that does; ``book`` stays.

    Errors: as ``move``.
    """
    after = copy.copy(book)
    after.open_lots = book.open_lots.copy()
    return after, move(after, transfer)


def with_carried(book: FifoBook, transfer: Transfer, mark2_ticks: int) -> Transfer:
    """Return a transfer that says what unrealized gain comes or goes with it at a mark.

    Errors: as ``move``.
    """
    _, moved = peek(book, transfer)
    lots = moved.given or (lot_of(transfer, book.instrument, ""),)
    grid = book.grid if moved.given else book.instrument
    with localcontext() as context:
        context.prec = EXACT_DIGITS
        gain = ZERO
        for lot in lots:
            gain += grid.notional(mark2_ticks - 2 * lot.price_ticks, lot.qty_lots) / 2 - lot.fee
        return msgspec.structs.replace(transfer, carried=transfer.sign * gain)


def lot_of(transfer: Transfer, instrument: Instrument, name: str) -> OpenLot:
    """Return what came in as a lot that costs exactly its basis.

    The price is the highest of whole ticks within the basis; ``fee`` has the rest.
    """
    basis = transfer.basis or ZERO
    with localcontext() as context:
        context.prec = EXACT_DIGITS
        step = instrument.notional(1, transfer.qty_lots)
        ticks = int(basis // step)
        rest = basis - step * ticks
    return OpenLot(
        name, 1, transfer.qty_lots, ticks, rest, transfer.acquired_ns, transfer.transfer_id,
        is_moved=True,
    )  # fmt: skip


def moved_lots(book: FifoBook, given: tuple[OpenLot, ...]) -> tuple[MovedLot, ...]:
    """Return the lots that went in the words of the ledger."""
    return tuple(
        MovedLot(
            lot.venue_fill_id,
            book.grid.qty_text(lot.qty_lots),
            plain(cost_of(book, lot)),
            lot.ts_ns,
        )
        for lot in given
    )


def cost_of(book: FifoBook, lot: OpenLot) -> Decimal:
    """Return the basis of an open lot of ``book``, its share of the fee included; exact."""
    with localcontext() as context:
        context.prec = EXACT_DIGITS
        return book.grid.notional(lot.price_ticks, lot.qty_lots) + lot.fee


def spent_by(fill: Fill) -> Spent | None:
    """Return the coins that the fee of a fill took out of an instrument's lots; None if none."""
    if not fill.fee_from or fill.fee <= 0:
        return None
    return Spent(fill.fill_id, fill.fee_from, fill.fee, fill.fee_value, fill.ts_ns)
